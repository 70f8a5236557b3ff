//! The agent in C, as a process over a file for its flash: through a gateway and the real server, by capsule and by delta,
//! through power cuts, and what it refuses.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tinyops_fleet::KeyFolder;
use tinyops_wire::{
    DeviceId,
    enrolment::ClassToken,
    provision::{Credential, Factory, RECORD_BYTES_MAX, Record},
};

use crate::{
    running::{Running, Server, port},
    workplace::{SETTINGS, Workplace},
};

/// What the recordings' sensor is, with a mounting.
const SENSOR: &str = "[sensor]\naxes = [\"acc.x\", \"acc.y\", \"acc.z\"]\nmounting = \"x y z\"\n";
/// The code of `x y z`, and of `y -x z`.
const UPRIGHT: u8 = 0x13;
const TURNED: u8 = 0x32;
/// Where the flash says who the device is.
const ENROLLED_AT: usize = 256 * 1024 + 4096;
/// How long anything may take where two cores are busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// The program, compiled once from `firmware/agent`; `None`, and said, where there is no compiler.
fn program() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let made = PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let program = compiled(folder.path())?;
        Some((folder, program))
    });
    made.as_ref().map(|(_, program)| program.clone())
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn compiled(folder: &Path) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = Vec::new();
    let mut folders = vec![root.join("c/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            match entry.extension() {
                None => folders.push(entry),
                Some(end) if end == "c" => sources.push(entry),
                Some(_) => {}
            }
        }
    }
    let agent = root.join("firmware/agent");
    let own = [
        "agent.c",
        "enrol.c",
        "keys.c",
        "link.c",
        "model.c",
        "statement.c",
        "host/main.c",
    ];
    sources.extend(own.map(|name| agent.join(name)));
    let program = folder.join("agent");
    let compiled = Command::new("cc")
        .args(["-std=gnu99", "-O1", "-ffp-contract=off", "-o"])
        .arg(&program)
        .args(&sources)
        .status();
    let Ok(status) = compiled else {
        eprintln!("skipped: there is no `cc`");
        return None;
    };
    assert!(status.success(), "the agent in C compiles");
    Some(program)
}

/// Writes what a factory leaves a device: whom it believes, what it is, and the token of its class.
fn factory(place: &Workplace) {
    let make = ["devices", "token", "make", "--board", "esp-eye", "--json"];
    let made = place.check(&make, 0).json();
    let token: ClassToken = made["token"].as_str().unwrap().parse().unwrap();
    let trust = KeyFolder::new(&place.path(".tinyops")).trust();
    let trust = trust.unwrap().unwrap();
    let factory = Record::Factory(Factory {
        roots: trust.roots,
        key_set: &trust.signed,
        board: "esp-eye",
        channel_count: 3,
        rate_hz: 100.0,
        report_windows: 8,
        report_ms: 0,
        device: None,
        credential: Credential::Token {
            id: token.id,
            secret: token.secret(),
        },
        sensor: None,
    });
    let mut bytes = vec![0; RECORD_BYTES_MAX];
    let len = factory.encode(&mut bytes).unwrap();
    fs::write(place.path("factory.bin"), &bytes[..len]).unwrap();
}

/// A site with a server and a gateway, and a device in C.
struct Site {
    program: PathBuf,
    port: String,
    _gateway: Running,
    _server: Server,
    place: Workplace,
}

/// The device while power lasts.
struct Powered {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Drop for Powered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Powered {
    /// What it says of its next window.
    fn window(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE);
        serde_json::from_str(&line.expect("it scores windows")).unwrap()
    }
}

impl Site {
    fn open() -> Option<Site> {
        let other = SETTINGS.replace("epochs = 200", "epochs = 201");
        Self::with_models([SETTINGS, &other])
    }

    /// Two versions of a model, each by settings of its own.
    fn with_models(settings: [&str; 2]) -> Option<Site> {
        let place = Workplace::fans();
        let program = program()?;
        for settings in settings {
            place.write("tinyops.toml", &format!("{settings}{SENSOR}"));
            place.check(&["run"], 0);
        }
        let server = Server::start(&place, &[]);
        let args = [
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--server",
            &server.http,
        ];
        let gateway = Running::start(
            &place,
            &[&args[..], &["--poll-ms", "50", "--json"]].concat(),
        );
        let listening = gateway.document()["listening"][0].clone();
        factory(&place);
        Some(Site {
            program,
            port: port(listening.as_str().unwrap()).to_owned(),
            _gateway: gateway,
            _server: server,
            place,
        })
    }

