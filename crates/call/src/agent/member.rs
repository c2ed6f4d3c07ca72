//! Who can carry a conversation: the members of the chain that a call goes along when one of them fails.

use std::fmt;

/// A member of the chain, by the name that settings, records, metrics and the outer contract use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The ElevenLabs agent that carries calls normally.
    ElevenLabs,
    /// A second ElevenLabs endpoint: another region, or another agent.
    ElevenLabsBackup,
    /// The OpenAI Realtime API.
    OpenAi,
    /// No language model: questions as call instructions, answered by voice or keys.
    Script,
}

impl Member {
    /// Every member, in the order in which they stand in for each other unless the settings say otherwise.
    pub const ALL: [Self; 4] = [Self::ElevenLabs, Self::ElevenLabsBackup, Self::OpenAi, Self::Script];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ElevenLabs => "elevenlabs",
            Self::ElevenLabsBackup => "elevenlabs-backup",
            Self::OpenAi => "openai",
            Self::Script => "script",
        }
    }

    /// The member with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.as_str() == text)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for member in Member::ALL {
            assert_eq!(Member::parse(member.as_str()), Some(member));
        }
        assert_eq!(Member::parse("Script"), None);
    }
}
