//! Sound clips shipped inside the program, as 8 kHz mu-law; see `assets/ATTRIBUTION.md` for where they come from.

use std::borrow::Cow;
use std::sync::Arc;

/// A piece of 8 kHz mu-law sound and the words spoken in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Short name, or file name of a clip read from disk.
    pub name: Cow<'static, str>,
    /// What is said.
    pub text: Cow<'static, str>,
    /// The sound.
    pub ulaw: Arc<[u8]>,
}

impl Clip {
    /// A clip of one's own, for instance a recording read from a file.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>, ulaw: Vec<u8>) -> Self {
        Self { name: Cow::Owned(name.into()), text: Cow::Owned(text.into()), ulaw: ulaw.into() }
    }

    /// Length in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.ulaw.len() as u64 / 8
    }
}
