//! Whether the agent is still good for anything: the detectors of its failures, each with a name.
//!
//! A socket that closes speaks for itself. These find the agent that is there and useless: one that owes the patient an
//! answer and says nothing, whose signs of life stop, that talks nonsense, or keeps everybody waiting. The table in
//! `docs/failover.md` lists them with their limits and reasons.

use super::{Call, CloseReaction};
use crate::Tick;
use crate::agent::AgentLeg;
use crate::engine::agent_side::AgentState;

/// Pings that must have come before their absence means anything.
const PINGS_KNOWN: u32 = 2;
/// A socket counts as dead after so many of the longest interval between two pings.
const PINGS_MISSED: u64 = 3;
/// An error announced by the agent is taken for its end when it has not gone on by then.
const ERROR_GRACE_MS: u64 = 2_000;
/// No voice speaks faster than this: a reply with less sound for its words was broken off.
const SOUND_PER_CHAR_MS: u64 = 25;
/// Silence of a caller who has used their voice in a task: longer than the pauses of somebody who counts out of breath.
const TASK_QUIET_MS: u64 = 5_000;
/// A task that is announced so soon after the agent spoke was asked for before.
const PROMPT_BEFORE_MS: u64 = 2_000;
/// Words of the caller's that nobody answered for so long, although something was said into their silence already: the
/// agent is gone, however often the caller answers our own phrases.
const HUNG_MS: u64 = 30_000;
/// And not sooner than this after the last of those phrases; they are repeated less often than that.
const HUNG_AFTER_PHRASE_MS: u64 = 2_000;

/// What the detectors remember of one conversation.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when the agent owes the caller sound.
    due_since: Option<Tick>,
    /// When the caller finished the first words that the agent has said nothing to.
    unanswered_since: Option<Tick>,
    /// When the agent was last heard, or said that it listens on purpose.
    last_turn: Option<Tick>,
    /// The reply whose words came last, and how many characters they have.
    words: Option<(i64, u64)>,
    /// The reply whose sound came last, and how long it is in milliseconds.
    sound: Option<(i64, u64)>,
    /// When the caller last pressed a key.
    last_keys: Option<Tick>,
    /// The last message of any kind, and the last that was no ping.
    last_message: Option<Tick>,
    last_event: Option<Tick>,
    pings: u32,
    last_ping: Option<Tick>,
    longest_ping_ms: u64,
    bad_in_row: u32,
    slow_in_row: u32,
    /// The answer that is due was counted as slow already.
    slow_counted: bool,
    queued_since: Option<Tick>,
    error: Option<(Tick, String, CloseReaction)>,
}

impl Watch {
    /// Any message that could be read.
    pub(super) fn heard(&mut self, now: Tick, is_ping: bool) {
        self.last_message = Some(now);
        self.bad_in_row = 0;
        if is_ping {
            if let Some(last) = self.last_ping.replace(now) {
                self.longest_ping_ms = self.longest_ping_ms.max(now.ms_since(last));
            }
            self.pings = self.pings.saturating_add(1);
        } else {
            self.last_event = Some(now);
        }
    }

    /// A message that could not be read.
    pub(super) fn garbage(&mut self) {
        self.bad_in_row = self.bad_in_row.saturating_add(1);
    }

    /// From now on the agent has to say something.
    pub(super) fn answer_due(&mut self, now: Tick) {
        if self.due_since.is_none() {
            self.slow_counted = false;
        }
        self.due_since.get_or_insert(now);
    }

    /// It spoke.
    pub(super) fn spoke(&mut self, now: Tick, slow_ms: u64) {
        self.last_turn = Some(now);
        self.unanswered_since = None;
        if let Some(since) = self.due_since.take() {
            if now.ms_since(since) < slow_ms {
                self.slow_in_row = 0;
            } else if !self.slow_counted {
                self.slow_in_row += 1;
            }
        }
        self.error = None;
    }

    /// These are the words of a reply.
    pub(super) fn words(&mut self, event_id: Option<i64>, text: &str) {
        self.words = event_id.map(|id| (id, text.chars().count() as u64));
    }

