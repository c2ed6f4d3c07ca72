//! Audio files for the analysis: which ones, and the part of each that is wanted.
//!
//! A file is opened by its headers alone; then only the wanted part is read and decoded, so a minute out of a day-long
//! recording costs what a minute costs, and a file that cannot be analysed is refused before it takes memory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use voice::analyzer::{MAX_SPAN_S, MAX_SPAN_SAMPLES};
use voice::wav::{WavLayout, WavScanner};
use voice::{SampleRate, WavError, g711};

/// Bytes that are read and decoded at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// Most folders below a folder that is given. More are a mistake, such as a whole disk.
const MAX_FOLDERS: usize = 100_000;

/// Something to measure, or a folder in which there is nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    /// Why it cannot even be tried.
    pub(super) problem: Option<String>,
}

impl Item {
    fn file(path: PathBuf) -> Self {
        Self { path, problem: None }
    }
}

/// The files in the order in which they were given, with the audio files of a folder, sorted, in place of the folder.
pub(super) fn expand(paths: &[PathBuf]) -> Vec<Item> {
    let mut items = Vec::new();
    for path in paths {
        if path.is_dir() {
            items.extend(folder(path));
        } else {
            items.push(Item::file(path.clone()));
        }
    }
    items
}

/// The audio files below a folder. Hidden files and links to folders are left out: the former are not recordings, the
/// latter may lead around in circles.
fn folder(top: &Path) -> Vec<Item> {
    let mut files = BTreeSet::new();
    let mut problems = Vec::new();
    let mut folders = vec![top.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        seen += 1;
        if seen > MAX_FOLDERS {
            let problem = Some(format!("more than {MAX_FOLDERS} folders are in this folder: name the right ones"));
            return vec![Item { path: top.to_owned(), problem }];
        }
        match entries(&folder) {
            Ok(entries) => {
                for entry in entries {
                    if entry.file_name().to_string_lossy().starts_with('.') {
                        continue;
                    }
                    let path = entry.path();
                    match entry.file_type() {
                        Ok(kind) if kind.is_dir() => folders.push(path),
                        _ if is_audio(&path) => {
                            files.insert(path);
                        }
                        _ => {}
                    }
                }
            }
            Err(error) => problems.push(Item { path: folder, problem: Some(unreadable(&error)) }),
        }
    }
    if files.is_empty() && problems.is_empty() {
        let problem = Some("no .wav or .ulaw files are in this folder".to_owned());
        return vec![Item { path: top.to_owned(), problem }];
    }
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    files.into_iter().map(Item::file).chain(problems).collect()
}

fn entries(folder: &Path) -> std::io::Result<Vec<std::fs::DirEntry>> {
    std::fs::read_dir(folder)?.collect()
}

fn is_audio(path: &Path) -> bool {
    (has_extension(path, "wav") || has_extension(path, "ulaw")) && !path.is_dir()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// An audio file whose headers were read.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    layout: Layout,
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Wav(WavLayout),
    /// Headerless mu-law at 8 kHz: so many bytes, which are samples.
    Ulaw(u64),
}

