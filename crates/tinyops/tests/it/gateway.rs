//! A server, a gateway and devices on its lines: what they say arrives, whatever is away in between.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use tinyops_fleet::KeyFolder;
use tinyops_wire::{
    DeviceId, DeviceKey, Envelope, Frame, ModelId,
    enrolment::{ClassToken, EnrolmentSecret, Proof, REQUEST_BYTES_MAX, Request, open},
    envelope::Direction,
    frame::Hello,
    serial::{BODY_BYTES_MAX, Decoder, Message, OVERHEAD},
    smp::{self, Console},
};

use crate::{
    running::{Running, Server},
    workplace::Workplace,
};

/// A device that is enrolled, with its key.
fn device(place: &Workplace) -> (DeviceId, DeviceKey) {
    place.enrolled()
}

/// What a device says when it boots, as it goes over the line.
fn hello(device: &(DeviceId, DeviceKey), sequence: u32) -> Vec<u8> {
    let sealed = sealed_hello(device, sequence);
    let mut line = [0; 512];
    let len = Message::Up(&sealed).encode(&mut line).unwrap();
    line[..len].to_vec()
}

/// The same in its envelope.
fn sealed_hello((device, key): &(DeviceId, DeviceKey), sequence: u32) -> Vec<u8> {
    let mut body = [0; 128];
    let frame = Frame::Hello(Hello {
        boot_count: sequence,
        sequence: 0,
        arena_bytes: 32_768,
        slot_bytes: 131_072,
        board: "esp-eye",
        trust: None,
    });
    let len = frame.encode(&mut body).unwrap();
    let envelope = Envelope {
        direction: Direction::Up,
        device: *device,
        model: ModelId(0),
        sequence,
        body: &body[..len],
    };
    let mut sealed = [0; 256];
    let len = envelope.seal(key, &mut sealed).unwrap();
    sealed[..len].to_vec()
}

fn reports(place: &Workplace) -> Vec<i64> {
    let listed = place.check(&["devices", "ls", "--json"], 0).json();
    let devices = listed["devices"].as_array().unwrap();
    let count = |device: &Value| device["report_count"].as_i64().unwrap_or_default();
    devices.iter().map(count).collect()
}

#[test]
fn many_devices_reach_the_server_over_one_gateway_and_wait_while_it_is_away() {
    let place = Workplace::fans();
    let devices = [device(&place), device(&place), device(&place)];
    let server = Server::start(&place, &["--no-loops"]);
    let http = server.http.clone();
    let args = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--server",
        &http,
        "--poll-ms",
        "50",
    ];
    let gateway = Running::start(
        &place,
        &[&args[..], &["--status-seconds", "1", "--json"]].concat(),
    );
    let listening = gateway.document()["listening"][0].clone();
    let listening = listening.as_str().unwrap();

    // Two devices on one line with noise between their frames, and one on a line of its own.
    let mut shared = TcpStream::connect(listening).unwrap();
    let mut own = TcpStream::connect(listening).unwrap();
    let noise = b"\r\nboot v1.2 \xff\x00\x17garbage";
    let said = [
        &hello(&devices[0], 1)[..],
        noise,
        &hello(&devices[1], 1),
        noise,
    ];
    shared.write_all(&said.concat()).unwrap();
    own.write_all(&hello(&devices[2], 1)).unwrap();
    let status = gateway.status(|status| status["stored"] == 3);
    assert_eq!(
        (&status["lines"], &status["devices"]),
        (&2.into(), &3.into())
    );
    assert!(status["damaged"].as_u64() >= Some(1), "{status}");
    assert_eq!(reports(&place), [1, 1, 1]);

    // The server is gone: envelopes wait. It comes back at the same address: they arrive, each once.
    drop(server);
    for sequence in 2..=4 {
        shared.write_all(&hello(&devices[0], sequence)).unwrap();
    }
    gateway.status(|status| status["failures"].as_u64() >= Some(1) && status["waiting"] == 3);
    let _server = Server::at(&place, &http, &["--no-loops"]);
    let status = gateway.status(|status| status["stored"] == 6);
    assert_eq!(
        (&status["waiting"], &status["dropped"]),
        (&0.into(), &0.into())
    );
    let mut counts = reports(&place);
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 4]);

    // What no key sealed is turned away for good, and stops nothing.
    let mut forged = devices[2].clone();
    forged.1.0[0] ^= 1;
    own.write_all(&hello(&forged, 2)).unwrap();
    own.write_all(&hello(&devices[2], 3)).unwrap();
    let status = gateway.status(|status| status["stored"] == 7);
    assert_eq!(status["refused"], 1);

    // A device that begins is told how much the gateway takes.
    let mut line = [0; 32];
    let begins = Message::Room { body_bytes: 500 }.encode(&mut line).unwrap();
    own.write_all(&line[..begins]).unwrap();
    own.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut decoder = Decoder::<64>::new();
    let mut rooms = 0;
    while rooms < 2 {
        let mut byte = [0];
        own.read_exact(&mut byte).unwrap();
        if let Some(message) = decoder.push(byte[0]) {
            let is_room = matches!(message, Ok(Message::Room { body_bytes: 2304 }));
            assert!(is_room, "{message:?}");
            rooms += 1;
        }
    }
}

