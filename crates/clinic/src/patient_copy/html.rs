//! The readable copy: one page that loads nothing, reads well aloud and prints well.

use super::texts::{ENGLISH, SPANISH, Texts};
use super::writer::Html;
use super::{CallCopy, CopyLanguage, PatientRecord};
use crate::Segment;
use crate::answers::{Answer, AnswerValue, Topic};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// No script, nothing fetched; colours with at least 7:1 of contrast; sizes that follow the reader's own.
const STYLE: &str = "<style>body{font:1.1rem/1.5 sans-serif;max-width:60rem;margin:auto;padding:1rem;color:#111;\
    background:#fff}table{border-collapse:collapse;width:100%;margin:0 0 1.5rem}caption{text-align:left;font-weight:bold;\
    padding:.5rem 0}th,td{border:1px solid #555;padding:.3rem .5rem;text-align:left;vertical-align:top;\
    overflow-wrap:anywhere}th{background:#eee}.notice{border:3px solid #111;padding:.5rem 1rem}a{color:#003c8f}\
    section.call{border-top:3px solid #555;margin-top:2rem}@media print{body{font-size:11pt;padding:0}\
    section.call{break-before:page}tr{break-inside:avoid}nav{display:none}thead{display:table-header-group}}</style>\n";

const POLICY: &str =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";

struct Page<'a> {
    html: Html,
    texts: &'static Texts,
    record: &'a PatientRecord,
    zone: TimeZone,
}

pub(super) fn page(record: &PatientRecord, language: CopyLanguage) -> String {
    let texts = match language {
        CopyLanguage::English => &ENGLISH,
        CopyLanguage::Spanish => &SPANISH,
    };
    let zone = TimeZone::get(&record.patient.details.timezone).unwrap_or(TimeZone::UTC);
    let mut page = Page { html: Html::default(), texts, record, zone };
    page.write();
    page.html.finish()
}

