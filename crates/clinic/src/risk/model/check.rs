//! What may stand in a model: every constant in its range, and nothing that could lower the risk for an added symptom.

use super::{Model, ModelError};
use crate::risk::logistic::{Calibration, Logistic};
use crate::risk::measure::Scale;

/// Form of the file this program reads and writes.
const FORMAT: u32 = 1;

impl Model {
    /// Checks every constant; see the messages for what is accepted.
    ///
    /// # Errors
    /// [`ModelError::Field`] for the first one at fault.
    pub fn check(&self) -> Result<(), ModelError> {
        if self.format != FORMAT {
            return Err(field("format", "1, the only form this program knows"));
        }
        for (name, text) in [("name", &self.name), ("version", &self.version)] {
            let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            require(fits, name, "1 to 64 visible ASCII characters")?;
        }
        self.check_points()?;
        self.check_measures()?;
        self.check_rules()?;
        if self.logistic.is_some() && self.calibration.is_some() {
            return Err(field("calibration", "either logistic or calibration, not both"));
        }
        self.logistic.as_ref().map_or(Ok(()), Logistic::check)?;
        self.calibration.as_ref().map_or(Ok(()), Calibration::check)
    }

    fn check_points(&self) -> Result<(), ModelError> {
        const POINTS: &str = "points from 0 to 100";
        let s = &self.symptoms;
        let b = &self.breathlessness;
        for (name, points) in [
            ("symptoms.dyspnea_at_rest", s.dyspnea_at_rest),
            ("symptoms.dyspnea_on_exertion", s.dyspnea_on_exertion),
            ("symptoms.nocturnal_dyspnea", s.nocturnal_dyspnea),
            ("symptoms.orthopnea", s.orthopnea),
            ("symptoms.swelling_worse", s.swelling_worse),
            ("symptoms.bloating", s.bloating),
            ("symptoms.missed_1_2_doses", s.missed_1_2_doses),
            ("symptoms.missed_3_doses_or_more", s.missed_3_doses_or_more),
            ("symptoms.dizziness", s.dizziness),
            ("symptoms.recent_discharge", s.recent_discharge),
            ("weight.over_dry_points", self.weight.over_dry_points),
            ("voice_score.cusum_bonus", self.voice_score.cusum_bonus),
            ("voice_score.fallback_cap", self.voice_score.fallback_cap),
            ("speech_effort.points_per_sd", self.speech_effort.points_per_sd),
            ("breathlessness.dyspnea_usual", b.dyspnea_usual),
            ("breathlessness.dyspnea_on_exertion", b.dyspnea_on_exertion),
            ("breathlessness.dyspnea_at_rest", b.dyspnea_at_rest),
            ("breathlessness.orthopnea", b.orthopnea),
            ("breathlessness.nocturnal_dyspnea", b.nocturnal_dyspnea),
        ] {
            require((0.0..=100.0).contains(&points), name, POINTS)?;
        }
        // Worse must not count less, or an added symptom could lower the risk.
        let order = s.dyspnea_on_exertion <= s.dyspnea_at_rest && s.missed_1_2_doses <= s.missed_3_doses_or_more;
        require(order, "symptoms", "no more points for a milder form of the same symptom")?;
        let order = b.dyspnea_usual <= b.dyspnea_on_exertion && b.dyspnea_on_exertion <= b.dyspnea_at_rest;
        require(order, "breathlessness", "no more points for a milder form of the same symptom")?;
        require((0..=365).contains(&s.recent_discharge_days), "symptoms.recent_discharge_days", "0 to 365 days")?;
        let w = &self.weight;
        require(w.rules.len() <= 20, "weight.rules", "at most 20 rules")?;
        for (index, rule) in w.rules.iter().enumerate() {
            let fits = (0.1..=20.0).contains(&rule.gain_kg)
                && (0.1..=60.0).contains(&rule.within_days)
                && (0.0..=100.0).contains(&rule.points);
            let name = format!("weight.rules[{index}]");
            require(fits, &name, "gain_kg 0.1 to 20, within_days 0.1 to 60, points 0 to 100")?;
        }
        require((0.1..=20.0).contains(&w.over_dry_kg), "weight.over_dry_kg", "0.1 to 20 kg")?;
        require((1..=14).contains(&w.unstated_days), "weight.unstated_days", "1 to 14 days")?;
        let plausible = (1.0..=50.0).contains(&w.largest_plausible_change_kg);
        require(plausible, "weight.largest_plausible_change_kg", "1 to 50 kg")
    }

