//! Sound clips shipped inside the program, as 8 kHz mu-law; see `assets/ATTRIBUTION.md` for where they come from.

use crate::sound::synth;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// A piece of 8 kHz mu-law sound, the words spoken in it and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Short name, or file name of a clip read from disk.
    pub name: Cow<'static, str>,
    /// What is said.
    pub text: Cow<'static, str>,
    /// What it means as the answer to a question, for instance `182`.
    pub meaning: Cow<'static, str>,
    /// The sound.
    pub ulaw: Arc<[u8]>,
}

impl Clip {
    /// A clip of one's own, for instance a recording read from a file.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>, ulaw: Vec<u8>) -> Self {
        let text = text.into();
        Self {
            name: Cow::Owned(name.into()),
            meaning: Cow::Owned(text.clone()),
            text: Cow::Owned(text),
            ulaw: ulaw.into(),
        }
    }

    /// Length in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.ulaw.len() as u64 / 8
    }
}

/// The clip with that name.
#[must_use]
pub fn clip(name: &str) -> Option<Clip> {
    CLIPS.iter().find(|clip| clip.name == name).cloned()
}

/// Words without case, punctuation and blanks between.
fn plain(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The agent's voice for a text: the clips whose words it is made of, one after the other, without the name; `None`
/// when there is a word that no clip has.
#[must_use]
pub fn agent_voice(text: &str, patient_name: &str) -> Option<Vec<u8>> {
    /// Between two sentences: shorter than the silence a patient waits for.
    const GAP_BYTES: usize = 8 * 200;
    let name = plain(patient_name);
    let mut words: Vec<String> = plain(text);
    words.retain(|word| !name.contains(word));
    let (mut rest, mut voice) = (words.as_slice(), Vec::new());
    while !rest.is_empty() {
        let agents = CLIPS.iter().filter(|clip| clip.name.starts_with("agent_"));
        let fitting = agents.map(|clip| (clip, plain(&clip.text))).filter(|(_, said)| rest.starts_with(said));
        let (clip, said) = fitting.filter(|(_, said)| !said.is_empty()).max_by_key(|(_, said)| said.len())?;
        if !voice.is_empty() {
            voice.resize(voice.len() + GAP_BYTES, 0xFF);
        }
        voice.extend_from_slice(&clip.ulaw);
        rest = rest.get(said.len()..).unwrap_or_default();
    }
    (!voice.is_empty()).then_some(voice)
}

/// Every clip.
#[must_use]
pub fn all() -> &'static [Clip] {
    &CLIPS
}

macro_rules! embedded {
    ($($name:literal, $text:literal, $meaning:literal;)*) => {
        [$(($name, $text, $meaning, include_bytes!(concat!("../assets/", $name, ".ulaw")).as_slice())),*]
    };
}

macro_rules! spoken_texts {
    ($($name:literal,)*) => {
        [$(($name, include_bytes!(concat!("../assets/", $name, ".ulaw")).as_slice())),*]
    };
}

/// What the agent's clips of the visit say: name and text, one per line, as written when they were made.
const AGENT_TEXTS: &str = include_str!("../assets/agent_texts.tsv");

