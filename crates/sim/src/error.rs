//! Why a simulator could not do its work.

/// Failure of a simulator itself; what the other side did wrong is reported as data, not as an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The listener could not be opened.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file for a log could not be opened.
    #[error("cannot write {path}: {source}")]
    Log {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// A setting that cannot work.
    #[error("{0}")]
    Config(String),
}
