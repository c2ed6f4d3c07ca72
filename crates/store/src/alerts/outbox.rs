//! The outbox: messages to staff that are decided on, being sent, or done with. It survives a crash at any point.
//!
//! A message is decided on together with the next look at its alert, in one transaction, and a unique key (alert, climb,
//! step, contact, channel) keeps it from being decided on twice. Whoever sends it claims it for a while first; a claim
//! that ran out means that the sender died, and the message may have left or not: it is claimed again, marked `unsure`.
//! So every message leaves at least once, and whoever sends can look before sending a second time.

use super::{SentBefore, rows};
use crate::db::{Conn, Domain, Engine, Row, query};
use crate::error::Doing;
use crate::ids::{new_id, now_ms};
use crate::{Result, Store, StoreError};
use clinic::alerts::{AlertKind, AlertStatus, Channel, Delivery, DeliveryState, Next, Severity, Standing};
use clinic::{AlertId, DeliveryId};

const KIND: &str = "delivery";
/// Bytes of a service's identifier or of an error code; longer ones are cut.
const MAX_WORD_BYTES: usize = 128;

const DUE: &str = "SELECT id, severity, status, climb, climb_from_us FROM alerts \
     WHERE next_step_us <= $1 AND status = 'open' ORDER BY severity DESC, next_step_us LIMIT $2";
const OF_CLIMB: &str = "SELECT step, contact, channel, state, made_at_us, settled_at_us FROM deliveries \
     WHERE alert_id = $1 AND climb = $2";
const INSERT: &str = "INSERT INTO deliveries (id, alert_id, climb, step, contact, channel, state, attempts, unsure, \
     next_try_us, made_at_us) VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, 0, $7, $7) ON CONFLICT DO NOTHING";
const CLIMB_OF: &str = "SELECT climb FROM alerts WHERE id = $1";
const INSERT_SENT: &str = "INSERT INTO deliveries (id, alert_id, climb, step, contact, channel, state, attempts, unsure, \
     next_try_us, made_at_us, service_id, settled_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, $8, $8, $9, $10) \
     ON CONFLICT DO NOTHING";
const NEXT_STEP: &str = "UPDATE alerts SET next_step_us = $1 WHERE id = $2";
const LOOK_AGAIN: &str = "UPDATE alerts SET next_step_us = $1 WHERE status = 'open'";
const CLAIMABLE: &str = "SELECT d.id, d.alert_id, d.step, d.contact, d.channel, d.state, d.attempts, d.unsure, \
     d.made_at_us, a.kind, a.severity, a.raised_at_us, a.occurrences FROM deliveries d JOIN alerts a ON a.id = d.alert_id \
     WHERE d.channel = $1 AND d.state IN ('waiting', 'sending') AND d.next_try_us <= $2 \
     ORDER BY a.severity DESC, d.next_try_us, d.id LIMIT $3";
// Messages that another process is claiming are its own; nobody waits for them.
const CLAIMABLE_LOCKED: &str = "SELECT d.id, d.alert_id, d.step, d.contact, d.channel, d.state, d.attempts, d.unsure, \
     d.made_at_us, a.kind, a.severity, a.raised_at_us, a.occurrences FROM deliveries d JOIN alerts a ON a.id = d.alert_id \
     WHERE d.channel = $1 AND d.state IN ('waiting', 'sending') AND d.next_try_us <= $2 \
     ORDER BY a.severity DESC, d.next_try_us, d.id LIMIT $3 FOR UPDATE OF d SKIP LOCKED";
const CLAIM: &str = "UPDATE deliveries SET state = 'sending', attempts = attempts + 1, unsure = $1, next_try_us = $2 \
     WHERE id = $3";
const STATE: &str = "SELECT alert_id, climb, state, service_id FROM deliveries WHERE id = $1";
const HOLD: &str = "UPDATE deliveries SET state = 'waiting', attempts = attempts - 1, next_try_us = $1 WHERE id = $2";
const RETRY: &str = "UPDATE deliveries SET state = 'waiting', next_try_us = $1, unsure = $2, error = $3 WHERE id = $4";
const MOVE: &str = "UPDATE deliveries SET state = $1, service_id = COALESCE($2, service_id), error = $3, \
     settled_at_us = $4 WHERE id = $5";
const NEXT_SOON: &str = "UPDATE alerts SET next_step_us = $1 WHERE id = $2 AND climb = $3 AND status = 'open'";
const NEXT_WORK: &str = "SELECT MIN(at_us) AS at_us FROM (SELECT MIN(next_step_us) AS at_us FROM alerts \
     WHERE next_step_us IS NOT NULL AND status = 'open' UNION ALL SELECT MIN(next_try_us) FROM deliveries \
     WHERE state IN ('waiting', 'sending')) AS work";
