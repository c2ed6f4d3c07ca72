//! Simulated Twilio, simulated ElevenLabs and synthetic callers.
