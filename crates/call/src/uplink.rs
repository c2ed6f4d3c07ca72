//! The caller's audio on its way to the agent: placed on the patient track, gaps filled, held until the agent listens.
//!
//! Twilio's frames carry timestamps but may come in bursts, in odd sizes, or not at all. The track position follows the
//! timestamps, so that lost audio becomes silence of the right length; what the agent receives is the same track,
//! except that a long stall is bridged with silence at once, because an agent takes a pause in transmission for a dead
//! line.

use crate::Tick;
use voice::g711::ULAW_SILENCE;

/// Samples per millisecond of telephone audio.
pub(crate) const SAMPLES_PER_MS: u64 = 8;

/// A timestamp this far from where the previous frame ended is a gap. Timestamps are whole milliseconds, so frames
/// that are no whole milliseconds long round by up to one.
const GAP_TOLERANCE_SAMPLES: u64 = 2 * SAMPLES_PER_MS;

/// Longest silence put in for one gap (Twilio sheet: cap it, for example at 10 s). A longer jump is a broken clock.
const GAP_MAX_SAMPLES: u64 = 10_000 * SAMPLES_PER_MS;

/// How long nothing may come from the phone before silence is sent in its place. Twilio pauses for up to 233 ms
/// without losing anything, so it must be longer than that.
const STALL_MS: u64 = 300;

/// How much silence one step of a stall sends.
const STALL_STEP_MS: u64 = 100;

/// Caller audio held for an agent that does not listen yet: 10 s. An agent that needs longer has failed.
const HELD_MAX_BYTES: usize = 10_000 * SAMPLES_PER_MS as usize;

/// Most audio in one message to the agent when held audio is let go: 250 ms, the chunk the service's own SDK sends.
const RELEASE_CHUNK_BYTES: usize = 250 * SAMPLES_PER_MS as usize;

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Sample of the patient track at which the frame begins.
    pub(crate) position_samples: u64,
    /// Samples that were lost before it.
    pub(crate) gap_samples: u64,
}

/// The state of the way from the phone to the agent.
#[derive(Debug)]
pub(crate) struct Uplink {
    /// Timestamp, in samples, that stands at the beginning of the track.
    origin_samples: Option<u64>,
    /// Length of the track so far.
    next_samples: u64,
    /// Last moment at which audio, real or filled in, went towards the agent.
    last_audio: Option<Tick>,
    /// Silence filled in since the last real frame.
    filled_samples: u64,
    /// Mu-law held back until the agent listens.
    held: std::collections::VecDeque<u8>,
    /// True once the agent listens.
    open: bool,
    /// True once nobody will ever listen again.
    ended: bool,
    /// Samples dropped because the agent did not listen for too long.
    dropped_samples: u64,
}

impl Uplink {
    pub(crate) fn new() -> Self {
        Self {
            origin_samples: None,
            next_samples: 0,
            last_audio: None,
            filled_samples: 0,
            held: std::collections::VecDeque::new(),
            open: false,
            ended: false,
            dropped_samples: 0,
        }
    }

    /// Audio dropped so far, in milliseconds.
    pub(crate) fn dropped_ms(&self) -> u64 {
        self.dropped_samples / SAMPLES_PER_MS
    }

    /// Places a frame of `length` samples with Twilio's timestamp, if it had one, on the track.
    pub(crate) fn place(&mut self, now: Tick, timestamp_ms: Option<u64>, length: u64) -> Placement {
        self.last_audio = Some(now);
        let mut gap = 0;
        if let Some(stamp) = timestamp_ms.map(|ms| ms.saturating_mul(SAMPLES_PER_MS)) {
            match self.origin_samples {
                None => self.origin_samples = Some(stamp.saturating_sub(self.next_samples)),
                Some(origin) => {
                    let at = stamp.saturating_sub(origin);
                    let ahead = at.saturating_sub(self.next_samples);
                    if ahead >= GAP_TOLERANCE_SAMPLES {
                        gap = ahead.min(GAP_MAX_SAMPLES);
                    }
                    if ahead > gap && gap > 0 {
                        // A jump beyond the cap: from here on the clock counts from the new timestamp.
                        self.origin_samples = Some(stamp.saturating_sub(self.next_samples + gap));
                    }
                }
            }
        }
        let position_samples = self.next_samples + gap;
        self.next_samples = position_samples + length;
        Placement { position_samples, gap_samples: gap }
    }

    /// Passes a placed frame on. `send` receives mu-law in sending order; nothing is sent before the agent listens.
    pub(crate) fn push(&mut self, placement: Placement, ulaw: &[u8], mut send: impl FnMut(&[u8])) {
        let silence = placement.gap_samples.saturating_sub(self.filled_samples);
        self.filled_samples = 0;
        if silence > 0 {
            self.pass_silence(silence, &mut send);
        }
        self.pass(ulaw, &mut send);
    }

    /// The phone is there, though it may send nothing for a while: a muted caller is silence, not a dead line.
    pub(crate) fn phone_started(&mut self, now: Tick) {
        self.last_audio.get_or_insert(now);
    }

    /// Another stream of the same phone begins, whose timestamps start anew; the time between the two is a gap.
    pub(crate) fn new_stream(&mut self, now: Tick) {
        self.origin_samples = None;
        if let Some(last) = self.last_audio.replace(now) {
            self.next_samples += (now.ms_since(last) * SAMPLES_PER_MS).min(GAP_MAX_SAMPLES);
        }
    }

