//! A server whose disk fills in the middle of what is sent to it: each sender is told, nothing half-written shows, and
//! when there is room again it goes on without a restart.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tinyops_fleet::enrol::device_password;
use tinyops_server::hex;
use tinyops_wire::{DeviceKey, Envelope, Frame, ModelId, envelope::Direction, frame::Hello};

use crate::running::Server;
use crate::workplace::{Workplace, recording};

const FOLDER: &str = "TINYOPS_TEST_FULL_FOLDER";
/// Reports that may still fit into pages which the store holds already.
const SLACK: u32 = 4000;
/// Reports in one exchange of a gateway: more than a server takes for few.
const MANY: i64 = 256;

/// A small file system of our own, where the rights allow one.
#[test]
fn a_server_whose_disk_fills_says_so_and_goes_on() {
    let folder = tempfile::TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=6m tinyops \"$1\" || exit 77
        exec \"$2\" full_server::child_of_the_full_server_test --exact --nocapture";
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output();
    match ran {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) if ran.status.code() == Some(101) => panic!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        ),
        other => {
            #[expect(clippy::print_stderr, reason = "a skipped test must show")]
            {
                eprintln!(
                    "full server skipped: a small file system cannot be mounted here ({other:?})"
                );
            }
        }
    }
}

/// The child's part, on a disk of six megabytes.
#[test]
fn child_of_the_full_server_test() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let disk = PathBuf::from(folder);
    let place = Workplace::fans();
    let site = Site::start(&place, &disk);
    let mut reporter = Reporter::new(&site, "reporter");
    let mut listener = Reporter::new(&site, "listener");
    let mut carrier = Reporter::new(&site, "carrier");
    assert_eq!(reporter.report(&site).0, 200);
    assert!(listener.publish(&site), "acknowledged");
    assert!(carrier.bring(&site));
    let before = site.shown("devices", "ls");

    fill(&disk);
    let mut kept = 1;
    let problem = loop {
        match reporter.report(&site) {
            (200, _) => kept += 1,
            (_, problem) => break problem,
        }
        assert!(
            kept < i64::from(SLACK),
            "the disk is full and takes reports"
        );
    };
    check(&problem, "store_full", "the server's disk is full");
    let mut acknowledged = 1;
    while listener.publish(&site) {
        acknowledged += 1;
        assert!(
            acknowledged < i64::from(SLACK),
            "nothing is acknowledged that cannot be stored"
        );
    }
    // Many at once go another way into the store.
    let mut carried = 0;
    while carrier.bring(&site) {
        carried += MANY;
        assert!(carried < 100 * MANY, "the disk is full and takes reports");
    }
    // A release: its capsule cannot be kept.
    let wish = json!({ "model": "fan", "version": 1 });
    let (status, problem) = site.call("POST", "/api/v1/rollouts", "", &wish.to_string());
    assert_eq!(status, 507, "{problem}");
    check(&problem, "store_full", "could not do this now");
    let (_, rollouts) = site.call("GET", "/api/v1/rollouts", "", "");
    assert_eq!(rollouts, json!([]));
    let imported = site.tinyops(&["release", "import", &site.signed]);
    assert_eq!(imported.0, 3, "{}", imported.1);
    assert!(imported.1.contains("no space is left"), "{}", imported.1);
    // What a Linux client sends.
    let token = format!("TargetToken {}", site.target);
    let data = json!({ "data": { "hw": "2".repeat(100) } }).to_string();
    let path = "/DEFAULT/controller/v1/press-7/configData";
    assert_eq!(site.call("PUT", path, &token, &data).0, 507);
    // A key set, and recordings.
    let project = disk.join("project");
    let keys = |args: &[&str]| site.here(&project, args);
    let held = kept_in(&project);
    let rotated = keys(&["keys", "rotate", "release"]);
    assert_eq!(rotated.0, 3, "{}", rotated.1);
    assert_eq!(kept_in(&project), held, "the key set in force stays, whole");
    let recording = place.path("more.csv");
    let added = keys(&[
        "data",
        "add",
        recording.to_str().unwrap(),
        "--label",
        "blade",
        "--group",
        "m9",
    ]);
    assert_ne!(added.0, 0, "{}", added.1);
    assert!(
        added.1.contains("No space left") || added.1.contains("no space is left"),
        "{}",
        added.1
    );
    assert!(!project.join("data/m9/blade/more.csv").exists());
    // Reading goes on all the while.
    assert_eq!(site.call("GET", "/ready", "", "").0, 200);
    assert_eq!(strays(&disk), [""; 0], "nothing half-written is left");

    // Room again: everything that was refused is taken by the same process.
    fs::remove_file(disk.join("ballast")).unwrap();
    assert_eq!(reporter.report(&site).0, 200);
    assert!(listener.publish(&site), "acknowledged");
    assert!(carrier.bring(&site) && carrier.bring(&site));
    assert_eq!(
        site.call(
            "PUT",
            "/DEFAULT/controller/v1/press-7/configData",
            &token,
            &data
        )
        .0,
        200
    );
    let (status, made) = site.call("POST", "/api/v1/rollouts", "", &wish.to_string());
    assert_eq!(status, 201, "{made}");
    assert_eq!(keys(&["keys", "rotate", "release"]).0, 0);
    assert_eq!(
        keys(&[
            "data",
            "add",
            recording.to_str().unwrap(),
            "--label",
            "blade",
            "--group",
            "m9"
        ])
        .0,
        0
    );
    // What waits in the log of what came in is in the records soon.
    let stored = carried + 3 * MANY;
    let begun = Instant::now();
    let after = loop {
        let after = site.shown("devices", "ls");
        if carrier.count(&after) >= stored || begun.elapsed() > Duration::from_secs(60) {
            break after;
        }
    };
    for (device, stored) in [
        (&reporter, kept + 1),
        (&listener, acknowledged + 1),
        (&carrier, stored),
    ] {
        assert_eq!(
            device.count(&after),
            stored,
            "what was acknowledged is stored, once; {before}"
        );
    }
}

