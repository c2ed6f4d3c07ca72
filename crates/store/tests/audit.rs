//! Whoever tampers with the trail past the program is found, and the first bad entry is named.
//!
//! The tests play somebody with full access to the database and without any key: they remove the triggers first.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{call, config, finish, on_postgres, open, patient};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::path::Path;
use store::Store;
use store::audit::chain::{BEGINNING, ChainHash, link};
use store::audit::export::ExportCheck;
use store::audit::{Actor, AuditFilter, Checkpoint, NewEntry, Verified, hex, unhex};
use tempfile::TempDir;

/// A connection past the program.
enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    async fn connect(dir: &Path) -> Self {
        let url = config(dir).database_url;
        if on_postgres() {
            return Self::Postgres(PgConnection::connect(&url).await.unwrap());
        }
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("PRAGMA synchronous = OFF").execute(&mut connection).await.unwrap();
        Self::Sqlite(connection)
    }

    async fn attempt(&mut self, statement: &str) -> Result<u64, sqlx::Error> {
        let query = AssertSqlSafe(statement.to_owned());
        Ok(match self {
            Self::Sqlite(connection) => sqlx::query(query).execute(connection).await?.rows_affected(),
            Self::Postgres(connection) => sqlx::query(query).execute(connection).await?.rows_affected(),
        })
    }

    async fn run(&mut self, statement: &str) -> u64 {
        self.attempt(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    async fn run_all(&mut self, statements: &[String]) {
        for statement in statements {
            assert!(self.run(statement).await > 0, "{statement}: changed nothing");
        }
    }
}

/// A trail, somebody who tampers with it, and a copy to undo that.
struct Crime {
    store: Store,
    raw: Raw,
    // Last, so that it is removed last.
    dir: TempDir,
}

const TABLES: [&str; 3] = ["audit_entries", "audit_head", "audit_checkpoints"];

impl Crime {
    /// A trail of so many entries, with checkpoints at these.
    async fn scene(entries: u64, checkpoints: &[u64]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let whose = store.add_patient(&patient(1)).await.unwrap().id;
        let mut written = store.audit_entry_count().await.unwrap();
        let mut stops: Vec<u64> = checkpoints.iter().copied().chain([entries]).collect();
        stops.dedup();
        for stop in stops {
            while written < stop {
                let batch: Vec<NewEntry> = (written..stop.min(written + 500))
                    .map(|number| {
                        let entry = NewEntry::new(Actor::operator("tester"), "test.act").detail("number", number);
                        entry.object("call", number).patient((number % 3 > 0).then_some(&whose))
                    })
                    .collect();
                written += batch.len() as u64;
                store.record(&batch).await.unwrap();
            }
            if checkpoints.contains(&stop) {
                assert_eq!(store.checkpoint_audit().await.unwrap().unwrap().seq, stop);
            }
        }
        let mut raw = Raw::connect(dir.path()).await;
        raw.run(&format!("DROP TRIGGER audit_entries_stay{}", Self::on())).await;
        raw.run(&format!("DROP TRIGGER audit_entries_remain{}", Self::on())).await;
        let mut crime = Self { store, raw, dir };
        crime.copy().await;
        assert_eq!(crime.verified().await.broken, None);
        crime
    }

    fn on() -> &'static str {
        if on_postgres() { " ON audit_entries" } else { "" }
    }

    async fn copy(&mut self) {
        for table in TABLES {
            self.raw.run(&format!("DROP TABLE IF EXISTS copy_{table}")).await;
            self.raw.run(&format!("CREATE TABLE copy_{table} AS SELECT * FROM {table}")).await;
        }
    }

    async fn undo(&mut self) {
        for table in TABLES {
            self.raw.run(&format!("DELETE FROM {table}")).await;
            self.raw.run(&format!("INSERT INTO {table} SELECT * FROM copy_{table}")).await;
        }
    }

    async fn verified(&self) -> Verified {
        self.store.verify_audit(&[]).await.unwrap()
    }

    /// Tampers, looks who is accused, and undoes it.
    async fn expect(&mut self, how: &str, statements: &[String], bad: &[u64]) {
        self.raw.run_all(statements).await;
        let broken = self.verified().await.broken;
        let Some(fault) = broken else { panic!("{how}: not noticed") };
        assert!(bad.contains(&fault.seq), "{how}: expected {bad:?}, found {fault:?}");
        self.undo().await;
    }

    /// Texts and hashes.
    async fn links(&self) -> Vec<(String, Vec<u8>)> {
        self.store.audit_links(0).await.unwrap().into_iter().map(|link| (link.text, link.hash)).collect()
    }
}

