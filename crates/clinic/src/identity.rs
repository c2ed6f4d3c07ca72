//! Identity: whether whoever is on the line is the patient, by date of birth or PIN, spoken or keyed.
