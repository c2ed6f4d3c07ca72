//! Requests that our pages did not make, in the name of somebody who is signed in.

use crate::house::{House, PASSWORD};
use clinic::access::Role;

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let house = House::open().await;
    let (ada, ben) = (house.person("ada", Role::Clinician).await, house.person("ben", Role::Clinician).await);
    let (mut browser, mut other) = (house.sign_in(&ada, 0).await, house.sign_in(&ada, 1).await);
    let foreign = house.sign_in(&ben, 0).await.get("/account").await.csrf().to_owned();
    let own = browser.get("/account").await.csrf().to_owned();
    let before = house.actions().await.len();
    let paths = ["/account/sessions/end-others", "/account/password", "/account/recovery-codes", "/sign-out"];
    let new = "eleven otters under the bridge";
    for path in paths {
        let rest = [("current", PASSWORD), ("password", new), ("again", new), ("code", ada.codes[7].as_str())];
        for (site, token) in [
            ("same-origin", None),
            ("same-origin", Some("")),
            ("same-origin", Some(foreign.as_str())),
            ("cross-site", Some(own.as_str())),
            ("same-site", Some(own.as_str())),
            ("none", Some(own.as_str())),
        ] {
            browser.site = site;
            let mut form = rest.to_vec();
            form.extend(token.map(|token| ("csrf", token)));
            let answer = browser.post(path, &form).await;
            assert_eq!(answer.status, 403, "{path} {site} {token:?}");
        }
    }
    browser.site = "same-origin";
    assert_eq!(other.get("/account").await.status, 200, "no session was ended");
    assert_eq!(browser.get("/account").await.status, 200);
    assert_eq!(house.store.recovery_codes_left(&ada.id).await.unwrap(), 8, "no code was used up");
    assert_eq!(house.actions().await.len(), before, "nothing was done");
    // And with what our page holds it works.
    assert_eq!(browser.post(paths[0], &[("csrf", &own)]).await.status, 303);
    assert_eq!(other.get("/account").await.location(), "/sign-in");
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_site() {
    let house = House::open().await;
    house.person("ada", Role::Clinician).await;
    let mut browser = house.browser();
    browser.site = "cross-site";
    let answer = browser.post("/sign-in", &[("name", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 403);
    assert!(browser.cookies.is_empty());
    // The second step needs the token of the first.
    browser.site = "same-origin";
    browser.post("/sign-in", &[("name", "ada"), ("password", PASSWORD)]).await;
    let answer = browser.post("/sign-in", &[("code", "000000")]).await;
    assert_eq!(answer.status, 403);
}
