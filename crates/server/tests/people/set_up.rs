//! The one-time link.

use crate::house::{House, PASSWORD, now_us, secret_of, step};
use clinic::access::Role;

#[tokio::test]
async fn the_first_administrator_sets_up_their_account_with_a_link_that_works_once() {
    let house = House::open().await;
    let link = server::auth::first_link(&house.store, &house.base, now_us()).await.unwrap().unwrap();
    let newer = server::auth::first_link(&house.store, &house.base, now_us()).await.unwrap().unwrap();
    assert_eq!(house.store.users().await.unwrap().len(), 1, "one administrator, however often the server starts");
    let mut browser = house.browser();
    assert_eq!(browser.get(&link).await.status, 404, "a newer one was made");
    let page = browser.get(&newer).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<svg class=\"code\"") && page.body.contains("<strong>admin</strong>"));
    assert!(!page.body.contains("<script"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["referrer-policy"], "no-referrer", "the link is in the address");
    assert_eq!(page.headers["cache-control"], "no-store");

    let secret = secret_of(&page);
    let code = secret.code(step());
    for (password, again, code, said) in [
        (PASSWORD, "something else", code.as_str(), "not the same"),
        ("short", "short", &code, "at least 12"),
        ("Password2026!!", "Password2026!!", &code, "tried first"),
        (PASSWORD, PASSWORD, "000000", "The code is not"),
        (PASSWORD, PASSWORD, "", "The code is not"),
        ("", "", &code, "at least 12"),
    ] {
        let page = browser.post(&newer, &[("password", password), ("again", again), ("code", code)]).await;
        assert_eq!(page.status, 422);
        assert!(page.body.contains(said) && page.body.contains("role=\"alert\""), "{said}");
        assert_eq!(secret_of(&page).as_bytes(), secret.as_bytes(), "the app need not be set up again");
    }
    let code = secret.code(step());
    let done = browser.post(&newer, &[("password", PASSWORD), ("again", PASSWORD), ("code", &code)]).await;
    assert_eq!(done.status, 200);
    assert_eq!(done.codes().len(), 10);
    assert!(browser.cookies.is_empty(), "setting up is not signing in");
    assert_eq!(browser.get(&newer).await.status, 404);
    let again = browser.post(&newer, &[("password", PASSWORD), ("again", PASSWORD), ("code", &code)]).await;
    assert_eq!(again.status, 404);
    assert!(server::auth::first_link(&house.store, &house.base, now_us()).await.unwrap().is_none());
    assert_eq!(house.actions().await, ["user.add", "user.invite", "user.invite", "user.set_up"]);
}

#[tokio::test]
async fn no_link_is_offered_once_somebody_was_added_by_hand() {
    let house = House::open().await;
    let ada = house.store.add_user("ada", Role::Admin, now_us()).await.unwrap();
    let link = house.store.invite(&ada.id, now_us()).await.unwrap();
    assert!(server::auth::first_link(&house.store, &house.base, now_us()).await.unwrap().is_none());
    assert!(house.store.invited(&link, now_us()).await.unwrap().is_some(), "hers is still good");
}

#[tokio::test]
async fn what_is_no_link_is_refused_cheaply() {
    let house = House::open().await;
    let mut browser = house.browser();
    for path in ["/set-up/x", &format!("/set-up/{}", "0".repeat(64)), &format!("/set-up/{}", "a".repeat(4_000))] {
        assert_eq!(browser.get(path).await.status, 404);
        assert_eq!(browser.post(path, &[("password", PASSWORD)]).await.status, 404);
    }
    let huge = "x".repeat(20_000);
    assert_eq!(browser.post("/set-up/x", &[("password", &huge)]).await.status, 413);
    assert_eq!(browser.post("/sign-in", &[("password", &huge)]).await.status, 413);
}
