//! The whole server over sockets: a device that speaks to a real store, a start, a stop.

mod rounds;

use std::path::Path;
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event as Received, EventLoop, MqttOptions, Packet, QoS};
use tinyops_fleet::enrol::{Entropy, NewDevice, device_password};
use tinyops_pipeline::Project;
use tinyops_store::device::Device;
use tinyops_store::round::{self, NewRound, RoundState};
use tinyops_store::trigger::{self, NewTrigger, TriggerState};
use tinyops_store::{Artifacts, Db, ModelId, Timestamp, presence, report};
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Flags, Hello};
use tinyops_wire::{Envelope, Frame};

use super::*;
use crate::mqtt::up_topic;
use crate::tls;

async fn config(folder: &Path) -> Config {
    let workshop = Workshop {
        root: folder.to_owned(),
        project: Project::default(),
        db: Db::open(&format!("sqlite:{}", folder.join("tinyops.db").display()))
            .await
            .unwrap(),
        artifacts: Artifacts::open(&folder.join("artifacts").display().to_string())
            .await
            .unwrap(),
        now: Arc::new(|| Timestamp(1_795_374_849_000)),
    };
    Config {
        mqtt: Some(([127, 0, 0, 1], 0).into()),
        loops: Loops {
            enabled: true,
            tick: Duration::from_millis(20),
        },
        ..Config::of(workshop, Keyring::from_seed(&[7; 32]))
    }
}

async fn enrol(running: &Running) -> Device {
    let new = NewDevice {
        board: "esp-eye".into(),
        cohort: "hall-1".into(),
        ..NewDevice::default()
    };
    let fleet = running.app().fleet();
    let now = running.app().now();
    fleet
        .register(&new, Entropy::from_system(), "test", now)
        .await
        .unwrap()
}

fn connect(running: &Running, device: &Device) -> (AsyncClient, EventLoop) {
    let port = running.mqtt.unwrap().port();
    let mut options = MqttOptions::new(device.id.to_string(), "127.0.0.1", port);
    let password = device_password(&device.key, device.id);
    options.set_credentials(device.id.to_string(), password);
    AsyncClient::new(options, 16)
}

/// A sealed `Hello` with this sequence number.
fn hello(device: &Device, sequence: u32) -> Vec<u8> {
    let frame = Frame::Hello(Hello {
        boot_count: 1,
        sequence: 0,
        arena_bytes: 32_768,
        slot_bytes: 131_072,
        board: "esp-eye",
        trust: None,
    });
    let mut body = [0; 128];
    let length = frame.encode(&mut body).unwrap();
    let envelope = Envelope {
        direction: Direction::Up,
        device: device.id,
        model: ModelId(0),
        sequence,
        body: &body[..length],
    };
    let mut sealed = [0; 256];
    let key = tinyops_wire::DeviceKey(device.key.0);
    let length = envelope.seal(&key, &mut sealed).unwrap();
    sealed[..length].to_vec()
}

/// A sealed `Alarm` with this sequence number.
fn alarm(device: &Device, sequence: u32) -> Vec<u8> {
    let mut body = [0; 16];
    let frame = Frame::Alarm(tinyops_wire::frame::Alarm {
        flags: Flags::default(),
        moved: None,
    });
    let length = frame.encode(&mut body).unwrap();
    let envelope = Envelope {
        direction: Direction::Up,
        device: device.id,
        model: ModelId(0),
        sequence,
        body: &body[..length],
    };
    let mut sealed = [0; 64];
    let length = envelope.seal(&device.key, &mut sealed).unwrap();
    sealed[..length].to_vec()
}

/// Owes every device that runs nothing a request for its statistics, at once.
async fn ask_for_statistics(running: &Running) {
    let now = running.app().now();
    let new = NewRound {
        model: ModelId(0),
        cohort: None,
        device_count_min: 8,
        gather_at: now,
        deadline: now.plus_ms(3_600_000),
        detail: serde_json::json!({}),
    };
    let tx = running.app().db().begin("test").await.unwrap();
    let mut row = round::add(&tx, &new, now).await.unwrap();
    row.state = RoundState::Gathering;
    round::put(&tx, &mut row).await.unwrap();
    tx.commit().await.unwrap();
}

