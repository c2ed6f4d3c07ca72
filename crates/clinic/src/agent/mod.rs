//! The settings an ElevenLabs agent needs for this protocol, as the service's JSON.
