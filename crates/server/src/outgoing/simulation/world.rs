//! The world of the simulation: what happens when, and whether the rules were kept.

use super::exchange::{Exchange, Fate, Reply, SECOND_US};
use super::patients::{Dice, Person, START, new_patient, timetable};
use crate::outgoing::dispatcher::{Action, Dispatcher};
use crate::outgoing::hearing::{News, hear, note_sid};
use crate::outgoing::line::{Answer, Question};
use crate::twilio_rest::TwilioError;
use call::twilio::webhook::{AnsweredBy, CallStatus};
use clinic::schedule::{AttemptState, MissedCall, Pace};
use clinic::{CallId, CallOutcome, Direction, PatientId, PlannedCallId};
use jiff::civil::Date;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use store::{FinishCall, MasterKey, NewCall, PlannedState, Store, StoreConfig};

const KEY: &str = "4f1c8e0b7a2d5936c1e8f40a9b3d7c5562718293a4b5c6d7e8f90a1b2c3d4e5f";

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    pub(super) at_once: usize,
    /// Answers, callbacks and whole processes get lost.
    pub(super) losses: bool,
    /// Everybody is due on the same morning, and talks for long.
    pub(super) same_morning: bool,
}

impl Trouble {
    pub(super) const NONE: Self = Self { at_once: 20, losses: false, same_morning: false };
    pub(super) const MUCH: Self = Self { losses: true, ..Self::NONE };
}

/// What came of it all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) planned: usize,
    pub(super) rings: usize,
    pub(super) reached: usize,
    pub(super) missed: usize,
    pub(super) unknown: usize,
    pub(super) crashes: usize,
    pub(super) lost_answers: usize,
    pub(super) lost_callbacks: usize,
    pub(super) turns: usize,
}

#[derive(Debug)]
enum Event {
    /// Twilio's answer to a question of the process with this number.
    Answer(usize, Answer),
    /// The exchange says how a call stands.
    Status(String, CallStatus),
    /// Answering-machine detection came to its verdict.
    Machine(String),
    /// Somebody or something answered: we are asked what to say.
    Begin(String),
    /// The conversation ends.
    End(String),
}

