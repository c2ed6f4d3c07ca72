//! Signing in through an identity provider, as a browser does.

use crate::browser::{Browser, Page};
use crate::house::{House, now_us};
use clinic::access::Role;
use secrecy::SecretString;
use server::IdentityProvider;
use sim::oidc::{OidcConfig, OidcSim};
use tokio::net::TcpListener;

async fn open(trust_second_factor: bool) -> (House, OidcSim, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redirect_uri = format!("http://{}/auth/oidc/callback", listener.local_addr().unwrap());
    let config = OidcConfig { redirect_uri, ..OidcConfig::default() };
    let mail = config.email.clone();
    let (client_id, client_secret) = (config.client_id.clone(), config.client_secret.clone().map(SecretString::from));
    let provider = OidcSim::start(config).await.unwrap();
    let settings = IdentityProvider { issuer: provider.issuer(), client_id, client_secret, trust_second_factor };
    (House::open_on(listener, Some(settings)).await, provider, mail)
}

/// To the provider and back.
async fn go(browser: &mut Browser) -> Page {
    let start = browser.get("/auth/oidc/start").await;
    assert_eq!(start.status, 303);
    let at_provider = browser.get(start.location()).await;
    assert_eq!(at_provider.status, 303);
    browser.site = "cross-site";
    let back = browser.get(at_provider.location()).await;
    browser.site = "same-origin";
    back
}

#[tokio::test]
async fn whom_an_administrator_expects_is_signed_in() {
    let (house, _provider, mail) = open(true).await;
    let mut browser = house.browser();
    assert!(browser.get("/sign-in").await.body.contains("/auth/oidc/start"));
    let refused = go(&mut browser).await;
    assert_eq!(refused.status, 401, "nobody expects them");
    assert!(browser.cookies.is_empty());
    let ada = house.store.add_user("ada", Role::Clinician, now_us()).await.unwrap();
    house.store.expect_provider(&ada.id, &mail).await.unwrap();
    let arrived = go(&mut browser).await;
    assert_eq!(arrived.status, 200, "a page that leads on, because a redirect would not carry the new cookie");
    assert!(arrived.body.contains("url=/account"));
    assert_eq!(browser.cookies.len(), 1, "the flow's cookie is gone");
    assert!(browser.get("/account").await.body.contains("<strong>ada</strong>"));
    house.store.disable_user(&ada.id, now_us()).await.unwrap();
    assert_eq!(browser.get("/account").await.location(), "/sign-in");
    assert_eq!(go(&mut browser).await.status, 401, "the provider does not know that");
    let trail = house.trail().await;
    let told: Vec<_> = trail.iter().map(|e| (e.entry.action.as_str(), e.entry.reason.as_deref())).collect();
    let refuse = |reason| ("session.refuse", Some(reason));
    assert_eq!(told, [refuse("unknown"), ("user.link", None), ("session.begin", None), refuse("disabled")]);
}

#[tokio::test]
async fn a_provider_without_a_second_factor_is_half_of_the_way() {
    let (house, _provider, mail) = open(false).await;
    let ada = house.person("ada", Role::Clinician).await;
    house.store.expect_provider(&ada.id, &mail).await.unwrap();
    let mut browser = house.browser();
    let arrived = go(&mut browser).await;
    assert!(arrived.body.contains("url=/sign-in"));
    assert_eq!(browser.get("/account").await.location(), "/sign-in", "nothing is open yet");
    let form = browser.get("/sign-in").await;
    let done = browser.post("/sign-in", &[("code", &ada.code(1)), ("csrf", form.csrf())]).await;
    assert_eq!(done.location(), "/account");
    assert_eq!(browser.get("/account").await.status, 200);
    // Without one set up here, it ends at the door.
    house.store.reset_user(&ada.id, now_us()).await.unwrap();
    house.store.expect_provider(&ada.id, &mail).await.unwrap();
    assert_eq!(go(&mut house.browser()).await.status, 401);
}

#[tokio::test]
async fn an_answer_of_another_browser_is_refused() {
    let (house, _provider, mail) = open(true).await;
    let ada = house.store.add_user("ada", Role::Clinician, now_us()).await.unwrap();
    house.store.expect_provider(&ada.id, &mail).await.unwrap();
    let mut browser = house.browser();
    let start = browser.get("/auth/oidc/start").await;
    let at_provider = browser.get(start.location()).await;
    let mut other = house.browser();
    assert_eq!(other.get(at_provider.location()).await.status, 401);
    assert!(other.cookies.is_empty());
    assert_eq!(other.get("/auth/oidc/callback").await.status, 401);
    assert_eq!(browser.get(at_provider.location()).await.status, 200);
    assert_eq!(House::open().await.browser().get("/auth/oidc/start").await.status, 404, "not configured");
}
