//! TwiML: strict reading of documents into verbs.

use roxmltree::{Document, Node};
use std::time::Duration;

/// A media stream asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSpec {
    /// `ws://` or `wss://` address.
    pub url: String,
    /// Name; empty when unnamed.
    pub name: String,
    /// `inbound_track`, `outbound_track` or `both_tracks`.
    pub track: String,
    /// Status callback.
    pub status_callback: Option<String>,
    /// Custom parameters.
    pub parameters: Vec<(String, String)>,
}

/// A `<Gather>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherSpec {
    /// Whether speech counts.
    pub speech: bool,
    /// Whether keys count.
    pub dtmf: bool,
    /// Where the result goes; the current document without one.
    pub action: Option<String>,
    /// `POST` or `GET`.
    pub method: String,
    /// Whether `action` is asked even when nothing came.
    pub action_on_empty: bool,
    /// Silence before giving up.
    pub timeout: Duration,
    /// Silence that ends speech.
    pub speech_timeout: Duration,
    /// Keys that end it; 0 for any number.
    pub num_digits: usize,
    /// Key that ends it.
    pub finish_on_key: String,
    /// What is said meanwhile.
    pub prompts: Vec<Verb>,
}

/// One verb.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Say { text: String, language: String },
    Pause { length: Duration },
    Play { url: String, digits: String },
    Gather(GatherSpec),
    Connect { stream: StreamSpec, action: Option<String>, method: String },
    StartStream(StreamSpec),
    StopStream { name: String },
    Redirect { url: String, method: String },
    Dial { numbers: Vec<String>, action: Option<String>, method: String, timeout: Duration },
    Record { action: Option<String>, method: String, max_length: Duration, timeout: Duration },
    Hangup,
    Reject { reason: String },
}

/// Why a document is not usable, or not quite right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// 12100, 12200, 12300, 31941, ...
    pub code: u32,
    /// What is wrong.
    pub detail: String,
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Twiml {
    /// Verbs in order.
    pub verbs: Vec<Verb>,
    /// What was ignored.
    pub warnings: Vec<Problem>,
}

/// Reads a document as it came over HTTP.
///
/// # Errors
/// 12300 for a wrong Content-Type, 12100 for XML that is not well formed or does not start with `<`.
pub fn parse(body: &str, content_type: &str) -> Result<Twiml, Problem> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(kind.as_str(), "text/xml" | "application/xml" | "text/html") {
        return Err(problem(12300, format!("Content-Type '{content_type}'")));
    }
    parse_document(body)
}

/// Reads a document given as text.
///
/// # Errors
/// 12100 for XML that is not well formed or does not start with `<`.
pub fn parse_document(body: &str) -> Result<Twiml, Problem> {
    if !body.starts_with('<') {
        return Err(problem(12100, "the body does not start with '<'".to_owned()));
    }
    let document = Document::parse(body).map_err(|error| problem(12100, error.to_string()))?;
    let root = document.root_element();
    if root.tag_name().name() != "Response" {
        return Err(problem(12100, format!("root element <{}>", root.tag_name().name())));
    }
    let mut twiml = Twiml::default();
    let mut first = true;
    for node in elements(root) {
        verb(node, first, &mut twiml);
        first = false;
    }
    Ok(twiml)
}

