//! A store that does not take the end of a visit for a while: nothing of it is lost, and nobody takes it for done.

use crate::house::{House, Plan, deaf_agent, hangs_up_after, says, until};
use clinic::answers::Source;
use sim::elevenlabs::Beat;
use sqlx::{Executor, SqliteConnection};
use std::time::Duration;

const REFUSE: &str = "CREATE TRIGGER away BEFORE INSERT ON visits BEGIN SELECT RAISE(ABORT, 'away'); END";
const TAKE: &str = "DROP TRIGGER away";

async fn count(database: &mut SqliteConnection, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_is_stored_with_what_the_service_reported_once_the_store_takes_it() {
    let waiting = "SELECT COUNT(*) FROM post_calls WHERE reconciled_at_us IS NULL";
    let plan = Plan { items: &["dyspnea", "swelling"], ..Plan::default() };
    let house = House::open(plan).await;
    let mut database = house.database().await;
    database.execute(REFUSE).await.unwrap();
    let (_, call) = house.call(house.caller(1, hangs_up_after(3))).await;
    assert_eq!(house.store.visit(&call.id).await.unwrap(), None);
    assert_eq!(house.send_found(&[("swelling", "worse")]).await, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count(&mut database, waiting).await, 1, "there is nothing yet to work the report into");
    assert_eq!(house.store.waiting_post_calls().await.unwrap(), [], "and nobody is asked to");

    database.execute(TAKE).await.unwrap();
    until("the visit", async || house.store.visit(&call.id).await.unwrap().is_some()).await;
    let visit = house.visit(&call).await;
    assert!(visit.assessment.is_some());
    let swelling = visit.record.answers.iter().find(|answer| answer.question == "swelling").unwrap();
    assert_eq!((swelling.text(), swelling.source), (Some("worse"), Some(Source::PostCall)));
    until("the report is worked in", async || count(&mut database, waiting).await == 0).await;
    crate::log::assert_discreet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_a_visit_that_the_store_did_not_take_and_for_its_alerts() {
    let agent = deaf_agent(vec![Beat::Wait(1_000), Beat::EndCall]);
    let house = House::open(Plan { agent, ..Plan::default() }).await;
    let mut database = house.database().await;
    database.execute(REFUSE).await.unwrap();
    house.call(house.caller(1, says("patient_m_chest_pain"))).await;
    assert_eq!(house.alert_codes().await, ["chest_pain"], "the rest is found out from the visit");
    let mut other = house.database().await;
    let recovering = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.execute(TAKE).await.unwrap();
    };
    tokio::join!(house.server.shutdown(Duration::from_secs(60), std::future::pending()), recovering);
    assert_eq!(count(&mut database, "SELECT COUNT(*) FROM visits WHERE assessment IS NOT NULL").await, 1);
    assert_eq!(count(&mut database, "SELECT COUNT(*) FROM alerts").await, 2);
    crate::log::assert_discreet();
}
