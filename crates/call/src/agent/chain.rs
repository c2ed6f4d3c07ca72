//! The services a call may use, in order.

use super::{AgentLeg, Member};
use std::collections::VecDeque;

/// Who carries the call, and who stands in. Services that speak are tried in order; when none is left, the script goes on
/// if it is a member.
#[derive(Debug, Clone)]
pub struct Chain {
    legs: VecDeque<AgentLeg>,
    script: bool,
}

impl Chain {
    /// A chain of these services, closed by the script or not.
    #[must_use]
    pub fn new(legs: impl IntoIterator<Item = AgentLeg>, script: bool) -> Self {
        let spoken = legs.into_iter().filter(|leg| leg.member() != Member::Script);
        Self { legs: spoken.collect(), script }
    }

    /// The next service that speaks, which leaves the chain.
    pub(crate) fn pop(&mut self) -> Option<AgentLeg> {
        self.legs.pop_front()
    }

    /// True when there is another service that speaks.
    pub(crate) fn has_agent(&self) -> bool {
        !self.legs.is_empty()
    }

    /// True when the script may go on after them.
    #[must_use]
    pub fn has_script(&self) -> bool {
        self.script
    }

    /// The services that speak and are left, by name.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.legs.iter().map(AgentLeg::member)
    }
}

impl From<AgentLeg> for Chain {
    /// One service, and nobody who stands in for it.
    fn from(leg: AgentLeg) -> Self {
        Self::new([leg], false)
    }
}
