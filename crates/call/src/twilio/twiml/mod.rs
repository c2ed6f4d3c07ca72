//! Call instructions (Twilio, TwiML).
//!
//! A [`Response`] is a list of verbs that Twilio carries out in order. Its document starts with `<?xml` without any
//! blank before it, because Twilio ends the call otherwise. Everything that Twilio would refuse is an error here.

mod write;

use write::{Xml, write_verb};

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
