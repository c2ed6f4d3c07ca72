//! The session cookie and what protects it from other sites.
//!
//! A session is 256 random bits in a cookie; the store knows only their hash, so a copy of the database opens no session.
//! Over https the cookie is `__Host-heartvoice`: browsers then insist on `Secure`, on the path `/` and on no domain, so
//! that no neighbouring host can plant one. Browsers do not send such a cookie over plain http, so a server that is
//! reached at a loopback address uses the name `heartvoice` without `Secure`.
//!
//! Against forged requests stand three independent things: `SameSite=Strict`, the origin that browsers report with every
//! request that changes something, and a token that scripts of our own pages read and send back as a header. The token
//! follows from the session secret by HMAC, so nothing more has to be stored.

use super::{NoRandomness, random, same};
use aws_lc_rs::{digest, hmac};
use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use url::{Host, Url};
use zeroize::Zeroizing;

/// Header in which scripts send the token back.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Characters of 32 bytes in base64 without padding.
const SECRET_CHARACTERS: usize = 43;
/// Most bytes of cookies that are searched; browsers send 4 KiB for each cookie.
const COOKIES_MAX_BYTES: usize = 16 * 1024;

/// What a browser shows to prove its session.
#[derive(Clone)]
pub struct SessionSecret(Zeroizing<[u8; 32]>);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

impl SessionSecret {
    /// A new one: at every sign-in, never taken over from before it.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// The value of a cookie, in the one form in which we write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != SECRET_CHARACTERS {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// What the store keeps and looks sessions up by. SHA-256 is enough, since the secret is random.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, self.0.as_slice()).as_ref()) {
            *to = *from;
        }
        hash
    }

    /// The token for [`CSRF_HEADER`]. Pages of ours may read it; the secret does not follow from it.
    #[must_use]
    pub fn csrf_token(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"heartvoice csrf token 1").as_ref())
    }

    /// Whether a token, from a header or from the hidden field of a form, is the one of this session.
    #[must_use]
    pub fn csrf_fits(&self, token: &str) -> bool {
        same(self.csrf_token().as_bytes(), token.as_bytes())
    }

    fn value(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }
}

/// Why a request that would change something is not believed to come from our own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forged {
    /// The browser says that another site made it.
    #[error("the request comes from another site")]
    OtherSite,
    /// Neither `Origin` nor `Sec-Fetch-Site`: no browser of this decade.
    #[error("the request does not say where it comes from; programs use a bearer token instead of a cookie")]
    NoOrigin,
    /// The token is missing or not that of the session.
    #[error("the header {CSRF_HEADER} is missing or does not belong to this session; load the page again")]
    Token,
}

/// How cookies of this server look; made once from the address people use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookies {
    /// Whether the address is https, or unknown.
    secure: bool,
    /// Such as `https://clinic.example`, as browsers write it.
    origin: String,
}

impl Cookies {
    /// From `PUBLIC_BASE_URL`. Plain http is granted to loopback addresses only; under any other plain address the
    /// cookies are `Secure` all the same, which means that nobody can sign in there.
    #[must_use]
    pub fn for_base_url(public_base_url: &str) -> Self {
        match Url::parse(public_base_url) {
            Ok(url) => {
                let plain = url.scheme() == "http" && is_loopback(&url);
                Self { secure: !plain, origin: url.origin().ascii_serialization() }
            }
            Err(_) => Self { secure: true, origin: String::new() },
        }
    }

