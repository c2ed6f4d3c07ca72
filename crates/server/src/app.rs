//! What all requests and calls of a server share.

use crate::agents::Agents;
use crate::alerts::AlertDesk;
use crate::analysis::Analysis;
use crate::api::Api;
use crate::auth::Doors;
use crate::closing::Unclosed;
use crate::health::Health;
use crate::lag::Lag;
use crate::paperwork::Desk;
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::twilio_rest::TwilioRest;
use call::ticket::TicketKey;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// The shared state of a server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// Where records wait that the database does not take.
    pub(crate) spool: Option<store::Spool>,
    /// Callers whom we turned away and whose call-back is being arranged.
    pub(crate) turned_away: Arc<Semaphore>,
    pub(crate) api: Api,
    /// How people come in.
    pub(crate) doors: Doors,
    pub(crate) agents: Agents,
    pub(crate) twilio: TwilioRest,
    pub(crate) alerts: AlertDesk,
    pub(crate) recorder: Recorder,
    pub(crate) analysis: Analysis,
    pub(crate) registry: Registry,
    /// How far behind this machine is.
    pub(crate) lag: Arc<Lag>,
    /// Places for calls whose voice is to be analysed from the recording, and whose turn it is.
    pub(crate) analyse_later: Arc<Semaphore>,
    /// See `analyse_later`.
    pub(crate) analysing_later: Semaphore,
    /// Ended calls that the store still takes for live.
    pub(crate) unclosed: Unclosed,
    pub(crate) ticket_key: TicketKey,
    pub(crate) health: Health,
    /// True once the server was asked to stop: no new calls.
    pub(crate) draining: AtomicBool,
    /// Media sockets that have not shown a ticket yet.
    pub(crate) anonymous_sockets: Arc<Semaphore>,
    /// Post-call messages being received.
    pub(crate) post_calls: Arc<Semaphore>,
    /// Wakes the job that places calls.
    pub(crate) outgoing: tokio::sync::Notify,
    /// Wakes the job that brings recordings to the object store.
    pub(crate) recordings_ended: tokio::sync::Notify,
    /// What is known of paperwork that others left.
    pub(crate) paperwork: Desk,
    /// The tasks of live calls.
    pub(crate) calls: TaskTracker,
}

impl App {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(std::sync::atomic::Ordering::Relaxed)
    }
}
