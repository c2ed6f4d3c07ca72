//! The world of one seed: patients who are telephoned, one server, and what goes wrong. Everything that must hold is
//! checked after each step, and once more when nothing moves any longer.

use super::fault::{Fault, Mode, Moment, What};
use super::line::Line;
use super::patient::{Asked, Patient, Persona};
use super::phone::Phone;
use super::server::{Note, Sabotage, Server};
use super::sound::STEP_MS;
use crate::rng::Rng;
use clinic::answers::WeightUnit;
use clinic::fallback::{self, Became, Next, Policy, Step};
use clinic::identity::Identity;
use clinic::protocol::Protocol;
use clinic::schedule;
use clinic::visit::{IdentityStatus, Setup, VisitRecord, replay};
use clinic::{CallOutcome, TimelineKind};

/// A world that still moves after so many steps, two hours of calls, never comes to rest.
const STEPS_MAX: u64 = 72_000;
/// How long an attempt at a call-back stays open, in minutes.
const CALL_BACK_OPEN_MIN: u32 = 60;
/// For how long the REST interface answers with an error.
const REST_OUT_MS: u64 = 20_000;
/// Services are well again after so long, so that those who are called back find them so.
const MENDED_AFTER_MS: u64 = 90_000;
const TIMEZONE: &str = "America/New_York";

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seed of everything that varies.
    pub seed: u64,
    /// Calls that begin at the same time.
    pub calls: usize,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Patients do what they are asked, so that every visit can be completed.
    pub willing: bool,
    /// Deliberate errors.
    pub sabotage: Sabotage,
    /// Writes down what happens in every call, for whoever has to understand it.
    pub trace: bool,
}

/// What came of a world.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Visits, and how many of them were completed, or handed over to a person as they should.
    pub visits: usize,
    /// See [`Self::visits`].
    pub completed: usize,
    /// See [`Self::visits`].
    pub handed_over: usize,
    /// Patients who left, refused, or did not answer.
    pub by_patient: usize,
    /// Visits that took a second call.
    pub called_back: usize,
    /// Calls in which the script took over.
    pub scripted: usize,
    /// Longest silence that a patient heard where the system had to speak, in milliseconds.
    pub dead_air_ms: u64,
    /// Patients' speech that was not recorded, in milliseconds.
    pub audio_lost_ms: u64,
    /// Answers that were noted and are not in what is kept.
    pub answers_lost: usize,
    /// Calls with a technical failure, and how many of these the staff were told of.
    pub failures: usize,
    /// See [`Self::failures`].
    pub told: usize,
    /// Time of all calls together, in milliseconds.
    pub call_ms: u64,
    /// The first thing that does not hold.
    pub broken: Option<String>,
    /// What happened in each call, a line each, where that was asked for.
    pub trace: Vec<String>,
    /// Whether everything went wrong that was to: the moment of a fault may never come.
    pub struck: bool,
}

/// What became of one patient's visit.
#[derive(Debug, Default, Clone)]
struct Case {
    taken: Vec<(Step, Became)>,
    attempts: u32,
    /// When the next call is due.
    due: Option<u64>,
    complete: bool,
    handed_over: bool,
    by_patient: bool,
}

struct World {
    now: u64,
    steps: u64,
    /// The wall clock, which may jump, in microseconds.
    wall_us: i64,
    server: Server,
    lines: Vec<Line>,
    cases: Vec<Case>,
    faults: Vec<Fault>,
    skip: u32,
    mend_at: Option<u64>,
    plan: Plan,
    verdict: Verdict,
}

/// Runs a world until it is at rest.
#[must_use]
pub fn run(plan: &Plan) -> Verdict {
    let mut rng = Rng::named(plan.seed, "world");
    // Some time in the calling hours, or outside of them.
    let wall_us = 1_767_225_600_000_000 + rng.between(0, 86_400) as i64 * 1_000_000;
    let mut world = World {
        now: 0,
        steps: 0,
        wall_us,
        server: Server::new(plan.seed, plan.sabotage),
        lines: Vec::new(),
        cases: vec![Case::default(); plan.calls],
        faults: plan.faults.clone(),
        skip: rng.between(0, 3) as u32,
        mend_at: None,
        plan: plan.clone(),
        verdict: Verdict { visits: plan.calls, ..Verdict::default() },
    };
    for patient in 0..plan.calls {
        world.call(patient);
    }
    while world.verdict.broken.is_none() && world.step() {}
    if world.verdict.broken.is_none() {
        world.settle();
    }
    world.verdict.struck = world.faults.is_empty();
    world.verdict.trace = world.lines.iter_mut().filter_map(|line| line.trace.take()).flatten().collect();
    world.verdict
}

