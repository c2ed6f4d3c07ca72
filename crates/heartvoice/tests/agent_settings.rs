//! The agent is made, compared and put right from the command line, and the doctor says what is wrong and how to mend it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{KEY, fails, json, run, succeeds};
use serde_json::{Value, json};
use sim::elevenlabs::{ElevenLabsSim, Running, SimConfig};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A simulated account on a runtime of its own, because the program is run as a user would.
struct Account {
    runtime: tokio::runtime::Runtime,
    service: Running,
    base: String,
    dir: TempDir,
}

impl Account {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = SimConfig { api_key: Some("sk_tests".into()), ..SimConfig::default() };
        let service = runtime.block_on(ElevenLabsSim::start(config)).unwrap();
        let base = service.base_url();
        Self { runtime, service, base, dir: tempdir().unwrap() }
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn settings<'a>(&'a self, agent: &'a str) -> Vec<(&'a str, &'a str)> {
        let all = [
            ("ELEVENLABS_BASE_URL", self.base.as_str()),
            ("ELEVENLABS_API_KEY", "sk_tests"),
            ("ELEVENLABS_AGENT_ID", agent),
            ("PUBLIC_BASE_URL", "https://hv.example.org"),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// Somebody changes the agent in the account.
    fn change(&self, agent: &str, change: Value) {
        let url = format!("{}/v1/convai/agents/{agent}", self.base);
        let done = self.runtime.block_on(async {
            reqwest::Client::new().patch(url).header("xi-api-key", "sk_tests").json(&change).send().await
        });
        assert_eq!(done.unwrap().status(), 200);
    }
}

/// What a run printed as JSON, whatever its exit code, and that code.
fn report(account: &Account, args: &[&str], settings: &[(&str, &str)]) -> (Value, i32) {
    let output = run(account.dir(), args, settings);
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {stderr}")), output.status.code().unwrap())
}

#[test]
fn an_agent_is_made_kept_and_put_right() {
    let account = Account::open();
    let push = ["agent", "push", "--format", "json"];
    let dry = json(account.dir(), &["agent", "push", "--dry-run", "--format", "json"], &account.settings(""));
    assert!(dry["steps"].as_array().unwrap().iter().any(|step| step.as_str().unwrap().starts_with("create agent")));
    assert_eq!(account.service.settings_changed(), 0, "a dry run changes nothing");

    let made = json(account.dir(), &push, &account.settings(""));
    let agent = made["agent_id"].as_str().unwrap().to_owned();
    assert!(made["created"] == true && made["webhook_secret"].as_str().unwrap().starts_with("wsec_"));
    let changed = account.service.settings_changed();
    let again = json(account.dir(), &push, &account.settings(&agent));
    assert_eq!((&again["up_to_date"], &again["done"]), (&json!(true), &json!([])));
    assert_eq!(account.service.settings_changed(), changed, "the second push changes nothing");
    assert!(succeeds(account.dir(), &["agent", "push"], &account.settings(&agent)).starts_with("no change"));
    assert!(succeeds(account.dir(), &["agent", "diff"], &account.settings(&agent)).starts_with("no change"));

    account.change(&agent, json!({"conversation_config": {"asr": {"user_input_audio_format": "pcm_16000"}}}));
    let (diff, code) = report(&account, &["agent", "diff", "--format", "json"], &account.settings(&agent));
    assert_eq!((code, diff["changes"].as_array().unwrap().len()), (1, 1));
    assert_eq!(diff["changes"][0]["path"], "conversation_config.asr.user_input_audio_format");
    assert_eq!(diff["changes"][0]["live"], "pcm_16000");
    let shown = succeeds(account.dir(), &["agent", "push"], &account.settings(&agent));
    assert!(shown.contains("user_input_audio_format") && shown.contains("1 changes made"), "{shown}");
    assert!(succeeds(account.dir(), &["agent", "show", "--live"], &account.settings(&agent)).contains("ulaw_8000"));
}

#[test]
fn what_is_missing_or_refused_is_said_on_one_line_without_the_key() {
    let account = Account::open();
    assert!(fails(account.dir(), &["agent", "push"], &[], 2).contains("ELEVENLABS_API_KEY"));
    assert!(fails(account.dir(), &["agent", "diff"], &account.settings(""), 2).contains("ELEVENLABS_AGENT_ID"));
    let mut settings = account.settings("agent_none");
    assert!(fails(account.dir(), &["agent", "diff"], &settings, 1).contains("no such agent"));
    settings[1].1 = "sk_another";
    let reason = fails(account.dir(), &["agent", "push"], &settings, 1);
    assert!(reason.contains("refuses the key") && !reason.contains("sk_another"), "{reason}");
    let mut settings = account.settings("");
    settings.push(("ELEVENLABS_LLM", "gpt-4o"));
    assert!(fails(account.dir(), &["agent", "push"], &settings, 1).contains("keep nothing"));
    let shown = succeeds(account.dir(), &["agent", "show"], &[]);
    assert!(shown.contains("verify_identity") && shown.contains("heartvoice privacy"), "{shown}");
}

fn find<'a>(report: &'a Value, name: &str) -> Vec<&'a Value> {
    report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name).collect()
}

