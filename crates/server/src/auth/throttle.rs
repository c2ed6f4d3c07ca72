//! Brakes against guessing: one for each account, one for each address that attempts come from. Pure; the time comes in.
//!
//! An account lets five attempts in a row fail. From the fifth on each failure locks it: 1 s, 2 s, 4 s and so on up to
//! 15 minutes, so that after the fourteenth a guesser has four tries an hour. The failures are forgotten a day after the
//! last one, or when the right person gets in. The state is two numbers that the store keeps, so neither a restart nor
//! another server process gives new tries.
//!
//! An address gets 20 attempts in a burst and 20 a minute after that, whichever accounts they are for: that stops the
//! trying of one password on many accounts. Addresses are kept in memory only, in bounded number.
//!
//! The price of the first brake is that a stranger can keep an account locked by failing on purpose; sessions that exist
//! go on, and the lock ends by itself.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// Failures in a row before an account is locked for the first time.
pub const FREE_FAILURES: u32 = 5;
/// The first lock; each further one is twice as long.
pub const LOCK_FIRST_US: i64 = 1_000_000;
/// The longest lock.
pub const LOCK_MAX_US: i64 = 15 * 60 * 1_000_000;
/// After this time without an attempt, failures are forgotten.
pub const FORGET_US: i64 = 24 * 3_600 * 1_000_000;
/// Attempts of an address in a burst, and in each minute after it.
pub const ADDRESS_ATTEMPTS: i64 = 20;
/// Addresses remembered. A botnet of more gets the oldest forgotten; the accounts have their own brake.
pub const ADDRESSES_MAX: usize = 10_000;
/// Time in which an address earns one attempt.
const EARN_US: i64 = 60 * 1_000_000 / ADDRESS_ATTEMPTS;

/// Too many attempts: answer 429 with `Retry-After`, without having looked at the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; try again in {} s", self.retry_after_s())]
pub struct Wait {
    us: i64,
}

impl Wait {
    /// Whole seconds for the header `Retry-After`, at least one.
    #[must_use]
    pub fn retry_after_s(self) -> u64 {
        u64::try_from(self.us.saturating_add(999_999) / 1_000_000).unwrap_or(0).max(1)
    }
}

/// What is stored of the failures of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountBrake {
    /// Failures in a row.
    pub failures: u32,
    /// No attempt before this time; while there is no lock, the time of the last failure.
    pub locked_until_us: i64,
}

impl AccountBrake {
    /// Asks for an attempt. `Ok` is the state to store **before** the password is looked at, in the transaction that read
    /// the old one: the attempt counts as a failure at once, so that a hundred attempts at the same moment are not one
    /// hundred free tries. Store [`AccountBrake::default`] once password and second factor were right.
    ///
    /// # Errors
    /// [`Wait`]: the account is locked; nothing changes.
    pub fn attempt(self, now_us: i64) -> Result<Self, Wait> {
        let wait_us = self.locked_until_us.saturating_sub(now_us);
        // A longer wait than there are comes from a clock that was set back; it must not lock anybody out for years.
        if wait_us > 0 && wait_us <= LOCK_MAX_US {
            return Err(Wait { us: wait_us });
        }
        let quiet_us = now_us.saturating_sub(self.locked_until_us);
        let failures = if quiet_us > FORGET_US { 1 } else { self.failures.saturating_add(1) };
        Ok(Self { failures, locked_until_us: now_us.saturating_add(lock_us(failures)) })
    }

    /// Whether the account is locked now, for those who look after it.
    #[must_use]
    pub fn is_locked(self, now_us: i64) -> bool {
        let wait_us = self.locked_until_us.saturating_sub(now_us);
        wait_us > 0 && wait_us <= LOCK_MAX_US
    }
}

/// How long an account is locked after so many failures.
fn lock_us(failures: u32) -> i64 {
    match failures.checked_sub(FREE_FAILURES) {
        None => 0,
        // Ten doublings are beyond the longest lock.
        Some(doublings) => (LOCK_FIRST_US << doublings.min(10)).min(LOCK_MAX_US),
    }
}

