//! Voice biomarkers: turns audio samples into acoustic measures that agree with Praat.
//! It never reads files, clocks or networks, never logs, and never guesses an undefined value.

pub mod activity;
pub mod g711;
pub mod harmonicity;
pub mod intensity;
mod interpolate;
mod math;
pub mod pauses;
pub mod perturbation;
pub mod pitch;
pub mod pulses;
pub mod resample;
pub mod sound;
mod stats;
pub mod units;
pub mod wav;

pub use activity::{Activity, ActivityDetector};
pub use resample::{ResampleError, Resampler};
pub use units::{Db, Hz, SampleRate, Seconds};
pub use wav::{Wav, WavError};
