//! Signing in through an identity provider, against a stand-in that plays the right part and every wrong one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use secrecy::SecretString;
use server::auth::oidc::{Answer, OidcClient, OidcError, OidcSettings, SignedIn, Start, TokenFault};
use sim::oidc::{Fault, OidcConfig, OidcSim, Signing};
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: i64 = 1_000_000;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// A provider, our client, and a browser.
struct House {
    provider: OidcSim,
    client: OidcClient,
    browser: reqwest::Client,
}

impl House {
    async fn open(config: OidcConfig) -> Self {
        let (id, secret, back) = (config.client_id.clone(), config.client_secret.clone(), config.redirect_uri.clone());
        let provider = OidcSim::start(config).await.unwrap();
        let settings = OidcSettings {
            issuer: provider.issuer(),
            client_id: id,
            client_secret: secret.map(SecretString::from),
            redirect_uri: back,
        };
        let client = OidcClient::new(settings, &[7; 32]).unwrap();
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { provider, client, browser }
    }

    /// The way to the provider and back.
    async fn visit(&self, start: &Start) -> Answer {
        let response = self.browser.get(&start.location).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 303, "the provider refused the request");
        let back = reqwest::Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
        let field = |name: &str| back.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        Answer { code: field("code"), state: field("state"), error: field("error"), iss: field("iss") }
    }

    async fn sign_in_at(&self, now_us: i64) -> Result<SignedIn, OidcError> {
        let start = self.client.start("/alerts", now_us).await?;
        let answer = self.visit(&start).await;
        self.client.finish(&answer, &start.sealed, now_us).await
    }
}

#[tokio::test]
async fn a_person_is_signed_in_whatever_the_provider_is_like() {
    for config in [
        OidcConfig::default(),
        OidcConfig { signing: Signing::Rs256, ..OidcConfig::default() },
        OidcConfig { secret_in_form: true, ..OidcConfig::default() },
        OidcConfig { client_secret: None, ..OidcConfig::default() },
    ] {
        let house = House::open(config).await;
        let signed_in = house.sign_in_at(now()).await.unwrap();
        assert_eq!(signed_in.identity.issuer, house.provider.issuer());
        assert_eq!(signed_in.identity.subject, "user-1");
        assert_eq!(signed_in.identity.email.as_deref(), Some("nurse@clinic.example"));
        assert!(signed_in.identity.email_verified);
        assert_eq!(signed_in.return_to, "/alerts");
        house.sign_in_at(now()).await.unwrap();
        let stats = house.provider.stats();
        assert_eq!((stats.descriptions, stats.keys, stats.tokens), (1, 1, 2), "description and keys are remembered");
        let shown = format!("{signed_in:?} {:?}", house.client);
        assert!(!shown.contains("user-1") && !shown.contains("nurse@") && !shown.contains("100%"), "{shown}");
    }
}

