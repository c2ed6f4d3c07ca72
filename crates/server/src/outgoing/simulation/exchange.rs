//! A telephone exchange with Twilio's manners: it accepts requests or not, and its answers, callbacks and lists may be
//! late or lost.

use super::patients::Dice;
use crate::outgoing::line::CallView;
use crate::twilio_rest::TwilioError;
use call::twilio::webhook::{AnsweredBy, CallStatus};
use clinic::AttemptId;
use std::collections::BTreeMap;

pub(super) const SECOND_US: i64 = 1_000_000;

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Human,
    Busy,
    NoAnswer,
    Machine,
    Unreachable,
}

/// A call in the exchange.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    pub(super) attempt: AttemptId,
    pub(super) sid: String,
    pub(super) to: String,
    pub(super) at_us: i64,
    pub(super) answered_us: Option<i64>,
    pub(super) ends_us: i64,
    pub(super) fate: Fate,
    /// Before that the list of calls does not have it.
    listed_us: i64,
}

impl Ring {
    pub(super) fn last_status(&self) -> CallStatus {
        match self.fate {
            Fate::Human | Fate::Machine => CallStatus::Completed,
            Fate::Busy => CallStatus::Busy,
            Fate::NoAnswer => CallStatus::NoAnswer,
            Fate::Unreachable => CallStatus::Failed,
        }
    }

    pub(super) fn is_live(&self, now_us: i64) -> bool {
        (self.at_us..self.ends_us).contains(&now_us)
    }

    pub(super) fn view(&self, now_us: i64) -> CallView {
        let answered = self.answered_us.is_some_and(|at| at <= now_us);
        CallView {
            sid: self.sid.clone(),
            status: match (now_us >= self.ends_us, answered) {
                (true, _) => self.last_status(),
                (false, true) => CallStatus::InProgress,
                (false, false) => CallStatus::Ringing,
            },
            answered_by: (answered && self.fate == Fate::Machine).then_some(AnsweredBy::MachineStart),
            // To the second, as Twilio writes it, and by a clock that is not ours.
            created_us: Some((self.at_us / SECOND_US - 3) * SECOND_US),
            is_outgoing: true,
        }
    }
}

/// Whether the exchange took a request, and what the answer says when it arrives.
pub(super) enum Reply {
    Taken(CallView),
    TakenAnswerLost,
    NotTaken(TwilioError),
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) rings: BTreeMap<String, Ring>,
    dice: Dice,
    troubled: bool,
    /// Each call lasts an hour's third: for narrow lines.
    long_talks: bool,
}

impl Exchange {
    pub(super) fn new(seed: u64, troubled: bool, long_talks: bool) -> Self {
        Self { rings: BTreeMap::new(), dice: Dice::new(seed), troubled, long_talks }
    }

    /// A request to place a call arrives.
    pub(super) fn place(&mut self, attempt: &AttemptId, to: &str, now_us: i64) -> Reply {
        let dice = &mut self.dice;
        if self.troubled {
            match dice.below(1_000) {
                0..10 => return Reply::NotTaken(TwilioError::Unreachable),
                10..20 => return Reply::NotTaken(TwilioError::Busy),
                20..30 => return Reply::NotTaken(TwilioError::Refused { status: 400, code: 21_211 }),
                // An error of the server's own: the request is lost, but we cannot know.
                30..50 => return Reply::NotTaken(TwilioError::Unknown),
                _ => {}
            }
        }
        let fate = match dice.below(100) {
            0..60 => Fate::Human,
            60..70 => Fate::Busy,
            70..85 => Fate::NoAnswer,
            85..96 => Fate::Machine,
            _ => Fate::Unreachable,
        };
        let mut seconds = |from: i64, more: u64| (from + i64::try_from(dice.below(more)).unwrap()) * SECOND_US;
        let rings_us = seconds(3, 20);
        let talk_us = if self.long_talks { seconds(1_000, 400) } else { seconds(120, 400) };
        let (answered_us, ends_us) = match fate {
            Fate::Human => (Some(now_us + rings_us), now_us + rings_us + talk_us),
            Fate::Machine => (Some(now_us + rings_us), now_us + rings_us + seconds(15, 10)),
            Fate::NoAnswer => (None, now_us + 30 * SECOND_US),
            Fate::Busy | Fate::Unreachable => (None, now_us + 2 * SECOND_US),
        };
        let listed_us = now_us + if self.troubled { seconds(0, 200) } else { 0 };
        let sid = format!("CA{:032x}", self.rings.len() + 1);
        let (attempt, to) = (attempt.clone(), to.to_owned());
        let ring = Ring { attempt, sid: sid.clone(), to, at_us: now_us, answered_us, ends_us, fate, listed_us };
        let view = ring.view(now_us);
        self.rings.insert(sid, ring);
        if self.troubled && self.dice.chance(30) { Reply::TakenAnswerLost } else { Reply::Taken(view) }
    }

    /// The calls to a number, newest first.
    pub(super) fn list(&self, to: &str, now_us: i64) -> Vec<CallView> {
        let mut calls: Vec<&Ring> =
            self.rings.values().filter(|ring| ring.to == to && ring.listed_us <= now_us).collect();
        calls.sort_by_key(|ring| std::cmp::Reverse(ring.at_us));
        calls.into_iter().take(50).map(|ring| ring.view(now_us)).collect()
    }
}
