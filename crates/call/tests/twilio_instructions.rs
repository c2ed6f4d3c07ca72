//! Call instructions: strictly valid XML with exactly the documented names, and refusal of what Twilio would refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use call::twilio::twiml::{
    Dial, Gather, GatherInput, MAX_SAY_CHARS, PARAMETER_CHARS, Play, Prompt, RejectReason, Response, Say,
    SpeechTimeout, Stream, Track, TwimlError, Verb,
};
use proptest::prelude::*;
use roxmltree::{Document, Node};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#;

/// The document, after checks that hold for every document.
fn render(response: &Response) -> String {
    let xml = response.render().unwrap();
    assert_eq!(xml.as_bytes()[0], b'<');
    let document = Document::parse(&xml).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "Response");
    for node in root.descendants().filter(Node::is_element) {
        check_names(node);
    }
    xml
}

/// Element, attribute and parent names against the documented grammar.
fn check_names(node: Node<'_, '_>) {
    let name = node.tag_name().name();
    let parent = node.parent_element().map_or("", |parent| parent.tag_name().name());
    let (parents, attributes): (&[&str], &[&str]) = match name {
        "Response" => (&[""], &[]),
        "Say" => (&["Response", "Gather"], &["language", "voice", "loop"]),
        "Play" => (&["Response", "Gather"], &["digits", "loop"]),
        "Pause" => (&["Response", "Gather"], &["length"]),
        "Hangup" => (&["Response"], &[]),
        "Reject" => (&["Response"], &["reason"]),
        "Redirect" => (&["Response"], &["method"]),
        "Connect" => (&["Response"], &["action", "method"]),
        "Start" | "Stop" => (&["Response"], &[]),
        "Stream" => (
            &["Connect", "Start", "Stop"],
            if parent == "Start" {
                &["name", "url", "track", "statusCallback", "statusCallbackMethod"]
            } else {
                &["name", "url", "statusCallback", "statusCallbackMethod"]
            },
        ),
        "Parameter" => (&["Stream"], &["name", "value"]),
        "Gather" => (
            &["Response"],
            &[
                "input",
                "action",
                "method",
                "language",
                "timeout",
                "speechTimeout",
                "numDigits",
                "finishOnKey",
                "hints",
                "actionOnEmptyResult",
                "profanityFilter",
            ],
        ),
        "Dial" => (&["Response"], &["action", "method", "timeout", "timeLimit", "answerOnBridge", "callerId"]),
        "Number" => (&["Dial"], &["url", "statusCallback", "statusCallbackEvent"]),
        other => panic!("undocumented element {other}"),
    };
    assert!(parents.contains(&parent), "{name} in {parent}");
    for attribute in node.attributes() {
        assert!(attributes.contains(&attribute.name()), "{name} {}", attribute.name());
    }
}

fn stream() -> Stream {
    Stream::new("wss://hv.example.org/twilio/media/TOKEN")
}

#[test]
fn documented_inbound_call() {
    let xml = render(
        &Response::new()
            .start(
                Track::Both,
                Stream::new("wss://hv.example.org/twilio/fork/TOKEN")
                    .name("fork-1")
                    .status_callback("https://hv.example.org/twilio/stream/status")
                    .parameter("visit", "42"),
            )
            .say(Say::new("This call is monitored by your heart team.").language("en-US").voice("Polly.Joanna-Neural"))
            .connect(
                Some("https://hv.example.org/twilio/voice/after-agent?visit=42&x=1".to_owned()),
                stream()
                    .name("agent-1")
                    .status_callback("https://hv.example.org/twilio/stream/status")
                    .parameter("visit", "42")
                    .parameter("lang", "en-US"),
            )
            .redirect("https://hv.example.org/twilio/voice/script?visit=42&step=0"),
    );
    assert_eq!(
        xml,
        format!(
            "{HEAD}\
             <Start><Stream name=\"fork-1\" url=\"wss://hv.example.org/twilio/fork/TOKEN\" track=\"both_tracks\" \
             statusCallback=\"https://hv.example.org/twilio/stream/status\"><Parameter name=\"visit\" value=\"42\"/></Stream></Start>\
             <Say language=\"en-US\" voice=\"Polly.Joanna-Neural\">This call is monitored by your heart team.</Say>\
             <Connect action=\"https://hv.example.org/twilio/voice/after-agent?visit=42&amp;x=1\" method=\"POST\">\
             <Stream name=\"agent-1\" url=\"wss://hv.example.org/twilio/media/TOKEN\" \
             statusCallback=\"https://hv.example.org/twilio/stream/status\"><Parameter name=\"visit\" value=\"42\"/>\
             <Parameter name=\"lang\" value=\"en-US\"/></Stream></Connect>\
             <Redirect method=\"POST\">https://hv.example.org/twilio/voice/script?visit=42&amp;step=0</Redirect></Response>"
        )
    );
}

