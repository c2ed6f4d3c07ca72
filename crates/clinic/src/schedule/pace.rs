//! How fast calls may follow each other.

/// Twilio starts one call per second and account; faster requests wait in its queue, where they would ring at a time
/// that nobody chose.
const GAP_US: i64 = 1_000_000;

/// The pace at which calls are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    at_once: usize,
    last_us: Option<i64>,
}

impl Pace {
    /// At most `at_once` calls in flight. `last_us` is when the last call was placed, by this or an earlier process.
    #[must_use]
    pub fn new(at_once: usize, last_us: Option<i64>) -> Self {
        Self { at_once, last_us }
    }

    /// True when there is room for one more beside `in_flight` calls.
    #[must_use]
    pub fn has_room(&self, in_flight: usize) -> bool {
        in_flight < self.at_once
    }

    /// The moment to wait for before the next call, where that is not now. A clock that was set back holds calls up for
    /// no longer than the gap.
    pub fn wait_until(&mut self, now_us: i64) -> Option<i64> {
        let last_us = self.last_us?.min(now_us);
        self.last_us = Some(last_us);
        let next_us = last_us.saturating_add(GAP_US);
        (now_us < next_us).then_some(next_us)
    }

    /// Notes that a call is being placed.
    pub fn placed(&mut self, now_us: i64) {
        self.last_us = Some(now_us);
    }
}
