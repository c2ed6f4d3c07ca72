//! Certificates of destruction: what was destroyed, how much of it, when, by whom and under which rule.
//!
//! A certificate holds counts and the identifiers of keys, and nothing that the keys protected, so that it may outlive the
//! data. It is written in the transaction that destroys, and signed (Ed25519) with the key of the audit trail: whoever has
//! the public key can check it without this program's database.

use crate::audit::{Actor, hex, unhex};
use crate::db::{Conn, Row, query};
use crate::error::Doing;
use crate::{MAX_PAGE, Result, Store, StoreError};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use clinic::PatientId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const PUT: &str = "INSERT INTO certificates (id, at_us, kind, content, key_id, signature) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (id) DO UPDATE SET content = excluded.content, key_id = excluded.key_id, signature = excluded.signature";
const LIST: &str = "SELECT content, key_id, signature FROM certificates WHERE id < $1 ORDER BY id DESC LIMIT $2";
const GET: &str = "SELECT content, key_id, signature FROM certificates WHERE id = $1";

/// What makes the content of a record unreadable, wherever copies of it are.
const CRYPTOGRAPHIC_ERASE: &str = "cryptographic erase: the keys were destroyed, then rows and files were removed";
/// What leaves archives as they are: whoever has one of before, and today's keys, can read there what was deleted here.
const DELETION: &str = "deletion: rows and files were removed, and rows overwritten where the database does so; their \
     keys were not destroyed, so archives made before can be read until they are destroyed themselves";
const BOTH: &str = "cryptographic erase of what the keys listed here sealed; deletion of the rest: rows and files were \
     removed, and rows overwritten where the database does so; its keys were not destroyed, so archives made before can \
     be read until they are destroyed themselves";
/// What was left of patients whose keys were destroyed earlier.
pub(crate) const KEYS_WERE_GONE: &str =
    "deletion: rows and files were removed; the keys they were sealed under had been destroyed before";

/// How something was destroyed: whether keys were, and whether something was deleted whose key is still there.
pub(crate) fn method(keys_destroyed: bool, keys_left: bool) -> &'static str {
    match (keys_destroyed, keys_left) {
        (true, false) => CRYPTOGRAPHIC_ERASE,
        (true, true) => BOTH,
        (false, _) => DELETION,
    }
}

/// What was destroyed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestructionKind {
    /// Everything about one patient.
    Patient,
    /// What is older than it may be kept.
    Retention,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destruction {
    /// Version of this form.
    pub v: u32,
    /// Opaque identifier.
    pub id: String,
    /// When it began, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// What was destroyed.
    pub kind: DestructionKind,
    /// How.
    pub method: String,
    /// Under which rule, such as `request` or `PHI_RETENTION_DAYS=2555`.
    pub rule: String,
    /// Who had it done.
    pub by: Actor,
    /// Why, as a code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Whose record, where it was one patient's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patient: Option<PatientId>,
    /// How many of each.
    pub counts: BTreeMap<String, u64>,
    /// The data keys that were destroyed, and with them every copy of what they sealed: kind and identifier. The key of a
    /// patient's call is none of them: it stands in the call's row, also in an archive, and the patient's key opens it.
    pub keys: Vec<String>,
}

/// A signed certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What it says, as the text that is signed.
    pub content: String,
    /// Which key signed it.
    pub key_id: String,
    /// The signature over [`Certificate::text`], in hexadecimal.
    pub signature: String,
}

impl Certificate {
    /// What is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("heartvoice certificate 1\n{}\n{}\n", self.key_id, self.content)
    }

    /// Whether the holder of this public key (32 bytes, hexadecimal) signed it.
    #[must_use]
    pub fn is_signed_by(&self, public_key: &str) -> bool {
        let (Some(key), Some(signature)) = (unhex(public_key), unhex(&self.signature)) else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(self.text().as_bytes(), &signature).is_ok()
    }

    /// What it says.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it cannot be read.
    pub fn destruction(&self) -> Result<Destruction> {
        serde_json::from_str(&self.content).map_err(|_| StoreError::corrupt("a certificate of destruction"))
    }
}

impl Store {
    /// Certificates, newest first: at most `limit` (and [`MAX_PAGE`]) of those older than `before`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn certificates(&self, limit: u32, before: Option<&str>) -> Result<Vec<Certificate>> {
        let list = query(LIST).bind(before.unwrap_or("~")).bind(i64::from(limit.min(MAX_PAGE)));
        list.fetch_all(self.read()).await.doing("list the certificates")?.iter().map(read).collect()
    }

    /// One certificate.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn certificate(&self, id: &str) -> Result<Certificate> {
        let row = query(GET).bind(id).fetch_optional(self.read()).await.doing("read a certificate")?;
        read(&row.ok_or(StoreError::NotFound { what: "certificate" })?)
    }

    /// Signs and stores a certificate, in place of what it said before.
    pub(crate) async fn certify(&self, tx: &mut Conn, said: &Destruction) -> Result<Certificate> {
        let content = serde_json::to_string(said).doing("write a certificate as JSON")?;
        let mut certificate = Certificate { content, key_id: self.audit_public_key().0, signature: String::new() };
        let (key_id, signature) = self.sign(&certificate.text());
        certificate.key_id = key_id;
        certificate.signature = signature;
        let kind = match said.kind {
            DestructionKind::Patient => "patient",
            DestructionKind::Retention => "retention",
        };
        query(PUT)
            .bind(said.id.as_str())
            .bind(said.at_us)
            .bind(kind)
            .bind(certificate.content.as_str())
            .bind(certificate.key_id.as_str())
            .bind(unhex(&certificate.signature).unwrap_or_default())
            .execute(tx)
            .await
            .doing("save a certificate")?;
        Ok(certificate)
    }
}

fn read(row: &Row) -> Result<Certificate> {
    let doing = "read a certificate";
    let signature: Vec<u8> = row.try_get("signature").doing(doing)?;
    Ok(Certificate {
        content: row.try_get("content").doing(doing)?,
        key_id: row.try_get("key_id").doing(doing)?,
        signature: hex(&signature),
    })
}
