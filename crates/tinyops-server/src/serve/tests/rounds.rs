//! A round over sockets: told at a gateway and over MQTT, joined late, left again, and shown.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tinyops_fleet::sums::{Sums, clipped_sum};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::{DeviceId, Digest};
use tinyops_wire::downlink::Command;
use tinyops_wire::statistics::{Shape, encode_part, plan_parts};
use tinyops_wire::{Downlink, Sealed};

use super::*;

const MODEL: ModelId = ModelId(0x1111_1111);

const HOUR: i64 = 3_600_000;

async fn call(running: &Running, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let body = match body {
        Value::Null => Body::empty(),
        body => Body::from(body.to_string()),
    };
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = request.body(body).unwrap();
    let answer = tower::ServiceExt::oneshot(router(running.app().clone()), request).await;
    let answer = answer.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn sealed(device: &Device, sequence: u32, body: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        direction: Direction::Up,
        device: device.id,
        model: MODEL,
        sequence,
        body,
    };
    let mut out = vec![0; body.len() + 64];
    let length = envelope.seal(&device.key, &mut out).unwrap();
    out.truncate(length);
    out
}

fn alive(device: &Device) -> Vec<u8> {
    let frame = Frame::Alarm(tinyops_wire::frame::Alarm {
        flags: Flags::default(),
        moved: None,
    });
    let mut body = [0; 16];
    let length = frame.encode(&mut body).unwrap();
    sealed(device, 1, &body[..length])
}

/// Ten labelled windows and more, each device its own.
fn values(index: usize) -> Vec<i64> {
    let times = 1 + index as i64;
    [6, 4, 60, 6, 4, 40, 640, 20, 500]
        .map(|value| value * times)
        .to_vec()
}

fn statistics(device: &Device, index: usize, round: u16) -> Vec<Vec<u8>> {
    let values = values(index);
    let shape = Shape {
        round,
        class_count: 2,
        width: 2,
        window_count: (values[0] + values[1]) as u16,
    };
    let told = || values.iter().copied();
    let mut out = Vec::new();
    while let Some(cut) = plan_parts(told(), 40, out.len() as u8).unwrap() {
        let mut body = [0; 40];
        let length = encode_part(shape, out.len() as u8, cut, told(), &mut body).unwrap();
        out.push(sealed(device, 2 + out.len() as u32, &body[..length]));
    }
    out
}

/// What a gateway brings down for a device, if anything.
fn heard(answer: &Value, device: &Device) -> Vec<String> {
    let down = answer["down"].as_array().unwrap();
    let down = down
        .iter()
        .filter(|message| message["device"] == device.id.to_string());
    let bytes = |message: &Value| -> Vec<u8> {
        let text = message["message"].as_str().unwrap();
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    };
    down.map(|message| {
        let bytes = bytes(message);
        let opened = Sealed::parse(&bytes).unwrap();
        let opened = opened.open(&device.key, Direction::Down).unwrap();
        match Downlink::decode(opened.body).unwrap() {
            Downlink::Command(Command::Forget) => "forget".to_owned(),
            Downlink::StatisticsRequest(asked) => format!("round {}", asked.round),
            other => format!("{other:?}"),
        }
    })
    .collect()
}

/// The values of a round's sum, and what they are of these devices by the arithmetic alone.
async fn sums(running: &Running, round: &Value, of: &[(DeviceId, usize)]) -> (Value, Value) {
    let digest: Digest = round["statistics"].as_str().unwrap().parse().unwrap();
    let artifacts = &running.app().workshop().artifacts;
    let told: Value = serde_json::from_slice(&artifacts.get(&digest).await.unwrap()).unwrap();
    let mut of = of.to_vec();
    of.sort_unstable();
    let devices: Vec<Sums> = of
        .iter()
        .map(|(_, index)| Sums {
            class_count: 2,
            width: 2,
            values: values(*index),
        })
        .collect();
    let expected = clipped_sum(&devices, 1.0, 1).unwrap();
    (told["values"].clone(), json!(expected.sum.values))
}

