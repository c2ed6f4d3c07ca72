//! Audio files of every kind, right and wrong.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use voice::SampleRate;
use voice::synth::{CountingSpec, VoiceSpec, counting, sustained_vowel};

pub(crate) const PCM: u16 = 1;
pub(crate) const FLOAT: u16 = 3;
pub(crate) const ALAW: u16 = 6;
pub(crate) const ULAW: u16 = 7;

/// A held vowel of a man on a quiet line.
pub(crate) fn vowel(rate: u32, seconds: f64, seed: u64) -> Vec<f64> {
    let rate = SampleRate::new(rate).unwrap();
    sustained_vowel(&VoiceSpec { seed, ..VoiceSpec::default() }, seconds, rate).samples
}

/// A count from 1 on.
pub(crate) fn count(rate: u32, numbers: usize) -> Vec<f64> {
    let spec = CountingSpec { numbers, ..CountingSpec::default() };
    counting(&VoiceSpec::default(), &spec, SampleRate::new(rate).unwrap()).samples
}

pub(crate) fn pcm16(samples: &[f64]) -> Vec<i16> {
    samples.iter().map(|sample| (sample * 32_767.0).round() as i16).collect()
}

pub(crate) fn write_wav(path: &Path, rate: u32, samples: &[f64]) {
    std::fs::write(path, voice::wav::write_pcm16(&pcm16(samples), rate)).unwrap();
}

/// The header of a WAV file up to its audio, of which there are `data_bytes`.
pub(crate) fn header(tag: u16, bits: u16, channels: u16, rate: u32, data_bytes: u32) -> Vec<u8> {
    let align = bits / 8 * channels;
    let mut out = b"RIFF".to_vec();
    out.extend(data_bytes.saturating_add(36).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0");
    out.extend(tag.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend(rate.wrapping_mul(u32::from(align)).to_le_bytes());
    out.extend(align.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(data_bytes.to_le_bytes());
    out
}

/// A mono WAV file of any coding.
pub(crate) fn coded(tag: u16, bits: u16, rate: u32, samples: &[f64]) -> Vec<u8> {
    let mut data = Vec::new();
    for sample in samples {
        let pcm = (sample * 32_767.0).round() as i16;
        match (tag, bits) {
            (PCM, 8) => data.push(((sample * 127.0).round() + 128.0) as u8),
            (PCM, 16) => data.extend(pcm.to_le_bytes()),
            (PCM, 24) => data.extend(&((sample * 8_388_607.0).round() as i32).to_le_bytes()[..3]),
            (PCM, 32) => data.extend(((sample * 2_147_483_647.0).round() as i32).to_le_bytes()),
            (FLOAT, 32) => data.extend((*sample as f32).to_le_bytes()),
            (FLOAT, 64) => data.extend(sample.to_le_bytes()),
            (ALAW, 8) => data.push(voice::g711::alaw_encode(pcm)),
            (ULAW, 8) => data.push(voice::g711::ulaw_encode(pcm)),
            other => panic!("{other:?}"),
        }
    }
    [header(tag, bits, 1, rate, data.len() as u32), data].concat()
}

/// The same audio under the newer header that names its format by a GUID.
pub(crate) fn extensible(rate: u32, samples: &[f64]) -> Vec<u8> {
    let mut out = header(0xFFFE, 16, 1, rate, 0);
    out.truncate(36);
    out[16..20].copy_from_slice(&40_u32.to_le_bytes());
    out.extend([22, 0, 16, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
    let data: Vec<u8> = pcm16(samples).into_iter().flat_map(i16::to_le_bytes).collect();
    out.extend(b"data");
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}

/// A stereo file with different sides.
pub(crate) fn stereo(rate: u32, left: &[f64], right: &[f64]) -> Vec<u8> {
    let data: Vec<u8> = pcm16(left)
        .into_iter()
        .zip(pcm16(right))
        .flat_map(|(l, r)| [l.to_le_bytes(), r.to_le_bytes()].concat())
        .collect();
    [header(PCM, 16, 2, rate, data.len() as u32), data].concat()
}

/// A file of so many hours of silence that takes no room on the disk, with a voice at one place in it.
pub(crate) fn long_file(path: &Path, rate: u32, hours: u64, at_s: u64, samples: &[f64]) {
    use std::os::unix::fs::FileExt;
    let bytes = hours * 3_600 * u64::from(rate) * 2;
    let mut file = File::create(path).unwrap();
    let header = header(PCM, 16, 1, rate, u32::try_from(bytes).unwrap_or(u32::MAX));
    file.write_all(&header).unwrap();
    file.set_len(header.len() as u64 + bytes).unwrap();
    let audio: Vec<u8> = pcm16(samples).into_iter().flat_map(i16::to_le_bytes).collect();
    file.write_all_at(&audio, header.len() as u64 + at_s * u64::from(rate) * 2).unwrap();
}
