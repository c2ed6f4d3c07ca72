//! Sound as the simulators need it: hearing speech, recognising clips, and making voices.

mod activity;
mod recognise;
pub mod synth;

pub use activity::Activity;
pub use recognise::recognise;
