//! Words of a transcript, folded for comparison: lower case, without accents and apostrophes, contractions closed,
//! fillers and stutters dropped. Each word remembers where it stood, so that evidence can be quoted as it was said.

use super::Language;

/// Longest text that is read, in characters; a caller does not say more in one turn.
pub(crate) const MAX_CHARS: usize = 2_000;

/// What stood before a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pause {
    /// Nothing but space.
    None,
    /// A comma.
    Comma,
    /// The end of a sentence.
    Stop,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The folded word.
    pub(crate) text: String,
    /// First byte in the text.
    pub(crate) start: usize,
    /// One past the last byte in the text.
    pub(crate) end: usize,
    /// Punctuation before it.
    pub(crate) before: Pause,
}

/// The words of a text.
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

impl<'a> Words<'a> {
    /// Reads `text` up to [`MAX_CHARS`]. `language` chooses which contractions and fillers exist; without one, none do.
    pub(crate) fn read(text: &'a str, language: Option<Language>) -> Self {
        let raw = split(text);
        let tokens = match language {
            Some(Language::English) => tidy(contract(raw), ENGLISH_FILLERS),
            Some(Language::Spanish) => tidy(raw, SPANISH_FILLERS),
            None => raw,
        };
        Self { text, tokens }
    }

    /// The words.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// How many words there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The folded word at `index`; empty past the end, which is no word of any table.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text.as_str())
    }

    /// The folded word `back` places before `index`; empty before the beginning.
    pub(crate) fn word_before(&self, index: usize, back: usize) -> &str {
        index.checked_sub(back).map_or("", |at| self.word(at))
    }

    /// The text between two words as it was said, shortened to a quotable length.
    pub(crate) fn quote(&self, from: usize, to: usize) -> String {
        const MAX_QUOTE_CHARS: usize = 160;
        if from >= to {
            return String::new();
        }
        let start = self.tokens.get(from).map_or(0, |token| token.start);
        let end = to.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(start, |token| token.end);
        self.text.get(start..end.max(start)).unwrap_or("").chars().take(MAX_QUOTE_CHARS).collect()
    }
}

const ENGLISH_FILLERS: &[&str] =
    &["um", "umm", "uh", "uhm", "uhh", "er", "erm", "ah", "oh", "hmm", "hm", "mm", "gee", "gosh", "honey", "dear"];
const SPANISH_FILLERS: &[&str] = &[
    "eh", "em", "ehm", "pues", "ah", "ay", "oh", "mm", "mmm", "hmm", "uy", "mire", "fijese", "mija", "mijo", "senorita",
];

/// Splits at everything that is neither letter nor digit; a digit run keeps its decimal mark.
fn split(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut before = Pause::Stop;
    let mut current: Option<(Token, bool)> = None;
    let chars: Vec<(usize, char)> = text.char_indices().take(MAX_CHARS).collect();
    for (at, &(byte, c)) in chars.iter().enumerate() {
        let end = byte + c.len_utf8();
        if is_combining(c) {
            continue;
        }
        if is_apostrophe(c) && matches!(current, Some((_, false))) {
            continue;
        }
        let next_is_digit = chars.get(at + 1).is_some_and(|(_, next)| next.is_ascii_digit());
        let in_number = matches!(current, Some((_, true)));
        let decimal = in_number && matches!(c, '.' | ',') && next_is_digit;
        if !(c.is_alphanumeric() || decimal) {
            tokens.extend(current.take().map(|(token, _)| token));
            before = before.max(match c {
                '.' | '!' | '?' | ';' | '…' | '\n' => Pause::Stop,
                ',' | ':' | '—' | '–' => Pause::Comma,
                _ => Pause::None,
            });
            // A fraction bar and a date's slash or hyphen mean something between digits.
            if matches!(c, '/' | '-')
                && next_is_digit
                && tokens.last().is_some_and(|last| last.end == byte && ends_in_digit(last))
            {
                tokens.push(Token { text: c.to_string(), start: byte, end, before: Pause::None });
            }
            continue;
        }
        let digit = c.is_ascii_digit() || decimal;
        if current.as_ref().is_some_and(|(_, number)| *number != digit) {
            tokens.extend(current.take().map(|(token, _)| token));
        }
        let (token, _) = current.get_or_insert_with(|| {
            let token = Token { text: String::new(), start: byte, end, before };
            before = Pause::None;
            (token, digit)
        });
        fold_into(&mut token.text, c);
        token.end = end;
    }
    tokens.extend(current.map(|(token, _)| token));
    tokens
}

fn ends_in_digit(token: &Token) -> bool {
    token.text.ends_with(|c: char| c.is_ascii_digit())
}

fn is_combining(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | '`' | '´')
}

