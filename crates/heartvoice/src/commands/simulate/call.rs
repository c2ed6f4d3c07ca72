//! `heartvoice simulate call`: one telephone call to any server that speaks Twilio.

use super::faults;
use crate::commands::fresh_seed;
use crate::failure::{FAILED, Reported, bad_input};
use crate::output::{self, Format};
use crate::progress;
use serde_json::json;
use sim::assets::Clip;
use sim::patient::{PatientScript, SCENARIOS};
use sim::twilio::{CallReport, Caller, EndedBy, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN};
use std::path::{Path, PathBuf};
use std::time::Duration;
use voice::{SampleRate, Wav, g711};

/// Telephones a server as Twilio would.
///
/// The voice webhook is called with a signature, the instructions it answers are carried out, and the media stream
/// carries the recordings: each one after the agent has spoken. Exit code 0 if a media stream was opened and the server
/// kept to the protocol.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  heartvoice simulate call --to http://127.0.0.1:3000/twilio/voice --audio answer1.wav --audio answer2.wav\n  heartvoice simulate call --to http://127.0.0.1:3000/twilio/voice --scenario worsening --from +12025550101"
)]
pub(crate) struct Args {
    /// The voice webhook of the number that is called
    #[arg(long, value_name = "URL")]
    to: String,
    /// What the caller says, in order: WAV files or headerless mu-law at 8 kHz (.ulaw)
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "scenario", required_unless_present = "scenario")]
    audio: Vec<PathBuf>,
    /// A scripted patient who answers what is asked: stable, worsening, interrupting, ...
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// The caller's number
    #[arg(long, value_name = "NUMBER", default_value = "+15005550006")]
    from: String,
    /// The number that is called
    #[arg(long, value_name = "NUMBER", default_value = "+15005550010")]
    number: String,
    /// Where call status callbacks go
    #[arg(long, value_name = "URL")]
    status_callback: Option<String>,
    /// Account SID
    #[arg(long, value_name = "SID", default_value = TEST_ACCOUNT_SID)]
    account_sid: String,
    /// Token that requests are signed with
    #[arg(long, value_name = "TOKEN", default_value = TEST_AUTH_TOKEN)]
    auth_token: String,
    /// Something that goes wrong on the line; may be repeated, `simulate twilio --fault help` lists all
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    faults: Vec<String>,
    /// Seed of identifiers and of everything that varies [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// End the call after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
    /// Write what the caller heard to this WAV file
    #[arg(long, value_name = "FILE")]
    heard: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if !args.to.starts_with("http://") && !args.to.starts_with("https://") {
        return Err(bad_input("--to: expected an address starting with http:// or https://"));
    }
    let mut caller = Caller::new(&args.to);
    caller.account_sid = args.account_sid;
    caller.auth_token = args.auth_token;
    caller.from = args.from;
    caller.to = args.number;
    caller.status_callback = args.status_callback;
    caller.behaviour = behaviour(args.scenario.as_deref(), &args.audio)?;
    caller.impairments = faults::line(&args.faults).map_err(|problem| bad_input(format!("--fault: {problem}")))?;
    caller.seed = args.seed.unwrap_or_else(fresh_seed);
    caller.time_limit = Duration::from_secs(args.limit);

    let spinner = progress::spinner("in a call".to_owned());
    let report = caller.run().await?;
    spinner.finish_and_clear();
    if let Some(path) = &args.heard {
        let samples: Vec<i16> = report.heard.iter().map(|code| g711::ulaw_decode(*code)).collect();
        std::fs::write(path, voice::wav::write_pcm16(&samples, 8_000))
            .map_err(|error| bad_input(format!("--heard: cannot write {}: {error}", path.display())))?;
    }
    match args.format {
        Format::Table => print(&report)?,
        Format::Json => output::json(&object(&report))?,
    }
    if report.violations.is_empty() && !report.stream_sid.is_empty() { Ok(()) } else { Err(Reported(FAILED).into()) }
}

