//! The helper of secure sums as its own process: who may ask, what it refuses, and what it still knows after a kill.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use tinyops_server::hex;

use crate::running::{Running, Server};
use crate::workplace::{SETTINGS, Workplace};

/// Twenty times one device's noise, a ring of 13 bits, 15 steps: `docs/formats/masked.md`.
fn task() -> String {
    let mut bytes = vec![1, 6, 5, 4, 3, 2, 1, 13, 15, 0];
    bytes.extend(0.58_f32.to_le_bytes());
    bytes.extend(200_u16.to_le_bytes());
    hex(&bytes)
}

fn post(at: &str, token: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(at).unwrap();
    let request = format!(
        "POST /v1/sum HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn question(devices: std::ops::Range<u32>, sequence: u32) -> Value {
    let reports: Vec<Value> = devices
        .map(|device| json!([format!("{device:016x}"), sequence]))
        .collect();
    json!({ "task": task(), "values": 22, "reports": reports })
}

fn start(place: &Workplace) -> (Running, String) {
    let running = Running::start(
        place,
        &[
            "helper",
            "serve",
            "--json",
            "--folder",
            "trust",
            "--http",
            "127.0.0.1:0",
        ],
    );
    let url = running.document()["http"].as_str().unwrap().to_owned();
    (running, url.strip_prefix("http://").unwrap().to_owned())
}

#[test]
fn a_helper_answers_whoever_has_its_token_and_remembers_across_a_kill() {
    let place = Workplace::empty();
    let (running, at) = start(&place);
    let token = std::fs::read_to_string(place.path("trust/server.token")).unwrap();
    let token = token.trim();
    let (status, answer) = post(&at, "guess", &question(0..20, 1));
    assert_eq!((status, &answer["code"]), (401, &json!("token")));
    // Whoever has no token is told so before a body is read: here it never comes.
    let mut stream = TcpStream::connect(&at).unwrap();
    let head = format!(
        "POST /v1/sum HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer guess\r\n\
         Content-Type: application/json\r\nContent-Length: 40000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let within = Some(std::time::Duration::from_secs(60));
    stream.set_read_timeout(within).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    let (status, answer) = post(
        &at,
        token,
        &json!({ "task": "00", "values": 1, "reports": [] }),
    );
    assert_eq!((status, &answer["code"]), (400, &json!("malformed")));
    let (status, answer) = post(&at, token, &question(0..19, 1));
    assert_eq!((status, &answer["code"]), (409, &json!("too_few")));
    let (status, first) = post(&at, token, &question(0..20, 1));
    assert_eq!(
        (status, first["masks"].as_array().unwrap().len()),
        (200, 22)
    );
    // Two helpers over one folder would each answer what the other has.
    let refused = place.check(
        &[
            "helper",
            "serve",
            "--folder",
            "trust",
            "--http",
            "127.0.0.1:0",
        ],
        3,
    );
    assert!(
        refused.stderr.contains("another helper"),
        "{}",
        refused.stderr
    );
    // A device's key can be had all the same, and is the same each time.
    let key = place.check(
        &["helper", "key", "0000000000000003", "--folder", "trust"],
        0,
    );
    assert_eq!(key.stdout.trim().len(), 64);
    drop(running); // Killed, without a word.
    let (_running, at) = start(&place);
    let (status, again) = post(&at, token, &question(0..20, 1));
    assert_eq!((status, &again), (200, &first));
    let (status, answer) = post(&at, token, &question(0..21, 1));
    assert_eq!((status, &answer["code"]), (409, &json!("answered")));
    let same = place.check(
        &["helper", "key", "0000000000000003", "--folder", "trust"],
        0,
    );
    assert_eq!(key.stdout, same.stdout);
}

#[test]
fn what_is_wrong_with_a_helper_or_a_mask_key_is_said() {
    let place = Workplace::empty();
    let nothing = place.check(
        &["helper", "key", "0000000000000003", "--folder", "nowhere"],
        2,
    );
    assert!(
        nothing.stderr.contains("no helper's folder"),
        "{}",
        nothing.stderr
    );
    place.check(&["helper", "key", "not-hex"], 2);
    place.check(&["helper", "serve", "--noise-min", "-1"], 2);
    let alone = place.check(&["serve", "--helper", "127.0.0.1:1"], 2);
    assert!(
        alone.stderr.contains("--helper-token-file"),
        "{}",
        alone.stderr
    );
    // An authority that nothing is checked with: whoever names one means TLS.
    place.write("token", "secret");
    let asks = ["serve", "--helper", "127.0.0.1:1", "--helper-token-file"];
    let in_vain = ["token", "--helper-ca", "ca.pem"];
    let in_vain = place.check(&[&asks[..], &in_vain].concat(), 2).stderr;
    assert!(in_vain.contains("does not speak TLS"), "{in_vain}");
}

#[test]
fn a_device_that_may_not_tell_what_is_asked_of_it_says_so() {
    let place = Workplace::fans();
    place.check(&["run", "--quiet"], 0);
    let masked = format!("{SETTINGS}\n[privacy]\nmode = \"masked\"\nnoise = 20\n");
    place.write("tinyops.toml", &masked);
    let (_helper, helper) = start(&place);
    let token = place.path("trust/server.token").display().to_string();
    let asks = ["--helper", &helper, "--helper-token-file", &token];
    let server = Server::start(&place, &asks);
    place.write("mask.key", &"5a".repeat(32));
    let speaks = ["--server", &server.http, "--mqtt", &server.mqtt];
    let be = |verb: &str, more: &[&str], speaks: &[&str]| {
        let is = ["--board", "esp-eye", "--identity", "own.json"];
        place.check(&[&["device", verb], &is[..], more, speaks].concat(), 0)
    };
    be("enrol", &[], &speaks[..2]);
    place.check(&["rollout", "start", "fan@1"], 0);
    let run = |noise: &str| {
        let reads = ["--replay", "data/m0/normal/0.csv", "--times", "2"];
        let masks = ["--mask-key-file", "mask.key", "--noise-min", noise];
        let reports = ["--real-time", "--report-every", "2"];
        be("run", &[&reports[..], &reads, &masks].concat(), &speaks)
    };
    let strict = run("30").stderr;
    assert!(strict.contains("refused what the server asks"), "{strict}");
    let usual = run("20").stderr;
    assert!(!usual.contains("refused"), "{usual}");
}

#[test]
fn devices_report_under_noise_of_their_own_where_there_is_no_helper() {
    let place = Workplace::fans();
    place.check(&["run", "--quiet"], 0);
    let local = |noise: &str| format!("{SETTINGS}\n[privacy]\nmode = \"local\"\nnoise = {noise}\n");
    place.write("tinyops.toml", &local("0"));
    let none = place.check(&["serve"], 2).stderr;
    assert!(none.contains("all that protects"), "{none}");
    place.write("tinyops.toml", &local("20"));
    place.write("token", "secret");
    let aided = [
        "serve",
        "--helper",
        "127.0.0.1:1",
        "--helper-token-file",
        "token",
    ];
    let aided = place.check(&aided, 2).stderr;
    assert!(aided.contains("has no use for `--helper`"), "{aided}");
    let server = Server::start(&place, &[]);
    let speaks = ["--server", &server.http, "--mqtt", &server.mqtt];
    let is = ["--board", "esp-eye", "--identity", "own.json"];
    let enrol = [&["device", "enrol"], &is[..], &speaks[..2]].concat();
    place.check(&enrol, 0);
    place.check(&["rollout", "start", "fan@1"], 0);
    let run = |more: &[&str], exit: i32| {
        let reads = ["--replay", "data/m0/normal/0.csv", "--times", "2"];
        let reports = ["--real-time", "--report-every", "2"];
        place.check(
            &[&["device", "run"], &is[..], &reports, &reads, &speaks, more].concat(),
            exit,
        )
    };
    let strict = run(&["--noise-key-file", "noise.key", "--noise-min", "30"], 0).stderr;
    assert!(strict.contains("refused what the server asks"), "{strict}");
    // Its secret was made there, for it alone, and is the same from then on.
    let secret = std::fs::read_to_string(place.path("noise.key")).unwrap();
    assert_eq!(secret.trim().len(), 64, "{secret}");
    let usual = run(&["--noise-key-file", "noise.key"], 0).stderr;
    assert!(!usual.contains("refused"), "{usual}");
    assert_eq!(
        std::fs::read_to_string(place.path("noise.key")).unwrap(),
        secret
    );
    for (text, why) in [
        ("0".repeat(64), "anyone guesses it"),
        ("5a".to_owned(), "64 hex digits"),
    ] {
        place.write("bad.key", &text);
        let refused = run(&["--noise-key-file", "bad.key"], 2).stderr;
        assert!(refused.contains(why), "{refused}");
    }
    place.write("mask.key", &"5a".repeat(32));
    run(
        &[
            "--noise-key-file",
            "noise.key",
            "--mask-key-file",
            "mask.key",
        ],
        2,
    );
    run(&["--noise-min", "3"], 2);
    let open = place.check(&["rounds", "open", "11111111"], 2).stderr;
    assert!(open.contains("devices tell no statistics"), "{open}");
}