/// What `POST /api/v1/gateway/exchange` answers.
async fn exchange(running: &Running, brought: serde_json::Value) -> serde_json::Value {
    let request = axum::http::Request::post("/api/v1/gateway/exchange")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(brought.to_string()))
        .unwrap();
    let answer = tower::ServiceExt::oneshot(router(running.app().clone()), request).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    let body = axum::body::to_bytes(answer.into_body(), 100_000).await;
    serde_json::from_slice(&body.unwrap()).unwrap()
}

/// Publishes and waits for the acknowledgement.
async fn publish(client: &AsyncClient, events: &mut EventLoop, device: &Device, bytes: Vec<u8>) {
    let topic = up_topic(device.id);
    client
        .publish(topic, QoS::AtLeastOnce, false, bytes)
        .await
        .unwrap();
    let acknowledged = async {
        while !matches!(
            events.poll().await,
            Ok(Received::Incoming(Packet::PubAck(_)))
        ) {}
    };
    tokio::time::timeout(Duration::from_secs(60), acknowledged)
        .await
        .expect("the report is acknowledged");
}

#[tokio::test]
async fn a_report_that_comes_twice_is_stored_once_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(config(folder.path()).await).await.unwrap();
    let device = enrol(&running).await;
    let (client, mut events) = connect(&running, &device);
    publish(&client, &mut events, &device, hello(&device, 1)).await;
    // What a device that missed the acknowledgement does: connect again, and send it again.
    let (client, mut events) = connect(&running, &device);
    publish(&client, &mut events, &device, hello(&device, 1)).await;
    publish(&client, &mut events, &device, b"no envelope".to_vec()).await;
    running.stop().await;

    let running = serve(config(folder.path()).await).await.unwrap();
    let db = running.app().db();
    assert_eq!(report::count(db).await.unwrap(), 1);
    let heard = presence::get(db, device.id).await.unwrap().unwrap();
    assert_eq!((heard.last_seq, heard.duplicate_count), (Some(1), 1));
    assert_eq!(heard.malformed_count, 1);
    running.stop().await;
}

/// At the command line, or by another server on the same store.
#[tokio::test]
async fn a_device_that_is_revoked_elsewhere_loses_its_connection_and_comes_in_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.loops.enabled = false;
    let running = serve(config).await.unwrap();
    let (device, other) = (enrol(&running).await, enrol(&running).await);
    let (client, mut events) = connect(&running, &device);
    publish(&client, &mut events, &device, hello(&device, 1)).await;
    let (other_client, mut other_events) = connect(&running, &other);
    publish(&other_client, &mut other_events, &other, hello(&other, 1)).await;
    let app = running.app();
    let fleet = app.fleet();
    fleet.revoke(device.id, "test", app.now()).await.unwrap();
    let ends = async { while events.poll().await.is_ok() {} };
    let ended = tokio::time::timeout(Duration::from_secs(60), ends).await;
    ended.expect("the connection ends");
    let back = tokio::time::timeout(Duration::from_secs(60), events.poll()).await;
    back.expect("an answer").expect_err("it is let in no more");
    assert!(!app.is_connected(device.id));
    publish(&other_client, &mut other_events, &other, hello(&other, 2)).await;
    running.stop().await;
}

#[tokio::test]
async fn of_many_reports_at_once_each_is_shown_as_soon_as_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.loops.enabled = false;
    let running = serve(config).await.unwrap();
    let device = enrol(&running).await;
    let mut sent = 0;
    for _ in 0..3 {
        let mut waiting = Vec::new();
        for _ in 0..400 {
            sent += 1;
            let (done, answered) = tokio::sync::oneshot::channel();
            let upload = commit::Work::Upload {
                device: Some(device.id),
                bytes: alarm(&device, sent),
                done,
            };
            running.app().inner().work.send(upload).await.unwrap();
            waiting.push(answered);
        }
        for answered in waiting {
            assert!(answered.await.unwrap().unwrap().kept);
        }
        let path = format!("/api/v1/devices/{}", device.id);
        let request = axum::http::Request::get(path).body(axum::body::Body::empty());
        let answer = tower::ServiceExt::oneshot(router(running.app().clone()), request.unwrap());
        assert_eq!(answer.await.unwrap().status(), 200);
        let heard = presence::get(running.app().db(), device.id).await.unwrap();
        assert_eq!(heard.unwrap().last_seq, Some(sent));
    }
    let db = running.app().db().clone();
    running.stop().await;
    assert_eq!(report::count(&db).await.unwrap(), i64::from(sent));
}

