//! Encrypted records and recordings on disk.