static CLIPS: LazyLock<Vec<Clip>> = LazyLock::new(|| {
    let files = embedded![
        "agent_greeting", "Hello, heart clinic check-in. How is your breathing today?", "";
        "agent_weight", "Thank you. What did you weigh this morning?", "";
        "agent_swelling", "Have your legs or ankles been swollen?", "";
        "agent_reading", "Please read the sentence on your card.", "";
        "agent_counting", "Please count from one to twenty.", "";
        "agent_vowel", "Now say ah, as long as you can.", "";
        "agent_goodbye", "Thank you, that is all. Goodbye.", "";
        "agent_repeat", "Sorry, I did not hear you. Could you say that again?", "";
        "patient_breathing_good", "My breathing is fine today, thank you.", "none";
        "patient_breathing_worse", "It is worse when I lie down. I slept in my chair.", "lying down";
        "patient_breathing_short", "I get short of breath, even at rest.", "rest";
        "patient_weight_182", "One hundred and eighty two pounds.", "182";
        "patient_weight_187", "I am up five pounds, one hundred and eighty seven.", "187";
        "patient_weight_190", "One hundred and ninety.", "190";
        "patient_swelling_none", "No, no swelling at all.", "no";
        "patient_swelling_both", "Yes, both ankles are swollen.", "yes";
        "patient_counting", "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty.", "20";
        "patient_counting_short", "One, two, three, four. Five, six, seven. Eight, nine. Ten, eleven. Twelve.", "12";
        "patient_interrupt", "Sorry, can I say something? I feel fine.", "fine";
        "patient_yes", "Yes, that is right.", "yes";
        "patient_m_dob", "April first, nineteen forty eight.", "1948-04-01";
        "patient_m_consent", "Yes, that is fine with me.", "yes";
        "patient_m_feeling", "About the same as always, thank you.", "same";
        "patient_m_weight", "The same as last week. One hundred and eighty two pounds.", "182 lb";
        "patient_m_medications", "Yes, I take all of them every day.", "as_prescribed";
        "patient_m_no", "No, thank you.", "no";
        "patient_m_chest_pain", "Not good. I have had chest pain since this morning, it feels like pressure.", "worse";
        "patient_m_nurse_yes", "Yes, please connect me.", "yes";
        "patient_f_dob", "April first, nineteen forty eight.", "1948-04-01";
        "patient_f_consent", "Yes, that is all right.", "yes";
        "patient_f_feeling_same", "About the same as last time.", "same";
        "patient_f_feeling_worse", "Worse, I am more tired than usual.", "worse";
        "patient_f_breathing_none", "No, my breathing is fine.", "none";
        "patient_f_breathing_usual", "A little, no more than usual.", "usual";
        "patient_f_breathing_stairs", "Yes, I get short of breath on the stairs now.", "exertion";
        "patient_f_pillow_no", "No, I sleep on one pillow as always.", "no";
        "patient_f_pillow_yes", "Yes, I need two more pillows now.", "yes";
        "patient_f_night_no", "No, I slept through the night.", "no";
        "patient_f_night_yes", "Yes, I woke up short of breath last night.", "yes";
        "patient_f_swelling_none", "No swelling.", "none";
        "patient_f_swelling_worse", "Yes, my ankles are more swollen than usual.", "worse";
        "patient_f_weight_same", "No, it has not changed.", "no change";
        "patient_f_weight_two", "I am up two pounds since yesterday.", "up 2 lb in 1 day";
        "patient_f_weight_three", "Yes, I gained three pounds in two days.", "up 3 lb in 2 days";
        "patient_f_weight_six", "Yes, I am up six pounds this week.", "up 6 lb in 7 days";
        "patient_f_medications", "Yes, all of them.", "as_prescribed";
        "patient_f_missed", "I missed my water pill twice this week.", "missed_1_2";
        "patient_f_yes", "Yes, please.", "yes";
        "patient_f_wrong_person", "I am sorry, you have the wrong number.", "wrong number";
        "patient_f_count_1", "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty.", "20";
        "patient_f_count_2", "One, two, three, four, five, six. Seven, eight, nine, ten, eleven, twelve, thirteen. Fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty.", "20";
        "patient_f_count_3", "One, two, three, four. Five, six, seven, eight. Nine, ten, eleven, twelve. Thirteen, fourteen, fifteen, sixteen. Seventeen, eighteen, nineteen, twenty.", "20";
        "patient_es_dob", "El primero de abril de mil novecientos cuarenta y ocho.", "1948-04-01";
        "patient_es_consent", "Sí, estoy de acuerdo.", "yes";
        "patient_es_feeling", "Me siento igual que siempre, gracias.", "same";
        "patient_es_breathing", "No, respiro bien.", "none";
        "patient_es_swelling", "No, no tengo nada de hinchazón.", "none";
        "patient_es_counting", "Uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez, once, doce, trece, catorce, quince, dieciséis, diecisiete, dieciocho, diecinueve, veinte.", "20";
        "patient_es_weight", "No ha cambiado, peso setenta y dos kilos.", "72 kg";
        "patient_es_medications", "Sí, las tomo todos los días.", "as_prescribed";
        "patient_es_no", "No, gracias.", "no";
        "patient_es_yes", "Sí.", "yes";
        "librivox_0870", "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do for them.", "read";
        "librivox_0880", "He was not an ill-disposed young man.", "read";
        "librivox_0890", "Unless to be rather cold hearted and rather selfish is to be ill-disposed.", "read";
        "librivox_0920", "Had he married a more amiable woman, he might have been made still more respectable than he was.", "read";
        "librivox_0930", "He might even have been made amiable himself.", "read";
    ];
    let spoken = spoken_texts![
        "agent_en_greeting",
        "agent_en_identify",
        "agent_en_identify_again",
        "agent_en_consent",
        "agent_en_wrong_person",
        "agent_en_not_identified",
        "agent_en_repeat",
        "agent_en_repeat_task",
        "agent_en_red_flag",
        "agent_en_self_harm",
        "agent_en_offer_nurse",
        "agent_en_transfer",
        "agent_en_closing",
        "agent_en_feeling",
        "agent_en_dyspnea",
        "agent_en_orthopnea",
        "agent_en_nocturnal_dyspnea",
        "agent_en_swelling",
        "agent_en_counting",
        "agent_en_vowel",
        "agent_en_weight",
        "agent_en_medications",
        "agent_es_greeting",
        "agent_es_identify",
        "agent_es_identify_again",
        "agent_es_consent",
        "agent_es_wrong_person",
        "agent_es_not_identified",
        "agent_es_repeat",
        "agent_es_repeat_task",
        "agent_es_red_flag",
        "agent_es_self_harm",
        "agent_es_offer_nurse",
        "agent_es_transfer",
        "agent_es_closing",
        "agent_es_feeling",
        "agent_es_dyspnea",
        "agent_es_orthopnea",
        "agent_es_nocturnal_dyspnea",
        "agent_es_swelling",
        "agent_es_counting",
        "agent_es_vowel",
        "agent_es_weight",
        "agent_es_medications",
    ];
    let mut clips: Vec<Clip> = files
        .into_iter()
        .map(|(name, text, meaning, bytes)| Clip {
            name: Cow::Borrowed(name),
            text: Cow::Borrowed(text),
            meaning: Cow::Borrowed(meaning),
            ulaw: Arc::from(bytes),
        })
        .collect();
    for (name, bytes) in spoken {
        let text = AGENT_TEXTS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t')).unwrap_or_default();
        let (name, text) = (Cow::Borrowed(name), Cow::Borrowed(text));
        clips.push(Clip { name, text, meaning: Cow::Borrowed(""), ulaw: Arc::from(bytes) });
    }
    for (name, f0_hz, jitter, shimmer, hnr_db, ms) in [
        ("vowel_steady", 118.0, 0.4, 2.5, 22.0, 3_000),
        ("vowel_female", 196.0, 0.6, 3.5, 20.0, 2_600),
        ("vowel_breathy", 109.0, 1.6, 8.0, 11.0, 2_000),
    ] {
        clips.push(Clip {
            name: Cow::Borrowed(name),
            text: Cow::Borrowed("Ahhh."),
            meaning: Cow::Borrowed("ah"),
            ulaw: synth::vowel(f0_hz, jitter, shimmer, hnr_db, ms).into(),
        });
    }
    clips
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_there_named_once_and_small() {
        let total: usize = all().iter().map(|clip| clip.ulaw.len()).sum();
        assert!(total < 4_000_000, "{total}");
        for clip in all() {
            assert!(clip.duration_ms() > 400, "{}", clip.name);
            assert_eq!(all().iter().filter(|other| other.name == clip.name).count(), 1);
        }
        assert!(clip("no such clip").is_none());
    }
}