#[tokio::test]
async fn hostile_reports_are_counted_and_dropped_whichever_way_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(config(folder.path()).await).await.unwrap();
    let (device, other) = (enrol(&running).await, enrol(&running).await);
    let whole = hello(&device, 1);
    let mut forged = whole.clone();
    *forged.last_mut().unwrap() ^= 1;
    let hostile = [
        Vec::new(),
        b"no envelope".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        forged,
        hello(&other, 1),
        vec![0xff; 4096],
    ];
    let (client, mut events) = connect(&running, &device);
    for bytes in &hostile {
        publish(&client, &mut events, &device, bytes.clone()).await;
    }
    let router = router(running.app().clone());
    let password = device_password(&device.key, device.id);
    for (case, bytes) in hostile.iter().enumerate() {
        let request = axum::http::Request::post("/api/v1/reports")
            .header("authorization", format!("Bearer {}.{password}", device.id))
            .body(axum::body::Body::from(bytes.clone()))
            .unwrap();
        let answer = tower::ServiceExt::oneshot(router.clone(), request)
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "case {case}");
        let body = axum::body::to_bytes(answer.into_body(), 10_000)
            .await
            .unwrap();
        assert!(
            body.starts_with(b"{\"kept\":false"),
            "case {case}: {body:?}"
        );
    }
    publish(&client, &mut events, &device, whole).await;
    let db = running.app().db();
    assert_eq!(report::count(db).await.unwrap(), 1, "the whole one is kept");
    let refused = running.app().inner().metrics.reports_refused.get();
    assert_eq!(refused as usize, 2 * hostile.len());
    let heard = presence::get(db, device.id).await.unwrap().unwrap();
    assert_eq!(heard.malformed_count as usize, 2 * hostile.len());
    let framed = presence::get(db, other.id).await.unwrap();
    assert_eq!(
        framed.map_or(0, |framed| framed.malformed_count),
        0,
        "nobody is blamed for what another sends"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_gateway_carries_many_devices_and_brings_back_what_they_are_owed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.loops.enabled = false;
    let running = serve(config).await.unwrap();
    let devices = [enrol(&running).await, enrol(&running).await];
    let mut forged = hello(&devices[0], 2);
    forged[20] ^= 1;
    let up = [hello(&devices[0], 1), forged, hello(&devices[1], 1)].map(|bytes| hex(&bytes));
    let ids = devices.each_ref().map(|device| device.id.to_string());
    let first = exchange(&running, serde_json::json!({ "up": up, "devices": ids })).await;
    assert_eq!(first["kept"], serde_json::json!([true, false, true]));
    assert_eq!(first["down"], serde_json::json!([]));
    // Both are asked for their statistics: told once, told anew on request, and after a boot.
    ask_for_statistics(&running).await;
    let owed = exchange(&running, serde_json::json!({ "devices": ids })).await;
    let down = owed["down"].as_array().unwrap();
    assert_eq!(down.len(), 2, "{owed}");
    for delivery in down {
        let device = devices
            .iter()
            .find(|device| delivery["device"] == device.id.to_string());
        let message = delivery["message"].as_str().unwrap();
        let bytes: Vec<u8> = (0..message.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&message[at..at + 2], 16).unwrap())
            .collect();
        let sealed = tinyops_wire::Sealed::parse(&bytes).unwrap();
        let key = tinyops_wire::DeviceKey(device.unwrap().key.0);
        sealed.open(&key, Direction::Down).expect("sealed for it");
    }
    let told = exchange(&running, serde_json::json!({ "devices": ids })).await;
    assert_eq!(told["down"].as_array().unwrap().len(), 0);
    let again = serde_json::json!({ "devices": ids, "again": true });
    let again = exchange(&running, again).await;
    assert_eq!(again["down"].as_array().unwrap().len(), 2);
    let boot = serde_json::json!({ "up": [hex(&hello(&devices[0], 3))], "devices": ids });
    let boot = exchange(&running, boot).await;
    assert_eq!(boot["down"].as_array().unwrap().len(), 1);
    let stranger = serde_json::json!({ "devices": ["00000000000000aa"], "again": true });
    let stranger = exchange(&running, stranger).await;
    assert_eq!(stranger["down"].as_array().unwrap().len(), 0);
    running.stop().await;
}