    /// This much sound of a reply came. Until there is enough for its words, the rest of it is owed.
    pub(super) fn sound(&mut self, now: Tick, event_id: i64, ms: u64) {
        let before = self.sound.filter(|(id, _)| *id == event_id).map_or(0, |(_, ms)| ms);
        self.sound = Some((event_id, before + ms));
        let whole_ms = self.words.filter(|(id, _)| *id == event_id).map_or(0, |(_, chars)| chars * SOUND_PER_CHAR_MS);
        if before + ms < whole_ms {
            self.slow_counted = true;
            self.due_since = Some(now);
        }
    }

    /// Nothing is owed any more: the caller speaks, or the agent is to listen.
    pub(super) fn nothing_due(&mut self) {
        self.due_since = None;
    }

    /// The caller has finished some words.
    pub(super) fn caller_finished(&mut self, now: Tick) {
        self.unanswered_since.get_or_insert(now);
    }

    /// Whether what the caller said last was answered already: then writing it down later is no new debt.
    pub(super) fn has_answered(&self, words_ended: Option<Tick>) -> bool {
        self.last_turn.zip(words_ended).is_some_and(|(turn, ended)| turn >= ended)
    }

    /// The announced error, if there is one that is worse than how the socket was closed.
    pub(super) fn worse_error(&mut self, than: CloseReaction) -> Option<(String, CloseReaction)> {
        let rank = |reaction: CloseReaction| match reaction {
            CloseReaction::Finished => 0,
            CloseReaction::Retry => 1,
            CloseReaction::BackOff => 2,
            CloseReaction::Next => 3,
            CloseReaction::Alert => 4,
        };
        let (_, reason, reaction) = self.error.take()?;
        (rank(reaction) > rank(than)).then_some((reason, reaction))
    }

    /// The agent leaves the floor to the caller on purpose.
    pub(super) fn listens(&mut self, now: Tick) {
        self.nothing_due();
        self.unanswered_since = None;
        self.last_turn = Some(now);
    }

    /// The caller pressed a key.
    pub(super) fn keys(&mut self, now: Tick) {
        self.last_keys = Some(now);
    }

    /// The conversation waits for capacity, or no longer.
    pub(super) fn queued(&mut self, now: Tick, queued: bool) {
        self.queued_since = if queued { self.queued_since.or(Some(now)) } else { None };
    }

    /// The agent announced an error.
    pub(super) fn error(&mut self, now: Tick, reason: String, reaction: CloseReaction) {
        self.error.get_or_insert((now.plus_ms(ERROR_GRACE_MS), reason, reaction));
    }

    fn ping_deadline(&self, silent_ms: u64) -> Option<Tick> {
        let wait_ms = silent_ms.max(self.longest_ping_ms.saturating_mul(PINGS_MISSED));
        self.last_message
            .filter(|_| self.pings >= PINGS_KNOWN && self.longest_ping_ms > 0)
            .map(|at| at.plus_ms(wait_ms))
    }
}

impl Call {
    /// What a detector found by now: the reason, and what to do.
    pub(super) fn failure_found(&mut self) -> Option<(String, CloseReaction)> {
        let AgentState::Live { queued, .. } = self.agent else {
            let greeting = matches!(self.agent, AgentState::Greeting { .. });
            if !greeting {
                return None;
            }
            let queued_by = self.queue_deadline().filter(|by| *by <= self.now);
            return self.error_found().or(queued_by.map(|_| ("queue_waiting".to_owned(), CloseReaction::Next)));
        };
        let found = |deadline: Option<Tick>| deadline.is_some_and(|at| at <= self.now);
        if let Some(error) = self.error_found() {
            return Some(error);
        }
        if self.watch.bad_in_row >= self.config.agent_garbage_max {
            return Some(("garbage".to_owned(), CloseReaction::Next));
        }
        if found(self.queue_deadline()) {
            return Some(("queue_waiting".to_owned(), CloseReaction::Next));
        }
        if found(self.watch.ping_deadline(self.config.agent_socket_silent_ms)) {
            return Some(("pings_missing".to_owned(), CloseReaction::Retry));
        }
        if queued {
            return None;
        }
        if found(self.silence_deadline()) {
            return Some(("silent".to_owned(), CloseReaction::Next));
        }
        if found(self.deaf_deadline()) || found(self.hung_deadline()) {
            return Some(("deaf".to_owned(), CloseReaction::Next));
        }
        if found(self.idle_deadline()) {
            return Some(("idle".to_owned(), CloseReaction::Next));
        }
        if found(self.slow_deadline()) {
            self.watch.slow_counted = true;
            self.watch.slow_in_row += 1;
            if self.watch.slow_in_row >= self.config.agent_slow_replies && self.chain.has_agent() {
                return Some(("slow_replies".to_owned(), CloseReaction::Next));
            }
        }
        None
    }

