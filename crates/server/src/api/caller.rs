//! Who asks, and how far their rights reach.

use crate::auth::Principal;
use clinic::access::{Reach, Right, Role, Scopes};
use clinic::{SessionId, TokenId, UserId};
use store::audit::Actor;

/// Whose request it is.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// How a person is known to others, or what a token is for.
    pub(super) name: String,
    pub(super) who: Who,
}

/// A person or a program.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// A person who has signed in.
    User { id: UserId, role: Role, session: SessionId },
    /// A program that shows a token.
    Token { id: TokenId, scopes: Scopes },
}

impl Caller {
    /// The caller, and whether what they ask comes from our own pages, as far as that matters.
    pub(super) fn of(principal: Principal) -> (Self, bool) {
        match principal {
            Principal::User { id, name, role, session, csrf_ok } => {
                (Self { name, who: Who::User { id, role, session } }, csrf_ok)
            }
            Principal::Token { id, name, scopes } => (Self { name, who: Who::Token { id, scopes } }, true),
        }
    }

    /// Opaque identifier of the account or the token.
    pub(super) fn id(&self) -> &str {
        match &self.who {
            Who::User { id, .. } => id.as_str(),
            Who::Token { id, .. } => id.as_str(),
        }
    }

    /// The account of a person.
    pub(super) fn user(&self) -> Option<&UserId> {
        match &self.who {
            Who::User { id, .. } => Some(id),
            Who::Token { .. } => None,
        }
    }

    /// Whose records they may do this to; `None`: they may not.
    pub(super) fn reach(&self, right: Right) -> Option<Reach> {
        match &self.who {
            Who::User { role, .. } => role.reach(right),
            Who::Token { scopes, .. } => Role::Service.reach(right).filter(|_| scopes.allows(right)),
        }
    }

    /// For the audit trail.
    pub(super) fn actor(&self) -> Actor {
        match &self.who {
            Who::User { id, role, .. } => Actor::user(id, *role),
            Who::Token { id, .. } => Actor::token(id),
        }
    }
}
