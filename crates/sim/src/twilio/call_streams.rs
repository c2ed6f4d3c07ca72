//! The call's actions and its media streams: opening them, obeying what comes back, and ending them.

use super::call::{Call, Phase, Stream};
use super::caller::{EndedBy, Violation};
use super::checker::{Breach, Checker, Request};
use super::engine::{Action, Outcome};
use super::gather::Gathering;
use super::impair::HangUpStyle;
use super::socket::{self, FromSocket, ToSocket};
use super::stream::{StreamWriter, Tracks, connected};
use super::twiml::{StreamSpec, Verb};
use crate::sound::{Activity, synth};
use tokio::sync::mpsc;

/// How long a dialled number rings and talks.
const DIAL_MS: u64 = 2_000;

impl Call {
    /// Runs verbs until one takes time.
    pub(super) fn proceed(&mut self) {
        while matches!(self.phase, Phase::Ready) && self.ended.is_none() {
            let action = self.engine.next_action();
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        let now = self.now();
        self.phase = match action {
            Action::Fetch(fetch) => {
                self.fetch = Some(fetch);
                Phase::Fetching
            }
            Action::Say { text } => {
                self.speak(&text);
                Phase::Playing
            }
            Action::Pause(length) => Phase::Until(now + length.as_millis() as u64),
            Action::Play { url, digits } => {
                self.play(&url, &digits);
                Phase::Playing
            }
            Action::Gather(spec) => {
                for prompt in &spec.prompts {
                    match prompt {
                        Verb::Say { text, .. } => self.speak(text),
                        Verb::Play { url, digits } => self.play(url, digits),
                        Verb::Pause { length } => self.playback.push(&vec![0xFF; length.as_millis() as usize * 8]),
                        _ => {}
                    }
                }
                Phase::Gathering(Box::new(Gathering::new(spec)))
            }
            Action::Connect(spec) => {
                let id = self.next_stream;
                self.open_stream(spec, false);
                Phase::OnStream(id)
            }
            Action::StartFork(spec) => {
                self.open_stream(spec, true);
                Phase::Ready
            }
            Action::StopFork(name) => {
                self.stop_fork(&name);
                Phase::Ready
            }
            Action::Dial { numbers, .. } => {
                self.note(format!("dial {}", numbers.join(", ")));
                Phase::Dialing { until: now + DIAL_MS }
            }
            Action::Record { max_length, timeout } => {
                self.note("record");
                Phase::Recording { since: now, ear: Activity::default(), timeout, max: max_length }
            }
            Action::Hangup => {
                self.note("hangup");
                return self.ended = Some(EndedBy::Verb);
            }
            Action::Reject(reason) => {
                self.note(format!("reject {reason}"));
                return self.ended = Some(EndedBy::Verb);
            }
            Action::End => return self.ended = Some(EndedBy::EndOfDocument),
        };
    }

    /// `<Say>`: babble as long as a voice would take, and the words to the patient.
    fn speak(&mut self, text: &str) {
        self.note(format!("say: {text}"));
        self.report.said.push(text.to_owned());
        self.patient.told(text);
        let ms = (synth::speaking_ms(text) as f64 * self.cfg.say_speed) as usize;
        let mut sound = synth::babble(text, self.cfg.seed);
        sound.resize(ms * 8, 0xFF);
        self.playback.push(&sound);
    }

    fn play(&mut self, url: &str, digits: &str) {
        self.note(format!("play {url}{digits}"));
        // Digits are sent out of band: the line is silent meanwhile.
        let sound = if digits.is_empty() { synth::tone(440.0, 1_500) } else { vec![0xFF; digits.len() * 2_000] };
        self.playback.push(&sound);
    }

    pub(super) fn open_stream(&mut self, spec: StreamSpec, is_fork: bool) {
        let id = self.next_stream;
        self.next_stream += 1;
        let sid = format!("MZ{}", self.rng.hex(32));
        let tracks = match Tracks::parse(&spec.track) {
            Some(tracks) if is_fork => tracks,
            Some(_) => Tracks::Inbound,
            None => {
                self.violation(31941, format!("track '{}'", spec.track));
                return self.stream_callback(
                    &sid,
                    &spec,
                    "stream-error",
                    Some("31941 - Stream - Invalid Track configuration"),
                );
            }
        };
        if is_fork && !spec.name.is_empty() && self.streams.iter().any(|stream| stream.spec.name == spec.name) {
            self.violation(21000, format!("a stream named '{}' exists", spec.name));
            return;
        }
        let first_timestamp = self.rng.between(40, 60);
        let mut writer = StreamWriter::new(
            &self.cfg.account_sid,
            &self.call_sid,
            &sid,
            tracks,
            &self.cfg.impairments,
            first_timestamp,
        );
        let dial = socket::Dial {
            id,
            url: spec.url.clone(),
            auth_token: self.cfg.auth_token.clone(),
            signature: self.cfg.impairments.signature,
            delay: self.cfg.impairments.connect_delay,
            slow_reader: self.cfg.impairments.slow_reader,
            connected: connected(),
            start: writer.start(&spec),
            seed: self.cfg.seed ^ u64::from(id),
        };
        self.note(format!("{} {}", if is_fork { "fork" } else { "connect" }, spec.url));
        let socket = socket::open(dial, self.socket_events.clone());
        let checker = Checker::new(sid.clone(), is_fork);
        self.streams.push(Stream { id, sid, spec, is_fork, live: false, writer, checker, socket });
    }

    pub(super) fn socket_event(&mut self, id: u32, event: FromSocket) {
        let Some(index) = self.streams.iter().position(|stream| stream.id == id) else { return };
        match event {
            FromSocket::Started => {
                let Some(stream) = self.streams.get_mut(index) else { return };
                stream.live = true;
                let (sid, spec, is_fork) = (stream.sid.clone(), stream.spec.clone(), stream.is_fork);
                if !is_fork {
                    self.report.stream_sid.clone_from(&sid);
                }
                self.note("stream-started");
                self.stream_callback(&sid, &spec, "stream-started", None);
            }
            FromSocket::Refused { code, status, detail } => {
                let stream = self.streams.remove(index);
                self.report.handshake_refused = status;
                self.note(format!("stream-error {code}"));
                let text = format!("{code} - Stream - {detail}");
                self.violation(code, detail);
                self.stream_callback(&stream.sid, &stream.spec, "stream-error", Some(&text));
                self.stream_over(id);
            }
            FromSocket::Text { text, after_start } => {
                let Some(stream) = self.streams.get(index) else { return };
                match stream.checker.text(&text, after_start) {
                    Ok(request) => self.obey(request),
                    Err(breach) => self.breach(index, breach),
                }
            }
            FromSocket::Binary { len } => {
                let Some(stream) = self.streams.get(index) else { return };
                let breach = stream.checker.binary(len);
                self.breach(index, breach);
            }
            FromSocket::Closed { code } => {
                let stream = self.streams.remove(index);
                self.note(format!("server closed the stream: {code:?}"));
                self.report.server_close_code = code;
                self.account_for(&stream);
                self.stream_callback(&stream.sid, &stream.spec, "stream-stopped", None);
                self.stream_over(id);
            }
        }
    }

    /// The bidirectional stream is gone: on to the action or the next verb.
    fn stream_over(&mut self, id: u32) {
        if matches!(self.phase, Phase::OnStream(current) if current == id) {
            self.report.unplayed_ms += self.playback.reset();
            self.engine.finished(Outcome::Done);
            self.phase = Phase::Ready;
        }
    }

    fn breach(&mut self, index: usize, breach: Breach) {
        self.report.breaches += 1;
        if self.streams.get_mut(index).is_some_and(|stream| stream.checker.report(breach.code)) {
            self.violation(breach.code, breach.detail);
        }
    }

    fn obey(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Media(bytes) => {
                self.report.media_received += 1;
                self.report.first_audio_ms.get_or_insert(now);
                self.playback.push(&bytes);
            }
            Request::Mark(name) => {
                self.playback.mark(now, &name);
                self.report.marks.push(name);
            }
            Request::Clear => {
                self.report.clears += 1;
                let dropped = self.playback.clear(now);
                self.report.cleared_ms.push(dropped);
                self.note(format!("clear, {dropped} ms dropped"));
            }
        }
        self.return_marks(now);
    }

