//! Makes new inputs out of old ones, from a seed.

/// A small random generator (xorshift64*, Vigna 2016): the same seed gives the same inputs everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal sequences.
    pub(crate) fn new(seed: u64) -> Self {
        // Spreads small seeds over all bits; 0 would stay 0.
        Self((seed ^ 0x5851_F42D_4C95_7F2D).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }
}

/// Numbers at the edges of ranges.
const EDGES: [u64; 16] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    4_000,
    8_000,
    384_000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x7FF0_0000_0000_0000,
    0xFFFF_FFFF_FFFF_FFFF,
];

/// What stands in WAV files.
const WORDS: [&[u8]; 14] = [
    b"RIFF",
    b"RF64",
    b"WAVE",
    b"fmt ",
    b"data",
    b"ds64",
    b"fact",
    b"LIST",
    b"\x10\x00\x00\x00\x01\x00\x01\x00",
    b"\x12\x00\x00\x00\x07\x00\x01\x00",
    b"\x28\x00\x00\x00\xFE\xFF\x02\x00",
    b"\x03\x00\x40\x00",
    b"\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71",
    b"\xFF\xFF\xFF\xFF",
];

/// Longest input that is made.
const LONGEST: usize = 8_192;

/// Changes `input` in one to six ways; `other` is another input to take pieces of.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        match random.below(10) {
            0 => flip(input, random),
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(random.below(33) as u8).wrapping_sub(16);
                }
            }
            2 => {
                let number = EDGES[random.below(EDGES.len())].to_le_bytes();
                overwrite(input, at, &number[..1 << random.below(4)]);
            }
            3 => overwrite(input, at, WORDS[random.below(WORDS.len())]),
            4 => insert(input, at, WORDS[random.below(WORDS.len())]),
            5 => {
                let end = (at + 1 + random.below(64)).min(input.len());
                input.drain(at.min(end)..end);
            }
            6 => {
                let from = random.below(other.len() + 1);
                let to = (from + 1 + random.below(256)).min(other.len());
                insert(input, at, &other[from.min(to)..to]);
            }
            7 => {
                // The front of one and the back of the other.
                input.truncate(at);
                input.extend_from_slice(&other[at.min(other.len())..]);
            }
            8 => {
                let value = random.below(256) as u8;
                insert(input, at, &vec![value; 1 + random.below(128)]);
            }
            _ => {
                let noise: Vec<u8> = (0..=random.below(24)).map(|_| random.below(256) as u8).collect();
                overwrite(input, at, &noise);
            }
        }
    }
    input.truncate(LONGEST);
}

fn flip(input: &mut [u8], random: &mut Random) {
    let (at, bit) = (random.below(input.len()), random.below(8));
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn overwrite(input: &mut [u8], at: usize, with: &[u8]) {
    for (to, from) in input.iter_mut().skip(at).zip(with) {
        *to = *from;
    }
}

fn insert(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    input.splice(at..at, what.iter().copied());
}
