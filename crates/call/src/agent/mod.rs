//! The voice agent that talks to the patient.

pub mod close;
pub mod elevenlabs;
pub mod format;
