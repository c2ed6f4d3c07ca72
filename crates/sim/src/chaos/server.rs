//! The simulated process and what it shares between its calls: breakers, services, journal, staff.

use super::fault::{Mode, Scope};
use super::journal::Journal;
use crate::rng::Rng;
use call::agent::Member;
use call::agent::breaker::{Breaker, FailureClass};
use std::collections::BTreeMap;

/// How long a probe takes.
const PROBE_MS: u64 = 300;

/// Something the staff were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) call: usize,
    pub(super) what: String,
}

/// Deliberate errors of the simulated server, to show that the invariants find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// None.
    #[default]
    Nothing,
    /// What the engine clears is played on.
    DropsClear,
    /// The agent asks an answered question again.
    AsksAgain,
    /// An entry of the spool gets lost.
    LosesEvent,
    /// Red flags are told twice.
    TellsTwice,
    /// Phrases of our own are not played.
    DeadAir,
    /// Nobody is called back.
    NoCallBack,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) up: bool,
    pub(super) restart_at: u64,
    breakers: BTreeMap<Member, Breaker>,
    probes: BTreeMap<Member, u64>,
    broken: BTreeMap<Member, Mode>,
    pub(super) journal: Journal,
    /// On their way to the staff.
    outbox: Vec<(u64, Note)>,
    pub(super) told: Vec<Note>,
    /// When the REST interface of the phone company answers again, and what until then.
    pub(super) rest: Option<(u64, u16)>,
    pub(super) status_storm: bool,
    pub(super) database_back: u64,
    pub(super) disk_back: u64,
    /// Conversations opened so far.
    pub(super) conversations: u64,
    pub(super) rng: Rng,
    pub(super) sabotage: Sabotage,
}

impl Server {
    pub(super) fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut journal = Journal::default();
        journal.loses_one = sabotage == Sabotage::LosesEvent;
        Self {
            up: true,
            restart_at: 0,
            breakers: BTreeMap::new(),
            probes: BTreeMap::new(),
            broken: BTreeMap::new(),
            journal,
            outbox: Vec::new(),
            told: Vec::new(),
            rest: None,
            status_storm: false,
            database_back: 0,
            disk_back: 0,
            conversations: 0,
            rng: Rng::named(seed, "server"),
            sabotage,
        }
    }

    /// An agent service begins to fail.
    pub(super) fn break_service(&mut self, mode: Mode, scope: Scope) {
        self.broken.insert(Member::ElevenLabs, mode);
        if scope == Scope::All {
            self.broken.insert(Member::ElevenLabsBackup, mode);
        }
    }

    /// How a service fails for new conversations.
    pub(super) fn mode(&self, member: Member) -> Option<Mode> {
        self.broken.get(&member).copied().filter(|mode| *mode != Mode::Drop)
    }

    /// The services recover.
    pub(super) fn mend(&mut self) {
        self.broken.clear();
    }

    pub(super) fn admits(&mut self, member: Member, now: u64) -> bool {
        self.breakers.entry(member).or_default().admits(now)
    }

    pub(super) fn succeeded(&mut self, member: Member) {
        self.breakers.entry(member).or_default().succeeded();
    }

    pub(super) fn failed(&mut self, member: Member, now: u64, class: FailureClass) {
        self.breakers.entry(member).or_default().failed(now, class);
    }

    pub(super) fn tell(&mut self, now: u64, call: usize, what: &str) {
        let note = Note { call, what: what.to_owned() };
        if self.knows(&note) {
            return;
        }
        let delay = self.rng.between(200, 900);
        if self.sabotage == Sabotage::TellsTwice && what.starts_with("red flag") {
            self.outbox.push((now + delay, note.clone()));
        }
        self.outbox.push((now + delay, note));
    }

    fn knows(&self, note: &Note) -> bool {
        self.told.contains(note) || self.outbox.iter().any(|(_, known)| known == note)
    }

    pub(super) fn kill(&mut self, now: u64, down_ms: u64) {
        self.up = false;
        self.restart_at = now + down_ms;
        self.outbox.clear();
        self.breakers.clear();
        self.probes.clear();
        self.journal.kill();
    }

    pub(super) fn step(&mut self, now: u64) {
        self.journal.database_out = now < self.database_back;
        self.journal.disk_full = now < self.disk_back;
        if self.rest.is_some_and(|(until, _)| now >= until) {
            self.rest = None;
        }
        if !self.up {
            return;
        }
        self.journal.step(now);
        let (due, later) = std::mem::take(&mut self.outbox).into_iter().partition(|(at, _)| *at <= now);
        self.outbox = later;
        let due: Vec<(u64, Note)> = due;
        self.told.extend(due.into_iter().map(|(_, note)| note));
        for (member, breaker) in &mut self.breakers {
            match self.probes.get(member).copied() {
                Some(at) if now >= at => {
                    self.probes.remove(member);
                    breaker.probed(now, !matches!(self.broken.get(member), Some(Mode::Refuses(_) | Mode::NoMetadata)));
                }
                None if breaker.wants_probe(now) => {
                    self.probes.insert(*member, now + PROBE_MS);
                }
                _ => {}
            }
        }
    }

    pub(super) fn nothing_on_its_way(&self) -> bool {
        self.outbox.is_empty()
    }
}
