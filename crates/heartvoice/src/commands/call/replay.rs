//! `heartvoice call replay`: the stored audio of a call through the analysis once more.
//!
//! A stored number can be trusted if it can be computed again. The recording has every frame of the caller at its place
//! on the track; the stretches stored with each segment say which frames belonged to it. From these the segments are
//! fed again, frame by frame and gap by gap as in the live call, and the new reports compared with the stored ones.

mod compare;

use crate::failure::{FAILED, Reported};
use crate::output::{self, Format};
use clinic::{CallId, CallOutcome, Segment};
use compare::{Compared, Verdict};
use serde_json::{Value, json};
use store::{Store, StoreError};

/// A segment as it was stored and as it is computed now.
struct Replayed {
    segment: Segment,
    now: Value,
    compared: Compared,
}

pub(super) async fn run(store: &Store, id: &CallId, format: Format) -> anyhow::Result<()> {
    let call = store.get_call(id).await?;
    if call.outcome == CallOutcome::InProgress {
        anyhow::bail!("call {id} is still in progress: replay it when it is over");
    }
    let segments = store.call_segments(id).await?;
    if segments.is_empty() {
        anyhow::bail!("call {id} has no analysed voice ({}): there is nothing to compare with", call.outcome.as_str());
    }
    let mut recording = match store.open_recording(id).await {
        Err(StoreError::NotFound { .. }) => {
            anyhow::bail!("call {id} has no recording any more: its measures cannot be computed again")
        }
        opened => opened?,
    };
    let (reports, finished) = tokio::task::block_in_place(|| {
        let reports = server::segment_reports(&mut recording, &segments)?;
        anyhow::Ok((reports, recording.finished()))
    })?;
    if !finished {
        eprintln!("note: the end of the recording is missing, as after a crash: what was lost cannot be replayed");
    }
    let replayed = segments.into_iter().zip(reports).map(|(segment, now)| {
        let compared = compare::reports(&segment.report, &now);
        Replayed { segment, now, compared }
    });
    let replayed: Vec<Replayed> = replayed.collect();
    match format {
        Format::Json => output::json(&as_json(id, finished, &replayed))?,
        Format::Table => {
            for segment in &replayed {
                print(segment)?;
            }
            output::line(&summary(&replayed))?;
        }
    }
    let differs = replayed.iter().any(|segment| segment.compared.verdict == Verdict::Different);
    if differs { Err(Reported(FAILED).into()) } else { Ok(()) }
}

/// How many segments came out how.
fn summary(replayed: &[Replayed]) -> String {
    let count = |verdict| replayed.iter().filter(|segment| segment.compared.verdict == verdict).count();
    let all = replayed.len();
    let (same, different, other) =
        (count(Verdict::Reproduced), count(Verdict::Different), count(Verdict::OtherVersion));
    if same == all {
        return format!("reproduced: {same} of {all} segments, bit for bit");
    }
    let parts = [(same, "reproduced"), (different, "different"), (other, "measured by another version")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{all} segments: {}", parts.join(", "))
}

fn print(replayed: &Replayed) -> anyhow::Result<()> {
    let Replayed { segment, now, compared } = replayed;
    let seconds = now.get("duration_s").and_then(Value::as_f64).unwrap_or_default();
    let name = format!("segment {} ({}, {seconds:.2} s)", segment.index, segment.task);
    match compared.verdict {
        Verdict::Reproduced => output::line(&format!("{name}: reproduced")),
        Verdict::Different => {
            output::line(&format!("{name}: DIFFERENT though the version is the same ({})", version(now)))?;
            table(compared)
        }
        Verdict::OtherVersion => {
            let (before, now) = (version(&segment.report), version(now));
            output::line(&format!("{name}: measured by version {before}, now {now}"))?;
            table(compared)
        }
    }
}

fn table(compared: &Compared) -> anyhow::Result<()> {
    let rows = compared.rows.iter().map(|row| {
        let difference = row.difference().map_or_else(String::new, signed);
        [row.name.clone(), text(&row.stored), text(&row.now), difference]
    });
    output::table(["measure", "stored", "now", "difference"], rows.collect())
}

/// A difference with its sign, in as many digits as say something.
fn signed(difference: f64) -> String {
    let size = difference.abs();
    if size == 0.0 || (0.001..1e6).contains(&size) { format!("{difference:+.4}") } else { format!("{difference:+.2e}") }
}

/// A value as it stands in the report; what is absent is a dash.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn version(report: &Value) -> &str {
    report.get("engine_version").and_then(Value::as_str).unwrap_or("unknown")
}

fn as_json(id: &CallId, finished: bool, replayed: &[Replayed]) -> Value {
    let segments = replayed.iter().map(|Replayed { segment, now, compared }| {
        let rows = compared.rows.iter().map(
            |row| json!({"measure": row.name, "stored": row.stored, "now": row.now, "difference": row.difference()}),
        );
        json!({
            "index": segment.index,
            "task": segment.task,
            "verdict": compared.verdict.as_str(),
            "stored_engine_version": version(&segment.report),
            "engine_version": version(now),
            "duration_s": now.get("duration_s"),
            "differences": rows.collect::<Vec<_>>(),
        })
    });
    let reproduced = replayed.iter().all(|segment| segment.compared.verdict == Verdict::Reproduced);
    json!({
        "call_id": id,
        "reproduced": reproduced,
        "recording_complete": finished,
        "segments": segments.collect::<Vec<_>>(),
    })
}
