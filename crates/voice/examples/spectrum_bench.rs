//! Processor time of formants, spectral slopes, H1-H2, silences and syllable nuclei per second of
//! audio, one thread.
//!
//! `cargo run --release -p voice --example spectrum_bench [FILE.wav]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::Instant;

use voice::formant::{self, FormantSettings};
use voice::pitch::{self, PitchMethod, PitchSettings};
use voice::spectrum::{self, Spectrum};
use voice::synth::{self, TalkSpec, VoiceSpec};
use voice::{SampleRate, Sound, Wav, pulses, resampling, silences, syllables, voice_breaks};

/// Time this thread has computed so far, in seconds; Linux leaves out the time others held the
/// processor, elsewhere the clock has to do.
fn processor_time(start: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// Mean over warm runs that take at least half a second together, in milliseconds per second of
/// audio; the system counts in steps of some milliseconds.
fn time<T>(name: &str, seconds: f64, mut work: impl FnMut() -> T) {
    black_box(work());
    let clock = Instant::now();
    let start = processor_time(clock);
    let mut runs = 0;
    let mut spent = 0.0;
    while spent < 0.5 && runs < 1_000_000 {
        for _ in 0..8 {
            black_box(work());
        }
        runs += 8;
        spent = processor_time(clock) - start;
    }
    println!("{name:<38} {:>8.4} ms/s", spent * 1000.0 / (f64::from(runs) * seconds));
}

fn main() {
    let (samples, rate) = match std::env::args().nth(1) {
        Some(path) => {
            let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
            (wav.samples, wav.sample_rate)
        }
        None => {
            let rate = SampleRate::TELEPHONE;
            (synth::talk(&VoiceSpec::default(), &TalkSpec::default(), rate).samples, rate)
        }
    };
    let seconds = samples.len() as f64 / rate.hz();
    let sound = Sound::new(&samples, rate);
    let track = pitch::track(&sound, &PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0)).unwrap();
    let voiced = track.summary().voiced_fraction.unwrap_or(0.0);
    println!("{seconds:.1} s at {} Hz, {:.0} % voiced", rate.get(), 100.0 * voiced);
    let whole = Spectrum::of(&sound);
    let found = pulses::find(&sound, &track);
    time("spectrum of the whole sound", seconds, || Spectrum::of(&sound));
    time("band-pass from it", seconds, || whole.band_pass(80.0, 8000.0, 80.0));
    time("slope and tilt from it", seconds, || {
        whole.ltas().map(|l| (l.slope_tel_db(), l.tilt_tel_db(), l.slope_avqi_db(), l.tilt_avqi_db()))
    });
    time("silences from it", seconds, || silences::detect_with(&sound, &whole));
    time("h1-h2", seconds, || spectrum::h1_h2_db(&sound, &track));
    time("resampling to 7992 Hz", seconds, || resampling::resample(&sound, 7992.0));
    time("formants 4, 3996, voiced frames", seconds, || {
        formant::voiced_averages(&sound, &track, &FormantSettings::TELEPHONE)
    });
    time("formants 4, 3996, every frame", seconds, || formant::track(&sound, &FormantSettings::TELEPHONE));
    time("formants 5, 5500, voiced frames", seconds, || {
        formant::voiced_averages(&sound, &track, &FormantSettings::WIDE)
    });
    time("syllable nuclei", seconds, || syllables::nuclei(&sound));
    time("voice breaks", seconds, || voice_breaks::voice_breaks(&found, seconds, 75.0));
}
