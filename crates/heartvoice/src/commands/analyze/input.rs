//! Audio files for the analysis.

use std::path::{Path, PathBuf};
use voice::{SampleRate, Wav, g711};

/// Largest file that is read: an hour of studio audio. Samples take up to eight times its size in memory.
const MAX_BYTES: u64 = 1 << 30;

/// The files, with the audio files of a folder in place of the folder.
pub(super) fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let fail = |error| format!("{}: cannot be read: {error}", path.display());
        let entries = std::fs::read_dir(path).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let mut found: Vec<PathBuf> =
            entries.into_iter().map(|entry| entry.path()).filter(|path| is_audio(path)).collect();
        if found.is_empty() {
            return Err(format!("{}: no .wav or .ulaw files in this folder", path.display()));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn is_audio(path: &Path) -> bool {
    path.is_file() && (has_extension(path, "wav") || has_extension(path, "ulaw"))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// The samples of a file, -1..1, and their rate.
pub(super) fn read(path: &Path) -> Result<(Vec<f64>, SampleRate), String> {
    let fail = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if metadata.len() > MAX_BYTES {
        return Err("the file is larger than 1 GiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    if has_extension(path, "ulaw") && !bytes.starts_with(b"RIFF") {
        if bytes.is_empty() {
            return Err("the file holds no audio".to_owned());
        }
        let mut samples = Vec::with_capacity(bytes.len());
        g711::ulaw_decode_slice(&bytes, &mut samples);
        return Ok((samples, SampleRate::TELEPHONE));
    }
    let wav = Wav::parse(&bytes).map_err(|error| error.to_string())?;
    Ok((wav.samples, wav.sample_rate))
}
