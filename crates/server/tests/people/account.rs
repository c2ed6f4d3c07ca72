//! One's own account.

use crate::house::{House, PASSWORD};
use clinic::access::Role;

const NEW_PASSWORD: &str = "eleven otters under the bridge";

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Clinician).await;
    let (mut one, mut other, mut third) =
        (house.sign_in(&ada, 0).await, house.sign_in(&ada, 1).await, house.sign_in(&ada, 2).await);
    let page = one.get("/account").await;
    assert_eq!(page.body.matches("/end\"").count(), 3);
    assert_eq!(page.body.matches("(this one)").count(), 1);
    // Newest first: the third browser's.
    let end = format!("/account/sessions/{}/end", page.between("action=\"/account/sessions/", "/end\""));
    assert_eq!(one.post(&end, &[("csrf", page.csrf())]).await.location(), "/account");
    assert_eq!(third.get("/account").await.location(), "/sign-in");
    assert_eq!(other.get("/account").await.status, 200);
    one.post("/account/sessions/end-others", &[("csrf", page.csrf())]).await;
    assert_eq!(other.get("/account").await.location(), "/sign-in");
    assert_eq!(one.get("/account").await.status, 200);
    // Another's session is none of one's own.
    let ben = house.person("ben", Role::Clinician).await;
    let mut bens = house.sign_in(&ben, 0).await;
    let his = house.store.sessions_of(&ben.id, crate::house::now_us()).await.unwrap()[0].id.clone();
    one.post(&format!("/account/sessions/{his}/end"), &[("csrf", page.csrf())]).await;
    assert_eq!(bens.get("/account").await.status, 200);
    let ends = house.actions().await.into_iter().filter(|action| action == "session.end").count();
    assert_eq!(ends, 2);
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_all_other_sessions() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Clinician).await;
    let (mut one, mut other) = (house.sign_in(&ada, 0).await, house.sign_in(&ada, 1).await);
    let page = one.get("/account").await;
    let csrf = page.csrf();
    let change =
        |current, password, again| [("csrf", csrf), ("current", current), ("password", password), ("again", again)];
    for (form, status) in [
        (change("not the present one", NEW_PASSWORD, NEW_PASSWORD), 401),
        (change(PASSWORD, NEW_PASSWORD, PASSWORD), 422),
        (change(PASSWORD, "passwordpassword", "passwordpassword"), 422),
    ] {
        let answer = one.post("/account/password", &form).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains("role=\"alert\""));
    }
    assert_eq!(other.get("/account").await.status, 200);
    let before = one.cookies["heartvoice"].clone();
    let done = one.post("/account/password", &change(PASSWORD, NEW_PASSWORD, NEW_PASSWORD)).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, "/account"));
    assert_ne!(one.cookies["heartvoice"], before);
    assert_eq!(one.get("/account").await.status, 200);
    assert_eq!(other.get("/account").await.location(), "/sign-in");
    one.cookies.insert("heartvoice".into(), before);
    assert_eq!(one.get("/account").await.location(), "/sign-in", "the old secret is worth nothing");
    let mut fresh = house.browser();
    assert_eq!(fresh.post("/sign-in", &[("name", "ada"), ("password", PASSWORD)]).await.status, 401);
    assert_eq!(fresh.post("/sign-in", &[("name", "ada"), ("password", NEW_PASSWORD)]).await.status, 303);
    assert!(house.actions().await.contains(&"user.password".to_owned()));
}

#[tokio::test]
async fn new_recovery_codes_need_a_code_and_replace_the_old_ones() {
    let house = House::open().await;
    let ada = house.person("ada", Role::Clinician).await;
    let mut browser = house.sign_in(&ada, 0).await;
    let page = browser.get("/account").await;
    assert!(page.body.contains("9 are left"));
    let wrong = browser.post("/account/recovery-codes", &[("csrf", page.csrf()), ("code", "000000")]).await;
    assert_eq!(wrong.status, 401);
    let done = browser.post("/account/recovery-codes", &[("csrf", page.csrf()), ("code", &ada.code(1))]).await;
    let codes = done.codes();
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| !ada.codes.contains(code)));
    browser = house.browser();
    browser.post("/sign-in", &[("name", "ada"), ("password", PASSWORD)]).await;
    let form = browser.get("/sign-in").await;
    let old = browser.post("/sign-in", &[("code", &ada.codes[5]), ("csrf", form.csrf())]).await;
    assert_eq!(old.status, 401);
    let new = browser.post("/sign-in", &[("code", &codes[5]), ("csrf", form.csrf())]).await;
    assert_eq!(new.status, 303);
    assert!(house.actions().await.contains(&"user.recovery_codes".to_owned()));
}
