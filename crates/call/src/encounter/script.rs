//! An encounter without an agent: the script asks, by pages, and the phone's audio comes by a fork of the line.

use super::Encounter;
use crate::script::{Heard, Page, Then};
use crate::{Input, Tick};
use clinic::visit::VisitInput;

impl Encounter {
    /// The next page of the script, after what came of page `page` (0 for the beginning). A page that was answered
    /// already is answered again by what followed it, and nothing else happens.
    pub fn script(&mut self, now: Tick, page: u64, heard: Heard<'_>) -> Page {
        self.now = self.now.max(now);
        let now_ms = self.now.as_ms();
        self.call.handle(self.now, Input::PageAsked { goodbye: false });
        if matches!(heard, Heard::Begin) && !self.script.has_begun() {
            self.visit.handle(now_ms, VisitInput::AgentLost);
            self.exchange();
        }
        let turn = self.script.next(&mut self.visit, now_ms, page, heard);
        for kind in turn.heard {
            self.record_event(kind);
        }
        self.exchange();
        if let Some(kind) = turn.said {
            self.record_event(kind);
        }
        match turn.page.then {
            Then::DialNurse => self.call.handle(self.now, Input::HandedOver(true)),
            _ if !self.visit.wants_nurse() => self.call.handle(self.now, Input::HandedOver(false)),
            _ => {}
        }
        if self.script.is_done() {
            self.call.handle(self.now, Input::PageAsked { goodbye: true });
        }
        self.call.handle(self.now, Input::PageTakes { ms: turn.page.takes_ms() });
        self.exchange();
        turn.page
    }

    /// Whether the script has said goodbye, so that the call ends when the words were spoken.
    #[must_use]
    pub fn script_is_done(&self) -> bool {
        self.script.is_done()
    }
}
