//! Documents whose form is decided elsewhere: by the voice engine, the risk model, the visit. Their schemas stand in
//! `documents.json`; they name the fields that clients can rely on, and allow more.

use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Names a schema of the file; the type itself has no values.
macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub(super) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().build().into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

documents! {
    /// What was measured in one segment.
    BiomarkerResult
    /// How a patient is, by the answers and the voice of a call.
    Assessment
    /// What was learned in a call.
    Visit
    /// The course of one measure.
    Trend
    /// An entry of a timeline.
    Event
}

/// The schemas of the file, by name.
pub(super) fn schemas() -> Map<String, Value> {
    serde_json::from_str(include_str!("documents.json")).unwrap_or_default()
}
