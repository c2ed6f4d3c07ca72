//! Request signatures against vectors made by independent implementations, and form decoding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use call::MessageError;
use call::twilio::signature::{
    MAX_FORM_BYTES, MAX_FORM_FIELDS, Product, SignatureError, decode_form, sign, url_twilio_signs, verify_form,
    verify_handshake, verify_json,
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    kind: String,
    auth_token: String,
    url: String,
    received_url: Option<String>,
    configured_url: Option<String>,
    params: Vec<(String, String)>,
    form_body: Option<String>,
    body: Option<String>,
    settings_header: Option<String>,
    signed_string: String,
    x_twilio_signature: String,
    expect_valid: bool,
}

impl Vector {
    fn verify(&self, url: &str) -> Result<(), SignatureError> {
        self.verify_with(url, &self.params, Some(&self.x_twilio_signature))
    }

    fn verify_with(&self, url: &str, params: &[(String, String)], header: Option<&str>) -> Result<(), SignatureError> {
        let settings = self.settings_header.as_deref();
        match self.kind.as_str() {
            "form" => verify_form(&self.auth_token, url, params, header, settings),
            "json" => {
                let body = self.body.as_deref().unwrap().as_bytes();
                verify_json(&self.auth_token, url, body, header, settings)
            }
            "ws" => verify_handshake(&self.auth_token, url, header, settings),
            other => panic!("unknown kind {other}"),
        }
    }
}

