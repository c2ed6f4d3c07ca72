//! What can go wrong, sorted by what the caller can do about it.

/// Why a store operation did not succeed.
///
/// No message repeats a stored or given value: names, numbers, transcripts and keys never show up here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such record.
    #[error("no such {what}: check the identifier")]
    NotFound {
        /// The kind of record.
        what: &'static str,
    },
    /// The record exists already, or is past the state in which this is allowed. Nothing was changed.
    #[error("{what}; nothing was changed")]
    Conflict {
        /// What stands in the way.
        what: &'static str,
    },
    /// Disk or database did not do its part. Trying again later may help.
    #[error("the store could not {doing}: check the disk, its free space and permissions, then try again")]
    Unavailable {
        /// What was attempted.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored is not what was written: it was damaged, moved or tampered with.
    #[error("{what} is damaged or was tampered with: restore it from a backup")]
    Corrupt {
        /// What is damaged.
        what: String,
    },
    /// The record's key was destroyed on purpose: its content is gone for good. A normal answer.
    #[error("the {what} was erased: its key no longer exists")]
    Sealed {
        /// The kind of record.
        what: &'static str,
    },
    /// The database's keys are wrapped by another master key, or by another key service.
    #[error(
        "the encryption key does not belong to this database (given key {given}, database key {expected}): \
         set ENCRYPTION_KEY (or VAULT_ADDR and VAULT_TRANSIT_KEY) to what the database was created with or changed to"
    )]
    WrongKey {
        /// Public fingerprint of the key that was given.
        given: String,
        /// Public fingerprint of the key that is needed.
        expected: String,
    },
    /// There are records, but none of the keys they were sealed under, as in a database that was just restored.
    #[error(
        "the database holds records but not their keys, and new keys would open none of them: put the keys back with \
         `heartvoice backup restore-keys --keys FILE`, where FILE is the newest file of the keys"
    )]
    KeysMissing,
    /// An argument cannot be accepted.
    #[error("{what}: expected {expected}")]
    Invalid {
        /// The argument.
        what: &'static str,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// Something is being changed that this needs; the same request will work in a moment.
    #[error("{what}: try again in a moment")]
    Busy {
        /// What is going on.
        what: &'static str,
    },
    /// A valid request that this version cannot serve.
    #[error("{what} is not supported in this version: {instead}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// Short for a result of this crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// A name of the variant that stays the same across versions, for clients and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Unavailable { .. } => "unavailable",
            Self::Corrupt { .. } => "corrupt",
            Self::Sealed { .. } => "sealed",
            Self::WrongKey { .. } => "wrong_key",
            Self::KeysMissing => "keys_missing",
            Self::Invalid { .. } => "invalid",
            Self::Busy { .. } => "busy",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// Names what was attempted when the system refuses.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::Unavailable { doing, source: Box::new(source) })
    }
}
