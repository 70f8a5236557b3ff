//! A device's radio, and the LoRaWAN network between it and the server: class A, ChirpStack's events and downlinks.
//!
//! There is no radio here and no network server. What a device sends becomes an event as ChirpStack v4 posts it, and the
//! downlink in the server's answer goes to the device in the receive windows of that uplink; nothing is lost on the air.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tinyops_device::lorawan::{Radio, Received};
use tinyops_wire::{
    DeviceId, DeviceKey, base64,
    lorawan::{PART_OVERHEAD, downlink_bytes_max},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::way::{Down, Inbox};
use crate::{
    endpoint::{Endpoint, Protocol},
    http,
};

/// Near a gateway.
const SPREADING_FACTOR: u8 = 7;
/// Longest payload of an uplink at that factor, in bytes (EU868, without repeaters).
const UPLINK_BYTES_MAX: usize = 222;
/// Bytes of a block of a capsule: small, for payloads are.
pub(crate) const AIR_BLOCK_BYTES: u16 = 16;
/// Bytes of a capsule that one downlink carries.
pub(crate) const AIR_ROOM: usize = downlink_bytes_max(SPREADING_FACTOR) - PART_OVERHEAD;

/// When a radio speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// Time between two uplinks at least.
    pub(crate) pause: Duration,
    /// Time between two uplinks at most: a device that has no model yet has nothing to report, and hears of one only
    /// if it speaks.
    pub(crate) beat: Duration,
}

/// One radio; what comes down is in the inbox it was opened with.
pub(crate) struct Air {
    up: mpsc::Sender<Vec<u8>>,
    sent: u64,
    said: Arc<AtomicU64>,
    is_listening: Arc<AtomicBool>,
    pump: JoinHandle<()>,
}

impl Air {
    /// Turns the radio on. `server` is where the network server posts its events.
    pub(crate) fn open(
        server: SocketAddr,
        device: DeviceId,
        key: &DeviceKey,
        rhythm: Rhythm,
    ) -> (Self, Inbox) {
        let (up, outbox) = mpsc::channel(64);
        let (inbox, receiver) = mpsc::channel(256);
        let said = Arc::new(AtomicU64::new(0));
        let is_listening = Arc::new(AtomicBool::new(false));
        let session = Session {
            server: Endpoint::plain(Protocol::Http, server),
            device,
            radio: Radio::new(device, key.clone()),
            frame_counter: 0,
            inbox,
            is_listening: Arc::clone(&is_listening),
        };
        let pump = tokio::spawn(session.keep(outbox, Arc::clone(&said), rhythm));
        let air = Self {
            up,
            sent: 0,
            said,
            is_listening,
            pump,
        };
        (air, receiver)
    }

    /// Sends an envelope; false when the radio is off for good.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) -> bool {
        self.sent += 1;
        self.up.send(bytes).await.is_ok()
    }

    /// How many envelopes have not gone out whole.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.said.load(Ordering::Acquire))
    }

    /// Whether the server held something back for the device at the last uplink, or part of it is here.
    pub(crate) fn is_listening(&self) -> bool {
        self.is_listening.load(Ordering::Acquire)
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A device's session with the network.
struct Session {
    server: Endpoint,
    device: DeviceId,
    radio: Radio,
    frame_counter: u32,
    inbox: mpsc::Sender<Down>,
    is_listening: Arc<AtomicBool>,
}

impl Session {
    async fn keep(
        mut self,
        mut outbox: mpsc::Receiver<Vec<u8>>,
        said: Arc<AtomicU64>,
        rhythm: Rhythm,
    ) {
        // Payloads that the server holds back: class A has to speak to be spoken to.
        let mut waiting = 0;
        loop {
            if self.radio.is_idle() {
                let next = if waiting > 0 || self.radio.is_waiting() {
                    outbox.try_recv().ok()
                } else {
                    match tokio::time::timeout(rhythm.beat, outbox.recv()).await {
                        Ok(Some(next)) => Some(next),
                        Ok(None) => return,
                        // Nothing to say: an empty uplink asks whether there is something to hear.
                        Err(_) => None,
                    }
                };
                if let Some(envelope) = next
                    && !self.radio.send(&envelope, UPLINK_BYTES_MAX)
                {
                    tracing::warn!(device = %self.device, "a message is too long for the radio");
                    said.fetch_add(1, Ordering::Release);
                    continue;
                }
            }
            let was_idle = self.radio.is_idle();
            match self.exchange().await {
                Ok(left) => {
                    waiting = left;
                    let is_listening = waiting > 0 || self.radio.is_waiting();
                    self.is_listening.store(is_listening, Ordering::Release);
                }
                Err(error) => tracing::debug!(%error, device = %self.device, "no network"),
            }
            if !was_idle && self.radio.is_idle() {
                said.fetch_add(1, Ordering::Release);
            }
            tokio::time::sleep(rhythm.pause).await;
        }
    }

    /// One uplink and what comes down in its receive windows; answers how many payloads the server holds back.
    async fn exchange(&mut self) -> io::Result<u64> {
        self.radio.ask_for_missing();
        let mut payload = [0; UPLINK_BYTES_MAX];
        let (port, len) = self.radio.uplink(&mut payload).unwrap_or_default();
        let event = self.event(port, &payload[..len]);
        self.frame_counter += 1;
        let path = "/api/v1/lorawan/chirpstack?event=up";
        let answer = http::post(&self.server, path, None, &event).await?;
        let told = answer.document();
        if answer.status != 200 {
            let message = told["message"].as_str().unwrap_or("no reason given");
            return Err(io::Error::other(message.to_owned()));
        }
        let document = &told["down"]["document"];
        if let (Some(port), Some(data)) = (document["fPort"].as_u64(), document["data"].as_str()) {
            let mut bytes = vec![0; data.len()];
            let len = base64::decode(data.as_bytes(), &mut bytes).unwrap_or(0);
            // The radio knows the newest number itself: it hears every one of them.
            let down = match self.radio.receive(port as u8, &bytes[..len], 0) {
                Received::Envelope(envelope) => Some(Down::Envelope(envelope.to_vec())),
                Received::Block { offset, bytes } => Some(Down::Block {
                    offset,
                    bytes: bytes.to_vec(),
                }),
                Received::Nothing => None,
            };
            if let Some(down) = down {
                let _ = self.inbox.send(down).await;
            }
        }
        Ok(told["waiting"].as_u64().unwrap_or(0))
    }

    /// An uplink as ChirpStack v4 posts it, without what is known of gateways: nobody reads that here.
    fn event(&self, port: u8, payload: &[u8]) -> Value {
        let mut text = vec![0; base64::encoded_len(payload.len())];
        let _ = base64::encode(payload, &mut text);
        json!({
            "deviceInfo": {
                "applicationName": "fans",
                "deviceName": format!("radio-{}", self.device),
                "devEui": self.device.to_string(),
                "deviceClassEnabled": "CLASS_A",
            },
            "adr": true,
            "dr": 12 - SPREADING_FACTOR,
            "fCnt": self.frame_counter,
            "fPort": port,
            "confirmed": false,
            "data": String::from_utf8_lossy(&text),
            "txInfo": {
                "frequency": 868_100_000,
                "modulation": { "lora": {
                    "bandwidth": 125_000, "spreadingFactor": SPREADING_FACTOR, "codeRate": "CR_4_5",
                } },
            },
        })
    }
}
