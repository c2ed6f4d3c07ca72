//! What the calls of a patient contribute to the tables.

use super::people::Calendar;
use super::rows::{AlertRow, AnswerRow, AssessmentRow, CallRow, ContributionRow, FeatureRow, RedFlagRow, VoiceRow};
use super::vocabulary as words;
use super::{Dataset, Subject, SubjectAlert, SubjectCall, measures};
use crate::alerts::AlertKind;
use crate::answers::{Answer, MAX_CHANGE_KG, MAX_DAYS, MAX_WEIGHT_KG, MIN_WEIGHT_KG, Source};
use crate::facts::TaskFacts;
use crate::{CallId, Direction};
use serde_json::Value;

/// Longest call, in seconds.
const MAX_CALL_S: f64 = 86_400.0;
/// Attempts at a voice task, at most; more is not a number of attempts.
const MAX_ATTEMPTS: u32 = 99;
/// Replies, interruptions, occurrences and baseline calls, at most.
const MAX_COUNT: u32 = 9_999;

/// Adds the calls and alerts of `subject`.
pub(super) fn add(dataset: &mut Dataset, subject: &Subject<'_>, calendar: &Calendar) {
    let mut calls: Vec<&SubjectCall<'_>> = subject.calls.iter().collect();
    calls.sort_by(|a, b| (a.record.started_at_us, &a.record.id).cmp(&(b.record.started_at_us, &b.record.id)));
    let mut numbers: Vec<(&CallId, usize)> = Vec::with_capacity(calls.len());
    for (index, call) in calls.into_iter().enumerate() {
        let number = index + 1;
        numbers.push((&call.record.id, number));
        // Without a day a row says nothing, and a time that is none is a fault of the record.
        let Some(row) = call_row(subject, calendar, call, number) else { continue };
        dataset.calls.push(row);
        add_content(dataset, subject, call, number);
    }
    let mut alerts: Vec<&SubjectAlert<'_>> = subject.alerts.iter().collect();
    alerts.sort_by_key(|alert| alert.raised_at_us);
    for alert in alerts {
        let number = alert.call_id.and_then(|id| numbers.iter().find(|(known, _)| *known == id)).map(|known| known.1);
        dataset.alerts.extend(alert_row(subject, calendar, alert, number));
    }
}

fn call_row(subject: &Subject<'_>, calendar: &Calendar, call: &SubjectCall<'_>, number: usize) -> Option<CallRow> {
    let record = call.record;
    let lasted = record.ended_at_us.map(|ended| ended.saturating_sub(record.started_at_us) as f64 / 1e6);
    Some(CallRow {
        patient: subject.pseudonym.clone(),
        call: number,
        day: calendar.day(record.started_at_us)?,
        time_of_day: calendar.time_of_day(record.started_at_us),
        direction: match record.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        },
        outcome: record.outcome.as_str(),
        duration_s: lasted.filter(|s| (0.0..=MAX_CALL_S).contains(s)).map(|s| words::to_step(s, 10.0)),
        turns: record.turns.min(MAX_COUNT),
        interruptions: record.interruptions.min(MAX_COUNT),
        identified: call.facts.map(|facts| facts.identified),
        recording_consent: call.visit.and_then(|visit| visit.recording_consent),
        complete: call.visit.map(|visit| visit.complete),
        transferred: call.visit.and_then(|visit| visit.transferred),
        emergency_words_spoken: call.visit.and_then(|visit| visit.emergency_words_spoken),
        dry_confirmed: call.facts.map(|facts| facts.dry_confirmed),
        alert_open: call.facts.map(|facts| facts.alert_open),
    })
}

/// What was said and measured, if it was the patient.
fn add_content(dataset: &mut Dataset, subject: &Subject<'_>, call: &SubjectCall<'_>, number: usize) {
    let Some(facts) = call.facts.filter(|facts| facts.identified) else { return };
    dataset.answers.extend(facts.answers.iter().map(|answer| answer_row(subject, number, answer)));
    for flag in &facts.red_flags {
        let raised = call.visit.and_then(|visit| visit.red_flags.iter().find(|raised| raised.flag.code == flag.code));
        dataset.red_flags.push(RedFlagRow {
            patient: subject.pseudonym.clone(),
            call: number,
            code: words::red_flag(&flag.code),
            noticed_by: raised.map(|raised| words::noticed_by(&raised.noticed_by)),
        });
    }
    let tasks = facts.tasks.iter().enumerate();
    dataset.voice.extend(tasks.filter_map(|(index, task)| voice_row(subject, number, index + 1, task)));
    if let Some(assessment) = call.assessment {
        add_assessment(dataset, subject, number, assessment);
    }
}

