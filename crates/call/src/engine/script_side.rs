//! A call without an agent: the phone company obeys our instructions page by page, and a stream that only listens brings
//! the patient's voice.

use super::Call;
use crate::Tick;
use crate::engine::agent_side::AgentState;
use clinic::EndCause;

/// The listening stream ended, and no page was asked for since: the caller is gone. Longer than any page takes; normally a
/// status callback says it sooner.
const GONE_AFTER_MS: u64 = 30_000;
/// The goodbye was handed out: it is spoken, and then the call is over.
const GOODBYE_MS: u64 = 45_000;

/// Where the script stands.
#[derive(Debug, Default)]
pub(super) struct ScriptSide {
    pages: u64,
    last_page: Option<Tick>,
    /// How long that page takes at most.
    page_takes_ms: u64,
    stream_gone: Option<Tick>,
    goodbye: Option<Tick>,
    /// The phone was there when an agent still carried the call.
    phone_known: bool,
    /// No stream of an agent's call came, or it broke: without a page that is a failure of ours.
    no_stream: bool,
}

impl ScriptSide {
    pub(super) fn begun(&mut self, now: Tick, phone_known: bool) {
        self.phone_known = phone_known;
        self.last_page = phone_known.then_some(now);
    }

    /// Another stream listens now.
    pub(super) fn stream_is_back(&mut self) {
        self.stream_gone = None;
    }

    /// The page that was handed out is spoken and listened to for so long, at most.
    pub(super) fn page_takes(&mut self, ms: u64) {
        self.page_takes_ms = ms;
    }

    /// There is no stream; the phone company is expected to ask for a page.
    pub(super) fn stream_failed(&mut self, now: Tick) {
        self.begun(now, true);
        self.no_stream = true;
    }

    /// True once a page was asked for.
    pub(super) fn carries(&self) -> bool {
        self.pages > 0
    }
}

impl Call {
    /// A page was asked for: the caller is there. `goodbye` says that it is the last one.
    pub(super) fn page_asked(&mut self, goodbye: bool) {
        if !self.is_scripted() {
            return;
        }
        self.script.pages += 1;
        self.script.last_page = Some(self.now);
        self.last_phone_audio = self.now;
        self.reached = true;
        if self.agents.last().is_none_or(|last| last != self.leg.service()) {
            self.agents.push(self.leg.service().to_owned());
        }
        if goodbye {
            self.script.goodbye.get_or_insert(self.now.plus_ms(GOODBYE_MS));
        }
    }

    /// A socket or a stream of a scripted call ended. Before the goodbye that says nothing until pages stop being asked for.
    pub(super) fn script_stream_ended(&mut self) {
        if self.stream.take().is_none() {
            return;
        }
        self.script.stream_gone = Some(self.now);
        if self.script.goodbye.is_some() {
            // The goodbye was handed out, and the line is closed.
            self.finish(EndCause::AgentFinished);
        }
    }

    /// How a scripted call ended that ends now.
    pub(super) fn script_cause(&self, cause: EndCause) -> EndCause {
        let ended = matches!(cause, EndCause::CallStatus | EndCause::StreamStopped | EndCause::StreamClosed);
        if self.script.goodbye.is_some() && ended { EndCause::AgentFinished } else { cause }
    }

    pub(super) fn script_on_time(&mut self) {
        if self.script_deadline().is_some_and(|at| at <= self.now) {
            let cause = match (self.script.carries(), self.script.no_stream) {
                (true, _) => EndCause::StreamStopped,
                (false, true) => EndCause::StreamFailed,
                (false, false) => EndCause::NeverConnected,
            };
            self.finish(self.script_cause(cause));
        }
    }

    pub(super) fn script_deadline(&self) -> Option<Tick> {
        if !matches!(self.agent, AgentState::Scripted) {
            return None;
        }
        let page_ms = self.script.page_takes_ms.saturating_add(GONE_AFTER_MS);
        let gone = self.script.stream_gone.map(|at| at.max(self.script.last_page.unwrap_or(at)).plus_ms(page_ms));
        let unasked = match self.script.last_page {
            // A page that asks for a voice task or an answer takes its time.
            Some(at) => at.plus_ms(self.config.phone_idle_ms.max(page_ms)),
            None => Tick::from_ms(self.config.phone_connect_ms),
        };
        let heard = self.stream.is_some().then(|| self.last_phone_audio.plus_ms(self.config.phone_idle_ms));
        Some([gone, self.script.goodbye, heard.or(Some(unasked))].into_iter().flatten().min().unwrap_or(unasked))
    }
}
