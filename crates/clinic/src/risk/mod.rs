//! The risk model: symptom rules, deviations from the patient's own dry baseline, and their combination, all explained.
