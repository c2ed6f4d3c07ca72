//! A page as call instructions of the phone company.

use super::{Ask, Page, Then};
use crate::twilio::twiml::{Dial, Gather, GatherInput, Prompt, Response, SpeechTimeout, Stream, Track, Verb};
use crate::twilio::voices;

/// The nurse's telephone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NurseLine {
    /// Number to call.
    pub number: String,
    /// Number shown there.
    pub caller_id: Option<String>,
    /// How long it may ring, in seconds.
    pub timeout_s: u32,
}

/// Where the pages of a call lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Where answers are posted; the page's number is added to the query.
    pub script: String,
    /// The nurse, where there is one.
    pub nurse: Option<NurseLine>,
    /// The one-way stream by which the caller's voice reaches the analysis: in the first document of the script,
    /// and where it was lost.
    pub fork: Option<Stream>,
    /// The name of such a stream that may be running. What patient and nurse say to each other is theirs: it is stopped
    /// before they are connected.
    pub running: Option<String>,
}

impl Addresses {
    fn action(&self, page: u64) -> String {
        let mark = if self.script.contains('?') { '&' } else { '?' };
        format!("{}{mark}page={page}", self.script)
    }
}

impl Page {
    /// The document. A page that calls the nurse where there is none asks for the next page instead, and the script then
    /// takes the nurse for not reached.
    #[must_use]
    pub fn document(&self, addresses: &Addresses) -> Response {
        let mut document = Response::new();
        if let Some(fork) = &addresses.fork {
            document = document.start(Track::Inbound, fork.clone());
        }
        let action = addresses.action(self.number);
        let spoken = |document: Response| {
            self.say
                .iter()
                .fold(document, |document, (language, text)| document.say(voices::say(language, text.as_str())))
        };
        match &self.then {
            Then::Gather(ask) => {
                // Said inside, so that a key cuts the words short.
                let gather = self.say.iter().fold(gather(ask, action), |gather, (language, text)| {
                    gather.prompt(Prompt::Say(voices::say(language, text.as_str())))
                });
                document.gather(gather)
            }
            Then::Listen { seconds } => {
                let mut gather = Gather::new(GatherInput::Dtmf, action);
                gather.timeout_s = Some(*seconds);
                gather.num_digits = Some(1);
                gather.finish_on_key = Some(String::new());
                spoken(document).gather(gather)
            }
            Then::Wait { seconds } => spoken(document).pause(*seconds).redirect(action),
            Then::DialNurse => match &addresses.nurse {
                Some(nurse) => {
                    let mut dial = Dial::new(nurse.number.as_str());
                    dial.action = Some(action);
                    dial.timeout_s = Some(nurse.timeout_s);
                    dial.caller_id.clone_from(&nurse.caller_id);
                    let stop = addresses.running.iter().map(|name| Verb::Stop { name: name.clone() });
                    stop.fold(spoken(document), Response::verb).dial(dial)
                }
                None => document.redirect(action),
            },
            Then::Redirect => spoken(document).redirect(action),
            Then::Hangup => spoken(document).hangup(),
        }
    }
}

fn gather(ask: &Ask, action: String) -> Gather {
    let input = match (ask.speech, ask.keys) {
        (true, true) => GatherInput::SpeechOrDtmf,
        (true, false) => GatherInput::Speech,
        (false, _) => GatherInput::Dtmf,
    };
    let mut gather = Gather::new(input, action);
    gather.timeout_s = Some(ask.timeout_s);
    if ask.speech {
        gather.language = voices::recogniser(&ask.language).map(str::to_owned);
        gather.speech_timeout = Some(SpeechTimeout::Seconds(ask.speech_timeout_s));
        gather.hints.clone_from(&ask.hints);
    }
    gather.num_digits = ask.num_digits;
    gather.finish_on_key = ask.finish_on_key.map(String::from);
    gather
}
