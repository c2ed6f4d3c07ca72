//! The chain itself, without a database: what an entry's hash covers, and what a verification finds.
//!
//! `hash = SHA-256("heartvoice audit 1\n" || hash before || length of the text (8 bytes, big-endian) || text)`, beginning
//! with 32 zero bytes. A changed, missing, added or moved entry breaks the chain where it happens. A chain that was cut off
//! at its end, or written anew from some entry on, is still a chain: that is found by its head and by signed checkpoints,
//! and beyond doubt by a checkpoint that is kept elsewhere.

use aws_lc_rs::digest::{Context, SHA256};
use serde::Deserialize;
use std::borrow::Cow;

/// Bytes of a hash.
pub const HASH_LEN: usize = 32;

/// A hash of the chain.
pub type ChainHash = [u8; HASH_LEN];

/// What the first entry follows.
pub const BEGINNING: ChainHash = [0; HASH_LEN];

/// The action of the entry that is written when the end of the trail is not what this program wrote last.
pub const SUSPECT: &str = "audit.suspect";

/// The hash of an entry's text after `before`.
#[must_use]
pub fn link(before: &ChainHash, text: &str) -> ChainHash {
    let mut context = Context::new(&SHA256);
    context.update(b"heartvoice audit 1\n");
    context.update(before);
    context.update(&(text.len() as u64).to_be_bytes());
    context.update(text.as_bytes());
    let mut hash = BEGINNING;
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// A row as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub seq: u64,
    /// Its text.
    pub text: String,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// A state of the chain that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Number of the last entry it covers.
    pub seq: u64,
    /// That entry's hash.
    pub hash: Vec<u8>,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq}: {what}")]
pub struct Broken {
    /// Number of the entry.
    pub seq: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// What of an entry's text a verification looks at. Borrows from the text: a trail has millions.
#[derive(Debug, Deserialize)]
pub struct Essence<'a> {
    v: u32,
    seq: u64,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
    #[serde(borrow)]
    actor: EssenceActor<'a>,
    /// What was done.
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    /// Whose record.
    #[serde(borrow, default)]
    pub patient: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct EssenceActor<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl Essence<'_> {
    /// Who.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor.id
    }
}

/// Walks a chain, entry by entry.
#[derive(Debug, Clone)]
pub struct Walk {
    next: u64,
    hash: ChainHash,
    last_us: i64,
    signed: u64,
}

impl Default for Walk {
    fn default() -> Self {
        Self { next: 1, hash: BEGINNING, last_us: i64::MIN, signed: 0 }
    }
}

impl Walk {
    /// Takes the next entry, from the first one on, and answers with what it says.
    ///
    /// # Errors
    /// [`Broken`] names the first entry that is not what was written, and how.
    pub fn step<'a>(&mut self, link: &'a Link) -> Result<Essence<'a>, Broken> {
        let wrong = |seq, what| Err(Broken { seq, what });
        if link.seq > self.next {
            return wrong(self.next, "is missing");
        }
        if link.seq < self.next {
            return wrong(link.seq, "stands twice or out of order");
        }
        let Ok(essence) = serde_json::from_str::<Essence<'_>>(&link.text) else {
            return wrong(link.seq, "cannot be read: it was edited");
        };
        if essence.v != 1 || essence.seq != link.seq {
            return wrong(link.seq, "says that it is another entry: it was moved or edited");
        }
        let hash = self::link(&self.hash, &link.text);
        if hash.as_slice() != link.hash.as_slice() {
            return wrong(link.seq, "does not fit its hash: it, or the entry before it, was edited");
        }
        if essence.at_us < self.last_us {
            return wrong(link.seq, "is earlier than the entry before it");
        }
        if essence.action == SUSPECT {
            return wrong(link.seq, "tells that the end of the trail had been changed past the server before it");
        }
        self.next = link.seq + 1;
        self.hash = hash;
        self.last_us = essence.at_us;
        Ok(essence)
    }

    /// Compares a signed state with the chain, right after its entry was taken.
    ///
    /// # Errors
    /// [`Broken`] when the chain had another hash there.
    pub fn confirm(&mut self, anchor: &Anchor) -> Result<(), Broken> {
        if anchor.seq >= self.next {
            return Err(Broken { seq: self.next, what: "is missing: a signed checkpoint covers it" });
        }
        if anchor.seq + 1 != self.next {
            // Its hash could not be compared any more.
            return Err(Broken { seq: anchor.seq, what: "has a signed checkpoint that does not stand behind it" });
        }
        if anchor.hash != self.hash {
            let what = "is not what a signed checkpoint says: the trail up to it was rewritten";
            return Err(Broken { seq: anchor.seq, what });
        }
        self.signed = self.signed.max(anchor.seq);
        Ok(())
    }

    /// Number of the last entry that was taken.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Number of the last entry that a signed state confirmed.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.signed
    }

    /// Ends the walk: number and hash of the last entry. `head` is where the trail is known to end.
    ///
    /// # Errors
    /// [`Broken`] names the first entry that is missing at the end.
    pub fn finish(self, head: Option<&Anchor>) -> Result<(u64, ChainHash), Broken> {
        if head.is_some_and(|head| head.seq >= self.next) {
            return Err(Broken { seq: self.next, what: "is missing: the trail was cut off at its end" });
        }
        if let Some(head) = head
            && (head.seq + 1 != self.next || head.hash != self.hash)
        {
            return Err(Broken {
                seq: head.seq + 1,
                what: "comes after the end of the trail: it was added past the server",
            });
        }
        Ok((self.next - 1, self.hash))
    }
}