    /// Sends silence when the phone has been quiet for too long.
    pub(crate) fn fill_stall(&mut self, now: Tick, mut send: impl FnMut(&[u8])) {
        let Some(due) = self.stall_deadline().filter(|due| *due <= now) else { return };
        // The silence stands for the stall so far: the whole of it the first time, then the steps that are due. After a
        // long wait for the agent, or a pause of this machine, they go out together and bounded, never as a flood.
        let first_ms = if self.filled_samples == 0 { STALL_MS } else { STALL_STEP_MS };
        let further_ms = now.ms_since(due) / STALL_STEP_MS * STALL_STEP_MS;
        let samples = (first_ms + further_ms) * SAMPLES_PER_MS;
        self.filled_samples += samples;
        self.last_audio = Some(due.plus_ms(further_ms));
        self.pass_silence(samples, &mut send);
    }

    /// When [`Self::fill_stall`] has to be called next.
    pub(crate) fn stall_deadline(&self) -> Option<Tick> {
        let wait = if self.filled_samples == 0 { STALL_MS } else { STALL_STEP_MS };
        self.last_audio.filter(|_| self.open).map(|last| last.plus_ms(wait))
    }

    /// The agent listens from now on: everything held goes out in order.
    pub(crate) fn open(&mut self, mut send: impl FnMut(&[u8])) {
        self.open = true;
        let held = std::mem::take(&mut self.held);
        let (front, back) = held.as_slices();
        let joined: Vec<u8> = [front, back].concat();
        for chunk in joined.chunks(RELEASE_CHUNK_BYTES) {
            send(chunk);
        }
    }

    /// The agent listens no more; audio is held for the next one.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.filled_samples = 0;
    }

    /// No agent will listen any more: what the caller still says goes to the recording only.
    pub(crate) fn end(&mut self) {
        self.close();
        self.ended = true;
        self.held.clear();
    }

    fn pass_silence(&mut self, samples: u64, send: &mut impl FnMut(&[u8])) {
        let mut left = samples.min(GAP_MAX_SAMPLES) as usize;
        let silence = [ULAW_SILENCE; RELEASE_CHUNK_BYTES];
        while left > 0 {
            let part = left.min(RELEASE_CHUNK_BYTES);
            self.pass(silence.get(..part).unwrap_or(&silence), send);
            left -= part;
        }
    }

    fn pass(&mut self, ulaw: &[u8], send: &mut impl FnMut(&[u8])) {
        if self.open {
            send(ulaw);
            return;
        }
        if self.ended {
            return;
        }
        self.held.extend(ulaw);
        let excess = self.held.len().saturating_sub(HELD_MAX_BYTES);
        if excess > 0 {
            // The newest words matter most to an agent that is late; the recording keeps all of them.
            self.held.drain(..excess);
            self.dropped_samples += excess as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(uplink: &mut Uplink, placement: Placement, ulaw: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        uplink.push(placement, ulaw, |bytes| sent.extend_from_slice(bytes));
        sent
    }

    #[test]
    fn the_first_timestamp_need_not_be_zero() {
        let mut uplink = Uplink::new();
        assert_eq!(uplink.place(Tick::ZERO, Some(52), 160), Placement { position_samples: 0, gap_samples: 0 });
        assert_eq!(uplink.place(Tick::ZERO, Some(72), 160), Placement { position_samples: 160, gap_samples: 0 });
    }

    #[test]
    fn a_timestamp_gap_becomes_silence_of_its_length() {
        let mut uplink = Uplink::new();
        uplink.open(|_| {});
        uplink.place(Tick::ZERO, Some(0), 160);
        let placement = uplink.place(Tick::ZERO, Some(120), 160);
        assert_eq!(placement.gap_samples, 800);
        assert_eq!(collect(&mut uplink, placement, &[1; 160]).len(), 960);
    }

    #[test]
    fn an_absurd_timestamp_is_capped_and_the_clock_starts_anew() {
        let mut uplink = Uplink::new();
        uplink.place(Tick::ZERO, Some(0), 160);
        assert_eq!(uplink.place(Tick::ZERO, Some(u64::MAX), 160).gap_samples, GAP_MAX_SAMPLES);
        assert_eq!(uplink.place(Tick::ZERO, Some(u64::MAX), 160).gap_samples, 0);
    }

    #[test]
    fn frames_of_any_size_without_timestamps_follow_each_other() {
        let mut uplink = Uplink::new();
        for (length, position) in [(1, 0), (320, 1), (80, 321)] {
            assert_eq!(uplink.place(Tick::ZERO, None, length).position_samples, position);
        }
    }

    #[test]
    fn silence_sent_during_a_stall_is_not_sent_again_as_a_gap() {
        let mut uplink = Uplink::new();
        uplink.open(|_| {});
        uplink.place(Tick::from_ms(0), Some(0), 160);
        let mut filled = 0;
        uplink.fill_stall(Tick::from_ms(500), |bytes| filled += bytes.len());
        assert_eq!(filled, 500 * 8, "300 ms at once, then two steps of 100 ms");
        let placement = uplink.place(Tick::from_ms(520), Some(520), 160);
        assert_eq!(placement.gap_samples, 500 * 8);
        assert_eq!(collect(&mut uplink, placement, &[1; 160]).len(), 160);
    }

    #[test]
    fn held_audio_is_bounded_and_the_loss_is_counted() {
        let mut uplink = Uplink::new();
        for i in 0..600 {
            let placement = uplink.place(Tick::ZERO, Some(i * 20), 160);
            collect(&mut uplink, placement, &[i as u8; 160]);
        }
        assert_eq!(uplink.dropped_ms(), 2_000);
        let mut sent = Vec::new();
        uplink.open(|bytes| sent.extend_from_slice(bytes));
        assert_eq!(sent.len(), HELD_MAX_BYTES);
        assert_eq!(sent.first(), Some(&100), "the oldest 100 frames are gone, the rest is in order");
    }
}