fn setup() -> Setup {
    Setup {
        protocol: Protocol::shipped(),
        language: "en".to_owned(),
        given_name: "Ada".to_owned(),
        identity: Identity { birth_date: jiff::civil::date(1948, 4, 1), pin: Some("4711".to_owned()) },
        consent_on_file: false,
        nurse_line: true,
        weight_unit: WeightUnit::Lb,
    }
}

impl World {
    /// Telephones a patient.
    fn call(&mut self, patient: usize) {
        let Some(case) = self.cases.get_mut(patient) else { return };
        case.attempts += 1;
        case.due = None;
        let attempt = case.attempts;
        let mut rng = Rng::named(self.plan.seed, &format!("patient {patient} {attempt}"));
        let flagged = self.plan.faults.iter().any(|fault| fault.moment == Moment::RedFlag);
        let persona = if self.plan.willing { Persona::willing(&mut rng, flagged) } else { Persona::any(&mut rng) };
        let person = Patient::new(persona, rng.clone(), self.now);
        let id = self.lines.len();
        let mut line = Line::new(id, self.now, (patient, attempt), person, setup(), rng, &mut self.server);
        line.trace = self.plan.trace.then(Vec::new);
        self.lines.push(line);
    }

    /// Lets 100 milliseconds pass; false when the world is at rest.
    fn step(&mut self) -> bool {
        self.pass_time();
        self.strike();
        self.server.step(self.now);
        if !self.server.up && self.now >= self.server.restart_at {
            self.server.up = true;
            self.recover();
        }
        let now = self.now;
        for line in self.lines.iter_mut().filter(|line| !line.settled) {
            line.step(now, &mut self.server);
            self.verdict.call_ms += STEP_MS;
            if let Some(broken) = line.broken.take() {
                self.verdict.broken.get_or_insert(broken);
            }
        }
        if let Some(broken) = self.server.journal.check(false) {
            self.verdict.broken.get_or_insert(broken);
        }
        for id in 0..self.lines.len() {
            self.finish(id);
        }
        let due: Vec<usize> = self.due();
        for patient in due {
            if self.server.up && self.server.rest.is_none() {
                self.call(patient);
            }
        }
        self.steps += 1;
        if self.steps >= STEPS_MAX {
            self.verdict.broken.get_or_insert_with(|| "the world does not come to rest".to_owned());
        }
        self.lines.iter().any(|line| !line.settled)
            || self.cases.iter().any(|case| case.due.is_some())
            || !self.server.nothing_on_its_way()
            || !self.server.up
    }

    fn due(&self) -> Vec<usize> {
        let due = |case: &Case| case.due.is_some_and(|at| at <= self.now);
        self.cases.iter().enumerate().filter(|(_, case)| due(case)).map(|(n, _)| n).collect()
    }

    /// A step, or all the time until somebody is called where nothing else happens.
    fn pass_time(&mut self) {
        let idle = self.server.up && self.server.nothing_on_its_way() && self.lines.iter().all(|line| line.settled);
        let wait = self.cases.iter().filter_map(|case| case.due).min().map_or(0, |due| due.saturating_sub(self.now));
        let step = if idle { wait.max(STEP_MS) } else { STEP_MS };
        self.now += step;
        self.wall_us += step as i64 * 1_000;
        if self.mend_at.is_some_and(|at| self.now >= at) {
            self.mend_at = None;
            self.server.mend();
        }
    }

    /// What is to go wrong goes wrong when its moment has come.
    fn strike(&mut self) {
        let Some(line) = self.lines.first() else { return };
        let ready: Vec<usize> = self
            .faults
            .iter()
            .enumerate()
            .filter(|(_, fault)| reached(line, fault.moment, self.now, self.skip))
            .map(|(n, _)| n)
            .collect();
        for n in ready.into_iter().rev() {
            let fault = self.faults.remove(n);
            for line in &mut self.lines {
                line.note(self.now, || format!("fault: {}", fault.name));
            }
            self.apply(fault.what);
        }
    }

