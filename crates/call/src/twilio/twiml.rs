//! Call instructions (Twilio, TwiML).
//!
//! A [`Response`] is a list of verbs that Twilio carries out in order. Its document starts with `<?xml` without any
//! blank before it, because Twilio ends the call otherwise. Everything that Twilio would refuse is an error here.

use std::fmt::Write as _;

/// Most characters spoken by one `<Say>`.
pub const MAX_SAY_CHARS: usize = 4096;
/// Name and value of one `<Parameter>` must stay under this many characters together.
pub const PARAMETER_CHARS: usize = 500;
/// Longest document that may be passed inside a REST request instead of an address, in characters.
pub const MAX_INLINE_CHARS: usize = 4000;
/// Most hints for the speech recogniser, and most characters of one of them.
pub const MAX_HINTS: (usize, usize) = (500, 100);

/// Why instructions cannot be written. A programming or configuration error, never a matter of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwimlError {
    /// A text to speak is empty or exceeds [`MAX_SAY_CHARS`].
    #[error("text to speak must have 1 to 4096 characters")]
    SayLength,
    /// A parameter has no name, or name and value reach [`PARAMETER_CHARS`].
    #[error("stream parameter must have a name and fewer than 500 characters in all")]
    Parameter,
    /// An address is empty or contains blanks or control characters.
    #[error("address is empty or contains blanks")]
    Url,
    /// The address of a stream is not `wss://…` (or `ws://…`), or has a query or fragment, which Twilio drops.
    #[error("stream address must be a socket address without query")]
    StreamUrl,
    /// A stream name, language or voice is empty or has characters XML cannot carry.
    #[error("attribute is empty or has forbidden characters")]
    Attribute,
    /// The hints exceed [`MAX_HINTS`], or one of them contains a comma.
    #[error("too many or too long speech hints")]
    Hints,
    /// A number of digits of zero, or keys other than `0`-`9`, `*`, `#`, `w`.
    #[error("invalid keys or number of digits")]
    Digits,
    /// Not a telephone number.
    #[error("not a telephone number")]
    Number,
    /// A `<Reject>` after another verb: Twilio has answered the call by then.
    #[error("reject must be the first verb")]
    RejectNotFirst,
}

/// Words spoken by Twilio's own voices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    /// The words. Characters XML cannot carry are spoken as blanks.
    pub text: String,
    /// Language code such as `en-US`; differs from recogniser codes for some languages.
    pub language: Option<String>,
    /// Voice name such as `Polly.Joanna-Neural`.
    pub voice: Option<String>,
}

impl Say {
    /// Words in Twilio's default language and voice.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), language: None, voice: None }
    }

    /// Sets the language code.
    #[must_use]
    pub fn language(mut self, code: impl Into<String>) -> Self {
        self.language = Some(code.into());
        self
    }

    /// Sets the voice.
    #[must_use]
    pub fn voice(mut self, name: impl Into<String>) -> Self {
        self.voice = Some(name.into());
        self
    }
}

/// A sound file or key tones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Play {
    /// A sound file.
    Url(String),
    /// Key tones; `w` waits half a second.
    Digits(String),
}

/// What may be heard while a `<Gather>` listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Words.
    Say(Say),
    /// A sound.
    Play(Play),
    /// Silence.
    Pause {
        /// Length in seconds.
        seconds: u32,
    },
}

/// One end of a media stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Socket address without query.
    pub url: String,
    /// Unique within the call.
    pub name: Option<String>,
    /// Where Twilio reports start, stop and errors.
    pub status_callback: Option<String>,
    /// Handed to the socket in its `start` message. Names should be unique: only the last of equals survives.
    pub parameters: Vec<(String, String)>,
}

impl Stream {
    /// A stream without name, reports or parameters.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), name: None, status_callback: None, parameters: Vec::new() }
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the address for reports.
    #[must_use]
    pub fn status_callback(mut self, url: impl Into<String>) -> Self {
        self.status_callback = Some(url.into());
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }
}

/// Which voices a fork carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// What the caller says.
    Inbound,
    /// What the caller hears.
    Outbound,
    /// Both.
    Both,
}

impl Track {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound_track",
            Self::Outbound => "outbound_track",
            Self::Both => "both_tracks",
        }
    }
}

/// How the caller may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatherInput {
    /// By keys.
    Dtmf,
    /// By voice.
    Speech,
    /// By either; the first kind detected wins.
    SpeechOrDtmf,
}

impl GatherInput {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Dtmf => "dtmf",
            Self::Speech => "speech",
            Self::SpeechOrDtmf => "speech dtmf",
        }
    }
}

/// How long a pause ends an answer by voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechTimeout {
    /// Twilio decides.
    Auto,
    /// After this many seconds.
    Seconds(u32),
}

/// A question. Twilio posts the answer to `action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// How the caller may answer.
    pub input: GatherInput,
    /// Where the answer is sent. Always given: without it Twilio asks for the same document forever.
    pub action: String,
    /// Recogniser's language code; differs from voice codes for some languages.
    pub language: Option<String>,
    /// Silence before giving up, in seconds.
    pub timeout_s: Option<u32>,
    /// Pause that ends an answer by voice.
    pub speech_timeout: Option<SpeechTimeout>,
    /// Number of keys after which the answer is complete.
    pub num_digits: Option<u32>,
    /// Key that completes the answer; empty makes `#` and `*` part of it.
    pub finish_on_key: Option<String>,
    /// Expected words.
    pub hints: Vec<String>,
    /// Whether `action` is also called without an answer.
    pub action_on_empty_result: bool,
    /// Whether Twilio replaces letters of rude words by `*`: off for clinical text.
    pub profanity_filter: bool,
    /// What is heard meanwhile.
    pub prompts: Vec<Prompt>,
}

