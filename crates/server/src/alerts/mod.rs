//! Alerts on their way to people: raising them, and the job that sends messages about them.
//!
//! An alert and every message about it stand in the store before anything is sent, so that a crash loses none (see
//! `store`'s outbox). The job looks whom to tell, claims messages and sends each in a task of its own, a few at a time
//! per channel: a webhook that hangs holds up neither text messages nor calls. Messages carry no health information: they
//! say how urgent it is and where to look.

mod direct;
mod job;
mod mail;
mod sms;
mod webhook;

pub(crate) use job::deliver;
pub(crate) use sms::sms_status;

use crate::app::App;
use crate::clock;
use crate::journal::{self, Patience};
use crate::limits;
use crate::metrics;
use crate::settings::Settings;
use crate::twilio_rest::TwilioRest;
use crate::{StaffSettings, StartError};
use clinic::AlertId;
use clinic::alerts::{Channel, Contact, NewAlert, Severity};
use mail::Mailer;
use std::sync::Arc;
use store::{ClaimedDelivery, Raised, StoreError};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use webhook::StaffHook;

/// What the job needs beside the store.
#[derive(Debug)]
pub(crate) struct AlertDesk {
    /// There is something to do.
    wake: Notify,
    /// Who can be reached how, in order.
    contacts: Vec<Contact>,
    mailer: Option<Mailer>,
    hook: Option<StaffHook>,
    slots: Vec<(Channel, Arc<Semaphore>)>,
    sending: TaskTracker,
    /// What staff was told while the database was away.
    direct: direct::Direct,
}

/// What came of an attempt to send a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    /// A service took it over and will report.
    Sent(String),
    /// It arrived.
    Delivered,
    /// It did not get out; a later attempt may.
    Later(&'static str),
    /// It may have got out or not.
    Unsure(&'static str),
    /// No attempt will succeed.
    Never(String),
}

impl AlertDesk {
    pub(crate) fn new(settings: &Settings, twilio: &TwilioRest) -> Result<Self, StartError> {
        let staff = &settings.staff;
        let hook = staff.webhook.clone().map(StaffHook::new).transpose().map_err(StartError::Http)?;
        let mailer = staff.smtp.as_ref().map(|smtp| Mailer::new(smtp, &staff.contacts)).transpose()?;
        let texts = twilio.is_configured() && settings.twilio.phone_number.is_some();
        let contacts = reachable(staff, texts);
        if contacts.iter().all(|contact| contact.channels.is_empty()) {
            tracing::info!("no contact can be reached: alerts are listed, and nobody is told");
        }
        let slots = Channel::ALL.map(|channel| (channel, Arc::new(Semaphore::new(limits::ALERT_MESSAGES_AT_ONCE))));
        Ok(Self {
            wake: Notify::new(),
            contacts,
            mailer,
            hook,
            slots: slots.into(),
            sending: TaskTracker::new(),
            direct: Default::default(),
        })
    }

    /// Has the job look now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// The channels that work for each contact. A contact without any stays, so that the others keep their places.
fn reachable(staff: &StaffSettings, texts: bool) -> Vec<Contact> {
    let channels = |contact: &crate::StaffContact| {
        let ways = [
            (Channel::Sms, contact.phone.is_some() && texts),
            (Channel::Webhook, contact.webhook && staff.webhook.is_some()),
            (Channel::Email, contact.email.is_some() && staff.smtp.is_some()),
        ];
        Contact { channels: ways.into_iter().filter(|(_, works)| *works).map(|(channel, _)| channel).collect() }
    };
    staff.contacts.iter().map(channels).collect()
}

impl App {
    /// Raises an alert: stored, and the people it concerns told without delay. Tries again for some seconds when the store
    /// does not take it.
    ///
    /// # Errors
    /// As [`store::Store::raise_alert`]. An alert that is lost is logged and counted here.
    pub(crate) async fn raise(&self, new: &NewAlert) -> Result<Raised, StoreError> {
        let (at_us, began) = (clock::unix_us(), Instant::now());
        let mut waits = limits::STORE_RETRIES.iter();
        let result = loop {
            match self.attempt(new, at_us).await {
                Err(error @ StoreError::Unavailable { .. }) => {
                    self.tell_without_store(new, at_us, began).await;
                    match waits.next() {
                        Some(wait) => tokio::time::sleep(*wait).await,
                        None => break Err(error),
                    }
                }
                result => break result,
            }
        };
        self.raised(new, result)
    }

    /// As [`Self::raise`], for what a patient said or how they are, which nobody else will tell: waits for the store for
    /// hours, and while the server stops as long as the records of the call do.
    ///
    /// # Errors
    /// As [`Self::raise`].
    pub(crate) async fn raise_patiently(&self, new: &NewAlert) -> Result<Raised, StoreError> {
        let (at_us, began, mut patience) = (clock::unix_us(), Instant::now(), Patience::new());
        let result = loop {
            let waits_on = || !self.is_draining() && began.elapsed() < limits::ALERT_PATIENCE;
            match self.attempt(new, at_us).await {
                Err(error) if patience.is_left(&error) || (journal::is_passing(&error) && waits_on()) => {
                    self.tell_without_store(new, at_us, began).await;
                    tracing::warn!(kind = new.kind.as_str(), code = error.code(), "an alert could not be stored yet");
                    patience.wait().await;
                }
                result => break result,
            }
        };
        self.raised(new, result)
    }

    /// One attempt to store an alert, with what staff was told of it meanwhile.
    async fn attempt(&self, new: &NewAlert, at_us: i64) -> Result<Raised, StoreError> {
        if new.severity < Severity::Critical {
            return self.store.raise_alert(new, at_us).await;
        }
        let known = self.alerts.direct.known(new);
        let told = match &known {
            Some(told) => Some(told.lock().await),
            None => None,
        };
        let told = told.as_ref().and_then(|told| told.as_ref());
        let silent = |_| Err(StoreError::Unavailable { doing: "save an alert", source: "no answer".into() });
        let raising = self.store.raise_alert_told(new, at_us, told);
        let result = tokio::time::timeout(limits::TELL_ANSWER, raising).await.unwrap_or_else(silent);
        if result.is_ok() && known.is_some() {
            self.alerts.direct.forget(new);
        }
        result
    }

    /// The store does not take an alert: what is critical is told without it.
    async fn tell_without_store(&self, new: &NewAlert, at_us: i64, began: Instant) {
        if new.severity == Severity::Critical && began.elapsed() >= limits::TELL_AFTER {
            direct::tell(self, new, at_us).await;
        }
    }

    fn raised(&self, new: &NewAlert, result: Result<Raised, StoreError>) -> Result<Raised, StoreError> {
        let (kind, severity) = (new.kind.as_str(), new.severity.as_str());
        match &result {
            Ok(raised) => {
                metrics::alert_raised(kind, severity);
                let (is_new, notifies) = (raised.is_new, raised.notifies);
                tracing::info!(alert_id = %raised.id, kind, severity, is_new, notifies, "alert raised");
                if raised.notifies {
                    self.alerts.wake();
                }
            }
            Err(error) => {
                metrics::alert_lost();
                tracing::error!(kind, severity, code = error.code(), "an alert could not be stored");
            }
        }
        result
    }

    /// Where a person finds the alert.
    fn alert_url(&self, id: &AlertId) -> String {
        self.settings.public_url(&format!("/alerts/{id}"))
    }
}

/// What is said of an alert outside the system. Neither name nor finding.
fn sentence(delivery: &ClaimedDelivery) -> String {
    format!("HeartVoice: {} alert.", delivery.severity.as_str())
}
