//! The documents an agent may look into, part of the program.

use aws_lc_rs::digest::{SHA256, digest};

/// How the name of every document of ours begins.
pub(super) const NAME_PREFIX: &str = "heartvoice ";
/// Hexadecimal digits of the content's hash in a name.
const HASH_DIGITS: usize = 12;

const SOURCES: [(&str, &str); 4] = [
    ("the-check-in", include_str!("../../../../knowledge/the-check-in.md")),
    ("living-with-heart-failure", include_str!("../../../../knowledge/living-with-heart-failure.md")),
    ("when-to-call-for-help", include_str!("../../../../knowledge/when-to-call-for-help.md")),
    ("privacy", include_str!("../../../../knowledge/privacy.md")),
];

/// A document of the knowledge base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name in the account. Ends with a hash of the text: a changed text is another document.
    pub name: String,
    /// The text.
    pub text: String,
}

/// All documents.
#[must_use]
pub fn documents() -> Vec<Document> {
    SOURCES.iter().map(|(slug, text)| Document { name: name(slug, text), text: (*text).to_owned() }).collect()
}

fn name(slug: &str, text: &str) -> String {
    let hash: String = digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = hash.chars().take(HASH_DIGITS).collect();
    format!("{NAME_PREFIX}{slug} {short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_long_enough_to_be_indexed_and_named_by_its_content() {
        let documents = documents();
        assert!(documents.iter().all(|document| document.text.len() > 500 && document.name.len() < 100));
        assert_ne!(name("a", "one"), name("a", "two"));
        assert_eq!(name("a", "one"), name("a", "one"));
    }
}
