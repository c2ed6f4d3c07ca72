//! What is counted and timed, in Prometheus' terms. Labels are few and bounded; none names a patient, a number or a
//! call.

use call::engine::Measure;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

const SHORT: [f64; 12] = [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0];
/// What one way of the sound between the phone company and the agent may take.
const AUDIO_DELAY_BUDGET_MS: f64 = 150.0;
/// What a ping may take there and back.
const ROUND_TRIP_BUDGET_MS: f64 = 50.0;

const LONG: [f64; 12] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Installs the recorder once per process and returns what renders it.
///
/// # Errors
/// A text when another recorder is installed already.
pub fn install() -> Result<&'static PrometheusHandle, String> {
    // Between the installation of a recorder and our note of it nobody else may try.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&LONG)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full("heartvoice_bridge_added_latency_seconds".into()), &SHORT))
        .map_err(|error| error.to_string())?
        .install_recorder()
        .map_err(|error| error.to_string())?;
    describe();
    Ok(HANDLE.get_or_init(|| handle))
}

/// Sums up what was timed since the last time. Rendering does so too, but where nobody scrapes, every single value would
/// be kept for ever.
pub(crate) fn upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

fn describe() {
    describe_gauge!("heartvoice_calls_active", "Calls in progress.");
    describe_counter!("heartvoice_calls_total", "Calls that ended, by direction and outcome.");
    describe_counter!("heartvoice_webhooks_total", "Webhook requests, by route and result.");
    describe_counter!("heartvoice_media_sockets_total", "Media sockets, by result.");
    describe_counter!("heartvoice_connections_refused_total", "Connections closed before any request, by reason.");
    describe_counter!("heartvoice_requests_refused_total", "Requests refused before any handler saw them, by reason.");
    describe_histogram!("heartvoice_bridge_added_latency_seconds", "Time between reading a frame and writing it on.");
    describe_histogram!("heartvoice_call_setup_seconds", "From the announcement of a call to the phase named.");
    describe_histogram!("heartvoice_barge_in_seconds", "From the onset of the caller's speech to our clear.");
    describe_histogram!("heartvoice_audio_gap_seconds", "Silence inside a reply because its audio came too late.");
    describe_histogram!("heartvoice_websocket_round_trip_seconds", "Round trip of a ping, by leg. Budget: 0.05.");
    describe_histogram!("heartvoice_audio_jitter_seconds", "Interarrival jitter of the phone's audio, per call.");
    describe_histogram!("heartvoice_playout_depth_seconds", "Deepest setting of the adaptive buffer, per call.");
    describe_histogram!("heartvoice_playout_delay_seconds", "From a reply's arrival to its playing, mean per call.");
    describe_counter!("heartvoice_playout_underruns_total", "Times a reply ran dry before its end.");
    describe_histogram!("heartvoice_audio_delay_seconds", "End-to-end delay of sound, per call. Budget: 0.15.");
    describe_counter!("heartvoice_audio_delay_over_budget_total", "Calls whose sound took longer than its budget.");
    describe_counter!("heartvoice_round_trip_over_budget_total", "Calls whose pings took longer than their budget.");
    describe_gauge!("heartvoice_lag_seconds", "How late tasks of this process are woken, third worst of five seconds.");
    describe_gauge!("heartvoice_load_level", "0 normal, 1 voices are analysed after their calls, 2 no new calls.");
    describe_gauge!(
        "heartvoice_agent_breaker",
        "1 for the state of a service's circuit breaker, by service and state."
    );
    describe_counter!("heartvoice_agent_failures_total", "Failures of agents, by detector and by what was done.");
    describe_counter!("heartvoice_frames_total", "Audio messages, by direction.");
    describe_counter!("heartvoice_frames_dropped_total", "Audio messages and records dropped, by reason.");
    describe_counter!("heartvoice_peer_problems_total", "Messages that could not be used, by peer.");
    describe_counter!("heartvoice_agent_connections_total", "Attempts to reach an agent, by service and result.");
    describe_histogram!("heartvoice_analysis_seconds", "Time to finish the analysis of a segment, by task.");
    describe_counter!(
        "heartvoice_analysis_shed_total",
        "Calls whose voice is analysed after the call, from the recording, by reason."
    );
    describe_gauge!("heartvoice_spool_entries", "Records of calls that wait for the database.");
    describe_gauge!("heartvoice_spool_bytes", "Their size.");
    describe_counter!("heartvoice_spool_replayed_total", "Records that the database took from the spool.");
    describe_counter!("heartvoice_spool_dropped_total", "Records that neither the database nor the spool took.");
    describe_counter!(
        "heartvoice_fallback_total",
        "Steps taken for patients whose call broke off, by step and result."
    );
    describe_counter!("heartvoice_recording_failures_total", "Recordings that could not be written.");
    describe_counter!("heartvoice_alerts_total", "Alerts raised, repetitions included, by kind and severity.");
    describe_counter!("heartvoice_alerts_lost_total", "Alerts that could not be stored.");
    describe_counter!("heartvoice_visits_lost_total", "Visits that could not be stored.");
    describe_counter!("heartvoice_alerts_unanswered_total", "Alerts nobody took up though everybody was told.");
    describe_counter!("heartvoice_alert_messages_total", "Attempts to send messages to staff, by channel and result.");
    describe_histogram!("heartvoice_alert_message_seconds", "From the decision to send a message to its sending.");
    describe_counter!("heartvoice_api_requests_total", "Requests to the programming interface, by route and status.");
    describe_counter!("heartvoice_sign_ins_total", "Attempts to sign in, by what was shown and what came of it.");
    describe_counter!("heartvoice_api_throttled_total", "Requests of callers who were too fast.");
    describe_counter!("heartvoice_api_refused_total", "Requests of nobody we know.");
    describe_counter!("heartvoice_audit_failures_total", "Entries of the audit trail that could not be written.");
    describe_counter!("heartvoice_outgoing_attempts_total", "Calls we tried to make, by what became of the attempt.");
    describe_gauge!("heartvoice_outgoing_in_flight", "Calls we are making: ringing, in progress, or not settled yet.");
    describe_counter!("heartvoice_missed_calls_total", "Planned calls that reached nobody, by reason.");
    describe_counter!("heartvoice_uploads_total", "Recordings brought to the object store, and attempts given up.");
    describe_counter!("heartvoice_uploaded_bytes_total", "Bytes of recordings brought to the object store.");
    describe_gauge!("heartvoice_spooled_recordings", "Recordings in the local spool, also those being written.");
    describe_gauge!("heartvoice_spooled_bytes", "Their size.");
    describe_gauge!("heartvoice_key_rotation_age_seconds", "Age of the key that wraps new data keys.");
    describe_gauge!(
        "heartvoice_backup_age_seconds",
        "Since the last backup of the embedded store; absent without one."
    );
    describe_counter!(
        "heartvoice_audit_changes_total",
        "Times the audit trail was found changed past the server: it must stay 0."
    );
    describe_counter!("heartvoice_audit_entries_total", "Entries of the audit trail.");
    describe_gauge!(
        "heartvoice_audit_checkpoint_age_seconds",
        "Age of the newest signature of the audit trail while entries wait for one, else 0."
    );
    describe_gauge!("heartvoice_build_info", "1, with the version as label.");
    gauge!("heartvoice_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("heartvoice_calls_active").set(0.0);
}

pub(crate) fn backup_age(age_us: Option<i64>) {
    if let Some(age_us) = age_us {
        gauge!("heartvoice_backup_age_seconds").set(age_us as f64 / 1e6);
    }
}

/// How long the trail is, and since when its end is not signed.
pub(crate) fn audit(entries: u64, newest: Option<&store::audit::Checkpoint>, now_us: i64) {
    counter!("heartvoice_audit_entries_total").absolute(entries);
    let unsigned = entries > newest.map_or(0, |checkpoint| checkpoint.seq);
    let age_us = newest.filter(|_| unsigned).map_or(0, |checkpoint| now_us.saturating_sub(checkpoint.at_us));
    gauge!("heartvoice_audit_checkpoint_age_seconds").set(age_us.max(0) as f64 / 1e6);
}

pub(crate) fn calls_active(count: usize) {
    gauge!("heartvoice_calls_active").set(count as f64);
}

pub(crate) fn uploads(counts: &store::UploadCounts, (recordings, bytes): (u64, u64)) {
    counter!("heartvoice_uploads_total", "result" => "uploaded").absolute(counts.uploaded);
    counter!("heartvoice_uploads_total", "result" => "failed").absolute(counts.failed);
    counter!("heartvoice_uploaded_bytes_total").absolute(counts.bytes);
    gauge!("heartvoice_spooled_recordings").set(recordings as f64);
    gauge!("heartvoice_spooled_bytes").set(bytes as f64);
}

pub(crate) fn key_age(age_us: i64) {
    gauge!("heartvoice_key_rotation_age_seconds").set(age_us as f64 / 1e6);
}

pub(crate) fn call_ended(direction: &'static str, outcome: &'static str) {
    counter!("heartvoice_calls_total", "direction" => direction, "outcome" => outcome).increment(1);
}

pub(crate) fn outgoing_attempt(result: &'static str) {
    counter!("heartvoice_outgoing_attempts_total", "result" => result).increment(1);
}

pub(crate) fn outgoing_in_flight(count: usize) {
    gauge!("heartvoice_outgoing_in_flight").set(count as f64);
}

pub(crate) fn missed_call(reason: &'static str) {
    counter!("heartvoice_missed_calls_total", "reason" => reason).increment(1);
}

pub(crate) fn webhook(route: &'static str, result: &'static str) {
    counter!("heartvoice_webhooks_total", "route" => route, "result" => result).increment(1);
}

pub(crate) fn media_socket(result: &'static str) {
    counter!("heartvoice_media_sockets_total", "result" => result).increment(1);
}

pub(crate) fn added_latency(leg: &'static str, spent: Duration) {
    histogram!("heartvoice_bridge_added_latency_seconds", "leg" => leg).record(spent.as_secs_f64());
}

pub(crate) fn spool(counts: &store::SpoolCounts) {
    gauge!("heartvoice_spool_entries").set(counts.entries as f64);
    gauge!("heartvoice_spool_bytes").set(counts.bytes as f64);
    counter!("heartvoice_spool_replayed_total").absolute(counts.replayed);
}

pub(crate) fn spool_dropped(count: u64) {
    counter!("heartvoice_spool_dropped_total").increment(count);
}

pub(crate) fn fallback(step: &'static str, result: &'static str) {
    counter!("heartvoice_fallback_total", "step" => step, "result" => result).increment(1);
}

/// The live analysis of a call's voice was given up; its recording is analysed after the call.
pub(crate) fn analysis_shed(reason: &'static str) {
    counter!("heartvoice_analysis_shed_total", "reason" => reason).increment(1);
}

pub(crate) fn dropped(reason: &'static str, count: u64) {
    counter!("heartvoice_frames_dropped_total", "reason" => reason).increment(count);
}

pub(crate) fn agent_connection(service: &'static str, result: &'static str) {
    counter!("heartvoice_agent_connections_total", "service" => service, "result" => result).increment(1);
}

/// 1 for the state that the breaker of a service is in, 0 for the others.
pub(crate) fn breaker(service: &'static str, state: &'static str) {
    for known in ["closed", "open", "half_open"] {
        let is = if known == state { 1.0 } else { 0.0 };
        gauge!("heartvoice_agent_breaker", "service" => service, "state" => known).set(is);
    }
}

/// A conversation failed: by which detector, and what was done.
pub(crate) fn agent_failure(reason: &str, action: &str) {
    counter!("heartvoice_agent_failures_total", "reason" => reason.to_owned(), "action" => action.to_owned())
        .increment(1);
}

pub(crate) fn analysis_done(task: &'static str, spent: Duration) {
    histogram!("heartvoice_analysis_seconds", "task" => task).record(spent.as_secs_f64());
}

pub(crate) fn recording_failed() {
    counter!("heartvoice_recording_failures_total").increment(1);
}

pub(crate) fn setup(phase: &'static str, after: Duration) {
    histogram!("heartvoice_call_setup_seconds", "phase" => phase).record(after.as_secs_f64());
}

pub(crate) fn alert_raised(kind: &'static str, severity: &'static str) {
    counter!("heartvoice_alerts_total", "kind" => kind, "severity" => severity).increment(1);
}

pub(crate) fn alert_lost() {
    counter!("heartvoice_alerts_lost_total").increment(1);
}

pub(crate) fn visit_lost() {
    counter!("heartvoice_visits_lost_total").increment(1);
}

pub(crate) fn alert_unanswered(severity: &'static str) {
    counter!("heartvoice_alerts_unanswered_total", "severity" => severity).increment(1);
}

pub(crate) fn alert_message(channel: &'static str, result: &'static str) {
    counter!("heartvoice_alert_messages_total", "channel" => channel, "result" => result).increment(1);
}

pub(crate) fn alert_message_out(channel: &'static str, after: Duration) {
    histogram!("heartvoice_alert_message_seconds", "channel" => channel).record(after.as_secs_f64());
}

pub(crate) fn api_request(route: &str, status: u16) {
    counter!("heartvoice_api_requests_total", "route" => route.to_owned(), "status" => status.to_string()).increment(1);
}

pub(crate) fn sign_in(attempted: &'static str, result: &'static str) {
    counter!("heartvoice_sign_ins_total", "attempted" => attempted, "result" => result).increment(1);
}

pub(crate) fn api_throttled() {
    counter!("heartvoice_api_throttled_total").increment(1);
}

pub(crate) fn api_refused() {
    counter!("heartvoice_api_refused_total").increment(1);
}

pub(crate) fn audit_changed() {
    counter!("heartvoice_audit_changes_total").increment(1);
}

pub(crate) fn audit_lost() {
    counter!("heartvoice_audit_failures_total").increment(1);
}

/// How late this machine is, and what follows: 0 nothing, 1 analysis after the calls, 2 no new calls.
pub(crate) fn lag(worst: Duration, load: u8) {
    gauge!("heartvoice_lag_seconds").set(worst.as_secs_f64());
    gauge!("heartvoice_load_level").set(f64::from(load));
}

/// A ping on a leg of a call came back.
pub(crate) fn round_trip(leg: &'static str, us: u64) {
    histogram!("heartvoice_websocket_round_trip_seconds", "leg" => leg).record(us as f64 / 1e6);
}

/// How well audio travelled in a call that ends.
pub(crate) fn audio_quality(quality: &clinic::AudioQuality) {
    let note = |name: &'static str, ms: Option<f64>| {
        if let Some(ms) = ms {
            histogram!(name).record(ms / 1_000.0);
        }
    };
    note("heartvoice_audio_jitter_seconds", quality.jitter_ms);
    note("heartvoice_playout_depth_seconds", Some(quality.depth_max_ms as f64));
    note("heartvoice_playout_delay_seconds", quality.playout_delay_ms);
    counter!("heartvoice_playout_underruns_total").increment(u64::from(quality.underruns));
    for (direction, ms) in [("to_agent", quality.to_agent_delay_ms), ("to_caller", quality.to_caller_delay_ms)] {
        let Some(ms) = ms else { continue };
        histogram!("heartvoice_audio_delay_seconds", "direction" => direction).record(ms / 1_000.0);
        if ms > AUDIO_DELAY_BUDGET_MS {
            counter!("heartvoice_audio_delay_over_budget_total", "direction" => direction).increment(1);
        }
    }
    for (leg, ms) in [("phone", quality.phone_round_trip_ms), ("agent", quality.agent_round_trip_ms)] {
        if ms.is_some_and(|ms| ms > ROUND_TRIP_BUDGET_MS) {
            counter!("heartvoice_round_trip_over_budget_total", "leg" => leg).increment(1);
        }
    }
}

