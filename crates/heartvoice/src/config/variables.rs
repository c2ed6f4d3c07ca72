//! Every setting there is: its name, what it may hold, and what it is when nobody sets it.

use crate::logging;
use clinic::PhoneNumber;
use clinic::alerts::QuietHours;
use clinic::alerts::escalation::MAX_CONTACTS;
use clinic::protocol::Protocol;
use clinic::risk::Model;
use std::net::IpAddr;

/// What a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Some text without blanks, such as an identifier.
    Word,
    /// As [`Kind::Word`], and secret.
    Secret,
    /// An address with one of these schemes.
    Url(&'static [&'static str]),
    /// An address that is a secret by itself or holds a password.
    SecretUrl(&'static [&'static str]),
    /// An address to listen on.
    Address,
    /// A port to listen on.
    Port,
    /// A telephone number.
    Phone,
    /// Telephone numbers, separated by commas.
    Phones,
    /// An electronic mail address.
    Email,
    /// Electronic mail addresses, separated by commas.
    Emails,
    /// Hours of every day.
    QuietHours,
    /// An IANA time zone.
    TimeZone,
    /// The master key of the store.
    MasterKey,
    /// A number of days.
    Days,
    /// A whole number, from and to.
    Whole(u32, u32),
    /// A directory or `s3://bucket/prefix`.
    Place,
    /// A file that is read again when it changes. Its name is the setting, not what is in it.
    File,
    /// Addresses and networks of proxies, separated by commas.
    Proxies,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Several of these words, separated by commas.
    SomeOf(&'static [&'static str]),
    /// What is done for a patient whose call broke off, in order.
    FallbackSteps,
    /// Which log lines are written.
    LogFilter,
    /// A clinical protocol, usually named by `PROTOCOL_FILE`.
    Protocol,
    /// A risk model, usually named by `RISK_MODEL_FILE`.
    Model,
    /// Anything: `NODE_ENV` belongs to other programs as well, and a file may have any name.
    Anything,
}

/// A setting.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Option<&'static str>,
}

const HTTP: Kind = Kind::Url(&["https", "http"]);

