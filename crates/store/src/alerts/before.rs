//! What staff was told of an alert before the database took it. It is noted with the alert, so that nobody is told twice.

use super::outbox::note_sent;
use crate::db::Conn;
use crate::ids::{new_id, now_ms};
use crate::{Result, StoreError};
use clinic::alerts::Channel;
use clinic::{AlertId, DeliveryId};

/// Messages about an alert that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldBefore {
    /// The alert's identifier, if it proves to be a new one.
    pub alert_id: AlertId,
    /// What was sent.
    pub messages: Vec<SentBefore>,
}

/// One of these messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBefore {
    /// The message.
    pub id: DeliveryId,
    /// Step of the ladder.
    pub step: u32,
    /// Place of the contact in the order of the settings, from 0.
    pub contact: u32,
    /// Way.
    pub channel: Channel,
    /// The delivering service's identifier; `None` when it arrived already.
    pub service_id: Option<String>,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
}

impl ToldBefore {
    /// Of an alert that nobody was told of yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the system gives no random numbers.
    pub fn new() -> Result<Self> {
        let alert_id = AlertId::parse(&new_id(now_ms())?).map_err(|_| StoreError::corrupt("a new identifier"))?;
        Ok(Self { alert_id, messages: Vec::new() })
    }

    /// The identifier of a further message.
    ///
    /// # Errors
    /// As [`ToldBefore::new`].
    pub fn message_id() -> Result<DeliveryId> {
        DeliveryId::parse(&new_id(now_ms())?).map_err(|_| StoreError::corrupt("a new identifier"))
    }

    pub(super) async fn note(&self, tx: &mut Conn, id: &AlertId) -> Result<()> {
        for message in &self.messages {
            note_sent(tx, id, message).await?;
        }
        Ok(())
    }
}