fn verb(node: Node<'_, '_>, first: bool, out: &mut Twiml) {
    let name = node.tag_name().name();
    match name {
        "Say" | "Pause" | "Play" => out.verbs.extend(simple(node)),
        "Gather" => out.verbs.push(Verb::Gather(gather(node))),
        "Connect" => match elements(node).find(|child| child.tag_name().name() == "Stream") {
            Some(child) => {
                let stream = stream(child);
                if !matches!(stream.track.as_str(), "" | "inbound_track") {
                    out.warnings.push(problem(31941, format!("track '{}' on <Connect>", stream.track)));
                    // The call dies here, as it does on the real service.
                    out.verbs.push(Verb::Hangup);
                    return;
                }
                let (action, method) = action(node);
                out.verbs.push(Verb::Connect { stream, action, method });
            }
            None => out.warnings.push(problem(12200, "<Connect> without <Stream>".to_owned())),
        },
        "Start" => {
            for child in elements(node) {
                match child.tag_name().name() {
                    "Stream" => out.verbs.push(Verb::StartStream(stream(child))),
                    "Recording" | "Transcription" | "Siprec" => {}
                    other => out.warnings.push(problem(12200, format!("<{other}> in <Start>"))),
                }
            }
        }
        "Stop" => {
            for child in elements(node).filter(|child| child.tag_name().name() == "Stream") {
                out.verbs.push(Verb::StopStream { name: attribute(child, "name") });
            }
        }
        "Redirect" => out.verbs.push(Verb::Redirect { url: text(node), method: method(node, "method") }),
        "Dial" => {
            let mut numbers: Vec<String> = elements(node).map(text).collect();
            if numbers.is_empty() {
                numbers.push(text(node));
            }
            let (action, method) = action(node);
            out.verbs.push(Verb::Dial { numbers, action, method, timeout: seconds(node, "timeout", 30) });
        }
        "Record" => {
            let (action, method) = action(node);
            let (max_length, timeout) = (seconds(node, "maxLength", 3_600), seconds(node, "timeout", 5));
            out.verbs.push(Verb::Record { action, method, max_length, timeout });
        }
        "Hangup" => out.verbs.push(Verb::Hangup),
        "Reject" if first => out.verbs.push(Verb::Reject { reason: or(attribute(node, "reason"), "rejected") }),
        "Reject" => out.warnings.push(problem(12200, "<Reject> must come first".to_owned())),
        _ => out.warnings.push(problem(12200, format!("unknown verb <{name}>"))),
    }
}

fn simple(node: Node<'_, '_>) -> Option<Verb> {
    match node.tag_name().name() {
        "Say" => Some(Verb::Say { text: text(node), language: or(attribute(node, "language"), "en-US") }),
        "Pause" => Some(Verb::Pause { length: seconds(node, "length", 1) }),
        "Play" => Some(Verb::Play { url: text(node), digits: attribute(node, "digits") }),
        _ => None,
    }
}

fn gather(node: Node<'_, '_>) -> GatherSpec {
    let input = or(attribute(node, "input"), "dtmf");
    let timeout = seconds(node, "timeout", 5);
    let speech_timeout = match attribute(node, "speechTimeout").as_str() {
        "auto" => Duration::from_millis(800),
        "" => timeout,
        value => value.parse().map_or(timeout, Duration::from_secs),
    };
    let (action, method) = action(node);
    GatherSpec {
        speech: input.split(' ').any(|kind| kind == "speech"),
        dtmf: input.split(' ').any(|kind| kind == "dtmf"),
        action,
        method,
        action_on_empty: attribute(node, "actionOnEmptyResult") == "true",
        timeout,
        speech_timeout,
        num_digits: attribute(node, "numDigits").parse().unwrap_or(0),
        finish_on_key: node.attribute("finishOnKey").unwrap_or("#").to_owned(),
        prompts: elements(node).filter_map(simple).collect(),
    }
}

fn stream(node: Node<'_, '_>) -> StreamSpec {
    let parameters = elements(node)
        .filter(|child| child.tag_name().name() == "Parameter")
        .map(|child| (attribute(child, "name"), attribute(child, "value")))
        .collect();
    StreamSpec {
        url: attribute(node, "url"),
        name: attribute(node, "name"),
        track: attribute(node, "track"),
        status_callback: node.attribute("statusCallback").map(str::to_owned),
        parameters,
    }
}

fn elements<'a, 'i: 'a>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

fn attribute(node: Node<'_, '_>, name: &str) -> String {
    node.attribute(name).unwrap_or_default().to_owned()
}

fn or(value: String, default: &str) -> String {
    if value.is_empty() { default.to_owned() } else { value }
}

fn method(node: Node<'_, '_>, name: &str) -> String {
    or(attribute(node, name), "POST").to_ascii_uppercase()
}

fn action(node: Node<'_, '_>) -> (Option<String>, String) {
    (node.attribute("action").map(str::to_owned), method(node, "method"))
}

