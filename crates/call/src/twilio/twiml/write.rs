//! Writing call instructions as XML, checked as Twilio checks them.

use std::fmt::Write as _;

use super::*;

pub(super) fn write_verb(xml: &mut Xml, verb: &Verb) -> Result<(), TwimlError> {
    match verb {
        Verb::Say(say) => write_say(xml, say)?,
        Verb::Play(play) => write_play(xml, play)?,
        Verb::Pause { seconds } => write_pause(xml, *seconds),
        Verb::Gather(gather) => write_gather(xml, gather)?,
        Verb::Connect { action, stream } => {
            xml.open("Connect");
            if let Some(action) = action {
                xml.attribute("action", checked_url(action)?);
                xml.attribute("method", "POST");
            }
            xml.0.push('>');
            write_stream(xml, stream, None)?;
            xml.close("Connect");
        }
        Verb::Start { track, stream } => {
            xml.0.push_str("<Start>");
            write_stream(xml, stream, Some(*track))?;
            xml.close("Start");
        }
        Verb::Stop { name } => {
            xml.0.push_str("<Stop>");
            xml.open("Stream");
            xml.attribute("name", checked_attribute(name)?);
            xml.0.push_str("/>");
            xml.close("Stop");
        }
        Verb::Dial(dial) => write_dial(xml, dial)?,
        Verb::Redirect { url } => {
            xml.open("Redirect");
            xml.attribute("method", "POST");
            xml.0.push('>');
            xml.text(checked_url(url)?);
            xml.close("Redirect");
        }
        Verb::Reject { reason } => {
            xml.open("Reject");
            xml.attribute("reason", if *reason == RejectReason::Busy { "busy" } else { "rejected" });
            xml.0.push_str("/>");
        }
        Verb::Hangup => xml.0.push_str("<Hangup/>"),
    }
    Ok(())
}

fn write_say(xml: &mut Xml, say: &Say) -> Result<(), TwimlError> {
    let length = say.text.chars().count();
    if say.text.trim().is_empty() || length > MAX_SAY_CHARS {
        return Err(TwimlError::SayLength);
    }
    xml.open("Say");
    if let Some(language) = &say.language {
        xml.attribute("language", checked_attribute(language)?);
    }
    if let Some(voice) = &say.voice {
        xml.attribute("voice", checked_attribute(voice)?);
    }
    xml.0.push('>');
    xml.text(&say.text);
    xml.close("Say");
    Ok(())
}

fn write_play(xml: &mut Xml, play: &Play) -> Result<(), TwimlError> {
    xml.open("Play");
    match play {
        Play::Url(url) => {
            xml.0.push('>');
            xml.text(checked_url(url)?);
            xml.close("Play");
        }
        Play::Digits(digits) => {
            let valid = |key: char| matches!(key, '0'..='9' | '*' | '#' | 'w');
            if digits.is_empty() || !digits.chars().all(valid) {
                return Err(TwimlError::Digits);
            }
            xml.attribute("digits", digits);
            xml.0.push_str("/>");
        }
    }
    Ok(())
}

fn write_pause(xml: &mut Xml, seconds: u32) {
    xml.open("Pause");
    xml.number("length", Some(seconds));
    xml.0.push_str("/>");
}

fn write_gather(xml: &mut Xml, gather: &Gather) -> Result<(), TwimlError> {
    xml.open("Gather");
    xml.attribute("input", gather.input.as_str());
    xml.attribute("action", checked_url(&gather.action)?);
    xml.attribute("method", "POST");
    if let Some(language) = &gather.language {
        xml.attribute("language", checked_attribute(language)?);
    }
    xml.number("timeout", gather.timeout_s);
    match gather.speech_timeout {
        Some(SpeechTimeout::Auto) => xml.attribute("speechTimeout", "auto"),
        Some(SpeechTimeout::Seconds(seconds)) => xml.number("speechTimeout", Some(seconds)),
        None => {}
    }
    if gather.num_digits == Some(0) {
        return Err(TwimlError::Digits);
    }
    xml.number("numDigits", gather.num_digits);
    if let Some(keys) = &gather.finish_on_key {
        if !keys.chars().all(|key| matches!(key, '0'..='9' | '*' | '#')) {
            return Err(TwimlError::Digits);
        }
        xml.attribute("finishOnKey", keys);
    }
    if !gather.hints.is_empty() {
        let fits = |hint: &String| {
            !hint.is_empty()
                && hint.chars().count() <= MAX_HINTS.1
                && !hint.contains(',')
                && checked_attribute(hint).is_ok()
        };
        if gather.hints.len() > MAX_HINTS.0 || !gather.hints.iter().all(fits) {
            return Err(TwimlError::Hints);
        }
        xml.attribute("hints", &gather.hints.join(", "));
    }
    xml.truth("actionOnEmptyResult", gather.action_on_empty_result);
    xml.truth("profanityFilter", gather.profanity_filter);
    xml.0.push('>');
    for prompt in &gather.prompts {
        match prompt {
            Prompt::Say(say) => write_say(xml, say)?,
            Prompt::Play(play) => write_play(xml, play)?,
            Prompt::Pause { seconds } => write_pause(xml, *seconds),
        }
    }
    xml.close("Gather");
    Ok(())
}

