//! What the audit trail says about a start: which versions run, under which settings, and which settings are new.
//!
//! Of a setting only a keyed hash is kept, so that a change of a password is seen and the password is not.

use crate::config::Config;
use std::collections::BTreeMap;
use store::audit::chain::link;
use store::audit::{Actor, AuditFilter, NewEntry, hex};
use store::{Store, StoreError};

const START: &str = "server.start";
/// The detail with the hashes of all settings.
const SETTINGS: &str = "settings";
/// Bytes of a hash that are kept: enough to see a change.
const SHOWN_BYTES: usize = 4;

/// Notes the start, and what is different from the one before.
pub(super) async fn started(store: &Store, config: &Config) -> Result<(), StoreError> {
    let before = AuditFilter { action: Some(START.to_owned()), ..AuditFilter::default() };
    let before = store.find_audit(&before, 1, None).await?.pop();
    let now = digests(config, &store.shared_secret("digests of settings"));
    let version = |name| config.named_version(name).unwrap_or_else(|| "none".to_owned());
    let start = NewEntry::new(Actor::system(), START)
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("voice_engine", voice::analyzer::ENGINE_VERSION)
        .detail("protocol", version("PROTOCOL"))
        .detail("model", version("RISK_MODEL"))
        .detail("shadow_model", version("SHADOW_MODEL"))
        .detail(SETTINGS, written(&now));
    let mut entries = vec![start];
    let known = before.and_then(|mut entry| entry.entry.details.remove(SETTINGS));
    if let Some(known) = known.map(|text| read(&text)).filter(|known| *known != now) {
        let changed = now.keys().chain(known.keys()).filter(|name| now.get(*name) != known.get(*name));
        let change = NewEntry::new(Actor::system(), "config.change");
        entries.push(changed.fold(change, |entry, name| {
            let what = match (known.contains_key(name), now.contains_key(name)) {
                (false, _) => "added",
                (_, false) => "removed",
                _ => "changed",
            };
            entry.detail(name, what)
        }));
    }
    store.record(&entries).await
}

/// A keyed hash of every setting that has a value.
fn digests(config: &Config, secret: &[u8; 32]) -> BTreeMap<String, String> {
    let set = config.settings().iter().filter_map(|(variable, found)| Some((variable.name, found.as_ref()?)));
    set.map(|(name, found)| {
        let hash = link(secret, &format!("{name}={}", found.value));
        (name.to_owned(), hex(hash.get(..SHOWN_BYTES).unwrap_or_default()))
    })
    .collect()
}

fn written(digests: &BTreeMap<String, String>) -> String {
    digests.iter().map(|(name, digest)| format!("{name}={digest}")).collect::<Vec<_>>().join(" ")
}

fn read(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, digest)| (name.to_owned(), digest.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let digests = BTreeMap::from([("A".to_owned(), "01".to_owned()), ("B".to_owned(), "02".to_owned())]);
        assert_eq!(read(&written(&digests)), digests);
        assert_eq!(read(""), BTreeMap::new());
    }
}
