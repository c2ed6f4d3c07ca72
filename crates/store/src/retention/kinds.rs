//! What is deleted by age: for each kind, what is old enough, and which statements remove it.
//!
//! All parts of a call have the age of the call: the time since it ended. A patient under a legal hold loses nothing.

/// Which limit a kind follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Audio,
    Transcript,
    Measures,
    Alert,
    Phi,
}

/// A kind of record, one item at a time.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) limit: Limit,
    /// How many are old enough ($1: younger than this is kept).
    pub(super) count: &'static str,
    /// The first of them ($2 at most).
    pub(super) pick: &'static str,
    /// What removes one ($1: its identifier; $2, where it stands: the time).
    pub(super) remove: &'static [&'static str],
    /// The data key of its own that it may have: without a patient.
    pub(super) key: Option<OwnKey>,
}

/// A key in `data_keys` that seals one item and nothing else.
pub(super) struct OwnKey {
    /// As certificates name it.
    pub(super) name: &'static str,
    /// What destroys it ($1: the item's identifier).
    pub(super) destroy: &'static str,
}

/// What is tidied up beside: nothing of it is a record.
pub(super) struct Leftover {
    pub(super) name: &'static str,
    /// Kept for so long after its end.
    pub(super) keep_us: i64,
    pub(super) count: &'static str,
    /// At most a thousand at a time.
    pub(super) remove: &'static str,
}

const DAY_US: i64 = 86_400_000_000;

macro_rules! kind {
    ($name:literal, $limit:ident, $from:literal, $old:expr, $key:expr, [$($remove:expr),+ $(,)?]) => {
        Kind {
            name: $name,
            limit: Limit::$limit,
            count: concat!("SELECT COUNT(*) FROM ", $from, " t WHERE ", $old),
            pick: concat!("SELECT t.id FROM ", $from, " t WHERE ", $old, " ORDER BY t.id LIMIT $2"),
            remove: &[$($remove),+],
            key: $key,
        }
    };
}

/// A call that ended before $1 and is not held.
macro_rules! old_call {
    () => {
        "t.outcome <> 'in_progress' AND COALESCE(t.ended_at_us, t.started_at_us) < $1 \
         AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.patient_id = t.patient_id)"
    };
}

macro_rules! not_held {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.patient_id = t.patient_id)"
    };
}

/// An alert without a patient may be about a call of one.
macro_rules! alert_not_held {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.patient_id = t.patient_id \
         OR h.patient_id IN (SELECT c.patient_id FROM calls c WHERE c.id = t.call_id \
         OR c.id IN (SELECT o.call_id FROM alert_occurrences o WHERE o.alert_id = t.id)))"
    };
}

const DROP_AUDIO: &str = "INSERT INTO audio_removals (call_id, since_us) SELECT id, $2 FROM calls \
     WHERE id = $1 AND recording <> '' ON CONFLICT (call_id) DO NOTHING";
const DROP_EVENTS: &str = "DELETE FROM events WHERE call_id = $1";
const DROP_POST_CALLS: &str = "DELETE FROM post_calls WHERE call_id = $1";
const DROP_SEGMENTS: &str = "DELETE FROM segments WHERE call_id = $1";
const DROP_VISITS: &str = "DELETE FROM visits WHERE call_id = $1";
const CALL_KEY: OwnKey = OwnKey { name: "call", destroy: "DELETE FROM data_keys WHERE kind = 'call' AND id = $1" };
const ALERT_KEY: OwnKey = OwnKey { name: "alert", destroy: "DELETE FROM data_keys WHERE kind = 'alert' AND id = $1" };
const DROP_ALERT: [&str; 3] = [
    "DELETE FROM deliveries WHERE alert_id = $1",
    "DELETE FROM alert_occurrences WHERE alert_id = $1",
    "DELETE FROM alerts WHERE id = $1",
];

