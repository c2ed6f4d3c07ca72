//! Which post-call webhooks are believed, and what is read from them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use call::agent::elevenlabs::webhook::{
    Condenser, MAX_AUDIO_BODY_BYTES, PostCallContent, PostCallError, WebhookError, parse, sign, verify,
};
use proptest::prelude::*;
use serde_json::json;

const SECRET: &str = "wsec_0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// What it is, header, body, verdict.
type Case<'a> = (&'a str, Option<String>, &'a [u8], Result<(), WebhookError>);

const NOW: u64 = 1_767_607_300;
const MINUTE: u64 = 60;

fn body() -> Vec<u8> {
    // Not ASCII, and with blanks that a re-serialisation would lose.
    r#"{"type": "post_call_transcription", "data": {"conversation_id": "conv_1", "note": "poids 82,5 kg – stable"}}"#
        .into()
}

/// The matrix of the service's own verifier, with what we do differently on purpose: a request from the future, and one
/// of several signatures matching, whichever it is.
#[test]
fn headers_are_judged_one_by_one() {
    use WebhookError::{Malformed, Mismatch, Missing, NoSecret, TooFarAhead, TooOld};
    let body = body();
    let good = sign(SECRET, &body, NOW);
    let v0 = good.split_once(',').unwrap().1.to_owned();
    let bad = format!("v0={}", "0".repeat(64));
    let at = |seconds| sign(SECRET, &body, seconds);
    let reserialised = serde_json::from_slice::<serde_json::Value>(&body).unwrap().to_string();
    let cases: Vec<Case<'_>> = vec![
        ("good", Some(good.clone()), &body, Ok(())),
        ("29 minutes old", Some(at(NOW - 29 * MINUTE)), &body, Ok(())),
        ("31 minutes old", Some(at(NOW - 31 * MINUTE)), &body, Err(TooOld)),
        ("four minutes ahead", Some(at(NOW + 4 * MINUTE)), &body, Ok(())),
        ("six minutes ahead", Some(at(NOW + 6 * MINUTE)), &body, Err(TooFarAhead)),
        ("a day ahead", Some(at(NOW + 86_400)), &body, Err(TooFarAhead)),
        ("changed body", Some(good.clone()), b"{}", Err(Mismatch)),
        ("re-serialised body", Some(good.clone()), reserialised.as_bytes(), Err(Mismatch)),
        ("another secret", Some(sign("wsec_other", &body, NOW)), &body, Err(Mismatch)),
        ("v0 before t", Some(format!("{v0},t={NOW}")), &body, Ok(())),
        ("blank after the comma", Some(good.replace(',', ", ")), &body, Err(Malformed)),
        ("two v0, the last good", Some(format!("t={NOW},{bad},{v0}")), &body, Ok(())),
        ("two v0, the first good", Some(format!("t={NOW},{v0},{bad}")), &body, Ok(())),
        ("nine v0", Some(format!("t={NOW},{}", vec![v0.clone(); 9].join(","))), &body, Err(Malformed)),
        ("upper-case digits", Some(format!("t={NOW},v0={}", v0[3..].to_uppercase())), &body, Err(Mismatch)),
        ("half a v0", Some(format!("t={NOW},{}", &v0[..35])), &body, Err(Mismatch)),
        ("another scheme beside it", Some(format!("t={NOW},v1=00,{v0}")), &body, Ok(())),
        ("no v0", Some(format!("t={NOW}")), &body, Err(Malformed)),
        ("no t", Some(v0.clone()), &body, Err(Malformed)),
        ("two t", Some(format!("t={NOW},t={NOW},{v0}")), &body, Err(Malformed)),
        ("t is a word", Some(format!("t=abc,{v0}")), &body, Err(Malformed)),
        ("t is negative", Some(format!("t=-1,{v0}")), &body, Err(Malformed)),
        ("t is too large", Some(format!("t={},{v0}", "9".repeat(30))), &body, Err(Malformed)),
        ("another t", Some(format!("t={},{v0}", NOW + 1)), &body, Err(Mismatch)),
        ("endless header", Some(format!("{good},{}", "x".repeat(5_000))), &body, Err(Malformed)),
        ("empty header", Some(String::new()), &body, Err(Missing)),
        ("no header", None, &body, Err(Missing)),
    ];
    for (name, header, body, expected) in cases {
        assert_eq!(verify(SECRET, header.as_deref(), body, NOW), expected, "{name}");
    }
    assert_eq!(verify("", Some(&good), &body, NOW), Err(NoSecret));
}