/// A device that has nothing but a class token and a line comes to its key over it; one with a forged token does not.
#[test]
fn a_device_enrols_over_its_line() {
    let place = Workplace::fans();
    let server = Server::start(&place, &["--no-loops"]);
    let args = ["gateway", "--listen", "127.0.0.1:0", "--server"];
    let rest = ["--poll-ms", "50", "--status-seconds", "1", "--json"];
    let gateway = Running::start(&place, &[&args[..], &[&server.http], &rest].concat());
    let listening = gateway.document()["listening"][0].clone();
    let mut line = TcpStream::connect(listening.as_str().unwrap()).unwrap();
    let make = ["devices", "token", "make", "--board", "esp-eye", "--json"];
    let made = place.check(&make, 0).json();
    let token: ClassToken = made["token"].as_str().unwrap().parse().unwrap();

    let trust = KeyFolder::new(&place.path(".tinyops")).trust().unwrap();
    let trust = trust.unwrap();
    let mut answers = Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new();
    line.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut enrol = |number: u8, token: &ClassToken| {
        let secret = EnrolmentSecret::from_bytes([number; 32]);
        let asked = Request {
            key_set: 1,
            device: None,
            public: secret.public(),
            nonce: [number; 16],
            board: "esp-eye",
        };
        let mut request = [0; REQUEST_BYTES_MAX];
        let len = asked.encode(Proof::Token(token), &mut request).unwrap();
        let request = &request[..len];
        let mut frame = [0; 1024];
        let len = Message::Enrol(request).encode(&mut frame).unwrap();
        line.write_all(&frame[..len]).unwrap();
        loop {
            let mut byte = [0];
            line.read_exact(&mut byte).unwrap();
            let Some(Ok(Message::Enrolled { nonce, answer })) = answers.push(byte[0]) else {
                continue;
            };
            assert_eq!(nonce, [number; 16]);
            let opened = open(&secret, request, answer, &trust.roots, &trust.keys);
            break opened.ok().filter(|_| !answer.is_empty());
        }
    };
    let enrolled = enrol(1, &token).unwrap();
    let again = enrol(1, &token).unwrap();
    assert_eq!(enrolled.device, again.device, "asked again, it is the same");
    let mut forged = made["token"].as_str().unwrap().to_owned();
    let last = forged.pop().unwrap();
    forged.push(if last == '0' { '1' } else { '0' });
    assert!(enrol(2, &forged.parse().unwrap()).is_none());

    // What it says under its key is stored.
    let device = (enrolled.device, enrolled.key);
    line.write_all(&hello(&device, 1 + enrolled.first_uplink))
        .unwrap();
    let status = gateway.status(|status| status["stored"] == 1);
    assert_eq!(
        (&status["enrolled"], &status["refused"]),
        (&2.into(), &0.into())
    );
    let listed = place.check(&["devices", "ls", "--json"], 0).json();
    let devices = listed["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{listed}");
    assert_eq!(devices[0]["device"], device.0.to_string());
}