    /// Name of the session cookie.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.secure { "__Host-heartvoice" } else { "heartvoice" }
    }

    /// Name of the cookie that lives while a person is at the identity provider.
    #[must_use]
    pub fn flow_name(&self) -> &'static str {
        if self.secure { "__Host-heartvoice-oidc" } else { "heartvoice-oidc" }
    }

    /// `Set-Cookie` for a new session. It ends with the browser; the store ends it earlier when it is idle or old.
    #[must_use]
    pub fn set(&self, secret: &SessionSecret) -> Zeroizing<String> {
        Zeroizing::new(format!("{}={}{}; SameSite=Strict", self.name(), secret.value().as_str(), self.attributes()))
    }

    /// `Set-Cookie` that removes the session.
    #[must_use]
    pub fn clear(&self) -> String {
        format!("{}={}; SameSite=Strict; Max-Age=0", self.name(), self.attributes())
    }

    /// `Set-Cookie` for the way to the identity provider and back. `Lax`, because the way back begins at another site,
    /// and with `Strict` the browser would keep the cookie to itself.
    #[must_use]
    pub fn set_flow(&self, sealed: &str, seconds: u64) -> String {
        format!("{}={sealed}{}; SameSite=Lax; Max-Age={seconds}", self.flow_name(), self.attributes())
    }

    /// `Set-Cookie` that removes it.
    #[must_use]
    pub fn clear_flow(&self) -> String {
        format!("{}={}; SameSite=Lax; Max-Age=0", self.flow_name(), self.attributes())
    }

    /// The session that a request shows. Two cookies of the name are none: one of them was planted.
    #[must_use]
    pub fn session(&self, headers: &HeaderMap) -> Option<SessionSecret> {
        SessionSecret::parse(only(headers, self.name())?)
    }

    /// The sealed state of a sign-in at the identity provider that a request shows.
    #[must_use]
    pub fn flow<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        only(headers, self.flow_name())
    }

    /// Lets a request pass that changes nothing; any other must come from our own pages and show the token. For every
    /// request that is authorised by a cookie.
    ///
    /// # Errors
    /// [`Forged`]: answer 403 and do nothing.
    pub fn check(&self, method: &Method, headers: &HeaderMap, session: &SessionSecret) -> Result<(), Forged> {
        if method.is_safe() { Ok(()) } else { self.check_shown(headers, session) }
    }

    /// As [`Self::check`] for a request that changes something.
    ///
    /// # Errors
    /// [`Forged`]: answer 403 and do nothing.
    pub fn check_shown(&self, headers: &HeaderMap, session: &SessionSecret) -> Result<(), Forged> {
        self.check_origin(headers)?;
        let shown = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        if shown.is_some_and(|token| session.csrf_fits(token)) { Ok(()) } else { Err(Forged::Token) }
    }

    /// Whether a browser says that our own page made the request; for forms that are sent before there is a session, such
    /// as the sign-in itself, and for forms whose token is a field.
    ///
    /// # Errors
    /// [`Forged`]: answer 403 and do nothing.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<(), Forged> {
        let origin = single(headers, "origin")?;
        let site = single(headers, "sec-fetch-site")?;
        // A form on a page with `Referrer-Policy: no-referrer` says `null`; that it is ours then rests on the other header,
        // which no page can write.
        let origin = origin.filter(|origin| !(*origin == "null" && site == Some("same-origin")));
        if origin.is_none() && site.is_none() {
            return Err(Forged::NoOrigin);
        }
        let ours = origin.is_none_or(|origin| !self.origin.is_empty() && origin == self.origin);
        let same_origin = site.is_none_or(|site| site == "same-origin");
        if ours && same_origin { Ok(()) } else { Err(Forged::OtherSite) }
    }

    fn attributes(&self) -> &'static str {
        if self.secure { "; Path=/; HttpOnly; Secure" } else { "; Path=/; HttpOnly" }
    }
}

/// Whether an address is this machine's own: plain http to it is heard by nobody else.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A header that may occur once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Forged> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Forged::OtherSite),
        (Some(_), Some(_)) => Err(Forged::OtherSite),
    }
}