fn write_stream(xml: &mut Xml, stream: &Stream, track: Option<Track>) -> Result<(), TwimlError> {
    let url = checked_url(&stream.url).map_err(|_| TwimlError::StreamUrl)?;
    let host = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://")).unwrap_or_default();
    if host.is_empty() || url.contains(['?', '#']) {
        return Err(TwimlError::StreamUrl);
    }
    xml.open("Stream");
    if let Some(name) = &stream.name {
        xml.attribute("name", checked_attribute(name)?);
    }
    xml.attribute("url", url);
    if let Some(track) = track {
        xml.attribute("track", track.as_str());
    }
    if let Some(callback) = &stream.status_callback {
        xml.attribute("statusCallback", checked_url(callback)?);
    }
    if stream.parameters.is_empty() {
        xml.0.push_str("/>");
        return Ok(());
    }
    xml.0.push('>');
    for (name, value) in &stream.parameters {
        let length = name.chars().count() + value.chars().count();
        if name.is_empty() || length >= PARAMETER_CHARS || !name.chars().chain(value.chars()).all(is_xml) {
            return Err(TwimlError::Parameter);
        }
        xml.open("Parameter");
        xml.attribute("name", name);
        xml.attribute("value", value);
        xml.0.push_str("/>");
    }
    xml.close("Stream");
    Ok(())
}

fn write_dial(xml: &mut Xml, dial: &Dial) -> Result<(), TwimlError> {
    xml.open("Dial");
    if let Some(action) = &dial.action {
        xml.attribute("action", checked_url(action)?);
        xml.attribute("method", "POST");
    }
    xml.number("timeout", dial.timeout_s);
    xml.number("timeLimit", dial.time_limit_s);
    xml.truth("answerOnBridge", dial.answer_on_bridge);
    if let Some(number) = &dial.caller_id {
        xml.attribute("callerId", checked_number(number)?);
    }
    xml.0.push('>');
    xml.open("Number");
    if let Some(url) = &dial.number_url {
        xml.attribute("url", checked_url(url)?);
    }
    if let Some(callback) = &dial.number_status_callback {
        xml.attribute("statusCallback", checked_url(callback)?);
        xml.attribute("statusCallbackEvent", "initiated ringing answered completed");
    }
    xml.0.push('>');
    xml.text(checked_number(&dial.number)?);
    xml.close("Number");
    xml.close("Dial");
    Ok(())
}

fn checked_url(url: &str) -> Result<&str, TwimlError> {
    let fits = !url.is_empty() && !url.chars().any(|c| c.is_whitespace() || c.is_control() || !is_xml(c));
    if fits { Ok(url) } else { Err(TwimlError::Url) }
}

fn checked_attribute(text: &str) -> Result<&str, TwimlError> {
    let fits = !text.is_empty() && text.chars().all(|c| is_xml(c) && !c.is_control());
    if fits { Ok(text) } else { Err(TwimlError::Attribute) }
}

/// A plus sign is optional; 3 to 15 digits (ITU-T E.164, section 6).
fn checked_number(number: &str) -> Result<&str, TwimlError> {
    let digits = number.strip_prefix('+').unwrap_or(number);
    let fits = (3..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { Ok(number) } else { Err(TwimlError::Number) }
}

/// Whether XML 1.0 can carry a character (XML 1.0, section 2.2).
const fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// A document in the making.
pub(super) struct Xml(pub(super) String);

impl Xml {
    fn open(&mut self, element: &str) {
        self.0.push('<');
        self.0.push_str(element);
    }

    fn close(&mut self, element: &str) {
        self.0.push_str("</");
        self.0.push_str(element);
        self.0.push('>');
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        for c in value.chars() {
            match c {
                // A parser turns bare ones into blanks (XML 1.0, section 3.3.3).
                '\t' => self.0.push_str("&#9;"),
                '\n' => self.0.push_str("&#10;"),
                _ => self.escaped(c),
            }
        }
        self.0.push('"');
    }

    fn number(&mut self, name: &str, value: Option<u32>) {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(self.0, " {name}=\"{value}\"");
        }
    }

    fn truth(&mut self, name: &str, value: bool) {
        self.attribute(name, if value { "true" } else { "false" });
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            self.escaped(if is_xml(c) { c } else { ' ' });
        }
    }

    fn escaped(&mut self, c: char) {
        match c {
            '&' => self.0.push_str("&amp;"),
            '<' => self.0.push_str("&lt;"),
            '>' => self.0.push_str("&gt;"),
            '"' => self.0.push_str("&quot;"),
            '\'' => self.0.push_str("&apos;"),
            // A parser turns a bare one into a line feed (XML 1.0, section 2.11).
            '\r' => self.0.push_str("&#13;"),
            _ => self.0.push(c),
        }
    }
}
