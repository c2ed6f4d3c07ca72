//! What was learned in a call and what it means, for people.

use crate::commands::call::word;
use crate::output;
use clinic::answers::{Answer, AnswerValue, Source};
use serde_json::Value;
use store::StoredVisit;

/// Prints the visit and, where there is one, its assessment.
pub(super) fn print(visit: &StoredVisit) -> anyhow::Result<()> {
    let record = &visit.record;
    let yes_no = |known: Option<bool>| known.map_or("-", |yes| if yes { "yes" } else { "no" }).to_owned();
    let how = record.identity.how.as_ref().map_or_else(String::new, |how| format!(" ({how})"));
    let tasks = record.tasks.iter().map(|task| {
        let usable = task.usable.map_or("not analysed", |usable| if usable { "usable" } else { "not usable" });
        format!("{} {}: {usable}", task.task, task.attempt)
    });
    let mut rows = vec![
        ("protocol", format!("{} {}", record.protocol, record.protocol_version)),
        ("languages", record.languages.join(", ")),
        ("identity", format!("{}{how}", word(&record.identity.status))),
        ("recording agreed", yes_no(record.recording_consent)),
        ("voice tasks", tasks.collect::<Vec<_>>().join(", ")),
        ("complete", yes_no(Some(record.complete))),
    ];
    if record.transferred.is_some() {
        rows.push(("connected with nurse", yes_no(record.transferred)));
    }
    if visit.facts.dry_confirmed {
        rows.push(("no congestion", "confirmed".to_owned()));
    }
    for raised in &record.red_flags {
        let (code, words) = (&raised.flag.code, &raised.flag.evidence);
        rows.push(("RED FLAG", format!("{code}: \"{words}\" ({})", raised.noticed_by)));
    }
    if let Some(spoken) = record.emergency_words_spoken {
        rows.push(("emergency advice heard", yes_no(Some(spoken))));
    }
    output::line("")?;
    output::table(["visit", "value"], pairs(rows))?;
    if !record.answers.is_empty() {
        output::line("")?;
        output::table(
            ["question", "answer", "source", "contradicted by"],
            record.answers.iter().map(answer).collect(),
        )?;
    }
    match &visit.assessment {
        Some(assessment) => print_assessment(assessment),
        None => Ok(()),
    }
}

fn pairs(rows: Vec<(&str, String)>) -> Vec<[String; 2]> {
    rows.into_iter().map(|(name, value)| [name.to_owned(), value]).collect()
}

fn answer(answer: &Answer) -> [String; 4] {
    let conflicts: Vec<String> = answer
        .conflicts
        .iter()
        .map(|other| format!("{} ({})", value(&other.value), word::<Source>(&other.source)))
        .collect();
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    [
        answer.question.clone(),
        answer.value.as_ref().map_or_else(|| "not answered".to_owned(), value),
        answer.source.as_ref().map_or_else(|| "-".to_owned(), word),
        or_dash(conflicts.join("; ")),
    ]
}

fn value(value: &AnswerValue) -> String {
    match value {
        AnswerValue::YesNo(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        AnswerValue::Number(number) => number.to_string(),
        AnswerValue::Text(text) => text.clone(),
        AnswerValue::Weight(report) => {
            let weight = report.weight_kg.map(|kg| format!("{kg:.1} kg"));
            let days = report.days.map_or_else(String::new, |days| format!(" in {days} days"));
            let change = report.change_kg.map(|kg| format!("{kg:+.1} kg{days}"));
            weight.into_iter().chain(change).collect::<Vec<_>>().join(", ")
        }
    }
}

/// An assessment in the form of the outer contract.
fn print_assessment(assessment: &Value) -> anyhow::Result<()> {
    let text = |pointer: &str| assessment.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |pointer: &str| output::number(assessment.pointer(pointer).and_then(Value::as_f64), 0);
    let texts = |pointer: &str, of: &str| -> Vec<String> {
        let items = assessment.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.pointer(of)?.as_str().map(str::to_owned)).collect()
    };
    let missing = texts("/missing", "");
    let reasons = texts("/confidence_reasons", "/text");
    let confidence = [&[text("/confidence")][..], &reasons[..]].concat().join("; ");
    output::line("")?;
    output::table(
        ["assessment", "value"],
        pairs(vec![
            ("band", text("/risk_band")),
            ("overall risk", number("/overall_risk")),
            ("risk interval", format!("{} to {}", number("/risk_interval/0"), number("/risk_interval/1"))),
            ("fluid retention", number("/fluid_retention_risk")),
            ("breathlessness", number("/breathlessness_score")),
            ("speech effort", number("/speech_effort_score")),
            ("baseline", format!("{}, {} calls", text("/baseline/state"), number("/baseline/calls"))),
            ("missing", if missing.is_empty() { "nothing".to_owned() } else { missing.join(", ") }),
            ("confidence", confidence),
            ("model", format!("{} {}", text("/model/name"), text("/model/version"))),
            ("assessed at", text("/assessed_at")),
        ]),
    )?;
    let contributions = assessment.get("contributions").and_then(Value::as_array).into_iter().flatten();
    let row = |part: &Value| {
        let text = |name: &str| part.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let points = part.get("points").and_then(Value::as_f64);
        [points.map_or_else(|| "-".to_owned(), |points| format!("{points:+.1}")), text("factor"), text("explanation")]
    };
    let contributions: Vec<_> = contributions.map(row).collect();
    if !contributions.is_empty() {
        output::line("")?;
        output::table(["points", "factor", "why"], contributions)?;
    }
    for recommendation in texts("/recommendations", "/text") {
        output::line(&format!("recommended: {recommendation}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinic::answers::WeightReport;

    #[test]
    fn answers_read_like_words() {
        let weight =
            |weight_kg, change_kg, days| value(&AnswerValue::Weight(WeightReport { weight_kg, change_kg, days }));
        assert_eq!(weight(Some(82.55), Some(2.3), Some(5)), "82.5 kg, +2.3 kg in 5 days");
        assert_eq!(weight(None, Some(-1.0), None), "-1.0 kg");
        assert_eq!(value(&AnswerValue::YesNo(false)), "no");
        assert_eq!(value(&AnswerValue::Text("worse".into())), "worse");
    }
}