    /// When a detector has to look again.
    pub(super) fn watch_deadline(&self) -> Option<Tick> {
        match self.agent {
            AgentState::Greeting { .. } => self.queue_deadline().into_iter().chain(self.error_deadline()).min(),
            AgentState::Live { queued, .. } => {
                let error = self.error_deadline();
                let ping = self.watch.ping_deadline(self.config.agent_socket_silent_ms);
                let always = [error, ping, self.queue_deadline()];
                let silences =
                    [self.silence_deadline(), self.deaf_deadline(), self.hung_deadline(), self.idle_deadline()];
                let talking = silences.into_iter().chain([self.slow_deadline()]);
                always.into_iter().chain(talking.filter(|_| !queued)).flatten().min()
            }
            _ => None,
        }
    }

    /// By when the agent has to have gone on after an error that it announced. Where nobody waits for it, an error that it
    /// got over says nothing, so it has time until it would have to speak anyhow.
    fn error_deadline(&self) -> Option<Tick> {
        let (at, _, reaction) = self.watch.error.as_ref()?;
        let live = matches!(self.agent, AgentState::Live { .. });
        // The other services close after an error; this one also tells of trifles.
        let tells_trifles = matches!(self.leg, AgentLeg::Realtime(_));
        let nobody_waits = tells_trifles
            && live
            && self.agent_spoke
            && self.waits_since().is_none()
            && *reaction != CloseReaction::Alert;
        Some(if nobody_waits { at.plus_ms(self.config.agent_reply_ms) } else { *at })
    }

    fn error_found(&self) -> Option<(String, CloseReaction)> {
        self.error_deadline().filter(|at| *at <= self.now)?;
        self.watch.error.as_ref().map(|(_, reason, reaction)| (reason.clone(), *reaction))
    }

    fn queue_deadline(&self) -> Option<Tick> {
        self.watch.queued_since.map(|since| since.plus_ms(self.config.agent_queue_ms))
    }

    /// An answer is owed, nobody speaks, and nothing is to be listened to.
    fn silence_deadline(&self) -> Option<Tick> {
        let owed = self.watch.due_since.or_else(|| self.prompt_is_due()).filter(|_| self.may_expect_speech())?;
        Some(owed.max(self.last_sound()).plus_ms(self.config.agent_reply_ms))
    }

    /// The caller spoke, and since then the agent has shown no sign of having heard.
    fn deaf_deadline(&self) -> Option<Tick> {
        let ended = self.floor.last_words().filter(|_| self.may_expect_speech())?;
        let unheard = self.watch.last_event.is_none_or(|event| event < ended);
        (unheard && self.agent_spoke).then(|| ended.max(self.last_sound()).plus_ms(self.config.agent_deaf_ms))
    }

