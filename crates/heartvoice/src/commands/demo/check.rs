//! Whether a call of the demonstration did all it should: bridged, analysed, assessed, stored, and handled rightly.

use super::cast::{Role, Way};
use super::history::Course;
use clinic::visit::VisitRecord;
use clinic::{CallOutcome, CallRecord, Direction, Segment, TimelineEvent, TimelineKind};
use serde_json::Value;
use sim::twilio::CallReport;
use std::time::Duration;
use store::{Frame, Store, StoreError};
use voice::g711::ULAW_SILENCE;

/// Finishing the analysis and the records of a call takes up to this long after its end.
const STORED_WAIT: Duration = Duration::from_secs(60);
/// The voice tasks of a visit, and the open speech of the call.
const TASKS: [&str; 3] = ["speech", "counting", "sustained-vowel"];
/// Frames may still be on the wire when the agent has said goodbye and the stream closes: half a second of audio.
const IN_FLIGHT_BYTES: usize = 4_000;

/// What came of a call.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) number: u32,
    pub(super) scenario: &'static str,
    pub(super) record: Option<CallRecord>,
    pub(super) transcript_turns: usize,
    pub(super) segments: Vec<Segment>,
    /// What was learned.
    pub(super) visit: Option<VisitRecord>,
    /// How it was assessed.
    pub(super) assessment: Option<Value>,
    pub(super) stored: bool,
    /// What did not go as it should.
    pub(super) problems: Vec<String>,
}

impl Finished {
    pub(super) fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// Problems with the call they belong to.
    pub(super) fn named_problems(&self) -> impl Iterator<Item = String> {
        let id = self.record.as_ref().map_or("not stored", |record| record.id.as_str());
        self.problems
            .iter()
            .map(move |problem| format!("call {} ({}, {id}): {problem}", self.number + 1, self.scenario))
    }

    /// Length in seconds.
    pub(super) fn duration_s(&self) -> Option<f64> {
        let record = self.record.as_ref()?;
        record.ended_at_us.map(|end| (end - record.started_at_us) as f64 / 1e6)
    }
}

/// Reads back what the store has of a call and compares it with what the telephone noticed and what the role wants.
pub(super) async fn finished(store: &Store, number: u32, role: Role, report: anyhow::Result<CallReport>) -> Finished {
    let mut finished = Finished {
        number,
        scenario: role.scenario,
        record: None,
        transcript_turns: 0,
        segments: Vec::new(),
        visit: None,
        assessment: None,
        stored: false,
        problems: Vec::new(),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            finished.problems.push(format!("the telephone could not be simulated: {error:#}"));
            return finished;
        }
    };
    check_line(&report, &mut finished.problems);
    let before = finished.problems.len();
    if let Err(error) = read_back(store, &report, &mut finished).await {
        finished.problems.push(format!("reading the call back: {error}"));
    }
    finished.stored = finished.record.is_some() && finished.problems.len() == before;
    let mut problems = check_bridged(finished.record.as_ref(), role);
    if role.expected == CallOutcome::Completed {
        problems.extend(check_analysed(&finished.segments, role));
    }
    problems.extend(check_assessed(&finished, role));
    problems.extend(check_role(&finished, role));
    finished.problems.extend(problems);
    finished
}

/// What the telephone noticed.
fn check_line(report: &CallReport, problems: &mut Vec<String>) {
    for violation in &report.violations {
        problems.push(format!("protocol violation {}: {} at {} ms", violation.code, violation.detail, violation.at_ms));
    }
    if let Some(status) = report.handshake_refused {
        problems.push(format!("the media stream was refused with status {status}"));
    }
    if report.stream_sid.is_empty() {
        problems.push("no media stream was opened".to_owned());
    } else if !report.heard_on_stream.iter().any(|code| *code != ULAW_SILENCE) {
        problems.push("the caller heard nothing".to_owned());
    }
    if report.frames_sent == 0 {
        problems.push("no audio of the caller was sent".to_owned());
    }
}

fn check_bridged(record: Option<&CallRecord>, role: Role) -> Vec<String> {
    let Some(record) = record else { return Vec::new() };
    let mut problems = Vec::new();
    if record.outcome != role.expected {
        problems.push(format!("outcome {} instead of {}", record.outcome.as_str(), role.expected.as_str()));
    }
    let wanted = if role.way == Way::Inbound { Direction::Inbound } else { Direction::Outbound };
    if record.direction != wanted {
        problems.push("stored with the wrong direction".to_owned());
    }
    if record.agents.is_empty() {
        problems.push("no agent carried the call".to_owned());
    }
    problems
}

