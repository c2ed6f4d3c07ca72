//! The fuzz targets: each reads any bytes as an input of one part of the crate and checks what must hold for all of them.
//!
//! They are used twice: by the bounded test beside this file, which needs nothing but stable Rust, and by the programs
//! of `fuzz/` at the top of the repository for long runs with libFuzzer. A target panics when something does not hold,
//! and returns a [`Trace`] of what the input reached, so that a fuzzer without coverage can tell a new kind of input
//! from one more of the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use voice::analyzer::{MAX_SEGMENT_SECONDS, MIN_SPAN_S};
use voice::wav::{self, WavLayout, WavScanner};
use voice::{
    ActivityDetector, AnalyzeError, AnalyzeOptions, Analyzer, AnalyzerConfig, Channel, Report, Resampler, SampleRate,
    Task, Wav, WavError, analyze, g711,
};

/// What an input reached, as a number that differs for different behaviour.
pub(crate) type Trace = u64;

/// A target by its name.
pub(crate) type Target = (&'static str, fn(&[u8]) -> Trace);

/// All targets.
pub(crate) const ALL: [Target; 4] =
    [("wav", wav_file), ("analyzer", live_segment), ("analyze", whole_audio), ("stream", call_audio)];

/// Takes values off the front of the input; 0 where it has ended.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let (head, rest) = self.0.split_at(self.0.len().min(N));
        out[..head.len()].copy_from_slice(head);
        self.0 = rest;
        out
    }

    fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(self.0.len().min(count));
        self.0 = rest;
        head
    }
}

fn trace(of: impl Hash) -> Trace {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

const TASKS: [Task; 4] = [Task::Speech, Task::Counting, Task::SustainedVowel, Task::Auto];
const CHANNELS: [Channel; 3] = [Channel::Wideband, Channel::Telephone, Channel::Auto];

// ---------------------------------------------------------------------------------------------
// WAV files

/// A WAV file, read at once and in parts; both must give the same.
pub(crate) fn wav_file(data: &[u8]) -> Trace {
    let at_once = Wav::parse(data);
    let scanned = scan(data, data.len() as u64);
    let in_parts = scanned.clone().and_then(|layout| decode_in_parts(data, &layout));
    match (&at_once, &in_parts) {
        (Ok(wav), Ok(samples)) => {
            assert!(wav.samples.len() <= data.len(), "more samples than bytes");
            assert!(wav.samples.capacity() <= data.len() + 64, "memory beyond the input");
            assert!(!wav.samples.is_empty() && wav.channels > 0);
            assert!(wav.samples.iter().all(|s| s.is_finite()));
            let same = wav.samples.iter().zip(samples).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same && wav.samples.len() == samples.len(), "read in parts it is another sound");
            written_again(wav);
        }
        (Err(a), Err(b)) => {
            assert_eq!(a, b, "read in parts it fails in another way");
            assert!(!a.to_string().is_empty());
        }
        _ => panic!("only one of two ways to read it succeeds: {:?} {:?}", at_once.err(), in_parts.err()),
    }
    // A file that became shorter after its length was asked for.
    let lost = data.first().map_or(0, |b| usize::from(*b) % 64);
    let _ = scan(&data[..data.len().saturating_sub(lost)], data.len() as u64);
    let _ = scan(data, u64::MAX);

    let kind = match &at_once {
        Ok(wav) => (0, trace((wav.channels.min(3), wav.sample_rate.get().ilog2()))),
        Err(WavError::Truncated(place)) => (1, trace(place)),
        Err(other) => (2, trace(std::mem::discriminant(other))),
    };
    let layout = scanned.ok().map(|l| (l.stride().min(9), l.missing_samples() > 0, l.samples().ilog2()));
    trace((kind, layout))
}

fn scan(data: &[u8], file_bytes: u64) -> Result<WavLayout, WavError> {
    let mut scanner = WavScanner::new(file_bytes);
    // The reader gives up after 10000 chunks; each costs at most two reads.
    for _ in 0..20_010 {
        let (at, count) = scanner.wants();
        assert!(count <= 64 && at <= file_bytes, "wants {count} bytes at {at}");
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(data.len());
        let to = from.saturating_add(count).min(data.len());
        if let Some(layout) = scanner.take(&data[from..to])? {
            return Ok(layout);
        }
    }
    panic!("the headers never end");
}

