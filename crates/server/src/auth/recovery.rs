//! Recovery codes: ten that are handed out once, each good for one sign-in when the telephone with the authenticator is
//! lost.
//!
//! A code is 80 random bits, written as four groups of four. Only hashes are stored. A plain SHA-256 is enough for them,
//! unlike for passwords: nobody chose these codes, so a thief of the hashes has to try half of 2^80 values, and ten
//! thousand machines with ten thousand million tries a second each need centuries for that.

use super::{NoRandomness, random, same};
use aws_lc_rs::digest;
use secrecy::SecretString;

/// Codes that a person gets.
pub const CODES: usize = 10;
/// Characters of a code, five bits each.
const CHARACTERS: usize = 16;
/// Characters between two dashes.
const GROUP: usize = 4;
/// Letters and digits that nobody confuses: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Keeps these hashes apart from those of anything else.
const PURPOSE: &[u8] = b"heartvoice recovery code\0";
/// Longest input that is looked at.
const TYPED_MAX_BYTES: usize = 64;

/// What is stored of a code.
pub type CodeHash = [u8; 32];

/// A code as its owner sees it, once, and its hash, which is stored.
#[derive(Debug)]
pub struct NewCode {
    /// Such as `7k2m-q9xw-3hvd-51tb`.
    pub code: SecretString,
    /// What to store; unused until the row says otherwise.
    pub hash: CodeHash,
}

/// Ten new codes. They replace all earlier ones.
///
/// # Errors
/// [`NoRandomness`].
pub fn generate() -> Result<Vec<NewCode>, NoRandomness> {
    (0..CODES).map(|_| new_code()).collect()
}

fn new_code() -> Result<NewCode, NoRandomness> {
    // A byte has eight times as many values as the alphabet, so its low bits are even.
    let letters = random::<CHARACTERS>()?.map(|byte| ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'0'));
    let mut code = String::with_capacity(CHARACTERS + CHARACTERS / GROUP);
    for (place, letter) in letters.iter().enumerate() {
        if place > 0 && place % GROUP == 0 {
            code.push('-');
        }
        code.push(char::from(*letter));
    }
    Ok(NewCode { code: SecretString::from(code), hash: digest_of(&letters) })
}

/// The hash of what was typed, if that has the form of a code: to look for it among those of the account. Case, dashes
/// and spaces do not matter, nor whether somebody read a zero as an `o`.
#[must_use]
pub fn hash(typed: &str) -> Option<CodeHash> {
    if typed.len() > TYPED_MAX_BYTES {
        return None;
    }
    let mut letters = [0; CHARACTERS];
    let mut count = 0;
    for byte in typed.trim().bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
        let letter = match byte.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            other => other,
        };
        if !ALPHABET.contains(&letter) {
            return None;
        }
        *letters.get_mut(count)? = letter;
        count += 1;
    }
    (count == CHARACTERS).then(|| digest_of(&letters))
}

/// Which of the unused codes of an account was typed. The caller marks it as used in the same transaction that lets the
/// person in.
#[must_use]
pub fn find(typed: &str, unused: &[CodeHash]) -> Option<usize> {
    let typed = hash(typed)?;
    unused.iter().position(|stored| same(stored, &typed))
}

fn digest_of(letters: &[u8; CHARACTERS]) -> CodeHash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(PURPOSE);
    context.update(letters);
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use secrecy::ExposeSecret;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_is_found_as_it_was_shown_and_as_people_type_it() {
        let codes = generate().unwrap();
        assert_eq!(codes.len(), CODES);
        let hashes: Vec<CodeHash> = codes.iter().map(|code| code.hash).collect();
        for (place, code) in codes.iter().enumerate() {
            let shown = code.code.expose_secret();
            assert_eq!(shown.len(), 19);
            for typed in [
                shown.to_owned(),
                shown.to_uppercase(),
                shown.replace('-', ""),
                format!("  {} \n", shown.replace('-', " ")),
                shown.replace('0', "O").replace('1', "l"),
            ] {
                assert_eq!(find(&typed, &hashes), Some(place), "{place}");
            }
        }
        assert_eq!(find(codes[0].code.expose_secret(), &hashes[1..]), None, "used up");
        assert!(!format!("{codes:?}").contains(codes[0].code.expose_secret()));
    }

    #[test]
    fn anything_else_is_no_code() {
        let hashes: Vec<CodeHash> = generate().unwrap().iter().map(|code| code.hash).collect();
        for typed in
            ["", "----", "0000-0000-0000-0000", "0000-0000-0000-000", "0000-0000-0000-00000", "uuuu-0000-0000-0000"]
        {
            assert_eq!(find(typed, &hashes), None, "{typed}");
        }
        assert!(hash("0000-0000-0000-0000").is_some());
        for typed in ["0000-0000-0000-000", "0000-0000-0000-00000", "ö000-0000-0000-0000", &"0".repeat(10_000)] {
            assert!(hash(typed).is_none(), "{typed:.30}");
        }
    }

    #[test]
    fn codes_do_not_repeat_and_use_the_whole_alphabet() {
        let codes: Vec<NewCode> = (0..50).flat_map(|_| generate().unwrap()).collect();
        let distinct: BTreeSet<&str> = codes.iter().map(|code| code.code.expose_secret()).collect();
        assert_eq!(distinct.len(), codes.len());
        let letters: BTreeSet<char> = distinct.iter().flat_map(|code| code.chars()).collect();
        assert_eq!(letters.len(), ALPHABET.len() + 1, "every letter of the alphabet and the dash");
    }
}
