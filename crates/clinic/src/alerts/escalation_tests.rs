//! The ladder in simulated time: who is told when, and that it always ends.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

fn people(count: usize) -> Vec<Contact> {
    vec![Contact { channels: vec![Channel::Sms] }; count]
}

/// Plays an alert from its beginning until nothing is left to be done. `fate` decides what becomes of each message.
struct World {
    alert: Standing,
    contacts: Vec<Contact>,
    policy: Policy,
    deliveries: Vec<Delivery>,
    now_us: i64,
}

impl World {
    fn new(severity: Severity, contacts: Vec<Contact>, policy: Policy, from_us: i64) -> Self {
        let alert = Standing { severity, status: AlertStatus::Open, from_us };
        Self { alert, contacts, policy, deliveries: Vec::new(), now_us: from_us }
    }

    fn next(&self) -> Next {
        next_actions(&self.alert, &self.deliveries, &self.contacts, &self.policy, self.now_us)
    }

    fn take(&mut self, action: Action, state: DeliveryState) {
        let Action { step, contact, channel } = action;
        let settled_at_us = state.is_final().then_some(self.now_us);
        self.deliveries.push(Delivery { step, contact, channel, state, made_at_us: self.now_us, settled_at_us });
    }

    /// Everything told until `until_us`: when and to whom.
    fn run(&mut self, until_us: i64, mut fate: impl FnMut(&Action) -> DeliveryState) -> Vec<(i64, Action)> {
        let mut told = Vec::new();
        loop {
            let next = self.next();
            for action in &next.actions {
                told.push((self.now_us, *action));
                let state = fate(action);
                self.take(*action, state);
            }
            // A failed message may make the next step due at once.
            let soonest = self.next();
            match soonest.deadline_us.or(next.deadline_us) {
                _ if !soonest.actions.is_empty() => {}
                Some(deadline) if deadline <= until_us => {
                    assert!(deadline > self.now_us, "a deadline that has passed and nothing to do");
                    self.now_us = deadline;
                }
                _ => return told,
            }
            assert!(told.len() <= 10_000, "it does not end");
        }
    }
}

fn contacts_told(told: &[(i64, Action)]) -> Vec<u32> {
    told.iter().map(|(_, action)| action.contact).collect()
}

#[test]
fn contacts_are_told_in_order_then_again_then_all() {
    let start = at("2026-01-10T12:00:00Z");
    let policy = Policy { rounds: 2, ..Policy::default() };
    let mut world = World::new(Severity::Critical, people(3), policy, start);
    let told = world.run(i64::MAX, |_| DeliveryState::Delivered);
    assert_eq!(contacts_told(&told), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    let minutes: Vec<i64> = told.iter().map(|(when, _)| (when - start) / MINUTE).collect();
    assert_eq!(minutes, [0, 2, 4, 6, 8, 10, 12, 12, 12]);
    world.now_us += 3 * MINUTE;
    assert_eq!(world.next(), Next { exhausted: true, ..Next::default() });
}

#[test]
fn an_acknowledgement_ends_it() {
    let start = at("2026-01-10T12:00:00Z");
    let mut world = World::new(Severity::Urgent, people(2), Policy::default(), start);
    world.run(start + MINUTE, |_| DeliveryState::Sent);
    for status in [AlertStatus::Acknowledged, AlertStatus::Resolved] {
        world.alert.status = status;
        world.now_us = start + 60 * MINUTE;
        assert_eq!(world.next(), Next::default());
    }
}

#[test]
fn when_no_message_gets_through_the_next_contact_is_told_at_once() {
    let start = at("2026-01-10T12:00:00Z");
    let mut world = World::new(Severity::Urgent, people(3), Policy::default(), start);
    let told = world.run(start + 10 * MINUTE, |action| match action.contact {
        0 => DeliveryState::Failed,
        _ => DeliveryState::Sent,
    });
    assert_eq!(contacts_told(&told), [0, 1]);
    assert_eq!(told[1].0, start);
    // One way that works is enough to wait.
    let both = vec![Contact { channels: vec![Channel::Sms, Channel::Email] }; 2];
    let mut world = World::new(Severity::Urgent, both, Policy::default(), start);
    let told = world.run(start + 10 * MINUTE, |action| match action.channel {
        Channel::Sms => DeliveryState::Failed,
        _ => DeliveryState::Sent,
    });
    assert_eq!(contacts_told(&told), [0, 0]);
}

#[test]
fn when_nobody_can_be_reached_a_round_still_takes_its_time() {
    let start = at("2026-01-10T12:00:00Z");
    let mut world = World::new(Severity::Critical, people(3), Policy::default(), start);
    let told = world.run(start + 3 * MINUTE, |_| DeliveryState::Failed);
    let seen: Vec<_> = told.iter().map(|(when, action)| ((when - start) / MINUTE, action.contact)).collect();
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)]);
    // The last message of all fails: there is nobody left to wait for.
    let mut alone = World::new(Severity::Critical, people(1), Policy { rounds: 1, ..Policy::default() }, start);
    alone.run(start, |_| DeliveryState::Failed);
    assert!(alone.next().exhausted);
}

