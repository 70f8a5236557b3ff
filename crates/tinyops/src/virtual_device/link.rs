//! A device's link to a server: MQTT, as a client of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration,
    TlsError, Transport,
};
use tinyops_fleet::enrol::device_password;
use tinyops_wire::{DeviceId, DeviceKey};
use tokio::{sync::mpsc, task::JoinHandle};

use super::way::{Down, Inbox};
use crate::endpoint::Endpoint;

/// A publication that is not stored after this long is taken as lost.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// One connection; what comes down is in the inbox it was opened with.
pub(crate) struct Link {
    client: AsyncClient,
    topic: String,
    sent: u64,
    stored: Arc<AtomicU64>,
    pump: JoinHandle<()>,
}

impl Link {
    /// Connects, and connects again whenever the connection breaks.
    pub(crate) fn open(server: &Endpoint, device: DeviceId, key: &DeviceKey) -> (Self, Inbox) {
        let mut options =
            MqttOptions::new(format!("virtual-{device}"), server.host(), server.port());
        if let Some(config) = server.tls() {
            let config = TlsConfiguration::Rustls(Arc::clone(config));
            options.set_transport(Transport::Tls(config));
        }
        options
            .set_credentials(device.to_string(), device_password(key, device))
            .set_keep_alive(Duration::from_secs(30))
            .set_max_packet_size(16 * 1024, 16 * 1024);
        let (client, events) = AsyncClient::new(options, 64);
        let (inbox, receiver) = mpsc::channel(256);
        let stored = Arc::new(AtomicU64::new(0));
        let pump = tokio::spawn(pump(
            events,
            server.clone(),
            client.clone(),
            format!("t/{device}/down"),
            inbox,
            Arc::clone(&stored),
        ));
        let link = Self {
            client,
            topic: format!("t/{device}/up"),
            sent: 0,
            stored,
            pump,
        };
        (link, receiver)
    }

    /// Sends a message; false when the connection is gone for good.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) -> bool {
        self.sent += 1;
        let sent = self
            .client
            .publish(&self.topic, QoS::AtLeastOnce, false, bytes);
        sent.await.is_ok()
    }

    /// How many messages were sent and are not yet acknowledged.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent
            .saturating_sub(self.stored.load(Ordering::Acquire))
    }

    /// How long to wait for an acknowledgement before giving up on it.
    pub(crate) fn patience() -> Duration {
        STORED_WITHIN
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn pump(
    mut events: EventLoop,
    server: Endpoint,
    client: AsyncClient,
    down: String,
    inbox: mpsc::Sender<Down>,
    stored: Arc<AtomicU64>,
) {
    let mut is_well = true;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                is_well = true;
                // A queue of 64 has room: nothing is published before the connection stands.
                if client.try_subscribe(&down, QoS::AtLeastOnce).is_err() {
                    tracing::warn!(topic = down, "could not subscribe");
                }
            }
            Ok(Event::Incoming(Packet::PubAck(_))) => {
                stored.fetch_add(1, Ordering::Release);
            }
            Ok(Event::Incoming(Packet::Publish(message))) => {
                let down = Down::Envelope(message.payload.to_vec());
                if inbox.send(down).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => {
                let why = explained(&server, error);
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(%server, why, "no MQTT connection; it is tried again");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// What keeps a connection from standing, in words.
fn explained(server: &Endpoint, error: ConnectionError) -> String {
    match error {
        ConnectionError::Tls(TlsError::Io(error)) => server.explained(error).to_string(),
        ConnectionError::ConnectionRefused(code) => format!("the server refused it: {code:?}"),
        ConnectionError::Io(error) => error.to_string(),
        error if server.tls().is_none() => {
            format!(
                "{error}; write mqtts://{} if it speaks TLS",
                server.authority()
            )
        }
        error => error.to_string(),
    }
}
