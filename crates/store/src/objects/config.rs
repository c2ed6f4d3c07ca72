//! Reading where recordings live from the settings.

use super::S3Config;
use crate::{Result, StoreError};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// Where recordings live and where they are written first.
#[derive(Debug, Clone)]
pub struct AudioConfig {
    /// Where they live.
    pub location: AudioLocation,
    /// Where they are written while the call runs, unless they live in a directory. Must be on a local disk, and belong to
    /// one installation.
    pub spool: PathBuf,
}

/// The kinds of places for recordings.
#[derive(Debug, Clone)]
pub enum AudioLocation {
    /// A directory.
    Directory(PathBuf),
    /// An S3-compatible store.
    S3(S3Config),
}

const SCHEME: &str = "s3://";
/// Pause before a failed request is repeated; with five attempts that is about four seconds altogether.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
const DEFAULT_REGION: &str = "us-east-1";

impl AudioConfig {
    /// Reads the settings: `audio_store` is a directory or `s3://BUCKET[/PREFIX]`; the rest is asked for by the names of
    /// its environment variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` or
    /// `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`).
    ///
    /// # Errors
    /// [`StoreError::Invalid`] naming the setting and what was expected.
    pub fn from_settings(audio_store: &str, spool: PathBuf, setting: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let Some(place) = audio_store.strip_prefix(SCHEME) else {
            if audio_store.is_empty() || audio_store.contains("://") {
                return Err(invalid("AUDIO_STORE", "a directory, or s3://BUCKET/PREFIX"));
            }
            return Ok(Self { location: AudioLocation::Directory(audio_store.into()), spool });
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_end_matches('/');
        if !is_bucket(bucket) {
            return Err(invalid("AUDIO_STORE", "s3://BUCKET/PREFIX with a bucket of 3 to 63 of a-z, 0-9, - and ."));
        }
        if !prefix.is_empty() && !prefix.split('/').all(is_path_part) {
            return Err(invalid("AUDIO_STORE", "s3://BUCKET/PREFIX with a prefix of letters, digits, _, -, . and /"));
        }
        let given = |name| setting(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let region =
            given("AWS_REGION").or_else(|| given("AWS_DEFAULT_REGION")).unwrap_or_else(|| DEFAULT_REGION.to_owned());
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(invalid("AWS_REGION", "the name of a region, such as us-east-1"));
        }
        let access_key_id = given("AWS_ACCESS_KEY_ID")
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic() && !b"/,".contains(&byte)))
            .ok_or_else(|| invalid("AWS_ACCESS_KEY_ID", "the id of an access key, for AUDIO_STORE=s3://..."))?;
        let secret_access_key = given("AWS_SECRET_ACCESS_KEY").ok_or_else(|| {
            invalid("AWS_SECRET_ACCESS_KEY", "the secret of the access key, for AUDIO_STORE=s3://...")
        })?;
        let config = S3Config {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region,
            endpoint: given("AWS_ENDPOINT_URL_S3").or_else(|| given("AWS_ENDPOINT_URL")),
            access_key_id,
            secret_access_key: SecretString::from(secret_access_key),
            session_token: given("AWS_SESSION_TOKEN").map(SecretString::from),
            retry_pause: RETRY_PAUSE,
        };
        Ok(Self { location: AudioLocation::S3(config), spool })
    }
}

fn is_bucket(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (3..=63).contains(&name.len()) && name.bytes().all(inner) && !name.contains("..") && !name.starts_with(['-', '.'])
}

/// A part that stands for itself in an address: nothing to be encoded, nothing to be resolved.
fn is_path_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && part.bytes().all(plain)
}

fn invalid(what: &'static str, expected: &'static str) -> StoreError {
    StoreError::Invalid { what, expected }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn read(store: &str, settings: &[(&str, &str)]) -> Result<AudioConfig> {
        let find = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        AudioConfig::from_settings(store, "spool".into(), find)
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "very secret")];

    #[test]
    fn a_path_is_a_directory_and_s3_is_a_bucket() {
        assert!(matches!(read("./audio", &[]).unwrap().location, AudioLocation::Directory(path) if path == *"./audio"));
        let AudioLocation::S3(s3) = read("s3://clinic-audio/site/one/", &KEYS).unwrap().location else { panic!() };
        assert_eq!(
            (s3.bucket.as_str(), s3.prefix.as_str(), s3.region.as_str()),
            ("clinic-audio", "site/one", "us-east-1")
        );
        assert!(!format!("{s3:?}").contains("very secret"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let what = |store, settings: &[(&str, &str)]| match read(store, settings) {
            Err(StoreError::Invalid { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        for store in ["", "gs://bucket", "s3://", "s3://A/b", "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/a b"]
        {
            assert_eq!(what(store, &KEYS), "AUDIO_STORE", "{store}");
        }
        assert_eq!(what("s3://bucket", &[]), "AWS_ACCESS_KEY_ID");
        assert_eq!(what("s3://bucket", &KEYS[..1]), "AWS_SECRET_ACCESS_KEY");
        assert_eq!(what("s3://bucket", &[KEYS[0], KEYS[1], ("AWS_REGION", "us/../x")]), "AWS_REGION");
    }
}
