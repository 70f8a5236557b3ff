//! A gateway whose reports go out as shares: to a pair of aggregators that opens, verifies and adds them up, over HTTP.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tinyops_fleet::dap::{HPKE_CONFIG_TYPE, PROBLEM_TYPE, Task, UPLOAD_ERRORS_TYPE, UPLOAD_TYPE};
use tinyops_wire::{
    DeviceId, DeviceKey, Envelope, Frame, ModelId, envelope::Direction, frame::Hello,
    serial::Message,
};

use self::aggregators::Pair;
use crate::{
    running::{Running, Server},
    workplace::Workplace,
};

#[path = "../../../tinyops-fleet/tests/it/dap/aggregators.rs"]
mod aggregators;

/// How the leader behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    /// Takes what is uploaded, and is gone before it has answered.
    Mute,
    /// Tells keys of which it knows nothing when something comes that was sealed for them.
    OldKeys,
    /// Tells its keys as a web page, or keys of which none can be used.
    KeysOfType(&'static str),
    StrangeKeys,
    /// Answers uploads with this status, media type and body.
    Says(u16, &'static str, &'static str),
    /// Turns each report away for this reason.
    Refuses(u8),
}

struct State {
    pair: Pair,
    mood: Mood,
    uploads: usize,
}

/// Leader and helper behind one address.
struct Aggregators {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Aggregators {
    fn at(address: &str, task: &dyn Fn(SocketAddr) -> String) -> Aggregators {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            pair: Pair::new(Task::parse(&task(address)).unwrap()),
            mood: Mood::Well,
            uploads: 0,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = serve(stream, &shared);
            }
        });
        Aggregators { address, state }
    }

    fn be(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    fn sum(&self) -> Vec<u128> {
        let (sum, refused) = self.state.lock().unwrap().pair.sum();
        assert_eq!(refused, 0);
        sum
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    let (head, body) = loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        got.extend(&buffer[..count]);
        let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if got.len() >= end + 4 + length {
            break (head, got[end + 4..].to_vec());
        }
    };
    let mut state = state.lock().unwrap();
    let line = head.lines().next().unwrap_or_default();
    let id = state.pair.task.id;
    let (status, kind, body) = if line == "GET /leader/hpke_config HTTP/1.1" {
        let mut keys = state.pair.keys(0);
        let mut kind = HPKE_CONFIG_TYPE;
        match state.mood {
            // The key is the same, and it has another id.
            Mood::OldKeys => keys[2] = 3,
            Mood::KeysOfType(other) => kind = other,
            // P-256.
            Mood::StrangeKeys => keys[4] = 0x10,
            _ => {}
        }
        (200, kind, keys)
    } else if line == "GET /helper/hpke_config HTTP/1.1" {
        (200, HPKE_CONFIG_TYPE, state.pair.keys(1))
    } else if line == format!("POST /leader/tasks/{id}/reports HTTP/1.1") {
        assert!(
            head.contains(&format!("Content-Type: {UPLOAD_TYPE}")),
            "{head}"
        );
        state.uploads += 1;
        match state.mood {
            Mood::Says(status, kind, said) => (status, kind, said.as_bytes().to_vec()),
            Mood::Refuses(code) => {
                let reports = aggregators::take_apart(&body).unwrap();
                let errors = reports
                    .iter()
                    .flat_map(|report| [&report.id.0[..], &[code]].concat())
                    .collect();
                (200, UPLOAD_ERRORS_TYPE, errors)
            }
            mood => {
                let errors = state.pair.upload(&body).unwrap();
                if mood == Mood::Mute {
                    return Ok(());
                }
                if mood == Mood::OldKeys && !errors.is_empty() {
                    state.mood = Mood::Well;
                }
                let errors: Vec<u8> = errors
                    .iter()
                    .flat_map(|(id, code)| [&id.0[..], &[*code]].concat())
                    .collect();
                let kind = if errors.is_empty() {
                    ""
                } else {
                    UPLOAD_ERRORS_TYPE
                };
                (200, kind, errors)
            }
        }
    } else {
        (404, "text/plain", line.as_bytes().to_vec())
    };
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let head = match kind {
        "" => format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n"),
        _ => head,
    };
    stream.write_all(&[head.as_bytes(), &body].concat())
}

