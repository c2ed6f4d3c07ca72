//! The agent's audio on its way to the phone: buffered, paced, followed by marks, and thrown away on barge-in.
//!
//! An agent sends a whole reply in bursts, faster than it is spoken; Twilio plays whatever it is given and would queue
//! minutes of it. So the reply waits here and only a short lead is kept in Twilio's queue: `clear` then costs little,
//! and what the patient has heard is known to within a fraction of a second. Marks are the only evidence of playing:
//! Twilio echoes them when the audio before them was played, and also, indistinguishably, when `clear` threw it away;
//! therefore marks that were outstanding at a `clear` count as cancelled, never as heard.

use crate::Tick;
use std::collections::VecDeque;

/// Audio kept in Twilio's queue ahead of the estimated playing position.
pub(crate) const LEAD_MS: u64 = 300;

/// Longest audio of one message. The lead is refilled when one message fits.
const MESSAGE_MS: u64 = 100;

/// Audio that may wait for playing: two minutes, far more than any reply. Beyond that it is dropped and counted.
/// Reading from the agent must not stop instead, because the interruption that empties the buffer comes on that socket.
const BUFFER_MAX_BYTES: usize = 120_000 * BYTES_PER_MS as usize;

/// Marks that may be outstanding. One goes with each message, so the lead holds a handful; a phone that never echoes
/// must not make the list grow.
const MARKS_MAX: usize = 256;

/// Smallest and largest depth of the adaptive buffer.
const DEPTH_MIN_MS: u64 = 40;
const DEPTH_MAX_MS: u64 = 800;

/// A reply whose audio pauses for longer than this was not starved, it was a pause of the agent's own.
const STARVED_MAX_MS: u64 = 2_000;

/// Speech without starvation after which the adaptive buffer shrinks by a quarter.
const SHRINK_AFTER_MS: u64 = 10_000;

/// Longest time after the end of playing that an echo is waited for before the phone counts as silent.
const ECHO_MAX_MS: u64 = 1_500;

const BYTES_PER_MS: u64 = 8;

/// Number of what is said by ourselves; replies count from 1.
const OWN_TURN: u32 = 0;

/// What to do towards the phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Send {
    /// Send this mu-law; it begins to play at the given moment, as far as we can tell.
    Media { ulaw: Vec<u8>, play_at: Tick },
    /// Send a mark of this name.
    Mark { name: String },
}

/// A reply that has left the playout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Played {
    pub(crate) turn: u32,
    pub(crate) sent_ms: u64,
    pub(crate) heard_ms: u64,
    pub(crate) interrupted: bool,
}

/// A reply of the agent.
#[derive(Debug)]
struct Turn {
    number: u32,
    event_id: i64,
    received_bytes: u64,
    sent_bytes: u64,
    heard_bytes: u64,
    /// No more audio will come: the agent said so, or a newer reply began.
    complete: bool,
    /// When the last mark that came back was echoed; before that, when its first audio came.
    heard_at: Tick,
}

#[derive(Debug)]
struct Mark {
    name: String,
    turn: u32,
    /// Bytes of the turn before the mark.
    turn_bytes: u64,
    /// When the audio before the mark was to have been played, by the clock.
    due: Tick,
    cancelled: bool,
}

/// Why the playout did not take audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It belongs to a reply that was interrupted.
    Stale,
    /// Two minutes of audio wait already.
    Full,
}

/// The state of the way from the agent to the phone.
#[derive(Debug)]
pub(crate) struct Playout {
    turns: VecDeque<Turn>,
    turns_begun: u32,
    queue: VecDeque<(u32, Vec<u8>)>,
    queued_bytes: usize,
    marks: VecDeque<Mark>,
    marks_sent: u64,
    /// When Twilio's queue runs empty if it plays each message as soon as it has it. Sending follows this clock and
    /// never the echoes: they are late by the way there and back, and a lead that is measured by them runs dry.
    play_end: Tick,
    /// How late the last echo came by that clock.
    echo_lag_us: u64,
    /// True while a reply flows; false while the buffer fills before it starts.
    flowing: bool,
    /// When the reply that is being held back has to start at the latest.
    start_by: Option<Tick>,
    depth_ms: u64,
    /// Milliseconds played since the last starvation or shrinking.
    smooth_ms: u64,
    /// Interrupted replies: audio with a smaller id is stale.
    stale_below: Option<i64>,
    /// After a local barge-in the agent does not know yet: its current reply is stale as well.
    stale_through: Option<i64>,
    newest_event: Option<i64>,
    dropped_bytes: u64,
    last_gap_ms: Option<u64>,
    figures: Figures,
}