/// In the order in which they are deleted; patients, who come last, are erased as a whole.
pub(super) static KINDS: [Kind; 9] = [
    kind!(
        "recordings",
        Audio,
        "calls",
        concat!("t.recording <> '' AND ", old_call!()),
        None,
        [DROP_AUDIO, "UPDATE calls SET recording = '' WHERE id = $1 AND recording <> ''"]
    ),
    kind!(
        "transcripts",
        Transcript,
        "calls",
        concat!(
            "(EXISTS (SELECT 1 FROM events e WHERE e.call_id = t.id) \
             OR EXISTS (SELECT 1 FROM post_calls p WHERE p.call_id = t.id)) AND ",
            old_call!()
        ),
        None,
        [DROP_EVENTS, DROP_POST_CALLS]
    ),
    kind!(
        "measures",
        Measures,
        "calls",
        concat!(
            "(EXISTS (SELECT 1 FROM segments s WHERE s.call_id = t.id) \
             OR EXISTS (SELECT 1 FROM visits v WHERE v.call_id = t.id)) AND ",
            old_call!()
        ),
        None,
        [DROP_SEGMENTS, DROP_VISITS]
    ),
    kind!(
        "calls",
        Phi,
        "calls",
        old_call!(),
        Some(CALL_KEY),
        [
            DROP_AUDIO,
            DROP_EVENTS,
            DROP_POST_CALLS,
            DROP_SEGMENTS,
            DROP_VISITS,
            "DELETE FROM conversations WHERE call_id = $1",
            "UPDATE alert_occurrences SET call_id = NULL WHERE call_id = $1",
            "UPDATE alerts SET call_id = NULL WHERE call_id = $1",
            "DELETE FROM calls WHERE id = $1",
        ]
    ),
    kind!(
        "alerts",
        Alert,
        "alerts",
        concat!("t.status = 'resolved' AND COALESCE(t.resolved_at_us, t.last_at_us) < $1", alert_not_held!()),
        Some(ALERT_KEY),
        [DROP_ALERT[0], DROP_ALERT[1], DROP_ALERT[2]]
    ),
    // What nobody has taken up stays visible for as long as anything may be kept.
    kind!(
        "unresolved_alerts",
        Phi,
        "alerts",
        concat!("t.status <> 'resolved' AND t.last_at_us < $1", alert_not_held!()),
        Some(ALERT_KEY),
        [DROP_ALERT[0], DROP_ALERT[1], DROP_ALERT[2]]
    ),
    kind!(
        "planned_calls",
        Phi,
        "planned_calls",
        concat!("t.state <> 'open' AND t.closes_at_us < $1", not_held!()),
        None,
        ["DELETE FROM call_attempts WHERE planned_call_id = $1", "DELETE FROM planned_calls WHERE id = $1"]
    ),
    kind!(
        "schedules",
        Phi,
        "schedules",
        concat!(
            "t.removed = 1 AND t.created_at_us < $1 \
             AND NOT EXISTS (SELECT 1 FROM planned_calls p WHERE p.schedule_id = t.id AND p.closes_at_us >= $1)",
            not_held!()
        ),
        None,
        [
            "DELETE FROM call_attempts WHERE planned_call_id IN (SELECT id FROM planned_calls WHERE schedule_id = $1)",
            "DELETE FROM planned_calls WHERE schedule_id = $1",
            "DELETE FROM schedules WHERE id = $1",
        ]
    ),
    kind!(
        "glass_breaks",
        Phi,
        "glass_breaks",
        concat!("t.until_us < $1", not_held!()),
        None,
        ["DELETE FROM glass_breaks WHERE id = $1"]
    ),
];

/// Patients of whom nothing is younger than the limit and who are not to be called.
macro_rules! old_patient {
    () => {
        " FROM patients t WHERE t.created_at_us < $1 \
         AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.patient_id = t.id) \
         AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.patient_id = t.id \
         AND (c.outcome = 'in_progress' OR COALESCE(c.ended_at_us, c.started_at_us) >= $1)) \
         AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.patient_id = t.id \
         AND COALESCE(a.resolved_at_us, a.last_at_us) >= $1) \
         AND NOT EXISTS (SELECT 1 FROM planned_calls p WHERE p.patient_id = t.id \
         AND (p.state = 'open' OR p.closes_at_us >= $1)) \
         AND NOT EXISTS (SELECT 1 FROM glass_breaks g WHERE g.patient_id = t.id AND g.until_us >= $1) \
         AND NOT EXISTS (SELECT 1 FROM schedules s WHERE s.patient_id = t.id AND s.removed = 0)"
    };
}

pub(super) const PATIENTS_COUNT: &str = concat!("SELECT COUNT(*)", old_patient!());
pub(super) const PATIENTS_PICK: &str = concat!("SELECT t.id", old_patient!(), " ORDER BY t.id LIMIT $2");

/// Calls that a hold keeps beyond the limit.
pub(super) const HELD_CALLS: &str = "SELECT COUNT(*) FROM calls t WHERE t.outcome <> 'in_progress' \
     AND COALESCE(t.ended_at_us, t.started_at_us) < $1 \
     AND EXISTS (SELECT 1 FROM legal_holds h WHERE h.patient_id = t.patient_id)";

pub(super) static LEFTOVERS: [Leftover; 3] = [
    Leftover {
        name: "sessions",
        keep_us: 30 * DAY_US,
        count: "SELECT COUNT(*) FROM sessions WHERE COALESCE(ended_at_us, expires_at_us) < $1",
        remove: "DELETE FROM sessions WHERE id IN \
             (SELECT id FROM sessions WHERE COALESCE(ended_at_us, expires_at_us) < $1 LIMIT 1000)",
    },
    Leftover {
        name: "invitations",
        keep_us: 30 * DAY_US,
        count: "SELECT COUNT(*) FROM invitations WHERE expires_at_us < $1",
        remove: "DELETE FROM invitations WHERE token_hash IN \
             (SELECT token_hash FROM invitations WHERE expires_at_us < $1 LIMIT 1000)",
    },
    Leftover {
        name: "idempotency_keys",
        keep_us: DAY_US,
        count: "SELECT COUNT(*) FROM idempotency_keys WHERE created_at_us < $1",
        remove: "DELETE FROM idempotency_keys WHERE key_hash IN \
             (SELECT key_hash FROM idempotency_keys WHERE created_at_us < $1 LIMIT 1000)",
    },
];
