//! What the demonstration prints.

use super::check::{Finished, unusable_because};
use super::history::Course;
use super::world::World;
use crate::output;
use clinic::Segment;
use serde_json::{Value, json};

/// Where things are.
pub(super) fn welcome(world: &World) -> anyhow::Result<()> {
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
    output::line("")
}

/// How to become the administrator of the demonstration, as long as nobody is.
pub(super) async fn first_link(world: &World) -> anyhow::Result<()> {
    let now_us = jiff::Timestamp::now().as_microsecond();
    if let Some(link) = server::auth::first_link(&world.store, &world.base_url(), now_us).await? {
        output::line(&format!("sign-in  {}  (sets up the account admin, once)\n", link.as_str()))?;
    }
    Ok(())
}

/// What the past weeks of calls showed, patient by patient.
pub(super) fn courses(courses: &[Course]) -> anyhow::Result<()> {
    for course in courses {
        let scenario = course.scenario;
        output::line(&format!("{scenario}: {} calls before today, in simulated time", course.days.len()))?;
        for day in &course.days {
            let reasons = main_reasons(&day.assessment);
            let ago = format!("{} {} ago", day.days_ago, if day.days_ago == 1 { "day" } else { "days" });
            let line = format!("  {ago:<13} {:<26} {reasons}", risk_and_band(Some(&day.assessment)));
            output::line(line.trim_end())?;
        }
        output::line("")?;
    }
    Ok(())
}

/// Risk and band, as in `52 review`.
fn risk_and_band(assessment: Option<&Value>) -> String {
    let Some(assessment) = assessment else { return "-".to_owned() };
    let band = assessment.get("risk_band").and_then(Value::as_str).unwrap_or("-");
    match assessment.get("overall_risk").and_then(Value::as_f64) {
        Some(risk) => format!("{risk:.0} {band}"),
        None => band.to_owned(),
    }
}

/// The weightiest reasons of the overall risk, in words.
fn main_reasons(assessment: &Value) -> String {
    let all = assessment.get("contributions").and_then(Value::as_array).into_iter().flatten();
    let overall =
        all.filter(|reason| reason.get("score").and_then(Value::as_str).is_none_or(|score| score == "overall"));
    let points = |reason: &Value| reason.get("points").and_then(Value::as_f64).unwrap_or(0.0);
    let mut reasons: Vec<&Value> = overall.filter(|reason| points(reason) >= 0.5).collect();
    reasons.sort_by(|a, b| points(b).total_cmp(&points(a)));
    let words = reasons.iter().take(3).filter_map(|reason| reason.get("explanation")?.as_str());
    words.collect::<Vec<_>>().join("; ")
}

/// The header of the rows.
pub(super) fn header(calls: u32) -> anyhow::Result<()> {
    output::line(&format!("calling  {calls} simulated patients at once; a call takes about a minute and a half"))?;
    output::line("")?;
    output::line(&cells(["SCENARIO", "OUTCOME", "DURATION", "TURNS", "JITTER", "SHIMMER", "HNR", "RISK", "STORED"]))
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
        &measure("jitter_local_percent", 2, " %"),
        &measure("shimmer_local_percent", 2, " %"),
        &measure("hnr_mean_db", 1, " dB"),
        &risk_and_band(call.assessment.as_ref()),
        if call.stored { "yes" } else { "NO" },
    ]))?;
    if let Some(assessment) = &call.assessment {
        let reasons = main_reasons(assessment);
        if !reasons.is_empty() {
            output::line(&format!("  because: {reasons}"))?;
        }
        let advice = assessment.get("recommendations").and_then(Value::as_array).into_iter().flatten();
        for text in advice.take(2).filter_map(|advice| advice.get("text")?.as_str()) {
            output::line(&format!("  advice: {text}"))?;
        }
    }
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

/// The last lines.
pub(super) fn summary(calls: &[Finished], messages: usize) -> anyhow::Result<()> {
    let good = calls.iter().filter(|call| call.is_ok()).count();
    output::line("")?;
    output::line(&format!("{messages} text messages about alerts reached the staff"))?;
    output::line(&format!("{good} of {} calls were bridged, analysed, assessed and stored", calls.len()))
}

/// The segment whose jitter, shimmer and harmonics mean most: a sustained vowel, if one can be used.
fn best_segment(segments: &[Segment]) -> Option<&Segment> {
    let usable = || segments.iter().filter(|segment| unusable_because(segment).is_none());
    usable().find(|segment| segment.task == "sustained-vowel").or_else(|| usable().next())
}

/// Cells in columns of fixed width, because rows are printed as calls end.
fn cells(cells: [&str; 9]) -> String {
    let widths = [16, 12, 9, 6, 8, 8, 8, 20, 6];
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// All calls as JSON.
pub(super) fn report(calls: &[Finished], courses: &[Course], ok: bool) -> Value {
    let history = courses.iter().map(|course| {
        let days = course.days.iter().map(|day| {
            json!({"days_ago": day.days_ago, "call_id": day.call_id, "outcome": day.outcome, "assessment": day.assessment})
        });
        json!({"scenario": course.scenario, "calls": days.collect::<Vec<_>>()})
    });
    json!({
        "ok": ok,
        "calls": calls.iter().map(object).collect::<Vec<_>>(),
        "history": history.collect::<Vec<_>>(),
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
        "assessment": call.assessment,
        "visit": call.visit,
        "stored": call.stored,
        "problems": call.problems,
    })
}
