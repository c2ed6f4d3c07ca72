//! G.711 companding: the 8-bit mu-law and A-law codes telephone networks carry (ITU-T G.711).
//!
//! Everything here is a pure function of one byte or one sample. Linear values are on the signed
//! 16-bit scale (mu-law reaches +-32124, A-law +-32256).

/// The mu-law code of positive zero, the byte to send for silence.
///
/// Zero bytes are not silence: `0x00` is the loudest negative value, -32124.
pub const ULAW_SILENCE: u8 = 0xFF;

/// The A-law code nearest to zero (A-law has no exact zero; this decodes to +8).
pub const ALAW_SILENCE: u8 = 0xD5;

/// Offset the mu-law curve adds before it looks for the segment (33 on the 14-bit scale).
const ULAW_BIAS: i32 = 132;

/// Largest magnitude that still fits the top mu-law segment once the bias is added.
const ULAW_CLIP: i32 = 32_635;

/// Divisor that maps signed 16-bit samples to -1..1.
pub(crate) const FULL_SCALE: f64 = 32_768.0;

const ULAW_TABLE: [i16; 256] = build_table(true);
const ALAW_TABLE: [i16; 256] = build_table(false);

/// Decodes one mu-law byte to a 16-bit sample in -32124..=32124 (ITU-T G.711, table 2a/2b).
#[must_use]
pub const fn ulaw_decode(code: u8) -> i16 {
    // A byte indexes all 256 entries, so this cannot go out of range.
    ULAW_TABLE[code as usize]
}

/// Encodes one 16-bit sample as mu-law with the classic bias-132 algorithm.
///
/// Samples beyond +-32635 saturate. `ulaw_encode(ulaw_decode(b)) == b` for every byte except
/// `0x7F` (negative zero), which becomes [`ULAW_SILENCE`].
#[must_use]
pub const fn ulaw_encode(sample: i16) -> u8 {
    let value = sample as i32;
    let sign = if value < 0 { 0x80 } else { 0 };
    let magnitude = if value < 0 { -value } else { value };
    let clipped = if magnitude > ULAW_CLIP { ULAW_CLIP } else { magnitude };
    let biased = (clipped + ULAW_BIAS) as u32;
    // The bias guarantees bit 7 or above is set, so the segment is never negative.
    let segment = 24 - biased.leading_zeros();
    let step = (biased >> (segment + 3)) & 0x0F;
    // The line carries the complement, so that silence is rich in one-bits.
    !(sign | (segment << 4) | step) as u8
}

/// Decodes one A-law byte to a 16-bit sample in -32256..=32256 (ITU-T G.711, table 1a/1b).
#[must_use]
pub const fn alaw_decode(code: u8) -> i16 {
    ALAW_TABLE[code as usize]
}

/// Encodes one 16-bit sample as A-law; `alaw_encode(alaw_decode(b)) == b` for every byte.
#[must_use]
pub const fn alaw_encode(sample: i16) -> u8 {
    let value = sample as i32;
    // One's complement keeps the decision levels of both signs mirror images at the code boundary.
    let (sign, magnitude) = if value < 0 { (0, !value >> 4) } else { (0x80, value >> 4) };
    let magnitude = magnitude as u32;
    let code = if magnitude < 32 {
        // The first two segments share one step size.
        magnitude
    } else {
        let segment = 28 - magnitude.leading_zeros();
        (segment << 4) | ((magnitude >> (segment - 1)) & 0x0F)
    };
    // Even bits are inverted on the line.
    ((sign | code) ^ 0x55) as u8
}

/// Appends the decoded mu-law bytes to `out`, scaled by 1/32768 to -1..1.
pub fn ulaw_decode_slice(bytes: &[u8], out: &mut Vec<f64>) {
    out.extend(bytes.iter().map(|&code| f64::from(ulaw_decode(code)) / FULL_SCALE));
}