/// Attempts of addresses. One for the process, behind a lock.
///
/// For each address one time is kept: when its attempts will all have been earned back. An attempt moves it on by three
/// seconds, and it may be at most a minute ahead.
#[derive(Debug)]
pub struct AddressBrake {
    capacity: usize,
    full_again_us: HashMap<IpAddr, i64>,
    /// The same, in order of time: whoever is first is forgotten first.
    by_time: BTreeSet<(i64, IpAddr)>,
}

impl Default for AddressBrake {
    fn default() -> Self {
        Self::with_capacity(ADDRESSES_MAX)
    }
}

impl AddressBrake {
    /// Remembers at most so many addresses, and at least one.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), full_again_us: HashMap::new(), by_time: BTreeSet::new() }
    }

    /// Counts an attempt of an address. Behind a reverse proxy this is the address the proxy reports, and only if the
    /// proxy is trusted to.
    ///
    /// # Errors
    /// [`Wait`]: too many; this one is not counted.
    pub fn attempt(&mut self, address: IpAddr, now_us: i64) -> Result<(), Wait> {
        let address = subscriber(address);
        let stored = self.full_again_us.get(&address).copied();
        // Further ahead than a whole burst is only what was stored before the clock was set back.
        let burst_us = EARN_US * ADDRESS_ATTEMPTS;
        let known = stored.filter(|time| time.saturating_sub(now_us) <= burst_us);
        let next = known.unwrap_or(now_us).max(now_us).saturating_add(EARN_US);
        let over_us = next.saturating_sub(now_us) - burst_us;
        if over_us > 0 {
            return Err(Wait { us: over_us });
        }
        if let Some(stored) = stored {
            self.by_time.remove(&(stored, address));
        } else {
            self.make_room(now_us);
        }
        self.full_again_us.insert(address, next);
        self.by_time.insert((next, address));
        Ok(())
    }

    /// Addresses that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full_again_us.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full_again_us.is_empty()
    }

    /// Forgets those who have all attempts back, which changes nothing, and if that is not enough the one who is nearest
    /// to it.
    fn make_room(&mut self, now_us: i64) {
        while let Some(&(time, address)) = self.by_time.first() {
            if time > now_us && self.full_again_us.len() < self.capacity {
                return;
            }
            self.by_time.pop_first();
            self.full_again_us.remove(&address);
        }
    }
}

