//! Second look: where exactly a word ends and the next one begins.
//!
//! The first look needs a wide margin over the background, so it cuts off what is weak at the
//! edges of words: decaying vowels, final nasals, the onset of "s", "f" and "th". Here every gap
//! between words is read again in steps of 2.5 ms against *its own* background. The margin
//! follows from how steady that background is, so in steady noise (or digital silence) a word is
//! followed down to where it cannot be told from the noise.

use super::levels::{BLOCK_S, Blocks};
use super::{Interval, MIN_GAP_S};
use crate::stats;

/// Blocks in the window that is moved along (20 ms: shorter ones waver with the noise itself).
const WINDOW: usize = 8;

/// How far inside the word the search begins: the 20 ms frames of the first look reach that far
/// over an edge.
const OVERLAP: usize = 8;

/// The background is this quantile of a gap's levels: decays fill part of it.
const BASE_QUANTILE: f64 = 0.2;
/// Its unsteadiness is the distance from here to there...
const LOW_QUANTILE: f64 = 0.02;
/// ...times this; for Gaussian noise that is some five standard deviations above the mean...
const SPREADS: f64 = 4.0;
/// ...within these limits.
const MIN_MARGIN_DB: f64 = 2.5;
const MAX_MARGIN_DB: f64 = 9.0;

/// A weak sound apart from the word belongs to it from this length on (a stop released late, an
/// "s" after a closure); shorter ones are chance.
const MIN_ISLAND_S: f64 = 0.02;

/// A weak sound at the edge of a word that goes on for longer is no decay and no fricative but
/// breath or background; then the word ends where its clear level does.
const MAX_WEAK_S: f64 = 0.3;

/// The silence between two words whose clear parts end at block `left` and begin at block
/// `right`: `None` if the weak parts leave nothing. `open_left` and `open_right` say that there is
/// no word on that side.
pub(super) fn silence(
    blocks: &Blocks,
    left: usize,
    right: usize,
    open_left: bool,
    open_right: bool,
    scratch: &mut Vec<f64>,
) -> Option<Interval> {
    if right < left + 2 * WINDOW {
        return Some(between(left, right)).filter(|gap| gap.duration_s() > 0.0);
    }
    scratch.clear();
    scratch.extend((left..=right - WINDOW).map(|k| blocks.level(k, k + WINDOW)));
    scratch.sort_unstable_by(f64::total_cmp);
    let base = stats::quantile(scratch, BASE_QUANTILE)?;
    let low = stats::quantile(scratch, LOW_QUANTILE)?;
    let threshold = base + (SPREADS * (base - low)).clamp(MIN_MARGIN_DB, MAX_MARGIN_DB);

    let first = if open_left { left } else { left.saturating_sub(OVERLAP) };
    let last = if open_right { right } else { (right + OVERLAP).min(blocks.count()) };
    let islands = islands(blocks, first, last, threshold);
    let weak = (MAX_WEAK_S / BLOCK_S) as usize;
    let min_gap = (MIN_GAP_S / BLOCK_S) as usize;
    let min_island = (MIN_ISLAND_S / BLOCK_S) as usize;

    let (mut from, mut to) = (first, last);
    let mut rest = islands.as_slice();
    if !open_left {
        while let Some((&(start, end), others)) = rest.split_first() {
            let touches = start <= from;
            let near = start < from + min_gap && end >= start + min_island && start - from <= to.saturating_sub(end);
            // What touches the next word is the next word's.
            if !(touches || near) || end > left + weak || (end >= to && !open_right) {
                // What is too long or the next word's leaves this word at its clear end.
                from = if touches { from.max(left) } else { from };
                break;
            }
            from = from.max(end);
            rest = others;
        }
    }
    if !open_right {
        while let Some((&(start, end), others)) = rest.split_last() {
            let touches = end >= to;
            let near = end + min_gap > to && end >= start + min_island;
            if !(touches || near) || start + weak < right {
                to = if touches { to.min(right) } else { to };
                break;
            }
            to = to.min(start);
            rest = others;
        }
    }
    Some(between(from, to)).filter(|gap| gap.duration_s() > 0.0)
}

fn between(from: usize, to: usize) -> Interval {
    Interval { start_s: from as f64 * BLOCK_S, end_s: to as f64 * BLOCK_S }
}

/// Stretches above the threshold in `first..last`, as ranges of blocks.
///
/// A stretch begins at the right edge of the last quiet window before it and ends at the left edge
/// of the first quiet one after it: a sharp edge is found to the block, whatever its height.
fn islands(blocks: &Blocks, first: usize, last: usize, threshold: f64) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    // End of the latest quiet window, if there was one.
    let mut quiet_until: Option<usize> = None;
    let mut open: Option<usize> = None;
    for k in first..=last.saturating_sub(WINDOW) {
        if blocks.level(k, k + WINDOW) > threshold {
            open = open.or(Some(quiet_until.unwrap_or(first)));
        } else {
            if let Some(start) = open.take()
                && k > start
            {
                found.push((start, k));
            }
            quiet_until = Some(k + WINDOW);
        }
    }
    if let Some(start) = open {
        found.push((start, last));
    }
    found
}
