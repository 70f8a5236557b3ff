//! The endpoint against real clients and hostile bytes, over loopback sockets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5 as client_v5;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tinyops_wire::id::DeviceId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::commit;
use super::session::Sessions;
use super::{
    Gate, GateError, Limits, Pace, Shared, Verdict, down_topic, is_up_topic, listen, up_topic,
};
use crate::metrics::Metrics;
use crate::stop::{self, Stopper};

/// A fleet that keeps reports in memory, each once, and can be held up or made to fail.
#[derive(Default)]
struct Memory {
    kept: Mutex<HashMap<(DeviceId, Vec<u8>), usize>>,
    arrived: Notify,
    held: AtomicBool,
    released: Notify,
    fails: AtomicBool,
    owed: Vec<Vec<u8>>,
}

impl Memory {
    fn kept(&self, device: DeviceId, bytes: &[u8]) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.contains_key(&(device, bytes.to_vec()))
    }
}

impl Gate for Memory {
    async fn admit(&self, device: DeviceId, password: &[u8]) -> Result<bool, GateError> {
        Ok(password == format!("token of {device}").as_bytes())
    }

    async fn commit(
        &self,
        uplinks: &[(Option<DeviceId>, &[u8])],
        _pace: Pace,
    ) -> Result<Vec<Verdict>, GateError> {
        self.arrived.notify_one();
        if self.held.load(Ordering::SeqCst) {
            self.released.notified().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err("disk full".into());
        }
        let mut kept = self.kept.lock().unwrap();
        Ok(uplinks
            .iter()
            .map(|(device, bytes)| {
                let good = *bytes != b"bad";
                let device = device.expect("a session has a device");
                if good {
                    *kept.entry((device, bytes.to_vec())).or_default() += 1;
                }
                Verdict {
                    kept: good,
                    device: Some(device),
                    down: Vec::new(),
                }
            })
            .collect())
    }

    async fn settle(&self) -> Result<(), GateError> {
        Ok(())
    }

    async fn owed(&self, _device: DeviceId) -> Result<Vec<Vec<u8>>, GateError> {
        Ok(self.owed.clone())
    }
}

struct Server {
    port: u16,
    gate: Arc<Memory>,
    sessions: Arc<Sessions>,
    metrics: Metrics,
    stop: Stopper,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    async fn start(gate: Memory, limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Arc::new(gate);
        let sessions = Arc::new(Sessions::default());
        let metrics = Metrics::new();
        let (stop, stopped) = stop::pair();
        let (work, queue) = commit::queue();
        let shared = Arc::new(Shared {
            gate: gate.clone(),
            sessions: sessions.clone(),
            work,
            limits,
            metrics: metrics.clone(),
            tls: None,
        });
        let tasks = vec![
            tokio::spawn(listen(listener, shared, stopped.clone())),
            tokio::spawn(commit::run(gate.clone(), queue, metrics.clone(), stopped)),
        ];
        Server {
            port,
            gate,
            sessions,
            metrics,
            stop,
            tasks,
        }
    }

    async fn stop(self) {
        self.stop.stop();
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(60), task)
                .await
                .expect("every task ends when asked")
                .unwrap();
        }
    }

    fn client(&self, device: DeviceId, clean: bool) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(device.to_string(), "127.0.0.1", self.port);
        options
            .set_credentials(device.to_string(), format!("token of {device}"))
            .set_clean_session(clean);
        AsyncClient::new(options, 16)
    }

    /// A socket on which the device is already in, speaking MQTT 3.1.1.
    async fn raw(&self, device: DeviceId) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(&connect_bytes(device)).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        stream
    }
}

const DEVICE: DeviceId = DeviceId(0x17);