    fn apply(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Agent(mode, scope) => {
                self.server.break_service(mode, scope);
                self.mend_at = Some(now + MENDED_AFTER_MS);
                let all = scope == super::fault::Scope::All;
                for line in &mut self.lines {
                    line.service_fails(now, mode, all);
                }
            }
            What::Kill(down_ms) => {
                self.server.kill(now, down_ms);
                for line in &mut self.lines {
                    line.killed(now);
                }
            }
            What::DatabaseOut(ms) => self.server.database_back = now + ms,
            What::DiskFull(ms) => self.server.disk_back = now + ms,
            What::NoStorage(ms) => (self.server.database_back, self.server.disk_back) = (now + ms, now + ms),
            What::ClockJump(seconds) => self.wall_us += seconds * 1_000_000,
            What::Rest(status) => self.server.rest = Some((now + REST_OUT_MS, status)),
            What::StatusStorm => self.server.status_storm = true,
            one => {
                let Some(line) = self.lines.first_mut() else { return };
                strike_line(line, one, now, &mut self.server);
            }
        }
    }

    /// After a restart: calls that were under way are over, and what is known of them is read from what was kept. What
    /// staff are to be told stands in the records of a call that is closed, so it is told then if it was not yet.
    fn recover(&mut self) {
        for line in self.lines.iter().filter(|line| line.settled) {
            for raised in line.record.iter().flat_map(|record| &record.red_flags) {
                self.server.tell(self.now, line.id, &format!("red flag {}", raised.flag.code));
            }
            if line.measured.technical || line.measured.interrupted {
                self.server.tell(self.now, line.id, "technical failure");
            }
        }
        for line in self.lines.iter_mut().filter(|line| line.measured.interrupted && line.record.is_none()) {
            let events = self.server.journal.durable(line.id);
            let record = replay(line.setup.clone(), &events, &line.segments);
            for raised in &record.red_flags {
                self.server.tell(self.now, line.id, &format!("red flag {}", raised.flag.code));
            }
            line.record = Some(record);
        }
    }

    /// A call is over: the staff hear of what failed, and somebody who was cut off is called again.
    fn finish(&mut self, id: usize) {
        let now = self.now;
        let Some(line) = self.lines.get_mut(id).filter(|line| !line.settled && line.is_over()) else { return };
        if !self.server.up || line.record.is_none() {
            return;
        }
        line.settled = true;
        let outcome = match &line.summary {
            Some(summary) => summary.outcome,
            None => CallOutcome::Interrupted,
        };
        let record = line.record.clone();
        if line.measured.technical || line.measured.interrupted {
            self.server.tell(now, id, "technical failure");
        }
        self.verdict.dead_air_ms = self.verdict.dead_air_ms.max(line.measured.dead_air_ms);
        self.verdict.audio_lost_ms += line.measured.spoken_ms.saturating_sub(line.measured.captured_ms);
        self.verdict.scripted += usize::from(line.measured.scripted);
        if let Some(broken) = judge(line, outcome, record.as_ref()) {
            self.verdict.broken.get_or_insert_with(|| format!("{broken} (call {id})"));
        }
        let (patient, attempt) = (line.patient_id, line.attempt);
        let by_patient = left_by_patient(line);
        let transferred = line.measured.transferred;
        let Some(case) = self.cases.get_mut(patient) else { return };
        let done = record.as_ref().is_some_and(|record| record.complete || !record.red_flags.is_empty());
        let needed = fallback::is_needed(outcome, record.as_ref());
        case.complete |= done && !needed;
        case.handed_over |= transferred;
        case.by_patient |= by_patient && !needed;
        if attempt > 1 {
            self.verdict.called_back += usize::from(attempt == 2);
            if let Some(taken) = case.taken.iter_mut().find(|(step, _)| *step == Step::CallAgain) {
                taken.1 = if needed { Became::Failed } else { Became::Reached };
            }
        }
        if needed && self.plan.sabotage != Sabotage::NoCallBack {
            self.fall_back(patient);
        }
    }

    /// The next step of the clinic's policy for somebody whose call broke off.
    fn fall_back(&mut self, patient: usize) {
        let policy = Policy::default();
        let Some(case) = self.cases.get_mut(patient) else { return };
        while let Next::Take(step) = fallback::next(&policy, &case.taken) {
            match step {
                Step::CallAgain => {
                    let due_us = self.wall_us + i64::from(policy.after_min) * 60_000_000;
                    let day = schedule::call_back(TIMEZONE, due_us, CALL_BACK_OPEN_MIN);
                    let became = if let Some(day) = day {
                        let wait_ms = (day.opens_at_us - self.wall_us).max(0) as u64 / 1_000;
                        case.due = Some(self.now + wait_ms);
                        Became::UnderWay
                    } else {
                        Became::Failed
                    };
                    case.taken.push((step, became));
                }
                Step::Nurse => {
                    let what = format!("call patient {patient}");
                    self.server.told.push(Note { call: usize::MAX, what });
                    case.handed_over = true;
                    case.taken.push((step, Became::Reached));
                }
                Step::Sms => case.taken.push((step, Became::Failed)),
            }
        }
    }

    /// Nothing moves any more: what was promised has to be there.
    fn settle(&mut self) {
        self.server.journal.settle(self.now);
        if let Some(broken) = self.server.journal.check(true) {
            self.verdict.broken.get_or_insert(broken);
        }
        for line in &self.lines {
            let told =
                |what: &str| self.server.told.iter().filter(|note| note.call == line.id && note.what == what).count();
            let kept = self.server.journal.durable(line.id);
            for code in &line.measured.flags {
                let durable = kept
                    .iter()
                    .any(|event| matches!(&event.kind, TimelineKind::RedFlag { code: known, .. } if known == code));
                let times = told(&format!("red flag {code}"));
                if times > 1 || times == 0 && (durable || !line.measured.interrupted) {
                    let broken = format!("a red flag was told {times} times (call {})", line.id);
                    self.verdict.broken.get_or_insert(broken);
                }
            }
            let failed = line.measured.technical || line.measured.interrupted;
            let times = told("technical failure");
            self.verdict.failures += usize::from(failed);
            self.verdict.told += usize::from(failed && times == 1);
            if times != usize::from(failed) {
                let broken = format!("a technical failure was told {times} times (call {})", line.id);
                self.verdict.broken.get_or_insert(broken);
            }
            let noted = kept.iter().filter(|event| matches!(event.kind, TimelineKind::AnswerNoted { .. })).count();
            let all = self.server.journal.events.get(&line.id).map(Vec::as_slice).unwrap_or_default();
            let given = all.iter().filter(|event| matches!(event.kind, TimelineKind::AnswerNoted { .. })).count();
            self.verdict.answers_lost += given - noted.min(given);
        }
        for (n, case) in self.cases.iter().enumerate() {
            self.verdict.completed += usize::from(case.complete);
            self.verdict.handed_over += usize::from(!case.complete && case.handed_over);
            self.verdict.by_patient += usize::from(!case.complete && !case.handed_over && case.by_patient);
            if !(case.complete || case.handed_over || case.by_patient) {
                self.verdict.broken.get_or_insert_with(|| {
                    let of = self.lines.iter().filter(|line| line.patient_id == n).map(ending).collect::<Vec<_>>();
                    format!("a visit is neither complete nor handed over (patient {n}: {})", of.join("; "))
                });
            }
        }
    }
}

