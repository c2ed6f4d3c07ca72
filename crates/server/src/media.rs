//! Twilio's media stream sockets: only one that is signed, announced and holds its call's ticket gets to its call.

use crate::app::App;
use crate::clock;
use crate::limits;
use crate::metrics;
use crate::webhook::TICKET_PARAMETER;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use call::ticket::{self, TicketError};
use call::twilio::message::{self, FromTwilio};
use call::twilio::signature;
use secrecy::ExposeSecret;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A media socket that proved to belong to a call.
#[derive(Debug)]
pub(crate) struct PhoneSocket {
    pub(crate) socket: Box<WebSocket>,
    /// The text of its `start` message.
    pub(crate) start: String,
}

/// Which kind of stream a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One that is listened to and spoken on.
    Conversation,
    /// One that is only listened to, while instructions lead the call.
    Fork,
}

/// The upgrade request of a media stream.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, &uri, &headers, upgrade, Kind::Conversation)
}

/// The upgrade request of a stream that only listens.
pub(crate) async fn fork(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, &uri, &headers, upgrade, Kind::Fork)
}

fn open(app: Arc<App>, uri: &Uri, headers: &HeaderMap, upgrade: WebSocketUpgrade, kind: Kind) -> Response {
    let header_text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let target = uri.path_and_query().map_or(uri.path(), axum::http::uri::PathAndQuery::as_str);
    let url = app.settings.public_ws_url(target);
    let signed = app.settings.twilio.auth_token.as_ref().is_some_and(|token| {
        signature::verify_handshake(
            token.expose_secret(),
            &url,
            header_text("x-twilio-signature"),
            header_text("x-twilio-webhooks-signature-settings"),
        )
        .is_ok()
    });
    if !signed {
        metrics::media_socket("signature");
        tracing::warn!("media socket without a valid signature refused");
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(permit) = app.anonymous_sockets.clone().try_acquire_owned() else {
        metrics::media_socket("too_many");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade
        .read_buffer_size(limits::WS_READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(limits::PHONE_MESSAGE_MAX)
        .max_frame_size(limits::PHONE_MESSAGE_MAX)
        .on_upgrade(move |socket| admit(app, socket, permit, kind))
}

/// Takes the socket to its call. The permit is held until it has shown to which one it belongs.
async fn admit(app: Arc<App>, socket: WebSocket, _permit: OwnedSemaphorePermit, kind: Kind) {
    let mut socket = Box::new(socket);
    let shown = tokio::time::timeout(limits::START_WAIT, wait_for_start(&mut socket)).await;
    let result = match shown {
        Ok(Some(start)) => bind(&app, socket, start, kind),
        Ok(None) => Err(("no_start", Some(socket))),
        Err(_) => Err(("start_timeout", Some(socket))),
    };
    match result {
        Ok(()) => metrics::media_socket("accepted"),
        Err((why, socket)) => {
            metrics::media_socket(why);
            tracing::warn!(why, "media socket refused");
            if let Some(mut socket) = socket {
                let frame = CloseFrame { code: 1008, reason: "not an announced call".into() };
                let close = socket.send(Message::Close(Some(frame)));
                let _ = tokio::time::timeout(limits::CLOSE_WAIT, close).await;
            }
        }
    }
}

/// Reads until `start`. Anything but `connected` before it, and any close, means that this is no media stream.
async fn wait_for_start(socket: &mut WebSocket) -> Option<String> {
    // `connected` and `start`, and some patience for messages we do not know.
    for _ in 0..8 {
        match socket.recv().await? {
            Ok(Message::Text(text)) => match message::parse(&text) {
                Ok(FromTwilio::Start(_)) => return Some(text.as_str().to_owned()),
                Ok(FromTwilio::Connected | FromTwilio::Unknown) => {}
                _ => return None,
            },
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            _ => return None,
        }
    }
    None
}

type Refused = (&'static str, Option<Box<WebSocket>>);

/// Checks the ticket and gives the socket to its call.
fn bind(app: &App, socket: Box<WebSocket>, text: String, kind: Kind) -> Result<(), Refused> {
    let Ok(FromTwilio::Start(start)) = message::parse(&text) else { return Err(("no_start", Some(socket))) };
    let account_is_ours = match (&app.settings.twilio.account_sid, &start.account_sid) {
        (Some(ours), Some(account)) => ours == account.as_str(),
        (Some(_), None) => false,
        (None, _) => true,
    };
    if !account_is_ours {
        return Err(("account", Some(socket)));
    }
    let Some(shown) = start.custom_parameters.get(TICKET_PARAMETER) else { return Err(("no_ticket", Some(socket))) };
    let now = clock::unix_s();
    let Ok(claims) = ticket::verify(&app.ticket_key, shown, now) else { return Err(("ticket", Some(socket))) };
    let same_call = start.call_sid.as_ref() == Some(&claims.call_sid);
    let same_account = start.account_sid.as_ref().is_none_or(|account| *account == claims.account_sid);
    if !same_call || !same_account {
        return Err(("ticket_of_another_call", Some(socket)));
    }
    match app.registry.ticket_used(&claims.nonce, now) {
        Ok(()) => {}
        // A good ticket, given out by another process: the call is in that one's memory.
        Err(TicketError::Unknown) => return Err(("call_of_another_server", Some(socket))),
        Err(_) => return Err(("ticket_used", Some(socket))),
    }
    let socket = PhoneSocket { socket, start: text };
    let attached = match kind {
        Kind::Conversation => app.registry.attach(&claims.call_sid, socket),
        Kind::Fork => app.registry.attach_fork(&claims.call_sid, socket),
    };
    match attached {
        Ok(id) => {
            tracing::info!(call_id = %id, ?kind, "media stream attached");
            Ok(())
        }
        Err(back) => Err(("call_not_waiting", Some(back.socket))),
    }
}
