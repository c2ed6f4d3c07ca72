//! Call tickets: proof that a media stream belongs to a call we gave instructions for.
//!
//! A ticket travels in a `<Parameter>` of the call instructions and comes back in the stream's `start` message. It is
//! signed, short-lived and accepted once: [`verify`] checks the first two, [`TicketBook`] the third.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json;
use crate::twilio::{AccountSid, CallSid};

/// Prefix of a ticket. A change of the format changes it.
const VERSION: &str = "v1.";

/// Separates these signatures from any other use of the same key.
const PURPOSE: &str = "heartvoice call ticket\n";

/// Longest ticket accepted, in bytes. Name and value of a `<Parameter>` must stay under 500 characters together.
pub const MAX_TICKET_BYTES: usize = 400;

/// The secret tickets are signed with. The servers of an installation share it, so that each can tell a forged ticket from
/// one that another of them gave out.
#[derive(Clone)]
pub struct TicketKey([u8; 32]);

impl TicketKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// What a ticket proves.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketClaims {
    /// The call it was issued for; compare with the stream's.
    pub call_sid: CallSid,
    /// The account it was issued for; compare with the stream's.
    pub account_sid: AccountSid,
    /// Random and unique: what [`TicketBook`] remembers.
    pub nonce: String,
    /// First second since 1970 at which it is no longer valid.
    pub expires_unix_s: u64,
}

impl fmt::Debug for TicketClaims {
    /// Leaves the nonce out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketClaims")
            .field("call_sid", &self.call_sid)
            .field("account_sid", &self.account_sid)
            .field("expires_unix_s", &self.expires_unix_s)
            .finish_non_exhaustive()
    }
}

/// Why a ticket is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Not a ticket of this version.
    #[error("ticket is malformed")]
    Malformed,
    /// Not signed with our key, or changed since.
    #[error("ticket signature does not match")]
    BadSignature,
    /// Too old.
    #[error("ticket has expired")]
    Expired,
    /// Not issued by this process, or forgotten.
    #[error("ticket is unknown")]
    Unknown,
    /// Presented before.
    #[error("ticket was used before")]
    AlreadyUsed,
}

impl TicketError {
    /// A stable word for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::AlreadyUsed => "already_used",
        }
    }
}

/// Signs a ticket: `v1.<claims>.<signature>`, both parts in url-safe base64.
///
/// With Twilio's identifiers (34 characters) and a nonce of up to 64 characters it has fewer than 300. One longer than
/// [`MAX_TICKET_BYTES`] is never accepted by [`verify`].
#[must_use]
pub fn issue(key: &TicketKey, claims: &TicketClaims) -> String {
    let mut plain = String::from("[");
    for text in [claims.call_sid.as_str(), claims.account_sid.as_str(), &claims.nonce] {
        json::push_string(&mut plain, text);
        plain.push(',');
    }
    plain.push_str(&claims.expires_unix_s.to_string());
    plain.push(']');

    let mut ticket = String::from(VERSION);
    URL_SAFE_NO_PAD.encode_string(plain, &mut ticket);
    let signature = hmac::sign(&key.hmac(), format!("{PURPOSE}{ticket}").as_bytes());
    ticket.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut ticket);
    ticket
}

/// Checks signature and age of a ticket.
///
/// # Errors
/// [`TicketError::Malformed`], [`TicketError::BadSignature`] or [`TicketError::Expired`].
pub fn verify(key: &TicketKey, ticket: &str, now_unix_s: u64) -> Result<TicketClaims, TicketError> {
    if ticket.len() > MAX_TICKET_BYTES {
        return Err(TicketError::Malformed);
    }
    let parts = ticket.strip_prefix(VERSION).and_then(|rest| rest.split_once('.'));
    let (plain, signature) = parts.ok_or(TicketError::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TicketError::Malformed)?;
    hmac::verify(&key.hmac(), format!("{PURPOSE}{VERSION}{plain}").as_bytes(), &signature)
        .map_err(|_| TicketError::BadSignature)?;

    let plain = URL_SAFE_NO_PAD.decode(plain).map_err(|_| TicketError::Malformed)?;
    let (call_sid, account_sid, nonce, expires_unix_s): (String, String, String, u64) =
        serde_json::from_slice(&plain).map_err(|_| TicketError::Malformed)?;
    if now_unix_s >= expires_unix_s {
        return Err(TicketError::Expired);
    }
    Ok(TicketClaims {
        call_sid: CallSid::parse(&call_sid).map_err(|_| TicketError::Malformed)?,
        account_sid: AccountSid::parse(&account_sid).map_err(|_| TicketError::Malformed)?,
        nonce,
        expires_unix_s,
    })
}

/// Remembers which tickets are out, so that each is accepted once.
///
/// Bounded: when full, a new ticket pushes out one that was used, or else the one that expires first. A ticket pushed
/// out is refused, never accepted twice.
#[derive(Clone)]
pub struct TicketBook {
    capacity: usize,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    expires_unix_s: u64,
    used: bool,
}

impl fmt::Debug for TicketBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketBook").field("capacity", &self.capacity).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Default for TicketBook {
    /// Room for 4096 tickets: at one call per second, each valid for a minute, about 60 are out at a time.
    fn default() -> Self {
        Self::with_capacity(4096)
    }
}

impl TicketBook {
    /// An empty book with room for this many tickets, at least one.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: BTreeMap::new() }
    }

    /// Remembers a ticket just issued. A nonce already in the book is left as it is, so that a used one stays used.
    pub fn register(&mut self, nonce: &str, expires_unix_s: u64) {
        if self.entries.contains_key(nonce) {
            return;
        }
        while self.entries.len() >= self.capacity {
            let least_needed = self.entries.iter().min_by_key(|(_, entry)| (!entry.used, entry.expires_unix_s));
            let Some(nonce) = least_needed.map(|(nonce, _)| nonce.clone()) else { break };
            self.entries.remove(&nonce);
        }
        self.entries.insert(nonce.to_owned(), Entry { expires_unix_s, used: false });
    }

    /// Accepts a ticket for the first and only time.
    ///
    /// # Errors
    /// [`TicketError::Unknown`], [`TicketError::AlreadyUsed`] or [`TicketError::Expired`].
    pub fn claim(&mut self, nonce: &str, now_unix_s: u64) -> Result<(), TicketError> {
        let entry = self.entries.get_mut(nonce).ok_or(TicketError::Unknown)?;
        if entry.used {
            return Err(TicketError::AlreadyUsed);
        }
        if now_unix_s >= entry.expires_unix_s {
            return Err(TicketError::Expired);
        }
        entry.used = true;
        Ok(())
    }

    /// Forgets all tickets that have expired, used or not.
    pub fn prune(&mut self, now_unix_s: u64) {
        self.entries.retain(|_, entry| now_unix_s < entry.expires_unix_s);
    }

    /// Number of tickets remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no ticket is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
