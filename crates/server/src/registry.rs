//! Which calls are live, and what became of those that just were.

use crate::limits;
use crate::media::PhoneSocket;
use crate::metrics;
use call::ticket::{TicketBook, TicketError};
use call::twilio::CallSid;
use clinic::CallId;
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

#[derive(Debug)]
struct LiveCall {
    id: CallId,
    /// When it was taken in, in microseconds since the Unix epoch.
    since_us: i64,
    commands: mpsc::Sender<Command>,
    /// Present until the media stream came.
    attach: Option<oneshot::Sender<PhoneSocket>>,
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
    pub(crate) fn admit(&self, sid: &CallSid, id: CallId) -> Result<Inbox, NotAdmitted> {
        let mut state = self.state();
        if state.live.contains_key(sid) {
            return Err(NotAdmitted::Known);
        }
        if state.live.len() >= self.max_calls {
            return Err(NotAdmitted::Full);
        }
        let (commands, command_inbox) = mpsc::channel(limits::CALL_COMMANDS);
        let (attach, attached) = oneshot::channel();
        let since_us = crate::clock::unix_us();
        state.live.insert(sid.clone(), LiveCall { id, since_us, commands, attach: Some(attach), person: false });
        metrics::calls_active(state.live.len());
        Ok(Inbox { commands: command_inbox, attached })
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