#[test]
fn documented_question() {
    let mut gather =
        Gather::new(GatherInput::SpeechOrDtmf, "https://hv.example.org/twilio/gather?visit=42&step=weight")
            .prompt(Prompt::Say(Say::new("¿Cuánto pesó esta mañana?").language("es-US").voice("Polly.Lupe-Neural")))
            .prompt(Prompt::Pause { seconds: 1 })
            .prompt(Prompt::Play(Play::Url("https://hv.example.org/beep.wav".into())));
    gather.language = Some("es-US".into());
    gather.timeout_s = Some(6);
    gather.speech_timeout = Some(SpeechTimeout::Seconds(2));
    gather.num_digits = Some(3);
    gather.finish_on_key = Some("#".into());
    gather.hints = vec!["libras".into(), "kilos".into()];
    assert_eq!(
        render(&Response::new().gather(gather)),
        format!(
            "{HEAD}<Gather input=\"speech dtmf\" action=\"https://hv.example.org/twilio/gather?visit=42&amp;step=weight\" \
             method=\"POST\" language=\"es-US\" timeout=\"6\" speechTimeout=\"2\" numDigits=\"3\" finishOnKey=\"#\" \
             hints=\"libras, kilos\" actionOnEmptyResult=\"true\" profanityFilter=\"false\">\
             <Say language=\"es-US\" voice=\"Polly.Lupe-Neural\">¿Cuánto pesó esta mañana?</Say><Pause length=\"1\"/>\
             <Play>https://hv.example.org/beep.wav</Play></Gather></Response>"
        )
    );
}

#[test]
fn documented_nurse_line() {
    let mut dial = Dial::new("+15005550020");
    dial.action = Some("https://hv.example.org/twilio/dial-result?visit=42".into());
    dial.timeout_s = Some(20);
    dial.time_limit_s = Some(1800);
    dial.caller_id = Some("+15005550010".into());
    dial.number_url = Some("https://hv.example.org/twilio/whisper?visit=42".into());
    dial.number_status_callback = Some("https://hv.example.org/twilio/voice/status".into());
    assert_eq!(
        render(&Response::new().dial(dial)),
        format!(
            "{HEAD}<Dial action=\"https://hv.example.org/twilio/dial-result?visit=42\" method=\"POST\" timeout=\"20\" \
             timeLimit=\"1800\" answerOnBridge=\"true\" callerId=\"+15005550010\">\
             <Number url=\"https://hv.example.org/twilio/whisper?visit=42\" \
             statusCallback=\"https://hv.example.org/twilio/voice/status\" \
             statusCallbackEvent=\"initiated ringing answered completed\">+15005550020</Number></Dial></Response>"
        )
    );
}

#[test]
fn small_verbs() {
    assert_eq!(render(&Response::new()), format!("{HEAD}</Response>"));
    assert_eq!(
        render(&Response::new().verb(Verb::Stop { name: "fork-1".into() }).pause(2).hangup()),
        format!("{HEAD}<Stop><Stream name=\"fork-1\"/></Stop><Pause length=\"2\"/><Hangup/></Response>")
    );
    assert_eq!(
        render(&Response::new().verb(Verb::Reject { reason: RejectReason::Busy })),
        format!("{HEAD}<Reject reason=\"busy\"/></Response>")
    );
    assert_eq!(
        render(&Response::new().verb(Verb::Reject { reason: RejectReason::Rejected })),
        format!("{HEAD}<Reject reason=\"rejected\"/></Response>")
    );
    assert_eq!(
        render(&Response::new().verb(Verb::Play(Play::Digits("1w2#".into())))),
        format!("{HEAD}<Play digits=\"1w2#\"/></Response>")
    );
    assert_eq!(
        render(&Response::new().connect(None, stream())),
        format!("{HEAD}<Connect><Stream url=\"wss://hv.example.org/twilio/media/TOKEN\"/></Connect></Response>")
    );
    for (track, word) in [(Track::Inbound, "inbound_track"), (Track::Outbound, "outbound_track")] {
        assert!(render(&Response::new().start(track, stream())).contains(&format!("track=\"{word}\"")));
    }
}

