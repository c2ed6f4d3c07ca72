//! From one agent to the next, in the same call: reconnecting, the backups, the script, and what the patient hears
//! meanwhile.

use super::{Alert, Call, CloseReaction, Output};
use crate::Tick;
use crate::agent::{AgentLeg, Member};
use crate::bridge;
use crate::engine::agent_side::{AgentState, Tools};
use crate::engine::watch::Watch;
use clinic::TimelineKind;

/// Wait before the second and the third attempt after a passing failure, and after a refusal for lack of capacity.
const RETRY_AFTER_MS: [u64; 2] = [250, 1_000];
const BACK_OFF_MS: [u64; 2] = [1_000, 3_000];
/// Attempts at a service for which another one could stand in.
const ATTEMPTS_WITH_BACKUP: u32 = 2;
/// Reconnections to the same service after the patient has told something.
const RECONNECTS_AFTER_CONTENT: u32 = 1;
/// What the reason code of a broken connection is.
const BROKEN: &str = "close_1006";
/// And of a conversation that was refused because we said how it shall begin.
pub(super) const WORDS_REFUSED: &str = "words_refused";
/// Silence on the line of a patient who waits for the next agent, before something is said.
const SWITCHING_SILENCE_MS: u64 = 900;

/// Where a change of agents stands.
#[derive(Debug, Default)]
pub(super) struct Switch {
    /// When the agent that was last heard was lost; `None` while one carries the call.
    since: Option<Tick>,
    reconnects: u32,
    /// When the last phrase of ours was, and how often one was said since an agent was heard.
    phrase_at: Option<Tick>,
}

impl Switch {
    /// When the last phrase of ours was since an agent was heard.
    pub(super) fn last_phrase(&self) -> Option<Tick> {
        self.phrase_at
    }

    /// The agent that was last heard is lost, and nobody has been heard since.
    pub(super) fn is_under_way(&self) -> bool {
        self.since.is_some()
    }

    /// An agent is heard.
    pub(super) fn over(&mut self) {
        self.since = None;
        self.phrase_at = None;
    }
}

impl Call {
    /// The agent is gone, or of no use. The same one is tried again where that makes sense, then whoever is next.
    pub(super) fn agent_lost(&mut self, attempt: u32, reaction: CloseReaction, reason: &str) {
        self.uplink.close();
        if reaction == CloseReaction::Alert {
            let (service, reason) = (self.leg.service(), reason.to_owned());
            self.outputs.push_back(Output::Alert(Alert::AgentConfiguration { service, reason }));
        }
        if self.ending.is_ending() {
            // It has announced the end: what it said until then is played out.
            self.agent = AgentState::Finished;
            self.uplink.end();
            self.playout.complete(None);
            return self.ending.drain(self.now, self.playout.remaining_ms(self.now));
        }
        self.flush_held();
        if self.handed_over {
            // The phone company connects the caller with somebody else: nobody may talk into that.
            self.agent = AgentState::Failed;
            return self.record_failure(reason, "handed_over");
        }
        let since = *self.switch.since.get_or_insert(self.now);
        self.silence_phone();
        // There is a limit so that the script begins in time. Without one, somebody who may answer is better than nobody.
        let in_time =
            self.stream.is_none() || !self.chain.has_script() || self.now < since.plus_ms(self.config.agent_switch_ms);
        if in_time && self.may_reconnect(attempt, reaction, reason) {
            self.record_failure(reason, "retry");
            self.switch.reconnects += u32::from(self.counts.clinical_content);
            let waits = if reaction == CloseReaction::BackOff { BACK_OFF_MS } else { RETRY_AFTER_MS };
            let wait_ms = waits.get(attempt as usize - 1).or(waits.last()).copied().unwrap_or(1_000);
            self.connect_agent(attempt + 1, self.jittered(wait_ms, attempt));
        } else if let Some(next) = if in_time { self.chain.pop() } else { None } {
            self.record_failure(reason, "switch");
            self.leg = next;
            self.words_refused = false;
            self.switch.reconnects = 0;
            self.connect_agent(1, 0);
        } else if self.chain.has_script() {
            self.record_failure(reason, "script");
            return self.go_to_script();
        } else {
            return self.give_up(reason, reaction == CloseReaction::Alert);
        }
        // A phrase that was just begun covers the next attempt, too.
        let again = self.switch.phrase_at.map(|at| at.plus_ms(self.config.bridge_again_ms));
        if again.is_none_or(|at| at <= self.now) {
            self.bridge();
        }
    }

    /// The caller was to be connected with somebody, and was not: whoever is next carries the call on.
    pub(super) fn not_handed_over(&mut self) {
        if std::mem::take(&mut self.handed_over) && matches!(self.agent, AgentState::Failed) {
            self.agent_lost(1, CloseReaction::Next, "handed_over");
        }
    }

    fn may_reconnect(&self, attempt: u32, reaction: CloseReaction, reason: &str) -> bool {
        let passing = match reaction {
            CloseReaction::Retry | CloseReaction::Finished => true,
            CloseReaction::BackOff => !self.chain.has_agent() && !self.chain.has_script(),
            CloseReaction::Alert | CloseReaction::Next => false,
        };
        let attempts = if self.chain.has_agent() || self.chain.has_script() {
            ATTEMPTS_WITH_BACKUP.min(self.config.agent_attempts)
        } else {
            self.config.agent_attempts
        };
        // A new conversation does not know what was said in the old one, unless the visit tells it how to go on.
        let may_repeat = !self.counts.clinical_content
            || reason == WORDS_REFUSED
            || (self.config.resumes && reason == BROKEN && self.switch.reconnects < RECONNECTS_AFTER_CONTENT);
        passing && may_repeat && (attempt < attempts || reason == WORDS_REFUSED)
    }

