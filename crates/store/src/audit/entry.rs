//! What one entry of the audit trail says: who, what, whose record, when, from where, with what result and why.
//!
//! Only identifiers, codes and counts: no names, no telephone numbers, nothing clinical, so that the trail may outlive the
//! data it tells of (45 CFR 164.312(b), 164.316(b)(2)(i)).

use clinic::access::Role;
use clinic::{PatientId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What kind of somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A person with an account.
    User,
    /// A program with a token.
    Token,
    /// A command at the machine itself.
    Operator,
    /// The server on its own: calls, schedules, retention.
    System,
    /// Somebody who has not shown who they are.
    Anonymous,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of somebody.
    pub kind: ActorKind,
    /// Identifier of the account or the token; the system user of an operator; a part of the server.
    pub id: String,
    /// In which role.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Role>,
}

impl Actor {
    /// The server itself.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: ActorKind::System, id: "server".to_owned(), role: None }
    }

    /// Somebody at the machine, by the name of their system account.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self { kind: ActorKind::Operator, id: name.chars().filter(|c| !c.is_control()).take(64).collect(), role: None }
    }

    /// A person.
    #[must_use]
    pub fn user(id: &UserId, role: Role) -> Self {
        Self { kind: ActorKind::User, id: id.to_string(), role: Some(role) }
    }

    /// A program.
    #[must_use]
    pub fn token(id: &clinic::TokenId) -> Self {
        Self { kind: ActorKind::Token, id: id.to_string(), role: Some(Role::Service) }
    }

    /// Nobody we know.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { kind: ActorKind::Anonymous, id: "-".to_owned(), role: None }
    }
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// Done.
    Success,
    /// Refused: the actor may not.
    Denied,
    /// Not done for another reason.
    Failed,
}

/// An entry before it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEntry {
    /// Who.
    pub actor: Actor,
    /// What: `object.verb`, such as `call.read`, `alert.acknowledge`, `session.begin`, `patient.erase`.
    pub action: String,
    /// Kind and identifier of what it was done to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<(String, String)>,
    /// Whose record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patient: Option<PatientId>,
    /// With what result.
    pub outcome: AuditOutcome,
    /// Why, as a code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// From which network address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// In which request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<String>,
    /// Counts and codes that help to understand it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub details: BTreeMap<String, String>,
}

impl NewEntry {
    /// An action that succeeded; the rest is added with the methods below.
    #[must_use]
    pub fn new(actor: Actor, action: &str) -> Self {
        Self {
            actor,
            action: action.to_owned(),
            object: None,
            patient: None,
            outcome: AuditOutcome::Success,
            reason: None,
            address: None,
            request: None,
            details: BTreeMap::new(),
        }
    }

    /// What it was done to.
    #[must_use]
    pub fn object(mut self, kind: &str, id: impl ToString) -> Self {
        self.object = Some((kind.to_owned(), id.to_string()));
        self
    }

    /// Whose record it is.
    #[must_use]
    pub fn patient(mut self, id: Option<&PatientId>) -> Self {
        self.patient = id.cloned();
        self
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(mut self, outcome: AuditOutcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Why.
    #[must_use]
    pub fn reason(mut self, code: &str) -> Self {
        self.reason = Some(code.to_owned());
        self
    }

    /// A count or a code.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

/// An entry as it is stored: [`NewEntry`] with its number and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Version of this form.
    pub v: u32,
    /// From 1, without gaps.
    pub seq: u64,
    /// Microseconds since the Unix epoch. Never earlier than the entry before.
    pub at_us: i64,
    /// The rest.
    #[serde(flatten)]
    pub entry: NewEntry,
}
