//! Which refused strangers get an entry of the audit trail each: so many a minute for an address, and so many over all
//! addresses. The rest is counted, and the next entry that is written says how many there were: nobody can fill the disk
//! by failing. Pure; the time comes in.

use crate::limits;
use std::collections::HashMap;
use std::net::IpAddr;

const MINUTE_US: i64 = 60 * 1_000_000;

/// What was refused in the current minute.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    minute: i64,
    by_address: HashMap<Option<IpAddr>, u32>,
    written: u32,
    unwritten: u64,
}

impl Refusals {
    /// Notes a refusal. `Some`: write an entry of it, which says that so many went unwritten before it.
    pub(super) fn note(&mut self, address: Option<IpAddr>, now_us: i64) -> Option<u64> {
        let minute = now_us.div_euclid(MINUTE_US);
        if minute != self.minute {
            self.minute = minute;
            self.by_address.clear();
            self.written = 0;
        }
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= limits::REFUSALS_OF_ADDRESS || self.written >= limits::REFUSALS {
            self.unwritten = self.unwritten.saturating_add(1);
            return None;
        }
        // Never more addresses than entries.
        self.by_address.insert(address, of_address + 1);
        self.written += 1;
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn so_many_are_written_and_the_rest_is_counted() {
        let mut refusals = Refusals::default();
        let address = |number: u32| Some(IpAddr::from(Ipv4Addr::from(number)));
        let (of_one, of_all) = (limits::REFUSALS_OF_ADDRESS as usize, limits::REFUSALS as usize);
        let written = (0..1_000).filter(|_| refusals.note(address(1), 0).is_some()).count();
        assert_eq!(written, of_one);
        assert_eq!(refusals.note(address(2), 0), Some(1_000 - of_one as u64), "the next one tells");
        let many = (10..100_000).filter(|number| refusals.note(address(*number), 0).is_some()).count();
        assert_eq!(many, of_all - of_one - 1);
        assert!(refusals.by_address.len() <= of_all);
        assert_eq!(refusals.note(address(1), MINUTE_US), Some((99_990 - many) as u64));
        assert_eq!(refusals.note(None, MINUTE_US), Some(0));
    }
}