/// How playing went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Replies that were begun to be played, and how long their first sound waited here, together and at most.
    pub(crate) replies: u32,
    pub(crate) delay_us: u64,
    pub(crate) delay_max_us: u64,
    /// Times a reply ran dry, and how long the caller waited.
    pub(crate) underruns: u32,
    pub(crate) underrun_ms: u64,
    pub(crate) depth_max_ms: u64,
}

impl Playout {
    pub(crate) fn new() -> Self {
        Self {
            turns: VecDeque::new(),
            turns_begun: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            marks: VecDeque::new(),
            marks_sent: 0,
            play_end: Tick::ZERO,
            echo_lag_us: 0,
            flowing: false,
            start_by: None,
            depth_ms: DEPTH_MIN_MS,
            smooth_ms: 0,
            stale_below: None,
            stale_through: None,
            newest_event: None,
            dropped_bytes: 0,
            last_gap_ms: None,
            figures: Figures { depth_max_ms: DEPTH_MIN_MS, ..Figures::default() },
        }
    }

    /// Replies that began so far.
    pub(crate) fn turns_begun(&self) -> u32 {
        self.turns_begun
    }

    /// How playing went so far.
    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// Present depth of the adaptive buffer.
    #[cfg(test)]
    pub(crate) fn depth_ms(&self) -> u64 {
        self.depth_ms
    }

    /// Audio dropped because the buffer was full, in milliseconds.
    pub(crate) fn dropped_ms(&self) -> u64 {
        self.dropped_bytes / BYTES_PER_MS
    }

    /// True when audio of `event_id` was made void by an interruption.
    pub(crate) fn is_stale(&self, event_id: i64) -> bool {
        self.stale_below.is_some_and(|id| event_id < id) || self.stale_through.is_some_and(|id| event_id <= id)
    }

    /// The newest reply that audio came for.
    pub(crate) fn newest_event(&self) -> Option<i64> {
        self.newest_event
    }

    /// True while the phone plays something, or will.
    pub(crate) fn is_speaking(&self, now: Tick) -> bool {
        let unheard = self.marks.iter().any(|mark| !mark.cancelled) && now < self.play_end.plus_ms(ECHO_MAX_MS);
        !self.queue.is_empty() || now < self.play_end || unheard
    }

    /// True while there is a reply of the agent of which it was not told yet how much was heard.
    pub(crate) fn has_replies(&self) -> bool {
        self.turns.iter().any(|turn| turn.number != OWN_TURN)
    }

    /// When the phone will have played all there is; `None` while audio still waits to be sent.
    pub(crate) fn quiet_at(&self) -> Option<Tick> {
        self.queue.is_empty().then_some(self.play_end)
    }

    /// Audio not yet played, in milliseconds.
    pub(crate) fn remaining_ms(&self, now: Tick) -> u64 {
        self.queued_bytes as u64 / BYTES_PER_MS + self.play_end.ms_since(now)
    }