/// An event with its time; the number keeps the order of those at the same time.
struct Due(i64, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(super) struct World {
    folder: tempfile::TempDir,
    store: Store,
    /// The running process; nothing between a crash and the next start.
    process: Option<Dispatcher>,
    process_number: usize,
    wake_at_us: i64,
    exchange: Exchange,
    people: BTreeMap<PatientId, Person>,
    days: i32,
    trouble: Trouble,
    dice: Dice,
    events: BinaryHeap<Reverse<Due>>,
    serial: u64,
    /// Conversations, with the process that holds them.
    sessions: HashMap<String, (CallId, usize)>,
    spoken: HashSet<(PatientId, Date)>,
    placed: HashSet<(PatientId, Date, u32)>,
    first_rings: Vec<(i64, i64)>,
    live: Vec<String>,
    last_request_us: i64,
    told: HashMap<PlannedCallId, (usize, MissedCall)>,
    told_again: usize,
    counts: Counts,
}

fn start_us() -> i64 {
    START.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_microsecond() - 86_400 * SECOND_US
}

impl World {
    pub(super) async fn open(patients: usize, days: i32, trouble: Trouble, seed: u64) -> Self {
        // In memory where the system offers that: what is tried out here is not the disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = open_store(&folder).await;
        let rows: Vec<_> = (0..patients).map(new_patient).collect();
        store.import_patients(&rows).await.unwrap();
        let mut dice = Dice::new(seed);
        let mut people = BTreeMap::new();
        for (n, patient) in store.list_patients().await.unwrap().into_iter().enumerate() {
            let mut table = timetable(n, days, trouble.same_morning, &mut dice);
            table.ends_on = Some(START.checked_add(jiff::Span::new().days(days - 1)).unwrap());
            store.add_schedule(&patient.id, &table, start_us()).await.unwrap();
            let number = patient.details.phone.expose().to_owned();
            people.insert(patient.id.clone(), Person { id: patient.id, number, table });
        }
        Self {
            process: Some(Dispatcher::new(store.clone(), Pace::new(trouble.at_once, 1))),
            folder,
            store,
            process_number: 0,
            wake_at_us: start_us(),
            exchange: Exchange::new(seed, trouble.losses, trouble.same_morning),
            people,
            days,
            trouble,
            dice,
            events: BinaryHeap::new(),
            serial: 0,
            sessions: HashMap::new(),
            spoken: HashSet::new(),
            placed: HashSet::new(),
            first_rings: Vec::new(),
            live: Vec::new(),
            last_request_us: 0,
            told: HashMap::new(),
            told_again: 0,
            counts: Counts::default(),
        }
    }

    fn later(&mut self, at_us: i64, event: Event) {
        self.serial += 1;
        self.events.push(Reverse(Due(at_us, self.serial, event)));
    }

    /// Lets the month pass.
    pub(super) async fn run(&mut self) {
        let end_us = start_us() + i64::from(self.days + 4) * 86_400 * SECOND_US;
        loop {
            let event_us = self.events.peek().map_or(i64::MAX, |Reverse(due)| due.0);
            let now_us = event_us.min(self.wake_at_us);
            if now_us > end_us {
                break;
            }
            if event_us <= self.wake_at_us {
                let Reverse(Due(_, _, event)) = self.events.pop().unwrap();
                self.happen(now_us, event).await;
            } else if self.process.is_none() {
                self.restart(now_us).await;
            } else {
                self.turn(now_us).await;
            }
        }
        assert!(self.process.is_some(), "the month ends with the server down");
    }

    async fn restart(&mut self, now_us: i64) {
        self.store.close().await;
        self.store = open_store(&self.folder).await;
        self.store.recover(now_us).await.unwrap();
        self.process_number += 1;
        self.process = Some(Dispatcher::new(self.store.clone(), Pace::new(self.trouble.at_once, 1)));
        self.wake_at_us = now_us;
    }

    /// The process dies; with it everything it had not written down.
    fn crash(&mut self, now_us: i64) {
        self.process = None;
        self.counts.crashes += 1;
        let down_s = if self.dice.chance(30) { 12 * 3_600 } else { 5 + self.dice.below(1_200) };
        self.wake_at_us = now_us + i64::try_from(down_s).unwrap() * SECOND_US;
    }

    fn crashes(&mut self, permille: u64) -> bool {
        self.trouble.losses && self.dice.chance(permille)
    }

    async fn turn(&mut self, now_us: i64) {
        self.counts.turns += 1;
        let turn = self.process.as_mut().unwrap().turn(now_us, 100).await.unwrap();
        assert!(turn.in_flight <= self.trouble.at_once, "more calls in flight than allowed");
        self.wake_at_us = turn.wake_at_us.max(now_us + 1);
        for action in turn.actions {
            match action {
                Action::Report(missed) => {
                    let told = self.told.entry(missed.planned_call_id.clone()).or_insert((0, missed.clone()));
                    told.0 += 1;
                    self.told_again += usize::from(told.0 > 1);
                    assert_eq!(told.1, missed, "the same missed call is told differently");
                    if self.crashes(20) {
                        return self.crash(now_us);
                    }
                    self.process.as_mut().unwrap().reported(now_us, &missed).await.unwrap();
                }
                Action::Ask(question) => {
                    let is_call = matches!(question, Question::Place { .. });
                    // Claimed, and the request never leaves the house.
                    if is_call && self.crashes(2) {
                        return self.crash(now_us);
                    }
                    self.ask(now_us, question).await;
                    // The request is on its way, and nobody will hear the answer.
                    if is_call && self.crashes(2) {
                        return self.crash(now_us);
                    }
                }
            }
        }
    }

    async fn ask(&mut self, now_us: i64, question: Question) {
        let answer = match question {
            Question::Place { attempt, to } => {
                assert!(now_us - self.last_request_us >= SECOND_US, "two calls within a second");
                self.last_request_us = now_us;
                self.live.retain(|sid| self.exchange.rings[sid].is_live(now_us));
                assert!(self.live.len() < self.trouble.at_once, "too many calls at once");
                let engaged = self.live.iter().any(|sid| self.exchange.rings[sid].to == to.expose());
                assert!(!engaged, "a line that is in use is called");
                match self.exchange.place(&attempt, to.expose(), now_us) {
                    Reply::NotTaken(error) => {
                        self.counts.lost_answers += usize::from(error == TwilioError::Unknown);
                        Answer::Placed(attempt, Err(error))
                    }
                    Reply::Taken(view) => {
                        self.taken(now_us, &view.sid).await;
                        Answer::Placed(attempt, Ok(view))
                    }
                    Reply::TakenAnswerLost => {
                        self.counts.lost_answers += 1;
                        let sid = format!("CA{:032x}", self.exchange.rings.len());
                        self.taken(now_us, &sid).await;
                        Answer::Placed(attempt, Err(TwilioError::Unknown))
                    }
                }
            }
            Question::Find { attempt, to } => Answer::Found(attempt, Ok(self.exchange.list(to.expose(), now_us))),
            Question::Read { attempt, call_sid } => {
                let lost = self.trouble.losses && self.dice.chance(50);
                let view = self.exchange.rings[&call_sid].view(now_us);
                Answer::Read(attempt, if lost { Err(TwilioError::Unknown) } else { Ok(view) })
            }
        };
        let delay_us = i64::try_from(50_000 + self.dice.below(400_000)).unwrap();
        self.later(now_us + delay_us, Event::Answer(self.process_number, answer));
    }

    /// The exchange took a call: it must be one that may be made, once.
    async fn taken(&mut self, now_us: i64, sid: &str) {
        self.counts.rings += 1;
        self.live.push(sid.to_owned());
        let ring = self.exchange.rings[sid].clone();
        let attempt = self.store.get_attempt(&ring.attempt).await.unwrap();
        let planned = self.store.get_planned_call(&attempt.planned_call_id).await.unwrap();
        let person = &self.people[&attempt.patient_id];
        assert_eq!(person.number, ring.to, "somebody else is called");
        let date = person.may_be_called_at(now_us);
        assert_eq!(planned.planned_for, date, "called on another day than planned");
        assert!((1..=person.table.max_attempts).contains(&attempt.number), "more attempts than allowed");
        let new = self.placed.insert((person.id.clone(), date, attempt.number));
        assert!(new, "attempt {} on {date} was placed twice", attempt.number);
        assert!(!self.spoken.contains(&(person.id.clone(), date)), "called again after having been reached");
        if attempt.number == 1 {
            self.first_rings.push((planned.first_due_us, now_us));
        }
        self.callback(now_us + 400_000, Event::Status(ring.sid.clone(), CallStatus::Initiated));
        if let Some(answered_us) = ring.answered_us {
            self.later(answered_us, Event::Begin(ring.sid.clone()));
            // Before or after the callback that says the same.
            let end_us = ring.ends_us + i64::try_from(self.dice.below(1_000_000)).unwrap();
            self.later(end_us, Event::End(ring.sid.clone()));
            if ring.fate == Fate::Machine {
                self.callback(answered_us + 4 * SECOND_US, Event::Machine(ring.sid.clone()));
            }
        }
        self.callback(ring.ends_us + 300_000, Event::Status(ring.sid.clone(), ring.last_status()));
    }

    /// A callback, which may be lost, late, or sent twice.
    fn callback(&mut self, at_us: i64, event: Event) {
        if !self.trouble.losses {
            return self.later(at_us, event);
        }
        if self.dice.chance(100) {
            self.counts.lost_callbacks += 1;
            return;
        }
        let late_us = if self.dice.chance(50) { i64::try_from(self.dice.below(600)).unwrap() * SECOND_US } else { 0 };
        if self.dice.chance(30)
            && let Event::Status(sid, status) = &event
        {
            self.later(at_us + 2 * SECOND_US, Event::Status(sid.clone(), status.clone()));
        }
        self.later(at_us + late_us, event);
    }

    async fn happen(&mut self, now_us: i64, event: Event) {
        if self.process.is_none() {
            return; // Nobody is there to hear it.
        }
        let settled = match event {
            Event::Answer(process, answer) => {
                if process == self.process_number {
                    self.process.as_mut().unwrap().take(now_us, answer).await.unwrap();
                }
                process == self.process_number
            }
            Event::Status(sid, status) => {
                let attempt = self.exchange.rings[&sid].attempt.clone();
                hear(&self.store, Some(&attempt), &sid, News::Status(&status, None::<&AnsweredBy>), now_us).await
            }
            Event::Machine(sid) => {
                let attempt = self.exchange.rings[&sid].attempt.clone();
                self.finish(&sid, CallOutcome::Voicemail, now_us).await;
                let settled = hear(&self.store, Some(&attempt), &sid, News::Machine, now_us).await;
                let attempt = self.store.get_attempt(&attempt).await.unwrap();
                let planned = self.store.get_planned_call(&attempt.planned_call_id).await.unwrap();
                self.spoken.remove(&(attempt.patient_id, planned.planned_for));
                settled
            }
            Event::Begin(sid) => {
                let ring = self.exchange.rings[&sid].clone();
                note_sid(&self.store, &ring.attempt, &sid, now_us).await;
                let patient_id = Some(self.store.get_attempt(&ring.attempt).await.unwrap().patient_id);
                let new = NewCall { call_sid: &sid, patient_id, direction: Direction::Outbound, started_at_us: now_us };
                let handle = self.store.begin_call(new).await.unwrap();
                self.sessions.insert(sid, (handle.id, self.process_number));
                false
            }
            Event::End(sid) => {
                if !self.finish(&sid, CallOutcome::Completed, now_us).await {
                    return;
                }
                let attempt = self.store.get_attempt(&self.exchange.rings[&sid].attempt).await.unwrap();
                let planned = self.store.get_planned_call(&attempt.planned_call_id).await.unwrap();
                let settled = hear(&self.store, None, &sid, News::Conversation(CallOutcome::Completed), now_us).await;
                // A machine that nobody recognised in time passes for a person, until Twilio's verdict comes.
                if self.store.get_attempt(&attempt.id).await.unwrap().state == AttemptState::Answered {
                    self.spoken.insert((attempt.patient_id, planned.planned_for));
                }
                settled
            }
        };
        if settled {
            self.wake_at_us = self.wake_at_us.min(now_us);
        }
    }

    /// Ends a conversation, if this process holds it.
    async fn finish(&mut self, sid: &str, outcome: CallOutcome, now_us: i64) -> bool {
        let Some((id, process)) = self.sessions.remove(sid) else { return false };
        if process != self.process_number {
            return false;
        }
        let (agents, end_cause) = (Vec::new(), None);
        let end = FinishCall { outcome, end_cause, ended_at_us: now_us, agents, turns: 1, interruptions: 0 };
        self.store.finish_call(&id, end).await.unwrap();
        true
    }

    /// Whether everybody was called when it was time, and every missed call reported once.
    pub(super) async fn check(&mut self) -> Counts {
        let mut missed = BTreeSet::new();
        for person in self.people.values() {
            let calls = self.store.list_planned_calls(&person.id, 1_000).await.unwrap();
            let dates: BTreeSet<Date> = calls.iter().map(|call| call.planned_for).collect();
            assert_eq!(dates, person.dates(self.days), "days were added or left out");
            assert_eq!(dates.len(), calls.len(), "a day was planned twice");
            for call in &calls {
                self.counts.planned += 1;
                let in_flight = call.attempts.iter().filter(|attempt| attempt.state.is_in_flight()).count();
                assert_eq!(in_flight, 0, "an attempt was never settled");
                let unknown = call.attempts.iter().filter(|attempt| attempt.state == AttemptState::Unknown).count();
                self.counts.unknown += unknown;
                let reached = self.spoken.contains(&(person.id.clone(), call.planned_for));
                match call.state {
                    PlannedState::Done => {
                        assert!(reached, "taken for reached");
                        self.counts.reached += 1;
                    }
                    PlannedState::Missed => {
                        assert!(!reached, "reported as missed after having been reached");
                        missed.insert(call.id.clone());
                    }
                    state => panic!("a call of {} is still {state:?}", call.planned_for),
                }
            }
        }
        self.counts.missed = missed.len();
        let told: BTreeSet<PlannedCallId> = self.told.keys().cloned().collect();
        assert_eq!(told, missed, "missed calls that nobody was told about, or the other way round");
        // Told again only when the process died before it could note that it had told.
        assert!(self.told_again <= self.counts.crashes * 50);
        assert!(self.trouble.losses || self.told_again == 0);
        std::mem::take(&mut self.counts)
    }

    /// True when nobody was called before somebody who was due earlier, as far as first attempts go.
    pub(super) fn first_rings_follow_the_queue(&self) -> bool {
        self.first_rings.len() > 10 && self.first_rings.is_sorted()
    }
}

async fn open_store(folder: &tempfile::TempDir) -> Store {
    let config = StoreConfig {
        database_url: format!("sqlite://{}", folder.path().join("month.db").display()),
        audio_dir: folder.path().join("audio"),
    };
    Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap()
}
