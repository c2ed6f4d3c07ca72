//! How the service takes a change: objects are merged, everything else is replaced.

use serde_json::Value;

/// Deepest nesting that is followed; the settings of an agent have about ten levels.
const MAX_DEPTH: usize = 64;

/// Merges `change` into `target`. Lists are replaced as a whole.
pub(super) fn merge(target: &mut Value, change: &Value) {
    merge_at(target, change, 0);
}

fn merge_at(target: &mut Value, change: &Value, depth: usize) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) if depth < MAX_DEPTH => {
            for (key, value) in change {
                merge_at(target.entry(key.clone()).or_insert(Value::Null), value, depth + 1);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_merged_and_lists_replaced() {
        let mut target = json!({"a": {"b": 1, "list": [1, 2, 3]}, "kept": true});
        merge(&mut target, &json!({"a": {"list": [4], "c": null}, "new": {"d": 2}}));
        assert_eq!(target, json!({"a": {"b": 1, "list": [4], "c": null}, "kept": true, "new": {"d": 2}}));
    }
}