#[test]
fn a_question_reports_empty_answers_and_keeps_words_by_default() {
    let xml = render(&Response::new().gather(Gather::new(GatherInput::Dtmf, "/a")));
    assert!(xml.contains("actionOnEmptyResult=\"true\"") && xml.contains("profanityFilter=\"false\""), "{xml}");
    assert!(xml.contains("input=\"dtmf\""));
    let mut gather = Gather::new(GatherInput::Speech, "/a");
    gather.speech_timeout = Some(SpeechTimeout::Auto);
    gather.finish_on_key = Some(String::new());
    let xml = render(&Response::new().gather(gather));
    assert!(xml.contains("speechTimeout=\"auto\" finishOnKey=\"\""), "{xml}");
}

#[test]
fn everything_is_escaped() {
    let xml =
        render(&Response::new().say(Say::new("a & b < c > d \" e ' f ]]> g\r\nh")).connect(
            Some("https://h/?a=1&b='2'\"<>".into()),
            stream().name("n&<>\"'").parameter("p\"&'", "v\t\n\r<&>"),
        ));
    let document = Document::parse(&xml).unwrap();
    let find = |name: &str| document.descendants().find(|node| node.has_tag_name(name)).unwrap();
    assert_eq!(find("Say").text(), Some("a & b < c > d \" e ' f ]]> g\r\nh"));
    assert_eq!(find("Connect").attribute("action"), Some("https://h/?a=1&b='2'\"<>"));
    assert_eq!(find("Stream").attribute("name"), Some("n&<>\"'"));
    assert_eq!(find("Parameter").attribute("name"), Some("p\"&'"));
    assert_eq!(find("Parameter").attribute("value"), Some("v\t\n\r<&>"));
}

#[test]
fn characters_xml_cannot_carry_are_spoken_as_blanks() {
    let xml = render(&Response::new().say(Say::new("a\u{0}b\u{b}c\u{1f}d\u{fffe}e\u{ffff}f")));
    assert!(xml.contains("<Say>a b c d e f</Say>"));
}

#[test]
fn lengths_of_speech() {
    assert!(Response::new().say(Say::new("é".repeat(MAX_SAY_CHARS))).render().is_ok());
    for text in [String::new(), "  \n".to_owned(), "é".repeat(MAX_SAY_CHARS + 1)] {
        assert_eq!(Response::new().say(Say::new(text)).render(), Err(TwimlError::SayLength));
    }
    let inside = Gather::new(GatherInput::Dtmf, "/a").prompt(Prompt::Say(Say::new("")));
    assert_eq!(Response::new().gather(inside).render(), Err(TwimlError::SayLength));
}

#[test]
fn lengths_of_parameters() {
    let with = |name: &str, value: &str| Response::new().connect(None, stream().parameter(name, value)).render();
    let fits = "é".repeat(PARAMETER_CHARS - 5);
    assert!(with("name", &fits).is_ok());
    assert_eq!(with("names", &fits), Err(TwimlError::Parameter));
    assert_eq!(with("", "value"), Err(TwimlError::Parameter));
    assert_eq!(with("a", "\u{0}"), Err(TwimlError::Parameter));
    assert!(with("a", "").is_ok());
}

#[test]
fn addresses_of_streams() {
    let with = |url: &str| Response::new().connect(None, Stream::new(url)).render();
    assert!(with("wss://hv.example.org/x").is_ok());
    assert!(with("ws://127.0.0.1:18080/x").is_ok());
    for url in [
        "",
        "wss://",
        "https://hv.example.org/x",
        "hv.example.org/x",
        "wss://hv.example.org/x?visit=42",
        "wss://hv.example.org/x#y",
        "wss://hv.example.org/x y",
        " wss://hv.example.org/x",
        "WSS://hv.example.org/x",
    ] {
        assert_eq!(with(url), Err(TwimlError::StreamUrl), "{url}");
    }
}

#[test]
fn other_addresses_and_numbers() {
    for url in ["", "https://h/a b", "https://h/\n", "\u{0}"] {
        assert_eq!(Response::new().redirect(url).render(), Err(TwimlError::Url), "{url:?}");
        assert_eq!(Response::new().verb(Verb::Play(Play::Url(url.into()))).render(), Err(TwimlError::Url));
        assert_eq!(Response::new().gather(Gather::new(GatherInput::Dtmf, url)).render(), Err(TwimlError::Url));
        assert_eq!(Response::new().connect(Some(url.into()), stream()).render(), Err(TwimlError::Url));
        assert_eq!(Response::new().connect(None, stream().status_callback(url)).render(), Err(TwimlError::Url));
    }
    for number in ["", "+", "12", "+1500555002x", "nurse", "+1 500 555", "1234567890123456", "٣٣٣٣"] {
        assert_eq!(Response::new().dial(Dial::new(number)).render(), Err(TwimlError::Number), "{number}");
    }
    assert!(Response::new().dial(Dial::new("911")).render().is_ok());
}