/// What `POST /api/v1/lorawan/…` answers.
async fn hear(running: &Running, path: &str, event: serde_json::Value) -> (u16, serde_json::Value) {
    let request = axum::http::Request::post(format!("/api/v1/lorawan/{path}"))
        .body(axum::body::Body::from(event.to_string()))
        .unwrap();
    let answer = tower::ServiceExt::oneshot(router(running.app().clone()), request).await;
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 100_000).await;
    (status, serde_json::from_slice(&body.unwrap()).unwrap())
}

#[tokio::test]
async fn both_network_servers_bring_reports_and_take_downlinks() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.loops.enabled = false;
    let running = serve(config).await.unwrap();
    for network in ["chirpstack?event=up", "tts"] {
        let device = enrol(&running).await;
        let key = tinyops_wire::DeviceKey(device.key.0);
        let sealed = hello(&device, 1);
        let sealed = tinyops_wire::Sealed::parse(&sealed).unwrap();
        let envelope = sealed.open(&key, Direction::Up).unwrap();
        let mut short = [0; 128];
        let len = tinyops_wire::lorawan::seal(&envelope, true, &key, &mut short).unwrap();
        let event = |port: u8, payload: &[u8]| {
            let mut text = vec![0; tinyops_wire::base64::encoded_len(payload.len())];
            tinyops_wire::base64::encode(payload, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            match network {
                "tts" => serde_json::json!({
                    "end_device_ids": { "dev_eui": device.id.to_string().to_uppercase() },
                    "uplink_message": { "f_port": port, "frm_payload": text },
                }),
                _ => serde_json::json!({
                    "deviceInfo": { "devEui": device.id.to_string() }, "fPort": port, "data": text,
                }),
            }
        };
        // In two fragments, the first of which comes again; and once more as a replay.
        let parts: Vec<Vec<u8>> = tinyops_wire::lorawan::fragments(&short[..len], 1, 24)
            .unwrap()
            .map(|fragment| {
                let mut bytes = vec![0; 64];
                let part = tinyops_wire::lorawan::Part::Fragment(fragment);
                let len = part.encode(&mut bytes).unwrap();
                bytes.truncate(len);
                bytes
            })
            .collect();
        assert_eq!(parts.len(), 2);
        let first = hear(&running, network, event(72, &parts[0])).await;
        assert_eq!((first.0, &first.1["kept"]), (200, &serde_json::Value::Null));
        hear(&running, network, event(72, &parts[0])).await;
        let whole = hear(&running, network, event(72, &parts[1])).await;
        assert_eq!(whole.1["kept"], true, "{whole:?}");
        let forged = hear(&running, network, event(71, &[0x10, 2, 0, 1, 2, 3, 4])).await;
        assert_eq!(forged.1["kept"], false);
        let other_port = hear(&running, network, event(1, b"not ours")).await;
        assert_eq!(other_port.1["kept"], serde_json::Value::Null);
        let heard = presence::get(running.app().db(), device.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (heard.last_seq, heard.report_count, heard.malformed_count),
            (Some(1), 1, 1)
        );

        // What the device is owed goes down after its next, empty uplink.
        ask_for_statistics(&running).await;
        let told = hear(&running, network, event(0, b"")).await.1;
        let document = &told["down"]["document"];
        let (port, data) = match network {
            "tts" => {
                let down = &document["downlinks"][0];
                (&down["f_port"], &down["frm_payload"])
            }
            _ => (&document["fPort"], &document["data"]),
        };
        assert_eq!(port, 71, "{told}");
        let text = data.as_str().unwrap();
        let mut bytes = vec![0; text.len()];
        let len = tinyops_wire::base64::decode(text.as_bytes(), &mut bytes).unwrap();
        let known = tinyops_wire::lorawan::Known {
            direction: Direction::Down,
            device: device.id,
            model: ModelId(0),
            sequence: 0,
        };
        let short = tinyops_wire::lorawan::Short::parse(&bytes[..len]).unwrap();
        short.open(&known, &key).expect("sealed for it");
    }
    let wrong = hear(
        &running,
        "chirpstack?event=up",
        serde_json::json!({ "fPort": 71 }),
    )
    .await;
    assert_eq!((wrong.0, &wrong.1["code"]), (400, &"event".into()));
    running.stop().await;
}

