//! Call tickets: signed, short-lived, accepted once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use call::ticket::{MAX_TICKET_BYTES, TicketBook, TicketClaims, TicketError, TicketKey, issue, verify};
use call::twilio::{AccountSid, CallSid};
use proptest::prelude::*;

fn key() -> TicketKey {
    TicketKey::new([7; 32])
}

fn claims() -> TicketClaims {
    TicketClaims {
        call_sid: CallSid::parse("CAfedcba9876543210fedcba9876543210").unwrap(),
        account_sid: AccountSid::parse("AC0123456789abcdef0123456789abcdef").unwrap(),
        nonce: "5b1f0c4e9a7d4c0e8f3b2a1908172635".to_owned(),
        expires_unix_s: 1_800_000_060,
    }
}

#[test]
fn issued_tickets_verify() {
    let ticket = issue(&key(), &claims());
    assert_eq!(verify(&key(), &ticket, 1_800_000_000), Ok(claims()));
    assert!(ticket.starts_with("v1."));
    assert!(ticket.len() < 300, "{}", ticket.len());
    assert!(ticket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
}

#[test]
fn the_format_is_stable() {
    assert_eq!(
        issue(&key(), &claims()),
        "v1.WyJDQWZlZGNiYTk4NzY1NDMyMTBmZWRjYmE5ODc2NTQzMjEwIiwiQUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsIjViMWYw\
         YzRlOWE3ZDRjMGU4ZjNiMmExOTA4MTcyNjM1IiwxODAwMDAwMDYwXQ.\
         wqsl4lOKLIevL0aNCXShLTGuHROqRmACbqLNZI3WgeE"
    );
}

#[test]
fn expiry_is_exact() {
    let ticket = issue(&key(), &claims());
    assert!(verify(&key(), &ticket, 1_800_000_059).is_ok());
    assert_eq!(verify(&key(), &ticket, 1_800_000_060), Err(TicketError::Expired));
    assert_eq!(verify(&key(), &ticket, u64::MAX), Err(TicketError::Expired));
}

#[test]
fn another_key_is_refused() {
    let ticket = issue(&TicketKey::new([8; 32]), &claims());
    assert_eq!(verify(&key(), &ticket, 0), Err(TicketError::BadSignature));
}

#[test]
fn other_texts_are_malformed() {
    for text in ["", "v1", "v1.", "v2.a.b", "v1.a.é", "v1.a.b=", &"v1.a".repeat(200)] {
        assert_eq!(verify(&key(), text, 0), Err(TicketError::Malformed), "{text}");
    }
    assert_eq!(verify(&key(), "v1..", 0), Err(TicketError::BadSignature));
    let ticket = issue(&key(), &claims());
    assert_eq!(verify(&key(), &format!(" {ticket}"), 0), Err(TicketError::Malformed));
}

#[test]
fn an_overlong_ticket_is_never_accepted() {
    let mut claims = claims();
    claims.nonce = "n".repeat(400);
    let ticket = issue(&key(), &claims);
    assert!(ticket.len() > MAX_TICKET_BYTES);
    assert_eq!(verify(&key(), &ticket, 0), Err(TicketError::Malformed));
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", key()), "TicketKey(..)");
    assert!(!format!("{:?}", claims()).contains("5b1f0c4e"));
}

#[test]
fn a_nonce_is_claimed_once() {
    let mut book = TicketBook::default();
    assert_eq!(book.claim("a", 0), Err(TicketError::Unknown));
    book.register("a", 100);
    assert_eq!(book.claim("a", 99), Ok(()));
    assert_eq!(book.claim("a", 99), Err(TicketError::AlreadyUsed));
    book.register("a", 500);
    assert_eq!(book.claim("a", 99), Err(TicketError::AlreadyUsed), "registering again must not renew it");
}

#[test]
fn an_expired_nonce_is_refused_and_forgotten() {
    let mut book = TicketBook::default();
    book.register("a", 100);
    assert_eq!(book.claim("a", 100), Err(TicketError::Expired));
    book.register("b", 101);
    book.prune(100);
    assert_eq!(book.len(), 1);
    assert_eq!(book.claim("a", 0), Err(TicketError::Unknown));
    assert_eq!(book.claim("b", 100), Ok(()));
}

#[test]
fn a_full_book_drops_what_is_needed_least() {
    let mut book = TicketBook::with_capacity(3);
    book.register("used", 900);
    book.register("soon", 100);
    book.register("late", 800);
    book.claim("used", 0).unwrap();
    book.register("new", 700);
    assert_eq!((book.len(), book.claim("used", 0)), (3, Err(TicketError::Unknown)));
    book.register("newer", 600);
    assert_eq!(book.claim("soon", 0), Err(TicketError::Unknown));
    for nonce in ["late", "new", "newer"] {
        assert_eq!(book.claim(nonce, 0), Ok(()), "{nonce}");
    }
    let mut smallest = TicketBook::with_capacity(0);
    smallest.register("a", 1);
    assert_eq!(smallest.claim("a", 0), Ok(()));
}

#[test]
fn every_single_changed_byte_is_refused() {
    let ticket = issue(&key(), &claims());
    for at in 0..ticket.len() {
        for replacement in ["A", "B", "_", "-", ".", "0", "=", " ", ""] {
            let mut changed = ticket.clone();
            changed.replace_range(at..=at, replacement);
            if changed != ticket {
                assert!(verify(&key(), &changed, 0).is_err(), "{at} {replacement}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_claims_round_trip(call in "[ -~]{1,40}", account in "[ -~]{1,40}", nonce in "\\PC{0,20}", expires in 1_u64..) {
        let claims = TicketClaims {
            call_sid: CallSid::parse(&call).unwrap(),
            account_sid: AccountSid::parse(&account).unwrap(),
            nonce,
            expires_unix_s: expires,
        };
        let ticket = issue(&key(), &claims);
        prop_assume!(ticket.len() <= MAX_TICKET_BYTES);
        prop_assert_eq!(verify(&key(), &ticket, expires - 1), Ok(claims));
    }

    #[test]
    fn any_damage_is_refused(at in any::<prop::sample::Index>(), byte in any::<char>()) {
        let ticket = issue(&key(), &claims());
        let mut chars: Vec<char> = ticket.chars().collect();
        let at = at.index(chars.len());
        chars[at] = byte;
        let changed: String = chars.into_iter().collect();
        prop_assume!(changed != ticket);
        prop_assert!(verify(&key(), &changed, 0).is_err());
    }

    #[test]
    fn arbitrary_tickets_never_panic(text in any::<String>()) {
        prop_assert!(verify(&key(), &text, 0).is_err());
    }

    #[test]
    fn no_nonce_is_ever_accepted_twice(
        steps in prop::collection::vec((any::<bool>(), 0_u8..12, 0_u64..50), 0..200),
        capacity in 1_usize..6,
    ) {
        let mut book = TicketBook::with_capacity(capacity);
        let mut issued = 0_u32;
        let mut accepted = std::collections::BTreeSet::new();
        for (is_register, which, time) in steps {
            if is_register {
                issued += 1;
                book.register(&issued.to_string(), time);
            } else {
                let nonce = issued.saturating_sub(u32::from(which)).to_string();
                if book.claim(&nonce, time).is_ok() {
                    prop_assert!(accepted.insert(nonce));
                }
            }
            prop_assert!(book.len() <= capacity);
        }
    }
}
