//! Alerts and their outbox: raised once, told at least once, and nothing lost or doubled by a restart.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::alerts::{
    AlertKind, AlertStatus, Channel, Contact, DeliveryState, NewAlert, Policy, Severity, next_actions,
};
use clinic::{AlertId, CallId, PatientId};
use common::{STARTED, call, open, patient};
use store::{AlertFilter, ClimbReport, Outcome, Store};

const SECOND: i64 = 1_000_000;
const LEASE: i64 = 60 * SECOND;

fn flag(patient_id: &PatientId, call_id: Option<&CallId>, code: &str) -> NewAlert {
    NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: call_id.cloned(),
        kind: AlertKind::RedFlag,
        code: code.into(),
        severity: Severity::Critical,
        summary: "Red flag chest pain: \"an elephant on my chest\"".into(),
    }
}

fn risk(patient_id: &PatientId, severity: Severity) -> NewAlert {
    let summary = format!("Risk {}", severity.as_str());
    NewAlert { kind: AlertKind::Risk, code: severity.as_str().into(), severity, summary, ..flag(patient_id, None, "x") }
}

async fn ada(store: &Store) -> PatientId {
    store.add_patient(&patient(1)).await.unwrap().id
}

/// Two contacts with a telephone each.
async fn climb(store: &Store, now_us: i64) -> ClimbReport {
    let contacts = vec![Contact { channels: vec![Channel::Sms] }; 2];
    let policy = Policy::default();
    store
        .climb_alerts(now_us, 100, |alert, so_far| next_actions(alert, so_far, &contacts, &policy, now_us))
        .await
        .unwrap()
}

async fn states(store: &Store, id: &AlertId) -> Vec<(u32, u32, DeliveryState)> {
    let deliveries = store.alert_deliveries(id).await.unwrap();
    deliveries.iter().map(|d| (d.climb, d.delivery.contact, d.delivery.state)).collect()
}

#[tokio::test]
async fn the_same_matter_is_one_alert_until_it_is_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let first = store.begin_call(call("CA1", Some(ada.clone()))).await.unwrap().id;
    let second = store.begin_call(call("CA2", Some(ada.clone()))).await.unwrap().id;
    let raised = store.raise_alert(&flag(&ada, Some(&first), "chest_pain"), STARTED).await.unwrap();
    assert!(raised.is_new && raised.notifies);
    // The same words of the same call: nothing. Another call: told again. Another flag: another alert.
    let again = store.raise_alert(&flag(&ada, Some(&first), "chest_pain"), STARTED + SECOND).await.unwrap();
    assert!(again.id == raised.id && !again.is_new && !again.notifies);
    let later = store.raise_alert(&flag(&ada, Some(&second), "chest_pain"), STARTED + 2 * SECOND).await.unwrap();
    assert!(later.id == raised.id && later.notifies);
    let other = store.raise_alert(&flag(&ada, Some(&second), "syncope"), STARTED + 3 * SECOND).await.unwrap();
    assert!(other.is_new);
    let alert = store.get_alert(&raised.id).await.unwrap();
    assert_eq!((alert.occurrences, alert.call_id.as_ref()), (2, Some(&second)));
    assert_eq!(alert.content.unwrap().code, "chest_pain");
    let calls: Vec<_> =
        store.alert_occurrences(&raised.id).await.unwrap().into_iter().map(|o| o.call_id.unwrap()).collect();
    assert_eq!(calls, [first.clone(), second]);
    store.resolve_alert(&raised.id, "nurse", None, STARTED + 4 * SECOND).await.unwrap();
    let new = store.raise_alert(&flag(&ada, Some(&first), "chest_pain"), STARTED + 5 * SECOND).await.unwrap();
    assert!(new.is_new && new.id != raised.id);
}

#[tokio::test]
async fn a_risk_is_told_again_only_when_it_rises_and_never_falls() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let raised = store.raise_alert(&risk(&ada, Severity::Urgent), STARTED).await.unwrap();
    store.acknowledge_alert(&raised.id, "nurse", Some("rang her"), STARTED + SECOND).await.unwrap();
    let lower = store.raise_alert(&risk(&ada, Severity::Review), STARTED + 2 * SECOND).await.unwrap();
    assert!(!lower.notifies);
    let alert = store.get_alert(&raised.id).await.unwrap();
    assert_eq!((alert.severity, alert.status), (Severity::Urgent, AlertStatus::Acknowledged));
    assert_eq!(alert.content.unwrap().summary, "Risk urgent");
    let rise = store.raise_alert(&risk(&ada, Severity::Critical), STARTED + 3 * SECOND).await.unwrap();
    assert!(rise.notifies);
    let alert = store.get_alert(&raised.id).await.unwrap();
    assert_eq!((alert.severity, alert.status, alert.occurrences), (Severity::Critical, AlertStatus::Open, 3));
    assert_eq!((alert.acknowledged, alert.content.unwrap().summary.as_str()), (None, "Risk critical"));
}