#[test]
fn the_last_contact_has_the_usual_time_too() {
    let start = at("2026-01-10T12:00:00Z");
    let mut world = World::new(Severity::Critical, people(1), Policy { rounds: 1, ..Policy::default() }, start);
    world.run(start, |_| DeliveryState::Sent);
    assert_eq!(world.next(), Next { deadline_us: Some(start + 2 * MINUTE), ..Next::default() });
    world.now_us = start + 2 * MINUTE;
    assert!(world.next().exhausted);
}

#[test]
fn quiet_hours_hold_back_all_but_what_is_critical_over_a_clock_change() {
    // The clocks of New York go from 02:00 to 03:00 in this night.
    let start = at("2026-03-08T04:30:00Z");
    let policy = Policy {
        quiet: Some("21:00-07:00".parse().unwrap()),
        zone: TimeZone::get("America/New_York").unwrap(),
        ..Policy::default()
    };
    let mut urgent = World::new(Severity::Urgent, people(2), policy.clone(), start);
    let told = urgent.run(at("2026-03-08T11:20:00Z"), |_| DeliveryState::Sent);
    let times: Vec<i64> = told.iter().map(|(when, _)| *when).collect();
    assert_eq!(times, [at("2026-03-08T11:00:00Z"), at("2026-03-08T11:15:00Z")]);
    let mut critical = World::new(Severity::Critical, people(2), policy.clone(), start);
    assert_eq!(critical.run(start + MINUTE, |_| DeliveryState::Sent)[0].0, start);
    // An alert of the evening does not go on climbing in the night.
    let mut evening = World::new(Severity::Urgent, people(3), policy, at("2026-03-08T01:40:00Z"));
    let told = evening.run(at("2026-03-08T11:01:00Z"), |_| DeliveryState::Sent);
    let times: Vec<i64> = told.iter().map(|(when, _)| *when).collect();
    assert_eq!(times, [at("2026-03-08T01:40:00Z"), at("2026-03-08T01:55:00Z"), at("2026-03-08T11:00:00Z")]);
}

#[test]
fn a_review_waits_for_the_next_morning() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let policy = Policy { zone, ..Policy::default() };
    for (start, second) in [
        ("2026-01-10T12:00:00Z", "2026-01-11T07:00:00Z"),
        // Told at half past six, the morning of the same day would be no time at all.
        ("2026-01-10T05:30:00Z", "2026-01-11T07:00:00Z"),
        ("2026-01-10T01:00:00Z", "2026-01-10T07:00:00Z"),
    ] {
        let mut world = World::new(Severity::Review, people(2), policy.clone(), at(start));
        let told = world.run(at(second), |_| DeliveryState::Delivered);
        assert_eq!(told.len(), 2, "{start}");
        assert_eq!(told[1].0, at(second), "{start}");
    }
}

