#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::layout::GUID_TAIL;
use super::*;
use proptest::prelude::*;

/// Assembles a file by hand so that every header field can be made wrong on purpose.
struct Build {
    tag: u16,
    bits: u16,
    channels: u16,
    rate: u32,
    extra: Vec<u8>,
    before: Vec<u8>,
    data: Vec<u8>,
    claimed: Option<u32>,
}

impl Build {
    fn new(tag: u16, bits: u16, data: &[u8]) -> Self {
        Self {
            tag,
            bits,
            channels: 1,
            rate: 16_000,
            extra: Vec::new(),
            before: Vec::new(),
            data: data.to_vec(),
            claimed: None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let align = self.bits / 8 * self.channels;
        let mut fmt = Vec::new();
        fmt.extend(self.tag.to_le_bytes());
        fmt.extend(self.channels.to_le_bytes());
        fmt.extend(self.rate.to_le_bytes());
        fmt.extend((self.rate.wrapping_mul(u32::from(align))).to_le_bytes());
        fmt.extend(align.to_le_bytes());
        fmt.extend(self.bits.to_le_bytes());
        fmt.extend(&self.extra);
        let mut out = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        out.extend(&self.before);
        out.extend(b"fmt ");
        out.extend((fmt.len() as u32).to_le_bytes());
        out.extend(&fmt);
        out.extend(b"data");
        out.extend(self.claimed.unwrap_or(self.data.len() as u32).to_le_bytes());
        out.extend(&self.data);
        out
    }

    fn samples(&self) -> Vec<f64> {
        Wav::parse(&self.bytes()).unwrap().samples
    }

    fn error(&self) -> WavError {
        Wav::parse(&self.bytes()).unwrap_err()
    }
}

#[test]
fn every_coding_is_scaled_to_unit_range() {
    assert_eq!(Build::new(1, 8, &[0, 128, 192]).samples(), [-1.0, 0.0, 0.5]);
    assert_eq!(Build::new(1, 16, &[0, 0x80, 0, 0x40]).samples(), [-1.0, 0.5]);
    assert_eq!(
        Build::new(1, 24, &[0, 0, 0x80, 0, 0, 0x40, 0xFF, 0xFF, 0xFF]).samples(),
        [-1.0, 0.5, -1.0 / 8_388_608.0]
    );
    assert_eq!(Build::new(1, 32, &[0, 0, 0, 0xC0]).samples(), [-0.5]);
    assert_eq!(Build::new(3, 32, &0.25_f32.to_le_bytes()).samples(), [0.25]);
    assert_eq!(Build::new(3, 64, &(-0.1_f64).to_le_bytes()).samples(), [-0.1]);
    assert_eq!(Build::new(7, 8, &[0xFF, 0x00]).samples(), [0.0, -32_124.0 / 32_768.0]);
    assert_eq!(Build::new(6, 8, &[0xAA]).samples(), [32_256.0 / 32_768.0]);
}

#[test]
fn the_first_channel_of_several_is_kept() {
    let mut build = Build::new(1, 16, &[0, 0x40, 9, 9, 0, 0xC0, 9, 9]);
    build.channels = 2;
    let wav = Wav::parse(&build.bytes()).unwrap();
    assert_eq!((wav.channels, wav.samples), (2, vec![0.5, -0.5]));
}

#[test]
fn extensible_names_its_format_in_the_guid() {
    let mut build = Build::new(0xFFFE, 16, &[0, 0x40]);
    build.extra = vec![22, 0, 16, 0, 0, 0, 0, 0, 1, 0];
    build.extra.extend(GUID_TAIL);
    assert_eq!(build.samples(), [0.5]);
    build.extra.truncate(10);
    assert_eq!(build.error(), WavError::Truncated("the format chunk"));
}

#[test]
fn odd_chunks_before_the_audio_are_padded() {
    let mut build = Build::new(1, 16, &[0, 0x40]);
    build.before = b"LIST\x03\0\0\0abc\0".to_vec();
    build.extra = vec![0, 0];
    assert_eq!(build.samples(), [0.5]);
}

#[test]
fn a_data_size_beyond_the_file_takes_what_is_there() {
    for claimed in [u32::MAX, 4_000_000_000, 5] {
        let mut build = Build::new(1, 16, &[0, 0x40, 7]);
        build.claimed = Some(claimed);
        assert_eq!(build.samples(), [0.5]);
    }
    let mut build = Build::new(1, 16, &[]);
    build.claimed = Some(u32::MAX);
    assert_eq!(build.error(), WavError::Empty);
}

#[test]
fn absurd_headers_are_refused_by_name() {
    for rate in [0, 1, 3_999, 1_000_000, u32::MAX] {
        let mut build = Build::new(1, 16, &[0, 0]);
        build.rate = rate;
        assert_eq!(build.error(), WavError::SampleRate(rate));
    }
    let mut build = Build::new(1, 16, &[0, 0]);
    build.channels = 0;
    assert_eq!(build.error(), WavError::NoChannels);
    assert_eq!(Build::new(0x55, 16, &[0, 0]).error(), WavError::Unsupported { tag: 0x55, bits: 16 });
    assert_eq!(Build::new(1, 0, &[0, 0]).error(), WavError::Unsupported { tag: 1, bits: 0 });
    assert_eq!(Build::new(3, 32, &f32::NAN.to_le_bytes()).error(), WavError::NotFinite(0));
}

#[test]
fn text_and_cut_files_are_refused() {
    assert_eq!(Wav::parse(b""), Err(WavError::NotWav));
    assert_eq!(Wav::parse(b"Dear Sir or Madam, this is not audio."), Err(WavError::NotWav));
    assert_eq!(Wav::parse(b"RIFF\0\0"), Err(WavError::Truncated("the RIFF header")));
    assert_eq!(Wav::parse(b"RIFF\0\0\0\0WAVE"), Err(WavError::NoFormat));
    let whole = write_pcm16(&[1, 2, 3], 8_000);
    assert_eq!(Wav::parse(&whole[..14]), Err(WavError::Truncated("a chunk header")));
    assert_eq!(Wav::parse(&whole[..30]), Err(WavError::Truncated("the format chunk")));
    assert_eq!(Wav::parse(&whole[..36]), Err(WavError::NoData));
    assert_eq!(Wav::parse(&whole[..44]), Err(WavError::Empty));
    assert_eq!(Wav::parse(&whole[..47]).unwrap().samples, [1.0 / 32_768.0]);
    let swapped = [b"RIFF\0\0\0\0WAVE".as_slice(), &whole[36..], &whole[12..36]].concat();
    assert_eq!(Wav::parse(&swapped), Err(WavError::NoFormat));
}

#[test]
fn a_six_hour_file_is_refused_before_memory_is_taken() {
    let samples = 6 * 3600 * 8_000;
    let file = write_ulaw(&vec![0xFF; samples], 8_000);
    assert_eq!(Wav::parse(&file), Err(WavError::TooLong { samples }));
}

/// Reads a file through the scanner as somebody does who does not have it in memory, and says how much was looked at.
fn scan(file: &[u8]) -> (WavLayout, usize) {
    let mut scanner = WavScanner::new(file.len() as u64);
    let mut looked_at = 0;
    loop {
        let (at, count) = scanner.wants();
        looked_at += count;
        if let Some(layout) = scanner.take(&file[at as usize..at as usize + count]).unwrap() {
            return (layout, looked_at);
        }
    }
}

#[test]
fn any_part_of_a_file_is_found_without_reading_the_rest() {
    let mut build = Build::new(1, 24, &(0..6_000).map(|n| (n * 7 % 256) as u8).collect::<Vec<_>>());
    build.channels = 2;
    build.before = [b"LIST\x08\x10\0\0".as_slice(), &[0; 0x1008]].concat();
    let file = build.bytes();
    let (layout, looked_at) = scan(&file);
    assert!(looked_at < 64, "{looked_at} bytes");
    assert_eq!((layout.samples(), layout.channels(), layout.stride(), layout.missing_samples()), (1_000, 2, 6, 0));
    let whole = Wav::parse(&file).unwrap().samples;
    for (from, to) in [(0, 1_000), (0, 1), (313, 997), (999, 5_000), (7, 7)] {
        let (first, end) = layout.bytes_of(from, to);
        let mut part = Vec::new();
        layout.decode(&file[first as usize..end as usize], from, &mut part).unwrap();
        assert_eq!(part, whole[from as usize..(to as usize).min(1_000)]);
    }
}

#[test]
fn what_a_cut_file_lacks_is_known_unless_nobody_knew_its_length() {
    let whole = write_pcm16(&[1; 100], 8_000);
    assert_eq!(scan(&whole[..44 + 60]).0.missing_samples(), 70);
    let mut build = Build::new(1, 16, &[0; 60]);
    build.claimed = Some(u32::MAX);
    assert_eq!(scan(&build.bytes()).0.missing_samples(), 0);
}

#[test]
fn a_long_file_has_its_size_in_a_chunk_of_its_own() {
    let mut build = Build::new(1, 16, &[0, 0x40, 0, 0xC0, b'L', b'I']);
    build.claimed = Some(u32::MAX);
    build.before = [b"ds64\x10\0\0\0".as_slice(), &[0; 8], &4_u64.to_le_bytes()].concat();
    let mut file = build.bytes();
    file[..4].copy_from_slice(b"RF64");
    assert_eq!(Wav::parse(&file).unwrap().samples, [0.5, -0.5]);
}

#[test]
fn a_file_of_nothing_but_empty_chunks_ends_the_search() {
    let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
    file.extend(b"JUNK\0\0\0\0".repeat(20_000));
    assert_eq!(Wav::parse(&file), Err(WavError::NoFormat));
}

#[test]
fn the_writers_are_read_back() {
    let wav = Wav::parse(&write_pcm16(&[-32_768, 0, 16_384], 22_050)).unwrap();
    assert_eq!(wav.samples, [-1.0, 0.0, 0.5]);
    assert_eq!(wav.sample_rate.get(), 22_050);
    let file = write_ulaw(&[0x00, 0xFF, 0x80], 8_000);
    assert_eq!(file.len() % 2, 0);
    assert_eq!(file[4..8], (file.len() as u32 - 8).to_le_bytes());
    let full = 32_124.0 / 32_768.0;
    assert_eq!(Wav::parse(&file).unwrap().samples, [-full, 0.0, full]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_never_panic(
        samples in prop::collection::vec(any::<i16>(), 0..60),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut file = write_pcm16(&samples, 8_000);
        for (at, value) in edits {
            let at = at.index(file.len());
            file[at] = value;
        }
        file.truncate(keep.index(file.len() + 1));
        if let Ok(wav) = Wav::parse(&file) {
            prop_assert!(!wav.samples.is_empty() && wav.samples.len() <= file.len());
            prop_assert!(wav.samples.iter().all(|s| s.is_finite()));
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Wav::parse(&bytes);
        if bytes.len() >= 20 {
            bytes[..12].copy_from_slice(b"RIFF\0\0\0\0WAVE");
            bytes[12..16].copy_from_slice(b"fmt ");
            let _ = Wav::parse(&bytes);
        }
    }
}
