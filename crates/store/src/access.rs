//! An access: everything done for one request, and the entries of the audit trail that tell of it, in one transaction.
//!
//! ```text
//! let access = store.begin_access().await?;
//! let patient = access.store().get_patient(&id).await?;     // runs inside
//! access.commit(&[entry]).await?;                            // only now may the data leave
//! ```
//!
//! On SQLite an access holds the one connection for writing, so it must be short: bodies are read and passwords checked
//! before it begins, and whatever is sent to others happens after it ended.

use crate::audit::{self, NewEntry};
use crate::db::{Domain, Scope};
use crate::{Result, Store};

/// A running access. Dropped without an end, it undoes everything.
pub struct Access {
    store: Store,
    scope: Scope,
}

impl Store {
    /// Begins an access.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`].
    pub async fn begin_access(&self) -> Result<Access> {
        let scope = self.inner.db.scope().await?;
        Ok(Access { store: Self { scope: Some(scope.clone()), ..self.clone() }, scope })
    }

    /// Writes entries about something that is not an access of data, such as a refused request.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`].
    pub async fn record(&self, entries: &[NewEntry]) -> Result<()> {
        use crate::error::Doing;
        let mut tx = self.begin(Domain::None).await?;
        audit::append(&mut tx, &self.inner.vault, entries).await?;
        tx.commit().await.doing("write the audit trail")
    }
}

impl Access {
    /// The store, inside the access. Clones of it must be gone when the access ends.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes the entries and ends the access: entries and changes become durable together, or neither does.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`]; then nothing was done, and nothing that was read may be passed on.
    pub async fn commit(self, entries: &[NewEntry]) -> Result<()> {
        self.store.record(entries).await?;
        drop(self.store);
        self.scope.commit().await
    }

    /// Undoes everything.
    pub fn abandon(self) {
        drop(self);
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access")
    }
}
