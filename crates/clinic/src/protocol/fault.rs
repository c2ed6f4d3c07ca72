//! What is wrong with a protocol file, and where.

use std::fmt;

/// A fault of a protocol file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Finds lines and collects faults.
pub(super) struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Adds a fault at a byte of the file.
    pub(super) fn at(&mut self, byte: usize, reason: impl Into<String>) {
        let before = self.text.get(..byte.min(self.text.len())).unwrap_or(self.text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        self.found.push(Fault { line, reason: reason.into() });
    }

    /// Adds a fault at the first line that contains `words`, or at the beginning.
    pub(super) fn near(&mut self, words: &str, reason: impl Into<String>) {
        self.at(self.text.find(words).unwrap_or(0), reason);
    }

    /// The faults in the order of the file; `None` when there are none.
    pub(super) fn done(mut self) -> Option<Vec<Fault>> {
        self.found.sort_by_key(|fault| fault.line);
        (!self.found.is_empty()).then_some(self.found)
    }
}