fn decode_in_parts(data: &[u8], layout: &WavLayout) -> Result<Vec<f64>, WavError> {
    let step = 1 + data.iter().fold(0_u64, |sum, b| sum + u64::from(*b)) % 97;
    let mut samples = Vec::new();
    let mut at = 0;
    while at < layout.samples() {
        let (from, to) = layout.bytes_of(at, at + step);
        assert!(from < to && to <= data.len() as u64, "part of {from} to {to}");
        layout.decode(&data[from as usize..to as usize], at, &mut samples)?;
        at += step;
    }
    assert_eq!(samples.len() as u64, layout.samples());
    assert_eq!(layout.bytes_of(layout.samples(), u64::MAX).0, layout.bytes_of(u64::MAX, u64::MAX).1);
    Ok(samples)
}

/// What the crate writes it reads.
fn written_again(wav: &Wav) {
    let head = &wav.samples[..wav.samples.len().min(200)];
    let pcm: Vec<i16> = head.iter().map(|s| (s * 32_768.0) as i16).collect();
    let back = Wav::parse(&wav::write_pcm16(&pcm, wav.sample_rate.get())).expect("own WAV file is refused");
    assert!(back.samples.iter().zip(&pcm).all(|(a, b)| *a == f64::from(*b) / 32_768.0));
    let codes: Vec<u8> = pcm.iter().map(|&s| g711::ulaw_encode(s)).collect();
    let back = Wav::parse(&wav::write_ulaw(&codes, wav.sample_rate.get())).expect("own mu-law file is refused");
    assert_eq!(back.samples.len(), codes.len());
}

// ---------------------------------------------------------------------------------------------
// Segments of a call

/// Longest segment that is built, so that one input stays quick: enough for two pieces.
const LONGEST_SEGMENT: usize = 45 * 8_000;

/// A segment of a call: a little program of pushes and gaps. However it arrives, the report is that of the whole.
pub(crate) fn live_segment(data: &[u8]) -> Trace {
    let mut bytes = Bytes(data);
    let choice = bytes.byte();
    let task = TASKS[usize::from(choice & 3)];
    let channel = CHANNELS[usize::from(choice >> 2) % 3];
    let mut analyzer = Analyzer::new(AnalyzerConfig { task, channel });
    let mut codes: Vec<u8> = Vec::new();
    let mut gaps = false;
    for _ in 0..64 {
        if bytes.0.is_empty() {
            break;
        }
        let op = bytes.byte();
        // A length in samples: mostly up to two seconds, sometimes half a minute.
        let length = usize::from(bytes.u16());
        let length = if op & 0x80 != 0 { 4 * length } else { length / 4 };
        let length = length.min(LONGEST_SEGMENT.saturating_sub(codes.len()));
        match op & 7 {
            0 => {
                analyzer.push_gap(length);
                codes.resize(codes.len() + length, g711::ULAW_SILENCE);
                gaps |= length > 0;
            }
            1 => {
                let raw = bytes.take(length);
                analyzer.push_ulaw(raw);
                codes.extend_from_slice(raw);
            }
            kind => {
                let made = signal(kind, &mut bytes, length);
                let made: Vec<u8> = made.into_iter().map(|s| g711::ulaw_encode((s * 32_767.0) as i16)).collect();
                let step = 1 + usize::from(op & 0x78) * 7;
                for part in made.chunks(step) {
                    analyzer.push_ulaw(part);
                }
                codes.extend_from_slice(&made);
            }
        }
    }
    assert!((analyzer.duration_s() - codes.len() as f64 / 8_000.0).abs() < 1e-9);
    assert!(analyzer.duration_s() <= MAX_SEGMENT_SECONDS as f64);
    let outcome = analyzer.finish();
    if !gaps {
        let mut samples = Vec::new();
        g711::ulaw_decode_slice(&codes, &mut samples);
        let options = AnalyzeOptions { task, channel, ..AnalyzeOptions::default() };
        same(&outcome, &analyze(&samples, SampleRate::TELEPHONE, &options), "pushed it is another report");
    }
    reached(&outcome)
}

// ---------------------------------------------------------------------------------------------
// Whole recordings