/// Counts what the engine reports.
pub(crate) fn measure(measure: Measure) {
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    match measure {
        Measure::FrameIn => counter!("heartvoice_frames_total", "direction" => "from_caller").increment(1),
        Measure::PeerProblem { peer } => counter!("heartvoice_peer_problems_total", "peer" => peer).increment(1),
        Measure::BargeIn { reaction_ms } => histogram!("heartvoice_barge_in_seconds").record(seconds(reaction_ms)),
        Measure::PlayoutGap { gap_ms } => histogram!("heartvoice_audio_gap_seconds").record(seconds(gap_ms)),
        Measure::AgentAudioDropped => dropped("stale_or_full", 1),
        Measure::AgentReady { after_ms } => setup("agent", Duration::from_millis(after_ms)),
        // Counted where it is known who spoke.
        Measure::AgentSpoke => {}
        Measure::FirstAudio { after_ms } => setup("first_audio", Duration::from_millis(after_ms)),
    }
}
/// A connection was closed before any request.
pub(crate) fn connection_refused(reason: &'static str) {
    counter!("heartvoice_connections_refused_total", "reason" => reason).increment(1);
}

/// A request was refused before any handler saw it.
pub(crate) fn request_refused(reason: &'static str) {
    counter!("heartvoice_requests_refused_total", "reason" => reason).increment(1);
}
