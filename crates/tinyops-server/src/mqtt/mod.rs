//! The built-in MQTT 3.1.1 and 5 endpoint.
//!
//! | topic | direction | payload |
//! |---|---|---|
//! | `t/{device}/up` | device → server, QoS 0 or 1 | one envelope or block request (`tinyops-wire`) |
//! | `t/{device}/down` | server → device, QoS 0 or 1 | one message: offer, request, command, block |
//!
//! A device connects with its id as the user name and its token as the password, may publish
//! to its own `up` topic and subscribe to its own `down` topic, and nothing else. A PUBACK is
//! written after the transaction that holds the message has committed ([`commit`]). QoS 2,
//! retained messages, wills and wildcard subscriptions are not offered.

pub(crate) mod commit;
mod connection;
pub(crate) mod packet;
pub(crate) mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tinyops_wire::id::DeviceId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::stop::Stop;
use commit::Work;
use session::{Closing, Sessions};

/// Why the gate could not answer; the cause is for the log.
pub(crate) type GateError = Box<dyn std::error::Error + Send + Sync>;

/// What the endpoint asks of the fleet.
pub(crate) trait Gate: Send + Sync + 'static {
    /// Whether this device may connect with this password.
    fn admit(
        &self,
        device: DeviceId,
        password: &[u8],
    ) -> impl Future<Output = Result<bool, GateError>> + Send;

    /// Stores a group of reports durably and says of each whether it is kept, in order; one from a gateway names
    /// no device. What follows from them may be left to [`Gate::settle`] if `pace` says so.
    fn commit(
        &self,
        uplinks: &[(Option<DeviceId>, &[u8])],
        pace: Pace,
    ) -> impl Future<Output = Result<Vec<Verdict>, GateError>> + Send;

    /// Does what earlier groups left to do.
    fn settle(&self) -> impl Future<Output = Result<(), GateError>> + Send;

    /// The messages that a device which listens now is owed.
    fn owed(
        &self,
        device: DeviceId,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, GateError>> + Send;
}

/// How much comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Little: the records shall hold a report when it is acknowledged.
    Calm,
    /// Much: the records may follow, so that many reports are worked through together.
    Busy,
}

/// What became of one report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// False for a report that no repetition could make right.
    pub kept: bool,
    /// The device that it is from, if it is known.
    pub device: Option<DeviceId>,
    /// Messages to send back.
    pub down: Vec<Vec<u8>>,
}

/// Limits of the endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once; the next one is closed at the door.
    pub connections_max: usize,
    /// Bytes of one packet's body.
    pub packet_bytes_max: u32,
    /// Messages of one connection that wait for the store.
    pub in_flight_max: u16,
    /// From the first byte to a complete CONNECT.
    pub hello_timeout: Duration,
    /// Silence allowed to a client that asked for no keep alive, or for a longer one.
    pub idle_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 20_000,
            packet_bytes_max: 8 * 1024,
            in_flight_max: 32,
            hello_timeout: Duration::from_secs(10),
            idle_max: Duration::from_secs(3600),
        }
    }
}

/// What every connection shares.
pub(crate) struct Shared<G> {
    pub gate: Arc<G>,
    pub sessions: Arc<Sessions>,
    pub work: mpsc::Sender<Work>,
    pub limits: Limits,
    pub metrics: Metrics,
    /// With it, every connection speaks TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Accepts connections until asked to stop, then says goodbye to each.
pub(crate) async fn listen<G: Gate>(listener: TcpListener, shared: Arc<Shared<G>>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.asked() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < shared.limits.connections_max => {
                    drop(stream.set_nodelay(true)); // Only costs latency where it fails.
                    connections.spawn(connection::serve(stream, peer, shared.clone()));
                }
                Ok((_, peer)) => refuse(&shared, peer),
                Err(cause) => {
                    // Out of file descriptors, most often: wait for some to come back.
                    warn!(%cause, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    shared.sessions.close_all(Closing::ShuttingDown);
    let goodbye = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(1), goodbye)
        .await
        .is_err()
    {
        info!(
            connections = connections.len(),
            "connections cut at shutdown"
        );
        connections.shutdown().await;
    }
}

fn refuse<G>(shared: &Shared<G>, peer: SocketAddr) {
    shared.metrics.connections_refused.inc();
    warn!(%peer, limit = shared.limits.connections_max, "connection refused, the endpoint is full");
}

/// The topic that a device publishes to.
pub(crate) fn up_topic(device: DeviceId) -> String {
    format!("t/{device}/up")
}

/// Whether a topic is [`up_topic`] of this device.
pub(crate) fn is_up_topic(device: DeviceId, topic: &str) -> bool {
    let id = topic.strip_prefix("t/");
    let id = id.and_then(|rest| rest.strip_suffix("/up"));
    // An id is shown in small letters and read in any.
    id.is_some_and(|id| {
        !id.bytes().any(|byte| byte.is_ascii_uppercase()) && id.parse() == Ok(device)
    })
}

/// The topic that a device subscribes to.
pub(crate) fn down_topic(device: DeviceId) -> String {
    format!("t/{device}/down")
}