/// Any samples at any rate with any options.
pub(crate) fn whole_audio(data: &[u8]) -> Trace {
    let mut bytes = Bytes(data);
    let choice = bytes.byte();
    let form = bytes.byte();
    let rate = match bytes.byte() {
        k @ 0..8 => [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 4_000, 384_000][usize::from(k)],
        k => SampleRate::MIN + u32::from(bytes.u16()) % 60_000 + u32::from(k) % 3,
    };
    let options = AnalyzeOptions {
        task: TASKS[usize::from(choice & 3)],
        channel: CHANNELS[usize::from(choice >> 2 & 3) % 3],
        whole: choice & 0x10 != 0,
        start_s: (choice & 0x20 != 0).then(|| odd_time(&mut bytes)),
        end_s: (choice & 0x40 != 0).then(|| odd_time(&mut bytes)),
    };
    let rate = SampleRate::new(rate).expect("a rate out of range");
    let samples: Vec<f64> = match form & 7 {
        0 => bytes.0.chunks_exact(8).map(|b| Bytes(b).array()).map(f64::from_le_bytes).collect(),
        1 => bytes.0.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(Bytes(b).array()))).collect(),
        2 => bytes.0.chunks_exact(2).map(|b| f64::from(i16::from_le_bytes(Bytes(b).array())) / 32_768.0).collect(),
        3 => bytes.0.iter().map(|b| (f64::from(*b) - 128.0) / 128.0).collect(),
        kind => {
            // Enough for the shortest span at the highest rate.
            let longest = if rate.get() > 70_000 { 50_000 } else { 16_000 };
            let length = usize::from(bytes.u16()).min(longest);
            let factor = 10_f64.powi(i32::from(bytes.byte() % 24) - 14);
            let mut made: Vec<f64> = signal(kind, &mut bytes, length).into_iter().map(|s| s * factor).collect();
            // What is left of the input disturbs it.
            for part in bytes.0.chunks_exact(4) {
                let place = usize::from(u16::from_le_bytes([part[0], part[1]]));
                if let Some(sample) = made.get_mut(place) {
                    *sample = f64::from(i16::from_le_bytes([part[2], part[3]])) / 32_768.0 * factor;
                }
            }
            made
        }
    };
    let outcome = analyze(&samples, rate, &options);
    // Now and then, to leave time for more inputs.
    if trace(data).is_multiple_of(4) {
        same(&outcome, &analyze(&samples, rate, &options), "the second time it is another report");
    }
    reached(&outcome)
}

/// A time that may be anything, mostly something sensible.
fn odd_time(bytes: &mut Bytes<'_>) -> f64 {
    match bytes.byte() {
        0 => f64::from_le_bytes(bytes.array()),
        k => f64::from(bytes.u16()) / f64::from(k) / 100.0,
    }
}

/// A made signal on the scale -1..1; its shape is read from the input.
fn signal(kind: u8, bytes: &mut Bytes<'_>, length: usize) -> Vec<f64> {
    let period = 2.0 + f64::from(bytes.u16() % 4096) / 8.0;
    let height = f64::from(bytes.byte()) / 255.0;
    let drift = f64::from(bytes.byte()) / 64.0 - 2.0;
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ u64::from(bytes.byte());
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..length)
        .map(|n| {
            let at = n as f64 / length.max(1) as f64;
            let phase = (n as f64 / period * (1.0 + 0.2 * drift * at)).fract();
            height
                * match kind {
                    2 => (1.0 - 2.0 * phase).powi(3),
                    3 => noise(),
                    4 => (std::f64::consts::TAU * phase).sin(),
                    // A voice of sorts: decaying rings once a period, stopping and starting.
                    5 if (at * 8.0 * drift.abs()).fract() < 0.7 => {
                        (-5.0 * phase).exp() * (std::f64::consts::TAU * 6.0 * phase).sin() + 0.02 * noise()
                    }
                    6 => f64::from(u8::from(phase < 0.5)) * 2.0 - 1.0,
                    7 => f64::from(u8::from(phase * period < 1.0)),
                    _ => 0.0,
                }
        })
        .collect()
}

/// The two are equal in every bit; an error may carry the NaN it complains about.
fn same(a: &Result<Report, AnalyzeError>, b: &Result<Report, AnalyzeError>, otherwise: &str) {
    let (a, b) = (format!("{a:?}"), format!("{b:?}"));
    assert!(a == b, "{otherwise}:\n{a}\n{b}");
}

/// Checks the outcome of an analysis and names what it reached.
fn reached(outcome: &Result<Report, AnalyzeError>) -> Trace {
    match outcome {
        Ok(report) => {
            check(report);
            let defined: Vec<bool> = report.measures.entries().iter().map(|(_, value)| value.is_some()).collect();
            let codes: Vec<&str> =
                report.quality.reasons.iter().filter_map(|reason| reason.split(':').next()).collect();
            let marks: Vec<&str> = report.validity.values().map(String::as_str).collect();
            trace((defined, codes, marks.len() / 4, report.task.as_str(), report.pauses.len().min(4)))
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            trace(std::mem::discriminant(error))
        }
    }
}

