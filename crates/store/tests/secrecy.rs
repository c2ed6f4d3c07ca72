//! Nothing that identifies a patient, and nothing a patient said, is readable on disk; and a sealed value is worth nothing
//! at another place.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::{NewPatient, TimelineEvent, TimelineKind};
use common::{call, finish, open, said, segment};
use serde_json::json;
use std::path::Path;
use store::Frame;

const CALL_SID: &str = "CAplantedsid5f3c";
/// No sample repeats a neighbour in a way that chance could produce.
fn audio(seed: u8) -> Vec<u8> {
    (0..160u32).map(|at| (at.wrapping_mul(at).wrapping_mul(37) as u8) ^ seed).collect()
}

fn planted() -> NewPatient {
    NewPatient::from_fields(
        "MRN-PLANTED-4711",
        "Zebulon Quagmire",
        "+15005550177",
        "1931-12-29",
        "male",
        "pt-br",
        "America/Anchorage",
    )
    .unwrap()
}

fn spoken() -> Vec<TimelineEvent> {
    let kinds = vec![
        TimelineKind::UserTranscript { text: "my ankles are swollen like balloons".into() },
        TimelineKind::AgentResponse { text: "please weigh yourself, Zebulon".into(), event_id: Some(1) },
        TimelineKind::ToolCall {
            tool_call_id: "toolcallid".into(),
            name: "record_answer".into(),
            parameters: r#"{"question":"orthopnea","value":"three pillows"}"#.into(),
        },
    ];
    kinds.into_iter().map(|kind| TimelineEvent { at_us: 5, kind }).collect()
}

#[tokio::test]
async fn planted_words_and_sounds_are_found_nowhere_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&planted()).await.unwrap();
    store.import_patients(&[planted()]).await.unwrap();
    let handle = store.begin_call(call(CALL_SID, Some(ada.id.clone()))).await.unwrap();
    let mut recording = store.recording_writer(&handle).unwrap();
    for number in 0..50u64 {
        let position_samples = number * 160;
        recording.append(&Frame::Patient { position_samples, arrived_us: 0, ulaw: &audio(0x11) }).unwrap();
        recording.append(&Frame::Agent { play_at_us: number * 20_000, ulaw: &audio(0x22) }).unwrap();
        recording.flush().unwrap();
    }
    store.append_events(&handle, 0, &spoken()).await.unwrap();
    store.append_events(&handle, 0, &spoken()).await.unwrap();
    let report = json!({"measures": {"f0_mean_hz": 123.456_789_01, "note": "whispery"}});
    store.add_segment(&handle, &segment(0, report)).await.unwrap();
    scan(dir.path(), "while the call runs").await;
    recording.finish().unwrap();
    store.finish_call(&handle.id, finish()).await.unwrap();
    scan(dir.path(), "after the call").await;
    assert_eq!(store.find_patients_by_phone(&planted().phone).await.unwrap(), [ada]);
    assert_eq!(store.call_events(&handle.id).await.unwrap(), spoken());
    let heard = store.open_recording(&handle.id).await.unwrap().patient_track().unwrap();
    assert_eq!(heard[..160], audio(0x11));
    store.close().await;
    scan(dir.path(), "after closing").await;
}

async fn scan(root: &Path, when: &str) {
    common::dump(root).await;
    let (files, found) = look(root);
    assert!(files >= 2, "{when}: nothing was looked at");
    assert_eq!(found, None, "{when}");
}

/// Looks for every planted text, in either case and also in UTF-16, and for any eight bytes of the audio in a row.
fn look(root: &Path) -> (usize, Option<String>) {
    let texts = [
        "zebulon",
        "quagmire",
        "5005550177",
        "1931-12-29",
        "mrn-planted",
        "planted-4711",
        "anchorage",
        "\"pt-br\"",
        "swollen",
        "balloons",
        "weigh yourself",
        "orthopnea",
        "pillows",
        "toolcallid",
        "plantedsid",
        "whispery",
        "123.456789",
        "f0_mean",
    ];
    let mut needles: Vec<Vec<u8>> = [0x11, 0x22].into_iter().flat_map(|seed| windows(&audio(seed))).collect();
    for text in texts {
        needles.push(text.as_bytes().to_vec());
        needles.push(text.bytes().flat_map(|byte| [byte, 0]).collect());
    }
    let mut files = 0;
    for folder in ["data", "audio"].into_iter().filter(|folder| root.join(folder).is_dir()) {
        for file in root.join(folder).read_dir().unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let lower = bytes.to_ascii_lowercase();
            files += 1;
            for needle in &needles {
                if [&bytes, &lower].iter().any(|text| text.windows(needle.len()).any(|window| window == needle)) {
                    return (files, Some(format!("{:?} in {}", String::from_utf8_lossy(needle), path.display())));
                }
            }
        }
    }
    (files, None)
}