/// Lower case without accents. Letters outside of the Latin tables stay as they are.
fn fold_into(out: &mut String, c: char) {
    for c in c.to_lowercase() {
        match c {
            'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => out.push('a'),
            'é' | 'è' | 'ê' | 'ë' => out.push('e'),
            'í' | 'ì' | 'î' | 'ï' => out.push('i'),
            'ó' | 'ò' | 'ô' | 'ö' | 'õ' => out.push('o'),
            'ú' | 'ù' | 'û' | 'ü' => out.push('u'),
            'ñ' => out.push('n'),
            'ç' => out.push('c'),
            'ß' => out.push_str("ss"),
            'œ' => out.push_str("oe"),
            'æ' => out.push_str("ae"),
            '½' => out.push_str("half"),
            c if is_combining(c) => {}
            c => out.push(c),
        }
    }
}

/// Closes what English leaves open or shut at will: "do not" and "don't" both read `dont`.
fn contract(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    for mut token in tokens {
        if token.text == "cannot" {
            token.text = "cant".to_owned();
        }
        let joined = out.last().and_then(|last| {
            let joined = match (last.text.as_str(), token.text.as_str()) {
                ("can", "not") => "cant",
                ("will", "not") => "wont",
                ("do", "not") => "dont",
                ("did", "not") => "didnt",
                ("does", "not") => "doesnt",
                ("have", "not") => "havent",
                ("has", "not") => "hasnt",
                ("had", "not") => "hadnt",
                ("is", "not") => "isnt",
                ("are", "not") => "arent",
                ("was", "not") => "wasnt",
                ("were", "not") => "werent",
                ("could", "not") => "couldnt",
                ("would", "not") => "wouldnt",
                ("should", "not") => "shouldnt",
                ("i", "am") => "im",
                ("it", "is") => "its",
                ("there", "is") => "theres",
                ("they", "are") => "theyre",
                ("she", "is") => "shes",
                ("he", "is") => "hes",
                ("uh" | "un", "huh") => "uhhuh",
                ("mm", "hmm" | "hm") => "mhm",
                _ => return None,
            };
            // "… do. Not today" is two sentences.
            (token.before < Pause::Stop).then_some(joined)
        });
        match (joined, out.last_mut()) {
            (Some(joined), Some(last)) => {
                last.text = joined.to_owned();
                last.end = token.end;
            }
            _ => out.push(token),
        }
    }
    out
}

/// Drops fillers, and all but one of a word said twice in a row; a number said twice may be two numbers.
fn tidy(tokens: Vec<Token>, fillers: &[&str]) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut pending = Pause::None;
    for mut token in tokens {
        // "Two oh five" is a number.
        let zero = token.text == "oh" && out.last().is_some_and(|last| super::numbers::is_number_word(&last.text));
        if !zero && fillers.contains(&token.text.as_str()) {
            pending = pending.max(token.before);
            continue;
        }
        // "Well, …" is a filler; "I feel well" is not.
        let opens = out.last().is_none_or(|last| matches!(last.text.as_str(), "yes" | "no" | "yeah"))
            || token.before.max(pending) > Pause::None;
        if token.text == "well" && opens {
            pending = pending.max(token.before);
            continue;
        }
        token.before = token.before.max(pending);
        pending = Pause::None;
        let repeats = out.last().is_some_and(|last| last.text == token.text);
        if repeats && !super::numbers::is_number_word(&token.text) {
            continue;
        }
        out.push(token);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, language: Language) -> Vec<String> {
        Words::read(text, Some(language)).tokens().iter().map(|t| t.text.clone()).collect()
    }

    #[test]
    fn spelling_does_not_matter() {
        assert_eq!(words("Um, I do not — I DON’T know", Language::English), ["i", "dont", "i", "dont", "know"]);
        assert_eq!(words("Sí, subí dos kilos", Language::Spanish), words("si subi dos kilos", Language::Spanish));
        assert_eq!(words("cafe\u{301}", Language::Spanish), ["cafe"]);
    }

    #[test]
    fn numbers_keep_their_marks_and_lose_their_units() {
        assert_eq!(words("182.5lb, up 3.", Language::English), ["182.5", "lb", "up", "3"]);
        assert_eq!(words("4/1/1948", Language::English), ["4", "/", "1", "/", "1948"]);
        assert_eq!(words("dos dos", Language::Spanish), ["dos", "dos"]);
        assert_eq!(words("no no no", Language::Spanish), ["no"]);
    }

    #[test]
    fn a_quotation_is_what_was_said() {
        let words = Words::read("Well, my ÁNKLES are swollen.", Some(Language::English));
        assert_eq!(words.quote(0, words.len()), "my ÁNKLES are swollen");
        assert_eq!(words.quote(7, 3), "");
    }
}