/// The vectors of this repository, or those of another file named in the environment.
fn vectors() -> Vec<Vector> {
    let text = match std::env::var_os("HEARTVOICE_SIGNATURE_VECTORS") {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => include_str!("data/signature_vectors.json").to_owned(),
    };
    serde_json::from_str::<File>(&text).unwrap().vectors
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_vector_is_judged_as_expected() {
    let vectors = vectors();
    assert!(vectors.len() >= 45);
    assert!(vectors.iter().any(|vector| !vector.expect_valid));
    for vector in &vectors {
        for url in [Some(&vector.url), vector.received_url.as_ref()].into_iter().flatten() {
            let verdict = vector.verify(url);
            assert_eq!(verdict.is_ok(), vector.expect_valid, "{} with {url}: {verdict:?}", vector.id);
        }
    }
}

#[test]
fn every_form_body_decodes_to_its_fields() {
    for vector in vectors() {
        if let Some(body) = &vector.form_body {
            assert_eq!(decode_form(body.as_bytes()).unwrap(), vector.params, "{}", vector.id);
        }
    }
}

#[test]
fn the_same_signatures_are_made() {
    let mut made = 0;
    for vector in vectors().iter().filter(|vector| vector.expect_valid && vector.settings_header.is_none()) {
        let signature = sign(&vector.auth_token, &vector.signed_string, &[]);
        assert_eq!(signature, vector.x_twilio_signature, "{}", vector.id);
        if vector.signed_string.starts_with(&vector.url) {
            assert_eq!(
                sign(&vector.auth_token, &vector.url, &vector.params),
                vector.x_twilio_signature,
                "{}",
                vector.id
            );
            made += 1;
        }
    }
    assert!(made > 20);
}

#[test]
fn the_url_is_signed_as_twilio_does() {
    for vector in vectors() {
        if let Some(configured) = &vector.configured_url {
            assert_eq!(url_twilio_signs(configured, Product::Voice), vector.url, "{}", vector.id);
        }
    }
    let with_port = "https://user:pw@hv.example.org:8443/x?y=1#rc=2";
    assert_eq!(url_twilio_signs(with_port, Product::Voice), "https://hv.example.org/x?y=1");
    assert_eq!(url_twilio_signs(with_port, Product::Messaging), "https://hv.example.org:8443/x?y=1");
    assert_eq!(url_twilio_signs("http://127.0.0.1:80/x", Product::Voice), "http://127.0.0.1:80/x");
    assert_eq!(url_twilio_signs("https://[::1]:8443/x", Product::Voice), "https://[::1]/x");
    assert_eq!(url_twilio_signs("https://[::1]/x", Product::Voice), "https://[::1]/x");
    assert_eq!(url_twilio_signs("not a url", Product::Voice), "not a url");
}

#[test]
fn what_twilio_signs_is_accepted_at_the_configured_url() {
    let fields = pairs(&[("CallSid", "CA1"), ("From", "+15005550006")]);
    for configured in [
        "https://hv.example.org/twilio/voice",
        "https://hv.example.org:8443/twilio/voice?visit=42",
        "http://127.0.0.1:18080/twilio/voice",
        "http://[::1]:8080/twilio/voice",
    ] {
        for product in [Product::Voice, Product::Messaging] {
            let signature = sign(TOKEN, &url_twilio_signs(configured, product), &fields);
            assert_eq!(verify_form(TOKEN, configured, &fields, Some(&signature), None), Ok(()), "{configured}");
        }
    }
}

#[test]
fn an_empty_secret_accepts_nothing() {
    let signature = sign("", "https://hv.example.org/x", &[]);
    let refused = Err(SignatureError::NoAuthToken);
    assert_eq!(verify_form("", "https://hv.example.org/x", &[], Some(&signature), None), refused);
    assert_eq!(verify_handshake("", "wss://hv.example.org/x", Some(&signature), None), refused);
    let url = "https://hv.example.org/x?bodySHA256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(verify_json("", url, b"", Some(&sign("", url, &[])), None), refused);
}

#[test]
fn a_missing_signature_is_refused() {
    let url = "https://hv.example.org/x";
    assert_eq!(verify_form(TOKEN, url, &[], None, None), Err(SignatureError::Missing));
    assert_eq!(verify_form(TOKEN, url, &[], Some(""), None), Err(SignatureError::Missing));
    assert_eq!(verify_handshake(TOKEN, "wss://hv.example.org/x", None, None), Err(SignatureError::Missing));
}

#[test]
fn a_truncated_signature_is_refused() {
    let url = "https://hv.example.org/x";
    assert_eq!(verify_form(TOKEN, url, &[], Some("AAAA"), None), Err(SignatureError::Mismatch));
    assert_eq!(verify_form(TOKEN, url, &[], Some("===="), None), Err(SignatureError::Malformed));
    assert_eq!(verify_form(TOKEN, url, &[], Some("é"), None), Err(SignatureError::Malformed));
}

#[test]
fn settings_name_the_algorithm() {
    let url = "https://hv.example.org/x";
    let signature = sign(TOKEN, url, &[]);
    let verify = |settings| verify_form(TOKEN, url, &[], Some(&signature), Some(settings));
    assert_eq!(verify("key=k,algorithm=HMAC_SHA1"), Ok(()));
    assert_eq!(verify("algorithm=HMAC_SHA1"), Ok(()));
    assert_eq!(verify("key=k, algorithm=HMAC_SHA1"), Ok(()));
    assert_eq!(verify("key=k,algorithm=HMAC_SHA256"), Err(SignatureError::Mismatch));
    for settings in ["", "key=k", "algorithm=", "algorithm=hmac_sha1", "algorithm=none", "HMAC_SHA1"] {
        assert_eq!(verify(settings), Err(SignatureError::UnsupportedAlgorithm), "{settings}");
    }
    let twice = "algorithm=HMAC_SHA256,algorithm=HMAC_SHA1";
    assert_eq!(verify(twice), Err(SignatureError::UnsupportedAlgorithm));
}

#[test]
fn json_needs_the_hash_of_its_body() {
    let url = "https://hv.example.org/x?a=1";
    assert_eq!(verify_json(TOKEN, url, b"{}", Some(&sign(TOKEN, url, &[])), None), Err(SignatureError::NoBodyHash));
    let url = "https://hv.example.org/x#bodySHA256=00";
    assert_eq!(verify_json(TOKEN, url, b"{}", Some(&sign(TOKEN, url, &[])), None), Err(SignatureError::NoBodyHash));
    let url = "https://hv.example.org/x?bodySHA256=";
    assert_eq!(verify_json(TOKEN, url, b"{}", Some(&sign(TOKEN, url, &[])), None), Err(SignatureError::BodyMismatch));
}

#[test]
fn handshake_spellings() {
    let known = "wss://hv.example.org/twilio/media";
    for signed in [
        "wss://hv.example.org/twilio/media",
        "wss://hv.example.org/twilio/media/",
        "wss://hv.example.org:443/twilio/media",
        "wss://hv.example.org:443/twilio/media/",
    ] {
        let signature = sign(TOKEN, signed, &[]);
        assert_eq!(verify_handshake(TOKEN, known, Some(&signature), None), Ok(()), "{signed}");
        assert_eq!(verify_handshake(TOKEN, &format!("{known}/"), Some(&signature), None), Ok(()), "{signed}");
    }
    for signed in [
        "https://hv.example.org/twilio/media",
        "ws://hv.example.org/twilio/media",
        "wss://hv.example.org:80/twilio/media",
        "wss://hv.example.org/twilio/medi",
        "wss://hv.example.org/twilio/media?x=1",
        "wss://hv.example.org/twilio/media//",
        "wss://evil.example.org/twilio/media",
    ] {
        let signature = sign(TOKEN, signed, &[]);
        let refused = Err(SignatureError::Mismatch);
        assert_eq!(verify_handshake(TOKEN, known, Some(&signature), None), refused, "{signed}");
    }
    let bare = sign(TOKEN, "wss://hv.example.org", &[]);
    assert_eq!(verify_handshake(TOKEN, "wss://hv.example.org/", Some(&bare), None), Ok(()));
}

#[test]
fn a_form_url_is_not_forgiving_about_slashes() {
    let signature = sign(TOKEN, "https://hv.example.org/x/", &[]);
    let verdict = verify_form(TOKEN, "https://hv.example.org/x", &[], Some(&signature), None);
    assert_eq!(verdict, Err(SignatureError::Mismatch));
}

#[test]
fn forms_decode() {
    assert_eq!(decode_form(b"").unwrap(), []);
    assert_eq!(decode_form(b"&&").unwrap(), []);
    assert_eq!(decode_form(b"a").unwrap(), pairs(&[("a", "")]));
    assert_eq!(decode_form(b"a=b=c&=d&e=").unwrap(), pairs(&[("a", "b=c"), ("", "d"), ("e", "")]));
    assert_eq!(decode_form(b"a+b=%C3%A9+%2B%c3%a9").unwrap(), pairs(&[("a b", "é +é")]));
}

#[test]
fn broken_forms_are_refused() {
    let broken = Err(MessageError::Invalid { field: "form" });
    for body in [&b"a=%"[..], b"a=%4", b"a=%GG", b"a=%+1", b"a=%FF", b"a=\xff", b"%C3=%A9"] {
        assert_eq!(decode_form(body), broken, "{body:?}");
    }
}

#[test]
fn endless_forms_are_refused() {
    let largest = vec!["a=1"; MAX_FORM_FIELDS].join("&");
    assert_eq!(decode_form(largest.as_bytes()).unwrap().len(), MAX_FORM_FIELDS);
    assert_eq!(decode_form(format!("{largest}&b=2").as_bytes()), Err(MessageError::TooLarge));
    assert_eq!(decode_form(&vec![b'a'; MAX_FORM_BYTES + 1]), Err(MessageError::TooLarge));
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02x}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn forms_round_trip(fields in prop::collection::vec((any::<String>(), any::<String>()), 0..20)) {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        prop_assert_eq!(decode_form(body.join("&").as_bytes()).unwrap(), fields);
    }

    #[test]
    fn arbitrary_forms_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_form(&body);
    }

    #[test]
    fn arbitrary_urls_never_panic(url in any::<String>(), header in any::<String>(), settings in any::<Option<String>>()) {
        let settings = settings.as_deref();
        let _ = verify_form(TOKEN, &url, &[], Some(&header), settings);
        let _ = verify_json(TOKEN, &url, b"", Some(&header), settings);
        let _ = verify_handshake(TOKEN, &url, Some(&header), settings);
        let _ = url_twilio_signs(&url, Product::Voice);
    }

    #[test]
    fn order_of_fields_does_not_matter(
        mut fields in prop::collection::vec(("[A-Za-z]{1,8}", "\\PC{0,12}"), 0..12),
        seed in any::<prop::sample::Index>(),
    ) {
        let signature = sign(TOKEN, "https://hv.example.org/x", &fields);
        if !fields.is_empty() {
            let turn = seed.index(fields.len());
            fields.rotate_left(turn);
        }
        prop_assert_eq!(verify_form(TOKEN, "https://hv.example.org/x", &fields, Some(&signature), None), Ok(()));
    }

    #[test]
    fn a_changed_field_is_refused(
        fields in prop::collection::vec(("[A-Za-z]{1,8}", "[a-z]{0,12}"), 1..12),
        which in any::<prop::sample::Index>(),
    ) {
        let signature = sign(TOKEN, "https://hv.example.org/x", &fields);
        let mut changed = fields;
        let at = which.index(changed.len());
        changed[at].1.push('!');
        prop_assert_eq!(
            verify_form(TOKEN, "https://hv.example.org/x", &changed, Some(&signature), None),
            Err(SignatureError::Mismatch)
        );
    }
}