#[test]
fn the_search_finds_what_is_there() {
    for secret in
        ["... Zebulon ...".as_bytes(), &"pillows".bytes().flat_map(|b| [b, 0]).collect::<Vec<_>>(), &audio(0x22)]
    {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::create_dir(dir.path().join("audio")).unwrap();
        std::fs::write(dir.path().join("audio/x"), [&[1, 2, 3], secret].concat()).unwrap();
        assert!(look(dir.path()).1.is_some());
    }
}

fn windows(audio: &[u8]) -> Vec<Vec<u8>> {
    audio.windows(8).step_by(16).map(<[u8]>::to_vec).collect()
}

/// Changes the database behind the store's back.
async fn tamper(dir: &Path, statement: &'static str) {
    assert!(common::tamper(dir, statement).await > 0, "{statement}");
}

#[tokio::test]
async fn a_sealed_value_moved_elsewhere_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&common::patient(1)).await.unwrap();
    let ben = store.add_patient(&common::patient(2)).await.unwrap();
    let one = store.begin_call(call("CA1", None)).await.unwrap();
    let two = store.begin_call(call("CA2", None)).await.unwrap();
    for handle in [&one, &two] {
        store.append_events(handle, 0, &[said(0, "first"), said(1, "second")]).await.unwrap();
        store.add_segment(handle, &segment(0, json!({}))).await.unwrap();
        store.add_segment(handle, &segment(1, json!({}))).await.unwrap();
    }
    // Within one call, where even the key is the right one.
    tamper(
        dir.path(),
        "UPDATE events SET payload = (SELECT payload FROM events e WHERE e.call_id = events.call_id AND e.seq = 1)",
    )
    .await;
    let error = store.call_events(&one.id).await.unwrap_err();
    assert_eq!(error.code(), "corrupt");
    assert!(error.to_string().contains(&format!("{}/0", one.id)), "{error}");
    tamper(
        dir.path(),
        "UPDATE segments SET report = (SELECT report FROM segments s WHERE s.call_id = segments.call_id AND s.idx = 0)",
    )
    .await;
    assert_eq!(store.call_segments(&one.id).await.unwrap_err().code(), "corrupt");
    // With the key taken along.
    tamper(
        dir.path(),
        "UPDATE data_keys SET wrapped_key = (SELECT wrapped_key FROM data_keys WHERE kind = 'call' ORDER BY id LIMIT 1) \
         WHERE kind = 'call'",
    )
    .await;
    let codes = [store.call_handle(&one.id).await.err(), store.call_handle(&two.id).await.err()];
    assert_eq!(codes.iter().flatten().map(|error| error.code()).collect::<Vec<_>>(), ["corrupt"]);
    tamper(dir.path(), "UPDATE patients SET details = (SELECT details FROM patients ORDER BY id LIMIT 1)").await;
    tamper(
        dir.path(),
        "UPDATE data_keys SET wrapped_key = (SELECT wrapped_key FROM data_keys WHERE kind = 'patient' ORDER BY id LIMIT 1) \
         WHERE kind = 'patient'",
    )
    .await;
    let results = [store.get_patient(&ada.id).await, store.get_patient(&ben.id).await];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(store.list_patients().await.unwrap_err().code(), "corrupt");
}

#[tokio::test]
async fn a_record_without_its_key_is_erased() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&common::patient(1)).await.unwrap();
    let handle = store.begin_call(call("CA1", Some(ada.id.clone()))).await.unwrap();
    store.append_events(&handle, 0, &[said(0, "words")]).await.unwrap();
    store.recording_writer(&handle).unwrap().finish().unwrap();
    // The key of the call is wrapped by the patient's.
    tamper(dir.path(), "DELETE FROM data_keys").await;
    assert_eq!(store.get_patient(&ada.id).await.unwrap_err().code(), "sealed");
    assert_eq!(store.list_patients().await.unwrap(), []);
    assert_eq!(store.find_patients_by_phone(&ada.details.phone).await.unwrap(), []);
    assert_eq!(store.add_patient(&common::patient(1)).await.unwrap_err().code(), "conflict");
    assert_eq!(store.call_events(&handle.id).await.unwrap_err().code(), "sealed");
    assert_eq!(store.call_segments(&handle.id).await.unwrap_err().code(), "sealed");
    assert_eq!(store.open_recording(&handle.id).await.unwrap_err().code(), "sealed");
    // That there was a call, and when, is not health information by itself.
    store.get_call(&handle.id).await.unwrap();
}