fn behaviour(scenario: Option<&str>, audio: &[PathBuf]) -> anyhow::Result<PatientScript> {
    if let Some(name) = scenario {
        return PatientScript::scenario(name)
            .ok_or_else(|| bad_input(format!("--scenario: expected one of {}", SCENARIOS.join(", "))));
    }
    let clips = audio.iter().map(|path| read(path).map_err(|why| bad_input(format!("{}: {why}", path.display()))));
    Ok(PatientScript::recordings(clips.collect::<anyhow::Result<Vec<_>>>()?))
}

/// A recording as the telephone carries it: mu-law at 8 kHz.
fn read(path: &Path) -> Result<Clip, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ulaw")) && !bytes.starts_with(b"RIFF") {
        return Ok(Clip::new(name.clone(), name, bytes));
    }
    let wav = Wav::parse(&bytes).map_err(|error| error.to_string())?;
    let samples: Vec<i16> =
        wav.samples.iter().map(|sample| (sample.clamp(-1.0, 1.0) * f64::from(i16::MAX)).round() as i16).collect();
    let to_8k = voice::Resampler::new(wav.sample_rate.get(), SampleRate::TELEPHONE.get());
    let mut to_8k = to_8k.map_err(|error| error.to_string())?;
    let mut narrow = Vec::new();
    to_8k.process(&samples, &mut narrow);
    to_8k.flush(&mut narrow);
    Ok(Clip::new(name.clone(), name, narrow.into_iter().map(g711::ulaw_encode).collect()))
}

fn print(report: &CallReport) -> anyhow::Result<()> {
    let seconds = |bytes: usize| format!("{:.1} s", bytes as f64 / 8_000.0);
    let rows = [
        ("call", report.call_sid.clone()),
        ("media stream", if report.stream_sid.is_empty() { "none".to_owned() } else { report.stream_sid.clone() }),
        ("duration", format!("{:.1} s", report.duration_ms as f64 / 1_000.0)),
        ("spoken", seconds(report.spoken.len())),
        ("heard on the stream", seconds(report.heard_on_stream.len())),
        ("media received", report.media_received.to_string()),
        ("clears", report.clears.to_string()),
        ("ended by", ended_by(report).to_owned()),
        ("violations", report.violations.len().to_string()),
    ];
    output::table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]).into())?;
    for violation in &report.violations {
        eprintln!("error: protocol violation {}: {} at {} ms", violation.code, violation.detail, violation.at_ms);
    }
    if let Some(status) = report.handshake_refused {
        eprintln!("error: the media stream was refused with status {status}");
    } else if report.stream_sid.is_empty() {
        eprintln!("error: no media stream was opened");
    }
    Ok(())
}

fn ended_by(report: &CallReport) -> &'static str {
    match report.ended_by {
        EndedBy::Caller => "caller",
        EndedBy::Verb => "verb",
        EndedBy::EndOfDocument => "end-of-document",
        EndedBy::Rest => "rest",
        EndedBy::Error => "error",
        EndedBy::TimeLimit => "time-limit",
    }
}

fn object(report: &CallReport) -> serde_json::Value {
    let violations = report
        .violations
        .iter()
        .map(|violation| json!({"code": violation.code, "detail": violation.detail, "at_ms": violation.at_ms}));
    json!({
        "call_sid": report.call_sid,
        "stream_sid": report.stream_sid,
        "duration_ms": report.duration_ms,
        "first_audio_ms": report.first_audio_ms,
        "frames_sent": report.frames_sent,
        "spoken_bytes": report.spoken.len(),
        "heard_bytes": report.heard.len(),
        "heard_on_stream_bytes": report.heard_on_stream.len(),
        "media_received": report.media_received,
        "marks": report.marks.len(),
        "clears": report.clears,
        "said": report.said,
        "spoke": report.spoke,
        "digits": report.digits,
        "ended_by": ended_by(report),
        "handshake_refused": report.handshake_refused,
        "violations": violations.collect::<Vec<_>>(),
    })
}
