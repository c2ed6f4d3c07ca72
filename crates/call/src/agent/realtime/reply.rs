//! What the model was told to say, is saying and has said: one response at a time, and the items its sound belongs to.

use std::collections::VecDeque;

/// Responses whose place in the conversation is remembered. Sound of older ones does not come any more.
const RESPONSES_MAX: usize = 16;
/// Items with sound in one response; the model makes one.
const ITEMS_MAX: usize = 8;
/// Bytes of mu-law in a millisecond.
const BYTES_PER_MS: u64 = 8;

/// A response the model is to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The words it is to say, where they are fixed.
    pub(super) words: Option<String>,
}

/// Sound of one item of the newest response that spoke.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spoken {
    item_id: String,
    content_index: u32,
    bytes: u64,
}

/// Whose turn it is to speak.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies {
    /// Identifiers of responses and our numbers for them, which grow.
    known: VecDeque<(String, i64)>,
    last_number: i64,
    /// The response that is being made.
    active: Option<String>,
    /// The response we asked for and have not seen yet.
    asked: Option<Wanted>,
    /// The next one to ask for.
    wanted: Option<Wanted>,
    /// Our item that waits to be answered, and whether the service has taken it in.
    unanswered: Option<(String, bool)>,
    /// Responses up to this number are cut off: sound of theirs that still comes is void.
    void_through: i64,
    /// The caller is speaking: the service will answer them by itself.
    caller_speaks: bool,
    /// The caller has spoken, and the service has not begun to answer.
    answer_due: bool,
    /// The newest response with sound, its number, and its items.
    speaking: i64,
    spoken: Vec<Spoken>,
    /// Responses that failed one after the other.
    failures: u32,
}

impl Replies {
    /// The number of a response.
    pub(super) fn number(&mut self, id: &str) -> i64 {
        if let Some((_, number)) = self.known.iter().find(|(known, _)| known == id) {
            return *number;
        }
        if self.known.len() >= RESPONSES_MAX {
            self.known.pop_front();
        }
        self.last_number += 1;
        self.known.push_back((id.to_owned(), self.last_number));
        self.last_number
    }

    /// The newest response that has spoken.
    pub(super) fn newest_spoken(&self) -> Option<i64> {
        (self.speaking > 0).then_some(self.speaking)
    }

    /// The newest response that has spoken and was not cut off, and how much sound of it came, in milliseconds.
    pub(super) fn spoken_so_far(&self) -> Option<(i64, u64)> {
        let bytes: u64 = self.spoken.iter().map(|spoken| spoken.bytes).sum();
        (!self.spoken.is_empty()).then_some((self.speaking, bytes / BYTES_PER_MS))
    }

    /// Something was added to the conversation that the model shall react to.
    pub(super) fn want(&mut self, item_id: Option<String>, words: Option<String>) {
        if let Some(item_id) = item_id {
            self.unanswered = Some((item_id, false));
        }
        match &mut self.wanted {
            // Words that have to be said stay; a reaction to what came after them comes out of the same response.
            Some(wanted) => wanted.words = words.or(wanted.words.take()),
            None => self.wanted = Some(Wanted { words }),
        }
    }

    /// The request that may be sent now, if there is one: nobody else speaks or is about to.
    pub(super) fn take_due(&mut self) -> Option<Wanted> {
        if self.active.is_some() || self.asked.is_some() || self.caller_speaks || self.answer_due {
            return None;
        }
        let wanted = self.wanted.take()?;
        self.asked = Some(wanted.clone());
        Some(wanted)
    }

    /// The service has taken an item in.
    pub(super) fn item_added(&mut self, id: &str) {
        if let Some((waiting, added)) = &mut self.unanswered {
            *added |= waiting == id;
        }
    }

    /// A response begins, asked for by us or by the service itself.
    pub(super) fn begun(&mut self, id: &str) {
        self.number(id);
        self.active = Some(id.to_owned());
        self.asked = None;
        self.answer_due = false;
        self.caller_speaks = false;
        // It knows everything that was taken in before it began, so there is no need for a second one, unless words
        // have to be said.
        if self.unanswered.as_ref().is_some_and(|(_, added)| *added) {
            self.unanswered = None;
            if self.wanted.as_ref().is_some_and(|wanted| wanted.words.is_none()) {
                self.wanted = None;
            }
        }
    }

    /// A response is complete, or cut off.
    pub(super) fn done(&mut self, id: Option<&str>) {
        if id.is_none() || self.active.as_deref().is_some_and(|active| active.is_empty() || Some(active) == id) {
            self.active = None;
        }
        self.failures = 0;
    }

    /// A response failed. One more attempt is made by ourselves, since the caller waits for an answer.
    pub(super) fn failed(&mut self, id: Option<&str>, again: bool) {
        let failures = self.failures + 1;
        self.done(id);
        self.failures = failures;
        if again && failures == 1 && self.wanted.is_none() {
            self.wanted = Some(Wanted { words: None });
        }
    }

    /// Our last request came while the service had just begun a response of its own.
    pub(super) fn refused(&mut self, last: Option<Wanted>) {
        self.asked = None;
        // Whichever it is: its end is waited for, so that the request is not repeated without end.
        self.active.get_or_insert_default();
        let Some(asked) = last else { return };
        let still_open = asked.words.is_some() || self.unanswered.is_some();
        if still_open && self.wanted.is_none() {
            self.wanted = Some(asked);
        }
    }

    /// A request of ours failed for another reason: it is not repeated.
    pub(super) fn forget_asked(&mut self) {
        self.asked = None;
    }

    /// The caller begins to speak, which cuts off whoever speaks.
    pub(super) fn caller_began(&mut self) {
        self.caller_speaks = true;
        self.void_through = self.last_number;
    }

    /// The caller has ended; an answer is due.
    pub(super) fn caller_ended(&mut self) {
        if std::mem::take(&mut self.caller_speaks) {
            self.answer_due = true;
        }
    }

    /// What the caller said is written down. If no answer was begun by now, none is waited for.
    pub(super) fn caller_understood(&mut self) {
        self.answer_due = false;
    }

    /// Takes in sound. `None` when it is void.
    pub(super) fn sound(&mut self, id: &str, item_id: &str, content_index: u32, bytes: u64) -> Option<i64> {
        let number = self.number(id);
        if number <= self.void_through {
            return None;
        }
        if number != self.speaking {
            self.speaking = number;
            self.spoken.clear();
        }
        if let Some(spoken) = self.spoken.iter_mut().find(|spoken| spoken.item_id == item_id) {
            spoken.bytes = spoken.bytes.saturating_add(bytes);
        } else if self.spoken.len() < ITEMS_MAX {
            self.spoken.push(Spoken { item_id: item_id.to_owned(), content_index, bytes });
        }
        Some(number)
    }

    /// The items that were cut off when only `heard_ms` of the newest response were heard: identifier, place of the
    /// sound in it, and how much of it was heard. What was heard completely is left out. Only once for each response.
    pub(super) fn cut(&mut self, heard_ms: u64) -> Vec<(String, u32, u64)> {
        let mut left_ms = heard_ms;
        let mut cut = Vec::new();
        for spoken in std::mem::take(&mut self.spoken) {
            let length_ms = spoken.bytes / BYTES_PER_MS;
            let heard = left_ms.min(length_ms);
            left_ms -= heard;
            if heard < length_ms {
                cut.push((spoken.item_id, spoken.content_index, heard));
            }
        }
        cut
    }

    /// Entries that are kept; for the test that nothing grows.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.known.len() + self.spoken.len()
    }
}
