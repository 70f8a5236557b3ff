//! One connection: a task that reads packets, hands reports to the store and writes answers.
//!
//! Idle connections are what a fleet is made of, so an idle one owns no buffer: bytes are read
//! onto the stack, and only an incomplete packet or an unsent answer is kept on the heap.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use tinyops_wire::id::DeviceId;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::commit::Work;
use super::packet::{self, Denied, Hello, Offer, Received, Version};
use super::session::{Closing, Session};
use super::stream::Stream;
use super::{Gate, Shared, down_topic, is_up_topic};

/// Bytes read at once, on the stack.
const READ_BYTES: usize = 4096;
/// Unsent bytes above which nothing more is queued for a client.
const OUT_BYTES_MAX: usize = 16 * 1024;
/// Messages to a client that wait for its acknowledgement at most.
const UNACKED_MAX: u16 = 16;
/// How soon a connection that found the store's queue full tries again.
const RETRY: Duration = Duration::from_millis(5);

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// The client said so, or went away.
    Gone,
    /// The client broke the protocol.
    Broken(MqttError),
    /// The client did what it may not.
    Forbidden(&'static str),
    /// The client was silent for too long.
    Silent,
    /// The server wants it so.
    Asked(Closing),
}

/// Serves one client from its first byte to its last.
pub(crate) async fn serve<G: Gate>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<G>>) {
    let (mut stream, writer) = match Stream::new(stream, shared.tls.as_ref()) {
        Ok(split) => split,
        Err(cause) => {
            warn!(%peer, %cause, "no TLS for a connection");
            return;
        }
    };
    // Boxed, so that a connection that is in does not carry the handshake's locals.
    let Some((hello, device, listens)) = Box::pin(welcome(&mut stream, peer, &shared)).await else {
        return;
    };
    let session = Session::new(device, writer);
    shared.sessions.enter(&session);
    shared.metrics.connections.inc();
    let mut connection = Connection::new(stream, hello, session.clone(), shared.clone());
    connection.listens = listens;
    if listens.is_some() {
        let session = session.clone();
        // The receiver is gone only while the server stops.
        drop(shared.work.send(Work::Listening { session }).await);
    }
    let end = connection.run().await;
    connection.say_goodbye(&end);
    drop(connection);
    shared.sessions.leave(&session);
    shared.metrics.connections.dec();
    match end {
        End::Broken(cause) => {
            shared.metrics.packets_malformed.inc();
            if shared.metrics.first_offence(device) {
                warn!(%device, %peer, %cause, "connection closed, the client broke the protocol");
            }
        }
        End::Forbidden(what) => {
            shared.metrics.packets_malformed.inc();
            if shared.metrics.first_offence(device) {
                warn!(%device, %peer, what, "connection closed, the client may not do this");
            }
        }
        End::Gone | End::Silent | End::Asked(_) => debug!(%device, ?end, "disconnected"),
    }
}

/// Reads the CONNECT and lets the client in, or tells it why not.
async fn welcome<G: Gate>(
    stream: &mut Stream,
    peer: SocketAddr,
    shared: &Shared<G>,
) -> Option<(Hello, DeviceId, Option<u8>)> {
    let read = tokio::time::timeout(shared.limits.hello_timeout, read_connect(stream)).await;
    let mut out = Vec::new();
    let admitted = match read {
        Ok(Ok(hello)) => match admit(&hello, shared).await {
            Ok(device) => Some((hello, device)),
            Err(denied) => {
                debug!(%peer, ?denied, "connection denied");
                packet::connack_denied(hello.version, denied, &mut out);
                None
            }
        },
        Ok(Err(Some(MqttError::UnsupportedProtocolVersion))) => {
            packet::connack_denied(Version::V3, Denied::Version, &mut out);
            None
        }
        Ok(Err(Some(cause))) => {
            shared.metrics.packets_malformed.inc();
            debug!(%peer, %cause, "no valid CONNECT");
            None
        }
        Ok(Err(None)) | Err(_) => None, // Gone, or too slow: nobody to talk to.
    };
    let admitted = admitted.map(|(hello, device)| {
        let earlier = shared
            .sessions
            .resume(device, hello.resume, hello.expiry_s > 0);
        let offer = Offer {
            session_present: earlier.is_some(),
            packet_bytes_max: shared.limits.packet_bytes_max,
            receive_max: shared.limits.in_flight_max,
            keep_alive_s: (keep_alive(&hello, shared.limits.idle_max).as_secs()
                != u64::from(hello.keep_alive_s))
            .then(|| shared.limits.idle_max.as_secs().min(u64::from(u16::MAX)) as u16),
        };
        packet::connack_accepted(hello.version, offer, &mut out);
        (hello, device, earlier.flatten())
    });
    if admitted.is_none() {
        shared.metrics.connections_denied.inc();
    }
    // An empty socket buffer takes a CONNACK whole.
    match stream.try_write(&out) {
        Ok(written) if written == out.len() => admitted,
        _ => None,
    }
}