    /// Power comes: the flash is what it was.
    fn power(&self, mounting: u8) -> Powered {
        let mut child = Command::new(&self.program)
            .arg(self.place.path("flash.bin"))
            .arg(&self.port)
            .arg(self.place.path("factory.bin"))
            .arg(mounting.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Powered { child, lines }
    }

    #[track_caller]
    fn wait(&self, number: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self
                .place
                .check(&["rollout", "show", number, "--json"], 0)
                .json();
            if holds(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "{shown:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Who the device has become, as its flash says.
    fn device(&self) -> DeviceId {
        let flash = fs::read(self.place.path("flash.bin")).unwrap();
        match Record::decode(&flash[ENROLLED_AT..]) {
            Ok(Record::Enrolled(enrolled)) => enrolled.device,
            other => panic!("it is enrolled, not {other:?}"),
        }
    }

    fn device_shown(&self) -> Value {
        let id = self.device().to_string();
        self.place
            .check(&["devices", "show", &id, "--json"], 0)
            .json()
    }
}

#[test]
fn a_device_in_c_is_updated_through_power_cuts_and_reports() {
    let Some(site) = Site::open() else { return };
    let place = &site.place;
    let powered = site.power(UPRIGHT);

    // A device without a model fetches its first, and power goes again and again meanwhile.
    place.check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    let mut powered = Some(powered);
    for pause_ms in [150, 400, 700] {
        std::thread::sleep(Duration::from_millis(pause_ms));
        drop(powered.take());
        powered = Some(site.power(UPRIGHT));
    }
    let powered = powered.unwrap();
    site.wait("1", |shown| shown["rollout"]["state"] == "done");
    let first = powered.window();

    // The next one comes as a delta against it, and what runs answers as the host does.
    place.check(&["rollout", "start", "fan@2", "--canary", "1"], 0);
    site.wait("2", |shown| shown["rollout"]["state"] == "done");
    let begun = Instant::now();
    let second = loop {
        let window = powered.window();
        if window["model"] != first["model"] {
            break window;
        }
        assert!(begun.elapsed() < PATIENCE, "{window}");
    };
    assert!(second["sequence"].as_u64() > first["sequence"].as_u64());
    assert!(second["output"].as_f64() > Some(0.3), "{second}");

    // Its reports are read, under the new model.
    let begun = Instant::now();
    loop {
        let shown = site.device_shown();
        if shown["device"]["model"] == second["model"]
            && shown["device"]["report_count"].as_i64() > Some(3)
        {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{first} {second} {shown:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_device_in_c_that_sits_otherwise_refuses_and_names_the_mounting() {
    let Some(site) = Site::open() else { return };
    let _powered = site.power(TURNED);
    let start = ["rollout", "start", "fan@1", "--canary", "1"];
    site.place.check(&start, 0);
    let refused = |shown: &Value| shown["members"][0]["detail"]["reason"] == "mounting";
    let shown = site.wait("1", refused);
    assert_eq!(shown["members"][0]["delivery"], "failed", "{shown:#}");
    let text = site.place.check(&["rollout", "show", "1"], 0).stdout;
    assert!(text.contains("mounting: the model takes `x y z`"), "{text}");
}

/// Programs that are no networks: one distance takes the place of another.
#[test]
fn a_device_in_c_scores_by_distances() {
    let by = |distance: &str| {
        SETTINGS
            .replace("metric = \"accuracy\"", "metric = \"auc\"")
            .replace(
                "kind = \"dense\"\nhidden = [8]",
                &format!("kind = \"{distance}\""),
            )
            .replace(
                "epochs = 200",
                "goal = \"anomaly\"\n[train.costs]\nnormal = [\"normal\"]",
            )
    };
    let Some(site) = Site::with_models([&by("mahalanobis"), &by("k_means")]) else {
        return;
    };
    let powered = site.power(UPRIGHT);
    let mut model = Value::Null;
    for version in ["1", "2"] {
        let start = [
            "rollout",
            "start",
            &format!("fan@{version}"),
            "--canary",
            "1",
        ];
        site.place.check(&start, 0);
        // It has made the golden scores, or it would have refused.
        site.wait(version, |shown| shown["rollout"]["state"] == "done");
        let begun = Instant::now();
        let window = loop {
            let window = powered.window();
            if window["model"] != model {
                break window;
            }
            assert!(begun.elapsed() < PATIENCE, "{window}");
        };
        assert!(window["output"].is_number(), "{window}");
        model = window["model"].clone();
    }
}