/// A virtual device with a class token and a line has no other way to its server: it enrols and reports over that one.
#[test]
fn a_virtual_device_enrols_and_reports_over_its_line() {
    let place = Workplace::fans();
    place.check(&["run", "--quiet"], 0);
    let server = Server::start(&place, &["--no-loops"]);
    let args = ["gateway", "--listen", "127.0.0.1:0", "--server"];
    let rest = ["--poll-ms", "50", "--status-seconds", "1", "--json"];
    let gateway = Running::start(&place, &[&args[..], &[&server.http], &rest].concat());
    let listening = gateway.document()["listening"][0].clone();
    let line = listening.as_str().unwrap();
    let make = ["devices", "token", "make", "--board", "esp-eye", "--json"];
    let made = place.check(&make, 0).json();
    fs::write(place.path("token"), made["token"].as_str().unwrap()).unwrap();
    let token = place.path("token").display().to_string();
    let own = place.path("own.json").display().to_string();
    let device = |verb: &str, line: &str, identity: &str, more: &[&str], code: i32| {
        let is = ["device", verb, "--board", "esp-eye", "--identity", identity];
        // No server answers the device itself.
        let has = ["--class-token", &token, "--server", "127.0.0.1:1", "--line"];
        place.check(&[&is[..], &has, &[line], more].concat(), code)
    };

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let said = device("enrol", &closed, &own, &[], 3).stderr;
    assert!(said.contains("no line to a gateway at tcp://"), "{said}");
    let request = fs::read(&own).unwrap();
    let replay = ["--replay", "data/m0/normal/0.csv", "--quiet"];
    device("run", line, &own, &replay, 0);
    let identity = fs::read_to_string(&own).unwrap();
    assert!(
        !request.is_empty() && identity.contains("\"key\""),
        "{identity}"
    );
    let status = gateway.status(|status| status["stored"].as_u64() >= Some(1));
    assert_eq!(status["enrolled"], 1, "{status}");
    let listed = place.check(&["devices", "ls", "--json"], 0).json();
    assert_eq!(listed["devices"].as_array().unwrap().len(), 1, "{listed}");
    assert!(reports(&place)[0] >= 1, "{listed}");
    // Who is enrolled asks no more, whatever the line.
    let said = device("enrol", &closed, &own, &["--json"], 0).json();
    assert_eq!(said["device"], listed["devices"][0]["device"]);

    // The token was for one device.
    let other = place.path("other.json").display().to_string();
    let said = device("enrol", line, &other, &[], 3).stderr;
    assert!(said.contains("the gateway's log says why"), "{said}");
    assert!(!fs::exists(&other).unwrap(), "it asks anew the next time");
}