/// The value of the only cookie of that exact name.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE);
    if lines.iter().map(|line| line.len()).sum::<usize>() > COOKIES_MAX_BYTES {
        return None;
    }
    let mut found = None;
    for line in lines {
        // A browser sends its cookies as one line of ASCII; a line of anything else is none of a browser.
        for pair in line.to_str().ok()?.split(';') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            if key.trim() == name && found.replace(value.trim()).is_some() {
                return None;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn shown(cookies: &Cookies, secret: &SessionSecret) -> String {
        cookies.set(secret).split(';').next().unwrap().to_owned()
    }

    #[test]
    fn over_https_browsers_guard_the_cookie() {
        let cookies = Cookies::for_base_url("https://clinic.example/base");
        let secret = SessionSecret::generate().unwrap();
        let line = cookies.set(&secret);
        assert!(line.starts_with("__Host-heartvoice="), "{}", line.as_str());
        assert!(line.ends_with("; Path=/; HttpOnly; Secure; SameSite=Strict"), "{}", line.as_str());
        assert!(!line.contains("Domain"));
        assert_eq!(cookies.clear(), "__Host-heartvoice=; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=0");
        assert_eq!(
            cookies.set_flow("abc", 600),
            "__Host-heartvoice-oidc=abc; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=600"
        );
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for base in ["http://127.0.0.1:3000", "http://localhost:3000", "http://[::1]:3000", "http://127.8.9.1"] {
            let cookies = Cookies::for_base_url(base);
            assert_eq!(cookies.name(), "heartvoice", "{base}");
            assert!(!cookies.clear().contains("Secure"), "{base}");
        }
        for base in [
            "http://clinic.example",
            "http://10.0.0.1",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "https://localhost",
            "not an address",
        ] {
            assert!(Cookies::for_base_url(base).clear().contains("__Host-"), "{base}");
        }
    }

    #[test]
    fn a_session_is_read_back_among_other_cookies() {
        let cookies = Cookies::for_base_url("https://clinic.example");
        let secret = SessionSecret::generate().unwrap();
        let cookie = shown(&cookies, &secret);
        for line in [cookie.clone(), format!("a=b; {cookie}; c=d"), format!("{cookie};flag"), format!("=;;{cookie}")] {
            let found = cookies.session(&headers(&[("cookie", &line)])).unwrap();
            assert_eq!(found.hash(), secret.hash(), "{line}");
        }
        let split = headers(&[("cookie", "a=b"), ("cookie", &cookie)]);
        assert_eq!(cookies.session(&split).unwrap().hash(), secret.hash());
    }

    #[test]
    fn nothing_else_is_a_session() {
        let cookies = Cookies::for_base_url("https://clinic.example");
        let cookie = shown(&cookies, &SessionSecret::generate().unwrap());
        let other = shown(&cookies, &SessionSecret::generate().unwrap());
        let value = cookie.split_once('=').unwrap().1;
        for line in [
            String::new(),
            format!("{cookie}; {other}"),
            format!("heartvoice={value}"),
            format!("x__Host-heartvoice={value}"),
            format!("__host-heartvoice={value}"),
            format!("__Host-heartvoice=\"{value}\""),
            format!("__Host-heartvoice={value}="),
            format!("__Host-heartvoice={}", &value[1..]),
            format!("__Host-heartvoice={}/", &value[1..]),
            format!("__Host-heartvoice={}ä", &value[2..]),
            format!("{cookie}; {}", "a".repeat(COOKIES_MAX_BYTES)),
        ] {
            assert!(cookies.session(&headers(&[("cookie", &line)])).is_none(), "{line:.80}");
        }
        let twice = headers(&[("cookie", &cookie), ("cookie", &other)]);
        assert!(cookies.session(&twice).is_none());
        let zeros = "A".repeat(42);
        assert!(SessionSecret::parse(&format!("{zeros}A")).is_some());
        assert!(SessionSecret::parse(&format!("{zeros}B")).is_none(), "the same bytes are written in one way only");
    }

    #[test]
    fn what_changes_something_needs_the_token_and_our_origin() {
        let cookies = Cookies::for_base_url("https://clinic.example:8443/");
        let session = SessionSecret::generate().unwrap();
        let token = session.csrf_token();
        let ours = ("origin", "https://clinic.example:8443");
        let same = ("sec-fetch-site", "same-origin");
        let check = |pairs: &[(&'static str, &str)]| cookies.check(&Method::POST, &headers(pairs), &session);
        assert_eq!(check(&[ours, same, (CSRF_HEADER, &token)]), Ok(()));
        assert_eq!(check(&[ours, (CSRF_HEADER, &token)]), Ok(()));
        assert_eq!(check(&[same, (CSRF_HEADER, &token)]), Ok(()));

        assert_eq!(check(&[ours, same]), Err(Forged::Token));
        let foreign = SessionSecret::generate().unwrap().csrf_token();
        assert_eq!(check(&[ours, same, (CSRF_HEADER, &foreign)]), Err(Forged::Token));
        assert_eq!(check(&[(CSRF_HEADER, &token)]), Err(Forged::NoOrigin));
        assert_eq!(check(&[("origin", "null"), same, (CSRF_HEADER, &token)]), Ok(()), "a page that sends no referrer");
        assert_eq!(check(&[("origin", "null"), (CSRF_HEADER, &token)]), Err(Forged::OtherSite));
        for origin in ["https://clinic.example", "http://clinic.example:8443", "https://evil.example", ""] {
            assert_eq!(check(&[("origin", origin), same, (CSRF_HEADER, &token)]), Err(Forged::OtherSite), "{origin}");
        }
        for site in ["cross-site", "same-site", "none"] {
            let pairs = [ours, ("sec-fetch-site", site), (CSRF_HEADER, token.as_str())];
            assert_eq!(check(&pairs), Err(Forged::OtherSite), "{site}");
        }
        assert_eq!(check(&[ours, ours, (CSRF_HEADER, &token)]), Err(Forged::OtherSite), "two origins");
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(cookies.check(&method, &headers(&[ours]), &session), Err(Forged::Token), "{method}");
        }
        assert_eq!(cookies.check(&Method::GET, &HeaderMap::new(), &session), Ok(()));
        let nowhere = Cookies::for_base_url("not an address");
        assert_eq!(nowhere.check_origin(&headers(&[("origin", "")])), Err(Forged::OtherSite));
    }

    #[test]
    fn neither_hash_nor_token_nor_debug_shows_the_secret() {
        let session = SessionSecret::generate().unwrap();
        let value = session.value();
        assert!(!format!("{session:?}").contains(value.as_str()));
        assert_ne!(session.csrf_token(), *value);
        assert_ne!(session.hash(), *session.0);
        assert_eq!(SessionSecret::parse(&value).unwrap().csrf_token(), session.csrf_token());
    }
}
