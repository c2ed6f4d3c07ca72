//! Who carries the calls, from the settings: the agent, and those who take over when it does not answer.

use super::Config;
use super::variables::listed;
use call::agent::Member;
use server::{ElevenLabsSettings, OpenAiSettings};

/// What each backup needs in order to be configured.
const NEEDS: [(Member, &str); 2] = [
    (
        Member::ElevenLabsBackup,
        "ELEVENLABS_BACKUP_BASE_URL, ELEVENLABS_BACKUP_AGENT_ID or ELEVENLABS_BACKUP_API_KEY, and ELEVENLABS_API_KEY and \
         ELEVENLABS_AGENT_ID for what the backup shares with the agent",
    ),
    (Member::OpenAi, "OPENAI_API_KEY"),
];

impl Config {
    /// The agent; `None` when calls go to the backups at once.
    pub(super) fn elevenlabs(&self) -> Option<ElevenLabsSettings> {
        let (api_key, agent_id) = self.secret("ELEVENLABS_API_KEY").zip(self.get("ELEVENLABS_AGENT_ID"))?;
        let base_url = self.word("ELEVENLABS_BASE_URL");
        Some(ElevenLabsSettings { base_url, api_key, agent_id: agent_id.to_owned() })
    }

    /// A second agent: whatever is set of it, and the rest as with the first one.
    pub(super) fn elevenlabs_backup(&self) -> Option<ElevenLabsSettings> {
        let own = |name: &str| self.get(&format!("ELEVENLABS_BACKUP_{name}"));
        ["BASE_URL", "AGENT_ID", "API_KEY"].into_iter().find_map(own)?;
        let or_first = |name: &str| own(name).or_else(|| self.get(&format!("ELEVENLABS_{name}")));
        Some(ElevenLabsSettings {
            base_url: or_first("BASE_URL")?.to_owned(),
            api_key: or_first("API_KEY")?.into(),
            agent_id: or_first("AGENT_ID")?.to_owned(),
        })
    }

    /// A model of OpenAI.
    pub(super) fn openai(&self) -> Option<OpenAiSettings> {
        Some(OpenAiSettings {
            base_url: self.word("OPENAI_BASE_URL").trim_end_matches('/').to_owned(),
            api_key: self.secret("OPENAI_API_KEY")?,
            model: self.word("OPENAI_REALTIME_MODEL"),
            voice: self.word("OPENAI_VOICE"),
        })
    }

    fn is_configured(&self, member: Member) -> bool {
        match member {
            Member::ElevenLabs => self.elevenlabs().is_some(),
            Member::ElevenLabsBackup => self.elevenlabs_backup().is_some(),
            Member::OpenAi => self.openai().is_some(),
            Member::Script => true,
        }
    }

    /// Who takes over, in order: as `BACKUP_CHAIN` says, otherwise everybody who is configured, and the script at last.
    pub(super) fn backup_chain(&self) -> Vec<Member> {
        match self.get("BACKUP_CHAIN") {
            Some(names) => listed(names).into_iter().filter_map(Member::parse).collect(),
            None => {
                let backups = Member::ALL.into_iter().filter(|member| *member != Member::ElevenLabs);
                backups.filter(|member| self.is_configured(*member)).collect()
            }
        }
    }