/// Answers that are no server's word about a request are not passed on as refusals: the device asks again. One is.
#[test]
fn only_a_refusal_of_the_servers_own_ends_a_request() {
    let place = Workplace::fans();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let args = ["gateway", "--listen", "127.0.0.1:0", "--server", &server];
    let rest = ["--poll-ms", "600000", "--status-seconds", "1", "--json"];
    let gateway = Running::start(&place, &[&args[..], &rest].concat());
    let listening = gateway.document()["listening"][0].clone();
    let mut line = TcpStream::connect(listening.as_str().unwrap()).unwrap();

    let make = ["devices", "token", "make", "--board", "esp-eye", "--json"];
    let made = place.check(&make, 0).json();
    let token: ClassToken = made["token"].as_str().unwrap().parse().unwrap();
    let asked = Request {
        key_set: 1,
        device: None,
        public: EnrolmentSecret::from_bytes([1; 32]).public(),
        nonce: [1; 16],
        board: "esp-eye",
    };
    let mut request = [0; REQUEST_BYTES_MAX];
    let len = asked.encode(Proof::Token(&token), &mut request).unwrap();
    let mut frame = [0; 1024];
    let frame_len = Message::Enrol(&request[..len]).encode(&mut frame).unwrap();

    let not_ours = [
        ("404 Not Found", "<html>nginx</html>"),
        ("401 Unauthorized", r#"{"error":"login"}"#),
        ("403 Forbidden", r#"{"code":403}"#),
        ("408 Request Timeout", ""),
        ("409 Conflict", r#"{"code":"no_director_key"}"#),
        (
            "502 Bad Gateway",
            r#"{"code":"token_unknown","is_final":true}"#,
        ),
        ("403 Forbidden", r#"{"code":"revoked","is_final":false}"#),
        ("429 Too Many Requests", r#"{"code":"class_rate"}"#),
    ];
    for (count, (status, body)) in (1_u64..).zip(not_ours) {
        line.write_all(&frame[..frame_len]).unwrap();
        answer(&listener, status, body);
        gateway.status(|told| told["failures"].as_u64() == Some(count));
    }
    line.write_all(&frame[..frame_len]).unwrap();
    answer(
        &listener,
        "403 Forbidden",
        r#"{"code":"token_unknown","is_final":true}"#,
    );

    // Nothing was said on the line but that one refusal, and the room of the gateway.
    line.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut answers = Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new();
    loop {
        let mut byte = [0];
        line.read_exact(&mut byte).unwrap();
        match answers.push(byte[0]) {
            None | Some(Ok(Message::Room { .. })) => {}
            Some(Ok(Message::Enrolled { nonce, answer: [] })) => break assert_eq!(nonce, [1; 16]),
            other => panic!("{other:?}"),
        }
    }
    let told = gateway.status(|_| true);
    assert_eq!(
        (&told["failures"], &told["enrolled"]),
        (&not_ours.len().into(), &0.into())
    );
}

/// Answers whoever asks to enrol next; an exchange of the gateway on the way there is told that nothing is owed.
fn answer(listener: &TcpListener, status: &str, body: &str) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        let (mut head, mut body_len) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begun = head.len();
            assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
            let line = head[begun..].to_ascii_lowercase();
            if let Some(count) = line.strip_prefix("content-length:") {
                body_len = count.trim().parse().unwrap();
            }
        }
        stream.read_exact(&mut vec![0; body_len]).unwrap();
        let is_asked = head.starts_with("POST /api/v1/enrol ");
        let (status, body) = match is_asked {
            true => (status, body),
            false => ("200 OK", r#"{"kept":[],"down":[]}"#),
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        if is_asked {
            return;
        }
    }
}

/// The device's side of a console, written here after the specification: it answers, between lines of a shell.
#[test]
fn a_console_that_speaks_smp_is_asked_until_it_has_said_all() {
    let place = Workplace::fans();
    let device = device(&place);
    let server = Server::start(&place, &["--no-loops"]);
    let args = ["gateway", "--smp", "--listen", "127.0.0.1:0", "--server"];
    let rest = [
        &server.http,
        "--poll-ms",
        "50",
        "--status-seconds",
        "1",
        "--json",
    ];
    let gateway = Running::start(&place, &[&args[..], &rest].concat());
    let listening = gateway.document()["listening"][0].clone();
    let mut port = TcpStream::connect(listening.as_str().unwrap()).unwrap();
    port.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut console = Console::<512>::new();
    let mut waiting: Vec<Vec<u8>> = (1..=3)
        .rev()
        .map(|sequence| sealed_hello(&device, sequence))
        .collect();
    let mut questions = 0;
    let begun = Instant::now();
    let mut intervals = Vec::new();
    while questions < 6 {
        let mut byte = [0];
        port.read_exact(&mut byte).unwrap();
        let question = console.push(byte[0]).map(|frame| frame.unwrap().to_vec());
        let Some(question) = question else { continue };
        let frame = smp::Frame::decode(&question).unwrap();
        assert_eq!(
            (frame.operation, frame.group),
            (smp::Operation::Write, smp::GROUP)
        );
        questions += 1;
        intervals.push(begun.elapsed());
        if questions == 2 {
            // One question is not answered: the gateway asks again.
            continue;
        }
        let up = waiting.pop();
        let exchange = smp::Exchange {
            up: up.as_deref(),
            more: waiting.len() as u32,
            ..smp::Exchange::default()
        };
        let mut body = [0; 256];
        let len = exchange.encode(&mut body).unwrap();
        let answer = smp::Frame {
            operation: smp::Operation::WriteAnswer,
            body: &body[..len],
            ..frame
        };
        let mut bytes = [0; 256];
        let len = answer.encode(&mut bytes).unwrap();
        let mut lines = [0; 512];
        let len = smp::encode_console(&bytes[..len], &mut lines).unwrap();
        port.write_all(b"uart:~$ I: sensor ready\r\n").unwrap();
        port.write_all(&lines[..len]).unwrap();
    }
    // The gateway waits two seconds for an answer and half of one between questions; either may be seen late here.
    assert!(
        intervals[2] - intervals[1] >= Duration::from_millis(1500),
        "{intervals:?}"
    );
    let asked_at_once = (intervals[3] - intervals[2]).min(intervals[1] - intervals[0]);
    assert!(
        asked_at_once < Duration::from_millis(400),
        "more waited: {intervals:?}"
    );
    let status = gateway.status(|status| status["stored"] == 3);
    assert_eq!(
        (&status["refused"], &status["damaged"]),
        (&0.into(), &0.into())
    );
}

#[cfg(unix)]
#[test]
fn a_serial_port_is_a_line() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let place = Workplace::fans();
    let device = device(&place);
    let server = Server::start(&place, &["--no-loops"]);
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let tty = name.to_str().unwrap();
    let args = ["gateway", "--tty", tty, "--server", &server.http];
    let gateway = Running::start(
        &place,
        &[
            &args[..],
            &["--poll-ms", "50", "--status-seconds", "1", "--json"],
        ]
        .concat(),
    );
    gateway.status(|status| status["lines"] == 1);
    let mut port = fs::File::from(master);
    // Bytes that a terminal would take for itself must pass: ^C, ^D, ^S, ^Q, carriage return.
    port.write_all(b"\x03\x04\x13\x11\r\n\x00").unwrap();
    port.write_all(&hello(&device, 1)).unwrap();
    let status = gateway.status(|status| status["stored"] == 1);
    assert_eq!(status["damaged"], 1);
    let mut decoder = Decoder::<64>::new();
    let mut byte = [0];
    let said = loop {
        port.read_exact(&mut byte).unwrap();
        if let Some(message) = decoder.push(byte[0]) {
            break message.map(|message| message == Message::Room { body_bytes: 2304 });
        }
    };
    assert_eq!(said, Ok(true));
}

#[test]
fn a_gateway_without_a_line_or_with_a_bad_one_says_so() {
    let place = Workplace::empty();
    let none = place.check(&["gateway"], 2);
    assert!(none.stderr.contains("--listen"), "{}", none.stderr);
    let token = place.check(
        &["gateway", "--tcp", "localhost:1", "--token-file", "none"],
        2,
    );
    assert!(token.stderr.contains("token file"), "{}", token.stderr);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let taken = place.check(&["gateway", "--listen", &address], 3);
    assert!(
        taken.stderr.contains("choose another port"),
        "{}",
        taken.stderr
    );
}
