//! Two reports of the same audio, value by value.

use serde_json::Value;

/// What came of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every value is the same, to the last bit.
    Reproduced,
    /// The same version gives other values: a record was changed, or this program is defect.
    Different,
    /// Another version of the engine measured the call, so values may differ.
    OtherVersion,
}

impl Verdict {
    /// The name in JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Different => "different",
            Self::OtherVersion => "other-version",
        }
    }
}

/// One value of the reports.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Its name; for what is not a measure, its path in the report.
    pub(super) name: String,
    pub(super) stored: Value,
    pub(super) now: Value,
}

impl Row {
    /// By how much a number changed.
    pub(super) fn difference(&self) -> Option<f64> {
        Some(self.now.as_f64()? - self.stored.as_f64()?)
    }
}

/// Two reports beside each other.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) verdict: Verdict,
    /// With the same version what differs; with another one also every measure.
    pub(super) rows: Vec<Row>,
}

pub(super) fn reports(stored: &Value, now: &Value) -> Compared {
    let same_version = stored.get("engine_version") == now.get("engine_version");
    let mut rows = Vec::new();
    collect("", stored, now, !same_version, &mut rows);
    let verdict = match (same_version, rows.is_empty()) {
        (true, true) => Verdict::Reproduced,
        (true, false) => Verdict::Different,
        (false, _) => Verdict::OtherVersion,
    };
    Compared { verdict, rows }
}

/// Walks through both values at once; what one of them lacks is null.
fn collect(path: &str, stored: &Value, now: &Value, all_measures: bool, rows: &mut Vec<Row>) {
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (stored, now) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names.into_iter().filter(|name| !path.is_empty() || *name != "engine_version") {
                let value = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                collect(&inside(name), &value(a), &value(b), all_measures, rows);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for place in 0..a.len().max(b.len()) {
                let value = |array: &[Value]| array.get(place).cloned().unwrap_or_default();
                collect(&inside(&place.to_string()), &value(a), &value(b), all_measures, rows);
            }
        }
        _ => {
            let measure = path.strip_prefix("measures.");
            let listed = all_measures && measure.is_some() && !(stored.is_null() && now.is_null());
            if listed || !same(stored, now) {
                let name = measure.unwrap_or(path).to_owned();
                rows.push(Row { name, stored: stored.clone(), now: now.clone() });
            }
        }
    }
}

/// Numbers are the same when their shortest exact forms are, which tells every bit apart.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.to_string() == b.to_string(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn report(version: &str, f0: f64) -> Value {
        json!({"engine_version": version, "duration_s": 2.0, "measures": {"f0_mean_hz": f0, "cpps_db": null},
               "pauses": [{"start_s": 1.0, "duration_s": 0.3}]})
    }

    #[test]
    fn one_bit_is_a_difference_and_a_stored_report_loses_none() {
        let f0 = 123.456_789_012_345_67_f64;
        let stored: Value = serde_json::from_slice(&serde_json::to_vec(&report("1", f0)).unwrap()).unwrap();
        assert_eq!(reports(&stored, &report("1", f0)).verdict, Verdict::Reproduced);
        let other = reports(&stored, &report("1", f64::from_bits(f0.to_bits() + 1)));
        assert_eq!(other.verdict, Verdict::Different);
        assert_eq!(other.rows.len(), 1);
        assert_eq!(other.rows[0].name, "f0_mean_hz");
        assert_eq!(reports(&json!({"a": -0.0}), &json!({"a": 0.0})).verdict, Verdict::Different);
    }

    #[test]
    fn numbers_survive_storage_to_the_last_bit() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits((state >> 12) | (0x3f0 + (state & 0x1f)) << 52);
            let back: f64 = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
            assert_eq!(back.to_bits(), value.to_bits());
        }
    }

    #[test]
    fn another_version_lists_its_measures() {
        let compared = reports(&report("1", 100.0), &report("2", 101.5));
        assert_eq!(compared.verdict, Verdict::OtherVersion);
        assert_eq!(compared.rows.len(), 1);
        assert_eq!(compared.rows[0].difference(), Some(1.5));
        assert_eq!(reports(&report("1", 100.0), &report("2", 100.0)).rows.len(), 1);
    }

    #[test]
    fn what_is_missing_or_more_is_named() {
        let mut now = report("1", 100.0);
        now["pauses"] = json!([]);
        now["measures"]["cpps_db"] = json!(15.0);
        let names: Vec<String> = reports(&report("1", 100.0), &now).rows.into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["cpps_db", "pauses.0"]);
    }
}