impl Source {
    /// Opens a file and finds its audio.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            // Reading from a pipe could wait for ever, and a device may have no end.
            return Err("this is a pipe or a device: save the audio in a file first".to_owned());
        }
        let length = metadata.len();
        if length == 0 {
            return Err("the file is empty".to_owned());
        }
        let mut file = File::open(path).map_err(|error| unreadable(&error))?;
        let mut scanner = WavScanner::new(length);
        let mut bytes = Vec::new();
        loop {
            let (at, count) = scanner.wants();
            read_at(&mut file, at, count, &mut bytes)?;
            match scanner.take(&bytes) {
                Ok(None) => {}
                Ok(Some(layout)) => return Ok(Self { file, layout: Layout::Wav(layout) }),
                Err(WavError::NotWav) if has_extension(path, "ulaw") => {
                    return Ok(Self { file, layout: Layout::Ulaw(length) });
                }
                Err(error @ WavError::NotWav) => return Err(format!("{error}; convert it to WAV first")),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Samples per second.
    pub(super) fn rate(&self) -> SampleRate {
        match &self.layout {
            Layout::Wav(layout) => layout.sample_rate(),
            Layout::Ulaw(_) => SampleRate::TELEPHONE,
        }
    }

    fn samples(&self) -> u64 {
        match &self.layout {
            Layout::Wav(layout) => layout.samples(),
            Layout::Ulaw(bytes) => *bytes,
        }
    }

    /// What somebody who reads the result should know about the file.
    pub(super) fn notes(&self) -> Vec<String> {
        let Layout::Wav(layout) = &self.layout else { return Vec::new() };
        let mut notes = Vec::new();
        if layout.channels() > 1 {
            notes.push(format!("the file has {} channels; the first was analysed", layout.channels()));
        }
        if layout.missing_samples() > 0 {
            let seconds = |samples: u64| samples as f64 / layout.sample_rate().hz();
            notes.push(format!(
                "the file is cut off: its header promises {:.2} s of audio, {:.2} s are there",
                seconds(layout.samples().saturating_add(layout.missing_samples())),
                seconds(layout.samples())
            ));
        }
        notes
    }

    /// First sample and one past the last sample of the span between two times.
    pub(super) fn span(&self, start_s: Option<f64>, end_s: Option<f64>) -> Result<(u64, u64), String> {
        let rate = self.rate().hz();
        let duration_s = self.samples() as f64 / rate;
        let start_s = start_s.unwrap_or(0.0);
        if start_s >= duration_s {
            return Err(format!("--start {start_s}: the file ends at {duration_s:.3} s"));
        }
        let index = |time: f64| ((time * rate).round() as u64).min(self.samples());
        let (from, to) = (index(start_s), index(end_s.unwrap_or(duration_s).min(duration_s)));
        let count = to.saturating_sub(from);
        if count as f64 / rate > MAX_SPAN_S || count > MAX_SPAN_SAMPLES as u64 {
            let most_s = MAX_SPAN_S.min(MAX_SPAN_SAMPLES as f64 / rate);
            return Err(format!(
                "{:.1} minutes of audio are too long to analyse at once: choose at most {:.0} with --start and --end",
                count as f64 / rate / 60.0,
                (most_s / 60.0).floor()
            ));
        }
        Ok((from, to))
    }

    /// Reads and decodes the samples `from..to`, -1..1.
    pub(super) fn read(&mut self, from: u64, to: u64) -> Result<Vec<f64>, String> {
        let mut samples = Vec::with_capacity(usize::try_from(to.saturating_sub(from)).unwrap_or(0));
        let stride = match &self.layout {
            Layout::Wav(layout) => layout.stride(),
            Layout::Ulaw(_) => 1,
        };
        let step = (BLOCK_BYTES / stride).max(1) as u64;
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let end = to.min(at + step);
            match &self.layout {
                Layout::Wav(layout) => {
                    let (first, last) = layout.bytes_of(at, end);
                    read_at(&mut self.file, first, (last - first) as usize, &mut bytes)?;
                    layout.decode(&bytes, at, &mut samples).map_err(|error| error.to_string())?;
                }
                Layout::Ulaw(_) => {
                    read_at(&mut self.file, at, (end - at) as usize, &mut bytes)?;
                    g711::ulaw_decode_slice(&bytes, &mut samples);
                }
            }
            at = end;
        }
        Ok(samples)
    }
}

/// Reads so many bytes at a place of the file, all of which its length promises.
fn read_at(file: &mut File, at: u64, count: usize, bytes: &mut Vec<u8>) -> Result<(), String> {
    bytes.clear();
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.take(count as u64).read_to_end(bytes));
    match read {
        Ok(length) if length == count => Ok(()),
        Ok(_) => Err("cannot be read: the file became shorter while it was read".to_owned()),
        Err(error) => Err(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folders_are_walked_in_order_without_hidden_files_and_circles() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["b/2.wav", "b/1.ULAW", "b/sub/deep/x.wav", "a.wav", "notes.txt", ".hidden.wav", ".git/y.wav"] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), at("b/again")).unwrap();
        std::fs::create_dir(at("empty.wav")).unwrap();
        let found: Vec<_> =
            expand(&[at("b"), at("a.wav"), dir.path().to_owned()]).into_iter().map(|i| i.path).collect();
        let expected = ["b/1.ULAW", "b/2.wav", "b/sub/deep/x.wav"];
        let expected = expected.iter().chain(&["a.wav", "a.wav"]).chain(&expected).map(|name| at(name));
        assert_eq!(found, expected.collect::<Vec<_>>());
        let empty = expand(&[at("empty.wav")]);
        assert!(matches!(empty.as_slice(), [Item { problem: Some(problem), .. }] if problem.contains("no .wav")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Reading a part gives the very samples and the very report that reading everything gives.
        #[test]
        fn a_part_is_the_same_as_that_part_of_the_whole(
            seed in any::<u32>(),
            start_s in 0.0..1.5_f64,
            length_s in 0.12..1.5_f64,
            open_end in any::<bool>(),
        ) {
            let mut state = seed;
            let noise = (0..24_000).map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((f64::from(n) * 0.11).sin() * 9_000.0) as i16 + (state >> 22) as i16
            });
            let bytes = voice::wav::write_pcm16(&noise.collect::<Vec<_>>(), 8_000);
            let whole = voice::Wav::parse(&bytes).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.wav");
            std::fs::write(&path, &bytes).unwrap();
            let end_s = (!open_end).then_some(start_s + length_s);
            let request = super::super::measure::Request {
                options: voice::AnalyzeOptions::default(),
                start_s: Some(start_s),
                end_s,
                words: 0,
                details: false,
                figures: None,
            };
            let outcome = request.fulfil(0, &Item::file(path), &super::super::pool::Room::new());
            let options = voice::AnalyzeOptions { start_s: Some(start_s), end_s, ..Default::default() };
            let expected = voice::analyze(&whole.samples, whole.sample_rate, &options).unwrap();
            let text = |report: &voice::Report| serde_json::to_string(report).unwrap();
            prop_assert_eq!(text(&outcome.result.unwrap()), text(&expected));
        }
    }
}
