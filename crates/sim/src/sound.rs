//! Sound helpers.