/// What every report keeps to.
fn check(report: &Report) {
    let measures = &report.measures;
    for (name, value) in measures.entries() {
        let Some(value) = value else { continue };
        assert!(value.is_finite(), "{name} is {value}");
        let lowest_is_0 =
            ["_percent", "_hz", "_s", "fraction", "voice_breaks", "syllables", "count", "semitones", "minute"]
                .iter()
                .any(|end| name.ends_with(end));
        assert!(!lowest_is_0 || value >= 0.0, "{name} is {value}");
        let top = match name {
            "voiced_fraction" | "pause_fraction" => 1.0,
            "voice_quality" | "breathiness" | "degree_of_voice_breaks_percent" => 100.0,
            _ => f64::INFINITY,
        };
        assert!(value <= top + 1e-9, "{name} is {value}");
    }
    if let (Some(low), Some(middle), Some(high)) = (measures.f0_min_hz, measures.f0_median_hz, measures.f0_max_hz) {
        assert!(low <= middle && middle <= high, "f0 {low} {middle} {high}");
    }
    let span_end = report.start_s + report.duration_s;
    assert!(report.start_s >= 0.0 && report.duration_s >= MIN_SPAN_S - 1e-9 && span_end.is_finite());
    let quality = &report.quality;
    assert!(quality.snr_db.is_none_or(f64::is_finite));
    assert!((0.0..=1.0).contains(&quality.clipped_fraction));
    assert!((0.0..=report.duration_s + 0.05).contains(&quality.voiced_s), "voiced {}", quality.voiced_s);
    assert!(quality.usable || !quality.reasons.is_empty(), "not usable without a reason");
    let mut last = report.start_s;
    for pause in &report.pauses {
        assert!(pause.start_s >= last - 1e-9 && pause.duration_s > 0.0, "{:?}", report.pauses);
        last = pause.start_s + pause.duration_s;
    }
    assert!(last <= span_end + 1e-9, "a pause after the end");
    if let Some(window) = report.window {
        assert!(window.start_s >= report.start_s - 1e-9 && window.end_s <= span_end + 1e-9, "{window:?}");
        assert!(window.start_s < window.end_s, "{window:?}");
    }
    for name in report.validity.keys() {
        let known = measures.entries().iter().any(|(n, v)| n == name && v.is_some());
        assert!(known, "{name} is marked but was not measured");
    }
    let text = serde_json::to_string(report).expect("a report cannot be written");
    assert!(serde_json::from_str::<Report>(&text).is_ok(), "a written report cannot be read: {text}");
    // The text may round the last digit; the values themselves may not change.
    let json = serde_json::to_value(report).expect("a report cannot be written");
    let back: Report = serde_json::from_value(json).expect("a written report cannot be read");
    assert_eq!(&back, report, "a written report reads back as another");
}

// ---------------------------------------------------------------------------------------------
// Audio on its way through a call

/// The resampler with any rates and pieces, the speech detector with any frames, and every code of G.711.
pub(crate) fn call_audio(data: &[u8]) -> Trace {
    let mut bytes = Bytes(data);
    let rates = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 0, 7_999, u32::MAX, u32::from(bytes.u16())];
    let from = rates[usize::from(bytes.byte()) % rates.len()];
    let to = rates[usize::from(bytes.byte()) % rates.len()];
    let step = 1 + usize::from(bytes.byte());
    let codes = bytes.0;

    let mut detector = ActivityDetector::new();
    let speech = codes.chunks(step).filter(|frame| detector.push_ulaw(frame).speech).count();
    assert!(!detector.noise_floor_dbfs().is_nan());

    for &code in codes.iter().take(256) {
        assert_eq!(g711::ulaw_decode(g711::ulaw_encode(g711::ulaw_decode(code))), g711::ulaw_decode(code));
        assert_eq!(g711::alaw_decode(g711::alaw_encode(g711::alaw_decode(code))), g711::alaw_decode(code));
    }

    let Ok(mut resampler) = Resampler::new(from, to) else {
        return trace((0, speech.min(3)));
    };
    let pcm: Vec<i16> = codes.iter().map(|&code| g711::ulaw_decode(code)).collect();
    let mut at_once = Vec::new();
    resampler.process(&pcm, &mut at_once);
    resampler.flush(&mut at_once);
    resampler.reset();
    let mut in_parts = Vec::new();
    for part in pcm.chunks(step) {
        resampler.process(part, &mut in_parts);
    }
    resampler.flush(&mut in_parts);
    assert_eq!(at_once, in_parts, "in parts it is another sound");
    let (from, to) = (u64::from(from), u64::from(to));
    assert_eq!(at_once.len() as u64, (pcm.len() as u64 * to + from / 2) / from, "not the promised length");
    trace((1, from, to, speech.min(3), at_once.len().checked_ilog2()))
}