fn blob(bytes: &[u8]) -> String {
    if on_postgres() { format!("'\\x{}'::bytea", hex(bytes)) } else { format!("x'{}'", hex(bytes)) }
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn set_head(seq: u64, hash: &[u8]) -> String {
    format!("UPDATE audit_head SET seq = {seq}, hash = {}", blob(hash))
}

/// The whole chain from `first` on with new hashes, as somebody would write it who edited that entry.
fn rewritten(links: &[(String, Vec<u8>)], first: u64, edit: impl Fn(&str) -> String) -> Vec<String> {
    let mut hash = BEGINNING;
    let mut statements = Vec::new();
    for (seq, (old, old_hash)) in (1..).zip(links) {
        if seq < first {
            hash = ChainHash::try_from(old_hash.as_slice()).unwrap();
            continue;
        }
        let new = if seq == first { edit(old) } else { old.clone() };
        hash = link(&hash, &new);
        statements.push(format!(
            "UPDATE audit_entries SET entry = {}, hash = {} WHERE seq = {seq}",
            text(&new),
            blob(&hash)
        ));
    }
    statements.push(set_head(links.len() as u64, &hash));
    statements
}

#[tokio::test]
async fn entries_cannot_be_changed_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.record(&[NewEntry::new(Actor::operator("tester"), "test.act")]).await.unwrap();
    let mut raw = Raw::connect(dir.path()).await;
    for statement in ["UPDATE audit_entries SET actor = 'x'", "DELETE FROM audit_entries"] {
        let refused = raw.attempt(statement).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

const LAST: u64 = 60;
/// The last entry that a checkpoint covers.
const SIGNED: u64 = 40;

#[tokio::test]
async fn every_kind_of_tampering_is_found_at_every_entry() {
    let mut crime = Crime::scene(LAST, &[20, SIGNED]).await;
    let links = crime.links().await;
    for at in 1..=LAST {
        let index = usize::try_from(at).unwrap() - 1;
        let here = format!("WHERE seq = {at}");
        let (old, hash) = &links[index];
        let edited = text(&old.replace("\"v\":1", "\"v\":1 "));
        for (how, set) in [
            ("text", format!("entry = {edited}")),
            ("text that is none", "entry = ''".to_owned()),
            ("hash", format!("hash = {}", blob(&[7; 32]))),
            ("hash of another", format!("hash = {}", blob(&links[(index + 1) % 60].1))),
            ("short hash", format!("hash = {}", blob(&hash[..31]))),
            ("text and hash", format!("entry = {edited}, hash = {}", blob(&[7; 32]))),
            ("time", "at_us = at_us + 1".to_owned()),
            ("actor", "actor = 'somebody'".to_owned()),
            ("action", "action = 'call.read'".to_owned()),
            ("patient", "patient_id = 'somebody'".to_owned()),
        ] {
            crime.expect(&format!("{how} of {at}"), &[format!("UPDATE audit_entries SET {set} {here}")], &[at]).await;
        }
        let delete = format!("DELETE FROM audit_entries {here}");
        crime.expect(&format!("delete {at}"), std::slice::from_ref(&delete), &[at]).await;
        let cut = format!("DELETE FROM audit_entries WHERE seq >= {at}");
        crime.expect(&format!("cut at {at}"), std::slice::from_ref(&cut), &[at]).await;
        let before = if at == 1 { BEGINNING.to_vec() } else { links[index - 1].1.clone() };
        // What no checkpoint covers is named from its beginning: where in it the cut is, nobody can know.
        let unsigned = at.min(SIGNED + 1);
        crime.expect(&format!("cut at {at} with head"), &[cut, set_head(at - 1, &before)], &[unsigned]).await;
        let rewrite = rewritten(&links, at, |old| old.replace("test.act", "test.ask").replace("patient.add", "p.add"));
        let action = format!(
            "UPDATE audit_entries SET action = replace(replace(action, 'test.act', 'test.ask'), 'patient.add', 'p.add') {here}"
        );
        let found = if at <= 20 {
            20
        } else if at <= SIGNED {
            SIGNED
        } else {
            SIGNED + 1
        };
        crime.expect(&format!("rewrite from {at}"), &[rewrite, vec![action]].concat(), &[found]).await;
        let shift = [
            format!("UPDATE audit_entries SET seq = -seq WHERE seq > {at}"),
            "UPDATE audit_entries SET seq = 1 - seq WHERE seq < 0".to_owned(),
        ];
        let copy = format!(
            "INSERT INTO audit_entries (seq, at_us, actor, action, patient_id, entry, hash) \
             SELECT seq + 1, at_us, actor, action, patient_id, entry, hash FROM audit_entries {here}"
        );
        if at < LAST {
            let twice = [shift.as_slice(), std::slice::from_ref(&copy)].concat();
            crime.expect(&format!("{at} twice"), &twice, &[at + 1]).await;
            let close = [
                delete,
                format!("UPDATE audit_entries SET seq = -seq WHERE seq > {at}"),
                "UPDATE audit_entries SET seq = -seq - 1 WHERE seq < 0".to_owned(),
            ];
            crime.expect(&format!("delete {at} and close the gap"), &close, &[at]).await;
            let swap = [
                format!("UPDATE audit_entries SET seq = 0 WHERE seq = {at}"),
                format!("UPDATE audit_entries SET seq = {at} WHERE seq = {at} + 1"),
                format!("UPDATE audit_entries SET seq = {at} + 1 WHERE seq = 0"),
            ];
            crime.expect(&format!("swap {at}"), &swap, &[at]).await;
            let other = &links[index + 1];
            let texts = [
                format!("UPDATE audit_entries SET entry = {} {here}", text(&other.0)),
                format!("UPDATE audit_entries SET entry = {} WHERE seq = {at} + 1", text(old)),
            ];
            crime.expect(&format!("swap texts at {at}"), &texts, &[at]).await;
        }
    }
    assert_eq!(crime.verified().await.broken, None);
}

#[tokio::test]
async fn every_bit_of_an_entry_counts() {
    let mut crime = Crime::scene(12, &[5]).await;
    let links = crime.links().await;
    let (old, hash) = &links[7];
    let set = |bytes: &[u8]| {
        if on_postgres() {
            format!("UPDATE audit_entries SET entry = convert_from({}, 'UTF8') WHERE seq = 8", blob(bytes))
        } else {
            format!("UPDATE audit_entries SET entry = CAST({} AS TEXT) WHERE seq = 8", blob(bytes))
        }
    };
    let mut tried = 0;
    for bit in 0..old.len() * 8 {
        let mut bytes = old.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // PostgreSQL does not take what is not UTF-8.
        if crime.raw.attempt(&set(&bytes)).await.is_err() {
            assert!(on_postgres());
            continue;
        }
        tried += 1;
        assert_eq!(crime.verified().await.broken.map(|fault| fault.seq), Some(8), "bit {bit}");
    }
    assert!(tried > old.len() * 6);
    crime.raw.run(&set(old.as_bytes())).await;
    for bit in 0..256 {
        let mut bytes = hash.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        crime.raw.run(&format!("UPDATE audit_entries SET hash = {} WHERE seq = 8", blob(&bytes))).await;
        assert_eq!(crime.verified().await.broken.map(|fault| fault.seq), Some(8), "bit {bit} of the hash");
    }
    crime.undo().await;
    assert_eq!(crime.verified().await.broken, None);
}

#[tokio::test]
async fn additions_and_changed_ends_are_found() {
    let mut crime = Crime::scene(LAST, &[20, SIGNED]).await;
    let links = crime.links().await;
    let last: ChainHash = links[59].1.as_slice().try_into().unwrap();
    let new = links[59].0.replace("\"seq\":60", "\"seq\":61");
    let hash = link(&last, &new);
    let add = format!(
        "INSERT INTO audit_entries (seq, at_us, actor, action, patient_id, entry, hash) \
         SELECT 61, at_us, actor, action, patient_id, {}, {} FROM audit_entries WHERE seq = 60",
        text(&new),
        blob(&hash)
    );
    crime.expect("one more", std::slice::from_ref(&add), &[61]).await;
    crime.expect("one more, with head", &[add, set_head(61, &hash)], &[SIGNED + 1]).await;
    for seq in [0, -3] {
        let below = format!(
            "INSERT INTO audit_entries (seq, at_us, actor, action, patient_id, entry, hash) \
             SELECT {seq}, at_us, actor, action, patient_id, entry, hash FROM audit_entries WHERE seq = 7"
        );
        crime.expect("one before the first", &[below], &[0]).await;
    }
    crime.expect("no head", &["DELETE FROM audit_head".to_owned()], &[1]).await;
    // Taken away and written anew without the key.
    let blank = format!(
        "INSERT INTO audit_head (name, seq, hash, checkpoint, mac) VALUES ('head', 0, {}, 0, {})",
        blob(&BEGINNING),
        blob(&[7; 32])
    );
    let anew = TABLES.iter().map(|table| format!("DELETE FROM {table}")).chain([blank]).collect::<Vec<_>>();
    crime.expect("everything, with a new head", &anew, &[1]).await;
    crime.expect("head further on", &[set_head(61, &hash)], &[61]).await;
    crime.expect("head with another hash", &[set_head(60, &hash)], &[SIGNED + 1, 61]).await;
    crime.expect("head without its seal", &["UPDATE audit_head SET mac = hash".to_owned()], &[SIGNED + 1]).await;
    let all = ["DELETE FROM audit_entries".to_owned(), "DELETE FROM audit_head".to_owned()];
    crime.expect("nothing but checkpoints", &all, &[1]).await;
}

#[tokio::test]
async fn checkpoints_are_kept_like_entries() {
    let mut crime = Crime::scene(LAST, &[20, SIGNED]).await;
    let other = Crime::scene(LAST, &[30]).await.store.last_audit_checkpoint().await.unwrap().unwrap();
    let ours = crime.store.last_audit_checkpoint().await.unwrap().unwrap();
    let insert = |checkpoint: &Checkpoint, seq: u64, signature: &str| {
        format!(
            "INSERT INTO audit_checkpoints (seq, at_us, previous, hash, key_id, signature) \
             VALUES ({seq}, {}, {}, {}, '{}', {})",
            checkpoint.at_us,
            checkpoint.previous,
            blob(&unhex(&checkpoint.hash).unwrap()),
            checkpoint.key_id,
            blob(&unhex(signature).unwrap())
        )
    };
    for seq in [20, SIGNED] {
        let here = format!("WHERE seq = {seq}");
        for set in [
            "at_us = at_us + 1".to_owned(),
            "previous = previous + 1".to_owned(),
            "key_id = 'other'".to_owned(),
            format!("hash = {}", blob(&[7; 32])),
            format!("signature = {}", blob(&[7; 64])),
        ] {
            crime.expect(&set, &[format!("UPDATE audit_checkpoints SET {set} {here}")], &[seq]).await;
        }
        let moved = format!("UPDATE audit_checkpoints SET seq = seq + 1 {here}");
        crime.expect("moved", &[moved], &[seq + 1]).await;
        crime.expect("deleted", &[format!("DELETE FROM audit_checkpoints {here}")], &[seq]).await;
    }
    crime.expect("all deleted", &["DELETE FROM audit_checkpoints".to_owned()], &[SIGNED]).await;
    crime.expect("forged", &[insert(&ours, 50, &"07".repeat(64))], &[50]).await;
    crime.expect("signed by others", &[insert(&other, 30, &other.signature)], &[30]).await;
    crime.expect("old signature", &[insert(&ours, 50, &ours.signature)], &[50]).await;
    let outside = Checkpoint { signature: "07".repeat(64), ..ours.clone() };
    let fault = crime.store.verify_audit(&[outside]).await.unwrap().broken.unwrap();
    assert_eq!(fault.seq, SIGNED);
    assert_eq!(crime.store.verify_audit(&[ours]).await.unwrap().broken, None);
}

#[tokio::test]
async fn an_earlier_state_is_found_by_a_checkpoint_kept_elsewhere() {
    let mut crime = Crime::scene(40, &[40]).await;
    let more = vec![NewEntry::new(Actor::operator("tester"), "test.act"); 20];
    crime.store.record(&more).await.unwrap();
    let outside = crime.store.checkpoint_audit().await.unwrap().unwrap();
    assert_eq!((outside.seq, outside.previous), (60, 40));
    // Everything goes back to a state that was true once: inside, nothing tells.
    crime.undo().await;
    let inside = crime.verified().await;
    assert_eq!((inside.broken, inside.entries), (None, 40));
    let fault = crime.store.verify_audit(std::slice::from_ref(&outside)).await.unwrap().broken.unwrap();
    assert_eq!(fault.seq, 41);
    // Written on from there, with as many entries as before.
    crime.store.record(&more).await.unwrap();
    assert_eq!(crime.verified().await.broken, None);
    assert_eq!(crime.store.verify_audit(&[outside]).await.unwrap().broken.unwrap().seq, 60);
}

#[tokio::test]
async fn what_is_written_after_a_tampered_end_does_not_hide_it() {
    let mut crime = Crime::scene(LAST, &[SIGNED]).await;
    let links = crime.links().await;
    crime.raw.run("DELETE FROM audit_entries WHERE seq > 50").await;
    crime.raw.run(&set_head(50, &links[49].1)).await;
    assert_eq!(crime.store.checkpoint_audit().await.unwrap_err().code(), "corrupt");
    // Calls go on.
    let handle = crime.store.begin_call(call("CA1", None)).await.unwrap();
    crime.store.finish_call(&handle.id, finish()).await.unwrap();
    let fault = crime.verified().await.broken.unwrap();
    assert_eq!(fault.seq, 51);
    assert!(fault.what.contains("past the server"), "{fault:?}");
    crime.store.checkpoint_audit().await.unwrap().unwrap();
    assert_eq!(crime.verified().await.broken.unwrap().seq, 51);
    drop(crime.dir);
}

#[tokio::test]
async fn a_trail_that_was_emptied_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = open(dir.path()).await;
    let whole = fresh.verify_audit(&[]).await.unwrap();
    assert_eq!((whole.broken, whole.entries), (None, 0));
    Raw::connect(dir.path()).await.run("DELETE FROM audit_head").await;
    assert_eq!(fresh.verify_audit(&[]).await.unwrap().broken.unwrap().seq, 1);

    let mut crime = Crime::scene(LAST, &[20, SIGNED]).await;
    let seen = crime.store.last_audit_checkpoint().await.unwrap().unwrap();
    assert!(crime.store.holds_audit_checkpoint(&seen).await.unwrap());
    for table in TABLES {
        crime.raw.run(&format!("DELETE FROM {table}")).await;
    }
    let found = crime.verified().await;
    let fault = found.broken.unwrap();
    assert_eq!((found.entries, found.head.as_str(), fault.seq), (0, "", 1));
    assert!(fault.what.contains("taken away"), "{fault:?}");
    assert!(!crime.store.holds_audit_checkpoint(&seen).await.unwrap());
    assert_eq!(crime.store.checkpoint_audit().await.unwrap_err().code(), "corrupt");
    assert_eq!(crime.store.export_audit(&mut Vec::new()).await.unwrap_err().code(), "corrupt");
    // Another process opens the database: the keys are there, so the trail does not begin again.
    let next = open(crime.dir.path()).await;
    assert_eq!(next.verify_audit(&[]).await.unwrap().broken.unwrap().seq, 1);
    // Calls go on, and the first entry tells.
    let handle = next.begin_call(call("CA1", None)).await.unwrap();
    next.finish_call(&handle.id, finish()).await.unwrap();
    let told = next.find_audit(&AuditFilter::default(), 10, None).await.unwrap();
    assert_eq!((told.last().unwrap().seq, told.last().unwrap().entry.action.as_str()), (1, "audit.suspect"));
    assert_eq!(crime.verified().await.broken.unwrap().seq, 1);
    assert_eq!(crime.store.checkpoint_audit().await.unwrap().unwrap().seq, 3);
    let file = exported(&crime.store).await;
    assert_eq!(check(&file, Some(&crime.store.audit_public_key().1), &[]).broken.unwrap().seq, 1);
}

#[tokio::test]
async fn without_an_end_the_trail_goes_on_behind_what_is_left() {
    for (taken, suspect, first_bad) in [
        (&["audit_head"][..], LAST + 1, LAST + 1),
        (&["audit_head", "audit_checkpoints"], LAST + 1, LAST + 1),
        // Signatures go on: checkpoints of these numbers would be there already.
        (&["audit_head", "audit_entries"], SIGNED + 1, 1),
    ] {
        let mut crime = Crime::scene(LAST, &[20, SIGNED]).await;
        for table in taken {
            crime.raw.run(&format!("DELETE FROM {table}")).await;
        }
        assert_eq!(crime.verified().await.broken.unwrap().seq, 1, "{taken:?}");
        let entry = NewEntry::new(Actor::operator("tester"), "test.act");
        crime.store.record(&[entry]).await.unwrap();
        let told = crime.store.find_audit(&AuditFilter::default(), 2, None).await.unwrap();
        assert_eq!((told[1].seq, told[1].entry.action.as_str()), (suspect, "audit.suspect"), "{taken:?}");
        assert_eq!(crime.verified().await.broken.unwrap().seq, first_bad, "{taken:?}");
        assert_eq!(crime.store.checkpoint_audit().await.unwrap().unwrap().seq, suspect + 1, "{taken:?}");
    }
    // An end that claims to be signed far ahead does not keep the rest from being signed.
    let mut crime = Crime::scene(LAST, &[SIGNED]).await;
    crime.raw.run("UPDATE audit_head SET checkpoint = 1000000").await;
    crime.store.record(&[NewEntry::new(Actor::operator("tester"), "test.act")]).await.unwrap();
    assert_eq!(crime.store.checkpoint_audit().await.unwrap().unwrap().seq, LAST + 2);
}

/// A generator that is good enough to pick entries with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test]
async fn a_long_trail_is_no_hiding_place() {
    let entries: u64 = std::env::var("AUDIT_CHAIN").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let seed = u64::from(std::process::id()) ^ u64::try_from(jiff_now()).unwrap();
    let mut crime = Crime::scene(entries, &[entries / 3, entries - 7]).await;
    let mut dice = Dice(seed);
    for round in 0..6 {
        let at = 2 + dice.below(entries - 10);
        let keep = format!("CREATE TABLE kept AS SELECT * FROM audit_entries WHERE seq IN ({at}, {at} + 1)");
        crime.raw.run(&keep).await;
        let tampering = match round {
            0 => format!("DELETE FROM audit_entries WHERE seq = {at}"),
            1 => format!(
                "UPDATE audit_entries SET entry = replace(entry, '\"test.act\"', '\"test.ask\"') WHERE seq = {at}"
            ),
            2 => {
                format!("UPDATE audit_entries SET hash = (SELECT hash FROM kept WHERE seq = {at} + 1) WHERE seq = {at}")
            }
            3 => format!("UPDATE audit_entries SET actor = 'somebody' WHERE seq = {at}"),
            4 => format!(
                "UPDATE audit_entries SET entry = (SELECT entry FROM kept WHERE seq = {at} + 1) WHERE seq = {at}"
            ),
            _ => format!("UPDATE audit_entries SET patient_id = 'somebody' WHERE seq = {at}"),
        };
        assert_eq!(crime.raw.run(&tampering).await, 1);
        let fault = crime.verified().await.broken;
        assert_eq!(fault.as_ref().map(|fault| fault.seq), Some(at), "seed {seed}, round {round}: {fault:?}");
        crime.raw.run(&format!("DELETE FROM audit_entries WHERE seq IN ({at}, {at} + 1)")).await;
        crime.raw.run("INSERT INTO audit_entries SELECT * FROM kept").await;
        crime.raw.run("DROP TABLE kept").await;
    }
    let whole = crime.verified().await;
    assert_eq!((whole.broken, whole.entries, whole.checkpoints), (None, entries, 2));
}

fn jiff_now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() >> 20
}

