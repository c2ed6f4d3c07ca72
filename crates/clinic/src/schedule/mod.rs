//! Recurring calls: when a patient is telephoned, and when not.
