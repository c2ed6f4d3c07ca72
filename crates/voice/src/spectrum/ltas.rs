//! The long-term average spectrum: mean power in bands of equal width, over the whole sound.
//!
//! Two numbers are read from it, both the level above 1 kHz minus the level below, in dB and so
//! nearly always negative: the *slope* takes the bands themselves, the *tilt* takes a straight line
//! fitted through their levels, which single strong harmonics move less. A voice that leaks air or
//! closes slowly has little energy above 1 kHz. The classic form reaches to 10 kHz and so needs a
//! wide-band microphone; the telephone form stops at 4 kHz and must not be compared with it.

use super::Spectrum;

/// Reference power, that of the auditory threshold when samples are taken as pascal.
const REFERENCE: f64 = 4e-10;
/// Level of a band without any energy, in dB.
const SILENCE_DB: f64 = -300.0;
/// Widths of bands in Hz: the finest one the sound's duration can resolve is taken.
const BANDWIDTHS_HZ: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// Border between the low and the high part in Hz.
const BORDER_HZ: f64 = 1000.0;
/// Top of the high part in Hz on a telephone, for the slope and for the trend line.
const TELEPHONE_TOP_HZ: f64 = 4000.0;
const TELEPHONE_TREND_TOP_HZ: f64 = 3999.0;
/// Top of the high part in Hz in the Acoustic Voice Quality Index (Maryn and Weenink 2015).
const WIDE_TOP_HZ: f64 = 10_000.0;
/// Bottom of the range a trend line is fitted to, in Hz: leaves out what is only offset.
const TREND_BOTTOM_HZ: f64 = 1.0;

/// Mean power in bands of equal width from 0 Hz up.
#[derive(Debug, Clone, PartialEq)]
pub struct Ltas {
    /// Mean power of every band over [`REFERENCE`].
    power: Vec<f64>,
    bandwidth_hz: f64,
    nyquist_hz: f64,
}

/// A straight line through the levels of an [`Ltas`] over frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Level at 0 Hz in dB.
    pub level_db: f64,
    /// Change of level in dB per Hz.
    pub slope_db_per_hz: f64,
}

impl Spectrum {
    /// The long-term average spectrum in the finest bands of 1, 2, 5 or 10 Hz that are wider than
    /// a bin of the spectrum.
    ///
    /// The padded length decides: at 8 kHz more than 4096 samples (0.512 s) give bands of 1 Hz, at
    /// 44.1 kHz more than 32768 (0.743 s). `None` when even 10 Hz are too fine (at 8 kHz up to 512
    /// samples) or nothing sounds at all.
    #[must_use]
    pub fn ltas(&self) -> Option<Ltas> {
        let bandwidth_hz = BANDWIDTHS_HZ.into_iter().find(|&width| width > self.bin_hz)?;
        let energies: Vec<f64> = self.bins.iter().map(|bin| bin.norm_sqr()).collect();
        if !energies.iter().any(|&energy| energy > 0.0) {
            return None;
        }
        // From summed squares to power: both signs of frequency, the sample period squared for the
        // transform, and per second of the sound instead of per second of the padded one.
        let scale = 2.0 * self.dx / (self.samples as f64 * REFERENCE);
        let nyquist_hz = 0.5 / self.dx;
        let bands = (nyquist_hz / bandwidth_hz).ceil() as usize;
        let power = (0..bands)
            .map(|band| {
                let low = band as f64 * bandwidth_hz;
                let high = ((band + 1) as f64 * bandwidth_hz).min(nyquist_hz);
                scale * step_mean(&energies, self.bin_hz, -0.5 * self.bin_hz, low, high)
            })
            .collect();
        Some(Ltas { power, bandwidth_hz, nyquist_hz })
    }
}

impl Ltas {
    /// Width of a band in Hz.
    #[must_use]
    pub fn bandwidth_hz(&self) -> f64 {
        self.bandwidth_hz
    }

