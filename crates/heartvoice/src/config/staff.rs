//! Whom the server tells of alerts, from the settings.

use super::Config;
use super::variables::listed;
use clinic::PhoneNumber;
use clinic::alerts::Policy;
use clinic::fallback::{Policy as FallbackPolicy, Steps};
use jiff::tz::TimeZone;
use server::{SmtpSettings, StaffContact, StaffSettings, StaffWebhook};

/// The first number, the first mail address and the webhook belong to the first contact, the second ones to the second,
/// and so on.
pub(super) fn settings(config: &Config) -> StaffSettings {
    let phones: Vec<_> = config.get("STAFF_PHONE").map(listed).unwrap_or_default();
    let emails: Vec<_> = config.get("STAFF_EMAIL").map(listed).unwrap_or_default();
    let webhook = config
        .secret("STAFF_WEBHOOK_URL")
        .map(|url| StaffWebhook { url, secret: config.secret("STAFF_WEBHOOK_SECRET") });
    let count = phones.len().max(emails.len()).max(usize::from(webhook.is_some()));
    let contact = |place: usize| StaffContact {
        phone: phones.get(place).and_then(|number| PhoneNumber::parse(number).ok()),
        email: emails.get(place).map(|address| (*address).to_owned()),
        webhook: place == 0 && webhook.is_some(),
    };
    let policy = Policy {
        quiet: config.get("QUIET_HOURS").and_then(|hours| hours.parse().ok()),
        zone: config.get("STAFF_TIMEZONE").and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC),
        ..Policy::default()
    };
    let from = config.get("SMTP_FROM").map_or_else(|| sender(&config.public_base_url()), str::to_owned);
    StaffSettings {
        contacts: (0..count).map(contact).collect(),
        webhook,
        smtp: config.secret("SMTP_URL").map(|url| SmtpSettings { url, from }),
        policy,
        nurse_line: config.phone("NURSE_LINE"),
        ..StaffSettings::default()
    }
}

/// What is done for a patient whose call broke off.
pub(super) fn fallback(config: &Config) -> FallbackPolicy {
    let usual = FallbackPolicy::default();
    FallbackPolicy {
        steps: config.get("FALLBACK_CONTACT").and_then(|text| text.parse::<Steps>().ok()).map_or(usual.steps, |s| s.0),
        after_min: config.number("CALL_BACK_AFTER").unwrap_or(usual.after_min),
        attempts: config.number("CALL_BACK_ATTEMPTS").unwrap_or(usual.attempts),
    }
}

/// A sender at our own public name.
fn sender(public_base_url: &str) -> String {
    let host = public_base_url.split_once("://").map_or(public_base_url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let is_name = host.contains('.') && host.chars().any(|c| c.is_ascii_alphabetic());
    if is_name { format!("heartvoice@{host}") } else { "heartvoice@localhost".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;

    fn staff(pairs: &[(&str, &str)]) -> StaffSettings {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings(&Config::from_layers(&[sources::environment(pairs)], Vec::new()))
    }

    #[test]
    fn contacts_stand_in_the_order_of_the_settings() {
        let staff = staff(&[
            ("STAFF_PHONE", "+15005550006, +15005550007"),
            ("STAFF_EMAIL", "a@example.org"),
            ("STAFF_WEBHOOK_URL", "https://pager.example.org/x"),
            ("SMTP_URL", "smtps://u:p@mail.example.org"),
            ("QUIET_HOURS", "21:00-07:00"),
            ("STAFF_TIMEZONE", "Europe/Berlin"),
            ("PUBLIC_BASE_URL", "https://hv.example.org/"),
        ]);
        let seen: Vec<_> = staff
            .contacts
            .iter()
            .map(|c| (c.phone.as_ref().map(PhoneNumber::expose), c.email.as_deref(), c.webhook))
            .collect();
        assert_eq!(seen, [(Some("+15005550006"), Some("a@example.org"), true), (Some("+15005550007"), None, false)]);
        assert_eq!(staff.policy.zone.iana_name(), Some("Europe/Berlin"));
        assert_eq!(staff.policy.quiet, "21:00-07:00".parse().ok());
        assert_eq!(staff.smtp.map(|smtp| smtp.from).as_deref(), Some("heartvoice@hv.example.org"));
    }

    #[test]
    fn nobody_and_a_webhook_alone() {
        assert!(staff(&[]).contacts.is_empty());
        let alone = staff(&[("STAFF_WEBHOOK_URL", "http://127.0.0.1:9/x")]);
        assert!(alone.contacts.len() == 1 && alone.contacts.iter().all(|contact| contact.webhook));
        assert_eq!(sender("http://127.0.0.1:3000"), "heartvoice@localhost");
    }
}
