//! The words that fields of the interface take, for its description. They come from the types that read and write them,
//! so that the description cannot fall behind.

use clinic::access;
use clinic::alerts as alert;
use clinic::schedule as plan;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Names a schema of words; the type itself has no values.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)*) => {$(
        $(#[$doc])*
        pub(super) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words)).build().into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

words! {
    /// How soon a person has to look.
    Severity = alert::Severity::ALL.map(alert::Severity::as_str);
    /// What an alert is about.
    AlertKind = alert::AlertKind::ALL.map(alert::AlertKind::as_str);
    /// Where an alert is in its life.
    AlertStatus = alert::AlertStatus::ALL.map(alert::AlertStatus::as_str);
    /// Which alerts are listed.
    AlertStatusAsked = alert::AlertStatus::ALL.map(alert::AlertStatus::as_str).into_iter().chain(["unresolved"]);
    /// How staff is told.
    Channel = alert::Channel::ALL.map(alert::Channel::as_str);
    /// What an account is for.
    Role = access::Role::ALL.map(access::Role::as_str);
    /// What an account of a person is for.
    SignInRole = access::Role::ALL.into_iter().filter(|role| role.signs_in()).map(access::Role::as_str);
    /// Why a record is opened in an emergency.
    GlassCode = store::GLASS_CODES;
    /// What kind of somebody acts.
    ActorKind = ["user", "token", "operator", "system", "anonymous"];
    /// How an action ended.
    AuditOutcome = ["success", "denied", "failed"];
    /// What became of a message.
    DeliveryState = alert::DeliveryState::ALL.map(alert::DeliveryState::as_str);
    /// What is known of an attempt.
    AttemptState = plan::AttemptState::ALL.map(plan::AttemptState::as_str);
    /// Why a patient was not reached.
    MissedReason = plan::MissedReason::ALL.map(plan::MissedReason::as_str);
    /// Where a planned call stands.
    PlannedState = PLANNED;
    /// How a call ended up.
    CallOutcome = OUTCOMES;
    /// Which signal ended a call first.
    EndCause = END_CAUSES;
    /// Who telephoned whom.
    Direction = ["inbound", "outbound"];
    /// Sex as recorded.
    Sex = ["female", "male", "other", "unknown"];
    /// Unit of weights.
    WeightUnit = ["kg", "lb"];
    /// Which side of a call is wanted.
    Track = ["both", "patient", "agent"];
    /// How far a live call has come.
    LiveState = ["connecting", "connected"];
}

const PLANNED: [&str; 4] = ["open", "done", "missed", "cancelled"];
const OUTCOMES: [&str; 8] =
    ["in_progress", "completed", "handed_over", "voicemail", "no_answer", "refused", "failed", "interrupted"];
const END_CAUSES: [&str; 11] = [
    "stream_stopped",
    "stream_failed",
    "stream_closed",
    "call_status",
    "stream_idle",
    "agent_finished",
    "agent_failed",
    "never_connected",
    "machine_answered",
    "maximum_duration",
    "hung_up_by_us",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_listed_words_are_those_of_the_types() {
        for word in OUTCOMES {
            assert_eq!(clinic::CallOutcome::parse(word).unwrap().as_str(), word);
        }
        for word in END_CAUSES {
            serde_json::from_value::<clinic::EndCause>(json!(word)).unwrap();
        }
        for word in ["inbound", "outbound"] {
            serde_json::from_value::<clinic::Direction>(json!(word)).unwrap();
        }
        for state in [
            store::PlannedState::Open,
            store::PlannedState::Done,
            store::PlannedState::Missed,
            store::PlannedState::Cancelled,
        ] {
            assert!(PLANNED.contains(&state.as_str()));
        }
    }
}