fn check(file: &str, key: Option<&str>, elsewhere: &[Checkpoint]) -> Verified {
    let mut check = ExportCheck::new(key, elsewhere);
    for line in file.lines() {
        if !check.line(line) {
            break;
        }
    }
    check.finish()
}

async fn exported(store: &Store) -> String {
    let mut file = Vec::new();
    store.export_audit(&mut file).await.unwrap();
    String::from_utf8(file).unwrap()
}

#[tokio::test]
async fn an_export_is_verified_without_the_database() {
    let crime = Crime::scene(30, &[10, 20]).await;
    let file = exported(&crime.store).await;
    let key = crime.store.audit_public_key().1;
    let good = check(&file, Some(&key), &[]);
    assert_eq!((good.broken, good.entries, good.checkpoints), (None, 30, 2));
    assert_eq!(good.head, crime.verified().await.head);
    assert!(!file.contains("Ada") && !file.contains("+1500"));
    // A checkpoint made later says nothing against it, one made before must be covered.
    let outside = crime.store.checkpoint_audit().await.unwrap().unwrap();
    assert_eq!(check(&file, Some(&key), &[outside]).broken, None);
    let other = Crime::scene(3, &[]).await.store.audit_public_key().1;
    assert_eq!(check(&file, Some(&other), &[]).broken.unwrap().seq, 1);
    // Every bit of a line in the middle, of the checkpoint behind entry 10, of the first line and the last.
    let lines: Vec<&str> = file.lines().collect();
    assert_eq!(lines.len(), 34);
    for (index, bad) in [(10, 10), (11, 10), (0, 1), (33, 31)] {
        let line = lines[index].as_bytes();
        for bit in 0..line.len() * 8 {
            let mut bytes = line.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            if changed.lines().count() != 1 {
                continue;
            }
            let mut lines = lines.clone();
            lines[index] = &changed;
            let fault = check(&lines.join("\n"), Some(&key), &[]).broken;
            let Some(fault) = fault else { panic!("bit {bit} of line {index} is not noticed: {changed}") };
            // A number that became that of an earlier entry accuses that one.
            let near = index != 10 || fault.seq <= bad;
            assert!(near, "bit {bit} of line {index}: {fault:?}");
        }
    }
    for index in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(index);
        assert!(check(&fewer.join("\n"), Some(&key), &[]).broken.is_some(), "without line {index}");
        let cut = lines[..index].join("\n");
        assert!(check(&cut, Some(&key), &[]).broken.is_some(), "cut before line {index}");
        if index + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(index, index + 1);
            assert!(check(&swapped.join("\n"), Some(&key), &[]).broken.is_some(), "swapped at line {index}");
        }
        let mut twice = lines.clone();
        twice.insert(index, lines[index]);
        assert!(check(&twice.join("\n"), Some(&key), &[]).broken.is_some(), "line {index} twice");
    }
}