async fn read_connect(stream: &mut Stream) -> Result<Hello, Option<MqttError>> {
    /// Id, token and a will, with room; before that nobody is known.
    const CONNECT_BYTES_MAX: usize = 1024;
    let mut bytes = Vec::with_capacity(128);
    loop {
        if let Some(frame) = packet::frame(&bytes, CONNECT_BYTES_MAX)? {
            if frame.first != 0x10 || frame.end != bytes.len() {
                // Nothing may follow before the CONNACK has said what is allowed.
                return Err(Some(MqttError::ProtocolError));
            }
            return Ok(packet::decode_connect(&bytes[frame.body_start..frame.end])?);
        }
        stream.ready(Interest::READABLE).await.map_err(|_| None)?;
        let mut buffer = [0; CONNECT_BYTES_MAX];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(None),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(None),
        }
    }
}

async fn admit<G: Gate>(hello: &Hello, shared: &Shared<G>) -> Result<DeviceId, Denied> {
    let device = hello
        .user_name
        .as_deref()
        .and_then(|name| name.parse().ok())
        .ok_or(Denied::Credentials)?;
    let password = hello.password.as_deref().ok_or(Denied::Credentials)?;
    match shared.gate.admit(device, password).await {
        Ok(true) => Ok(device),
        Ok(false) => Err(Denied::Credentials),
        Err(cause) => {
            warn!(%device, %cause, "could not check a device's token");
            Err(Denied::Unavailable)
        }
    }
}

/// The client's keep alive, or the server's limit where that is shorter or none was asked for.
fn keep_alive(hello: &Hello, idle_max: Duration) -> Duration {
    match hello.keep_alive_s {
        0 => idle_max,
        seconds => Duration::from_secs(seconds.into()).min(idle_max),
    }
}

struct Connection<G> {
    stream: Stream,
    session: Arc<Session>,
    shared: Arc<Shared<G>>,
    version: Version,
    /// QoS at which the client listens to its topic; none until it subscribes.
    listens: Option<u8>,
    /// Bytes of a packet that has not arrived whole, or could not be taken yet.
    pending: Vec<u8>,
    /// Answers that the socket has not taken yet.
    out: Vec<u8>,
    /// Messages handed to the store and not acknowledged yet.
    in_flight: u16,
    /// Messages sent to the client and not acknowledged by it.
    unacked: u16,
    unacked_max: u16,
    packet_bytes_max: u32,
    next_packet_id: u16,
    /// The store's queue was full: what is pending waits.
    stalled: bool,
    last_heard: Instant,
    silence_max: Duration,
}

impl<G> Drop for Connection<G> {
    fn drop(&mut self) {
        self.session.hang_up();
    }
}

impl<G: Gate> Connection<G> {
    fn new(
        stream: Stream,
        hello: Hello,
        session: Arc<Session>,
        shared: Arc<Shared<G>>,
    ) -> Connection<G> {
        Connection {
            stream,
            session,
            version: hello.version,
            listens: None,
            pending: Vec::new(),
            out: Vec::new(),
            in_flight: 0,
            unacked: 0,
            unacked_max: hello.receive_max.min(UNACKED_MAX),
            packet_bytes_max: hello.packet_bytes_max,
            next_packet_id: 1,
            stalled: false,
            last_heard: Instant::now(),
            // One and a half times the keep alive (MQTT 5, section 3.1.2.10).
            silence_max: keep_alive(&hello, shared.limits.idle_max) * 3 / 2,
            shared,
        }
    }