const OF_ALERT: &str = "SELECT id, climb, step, contact, channel, state, attempts, error, made_at_us, settled_at_us \
     FROM deliveries WHERE alert_id = $1 ORDER BY climb, step, contact, channel LIMIT 10000";

/// What a look at the alerts that were due did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClimbReport {
    /// Messages decided on.
    pub made: usize,
    /// Alerts that nobody took up though everybody was told, or that nobody can be told of.
    pub exhausted: Vec<(AlertId, Severity)>,
}

/// A message that was claimed for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The message; the same in every attempt.
    pub id: DeliveryId,
    /// What it is about.
    pub alert_id: AlertId,
    /// Step of the ladder.
    pub step: u32,
    /// Place of the contact in the order of the settings, from 0.
    pub contact: u32,
    /// Way.
    pub channel: Channel,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether an earlier attempt may have been carried out unheard.
    pub unsure: bool,
    /// When the message was decided on, in microseconds since the Unix epoch.
    pub made_at_us: i64,
    /// What the alert is about.
    pub kind: AlertKind,
    /// How urgent it is.
    pub severity: Severity,
    /// When it was raised.
    pub raised_at_us: i64,
    /// How often its matter was found.
    pub occurrences: u32,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A service took it over and will report.
    Sent {
        /// Its identifier of the message.
        service_id: String,
    },
    /// It arrived.
    Delivered,
    /// To be tried again. `unsure`: this attempt may have been carried out unheard.
    Retry {
        /// When.
        at_us: i64,
        /// Stable code of what went wrong.
        error: String,
        /// See above.
        unsure: bool,
    },
    /// Not now: quiet hours have begun. Not counted as an attempt.
    Hold {
        /// Until when.
        until_us: i64,
    },
    /// It will not arrive.
    Failed {
        /// Stable code of what went wrong.
        error: String,
    },
}

/// A message as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The message.
    pub id: DeliveryId,
    /// How often the contacts had been told from the first one on, from 1.
    pub climb: u32,
    /// Step of the ladder, place of the contact, way, and so on.
    pub delivery: Delivery,
    /// Attempts so far.
    pub attempts: u32,
    /// What went wrong last.
    pub error: Option<String>,
}

