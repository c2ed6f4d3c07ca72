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
//! | `api_tokens` | `id`, `name`, `token_hash`, `scopes`, `created_by`, times |
//! | `users` | `id`, `name`, `role`, `password` (Argon2id), `totp` (sealed), `totp_step`, `oidc_hash`, failures, times |
//! | `recovery_codes`, `invitations`, `sessions` | keyed hashes of secrets, `user_id`, times; sessions also address and stage |
//! | `unknown_names` | `name_hash`, `failures`, `locked_until_us`: attempts to sign in under names that nobody has |
//! | `care_teams` | `patient_id`, `user_id`, `since_us` |
//! | `glass_breaks` | `id`, `user_id`, `patient_id`, `code`, `reason` (sealed), times, who reviewed it |
//! | `conversations` | `conversation_hash`, `call_id` |
//! | `post_calls` | `call_id`, `conversation_hash`, `kind`, `received_at_us`, `reconciled_at_us`, `payload` (sealed) |
//! | `schedules` | `id`, `patient_id`, `definition` (sealed), `paused`, `removed`, `next_date`, `next_plan_us`, `created_at_us` |
//! | `planned_calls` | `id`, `patient_id`, `schedule_id`, `planned_for`, `opens_at_us`, `closes_at_us`, `first_due_us`, `max_attempts`, `retry_after`, `state`, `reason`, `next_at_us`, `reported_at_us`, `created_at_us` |
//! | `call_attempts` | `id`, `planned_call_id`, `patient_id`, `number`, `state`, `claimed_at_us`, `settled_at_us`, `check_at_us`, `line_free_us`, `call_sid_hash`, `call_sid` (sealed) |
//!
//! # Erasing
//!
//! Content is gone when its key is: a record without a row in `data_keys` answers [`StoreError::Sealed`].
//! [`Store::erase_patient`] destroys keys, rows and files of a patient, [`Store::run_retention`] what is past its limit;
//! both leave a signed [`Certificate`]. Backups ([`Store::create_backup`]) hold no keys.

mod access;
mod alerts;
pub mod audit;
mod backup;
mod calls;
mod certificates;
mod conversations;
mod db;
mod erasure;
mod error;
mod frames;
mod group;
mod holds;
mod ids;
mod keys;
mod kms;
mod objects;
mod patients;
mod people;
mod reach;
mod recording;
mod repeats;
mod retention;
mod root_keys;
mod rotation;
mod schedules;
mod servers;
pub mod spool;
mod store;
mod timeline;
mod tokens;
mod tracks;
mod vault;
mod visits;

pub use access::Access;
pub use alerts::{
    AlertContent, AlertFilter, AlertRecord, ClaimedDelivery, ClimbReport, DeliveryRecord, Handled, Occurrence, Outcome,
    Raised, SentBefore, ToldBefore,
};
pub use backup::{
    BackupSummary, RestorePlan, Restored, RestoredKeys, backup_wrapped_by, restore_backup, restore_keys, verify_backup,
};
pub use calls::{CallHandle, FinishCall, MAX_PAGE, NewCall};
pub use certificates::{Certificate, Destruction, DestructionKind};
pub use conversations::{NewPostCall, PostCallMessage, Saved};
pub use db::{Engine, is_private_connection};
pub use error::{Result, StoreError};
pub use frames::{Frame, MAX_FRAME_BYTES};
pub use holds::LegalHold;
pub use keys::{DataKey, MasterKey};
pub use kms::{KeyService, KeyServiceError, TransitConfig, TransitKey, VaultToken, VaultTransit};
pub use objects::{
    AudioConfig, AudioLocation, AudioPlace, AudioStore, Erased, Resumed, S3Config, S3Error, StoredAudio, UploadCounts,
};
pub use patients::{ImportSummary, MAX_IMPORT_ROWS, MAX_PATIENTS};
pub use people::{
    BrakeState, Credentials, GLASS_CODES, GLASS_LIFETIME_US, GlassBreak, INVITATION_LIFETIME_US, LiveSession,
    MAX_CARE_TEAM_PATIENTS, NewGlassBreak, NewSession, PASSWORD_STAGE_LIFETIME_US, SESSION_IDLE_US,
    SESSION_LIFETIME_US, SessionRecord, SessionStage, SignIn, UserRecord,
};
pub use reach::CareTeam;
pub use recording::{RecordingReader, RecordingWriter};
pub use repeats::{REPEATS_KEPT_US, REPEATS_LEASE_US, Repeat};
pub use retention::{MAX_RETENTION_ITEMS, RetentionPlan, RetentionRules, RetentionRun};
pub use rotation::{RootKeyRecord, Rotation, RotationStep};
pub use schedules::{
    AttemptRecord, CallBack, Claim, MAX_SCHEDULES_OF_PATIENT, OutgoingState, Planned, PlannedCall, PlannedState,
    call_back_after,
};
pub use servers::{Beat, SERVER_LEASE_US, ServerRecord};
pub use spool::{CallBackWish, LateMessage, Spool, SpoolCounts, SpoolEntry, SpoolLimits, SpoolName};
pub use store::{JoinedRecordings, Store, StoreConfig, StorePlaces};
pub use timeline::{MAX_BATCH, MAX_CALL_EVENTS, MAX_CALL_SEGMENTS};
pub use tokens::{NewToken, TokenRecord, TokenRequest};
pub use tracks::MAX_TRACK_SAMPLES;
pub use visits::{MAX_FACTS, PastVisit, StoredVisit};