#[tokio::test]
async fn every_task_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(config(folder.path()).await).await.unwrap();
    let device = enrol(&running).await;
    let (client, mut events) = connect(&running, &device);
    publish(&client, &mut events, &device, hello(&device, 1)).await;
    let (http, mqtt) = (running.http, running.mqtt.unwrap());
    let started = Instant::now();
    running.stop().await;
    assert!(started.elapsed() < STOP_WITHIN, "no task had to be cut off");
    for address in [http, mqtt] {
        TcpListener::bind(address)
            .await
            .expect("the port is free again");
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(config(folder.path()).await).await.unwrap();
    let mut second = config(folder.path()).await;
    second.http = running.http;
    let error = serve(second).await.expect_err("the port is taken");
    let text = error.to_string();
    assert!(text.contains(&running.http.to_string()) && text.contains("choose another port"));
    running.stop().await;
}

#[test]
fn the_admin_token_is_made_once_and_only_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/admin-token");
    let made = admin_token(&path).unwrap();
    assert_eq!(made, admin_token(&path).unwrap());
    assert!(made.len() >= 64);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0);
    }
    std::fs::write(&path, "short").unwrap();
    admin_token(&path).expect_err("a token that can be guessed is refused");
}

#[tokio::test]
async fn a_trigger_that_cannot_be_answered_fails_with_its_reason_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.workshop.project.project.name = "fan".into();
    let db = config.workshop.db.clone();
    let tx = db.begin("test").await.unwrap();
    for kind in ["brew-tea", "resolve-head", "train"] {
        let new = NewTrigger {
            kind: kind.into(),
            model: "fan".into(),
            payload: None,
            detail: serde_json::json!({}),
        };
        let mut row = trigger::add(&tx, &new, Timestamp(0)).await.unwrap();
        row.state = TriggerState::Taken; // As a process leaves it that is killed at work.
        trigger::put(&tx, &mut row).await.unwrap();
    }
    tx.commit().await.unwrap();
    let running = serve(config).await.unwrap();
    let mut events = running.events();
    let mut reasons = Vec::new();
    while reasons.len() < 3 {
        let event = tokio::time::timeout(Duration::from_secs(60), events.recv());
        if let Event::RunEnded { version, why, .. } = event.await.unwrap().unwrap() {
            assert_eq!(version, None);
            reasons.push(why.unwrap());
        }
    }
    assert!(reasons[0].contains("brew-tea"), "{reasons:?}");
    assert!(reasons[1].contains("no statistics"), "{reasons:?}");
    for row in trigger::list(&db, 10).await.unwrap() {
        assert_eq!(row.state, TriggerState::Failed);
        assert!(row.detail["failed"].is_string());
    }
    running.stop().await;
}

/// A device and a browser over TLS, by a real MQTT client and by a handshake of our own.
#[tokio::test]
async fn both_listeners_speak_tls() {
    use rumqttc::{TlsConfiguration, Transport};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let folder = tempfile::tempdir().unwrap();
    let files = tls::tests::files(folder.path(), "server", (2020, 2051));
    let stranger = tls::tests::files(folder.path(), "stranger", (2020, 2051));
    let mut config = config(folder.path()).await;
    config.tls = Some(files.clone());
    let running = serve(config).await.unwrap();
    let device = enrol(&running).await;
    let connect = |trusted: &Path| {
        let port = running.mqtt.unwrap().port();
        let mut options = MqttOptions::new(device.id.to_string(), "localhost", port);
        let password = device_password(&device.key, device.id);
        options.set_credentials(device.id.to_string(), password);
        let tls = TlsConfiguration::Rustls(trusting(trusted));
        options.set_transport(Transport::Tls(tls));
        AsyncClient::new(options, 16)
    };
    let (client, mut events) = connect(&files.certificate);
    publish(&client, &mut events, &device, hello(&device, 1)).await;
    let (_client, mut events) = connect(&stranger.certificate);
    events
        .poll()
        .await
        .expect_err("a client that trusts another certificate does not connect");

    let connector = tokio_rustls::TlsConnector::from(trusting(&files.certificate));
    let tcp = tokio::net::TcpStream::connect(running.http).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, tcp).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Whoever speaks no TLS is let go, and nobody else suffers.
    for address in [running.http, running.mqtt.unwrap()] {
        let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
        plain.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), plain.read_to_end(&mut bytes));
        drop(read.await.expect("the connection ends"));
        assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    }
    let db = running.app().db();
    assert_eq!(report::count(db).await.unwrap(), 1);
    running.stop().await;
}

