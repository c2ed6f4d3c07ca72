//! Runs TwiML: which thing comes next, and where its result goes. Knows neither sockets nor the clock.

use super::twiml::{GatherSpec, StreamSpec, Verb};
use std::collections::VecDeque;
use std::time::Duration;

/// A document to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Absolute address.
    pub url: String,
    /// `POST` or `GET`.
    pub method: String,
    /// Fields beyond the standard ones.
    pub fields: Vec<(String, String)>,
}

/// What the call has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// Fetch a document and [`Engine::load`] it.
    Fetch(Fetch),
    /// These take time; tell [`Engine::finished`] when they are over.
    Say {
        text: String,
    },
    Pause(Duration),
    Play {
        url: String,
        digits: String,
    },
    Gather(GatherSpec),
    Connect(StreamSpec),
    Dial {
        numbers: Vec<String>,
        timeout: Duration,
    },
    Record {
        max_length: Duration,
        timeout: Duration,
    },
    /// These do not; ask for the next action at once.
    StartFork(StreamSpec),
    StopFork(String),
    /// The call is over.
    Hangup,
    Reject(String),
    /// The document has no more verbs, which ends the call.
    End,
}

/// How an action that takes time ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is over, and nothing is reported.
    Done,
    /// Fields for the `action` address.
    Fields(Vec<(String, String)>),
    /// A gather that got nothing.
    Empty,
}

/// Where the outcome of the running action goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    action: Option<String>,
    method: String,
    /// Whether an empty outcome is reported as well.
    on_empty: bool,
    /// Whether, without an `action`, the current document is asked again.
    loops: bool,
}

/// The documents of one call.
#[derive(Debug)]
pub struct Engine {
    url: String,
    verbs: VecDeque<Verb>,
    pending: Option<Pending>,
    fetch: Option<Fetch>,
}

impl Engine {
    /// A call that begins by fetching `url`.
    #[must_use]
    pub fn new(url: &str, method: &str) -> Self {
        let fetch = Fetch { url: url.to_owned(), method: method.to_owned(), fields: Vec::new() };
        Self { url: url.to_owned(), verbs: VecDeque::new(), pending: None, fetch: Some(fetch) }
    }

    /// Replaces whatever was running by the verbs of the document at `url`.
    pub fn load(&mut self, url: &str, verbs: Vec<Verb>) {
        self.url = url.to_owned();
        self.verbs = verbs.into();
        self.pending = None;
        self.fetch = None;
    }