#[test]
fn the_doctor_finds_what_is_wrong_and_says_how_to_mend_it() {
    let account = Account::open();
    let doctor = ["doctor", "--format", "json"];
    let agent = json(account.dir(), &["agent", "push", "--format", "json"], &account.settings(""))["agent_id"].clone();
    let agent = agent.as_str().unwrap();
    let mut settings = account.settings(agent);
    settings.extend([
        ("ENCRYPTION_KEY", KEY),
        ("TWILIO_BASE_URL", "http://127.0.0.1:9"),
        ("TWILIO_ACCOUNT_SID", "ACtests"),
    ]);
    settings.extend([("TWILIO_AUTH_TOKEN", "token_tests"), ("ELEVENLABS_WEBHOOK_SECRET", "wsec_tests")]);
    // Nothing listens there, and nothing there may be asked.
    settings[3].1 = "http://127.0.0.1:9";
    let (found, code) = report(&account, &doctor, &settings);
    assert_eq!((code, &found["ok"]), (1, &json!(false)));
    let status = |name: &str| {
        find(&found, name).iter().map(|check| check["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (name, expected) in [
        ("database", vec!["ok"]),
        ("audio folder", vec!["ok"]),
        ("clock", vec!["ok"]),
        ("elevenlabs", vec!["ok"]),
        ("latency", vec!["ok"]),
        ("webhook secret", vec!["ok"]),
        ("twilio", vec!["fail"]),
        ("public address", vec!["warn", "warn"]),
    ] {
        assert_eq!(status(name), expected, "{name}: {found:#}");
    }
    for check in found["checks"].as_array().unwrap() {
        assert_eq!(check["status"] == "ok", check["mend"] == "", "{check}");
    }
    let text = found.to_string();
    assert!(
        !text.contains(KEY) && !text.contains("token_tests") && !text.contains("sk_tests") && !text.contains("wsec_")
    );
    let left: Vec<_> = std::fs::read_dir(account.dir()).unwrap().collect();
    assert!(left.is_empty(), "the doctor leaves nothing behind: {left:?}");

    account.change(agent, json!({"platform_settings": {"privacy": {"zero_retention_mode": false}}, "tags": []}));
    let (found, _) = report(&account, &doctor, &settings);
    let agent_settings = find(&found, "agent settings");
    let of =
        |path: &str| agent_settings.iter().find(|check| check["found"].as_str().unwrap().starts_with(path)).unwrap();
    let privacy = of("platform_settings.privacy.zero_retention_mode");
    assert!(privacy["status"] == "fail" && privacy["found"].as_str().unwrap().contains("keeps"));
    assert!(privacy["mend"].as_str().unwrap().contains("agent push"));
    assert_eq!(of("tags")["status"], "warn");

    let (bare, code) =
        report(&account, &doctor, &[("HEARTVOICE_ENV", "production"), ("PUBLIC_BASE_URL", "http://127.0.0.1:9")]);
    let problems = find(&bare, "settings");
    assert!(code == 1 && problems.len() >= 4, "{problems:#?}");
    assert!(problems.iter().any(|check| check["found"].as_str().unwrap().contains("ENCRYPTION_KEY")));
    let table = run(account.dir(), &["doctor"], &settings);
    assert!(String::from_utf8_lossy(&table.stdout).contains("FAIL"));
}