fn connect_bytes(device: DeviceId) -> Vec<u8> {
    let (name, token) = (device.to_string(), format!("token of {device}"));
    // Clean session, user name and password; keep alive 60 s; an empty client id.
    let mut body = b"\x00\x04MQTT\x04\xc2\x00\x3c\x00\x00".to_vec();
    for text in [name, token] {
        body.extend_from_slice(&(text.len() as u16).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend(body);
    packet
}

#[test]
fn a_device_has_one_topic_to_publish_to() {
    let device = DeviceId(0xabc);
    assert!(is_up_topic(device, &up_topic(device)));
    let others = [
        up_topic(DEVICE),
        down_topic(device),
        up_topic(device).to_uppercase(),
        "t/0000000000000ABC/up".to_owned(),
        "t/abc/up".to_owned(),
        "t//up".to_owned(),
        String::new(),
    ];
    for topic in others {
        assert!(!is_up_topic(device, &topic), "{topic}");
    }
}

async fn until(events: &mut EventLoop, wanted: fn(&Packet) -> bool) -> Packet {
    let wait = async {
        loop {
            if let Ok(Event::Incoming(packet)) = events.poll().await
                && wanted(&packet)
            {
                return packet;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("the packet comes")
}

/// Reads until the server closes; what it said before.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    drop(
        tokio::time::timeout(Duration::from_secs(60), read)
            .await
            .expect("the server closes"),
    );
    said
}

#[tokio::test]
async fn a_client_of_mqtt_3_reports_and_is_told_what_it_is_owed() {
    let gate = Memory {
        owed: vec![b"offer".to_vec()],
        ..Memory::default()
    };
    let server = Server::start(gate, Limits::default()).await;
    let (client, mut events) = server.client(DEVICE, true);
    client
        .publish(up_topic(DEVICE), QoS::AtLeastOnce, false, "report")
        .await
        .unwrap();
    until(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await;
    assert!(server.gate.kept(DEVICE, b"report"), "acknowledged = stored");

    client
        .subscribe(down_topic(DEVICE), QoS::AtLeastOnce)
        .await
        .unwrap();
    let message = until(&mut events, |packet| matches!(packet, Packet::Publish(_))).await;
    assert!(
        matches!(message, Packet::Publish(p) if p.payload == "offer" && p.qos == QoS::AtLeastOnce)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_of_mqtt_5_learns_the_limits_and_why_a_report_is_refused() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    let mut options = rumqttc::v5::MqttOptions::new("any", "127.0.0.1", server.port);
    options.set_credentials(DEVICE.to_string(), format!("token of {DEVICE}"));
    let (client, mut events) = rumqttc::v5::AsyncClient::new(options, 16);
    client
        .publish(
            up_topic(DEVICE),
            rumqttc::v5::mqttbytes::QoS::AtLeastOnce,
            false,
            "bad",
        )
        .await
        .unwrap();
    let mut limits = None;
    let refusal = loop {
        match events.poll().await.unwrap() {
            rumqttc::v5::Event::Incoming(client_v5::Packet::ConnAck(connack)) => {
                limits = connack.properties;
            }
            rumqttc::v5::Event::Incoming(client_v5::Packet::PubAck(puback)) => break puback,
            _ => {}
        }
    };
    assert_eq!(
        refusal.reason,
        client_v5::PubAckReason::PayloadFormatInvalid
    );
    let limits = limits.expect("the CONNACK has properties");
    assert_eq!(limits.max_qos, Some(1));
    assert_eq!(limits.receive_max, Some(32));
    assert_eq!(limits.retain_available, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_is_stored_once() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    let (client, mut events) = server.client(DEVICE, false);
    until(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await;
    server.gate.held.store(true, Ordering::SeqCst);
    client
        .publish(up_topic(DEVICE), QoS::AtLeastOnce, false, "report")
        .await
        .unwrap();
    let arrived = server.gate.arrived.notified();
    tokio::select! {
        () = arrived => {}
        packet = until(&mut events, |packet| matches!(packet, Packet::PubAck(_))) => {
            panic!("acknowledged before the commit: {packet:?}");
        }
    }
    // The server forgets the group and the connection, as a crash between publish and ack would.
    server.gate.fails.store(true, Ordering::SeqCst);
    server.gate.held.store(false, Ordering::SeqCst);
    server.gate.released.notify_one();
    while events.poll().await.is_ok() {}
    assert!(!server.gate.kept(DEVICE, b"report"));
    server.gate.fails.store(false, Ordering::SeqCst);

    until(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await;
    let kept = server.gate.kept.lock().unwrap().clone();
    assert_eq!(kept.into_values().collect::<Vec<_>>(), [1]);
    server.stop().await;
}

#[tokio::test]
async fn a_second_connection_of_a_device_takes_over() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    let mut first = server.raw(DEVICE).await;
    let _second = server.raw(DEVICE).await;
    assert_eq!(read_to_end(&mut first).await, b"");
    assert_eq!(server.sessions.count(), 1);
    assert!(server.sessions.send(DEVICE, b"for the second"));
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_token_or_no_device_id_is_denied() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    let connect = connect_bytes(DEVICE);
    let mut wrong_token = connect.clone();
    *wrong_token.last_mut().unwrap() ^= 1;
    let mut no_device = connect;
    no_device[16] = b'x';
    for bytes in [wrong_token, no_device] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, [0x20, 2, 0, 4]);
    }
    server.stop().await;
}

#[tokio::test]
async fn hostile_bytes_close_their_own_connection_only() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    let mut witness = server.raw(DeviceId(1)).await;
    let hostile: [&[u8]; 10] = [
        b"\x00\x00",                                     // reserved packet type
        b"\xff\xff\xff\xff\xff\xff",                     // reserved flags, endless length
        b"\x32\xff\xff\xff\xff\x01",                     // a length of five digits
        b"\x32\x80\x80\x80\x01",                         // 2 MiB
        b"\x32\x02\x00\x09",                             // a topic longer than the packet
        b"\x32\x04\x00\x00\x00\x00",                     // packet id 0
        b"\x34\x07\x00\x03t/x\x00\x01",                  // QoS 2
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", // a second CONNECT
        b"\x82\x02\x00\x01",                             // a subscription to nothing
        b"\x30\x09\x00\x07t/17/up",                      // somebody else's topic
    ];
    for (at, bytes) in hostile.into_iter().enumerate() {
        let mut stream = server.raw(DeviceId(100 + at as u64)).await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, b"", "case {at}");
        // Before a CONNECT, too.
        let mut stranger = TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        stranger.write_all(bytes).await.unwrap();
        stranger.shutdown().await.unwrap();
        let said = read_to_end(&mut stranger).await;
        assert!(
            said.is_empty() || said == [0x20, 2, 0, 4],
            "case {at}: {said:?}"
        );
    }
    assert!(server.metrics.packets_malformed.get() as usize >= hostile.len());
    witness.write_all(b"\xc0\x00").await.unwrap();
    let mut pong = [0; 2];
    witness.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0xd0, 0]);
    server.stop().await;
}

#[tokio::test]
async fn packets_may_come_in_any_pieces() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    let mut stream = server.raw(DEVICE).await;
    let mut bytes = Vec::new();
    for (packet_id, report) in [(1, "first"), (2, "second")] {
        super::packet::publish(
            super::packet::Version::V3,
            &up_topic(DEVICE),
            Some(packet_id),
            report.as_bytes(),
            &mut bytes,
        );
    }
    for piece in bytes.chunks(3) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut acks = [0; 8];
    stream.read_exact(&mut acks).await.unwrap();
    assert_eq!(acks, [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    assert!(server.gate.kept(DEVICE, b"first") && server.gate.kept(DEVICE, b"second"));
    server.stop().await;
}

#[tokio::test]
async fn a_silent_client_is_let_go() {
    let limits = Limits {
        idle_max: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Server::start(Memory::default(), limits).await;
    let mut stream = server.raw(DEVICE).await;
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(server.sessions.count(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_floods_is_slowed_not_buffered() {
    let server = Server::start(Memory::default(), Limits::default()).await;
    server.gate.held.store(true, Ordering::SeqCst);
    let mut stream = server.raw(DEVICE).await;
    let mut flood = Vec::new();
    for packet_id in 1..=200 {
        let (version, topic) = (super::packet::Version::V3, up_topic(DEVICE));
        super::packet::publish(version, &topic, Some(packet_id), b"again", &mut flood);
    }
    stream.write_all(&flood).await.unwrap();
    server.gate.arrived.notified().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(server.metrics.messages_up.get() <= 64, "the window is 32");
    server.gate.held.store(false, Ordering::SeqCst);
    server.gate.released.notify_one();
    let mut acks = vec![0; 4 * 200];
    stream.read_exact(&mut acks).await.unwrap();
    assert_eq!(server.metrics.messages_up.get(), 200);
    server.stop().await;
}