    /// Sends back the marks whose time has come.
    pub(super) fn return_marks(&mut self, now: u64) {
        let due = self.playback.due_marks(now);
        let Some(stream) = self.streams.iter_mut().find(|stream| !stream.is_fork && stream.live) else { return };
        for name in due {
            let text = stream.writer.mark(&name);
            if is_too_slow(&stream.socket, text) && stream.checker.report(31930) {
                let detail = "the server reads too slowly, a mark was dropped".to_owned();
                self.report.violations.push(Violation { code: 31930, detail, at_ms: now });
            }
        }
    }

    pub(super) fn stop_fork(&mut self, name: &str) {
        let found = self.streams.iter().position(|s| s.is_fork && (s.spec.name == name || s.sid == name));
        if let Some(index) = found {
            let stream = self.streams.remove(index);
            self.end_stream(stream, HangUpStyle::StopAndClose);
        }
    }

    /// Takes the call away from its bidirectional stream, as a redirect by REST does.
    pub(super) fn leave_stream(&mut self) {
        if let Some(index) = self.streams.iter().position(|stream| !stream.is_fork) {
            let stream = self.streams.remove(index);
            self.end_stream(stream, HangUpStyle::StopAndClose);
        }
        self.report.unplayed_ms += self.playback.reset();
    }

    pub(super) fn end_stream(&mut self, mut stream: Stream, style: HangUpStyle) {
        self.account_for(&stream);
        let send = |message: ToSocket| {
            if stream.socket.try_send(message).is_err() {
                tracing::debug!("stream ended with a full queue");
            }
        };
        if stream.live && matches!(style, HangUpStyle::StopAndClose | HangUpStyle::StopWithoutClose) {
            send(ToSocket::Text(stream.writer.stop()));
        }
        send(match style {
            HangUpStyle::StopAndClose | HangUpStyle::CloseWithoutStop => ToSocket::Close,
            HangUpStyle::StopWithoutClose => ToSocket::Abandon,
            HangUpStyle::Reset => ToSocket::Reset,
        });
        self.note("stream-stopped");
        self.stream_callback(&stream.sid, &stream.spec, "stream-stopped", None);
    }

    fn account_for(&mut self, stream: &Stream) {
        if stream.is_fork {
            self.report.fork_frames_sent += stream.writer.media_messages();
        } else {
            self.report.frames_sent += stream.writer.media_messages();
            self.report.spoken.extend_from_slice(stream.writer.sent());
            self.report.spoken_bytes_sent = self.report.spoken.len() as u64;
        }
    }
}

/// Sends a message on; true when the server reads so slowly that there is no room for it. A server that has closed reads no
/// more, and that is told by the end of the socket.
pub(super) fn is_too_slow(socket: &mpsc::Sender<ToSocket>, text: String) -> bool {
    matches!(socket.try_send(ToSocket::Text(text)), Err(mpsc::error::TrySendError::Full(_)))
}
