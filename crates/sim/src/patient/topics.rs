//! What an agent asks for, as a patient understands it: from the clip that was heard, or from words.

use crate::assets::Clip;
use clinic::protocol::Protocol;

/// What the agent asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Date of birth.
    BirthDate,
    /// Whether the call may be recorded.
    Consent,
    /// How one feels.
    Feeling,
    /// Shortness of breath.
    Breathing,
    /// Pillows, lying flat.
    Orthopnea,
    /// Waking up short of breath.
    Nocturnal,
    /// Swelling.
    Swelling,
    /// Counting.
    Counting,
    /// A held "ah".
    Vowel,
    /// Weight.
    Weight,
    /// Medicines.
    Medications,
    /// Reading a sentence.
    Reading,
    /// Whether to be connected with a nurse.
    Nurse,
    /// The end.
    Goodbye,
    /// Another question.
    Other,
}

/// Names of protocol texts and items in clips of the agent, and what they ask for.
const BY_NAME: [(&str, Topic); 24] = [
    ("identify", Topic::BirthDate),
    ("identify_again", Topic::BirthDate),
    ("consent", Topic::Consent),
    ("feeling", Topic::Feeling),
    ("dyspnea", Topic::Breathing),
    ("orthopnea", Topic::Orthopnea),
    ("nocturnal_dyspnea", Topic::Nocturnal),
    ("swelling", Topic::Swelling),
    ("counting", Topic::Counting),
    ("vowel", Topic::Vowel),
    ("weight", Topic::Weight),
    ("medications", Topic::Medications),
    ("reading", Topic::Reading),
    ("offer_nurse", Topic::Nurse),
    ("closing", Topic::Goodbye),
    ("goodbye", Topic::Goodbye),
    ("not_identified", Topic::Goodbye),
    ("wrong_person", Topic::Goodbye),
    ("voicemail", Topic::Goodbye),
    ("red_flag", Topic::Goodbye),
    ("self_harm", Topic::Goodbye),
    ("transfer", Topic::Goodbye),
    ("greeting", Topic::Other),
    ("repeat", Topic::Other),
];

/// The order of the visit, for questions that are not recognised (a voice nobody here knows).
pub(super) const USUAL_ORDER: [Topic; 8] = [
    Topic::BirthDate,
    Topic::Feeling,
    Topic::Breathing,
    Topic::Swelling,
    Topic::Counting,
    Topic::Vowel,
    Topic::Weight,
    Topic::Medications,
];

/// The topic of a clip of the agent: the greeting of the old check-in asks about breathing.
pub(super) fn topic_of_clip(clip: &Clip) -> Option<Topic> {
    let name = clip.name.strip_prefix("agent_")?;
    let protocol = name.strip_prefix("en_").or_else(|| name.strip_prefix("es_"));
    match protocol {
        Some(key) => BY_NAME.iter().find(|(known, _)| *known == key).map(|(_, topic)| *topic),
        None => topic_of(&clip.text),
    }
}

/// The topic of the protocol's own words, in whichever language: the last of them decides, whatever is said about keys
/// after it.
fn topic_of_protocol(text: &str) -> Option<Topic> {
    let protocol = Protocol::shipped();
    let mut found: Option<(usize, Topic)> = None;
    for code in protocol.languages.keys() {
        for (name, topic) in BY_NAME.iter().filter(|(_, topic)| *topic != Topic::Other) {
            let prompt = protocol.prompt(code, name);
            let words = if prompt.is_empty() { protocol.text(code, name, "") } else { prompt.to_owned() };
            let at = if words.is_empty() { None } else { text.rfind(&words) };
            if let Some(at) = at.filter(|at| found.is_none_or(|(before, _)| *at >= before)) {
                found = Some((at, *topic));
            }
        }
    }
    found.map(|(_, topic)| topic)
}

/// The topic of a text; the last matching word decides, because a prompt ends with its question.
pub(super) fn topic_of(text: &str) -> Option<Topic> {
    if let Some(topic) = topic_of_protocol(text) {
        return Some(topic);
    }
    let text = text.to_lowercase();
    let words: [(&str, Topic); 24] = [
        ("date of birth", Topic::BirthDate),
        ("fecha de nacimiento", Topic::BirthDate),
        ("breath", Topic::Breathing),
        ("weigh", Topic::Weight),
        ("pounds", Topic::Weight),
        ("swell", Topic::Swelling),
        ("swollen", Topic::Swelling),
        ("ankle", Topic::Swelling),
        ("read ", Topic::Reading),
        ("sentence", Topic::Reading),
        ("count ", Topic::Counting),
        ("say ah", Topic::Vowel),
        ("ahh", Topic::Vowel),
        ("medic", Topic::Medications),
        ("are you feeling", Topic::Feeling),
        ("nurse", Topic::Nurse),
        ("goodbye", Topic::Goodbye),
        ("good bye", Topic::Goodbye),
        ("adiós", Topic::Goodbye),
        ("hinchaz", Topic::Swelling),
        ("su peso", Topic::Weight),
        ("cuente", Topic::Counting),
        ("aaah", Topic::Vowel),
        ("?", Topic::Other),
    ];
    let specific = |topic: &Topic| *topic != Topic::Other;
    let found = words.iter().filter_map(|(word, topic)| text.rfind(word).map(|at| (at, *topic)));
    let best = found.clone().filter(|(_, topic)| specific(topic)).max_by_key(|(at, _)| *at);
    best.or_else(|| found.max_by_key(|(at, _)| *at)).map(|(_, topic)| topic)
}