fn seconds(node: Node<'_, '_>, name: &str, default: u64) -> Duration {
    Duration::from_secs(node.attribute(name).and_then(|value| value.trim().parse().ok()).unwrap_or(default))
}

/// All text inside, SSML elements included, with single blanks.
fn text(node: Node<'_, '_>) -> String {
    let all: String = node.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect();
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn problem(code: u32, detail: String) -> Problem {
    Problem { code, detail }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const AGENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response><Say language="en-US" voice="Polly.Joanna-Neural">Thank you. Please   hold.</Say><Start><Stream name="hv-fork" track="both_tracks" url="wss://hv.example.org/twilio/fork"><Parameter name="visit" value="42" /></Stream></Start><Connect action="https://hv.example.org/after?visit=42&amp;x=1" method="POST"><Stream name="hv-agent" statusCallback="https://hv.example.org/status" url="wss://hv.example.org/media/3f1c"><Parameter name="lang" value="en-US" /></Stream></Connect><Redirect method="POST">https://hv.example.org/fallback?a=1&amp;b=2</Redirect></Response>"#;

    #[test]
    fn an_agent_call_is_read() {
        let twiml = parse(AGENT, "text/xml; charset=utf-8").unwrap();
        assert_eq!(twiml.warnings, []);
        assert_eq!(twiml.verbs[0], Verb::Say { text: "Thank you. Please hold.".into(), language: "en-US".into() });
        let Verb::Connect { stream, action, .. } = &twiml.verbs[2] else { panic!("{:?}", twiml.verbs) };
        assert_eq!(action.as_deref(), Some("https://hv.example.org/after?visit=42&x=1"));
        assert_eq!(stream.parameters, [("lang".to_owned(), "en-US".to_owned())]);
        assert_eq!(
            twiml.verbs[3],
            Verb::Redirect { url: "https://hv.example.org/fallback?a=1&b=2".into(), method: "POST".into() }
        );
    }

    #[test]
    fn a_gather_is_read() {
        let twiml = parse_document(
            r##"<Response><Gather input="speech dtmf" action="/g" timeout="6" speechTimeout="2" numDigits="3" actionOnEmptyResult="true"><Say>Weight?</Say></Gather></Response>"##,
        )
        .unwrap();
        let Verb::Gather(gather) = &twiml.verbs[0] else { panic!() };
        assert!(gather.speech && gather.dtmf && gather.action_on_empty);
        assert_eq!((gather.num_digits, gather.finish_on_key.as_str()), (3, "#"));
        assert_eq!(gather.prompts.len(), 1);
    }

    #[test]
    fn what_twilio_refuses_is_refused() {
        let code = |body: &str, kind: &str| parse(body, kind).map_err(|p| p.code);
        assert_eq!(code("\n<?xml version=\"1.0\"?><Response/>", "text/xml"), Err(12100));
        assert_eq!(code("<Response><Say>a & b</Say></Response>", "text/xml"), Err(12100));
        assert_eq!(code("<Response><Say>a</Response>", "text/xml"), Err(12100));
        assert_eq!(code("<response/>", "text/xml"), Err(12100));
        assert_eq!(code("<Response/>", "application/json"), Err(12300));
        assert_eq!(code("", "text/xml"), Err(12100));
        assert_eq!(parse("<Response/>", "application/xml"), Ok(Twiml::default()));
    }

    #[test]
    fn both_tracks_on_connect_kills_the_call() {
        let twiml =
            parse_document(r#"<Response><Connect><Stream url="wss://x/" track="both_tracks"/></Connect></Response>"#);
        let twiml = twiml.unwrap();
        assert_eq!(twiml.warnings[0].code, 31941);
        assert_eq!(twiml.verbs, [Verb::Hangup]);
    }

    #[test]
    fn unknown_verbs_are_warned_about() {
        let twiml = parse_document("<Response><Sing/><Hangup/></Response>").unwrap();
        assert_eq!((twiml.warnings[0].code, &twiml.verbs[0]), (12200, &Verb::Hangup));
    }
}
