//! TLS on our own port.

use crate::house::{House, PATIENCE, read_answer, trickle};
use call::twilio::signature;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use secrecy::SecretString;
use server::{Settings, TlsSettings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const TOKEN: &str = "token-of-the-tests";

/// A fresh certificate for `localhost` in `dir`.
fn certificate(dir: &Path) -> (TlsSettings, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let settings = TlsSettings {
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        look_every: Duration::from_millis(100),
    };
    std::fs::write(&settings.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&settings.certificate, made.cert.pem()).unwrap();
    (settings, made.cert.der().clone())
}

fn client(trusted: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(roots).with_no_client_auth()
}

async fn greet(house: &House, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, house.connect().await).await
}

async fn open(tls: TlsSettings) -> House {
    House::open_with(|settings: &mut Settings| {
        settings.tls = Some(tls);
        settings.public_base_url = format!("https://localhost:{}", settings.bind.port());
        settings.twilio.auth_token = Some(SecretString::from(TOKEN));
    })
    .await
}

#[tokio::test]
async fn requests_are_answered_over_tls_and_only_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, trusted) = certificate(dir.path());
    let house = open(tls).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut stream = greet(&house, config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    }
    let plain = house.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(plain.is_none(), "{plain:?}");
    house.server.shutdown(Duration::ZERO, std::future::pending()).await;
}

#[tokio::test]
async fn a_media_socket_is_opened_over_tls_and_may_be_silent() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, trusted) = certificate(dir.path());
    let house = open(tls).await;
    let url = format!("wss://localhost:{}/twilio/media-stream", house.server.address().port());
    let mut request = url.as_str().into_client_request().unwrap();
    let signed = signature::sign(TOKEN, &url, &[]);
    request.headers_mut().insert("x-twilio-signature", signed.parse().unwrap());
    let stream = greet(&house, client(&trusted)).await.unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    // Longer than any request may take: the socket is none.
    tokio::time::sleep(PATIENCE * 2).await;
    let media = r#"{"event":"media","sequenceNumber":"1","streamSid":"MZ1","media":{"payload":""}}"#;
    socket.send(Message::text(media)).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
    let Message::Close(Some(frame)) = closed else { panic!("{closed:?}") };
    assert_eq!(u16::from(frame.code), 1008, "audio before its announcement is refused by the media handler");
}

/// A greeting that offers `version` at most, and everything else that the server needs.
fn greeting(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x09]); // ECDHE-ECDSA with AES128-GCM, and with AES128-CBC as it was then
    hello.extend([1, 0]); // no compression
    let extensions = [
        &[0, 13, 0, 4, 0, 2, 4, 3][..], // signatures: ecdsa_secp256r1_sha256
        &[0, 10, 0, 4, 0, 2, 0, 0x17],  // groups: secp256r1
        &[0, 11, 0, 2, 1, 0],           // uncompressed points
        &[0, 23, 0, 0],                 // extended master secret
    ];
    let extensions = extensions.concat();
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn older_protocols_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let house = open(certificate(dir.path()).0).await;
    let first_bytes = async |version| {
        let mut stream = house.connect().await;
        stream.write_all(&greeting(version)).await.unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    for version in [[3, 0], [3, 1], [3, 2]] {
        let answer = first_bytes(version).await;
        // An alert record of two bytes: fatal, protocol_version.
        assert_eq!((answer[0], &answer[3..]), (0x15, &[0, 2, 2, 70][..]), "{version:?} {answer:?}");
    }
    // The very same with TLS 1.2 begins a handshake, so that it was the version that was refused.
    let answer = first_bytes([3, 3]).await;
    assert_eq!((answer[0], answer[5]), (0x16, 2), "{answer:?}");
}

#[tokio::test]
async fn whoever_only_connects_or_greets_slowly_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, trusted) = certificate(dir.path());
    let house = open(tls).await;
    let silent = house.connect().await;
    let mut slow = house.connect().await;
    slow.write_all(&[0x16, 3, 1, 0x40, 0]).await.unwrap();
    let within = greet(&house, client(&trusted)).await.unwrap();
    let (silent, slow, within) = tokio::join!(trickle(silent, b""), trickle(slow, b"a"), trickle(within, b"G"));
    for taken in [silent, slow, within] {
        assert!(taken > PATIENCE / 2 && taken < PATIENCE * 4, "{taken:?}");
    }
    assert!(greet(&house, client(&trusted)).await.is_ok());
}

#[tokio::test]
async fn garbage_instead_of_a_greeting_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, trusted) = certificate(dir.path());
    let house = open(tls).await;
    for garbage in [&b"\0"[..], b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01\x00\x02", &[0xff; 5_000]] {
        let _ = house.raw(garbage).await;
    }
    // A client that offers only what we do not speak.
    let mut config = client(&trusted);
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(greet(&house, config).await.is_err());
    assert!(ClientConnection::new(Arc::new(client(&trusted)), ServerName::try_from("localhost").unwrap()).is_ok());
    assert!(greet(&house, client(&trusted)).await.is_ok());
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_open_connections_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, first) = certificate(dir.path());
    let house = open(tls).await;
    let mut old = greet(&house, client(&first)).await.unwrap();
    let (_, second) = certificate(dir.path());
    let mut renewed = false;
    for _ in 0..100 {
        old.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut old).await.unwrap().status, 200, "the old connection is served");
        if greet(&house, client(&second)).await.is_ok() {
            renewed = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(renewed, "five seconds after the renewal");
    assert!(greet(&house, client(&first)).await.is_err(), "the old certificate is not shown any more");
    // Half a renewal changes nothing.
    std::fs::write(dir.path().join("key.pem"), "half").unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(greet(&house, client(&second)).await.is_ok());
}

#[tokio::test]
async fn a_bad_certificate_is_named_before_the_port_is_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, _) = certificate(dir.path());
    std::fs::write(&tls.certificate, "not a certificate").unwrap();
    let config = store::StoreConfig {
        database_url: format!("sqlite://{}", dir.path().join("test.db").display()),
        audio_dir: dir.path().join("audio"),
    };
    let store = store::Store::open(config, store::MasterKey::random().unwrap()).await.unwrap();
    // The port is taken; the certificate is complained of first.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { tls: Some(tls), ..Settings::local(taken.local_addr().unwrap()) };
    let error = server::Server::start(settings, store).await.unwrap_err().to_string();
    assert!(error.starts_with("TLS_CERT_FILE: expected one or more certificates"), "{error}");
}