/// Who an address belongs to: of IPv6 everybody has at least 2^64 addresses, so the first half counts.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: i64 = 1_000_000;
    /// Some day in 2026.
    const NOW: i64 = 1_790_000_000 * SECOND;

    #[test]
    fn locks_double_from_the_fifth_failure_to_a_quarter_of_an_hour() {
        let mut brake = AccountBrake::default();
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..18 {
            brake = brake.attempt(now).unwrap();
            match brake.attempt(now) {
                Ok(_) => waits.push(0),
                Err(wait) => {
                    assert!(brake.is_locked(now));
                    assert!(brake.attempt(brake.locked_until_us - 1).is_err(), "locked to the end");
                    waits.push(wait.retry_after_s());
                }
            }
            now = brake.locked_until_us;
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
        let in_a_day = 14 + (24 * 3_600 - 1_023) / 900;
        assert!(in_a_day < 110, "{in_a_day} guesses in a day");
    }

    #[test]
    fn success_and_a_quiet_day_forget_the_failures() {
        let many = AccountBrake { failures: 30, locked_until_us: NOW };
        assert_eq!(many.attempt(NOW + FORGET_US).unwrap().failures, 31);
        assert_eq!(many.attempt(NOW + FORGET_US + 1).unwrap().failures, 1);
        assert_eq!(AccountBrake::default().attempt(NOW).unwrap(), AccountBrake { failures: 1, locked_until_us: NOW });
    }

    #[test]
    fn attempts_at_the_same_moment_count_each() {
        let mut brake = AccountBrake::default();
        let admitted = (0..1_000).filter(|_| brake.attempt(NOW).map(|next| brake = next).is_ok()).count();
        assert_eq!(admitted, 5);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_for_years() {
        let brake = AccountBrake { failures: 20, locked_until_us: NOW + LOCK_MAX_US };
        let back = NOW - 365 * 24 * 3_600 * SECOND;
        assert!(!brake.is_locked(back));
        let next = brake.attempt(back).unwrap();
        assert_eq!((next.failures, next.locked_until_us), (21, back + LOCK_MAX_US));
        let extreme = AccountBrake { failures: u32::MAX, locked_until_us: i64::MAX };
        assert!(extreme.attempt(i64::MIN).is_ok());
        assert!(AccountBrake { failures: 1, locked_until_us: i64::MIN }.attempt(i64::MAX).is_ok());
    }

    fn v4(last: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + last).to_be_bytes())
    }

    #[test]
    fn an_address_gets_twenty_and_then_twenty_a_minute() {
        let mut brake = AddressBrake::default();
        let burst = (0..100).filter(|_| brake.attempt(v4(1), NOW).is_ok()).count();
        assert_eq!(burst, 20);
        assert_eq!(brake.attempt(v4(1), NOW).unwrap_err().retry_after_s(), 3);
        assert!(brake.attempt(v4(2), NOW).is_ok(), "another address is free");
        let minute = (0..6_000).filter(|i| brake.attempt(v4(1), NOW + i * SECOND / 100).is_ok()).count();
        assert_eq!(minute, 19, "one each three seconds, the twentieth when the minute is over");
        assert!(brake.attempt(v4(1), NOW + 60 * SECOND).is_ok());
        let later = (0..100).filter(|_| brake.attempt(v4(1), NOW + 3_600 * SECOND).is_ok()).count();
        assert_eq!(later, 20, "never more than a burst");
    }

    #[test]
    fn one_subscriber_is_one_address() {
        let mut brake = AddressBrake::default();
        let of_one = (0..100_u128)
            .filter(|i| brake.attempt(IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + i * 7)), NOW).is_ok())
            .count();
        assert_eq!((of_one, brake.len()), (20, 1));
        let mapped: IpAddr = "::ffff:10.0.0.9".parse().unwrap();
        for _ in 0..20 {
            brake.attempt(mapped, NOW).unwrap();
        }
        assert!(brake.attempt("10.0.0.9".parse().unwrap(), NOW).is_err(), "IPv4 in IPv6 clothes is the same");
        assert!(brake.attempt("10.0.0.8".parse().unwrap(), NOW).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let mut brake = AddressBrake::with_capacity(100);
        for _ in 0..20 {
            brake.attempt(v4(0), NOW).unwrap();
        }
        for i in 1..5_000 {
            brake.attempt(v4(i), NOW + i64::from(i)).unwrap();
            assert!(brake.len() <= 100 && brake.by_time.len() == brake.len());
        }
        assert!(brake.attempt(v4(0), NOW + 5_000).is_err(), "the one who tries most is remembered longest");
        brake.attempt(v4(9_999), NOW + 3_600 * SECOND).unwrap();
        assert_eq!(brake.len(), 1, "whoever has all attempts back is forgotten");
    }

    #[test]
    fn an_address_survives_clocks_that_jump() {
        let mut brake = AddressBrake::default();
        for _ in 0..20 {
            brake.attempt(v4(1), NOW).unwrap();
        }
        let back = NOW - 24 * 3_600 * SECOND;
        let burst = (0..100).filter(|_| brake.attempt(v4(1), back).is_ok()).count();
        assert_eq!(burst, 20, "as if never seen");
        for now in [i64::MIN, i64::MAX, 0] {
            let _ = brake.attempt(v4(1), now);
        }
        assert!(brake.len() <= 1);
    }
}