fn answer_row(subject: &Subject<'_>, number: usize, answer: &Answer) -> AnswerRow {
    let said = answer.text().unwrap_or_default();
    let weight = answer.weight();
    let within = |value: Option<f64>, least: f64, most: f64| {
        value.filter(|value| (least..=most).contains(value)).map(|value| words::to_step(value, 0.1))
    };
    AnswerRow {
        patient: subject.pseudonym.clone(),
        call: number,
        topic: answer.topic.as_str(),
        answered: answer.answered,
        // The topic's own choices only: texts and numbers of a site's own questions may be anything.
        choice: answer.topic.choices().iter().copied().find(|choice| *choice == said),
        yes: answer.yes(),
        weight_kg: within(weight.and_then(|weight| weight.weight_kg), MIN_WEIGHT_KG, MAX_WEIGHT_KG),
        weight_change_kg: within(weight.and_then(|weight| weight.change_kg), -MAX_CHANGE_KG, MAX_CHANGE_KG),
        change_days: weight.and_then(|weight| weight.days).filter(|days| *days <= MAX_DAYS),
        source: answer.source.map(|source| match source {
            Source::Dtmf => "dtmf",
            Source::AgentTool => "agent_tool",
            Source::Transcript => "transcript",
            Source::PostCall => "post_call",
        }),
        conflicts: answer.conflicts.len(),
    }
}

fn add_assessment(dataset: &mut Dataset, subject: &Subject<'_>, number: usize, assessment: &Value) {
    let score = |pointer| words::number(assessment, pointer, 0.0, 100.0).map(|value| words::to_step(value, 0.1));
    let baseline = assessment.pointer("/baseline/calls").and_then(Value::as_u64);
    dataset.assessments.push(AssessmentRow {
        patient: subject.pseudonym.clone(),
        call: number,
        model_version: assessment.pointer("/model/version").and_then(Value::as_str).and_then(words::version),
        overall_risk: score("/overall_risk"),
        risk_low: score("/risk_interval/0"),
        risk_high: score("/risk_interval/1"),
        risk_band: words::band(assessment),
        fluid_retention_risk: score("/fluid_retention_risk"),
        breathlessness_score: score("/breathlessness_score"),
        speech_effort_score: score("/speech_effort_score"),
        confidence: words::confidence(assessment),
        baseline_calls: baseline.filter(|calls| *calls <= u64::from(MAX_COUNT)),
        baseline_state: words::baseline_state(assessment),
    });
    let parts =
        ["contributions", "score_contributions"].into_iter().filter_map(|list| assessment.get(list)?.as_array());
    for part in parts.flatten() {
        let points = words::number(part, "/points", -1_000.0, 1_000.0);
        if let (Some(score), Some(points)) = (words::score(part), points) {
            dataset.contributions.push(ContributionRow {
                patient: subject.pseudonym.clone(),
                call: number,
                score,
                factor: words::factor(part),
                points: words::to_step(points, 0.1),
            });
        }
    }
    let features = assessment.get("features").and_then(Value::as_object).into_iter().flatten();
    for (name, value) in features {
        if let Some(feature) = words::feature(name) {
            dataset.features.push(FeatureRow {
                patient: subject.pseudonym.clone(),
                call: number,
                feature: feature.name(),
                value: words::number(value, "", -1_000.0, 1_000.0).map(|value| words::to_digits(value, 3)),
            });
        }
    }
}

fn voice_row(subject: &Subject<'_>, number: usize, segment: usize, task: &TaskFacts) -> Option<VoiceRow> {
    let report = &task.report;
    let within = |pointer, most| words::number(report, pointer, 0.0, most);
    let reasons = report.pointer("/quality/reasons").and_then(Value::as_array).into_iter().flatten();
    let mut codes: Vec<&str> = reasons.filter_map(Value::as_str).map(words::quality_reason).collect();
    codes.sort_unstable();
    codes.dedup();
    Some(VoiceRow {
        patient: subject.pseudonym.clone(),
        call: number,
        segment,
        task: words::task(&task.task)?,
        attempt: task.attempt.min(MAX_ATTEMPTS),
        usable: task.usable,
        engine_version: report.get("engine_version").and_then(Value::as_str).and_then(words::version),
        channel: words::channel(report),
        sample_rate_hz: words::sample_rate_hz(report),
        duration_s: within("/duration_s", MAX_CALL_S).map(|s| words::to_step(s, 0.1)),
        voiced_s: within("/quality/voiced_s", MAX_CALL_S).map(|s| words::to_step(s, 0.1)),
        snr_db: words::number(report, "/quality/snr_db", -100.0, 200.0).map(|db| words::to_digits(db, 3)),
        clipped_fraction: within("/quality/clipped_fraction", 1.0).map(|share| words::to_digits(share, 3)),
        quality_reasons: codes.join(" "),
        measures: measures::of(report),
    })
}

fn alert_row(
    subject: &Subject<'_>,
    calendar: &Calendar,
    alert: &SubjectAlert<'_>,
    call: Option<usize>,
) -> Option<AlertRow> {
    let after_min = |later: Option<i64>| {
        let us = later?.saturating_sub(alert.raised_at_us);
        (us >= 0).then_some(us / 60_000_000)
    };
    let code = alert.code.filter(|_| alert.kind == AlertKind::RedFlag);
    Some(AlertRow {
        patient: subject.pseudonym.clone(),
        call,
        day: calendar.day(alert.raised_at_us)?,
        kind: alert.kind.as_str(),
        code: code.map(words::red_flag),
        severity: alert.severity.as_str(),
        status: alert.status.as_str(),
        occurrences: alert.occurrences.min(MAX_COUNT),
        acknowledged_after_min: after_min(alert.acknowledged_at_us),
        resolved_after_min: after_min(alert.resolved_at_us),
    })
}