    /// A chain whose members exist, each of them once. That no agent at all is configured is no mistake: the script
    /// needs none.
    pub(super) fn check_agents(&mut self) {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        if let Some(found) = self.found("BACKUP_CHAIN") {
            let names = listed(&found.value);
            for (place, name) in names.iter().enumerate() {
                if names.iter().take(place).any(|before| before == name) {
                    problems.push(format!(
                        "BACKUP_CHAIN: expected each name once, got {name} twice (from {})",
                        found.origin
                    ));
                }
                // An unknown name was refused with what is known when the value was checked.
                let Some(member) = Member::parse(name) else { continue };
                if let Some((_, needed)) =
                    NEEDS.iter().find(|(needs, _)| *needs == member && !self.is_configured(member))
                {
                    problems.push(format!(
                        "BACKUP_CHAIN: expected {needed}, because it names {name} (from {})",
                        found.origin
                    ));
                }
            }
            for (member, _) in NEEDS {
                if self.is_configured(member) && !names.contains(&member.as_str()) {
                    warnings.push(format!("{member} is configured, but BACKUP_CHAIN leaves it out: it takes no call"));
                }
            }
        }
        let backup = ["BASE_URL", "AGENT_ID", "API_KEY"].map(|name| format!("ELEVENLABS_BACKUP_{name}"));
        if backup.iter().any(|name| self.get(name).is_some()) && self.elevenlabs_backup().is_none() {
            warnings
                .push("the second agent is not used: it has no key or no identifier of its own or of the first".into());
        }
        self.problems.extend(problems);
        self.warnings.extend(warnings);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::sources;
    use super::*;
    use secrecy::ExposeSecret;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_layers(&[sources::environment(pairs)], Vec::new())
    }

    const FIRST: [(&str, &str); 2] = [("ELEVENLABS_API_KEY", "sk_1"), ("ELEVENLABS_AGENT_ID", "agent_1")];

    #[test]
    fn without_any_agent_the_script_takes_every_call() {
        let config = config(&[]);
        assert_eq!(config.backup_chain(), [Member::Script]);
        assert!(config.elevenlabs().is_none() && config.elevenlabs_backup().is_none() && config.openai().is_none());
        assert!(
            !config.problems.iter().any(|p| p.contains("ELEVENLABS") || p.contains("CHAIN")),
            "{:?}",
            config.problems
        );
    }

    #[test]
    fn everybody_configured_takes_over_in_the_usual_order() {
        let set = [&FIRST[..], &[("OPENAI_API_KEY", "sk-2"), ("ELEVENLABS_BACKUP_BASE_URL", "https://api.eu.example")]];
        let config = config(&set.concat());
        assert_eq!(config.backup_chain(), [Member::ElevenLabsBackup, Member::OpenAi, Member::Script]);
        let backup = config.elevenlabs_backup().unwrap();
        assert_eq!((backup.base_url.as_str(), backup.agent_id.as_str()), ("https://api.eu.example", "agent_1"));
        assert_eq!(backup.api_key.expose_secret(), "sk_1", "the last two are the first agent's");
        let openai = config.openai().unwrap();
        assert_eq!((openai.base_url.as_str(), openai.model.as_str()), ("https://api.openai.com/v1", "gpt-realtime"));
        assert_eq!(config.warnings.iter().filter(|w| w.contains("BACKUP_CHAIN")).count(), 0);
    }

    #[test]
    fn the_chain_is_as_it_is_written() {
        let config = config(&[("OPENAI_API_KEY", "sk-2"), ("BACKUP_CHAIN", "script, openai")]);
        assert_eq!(config.backup_chain(), [Member::Script, Member::OpenAi]);
    }

    #[test]
    fn what_is_unknown_unconfigured_or_twice_is_named() {
        for (pairs, said) in [
            (&[("BACKUP_CHAIN", "gemini,script")][..], "elevenlabs-backup, openai, script"),
            (&[("BACKUP_CHAIN", "openai,script")], "expected OPENAI_API_KEY"),
            (&[("BACKUP_CHAIN", "elevenlabs-backup")], "ELEVENLABS_BACKUP_BASE_URL"),
            (&[("BACKUP_CHAIN", "script,script")], "each name once"),
        ] {
            let config = config(pairs);
            assert!(config.problems.iter().any(|problem| problem.contains(said)), "{pairs:?}: {:?}", config.problems);
        }
        let unused = config(&[("OPENAI_API_KEY", "sk-2"), ("BACKUP_CHAIN", "script")]);
        assert!(unused.warnings.iter().any(|warning| warning.contains("openai")), "{:?}", unused.warnings);
        let alone = config(&[("ELEVENLABS_BACKUP_BASE_URL", "https://api.eu.example")]);
        assert!(alone.elevenlabs_backup().is_none());
        assert!(alone.warnings.iter().any(|warning| warning.contains("second agent")), "{:?}", alone.warnings);
    }
}