/// Mean deviations of the third channel, in sixteen buckets.
fn task(address: SocketAddr) -> String {
    format!(
        r#"
        task_id = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo"
        task_info = "pumps"
        leader = "http://{address}/leader/"
        helper = "http://{address}/helper"
        time_precision_seconds = 86400
        min_batch_size = 20
        batch_mode = "time-interval"
        vdaf = {{ type = "Prio3Histogram", length = 16, chunk_length = 6 }}
        measurement = {{ of = "mean", channel = 2, channels = 9, classes = 4 }}
        "#
    )
}

/// The bits of the golden file's report from where the third channel begins are not of any other.
const CHANNEL_BYTE: usize = 7 + 2 * 36 / 8;

/// A report of a mean that has this code of 0 to 63, on the line.
fn report((device, key): &(DeviceId, DeviceKey), sequence: u32, code: u8) -> Vec<u8> {
    let golden = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/golden/wire/frames.txt"
    ));
    let golden = golden.unwrap();
    let digits = golden.lines().find_map(|line| line.strip_prefix("m6h8 "));
    let digits = digits.unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let mut body: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    body[CHANNEL_BYTE] = body[CHANNEL_BYTE] & 0xc0 | code;
    on_line((*device, key), sequence, &body)
}

fn hello((device, key): &(DeviceId, DeviceKey), sequence: u32) -> Vec<u8> {
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
    on_line((*device, key), sequence, &body[..len])
}

fn on_line((device, key): (DeviceId, &DeviceKey), sequence: u32, body: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        direction: Direction::Up,
        device,
        model: ModelId(1),
        sequence,
        body,
    };
    let mut sealed = [0; 256];
    let len = envelope.seal(key, &mut sealed).unwrap();
    let mut line = [0; 512];
    let len = Message::Up(&sealed[..len]).encode(&mut line).unwrap();
    line[..len].to_vec()
}

/// A device that no server knows: what it reports goes to none.
fn stranger(number: u64) -> (DeviceId, DeviceKey) {
    (DeviceId(number), DeviceKey([number as u8; 32]))
}

struct Gateway {
    running: Running,
    line: TcpStream,
}

impl Gateway {
    fn start(place: &Workplace, server: &str) -> Gateway {
        let args = ["gateway", "--listen", "127.0.0.1:0", "--server", server];
        let more = ["--dap", "task.toml", "--dap-folder", "waiting"];
        let rest = ["--poll-ms", "50", "--status-seconds", "1", "--json"];
        let running = Running::start(place, &[&args[..], &more, &rest].concat());
        let listening = running.document()["listening"][0].clone();
        let line = TcpStream::connect(listening.as_str().unwrap()).unwrap();
        Gateway { running, line }
    }

    fn says(&mut self, line: &[u8]) {
        self.line.write_all(line).unwrap();
    }

    /// Waits until a task's status has these numbers.
    fn until(&self, expected: &[(&str, u64)]) -> Value {
        let holds = |status: &Value| {
            let task = &status["dap"][0];
            expected.iter().all(|(name, value)| task[*name] == *value)
        };
        self.running.status(holds)
    }

    /// Waits until reports wait for a reason with this in it.
    fn waits(&self, why: &str) {
        self.running.status(|status| {
            let said = status["dap"][0]["waits"].as_str();
            said.is_some_and(|said| said.contains(why))
        });
    }
}

fn bucket(code: u8) -> usize {
    usize::from(code) * 16 / 63
}