#[tokio::test]
async fn every_wrong_token_is_refused_for_its_own_reason() {
    for signing in [Signing::Es256, Signing::Rs256] {
        let house = House::open(OidcConfig { signing, ..OidcConfig::default() }).await;
        house.sign_in_at(now()).await.unwrap();
        for (fault, expected) in [
            (Fault::WrongNonce, TokenFault::Nonce),
            (Fault::NoNonce, TokenFault::Nonce),
            (Fault::WrongAudience, TokenFault::Audience),
            (Fault::ForeignParty, TokenFault::Audience),
            (Fault::WrongIssuer, TokenFault::Issuer),
            (Fault::Expired, TokenFault::Expired),
            (Fault::FromTheFuture, TokenFault::NotNow),
            (Fault::AlgNone, TokenFault::Algorithm),
            (Fault::HmacWithPublicKey, TokenFault::Algorithm),
            (Fault::WrongKey, TokenFault::Signature),
            (Fault::UnpublishedKey, TokenFault::UnknownKey),
        ] {
            house.provider.set_fault(fault);
            assert_eq!(house.sign_in_at(now()).await, Err(OidcError::Token(expected)), "{fault:?} {signing:?}");
        }
        house.provider.set_fault(Fault::None);
        house.sign_in_at(now()).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_answers_on_the_way_back_are_refused() {
    let house = House::open(OidcConfig::default()).await;
    house.sign_in_at(now()).await.unwrap();
    for (fault, expected) in [
        (Fault::ReplayedCode, OidcError::Exchange { status: 400 }),
        (Fault::WrongState, OidcError::Flow),
        (Fault::MixUp, OidcError::Token(TokenFault::Issuer)),
        (Fault::Denied, OidcError::Denied),
        (Fault::ServerError, OidcError::Exchange { status: 500 }),
    ] {
        house.provider.set_fault(fault);
        assert_eq!(house.sign_in_at(now()).await, Err(expected), "{fault:?}");
    }
    house.provider.set_fault(Fault::HugeAnswer);
    assert!(matches!(house.sign_in_at(now()).await, Err(OidcError::Provider(_))));
    assert_eq!(house.provider.stats().tokens, 1, "no other sign-in got a token");
}

#[tokio::test]
async fn an_answer_counts_once_and_for_its_own_browser() {
    let house = House::open(OidcConfig::default()).await;
    let mine = house.client.start("/", now()).await.unwrap();
    let theirs = house.client.start("/", now()).await.unwrap();
    let answer = house.visit(&mine).await;
    assert_eq!(house.client.finish(&answer, &theirs.sealed, now()).await, Err(OidcError::Flow), "another browser");
    assert_eq!(house.client.finish(&answer, "", now()).await, Err(OidcError::Flow), "no cookie");
    assert_eq!(house.provider.stats().exchanges, 0, "the code was not shown to anybody");
    // Somebody puts the code of another sign-in into their own: the provider sees another verifier.
    let stolen = Answer { state: house.visit(&theirs).await.state, ..answer.clone() };
    let injected = house.client.finish(&stolen, &theirs.sealed, now()).await;
    assert_eq!(injected, Err(OidcError::Exchange { status: 400 }));

    let mine = house.client.start("/", now()).await.unwrap();
    let answer = house.visit(&mine).await;
    assert!(house.client.finish(&answer, &mine.sealed, now()).await.is_ok());
    let exchanges = house.provider.stats().exchanges;
    assert_eq!(house.client.finish(&answer, &mine.sealed, now()).await, Err(OidcError::Flow), "a second time");
    assert_eq!(house.provider.stats().exchanges, exchanges);

    let late = house.client.start("/", now()).await.unwrap();
    let answer = house.visit(&late).await;
    let after = now() + 601 * SECOND;
    assert_eq!(house.client.finish(&answer, &late.sealed, after).await, Err(OidcError::TooLate));
}

#[tokio::test]
async fn new_keys_are_fetched_when_needed_and_not_more_often() {
    let house = House::open(OidcConfig::default()).await;
    let begin = now();
    house.sign_in_at(begin).await.unwrap();
    house.provider.rotate_keys().unwrap();
    assert_eq!(
        house.sign_in_at(begin + SECOND).await,
        Err(OidcError::Token(TokenFault::UnknownKey)),
        "asked a second ago"
    );
    assert_eq!(house.provider.stats().keys, 1);
    house.sign_in_at(begin + 31 * SECOND).await.unwrap();
    assert_eq!(house.provider.stats().keys, 2);
    // Tokens that name keys of nobody do not make us ask again and again.
    house.provider.set_fault(Fault::UnpublishedKey);
    for i in 0..10 {
        assert!(house.sign_in_at(begin + (32 + i) * SECOND).await.is_err());
    }
    assert_eq!(house.provider.stats().keys, 2);
}

#[tokio::test]
async fn a_provider_that_is_down_or_describes_another_is_not_used() {
    let house = House::open(OidcConfig::default()).await;
    let begin = now();
    for (step, fault) in [(0, Fault::WrongDescription), (40, Fault::PlainEndpoint)] {
        house.provider.set_fault(fault);
        let found = house.sign_in_at(begin + step * SECOND).await;
        assert!(matches!(found, Err(OidcError::Provider(_))), "{fault:?}: {found:?}");
        assert_eq!(
            house.sign_in_at(begin + (step + 1) * SECOND).await,
            Err(OidcError::Unreachable),
            "not at once again"
        );
    }
    assert_eq!(house.provider.stats().descriptions, 2);
    house.provider.set_fault(Fault::None);
    house.sign_in_at(begin + 80 * SECOND).await.unwrap();

    let closed = OidcSettings {
        issuer: "http://127.0.0.1:9".to_owned(),
        client_id: "heartvoice".to_owned(),
        client_secret: None,
        redirect_uri: "https://clinic.example/auth/oidc/callback".to_owned(),
    };
    let client = OidcClient::new(closed.clone(), &[7; 32]).unwrap();
    assert!(matches!(client.start("/", begin).await, Err(OidcError::Unreachable)));
    for settings in [
        OidcSettings { issuer: "http://id.example".to_owned(), ..closed.clone() },
        OidcSettings { redirect_uri: "http://clinic.example/x".to_owned(), ..closed.clone() },
        OidcSettings { client_id: String::new(), ..closed },
    ] {
        assert!(matches!(OidcClient::new(settings, &[7; 32]), Err(OidcError::Setup(_))));
    }
}

/// What leaves for the provider: nothing that tells who the person is, and no secret.
#[tokio::test]
async fn the_request_for_authorization_carries_no_secret() {
    let house = House::open(OidcConfig::default()).await;
    let start = house.client.start("/patients/1?x=y", now()).await.unwrap();
    let url = reqwest::Url::parse(&start.location).unwrap();
    let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    let expected = [
        "tenant",
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
    ];
    assert_eq!(names, expected);
    assert!(!start.location.contains("patients") && !start.location.contains("100%"));
    let other = house.client.start("/", now()).await.unwrap();
    let other = reqwest::Url::parse(&other.location).unwrap();
    for name in ["state", "nonce", "code_challenge"] {
        let value = |url: &reqwest::Url| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        assert_ne!(value(&url), value(&other), "{name}");
    }
}