/// A client that trusts this certificate alone.
fn trusting(certificate: &Path) -> Arc<rustls::ClientConfig> {
    crate::tls_client::trusting(&std::fs::read(certificate).unwrap()).unwrap()
}

/// Such a client; how its handshake with HTTPS ends.
async fn handshake(
    address: SocketAddr,
    trusted: &Path,
) -> io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let tcp = tokio::net::TcpStream::connect(address).await?;
    let name = "localhost".try_into().unwrap();
    tokio_rustls::TlsConnector::from(trusting(trusted))
        .connect(name, tcp)
        .await
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_connections_stay() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let folder = tempfile::tempdir().unwrap();
    let files = tls::tests::files(folder.path(), "server", (2020, 2051));
    let old = folder.path().join("old.pem");
    std::fs::copy(&files.certificate, &old).unwrap();
    let mut config = config(folder.path()).await;
    config.tls = Some(files.clone());
    // Only what is asked for: the files' times do not matter here.
    config.loops.tick = Duration::from_secs(3600);
    let running = serve(config).await.unwrap();
    let mut standing = handshake(running.http, &old).await.unwrap();
    let mqtt = running.mqtt.unwrap();
    handshake(mqtt, &old).await.unwrap();

    // Something that is no certificate: the old one serves on.
    std::fs::write(&files.certificate, "no certificate").unwrap();
    running.reload();
    tokio::time::sleep(Duration::from_millis(200)).await;
    handshake(running.http, &old).await.unwrap();

    let renewed = tls::tests::files(folder.path(), "server", (2021, 2052));
    running.reload();
    let begun = Instant::now();
    while handshake(running.http, &renewed.certificate).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "taken up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    handshake(mqtt, &renewed.certificate).await.unwrap();
    handshake(running.http, &old).await.unwrap_err();
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    standing.write_all(request).await.unwrap();
    let mut answer = String::new();
    standing.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_key_set_that_is_put_in_force_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = tinyops_fleet::KeyFolder::new(folder.path());
    let mut seed = 0;
    let mut seeds = || {
        seed += 1;
        [seed; 32]
    };
    let mut config = config(folder.path()).await;
    config.keys = keys.open_or_make(&mut seeds).unwrap();
    config.key_folder = Some(folder.path().to_owned());
    let running = serve(config).await.unwrap();
    let fleet = running.app().fleet();
    let key_set = || fleet.keys().unwrap().trust.keys.sequence;
    assert_eq!(key_set(), 1);
    let director = tinyops_fleet::keys::Role::Director;
    let proposed = keys.rotate(director, None, true, &[99; 32]).unwrap();
    keys.install(&proposed.signed).unwrap();
    let becomes = async |expected: u32| {
        let begun = Instant::now();
        while key_set() != expected {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", key_set());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    becomes(2).await;
    let signs = fleet.keys().unwrap().director.verifying_key();
    assert_eq!(proposed.set.director.keys(), [signs]);
    // A release key that is taken away signs no more, and does again once it is back.
    let signs_releases = async |expected: bool| {
        let begun = Instant::now();
        while fleet.keys().unwrap().release.is_some() != expected {
            assert!(begun.elapsed() < Duration::from_secs(60), "{expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    signs_releases(true).await;
    let (here, away) = (keys.file("release"), folder.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    signs_releases(false).await;
    std::fs::rename(&away, &here).unwrap();
    signs_releases(true).await;
    // What cannot be read leaves the keys of before in force.
    std::fs::write(keys.key_set_file(), b"no key set").unwrap();
    running.reload();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(key_set(), 2);
    running.stop().await;
}
