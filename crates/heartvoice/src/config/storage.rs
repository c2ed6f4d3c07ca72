//! Where records and recordings are, and what keeps their keys, from the settings.

use super::{Config, Origin};
use crate::failure::bad_input;
use std::path::PathBuf;
use store::{
    AudioConfig, AudioLocation, KeyService, KeyServiceError, MasterKey, StorePlaces, TransitConfig, VaultTransit,
};

impl Config {
    /// Where records and recordings are.
    pub(crate) fn store(&self) -> StorePlaces {
        // Settings that cannot be used were found by the check, and nothing is opened then.
        let audio = self.audio().unwrap_or_else(|_| AudioConfig {
            location: AudioLocation::Directory(PathBuf::from(self.word("AUDIO_STORE"))),
            spool: PathBuf::from(self.word("AUDIO_SPOOL")),
        });
        StorePlaces { database_url: self.word("DATABASE_URL"), audio }
    }

    /// Where records wait that the database does not take: beside the recordings, or where those wait.
    pub(crate) fn spool_dir(&self) -> PathBuf {
        if let Some(dir) = self.get("SPOOL_DIR") {
            return PathBuf::from(dir);
        }
        let audio = self.word("AUDIO_STORE");
        if audio.starts_with("s3:") {
            return PathBuf::from(self.word("AUDIO_SPOOL"));
        }
        PathBuf::from(audio).parent().unwrap_or_else(|| std::path::Path::new(".")).join("heartvoice-spool")
    }

    fn audio(&self) -> Result<AudioConfig, store::StoreError> {
        let spool = PathBuf::from(self.word("AUDIO_SPOOL"));
        AudioConfig::from_settings(&self.word("AUDIO_STORE"), spool, |name| self.get(name).map(str::to_owned))
    }

    /// What wraps the installation's keys.
    ///
    /// # Errors
    /// When neither a key nor a key service is set.
    pub(crate) fn key_service(&self) -> anyhow::Result<KeyService> {
        if let Some(transit) = self.transit("VAULT_TRANSIT_KEY")? {
            return Ok(transit.into());
        }
        let expected = "ENCRYPTION_KEY: expected 64 hexadecimal digits, but it is not set; \
            `heartvoice keys generate` makes a key (keep it safe: without it nothing can be read); \
            or VAULT_ADDR and VAULT_TRANSIT_KEY, for a key that Vault keeps";
        let key = self.get("ENCRYPTION_KEY").ok_or_else(|| bad_input(expected))?;
        Ok(MasterKey::from_hex(key)?.into())
    }

    /// What is to wrap the installation's keys from now on.
    ///
    /// # Errors
    /// When it is not clear what that should be.
    pub(crate) fn next_key_service(&self) -> anyhow::Result<KeyService> {
        if let Some(transit) = self.transit("VAULT_TRANSIT_KEY_NEXT")? {
            return Ok(transit.into());
        }
        if let Some(key) = self.get("ENCRYPTION_KEY_NEXT") {
            return Ok(MasterKey::from_hex(key)?.into());
        }
        // The newest version of the key that is in use.
        if let Some(transit) = self.transit("VAULT_TRANSIT_KEY")? {
            return Ok(transit.into());
        }
        Err(bad_input(
            "ENCRYPTION_KEY_NEXT: expected the new master key (`heartvoice keys generate` makes one), or \
             VAULT_TRANSIT_KEY_NEXT with VAULT_ADDR and VAULT_TOKEN, but neither is set",
        ))
    }

    /// The key of Vault that the setting `key` names, if it is set.
    fn transit(&self, key: &str) -> Result<Option<VaultTransit>, KeyServiceError> {
        let setting = |name: &str| match name {
            "VAULT_TRANSIT_KEY" => self.get(key).map(str::to_owned),
            // A token in a file is read again before each request, because somebody keeps it fresh.
            "VAULT_TOKEN_FILE" => match &self.found("VAULT_TOKEN")?.origin {
                Origin::File { path, .. } => Some(path.clone()),
                _ => None,
            },
            name => self.get(name).map(str::to_owned),
        };
        TransitConfig::from_settings(setting)?.map(VaultTransit::new).transpose()
    }

    /// Settings of storage and keys that contradict each other or cannot be used.
    pub(super) fn check_storage(&mut self) {
        let mut problems = Vec::new();
        for (one, other, purpose) in [
            ("ENCRYPTION_KEY", "VAULT_TRANSIT_KEY", "to wrap the keys"),
            ("ENCRYPTION_KEY_NEXT", "VAULT_TRANSIT_KEY_NEXT", "to wrap the keys anew"),
        ] {
            if self.get(one).is_some() && self.get(other).is_some() {
                problems.push(format!("{one} and {other}: expected one of them {purpose}, but both are set"));
            }
        }
        for key in ["VAULT_TRANSIT_KEY", "VAULT_TRANSIT_KEY_NEXT"] {
            if let Err(error) = self.transit(key) {
                problems.push(error.to_string());
            }
        }
        if let Err(error) = self.audio() {
            problems.push(error.to_string());
        }
        if self.get("VAULT_ADDR").is_some()
            && self.get("VAULT_TRANSIT_KEY").is_none()
            && self.get("VAULT_TRANSIT_KEY_NEXT").is_none()
        {
            self.warnings.push("VAULT_TRANSIT_KEY is not set: VAULT_ADDR is not used".to_owned());
        }
        problems.dedup();
        self.problems.extend(problems);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Config, sources};
    use store::{AudioLocation, KeyService};

