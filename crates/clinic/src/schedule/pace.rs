//! How fast calls may follow each other.

const SECOND_US: i64 = 1_000_000;

/// The pace at which calls are placed, by all servers of an account together. Who decides by it looks at what all of them
/// have claimed, and claims in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    at_once: usize,
    gap_us: i64,
}

impl Pace {
    /// At most `at_once` calls in flight, and `per_second` begun each second. Twilio starts one per second and account unless
    /// it was told otherwise; faster requests wait in its queue, where they would ring at a time that nobody chose.
    #[must_use]
    pub fn new(at_once: usize, per_second: u32) -> Self {
        Self { at_once, gap_us: SECOND_US / i64::from(per_second.max(1)) }
    }

    /// True when there is room for one more beside `in_flight` calls.
    #[must_use]
    pub fn has_room(&self, in_flight: usize) -> bool {
        in_flight < self.at_once
    }

    /// The moment to wait for before the next call, where that is not now. `last_us` is when the last call was claimed,
    /// by whichever server. One that lies more than a second ahead is of a clock that was set back since, and holds
    /// nothing up.
    #[must_use]
    pub fn wait_until(&self, last_us: Option<i64>, now_us: i64) -> Option<i64> {
        let last_us = last_us.filter(|last_us| *last_us <= Self::newest_us(now_us))?;
        let next_us = last_us.saturating_add(self.gap_us);
        (now_us < next_us).then_some(next_us)
    }

    /// Claims after this moment are of a clock that was set back; those before it may be of a server whose clock is
    /// somewhat ahead of ours.
    #[must_use]
    pub fn newest_us(now_us: i64) -> i64 {
        now_us.saturating_add(SECOND_US)
    }
}
