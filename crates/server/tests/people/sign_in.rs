//! Signing in and out.

use crate::house::{House, PASSWORD};
use clinic::access::Role;
use store::audit::{ActorKind, AuditOutcome};

#[tokio::test]
async fn two_steps_and_each_has_a_secret_of_its_own() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Clinician).await;
    let mut browser = house.browser();
    // Somebody who was given a cookie by a stranger does not go on in the stranger's session.
    let planted = "A".repeat(43);
    browser.cookies.insert("heartvoice".into(), planted.clone());
    let first = browser.post("/sign-in", &[("name", "Ada"), ("password", PASSWORD)]).await;
    assert_eq!((first.status.as_u16(), first.location()), (303, "/sign-in"));
    let line = first.headers["set-cookie"].to_str().unwrap();
    assert!(line.contains("; HttpOnly") && line.contains("; SameSite=Strict") && line.contains("; Path=/"), "{line}");
    let halfway = browser.cookies["heartvoice"].clone();
    assert_ne!(halfway, planted);
    let account = browser.get("/account").await;
    assert_eq!((account.status.as_u16(), account.location()), (303, "/sign-in"), "half-way nothing is open");
    let form = browser.get("/sign-in").await;
    assert!(form.body.contains("one-time-code"));
    let second = browser.post("/sign-in", &[("code", &ada.code(1)), ("csrf", form.csrf())]).await;
    assert_eq!((second.status.as_u16(), second.location()), (303, "/account"));
    let full = browser.cookies["heartvoice"].clone();
    assert_ne!(full, halfway);
    assert!(browser.get("/account").await.body.contains("<strong>ada</strong>, clinician"));
    assert_eq!(browser.get("/sign-in").await.location(), "/account");
    // Whoever knew the secret of the first step has nothing.
    browser.cookies.insert("heartvoice".into(), halfway);
    assert_eq!(browser.get("/account").await.location(), "/sign-in");

    browser.cookies.insert("heartvoice".into(), full.clone());
    let account = browser.get("/account").await;
    let out = browser.post("/sign-out", &[("csrf", account.csrf())]).await;
    assert_eq!(out.location(), "/sign-in");
    assert!(browser.cookies.is_empty());
    browser.cookies.insert("heartvoice".into(), full);
    assert_eq!(browser.get("/account").await.location(), "/sign-in", "a copy of the cookie is worth nothing");

    let trail = house.trail().await;
    let actions: Vec<&str> = trail.iter().map(|entry| entry.entry.action.as_str()).collect();
    assert_eq!(actions, ["user.set_up", "session.password", "session.begin", "session.end"]);
    for entry in &trail {
        assert_eq!(entry.entry.actor.id, ada.id.as_str());
        assert_eq!(entry.entry.address.as_deref(), Some("127.0.0.1"));
        assert!(entry.entry.request.is_some());
    }
    assert_eq!(trail[2].entry.details["second_factor"], "totp");
    assert_eq!(house.store.user(&ada.id).await.unwrap().failures, 0);
}

#[tokio::test]
async fn a_code_that_was_used_is_refused() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Clinician).await;
    let code = ada.code(1);
    for (typed, expected) in [(&code, 303), (&code, 401), (&ada.codes[3], 303), (&ada.codes[3], 401)] {
        let mut browser = house.browser();
        browser.post("/sign-in", &[("name", "ada"), ("password", PASSWORD)]).await;
        let form = browser.get("/sign-in").await;
        let answer = browser.post("/sign-in", &[("code", typed), ("csrf", form.csrf())]).await;
        assert_eq!(answer.status, expected, "{typed}");
        if expected == 401 {
            assert!(answer.body.contains("role=\"alert\"") && answer.body.contains("was used before"));
            assert_eq!(browser.get("/account").await.location(), "/sign-in");
        }
    }
    let refusals = house.trail().await.into_iter().filter(|entry| entry.entry.action == "session.refuse");
    for entry in refusals {
        assert_eq!((entry.entry.outcome, entry.entry.reason.as_deref()), (AuditOutcome::Denied, Some("wrong")));
        assert_eq!(entry.entry.object, Some(("user".to_owned(), ada.id.to_string())));
    }
    assert_eq!(house.store.recovery_codes_left(&ada.id).await.unwrap(), 9);
}

#[tokio::test]
async fn the_answer_does_not_tell_whether_there_is_such_a_user() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Clinician).await;
    let gone = house.person("gone", Role::Clinician).await;
    house.store.disable_user(&gone.id, crate::house::now_us()).await.unwrap();
    house.store.add_user("not-set-up", Role::Auditor, 1).await.unwrap();
    let mut answers = Vec::new();
    for (number, name) in
        ["ada", "nobody", "gone", "not-set-up", "ada@clinic.example", "\u{0}'--", ""].iter().enumerate()
    {
        let mut browser = house.browser();
        browser.address = Some(format!("192.0.2.{number}"));
        for attempt in 0..6 {
            let answer = browser.post("/sign-in", &[("name", name), ("password", "not the right one")]).await;
            let seconds = answer.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            assert!(browser.cookies.is_empty(), "{name}");
            answers.push((attempt, answer.status.as_u16(), seconds, answer.body));
        }
    }
    for (place, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, answers[place % 6], "attempt {place}");
    }
    let statuses: Vec<u16> = answers[..6].iter().map(|answer| answer.1).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
    assert_eq!(answers[5].2.as_deref(), Some("1"));
    // The trail knows whom it was about, and repeats nothing that was typed.
    let trail = house.trail().await;
    let refused: Vec<_> = trail.iter().filter(|entry| entry.entry.action == "session.refuse").collect();
    assert_eq!(refused.len(), 42);
    assert!(refused.iter().all(|entry| entry.entry.actor.kind == ActorKind::Anonymous));
    let of_ada = refused.iter().filter(|e| e.entry.object.as_ref().is_some_and(|(_, id)| *id == ada.id.to_string()));
    assert_eq!(of_ada.count(), 6);
    assert_eq!(refused[4].entry.details["locked_s"], "1");
    assert_eq!(refused[5].entry.reason.as_deref(), Some("locked"));
    let text = serde_json::to_string(&refused.iter().map(|entry| &entry.entry).collect::<Vec<_>>()).unwrap();
    assert!(!text.contains("nobody") && !text.contains("clinic.example") && !text.contains("right one"));
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Admin).await;
    let mut browser = house.sign_in(&ada, 0).await;
    let request = store::TokenRequest {
        name: "hers",
        scopes: clinic::access::Scopes::all(),
        created_by: Some(&ada.id),
        expires_at_us: None,
    };
    let token = house.store.create_token_for(&request, 1).await.unwrap().token;
    let ask = || reqwest::Client::new().get(format!("{}/api/v1/calls", house.base)).bearer_auth(token.as_str()).send();
    assert_eq!(browser.get("/account").await.status, 200);
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    house.store.disable_user(&ada.id, crate::house::now_us()).await.unwrap();
    assert_eq!(browser.get("/account").await.location(), "/sign-in");
    assert_eq!(ask().await.unwrap().status(), 401);
    let again = house.browser().post("/sign-in", &[("name", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(again.status, 401);
}