#[test]
fn other_limits() {
    let gather = |change: &dyn Fn(&mut Gather)| {
        let mut gather = Gather::new(GatherInput::SpeechOrDtmf, "/a");
        change(&mut gather);
        Response::new().gather(gather).render()
    };
    assert_eq!(gather(&|g| g.num_digits = Some(0)), Err(TwimlError::Digits));
    assert_eq!(gather(&|g| g.finish_on_key = Some("x".into())), Err(TwimlError::Digits));
    assert_eq!(gather(&|g| g.hints = vec!["a, b".into()]), Err(TwimlError::Hints));
    assert_eq!(gather(&|g| g.hints = vec![String::new()]), Err(TwimlError::Hints));
    assert_eq!(gather(&|g| g.hints = vec!["x".repeat(101)]), Err(TwimlError::Hints));
    assert_eq!(gather(&|g| g.hints = vec!["x".into(); 501]), Err(TwimlError::Hints));
    assert!(gather(&|g| g.hints = vec!["x".repeat(100); 500]).is_ok());
    assert_eq!(gather(&|g| g.language = Some(String::new())), Err(TwimlError::Attribute));
    assert_eq!(Response::new().connect(None, stream().name("")).render(), Err(TwimlError::Attribute));
    assert_eq!(Response::new().connect(None, stream().name("a\nb")).render(), Err(TwimlError::Attribute));
    for digits in ["", "x", "1 2"] {
        assert_eq!(Response::new().verb(Verb::Play(Play::Digits(digits.into()))).render(), Err(TwimlError::Digits));
    }
    let late = Response::new().pause(1).verb(Verb::Reject { reason: RejectReason::Busy });
    assert_eq!(late.render(), Err(TwimlError::RejectNotFirst));
}

fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

proptest! {
    #[test]
    fn any_words_are_carried_unchanged(text in any::<String>()) {
        match Response::new().say(Say::new(text.clone())).render() {
            Ok(xml) => {
                let document = Document::parse(&xml).unwrap();
                let expected: String = text.chars().map(|c| if is_xml(c) { c } else { ' ' }).collect();
                prop_assert_eq!(document.root_element().first_element_child().unwrap().text(), Some(expected.as_str()));
            }
            Err(error) => {
                prop_assert_eq!(error, TwimlError::SayLength);
                prop_assert!(text.trim().is_empty() || text.chars().count() > MAX_SAY_CHARS);
            }
        }
    }

    #[test]
    fn any_parameter_is_carried_unchanged_or_refused(name in any::<String>(), value in any::<String>()) {
        if let Ok(xml) = Response::new().connect(None, stream().parameter(name.clone(), value.clone())).render() {
            let document = Document::parse(&xml).unwrap();
            let parameter = document.descendants().find(|node| node.has_tag_name("Parameter")).unwrap();
            prop_assert_eq!(parameter.attribute("name"), Some(name.as_str()));
            prop_assert_eq!(parameter.attribute("value"), Some(value.as_str()));
        }
    }

    #[test]
    fn any_attribute_is_carried_unchanged_or_refused(text in any::<String>()) {
        let mut dial = Dial::new("911");
        dial.action = Some(text.clone());
        dial.caller_id = Some(text.clone());
        let mut gather = Gather::new(GatherInput::Dtmf, text.clone());
        gather.language = Some(text.clone());
        gather.hints = vec![text.clone()];
        for response in [
            Response::new().redirect(text.clone()),
            Response::new().connect(Some(text.clone()), stream()),
            Response::new().connect(None, stream().name(text.clone())),
            Response::new().connect(None, Stream::new(format!("wss://h/{text}"))),
            Response::new().say(Say::new("x").voice(text.clone()).language(text.clone())),
            Response::new().gather(gather),
            Response::new().dial(dial),
            Response::new().verb(Verb::Stop { name: text.clone() }),
        ] {
            if let Ok(xml) = response.render() {
                let document = Document::parse(&xml).unwrap();
                let carried = document.descendants().any(|node| {
                    node.text() == Some(&text)
                        || node.attributes().any(|attribute| attribute.value().trim_start_matches("wss://h/") == text)
                });
                prop_assert!(carried || text.starts_with("wss://h/"), "{}", xml);
            }
        }
    }
}
