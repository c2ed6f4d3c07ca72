//! What listens at the clinic: a program for webhooks, a mail server, and a Twilio that loses its answers.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, post};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A program that answers with the given statuses, then with 200.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) base: String,
    heard: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let statuses = Arc::new(Mutex::new(statuses.iter().rev().copied().collect()));
        let receiver = Self { base, statuses, ..Self::default() };
        let hear = async |State(receiver): State<Self>, headers: HeaderMap, body: Bytes| {
            receiver.heard.lock().unwrap().push((headers, body));
            StatusCode::from_u16(receiver.statuses.lock().unwrap().pop().unwrap_or(200)).unwrap()
        };
        let router = Router::new().fallback(any(hear)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(crate) fn heard(&self) -> Vec<(HeaderMap, Bytes)> {
        self.heard.lock().unwrap().clone()
    }
}

/// A Twilio that takes every message, and whose first answers to that are lost.
#[derive(Clone, Default)]
pub(crate) struct LosingTwilio {
    pub(crate) base: String,
    pub(crate) texts: Arc<Mutex<Vec<String>>>,
    answers_to_lose: Arc<Mutex<u32>>,
    searches_to_lose: Arc<Mutex<u32>>,
}

impl LosingTwilio {
    pub(crate) async fn start(answers_to_lose: u32, searches_to_lose: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let twilio = Self {
            base,
            answers_to_lose: Arc::new(Mutex::new(answers_to_lose)),
            searches_to_lose: Arc::new(Mutex::new(searches_to_lose)),
            ..Self::default()
        };
        let lose = |left: &Mutex<u32>| {
            let mut left = left.lock().unwrap();
            let lost = *left > 0;
            *left = left.saturating_sub(1);
            if lost { Err(StatusCode::BAD_GATEWAY) } else { Ok(()) }
        };
        let send = async move |State(twilio): State<Self>, body: Bytes| {
            let form = call::twilio::signature::decode_form(&body).unwrap();
            let text = form.into_iter().find(|(name, _)| name == "Body").unwrap().1;
            let number = {
                let mut texts = twilio.texts.lock().unwrap();
                texts.push(text);
                texts.len()
            };
            lose(&twilio.answers_to_lose)?;
            Ok::<_, StatusCode>(axum::Json(json!({"sid": format!("SM{number}"), "status": "queued"})))
        };
        let search = async move |State(twilio): State<Self>| {
            lose(&twilio.searches_to_lose)?;
            let texts = twilio.texts.lock().unwrap();
            let messages: Vec<Value> =
                (1..).zip(texts.iter()).map(|(n, text)| json!({"sid": format!("SM{n}"), "body": text})).collect();
            Ok::<_, StatusCode>(axum::Json(json!({"messages": messages})))
        };
        let path = "/2010-04-01/Accounts/{account}/Messages.json";
        let router = Router::new().route(path, post(send).get(search)).with_state(twilio.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        twilio
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }
}

/// A mail server that answers the first `refusals` mails with 451 and takes the others.
#[derive(Clone, Default)]
pub(crate) struct MailServer {
    pub(crate) url: String,
    mails: Arc<Mutex<Vec<String>>>,
    refusals: Arc<Mutex<u32>>,
}

impl MailServer {
    pub(crate) async fn start(refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = Self { url, refusals: Arc::new(Mutex::new(refusals)), ..Self::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().talk(socket));
            }
        });
        server
    }

    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }

    async fn talk(self, mut socket: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = socket.split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 mail.example.org\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "MAIL" if self.refuses() => "451 not now",
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut mail = String::new();
                    while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                        mail.push_str(&line);
                        mail.push('\n');
                    }
                    self.mails.lock().unwrap().push(mail);
                    "250 taken"
                }
                "QUIT" => "221 bye",
                _ => "250 well",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    fn refuses(&self) -> bool {
        let mut left = self.refusals.lock().unwrap();
        let refuses = *left > 0;
        *left = left.saturating_sub(1);
        refuses
    }
}