    async fn run(&mut self) -> End {
        let session = self.session.clone();
        // One timer for as long as the connection lives: it is moved when it fires, not at every packet.
        let timer = tokio::time::sleep_until(self.last_heard + self.silence_max);
        tokio::pin!(timer);
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
            if self.stalled {
                timer.as_mut().reset(Instant::now() + RETRY);
            }
            if self.in_flight >= self.shared.limits.in_flight_max {
                session.wait_for_room();
            }
            let readable = !self.blocked();
            let interest = match (readable, self.out.is_empty()) {
                (true, true) => Some(Interest::READABLE),
                (true, false) => Some(Interest::READABLE | Interest::WRITABLE),
                (false, false) => Some(Interest::WRITABLE),
                (false, true) => None,
            };
            tokio::select! {
                biased;
                () = session.woken() => {}
                ready = self.stream.ready(interest.unwrap_or(Interest::READABLE)), if interest.is_some() => {
                    if ready.is_err() {
                        return End::Gone;
                    }
                    if readable && let Err(end) = self.read() {
                        return end;
                    }
                }
                () = &mut timer => {
                    let silent_at = self.last_heard + self.silence_max;
                    if !self.stalled && Instant::now() >= silent_at {
                        return End::Silent;
                    }
                    timer.as_mut().reset(silent_at);
                }
            }
        }
    }

    /// True while nothing more may be read: the store or the client has to catch up first.
    fn blocked(&self) -> bool {
        self.stalled || self.blocked_but_for_stall()
    }

    /// Writes what waits, and takes what was pending.
    fn turn(&mut self) -> Result<(), End> {
        self.empty_inbox()?;
        self.flush()?; // First, since a full output keeps what is pending from being taken.
        if !self.pending.is_empty() && !self.blocked_but_for_stall() {
            self.stalled = false;
            let bytes = std::mem::take(&mut self.pending);
            self.take(&bytes)?;
        }
        self.flush()
    }

    fn blocked_but_for_stall(&self) -> bool {
        self.in_flight >= self.shared.limits.in_flight_max || self.out.len() >= OUT_BYTES_MAX
    }

    fn empty_inbox(&mut self) -> Result<(), End> {
        let session = self.session.clone();
        let mut inbox = session.inbox();
        self.in_flight -= inbox.done_count;
        inbox.done_count = 0;
        inbox.is_full = false;
        inbox.put_rest_before(&mut self.out);
        for (packet_id, kept) in std::mem::take(&mut inbox.acks) {
            packet::puback(self.version, packet_id, kept, &mut self.out);
            self.in_flight -= 1;
        }
        while self.listens.is_some()
            && self.unacked < self.unacked_max
            && self.out.len() < OUT_BYTES_MAX
            && let Some(message) = inbox.take_down()
        {
            self.queue_message(&message);
        }
        inbox.has_unsent = !self.out.is_empty();
        match inbox.closing {
            Some(why) => Err(End::Asked(why)),
            None => Ok(()),
        }
    }

    fn queue_message(&mut self, message: &[u8]) {
        let topic = down_topic(self.session.device);
        // Fixed header, topic length, packet id and property length at their longest.
        let packet_bytes = message.len() + topic.len() + 10;
        if u32::try_from(packet_bytes).is_ok_and(|bytes| bytes <= self.packet_bytes_max) {
            let packet_id = (self.listens == Some(1)).then(|| {
                self.unacked += 1;
                let packet_id = self.next_packet_id;
                self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
                packet_id
            });
            packet::publish(self.version, &topic, packet_id, message, &mut self.out);
            self.shared.metrics.messages_down.inc();
            self.shared.metrics.bytes_down.inc_by(message.len() as u64);
        } else {
            self.shared.metrics.downlinks_dropped.inc();
        }
    }

    fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        // Held meanwhile, so that no acknowledgement comes in between.
        let mut inbox = self.session.inbox();
        inbox.put_rest_before(&mut self.out);
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.try_write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(End::Gone),
            }
        }
        if sent == self.out.len() {
            self.out = Vec::new();
        } else {
            self.out.drain(..sent);
        }
        inbox.has_unsent = !self.out.is_empty();
        Ok(())
    }

    fn read(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        let count = match self.stream.try_read(&mut buffer) {
            Ok(0) => return Err(End::Gone),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(End::Gone),
        };
        self.last_heard = Instant::now();
        if self.pending.is_empty() {
            return self.take(&buffer[..count]);
        }
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend_from_slice(&buffer[..count]);
        self.take(&bytes)
    }

    /// Takes every whole packet off `bytes` and keeps the rest.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while !self.blocked() {
            let body_bytes_max = self.shared.limits.packet_bytes_max as usize;
            let Some(frame) = packet::frame(bytes, body_bytes_max).map_err(End::Broken)? else {
                break;
            };
            let body = &bytes[frame.body_start..frame.end];
            let received = packet::decode(self.version, frame.first, body).map_err(End::Broken)?;
            if !self.answer(received)? {
                self.stalled = true;
                break;
            }
            bytes = &bytes[frame.end..];
        }
        self.pending = bytes.to_vec();
        Ok(())
    }

    /// Answers one packet; false when the store's queue is full and it has to come again.
    fn answer(&mut self, received: Received<'_>) -> Result<bool, End> {
        let device = self.session.device;
        match received {
            Received::Publish {
                topic,
                packet_id,
                payload,
            } => {
                if !is_up_topic(device, topic) {
                    return Err(End::Forbidden("published to a topic that is not its own"));
                }
                let Ok(place) = self.shared.work.try_reserve() else {
                    return Ok(false);
                };
                self.shared.metrics.messages_up.inc();
                self.shared.metrics.bytes_up.inc_by(payload.len() as u64);
                self.in_flight += 1;
                place.send(Work::Message {
                    session: self.session.clone(),
                    packet_id,
                    payload: payload.into(),
                });
            }
            // Acknowledgements come in order, so counting them is enough.
            Received::Puback(_) => self.unacked = self.unacked.saturating_sub(1),
            Received::Subscribe { packet_id, filters } => {
                let Ok(place) = self.shared.work.try_reserve() else {
                    return Ok(false);
                };
                let own = down_topic(device);
                let granted: Vec<Option<u8>> = filters
                    .into_iter()
                    .map(|(filter, qos)| (filter == own).then_some(qos.min(1)))
                    .collect();
                packet::suback(self.version, packet_id, &granted, &mut self.out);
                if let Some(qos) = granted.into_iter().flatten().next_back() {
                    self.listens = Some(qos);
                    self.shared.sessions.listens(device, self.listens);
                    place.send(Work::Listening {
                        session: self.session.clone(),
                    });
                }
            }
            Received::Unsubscribe { packet_id, filters } => {
                let own = down_topic(device);
                let existed: Vec<bool> = filters
                    .iter()
                    .map(|filter| *filter == own && self.listens.take().is_some())
                    .collect();
                self.shared.sessions.listens(device, self.listens);
                packet::unsuback(self.version, packet_id, &existed, &mut self.out);
            }
            Received::Pingreq => packet::pingresp(&mut self.out),
            Received::Disconnect => return Err(End::Gone),
        }
        Ok(true)
    }

    /// Tells a MQTT 5 client why, if the socket takes it without waiting.
    fn say_goodbye(&mut self, end: &End) {
        let reason = match end {
            End::Gone => return,
            End::Broken(cause) => DisconnectReasonCode::from(*cause),
            End::Forbidden(_) => DisconnectReasonCode::NotAuthorized,
            End::Silent => DisconnectReasonCode::KeepAliveTimeout,
            End::Asked(Closing::TakenOver) => DisconnectReasonCode::SessionTakenOver,
            End::Asked(Closing::ShuttingDown) => DisconnectReasonCode::ServerShuttingDown,
            End::Asked(Closing::NotStored) => DisconnectReasonCode::ServerBusy,
            End::Asked(Closing::Revoked) => DisconnectReasonCode::NotAuthorized,
        };
        packet::disconnect(self.version, reason, &mut self.out);
        drop(self.flush()); // The connection ends either way.
        self.stream.close();
    }
}
