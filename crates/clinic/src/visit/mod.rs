//! A visit: one conversation with a patient, as a state machine.
