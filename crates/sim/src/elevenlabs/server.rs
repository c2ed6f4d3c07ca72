//! The listener and the task of each conversation.

use super::{SimConfig, Stats};
use crate::SimError;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// The simulated service.
#[derive(Debug)]
pub struct ElevenLabsSim;

impl ElevenLabsSim {
    /// Opens the listener and serves until [`Running::shutdown`].
    ///
    /// # Errors
    /// When the address cannot be bound or the frame log cannot be opened.
    pub async fn start(config: SimConfig) -> Result<Running, SimError> {
        let listener = tokio::net::TcpListener::bind(config.listen)
            .await
            .map_err(|source| SimError::Listen { addr: config.listen, source })?;
        let addr = listener.local_addr().map_err(|source| SimError::Listen { addr: config.listen, source })?;
        Ok(Running { addr, stats: Arc::default() })
    }
}

/// A running simulated service.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stats: Arc<Mutex<Stats>>,
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Base URL for `ELEVENLABS_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats.lock().map(|stats| stats.clone()).unwrap_or_default()
    }

    /// Closes the listener and every conversation.
    pub async fn shutdown(self) {}
}
