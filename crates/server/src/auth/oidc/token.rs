//! The check of an ID token: OpenID Connect Core 1.0, section 3.1.3.7, and the advice of RFC 8725.
//!
//! Two algorithms are accepted, RS256 and ES256, and each only with a key of its own kind, so neither `none` nor a public
//! key used as the secret of an HMAC gets anywhere. `jsonwebtoken` does the signature; the claims are judged here, with
//! the time that is passed in.

use super::Identity;
use crate::auth::same;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use std::borrow::Cow;

/// How far the clocks of provider and server may differ.
pub const SKEW_MAX_S: i64 = 300;
/// Longest ID token.
const TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Longest subject (the standard's own limit) and longest mail address (RFC 5321).
const SUBJECT_MAX_BYTES: usize = 255;
const EMAIL_MAX_BYTES: usize = 254;
/// Keys of a provider that are kept.
const KEYS_MAX: usize = 32;

/// Why an ID token is not believed. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// No token of three parts with the claims that must be there.
    #[error("it has not the form of an ID token")]
    Form,
    /// Neither RS256 nor ES256, or with extensions that we do not know.
    #[error("it is signed in a way that is not accepted; set the client to RS256 or ES256")]
    Algorithm,
    /// No key of that name and kind; the provider may have changed its keys.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("its signature is wrong")]
    Signature,
    /// Of another provider.
    #[error("it was issued by another provider")]
    Issuer,
    /// For another program.
    #[error("it was issued for another client; check the client id")]
    Audience,
    /// Past its time.
    #[error("it has expired; compare the clocks of this machine and the provider")]
    Expired,
    /// From before this sign-in or from the future.
    #[error("it was not issued now; compare the clocks of this machine and the provider")]
    NotNow,
    /// Of another sign-in.
    #[error("it belongs to another sign-in")]
    Nonce,
}

/// The public keys of a provider.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    /// Reads a key set. Keys of kinds that we do not use are passed over, as RFC 7517 wants.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let set: KeySet = serde_json::from_slice(json).ok()?;
        Some(Self(set.keys.into_iter().filter_map(Key::read).take(KEYS_MAX).collect()))
    }

    /// Those that may have signed under such a header.
    fn fitting(&self, header: &Header) -> impl Iterator<Item = &Key> {
        let id = header.kid.clone();
        let algorithm = header.alg;
        self.0
            .iter()
            .filter(move |key| key.algorithm == algorithm && (id.is_none() || key.id.is_none() || id == key.id))
    }
}

impl Key {
    fn read(json: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
            _ => return None,
        };
        let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature);
        let named = jwk.common.key_algorithm.map(|named| named.to_string());
        if !for_signatures || named.is_some_and(|named| named != format!("{algorithm:?}")) {
            return None;
        }
        Some(Self { key: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id, algorithm })
    }
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// When the sign-in began.
    pub(super) began_s: i64,
    pub(super) now_s: i64,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<serde_json::Value>,
    #[serde(default)]
    amr: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Checks a token and says whom it names.
pub(super) fn check(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Identity, TokenFault> {
    if token.len() > TOKEN_MAX_BYTES || token.split('.').count() != 3 {
        return Err(TokenFault::Form);
    }
    // A header whose algorithm the library does not know, `none` among them, is not read at all.
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Algorithm)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
        return Err(TokenFault::Algorithm);
    }
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let mut fault = TokenFault::UnknownKey;
    for key in keys.fitting(&header) {
        match jsonwebtoken::decode::<Claims>(token, &key.key, &validation) {
            Ok(data) => return judge(data.claims, expected),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::InvalidSignature) => {
                fault = TokenFault::Signature;
            }
            Err(_) => fault = TokenFault::Form,
        }
    }
    Err(fault)
}