#[tokio::test]
async fn two_raises_at_once_make_one_alert() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let raises: Vec<_> = (0..8)
        .map(|n| {
            let (store, new) = (store.clone(), risk(&ada, Severity::Urgent));
            tokio::spawn(async move { store.raise_alert(&new, STARTED + n).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for raise in raises {
        new += usize::from(raise.await.unwrap().is_new);
    }
    assert_eq!(new, 1);
    let alerts = store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap();
    assert_eq!((alerts.len(), alerts[0].occurrences), (1, 8));
}

#[tokio::test]
async fn taking_up_and_resolving_are_kept_with_who_when_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let id = store.raise_alert(&flag(&ada, None, "chest_pain"), STARTED).await.unwrap().id;
    climb(&store, STARTED).await;
    let taken = store.acknowledge_alert(&id, "nurse joy", Some("on my way"), STARTED + SECOND).await.unwrap();
    let acknowledged = taken.acknowledged.unwrap();
    assert_eq!((acknowledged.by.as_str(), acknowledged.note.as_deref()), ("nurse joy", Some("on my way")));
    // What was still to be sent is not sent any more, and the first to take it up stays.
    assert_eq!(states(&store, &id).await, [(1, 0, DeliveryState::Cancelled)]);
    let again = store.acknowledge_alert(&id, "somebody else", None, STARTED + 2 * SECOND).await.unwrap();
    assert_eq!(again.acknowledged.unwrap().by, "nurse joy");
    let done = store.resolve_alert(&id, "nurse joy", Some("ambulance"), STARTED + 3 * SECOND).await.unwrap();
    assert_eq!(done.status, AlertStatus::Resolved);
    assert_eq!(done.resolved.unwrap().note.as_deref(), Some("ambulance"));
    let late = store.acknowledge_alert(&id, "x", None, STARTED + 4 * SECOND).await.unwrap_err();
    assert_eq!(late.code(), "conflict");
    let nobody = AlertId::parse("nothing").unwrap();
    assert_eq!(store.resolve_alert(&nobody, "x", None, STARTED).await.unwrap_err().code(), "not_found");
    assert_eq!(store.resolve_alert(&id, "", None, STARTED).await.unwrap_err().code(), "invalid");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let bob = store.add_patient(&patient(2)).await.unwrap().id;
    let mut ids = Vec::new();
    for (at, new) in (0..).zip([
        risk(&ada, Severity::Review),
        flag(&ada, None, "chest_pain"),
        risk(&bob, Severity::Urgent),
        flag(&bob, None, "syncope"),
    ]) {
        ids.push(store.raise_alert(&new, STARTED + at * SECOND).await.unwrap().id);
    }
    ids.reverse();
    let list = async |filter: AlertFilter, limit, before: Option<&AlertId>| {
        let found = store.list_alerts(&filter, limit, before).await.unwrap();
        found.into_iter().map(|alert| alert.id).collect::<Vec<_>>()
    };
    assert_eq!(list(AlertFilter::default(), 10, None).await, ids);
    assert_eq!(list(AlertFilter::default(), 2, Some(&ids[0])).await, ids[1..3]);
    let urgent = AlertFilter { at_least: Some(Severity::Urgent), ..AlertFilter::default() };
    assert_eq!(list(urgent, 10, None).await, ids[..3]);
    let of_ada = AlertFilter { patient_id: Some(ada), ..AlertFilter::default() };
    assert_eq!(list(of_ada, 10, None).await, ids[2..]);
    store.acknowledge_alert(&ids[0], "nurse", None, STARTED).await.unwrap();
    store.resolve_alert(&ids[1], "nurse", None, STARTED).await.unwrap();
    let with = |statuses: &[AlertStatus]| AlertFilter { statuses: statuses.to_vec(), ..AlertFilter::default() };
    assert_eq!(list(with(&[AlertStatus::Open]), 10, None).await, ids[2..]);
    let unresolved = with(&[AlertStatus::Open, AlertStatus::Acknowledged]);
    assert_eq!(list(unresolved, 10, None).await, [&ids[..1], &ids[2..]].concat());
}

#[tokio::test]
async fn a_message_is_decided_on_once_and_claimed_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let id = store.raise_alert(&flag(&ada, None, "chest_pain"), STARTED).await.unwrap().id;
    assert_eq!(store.next_alert_work_us().await.unwrap(), Some(STARTED));
    assert_eq!(climb(&store, STARTED).await.made, 1);
    assert_eq!(climb(&store, STARTED).await.made, 0);
    let claimed = store.claim_deliveries(Channel::Sms, STARTED, LEASE, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempt, claimed[0].unsure), (1, 1, false));
    assert_eq!((claimed[0].severity, claimed[0].kind), (Severity::Critical, AlertKind::RedFlag));
    assert!(store.claim_deliveries(Channel::Sms, STARTED, LEASE, 10).await.unwrap().is_empty());
    assert!(store.claim_deliveries(Channel::Email, STARTED, LEASE, 10).await.unwrap().is_empty());
    let sent = Outcome::Sent { service_id: "SM1".into() };
    store.settle_delivery(&claimed[0].id, &sent, STARTED + SECOND).await.unwrap();
    // Nobody takes it up: the second contact is told, after two minutes.
    assert_eq!(store.next_alert_work_us().await.unwrap(), Some(STARTED + 120 * SECOND));
    assert_eq!(climb(&store, STARTED + 119 * SECOND).await.made, 0);
    assert_eq!(climb(&store, STARTED + 120 * SECOND).await.made, 1);
    assert_eq!(states(&store, &id).await, [(1, 0, DeliveryState::Sent), (1, 1, DeliveryState::Waiting)]);
}

