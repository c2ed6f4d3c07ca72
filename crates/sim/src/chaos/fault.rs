//! What goes wrong, as data: a thing that breaks, and the moment of the call at which it does.

use call::agent::ConnectFailure;

/// A moment in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The telephone rings; the agent is being called.
    Ringing,
    /// Both can hear each other, and nobody has spoken.
    FirstWord,
    /// In the first words of the agent.
    Greeting,
    /// While a question is asked.
    Question,
    /// While the patient answers.
    Answer,
    /// While a voice task is listened to.
    Task,
    /// A red flag was just raised.
    RedFlag,
    /// In the words of goodbye.
    Closing,
}

impl Moment {
    /// Every moment.
    pub const ALL: [Self; 8] = [
        Self::Ringing,
        Self::FirstWord,
        Self::Greeting,
        Self::Question,
        Self::Answer,
        Self::Task,
        Self::RedFlag,
        Self::Closing,
    ];

    /// The name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::FirstWord => "first-word",
            Self::Greeting => "greeting",
            Self::Question => "question",
            Self::Answer => "answer",
            Self::Task => "voice-task",
            Self::RedFlag => "red-flag",
            Self::Closing => "closing",
        }
    }
}

/// How an agent service fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The connection breaks without a close frame; a new one works.
    Drop,
    /// A close frame with this code; new conversations get the same.
    Close(u16),
    /// The socket lives, pings come, and nothing else does.
    Mute,
    /// Nothing comes at all any more, and nothing is said about it.
    Frozen,
    /// Messages that nobody can read.
    Garbage,
    /// An `error` event, and then silence.
    Error,
    /// Every answer takes eight seconds.
    Slow,
    /// The conversation waits for capacity.
    Queue,
    /// It ends the conversation "normally" in the middle of it.
    EndsEarly,
    /// Words with invalid audio instead of sound.
    BadAudio,
    /// No conversation can be opened any more; the present one breaks.
    Refuses(ConnectFailure),
    /// New conversations never get their metadata; the present one breaks.
    NoMetadata,
}

/// Which services fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The first of the chain.
    Primary,
    /// All that speak.
    All,
}

/// A thing that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An agent service, for the rest of the time.
    Agent(Mode, Scope),
    /// Nothing passes between the phone company and us for so many milliseconds; then all of it does.
    PhoneStall(u64),
    /// The same between an agent and us.
    AgentStall(u64),
    /// The phone's media stream breaks without a word.
    StreamLost,
    /// Twilio reports an error of a stream that is there.
    StreamError,
    /// Our process is killed, and another one is there after so many milliseconds.
    Kill(u64),
    /// The database is away for so many milliseconds.
    DatabaseOut(u64),
    /// No file can be written for so many milliseconds.
    DiskFull(u64),
    /// Both at once.
    NoStorage(u64),
    /// The phone does not read what it is sent for so many milliseconds.
    SlowReader(u64),
    /// The wall clock jumps by so many seconds.
    ClockJump(i64),
    /// The time handed to the engine runs backwards by so many milliseconds, once.
    TickBack(u64),
    /// Twilio's REST interface answers with this status for 20 seconds.
    Rest(u16),
    /// Status callbacks come twice, late, and out of order.
    StatusStorm,
    /// Marks never come back.
    MarksLost,
    /// The answering-machine detection is wrong.
    WrongMachine,
}

/// A fault: what breaks, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name, as chosen on the command line.
    pub name: String,
    /// What breaks.
    pub what: What,
    /// When.
    pub moment: Moment,
}

/// Names of everything that can break.
const WHATS: [(&str, What); 35] = [
    ("agent-drop", What::Agent(Mode::Drop, Scope::Primary)),
    ("agent-close-1011", What::Agent(Mode::Close(1011), Scope::Primary)),
    ("agent-close-1008", What::Agent(Mode::Close(1008), Scope::Primary)),
    ("agent-close-1013", What::Agent(Mode::Close(1013), Scope::Primary)),
    ("agent-mute", What::Agent(Mode::Mute, Scope::Primary)),
    ("agent-frozen", What::Agent(Mode::Frozen, Scope::Primary)),
    ("agent-garbage", What::Agent(Mode::Garbage, Scope::Primary)),
    ("agent-error", What::Agent(Mode::Error, Scope::Primary)),
    ("agent-slow", What::Agent(Mode::Slow, Scope::Primary)),
    ("agent-queue", What::Agent(Mode::Queue, Scope::Primary)),
    ("agent-ends-early", What::Agent(Mode::EndsEarly, Scope::Primary)),
    ("agent-bad-audio", What::Agent(Mode::BadAudio, Scope::Primary)),
    ("agent-no-metadata", What::Agent(Mode::NoMetadata, Scope::Primary)),
    ("agent-certificate", What::Agent(Mode::Refuses(ConnectFailure::Network), Scope::Primary)),
    ("agent-http-401", What::Agent(Mode::Refuses(ConnectFailure::Http { status: 401 }), Scope::Primary)),
    ("agent-http-429", What::Agent(Mode::Refuses(ConnectFailure::Http { status: 429 }), Scope::Primary)),
    ("agent-timeout", What::Agent(Mode::Refuses(ConnectFailure::Timeout), Scope::Primary)),
    ("agent-bad-response", What::Agent(Mode::Refuses(ConnectFailure::BadResponse), Scope::Primary)),
    ("all-agents-down", What::Agent(Mode::Refuses(ConnectFailure::Network), Scope::All)),
    ("all-agents-mute", What::Agent(Mode::Mute, Scope::All)),
    ("phone-stall", What::PhoneStall(3_000)),
    ("agent-stall", What::AgentStall(6_000)),
    ("stream-lost", What::StreamLost),
    ("stream-error", What::StreamError),
    ("process-kill", What::Kill(8_000)),
    ("process-kill-fast", What::Kill(300)),
    ("database-out", What::DatabaseOut(60_000)),
    ("disk-full", What::DiskFull(60_000)),
    ("no-storage", What::NoStorage(30_000)),
    ("slow-reader", What::SlowReader(4_000)),
    ("clock-jump", What::ClockJump(-7_200)),
    ("tick-back", What::TickBack(5_000)),
    ("twilio-429", What::Rest(429)),
    ("twilio-500", What::Rest(500)),
    ("status-storm", What::StatusStorm),
];
/// Those that make no sense at every moment, with theirs.
const FIXED: [(&str, What, Moment); 2] =
    [("marks-lost", What::MarksLost, Moment::Greeting), ("wrong-machine", What::WrongMachine, Moment::Answer)];