impl Gather {
    /// A question that always reports back and leaves the text as spoken.
    #[must_use]
    pub fn new(input: GatherInput, action: impl Into<String>) -> Self {
        Self {
            input,
            action: action.into(),
            language: None,
            timeout_s: None,
            speech_timeout: None,
            num_digits: None,
            finish_on_key: None,
            hints: Vec::new(),
            action_on_empty_result: true,
            profanity_filter: false,
            prompts: Vec::new(),
        }
    }

    /// Adds something to hear.
    #[must_use]
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompts.push(prompt);
        self
    }
}

/// A connection to another telephone, such as the nurse line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Number to call.
    pub number: String,
    /// Where the outcome is sent; without it the next verb follows.
    pub action: Option<String>,
    /// How long it may ring, in seconds.
    pub timeout_s: Option<u32>,
    /// How long the conversation may last, in seconds.
    pub time_limit_s: Option<u32>,
    /// Whether the caller hears ringing until somebody answers.
    pub answer_on_bridge: bool,
    /// Number shown to the other side.
    pub caller_id: Option<String>,
    /// Instructions only the other side hears before the connection.
    pub number_url: Option<String>,
    /// Where all progress of the other leg is reported.
    pub number_status_callback: Option<String>,
}

impl Dial {
    /// A connection with Twilio's default times that keeps ringing audible.
    #[must_use]
    pub fn new(number: impl Into<String>) -> Self {
        Self {
            number: number.into(),
            action: None,
            timeout_s: None,
            time_limit_s: None,
            answer_on_bridge: true,
            caller_id: None,
            number_url: None,
            number_status_callback: None,
        }
    }
}

/// The reason an unanswered call is refused with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// A busy tone.
    Busy,
    /// A message that the number is not in service.
    Rejected,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Speak.
    Say(Say),
    /// Play a sound.
    Play(Play),
    /// Stay silent.
    Pause {
        /// Length in seconds.
        seconds: u32,
    },
    /// Ask.
    Gather(Gather),
    /// Connect to a two-way media stream and wait until it ends.
    Connect {
        /// Where Twilio asks for what follows. Without it the next verb follows.
        action: Option<String>,
        /// The stream.
        stream: Stream,
    },
    /// Start a one-way media stream and go on at once.
    Start {
        /// Which voices it carries.
        track: Track,
        /// The stream.
        stream: Stream,
    },
    /// Stop a one-way media stream.
    Stop {
        /// The name it was started with.
        name: String,
    },
    /// Connect to another telephone.
    Dial(Dial),
    /// Go on with other instructions.
    Redirect {
        /// Where they are.
        url: String,
    },
    /// Refuse the call without answering it. First verb only.
    Reject {
        /// What the caller is told.
        reason: RejectReason,
    },
    /// End the call.
    Hangup,
}

/// A document of call instructions. One without verbs ends the call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    verbs: Vec<Verb>,
}

impl Response {
    /// A document without verbs.
    #[must_use]
    pub const fn new() -> Self {
        Self { verbs: Vec::new() }
    }

    /// Adds an instruction.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verbs.push(verb);
        self
    }

    /// Adds words.
    #[must_use]
    pub fn say(self, say: Say) -> Self {
        self.verb(Verb::Say(say))
    }

    /// Adds silence, in seconds.
    #[must_use]
    pub fn pause(self, seconds: u32) -> Self {
        self.verb(Verb::Pause { seconds })
    }

    /// Adds a question.
    #[must_use]
    pub fn gather(self, gather: Gather) -> Self {
        self.verb(Verb::Gather(gather))
    }

    /// Adds a two-way media stream. With `action`, later verbs are never reached.
    #[must_use]
    pub fn connect(self, action: Option<String>, stream: Stream) -> Self {
        self.verb(Verb::Connect { action, stream })
    }

    /// Adds a one-way media stream.
    #[must_use]
    pub fn start(self, track: Track, stream: Stream) -> Self {
        self.verb(Verb::Start { track, stream })
    }

    /// Adds a connection to another telephone.
    #[must_use]
    pub fn dial(self, dial: Dial) -> Self {
        self.verb(Verb::Dial(dial))
    }

    /// Continues elsewhere.
    #[must_use]
    pub fn redirect(self, url: impl Into<String>) -> Self {
        self.verb(Verb::Redirect { url: url.into() })
    }

    /// Ends the call.
    #[must_use]
    pub fn hangup(self) -> Self {
        self.verb(Verb::Hangup)
    }

    /// The document, to be sent as `text/xml` in UTF-8.
    ///
    /// # Errors
    /// [`TwimlError`] for content Twilio would refuse.
    pub fn render(&self) -> Result<String, TwimlError> {
        let mut xml = Xml(String::from(r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#));
        for (index, verb) in self.verbs.iter().enumerate() {
            if index > 0 && matches!(verb, Verb::Reject { .. }) {
                return Err(TwimlError::RejectNotFirst);
            }
            write_verb(&mut xml, verb)?;
        }
        xml.0.push_str("</Response>");
        Ok(xml.0)
    }
}

fn write_verb(xml: &mut Xml, verb: &Verb) -> Result<(), TwimlError> {
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
struct Xml(String);

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
