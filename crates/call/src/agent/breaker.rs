//! Whether a service is worth asking at all: a circuit breaker for each member of the chain, as plain functions of time.
//!
//! A service that fails again and again costs every new caller seconds of waiting. After some failures in a row its
//! breaker opens, and new calls go past it. When it has been open for a while, a probe (a request that starts no
//! conversation) is made; after a successful one a single call may try; if that goes well, the breaker closes. Each
//! failed try keeps it open for longer.

use std::collections::VecDeque;

/// Failures in a row, none of them older than [`FAILURES_WITHIN_MS`], that open the breaker.
pub const FAILURES_TO_OPEN: u32 = 3;
/// See [`FAILURES_TO_OPEN`].
pub const FAILURES_WITHIN_MS: u64 = 60_000;
/// How long it stays open the first time before a probe is worth it; twice as long after each further failure.
pub const OPEN_MS: u64 = 15_000;
/// The longest time between two probes.
pub const OPEN_MAX_MS: u64 = 300_000;
/// A trial call that tells nothing for so long does not stop others from trying.
const TRIAL_MAX_MS: u64 = 60_000;

/// How a service failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// It may be over the next time.
    Passing,
    /// It refuses us until somebody mends the settings: one failure is enough.
    Configuration,
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls use the service.
    Closed,
    /// Calls go past it.
    Open,
    /// A probe succeeded: one call may try.
    HalfOpen,
}

impl BreakerState {
    /// The name in metrics and in the health report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker of one service. Times are milliseconds of any clock that does not run backwards.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    /// When the last failures in a row while closed were, at most [`FAILURES_TO_OPEN`].
    failures: VecDeque<u64>,
    /// Times it was opened since it was last closed; 0 while closed.
    opened: u32,
    probe_at_ms: u64,
    probed: bool,
    trial_since_ms: Option<u64>,
}

impl Breaker {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match (self.opened, self.probed) {
            (0, _) => BreakerState::Closed,
            (_, true) => BreakerState::HalfOpen,
            (_, false) => BreakerState::Open,
        }
    }

    /// Whether a call may use the service now. While half open the first to ask is the one that tries.
    pub fn admits(&mut self, now_ms: u64) -> bool {
        match self.state() {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen => {
                let taken = self.trial_since_ms.is_some_and(|since| now_ms.saturating_sub(since) < TRIAL_MAX_MS);
                if !taken {
                    self.trial_since_ms = Some(now_ms);
                }
                !taken
            }
        }
    }

    /// Whether a probe is due.
    #[must_use]
    pub fn wants_probe(&self, now_ms: u64) -> bool {
        self.state() == BreakerState::Open && now_ms >= self.probe_at_ms
    }

    /// What a probe found.
    pub fn probed(&mut self, now_ms: u64, well: bool) {
        if self.opened == 0 {
            return;
        }
        if well {
            self.probed = true;
            self.trial_since_ms = None;
        } else {
            self.probed = false;
            self.probe_at_ms = now_ms.saturating_add(self.wait_ms());
        }
    }

    /// A conversation was opened, and the agent spoke.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A conversation could not be opened, or broke.
    pub fn failed(&mut self, now_ms: u64, class: FailureClass) {
        if self.opened > 0 {
            // Calls that were under way when it opened fail, too; only the one that tried says something new.
            if self.trial_since_ms.take().is_some() || self.probed {
                self.open(now_ms);
            }
            return;
        }
        self.failures.retain(|at| now_ms.saturating_sub(*at) <= FAILURES_WITHIN_MS);
        self.failures.push_back(now_ms);
        if self.failures.len() >= FAILURES_TO_OPEN as usize || class == FailureClass::Configuration {
            self.open(now_ms);
        }
    }

    fn open(&mut self, now_ms: u64) {
        self.opened = self.opened.saturating_add(1);
        self.probed = false;
        self.trial_since_ms = None;
        self.failures.clear();
        self.probe_at_ms = now_ms.saturating_add(self.wait_ms());
    }

    fn wait_ms(&self) -> u64 {
        let doublings = self.opened.saturating_sub(1).min(8);
        (OPEN_MS << doublings).min(OPEN_MAX_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(breaker: &mut Breaker, now_ms: u64, times: u32) {
        for _ in 0..times {
            breaker.failed(now_ms, FailureClass::Passing);
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_after_scattered_ones() {
        let mut breaker = Breaker::default();
        for minute in 0..20 {
            breaker.failed(minute * 61_000, FailureClass::Passing);
            assert!(breaker.admits(minute * 61_000));
        }
        breaker.succeeded();
        failing(&mut breaker, 2_000_000, FAILURES_TO_OPEN - 1);
        breaker.succeeded();
        failing(&mut breaker, 2_000_000, FAILURES_TO_OPEN - 1);
        assert_eq!(breaker.state(), BreakerState::Closed);
        failing(&mut breaker, 2_000_000, 1);
        assert!(!breaker.admits(2_000_000));
    }

    #[test]
    fn one_refusal_for_its_configuration_is_enough() {
        let mut breaker = Breaker::default();
        breaker.failed(0, FailureClass::Configuration);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn after_a_probe_one_call_tries_and_decides_for_all() {
        let mut breaker = Breaker::default();
        failing(&mut breaker, 0, FAILURES_TO_OPEN);
        assert!(!breaker.wants_probe(OPEN_MS - 1) && breaker.wants_probe(OPEN_MS));
        breaker.probed(OPEN_MS, true);
        assert!(breaker.admits(OPEN_MS));
        assert!(!breaker.admits(OPEN_MS), "only one tries");
        assert!(breaker.admits(OPEN_MS + TRIAL_MAX_MS), "unless it never tells");
        breaker.failed(OPEN_MS + 1, FailureClass::Passing);
        assert!(!breaker.admits(OPEN_MS + 1));
        assert!(!breaker.wants_probe(OPEN_MS + OPEN_MS), "longer than before");
        breaker.probed(OPEN_MS * 4, true);
        assert!(breaker.admits(OPEN_MS * 4));
        breaker.succeeded();
        assert!(breaker.admits(OPEN_MS * 4) && breaker.admits(OPEN_MS * 4));
    }

    #[test]
    fn calls_that_were_under_way_do_not_keep_it_open_for_longer() {
        let mut breaker = Breaker::default();
        failing(&mut breaker, 0, 100);
        assert!(breaker.wants_probe(OPEN_MS));
    }

    #[test]
    fn probes_become_rarer_up_to_a_limit() {
        let mut breaker = Breaker::default();
        failing(&mut breaker, 0, FAILURES_TO_OPEN);
        let mut now = 0;
        for _ in 0..40 {
            now += OPEN_MAX_MS;
            assert!(breaker.wants_probe(now));
            breaker.probed(now, true);
            assert!(breaker.admits(now));
            breaker.failed(now, FailureClass::Passing);
            assert!(!breaker.wants_probe(now + 1));
        }
    }
}