impl Page<'_> {
    fn write(&mut self) {
        let (t, record) = (self.texts, self.record);
        self.html.raw("<!DOCTYPE html>\n").around("<html lang=\"", t.code, "\">\n<head>\n<meta charset=\"utf-8\">\n");
        self.html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        self.html.raw("<meta name=\"referrer\" content=\"no-referrer\">\n").raw(POLICY);
        self.html.around("<title>", t.title, "</title>\n").raw(STYLE).raw("</head>\n<body>\n<main>\n");
        self.html.around("<h1>", t.title, ": ").text(&record.patient.details.name).raw("</h1>\n");
        let prepared = self.time(record.prepared_at_us);
        self.html.around("<p>", t.prepared, " ").text(&prepared).raw("</p>\n");
        self.html.around("<p class=\"notice\"><strong>", t.not_a_diagnosis, "</strong></p>\n");
        self.html.around("<p>", t.about_numbers, "</p>\n");
        self.contents();
        self.you();
        self.html.around("<h2 id=\"calls\">", t.calls, "</h2>\n");
        self.nothing_if(record.calls.is_empty());
        for call in record.calls_in_order() {
            self.call(call);
        }
        self.alerts();
        self.schedules();
        self.consents();
        self.disclosures();
        self.html.raw("</main>\n</body>\n</html>\n");
    }

    fn contents(&mut self) {
        let t = self.texts;
        self.html.around("<nav aria-label=\"", t.contents, "\"><ul>\n");
        self.html.around("<li><a href=\"#you\">", t.you, "</a></li>\n");
        self.html.around("<li><a href=\"#calls\">", t.calls, "</a></li>\n");
        self.html.around("<li><a href=\"#alerts\">", t.alerts, "</a></li>\n");
        self.html.around("<li><a href=\"#schedules\">", t.schedules, "</a></li>\n");
        self.html.around("<li><a href=\"#consents\">", t.consents, "</a></li>\n");
        self.html.around("<li><a href=\"#disclosures\">", t.disclosures, "</a></li>\n</ul></nav>\n");
    }

    fn you(&mut self) {
        let (t, details, profile) = (self.texts, &self.record.patient.details, &self.record.profile);
        let sex =
            serde_json::to_value(details.sex).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let date = |date: Option<jiff::civil::Date>| date.map_or_else(|| t.unknown.to_owned(), |date| date.to_string());
        let weight = profile.dry_weight_kg.map_or_else(|| t.unknown.to_owned(), |kg| format!("{kg} kg"));
        self.html.around("<h2 id=\"you\">", t.you, "</h2>\n").table(t.you, &[]);
        self.html.pair(t.name, &details.name).pair(t.record_number, &details.external_id);
        self.html.pair(t.phone, details.phone.expose()).pair(t.birth_date, &details.birth_date.to_string());
        self.html.pair(t.sex, &t.words_for(&sex)).pair(t.language, &details.language);
        self.html.pair(t.time_zone, &details.timezone).pair(t.dry_weight, &weight);
        self.html.pair(t.discharged, &date(profile.discharged_on));
        self.html.pair(t.recording_agreed, &date(profile.recording_consent_on));
        self.html.pair(t.pin, if profile.pin.is_some() { t.pin_set } else { t.no }).end_table();
    }

    fn call(&mut self, call: &CallCopy) {
        let (t, record) = (self.texts, &call.record);
        let started = self.time(record.started_at_us);
        let lasted = record.ended_at_us.map(|ended| ended.saturating_sub(record.started_at_us) / 1_000_000);
        let lasted = lasted.map_or_else(|| t.unknown.to_owned(), |s| format!("{}:{:02} min", s / 60, s % 60));
        self.html.raw("<section class=\"call\">\n").around("<h3>", t.call_of, " ").text(&started).raw("</h3>\n");
        self.html.raw("<p>").text(t.outcome).around(": ", &t.words_for(record.outcome.as_str()), ". ");
        self.html.text(t.length).around(": ", &lasted, ".</p>\n");
        if let Some(visit) = &call.visit {
            self.answers(&visit.answers);
            if !visit.red_flags.is_empty() {
                self.html.table(t.warnings, &[t.about, t.said]);
                for raised in &visit.red_flags {
                    self.html.row(&[&t.words_for(&raised.flag.code), &raised.flag.evidence]);
                }
                self.html.end_table();
            }
        }
        if let Some(assessment) = &call.assessment {
            self.assessment(assessment);
        }
        for segment in &call.segments {
            self.segment(segment);
        }
        if !call.transcript.is_empty() {
            self.html.table(t.transcript, &[t.time, t.who, t.words]);
            for turn in &call.transcript {
                let seconds = turn.at_s.max(0.0) as u64;
                let at = format!("{}:{:02}", seconds / 60, seconds % 60);
                self.html.row(&[&at, if turn.is_agent { t.agent } else { t.patient }, &turn.text]);
            }
            self.html.end_table();
        }
        if !call.audio_files.is_empty() {
            self.html.around("<p>", t.recordings, ":</p>\n<ul>\n");
            for name in &call.audio_files {
                self.html.around("<li>", name, "</li>\n");
            }
            self.html.raw("</ul>\n");
        }
        self.html.raw("</section>\n");
    }

    fn answers(&mut self, answers: &[Answer]) {
        let t = self.texts;
        if answers.is_empty() {
            return;
        }
        self.html.table(t.answers, &[t.question, t.answer]);
        for answer in answers {
            // A site's own questions have no words here but their name.
            let own = matches!(answer.topic, Topic::Text | Topic::Number | Topic::YesNo);
            let question = t.words_for(if own { &answer.question } else { answer.topic.as_str() });
            let mut words = answer.value.as_ref().map_or_else(|| t.unknown.to_owned(), |value| self.value(value));
            for other in &answer.conflicts {
                words.push_str(" / ");
                words.push_str(&self.value(&other.value));
            }
            self.html.row(&[&question, &words]);
        }
        self.html.end_table();
    }

    fn value(&self, value: &AnswerValue) -> String {
        let t = self.texts;
        match value {
            AnswerValue::YesNo(yes) => if *yes { t.yes } else { t.no }.to_owned(),
            AnswerValue::Number(number) => number.to_string(),
            AnswerValue::Text(text) => t.words_for(text),
            AnswerValue::Weight(weight) => {
                let now = weight.weight_kg.map(|kg| format!("{kg:.1} kg"));
                let change = weight.change_kg.map(|kg| format!("{kg:+.1} kg"));
                let days = weight.days.map(|days| format!("({days} d)"));
                now.into_iter().chain(change).chain(days).collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn assessment(&mut self, assessment: &Value) {
        let t = self.texts;
        let number = |name: &str| {
            let value = assessment.get(name).and_then(Value::as_f64);
            value.map_or_else(|| t.unknown.to_owned(), |value| format!("{value:.0} / 100"))
        };
        let band =
            assessment.get("risk_band").and_then(Value::as_str).map(|band| t.words_for(band)).unwrap_or_default();
        self.html.around("<p>", t.scores_meaning, "</p>\n").table(t.scores, &[]);
        self.html.pair(t.overall, &format!("{} ({band})", number("overall_risk")));
        self.html.pair(t.fluid, &number("fluid_retention_risk")).pair(t.breath, &number("breathlessness_score"));
        self.html.pair(t.effort, &number("speech_effort_score")).end_table();
        let lists = ["contributions", "score_contributions"].map(|name| assessment.get(name).and_then(Value::as_array));
        let parts: Vec<&Value> = lists.into_iter().flatten().flatten().collect();
        let text = |object: &Value, name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if !parts.is_empty() {
            self.html.table(t.why, &[t.score, t.points, t.why]);
            for part in parts {
                let score = match text(part, "score").as_str() {
                    "fluid_retention" => t.fluid,
                    "breathlessness" => t.breath,
                    "speech_effort" => t.effort,
                    _ => t.overall,
                };
                let points = part.get("points").and_then(Value::as_f64).map(|p| format!("{p:+.1}")).unwrap_or_default();
                self.html.around("<tr><td>", score, "</td>").around("<td>", &points, "</td>");
                // Explanations are stored in English; a voice that reads aloud has to know.
                self.html.around("<td lang=\"en\">", &text(part, "explanation"), "</td></tr>\n");
            }
            self.html.end_table();
        }
        let advice = assessment.get("recommendations").and_then(Value::as_array).into_iter().flatten();
        let advice: Vec<String> = advice.map(|note| text(note, "text")).collect();
        if !advice.is_empty() {
            self.html.around("<p>", t.advice, ":</p>\n<ul lang=\"en\">\n");
            for line in &advice {
                self.html.around("<li>", line, "</li>\n");
            }
            self.html.raw("</ul>\n");
        }
    }

    fn segment(&mut self, segment: &Segment) {
        let t = self.texts;
        let caption = format!("{}: {}", t.measures, t.words_for(&segment.task));
        self.html.table(&caption, &[t.measure, t.value, t.meaning]);
        let usable = segment.report.pointer("/quality/usable").and_then(Value::as_bool);
        let usable = usable.map_or(t.unknown, |usable| if usable { t.yes } else { t.no });
        self.html.row(&[t.usable, usable, ""]);
        for (name, value) in segment.report.get("measures").and_then(Value::as_object).into_iter().flatten() {
            let (name_words, unit) = name_and_unit(name);
            let value =
                value.as_f64().map_or_else(|| t.unknown.to_owned(), |value| format!("{} {unit}", rounded(value)));
            self.html.row(&[&name_words, value.trim_end(), t.meaning_of(name)]);
        }
        self.html.end_table();
    }

    fn alerts(&mut self) {
        let (t, record) = (self.texts, self.record);
        self.html.around("<h2 id=\"alerts\">", t.alerts, "</h2>\n");
        if self.nothing_if(record.alerts.is_empty()) {
            return;
        }
        self.html.table(t.alerts, &[t.time, t.about, t.urgency, t.state]);
        for alert in &record.alerts {
            let notes = [&alert.summary, &alert.acknowledged_note, &alert.resolved_note];
            let about: Vec<&str> = notes.into_iter().flatten().map(String::as_str).collect();
            let about = if about.is_empty() { t.words_for(alert.kind.as_str()) } else { about.join(" / ") };
            let (at, urgency) = (self.time(alert.raised_at_us), t.words_for(alert.severity.as_str()));
            self.html.row(&[&at, &about, &urgency, &t.words_for(alert.status.as_str())]);
        }
        self.html.end_table();
    }

    fn schedules(&mut self) {
        let (t, record) = (self.texts, self.record);
        self.html.around("<h2 id=\"schedules\">", t.schedules, "</h2>\n");
        if self.nothing_if(record.schedules.is_empty()) {
            return;
        }
        self.html.table(t.schedules, &[t.hours, t.from_day, t.to_day, t.paused]);
        for schedule in &record.schedules {
            let table = &schedule.timetable;
            let hours = format!("{} - {} ({})", table.window.start, table.window.end, table.timezone);
            let to = table.ends_on.map(|date| date.to_string()).unwrap_or_default();
            self.html.row(&[&hours, &table.starts_on.to_string(), &to, if schedule.paused { t.yes } else { t.no }]);
        }
        self.html.end_table();
    }

    fn consents(&mut self) {
        let (t, record) = (self.texts, self.record);
        self.html.around("<h2 id=\"consents\">", t.consents, "</h2>\n");
        if self.nothing_if(record.consents.is_empty()) {
            return;
        }
        self.html.table(t.consents, &[t.time, t.purpose, t.answer]);
        for consent in &record.consents {
            let at = self.time(consent.at_us);
            self.html.row(&[&at, &t.words_for(&consent.purpose), if consent.given { t.yes } else { t.no }]);
        }
        self.html.end_table();
    }

    fn disclosures(&mut self) {
        let (t, record) = (self.texts, self.record);
        self.html.around("<h2 id=\"disclosures\">", t.disclosures, "</h2>\n");
        self.html.around("<p>", t.disclosures_meaning, "</p>\n");
        if self.nothing_if(record.disclosures.is_empty()) {
            return;
        }
        self.html.table(t.disclosures, &[t.time, t.who, t.what, t.reason]);
        for access in &record.disclosures {
            let who =
                access.role.as_ref().map_or_else(|| access.who.clone(), |role| format!("{} ({role})", access.who));
            let at = self.time(access.at_us);
            self.html.row(&[&at, &who, &access.action, access.reason.as_deref().unwrap_or_default()]);
        }
        self.html.end_table();
    }

    /// Says that there is nothing, where there is nothing.
    fn nothing_if(&mut self, nothing: bool) -> bool {
        if nothing {
            self.html.around("<p>", self.texts.nothing, "</p>\n");
        }
        nothing
    }

    /// A time on the patient's own clock.
    fn time(&self, at_us: i64) -> String {
        let local = Timestamp::from_microsecond(at_us).map(|at| at.to_zoned(self.zone.clone()));
        local.map_or_else(|_| self.texts.unknown.to_owned(), |local| local.strftime("%Y-%m-%d %H:%M").to_string())
    }
}

/// A measure's name in words, and the unit its name ends with.
fn name_and_unit(name: &str) -> (String, &'static str) {
    const UNITS: [(&str, &str); 7] = [
        ("_syllables_per_s", "syllables/s"),
        ("_semitones", "semitones"),
        ("_percent", "%"),
        ("_per_minute", "/min"),
        ("_hz", "Hz"),
        ("_db", "dB"),
        ("_s", "s"),
    ];
    let found = UNITS.into_iter().find_map(|(ending, unit)| Some((name.strip_suffix(ending)?, unit)));
    let (stem, unit) = found.unwrap_or((name, ""));
    (stem.replace('_', " "), unit)
}

/// As many digits as say something to a reader.
fn rounded(value: f64) -> String {
    let digits = match value.abs() {
        size if value.fract() == 0.0 && size < 1e9 => 0,
        size if size >= 100.0 => 0,
        size if size >= 1.0 => 2,
        size if size >= 0.001 => 4,
        _ => 6,
    };
    format!("{value:.digits$}")
}