/// Rows of the table that is printed unless others are asked for: each thing that breaks at the moment at which it hurts
/// most, and the worst at several.
const USUAL: [(&str, Moment); 46] = [
    ("agent-drop", Moment::FirstWord),
    ("agent-drop", Moment::Question),
    ("agent-drop", Moment::Task),
    ("agent-close-1011", Moment::Greeting),
    ("agent-close-1011", Moment::Answer),
    ("agent-close-1011", Moment::Task),
    ("agent-close-1011", Moment::RedFlag),
    ("agent-close-1011", Moment::Closing),
    ("agent-close-1008", Moment::Ringing),
    ("agent-close-1008", Moment::Question),
    ("agent-close-1013", Moment::Answer),
    ("agent-mute", Moment::FirstWord),
    ("agent-mute", Moment::Answer),
    ("agent-mute", Moment::Task),
    ("agent-mute", Moment::RedFlag),
    ("agent-frozen", Moment::Question),
    ("agent-frozen", Moment::Answer),
    ("agent-garbage", Moment::Question),
    ("agent-error", Moment::Answer),
    ("agent-slow", Moment::Greeting),
    ("agent-queue", Moment::Ringing),
    ("agent-ends-early", Moment::Question),
    ("agent-bad-audio", Moment::Answer),
    ("agent-no-metadata", Moment::Ringing),
    ("agent-certificate", Moment::Ringing),
    ("agent-http-401", Moment::Ringing),
    ("agent-http-429", Moment::Ringing),
    ("agent-timeout", Moment::Ringing),
    ("agent-bad-response", Moment::Answer),
    ("all-agents-down", Moment::Ringing),
    ("all-agents-down", Moment::Answer),
    ("all-agents-mute", Moment::Question),
    ("phone-stall", Moment::Answer),
    ("agent-stall", Moment::Question),
    ("stream-lost", Moment::Answer),
    ("stream-error", Moment::Question),
    ("process-kill", Moment::Question),
    ("process-kill-fast", Moment::RedFlag),
    ("database-out", Moment::Greeting),
    ("disk-full", Moment::Greeting),
    ("no-storage", Moment::Question),
    ("slow-reader", Moment::Question),
    ("clock-jump", Moment::Answer),
    ("tick-back", Moment::Task),
    ("twilio-429", Moment::RedFlag),
    ("twilio-500", Moment::RedFlag),
];

fn fault(name: &str, what: What, moment: Moment) -> Fault {
    Fault { name: format!("{name}@{}", moment.as_str()), what, moment }
}

impl Fault {
    /// The rows of the usual table.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        let of = |(name, moment): &(&str, Moment)| {
            let what = WHATS.iter().find(|(known, _)| known == name)?.1;
            Some(fault(name, what, *moment))
        };
        let fixed = FIXED.iter().map(|(name, what, moment)| fault(name, *what, *moment));
        let storm = fault("status-storm", What::StatusStorm, Moment::Greeting);
        USUAL.iter().filter_map(of).chain([storm]).chain(fixed).collect()
    }

    /// Everything that can break, at every moment.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let every = WHATS.iter().flat_map(|(name, what)| Moment::ALL.map(|moment| fault(name, *what, moment)));
        every.chain(FIXED.iter().map(|(name, what, moment)| fault(name, *what, *moment))).collect()
    }

    /// The faults that a list of names asks for: `all`, a thing that breaks (at every moment), or both with `@`.
    ///
    /// # Errors
    /// The name that nobody knows.
    pub fn choose(names: &str) -> Result<Vec<Self>, String> {
        let all = Self::all();
        if names == "all" {
            return Ok(all);
        }
        let mut chosen = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let named = |fault: &&Self| fault.name == name || fault.name.split('@').next() == Some(name);
            let found: Vec<Self> = all.iter().filter(named).cloned().collect();
            if found.is_empty() {
                return Err(name.to_owned());
            }
            chosen.extend(found);
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_chosen_by_name_and_moment() {
        assert!(Fault::usual().len() >= 45, "every row of the usual table is known");
        assert_eq!(Fault::choose("agent-drop").map(|faults| faults.len()), Ok(8));
        assert_eq!(Fault::choose("agent-drop@closing, marks-lost").map(|faults| faults.len()), Ok(2));
        assert_eq!(Fault::choose("nothing"), Err("nothing".to_owned()));
    }
}