#[tokio::test]
async fn a_process_that_dies_while_sending_leaves_the_message_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    store.raise_alert(&flag(&ada, None, "chest_pain"), STARTED).await.unwrap();
    climb(&store, STARTED).await;
    let lost = store.claim_deliveries(Channel::Sms, STARTED, LEASE, 10).await.unwrap();
    store.close().await;
    let store = open(dir.path()).await;
    store.look_at_alerts_again(STARTED + SECOND).await.unwrap();
    assert_eq!(climb(&store, STARTED + SECOND).await.made, 0, "the message is there already");
    assert!(store.claim_deliveries(Channel::Sms, STARTED + SECOND, LEASE, 10).await.unwrap().is_empty());
    let found = store.claim_deliveries(Channel::Sms, STARTED + LEASE, LEASE, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].id == lost[0].id && found[0].unsure && found[0].attempt == 2);
}

#[tokio::test]
async fn a_message_that_fails_makes_the_next_step_due() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let id = store.raise_alert(&flag(&ada, None, "chest_pain"), STARTED).await.unwrap().id;
    climb(&store, STARTED).await;
    let claimed = store.claim_deliveries(Channel::Sms, STARTED, LEASE, 10).await.unwrap().remove(0).id;
    let retry = Outcome::Retry { at_us: STARTED + 5 * SECOND, error: "unreachable".into(), unsure: false };
    store.settle_delivery(&claimed, &retry, STARTED + SECOND).await.unwrap();
    assert_eq!(store.next_alert_work_us().await.unwrap(), Some(STARTED + 5 * SECOND));
    let again = store.claim_deliveries(Channel::Sms, STARTED + 5 * SECOND, LEASE, 10).await.unwrap().remove(0);
    assert!(again.attempt == 2 && !again.unsure);
    let failed = Outcome::Failed { error: "refused".into() };
    store.settle_delivery(&claimed, &failed, STARTED + 6 * SECOND).await.unwrap();
    assert_eq!(store.next_alert_work_us().await.unwrap(), Some(STARTED + 6 * SECOND));
    assert_eq!(climb(&store, STARTED + 6 * SECOND).await.made, 1);
    assert_eq!(states(&store, &id).await, [(1, 0, DeliveryState::Failed), (1, 1, DeliveryState::Waiting)]);
}