#[test]
fn after_a_standstill_nobody_is_skipped() {
    let start = at("2026-01-10T12:00:00Z");
    let mut world = World::new(Severity::Critical, people(3), Policy::default(), start);
    // Our process was down for an hour: the first contact is told now, and the second only after the usual time.
    world.now_us = start + 60 * MINUTE;
    let told = world.run(start + 61 * MINUTE, |_| DeliveryState::Sent);
    assert_eq!(contacts_told(&told), [0]);
    assert_eq!(world.next().deadline_us, Some(start + 62 * MINUTE));
}

#[test]
fn nobody_to_tell_is_said() {
    let start = at("2026-01-10T12:00:00Z");
    assert!(World::new(Severity::Critical, Vec::new(), Policy::default(), start).next().exhausted);
    assert!(World::new(Severity::Critical, vec![Contact::default()], Policy::default(), start).next().exhausted);
    assert_eq!(World::new(Severity::Info, people(1), Policy::default(), start).next(), Next::default());
}

#[test]
fn states_of_a_message_only_move_forward() {
    use DeliveryState::{Cancelled, Delivered, Failed, Sending, Sent, Waiting};
    for (from, to, may) in [
        (Waiting, Sending, true),
        (Sending, Sent, true),
        (Sent, Delivered, true),
        (Sent, Failed, true),
        (Delivered, Sent, false),
        (Delivered, Failed, false),
        (Failed, Delivered, false),
        (Cancelled, Sent, false),
        (Sent, Sent, false),
    ] {
        assert_eq!(from.may_become(to), may, "{from:?} {to:?}");
    }
    for state in DeliveryState::ALL {
        assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
    }
}

fn any_contact() -> impl Strategy<Value = Contact> {
    prop::sample::subsequence(Channel::ALL.to_vec(), 0..=3).prop_map(|channels| Contact { channels })
}

fn any_state() -> impl Strategy<Value = DeliveryState> {
    prop::sample::select(vec![
        DeliveryState::Waiting,
        DeliveryState::Sent,
        DeliveryState::Delivered,
        DeliveryState::Failed,
        DeliveryState::Cancelled,
    ])
}

proptest! {
    /// Whatever happens to the messages: it ends, nothing is sent twice, steps come in order, and quiet hours are kept.
    #[test]
    fn every_climb_ends_in_order_and_keeps_the_quiet_hours(
        severity in prop::sample::select(Severity::ALL.to_vec()),
        contacts in prop::collection::vec(any_contact(), 0..6),
        fates in prop::collection::vec(any_state(), 1..40),
        rounds in 0_u32..4,
        minute in 0_i64..(366 * 24 * 60),
        zone in prop::sample::select(vec!["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"]),
        hours in prop::sample::select(vec!["21:00-07:00", "22:30-02:30", "12:00-13:00", "00:00-23:30"]),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let quiet: QuietHours = hours.parse().unwrap();
        let policy = Policy { quiet: Some(quiet), zone: zone.clone(), rounds, ..Policy::default() };
        let reachable = contacts.iter().filter(|contact| !contact.channels.is_empty()).count();
        let ways: usize = contacts.iter().map(|contact| contact.channels.len()).sum();
        let start = at("2026-01-01T00:00:00Z") + minute * MINUTE;
        let mut world = World::new(severity, contacts, policy, start);
        let mut fates = fates.into_iter().cycle();
        let told = world.run(i64::MAX, |_| fates.next().unwrap());
        let distinct: HashSet<Action> = told.iter().map(|(_, action)| *action).collect();
        prop_assert_eq!(distinct.len(), told.len());
        prop_assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1.step <= pair[1].1.step));
        let rounds = usize::try_from(rounds.max(1)).unwrap();
        let expected = if severity == Severity::Info { 0 } else { ways * (rounds + usize::from(reachable > 1)) };
        prop_assert_eq!(told.len(), expected);
        if severity < Severity::Critical {
            for (when, _) in &told {
                prop_assert_eq!(quiet.until(Timestamp::from_microsecond(*when).unwrap(), &zone), None);
            }
        } else if let Some((first, _)) = told.first() {
            prop_assert_eq!(*first, start);
        }
    }
}
