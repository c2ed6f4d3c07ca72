//! Messages of an agent service find their call, are kept once, and cannot be read on disk.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::{TimelineEvent, TimelineKind};
use common::{call, open};
use store::{CallHandle, NewPostCall, Saved, Store};

const CONVERSATION: &str = "conv_planted7d1e";
const WORDS: &[u8] = br#"{"type":"post_call_transcription","data":{"note":"swollen like planted balloons"}}"#;

fn connected(conversation_id: &str) -> TimelineEvent {
    let kind = TimelineKind::AgentConnected {
        service: "elevenlabs".into(),
        conversation_id: conversation_id.into(),
        input_format: "ulaw_8000".into(),
        output_format: "ulaw_8000".into(),
    };
    TimelineEvent { at_us: 1, kind }
}

fn message(kind: &str) -> NewPostCall<'_> {
    NewPostCall { conversation_id: CONVERSATION, kind, received_at_us: 7, payload: WORDS }
}

async fn begun(store: &Store, sid: &str) -> CallHandle {
    store.begin_call(call(sid, None)).await.unwrap()
}

#[tokio::test]
async fn a_conversation_is_found_once_the_timeline_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let one = begun(&store, "CA1").await;
    assert_eq!(store.call_of_conversation(CONVERSATION).await.unwrap(), None);
    store.append_events(&one, 0, &[connected(CONVERSATION), connected("")]).await.unwrap();
    store.append_events(&one, 0, &[connected(CONVERSATION), connected("")]).await.unwrap();
    assert_eq!(store.call_of_conversation(CONVERSATION).await.unwrap(), Some(one.id.clone()));
    store.link_conversation(&one, "conv_other").await.unwrap();
    store.link_conversation(&one, "conv_other").await.unwrap();
    assert_eq!(store.call_of_conversation("conv_other").await.unwrap(), Some(one.id.clone()));
    // A service that gives an identifier twice must not move it to another call.
    let two = begun(&store, "CA2").await;
    assert_eq!(store.link_conversation(&two, CONVERSATION).await.unwrap_err().code(), "conflict");
    store.append_events(&two, 0, &[connected(CONVERSATION)]).await.unwrap();
    assert_eq!(store.call_of_conversation(CONVERSATION).await.unwrap(), Some(one.id.clone()));
    assert_eq!(store.call_events(&two.id).await.unwrap().len(), 1);
    assert_eq!(store.link_conversation(&one, "no blanks").await.unwrap_err().code(), "invalid");
    assert_eq!(store.call_of_conversation("no blanks").await.unwrap(), None);
}

#[tokio::test]
async fn a_message_is_stored_once_and_waits_until_it_is_worked_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = begun(&store, "CA1").await;
    assert_eq!(store.save_post_call(&handle, message("post_call_transcription")).await.unwrap(), Saved::New);
    assert_eq!(store.save_post_call(&handle, message("post_call_transcription")).await.unwrap(), Saved::Repeated);
    assert_eq!(store.save_post_call(&handle, message("post_call_audio")).await.unwrap(), Saved::New);
    store.post_call_reconciled(&handle.id, "post_call_audio", 9).await.unwrap();
    store.close().await;

    let store = open(dir.path()).await;
    let waiting = store.waiting_post_calls().await.unwrap();
    assert_eq!(waiting, [(handle.id.clone(), "post_call_transcription".to_owned())]);
    let messages = store.post_calls(&handle.id).await.unwrap();
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| message.payload.as_slice() == WORDS));
    let huge = vec![b' '; 3 << 20];
    let too_large = NewPostCall { payload: &huge, ..message("post_call_transcription") };
    assert_eq!(store.save_post_call(&handle, too_large).await.unwrap_err().code(), "invalid");
}

#[tokio::test]
async fn neither_the_words_nor_the_identifier_are_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = begun(&store, "CA1").await;
    store.append_events(&handle, 0, &[connected(CONVERSATION)]).await.unwrap();
    store.save_post_call(&handle, message("post_call_transcription")).await.unwrap();
    store.close().await;
    common::dump(dir.path()).await;
    let (mut folders, mut files) = (vec![dir.path().to_owned()], 0);
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        for word in ["planted", "balloons"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
        }
        files += 1;
    }
    assert!(files > 0);
}
