//! What the demonstration prints.

use super::check::{Finished, unusable_because};
use super::world::World;
use crate::output;
use clinic::Segment;
use serde_json::{Value, json};

/// Where things are, and the header of the rows.
pub(super) fn welcome(world: &World, calls: u32) -> anyhow::Result<()> {
    let base = world.base_url();
    output::line(&format!("server   {base}  (health: {base}/health, metrics: {base}/metrics)"))?;
    if let Some(folder) = world.kept_data() {
        let path = folder.display();
        let key = if folder.join("demo.key").exists() {
            format!(" ENCRYPTION_KEY_FILE={path}/demo.key")
        } else {
            String::new()
        };
        output::line(&format!(
            "data     {path}  (read it with DATABASE_URL=sqlite://{path}/heartvoice.db AUDIO_STORE={path}/audio{key})"
        ))?;
    }
    output::line(&format!("calling  {calls} simulated patients at once; a call takes about a minute"))?;
    output::line("")?;
    output::line(&cells([
        "SCENARIO",
        "OUTCOME",
        "DURATION",
        "TURNS",
        "BARGE-IN",
        "TRANSCRIPT",
        "JITTER",
        "SHIMMER",
        "HNR",
        "STORED",
    ]))
}

/// One finished call.
pub(super) fn row(call: &Finished) -> anyhow::Result<()> {
    let record = call.record.as_ref();
    let best = best_segment(&call.segments);
    let measure = |name: &str, decimals, unit: &str| {
        let value = best.and_then(|segment| segment.report.pointer(&format!("/measures/{name}"))?.as_f64());
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}{unit}"))
    };
    output::line(&cells([
        call.scenario,
        record.map_or("-", |record| record.outcome.as_str()),
        &call.duration_s().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
        &record.map_or_else(|| "-".to_owned(), |record| record.turns.to_string()),
        &record.map_or_else(|| "-".to_owned(), |record| record.interruptions.to_string()),
        &call.transcript_turns.to_string(),
        &measure("jitter_local_percent", 2, " %"),
        &measure("shimmer_local_percent", 2, " %"),
        &measure("hnr_mean_db", 1, " dB"),
        if call.stored { "yes" } else { "NO" },
    ]))?;
    let unusable = call.segments.iter().filter(|segment| unusable_because(segment).is_some());
    unusable.map(short_reason).try_for_each(|reason| output::line(&format!("  not used: {reason}")))
}

/// The task and the codes of the reasons; JSON has the explanations.
fn short_reason(segment: &Segment) -> String {
    let reasons = segment.report.pointer("/quality/reasons").and_then(Value::as_array);
    let texts = reasons.into_iter().flatten().filter_map(Value::as_str);
    let codes: Vec<&str> = texts.map(|text| text.split(':').next().unwrap_or(text)).collect();
    format!("{} segment ({})", segment.task, codes.join(", "))
}

/// The last line.
pub(super) fn summary(calls: &[Finished]) -> anyhow::Result<()> {
    let good = calls.iter().filter(|call| call.is_ok()).count();
    output::line("")?;
    output::line(&format!("{good} of {} calls were bridged, analysed and stored", calls.len()))
}

/// The segment whose jitter, shimmer and harmonics mean most: a sustained vowel, if one can be used.
fn best_segment(segments: &[Segment]) -> Option<&Segment> {
    let usable = || segments.iter().filter(|segment| unusable_because(segment).is_none());
    usable().find(|segment| segment.task == "sustained-vowel").or_else(|| usable().next())
}

/// Cells in columns of fixed width, because rows are printed as calls end.
fn cells(cells: [&str; 10]) -> String {
    let widths = [16, 10, 9, 6, 9, 11, 8, 8, 8, 6];
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// All calls as JSON.
pub(super) fn report(calls: &[Finished]) -> Value {
    json!({
        "ok": calls.iter().all(Finished::is_ok),
        "calls": calls.iter().map(object).collect::<Vec<_>>(),
    })
}

/// One call as JSON.
pub(super) fn object(call: &Finished) -> Value {
    let record = call.record.as_ref();
    let segments = call.segments.iter().map(|segment| {
        let part = |name: &str| segment.report.get(name).cloned().unwrap_or_default();
        json!({
            "task": segment.task,
            "duration_s": part("duration_s"),
            "window": part("window"),
            "measures": part("measures"),
            "pauses": part("pauses"),
            "quality": part("quality"),
            "validity": part("validity"),
        })
    });
    json!({
        "call_id": record.map(|record| &record.id),
        "patient_id": record.and_then(|record| record.patient_id.as_ref()),
        "scenario": call.scenario,
        "direction": record.map(|record| record.direction),
        "outcome": record.map(|record| record.outcome),
        "agents": record.map(|record| record.agents.as_slice()).unwrap_or_default(),
        "duration_s": call.duration_s(),
        "turns": record.map(|record| record.turns),
        "interruptions": record.map(|record| record.interruptions),
        "transcript_turns": call.transcript_turns,
        "segments": segments.collect::<Vec<_>>(),
        // There is no risk model yet.
        "assessment": null,
        "stored": call.stored,
        "problems": call.problems,
    })
}
