//! Which passwords a person may choose, after NIST SP 800-63B: long enough, not one that everybody tries first, and not
//! the user's own name. No demand for digits or signs, no forced change: both make passwords worse.
//!
//! A list of whole passwords catches `passwordpassword` and misses `Password2026!!`. So the list here holds building
//! blocks, and a password that consists of nothing else but blocks, digits and signs is refused, in any case and with
//! the usual figures in place of letters.

/// Fewest characters.
pub const LENGTH_MIN_CHARS: usize = 12;
/// Most bytes: far more than anybody types, and little to hash.
pub const LENGTH_MAX_BYTES: usize = 256;
/// Fewest different characters; fewer is a pattern on the keyboard.
const DISTINCT_MIN: usize = 5;
/// Shortest user name that may not be part of a password; shorter ones occur in words by chance.
const NAME_MIN_CHARS: usize = 4;

/// Why a password is not accepted. The text is for the person who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Weak {
    /// Fewer than [`LENGTH_MIN_CHARS`] characters.
    #[error("use at least {LENGTH_MIN_CHARS} characters; a few words in a row are easy to remember")]
    TooShort,
    /// More than [`LENGTH_MAX_BYTES`] bytes.
    #[error("use at most {LENGTH_MAX_BYTES} bytes")]
    TooLong,
    /// A few characters again and again, or a row of neighbours.
    #[error("a row of repeated or successive characters is tried first by those who guess; use words instead")]
    Pattern,
    /// Made of words that everybody uses.
    #[error("this consists of words that are tried first by those who guess; use other words")]
    Common,
    /// The user name is in it.
    #[error("a password must not contain the user name")]
    UserName,
}

/// Whether a password may be chosen by the user of that name (a mail address counts up to its `@`).
///
/// # Errors
/// [`Weak`] with the first reason against it.
pub fn check(password: &str, user_name: &str) -> Result<(), Weak> {
    if password.len() > LENGTH_MAX_BYTES {
        return Err(Weak::TooLong);
    }
    if password.chars().count() < LENGTH_MIN_CHARS {
        return Err(Weak::TooShort);
    }
    let lower = password.to_lowercase();
    let name = user_name.split('@').next().unwrap_or_default().to_lowercase();
    if name.chars().count() >= NAME_MIN_CHARS && lower.contains(&name) {
        return Err(Weak::UserName);
    }
    let characters: Vec<char> = lower.chars().collect();
    if is_pattern(&characters) {
        return Err(Weak::Pattern);
    }
    if is_common(&characters) {
        return Err(Weak::Common);
    }
    Ok(())
}

/// Few different characters, or mostly neighbours such as `456789` and `fedcba`.
fn is_pattern(characters: &[char]) -> bool {
    let mut distinct = characters.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let neighbours = characters.windows(2).filter(|pair| matches!(pair, [a, b] if are_neighbours(*a, *b))).count();
    distinct.len() < DISTINCT_MIN || neighbours * 3 >= characters.len().saturating_sub(1) * 2
}

fn are_neighbours(one: char, other: char) -> bool {
    u32::from(one).abs_diff(u32::from(other)) <= 1 || matches!((one, other), ('9', '0') | ('0', '9'))
}

/// Whether nothing is left when blocks of the list, digits and signs are taken away: for each position in turn, whether
/// the text up to there can be taken apart.
fn is_common(characters: &[char]) -> bool {
    let mut reachable = vec![false; characters.len() + 1];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    let mut words = false;
    for from in 0..characters.len() {
        if reachable.get(from) != Some(&true) {
            continue;
        }
        let rest = characters.get(from..).unwrap_or_default();
        let free = rest.first().is_some_and(|c| !c.is_alphabetic());
        if let (true, Some(next)) = (free, reachable.get_mut(from + 1)) {
            *next = true;
        }
        for word in BLOCKS.split_whitespace().filter(|word| begins(rest, word)) {
            words = true;
            if let Some(end) = reachable.get_mut(from + word.len()) {
                *end = true;
            }
        }
    }
    words && reachable.last() == Some(&true)
}