/// How a call ended, for whoever has to understand it.
fn ending(line: &Line) -> String {
    let cause = line.summary.as_ref().map_or_else(|| "killed".to_owned(), |s| format!("{:?} {:?}", s.outcome, s.cause));
    format!("{cause}, agents {:?}", line.measured.failures)
}

/// Whether the patient, and nobody else, is why a visit is not complete.
fn left_by_patient(line: &Line) -> bool {
    let record = line.record.as_ref();
    let stranger = record.is_some_and(|record| record.identity.status != IdentityStatus::Identified);
    let hung_up = line.patient.persona.hangs_up_ms.is_some() && line.patient.hung_up();
    let silent = line.patient.silences >= 2;
    hung_up || silent || (stranger && line.patient.persona.misremembers)
}

/// What is wrong with how a call ended.
fn judge(line: &Line, outcome: CallOutcome, record: Option<&VisitRecord>) -> Option<String> {
    let record = record?;
    let interrupted = line.measured.interrupted;
    let flagged = !record.red_flags.is_empty();
    if line.patient.named_flag && !flagged && record.complete {
        return Some(format!("chest pain was named, and no red flag raised: {}", ending(line)));
    }
    if flagged && !interrupted && !left_by_patient(line) {
        let advised = line.patient.heard_emergency || line.measured.transferred;
        if !advised && !fallback::is_needed(outcome, Some(record)) {
            return Some(format!("a red flag, and the patient was not told whom to call: {}", ending(line)));
        }
    }
    None
}

