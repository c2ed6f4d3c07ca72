//! Users and tokens on the command line: what an administrator does at the machine.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KEY, fails, json, succeeds};
use tempfile::tempdir;

fn settings() -> [(&'static str, &'static str); 3] {
    [("ENCRYPTION_KEY", KEY), ("PUBLIC_BASE_URL", "https://hv.clinic.example"), ("USER", "root-of-the-test")]
}

#[test]
fn users_are_added_listed_disabled_and_reset() {
    let dir = tempdir().unwrap();
    let run = |args: &[&str]| succeeds(dir.path(), args, &settings());
    let link = run(&["user", "add", "--name", "Ada", "--role", "clinician"]);
    let secret = link.trim().strip_prefix("https://hv.clinic.example/set-up/").unwrap();
    assert_eq!(secret.len(), 64);
    let added =
        ["user", "add", "--name", "ben", "--role", "auditor", "--oidc-email", "b@c.example", "--format", "json"];
    let ben = json(dir.path(), &added, &settings());
    assert!(ben["set_up_url"].as_str().unwrap().starts_with("https://hv.clinic.example/set-up/"));
    let states = || {
        let list = json(dir.path(), &["user", "list", "--format", "json"], &settings());
        let one = |user: &serde_json::Value| {
            format!("{} {}", user["name"].as_str().unwrap(), user["state"].as_str().unwrap())
        };
        list.as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(states(), ["ada not set up", "ben active"]);
    run(&["user", "disable", "ADA"]);
    assert_eq!(states(), ["ada disabled", "ben active"]);
    run(&["user", "enable", "ada"]);
    assert_ne!(run(&["user", "reset", ben["id"].as_str().unwrap()]), link);
    assert_eq!(states(), ["ada not set up", "ben not set up"]);
    for (args, code, said) in [
        (&["user", "add", "--name", "ada", "--role", "admin"][..], 1, "exists already"),
        (&["user", "add", "--name", "a b", "--role", "admin"], 2, "2 to 64 letters"),
        (&["user", "add", "--name", "robot", "--role", "service"], 2, "--role"),
        (&["user", "disable", "nobody"], 1, "no such user"),
        (&["user", "disable", "no/body"], 2, "no user of this name"),
        (&["user", "assign", "ada"], 2, "--patient"),
    ] {
        let stderr = fails(dir.path(), args, &settings(), code);
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}

#[test]
fn care_teams_are_kept() {
    let dir = tempdir().unwrap();
    std::fs::write(
        dir.path().join("patients.csv"),
        "external_id,name,phone,birth_date,sex,language,timezone\n\
         A-1,Ada Example,+12025550101,1948-04-01,female,en,UTC\nA-2,Bo Example,+12025550102,1950-12-31,male,en,UTC\n",
    )
    .unwrap();
    let run = |args: &[&str]| succeeds(dir.path(), args, &settings());
    run(&["patient", "import", "patients.csv"]);
    run(&["user", "add", "--name", "nurse", "--role", "clinician"]);
    run(&["user", "add", "--name", "eve", "--role", "auditor"]);
    let list = json(dir.path(), &["patient", "list", "--format", "json"], &settings());
    let id = list[0]["id"].as_str().unwrap();
    assert!(run(&["user", "assign", "nurse", "--patient", id]).contains("of 1 patients"));
    assert!(run(&["user", "assign", "nurse", "--all-patients"]).contains("of 1 patients"), "the other one");
    assert!(run(&["user", "unassign", "nurse", "--patient", id, "--patient", id]).contains("of 1 patients"));
    assert!(run(&["user", "unassign", "nurse", "--all-patients"]).contains("of 1 patients"));
    fails(dir.path(), &["user", "assign", "eve", "--patient", id], &settings(), 2);
    fails(dir.path(), &["user", "assign", "nurse", "--patient", "unknown"], &settings(), 1);
}

#[test]
fn tokens_have_scopes_and_an_end() {
    let dir = tempdir().unwrap();
    let args =
        ["token", "create", "--name", "wards", "--scope", "call:read", "--scope", "alert:read", "--format", "json"];
    let token = json(dir.path(), &args, &settings());
    assert_eq!(token["scopes"], "call:read alert:read");
    assert!(token["expires_at"].is_string(), "after 90 days");
    assert_eq!(json(dir.path(), &["token", "create", "--name", "all", "--format", "json"], &settings())["scopes"], "*");
    for scope in ["patient:erase", "user:manage", "calls"] {
        let stderr = fails(dir.path(), &["token", "create", "--name", "x", "--scope", scope], &settings(), 2);
        assert!(stderr.contains("names of rights"), "{stderr}");
    }
}
