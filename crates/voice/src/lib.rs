//! Voice biomarkers: turns audio samples into acoustic measures that agree with Praat.
//! It never touches files, clocks or networks, never logs, never panics on input, and never
//! replaces an undefined value by a guess.
//! Read [`Report`] first for what comes out, then [`Analyzer`] (or [`analyze`]) for how to get it.

pub mod activity;
pub mod analyzer;
pub mod cepstrum;
mod composite;
pub mod details;
pub mod formant;
pub mod g711;
pub mod harmonicity;
pub mod intensity;
mod interpolate;
mod math;
mod measure;
pub mod nuclei;
pub mod pauses;
pub mod perturbation;
mod pieces;
pub mod pitch;
mod plans;
pub mod pulses;
pub mod quality;
pub mod report;
pub mod resample;
pub mod resampling;
pub mod silences;
pub mod sound;
pub mod spectrum;
mod stats;
pub mod syllables;
pub mod synth;
pub mod task;
pub mod units;
pub mod voice_breaks;
pub mod vowel;
pub mod wav;

pub use activity::{Activity, ActivityDetector};
pub use analyzer::{AnalyzeError, AnalyzeOptions, Analyzer, AnalyzerConfig, analyze};
pub use report::{Channel, Measures, Pause, Quality, Report, Task, Window};
pub use resample::{ResampleError, Resampler};
pub use sound::Sound;
pub use units::{Db, Hz, SampleRate, Seconds};
pub use wav::{Wav, WavError};
