//! The Realtime API as a member of the chain: the session of the running conversation, and what another one would begin
//! with.

use super::{RealtimeSession, RealtimeSetup};
use std::collections::VecDeque;

/// Functions that are the service's own elsewhere: nobody else has to answer them.
const OWN_TOOLS: [&str; 3] = ["end_call", "voicemail_detection", "language_detection"];

/// The conversation with a model of the Realtime API.
#[derive(Debug, Clone)]
pub struct RealtimeLeg {
    setup: RealtimeSetup,
    greeting: String,
    opening: Option<String>,
    session: RealtimeSession,
    waiting: VecDeque<String>,
}

impl RealtimeLeg {
    /// A conversation that has not begun. Unless it goes on where another one stopped, it begins with `greeting`, because
    /// the model does not speak first by itself.
    #[must_use]
    pub fn new(setup: RealtimeSetup, greeting: String) -> Self {
        let session = RealtimeSession::new(setup.clone());
        Self { setup, greeting, opening: None, session, waiting: VecDeque::new() }
    }

    /// The conversation that begins next is held in another language than the one it was set up for.
    pub(crate) fn set_language(&mut self, language: &str) {
        if self.setup.language == language {
            return;
        }
        language.clone_into(&mut self.setup.language);
        let spoken = format!(" The patient has changed the language to {language}: speak only {language}.");
        self.setup.instructions.push_str(&spoken);
        self.session = RealtimeSession::new(self.setup.clone());
    }

    /// What it begins with instead of the greeting.
    pub(crate) fn open_with(&mut self, words: Option<String>) {
        self.opening = words;
    }

    /// A new socket: nothing of the conversation before counts.
    pub(crate) fn begin(&mut self) {
        self.session = RealtimeSession::new(self.setup.clone());
        self.waiting.clear();
    }

    /// The socket is open.
    pub(crate) fn hello(&mut self) {
        self.session.hello();
        let words = self.opening.as_deref().unwrap_or(&self.greeting);
        self.session.open_with(words);
    }

    /// The running conversation.
    pub(crate) fn session(&mut self) -> &mut RealtimeSession {
        &mut self.session
    }

    /// See [`Self::session`].
    pub(crate) fn session_ref(&self) -> &RealtimeSession {
        &self.session
    }

    /// What has to be sent now.
    pub(crate) fn next_message(&mut self) -> Option<String> {
        self.waiting.extend(self.session.frames());
        self.waiting.pop_front()
    }

    /// Whether a tool is one that the call itself answers.
    pub(crate) fn owns(name: &str) -> bool {
        OWN_TOOLS.contains(&name)
    }
}