    /// Replaces whatever was running by a document to be fetched.
    pub fn redirect(&mut self, url: &str, method: &str) {
        self.verbs.clear();
        self.pending = None;
        self.fetch = Some(self.to(url, method, Vec::new()));
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Action {
        if let Some(fetch) = self.fetch.take() {
            return Action::Fetch(fetch);
        }
        let Some(verb) = self.verbs.pop_front() else { return Action::End };
        match verb {
            Verb::Say { text, .. } => Action::Say { text },
            Verb::Pause { length } => Action::Pause(length),
            Verb::Play { url, digits } => Action::Play { url, digits },
            Verb::Gather(gather) => {
                self.expect(gather.action.clone(), &gather.method, gather.action_on_empty, true);
                Action::Gather(gather)
            }
            Verb::Connect { stream, action, method } => {
                self.expect(action, &method, true, false);
                Action::Connect(stream)
            }
            Verb::StartStream(stream) => Action::StartFork(stream),
            Verb::StopStream { name } => Action::StopFork(name),
            Verb::Redirect { url, method } => Action::Fetch(self.to(&url, &method, Vec::new())),
            Verb::Dial { numbers, action, method, timeout } => {
                self.expect(action, &method, true, false);
                Action::Dial { numbers, timeout }
            }
            Verb::Record { action, method, max_length, timeout } => {
                self.expect(action, &method, false, true);
                Action::Record { max_length, timeout }
            }
            Verb::Hangup => Action::Hangup,
            Verb::Reject { reason } => Action::Reject(reason),
        }
    }

    /// The running action is over.
    pub fn finished(&mut self, outcome: Outcome) {
        let Some(pending) = self.pending.take() else { return };
        let fields = match outcome {
            Outcome::Fields(fields) => fields,
            Outcome::Done | Outcome::Empty if pending.on_empty => Vec::new(),
            Outcome::Done | Outcome::Empty => return,
        };
        let url = match pending.action {
            Some(action) => action,
            None if pending.loops => self.url.clone(),
            None => return,
        };
        // With an action, what follows in the document is never reached.
        self.verbs.clear();
        self.fetch = Some(self.to(&url, &pending.method, fields));
    }

    fn expect(&mut self, action: Option<String>, method: &str, on_empty: bool, loops: bool) {
        self.pending = Some(Pending { action, method: method.to_owned(), on_empty, loops });
    }

    fn to(&self, url: &str, method: &str, fields: Vec<(String, String)>) -> Fetch {
        let absolute = reqwest::Url::parse(&self.url).and_then(|base| base.join(url)).map(String::from);
        // An absolute address is used as given: parsing could change what is signed.
        let url = if url.contains("://") { url.to_owned() } else { absolute.unwrap_or_else(|_| url.to_owned()) };
        Fetch { url, method: method.to_owned(), fields }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::twilio::twiml::parse_document;

    fn engine(body: &str) -> Engine {
        let mut engine = Engine::new("https://hv.example.org/twilio/voice?x=1", "POST");
        assert!(matches!(engine.next_action(), Action::Fetch(_)));
        engine.load("https://hv.example.org/twilio/voice?x=1", parse_document(body).unwrap().verbs);
        engine
    }

    #[test]
    fn connect_blocks_and_its_action_replaces_the_rest() {
        let mut engine = engine(
            r#"<Response><Connect action="/after?visit=42"><Stream url="wss://h/m"/></Connect><Say>never</Say></Response>"#,
        );
        assert!(matches!(engine.next_action(), Action::Connect(_)));
        engine.finished(Outcome::Done);
        let Action::Fetch(fetch) = engine.next_action() else { panic!() };
        assert_eq!((fetch.url.as_str(), fetch.method.as_str()), ("https://hv.example.org/after?visit=42", "POST"));
        assert_eq!(engine.next_action(), Action::End);
    }

    #[test]
    fn without_action_the_next_verb_runs() {
        let mut engine = engine(
            r#"<Response><Start><Stream url="wss://h/f"/></Start><Connect><Stream url="wss://h/m"/></Connect><Hangup/></Response>"#,
        );
        assert!(matches!(engine.next_action(), Action::StartFork(_)));
        assert!(matches!(engine.next_action(), Action::Connect(_)));
        engine.finished(Outcome::Done);
        assert_eq!(engine.next_action(), Action::Hangup);
    }

    #[test]
    fn gather_reports_loops_or_goes_on() {
        let say = |attributes: &str| {
            let body = format!("<Response><Gather {attributes}><Say>?</Say></Gather><Hangup/></Response>");
            let mut engine = engine(&body);
            assert!(matches!(engine.next_action(), Action::Gather(_)));
            engine
        };
        let mut empty = say(r#"action="/g""#);
        empty.finished(Outcome::Empty);
        assert_eq!(empty.next_action(), Action::Hangup);
        let mut reported = say(r#"action="/g" actionOnEmptyResult="true""#);
        reported.finished(Outcome::Empty);
        assert!(matches!(reported.next_action(), Action::Fetch(f) if f.url.ends_with("/g") && f.fields.is_empty()));
        let mut digits = say("");
        digits.finished(Outcome::Fields(vec![("Digits".into(), "1".into())]));
        assert!(
            matches!(digits.next_action(), Action::Fetch(f) if f.url.ends_with("/voice?x=1") && f.fields.len() == 1)
        );
    }

    #[test]
    fn a_redirect_from_outside_replaces_everything() {
        let mut engine = engine("<Response><Pause length=\"60\"/></Response>");
        assert_eq!(engine.next_action(), Action::Pause(Duration::from_secs(60)));
        engine.redirect("https://hv.example.org/script", "POST");
        engine.finished(Outcome::Done);
        assert!(matches!(engine.next_action(), Action::Fetch(f) if f.url == "https://hv.example.org/script"));
    }
}