#[test]
fn a_transcription_is_read_with_everything_odd_left_out() {
    let event = parse(
        json!({"type": "post_call_transcription", "event_timestamp": NOW, "data": {
            "agent_id": "agent_1", "conversation_id": "conv_1", "status": "done", "novelty": [1],
            "transcript": [
                {"role": "agent", "message": "Hello. ", "time_in_call_secs": 0, "interrupted": true},
                {"role": "user", "message": "Fine", "time_in_call_secs": 2.5},
                {"role": "agent", "message": null, "tool_calls": [{}]},
                "not a turn", {"message": "nobody"}],
            "metadata": {"call_duration_secs": 95, "termination_reason": "end_call tool was called.", "error": null},
            "analysis": {"data_collection_results": {"dyspnea": {"value": "rest"}, "weight_value": {"value": null}},
                "evaluation_criteria_results": {"asked": {"result": "success"}, "odd": 3}}}})
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    assert_eq!((event.conversation_id.as_str(), event.kind()), ("conv_1", "post_call_transcription"));
    let PostCallContent::Transcription(report) = event.content else { unreachable!("a transcription") };
    let words: Vec<_> = report.turns.iter().map(|turn| (turn.role.as_str(), turn.message.as_deref())).collect();
    assert_eq!(words, [("agent", Some("Hello.")), ("user", Some("Fine")), ("agent", None)]);
    assert_eq!((report.turns[0].interrupted, report.turns[1].at_s), (true, Some(2.5)));
    assert_eq!(report.data_collection, [("dyspnea".into(), json!("rest")), ("weight_value".into(), json!(null))]);
    assert_eq!(report.evaluation, [("asked".to_owned(), "success".to_owned())]);
    assert_eq!((report.duration_s, report.error_code), (Some(95.0), None));
    assert_eq!(report.termination_reason.as_deref(), Some("end_call tool was called."));
}

#[test]
fn the_other_kinds_are_known_and_what_is_none_is_refused() {
    let read = |value: serde_json::Value| parse(value.to_string().as_bytes());
    let failure =
        read(json!({"type": "call_initiation_failure", "data": {"conversation_id": "c", "failure_reason": "busy"}}));
    assert_eq!(failure.unwrap().content, PostCallContent::InitiationFailure { reason: "busy".into() });
    let novelty = read(json!({"type": "post_call_dream", "data": {"conversation_id": "c"}})).unwrap();
    assert_eq!(novelty.kind(), "post_call_dream");
    assert_eq!(parse(b"[]"), Err(PostCallError::NotJson));
    assert_eq!(parse(b"{\"type\":"), Err(PostCallError::NotJson));
    assert_eq!(read(json!({"data": {"conversation_id": "c"}})), Err(PostCallError::NoType));
    for data in [json!({}), json!({"conversation_id": ""}), json!({"conversation_id": 7}), json!(null)] {
        assert_eq!(read(json!({"type": "post_call_audio", "data": data})), Err(PostCallError::NoConversation));
    }
}

fn condensed(body: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut condenser = Condenser::default();
    body.chunks(piece).all(|piece| condenser.push(piece)).then(|| condenser.finish())
}

#[test]
fn a_recording_is_left_out_whatever_the_pieces_it_comes_in() {
    let audio = json!({"type": "post_call_audio", "data": {"full_audio": "QUJD".repeat(1_000_000), "conversation_id": "conv_1"}});
    let body = audio.to_string();
    for piece in [1_000, 4_093, body.len()] {
        let kept = condensed(body.as_bytes(), piece).unwrap();
        assert!(kept.len() < 70_000, "{}", kept.len());
        let event = parse(&kept).unwrap();
        assert_eq!((event.conversation_id.as_str(), event.content), ("conv_1", PostCallContent::Audio));
    }
    assert_eq!(condensed(&vec![b' '; MAX_AUDIO_BODY_BYTES + 1], 65_536), None);
    // Many small strings cannot be condensed: at 2 MB it ends.
    assert_eq!(condensed(json!(vec!["words"; 400_000]).to_string().as_bytes(), 65_536), None);
}

proptest! {
    #[test]
    fn what_fits_is_kept_as_it_is(text in ".{0,200}", piece in 1usize..50) {
        let body = json!({"words": text}).to_string();
        prop_assert_eq!(condensed(body.as_bytes(), piece).unwrap(), body.as_bytes());
    }

    #[test]
    fn what_is_cut_stays_json(unit in "[a-z\"\\\\\n\u{1}é😀]{1,6}", times in 14_000usize..20_000) {
        let body = json!({"before": 1, "long": unit.repeat(times), "after": "x"}).to_string();
        let kept: serde_json::Value = serde_json::from_slice(&condensed(body.as_bytes(), 777).unwrap()).unwrap();
        prop_assert_eq!(&kept["after"], "x");
        prop_assert!(unit.repeat(times).starts_with(kept["long"].as_str().unwrap()));
    }

    #[test]
    fn nothing_makes_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), header in ".{0,80}") {
        let _ = parse(&bytes);
        let _ = condensed(&bytes, 7);
        prop_assert!(verify(SECRET, Some(&header), &bytes, NOW).is_err());
    }
}
