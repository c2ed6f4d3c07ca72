//! How far somebody gets by guessing, in simulated time and over the wire.

use crate::house::House;
use clinic::access::Role;
use server::auth::throttle::{AccountBrake, LOCK_MAX_US};
use store::BrakeState;

const SECOND: i64 = 1_000_000;
/// Some day in 2026.
const START: i64 = 1_790_000_000 * SECOND;

/// One attempt, as a server makes it: counted in the database before the password is looked at.
async fn attempt(house: &House, name: &str, now_us: i64) -> Result<i64, i64> {
    let seen = house.store.sign_in_under(name).await.unwrap();
    let BrakeState { failures, locked_until_us } = seen.brake;
    match (AccountBrake { failures, locked_until_us }).attempt(now_us) {
        Err(_) => Err(locked_until_us),
        Ok(next) => {
            let next = BrakeState { failures: next.failures, locked_until_us: next.locked_until_us };
            assert!(house.store.note_attempt(&seen, next).await.unwrap());
            Ok(next.locked_until_us)
        }
    }
}

#[tokio::test]
async fn a_patient_guesser_has_110_tries_in_the_first_day_and_96_in_each_further_one() {
    let house = House::open().await;
    house.store.add_user("ada", Role::Admin, 1).await.unwrap();
    let mut of_first_day = Vec::new();
    for name in ["ada", "nobody"] {
        let mut now_us = START;
        let mut tries = [0; 3];
        loop {
            // As soon as the lock is over, never later.
            let until_us = attempt(&house, name, now_us).await.unwrap();
            let day = usize::try_from((now_us - START) / (24 * 3_600 * SECOND)).unwrap();
            if day == tries.len() {
                break;
            }
            tries[day] += 1;
            if until_us > now_us {
                assert!(attempt(&house, name, until_us - 1).await.is_err(), "locked to the last microsecond");
                assert!(until_us - now_us <= LOCK_MAX_US);
            }
            now_us = until_us.max(now_us);
        }
        assert!((100..=110).contains(&tries[0]), "{name}: {tries:?}");
        assert_eq!(tries[1..], [96, 96], "{name}");
        of_first_day.push(tries[0]);
    }
    assert_eq!(of_first_day[0], of_first_day[1], "names that nobody has are slowed alike");
    println!("tries in the first day: {}, in each further one: 96", of_first_day[0]);
}

#[tokio::test]
async fn one_address_tries_twenty_names_and_then_waits() {
    let house = House::open().await;
    let mut browser = house.browser();
    browser.address = Some("203.0.113.9".to_owned());
    let (mut statuses, begin) = (Vec::new(), std::time::Instant::now());
    for number in 0..60 {
        let name = format!("user{number}");
        statuses.push(browser.post("/sign-in", &[("name", &name), ("password", "spring")]).await.status.as_u16());
    }
    let earned = begin.elapsed().as_secs() / 3 + 1;
    let looked_at = statuses.iter().filter(|status| **status == 401).count() as u64;
    assert!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    assert!(looked_at <= 20 + earned && looked_at < 60, "one try is earned each three seconds: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    let mut neighbour = house.browser();
    neighbour.address = Some("203.0.113.10".to_owned());
    let answer = neighbour.post("/sign-in", &[("name", "somebody"), ("password", "spring")]).await;
    assert_eq!(answer.status, 401, "another address is free");
}

#[tokio::test]
async fn many_at_once_are_not_many_free_tries() {
    let house = House::open().await;
    house.person("ada", Role::Admin).await;
    let tries =
        (0..40).map(|number| {
            let mut browser = house.browser();
            browser.address = Some(format!("198.51.100.{number}"));
            async move {
                browser.post("/sign-in", &[("name", "ada"), ("password", "not the right one")]).await.status.as_u16()
            }
        });
    let statuses = futures_util::future::join_all(tries).await;
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    assert!(looked_at <= 6, "{looked_at} passwords were looked at: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "{statuses:?}");
}
