//! Which calls are live, and what became of those that just were.

use crate::limits;
use crate::media::PhoneSocket;
use crate::metrics;
use crate::scripted::PageRequest;
use call::ticket::{TicketBook, TicketError};
use call::twilio::CallSid;
use clinic::{CallId, PatientId};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// A signal from outside to a live call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// The stream stopped, says Twilio's stream callback.
    StreamStopped,
    /// The stream failed, says Twilio's stream callback.
    StreamFailed,
    /// The call is over, says Twilio's call callback.
    CallEnded,
    /// We want it to end.
    HangUp,
    /// A machine answered: what the agent has to say is not for it.
    Voicemail,
}

/// Where pages of a call are asked for.
pub(crate) type PageGate = mpsc::Sender<PageRequest>;

#[derive(Debug)]
struct LiveCall {
    id: CallId,
    /// When it was taken in, in microseconds since the Unix epoch.
    since_us: i64,
    commands: mpsc::Sender<Command>,
    /// Present until the media stream came.
    attach: Option<oneshot::Sender<PhoneSocket>>,
    pages: PageGate,
    forks: mpsc::Sender<PhoneSocket>,
    /// A person is on the line, whatever answering-machine detection says.
    person: bool,
}

#[derive(Debug)]
struct State {
    live: HashMap<CallSid, LiveCall>,
    /// Calls that ended, and whether the agent had said goodbye.
    recent: VecDeque<(CallSid, bool)>,
    /// Calls that a machine answered and that were not told what to leave on it yet.
    machines: VecDeque<CallSid>,
    /// Whose the last calls were, for what comes after them while the records do not answer.
    carried: VecDeque<(CallSid, CallId, PatientId)>,
    /// Calls whose caller is being connected with the nurse, and who waits for what comes of it.
    dialled: VecDeque<(CallSid, oneshot::Sender<()>)>,
    tickets: TicketBook,
}

/// The calls of this process.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    max_calls: usize,
}

/// What a call needs to hear from the outside.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) attached: oneshot::Receiver<PhoneSocket>,
    pub(crate) pages: mpsc::Receiver<PageRequest>,
    pub(crate) forks: mpsc::Receiver<PhoneSocket>,
}

/// Why a call was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// This call was announced before.
    Known,
    /// All lines are taken.
    Full,
}

impl Registry {
    pub(crate) fn new(max_calls: usize) -> Self {
        let state = State {
            live: HashMap::new(),
            recent: VecDeque::new(),
            machines: VecDeque::new(),
            carried: VecDeque::new(),
            dialled: VecDeque::new(),
            tickets: TicketBook::with_capacity(limits::TICKETS),
        };
        Self { state: Mutex::new(state), max_calls }
    }

    /// The lock is held for a few lines of map access only, and none of them panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the call is live or was a moment ago.
    pub(crate) fn knows(&self, sid: &CallSid) -> bool {
        let state = self.state();
        state.live.contains_key(sid) || state.recent.iter().any(|(known, _)| known == sid)
    }

    /// Takes a new call in.
    pub(crate) fn admit(&self, sid: &CallSid, id: CallId, patient: &PatientId) -> Result<Inbox, NotAdmitted> {
        let mut state = self.state();
        if state.live.contains_key(sid) {
            return Err(NotAdmitted::Known);
        }
        if state.live.len() >= self.max_calls {
            return Err(NotAdmitted::Full);
        }
        let (commands, command_inbox) = mpsc::channel(limits::CALL_COMMANDS);
        let (attach, attached) = oneshot::channel();
        let (pages, page_inbox) = mpsc::channel(limits::CALL_PAGES);
        let (forks, fork_inbox) = mpsc::channel(limits::CALL_FORKS);
        let since_us = crate::clock::unix_us();
        state.carried.push_back((sid.clone(), id.clone(), patient.clone()));
        if state.carried.len() > limits::RECENT_CALLS {
            state.carried.pop_front();
        }
        let call = LiveCall { id, since_us, commands, attach: Some(attach), pages, forks, person: false };
        state.live.insert(sid.clone(), call);
        metrics::calls_active(state.live.len());
        Ok(Inbox { commands: command_inbox, attached, pages: page_inbox, forks: fork_inbox })
    }

