//! Checkpoints: states of the trail, signed by the installation (Ed25519), each naming the one before it.

use super::chain::Anchor;
use super::{Head, now_us, signed};
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use aws_lc_rs::signature::{ED25519, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Checkpoints read at a time.
const PAGE: i64 = 1_000;
const PAGE_OF: &str = "SELECT seq, at_us, previous, hash, key_id, signature FROM audit_checkpoints \
     WHERE seq > $1 ORDER BY seq LIMIT $2";
const LAST: &str = "SELECT seq, at_us, previous, hash, key_id, signature FROM audit_checkpoints \
     ORDER BY seq DESC LIMIT 1";
const COVERED: &str = "SELECT COUNT(*) FROM audit_entries WHERE seq = $1 AND hash = $2";
const INSERT: &str = "INSERT INTO audit_checkpoints (seq, at_us, previous, hash, key_id, signature) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (seq) DO NOTHING";

/// A state of the trail, signed by the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of the last entry it covers.
    pub seq: u64,
    /// When it was made, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// The checkpoint before it; 0 for the first.
    pub previous: u64,
    /// The hash of entry `seq`, in hexadecimal.
    pub hash: String,
    /// Which key signed it.
    pub key_id: String,
    /// The signature over [`Checkpoint::text`], in hexadecimal.
    pub signature: String,
}

impl Checkpoint {
    /// What is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { seq, at_us, previous, hash, key_id, .. } = self;
        format!("heartvoice audit checkpoint 1\n{seq}\n{at_us}\n{previous}\n{hash}\n{key_id}\n")
    }

    /// Whether the holder of this public key (32 bytes, hexadecimal) signed it.
    #[must_use]
    pub fn is_signed_by(&self, public_key: &str) -> bool {
        is_signed(&self.text(), &self.signature, public_key)
    }

    pub(crate) fn anchor(&self) -> Anchor {
        Anchor { seq: self.seq, hash: unhex(&self.hash).unwrap_or_default() }
    }

    fn from_row(row: &Row) -> Result<Self> {
        let doing = "read the checkpoints of the audit trail";
        let number = |column| row.try_get::<i64>(column).doing(doing);
        // What is of another type than it was is wrong, not unreadable.
        let bytes = |column| hex(&row.try_get::<Vec<u8>>(column).unwrap_or_default());
        Ok(Self {
            seq: u64::try_from(number("seq")?).unwrap_or(0),
            at_us: number("at_us")?,
            previous: u64::try_from(number("previous")?).unwrap_or(0),
            hash: bytes("hash"),
            key_id: row.try_get("key_id").unwrap_or_default(),
            signature: bytes("signature"),
        })
    }
}

/// Whether the holder of a public key signed a text; key and signature in hexadecimal.
pub(crate) fn is_signed(text: &str, signature: &str, public_key: &str) -> bool {
    let (Some(key), Some(signature)) = (unhex(public_key), unhex(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
}

/// The checkpoints in order, a page in memory at a time.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    page: VecDeque<Checkpoint>,
    after: i64,
    ended: bool,
}

impl Checkpoints {
    /// From the first one on.
    pub(crate) fn new() -> Self {
        // Numbers below 1 are nobody's, and therefore wrong.
        Self { page: VecDeque::new(), after: i64::MIN, ended: false }
    }

    /// The next one, if there is one up to entry `seq`.
    pub(crate) async fn next_until(&mut self, conn: &mut Conn, seq: u64) -> Result<Option<Checkpoint>> {
        if self.page.is_empty() && !self.ended {
            let page = query(PAGE_OF).bind(self.after).bind(PAGE).fetch_all(conn).await;
            for row in &page.doing("read the checkpoints of the audit trail")? {
                self.after = row.try_get("seq").doing("read the checkpoints of the audit trail")?;
                self.page.push_back(Checkpoint::from_row(row)?);
            }
            self.ended = self.page.is_empty();
        }
        Ok(self.page.pop_front_if(|checkpoint| checkpoint.seq <= seq))
    }
}

impl Store {
    /// Identifier and public key (hexadecimal) of what signs checkpoints.
    #[must_use]
    pub fn audit_public_key(&self) -> (String, String) {
        let (id, pair) = self.inner.vault.signing();
        (id.to_owned(), hex(pair.public_key().as_ref()))
    }

    /// Signs the state of the trail, unless it was signed already. `None` when there is nothing new.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] when the end of the trail is missing or not what this program
    /// wrote: such a state is not signed. It is again after the next entry, which tells of it.
    pub async fn checkpoint_audit(&self) -> Result<Option<Checkpoint>> {
        let doing = "sign the audit trail";
        let mut tx = self.begin(Domain::Keys).await?;
        let head = Head::read(&mut tx, true).await?.filter(|head| head.is_ours(&self.inner.vault));
        let mut head = head.ok_or_else(|| StoreError::corrupt("the end of the audit trail"))?;
        if head.checkpoint >= head.seq {
            return Ok(None);
        }
        let at_us = now_us();
        let (key_id, pair) = self.inner.vault.signing();
        let mut made = Checkpoint {
            seq: head.seq,
            at_us,
            previous: head.checkpoint,
            hash: hex(&head.hash),
            key_id: key_id.to_owned(),
            signature: String::new(),
        };
        let signature = pair.sign(made.text().as_bytes());
        made.signature = hex(signature.as_ref());
        let insert = query(INSERT).bind(signed(made.seq)).bind(at_us).bind(signed(made.previous));
        let insert = insert.bind(head.hash.as_slice()).bind(key_id).bind(signature.as_ref());
        insert.execute(&mut tx).await.doing(doing)?;
        head.checkpoint = head.seq;
        head.write(&mut tx, &self.inner.vault).await?;
        tx.commit().await.doing(doing)?;
        Ok(Some(made))
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn last_audit_checkpoint(&self) -> Result<Option<Checkpoint>> {
        let row = query(LAST).fetch_optional(self.read()).await.doing("read the checkpoints of the audit trail")?;
        row.as_ref().map(Checkpoint::from_row).transpose()
    }

    /// Whether the entry that a checkpoint covers is still there, with the hash that was signed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn holds_audit_checkpoint(&self, checkpoint: &Checkpoint) -> Result<bool> {
        let covered = query_scalar(COVERED).bind(signed(checkpoint.seq)).bind(checkpoint.anchor().hash);
        let covered: i64 = covered.fetch_one(self.read()).await.doing("read the audit trail")?;
        Ok(covered > 0)
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_entry_count(&self) -> Result<u64> {
        let mut reader = self.reader().await?;
        Ok(Head::read(&mut reader, false).await?.map_or(0, |head| head.seq))
    }

    /// Signs a text with the key of the audit trail, for certificates: key identifier and signature in hexadecimal.
    #[must_use]
    pub fn sign(&self, text: &str) -> (String, String) {
        let (id, pair) = self.inner.vault.signing();
        (id.to_owned(), hex(pair.sign(text.as_bytes()).as_ref()))
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads lower-case hexadecimal. One way of writing only, so that nothing can be changed unnoticed.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect()
}
