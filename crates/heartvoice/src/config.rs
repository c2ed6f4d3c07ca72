//! Settings: where they come from, whether they make sense, and what the other crates need of them.
//!
//! Reading never stops at the first mistake: [`Config::load`] collects every problem, so that they can be mended at
//! once. Values that are wrong are named with what was expected and where they stand, secrets never with their content.

mod agents;
mod sources;
mod staff;
mod storage;
mod variables;

pub(crate) use sources::{Found, Origin};
pub(crate) use variables::Variable;

use crate::failure::bad_input;
use crate::logging::{self, LogFormat};
use clinic::protocol::Protocol;
use clinic::risk::Model;
use secrecy::SecretString;
use sources::Layer;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Flags that stand for settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) port: Option<u16>,
    pub(crate) bind: Option<IpAddr>,
}

/// What the settings say.
#[derive(Debug)]
pub(crate) struct Config {
    settings: Vec<(&'static Variable, Option<Found>)>,
    /// What makes the settings unusable.
    pub(crate) problems: Vec<String>,
    /// What works, but probably not as meant.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads all sources: the file of `--config`, `.env` in the working directory, the environment, the flags.
    pub(crate) fn load(file: Option<&Path>, flags: &Overrides) -> Self {
        let (mut layers, mut problems) = (Vec::new(), Vec::new());
        let mut add = |(layer, found): (Layer, Vec<String>)| {
            layers.push(layer);
            problems.extend(found);
        };
        if let Some(path) = file {
            let name = path.display().to_string();
            add(match std::fs::read_to_string(path) {
                Ok(text) => sources::toml_file(&name, &text),
                Err(error) => (Layer::new(), vec![format!("--config: cannot read {name}: {error}")]),
            });
        }
        match std::fs::read_to_string(".env") {
            Ok(text) => add(sources::dotenv(".env", &text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => add((Layer::new(), vec![format!(".env: cannot be read: {error}")])),
        }
        // Values that are not Unicode cannot be meant for us.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        add((sources::environment(variables), Vec::new()));
        add((flag_layer(flags), Vec::new()));
        Self::from_layers(&layers, problems)
    }

    fn from_layers(layers: &[Layer], mut problems: Vec<String>) -> Self {
        let (mut settings, unreadable) = sources::resolve_all(layers);
        problems.extend(unreadable);
        fill_dependent_defaults(&mut settings);
        for (variable, found) in &settings {
            let Some(found) = found else { continue };
            if let Err(expected) = variable.kind.check(&found.value) {
                let got =
                    if variable.kind.may_be_repeated() { format!(", got {:?}", found.value) } else { String::new() };
                problems.push(format!("{}: expected {expected}{got} (from {})", variable.name, found.origin));
            }
        }
        let mut config = Self { settings, problems, warnings: Vec::new() };
        config.check_storage();
        config.check_production();
        config.check_pairs();
        config.check_agents();
        config
    }

    /// Every setting and where it comes from.
    pub(crate) fn settings(&self) -> &[(&'static Variable, Option<Found>)] {
        &self.settings
    }

    fn found(&self, name: &str) -> Option<&Found> {
        self.settings.iter().find(|(variable, _)| variable.name == name)?.1.as_ref()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.found(name).map(|found| found.value.as_str())
    }

    pub(crate) fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    fn phone(&self, name: &str) -> Option<clinic::PhoneNumber> {
        self.get(name).and_then(|number| clinic::PhoneNumber::parse(number).ok())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(|number| number.parse().ok())
    }

    fn word(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(crate) fn is_production(&self) -> bool {
        self.get("HEARTVOICE_ENV") == Some("production")
    }

    /// What must not be so where real patients call.
    fn check_production(&mut self) {
        if !self.is_production() {
            return;
        }
        let mut problems = Vec::new();
        let because = "because HEARTVOICE_ENV is production";
        let base = self.public_base_url();
        if !base.starts_with("https://") {
            problems.push(format!("PUBLIC_BASE_URL: expected an https:// address {because}"));
        }
        match self.get("ENCRYPTION_KEY") {
            None if self.get("VAULT_TRANSIT_KEY").is_some() => {}
            None => problems.push(format!("ENCRYPTION_KEY: expected 64 hexadecimal digits {because}")),
            Some(key) if is_obvious(key) => problems.push(format!("ENCRYPTION_KEY: expected a random key {because}")),
            Some(_) => {}
        }
        if self.get("TWILIO_AUTH_TOKEN").is_none() {
            problems.push(format!("TWILIO_AUTH_TOKEN: expected the token Twilio signs with {because}"));
        }
        if self.get("STAFF_WEBHOOK_URL").is_some() && self.get("STAFF_WEBHOOK_SECRET").is_none() {
            problems.push(format!("STAFF_WEBHOOK_SECRET: expected the key to sign alerts with {because}"));
        }
        let is_sealed = |url: &str| url.starts_with("smtps://") || url.contains("tls=required");
        if self.get("SMTP_URL").is_some_and(|url| !is_sealed(url) && !is_loopback(url)) {
            problems.push(format!("SMTP_URL: expected smtps:// or smtp://…?tls=required {because}"));
        }
        if self.get("DATABASE_URL").is_some_and(|url| !store::is_private_connection(url)) {
            problems.push(format!(
                "DATABASE_URL: expected ?sslmode=verify-full&sslrootcert=FILE for a database on another machine {because}"
            ));
        }
        for name in [
            "ELEVENLABS_BASE_URL",
            "ELEVENLABS_BACKUP_BASE_URL",
            "OPENAI_BASE_URL",
            "TWILIO_BASE_URL",
            "STAFF_WEBHOOK_URL",
        ] {
            if self.get(name).is_some_and(|url| url.starts_with("http://") && !is_loopback(url)) {
                problems.push(format!("{name}: expected an https:// address {because}"));
            }
        }
        let sealed = self.tls().is_some() || self.get("BEHIND_PROXY") == Some("true");
        if !sealed && !self.bind().ip().is_loopback() {
            problems.push(format!(
                "BIND_ADDR: expected 127.0.0.1, or TLS_CERT_FILE and TLS_KEY_FILE, or BEHIND_PROXY=true where a proxy on \
                 a private network speaks TLS for us, {because}"
            ));
        }
        self.problems.extend(problems);
    }

    /// Settings that only make sense together.
    fn check_pairs(&mut self) {
        if let Err(error) = self.retention() {
            self.problems.push(error.to_string());
        }
        let pairs = [
            ("ELEVENLABS_API_KEY", "ELEVENLABS_AGENT_ID", "the agent is not configured"),
            ("TWILIO_API_KEY_SID", "TWILIO_API_KEY_SECRET", "the API key is not used"),
            ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "Twilio is not configured"),
            ("STAFF_EMAIL", "SMTP_URL", "no mail is sent"),
            ("OIDC_ISSUER", "OIDC_CLIENT_ID", "nobody signs in through the identity provider"),
            ("STAFF_WEBHOOK_URL", "STAFF_WEBHOOK_SECRET", "alerts told to the webhook are not signed"),
        ];
        for (one, other, effect) in pairs {
            let missing = match (self.get(one).is_some(), self.get(other).is_some()) {
                (true, false) => other,
                (false, true) => one,
                _ => continue,
            };
            self.warnings.push(format!("{missing} is not set: {effect}"));
        }
        for (one, other) in [("TLS_CERT_FILE", "TLS_KEY_FILE"), ("TLS_KEY_FILE", "TLS_CERT_FILE")] {
            if self.get(one).is_some() && self.get(other).is_none() {
                self.problems.push(format!("{other}: expected the name of a PEM file because {one} is set"));
            }
        }
        let texts = ["TWILIO_ACCOUNT_SID", "TWILIO_PHONE_NUMBER"];
        for name in texts {
            if self.get("STAFF_PHONE").is_some() && self.get(name).is_none() {
                self.warnings.push(format!("{name} is not set: no text messages are sent to STAFF_PHONE"));
            }
        }
    }

    /// # Errors
    /// All problems on one line.
    pub(crate) fn require_valid(&self) -> anyhow::Result<()> {
        if self.problems.is_empty() { Ok(()) } else { Err(bad_input(self.problems.join("; "))) }
    }

    /// Starts logging as the settings want it.
    pub(crate) fn init_logging(&self, default_filter: &str) -> anyhow::Result<()> {
        let json = self.get("HEARTVOICE_LOG_FORMAT") == Some("json");
        let format = if json { LogFormat::Json } else { LogFormat::Text };
        let set = self.found("HEARTVOICE_LOG").filter(|found| found.origin != Origin::Default);
        logging::init(set.map_or(default_filter, |found| found.value.as_str()), format)
    }

    /// Where to listen.
    pub(crate) fn bind(&self) -> SocketAddr {
        let address = self.get("BIND_ADDR").and_then(variables::address).unwrap_or(IpAddr::from([127, 0, 0, 1]));
        SocketAddr::new(address, self.get("PORT").and_then(|port| port.parse().ok()).unwrap_or_default())
    }

    /// TLS on our own port, if it is set.
    pub(crate) fn tls(&self) -> Option<server::TlsSettings> {
        let (certificate, key) = self.get("TLS_CERT_FILE").zip(self.get("TLS_KEY_FILE"))?;
        let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
        Some(server::TlsSettings { certificate, key, look_every: server::limits::CERTIFICATE_LOOK })
    }

    /// Sees whether the certificate and its key can be used. Only who serves or is asked to check needs to read them.
    pub(crate) fn check_tls_files(&mut self) {
        if let Some(Err(error)) = self.tls().map(|tls| tls.check()) {
            self.problems.push(error.to_string());
        }
    }

    /// The address Twilio reaches us at.
    pub(crate) fn public_base_url(&self) -> String {
        self.word("PUBLIC_BASE_URL").trim_end_matches('/').to_owned()
    }

    /// The server's settings.
    pub(crate) fn server(&self) -> server::Settings {
        let api_key = self.get("TWILIO_API_KEY_SID").map(str::to_owned).zip(self.secret("TWILIO_API_KEY_SECRET"));
        server::Settings {
            bind: self.bind(),
            tls: self.tls(),
            trusted_proxies: self.get("TRUSTED_PROXIES").and_then(|text| text.parse().ok()).unwrap_or_default(),
            idle_connection: server::limits::IDLE_CONNECTION,
            public_base_url: self.public_base_url(),
            elevenlabs: self.elevenlabs(),
            elevenlabs_backup: self.elevenlabs_backup(),
            openai: self.openai(),
            backup_chain: self.backup_chain(),
            elevenlabs_webhook_secret: self.secret("ELEVENLABS_WEBHOOK_SECRET"),
            twilio: server::TwilioSettings {
                account_sid: self.get("TWILIO_ACCOUNT_SID").map(str::to_owned),
                auth_token: self.secret("TWILIO_AUTH_TOKEN"),
                api_key,
                base_url: self.word("TWILIO_BASE_URL"),
                phone_number: self.phone("TWILIO_PHONE_NUMBER"),
            },
            voice_fallback_url: self.get("VOICE_FALLBACK_URL").map(str::to_owned),
            identity_provider: self.identity_provider(),
            staff: staff::settings(self),
            call: call::CallConfig::default(),
            max_calls: server::limits::CALLS_MAX,
            max_outgoing_calls: self.number("OUTGOING_CALLS").unwrap_or(server::limits::OUTGOING_CALLS),
            spool_dir: Some(self.spool_dir()),
            fallback: staff::fallback(self),
            outgoing_per_second: self.number("OUTGOING_PER_SECOND").unwrap_or(server::limits::OUTGOING_PER_SECOND),
            protocol: self.protocol(),
            model: self.model("RISK_MODEL").unwrap_or_default(),
            shadow_model: self.model("SHADOW_MODEL"),
            audit_checkpoint_file: self.get("AUDIT_CHECKPOINT_FILE").map(PathBuf::from),
        }
    }

    /// The clinic's identity provider, if it is set.
    fn identity_provider(&self) -> Option<server::IdentityProvider> {
        let (issuer, client_id) = self.get("OIDC_ISSUER").zip(self.get("OIDC_CLIENT_ID"))?;
        Some(server::IdentityProvider {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: self.secret("OIDC_CLIENT_SECRET"),
            trust_second_factor: self.get("OIDC_TRUST_MFA") == Some("true"),
        })
    }

    /// The clinical protocol in force.
    pub(crate) fn protocol(&self) -> Arc<Protocol> {
        let own = self.get("PROTOCOL").and_then(|text| Protocol::parse(text).ok());
        own.map_or_else(Protocol::shipped, Arc::new)
    }

    /// A risk model, if one is set.
    pub(crate) fn model(&self, name: &str) -> Option<Arc<Model>> {
        self.get(name).and_then(|text| Model::from_json(text).ok()).map(Arc::new)
    }

    /// Name and version of the protocol or the model that a setting holds or stands for.
    pub(crate) fn named_version(&self, name: &str) -> Option<String> {
        if name == "PROTOCOL" {
            let protocol = self.protocol();
            return Some(format!("{} {}", protocol.name, protocol.version));
        }
        let model = self.model(name).or_else(|| (name == "RISK_MODEL").then(Arc::default))?;
        Some(format!("{} {}", model.name, model.version))
    }

    /// The account of the agents service.
    ///
    /// # Errors
    /// When its key is not set.
    pub(crate) fn agents_account(&self) -> anyhow::Result<server::agent_admin::Account> {
        let missing = "ELEVENLABS_API_KEY: expected a key of the ElevenLabs account, but it is not set";
        let key = self.secret("ELEVENLABS_API_KEY").ok_or_else(|| bad_input(missing))?;
        Ok(server::agent_admin::Account::new(&self.word("ELEVENLABS_BASE_URL"), key)?)
    }

    /// What the agent should be like for `text`.
    pub(crate) fn wanted_agent(&self, text: clinic::agent::AgentText) -> server::agent_admin::Wanted {
        let options = clinic::agent::AgentOptions {
            llm: self.word("ELEVENLABS_LLM"),
            voice_id: self.get("ELEVENLABS_VOICE_ID").map(str::to_owned),
            ..clinic::agent::AgentOptions::default()
        };
        // The service does not call an address that is only known here, unless it is a simulated one.
        let base = self.public_base_url();
        let reachable = base.starts_with("https://") || is_loopback(&self.word("ELEVENLABS_BASE_URL"));
        let webhook_url = reachable.then(|| format!("{base}{}", server::POST_CALL_PATH));
        server::agent_admin::Wanted { text, options, webhook_url }
    }

    /// For how long things are kept.
    ///
    /// # Errors
    /// When a limit is longer than `PHI_RETENTION_DAYS`.
    pub(crate) fn retention(&self) -> anyhow::Result<store::RetentionRules> {
        let days = |name: &str| self.get(name).and_then(|days| days.parse::<u32>().ok());
        let phi_days = days("PHI_RETENTION_DAYS").unwrap_or(2_555);
        let rules = store::RetentionRules {
            phi_days,
            audio_days: days("RETENTION_AUDIO_DAYS").unwrap_or(phi_days),
            transcript_days: days("RETENTION_TRANSCRIPT_DAYS").unwrap_or(phi_days),
            measures_days: days("RETENTION_MEASURES_DAYS").unwrap_or(phi_days),
            alert_days: days("RETENTION_ALERT_DAYS").unwrap_or(phi_days),
        };
        rules.check()?;
        Ok(rules)
    }

    /// Lets the store keep a backup of its keys, where one is wanted.
    pub(crate) fn keep_key_backup(&self, store: &store::Store) {
        if let Some(file) = self.get("KEY_BACKUP_FILE") {
            store.keep_key_backup(PathBuf::from(file));
        }
    }
}

/// Defaults that follow from other settings.
fn fill_dependent_defaults(settings: &mut [(&'static Variable, Option<Found>)]) {
    let value_of = |settings: &[(&'static Variable, Option<Found>)], name: &str| {
        settings.iter().find(|(variable, _)| variable.name == name).and_then(|(_, found)| found.clone())
    };
    let environment = match value_of(settings, "NODE_ENV") {
        Some(found) if found.value == "production" => found,
        _ => Found { value: "development".to_owned(), origin: Origin::Default },
    };
    let port = value_of(settings, "PORT").map(|found| found.value).unwrap_or_default();
    let base = Found { value: format!("http://127.0.0.1:{port}"), origin: Origin::Default };
    for (variable, found) in settings {
        match variable.name {
            "HEARTVOICE_ENV" => found.get_or_insert_with(|| environment.clone()),
            "PUBLIC_BASE_URL" => found.get_or_insert_with(|| base.clone()),
            _ => continue,
        };
    }
}

fn flag_layer(flags: &Overrides) -> Layer {
    let port = flags.port.map(|port| ("PORT", "--port", port.to_string()));
    let bind = flags.bind.map(|bind| ("BIND_ADDR", "--bind", bind.to_string()));
    let found = port.into_iter().chain(bind);
    found.map(|(name, flag, value)| (name.to_owned(), Found { value, origin: Origin::Flag(flag) })).collect()
}

/// True for keys nobody drew at random: few different digits, or digits in order.
fn is_obvious(key: &str) -> bool {
    let digits: Vec<u32> = key.chars().filter_map(|c| c.to_digit(16)).collect();
    let mut different = digits.clone();
    different.sort_unstable();
    different.dedup();
    let in_order = digits.windows(2).filter(|pair| matches!(pair, [a, b] if (a + 1) % 16 == *b || a == b)).count();
    let bytes: Vec<u32> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit)).collect();
    let bytes_in_order = bytes.windows(2).filter(|pair| matches!(pair, [a, b] if a + 1 == *b)).count();
    // Of 63 random neighbours about 8 are equal or in order; 40 is out of the question.
    different.len() < 6 || in_order > 40 || bytes_in_order > 20 || key.to_ascii_lowercase().contains("deadbeefdeadbeef")
}

pub(crate) fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|v6| v6.split(']').next())
        .unwrap_or_else(|| host.split(':').next().unwrap_or_default());
    variables::address(host).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "9f1c6a0b7de24835f0e1b7c25d93a846e2c4f81790ab3d5c6e7f8091a2b3c4d5";

    fn config(pairs: &[(&str, &str)]) -> Config {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_layers(&[sources::environment(pairs)], Vec::new())
    }

    #[test]
    fn nothing_set_is_a_valid_development_setup() {
        let config = config(&[]);
        assert!(config.problems.is_empty() && config.warnings.is_empty());
        let settings = config.server();
        assert_eq!(settings.bind.to_string(), "0.0.0.0:3000");
        assert_eq!(settings.public_base_url, "http://127.0.0.1:3000");
        assert!(settings.elevenlabs.is_none() && settings.twilio.auth_token.is_none());
        assert!(config.key_service().unwrap_err().to_string().starts_with("ENCRYPTION_KEY"));
    }

    #[test]
    fn every_problem_is_named_and_secrets_are_not_repeated() {
        let config = config(&[("PORT", "http"), ("ENCRYPTION_KEY", "hunter2"), ("STAFF_PHONE", "12 monkeys")]);
        let line = config.require_valid().unwrap_err().to_string();
        assert!(line.contains("PORT: expected a port number 1-65535, got \"http\" (from environment)"), "{line}");
        assert!(line.contains("ENCRYPTION_KEY: expected 64") && line.contains("STAFF_PHONE: expected"), "{line}");
        assert!(!line.contains("hunter2") && !line.contains("monkeys") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn production_refuses_what_is_unsafe() {
        let unsafe_setup = config(&[("NODE_ENV", "production"), ("ENCRYPTION_KEY", &"0".repeat(64))]);
        let line = unsafe_setup.problems.join("; ");
        for name in ["PUBLIC_BASE_URL", "ENCRYPTION_KEY", "TWILIO_AUTH_TOKEN"] {
            assert!(line.contains(name), "{line}");
        }
        let safe = config(&[
            ("NODE_ENV", "production"),
            ("ENCRYPTION_KEY", KEY),
            ("PUBLIC_BASE_URL", "https://hv.example.org/"),
            ("TWILIO_AUTH_TOKEN", "token"),
            ("ELEVENLABS_BASE_URL", "http://127.0.0.1:9"),
            ("BEHIND_PROXY", "true"),
        ]);
        assert!(safe.problems.is_empty(), "{:?}", safe.problems);
        assert_eq!(safe.server().public_base_url, "https://hv.example.org");
        let open = config(&[
            ("NODE_ENV", "production"),
            ("STAFF_WEBHOOK_URL", "http://pager.example.org/x"),
            ("SMTP_URL", "smtp://mail.example.org"),
        ]);
        let line = open.problems.join("; ");
        for name in ["STAFF_WEBHOOK_URL: expected an https", "STAFF_WEBHOOK_SECRET", "SMTP_URL"] {
            assert!(line.contains(name), "{line}");
        }
        for (url, is_safe) in [
            ("postgresql://hv@db.example.org/hv", false),
            ("postgresql://hv@db.example.org/hv?sslmode=require", false),
            ("postgresql://hv@db.example.org/hv?sslmode=verify-full&sslrootcert=ca.pem", true),
            ("postgresql://hv@127.0.0.1:5432/hv", true),
            ("postgresql:///hv?host=/var/run/postgresql", true),
        ] {
            let line = config(&[("NODE_ENV", "production"), ("DATABASE_URL", url)]).problems.join("; ");
            assert_eq!(!line.contains("DATABASE_URL: expected ?sslmode=verify-full"), is_safe, "{url}: {line}");
        }
        // HEARTVOICE_ENV decides when both are set.
        assert!(!config(&[("NODE_ENV", "production"), ("HEARTVOICE_ENV", "development")]).is_production());
    }

    #[test]
    fn production_listens_in_the_open_only_with_tls() {
        let refused = |more: &[(&str, &str)]| {
            let mut pairs = vec![
                ("HEARTVOICE_ENV", "production"),
                ("ENCRYPTION_KEY", KEY),
                ("PUBLIC_BASE_URL", "https://hv.example.org"),
                ("TWILIO_AUTH_TOKEN", "token"),
            ];
            pairs.extend(more);
            config(&pairs).problems
        };
        let open = refused(&[]);
        assert!(open.len() == 1 && open[0].starts_with("BIND_ADDR: expected 127.0.0.1"), "{open:?}");
        assert_eq!(refused(&[("BIND_ADDR", "10.1.2.3")]).len(), 1);
        for safe in [
            &[("BIND_ADDR", "127.0.0.1")][..],
            &[("BEHIND_PROXY", "true")],
            &[("TLS_CERT_FILE", "cert.pem"), ("TLS_KEY_FILE", "key.pem")],
        ] {
            assert!(refused(safe).is_empty(), "{safe:?}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let half = config(&[("TLS_KEY_FILE", "key.pem")]);
        assert_eq!(half.problems, ["TLS_CERT_FILE: expected the name of a PEM file because TLS_KEY_FILE is set"]);
        assert!(half.tls().is_none());
        let mut lost = config(&[("TLS_CERT_FILE", "/nowhere/cert.pem"), ("TLS_KEY_FILE", "/nowhere/key.pem")]);
        assert!(lost.problems.is_empty(), "administration needs no certificate");
        lost.check_tls_files();
        assert!(lost.problems[0].starts_with("TLS_CERT_FILE: cannot read /nowhere/cert.pem"), "{:?}", lost.problems);
    }

    #[test]
    fn obvious_keys() {
        let counting: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        for key in [&"0".repeat(64), &"ab".repeat(32), &"0123456789abcdef".repeat(4), &"deadbeef".repeat(8), &counting]
        {
            assert!(is_obvious(key), "{key}");
        }
        assert!(!is_obvious(KEY));
    }

    #[test]
    fn half_a_pair_is_a_warning() {
        let config = config(&[("ELEVENLABS_API_KEY", "k")]);
        assert!(config.problems.is_empty());
        assert_eq!(config.warnings, ["ELEVENLABS_AGENT_ID is not set: the agent is not configured"]);
    }
}