#[test]
fn reports_go_out_as_shares_and_nothing_in_the_clear_reaches_the_server() {
    let place = Workplace::fans();
    let devices: Vec<_> = (0..3).map(|_| place.enrolled()).collect();
    let aggregators = Aggregators::at("127.0.0.1:0", &task);
    place.write("task.toml", &task(aggregators.address));
    let server = Server::start(&place, &["--no-loops"]);
    let mut gateway = Gateway::start(&place, &server.http);
    let mut expected = vec![0; 16];
    for device in &devices {
        gateway.says(&hello(device, 1));
        gateway.says(&report(device, 2, 40));
        expected[bucket(40)] += 1;
        // An alarm of a channel, a report again, and another of the same day.
        gateway.says(&on_line((device.0, &device.1), 3, &[0x11, 4, 0x88]));
        gateway.says(&report(device, 2, 40));
        gateway.says(&report(device, 4, 41));
    }
    for number in 0..40_u8 {
        let code = number * 3 % 62;
        gateway.says(&report(&stranger(100 + u64::from(number)), 1, code));
        expected[bucket(code)] += 1;
    }
    let status = gateway.until(&[("uploaded", 43), ("repeated", 6), ("waiting", 0)]);
    assert_eq!(aggregators.sum(), expected);
    assert_eq!(status["dap"][0]["measured"], 43, "{status}");
    assert_eq!(status["withheld"], 3 * 4 + 40, "{status}");
    let status = gateway.running.status(|status| status["stored"] == 3);
    assert_eq!(
        (&status["refused"], &status["waiting"]),
        (&0.into(), &0.into())
    );
    let listed = place.check(&["devices", "ls", "--json"], 0).json();
    for device in listed["devices"].as_array().unwrap() {
        assert_eq!(device["report_count"], 1, "{device}");
    }
    // All reports of a day's hour and minute are the day's.
    let state = aggregators.state.lock().unwrap();
    let today = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 86_400;
    for report in state.pair.reports.values() {
        assert!(report.time == today || report.time + 1 == today);
    }
}