fn judge(claims: Claims, expected: &Expected<'_>) -> Result<Identity, TokenFault> {
    if claims.iss != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    let (named, alone) = match &claims.aud {
        Audience::One(one) => (one == expected.client_id, true),
        Audience::Many(many) => (many.iter().any(|one| one == expected.client_id), many.len() == 1),
    };
    // With several audiences the token must say that it was made for us, and whenever it says for whom, that must be us.
    let authorised = claims.azp.as_deref().map_or(alone, |azp| azp == expected.client_id);
    if !named || !authorised {
        return Err(TokenFault::Audience);
    }
    let (expires_s, issued_s) = (seconds(claims.exp)?, seconds(claims.iat)?);
    if expected.now_s >= expires_s.saturating_add(SKEW_MAX_S) {
        return Err(TokenFault::Expired);
    }
    let not_before_s = claims.nbf.map_or(Ok(issued_s), seconds)?;
    let latest_s = expected.now_s.saturating_add(SKEW_MAX_S);
    if issued_s > latest_s || not_before_s > latest_s || issued_s < expected.began_s.saturating_sub(SKEW_MAX_S) {
        return Err(TokenFault::NotNow);
    }
    if !claims.nonce.is_some_and(|nonce| same(nonce.as_bytes(), expected.nonce.as_bytes())) {
        return Err(TokenFault::Nonce);
    }
    if claims.sub.is_empty() || claims.sub.len() > SUBJECT_MAX_BYTES {
        return Err(TokenFault::Form);
    }
    let email = claims.email.filter(|email| email.len() <= EMAIL_MAX_BYTES && email.contains('@'));
    // Some providers write the flag as a text.
    let flag = claims.email_verified.as_ref().map(|flag| match flag {
        serde_json::Value::String(text) => Cow::from(text.as_str()),
        other => Cow::from(other.to_string()),
    });
    let email_verified = email.is_some() && flag.as_deref() == Some("true");
    // RFC 8176: `mfa` says that there were several factors, whichever they were.
    let methods = claims.amr.as_ref().and_then(serde_json::Value::as_array);
    let several_factors = methods.is_some_and(|methods| methods.iter().any(|method| method.as_str() == Some("mfa")));
    Ok(Identity { issuer: claims.iss, subject: claims.sub, email, email_verified, several_factors })
}

