//! How fast somebody may ask: a burst, and so many requests a minute after it. Pure; the time comes in.
//!
//! For each caller one time is kept: when all of the burst will have been earned back. A request moves it on by what one
//! costs, and it may be at most a burst ahead. Callers are people and tokens, whose number is bounded by the store; a
//! bound of our own makes sure.

use std::collections::HashMap;
use std::hash::Hash;

/// What callers did lately.
#[derive(Debug)]
pub(super) struct Pace<K> {
    cost_us: i64,
    burst_us: i64,
    capacity: usize,
    full_again_us: HashMap<K, i64>,
}

impl<K: Hash + Eq + Clone> Pace<K> {
    /// `burst` requests at once, then `per_minute`; at most `capacity` callers are remembered.
    pub(super) fn new(per_minute: u32, burst: u32, capacity: usize) -> Self {
        let cost_us = 60_000_000 / i64::from(per_minute.max(1));
        let burst_us = cost_us.saturating_mul(i64::from(burst.max(1)));
        Self { cost_us, burst_us, capacity: capacity.max(1), full_again_us: HashMap::new() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// Whole seconds until the next one is welcome; this one is not counted.
    pub(super) fn ask(&mut self, key: &K, now_us: i64) -> Result<(), u64> {
        let earliest = self.full_again_us.get(key).copied().unwrap_or(now_us).max(now_us);
        // A time far ahead comes from a clock that was set back. A little ahead it may be: requests overtake each other
        // between the moment they came and this one.
        let too_far_us = now_us.saturating_add(self.burst_us.saturating_mul(2));
        let earliest = if earliest > too_far_us { now_us } else { earliest };
        let next = earliest.saturating_add(self.cost_us);
        let over_us = next - now_us.saturating_add(self.burst_us);
        if over_us > 0 {
            return Err(u64::try_from(over_us.saturating_add(999_999) / 1_000_000).unwrap_or(1).max(1));
        }
        if !self.full_again_us.contains_key(key) && self.full_again_us.len() >= self.capacity {
            self.full_again_us.retain(|_, full| *full > now_us);
            if self.full_again_us.len() >= self.capacity
                && let Some(first) =
                    self.full_again_us.iter().min_by_key(|(_, full)| **full).map(|(key, _)| key.clone())
            {
                self.full_again_us.remove(&first);
            }
        }
        self.full_again_us.insert(key.clone(), next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_so_many_a_minute() {
        let mut pace = Pace::new(60, 10, 100);
        let passed = |pace: &mut Pace<u8>, key, now| (0..1_000).filter(|_| pace.ask(&key, now).is_ok()).count();
        assert_eq!(passed(&mut pace, 1, 0), 10);
        assert_eq!(pace.ask(&1, 0), Err(1));
        assert_eq!(passed(&mut pace, 2, 0), 10, "everybody has a burst of their own");
        assert_eq!(passed(&mut pace, 1, 3 * SECOND), 3);
        assert_eq!(passed(&mut pace, 1, 600 * SECOND), 10, "what is not used is not saved up beyond a burst");
        assert_eq!(passed(&mut pace, 1, 599 * SECOND), 0, "a request that was overtaken gets no new burst");
        assert_eq!(passed(&mut pace, 1, 0), 10, "a clock that was set back locks nobody out");
    }

    #[test]
    fn no_more_callers_are_remembered_than_there_is_room_for() {
        let mut pace = Pace::new(60, 10, 100);
        for key in 0..10_000 {
            assert_eq!(pace.ask(&key, 0), Ok(()));
            assert!(pace.full_again_us.len() <= 100);
        }
    }
}
