//! Signatures of requests to S3-compatible stores: AWS Signature Version 4, in the `Authorization` header and over the
//! whole body.
//!
//! A request is reduced to one canonical text; a key derived from the secret, the day, the region and the service signs
//! it. The server does the same and compares. Because the hash of the body is part of what is signed, a body that was
//! changed on the way is refused by the server. Pure: the time comes in as text.

use aws_lc_rs::{digest, hmac};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The name of the method, first word of the `Authorization` header.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "s3";

/// Who signs, and for which region.
pub(super) struct Signer<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    pub(super) region: &'a str,
}

/// What is signed. Header names are in lower case; `host` and every `x-amz-` header must be among them.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Encoded, beginning with `/`.
    pub(super) path: &'a str,
    /// As [`canonical_query`] makes it.
    pub(super) query: &'a str,
    pub(super) headers: &'a BTreeMap<&'static str, String>,
    /// SHA-256 of the body in hexadecimal digits.
    pub(super) body_sha256: &'a str,
    /// The value of `x-amz-date`: `20130524T000000Z`.
    pub(super) timestamp: &'a str,
}

impl Signer<'_> {
    /// The value of the `Authorization` header.
    pub(super) fn authorization(&self, request: &Signed<'_>) -> String {
        let names: Vec<&str> = request.headers.keys().copied().collect();
        let names = names.join(";");
        let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
        for (name, value) in request.headers {
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let _ = write!(canonical, "\n{names}\n{}", request.body_sha256);

        let day = request.timestamp.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{}", request.timestamp, sha256_hex(canonical.as_bytes()));
        let first = Zeroizing::new(format!("AWS4{}", self.secret_access_key));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [day, self.region, SERVICE, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        format!("{ALGORITHM} Credential={}/{scope},SignedHeaders={names},Signature={signature}", self.access_key_id)
    }
}

/// The query as it is signed and sent: encoded, sorted by name, a name without a value with an empty one.
pub(super) fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, section 2.3.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of "Signature Calculations for the Authorization Header" in the Amazon S3 API reference.
    const SIGNER: Signer<'static> = Signer {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
    };
    const TIMESTAMP: &str = "20130524T000000Z";

    fn signature(method: &str, path: &str, query: &str, body: &[u8], more: &[(&'static str, &str)]) -> String {
        let body_sha256 = sha256_hex(body);
        let mut headers = BTreeMap::from([
            ("host", "examplebucket.s3.amazonaws.com".to_owned()),
            ("x-amz-content-sha256", body_sha256.clone()),
            ("x-amz-date", TIMESTAMP.to_owned()),
        ]);
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let request =
            Signed { method, path, query, headers: &headers, body_sha256: &body_sha256, timestamp: TIMESTAMP };
        let header = SIGNER.authorization(&request);
        assert!(header.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="
        ));
        header.rsplit_once('=').map(|(_, signature)| signature.to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_published_examples_come_out() {
        assert_eq!(
            signature("GET", "/test.txt", "", b"", &[("range", "bytes=0-9")]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature(
                "PUT",
                "/test%24file.text",
                "",
                b"Welcome to Amazon S3.",
                &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", &canonical_query(&[("lifecycle", "")]), b"", &[]),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", "/", &canonical_query(&[("prefix", "J"), ("max-keys", "2")]), b"", &[]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn queries_are_encoded_and_sorted() {
        assert_eq!(canonical_query(&[("versionId", "a+b/c=="), ("uploads", "")]), "uploads=&versionId=a%2Bb%2Fc%3D%3D");
    }
}
