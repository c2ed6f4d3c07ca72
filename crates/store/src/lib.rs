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
//! of agents, kinds (not contents) of timeline entries, task names of segments. Sealed: names, telephone numbers, birth
//! dates, the clinic's numbers, all other patient details, call SIDs, contents of timeline entries, biomarker reports,
//! audio. Telephone numbers, clinic numbers and call SIDs are found again by keyed hashes.
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
//!
//! # Erasing
//!
//! Content is gone when its wrapped key is: a record whose `wrapped_key` is `NULL` answers [`StoreError::Sealed`].

mod calls;
mod db;
mod error;
mod frames;
mod group;
mod ids;
mod keys;
mod patients;
mod recording;
mod store;
mod timeline;
mod tracks;
mod vault;

pub use calls::{CallHandle, FinishCall, MAX_PAGE, NewCall};
pub use error::{Result, StoreError};
pub use frames::{Frame, MAX_FRAME_BYTES};
pub use keys::{DataKey, MasterKey};
pub use patients::{ImportSummary, MAX_IMPORT_ROWS, MAX_PATIENTS};
pub use recording::{RecordingReader, RecordingWriter};
pub use store::{Store, StoreConfig};
pub use timeline::{MAX_BATCH, MAX_CALL_EVENTS, MAX_CALL_SEGMENTS};
pub use tracks::MAX_TRACK_SAMPLES;
