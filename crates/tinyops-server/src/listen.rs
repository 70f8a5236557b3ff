//! Listeners of streams, plain or through TLS, and HTTP on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::stop::Stop;
use crate::tls::Tls;

/// From the first byte to the end of the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes at once; further clients wait.
const HANDSHAKES_MAX: usize = 256;
/// How long calls that have begun may go on once HTTP is to stop: a page that polls keeps its connection open.
const CALLS_END_WITHIN: Duration = Duration::from_secs(1);

/// A connection, plain or through TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Accepts connections, plain or through TLS.
#[derive(Debug)]
pub struct StreamListener {
    source: Source,
    address: SocketAddr,
}

#[derive(Debug)]
enum Source {
    Plain(TcpListener),
    /// Connections that have shaken hands: a slow client keeps nobody waiting.
    Tls {
        ready: mpsc::Receiver<(Box<dyn Stream>, SocketAddr)>,
        accepting: AbortHandle,
        /// Renews the certificate for as long as this listens.
        _tls: Tls,
    },
}

impl StreamListener {
    /// Listens at this address; port 0 takes any free one.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    ///
    /// # Errors
    /// What the system says of an address that is taken, or not ours.
    pub async fn bind(wanted: SocketAddr, tls: Option<&Tls>) -> io::Result<StreamListener> {
        let listener = TcpListener::bind(wanted).await?;
        let address = listener.local_addr()?;
        let source = match tls {
            None => Source::Plain(listener),
            Some(tls) => {
                let (sender, ready) = mpsc::channel(HANDSHAKES_MAX);
                let accepting = tokio::spawn(shake_hands(listener, tls.config().clone(), sender));
                Source::Tls {
                    ready,
                    accepting: accepting.abort_handle(),
                    _tls: tls.clone(),
                }
            }
        };
        Ok(StreamListener { source, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, and where it comes from; with TLS, once it has shaken hands.
    pub async fn accept(&mut self) -> (Box<dyn Stream>, SocketAddr) {
        match &mut self.source {
            Source::Plain(listener) => {
                let (stream, peer) = accept(listener).await;
                (Box::new(stream), peer)
            }
            Source::Tls { ready, .. } => match ready.recv().await {
                Some(accepted) => accepted,
                // The accepting task ends with this listener only.
                None => std::future::pending().await,
            },
        }
    }
}

impl Drop for StreamListener {
    fn drop(&mut self) {
        if let Source::Tls { accepting, .. } = &self.source {
            accepting.abort();
        }
    }
}

/// The next connection; what keeps one from being accepted is waited for.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                drop(stream.set_nodelay(true)); // Only costs latency where it fails.
                return (stream, peer);
            }
            Err(cause) => {
                // Out of file descriptors, most often: wait for some to come back.
                warn!(%cause, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn shake_hands(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    sender: mpsc::Sender<(Box<dyn Stream>, SocketAddr)>,
) {
    let acceptor = TlsAcceptor::from(config);
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            (stream, peer) = accept(&listener), if handshakes.len() < HANDSHAKES_MAX => {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                handshakes.spawn(async move {
                    let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream));
                    match shaken.await {
                        Ok(Ok(stream)) => drop(sender.send((Box::new(stream), peer)).await),
                        Ok(Err(cause)) => debug!(%peer, %cause, "no TLS handshake"),
                        Err(_) => debug!(%peer, "the TLS handshake took too long"),
                    }
                });
            }
        }
    }
}

impl Listener for StreamListener {
    type Io = Box<dyn Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        StreamListener::accept(self).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Where a call comes from, for handlers that have to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, StreamListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, StreamListener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// Answers over HTTP until asked to stop; calls that have begun then are cut off if they take too long.
pub(crate) async fn serve_http(listener: StreamListener, router: Router, mut stop: Stop) {
    let mut asked = stop.clone();
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server =
        axum::serve(listener, service).with_graceful_shutdown(async move { asked.asked().await });
    let cut_off = async {
        stop.asked().await;
        tokio::time::sleep(CALLS_END_WITHIN).await;
    };
    tokio::select! {
        ended = server => {
            if let Err(cause) = ended {
                warn!(%cause, "HTTP ended");
            }
        }
        () = cut_off => {}
    }
}