#[test]
fn nothing_is_lost_or_doubled_while_the_leader_is_away_or_mute() {
    let place = Workplace::empty();
    // An address at which nobody listens, for now.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    place.write("task.toml", &task(address));
    let mut gateway = Gateway::start(&place, "127.0.0.1:1");
    for number in 0..30 {
        gateway.says(&report(&stranger(number), 1, number as u8));
    }
    gateway.until(&[("measured", 30), ("waiting", 30)]);
    gateway.waits("the leader cannot be reached");
    // Killed, with all that it had in its memory.
    drop(gateway);
    let mut gateway = Gateway::start(&place, "127.0.0.1:1");
    gateway.until(&[("measured", 0), ("waiting", 30)]);
    gateway.says(&report(&stranger(3), 1, 3));
    gateway.until(&[("repeated", 1), ("waiting", 30)]);

    let aggregators = Aggregators::at(&address.to_string(), &task);
    aggregators.be(Mood::Mute);
    let begun = std::time::Instant::now();
    while aggregators.state.lock().unwrap().pair.reports.len() < 30 {
        assert!(begun.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // It has them all and could not say so: they come again, killed once more in between, and are taken for the same.
    gateway.waits("the leader cannot be reached");
    drop(gateway);
    aggregators.be(Mood::Well);
    let gateway = Gateway::start(&place, "127.0.0.1:1");
    let status = gateway.until(&[("known", 30), ("waiting", 0)]);
    assert_eq!(status["dap"][0]["lost"], 0, "{status}");
    let mut expected = vec![0; 16];
    (0..30).for_each(|code| expected[bucket(code)] += 1);
    assert_eq!(aggregators.sum(), expected);
    let left = fs::read_dir(place.path("waiting")).unwrap().flatten();
    let left: Vec<_> = left
        .flat_map(|task| fs::read_dir(task.path()).unwrap().flatten())
        .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_an_aggregator_says_instead_is_told_and_loses_nothing() {
    let place = Workplace::empty();
    let aggregators = Aggregators::at("127.0.0.1:0", &task);
    place.write("task.toml", &task(aggregators.address));
    let unknown = r#"{"type":"urn:ietf:params:ppm:dap:error:unrecognizedTask","detail":"gone"}"#;
    let moods = [
        (Mood::KeysOfType("text/html"), "answered with text/html"),
        (
            Mood::StrangeKeys,
            "no HPKE configuration is of X25519 (0x0020)",
        ),
        (
            Mood::Says(404, PROBLEM_TYPE, unknown),
            "the leader does not know the task (unrecognizedTask: gone)",
        ),
        (
            Mood::Says(415, "text/plain", "no"),
            "another draft of DAP than dap-18",
        ),
        (
            Mood::Says(500, "text/plain", "oops"),
            "the leader answered 500: no reason given",
        ),
        (Mood::Says(200, "text/html", "<p>"), "is none of DAP's"),
        (Mood::Refuses(5), "differ in some byte"),
        (Mood::Refuses(9), "is this machine's clock right?"),
    ];
    let mut expected = vec![0; 16];
    for (number, (mood, why)) in moods.into_iter().enumerate() {
        aggregators.be(mood);
        // A new process asks for keys first.
        let mut gateway = Gateway::start(&place, "127.0.0.1:1");
        gateway.says(&report(&stranger(number as u64), 1, 20));
        expected[bucket(20)] += 1;
        gateway.waits(why);
        assert_eq!(gateway.until(&[("waiting", 1)])["dap"][0]["lost"], 0);
        aggregators.be(Mood::Well);
        gateway.until(&[("uploaded", 1), ("waiting", 0)]);
        assert_eq!(aggregators.sum(), expected, "{mood:?}");
    }

    // Sealed for a key that the leader does not know: sealed anew, for the one that it tells then.
    aggregators.be(Mood::OldKeys);
    let mut gateway = Gateway::start(&place, "127.0.0.1:1");
    gateway.says(&report(&stranger(50), 1, 20));
    expected[bucket(20)] += 1;
    gateway.until(&[("uploaded", 1), ("lost", 0), ("waiting", 0)]);
    assert_eq!(aggregators.sum(), expected);
    // One that will never be taken is lost, and said to be; those behind it go on.
    aggregators.be(Mood::Refuses(7));
    gateway.says(&report(&stranger(51), 1, 20));
    gateway.until(&[("lost", 1), ("waiting", 0)]);
    let invalid = r#"{"type":"urn:ietf:params:ppm:dap:error:invalidMessage"}"#;
    aggregators.be(Mood::Says(400, PROBLEM_TYPE, invalid));
    gateway.says(&[report(&stranger(52), 1, 20), report(&stranger(53), 1, 20)].concat());
    gateway.until(&[("lost", 3), ("waiting", 0)]);
    aggregators.be(Mood::Well);
    gateway.says(&report(&stranger(54), 1, 20));
    expected[bucket(20)] += 1;
    gateway.until(&[("uploaded", 2), ("waiting", 0)]);
    assert_eq!(aggregators.sum(), expected);
    // A report of another shape has nothing to measure, and goes no further either.
    gateway.says(&on_line(
        (DeviceId(55), &DeviceKey([1; 32])),
        1,
        &[0x12; 40],
    ));
    let status = gateway.until(&[("unmeasured", 1)]);
    assert_eq!(
        (&status["stored"], &status["waiting"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn tasks_that_are_none_are_refused_before_anything_is_heard() {
    let place = Workplace::empty();
    let good = task("127.0.0.1:9".parse().unwrap());
    place.write("task.toml", &good);
    let refused = |args: &[&str], code: i32, texts: &[&str]| {
        let begin = [
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--server",
            "127.0.0.1:1",
        ];
        let answer = place.check(&[&begin[..], args].concat(), code);
        for text in texts {
            assert!(
                answer.stderr.contains(text),
                "no `{text}` in {}",
                answer.stderr
            );
        }
    };
    let dap = |file: &'static str| ["--dap", file, "--dap-folder", "waiting"];
    refused(
        &dap("none.toml"),
        2,
        &["cannot read the task file `none.toml`"],
    );
    refused(&["--dap", "task.toml"], 2, &["--dap-folder"]);
    refused(&["--dap-folder", "waiting"], 2, &["--dap"]);
    for (line, changed, why) in [
        ("\"pumps\"", "\"\"", "`task_info` has 0 bytes"),
        ("channel = 2", "channel = 9", "must name a channel of the 9"),
        (
            "http://127.0.0.1:9/leader/",
            "http://leader.example/",
            "is not through TLS",
        ),
        ("min_batch_size = 20", "min_batch_size = 2", "fewer than 20"),
    ] {
        place.write("wrong.toml", &good.replace(line, changed));
        let why = ["`wrong.toml` describes no task", why, "docs/guide/dap.md"];
        refused(&dap("wrong.toml"), 2, &why);
    }
    let secure = good.replace("http://127.0.0.1:9/leader/", "https://leader.example/");
    place.write("secure.toml", &secure);
    refused(
        &dap("secure.toml"),
        2,
        &["nothing says who signs its certificate"],
    );
    let twice = [&dap("task.toml")[..], &["--dap", "task.toml"]].concat();
    refused(&twice, 2, &["another `--dap` is of"]);
    let _first = Gateway::start(&place, "127.0.0.1:1");
    refused(&dap("task.toml"), 3, &["another gateway has it"]);
}
