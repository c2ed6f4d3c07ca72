//! Running text in a drawing, which has no lines of its own.

/// Text cut to so many characters, with an ellipsis when something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Text in lines at most so wide, in points, broken between words.
pub(super) fn wrap(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        // A word that fills a line by itself is a path or worse.
        let word = cut(word, (most / size) as usize);
        match lines.last_mut() {
            Some(line) if width(line, size) + width(&word, size) + 0.28 * size <= most => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// About how wide a text is, in points, in any of the usual sans-serif fonts: rather more than less.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let letter = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.24,
        'f' | 't' | 'r' | ' ' | '/' | '(' | ')' | '-' => 0.31,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.84,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' => 0.5,
        c if c.is_ascii_uppercase() => 0.69,
        c if c.is_ascii() => 0.56,
        _ => 0.7,
    };
    size * text.chars().map(letter).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_or_wrapped() {
        assert_eq!(cut("recording.wav", 8), "recordi…");
        assert_eq!(wrap("one two  three\nfour", 10.0, 75.0), ["one two three", "four"]);
        assert_eq!(wrap("aaaaaaaaaaaa bbbb", 10.0, 40.0), ["aaa…", "bbbb"]);
        assert!(width("illi", 10.0) < width("mmmm", 10.0) / 2.0);
    }
}
