//! The messages of one media stream, in Twilio's spelling, with the impairments of the line applied.

use super::Impairments;
use super::twiml::StreamSpec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Which sides of the call a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracks {
    /// What the caller says.
    Inbound,
    /// What the caller hears.
    Outbound,
    /// Both.
    Both,
}

impl Tracks {
    /// Reads the TwiML attribute.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "inbound_track" => Some(Self::Inbound),
            "outbound_track" => Some(Self::Outbound),
            "both_tracks" => Some(Self::Both),
            _ => None,
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Inbound => &["inbound"],
            Self::Outbound => &["outbound"],
            Self::Both => &["inbound", "outbound"],
        }
    }
}

/// Writes the messages of one stream.
#[derive(Debug)]
pub struct StreamWriter {
    account_sid: String,
    call_sid: String,
    stream_sid: String,
    tracks: Tracks,
    impairments: Impairments,
    sequence: u64,
    chunk: u64,
    first_timestamp: u64,
    /// Sound taken so far on each track, in bytes; the stream's clock.
    taken: u64,
    pending: Vec<(&'static str, Vec<u8>)>,
    held: Vec<String>,
    media_messages: u64,
    /// Caller audio really sent.
    sent: Vec<u8>,
}

/// The first message of every stream.
#[must_use]
pub fn connected() -> String {
    r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#.to_owned()
}

impl StreamWriter {
    /// A writer for a stream that has not begun. `first_timestamp` is that of the first media message.
    #[must_use]
    pub fn new(
        account_sid: &str,
        call_sid: &str,
        stream_sid: &str,
        tracks: Tracks,
        impairments: &Impairments,
        first_timestamp: u64,
    ) -> Self {
        Self {
            account_sid: account_sid.to_owned(),
            call_sid: call_sid.to_owned(),
            stream_sid: stream_sid.to_owned(),
            tracks,
            impairments: impairments.clone(),
            sequence: 0,
            chunk: 0,
            first_timestamp,
            taken: 0,
            pending: tracks.names().iter().map(|name| (*name, Vec::new())).collect(),
            held: Vec::new(),
            media_messages: 0,
            sent: Vec::new(),
        }
    }

    /// `start`, the second message.
    pub fn start(&mut self, spec: &StreamSpec) -> String {
        // A repeated name: the last one wins.
        let parameters: Map<String, Value> =
            spec.parameters.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let body = json!({
            "accountSid": self.account_sid, "streamSid": self.stream_sid, "callSid": self.call_sid,
            "tracks": self.tracks.names(),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters,
        });
        self.message("start", "start", &body)
    }

    /// 20 ms of the call; gives the messages to send now.
    pub fn frame(&mut self, inbound: &[u8], outbound: &[u8]) -> Vec<String> {
        let at_ms = self.taken / 8;
        let within = |windows: &[(u64, u64)]| windows.iter().any(|(from, len)| (*from..from + len).contains(&at_ms));
        let (lost, held) = (within(&self.impairments.gaps), within(&self.impairments.bursts));
        self.taken += inbound.len() as u64;
        let mut out = Vec::new();
        if !lost {
            for (name, pending) in &mut self.pending {
                pending.extend_from_slice(if *name == "inbound" { inbound } else { outbound });
            }
            out = self.cut();
        } else {
            // What was not full yet is lost with the rest.
            self.pending.iter_mut().for_each(|(_, pending)| pending.clear());
        }
        if held {
            self.held.append(&mut out);
            return Vec::new();
        }
        let mut all = std::mem::take(&mut self.held);
        all.append(&mut out);
        all
    }

    /// Full messages out of what is pending.
    fn cut(&mut self) -> Vec<String> {
        let size = self.impairments.frame_bytes.max(1);
        let mut out = Vec::new();
        let mut pending = std::mem::take(&mut self.pending);
        while pending.iter().all(|(_, bytes)| bytes.len() >= size) {
            for malformed in &self.impairments.malformed {
                if malformed.before_frame == self.media_messages {
                    out.push(malformed.text.clone());
                }
            }
            for (track, bytes) in &mut pending {
                let left = bytes.len() as u64;
                let payload: Vec<u8> = bytes.drain(..size).collect();
                let timestamp = self.first_timestamp + (self.taken - left) / 8;
                out.push(self.media(track, timestamp, &payload));
                if *track == "inbound" {
                    self.sent.extend_from_slice(&payload);
                }
            }
            self.media_messages += 1;
        }
        self.pending = pending;
        out
    }

    fn media(&mut self, track: &str, timestamp: u64, payload: &[u8]) -> String {
        self.chunk += 1;
        let body = json!({
            "track": track, "chunk": self.chunk.to_string(), "timestamp": timestamp.to_string(),
            "payload": STANDARD.encode(payload),
        });
        self.message("media", "media", &body)
    }

    /// A key was pressed.
    pub fn dtmf(&mut self, digit: char) -> String {
        self.message("dtmf", "dtmf", &json!({"track": "inbound_track", "digit": digit.to_string()}))
    }

    /// A mark came back.
    pub fn mark(&mut self, name: &str) -> String {
        self.message("mark", "mark", &json!({"name": name}))
    }

    /// `stop`, the last message.
    pub fn stop(&mut self) -> String {
        let body = json!({"accountSid": self.account_sid, "callSid": self.call_sid});
        self.message("stop", "stop", &body)
    }

