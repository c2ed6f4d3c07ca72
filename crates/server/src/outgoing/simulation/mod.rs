//! A month of calls to a thousand patients in a few seconds: the real store and the real dispatcher, a simulated clock
//! and a simulated telephone exchange that loses answers and callbacks, and a process that dies at the worst moments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod exchange;
mod patients;
mod world;

use world::{Trouble, World};

/// Everything that can go wrong goes wrong.
#[tokio::test]
async fn a_month_of_calls_with_restarts_and_losses() {
    let mut world = World::open(1_000, 30, Trouble::MUCH, 7).await;
    world.run().await;
    let counts = world.check().await;
    // The month was what it was meant to be.
    assert!(counts.planned > 5_000, "{counts:?}");
    assert!(counts.rings > 6_000 && counts.reached > 3_000 && counts.missed > 200, "{counts:?}");
    assert!(counts.crashes > 30 && counts.lost_answers > 100 && counts.lost_callbacks > 1_000, "{counts:?}");
    eprintln!("{counts:?}");
}

/// Nothing goes wrong but that people do not answer: then everybody is called as often as it takes.
#[tokio::test]
async fn a_quiet_week() {
    let mut world = World::open(60, 7, Trouble::NONE, 11).await;
    world.run().await;
    let counts = world.check().await;
    assert_eq!((counts.crashes, counts.lost_answers, counts.lost_callbacks, counts.unknown), (0, 0, 0, 0));
    assert!(counts.reached * 10 > counts.planned * 8, "{counts:?}");
}

/// The whole account may hold three calls at once, and everybody is due on the same morning.
#[tokio::test]
async fn a_narrow_line_serves_the_oldest_first_and_reports_the_rest() {
    let mut world = World::open(300, 1, Trouble { at_once: 3, same_morning: true, ..Trouble::NONE }, 3).await;
    world.run().await;
    let counts = world.check().await;
    assert!(counts.missed > 50 && counts.reached > 10, "{counts:?}");
    assert!(world.first_rings_follow_the_queue(), "somebody who was due later was called earlier");
}
