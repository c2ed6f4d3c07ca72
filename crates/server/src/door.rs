//! Where connections come in: accepted, counted, given TLS if we have it, and read as HTTP within firm limits.
//!
//! Everything that a stranger can use up has a bound here: connections at once, handshakes at once, the time for a
//! handshake and for the head of a request, the size of a head. What passes is handed to the router with the client's
//! address attached.

use crate::client_address::{ClientAddr, TrustedProxies, client_ip};
use crate::limits;
use crate::metrics;
use crate::patience::Impatient;
use crate::tasks;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// The way in to a router.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) trusted: Arc<TrustedProxies>,
    /// How long a connection may go without an answer of ours.
    pub(crate) patience: Duration,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Door {
    /// Accepts connections until `stop`, then lets requests that are being answered end.
    pub(crate) async fn serve(self, mut listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
        let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES));
        let connections = TaskTracker::new();
        while let Some((stream, peer)) = stop.run_until_cancelled(Listener::accept(&mut listener)).await {
            let Ok(place) = places.clone().try_acquire_owned() else {
                metrics::connection_refused("connections");
                continue;
            };
            // Frames of 400 bytes must not wait for company.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY refused");
            }
            let (door, handshakes, stop) = (self.clone(), handshakes.clone(), stop.clone());
            tasks::spawn(connections.track_future(async move {
                door.admit(stream, peer, &handshakes, stop).await;
                drop(place);
            }));
        }
        // Nobody new: the port is free while the last requests are answered.
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    async fn admit(self, stream: TcpStream, peer: SocketAddr, handshakes: &Semaphore, stop: CancellationToken) {
        let Some(config) = self.tls.clone() else {
            return self.talk(stream, peer, stop).await;
        };
        let Ok(turn) = handshakes.try_acquire() else {
            return metrics::connection_refused("handshakes");
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        let greeted = tokio::time::timeout(limits::HANDSHAKE_WAIT.min(self.patience), handshake).await;
        drop(turn);
        match greeted {
            Ok(Ok(stream)) => self.talk(stream, peer, stop).await,
            Ok(Err(error)) => {
                metrics::connection_refused("handshake_failed");
                tracing::debug!(%error, "TLS handshake failed");
            }
            Err(_) => metrics::connection_refused("handshake_timeout"),
        }
    }

    async fn talk<S>(self, stream: S, peer: SocketAddr, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let patience = self.patience;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let request = self.introduce(request, peer);
            let router = self.router.clone();
            // The error of both is the one that cannot happen.
            router.oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEAD_WAIT.min(patience))
            .max_header_size(limits::HEAD_MAX)
            .max_buf_size(limits::HTTP_BUFFER)
            .serve_connection(TokioIo::new(Impatient::new(stream, patience)), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = match stop.run_until_cancelled(connection.as_mut()).await {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// The request as the router takes it, with the address of its client.
    fn introduce(&self, request: hyper::Request<Incoming>, peer: SocketAddr) -> Request {
        let client = client_ip(request.headers(), peer.ip(), &self.trusted);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ClientAddr(client));
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    }
}
