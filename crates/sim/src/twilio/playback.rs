//! What the telephone plays: queued audio drains in real time, marks come back when their audio was heard.

use std::collections::VecDeque;
use voice::g711::ULAW_SILENCE;

/// From the end of the audio to its mark on the socket; measured against the real service.
const MARK_DELAY_MS: u64 = 35;

/// Playback queue of one call. Times are milliseconds since the call began.
#[derive(Debug, Default)]
pub struct Playback {
    queue: VecDeque<u8>,
    queued: u64,
    played: u64,
    /// Marks behind audio: position of their end, and name.
    waiting: VecDeque<(u64, String)>,
    /// Marks on their way back: time, and name.
    returning: VecDeque<(u64, String)>,
}

impl Playback {
    /// Appends audio.
    pub fn push(&mut self, ulaw: &[u8]) {
        self.queue.extend(ulaw);
        self.queued += ulaw.len() as u64;
    }

    /// Sets a mark behind everything queued so far; with nothing queued it returns at once.
    pub fn mark(&mut self, now_ms: u64, name: &str) {
        if self.queue.is_empty() && self.waiting.is_empty() {
            let due = self.returning.back().map_or(now_ms, |(due, _)| (*due).max(now_ms));
            self.returning.push_back((due, name.to_owned()));
        } else {
            self.waiting.push_back((self.queued, name.to_owned()));
        }
    }

    /// Throws away what is queued; all marks return at once, in order. Gives the milliseconds thrown away.
    pub fn clear(&mut self, now_ms: u64) -> u64 {
        let dropped = self.queue.len() as u64;
        self.queue.clear();
        self.queued = self.played;
        for (due, _) in &mut self.returning {
            *due = (*due).min(now_ms);
        }
        self.returning.extend(self.waiting.drain(..).map(|(_, name)| (now_ms, name)));
        dropped / 8
    }

    /// Forgets audio and marks, as when the stream is over. Gives the milliseconds that were not played.
    pub fn reset(&mut self) -> u64 {
        let dropped = self.queue.len() as u64;
        *self = Self::default();
        dropped / 8
    }

    /// Plays `bytes` of sound from `now_ms` on; silence fills what is missing.
    pub fn tick(&mut self, now_ms: u64, bytes: usize) -> Vec<u8> {
        let take = bytes.min(self.queue.len());
        let mut frame: Vec<u8> = self.queue.drain(..take).collect();
        let end_ms = |position: u64, before: u64| now_ms + (position - before) / 8;
        let before = self.played;
        self.played += take as u64;
        while let Some((position, _)) = self.waiting.front()
            && *position <= self.played
        {
            let due = end_ms((*position).max(before), before) + MARK_DELAY_MS;
            self.returning.extend(self.waiting.pop_front().map(|(_, name)| (due, name)));
        }
        frame.resize(bytes, ULAW_SILENCE);
        frame
    }

    /// Marks whose time has come.
    pub fn due_marks(&mut self, now_ms: u64) -> Vec<String> {
        let due = self.returning.iter().take_while(|(due, _)| *due <= now_ms).count();
        self.returning.drain(..due).map(|(_, name)| name).collect()
    }

    /// Sound not played yet, in milliseconds.
    #[must_use]
    pub fn queued_ms(&self) -> u64 {
        self.queue.len() as u64 / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_audio_returns_its_mark_after_1035_ms() {
        let mut playback = Playback::default();
        playback.push(&[1; 8_000]);
        playback.mark(0, "end");
        let mut returned = None;
        for now in (0..1_200).step_by(5) {
            if now % 20 == 0 {
                playback.tick(now, 160);
            }
            if !playback.due_marks(now).is_empty() {
                returned.get_or_insert(now);
            }
        }
        assert_eq!(returned, Some(1_035));
    }

    #[test]
    fn an_empty_queue_returns_marks_at_once() {
        let mut playback = Playback::default();
        playback.mark(500, "a");
        assert_eq!(playback.due_marks(500), ["a"]);
    }

    #[test]
    fn clear_returns_everything_in_order_and_plays_nothing_more() {
        let mut playback = Playback::default();
        playback.push(&[1; 160]);
        playback.mark(0, "a");
        playback.push(&[2; 1_600]);
        playback.mark(0, "b");
        playback.mark(0, "c");
        assert_eq!(playback.tick(0, 160), [1; 160]);
        assert!(playback.due_marks(10).is_empty());
        assert_eq!(playback.clear(10), 200);
        assert_eq!(playback.due_marks(10), ["a", "b", "c"]);
        assert_eq!(playback.tick(20, 160), [ULAW_SILENCE; 160]);
        // Audio after the clear is played.
        playback.push(&[3; 80]);
        playback.mark(40, "d");
        assert_eq!(playback.tick(40, 160)[..81], [[3; 80].as_slice(), &[ULAW_SILENCE]].concat());
        assert_eq!(playback.due_marks(84), Vec::<String>::new());
        assert_eq!(playback.due_marks(85), ["d"]);
    }
}
