//! A server with people.

use crate::browser::{Browser, Page};
use clinic::UserId;
use clinic::access::Role;
use server::auth::totp::TotpSecret;
use server::{IdentityProvider, Server, Settings};
use std::time::{SystemTime, UNIX_EPOCH};
use store::audit::{AuditEntry, AuditFilter};
use store::{MasterKey, Store, StoreConfig};
use tokio::net::TcpListener;

pub(crate) const PASSWORD: &str = "seven herons over the weir";

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) base: String,
    _server: Server,
    _data: tempfile::TempDir,
}

/// Somebody who has set up their account.
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) codes: Vec<String>,
    secret: TotpSecret,
}

impl House {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::open_on(listener, None).await
    }

    pub(crate) async fn open_on(listener: TcpListener, identity_provider: Option<IdentityProvider>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("test.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings =
            Settings { identity_provider, trusted_proxies: "127.0.0.1".parse().unwrap(), ..Settings::local(address) };
        let server = Server::start_on(listener, settings, store.clone()).unwrap();
        Self { store, base: format!("http://{address}"), _server: server, _data: data }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    /// Adds somebody who sets up their account as people do.
    pub(crate) async fn person(&self, name: &str, role: Role) -> Person {
        let user = self.store.add_user(name, role, now_us()).await.unwrap();
        let link = self.store.invite(&user.id, now_us()).await.unwrap();
        let (mut browser, path) = (self.browser(), format!("/set-up/{}", link.as_str()));
        let secret = secret_of(&browser.get(&path).await);
        let code = secret.code(step());
        let form = [("password", PASSWORD), ("again", PASSWORD), ("code", code.as_str())];
        let done = browser.post(&path, &form).await;
        assert_eq!(done.status, 200, "{}", done.body);
        Person { id: user.id, name: name.to_owned(), codes: done.codes(), secret }
    }

    /// Signs somebody in, with their recovery code of that number.
    pub(crate) async fn sign_in(&self, person: &Person, code: usize) -> Browser {
        let mut browser = self.browser();
        let first = browser.post("/sign-in", &[("name", &person.name), ("password", PASSWORD)]).await;
        assert_eq!(first.status, 303, "{}", first.body);
        let form = browser.get("/sign-in").await;
        let second = browser.post("/sign-in", &[("code", &person.codes[code]), ("csrf", form.csrf())]).await;
        assert_eq!((second.status.as_u16(), second.location()), (303, "/account"), "{}", second.body);
        browser
    }

    /// The audit trail, oldest first.
    pub(crate) async fn trail(&self) -> Vec<AuditEntry> {
        let mut entries = self.store.find_audit(&AuditFilter::default(), 1_000, None).await.unwrap();
        entries.sort_by_key(|entry| entry.seq);
        entries
    }

    /// Actions of the audit trail, oldest first.
    pub(crate) async fn actions(&self) -> Vec<String> {
        self.trail().await.into_iter().map(|entry| entry.entry.action).collect()
    }
}

impl Person {
    /// The code that the app shows so many steps from now.
    pub(crate) fn code(&self, steps_ahead: u64) -> String {
        self.secret.code(step() + steps_ahead)
    }
}

/// The secret that a set-up page shows in words.
pub(crate) fn secret_of(page: &Page) -> TotpSecret {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let key = page.between("Key: <code>", "</code>").replace(' ', "");
    let mut bits = 0_u64;
    let (mut count, mut bytes) = (0, Vec::new());
    for letter in key.chars() {
        bits = (bits << 5 | ALPHABET.find(letter).unwrap() as u64) & 0xffff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    TotpSecret::from_bytes(&bytes).unwrap()
}

pub(crate) fn now_us() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// The present step of the second factor.
pub(crate) fn step() -> u64 {
    u64::try_from(now_us() / 1_000_000).unwrap() / 30
}
