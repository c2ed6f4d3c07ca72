//! How well audio travels: jitter of the phone's frames, depth and delay of the buffer towards it, round trips.

use super::Call;
use crate::Tick;
use clinic::{AudioQuality, TimelineKind};

/// A mean that grows.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn get(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.sum / f64::from(self.count) * 1_000.0).round() / 1_000.0)
    }
}

/// What is measured while a call lives.
#[derive(Debug, Default)]
pub(super) struct Quality {
    last_frame: Option<(Tick, u64)>,
    jitter_ms: Option<f64>,
    phone_round_trip: Mean,
    agent_round_trip: Mean,
}

impl Quality {
    /// A frame arrived that carries this timestamp.
    pub(super) fn frame(&mut self, now: Tick, timestamp_ms: Option<u64>) {
        let Some(stamp) = timestamp_ms else { return };
        if let Some((before, stamp_before)) = self.last_frame.replace((now, stamp)) {
            let travelled = now.us_since(before) as f64 / 1_000.0 - stamp.saturating_sub(stamp_before) as f64;
            // A stream that begins anew, or a clock that jumped, says nothing about the network.
            if travelled.abs() < 2_000.0 {
                let jitter = self.jitter_ms.unwrap_or(0.0);
                self.jitter_ms = Some(jitter + (travelled.abs() - jitter) / 16.0);
            }
        }
    }
}

impl Call {
    /// A ping came back.
    pub(super) fn round_trip(&mut self, of_agent: bool, us: u64) {
        let mean = if of_agent { &mut self.quality.agent_round_trip } else { &mut self.quality.phone_round_trip };
        mean.add(us as f64 / 1_000.0);
    }

    /// The figures of the call so far.
    pub(super) fn audio_quality(&self) -> AudioQuality {
        let playout = self.playout.figures();
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        let playout_delay_ms =
            (playout.replies > 0).then(|| rounded(playout.delay_us as f64 / 1_000.0 / f64::from(playout.replies)));
        let (phone, agent) = (self.quality.phone_round_trip.get(), self.quality.agent_round_trip.get());
        let network = phone.zip(agent).map(|(phone, agent)| (phone + agent) / 2.0);
        AudioQuality {
            jitter_ms: self.quality.jitter_ms.map(rounded),
            underruns: playout.underruns,
            underrun_ms: playout.underrun_ms,
            depth_max_ms: playout.depth_max_ms,
            playout_delay_ms,
            playout_delay_max_ms: (playout.replies > 0).then(|| playout.delay_max_us as f64 / 1_000.0),
            phone_round_trip_ms: phone,
            agent_round_trip_ms: agent,
            to_agent_delay_ms: network.map(rounded),
            to_caller_delay_ms: network.zip(playout_delay_ms).map(|(network, waits)| rounded(network + waits)),
        }
    }

    pub(super) fn record_quality(&mut self) {
        if self.reached {
            let quality = self.audio_quality();
            self.record(TimelineKind::AudioQuality(quality));
        }
    }
}
