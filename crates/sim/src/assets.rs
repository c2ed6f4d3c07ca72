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
        "librivox_0870", "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do for them.", "read";
        "librivox_0880", "He was not an ill-disposed young man.", "read";
        "librivox_0890", "Unless to be rather cold hearted and rather selfish is to be ill-disposed.", "read";
        "librivox_0920", "Had he married a more amiable woman, he might have been made still more respectable than he was.", "read";
        "librivox_0930", "He might even have been made amiable himself.", "read";
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
        assert!(total < 1_500_000, "{total}");
        for clip in all() {
            assert!(clip.duration_ms() > 800, "{}", clip.name);
            assert_eq!(all().iter().filter(|other| other.name == clip.name).count(), 1);
        }
        assert!(clip("no such clip").is_none());
    }
}