/// All settings, in the order in which they are shown.
pub(crate) static VARIABLES: [Variable; 80] = [
    variable("HEARTVOICE_ENV", Kind::OneOf(&["development", "production"]), None),
    variable("NODE_ENV", Kind::Anything, None),
    variable("PUBLIC_BASE_URL", HTTP, None),
    variable("BIND_ADDR", Kind::Address, Some("0.0.0.0")),
    variable("PORT", Kind::Port, Some("3000")),
    variable("TLS_CERT_FILE", Kind::File, None),
    variable("TLS_KEY_FILE", Kind::File, None),
    variable("BEHIND_PROXY", Kind::OneOf(&["true", "false"]), Some("false")),
    variable("TRUSTED_PROXIES", Kind::Proxies, None),
    variable("DATABASE_URL", Kind::SecretUrl(&["sqlite", "postgresql", "postgres"]), Some("sqlite://heartvoice.db")),
    variable("AUDIO_STORE", Kind::Place, Some("./heartvoice-audio")),
    variable("AUDIO_SPOOL", Kind::Word, Some("./heartvoice-spool")),
    variable("SPOOL_DIR", Kind::Word, None),
    variable("AWS_ACCESS_KEY_ID", Kind::Secret, None),
    variable("AWS_SECRET_ACCESS_KEY", Kind::Secret, None),
    variable("AWS_SESSION_TOKEN", Kind::Secret, None),
    variable("AWS_REGION", Kind::Word, None),
    variable("AWS_DEFAULT_REGION", Kind::Word, None),
    variable("AWS_ENDPOINT_URL_S3", HTTP, None),
    variable("AWS_ENDPOINT_URL", HTTP, None),
    variable("ENCRYPTION_KEY", Kind::MasterKey, None),
    variable("ENCRYPTION_KEY_NEXT", Kind::MasterKey, None),
    variable("VAULT_ADDR", HTTP, None),
    variable("VAULT_TRANSIT_KEY", Kind::Word, None),
    variable("VAULT_TRANSIT_KEY_NEXT", Kind::Word, None),
    variable("VAULT_TRANSIT_MOUNT", Kind::Word, Some("transit")),
    variable("VAULT_TOKEN", Kind::Secret, None),
    variable("VAULT_NAMESPACE", Kind::Word, None),
    variable("VAULT_CACERT", Kind::Word, None),
    variable("AUDIT_CHECKPOINT_FILE", Kind::Anything, None),
    variable("PHI_RETENTION_DAYS", Kind::Days, Some("2555")),
    variable("RETENTION_AUDIO_DAYS", Kind::Days, None),
    variable("RETENTION_TRANSCRIPT_DAYS", Kind::Days, None),
    variable("RETENTION_MEASURES_DAYS", Kind::Days, None),
    variable("RETENTION_ALERT_DAYS", Kind::Days, None),
    variable("KEY_BACKUP_FILE", Kind::Anything, None),
    variable("TWILIO_ACCOUNT_SID", Kind::Word, None),
    variable("TWILIO_AUTH_TOKEN", Kind::Secret, None),
    variable("TWILIO_PHONE_NUMBER", Kind::Phone, None),
    variable("TWILIO_API_KEY_SID", Kind::Word, None),
    variable("TWILIO_API_KEY_SECRET", Kind::Secret, None),
    variable("TWILIO_BASE_URL", HTTP, Some("https://api.twilio.com")),
    variable("VOICE_FALLBACK_URL", Kind::Url(&["https"]), None),
    variable("ELEVENLABS_API_KEY", Kind::Secret, None),
    variable("ELEVENLABS_AGENT_ID", Kind::Word, None),
    variable("ELEVENLABS_BASE_URL", HTTP, Some("https://api.elevenlabs.io")),
    variable("ELEVENLABS_WEBHOOK_SECRET", Kind::Secret, None),
    variable("ELEVENLABS_LLM", Kind::Word, Some("gemini-2.5-flash")),
    variable("ELEVENLABS_VOICE_ID", Kind::Word, None),
    variable("ELEVENLABS_BACKUP_API_KEY", Kind::Secret, None),
    variable("ELEVENLABS_BACKUP_AGENT_ID", Kind::Word, None),
    variable("ELEVENLABS_BACKUP_BASE_URL", HTTP, None),
    variable("OPENAI_API_KEY", Kind::Secret, None),
    variable("OPENAI_BASE_URL", HTTP, Some("https://api.openai.com/v1")),
    variable("OPENAI_REALTIME_MODEL", Kind::Word, Some("gpt-realtime")),
    variable("OPENAI_VOICE", Kind::Word, Some("marin")),
    variable("BACKUP_CHAIN", Kind::SomeOf(&["elevenlabs-backup", "openai", "script"]), None),
    variable("STAFF_PHONE", Kind::Phones, None),
    variable("STAFF_WEBHOOK_URL", Kind::SecretUrl(&["https", "http"]), None),
    variable("STAFF_WEBHOOK_SECRET", Kind::Secret, None),
    variable("STAFF_EMAIL", Kind::Emails, None),
    variable("SMTP_URL", Kind::SecretUrl(&["smtp", "smtps"]), None),
    variable("SMTP_FROM", Kind::Email, None),
    variable("QUIET_HOURS", Kind::QuietHours, None),
    variable("STAFF_TIMEZONE", Kind::TimeZone, Some("UTC")),
    variable("NURSE_LINE", Kind::Phone, None),
    variable("OUTGOING_CALLS", Kind::Whole(1, 1_000), Some("20")),
    variable("OUTGOING_PER_SECOND", Kind::Whole(1, 100), Some("1")),
    variable("FALLBACK_CONTACT", Kind::FallbackSteps, Some("call-again,nurse")),
    variable("CALL_BACK_AFTER", Kind::Whole(0, 1_440), Some("2")),
    variable("CALL_BACK_ATTEMPTS", Kind::Whole(1, clinic::fallback::MAX_ATTEMPTS), Some("2")),
    variable("OIDC_ISSUER", HTTP, None),
    variable("OIDC_CLIENT_ID", Kind::Word, None),
    variable("OIDC_CLIENT_SECRET", Kind::Secret, None),
    variable("OIDC_TRUST_MFA", Kind::OneOf(&["true", "false"]), Some("false")),
    variable("PROTOCOL", Kind::Protocol, None),
    variable("RISK_MODEL", Kind::Model, None),
    variable("SHADOW_MODEL", Kind::Model, None),
    variable("HEARTVOICE_LOG", Kind::LogFilter, Some("info")),
    variable("HEARTVOICE_LOG_FORMAT", Kind::OneOf(&["text", "json"]), Some("text")),
];

const fn variable(name: &'static str, kind: Kind, default: Option<&'static str>) -> Variable {
    Variable { name, kind, default }
}

/// The setting with that name.
pub(crate) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

