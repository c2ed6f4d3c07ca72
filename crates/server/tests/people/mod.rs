//! A server with people, programs and patients, for tests of who may do what.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use clinic::access::{Role, Scopes};
use clinic::schedule::Timetable;
use clinic::{NewPatient, PatientId, SessionId, UserId};
use reqwest::{Method, Response};
use serde_json::Value;
use server::auth::cookie::{Cookies, SessionSecret};
use server::{Server, Settings};
use store::{MasterKey, NewSession, SessionStage, Store, StoreConfig, TokenRequest};
use tokio::net::TcpListener;

pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// A time zone in which it is about noon.
pub fn noon_zone() -> String {
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let noon = (12 - i32::from(hour) + 36) % 24 - 12;
    // The names of these zones count westwards.
    if noon == 0 { "Etc/GMT".to_owned() } else { format!("Etc/GMT{:+}", -noon) }
}

/// Somebody who uses the interface.
pub struct Person {
    /// As in the table.
    pub kind: &'static str,
    /// As the audit trail calls them.
    pub id: String,
    pub user: Option<UserId>,
    pub session: Option<SessionId>,
    /// Name and value.
    pub headers: Vec<(&'static str, String)>,
}

impl Person {
    pub async fn ask(&self, scene: &Scene, method: Method, url: &str, body: Option<&Value>) -> Response {
        let mut request = scene.http.request(method.clone(), url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if method == Method::PATCH {
            request = request.header("if-match", "*");
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    pub async fn get(&self, scene: &Scene, path: &str) -> (u16, Value) {
        self.json(scene, Method::GET, path, None).await
    }

    pub async fn post(&self, scene: &Scene, path: &str, body: Value) -> (u16, Value) {
        self.json(scene, Method::POST, path, Some(body)).await
    }

    pub async fn json(&self, scene: &Scene, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.ask(scene, method, &format!("{}/api/v1{path}", scene.base), body.as_ref()).await;
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }
}

/// A server with its store.
pub struct Scene {
    pub server: Server,
    pub store: Store,
    pub base: String,
    pub http: reqwest::Client,
    /// An account that is nobody's in the test.
    pub stranger: UserId,
    pub database: std::path::PathBuf,
    _data: tempfile::TempDir,
}

impl Scene {
    pub async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let database = data.path().join("test.db");
        let config = StoreConfig {
            database_url: format!("sqlite://{}", database.display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::start_on(listener, Settings::local(address), store.clone()).unwrap();
        let stranger = store.add_user("stranger", Role::Auditor, now_us()).await.unwrap().id;
        let base = format!("http://{address}");
        Self { server, store, base, http: reqwest::Client::new(), stranger, database, _data: data }
    }

    pub async fn patient(&self, number: u32, zone: Option<String>) -> PatientId {
        let zone = zone.unwrap_or_else(|| "UTC".to_owned());
        let (mrn, phone) = (format!("P-{number}"), format!("+1500555{number:04}"));
        let new = NewPatient::from_fields(&mrn, "Ada Example", &phone, "1948-04-01", "female", "en", &zone).unwrap();
        self.store.add_patient(&new).await.unwrap().id
    }

    /// A timetable that lists can show, if there is none.
    pub async fn keep_schedule(&self, patient: &PatientId) {
        if self.store.list_schedules(Some(patient)).await.unwrap().is_empty() {
            let first = jiff::Zoned::now().date() + jiff::Span::new().days(300);
            self.store.add_schedule(patient, &Timetable::daily("UTC", first), now_us()).await.unwrap();
        }
    }

    pub async fn session_of(&self, user: &UserId) -> (SessionId, SessionSecret) {
        let secret = SessionSecret::generate().unwrap();
        let hash = secret.hash();
        let new = NewSession { user, secret_hash: &hash, stage: SessionStage::Full, address: "192.0.2.1" };
        (self.store.begin_session(&new, now_us()).await.unwrap(), secret)
    }

    /// Somebody who has signed in.
    pub async fn person(&self, kind: &'static str, name: &str, role: Role) -> Person {
        let user = self.store.add_user(name, role, now_us()).await.unwrap().id;
        let (session, secret) = self.session_of(&user).await;
        let cookie = Cookies::for_base_url(&self.base).set(&secret).split(';').next().unwrap().to_owned();
        let headers = vec![("cookie", cookie), ("x-csrf-token", secret.csrf_token()), ("origin", self.base.clone())];
        Person { kind, id: user.to_string(), user: Some(user), session: Some(session), headers }
    }

    /// A program with a token.
    pub async fn program(&self, kind: &'static str, scopes: Scopes) -> Person {
        let request = TokenRequest { name: kind, scopes, created_by: None, expires_at_us: None };
        let new = self.store.create_token_for(&request, now_us()).await.unwrap();
        let headers = vec![("authorization", format!("Bearer {}", new.token.as_str()))];
        Person { kind, id: new.record.id.to_string(), user: None, session: None, headers }
    }

    pub fn nobody(&self) -> Person {
        Person { kind: "anonymous", id: "-".to_owned(), user: None, session: None, headers: Vec::new() }
    }

    /// One of each kind.
    pub async fn callers(&self) -> Vec<Person> {
        vec![
            self.person("admin", "ann", Role::Admin).await,
            self.person("clinician", "joy", Role::Clinician).await,
            self.person("researcher", "rob", Role::Researcher).await,
            self.person("auditor", "eve", Role::Auditor).await,
            self.program("token_all", Scopes::all()).await,
            self.program("token_none", Scopes::parse("").unwrap()).await,
            self.nobody(),
        ]
    }
}