/// A time of a token, which may have a fraction; a time beyond all calendars is none.
fn seconds(number: f64) -> Result<i64, TokenFault> {
    const LATEST: f64 = 253_402_300_799.0;
    if !(0.0..=LATEST).contains(&number) {
        return Err(TokenFault::Form);
    }
    // The range was checked.
    Ok(number as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const NOW: i64 = 1_790_000_000;

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://id.example", client_id: "us", nonce: "n1", began_s: NOW - 30, now_s: NOW }
    }

    fn claims() -> Value {
        json!({"iss": "https://id.example", "sub": "u-1", "aud": "us", "exp": NOW + 300, "iat": NOW, "nonce": "n1",
               "email": "ada@clinic.example", "email_verified": true})
    }

    fn judged(change: Value) -> Result<Identity, TokenFault> {
        let mut claims = claims();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        judge(serde_json::from_value(claims).map_err(|_| TokenFault::Form)?, &expected())
    }

    #[test]
    fn each_claim_is_judged() {
        let identity = judged(json!({})).unwrap();
        assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), ("https://id.example", "u-1"));
        assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("ada@clinic.example"), true));
        for (change, fault) in [
            (json!({"iss": "https://id.example/"}), TokenFault::Issuer),
            (json!({"aud": "them"}), TokenFault::Audience),
            (json!({"aud": []}), TokenFault::Audience),
            (json!({"aud": ["us", "them"]}), TokenFault::Audience),
            (json!({"azp": "them"}), TokenFault::Audience),
            (json!({"aud": ["us", "them"], "azp": "them"}), TokenFault::Audience),
            (json!({"exp": NOW - 300}), TokenFault::Expired),
            (json!({"exp": 0}), TokenFault::Expired),
            (json!({"iat": NOW + 301}), TokenFault::NotNow),
            (json!({"nbf": NOW + 301}), TokenFault::NotNow),
            (json!({"iat": NOW - 331}), TokenFault::NotNow),
            (json!({"nonce": "n2"}), TokenFault::Nonce),
            (json!({"nonce": null}), TokenFault::Nonce),
            (json!({"sub": ""}), TokenFault::Form),
            (json!({"sub": "a".repeat(256)}), TokenFault::Form),
            (json!({"sub": null}), TokenFault::Form),
            (json!({"exp": "soon"}), TokenFault::Form),
            (json!({"exp": -1}), TokenFault::Form),
            (json!({"exp": 1e300}), TokenFault::Form),
            (json!({"iss": ["https://id.example"]}), TokenFault::Form),
        ] {
            assert_eq!(judged(change.clone()), Err(fault), "{change}");
        }
        for change in [
            json!({"aud": ["us"]}),
            json!({"aud": ["us", "them"], "azp": "us"}),
            json!({"exp": NOW - 299}),
            json!({"iat": NOW + 300, "nbf": NOW + 300}),
            json!({"iat": NOW as f64 + 0.25}),
        ] {
            assert!(judged(change.clone()).is_ok(), "{change}");
        }
    }

    #[test]
    fn a_mail_address_is_verified_only_if_the_provider_says_so() {
        for (flag, verified) in [(json!(true), true), (json!("true"), true), (json!(false), false), (json!(1), false)] {
            assert_eq!(judged(json!({"email_verified": flag})).unwrap().email_verified, verified, "{flag}");
        }
        let none = judged(json!({"email": null})).unwrap();
        assert_eq!((none.email, none.email_verified), (None, false));
        assert_eq!(judged(json!({"email": "a".repeat(300)})).unwrap().email, None);
    }

    /// RFC 7515, appendix A.3: an ES256 signature that others made.
    #[test]
    fn a_signature_of_the_rfc_is_accepted_with_its_key_only() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                     cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8IS\
                     lSApmWQxfKTUJqPP3-Kg6NU1Q";
        let key = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                         "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        let keys = |keys: Value| Keys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        // The signature is right, the claims are not those of an ID token.
        assert_eq!(check(token, &keys(json!([key])), &expected()), Err(TokenFault::Form));
        let changed = token.replace("DtEhU3", "DtEhU4");
        assert_eq!(check(&changed, &keys(json!([key])), &expected()), Err(TokenFault::Signature));
        assert_eq!(check(token, &keys(json!([])), &expected()), Err(TokenFault::UnknownKey));
        for (name, value) in [("use", "enc"), ("alg", "RS256"), ("crv", "P-384"), ("kty", "OKP")] {
            let mut other = key.clone();
            other[name] = json!(value);
            assert_eq!(check(token, &keys(json!([other])), &expected()), Err(TokenFault::UnknownKey), "{name}");
        }
    }

    #[test]
    fn other_algorithms_are_refused_before_any_key_is_tried() {
        let keys = Keys::read(br#"{"keys":[]}"#).unwrap();
        let body = URL_SAFE_NO_PAD.encode(claims().to_string());
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "None"}),
            json!({"alg": "HS256"}),
            json!({"alg": "PS256"}),
            json!({"alg": "ES384"}),
            json!({"alg": "RS256", "crit": ["exp"], "exp": 1}),
            json!({}),
        ] {
            let token = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(header.to_string()));
            assert_eq!(check(&token, &keys, &expected()), Err(TokenFault::Algorithm), "{header}");
        }
        let long = "a".repeat(TOKEN_MAX_BYTES + 1);
        for token in ["", "a.b", "a.b.c.d", long.as_str()] {
            assert_eq!(check(token, &keys, &expected()), Err(TokenFault::Form), "{token:.20}");
        }
    }

    #[test]
    fn a_key_set_of_nonsense_is_none() {
        assert!(Keys::read(b"[]").is_none());
        assert!(Keys::read(b"\xff").is_none());
        assert_eq!(Keys::read(br#"{"keys":[1,{},{"kty":"oct","k":"AAAA"}]}"#).unwrap().0.len(), 0);
    }
}