/// Appends the decoded A-law bytes to `out`, scaled by 1/32768 to -1..1.
pub fn alaw_decode_slice(bytes: &[u8], out: &mut Vec<f64>) {
    out.extend(bytes.iter().map(|&code| f64::from(alaw_decode(code)) / FULL_SCALE));
}

const fn build_table(ulaw: bool) -> [i16; 256] {
    let mut table = [0_i16; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if ulaw { expand_ulaw(code as u8) } else { expand_alaw(code as u8) };
        code += 1;
    }
    table
}

const fn expand_ulaw(code: u8) -> i16 {
    let plain = !code;
    let segment = (plain >> 4) & 0x07;
    let step = (plain & 0x0F) as i32;
    let magnitude = (((step << 3) + ULAW_BIAS) << segment) - ULAW_BIAS;
    // At most 32124, so it fits.
    (if plain & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

const fn expand_alaw(code: u8) -> i16 {
    let plain = code ^ 0x55;
    let segment = (plain >> 4) & 0x07;
    let middle = (((plain & 0x0F) as i32) << 4) + 8;
    let magnitude = if segment == 0 { middle } else { (middle + 256) << (segment - 1) };
    (if plain & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        decode: Vec<i16>,
        encode_runs: Vec<(i32, i32, u8)>,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../tests/data/g711_ulaw.json")).unwrap()
    }

    #[test]
    fn ulaw_decodes_every_code_of_the_table() {
        let decoded: Vec<i16> = (0..=255).map(ulaw_decode).collect();
        assert_eq!(decoded, vectors().decode);
    }

    #[test]
    fn ulaw_encodes_every_sample_by_the_run_table() {
        let mut next = -32_768;
        for (first, last, code) in vectors().encode_runs {
            assert_eq!(first, next);
            for sample in first..=last {
                assert_eq!(ulaw_encode(i16::try_from(sample).unwrap()), code, "{sample}");
            }
            next = last + 1;
        }
        assert_eq!(next, 32_768);
    }

    #[test]
    fn ulaw_codes_survive_a_round_trip_except_negative_zero() {
        for code in 0..=255_u8 {
            let expected = if code == 0x7F { ULAW_SILENCE } else { code };
            assert_eq!(ulaw_encode(ulaw_decode(code)), expected);
        }
        assert_eq!(ulaw_decode(ULAW_SILENCE), 0);
    }

    #[test]
    fn alaw_codes_survive_a_round_trip() {
        for code in 0..=255_u8 {
            assert_eq!(alaw_encode(alaw_decode(code)), code);
        }
    }

    #[test]
    fn alaw_reaches_the_extremes_of_the_recommendation() {
        assert_eq!(alaw_decode(0xD5), 8);
        assert_eq!(alaw_decode(0x55), -8);
        assert_eq!(alaw_decode(0xAA), 32_256);
        assert_eq!(alaw_decode(0x2A), -32_256);
        assert_eq!(alaw_encode(i16::MAX), 0xAA);
        assert_eq!(alaw_encode(i16::MIN), 0x2A);
    }

    #[test]
    fn alaw_error_stays_within_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let back = i32::from(alaw_decode(alaw_encode(sample)));
            let error = (back - i32::from(sample)).abs();
            let allowed = 8.max(i32::from(sample).abs() / 32 + 1);
            assert!(error <= allowed.max(512), "{sample} became {back}");
            if i32::from(sample).abs() < 16_000 {
                assert!(error <= allowed, "{sample} became {back}");
            }
        }
    }

    #[test]
    fn slices_are_scaled_to_unit_range() {
        let mut out = vec![9.0];
        ulaw_decode_slice(&[0xFF, 0x00, 0x80], &mut out);
        assert_eq!(out, [9.0, 0.0, -32_124.0 / 32_768.0, 32_124.0 / 32_768.0]);
        out.clear();
        alaw_decode_slice(&[0xAA], &mut out);
        assert_eq!(out, [32_256.0 / 32_768.0]);
    }
}
