//! Audio formats of the agents service and the cutting of speech into chunks.

/// An audio format an agent can be set to, by its ElevenLabs name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum AudioFormat {
    #[default]
    Ulaw8000,
    Pcm8000,
    Pcm16000,
    Pcm22050,
    Pcm24000,
    Pcm44100,
    Pcm48000,
}

const ALL: [(AudioFormat, &str, u32); 7] = [
    (AudioFormat::Ulaw8000, "ulaw_8000", 8_000),
    (AudioFormat::Pcm8000, "pcm_8000", 8_000),
    (AudioFormat::Pcm16000, "pcm_16000", 16_000),
    (AudioFormat::Pcm22050, "pcm_22050", 22_050),
    (AudioFormat::Pcm24000, "pcm_24000", 24_000),
    (AudioFormat::Pcm44100, "pcm_44100", 44_100),
    (AudioFormat::Pcm48000, "pcm_48000", 48_000),
];

impl AudioFormat {
    /// The format with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, n, _)| *n == name).map(|(format, _, _)| *format)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(f, _, _)| *f == self).map_or("ulaw_8000", |(_, name, _)| name)
    }

    /// All names.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        ALL.iter().map(|(_, name, _)| *name).collect()
    }

    /// Samples per second.
    #[must_use]
    pub fn rate(self) -> u32 {
        ALL.iter().find(|(f, _, _)| *f == self).map_or(8_000, |(_, _, rate)| *rate)
    }
}