/// The call has an assessment with the risk that its role wants.
fn check_assessed(finished: &Finished, role: Role) -> Vec<String> {
    let Some(assessment) = &finished.assessment else { return vec!["the call was not assessed".to_owned()] };
    let risk = assessment.get("overall_risk").and_then(Value::as_f64);
    match (role.risk, risk) {
        (Some((low, high)), Some(risk)) if (low..=high).contains(&risk) => Vec::new(),
        (Some((low, high)), risk) => vec![format!("risk {risk:?} instead of {low} to {high}")],
        (None, None) => Vec::new(),
        (None, Some(risk)) => vec![format!("a risk of {risk} though there was nothing to interpret")],
    }
}

/// What a scenario is there to show.
fn check_role(finished: &Finished, role: Role) -> Vec<String> {
    let Some(visit) = &finished.visit else { return vec!["nothing of the visit was stored".to_owned()] };
    let mut problems = Vec::new();
    let mut want = |holds: bool, what: &str| {
        if !holds {
            problems.push(what.to_owned());
        }
    };
    let answered = |question: &str| visit.answers.iter().any(|answer| answer.question == question && answer.answered);
    match role.scenario {
        "red-flag" => {
            want(visit.red_flags.iter().any(|raised| raised.flag.code == "chest_pain"), "chest pain was not noticed");
            want(visit.transferred == Some(true), "the patient was not connected with the nurse");
        }
        "short-of-breath" => {
            want(!visit.red_flags.is_empty(), "breathlessness at rest was not noticed");
        }
        "spanish" => {
            want(visit.languages == ["es"], "the visit was not held in Spanish");
            want(visit.recording_consent == Some(true), "the patient was not asked about recording");
        }
        "voicemail" => want(visit.answers.iter().all(|answer| !answer.answered), "a machine answered questions"),
        "unusable-line" => {
            let tasks = visit.tasks.iter().filter(|task| task.item.is_some());
            want(tasks.clone().all(|task| task.usable == Some(false)), "a task on an unusable line passed its gates");
            want(tasks.count() == 4, "unusable tasks were not asked for again exactly once");
        }
        _ => {}
    }
    if role.expected == CallOutcome::Completed && role.scenario != "short-of-breath" {
        for question in ["feeling", "dyspnea", "swelling", "weight", "medications"] {
            want(answered(question), &format!("{question} was not answered"));
        }
    }
    problems
}

/// Every task has its segment, with measures or with a reason why there are none.
fn check_analysed(segments: &[Segment], role: Role) -> Vec<String> {
    let mut problems = Vec::new();
    for task in TASKS {
        let Some(segment) = segments.iter().find(|segment| segment.task == task) else {
            problems.push(format!("no {task} segment was analysed"));
            continue;
        };
        let measured = segment.report.pointer("/measures/f0_median_hz").is_some_and(Value::is_number);
        if !measured && unusable_because(segment).is_none() {
            problems.push(format!("the {task} segment has neither measures nor a reason"));
        }
    }
    let poor_line = role.scenario == "unusable-line";
    if !poor_line && !segments.is_empty() && segments.iter().all(|segment| unusable_because(segment).is_some()) {
        let reasons: Vec<String> = segments.iter().filter_map(unusable_because).collect();
        problems.push(format!("no segment could be used: {}", reasons.join("; ")));
    }
    problems
}

/// Why a segment cannot be used; `None` when it can.
pub(super) fn unusable_because(segment: &Segment) -> Option<String> {
    if segment.report.pointer("/quality/usable").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let reasons = segment.report.pointer("/quality/reasons").and_then(Value::as_array)?;
    let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
    (!reasons.is_empty()).then(|| format!("{}: {}", segment.task, reasons.join(", ")))
}

/// Fills in what the store has; what is wrong with it is added to the problems.
async fn read_back(store: &Store, report: &CallReport, finished: &mut Finished) -> Result<(), StoreError> {
    let Some(record) = wait_for_record(store, &report.call_sid).await? else {
        finished.problems.push("the call is not in the store".to_owned());
        return Ok(());
    };
    let id = record.id.clone();
    if record.outcome == CallOutcome::InProgress {
        finished.problems.push("the records of the call were not completed".to_owned());
    }
    if record.patient_id.is_none() {
        finished.problems.push("the caller was not recognised".to_owned());
    }
    finished.record = Some(record);
    let events = store.call_events(&id).await?;
    finished.transcript_turns = events.iter().filter(|event| is_turn(event)).count();
    let has = |wanted: fn(&TimelineKind) -> bool| events.iter().any(|event| wanted(&event.kind));
    if !has(|kind| matches!(kind, TimelineKind::AgentConnected { .. })) {
        finished.problems.push("no agent was connected".to_owned());
    }
    finished.segments = store.call_segments(&id).await?;
    if let Some(visit) = store.visit(&id).await? {
        finished.visit = Some(visit.record);
        finished.assessment = visit.assessment;
    }

    let mut recording = store.open_recording(&id).await?;
    let (mut received, mut agent_bytes) = (Vec::new(), 0);
    while let Some(frame) = recording.next_frame()? {
        match frame {
            Frame::Patient { ulaw, .. } => received.extend_from_slice(ulaw),
            Frame::Agent { ulaw, .. } => agent_bytes += ulaw.len(),
            Frame::AgentCleared { .. } => {}
        }
    }
    if !recording.finished() {
        finished.problems.push("the recording was not finished".to_owned());
    }
    if agent_bytes == 0 {
        finished.problems.push("nothing of the agent was recorded".to_owned());
    }
    if let Some(problem) = compare(&received, &report.spoken) {
        finished.problems.push(problem);
    }
    Ok(())
}