#[tokio::test]
async fn what_the_store_does_by_itself_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let clerk = store.acting_as(Actor::operator("clerk"));
    let whose = clerk.add_patient(&patient(1)).await.unwrap();
    clerk.import_patients(&[patient(1), patient(2)]).await.unwrap();
    clerk.set_care_profile(&whose.id, &clinic::care::CareProfile::default()).await.unwrap();
    store.find_patients_by_phone(&whose.details.phone).await.unwrap();
    let done = store.begin_call(call("CA1", Some(whose.id.clone()))).await.unwrap();
    store.finish_call(&done.id, finish()).await.unwrap();
    assert!(store.finish_call(&done.id, finish()).await.is_err());
    store.begin_call(call("CA2", Some(whose.id.clone()))).await.unwrap();
    // The process that carried the call is gone; the next one notes it.
    let next = open(dir.path()).await;
    let long_after = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    assert_eq!(next.recover(long_after).await.unwrap().len(), 1);
    let token = clerk.create_token("reports", None, common::STARTED).await.unwrap();
    clerk.revoke_token(&token.record.id, common::STARTED).await.unwrap();
    clerk.revoke_token(&token.record.id, common::STARTED).await.unwrap();
    let all = store.find_audit(&AuditFilter::default(), 100, None).await.unwrap();
    let told: Vec<(&str, &str, bool)> = all
        .iter()
        .rev()
        .map(|entry| (entry.entry.actor.id.as_str(), entry.entry.action.as_str(), entry.entry.patient.is_some()))
        .collect();
    let expected = [
        ("clerk", "patient.add", true),
        ("clerk", "patient.add", true),
        ("clerk", "patient.import", false),
        ("clerk", "care.change", true),
        ("server", "patient.identify", true),
        ("server", "call.begin", true),
        ("server", "call.finish", true),
        ("server", "call.begin", true),
        ("server", "call.interrupt", true),
        ("clerk", "token.add", false),
        ("clerk", "token.revoke", false),
    ];
    assert_eq!(told, expected);
    let trail = serde_json::to_string(&all).unwrap();
    assert!(
        !trail.contains("Ada") && !trail.contains("1500555") && !trail.contains("MRN") && !trail.contains("reports")
    );
    let whole = store.verify_audit(&[]).await.unwrap();
    assert_eq!((whole.broken, whole.entries), (None, 11));
}