#[tokio::test]
async fn reports_move_a_message_forward_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    store.raise_alert(&flag(&ada, None, "chest_pain"), STARTED).await.unwrap();
    climb(&store, STARTED).await;
    let id = store.claim_deliveries(Channel::Sms, STARTED, LEASE, 10).await.unwrap().remove(0).id;
    // The report may be quicker than the answer to the request.
    let report = async |sid: &str, state| store.report_delivery(&id, sid, state, None, STARTED).await;
    assert!(report("SM1", DeliveryState::Sent).await.unwrap());
    store.settle_delivery(&id, &Outcome::Sent { service_id: "SM1".into() }, STARTED).await.unwrap();
    assert!(report("SM1", DeliveryState::Delivered).await.unwrap());
    assert!(!report("SM1", DeliveryState::Sent).await.unwrap());
    assert!(!report("SM1", DeliveryState::Failed).await.unwrap());
    assert_eq!(report("SM2", DeliveryState::Failed).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn what_an_alert_says_is_sealed_and_erased_with_its_patient() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let id = store.raise_alert(&flag(&ada, None, "chest_pain"), STARTED).await.unwrap().id;
    store.acknowledge_alert(&id, "nurse", Some("daughter Zelda drives"), STARTED).await.unwrap();
    let own = NewAlert { patient_id: None, kind: AlertKind::Technical, ..flag(&ada, None, "agent_configuration") };
    let own = store.raise_alert(&own, STARTED).await.unwrap().id;
    store.close().await;
    common::dump(dir.path()).await;
    let mut files = vec![dir.path().to_owned()];
    let mut looked_at = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        looked_at += bytes.len();
        for word in ["chest_pain", "elephant", "Zelda"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} in {}", path.display());
        }
    }
    assert!(looked_at > 1_000, "{looked_at}");
    assert_eq!(common::tamper(dir.path(), "DELETE FROM data_keys WHERE kind = 'patient'").await, 1);
    let store = open(dir.path()).await;
    let erased = store.get_alert(&id).await.unwrap();
    assert_eq!((erased.content, erased.acknowledged.unwrap().note), (None, None));
    assert_eq!(store.get_alert(&own).await.unwrap().content.unwrap().code, "agent_configuration");
    assert_eq!(store.raise_alert(&flag(&ada, None, "x"), STARTED).await.unwrap_err().code(), "sealed");
}

#[tokio::test]
async fn impossible_alerts_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = ada(&store).await;
    let stranger = PatientId::parse("nobody").unwrap();
    let unknown_call = CallId::parse("never").unwrap();
    let code = async |new: NewAlert| store.raise_alert(&new, STARTED).await.unwrap_err().code();
    assert_eq!(code(flag(&stranger, None, "x")).await, "not_found");
    assert_eq!(code(flag(&ada, Some(&unknown_call), "x")).await, "not_found");
    assert_eq!(code(flag(&ada, None, "two words")).await, "invalid");
    assert_eq!(code(NewAlert { summary: "x".repeat(5_000), ..flag(&ada, None, "x") }).await, "invalid");
    assert!(store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_lets_in_until_it_expires_or_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let new = store.create_token("dashboard", Some(STARTED + 10 * SECOND), STARTED).await.unwrap();
    let forever = store.create_token("report", None, STARTED).await.unwrap();
    assert!(!format!("{new:?}").contains(new.token.as_str()));
    let name = async |token: &str, at| store.check_token(token, at).await.unwrap().map(|token| token.name);
    assert_eq!(name(&new.token, STARTED).await.as_deref(), Some("dashboard"));
    assert_eq!(name(&new.token, STARTED + 10 * SECOND).await, None);
    assert_eq!(name(&forever.token, STARTED + 10 * SECOND).await.as_deref(), Some("report"));
    let mut wrong = forever.token.to_string();
    wrong.replace_range(10..11, if wrong.as_bytes()[10] == b'0' { "1" } else { "0" });
    assert_eq!(name(&wrong, STARTED).await, None);
    store.revoke_token(&forever.record.id, STARTED + SECOND).await.unwrap();
    assert_eq!(name(&forever.token, STARTED + 2 * SECOND).await, None);
    let listed = store.list_tokens().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].revoked_at_us, Some(STARTED + SECOND));
    assert_eq!(store.create_token(" ", None, STARTED).await.unwrap_err().code(), "invalid");
    common::dump(dir.path()).await;
    let database = std::fs::read(dir.path().join("data/heartvoice.db")).unwrap();
    let wal = std::fs::read(dir.path().join("data/heartvoice.db-wal")).unwrap_or_default();
    let token = new.token.as_bytes();
    assert!(!database.windows(token.len()).chain(wal.windows(token.len())).any(|part| part == token));
}