    /// Media messages written.
    #[must_use]
    pub fn media_messages(&self) -> u64 {
        self.media_messages
    }

    /// Caller audio written into messages.
    #[must_use]
    pub fn sent(&self) -> &[u8] {
        &self.sent
    }

    fn message(&mut self, event: &str, key: &str, body: &Value) -> String {
        self.sequence += 1;
        let sequence = if self.impairments.no_sequence_number {
            String::new()
        } else {
            format!(r#""sequenceNumber":"{}","#, self.sequence)
        };
        let sid = &self.stream_sid;
        format!(r#"{{"event":"{event}",{sequence}"{key}":{body},"streamSid":"{sid}"}}"#)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn writer(impairments: &Impairments, tracks: Tracks) -> StreamWriter {
        StreamWriter::new("AC1", "CA1", "MZ1", tracks, impairments, 52)
    }

    fn parse(messages: &[String]) -> Vec<Value> {
        messages.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    #[test]
    fn start_and_media_are_spelled_as_twilio_spells_them() {
        let mut writer = writer(&Impairments::default(), Tracks::Inbound);
        let parameters = [("visit", "1"), ("visit", "42")].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        let start: Value =
            serde_json::from_str(&writer.start(&StreamSpec { parameters, ..StreamSpec::default() })).unwrap();
        assert_eq!(start["sequenceNumber"], "1");
        assert_eq!(start["start"]["mediaFormat"]["sampleRate"], 8000);
        assert_eq!(start["start"]["customParameters"], json!({"visit": "42"}));
        assert_eq!(start["start"]["tracks"], json!(["inbound"]));
        let media = parse(&writer.frame(&[7; 160], &[9; 160]));
        let expected = json!({"event": "media", "sequenceNumber": "2", "streamSid": "MZ1",
            "media": {"track": "inbound", "chunk": "1", "timestamp": "52", "payload": STANDARD.encode([7; 160])}});
        assert_eq!(media, [expected]);
        assert_eq!(parse(&writer.frame(&[7; 160], &[9; 160]))[0]["media"]["timestamp"], "72");
        let dtmf: Value = serde_json::from_str(&writer.dtmf('#')).unwrap();
        assert_eq!((&dtmf["dtmf"]["track"], &dtmf["sequenceNumber"]), (&json!("inbound_track"), &json!("4")));
        assert!(writer.stop().contains(r#""stop":{"accountSid":"AC1","callSid":"CA1"}"#));
    }

    #[test]
    fn both_tracks_carry_both_sides() {
        let messages = parse(&writer(&Impairments::default(), Tracks::Both).frame(&[7; 160], &[9; 160]));
        assert_eq!(messages[0]["media"]["timestamp"], messages[1]["media"]["timestamp"]);
        assert_eq!(messages[1]["media"]["payload"], STANDARD.encode([9; 160]));
    }

    #[test]
    fn gaps_jump_and_bursts_lose_nothing() {
        let gap = Impairments { gaps: vec![(40, 60)], ..Impairments::default() };
        let mut writer_ = writer(&gap, Tracks::Inbound);
        let times: Vec<String> = (0..8)
            .flat_map(|_| parse(&writer_.frame(&[7; 160], &[])))
            .map(|m| m["media"]["timestamp"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(times, ["52", "72", "152", "172", "192"]);
        assert_eq!(writer_.sent().len(), 5 * 160);
        let burst = Impairments { bursts: vec![(20, 240)], ..Impairments::default() };
        let mut writer_ = writer(&burst, Tracks::Inbound);
        let counts: Vec<usize> = (0..15).map(|_| writer_.frame(&[7; 160], &[]).len()).collect();
        assert_eq!(counts[..2], [1, 0]);
        assert_eq!(counts[13], 13);
        assert_eq!(counts.iter().sum::<usize>(), 15);
    }

    #[test]
    fn odd_frame_sizes_keep_every_byte_and_their_time() {
        for (size, per_frame) in [(80, 2), (1, 160)] {
            let mut writer = writer(&Impairments { frame_bytes: size, ..Impairments::default() }, Tracks::Inbound);
            let messages = parse(&writer.frame(&[7; 160], &[]));
            assert_eq!(messages.len(), per_frame);
            assert_eq!(messages[per_frame - 1]["media"]["timestamp"], (52 + (160 - size) / 8).to_string());
        }
        let mut double = writer(&Impairments { frame_bytes: 320, ..Impairments::default() }, Tracks::Inbound);
        assert!(double.frame(&[7; 160], &[]).is_empty());
        assert_eq!(parse(&double.frame(&[8; 160], &[]))[0]["media"]["timestamp"], "52");
        assert_eq!(double.sent().len(), 320);
    }

    #[test]
    fn sequence_numbers_can_be_absent_and_messages_wrong() {
        let malformed = vec![super::super::Malformed { before_frame: 1, text: "{oops".to_owned() }];
        let impairments = Impairments { no_sequence_number: true, malformed, ..Impairments::default() };
        let mut writer = writer(&impairments, Tracks::Inbound);
        assert!(!writer.frame(&[7; 160], &[])[0].contains("sequenceNumber"));
        assert_eq!(writer.frame(&[7; 160], &[])[0], "{oops");
    }
}