#[track_caller]
fn check(problem: &Value, code: &str, message: &str) {
    let said = problem["message"].as_str().unwrap_or_default();
    assert!(
        problem["code"] == code && said.contains(message),
        "{problem}"
    );
}

/// Takes what room is left.
fn fill(disk: &Path) {
    let mut ballast = fs::File::create(disk.join("ballast")).unwrap();
    for size in [65_536, 4_096] {
        while ballast.write_all(&vec![0; size]).is_ok() {}
    }
}

/// The keys of a project, with what is in each file.
fn kept_in(project: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(project.join(".tinyops")).unwrap();
    let mut kept: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .filter(|(name, _)| !name.contains("tinyops.db"))
        .collect();
    kept.sort();
    kept
}

/// Files that a write which broke off has left.
fn strays(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(strays(&path));
        } else if name.starts_with('.') {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A server whose records and artifacts are on the small disk.
struct Site<'a> {
    place: &'a Workplace,
    server: Server,
    store: [String; 4],
    /// A capsule that was signed and not brought in.
    signed: String,
    /// The token of a Linux device.
    target: String,
}

impl Site<'_> {
    fn start<'a>(place: &'a Workplace, disk: &Path) -> Site<'a> {
        let at = |name: &str| disk.join(name).to_str().unwrap().to_owned();
        let store = [
            "--db".into(),
            at("records.db"),
            "--artifacts".into(),
            at("artifacts"),
        ];
        let with = |args: &[&str]| {
            let all: Vec<&str> = args
                .iter()
                .copied()
                .chain(store.iter().map(String::as_str))
                .collect();
            place.check(&all, 0)
        };
        place.check(&["keys", "new", "--quiet"], 0);
        with(&["run", "--quiet"]);
        with(&["release", "request", "fan@1"]);
        let request = fs::read_dir(place.root()).unwrap().filter_map(|entry| {
            let path = entry.unwrap().path();
            path.extension()
                .is_some_and(|ending| ending == "unsigned")
                .then_some(path)
        });
        let request = request.last().unwrap();
        place.check(&["release", "sign", request.to_str().unwrap()], 0);
        let added = with(&[
            "devices",
            "add",
            "--board",
            "esp-eye",
            "--ddi",
            "--controller",
            "press-7",
            "--json",
        ]);
        let target = added.json()["target_token"].as_str().unwrap().to_owned();
        // A project of its own on the disk, whose keys and recordings have no room either.
        let project = disk.join("project");
        fs::create_dir(&project).unwrap();
        fs::copy(place.path("tinyops.toml"), project.join("tinyops.toml")).unwrap();
        place.check(
            &["-C", project.to_str().unwrap(), "keys", "new", "--quiet"],
            0,
        );
        place.write("more.csv", &recording(9.0, 18.0));
        let store_args: Vec<&str> = store.iter().map(String::as_str).collect();
        let server = Server::start(place, &[&["--no-loops"], &store_args[..]].concat());
        Site {
            place,
            server,
            store,
            signed: request
                .with_extension("capsule")
                .to_str()
                .unwrap()
                .to_owned(),
            target,
        }
    }

    /// A command on the server's store: how it ended, and all that it said.
    fn tinyops(&self, args: &[&str]) -> (i32, String) {
        let all: Vec<&str> = args
            .iter()
            .copied()
            .chain(self.store.iter().map(String::as_str))
            .collect();
        let answer = self.place.run(&all);
        (answer.code, answer.stdout + &answer.stderr)
    }

    /// A command in a project of its own.
    fn here(&self, project: &Path, args: &[&str]) -> (i32, String) {
        let all = [&["-C", project.to_str().unwrap()], args].concat();
        let answer = self.place.run(&all);
        (answer.code, answer.stdout + &answer.stderr)
    }

    fn shown(&self, noun: &str, verb: &str) -> Value {
        let (code, said) = self.tinyops(&[noun, verb, "--json"]);
        assert_eq!(code, 0, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    fn call(&self, method: &str, path: &str, shown: &str, body: &str) -> (u16, Value) {
        self.send(method, path, shown, "application/json", body.as_bytes())
    }

    fn send(&self, method: &str, path: &str, shown: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.server.http).unwrap();
        let shown = match shown {
            "" => String::new(),
            shown => format!("Authorization: {shown}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{shown}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.server.http,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// A device that reports.
struct Reporter {
    device: String,
    key: DeviceKey,
    password: String,
    sequence: u32,
}

impl Reporter {
    fn new(site: &Site<'_>, cohort: &str) -> Reporter {
        let (secret, request) = site.place.request(None);
        let (code, said) = site.tinyops(&[
            "devices",
            "add",
            "--request",
            &request,
            "--cohort",
            cohort,
            "--json",
        ]);
        assert_eq!(code, 0, "{said}");
        let added: Value = serde_json::from_str(&said).unwrap();
        let (device, key) = site.place.opened(&secret, &request, &added);
        Reporter {
            device: device.to_string(),
            password: device_password(&key, device),
            key,
            sequence: 0,
        }
    }

    fn seal(&self, sequence: u32) -> Vec<u8> {
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
            device: self.device.parse().unwrap(),
            model: ModelId(0),
            sequence,
            body: &body[..len],
        };
        let mut sealed = vec![0; 256];
        let len = envelope.seal(&self.key, &mut sealed).unwrap();
        sealed.truncate(len);
        sealed
    }

    /// Reports over HTTP: the next one, or that which was not stored again.
    fn report(&mut self, site: &Site<'_>) -> (u16, Value) {
        let shown = format!("Bearer {}.{}", self.device, self.password);
        let sealed = self.seal(self.sequence + 1);
        let answer = site.send(
            "POST",
            "/api/v1/reports",
            &shown,
            "application/octet-stream",
            &sealed,
        );
        assert!([200, 507].contains(&answer.0), "{answer:?}");
        self.sequence += u32::from(answer.0 == 200);
        answer
    }

    /// Brings many reports in one exchange, as a gateway does; whether they were taken, all of them or none.
    fn bring(&mut self, site: &Site<'_>) -> bool {
        let next = (1..=MANY).map(|ahead| self.seal(self.sequence + ahead as u32));
        let up: Vec<String> = next.map(|sealed| hex(&sealed)).collect();
        let brought = json!({ "up": up }).to_string();
        let (status, taken) = site.call("POST", "/api/v1/gateway/exchange", "", &brought);
        if status == 507 {
            check(&taken, "store_full", "the server's disk is full");
            return false;
        }
        assert_eq!(taken["kept"], json!(vec![true; MANY as usize]), "{taken}");
        self.sequence += MANY as u32;
        true
    }

    /// Reports over MQTT, QoS 1; whether it was acknowledged. If not, the connection ends.
    fn publish(&mut self, site: &Site<'_>) -> bool {
        let mut stream = TcpStream::connect(&site.server.mqtt).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
        let connect = [
            &text("MQTT")[..],
            &[4, 0b1100_0010, 0, 60],
            &text(&self.device),
            &text(&self.device),
            &text(&self.password),
        ]
        .concat();
        stream.write_all(&packet(0x10, &connect)).unwrap();
        let mut accepted = [0; 4];
        stream.read_exact(&mut accepted).unwrap();
        assert_eq!(accepted, [0x20, 2, 0, 0]);
        let topic = text(&format!("t/{}/up", self.device));
        let publish = [&topic[..], &[0, 7], &self.seal(self.sequence + 1)].concat();
        stream.write_all(&packet(0x32, &publish)).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while answer.len() < 4 && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            answer.extend(byte);
        }
        let is_acknowledged = answer == [0x40, 2, 0, 7];
        assert!(is_acknowledged || answer.is_empty(), "{answer:?}");
        self.sequence += u32::from(is_acknowledged);
        is_acknowledged
    }

    fn count(&self, listed: &Value) -> i64 {
        let devices = listed["devices"].as_array().unwrap();
        let own = devices
            .iter()
            .find(|row| row["device"] == self.device.as_str());
        own.unwrap()["report_count"].as_i64().unwrap()
    }
}

/// An MQTT packet of up to 16 KiB.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let (low, high) = ((body.len() % 128) as u8, (body.len() / 128) as u8);
    let head = match high {
        0 => vec![kind, low],
        _ => vec![kind, low | 0x80, high],
    };
    [&head[..], body].concat()
}