impl Store {
    /// Decides for up to `limit` alerts whose next step is due what is to be sent, by `decide`, and notes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`]; then nothing was decided.
    pub async fn climb_alerts(
        &self,
        now_us: i64,
        limit: u32,
        decide: impl Fn(&Standing, &[Delivery]) -> Next + Send,
    ) -> Result<ClimbReport> {
        let doing = "decide whom to tell";
        let due = query(DUE).bind(now_us).bind(i64::from(limit)).fetch_all(self.read()).await.doing(doing)?;
        // Most looks find nothing, and need not wait for the writer's turn.
        if due.is_empty() {
            return Ok(ClimbReport::default());
        }
        let mut tx = self.begin(Domain::Alerts).await?;
        let due = query(DUE).bind(now_us).bind(i64::from(limit)).fetch_all(&mut *tx).await.doing(doing)?;
        let mut report = ClimbReport::default();
        for row in &due {
            let (id, severity) = (rows::alert_id(row)?, rows::severity(row)?);
            let climb: i64 = row.try_get("climb").doing(doing)?;
            let from_us = row.try_get("climb_from_us").doing(doing)?;
            let so_far = query(OF_CLIMB).bind(id.as_str()).bind(climb).fetch_all(&mut *tx).await.doing(doing)?;
            let so_far = so_far.iter().map(read_delivery).collect::<Result<Vec<_>>>()?;
            let next = decide(&Standing { severity, status: AlertStatus::Open, from_us }, &so_far);
            for action in &next.actions {
                let made = query(INSERT)
                    .bind(new_id(now_ms())?)
                    .bind(id.as_str())
                    .bind(climb)
                    .bind(i64::from(action.step))
                    .bind(i64::from(action.contact))
                    .bind(action.channel.as_str())
                    .bind(now_us)
                    .execute(&mut *tx)
                    .await
                    .doing(doing)?;
                report.made += usize::try_from(made.rows_affected()).unwrap_or(0);
            }
            query(NEXT_STEP).bind(next.deadline_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
            if next.exhausted {
                report.exhausted.push((id, severity));
            }
        }
        tx.commit().await.doing(doing)?;
        Ok(report)
    }

    /// Makes every open alert due, because the contacts may have changed. To be called when the server starts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn look_at_alerts_again(&self, now_us: i64) -> Result<()> {
        let doing = "look at the alerts again";
        let mut tx = self.begin(Domain::Alerts).await?;
        query(LOOK_AGAIN).bind(now_us).execute(&mut tx).await.doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Claims up to `limit` messages of one channel for `lease_us`, the most urgent first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`]; then nothing was claimed.
    pub async fn claim_deliveries(
        &self,
        channel: Channel,
        now_us: i64,
        lease_us: i64,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        let doing = "claim messages";
        let statement = query(CLAIMABLE).bind(channel.as_str()).bind(now_us).bind(i64::from(limit));
        // Most looks find nothing, and need not wait for the writer's turn.
        if statement.fetch_all(self.read()).await.doing(doing)?.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin(Domain::None).await?;
        let text = if tx.engine() == Engine::Postgres { CLAIMABLE_LOCKED } else { CLAIMABLE };
        let statement = query(text).bind(channel.as_str()).bind(now_us).bind(i64::from(limit));
        let found = statement.fetch_all(&mut *tx).await.doing(doing)?;
        let claimed = found.iter().map(read_claimed).collect::<Result<Vec<_>>>()?;
        for delivery in &claimed {
            let claim = query(CLAIM).bind(i64::from(delivery.unsure)).bind(now_us.saturating_add(lease_us));
            claim.bind(delivery.id.as_str()).execute(&mut *tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)?;
        Ok(claimed)
    }

    /// Notes what came of an attempt. A message that is done with by now (cancelled, or reported on by its service) stays
    /// as it is. When a message failed, its alert is due at once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn settle_delivery(&self, id: &DeliveryId, outcome: &Outcome, now_us: i64) -> Result<()> {
        let doing = "note what came of a message";
        let mut tx = self.begin(Domain::Alerts).await?;
        let known = state_of(&mut tx, id).await?;
        if known.state != DeliveryState::Sending {
            return Ok(());
        }
        match outcome {
            Outcome::Hold { until_us } => {
                query(HOLD).bind(*until_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
            }
            Outcome::Retry { at_us, error, unsure } => {
                let retry = query(RETRY).bind(*at_us).bind(i64::from(*unsure)).bind(cut(error));
                retry.bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
            }
            Outcome::Sent { service_id } => {
                move_to(&mut tx, id, &known, DeliveryState::Sent, Some(cut(service_id)), None, now_us).await?;
            }
            Outcome::Delivered => {
                move_to(&mut tx, id, &known, DeliveryState::Delivered, None, None, now_us).await?;
            }
            Outcome::Failed { error } => {
                move_to(&mut tx, id, &known, DeliveryState::Failed, None, Some(cut(error)), now_us).await?;
            }
        }
        tx.commit().await.doing(doing)
    }

    /// Takes a service's report on a message it calls `service_id`. Reports come late, twice and out of order: a state
    /// only moves forward. Returns whether it did.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such message or the service calls it something else,
    /// [`StoreError::Unavailable`].
    pub async fn report_delivery(
        &self,
        id: &DeliveryId,
        service_id: &str,
        state: DeliveryState,
        error: Option<&str>,
        now_us: i64,
    ) -> Result<bool> {
        let mut tx = self.begin(Domain::Alerts).await?;
        let known = state_of(&mut tx, id).await?;
        if known.service_id.as_deref().is_some_and(|ours| ours != cut(service_id)) {
            return Err(StoreError::NotFound { what: KIND });
        }
        if !known.state.may_become(state) || known.state == DeliveryState::Waiting {
            return Ok(false);
        }
        move_to(&mut tx, id, &known, state, Some(cut(service_id)), error.map(cut), now_us).await?;
        tx.commit().await.doing("note a report on a message")?;
        Ok(true)
    }

    /// When there is something to be done next for alerts and messages, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn next_alert_work_us(&self) -> Result<Option<i64>> {
        let doing = "look for alerts that are due";
        let row = query(NEXT_WORK).fetch_one(self.read()).await.doing(doing)?;
        row.try_get("at_us").doing(doing)
    }

    /// Every message about an alert, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn alert_deliveries(&self, id: &AlertId) -> Result<Vec<DeliveryRecord>> {
        let doing = "list the messages about an alert";
        let rows = query(OF_ALERT).bind(id.as_str()).fetch_all(self.read()).await.doing(doing)?;
        let read = |row: &Row| {
            Ok(DeliveryRecord {
                id: delivery_id(row)?,
                climb: count(row, "climb")?,
                delivery: read_delivery(row)?,
                attempts: count(row, "attempts")?,
                error: row.try_get("error").doing(doing)?,
            })
        };
        rows.iter().map(read).collect()
    }
}

/// Notes a message that was sent before its alert was stored.
pub(super) async fn note_sent(tx: &mut Conn, alert: &AlertId, sent: &SentBefore) -> Result<()> {
    let doing = "note what staff was told";
    let row = query(CLIMB_OF).bind(alert.as_str()).fetch_one(&mut *tx).await.doing(doing)?;
    let climb: i64 = row.try_get("climb").doing(doing)?;
    let state = if sent.service_id.is_some() { DeliveryState::Sent } else { DeliveryState::Delivered };
    let insert = query(INSERT_SENT)
        .bind(sent.id.as_str())
        .bind(alert.as_str())
        .bind(climb)
        .bind(i64::from(sent.step))
        .bind(i64::from(sent.contact))
        .bind(sent.channel.as_str())
        .bind(state.as_str())
        .bind(sent.at_us)
        .bind(sent.service_id.as_deref().map(cut))
        .bind(state.is_final().then_some(sent.at_us));
    insert.execute(tx).await.doing(doing).map(drop)
}

struct Known {
    alert_id: String,
    climb: i64,
    state: DeliveryState,
    service_id: Option<String>,
}

async fn state_of(tx: &mut Conn, id: &DeliveryId) -> Result<Known> {
    let doing = "read a message";
    let row = query(STATE).bind(id.as_str()).fetch_optional(tx).await.doing(doing)?;
    let row = row.ok_or(StoreError::NotFound { what: KIND })?;
    Ok(Known {
        alert_id: row.try_get("alert_id").doing(doing)?,
        climb: row.try_get("climb").doing(doing)?,
        state: state(&row)?,
        service_id: row.try_get("service_id").doing(doing)?,
    })
}

async fn move_to(
    tx: &mut Conn,
    id: &DeliveryId,
    known: &Known,
    state: DeliveryState,
    service_id: Option<&str>,
    error: Option<&str>,
    now_us: i64,
) -> Result<()> {
    let doing = "note what came of a message";
    let moved = query(MOVE).bind(state.as_str()).bind(service_id).bind(error);
    let moved = moved.bind(state.is_final().then_some(now_us)).bind(id.as_str());
    moved.execute(&mut *tx).await.doing(doing)?;
    if state == DeliveryState::Failed {
        let soon = query(NEXT_SOON).bind(now_us).bind(&known.alert_id).bind(known.climb);
        soon.execute(tx).await.doing(doing)?;
    }
    Ok(())
}

fn read_delivery(row: &Row) -> Result<Delivery> {
    let doing = "read a message";
    Ok(Delivery {
        step: count(row, "step")?,
        contact: count(row, "contact")?,
        channel: channel(row)?,
        state: state(row)?,
        made_at_us: row.try_get("made_at_us").doing(doing)?,
        settled_at_us: row.try_get("settled_at_us").doing(doing)?,
    })
}

fn read_claimed(row: &Row) -> Result<ClaimedDelivery> {
    let doing = "read a message";
    let damaged = || StoreError::corrupt("a message about an alert");
    let alert_id: String = row.try_get("alert_id").doing(doing)?;
    let kind: String = row.try_get("kind").doing(doing)?;
    let unsure: i64 = row.try_get("unsure").doing(doing)?;
    Ok(ClaimedDelivery {
        id: delivery_id(row)?,
        alert_id: AlertId::parse(&alert_id).map_err(|_| damaged())?,
        step: count(row, "step")?,
        contact: count(row, "contact")?,
        channel: channel(row)?,
        attempt: count(row, "attempts")?.saturating_add(1),
        unsure: unsure != 0 || state(row)? == DeliveryState::Sending,
        made_at_us: row.try_get("made_at_us").doing(doing)?,
        kind: AlertKind::parse(&kind).ok_or_else(damaged)?,
        severity: rows::severity(row)?,
        raised_at_us: row.try_get("raised_at_us").doing(doing)?,
        occurrences: count(row, "occurrences")?,
    })
}

fn delivery_id(row: &Row) -> Result<DeliveryId> {
    let id: String = row.try_get("id").doing("read a message")?;
    DeliveryId::parse(&id).map_err(|_| StoreError::corrupt("the identifier of a message"))
}

fn channel(row: &Row) -> Result<Channel> {
    let name: String = row.try_get("channel").doing("read a message")?;
    Channel::parse(&name).ok_or_else(|| StoreError::corrupt("the channel of a message"))
}

fn state(row: &Row) -> Result<DeliveryState> {
    let name: String = row.try_get("state").doing("read a message")?;
    DeliveryState::parse(&name).ok_or_else(|| StoreError::corrupt("the state of a message"))
}

fn count(row: &Row, column: &'static str) -> Result<u32> {
    let value: i64 = row.try_get(column).doing("read a message")?;
    u32::try_from(value).map_err(|_| StoreError::corrupt("a number of a message"))
}

/// A word of another program, short enough to keep.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_WORD_BYTES)).unwrap_or_default()
}
