//! `heartvoice call show`: one call in full.

mod visit;

use super::{object, row, word};
use crate::output::{self, Format};
use clinic::{CallId, Segment, TimelineKind};
use serde_json::{Value, json};
use store::Store;

pub(super) async fn run(store: &Store, id: &CallId, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(&whole(store, id).await?),
        Format::Table => print(store, id).await,
    }
}

/// Everything that is stored of a call but its audio.
pub(super) async fn whole(store: &Store, id: &CallId) -> anyhow::Result<Value> {
    let mut call = object(&store.get_call(id).await?);
    let events = store.call_events(id).await?;
    let segments = store.call_segments(id).await?;
    let transcript = events.iter().filter_map(|event| {
        let at_s = event.at_us as f64 / 1e6;
        match &event.kind {
            TimelineKind::UserTranscript { text } => Some(json!({"at_s": at_s, "role": "patient", "text": text})),
            TimelineKind::AgentResponse { text, .. } => Some(json!({"at_s": at_s, "role": "agent", "text": text})),
            _ => None,
        }
    });
    let transcript: Vec<Value> = transcript.collect();
    let visit = store.visit(id).await?;
    if let Some(object) = call.as_object_mut() {
        object.insert("transcript".to_owned(), Value::from(transcript));
        object.insert("events".to_owned(), serde_json::to_value(&events)?);
        object.insert("segments".to_owned(), serde_json::to_value(&segments)?);
        let shown = visit.as_ref().map(|visit| server::visit_json(id, visit));
        object.insert("visit".to_owned(), shown.unwrap_or_default());
        object.insert("assessment".to_owned(), visit.and_then(|visit| visit.assessment).unwrap_or_default());
    }
    Ok(call)
}

async fn print(store: &Store, id: &CallId) -> anyhow::Result<()> {
    let call = store.get_call(id).await?;
    let header =
        ["id", "patient_id", "direction", "outcome", "started_at", "duration_s", "agents", "turns", "interruptions"];
    output::table(header, vec![row(&call)])?;
    if let Some(cause) = &call.end_cause {
        output::line(&format!("ended by: {}", word(cause)))?;
    }
    output::line("")?;
    let events = store.call_events(id).await?;
    let rows = events.iter().map(|event| [clock(event.at_us), event.kind.name().to_owned(), details(&event.kind)]);
    output::table(["time", "event", "details"], rows.collect())?;
    let segments = store.call_segments(id).await?;
    if !segments.is_empty() {
        output::line("")?;
        print_segments(&segments)?;
    }
    match store.visit(id).await? {
        Some(visit) => visit::print(&visit),
        None => Ok(()),
    }
}

fn print_segments(segments: &[Segment]) -> anyhow::Result<()> {
    let rows = segments.iter().map(|segment| {
        let value =
            |pointer: &str, decimals| output::number(segment.report.pointer(pointer).and_then(Value::as_f64), decimals);
        let reasons = segment
            .report
            .pointer("/quality/reasons")
            .and_then(Value::as_array)
            .map(|reasons| reasons.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
        let usable = segment.report.pointer("/quality/usable").and_then(Value::as_bool) == Some(true);
        [
            segment.task.clone(),
            if usable { "yes" } else { "no" }.to_owned(),
            value("/measures/f0_median_hz", 1),
            value("/measures/jitter_local_percent", 3),
            value("/measures/shimmer_local_percent", 3),
            value("/measures/hnr_mean_db", 2),
            value("/measures/pause_count", 0),
            reasons.unwrap_or_default(),
        ]
    });
    output::table(["task", "usable", "f0_hz", "jitter_%", "shimmer_%", "hnr_db", "pauses", "remarks"], rows.collect())
}

/// Minutes, seconds and milliseconds of the call.
fn clock(at_us: u64) -> String {
    let ms = at_us / 1_000;
    format!("+{}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000)
}

/// What an entry says, in a few words.
fn details(kind: &TimelineKind) -> String {
    match kind {
        TimelineKind::UserTranscript { text } => format!("patient: {text}"),
        TimelineKind::AgentResponse { text, .. } => format!("agent: {text}"),
        TimelineKind::AgentCorrection { corrected, .. } => format!("agent said only: {corrected}"),
        TimelineKind::AgentTurnPlayed { turn, sent_ms, heard_ms, interrupted } => {
            let how = if *interrupted { "interrupted" } else { "played" };
            format!("turn {turn} {how}: {heard_ms} of {sent_ms} ms heard")
        }
        TimelineKind::ToolCall { name, parameters, .. } => format!("{name} {parameters}"),
        TimelineKind::ToolResult { name, result, .. } => format!("{name}: {result}"),
        other => {
            let mut fields = serde_json::to_value(other).unwrap_or_default();
            if let Some(fields) = fields.as_object_mut() {
                fields.remove("event");
                let shown = fields.iter().filter(|(_, value)| !value.is_null());
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                return shown.map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ");
            }
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_details_are_short() {
        assert_eq!(clock(83_456_789), "+1:23.456");
        let kind = TimelineKind::AgentFailed {
            service: "elevenlabs".into(),
            reason: "close_1008".into(),
            action: "retry".into(),
        };
        assert_eq!(details(&kind), "action retry, reason close_1008, service elevenlabs");
        assert_eq!(details(&TimelineKind::PhoneConnected), "");
    }
}
