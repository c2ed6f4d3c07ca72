//! A stand-in for Vault's Transit engine, behaving as its documentation says: tokens, namespaces, versions of keys,
//! minimum versions, derived keys, associated data, a sealed server.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use aws_lc_rs::{aead, hmac};
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub const TOKEN: &str = "hvs.token-of-the-stand-in";

pub struct Key {
    pub kind: &'static str,
    pub derived: bool,
    pub exportable: bool,
    /// As Vault before 1.9: associated data is not known and ignored.
    pub ignores_associated_data: bool,
    pub min_decryption_version: u64,
    /// By version, from one on; destroyed versions are missing.
    pub versions: BTreeMap<u64, [u8; 32]>,
}

pub struct Server {
    pub keys: BTreeMap<String, Key>,
    pub token: String,
    pub namespace: Option<String>,
    pub sealed: bool,
    /// It takes requests and does not answer.
    pub hangs: bool,
    /// Statuses of the next answers.
    pub next: Vec<u16>,
    /// An answer that is far too long.
    pub flood: bool,
    pub requests: Vec<String>,
}

#[derive(Clone)]
pub struct Vault {
    pub address: String,
    pub server: Arc<Mutex<Server>>,
}

impl Key {
    pub fn new() -> Self {
        let mut key = Self {
            kind: "aes256-gcm96",
            derived: false,
            exportable: false,
            ignores_associated_data: false,
            min_decryption_version: 1,
            versions: BTreeMap::new(),
        };
        key.rotate();
        key
    }

    pub fn latest(&self) -> u64 {
        *self.versions.keys().last().unwrap()
    }

    pub fn rotate(&mut self) {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        self.versions.insert(self.versions.keys().last().unwrap_or(&0) + 1, bytes);
    }
}

impl Vault {
    pub async fn start() -> Self {
        let server = Server {
            keys: BTreeMap::from([("heartvoice".to_owned(), Key::new())]),
            token: TOKEN.to_owned(),
            namespace: None,
            sealed: false,
            hangs: false,
            next: Vec::new(),
            flood: false,
            requests: Vec::new(),
        };
        let server = Arc::new(Mutex::new(server));
        let app = Router::new().fallback(answer).with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, server }
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Server) -> T) -> T {
        change(&mut self.server.lock().unwrap())
    }

    pub fn change_key<T>(&self, change: impl FnOnce(&mut Key) -> T) -> T {
        change(self.server.lock().unwrap().keys.get_mut("heartvoice").unwrap())
    }
}

async fn answer(State(server): State<Arc<Mutex<Server>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, 1 << 20).await.unwrap();
    if server.lock().unwrap().hangs {
        return std::future::pending().await;
    }
    let mut server = server.lock().unwrap();
    let path = parts.uri.path().to_owned();
    server.requests.push(format!("{} {path}", parts.method));
    if server.flood {
        return vec![b'x'; 1 << 20].into_response();
    }
    if !server.next.is_empty() {
        let status = server.next.remove(0);
        return error(status, "injected");
    }
    if server.sealed {
        return error(503, "Vault is sealed");
    }
    let header = |name: &str| text(&parts.headers, name);
    if header("x-vault-token").as_deref() != Some(&server.token) || header("x-vault-namespace") != server.namespace {
        return error(403, "permission denied");
    }
    let Some((verb, name)) = path.strip_prefix("/v1/transit/").and_then(|rest| rest.split_once('/')) else {
        return error(404, "no handler for route");
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match (parts.method.as_str(), verb) {
        ("GET", "keys") => server.keys.get(name).map_or_else(missing, describe),
        ("POST", "encrypt") => {
            // A token that may create keys creates one by naming it.
            let key = server.keys.entry(name.to_owned()).or_insert_with(Key::new);
            encrypt(key, &body).map_or_else(|words| error(400, words), |sealed| data(json!({"ciphertext": sealed})))
        }
        ("POST", "decrypt") => match server.keys.get(name) {
            Some(key) => {
                decrypt(key, &body).map_or_else(|words| error(400, words), |plain| data(json!({"plaintext": plain})))
            }
            None => error(400, "encryption key not found"),
        },
        _ => error(405, "unsupported operation"),
    }
}

fn describe(key: &Key) -> Response {
    let versions: BTreeMap<String, u64> =
        key.versions.keys().map(|version| (version.to_string(), 1_442_851_412)).collect();
    data(json!({
        "type": key.kind, "deletion_allowed": false, "derived": key.derived, "exportable": key.exportable,
        "allow_plaintext_backup": false, "keys": versions, "min_decryption_version": key.min_decryption_version,
        "min_encryption_version": 0, "latest_version": key.latest(), "name": "heartvoice",
        "supports_encryption": true, "supports_decryption": true, "supports_derivation": true, "supports_signing": false,
    }))
}

/// Key and associated data for one request.
fn cipher(key: &Key, version: u64, body: &Value) -> Result<(aead::LessSafeKey, Vec<u8>), &'static str> {
    let decoded = |name: &str| STANDARD.decode(body[name].as_str().unwrap_or_default()).map_err(|_| "illegal base64");
    let (context, aad) = (decoded("context")?, decoded("associated_data")?);
    let mut bytes = key.versions.get(&version).ok_or("unable to access the key; no key versions found")?.to_vec();
    if key.derived {
        if context.is_empty() {
            return Err("missing 'context' for key derivation; the key was created using a derived key");
        }
        bytes = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), &context).as_ref().to_vec();
    }
    let cipher = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &bytes).unwrap());
    Ok((cipher, if key.ignores_associated_data { Vec::new() } else { aad }))
}

fn encrypt(key: &Key, body: &Value) -> Result<String, &'static str> {
    let (cipher, aad) = cipher(key, key.latest(), body)?;
    let mut sealed = STANDARD.decode(body["plaintext"].as_str().ok_or("missing plaintext")?).map_err(|_| "base64")?;
    let mut nonce = [0; 12];
    aws_lc_rs::rand::fill(&mut nonce).unwrap();
    cipher
        .seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), &mut sealed)
        .unwrap();
    Ok(format!("vault:v{}:{}", key.latest(), STANDARD.encode([nonce.as_slice(), &sealed].concat())))
}

fn decrypt(key: &Key, body: &Value) -> Result<String, &'static str> {
    let text = body["ciphertext"].as_str().ok_or("missing ciphertext to decrypt")?;
    let (version, sealed) = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')).ok_or("no prefix")?;
    let version: u64 = version.parse().map_err(|_| "invalid ciphertext: version number could not be decoded")?;
    if version > key.latest() {
        return Err("invalid ciphertext: version is too new");
    }
    if version < key.min_decryption_version {
        return Err("ciphertext or signature version is disallowed by policy (too old)");
    }
    let sealed = STANDARD.decode(sealed).map_err(|_| "invalid ciphertext: could not decode base64")?;
    let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or("invalid ciphertext: too short")?;
    let (cipher, aad) = cipher(key, version, body)?;
    let mut plain = sealed.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key(*nonce);
    let plain = cipher.open_in_place(nonce, aead::Aad::from(aad), &mut plain);
    plain.map(|plain| STANDARD.encode(plain)).map_err(|_| "cipher: message authentication failed")
}

fn data(data: Value) -> Response {
    axum::Json(json!({"request_id": "b1", "lease_id": "", "renewable": false, "data": data})).into_response()
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({"errors": []}))).into_response()
}

fn error(status: u16, words: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(json!({"errors": [words]}))).into_response()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}