/// Whether a text begins with a word of the list, figures being read as the letters they stand for.
fn begins(text: &[char], word: &str) -> bool {
    text.len() >= word.len() && word.chars().zip(text).all(|(letter, &c)| c == letter || stands_for(c) == Some(letter))
}

fn stands_for(c: char) -> Option<char> {
    match c {
        '0' => Some('o'),
        '1' | '!' | '|' => Some('i'),
        '3' => Some('e'),
        '4' | '@' => Some('a'),
        '5' | '$' => Some('s'),
        '7' | '+' => Some('t'),
        '8' => Some('b'),
        '9' => Some('g'),
        _ => None,
    }
}

/// Blocks of passwords that are tried first: what people type when a machine insists, walks over the keyboard, seasons
/// and days for forced changes, and the words that lie at hand in a clinic. Lower-case letters only.
const BLOCKS: &str = "
    password passwort passwd passcode pass word secret private access login logon signin signon welcome hello letmein
    letme open sesame changeme change please default temp temporary test testing tester guest user username admin
    administrator root super superuser system master manager service support staff office computer internet server
    database security secure
    qwerty qwertz azerty qwer asdf zxcv yxcv uiop hjkl asdfgh zxcvbn yxcvbn asdfghjkl qwertyuiop zxcvbnm qaz wsx edc
    abc abcd abcdef abcdefgh xyz
    january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday spring summer autumn winter fall season today
    love iloveyou loveyou you me my the is and of new old one two three forever baby angel sunshine princess flower
    monkey dragon shadow tiger eagle football baseball soccer hockey basketball superman batman starwars pokemon
    freedom liberty america london michael jordan jennifer charlie ashley daniel jessica
    heart voice heartvoice monitor hospital clinic medical medicine doctor nurse patient health healthcare care cardio
    cardiac cardiology call calls phone telephone team ward";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_passwords_of_ones_own_words_are_accepted() {
        for good in [
            "correct horse battery staple",
            "kettle lantern 42 gravel",
            "ein Löwe am Fenster",
            "mTq8zLw2vBn5",
            "心臓の音を聞く静かな夜明けまで",
            "password kettle lantern",
            "9174 2058 3361 47",
        ] {
            assert_eq!(check(good, "ada"), Ok(()), "{good}");
        }
        assert_eq!(check(&"kettle lantern ".repeat(17), "ada"), Ok(()), "255 bytes");
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for common in [
            "Password2026!",
            "P@ssw0rd1234",
            "passwordpassword",
            "qwertyuiop[]",
            "heartvoice2026",
            "Summer2026!!!",
            "letmeinplease",
            "AdminAdmin99",
            "iloveyou-forever",
            "h3artV0ice!!",
            "NurseNurse2025",
        ] {
            assert_eq!(check(common, "ada"), Err(Weak::Common), "{common}");
        }
        for pattern in ["123456789012", "abcdefghijklm", "aaaaaaaaaaaa", "abcabcabcabc", "098765432109", "111222333444"]
        {
            assert_eq!(check(pattern, "ada"), Err(Weak::Pattern), "{pattern}");
        }
    }

    #[test]
    fn length_counts_characters_below_and_bytes_above() {
        assert_eq!(check("mTq8zLw2vBn", "ada"), Err(Weak::TooShort));
        assert_eq!(check("Löweäöüßéèê", "ada"), Err(Weak::TooShort), "eleven characters of two bytes");
        assert_eq!(check(&"kettle lantern ".repeat(18), "ada"), Err(Weak::TooLong));
    }

    #[test]
    fn the_user_name_may_not_be_in_it() {
        assert_eq!(check("my-LoveLace-kettle", "lovelace"), Err(Weak::UserName));
        assert_eq!(check("my-LoveLace-kettle", "Lovelace@clinic.example"), Err(Weak::UserName));
        assert_eq!(check("kettle lantern ada", "ada"), Ok(()), "too short a name to mean anything");
        assert_eq!(check("kettle lantern gravel", ""), Ok(()));
    }

    #[test]
    fn the_list_is_what_the_search_expects() {
        assert!(BLOCKS.split_whitespace().count() >= 100);
        assert!(BLOCKS.split_whitespace().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
    }
}
