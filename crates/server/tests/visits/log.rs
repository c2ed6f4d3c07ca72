//! Everything the servers of these tests write to their log.

use std::io::Write;
use std::sync::{Mutex, Once};
use tracing_subscriber::EnvFilter;

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();

/// Words of our patients and about them, none of which may be in a log.
const PRIVATE: [&str; 12] = [
    "wilhelmina",
    "sandoval",
    "5550006",
    "5550011",
    "5550012",
    "mrn-7",
    "1948-04",
    "april",
    "chest",
    "breath",
    "swelling",
    "pound",
];

struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        WRITTEN.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Begins to keep the log, far more of it than a server in service writes; the simulators are not what is looked at.
pub(crate) fn keep() {
    STARTED.call_once(|| {
        let filter = EnvFilter::new("debug,server=trace,store=trace,call=trace,clinic=trace,sim=off");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Log).init();
    });
}

/// The log has lines about calls, and none of them tells anything about a patient.
pub(crate) fn assert_discreet() {
    let written = String::from_utf8_lossy(&WRITTEN.lock().unwrap()).into_owned();
    assert!(written.contains("call announced"), "the log was not kept");
    for line in written.lines() {
        let lower = line.to_lowercase();
        for word in PRIVATE {
            assert!(!lower.contains(word), "{word} in the log: {line}");
        }
    }
}
