//! Recognises the embedded clips in sound that came over the line.
//!
//! A telephone bridge passes mu-law bytes through unchanged, so sixteen bytes from a loud place identify a clip. This
//! is speech recognition for exactly the sentences that can be said here, and proof that the sound arrived unharmed.

use crate::assets::{self, Clip};
use std::collections::HashMap;
use std::sync::LazyLock;
use voice::g711::ulaw_decode;

/// Bytes of one signature: 2 ms of speech are unlikely to occur twice.
const SIGNATURE: usize = 16;
/// Signatures spread over each clip.
const PER_CLIP: usize = 16;
/// Signatures that must be found.
const NEEDED: usize = 2;

static INDEX: LazyLock<HashMap<[u8; SIGNATURE], usize>> = LazyLock::new(|| {
    let mut index = HashMap::new();
    for (number, clip) in assets::all().iter().enumerate() {
        for part in clip.ulaw.chunks(clip.ulaw.len() / PER_CLIP + 1) {
            let loudness = |window: &[u8]| window.iter().map(|&b| i64::from(ulaw_decode(b)).abs()).sum::<i64>();
            let best = part.windows(SIGNATURE).max_by_key(|window| loudness(window));
            if let Some(key) = best.filter(|window| loudness(window) > 4_000).and_then(|window| window.try_into().ok())
            {
                index.insert(key, number);
            }
        }
    }
    // Sentences that begin with the same words begin with the same bytes: those say nothing.
    for (number, clip) in assets::all().iter().enumerate() {
        for window in clip.ulaw.windows(SIGNATURE) {
            if let Ok(key) = <[u8; SIGNATURE]>::try_from(window)
                && index.get(&key).is_some_and(|owner| *owner != number)
            {
                index.remove(&key);
            }
        }
    }
    index
});

/// The clips heard in `ulaw`, in the order in which they begin.
#[must_use]
pub fn recognise(ulaw: &[u8]) -> Vec<&'static Clip> {
    let mut hits: Vec<(usize, usize)> = Vec::new();
    for window in ulaw.windows(SIGNATURE) {
        let Some(&clip) = <&[u8; SIGNATURE]>::try_from(window).ok().and_then(|key| INDEX.get(key)) else { continue };
        match hits.iter_mut().find(|(known, _)| *known == clip) {
            Some((_, count)) => *count += 1,
            None => hits.push((clip, 1)),
        }
    }
    hits.into_iter().filter(|(_, count)| *count >= NEEDED).filter_map(|(clip, _)| assets::all().get(clip)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_clip_is_recognised_as_itself_only() {
        for clip in assets::all() {
            let mut line = vec![0xFF; 333];
            line.extend_from_slice(&clip.ulaw);
            let heard: Vec<&str> = recognise(&line).iter().map(|c| c.name.as_ref()).collect();
            assert_eq!(heard, [clip.name.as_ref()]);
        }
    }

    #[test]
    fn losses_and_strangers() {
        let clip = assets::clip("patient_weight_182").unwrap();
        // Every fifth frame lost: still the same sentence.
        let lossy: Vec<u8> =
            clip.ulaw.chunks(160).enumerate().filter(|(i, _)| i % 5 != 0).flat_map(|(_, f)| f.to_vec()).collect();
        assert_eq!(recognise(&lossy).len(), 1);
        assert!(recognise(&crate::sound::synth::tone(440.0, 2_000)).is_empty());
        assert!(recognise(&[0xFF; 16_000]).is_empty());
        assert!(recognise(&[]).is_empty());
    }
}