    fn check_measures(&self) -> Result<(), ModelError> {
        let mut seen = Vec::new();
        for (index, spec) in self.measures.iter().enumerate() {
            let at = |name: &str| format!("measures[{index}].{name}");
            require(!seen.contains(&spec.measure), &at("measure"), "each measure once")?;
            seen.push(spec.measure);
            require((0.0..=1.0).contains(&spec.weight), &at("weight"), "0 to 1")?;
            require(spec.sign.abs() == 1.0, &at("sign"), "1 or -1")?;
            require(positive(spec.noise), &at("noise"), "a positive number")?;
            require((1..=4).contains(&spec.sources.len()), &at("sources"), "1 to 4 tasks")?;
            let minimum = spec.scale != Scale::Log || spec.log_minimum.is_some_and(positive);
            require(minimum, &at("log_minimum"), "a positive number where the scale is log")?;
            for norm in [spec.norm.female, spec.norm.male] {
                require(positive(norm.centre) && positive(norm.spread), &at("norm"), "positive centre and spread")?;
            }
        }
        let total = self.total_weight();
        require((total - 1.0).abs() < 1e-6, "measures", "weights that add up to 1")?;
        let effort = &self.speech_effort;
        for (index, term) in effort.terms.iter().enumerate() {
            let name = format!("speech_effort.terms[{index}]");
            let fits = (0.0..=1.0).contains(&term.weight) && seen.contains(&term.measure);
            require(fits, &name, "a weight of 0 to 1 and one of the measures above")?;
        }
        let share = (0.0..=1.0).contains(&effort.min_weight_share) && effort.min_weight_share > 0.0;
        require(share, "speech_effort.min_weight_share", "above 0, at most 1")
    }

    fn check_rules(&self) -> Result<(), ModelError> {
        let b = &self.baseline;
        require((3..=60).contains(&b.min_calls), "baseline.min_calls", "3 to 60 calls")?;
        require((b.min_calls..=100).contains(&b.full_calls), "baseline.full_calls", "min_calls to 100 calls")?;
        let values = (2..=b.min_calls).contains(&b.min_values_per_measure);
        require(values, "baseline.min_values_per_measure", "2 to min_calls")?;
        require((0.0..=1.0).contains(&b.dry_min_answered_share), "baseline.dry_min_answered_share", "0 to 1")?;
        let share = b.min_weight_share > 0.0 && b.min_weight_share <= 1.0;
        require(share, "baseline.min_weight_share", "above 0, at most 1")?;
        let c = &self.change;
        require(c.ewma_lambda > 0.0 && c.ewma_lambda <= 1.0, "change.ewma_lambda", "above 0, at most 1")?;
        for (name, value) in [
            ("baseline.window_days", b.window_days),
            ("baseline.replace_every_days", b.replace_every_days),
            ("baseline.dry_points_below", b.dry_points_below),
            ("baseline.dry_weight_within_kg", b.dry_weight_within_kg),
            ("baseline.z_limit", b.z_limit),
            ("baseline.composite_sd_min", b.composite_sd_min),
            ("change.ewma_limit_sigmas", c.ewma_limit_sigmas),
            ("change.cusum_slack", c.cusum_slack),
            ("change.cusum_limit", c.cusum_limit),
            ("voice_score.ewma_span", self.voice_score.ewma_span),
            ("voice_score.fallback_spread_factor", self.voice_score.fallback_spread_factor),
            ("fluid_retention.voice_span", self.fluid_retention.voice_span),
            ("breathlessness.voice_span", self.breathlessness.voice_span),
        ] {
            require(positive(value), name, "a positive number")?;
        }
        require(self.voice_score.ewma_from.abs() <= 100.0, "voice_score.ewma_from", "-100 to 100")?;
        let k = &self.combination;
        for (name, weight) in [
            ("combination.voice_weight", k.voice_weight),
            ("combination.fallback_voice_weight", k.fallback_voice_weight),
        ] {
            require((0.0..=0.5).contains(&weight), name, "0 to 0.5: a voice alone must not reach more than 50")?;
        }
        let persistence =
            (1..=10).contains(&k.persistence_of) && (1..=k.persistence_of).contains(&k.persistence_needed);
        require(persistence, "combination.persistence_needed", "1 to persistence_of, which is 1 to 10")?;
        let l = &self.bands;
        let rising = 0.0 < l.watch && l.watch < l.review && l.review < l.urgent && l.urgent <= 100.0;
        require(rising, "bands", "0 < watch < review < urgent <= 100")?;
        for (name, most) in [
            ("fluid_retention.voice_modifier", self.fluid_retention.voice_modifier),
            ("breathlessness.voice_modifier", self.breathlessness.voice_modifier),
        ] {
            require((0.0..=15.0).contains(&most), name, "0 to 15 points")?;
        }
        Ok(())
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

pub(in crate::risk) fn field(name: &str, expected: &'static str) -> ModelError {
    ModelError::Field { field: name.to_owned(), expected }
}

pub(in crate::risk) fn require(fits: bool, name: &str, expected: &'static str) -> Result<(), ModelError> {
    if fits { Ok(()) } else { Err(field(name, expected)) }
}
