//! Encrypted records and recordings on disk.
//!
//! The store keeps patients, calls, their timelines and their analysed segments in a database, and the audio of each
//! call in a file of its own; everything that is or may be health information is sealed under a data key per call or per
//! patient before it touches the disk. It never decides what a record means, never logs its content, and never
//! acknowledges what is not durable. Read [`Store`] and [`RecordingWriter`] first.
//!
//! # What is readable without the key
//!
//! In clear: opaque identifiers, which call belongs to which patient identifier, direction, outcome, times, counts, names
//! of agents, kinds (not contents) of timeline entries, task names of segments, kind and severity of alerts, when a call
//! is planned and what became of it. Sealed: names, telephone numbers, birth
//! dates, the clinic's numbers, all other patient details, call SIDs, contents of timeline entries, biomarker reports,
//! audio, messages of agent services after a call. Telephone numbers, clinic numbers, call SIDs and identifiers of
//! conversations are found again by keyed hashes.
//!
//! # Tables
//!
//! | table | columns |
//! |---|---|
//! | `meta` | `name`, `value`: the master key's public name and a sealed canary |
//! | `patients` | `id`, `external_id_hash`, `phone_hash`, `details` (sealed), `key_id`, `wrapped_key`, `created_at_us` |
//! | `calls` | `id`, `patient_id`, `call_sid_hash`, `call_sid` (sealed), `direction`, `outcome`, `end_cause`, `started_at_us`, `ended_at_us`, `agents`, `turns`, `interruptions`, `recording`, `key_id`, `wrapped_key` |
//! | `events` | `call_id`, `seq`, `at_us`, `kind`, `payload` (sealed) |
//! | `segments` | `call_id`, `idx`, `task`, `report` (sealed) |
//! | `profiles` | `patient_id`, `profile` (sealed) |
//! | `visits` | `call_id`, `record`, `facts`, `assessment`, `shadow` (all sealed), `revision`, `updated_at_us` |
//! | `alerts` | `id`, `patient_id`, `call_id`, `kind`, `severity`, `status`, `topic_hash`, `content` (sealed), `key_id`, `wrapped_key`, times, counts, who took it up, notes (sealed) |
//! | `alert_occurrences` | `alert_id`, `seq`, `call_id`, `severity`, `finding_hash`, `content` (sealed), `at_us` |
//! | `deliveries` | messages to staff: alert, place of the contact, channel, state, attempts; neither number nor text |
//! | `api_tokens` | `id`, `name`, `token_hash`, times |
//! | `conversations` | `conversation_hash`, `call_id` |
//! | `post_calls` | `call_id`, `conversation_hash`, `kind`, `received_at_us`, `reconciled_at_us`, `payload` (sealed) |
//! | `schedules` | `id`, `patient_id`, `definition` (sealed), `paused`, `removed`, `next_date`, `next_plan_us`, `created_at_us` |
//! | `planned_calls` | `id`, `patient_id`, `schedule_id`, `planned_for`, `opens_at_us`, `closes_at_us`, `first_due_us`, `max_attempts`, `retry_after`, `state`, `reason`, `next_at_us`, `reported_at_us`, `created_at_us` |
//! | `call_attempts` | `id`, `planned_call_id`, `patient_id`, `number`, `state`, `claimed_at_us`, `settled_at_us`, `check_at_us`, `line_free_us`, `call_sid_hash`, `call_sid` (sealed) |
//!
//! # Erasing
//!
//! Content is gone when its wrapped key is: a record whose `wrapped_key` is `NULL` answers [`StoreError::Sealed`].

mod alerts;
mod calls;
mod conversations;
mod db;
mod error;
mod frames;
mod group;
mod ids;
mod keys;
mod patients;
mod recording;
mod schedules;
mod store;
mod timeline;
mod tokens;
mod tracks;
mod vault;
mod visits;

pub use alerts::{
    AlertContent, AlertFilter, AlertRecord, ClaimedDelivery, ClimbReport, DeliveryRecord, Handled, Occurrence, Outcome,
    Raised,
};
pub use calls::{CallHandle, FinishCall, MAX_PAGE, NewCall};
pub use conversations::{NewPostCall, PostCallMessage, Saved};
pub use error::{Result, StoreError};
pub use frames::{Frame, MAX_FRAME_BYTES};
pub use keys::{DataKey, MasterKey};
pub use patients::{ImportSummary, MAX_IMPORT_ROWS, MAX_PATIENTS};
pub use recording::{RecordingReader, RecordingWriter};
pub use schedules::{
    AttemptRecord, Claim, MAX_SCHEDULES_OF_PATIENT, OutgoingState, Planned, PlannedCall, PlannedState,
};
pub use store::{Store, StoreConfig};
pub use timeline::{MAX_BATCH, MAX_CALL_EVENTS, MAX_CALL_SEGMENTS};
pub use tokens::{NewToken, TokenRecord};
pub use tracks::MAX_TRACK_SAMPLES;
pub use visits::{MAX_FACTS, PastVisit, StoredVisit};
