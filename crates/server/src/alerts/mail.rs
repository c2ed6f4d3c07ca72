//! Alerts told by mail. The `Message-ID` is the message's own identifier, so that a mail sent twice is seen once.

use super::{Attempt, sentence};
use crate::StartError;
use crate::limits;
use crate::settings::{SmtpSettings, StaffContact};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use store::ClaimedDelivery;

/// The way out for mail.
pub(super) struct Mailer {
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailer")
    }
}

impl Mailer {
    /// # Errors
    /// [`StartError::Mail`] when an address cannot be used.
    pub(super) fn new(settings: &SmtpSettings, contacts: &[StaffContact]) -> Result<Self, StartError> {
        let from = settings.from.parse().map_err(|_| StartError::Mail)?;
        for email in contacts.iter().filter_map(|contact| contact.email.as_deref()) {
            email.parse::<Mailbox>().map_err(|_| StartError::Mail)?;
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.url.expose_secret())
            .map_err(|_| StartError::Mail)?
            .timeout(Some(limits::ALERT_ATTEMPT))
            .build();
        Ok(Self { from, transport })
    }

    pub(super) async fn send(&self, delivery: &ClaimedDelivery, to: &str, alert_url: &str) -> Attempt {
        let Ok(to) = to.parse::<Mailbox>() else { return Attempt::Never("address".to_owned()) };
        let text = format!("{}\n\nOpen {alert_url}\n", sentence(delivery));
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(format!("HeartVoice: {} alert", delivery.severity.as_str()))
            .message_id(Some(format!("<{}@heartvoice>", delivery.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(text);
        let Ok(message) = message else { return Attempt::Never("message".to_owned()) };
        match self.transport.send(message).await {
            Ok(_) => Attempt::Delivered,
            Err(error) if error.is_permanent() => Attempt::Never("refused".to_owned()),
            Err(_) => Attempt::Later("unreachable"),
        }
    }
}
