//! Settings that are missing or wrong are named on one line with exit code 2, before anything is opened.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KEY, fails, json, run, succeeds};
use tempfile::tempdir;

#[test]
fn serve_needs_a_key() {
    let dir = tempdir().unwrap();
    let reason = fails(dir.path(), &["serve"], &[], 2);
    assert!(reason.contains("ENCRYPTION_KEY"), "{reason}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing may be created");
}

#[test]
fn a_bad_value_is_named_with_what_was_expected_and_where_it_stands() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "# settings\nENCRYPTION_KEY=not-a-key\nPORT=http\n").unwrap();
    let reason = fails(dir.path(), &["serve"], &[], 2);
    assert!(reason.contains("PORT: expected a port number 1-65535, got \"http\" (from .env line 3)"), "{reason}");
    assert!(reason.contains("ENCRYPTION_KEY: expected 64 hexadecimal digits"), "{reason}");
    assert!(!reason.contains("not-a-key"), "{reason}");
}

#[test]
fn unknown_keys_of_the_settings_file_are_named() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("hv.toml"), "port = 3000\nprot = 1\n").unwrap();
    let reason = fails(dir.path(), &["--config", "hv.toml", "serve"], &[("ENCRYPTION_KEY", KEY)], 2);
    assert!(reason.contains("hv.toml line 2: unknown key prot"), "{reason}");
    let reason = fails(dir.path(), &["serve", "--config", "none.toml"], &[("ENCRYPTION_KEY", KEY)], 2);
    assert!(reason.contains("none.toml"), "{reason}");
}

#[test]
fn sources_win_in_order_and_the_check_names_them() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("hv.toml"), "port = 1111\nnurse_line = \"+12025550111\"\naudio_store = \"a\"\n")
        .unwrap();
    std::fs::write(dir.path().join(".env"), "PORT=2222\nAUDIO_STORE=b\n").unwrap();
    let settings = [("PORT", "3333"), ("ENCRYPTION_KEY", KEY), ("DATABASE_URL", "postgresql://u:hunter2@db/x")];
    let report = json(dir.path(), &["--config", "hv.toml", "config", "check", "--format", "json"], &settings);
    let find = |name: &str| {
        let found = report["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap_or("-").to_owned(), found["source"].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(find("PORT"), ("3333".into(), "environment".into()));
    assert_eq!(find("AUDIO_STORE"), ("b".into(), ".env line 2".into()));
    assert_eq!(find("NURSE_LINE"), ("+12025550111".into(), "hv.toml line 2".into()));
    assert_eq!(find("PUBLIC_BASE_URL"), ("http://127.0.0.1:3333".into(), "default".into()));
    assert_eq!(find("ENCRYPTION_KEY").0, "********");
    assert_eq!(find("DATABASE_URL").0, "postgresql://********");
    let table = succeeds(dir.path(), &["config", "check"], &settings);
    assert!(!table.contains(KEY) && !table.contains("hunter2"), "{table}");
}

#[test]
fn production_refuses_unsafe_settings() {
    let dir = tempdir().unwrap();
    let zeros = "0".repeat(64);
    for environment in ["HEARTVOICE_ENV", "NODE_ENV"] {
        let settings = [(environment, "production"), ("ENCRYPTION_KEY", zeros.as_str())];
        let output = run(dir.path(), &["config", "check"], &settings);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        for name in ["PUBLIC_BASE_URL", "ENCRYPTION_KEY", "TWILIO_AUTH_TOKEN"] {
            assert!(stderr.lines().any(|line| line.starts_with(&format!("error: {name}: "))), "{stderr}");
        }
        assert!(fails(dir.path(), &["serve"], &settings, 2).contains("PUBLIC_BASE_URL"));
    }
}

#[test]
fn secrets_may_stand_in_files() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("key"), format!("{KEY}\n")).unwrap();
    let settings = [("ENCRYPTION_KEY_FILE", "key")];
    assert_eq!(json(dir.path(), &["patient", "list", "--format", "json"], &settings), serde_json::json!([]));
    let reason = fails(dir.path(), &["patient", "list"], &[("ENCRYPTION_KEY_FILE", "lost")], 2);
    assert!(reason.contains("ENCRYPTION_KEY_FILE"), "{reason}");
}

#[test]
fn another_key_is_refused_by_the_store() {
    let dir = tempdir().unwrap();
    succeeds(dir.path(), &["patient", "list"], &[("ENCRYPTION_KEY", KEY)]);
    let other = KEY.replace('9', "8");
    let reason = fails(dir.path(), &["patient", "list"], &[("ENCRYPTION_KEY", &other)], 2);
    assert!(reason.contains("ENCRYPTION_KEY") && !reason.contains(&other), "{reason}");
    let postgres = [("ENCRYPTION_KEY", KEY), ("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x")];
    // Nobody listens there.
    let reason = fails(dir.path(), &["patient", "list"], &postgres, 1);
    assert!(reason.contains("PostgreSQL") && !reason.contains("hunter2"), "{reason}");
}

#[test]
fn generated_keys_are_keys() {
    let dir = tempdir().unwrap();
    let (one, other) =
        (succeeds(dir.path(), &["keys", "generate"], &[]), succeeds(dir.path(), &["keys", "generate"], &[]));
    assert_ne!(one, other);
    succeeds(dir.path(), &["patient", "list"], &[("ENCRYPTION_KEY", one.trim())]);
}

#[test]
fn mistakes_on_the_command_line_are_one_line() {
    let dir = tempdir().unwrap();
    for args in [&[][..], &["frobnicate"], &["serve", "--port", "0"], &["demo", "--calls", "0"], &["analyze"]] {
        fails(dir.path(), args, &[], 2);
    }
    fails(dir.path(), &["demo", "--once"], &[("HEARTVOICE_LOG", "loud")], 2);
    assert!(succeeds(dir.path(), &["--help"], &[]).contains("demo"));
    assert!(succeeds(dir.path(), &["patient", "import", "--help"], &[]).contains("heartvoice patient import"));
}

#[test]
fn a_taken_port_is_a_failure_with_its_address() {
    let dir = tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(
        dir.path(),
        &["serve", "--bind", "127.0.0.1", "--port", &port],
        &[("ENCRYPTION_KEY", KEY), ("HEARTVOICE_LOG", "off")],
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains(&port), "{stderr}");
}
