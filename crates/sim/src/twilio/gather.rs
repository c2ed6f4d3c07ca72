//! Collecting an answer: speech or keys, with the timeouts of `<Gather>`, and the end of a `<Record>`.

use super::engine::Outcome;
use super::twiml::GatherSpec;
use crate::patient::PatientFrame;
use std::time::Duration;

/// A gather that runs. Times are milliseconds since the call began.
#[derive(Debug)]
pub(super) struct Gathering {
    spec: GatherSpec,
    digits: String,
    speech: Vec<String>,
    /// When the running silence began; `None` while the prompt plays or somebody speaks.
    quiet_since: Option<u64>,
    speaking: bool,
}

impl Gathering {
    pub(super) fn new(spec: GatherSpec) -> Self {
        Self { spec, digits: String::new(), speech: Vec::new(), quiet_since: None, speaking: false }
    }

    /// True when a key was pressed, which stops the prompt.
    pub(super) fn stops_prompt(&self) -> bool {
        !self.digits.is_empty()
    }

    /// What the patient did in the last 20 ms; gives the outcome when it is decided.
    pub(super) fn frame(&mut self, now: u64, frame: &PatientFrame, prompt_playing: bool) -> Option<Outcome> {
        if let Some(key) = frame.digit.filter(|_| self.spec.dtmf && self.speech.is_empty()) {
            if self.spec.finish_on_key.contains(key) {
                return Some(self.outcome());
            }
            self.digits.push(key);
            self.quiet_since = Some(now);
            if self.spec.num_digits > 0 && self.digits.len() >= self.spec.num_digits {
                return Some(self.outcome());
            }
        }
        if self.spec.speech && self.digits.is_empty() {
            if frame.began.is_some() {
                self.speaking = true;
            }
            if let Some(clip) = &frame.ended {
                self.speaking = false;
                self.speech.push(clip.text.to_string());
                self.quiet_since = Some(now);
            }
        }
        if prompt_playing || self.speaking {
            self.quiet_since = None;
            return None;
        }
        let since = *self.quiet_since.get_or_insert(now);
        let patience = if self.speech.is_empty() { self.spec.timeout } else { self.spec.speech_timeout };
        (Duration::from_millis(now - since) >= patience).then(|| self.outcome())
    }

    fn outcome(&self) -> Outcome {
        let field = |name: &str, value: String| (name.to_owned(), value);
        if !self.digits.is_empty() {
            return Outcome::Fields(vec![field("Digits", self.digits.clone())]);
        }
        if !self.speech.is_empty() {
            let text = self.speech.join(" ");
            return Outcome::Fields(vec![field("SpeechResult", text), field("Confidence", "0.92".to_owned())]);
        }
        Outcome::Empty
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::assets::clip;

    fn gathering(speech: bool, num_digits: usize) -> Gathering {
        Gathering::new(GatherSpec {
            speech,
            dtmf: true,
            action: None,
            method: "POST".to_owned(),
            action_on_empty: false,
            timeout: Duration::from_secs(3),
            speech_timeout: Duration::from_secs(1),
            num_digits,
            finish_on_key: "#".to_owned(),
            prompts: Vec::new(),
        })
    }

    fn key(digit: char) -> PatientFrame {
        PatientFrame { digit: Some(digit), ..PatientFrame::default() }
    }

    #[test]
    fn keys_end_by_number_by_key_or_by_silence() {
        let mut two = gathering(true, 2);
        assert_eq!(two.frame(0, &key('1'), true), None);
        assert!(two.stops_prompt());
        assert_eq!(two.frame(20, &key('8'), false), Some(Outcome::Fields(vec![("Digits".into(), "18".into())])));
        let mut hash = gathering(true, 0);
        hash.frame(0, &key('7'), false);
        assert_eq!(hash.frame(20, &key('#'), false), Some(Outcome::Fields(vec![("Digits".into(), "7".into())])));
        let mut silence = gathering(true, 0);
        silence.frame(0, &key('7'), false);
        assert_eq!(silence.frame(2_980, &PatientFrame::default(), false), None);
        assert!(matches!(silence.frame(3_000, &PatientFrame::default(), false), Some(Outcome::Fields(_))));
    }

    #[test]
    fn speech_ends_after_its_own_silence_and_nothing_after_the_timeout() {
        let mut gather = gathering(true, 0);
        let clip = clip("patient_yes").unwrap();
        gather.frame(0, &PatientFrame { began: Some(clip.clone()), ..PatientFrame::default() }, false);
        assert_eq!(gather.frame(5_000, &PatientFrame::default(), false), None);
        gather.frame(5_020, &PatientFrame { ended: Some(clip), ..PatientFrame::default() }, false);
        let Some(Outcome::Fields(fields)) = gather.frame(6_020, &PatientFrame::default(), false) else { panic!() };
        assert_eq!(fields[0].1, "Yes, that is right.");
        let mut nothing = gathering(true, 0);
        // The time of the prompt does not count.
        assert_eq!(nothing.frame(9_000, &PatientFrame::default(), true), None);
        assert_eq!(nothing.frame(9_020, &PatientFrame::default(), false), None);
        assert_eq!(nothing.frame(12_020, &PatientFrame::default(), false), Some(Outcome::Empty));
    }
}
