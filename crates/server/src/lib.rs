//! The HTTP and WebSocket shells around the call engine.