    /// Calls that lost their agent in the same moment must not come back in the same moment.
    fn jittered(&self, wait_ms: u64, attempt: u32) -> u64 {
        if self.config.jitter_seed == 0 {
            return wait_ms;
        }
        // SplitMix64, whose low digits are good enough to spread calls.
        let mut x = self.config.jitter_seed.wrapping_add(u64::from(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        wait_ms / 2 + (x ^ (x >> 31)) % wait_ms.max(1)
    }

    fn record_failure(&mut self, reason: &str, action: &str) {
        let service = self.leg.service().into();
        self.record(TimelineKind::AgentFailed { service, reason: reason.into(), action: action.into() });
    }

    /// Nobody can carry this call on.
    fn give_up(&mut self, reason: &str, configuration: bool) {
        self.agent = AgentState::Failed;
        self.record_failure(reason, if configuration { "alert" } else { "give_up" });
        if self.stream.is_some() {
            self.finish(clinic::EndCause::AgentFailed);
        }
    }

    /// From here on call instructions ask the questions. The media stream ends, because Twilio obeys instructions only
    /// then; a stream that only listens takes its place.
    pub(super) fn go_to_script(&mut self) {
        self.close_task();
        self.tell_keys();
        self.agent = AgentState::Scripted;
        // Nobody is waited for any more.
        (self.first_word_by, self.watch) = (None, Watch::default());
        self.tools = Tools::default();
        self.leg = AgentLeg::Script;
        self.uplink.end();
        self.script.begun(self.now, self.stream.take().is_some());
        self.outputs.push_back(Output::CloseAgent);
        self.outputs.push_back(Output::ToScript);
    }

    /// Whether somebody could carry the call on in place of the present agent.
    pub(super) fn has_successor(&self) -> bool {
        self.chain.has_agent() || self.chain.has_script()
    }

    /// Whether there is more to ask than was asked: then an end that nobody meant is none.
    pub fn set_unfinished(&mut self, unfinished: bool) {
        self.unfinished = unfinished;
    }

    /// True once the script carries the call.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        matches!(self.agent, AgentState::Scripted)
    }

    /// Says something of our own to a patient who would otherwise hear nothing.
    pub(super) fn bridge(&mut self) {
        if self.stream.is_none() || self.ending.is_ending() {
            return;
        }
        self.switch.phrase_at = Some(self.now);
        self.playout.push_own(self.now, self.phrase.to_vec());
    }

    /// When the silence on the line has lasted for too long.
    fn bridge_deadline(&self) -> Option<Tick> {
        if self.stream.is_none() || self.ending.is_ending() || self.floor.is_speaking() || !self.task_is_quiet() {
            return None;
        }
        let quiet = self.playout.quiet_at()?;
        let last = quiet.max(self.started).max(self.floor.last_speech().map_or(Tick::ZERO, |(_, ended)| ended));
        let again = self.switch.phrase_at.map(|at| at.plus_ms(self.config.bridge_again_ms));
        let first = match self.agent {
            AgentState::Connecting { .. } | AgentState::Greeting { .. } | AgentState::Live { .. }
                if !self.agent_spoke =>
            {
                let wait_ms =
                    if self.switch.since.is_some() { SWITCHING_SILENCE_MS } else { self.config.bridge_start_ms };
                last.plus_ms(wait_ms)
            }
            AgentState::Live { .. } => last.max(self.waits_since()?).plus_ms(self.config.bridge_reply_ms),
            _ => return None,
        };
        Some(first.max(again.unwrap_or(first)).max(self.task_quiet_at().unwrap_or(first)))
    }

    /// By when a script has to take over from agents that are called and not heard.
    fn script_takes_over_at(&self) -> Option<Tick> {
        let tried = match self.agent {
            AgentState::Connecting { .. } | AgentState::Greeting { .. } => true,
            AgentState::Live { .. } => !self.agent_spoke,
            _ => false,
        };
        let waits = tried && self.stream.is_some() && self.chain.has_script() && !self.ending.is_ending();
        self.switch.since.filter(|_| waits && !self.handed_over).map(|since| since.plus_ms(self.config.agent_switch_ms))
    }

    pub(super) fn switch_on_time(&mut self) {
        if self.script_takes_over_at().is_some_and(|at| at <= self.now) {
            self.uplink.close();
            self.flush_held();
            self.silence_phone();
            self.record_failure("switch_timeout", "script");
            return self.go_to_script();
        }
        if self.bridge_deadline().is_some_and(|at| at <= self.now) {
            self.bridge();
        }
    }

    pub(super) fn switch_deadline(&self) -> Option<Tick> {
        self.bridge_deadline().into_iter().chain(self.script_takes_over_at()).min()
    }

    /// The member that carries the call, or is being called.
    #[must_use]
    pub fn member(&self) -> Member {
        self.leg.member()
    }

    /// The language that the agent that is being called is to speak.
    pub fn set_language(&mut self, language: &str) {
        if matches!(self.agent, AgentState::Connecting { .. }) {
            self.leg.set_language(language);
        }
    }

    /// The language of phrases of our own.
    pub fn speak(&mut self, language: &str) {
        self.phrase = bridge::phrase(language);
    }

    /// What the agent that is being called shall say first, because the visit goes on where another one left it. False
    /// when it will begin with words of its own.
    pub fn open_with(&mut self, words: Option<String>) -> bool {
        let words = words.filter(|_| !self.words_refused);
        let told = words.is_some();
        if !matches!(self.agent, AgentState::Connecting { .. }) {
            return false;
        }
        self.leg.open_with(words);
        told
    }
}