fn is_turn(event: &TimelineEvent) -> bool {
    matches!(event.kind, TimelineKind::UserTranscript { .. } | TimelineKind::AgentResponse { .. })
}

/// What was recorded of the caller must be what the caller's telephone sent, byte for byte, but for the very end.
fn compare(recorded: &[u8], sent: &[u8]) -> Option<String> {
    if !sent.starts_with(recorded) {
        let same = recorded.iter().zip(sent).take_while(|(a, b)| a == b).count();
        return Some(format!(
            "the recording differs from what the caller's telephone sent after {same} of {} bytes",
            sent.len()
        ));
    }
    let missing = sent.len() - recorded.len();
    (missing > IN_FLIGHT_BYTES).then(|| format!("{missing} of {} bytes of the caller were not recorded", sent.len()))
}

/// The record of a call once it is complete, or as it is when that takes too long.
async fn wait_for_record(store: &Store, call_sid: &str) -> Result<Option<CallRecord>, StoreError> {
    let deadline = tokio::time::Instant::now() + STORED_WAIT;
    loop {
        let record = store.find_call_by_sid(call_sid).await?;
        let complete = record.as_ref().is_some_and(|record| record.outcome != CallOutcome::InProgress);
        if complete || record.is_none() || tokio::time::Instant::now() >= deadline {
            return Ok(record);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Risk from which on a clinician looks the same day.
const REVIEW: f64 = 45.0;

/// What the courses of the past have to show.
pub(super) fn courses(courses: &[Course]) -> Vec<String> {
    let mut problems = Vec::new();
    for course in courses {
        let name = course.scenario;
        for day in course.days.iter().filter(|day| day.outcome != CallOutcome::Completed) {
            problems.push(format!("{name}, {} days ago: outcome {}", day.days_ago, day.outcome.as_str()));
        }
        let alarms = course.days.iter().filter(|day| day.risk().is_some_and(|risk| risk >= REVIEW));
        let first = alarms.clone().map(|day| day.days_ago).max();
        match (name, first) {
            // The admission is on the day of the demonstration.
            ("worsening", Some(days_ago)) if (2..sim::patient::WORSENING_DAYS).contains(&days_ago) => {}
            ("worsening", first) => problems.push(format!("worsening: reviewed {first:?} days before the admission")),
            (_, Some(days_ago)) => problems.push(format!("{name}, {days_ago} days ago: a review though all was well")),
            (_, None) => {}
        }
    }
    problems
}

/// A red flag has to reach somebody's telephone.
pub(super) fn staff_told(calls: &[Finished], messages: usize) -> Option<String> {
    let flags = calls.iter().any(|call| call.visit.as_ref().is_some_and(|visit| !visit.red_flags.is_empty()));
    (flags && messages == 0).then(|| "a red flag was raised and nobody was told".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_end_of_a_recording_may_be_missing() {
        let sent = vec![7; 10_000];
        assert_eq!(compare(&sent, &sent), None);
        assert_eq!(compare(&sent[..9_000], &sent), None);
        assert!(compare(&sent[..2_000], &sent).is_some_and(|problem| problem.contains("8000 of 10000")));
        assert!(compare(&[7, 8], &sent).is_some_and(|problem| problem.contains("after 1 of")));
        assert!(compare(&vec![7; 10_001], &sent).is_some());
    }

    #[test]
    fn a_segment_without_measures_needs_a_reason() {
        let segment = |task: &str, report: Value| Segment { index: 0, task: task.into(), spans: Vec::new(), report };
        let good = serde_json::json!({"measures": {"f0_median_hz": 120.0}, "quality": {"usable": true, "reasons": []}});
        let bad = serde_json::json!({"measures": {}, "quality": {"usable": false, "reasons": ["quiet: too quiet"]}});
        let mut segments = vec![segment("speech", good), segment("counting", bad.clone())];
        assert_eq!(check_analysed(&segments, Role::of(0)), ["no sustained-vowel segment was analysed"]);
        segments.push(segment("sustained-vowel", serde_json::json!({})));
        assert_eq!(
            check_analysed(&segments, Role::of(0)),
            ["the sustained-vowel segment has neither measures nor a reason"]
        );
        assert_eq!(unusable_because(&segment("counting", bad)), Some("counting: quiet: too quiet".into()));
    }
}