    /// True when no further call can be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.state().live.len() >= self.max_calls
    }

    /// Calls that can be in progress at once.
    pub(crate) fn most(&self) -> usize {
        self.max_calls
    }

    /// Calls in progress.
    pub(crate) fn live(&self) -> usize {
        self.state().live.len()
    }

    /// The calls in progress: since when, and whether their media stream has come. In the order of their identifiers.
    pub(crate) fn live_calls(&self) -> Vec<(CallId, i64, bool)> {
        let state = self.state();
        let mut calls: Vec<_> =
            state.live.values().map(|call| (call.id.clone(), call.since_us, call.attach.is_none())).collect();
        drop(state);
        calls.sort();
        calls
    }

    /// Remembers a ticket that was given out.
    pub(crate) fn ticket_issued(&self, nonce: &str, expires_unix_s: u64) {
        let mut state = self.state();
        state.tickets.prune(crate::clock::unix_s());
        state.tickets.register(nonce, expires_unix_s);
    }

    /// Uses a ticket up.
    pub(crate) fn ticket_used(&self, nonce: &str, now_unix_s: u64) -> Result<(), TicketError> {
        self.state().tickets.claim(nonce, now_unix_s)
    }

    /// Gives a call its media socket; gives the socket back when the call has one or is not live.
    pub(crate) fn attach(&self, sid: &CallSid, socket: PhoneSocket) -> Result<CallId, PhoneSocket> {
        let mut state = self.state();
        let Some(call) = state.live.get_mut(sid) else { return Err(socket) };
        let id = call.id.clone();
        match call.attach.take() {
            Some(attach) => attach.send(socket).map(|()| id),
            None => Err(socket),
        }
    }

    /// Gives a call a stream that only listens; gives the socket back when the call is not live or has too many.
    pub(crate) fn attach_fork(&self, sid: &CallSid, socket: PhoneSocket) -> Result<CallId, PhoneSocket> {
        let state = self.state();
        let Some(call) = state.live.get(sid) else { return Err(socket) };
        let id = call.id.clone();
        match call.forks.try_send(socket) {
            Ok(()) => Ok(id),
            Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => Err(back),
        }
    }

    /// Where pages of a live call are asked for.
    pub(crate) fn page_gate(&self, sid: &CallSid) -> Option<PageGate> {
        self.state().live.get(sid).map(|call| call.pages.clone())
    }

    /// Sends a signal to a call. False when it is not live.
    pub(crate) fn command(&self, sid: &CallSid, command: Command) -> bool {
        // A full inbox already holds signals of the same meaning.
        self.state().live.get(sid).is_some_and(|call| call.commands.try_send(command).is_ok())
    }

    /// Sends a signal to all calls.
    pub(crate) fn command_all(&self, command: Command) {
        for call in self.state().live.values() {
            let _ = call.commands.try_send(command);
        }
    }

    /// Notes that a call ended, and whether its conversation did too, for Twilio's question what to do next.
    pub(crate) fn ended(&self, sid: &CallSid, said_goodbye: bool) {
        let mut state = self.state();
        state.recent.push_back((sid.clone(), said_goodbye));
        if state.recent.len() > limits::RECENT_CALLS {
            state.recent.pop_front();
        }
    }

    /// Notes that a machine answered a call, which has to be told what to leave on it.
    pub(crate) fn machine_answered(&self, sid: &CallSid) {
        let mut state = self.state();
        state.machines.push_back(sid.clone());
        if state.machines.len() > limits::RECENT_CALLS {
            state.machines.pop_front();
        }
    }

    /// Notes that a person is on the line after all: nobody tells them what a machine is told.
    pub(crate) fn person_answered(&self, sid: &CallSid) {
        let mut state = self.state();
        state.machines.retain(|known| known != sid);
        if let Some(call) = state.live.get_mut(sid) {
            call.person = true;
        }
    }

    /// Whether the conversation says that a person is on the line.
    pub(crate) fn knows_person(&self, sid: &CallSid) -> bool {
        self.state().live.get(sid).is_some_and(|call| call.person)
    }

    /// True, once, for a call that a machine answered: whoever asks is the one who tells it.
    pub(crate) fn take_machine(&self, sid: &CallSid) -> bool {
        let mut state = self.state();
        let before = state.machines.len();
        state.machines.retain(|known| known != sid);
        state.machines.len() < before
    }

    /// Whose call this was, as far as it is remembered.
    pub(crate) fn carried(&self, sid: &CallSid) -> Option<(CallId, PatientId)> {
        let state = self.state();
        let known = state.carried.iter().rev().find(|(known, _, _)| known == sid);
        known.map(|(_, id, patient)| (id.clone(), patient.clone()))
    }

    /// The caller is being connected with the nurse; what comes back hears of the result, or that it is not waited for any
    /// more.
    pub(crate) fn nurse_dialled(&self, sid: &CallSid) -> oneshot::Receiver<()> {
        let (heard, result) = oneshot::channel();
        let mut state = self.state();
        state.dialled.retain(|(known, waiting)| known != sid && !waiting.is_closed());
        state.dialled.push_back((sid.clone(), heard));
        if state.dialled.len() > limits::RECENT_CALLS {
            state.dialled.pop_front();
        }
        result
    }

    /// What came of connecting the caller with the nurse is known.
    pub(crate) fn nurse_result(&self, sid: &CallSid) {
        // Whoever waits hears it by the end of the channel.
        self.state().dialled.retain(|(known, _)| known != sid);
    }

    /// Callers who are being connected with the nurse.
    pub(crate) fn dialling(&self) -> usize {
        self.state().dialled.iter().filter(|(_, waiting)| !waiting.is_closed()).count()
    }

    /// Forgets a call whose records are complete.
    pub(crate) fn remove(&self, sid: &CallSid) {
        let mut state = self.state();
        state.live.remove(sid);
        metrics::calls_active(state.live.len());
    }

    /// Whether the agent had said goodbye when the call ended; `None` while it is live or when nobody remembers it.
    pub(crate) fn said_goodbye(&self, sid: &CallSid) -> Option<bool> {
        self.state().recent.iter().rev().find(|(known, _)| known == sid).map(|(_, said_goodbye)| *said_goodbye)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_nurse_hears_of_the_result_once_and_of_a_second_attempt_too() {
        let (registry, sid) = (Registry::new(1), CallSid::parse("CA0123456789abcdef0123456789abcdef").unwrap());
        let first = registry.nurse_dialled(&sid);
        let second = registry.nurse_dialled(&sid);
        assert!(first.await.is_err(), "the second attempt is the one that counts");
        assert_eq!(registry.dialling(), 1);
        registry.nurse_result(&sid);
        assert!(second.await.is_err());
        drop(registry.nurse_dialled(&sid));
        assert_eq!(registry.dialling(), 0, "nobody waits any more");
    }

    #[test]
    fn whose_a_call_was_is_known_after_its_end() {
        let (registry, sid) = (Registry::new(1), CallSid::parse("CA0123456789abcdef0123456789abcdef").unwrap());
        let (id, patient) = (CallId::parse("c1").unwrap(), PatientId::parse("p1").unwrap());
        registry.admit(&sid, id.clone(), &patient).unwrap();
        registry.remove(&sid);
        assert_eq!(registry.carried(&sid), Some((id, patient)));
    }
}