    /// Something was said into the silence after words that the agent did not answer, and it has not spoken since. The
    /// caller may have answered that phrase, again and again: it changes nothing.
    fn hung_deadline(&self) -> Option<Tick> {
        let since = self.watch.unanswered_since?;
        let expected = self.stream.is_some() && self.segments.task_opened().is_none() && !self.ending.is_ending();
        // The first phrase may come late, after a voice task: it is given a moment.
        let phrase = self.switch.last_phrase().filter(|at| *at > since && expected && !self.handed_over)?;
        Some(since.plus_ms(HUNG_MS).max(phrase.plus_ms(HUNG_AFTER_PHRASE_MS)))
    }

    /// Neither of them has made a sound. An agent that was well would have asked again. Voice tasks have an end of their
    /// own.
    fn idle_deadline(&self) -> Option<Tick> {
        let expected = self.stream.is_some() && !self.floor.is_speaking() && !self.ending.is_ending();
        let in_task = self.segments.task_opened().is_some();
        let talked = expected && !in_task && self.agent_spoke && !self.handed_over && self.has_successor();
        let last = self.last_sound().max(self.watch.last_turn.unwrap_or(Tick::ZERO));
        talked.then(|| last.max(self.watch.last_keys.unwrap_or(last)).plus_ms(self.config.agent_idle_ms))
    }

    fn slow_deadline(&self) -> Option<Tick> {
        let owed = self.watch.due_since.filter(|_| !self.watch.slow_counted && self.may_expect_speech())?;
        Some(owed.plus_ms(self.config.agent_slow_ms))
    }

    /// Since when the caller waits for words of the agent: since an answer is owed, or since they said something that the
    /// agent has not even shown to have heard.
    pub(super) fn waits_since(&self) -> Option<Tick> {
        let unanswered = self.floor.last_words().filter(|ended| self.watch.last_turn.is_none_or(|turn| turn < *ended));
        self.watch.due_since.or(unanswered).or_else(|| self.prompt_is_due())
    }

    /// No voice task is listened to, or the caller has used their voice in it: then they wait for the agent, and it is for
    /// the deadlines to leave them time for a pause.
    pub(super) fn task_is_quiet(&self) -> bool {
        let Some(opened) = self.segments.task_opened() else { return true };
        self.prompt_is_due().is_some() || self.floor.last_words().is_some_and(|ended| ended > opened)
    }

    /// Since when the agent owes the words that ask for the voice task it has announced.
    fn prompt_is_due(&self) -> Option<Tick> {
        let opened = self.segments.task_opened()?;
        let heard = self.agent_sound_until.plus_ms(PROMPT_BEFORE_MS) > opened;
        (!heard && self.watch.last_turn.is_none_or(|turn| turn < opened)).then_some(opened)
    }

    /// By when words of ours may be said into the silence of a voice task that is evidently over.
    pub(super) fn task_quiet_at(&self) -> Option<Tick> {
        let (_, ended) = self
            .floor
            .last_speech()
            .filter(|(_, ended)| self.segments.task_opened().is_some_and(|opened| *ended > opened))?;
        Some(ended.plus_ms(TASK_QUIET_MS))
    }

    /// By when an agent has to have said its first word. Nobody begins while the caller speaks.
    pub(super) fn first_word_deadline(&self) -> Option<Tick> {
        let by = self.first_word_by?;
        // Not for ever: who says "hello?" again and again hears nobody.
        let latest = by.plus_ms(self.config.agent_first_word_ms.saturating_mul(2));
        if self.floor.is_speaking() || !self.task_is_quiet() {
            return self.segments.task_opened().is_none().then_some(latest);
        }
        let spoken = self.floor.last_speech().map_or(Tick::ZERO, |(_, ended)| ended);
        Some(by.max(spoken.plus_ms(self.config.agent_first_word_ms)).min(latest))
    }

    fn may_expect_speech(&self) -> bool {
        self.stream.is_some() && self.task_is_quiet() && !self.floor.is_speaking() && !self.ending.is_ending()
    }

    /// When something was last to be heard on the line, as far as we can tell. Phrases of our own do not count: they are
    /// what is heard instead of the agent.
    fn last_sound(&self) -> Tick {
        self.agent_sound_until.max(self.floor.last_speech().map_or(Tick::ZERO, |(_, ended)| ended))
    }
}