    /// Level of every band in dB; -300 where there is nothing.
    pub fn levels_db(&self) -> impl Iterator<Item = f64> + '_ {
        self.power.iter().map(|&power| if power > 0.0 { 10.0 * power.log10() } else { SILENCE_DB })
    }

    /// Level of the mean power between 1000 and `top_hz` minus that between 0 and 1000 Hz, in dB.
    #[must_use]
    pub fn slope_db(&self, top_hz: f64) -> Option<f64> {
        let mean = |from: f64, to: f64| {
            let to = to.min(self.nyquist_hz);
            (from < to).then(|| step_mean(&self.power, self.bandwidth_hz, 0.0, from, to))
        };
        let (low, high) = (mean(0.0, BORDER_HZ)?, mean(BORDER_HZ, top_hz)?);
        (low > 0.0 && high > 0.0).then(|| 10.0 * (high / low).log10())
    }

    /// The least-squares line through the levels of the bands centred between `from_hz` and
    /// `to_hz`; `None` with fewer than two.
    #[must_use]
    pub fn trend(&self, from_hz: f64, to_hz: f64) -> Option<Trend> {
        let mut levels = Vec::new();
        let mut first_hz = None;
        for (band, level) in self.levels_db().enumerate() {
            let centre_hz = (band as f64 + 0.5) * self.bandwidth_hz;
            if centre_hz > to_hz {
                break;
            }
            if centre_hz >= from_hz {
                first_hz.get_or_insert(centre_hz);
                levels.push(level);
            }
        }
        let count = levels.len();
        if count < 2 {
            return None;
        }
        // The centres are equally spaced: deviations from their mean are whole or half bandwidths.
        let middle = 0.5 * (count - 1) as f64;
        let mean = levels.iter().sum::<f64>() / count as f64;
        let (mut product, mut square) = (0.0, 0.0);
        for (k, level) in levels.iter().enumerate() {
            let x = (k as f64 - middle) * self.bandwidth_hz;
            product += x * (level - mean);
            square += x * x;
        }
        let slope = product / square;
        let mean_hz = first_hz? + middle * self.bandwidth_hz;
        Some(Trend { level_db: mean - slope * mean_hz, slope_db_per_hz: slope })
    }

    /// [`Ltas::slope_db`] of the trend line over `1..trend_top_hz` in place of the bands.
    #[must_use]
    pub fn tilt_db(&self, trend_top_hz: f64) -> Option<f64> {
        let trend = self.trend(TREND_BOTTOM_HZ, trend_top_hz)?;
        let bands = ((trend_top_hz / self.bandwidth_hz).ceil() as usize).min(self.power.len());
        let power = (0..bands)
            .map(|band| {
                let centre_hz = (band as f64 + 0.5) * self.bandwidth_hz;
                // Without the constant level, which cancels and could overflow.
                10_f64.powf(0.1 * trend.slope_db_per_hz * centre_hz)
            })
            .collect();
        Self { power, ..*self }.slope_db(trend_top_hz)
    }

    /// Slope within the telephone band: 1000-4000 Hz against 0-1000 Hz, in dB.
    #[must_use]
    pub fn slope_tel_db(&self) -> Option<f64> {
        self.slope_db(TELEPHONE_TOP_HZ)
    }

    /// Tilt within the telephone band, from the trend line over 1-3999 Hz, in dB.
    #[must_use]
    pub fn tilt_tel_db(&self) -> Option<f64> {
        self.tilt_db(TELEPHONE_TREND_TOP_HZ)
    }

    /// Slope of the Acoustic Voice Quality Index: 1-10 kHz against 0-1 kHz, in dB. `None` when the
    /// sound does not reach 10 kHz.
    #[must_use]
    pub fn slope_avqi_db(&self) -> Option<f64> {
        (self.nyquist_hz >= WIDE_TOP_HZ * (1.0 - 1e-12)).then(|| self.slope_db(WIDE_TOP_HZ))?
    }

    /// Tilt of the Acoustic Voice Quality Index, from the trend line over 1-10000 Hz, in dB. `None`
    /// when the sound does not reach 10 kHz.
    #[must_use]
    pub fn tilt_avqi_db(&self) -> Option<f64> {
        (self.nyquist_hz >= WIDE_TOP_HZ * (1.0 - 1e-12)).then(|| self.tilt_db(WIDE_TOP_HZ))?
    }
}

/// Mean between `from` and `to` of a step function whose value `k` holds from `origin + k * width`
/// to `origin + (k + 1) * width`.
fn step_mean(values: &[f64], width: f64, origin: f64, from: f64, to: f64) -> f64 {
    let place = |x: f64| ((x - origin) / width).max(0.0);
    let first = place(from).floor() as usize;
    let last = (place(to).ceil() as usize).min(values.len());
    let (mut sum, mut total) = (0.0, 0.0);
    for (k, value) in values.iter().enumerate().take(last).skip(first) {
        let start = origin + k as f64 * width;
        let share = ((start + width).min(to) - start.max(from)).max(0.0);
        sum += share * value;
        total += share;
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sound::Sound;
    use crate::units::SampleRate;

    fn noise(count: usize, smoothing: f64) -> Vec<f64> {
        let mut state = 9_u32;
        let mut before = 0.0;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                before = smoothing * before + f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
                before
            })
            .collect()
    }

    fn ltas(samples: &[f64], rate: u32) -> Option<Ltas> {
        Spectrum::of(&Sound::new(samples, SampleRate::new(rate).unwrap_or(SampleRate::TELEPHONE))).ltas()
    }

    #[test]
    fn white_noise_is_flat_and_smoothed_noise_falls() {
        let white = ltas(&noise(40_000, 0.0), 8_000).unwrap();
        assert!(white.slope_tel_db().unwrap().abs() < 0.5);
        assert!(white.tilt_tel_db().unwrap().abs() < 0.5);
        // The mean level over all bands is that of the sound.
        let mean = white.power.iter().sum::<f64>() / 4000.0;
        let power = noise(40_000, 0.0).iter().map(|s| s * s).sum::<f64>() / 40_000.0;
        assert!((mean * REFERENCE * 4000.0 / power - 1.0).abs() < 1e-3);
        let falling = ltas(&noise(40_000, 0.9), 8_000).unwrap();
        assert!(falling.slope_tel_db().unwrap() < -8.0 && falling.tilt_tel_db().unwrap() < -5.0);
        assert_eq!(falling.slope_avqi_db(), None);
        assert!(ltas(&noise(40_000, 0.9), 20_000).unwrap().slope_avqi_db().is_some());
    }

    #[test]
    fn short_sounds_have_wider_bands_or_none() {
        for (count, width) in [(4097, Some(1.0)), (4096, Some(2.0)), (1025, Some(5.0)), (513, Some(10.0)), (512, None)]
        {
            assert_eq!(ltas(&noise(count, 0.5), 8_000).map(|l| l.bandwidth_hz()), width, "{count}");
        }
        assert_eq!(ltas(&[], 8_000), None);
        assert_eq!(ltas(&[0.0; 8000], 8_000), None);
    }
}
