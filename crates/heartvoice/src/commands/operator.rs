//! Who gives a command, and how what commands show of patients comes into the audit trail.
//!
//! What a command changes is told by the store itself, in the same transaction. What it shows is told before it is read:
//! if that cannot be written, nothing is shown. No transaction is held open meanwhile, because a slow reader of the output
//! would keep the server from writing.

use std::future::Future;
use std::os::unix::fs::MetadataExt;
use store::Store;
use store::audit::{Actor, AuditOutcome, NewEntry};

/// Whoever runs this program, by the name of their system account.
pub(crate) fn operator() -> Actor {
    Actor::operator(&system_user().unwrap_or_else(|| "unknown".to_owned()))
}

/// The name of the account, not what the environment says it is; its number where it has no name.
fn system_user() -> Option<String> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    Some(name.unwrap_or_else(|| format!("uid-{uid}")))
}

/// Runs what shows records of patients, once it is on record that it does.
pub(crate) async fn on_record(
    store: &Store,
    entry: NewEntry,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    store.record(std::slice::from_ref(&entry)).await?;
    let done = work.await;
    if done.is_err() {
        store.record(&[entry.outcome(AuditOutcome::Failed)]).await?;
    }
    done
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_operator_has_a_name() {
        let name = super::operator().id;
        assert!(!name.is_empty() && name != "unknown", "{name}");
    }
}