impl Kind {
    /// What would be accepted, when `value` is not.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        let (accepted, expected) = match self {
            Self::Word | Self::Secret => (!value.chars().any(char::is_whitespace), "text without blanks".to_owned()),
            Self::Url(schemes) | Self::SecretUrl(schemes) => {
                (is_url(value, schemes), format!("an address starting with {}://", schemes.join(":// or ")))
            }
            Self::Address => (address(value).is_some(), "an IP address such as 0.0.0.0 or ::1".to_owned()),
            Self::Port => (value.parse::<u16>().is_ok_and(|port| port > 0), "a port number 1-65535".to_owned()),
            Self::Phone => {
                (PhoneNumber::parse(value).is_ok(), "a telephone number in E.164 form such as +15005550006".to_owned())
            }
            Self::Phones => (
                listed(value).len() <= MAX_CONTACTS
                    && listed(value).iter().all(|number| PhoneNumber::parse(number).is_ok()),
                "telephone numbers in E.164 form such as +15005550006,+15005550007, at most 20".to_owned(),
            ),
            Self::Email => (is_email(value), "a mail address".to_owned()),
            Self::Emails => (
                listed(value).len() <= MAX_CONTACTS && listed(value).iter().all(|address| is_email(address)),
                "mail addresses separated by commas, at most 20".to_owned(),
            ),
            Self::QuietHours => {
                (value.parse::<QuietHours>().is_ok(), "two different times of day such as 21:00-07:00".to_owned())
            }
            Self::TimeZone => {
                (jiff::tz::TimeZone::get(value).is_ok(), "an IANA time zone such as America/New_York".to_owned())
            }
            Self::MasterKey => (
                store::MasterKey::from_hex(value).is_ok(),
                "64 hexadecimal digits; `heartvoice keys generate` makes some".to_owned(),
            ),
            Self::Days => (
                value.parse::<u32>().is_ok_and(|days| (1..=36_500).contains(&days)),
                "a number of days 1-36500".to_owned(),
            ),
            Self::Whole(least, most) => (
                value.parse::<u32>().is_ok_and(|number| (least..=most).contains(&number)),
                format!("a whole number {least}-{most}"),
            ),
            Self::Place => (!value.trim().is_empty(), "a directory, or s3://BUCKET/PREFIX".to_owned()),
            Self::File => (!value.trim().is_empty(), "the name of a file".to_owned()),
            Self::Proxies => match value.parse::<server::TrustedProxies>() {
                Ok(_) => (true, String::new()),
                Err(server::NotProxies) => {
                    (false, "addresses or networks separated by commas such as 127.0.0.1,10.0.0.0/8".to_owned())
                }
            },
            Self::OneOf(words) => (words.contains(&value), words.join(" or ")),
            Self::SomeOf(words) => (
                value.split(',').all(|word| words.contains(&word.trim())),
                format!("some of {} separated by commas", words.join(", ")),
            ),
            Self::FallbackSteps => (
                value.parse::<clinic::fallback::Steps>().is_ok(),
                "some of call-again, sms, nurse in the order in which they are tried, each once, separated by commas"
                    .to_owned(),
            ),
            Self::LogFilter => (logging::is_filter(value), logging::EXPECTED.to_owned()),
            Self::Protocol => match Protocol::parse(value) {
                Ok(_) => (true, String::new()),
                Err(faults) => {
                    let first = faults.first().map(ToString::to_string).unwrap_or_default();
                    (false, format!("a whole protocol (`heartvoice protocol check` names every fault), but {first}"))
                }
            },
            Self::Model => match Model::from_json(value) {
                Ok(_) => (true, String::new()),
                Err(error) => (false, format!("a risk model as `heartvoice model train` writes it, but {error}")),
            },
            Self::Anything => (true, String::new()),
        };
        if accepted { Ok(()) } else { Err(expected) }
    }

    /// True when the value must not be shown, not even when it is wrong.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::MasterKey)
    }

    /// True when a wrong value may be repeated in an error: it is neither secret nor somebody's number or address.
    pub(crate) fn may_be_repeated(self) -> bool {
        !self.is_secret()
            && !matches!(
                self,
                Self::Protocol
                    | Self::Model
                    | Self::Phone
                    | Self::Phones
                    | Self::Email
                    | Self::Emails
                    | Self::SecretUrl(_)
            )
    }

    /// The value as it may be shown.
    pub(crate) fn shown(self, value: &str) -> String {
        match self {
            kind if kind.is_secret() => "********".to_owned(),
            Self::Protocol => Protocol::parse(value)
                .map_or_else(|_| "not a protocol".to_owned(), |known| format!("{} {}", known.name, known.version)),
            Self::Model => Model::from_json(value)
                .map_or_else(|_| "not a model".to_owned(), |known| format!("{} {}", known.name, known.version)),
            Self::SecretUrl(schemes) if schemes.contains(&"sqlite") && value.starts_with("sqlite") => value.to_owned(),
            Self::SecretUrl(_) => match value.split_once("://") {
                Some((scheme, _)) => format!("{scheme}://********"),
                None => "********".to_owned(),
            },
            _ => value.to_owned(),
        }
    }
}