#[tokio::test]
async fn who_is_late_joins_a_closed_round_and_who_withdraws_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.loops.enabled = false;
    let clock = Arc::new(AtomicI64::new(1_795_374_849_000));
    let hands = clock.clone();
    config.workshop.now = Arc::new(move || Timestamp(hands.load(Ordering::SeqCst)));
    let running = serve(config).await.unwrap();
    let tx = running.app().db().begin("test").await.unwrap();
    let runs = Capsule {
        manifest_digest: Digest::of(b"manifest"),
        id: MODEL,
        model: "pump".into(),
        version: 1,
        board: "esp-eye".into(),
        digest: Digest::of(b"capsule"),
        bytes: 7,
        payload: Digest::of(b"payload"),
        sequence: 1,
        baseline: Vec::new(),
        detail: json!({ "labels": ["well", "worn"] }),
        created_at: running.app().now(),
    };
    capsule::add(&tx, &runs).await.unwrap();
    tx.commit().await.unwrap();
    let mut devices = Vec::new();
    for _ in 0..10 {
        devices.push(enrol(&running).await);
    }
    let ids: Vec<String> = devices.iter().map(|device| device.id.to_string()).collect();
    let up: Vec<String> = devices.iter().map(|device| hex(&alive(device))).collect();
    exchange(&running, json!({ "up": up })).await;
    let wish = json!({ "model": MODEL.to_string(), "why": "labels are in" });
    let (status, opened) = call(&running, "POST", "/api/v1/rounds", wish).await;
    assert_eq!(status, StatusCode::CREATED, "{opened}");
    let round = opened["round"].as_u64().unwrap() as u16;
    let cleared = exchange(&running, json!({ "devices": ids })).await;
    assert_eq!(heard(&cleared, &devices[9]), ["forget"]);
    let turn = async |hours: i64| {
        clock.fetch_add(hours * HOUR, Ordering::SeqCst);
        for _ in 0..3 {
            let now = running.app().now();
            running.app().settle().await.unwrap();
            running.app().fleet().turn(now).await.unwrap();
        }
    };
    turn(48).await;
    // Nine answer at the gateway; the tenth is away until the round has closed, and comes back over MQTT.
    let up: Vec<String> = (0..9)
        .flat_map(|index| statistics(&devices[index], index, round))
        .map(|bytes| hex(&bytes))
        .collect();
    exchange(&running, json!({ "up": up })).await;
    turn(2).await;
    let shown = async || call(&running, "GET", "/api/v1/rounds", Value::Null).await.1[0].clone();
    let closed = shown().await;
    assert_eq!(
        (&closed["state"], &closed["device_count"]),
        (&json!("closed"), &json!(9))
    );
    let kept = closed["kept_until_ms"].as_i64().unwrap();
    assert_eq!(kept, clock.load(Ordering::SeqCst) + 30 * 24 * HOUR);
    let late = exchange(&running, json!({ "devices": [ids[9]] })).await;
    assert_eq!(heard(&late, &devices[9]), [format!("round {round}")]);
    let (client, mut events) = connect(&running, &devices[9]);
    for bytes in statistics(&devices[9], 9, round) {
        publish(&client, &mut events, &devices[9], bytes).await;
    }
    turn(0).await;
    let joined = shown().await;
    assert_eq!(
        (&joined["device_count"], &joined["detail"]["late"]),
        (&json!(10), &json!(1))
    );
    let everyone: Vec<(DeviceId, usize)> = (0..10).map(|at| (devices[at].id, at)).collect();
    let (told, expected) = sums(&running, &joined, &everyone).await;
    assert_eq!(told, expected);

    let leaver = 4;
    let path = format!("/api/v1/devices/{}", ids[leaver]);
    let withdraw = format!("{path}/withdraw-sums");
    let why = json!({ "why": "the owner asks for it" });
    let (status, left) = call(&running, "POST", &withdraw, why).await;
    assert_eq!(status, StatusCode::OK, "{left}");
    assert_eq!(left["rounds"][0]["round"], round);
    let without: Vec<(DeviceId, usize)> = everyone
        .iter()
        .copied()
        .filter(|(_, index)| *index != leaver)
        .collect();
    let now = shown().await;
    let (told, expected) = sums(&running, &now, &without).await;
    assert_eq!(told, expected);
    assert_eq!(
        (&now["device_count"], &now["detail"]["withdrawn"]),
        (&json!(9), &json!(1))
    );
    for before in [&closed, &joined] {
        let digest: Digest = before["statistics"].as_str().unwrap().parse().unwrap();
        let artifacts = &running.app().workshop().artifacts;
        assert!(!artifacts.exists(&digest).await.unwrap(), "a difference");
    }
    let (_, device) = call(&running, "GET", &path, Value::Null).await;
    assert_eq!(device["sums_withdrawn_at_ms"], running.app().now().0);
    let page = Request::get(format!("/devices/{}", ids[leaver])).body(Body::empty());
    let page = tower::ServiceExt::oneshot(router(running.app().clone()), page.unwrap()).await;
    let page = axum::body::to_bytes(page.unwrap().into_body(), 1 << 20)
        .await
        .unwrap();
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(page.contains("takes part in rounds"), "{page}");
    let (_, triggers) = call(&running, "GET", "/api/v1/triggers", Value::Null).await;
    assert_eq!(triggers[0]["detail"]["device_count"], 9, "{triggers}");
    let solve = format!("/api/v1/rounds/{round}/solve");
    let (status, solved) = call(&running, "POST", &solve, json!({})).await;
    assert_eq!(
        (status, &solved["trigger"]),
        (StatusCode::CREATED, &triggers[0]["trigger"])
    );
    let admit = format!("{path}/admit-sums");
    for expected in [StatusCode::NO_CONTENT, StatusCode::CONFLICT] {
        assert_eq!(call(&running, "POST", &admit, json!({})).await.0, expected);
    }
    running.stop().await;
}
