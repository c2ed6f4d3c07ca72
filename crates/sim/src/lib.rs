//! The world outside HeartVoice Monitor, simulated: Twilio, the ElevenLabs agents service, patients who telephone, and
//! the identity provider of a clinic.
//!
//! Nothing here imports the server, and nothing needs an account or the internet. Content is a function of a seed; all
//! decisions (conversation, playback clock, checker, TwiML) are plain structs that are handed the time, with thin tokio
//! shells around them. Start with [`elevenlabs::ElevenLabsSim`] and [`twilio::Caller`].

pub mod assets;
pub mod chaos;
pub mod elevenlabs;
mod error;
pub mod fast;
pub mod oidc;
pub mod patient;
pub mod realtime;
pub mod rng;
mod socket;
pub mod sound;
pub mod twilio;

pub use error::SimError;