    /// True when everything was sent and every mark came back.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.marks.iter().all(|mark| mark.cancelled)
    }

    /// A gap that the caller heard inside a reply because its audio came too late; each is reported once.
    pub(crate) fn take_gap_ms(&mut self) -> Option<u64> {
        self.last_gap_ms.take()
    }

    /// Takes mu-law of the reply `event_id`.
    pub(crate) fn push(&mut self, now: Tick, event_id: i64, ulaw: Vec<u8>) -> Result<(), Refused> {
        if self.is_stale(event_id) {
            return Err(Refused::Stale);
        }
        if ulaw.is_empty() {
            return Ok(());
        }
        if self.queued_bytes + ulaw.len() > BUFFER_MAX_BYTES {
            self.dropped_bytes += ulaw.len() as u64;
            return Err(Refused::Full);
        }
        self.newest_event = Some(self.newest_event.map_or(event_id, |newest| newest.max(event_id)));
        let continues = self.turns.back().is_some_and(|turn| turn.event_id == event_id && !turn.complete);
        if !continues {
            for turn in &mut self.turns {
                turn.complete = true;
            }
            self.turns_begun += 1;
            self.turns.push_back(Turn {
                number: self.turns_begun,
                event_id,
                received_bytes: 0,
                sent_bytes: 0,
                heard_bytes: 0,
                complete: false,
                heard_at: now,
            });
        }
        let starved = continues && self.flowing && self.queue.is_empty() && now > self.play_end;
        if starved {
            let gap_ms = now.ms_since(self.play_end);
            if gap_ms <= STARVED_MAX_MS && gap_ms > 0 {
                self.depth_ms = (self.depth_ms + gap_ms + MESSAGE_MS).min(DEPTH_MAX_MS);
                self.smooth_ms = 0;
                self.last_gap_ms = Some(gap_ms);
                self.figures.underruns += 1;
                self.figures.underrun_ms += gap_ms;
                self.figures.depth_max_ms = self.figures.depth_max_ms.max(self.depth_ms);
            }
            self.flowing = false;
        }
        if self.queue.is_empty() && now >= self.play_end {
            self.flowing = false;
        }
        if !self.flowing && self.start_by.is_none() {
            self.start_by = Some(now.plus_ms(self.depth_ms));
        }
        let number = self.turns_begun;
        if let Some(turn) = self.turns.back_mut() {
            turn.received_bytes += ulaw.len() as u64;
        }
        self.queued_bytes += ulaw.len();
        self.queue.push_back((number, ulaw));
        Ok(())
    }

    /// Says something of our own, after whatever waits. It is no reply of the agent: nobody is told what was heard of it.
    pub(crate) fn push_own(&mut self, now: Tick, ulaw: Vec<u8>) {
        if ulaw.is_empty() || self.queued_bytes + ulaw.len() > BUFFER_MAX_BYTES {
            return;
        }
        self.complete(None);
        self.turns.push_back(Turn {
            number: OWN_TURN,
            event_id: i64::MIN,
            received_bytes: ulaw.len() as u64,
            sent_bytes: 0,
            heard_bytes: 0,
            complete: true,
            heard_at: now,
        });
        self.queued_bytes += ulaw.len();
        self.queue.push_back((OWN_TURN, ulaw));
    }

    /// Another conversation begins, whose ids start anew: what was stale in the old one says nothing about it.
    pub(crate) fn new_conversation(&mut self) {
        self.complete(None);
        self.stale_below = None;
        self.stale_through = None;
        self.newest_event = None;
    }

    /// No more audio will come for the reply `event_id`, or for any reply.
    pub(crate) fn complete(&mut self, event_id: Option<i64>) {
        for turn in &mut self.turns {
            if event_id.is_none_or(|id| turn.event_id == id) {
                turn.complete = true;
            }
        }
    }

    /// Sends what is due. Nothing is sent before the phone is there, so the shell calls this only then.
    pub(crate) fn poll(&mut self, now: Tick, mut send: impl FnMut(Send)) {
        while let Some((number, _)) = self.queue.front() {
            let number = *number;
            if !self.flowing && !self.may_start(now) {
                return;
            }
            self.flowing = true;
            self.start_by = None;
            if self.play_end.ms_since(now) + MESSAGE_MS > LEAD_MS {
                return;
            }
            let ulaw = self.take(number, (MESSAGE_MS * BYTES_PER_MS) as usize);
            let play_at = self.play_end.max(now);
            let length = ulaw.len() as u64;
            self.play_end = play_at.plus_us(length * 1_000 / BYTES_PER_MS);
            self.note_smooth(length / BYTES_PER_MS);
            self.note_begin(number, play_at);
            send(Send::Media { ulaw, play_at });
            if let Some(name) = self.mark(number, length) {
                send(Send::Mark { name });
            }
        }
    }

    /// When [`Self::poll`] has to be called next.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        if self.queue.is_empty() {
            return None;
        }
        if !self.flowing
            && let Some(start_by) = self.start_by
        {
            return Some(start_by);
        }
        let ahead_ms = LEAD_MS - MESSAGE_MS;
        Some(Tick::from_us(self.play_end.as_us().saturating_sub(ahead_ms * 1_000)))
    }

    /// Twilio echoed a mark. Unknown and cancelled marks say nothing about hearing.
    pub(crate) fn mark_echoed(&mut self, now: Tick, name: &str) -> bool {
        let Some(index) = self.marks.iter().position(|mark| mark.name == name) else { return false };
        // Echoes come in order, so an echo also stands for the marks before it.
        for mark in self.marks.drain(..=index) {
            if !mark.cancelled {
                if let Some(turn) = self.turns.iter_mut().find(|turn| turn.number == mark.turn) {
                    turn.heard_bytes = turn.heard_bytes.max(mark.turn_bytes);
                    turn.heard_at = now;
                }
                self.echo_lag_us = now.us_since(mark.due).min(ECHO_MAX_MS * 1_000);
            }
        }
        true
    }

    /// Throws away everything that has not been heard, because the caller speaks.
    ///
    /// Returns the replies that were cut. `decided_for` is the id of the agent's interruption; audio of smaller ids is
    /// stale from now on, audio of the same id is not (replies after an interruption can carry it). Without an id our
    /// own detector decided, and the agent's current reply is stale as a whole.
    pub(crate) fn interrupt(&mut self, now: Tick, decided_for: Option<i64>) -> Vec<Played> {
        match decided_for {
            Some(id) => {
                self.stale_below = Some(self.stale_below.map_or(id, |old| old.max(id)));
                self.stale_through = self.stale_through.filter(|through| *through > id);
            }
            None => self.stale_through = self.newest_event,
        }
        // What plays now was sent a little ago: the last echo tells how much, and errs towards less heard.
        let unheard_bytes = self.play_end.plus_us(self.echo_lag_us).us_since(now) * BYTES_PER_MS / 1_000;
        self.queue.clear();
        self.queued_bytes = 0;
        self.flowing = false;
        self.start_by = None;
        self.play_end = now;
        for mark in &mut self.marks {
            mark.cancelled = true;
        }
        let mut cut = Vec::new();
        let mut unheard = unheard_bytes;
        // The newest audio is the last in Twilio's queue, so what is unheard is counted from the back.
        for turn in self.turns.iter_mut().rev() {
            let missing = unheard.min(turn.sent_bytes.saturating_sub(turn.heard_bytes));
            unheard -= missing;
            turn.heard_bytes = turn.sent_bytes - missing;
            if turn.number == OWN_TURN {
                continue;
            }
            cut.push(Played {
                turn: turn.number,
                sent_ms: turn.sent_bytes / BYTES_PER_MS,
                heard_ms: turn.heard_bytes / BYTES_PER_MS,
                interrupted: turn.heard_bytes < turn.received_bytes,
            });
        }
        self.turns.clear();
        cut.reverse();
        cut
    }

    /// Replies that were played to their end: the agent said that it is the end, or a newer reply began, or nothing
    /// more came for longer than a reply starves.
    pub(crate) fn take_played(&mut self, now: Tick) -> Vec<Played> {
        let mut played = Vec::new();
        while let Some(turn) = self.turns.front() {
            let waiting = self.queue.iter().any(|(number, _)| *number == turn.number)
                || self.marks.iter().any(|mark| mark.turn == turn.number && !mark.cancelled);
            let silent = turn.heard_bytes > 0 && now.ms_since(turn.heard_at) > STARVED_MAX_MS;
            if waiting || !(turn.complete || silent) {
                break;
            }
            if turn.number != OWN_TURN {
                played.push(Played {
                    turn: turn.number,
                    sent_ms: turn.sent_bytes / BYTES_PER_MS,
                    heard_ms: turn.heard_bytes / BYTES_PER_MS,
                    interrupted: false,
                });
            }
            self.turns.pop_front();
        }
        played
    }

    fn may_start(&self, now: Tick) -> bool {
        let complete = self.turns.iter().all(|turn| turn.complete);
        complete
            || self.queued_bytes as u64 >= self.depth_ms * BYTES_PER_MS
            || self.start_by.is_none_or(|start_by| start_by <= now)
    }

    /// Takes up to `most` bytes of one turn from the front of the queue.
    fn take(&mut self, number: u32, most: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(most);
        while out.len() < most
            && let Some((turn, chunk)) = self.queue.front_mut()
            && *turn == number
        {
            let part = chunk.len().min(most - out.len());
            if part == chunk.len() {
                out.append(chunk);
                self.queue.pop_front();
            } else {
                out.extend(chunk.drain(..part));
            }
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(out.len());
        out
    }

    /// Notes the mark that follows a message; `None` when too many are outstanding already.
    fn mark(&mut self, number: u32, length: u64) -> Option<String> {
        let turn = self.turns.iter_mut().find(|turn| turn.number == number)?;
        turn.sent_bytes += length;
        if self.marks.len() >= MARKS_MAX {
            return None;
        }
        self.marks_sent += 1;
        let name = format!("t{number}:{}", turn.sent_bytes / BYTES_PER_MS);
        let name = if number == OWN_TURN { format!("own:{}", self.marks_sent) } else { name };
        // Two marks of a turn can fall into the same millisecond only for slivers of audio; the counter keeps them apart.
        let name =
            if self.marks.iter().any(|mark| mark.name == name) { format!("{name}.{}", self.marks_sent) } else { name };
        self.marks.push_back(Mark {
            name: name.clone(),
            turn: number,
            turn_bytes: turn.sent_bytes,
            due: self.play_end,
            cancelled: false,
        });
        Some(name)
    }

    /// Notes how long the first sound of a reply waited.
    fn note_begin(&mut self, number: u32, play_at: Tick) {
        let first = |turn: &&Turn| turn.number == number && number != OWN_TURN && turn.sent_bytes == 0;
        if let Some(turn) = self.turns.iter().find(first) {
            let waited_us = play_at.us_since(turn.heard_at);
            self.figures.replies += 1;
            self.figures.delay_us += waited_us;
            self.figures.delay_max_us = self.figures.delay_max_us.max(waited_us);
        }
    }

    fn note_smooth(&mut self, ms: u64) {
        self.smooth_ms += ms;
        if self.smooth_ms >= SHRINK_AFTER_MS {
            self.smooth_ms = 0;
            self.depth_ms = (self.depth_ms * 3 / 4).max(DEPTH_MIN_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(playout: &mut Playout, now: Tick) -> Vec<Send> {
        let mut sent = Vec::new();
        playout.poll(now, |item| sent.push(item));
        sent
    }

    fn sent_ms(sends: &[Send]) -> u64 {
        sends.iter().map(|send| if let Send::Media { ulaw, .. } = send { ulaw.len() as u64 / 8 } else { 0 }).sum()
    }

    #[test]
    fn only_the_lead_is_sent_ahead_of_playing() {
        let mut playout = Playout::new();
        playout.push(Tick::ZERO, 1, vec![0; 8_000]).unwrap_or_default();
        assert_eq!(sent_ms(&drain(&mut playout, Tick::ZERO)), LEAD_MS);
        assert_eq!(playout.deadline(), Some(Tick::from_ms(100)));
        assert_eq!(sent_ms(&drain(&mut playout, Tick::from_ms(99))), 0);
        assert_eq!(sent_ms(&drain(&mut playout, Tick::from_ms(100))), 100);
    }

    #[test]
    fn marks_outstanding_at_a_clear_are_not_heard() {
        let mut playout = Playout::new();
        playout.push(Tick::ZERO, 1, vec![0; 8_000]).unwrap_or_default();
        drain(&mut playout, Tick::ZERO);
        playout.mark_echoed(Tick::from_ms(135), "t1:100");
        let cut = playout.interrupt(Tick::from_ms(150), Some(1));
        playout.mark_echoed(Tick::from_ms(160), "t1:200");
        playout.mark_echoed(Tick::from_ms(160), "t1:300");
        assert_eq!(cut.len(), 1);
        assert!(cut[0].interrupted);
        assert_eq!((cut[0].sent_ms, cut[0].heard_ms), (300, 115), "100 ms by mark and 15 ms by the clock since");
        assert!(playout.is_drained());
    }

    #[test]
    fn uneven_arrival_deepens_the_buffer_and_smooth_speech_shrinks_it_again() {
        let mut playout = Playout::new();
        let mut now = Tick::ZERO;
        for _ in 0..5 {
            playout.push(now, 1, vec![0; 160]).unwrap_or_default();
            drain(&mut playout, now.plus_ms(40));
            now = now.plus_ms(200);
        }
        assert!(playout.take_gap_ms().is_some());
        let deep = playout.depth_ms();
        assert!(deep > 200, "{deep}");
        for turn in 2..20 {
            playout.push(now, turn, vec![0; 40_000]).unwrap_or_default();
            for _ in 0..60 {
                drain(&mut playout, now);
                now = now.plus_ms(100);
            }
        }
        assert!(playout.depth_ms() < deep / 2);
    }

    #[test]
    fn two_minutes_of_backlog_is_the_bound() {
        let mut playout = Playout::new();
        for _ in 0..130 {
            let _ = playout.push(Tick::ZERO, 1, vec![0; 8_000]);
        }
        assert_eq!(playout.dropped_ms(), 10_000);
    }

    #[test]
    fn after_an_interruption_older_ids_are_stale_and_equal_ids_play() {
        let mut playout = Playout::new();
        playout.push(Tick::ZERO, 5, vec![0; 800]).unwrap_or_default();
        playout.interrupt(Tick::from_ms(10), Some(5));
        assert_eq!(playout.push(Tick::from_ms(20), 4, vec![0; 800]), Err(Refused::Stale));
        assert_eq!(playout.push(Tick::from_ms(20), 5, vec![0; 800]), Ok(()));
        assert_eq!(playout.turns_begun(), 2, "what comes after an interruption is a new turn");
    }
}
