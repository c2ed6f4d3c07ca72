//! Accounts and everything that lets somebody in: once, in time, and not any more after it was taken away.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::access::{Right, Role, Scopes};
use clinic::{PatientId, UserId};
use common::{STARTED, open, patient, tamper};
use store::{
    BrakeState, GLASS_LIFETIME_US, INVITATION_LIFETIME_US, NewGlassBreak, NewSession, PASSWORD_STAGE_LIFETIME_US,
    SESSION_IDLE_US, SESSION_LIFETIME_US, SessionStage, Store, TokenRequest,
};
use tempfile::TempDir;

const SECOND: i64 = 1_000_000;
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

async fn house() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    (dir, store)
}

async fn user(store: &Store, name: &str, role: Role) -> UserId {
    store.add_user(name, role, STARTED).await.unwrap().id
}

async fn session(store: &Store, user: &UserId, secret: u8, stage: SessionStage) -> clinic::SessionId {
    let new = NewSession { user, secret_hash: &[secret; 32], stage, address: "192.0.2.7" };
    store.begin_session(&new, STARTED).await.unwrap()
}

#[tokio::test]
async fn accounts_are_listed_and_found_whatever_the_case() {
    let (_dir, store) = house().await;
    assert!(!store.has_users().await.unwrap());
    let ada = store.add_user(" Ada.Nurse@clinic.example ", Role::Clinician, STARTED).await.unwrap();
    assert!(store.has_users().await.unwrap());
    assert_eq!((ada.name.as_str(), ada.role), ("ada.nurse@clinic.example", Role::Clinician));
    assert_eq!(store.user_by_name("ADA.nurse@clinic.example").await.unwrap(), Some(ada.clone()));
    assert_eq!(store.user(&ada.id).await.unwrap(), ada);
    assert_eq!(store.add_user("ada.nurse@CLINIC.example", Role::Admin, STARTED).await.unwrap_err().code(), "conflict");
    for bad in ["", "a", "-ada", "Ada Nurse", "ada\nx", "ådå", &"a".repeat(65)] {
        assert_eq!(store.add_user(bad, Role::Admin, STARTED).await.unwrap_err().code(), "invalid", "{bad:?}");
    }
    assert_eq!(store.add_user("robot", Role::Service, STARTED).await.unwrap_err().code(), "invalid");
    let nobody = UserId::parse("nobody").unwrap();
    assert_eq!(store.user(&nobody).await.unwrap_err().code(), "not_found");
    assert_eq!(store.disable_user(&nobody, STARTED).await.unwrap_err().code(), "not_found");
    assert_eq!(store.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_attempt_counts_once_however_many_come_at_once() {
    let (_dir, store) = house().await;
    user(&store, "ada", Role::Clinician).await;
    for name in ["ada", "nobody-of-this-name", "not a name \u{0}"] {
        let (one, other) = (store.sign_in_under(name).await.unwrap(), store.sign_in_under(name).await.unwrap());
        assert_eq!(one.brake, BrakeState::default());
        let next = BrakeState { failures: 1, locked_until_us: STARTED };
        assert!(store.note_attempt(&one, next).await.unwrap());
        assert!(!store.note_attempt(&other, next).await.unwrap(), "{name}: counted from a state that is past");
        let now = store.sign_in_under(name).await.unwrap();
        assert_eq!(now.brake, next);
        assert!(store.note_attempt(&now, BrakeState { failures: 2, locked_until_us: STARTED }).await.unwrap());
        assert_eq!(store.sign_in_under(name).await.unwrap().brake.failures, 2);
    }
    let ada = store.sign_in_under("ADA").await.unwrap().credentials.unwrap().user;
    assert_eq!(ada.failures, 2);
    store.note_success(&ada.id, Some(STARTED + 5)).await.unwrap();
    let ada = store.user(&ada.id).await.unwrap();
    assert_eq!((ada.failures, ada.signed_in_at_us), (0, Some(STARTED + 5)));
}

#[tokio::test]
async fn failures_under_names_that_nobody_has_are_forgotten_after_a_day() {
    let (_dir, store) = house().await;
    for (name, at_us) in [("old", STARTED), ("new", STARTED + 3_600 * SECOND)] {
        let seen = store.sign_in_under(name).await.unwrap();
        assert!(store.note_attempt(&seen, BrakeState { failures: 9, locked_until_us: at_us }).await.unwrap());
    }
    store.prune_people(STARTED + 24 * 3_600 * SECOND + 1).await.unwrap();
    assert_eq!(store.sign_in_under("old").await.unwrap().brake.failures, 0);
    assert_eq!(store.sign_in_under("new").await.unwrap().brake.failures, 9);
}

#[tokio::test]
async fn the_second_factor_is_sealed_and_each_step_counts_once() {
    let (dir, store) = house().await;
    let (ada, ben) = (user(&store, "ada", Role::Admin).await, user(&store, "ben", Role::Admin).await);
    assert!(!store.take_totp_step(&ada, 100).await.unwrap(), "there is none yet");
    store.set_totp(&ada, b"a secret of twenty b", 100).await.unwrap();
    let found = store.credentials(&ada).await.unwrap().unwrap();
    assert_eq!((found.totp.unwrap().as_slice(), found.totp_step), (b"a secret of twenty b".as_slice(), 100));
    assert!(!store.take_totp_step(&ada, 100).await.unwrap(), "used to set it up");
    assert!(store.take_totp_step(&ada, 102).await.unwrap());
    for step in [102, 101, u64::MAX] {
        assert!(!store.take_totp_step(&ada, step).await.unwrap(), "{step}");
    }
    // Two at once: one of them.
    let (one, other) = tokio::join!(store.take_totp_step(&ada, 103), store.take_totp_step(&ada, 103));
    assert!(one.unwrap() ^ other.unwrap());
    // Copied to another account it does not open.
    store.set_totp(&ben, b"another secret of 20", 1).await.unwrap();
    assert_eq!(tamper(dir.path(), "UPDATE users SET totp = (SELECT totp FROM users WHERE name = 'ada')").await, 2);
    assert!(store.credentials(&ada).await.is_ok());
    assert_eq!(store.credentials(&ben).await.unwrap_err().code(), "corrupt");
}

#[tokio::test]
async fn a_recovery_code_counts_once_and_for_its_owner() {
    let (_dir, store) = house().await;
    let (ada, ben) = (user(&store, "ada", Role::Admin).await, user(&store, "ben", Role::Admin).await);
    store.set_recovery_codes(&ada, &[[1; 32], [2; 32]]).await.unwrap();
    assert!(!store.use_recovery_code(&ben, &[1; 32], STARTED).await.unwrap());
    let (one, other) = tokio::join!(
        store.use_recovery_code(&ada, &[1; 32], STARTED),
        store.use_recovery_code(&ada, &[1; 32], STARTED)
    );
    assert!(one.unwrap() ^ other.unwrap());
    assert!(!store.use_recovery_code(&ada, &[1; 32], STARTED).await.unwrap());
    assert_eq!(store.recovery_codes_left(&ada).await.unwrap(), 1);
    store.set_recovery_codes(&ada, &[[3; 32]]).await.unwrap();
    assert!(!store.use_recovery_code(&ada, &[2; 32], STARTED).await.unwrap(), "replaced");
    assert!(store.use_recovery_code(&ada, &[3; 32], STARTED).await.unwrap());
}

#[tokio::test]
async fn a_link_is_good_once_and_for_a_day() {
    let (_dir, store) = house().await;
    let ada = user(&store, "ada", Role::Admin).await;
    let void = store.invite(&ada, STARTED).await.unwrap();
    let link = store.invite(&ada, STARTED).await.unwrap();
    assert_eq!(store.invited(&void, STARTED).await.unwrap(), None, "a newer one was made");
    assert_eq!(store.invited(&link, STARTED).await.unwrap().unwrap().id, ada);
    let late = STARTED + INVITATION_LIFETIME_US;
    assert_eq!(store.invited(&link, late).await.unwrap(), None);
    assert_eq!(store.use_invitation(&link, late).await.unwrap(), None);
    for other in ["", "x", &"0".repeat(64)] {
        assert_eq!(store.use_invitation(other, STARTED).await.unwrap(), None);
    }
    assert_eq!(store.use_invitation(&link, late - 1).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.use_invitation(&link, late - 1).await.unwrap(), None, "a second time");
    assert_eq!(store.invited(&link, STARTED).await.unwrap(), None);
    let link = store.invite(&ada, STARTED).await.unwrap();
    store.disable_user(&ada, STARTED).await.unwrap();
    assert_eq!(store.use_invitation(&link, STARTED).await.unwrap(), None);
    assert_eq!(store.invite(&ada, STARTED).await.unwrap_err().code(), "conflict");
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_at_last_in_any_case() {
    let (_dir, store) = house().await;
    let ada = user(&store, "ada", Role::Clinician).await;
    let id = session(&store, &ada, 1, SessionStage::Full).await;
    let check = |at_us| store.check_session(&[1; 32], at_us);
    assert_eq!(check(STARTED).await.unwrap().unwrap().session.id, id);
    assert!(check(STARTED + SESSION_IDLE_US - 1).await.unwrap().is_some(), "and that counts as use");
    assert!(check(STARTED + 2 * SESSION_IDLE_US - 2).await.unwrap().is_some());
    assert!(check(STARTED + 3 * SESSION_IDLE_US).await.unwrap().is_none(), "idle");
    // Used all the time, it ends by age.
    session(&store, &ada, 2, SessionStage::Full).await;
    let mut now_us = STARTED;
    while now_us + 600 * SECOND < STARTED + SESSION_LIFETIME_US {
        now_us += 600 * SECOND;
        assert!(store.check_session(&[2; 32], now_us).await.unwrap().is_some());
    }
    assert!(store.check_session(&[2; 32], STARTED + SESSION_LIFETIME_US - 1).await.unwrap().is_some());
    assert!(store.check_session(&[2; 32], STARTED + SESSION_LIFETIME_US).await.unwrap().is_none());
    assert!(store.check_session(&[3; 32], STARTED).await.unwrap().is_none(), "nobody's");
}

#[tokio::test]
async fn the_second_step_has_a_new_secret_and_little_time() {
    let (_dir, store) = house().await;
    let ada = user(&store, "ada", Role::Clinician).await;
    let id = session(&store, &ada, 1, SessionStage::Password).await;
    let live = store.check_session(&[1; 32], STARTED).await.unwrap().unwrap();
    assert_eq!(live.session.stage, SessionStage::Password);
    assert!(store.sessions_of(&ada, STARTED).await.unwrap().is_empty(), "nothing is open yet");
    assert!(!store.upgrade_session(&id, &[2; 32], STARTED + PASSWORD_STAGE_LIFETIME_US).await.unwrap(), "too late");
    assert!(store.upgrade_session(&id, &[2; 32], STARTED + 60 * SECOND).await.unwrap());
    assert!(store.check_session(&[1; 32], STARTED).await.unwrap().is_none(), "the old secret opens nothing");
    let live = store.check_session(&[2; 32], STARTED + 60 * SECOND).await.unwrap().unwrap();
    assert_eq!((live.session.id, live.session.stage), (id.clone(), SessionStage::Full));
    assert!(!store.upgrade_session(&id, &[3; 32], STARTED + 61 * SECOND).await.unwrap(), "only once");
    assert!(store.renew_session(&id, &[4; 32]).await.unwrap());
    assert!(store.check_session(&[2; 32], STARTED + 60 * SECOND).await.unwrap().is_none());
    assert!(store.check_session(&[4; 32], STARTED + 60 * SECOND).await.unwrap().is_some());
}

#[tokio::test]
async fn sessions_end_one_by_one_all_at_once_and_are_not_too_many() {
    let (_dir, store) = house().await;
    let (ada, ben) = (user(&store, "ada", Role::Clinician).await, user(&store, "ben", Role::Clinician).await);
    let first = session(&store, &ada, 1, SessionStage::Full).await;
    let second = session(&store, &ada, 2, SessionStage::Full).await;
    session(&store, &ben, 3, SessionStage::Full).await;
    assert_eq!(store.sessions_of(&ada, STARTED).await.unwrap().len(), 2);
    assert!(!store.end_session(&ben, &first, STARTED).await.unwrap(), "not theirs");
    assert!(store.end_session(&ada, &first, STARTED).await.unwrap());
    assert!(!store.end_session(&ada, &first, STARTED).await.unwrap());
    assert!(store.check_session(&[1; 32], STARTED).await.unwrap().is_none());
    session(&store, &ada, 4, SessionStage::Full).await;
    assert_eq!(store.end_sessions_of(&ada, Some(&second), STARTED).await.unwrap(), 1);
    assert!(store.check_session(&[2; 32], STARTED).await.unwrap().is_some());
    assert!(store.check_session(&[3; 32], STARTED).await.unwrap().is_some(), "ben's is his own");
    for secret in 100..130 {
        session(&store, &ada, secret, SessionStage::Full).await;
    }
    assert_eq!(store.sessions_of(&ada, STARTED).await.unwrap().len(), 20);
    assert!(store.check_session(&[129; 32], STARTED).await.unwrap().is_some(), "the newest stays");
    assert!(store.check_session(&[2; 32], STARTED).await.unwrap().is_none(), "the oldest ended");
}

#[tokio::test]
async fn a_disabled_account_is_dead_at_once_with_all_it_made() {
    let (_dir, store) = house().await;
    let (ada, ben) = (user(&store, "ada", Role::Admin).await, user(&store, "ben", Role::Admin).await);
    store.set_password(&ada, HASH, STARTED).await.unwrap();
    session(&store, &ada, 1, SessionStage::Full).await;
    session(&store, &ben, 2, SessionStage::Full).await;
    let make = |whose| {
        let request = TokenRequest { name: "t", scopes: Scopes::all(), created_by: Some(whose), expires_at_us: None };
        let store = store.clone();
        async move { store.create_token_for(&request, STARTED).await.unwrap().token }
    };
    let (token, other) = (make(&ada).await, make(&ben).await);
    assert!(store.check_token(&token, STARTED).await.unwrap().is_some());
    store.disable_user(&ada, STARTED + SECOND).await.unwrap();
    assert!(store.check_session(&[1; 32], STARTED + SECOND).await.unwrap().is_none());
    assert!(store.check_token(&token, STARTED + SECOND).await.unwrap().is_none());
    assert!(store.sign_in_under("ada").await.unwrap().credentials.is_none());
    assert!(store.credentials(&ada).await.unwrap().is_none());
    assert!(store.check_session(&[2; 32], STARTED + SECOND).await.unwrap().is_some());
    assert!(store.check_token(&other, STARTED + SECOND).await.unwrap().is_some());
    store.disable_user(&ada, STARTED + 2 * SECOND).await.unwrap();
    assert_eq!(store.user(&ada).await.unwrap().disabled_at_us, Some(STARTED + SECOND), "since when stays");
    store.enable_user(&ada).await.unwrap();
    assert!(store.sign_in_under("ada").await.unwrap().credentials.unwrap().password.is_some());
    assert!(store.check_session(&[1; 32], STARTED + SECOND).await.unwrap().is_none(), "what ended stays ended");
    assert!(store.check_token(&token, STARTED + SECOND).await.unwrap().is_none());
}

#[tokio::test]
async fn a_reset_account_has_to_be_set_up_anew() {
    let (_dir, store) = house().await;
    let ada = user(&store, "ada", Role::Admin).await;
    store.set_password(&ada, HASH, STARTED).await.unwrap();
    store.set_totp(&ada, &[7; 20], 500).await.unwrap();
    store.set_recovery_codes(&ada, &[[1; 32]]).await.unwrap();
    store.expect_provider(&ada, "ada@clinic.example").await.unwrap();
    session(&store, &ada, 1, SessionStage::Full).await;
    store.reset_user(&ada, STARTED).await.unwrap();
    let now = store.credentials(&ada).await.unwrap().unwrap();
    assert!(now.password.is_none() && now.totp.is_none() && !now.user.has_provider);
    assert!(!store.use_recovery_code(&ada, &[1; 32], STARTED).await.unwrap());
    assert!(store.check_session(&[1; 32], STARTED).await.unwrap().is_none());
    let other = store.user_of_provider("https://id.example", "1", Some("ada@clinic.example"), STARTED).await.unwrap();
    assert_eq!(other, None);
    store.set_totp(&ada, &[8; 20], 400).await.unwrap();
    assert!(!store.take_totp_step(&ada, 450).await.unwrap(), "steps that were used stay used");
    assert_eq!(store.set_password(&ada, "hunter2", STARTED).await.unwrap_err().code(), "invalid", "not in clear");
}

#[tokio::test]
async fn the_identity_provider_links_an_account_once() {
    let (_dir, store) = house().await;
    let (ada, ben) = (user(&store, "ada", Role::Admin).await, user(&store, "ben", Role::Admin).await);
    let issuer = "https://id.example";
    let arrives = async |subject: &str, mail: Option<&str>| {
        store.user_of_provider(issuer, subject, mail, STARTED).await.unwrap().map(|user| user.id)
    };
    assert_eq!(arrives("s-1", Some("ada@clinic.example")).await, None, "nobody waits for it");
    store.expect_provider(&ada, "Ada@Clinic.Example").await.unwrap();
    assert_eq!(store.expect_provider(&ben, "ada@clinic.example").await.unwrap_err().code(), "conflict");
    assert_eq!(arrives("s-1", None).await, None, "an address that was not checked");
    assert_eq!(arrives("s-1", Some("ada@clinic.example")).await, Some(ada.clone()));
    assert_eq!(arrives("s-1", None).await, Some(ada.clone()), "from then on the subject counts");
    assert_eq!(arrives("s-2", Some("ada@clinic.example")).await, None, "the address was handed on to somebody else");
    assert_eq!(store.user_of_provider("https://evil.example", "s-1", None, STARTED).await.unwrap(), None);
    assert!(store.user(&ada).await.unwrap().provider_linked_at_us.is_some());
    for bad in ["", "ada", "@x", "ada@", "a b@c"] {
        assert_eq!(store.expect_provider(&ben, bad).await.unwrap_err().code(), "invalid", "{bad}");
    }
}

#[tokio::test]
async fn care_teams_say_whose_patients_they_are() {
    let (_dir, store) = house().await;
    let (ada, ben) = (user(&store, "ada", Role::Clinician).await, user(&store, "ben", Role::Clinician).await);
    let root = user(&store, "root", Role::Admin).await;
    let mut patients = Vec::new();
    for number in 1..=3 {
        patients.push(store.add_patient(&patient(number)).await.unwrap().id);
    }
    assert!(store.assign_patient(&ada, &patients[1], STARTED).await.unwrap());
    assert!(!store.assign_patient(&ada, &patients[1], STARTED + 1).await.unwrap(), "already");
    assert!(store.is_member(&ada, &patients[1]).await.unwrap());
    assert!(!store.is_member(&ben, &patients[1]).await.unwrap());
    assert!(!store.is_member(&ada, &patients[0]).await.unwrap());
    assert_eq!(store.patients_of(&ada).await.unwrap(), [patients[1].clone()]);
    assert_eq!(store.assign_all_patients(&ada, STARTED + 2).await.unwrap(), 2);
    assert_eq!(store.patients_of(&ada).await.unwrap(), patients);
    assert_eq!(store.care_team(&patients[1]).await.unwrap(), [(ada.clone(), STARTED)]);
    assert!(store.unassign_patient(&ada, &patients[0]).await.unwrap());
    assert!(!store.unassign_patient(&ada, &patients[0]).await.unwrap());
    assert_eq!(store.unassign_all_patients(&ada).await.unwrap(), 2);
    assert_eq!(store.patients_of(&ada).await.unwrap(), []);
    let nobody = PatientId::parse("nobody").unwrap();
    assert_eq!(store.assign_patient(&ada, &nobody, STARTED).await.unwrap_err().code(), "not_found");
    assert_eq!(store.assign_patient(&root, &patients[0], STARTED).await.unwrap_err().code(), "invalid");
}

#[tokio::test]
async fn a_record_opened_in_an_emergency_closes_and_is_reviewed_by_somebody_else() {
    let (dir, store) = house().await;
    let (ada, eve) = (user(&store, "ada", Role::Clinician).await, user(&store, "eve", Role::Auditor).await);
    let (his, other) =
        (store.add_patient(&patient(1)).await.unwrap().id, store.add_patient(&patient(2)).await.unwrap().id);
    let reason = "collapsed in the waiting room";
    let new = NewGlassBreak { user: &ada, patient: &his, code: "emergency", reason };
    assert_eq!(
        store.break_glass(&NewGlassBreak { reason: "because", ..new }, STARTED).await.unwrap_err().code(),
        "invalid"
    );
    assert_eq!(store.break_glass(&NewGlassBreak { code: "x", ..new }, STARTED).await.unwrap_err().code(), "invalid");
    let opened = store.break_glass(&new, STARTED).await.unwrap();
    assert_eq!(store.active_glass(&ada, &his, STARTED).await.unwrap(), Some(opened.clone()));
    assert!(store.active_glass(&ada, &his, STARTED + GLASS_LIFETIME_US - 1).await.unwrap().is_some());
    assert_eq!(store.active_glass(&ada, &his, STARTED + GLASS_LIFETIME_US).await.unwrap(), None);
    assert_eq!(store.active_glass(&ada, &other, STARTED).await.unwrap(), None);
    assert_eq!(store.active_glass(&eve, &his, STARTED).await.unwrap(), None);
    assert_eq!(store.glass_breaks(true, 10, None).await.unwrap(), std::slice::from_ref(&opened));
    assert_eq!(store.review_glass(&opened.id, &ada, STARTED).await.unwrap_err().code(), "conflict");
    store.review_glass(&opened.id, &eve, STARTED + 9).await.unwrap();
    assert_eq!(store.review_glass(&opened.id, &eve, STARTED).await.unwrap_err().code(), "conflict");
    assert_eq!(store.glass_breaks(true, 10, None).await.unwrap(), []);
    let all = store.glass_breaks(false, 10, None).await.unwrap();
    assert_eq!(all[0].reviewed, Some((eve, STARTED + 9)));
    assert_eq!(all[0].reason.as_ref().unwrap().as_str(), reason);
    assert!(!format!("{all:?}").contains("collapsed"));
    // The reason goes with the patient's key.
    assert!(tamper(dir.path(), "DELETE FROM data_keys WHERE kind = 'patient'").await > 0);
    assert_eq!(store.glass_breaks(false, 10, None).await.unwrap()[0].reason, None);
}

#[tokio::test]
async fn a_token_knows_its_scopes_and_when_it_was_used() {
    let (_dir, store) = house().await;
    let scopes = Scopes::parse("call:read alert:read").unwrap();
    let request = TokenRequest { name: "report", scopes: scopes.clone(), created_by: None, expires_at_us: None };
    let token = store.create_token_for(&request, STARTED).await.unwrap().token;
    let seen = store.check_token(&token, STARTED + SECOND).await.unwrap().unwrap();
    assert!(seen.scopes.allows(Right::CallRead) && !seen.scopes.allows(Right::PatientRead));
    store.check_token(&token, STARTED + 30 * SECOND).await.unwrap();
    let listed = &store.list_tokens().await.unwrap()[0];
    assert_eq!((listed.scopes.clone(), listed.used_at_us), (scopes, Some(STARTED + SECOND)), "to the minute");
    store.check_token(&token, STARTED + 90 * SECOND).await.unwrap();
    assert_eq!(store.list_tokens().await.unwrap()[0].used_at_us, Some(STARTED + 90 * SECOND));
    let all = store.create_token("all", None, STARTED).await.unwrap();
    assert_eq!(all.record.scopes, Scopes::all());
}

#[tokio::test]
async fn people_are_changed_in_an_access_together_with_its_entry() {
    use store::audit::{Actor, AuditFilter, NewEntry};
    let (_dir, store) = house().await;
    let ada = user(&store, "ada", Role::Clinician).await;
    session(&store, &ada, 1, SessionStage::Full).await;
    let access = store.begin_access().await.unwrap();
    access.store().disable_user(&ada, STARTED).await.unwrap();
    access.abandon();
    assert!(store.check_session(&[1; 32], STARTED).await.unwrap().is_some(), "no entry, no change");
    let access = store.begin_access().await.unwrap();
    access.store().disable_user(&ada, STARTED).await.unwrap();
    access.commit(&[NewEntry::new(Actor::operator("root"), "user.disable").object("user", &ada)]).await.unwrap();
    assert!(store.check_session(&[1; 32], STARTED).await.unwrap().is_none());
    assert_eq!(store.find_audit(&AuditFilter::default(), 10, None).await.unwrap().len(), 1);
}