fn strike_line(line: &mut Line, what: What, now: u64, server: &mut Server) {
    match what {
        What::PhoneStall(ms) => line.stalled_until = now + ms,
        What::AgentStall(ms) => line.agent_stalled_until = now + ms,
        What::SlowReader(ms) => line.unread_until = now + ms,
        What::StreamLost => line.stream_lost(now, server),
        What::StreamError => line.handle(now, call::Input::StreamFailed, server),
        What::TickBack(ms) => line.tick_back_ms = ms,
        What::MarksLost => line.marks_lost = true,
        What::WrongMachine => line.wrong_machine(now, server),
        _ => {}
    }
}

/// Whether a call is at a moment now.
fn reached(line: &Line, moment: Moment, now: u64, skip: u32) -> bool {
    let streaming = matches!(line.phone, Phone::Stream);
    let task = |index: usize| line.setup.protocol.items.get(index).is_some_and(|item| item.task().is_some());
    match moment {
        Moment::Ringing => true,
        Moment::FirstWord => streaming && !line.has_heard_agent(),
        Moment::Greeting => line.is_first_reply() && line.playing_now().is_some_and(|(_, heard)| heard >= 1_000),
        Moment::Question => {
            line.questions > skip
                && line.playing_now().is_some_and(|(text, heard)| {
                    heard >= 600 && matches!(line.patient.asked_in(text), Asked::Item(index) if !task(index))
                })
        }
        Moment::Answer => {
            line.questions > skip && matches!(line.patient.answering(), Some(Asked::Item(index)) if !task(index))
        }
        Moment::Task => matches!(line.patient.answering(), Some(Asked::Item(index)) if task(index)),
        Moment::RedFlag => line.flagged_for(now).is_some_and(|ms| ms >= 300),
        Moment::Closing => {
            let closing = line.setup.protocol.text("en", "closing", "Ada");
            line.playing_now().is_some_and(|(text, heard)| heard >= 1_000 && text.contains(&closing))
        }
    }
}

/// A world of the kind that is made in great numbers: a few calls, a few faults, any kind of patient.
#[must_use]
pub fn random_plan(seed: u64) -> Plan {
    let mut rng = Rng::named(seed, "plan");
    let calls = [1, 1, 1, 2, 2, 3, 4, 6].get(rng.between(0, 7) as usize).copied().unwrap_or(1);
    let all = Fault::all();
    let faults = (0..rng.between(0, 3)).filter_map(|_| all.get(rng.between(0, all.len() as u64 - 1) as usize).cloned());
    let faults: Vec<Fault> = faults.collect();
    // A service that fails in two ways at once fails in the first.
    let mut kept: Vec<Fault> = Vec::new();
    for fault in faults {
        let agent = |fault: &Fault| matches!(fault.what, What::Agent(..));
        if !(agent(&fault) && kept.iter().any(agent)) {
            kept.push(fault);
        }
    }
    Plan { seed, calls, faults: kept, willing: false, sabotage: Sabotage::Nothing, trace: false }
}

/// Names of the faults of a plan.
#[must_use]
pub(super) fn names(plan: &Plan) -> Vec<&str> {
    plan.faults.iter().map(|fault| fault.name.as_str()).collect()
}

/// A great many calls at once, whose agent dies for all of them in the same second.
#[must_use]
pub fn storm_plan(seed: u64, calls: usize, scope: super::fault::Scope) -> Plan {
    let fault = Fault {
        name: "storm".to_owned(),
        what: What::Agent(Mode::Refuses(call::agent::ConnectFailure::Network), scope),
        moment: Moment::Answer,
    };
    Plan { seed, calls, faults: vec![fault], willing: true, sabotage: Sabotage::Nothing, trace: false }
}