    const KEY: &str = "9f1c6a0b7de24835f0e1b7c25d93a846e2c4f81790ab3d5c6e7f8091a2b3c4d5";
    const VAULT: [(&str, &str); 3] = [
        ("VAULT_ADDR", "https://vault.example.org:8200"),
        ("VAULT_TRANSIT_KEY", "heartvoice"),
        ("VAULT_TOKEN", "s.token"),
    ];

    fn config(pairs: &[(&str, &str)]) -> Config {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_layers(&[sources::environment(pairs)], Vec::new())
    }

    #[test]
    fn a_master_key_or_a_key_service_but_not_both() {
        assert!(matches!(config(&[("ENCRYPTION_KEY", KEY)]).key_service().unwrap(), KeyService::Local(_)));
        let vault = config(&VAULT);
        assert!(vault.problems.is_empty(), "{:?}", vault.problems);
        let service = vault.key_service().unwrap();
        assert!(matches!(service, KeyService::Transit(_)), "{service:?}");
        let both = config(&[&VAULT[..], &[("ENCRYPTION_KEY", KEY)]].concat());
        let line = both.problems.join("; ");
        assert!(line.contains("ENCRYPTION_KEY and VAULT_TRANSIT_KEY") && !line.contains(KEY), "{line}");
        let open = config(&[("VAULT_ADDR", "http://vault.example.org"), VAULT[1], VAULT[2]]);
        assert!(open.problems.join("; ").contains("VAULT_ADDR: expected https"), "{:?}", open.problems);
        let tokenless = config(&VAULT[..2]);
        assert!(tokenless.problems.join("; ").contains("VAULT_TOKEN: expected"), "{:?}", tokenless.problems);
        assert_eq!(config(&[("ENCRYPTION_KEY", KEY), VAULT[0]]).warnings.len(), 1);
    }

    #[test]
    fn the_spool_is_beside_the_recordings_unless_it_is_named() {
        let dir = |pairs: &[(&str, &str)]| config(pairs).spool_dir().display().to_string();
        assert_eq!(dir(&[]), "./heartvoice-spool");
        assert_eq!(dir(&[("AUDIO_STORE", "/var/lib/heartvoice/audio")]), "/var/lib/heartvoice/heartvoice-spool");
        assert_eq!(dir(&[("AUDIO_STORE", "s3://b/p"), ("AUDIO_SPOOL", "/var/spool/hv")]), "/var/spool/hv");
        assert_eq!(dir(&[("SPOOL_DIR", "/mnt/other")]), "/mnt/other");
    }

    #[test]
    fn what_is_to_come_is_named_apart_from_what_is() {
        let missing = config(&[("ENCRYPTION_KEY", KEY)]).next_key_service().unwrap_err().to_string();
        assert!(missing.contains("ENCRYPTION_KEY_NEXT"), "{missing}");
        let next = KEY.replace('9', "8");
        let local = config(&[("ENCRYPTION_KEY", KEY), ("ENCRYPTION_KEY_NEXT", &next)]);
        assert!(local.problems.is_empty());
        assert_ne!(local.next_key_service().unwrap().id(), local.key_service().unwrap().id());
        let to_vault = config(&[("ENCRYPTION_KEY", KEY), VAULT[0], ("VAULT_TRANSIT_KEY_NEXT", "hv"), VAULT[2]]);
        assert!(to_vault.problems.is_empty(), "{:?}", to_vault.problems);
        assert!(matches!(to_vault.key_service().unwrap(), KeyService::Local(_)));
        assert!(matches!(to_vault.next_key_service().unwrap(), KeyService::Transit(_)));
        let from_vault = config(&[&VAULT[..], &[("ENCRYPTION_KEY_NEXT", KEY)]].concat());
        assert!(from_vault.problems.is_empty(), "{:?}", from_vault.problems);
        assert!(matches!(from_vault.next_key_service().unwrap(), KeyService::Local(_)));
        // The next version of the same key.
        let vault = config(&VAULT);
        assert_eq!(vault.next_key_service().unwrap().id(), vault.key_service().unwrap().id());
    }

    #[test]
    fn a_token_in_a_file_stays_in_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s.first\n").unwrap();
        let path = file.path().display().to_string();
        let config = config(&[VAULT[0], VAULT[1], ("VAULT_TOKEN_FILE", &path)]);
        assert!(config.problems.is_empty(), "{:?}", config.problems);
        let found = config.found("VAULT_TOKEN").unwrap();
        assert!(matches!(&found.origin, super::Origin::File { path: named, .. } if *named == path));
        assert!(config.key_service().is_ok());
    }

    #[test]
    fn an_object_store_needs_its_credentials() {
        let bare = config(&[("AUDIO_STORE", "s3://clinic-audio/one")]);
        assert!(bare.problems.join("; ").contains("AWS_ACCESS_KEY_ID: expected"), "{:?}", bare.problems);
        let whole = config(&[
            ("AUDIO_STORE", "s3://clinic-audio/one"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "very-secret"),
            ("AUDIO_SPOOL", "/var/spool/heartvoice"),
        ]);
        assert!(whole.problems.is_empty(), "{:?}", whole.problems);
        let places = whole.store();
        assert!(matches!(places.audio.location, AudioLocation::S3(_)) && places.audio.spool.ends_with("heartvoice"));
        assert!(matches!(config(&[]).store().audio.location, AudioLocation::Directory(_)));
    }
}
