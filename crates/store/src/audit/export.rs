//! The trail as a file of JSON lines, which can be verified by anybody who has the installation's public key.
//!
//! ```text
//! {"header":{"version":1,"key_id":…,"public_key":…,"made_at_us":…}}
//! {"entry":{"seq":1,"hash":…,"text":"{…}"}}          text is exactly what the hash covers
//! {"checkpoint":{"seq":1,"at_us":…,"previous":0,"hash":…,"key_id":…,"signature":…}}   right after the entry it covers
//! {"end":{"entries":1,"head":…,"checkpoint":1,"at_us":…,"key_id":…,"signature":…}}
//! ```
//!
//! Hashes, keys and signatures are in hexadecimal. The signature of the end covers `heartvoice audit export 1`, the number
//! of entries, the last hash, the last checkpoint (0 for none), the time and the key's identifier, a line each.

use super::chain::{Anchor, Broken, Link};
use super::checkpoint::{Checkpoint, Checkpoints, is_signed, unhex};
use super::verify::{Trail, Verified};
use super::{Head, hex, now_us};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// Version of the form.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Header { version: u32, key_id: String, public_key: String, made_at_us: i64 },
    Entry { seq: u64, hash: String, text: String },
    Checkpoint(Checkpoint),
    End { entries: u64, head: String, checkpoint: u64, at_us: i64, key_id: String, signature: String },
}

/// What is signed at the end.
fn end_text(entries: u64, head: &str, checkpoint: u64, at_us: i64, key_id: &str) -> String {
    format!("heartvoice audit export 1\n{entries}\n{head}\n{checkpoint}\n{at_us}\n{key_id}\n")
}

impl Store {
    /// Writes the trail as it is now, entry by entry, and returns how many entries there were. Blocks on the writer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when the writer fails; [`StoreError::Corrupt`] when the end of the trail is missing.
    pub async fn export_audit(&self, out: &mut impl Write) -> Result<u64> {
        let mut write = |line: &Line| {
            let text = serde_json::to_string(line).doing("write the audit trail as JSON")?;
            writeln!(out, "{text}").doing("write the export of the audit trail")
        };
        let (key_id, public_key) = self.audit_public_key();
        let mut reader = self.reader().await?;
        let head = Head::read(&mut reader, false).await?;
        // Nothing must be signed as a whole trail whose end was taken away; the next entry tells of it, and makes one.
        let until = head.ok_or_else(|| StoreError::corrupt("the end of the audit trail"))?.seq;
        let at_us = now_us();
        write(&Line::Header { version: VERSION, key_id: key_id.clone(), public_key, made_at_us: at_us })?;
        let mut checkpoints = Checkpoints::new();
        let (mut last, mut signed, mut head) = (0, 0, hex(&super::chain::BEGINNING));
        while last < until {
            let links = super::verify::page(&mut reader, last).await?;
            if links.is_empty() {
                break;
            }
            for link in links.into_iter().take_while(|link| link.seq <= until) {
                (last, head) = (link.seq, hex(&link.hash));
                write(&Line::Entry { seq: link.seq, hash: head.clone(), text: link.text })?;
                while let Some(checkpoint) = checkpoints.next_until(&mut reader, last).await? {
                    signed = checkpoint.seq;
                    write(&Line::Checkpoint(checkpoint))?;
                }
            }
        }
        let (_, signature) = self.sign(&end_text(last, &head, signed, at_us, &key_id));
        write(&Line::End { entries: last, head, checkpoint: signed, at_us, key_id, signature })?;
        out.flush().doing("write the export of the audit trail")?;
        Ok(last)
    }
}

/// Verifies an export, line by line, without a database.
pub struct ExportCheck {
    trail: Option<Trail>,
    /// Key and time that the header names.
    header: (String, i64),
    key: Option<String>,
    elsewhere: Vec<Checkpoint>,
    end: Option<Anchor>,
    broken: Option<Broken>,
}

impl ExportCheck {
    /// Begins. `key` is the installation's public key in hexadecimal; without it the one that the file names is believed,
    /// which shows that the file is whole, but not whose it is. `elsewhere` are checkpoints that were kept apart.
    #[must_use]
    pub fn new(key: Option<&str>, elsewhere: &[Checkpoint]) -> Self {
        let key = key.map(str::to_ascii_lowercase);
        Self { trail: None, header: (String::new(), 0), key, elsewhere: elsewhere.to_vec(), end: None, broken: None }
    }

    /// Takes the next line. False once something is wrong: nothing after it matters.
    pub fn line(&mut self, text: &str) -> bool {
        if self.broken.is_none() {
            self.broken = self.take(text).err();
        }
        self.broken.is_none()
    }

    fn take(&mut self, text: &str) -> Result<(), Broken> {
        let next = self.trail.as_ref().map_or(1, |trail| trail.last() + 1);
        let wrong = |what| Err(Broken { seq: next, what });
        if self.end.is_some() {
            return wrong("or something else comes after the end of the file");
        }
        let Ok(line) = serde_json::from_str::<Line>(text) else {
            return wrong("cannot be read: its line, or one before it, is not of an export");
        };
        match (&mut self.trail, line) {
            (None, Line::Header { version: VERSION, key_id, public_key, made_at_us }) => {
                let key = self.key.clone().unwrap_or_else(|| public_key.clone());
                if key != public_key {
                    return wrong("is of another installation: the file names another key than the one given");
                }
                self.header = (key_id, made_at_us);
                self.trail = Some(Trail::new(key, &self.elsewhere));
                Ok(())
            }
            (None, _) => wrong("cannot be read: the file does not begin as an export does"),
            (Some(_), Line::Header { .. }) => wrong("cannot be read: the file begins twice"),
            (Some(trail), Line::Entry { seq, hash, text }) => {
                let link = Link { seq, text, hash: unhex(&hash).unwrap_or_default() };
                trail.entry(&link).map(drop)
            }
            (Some(trail), Line::Checkpoint(checkpoint)) => trail.checkpoint(&checkpoint),
            (Some(trail), Line::End { entries, head, checkpoint, at_us, key_id, signature }) => {
                let text = end_text(entries, &head, checkpoint, at_us, &key_id);
                if !is_signed(&text, &signature, trail.public_key()) || self.header != (key_id, at_us) {
                    return wrong("or one after it is missing or was added: the end of the file is not signed");
                }
                if trail.checkpoint != checkpoint {
                    return Err(Broken { seq: checkpoint.max(1), what: "had a signed checkpoint that is missing" });
                }
                self.end = Some(Anchor { seq: entries, hash: unhex(&head).unwrap_or_default() });
                // A checkpoint that was made later may reach further.
                trail.reaches(at_us)
            }
        }
    }

    /// The key that is used: the one that was given, or the one that the file names.
    #[must_use]
    pub fn public_key(&self) -> Option<&str> {
        self.key.as_deref().or_else(|| self.trail.as_ref().map(Trail::public_key))
    }

    /// What was found, after the last line.
    #[must_use]
    pub fn finish(self) -> Verified {
        let cut = "is missing: the file was cut off";
        let trail = self.trail.unwrap_or_else(|| Trail::new(String::new(), &[]));
        let cut = Broken { seq: trail.last() + 1, what: cut };
        let broken = self.broken.or_else(|| self.end.is_none().then_some(cut));
        trail.end(self.end.as_ref(), broken)
    }
}