/// An address to listen on; `localhost` is understood.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    if text == "localhost" { Some(IpAddr::from([127, 0, 0, 1])) } else { text.parse().ok() }
}

/// The members of a list separated by commas.
pub(crate) fn listed(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).collect()
}

fn is_email(value: &str) -> bool {
    let parts = value.split_once('@');
    parts.is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !value.chars().any(|c| c.is_whitespace() || c == ',')
    })
}

fn is_url(value: &str, schemes: &[&str]) -> bool {
    if value.chars().any(char::is_whitespace) {
        return false;
    }
    match value.split_once("://") {
        Some(("sqlite", path)) => schemes.contains(&"sqlite") && !path.is_empty(),
        Some((scheme, rest)) => schemes.contains(&scheme) && !rest.is_empty() && !rest.starts_with('/'),
        // sqlx writes `sqlite::memory:` and `sqlite:PATH` without slashes.
        None => schemes.contains(&"sqlite") && value.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        for variable in &VARIABLES {
            assert!(variable.default.is_none_or(|value| variable.kind.check(value).is_ok()), "{}", variable.name);
        }
    }

    #[test]
    fn values_are_checked() {
        let cases = [
            ("PORT", "0", false),
            ("PORT", "65535", true),
            ("PORT", "http", false),
            ("OUTGOING_PER_SECOND", "0", false),
            ("OUTGOING_CALLS", "1000", true),
            ("BIND_ADDR", "localhost", true),
            ("BIND_ADDR", "example.org", false),
            ("PUBLIC_BASE_URL", "hv.example.org", false),
            ("PUBLIC_BASE_URL", "https://hv.example.org", true),
            ("PUBLIC_BASE_URL", "https://", false),
            ("VOICE_FALLBACK_URL", "https://handler.twilio.com/twiml/EH0", true),
            ("VOICE_FALLBACK_URL", "http://handler.twilio.com/twiml/EH0", false),
            ("DATABASE_URL", "sqlite:///var/lib/hv.db", true),
            ("DATABASE_URL", "mysql://db", false),
            ("STAFF_PHONE", "5550100", false),
            ("STAFF_PHONE", "+15005550006, +15005550007", true),
            ("STAFF_PHONE", "+15005550006,", false),
            ("STAFF_EMAIL", "a@example.org,b@example.org", true),
            ("STAFF_EMAIL", "a@example.org b@example.org", false),
            ("QUIET_HOURS", "21:00-07:00", true),
            ("QUIET_HOURS", "9pm-7am", false),
            ("STAFF_TIMEZONE", "Europe/Berlin", true),
            ("STAFF_TIMEZONE", "CEST+2", false),
            ("ENCRYPTION_KEY", "abc", false),
            ("BACKUP_CHAIN", "openai, script", true),
            ("BACKUP_CHAIN", "openai;script", false),
            ("FALLBACK_CONTACT", "sms,call-again,nurse", true),
            ("FALLBACK_CONTACT", "nurse,nurse", false),
            ("CALL_BACK_ATTEMPTS", "0", false),
            ("HEARTVOICE_ENV", "prod", false),
            ("PHI_RETENTION_DAYS", "-1", false),
            ("BEHIND_PROXY", "yes", false),
            ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,::1", true),
            ("TRUSTED_PROXIES", "proxy.example.org", false),
            ("TRUSTED_PROXIES", "10.0.0.0/33", false),
        ];
        for (name, value, good) in cases {
            assert_eq!(find(name).is_some_and(|v| v.kind.check(value).is_ok()), good, "{name}={value}");
        }
    }

    #[test]
    fn passwords_in_addresses_are_hidden() {
        let database = Kind::SecretUrl(&["sqlite", "postgresql"]);
        assert_eq!(database.shown("sqlite://a.db"), "sqlite://a.db");
        assert_eq!(database.shown("postgresql://u:pw@h/db"), "postgresql://********");
        assert_eq!(Kind::Secret.shown("tok"), "********");
    }
}
