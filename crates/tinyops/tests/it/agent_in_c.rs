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
    sensor::{Channel, RATE_TOLERANCE_PPM, SensorContract, SensorSection},
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

/// Writes what a factory leaves a device: whom it believes, what it is, the token of its class, and all of its sensor if the
/// factory says it.
fn factory(place: &Workplace, file: &str, contract: Option<&SensorContract<'_>>) {
    let section = contract.map(|contract| {
        let mut section = vec![0; contract.encoded_len()];
        contract.encode(&mut section).unwrap();
        section
    });
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
        sensor: section
            .as_deref()
            .map(|section| SensorSection::decode(section).unwrap()),
    });
    let mut bytes = vec![0; RECORD_BYTES_MAX];
    let len = factory.encode(&mut bytes).unwrap();
    fs::write(place.path(file), &bytes[..len]).unwrap();
}

/// A site with a server and a gateway, and a device in C.
struct Site {
    program: PathBuf,
    port: String,
    _gateway: Running,
    server: Option<Server>,
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

    /// What it says of the first window of another model.
    fn next_model(&self, before: &Value) -> Value {
        let begun = Instant::now();
        loop {
            let window = self.window();
            if window["model"] != before["model"] {
                return window;
            }
            assert!(begun.elapsed() < PATIENCE, "{window}");
        }
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
        factory(&place, "factory.bin", None);
        Some(Site {
            program,
            port: port(listening.as_str().unwrap()).to_owned(),
            _gateway: gateway,
            server: Some(server),
            place,
        })
    }

    /// Power comes: the flash is what it was.
    fn power(&self, mounting: u8) -> Powered {
        self.power_of("flash.bin", "factory.bin", mounting)
    }

    /// Power comes to the device with this flash, which this factory made; it is one of its server's before anything goes on.
    fn power_of(&self, flash: &str, factory: &str, mounting: u8) -> Powered {
        let mut child = Command::new(&self.program)
            .arg(self.place.path(flash))
            .arg(&self.port)
            .arg(self.place.path(factory))
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
        let powered = Powered { child, lines };
        let begun = Instant::now();
        while self.enrolled(flash).is_none() {
            assert!(begun.elapsed() < PATIENCE, "it enrols");
            std::thread::sleep(Duration::from_millis(20));
        }
        powered
    }

    /// Who the device with this flash has become, as that says.
    fn enrolled(&self, flash: &str) -> Option<DeviceId> {
        let flash = fs::read(self.place.path(flash)).ok()?;
        match Record::decode(flash.get(ENROLLED_AT..)?) {
            Ok(Record::Enrolled(enrolled)) => Some(enrolled.device),
            _ => None,
        }
    }

    /// Another server where the one was.
    fn serve_again(&mut self) {
        let before = self.server.take().unwrap();
        let http = before.http.clone();
        // Its address is free once it has gone.
        drop(before);
        self.server = Some(Server::at(&self.place, &http, &[]));
    }

    #[track_caller]
    fn wait_for_key_set(&self, number: u32) {
        let begun = Instant::now();
        loop {
            let shown = self.place.check(&["keys", "show", "--json"], 0).json();
            let devices = shown["devices"].as_array().unwrap();
            let holds = |held: &Value| held["key_set"] == number;
            if !devices.is_empty() && devices.iter().all(holds) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{shown:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
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

    fn device_shown(&self) -> Value {
        let id = self.enrolled("flash.bin").unwrap().to_string();
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
    let second = powered.next_model(&first);
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

    // What its factory wrote of its sensor counts, and not what the program states.
    let axis = |axis| Channel {
        axis,
        unit: "g",
        full_scale: 4.0,
    };
    let contract = SensorContract {
        rate_hz: 100.0,
        rate_tolerance_ppm: RATE_TOLERANCE_PPM,
        mounting: "x y z".parse().ok(),
        channels: &["acc.x", "acc.z", "acc.y"].map(axis),
    };
    factory(&site.place, "other.bin", Some(&contract));
    let _other = site.power_of("other-flash.bin", "other.bin", TURNED);
    let refused = |shown: &Value| {
        let members = shown["members"].as_array().unwrap();
        members.iter().any(|one| one["detail"]["reason"] == "axis")
    };
    site.place
        .check(&[&start[..], &["--priority", "1"]].concat(), 0);
    site.wait("2", refused);
    let text = site.place.check(&["rollout", "show", "2"], 0).stdout;
    assert!(
        text.contains("axis: the model takes another, or another order, from channel 1 on"),
        "{text}"
    );
}

/// Key sets come over the line: what the new key signs is taken, what the old one signed is refused, whatever the power does.
#[test]
fn a_device_in_c_takes_a_key_set_from_its_server_and_believes_the_old_key_nothing_more() {
    let Some(mut site) = Site::open() else { return };
    let powered = site.power(UPRIGHT);
    site.place
        .check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    site.wait("1", |shown| shown["rollout"]["state"] == "done");
    let first = powered.window();
    let kept = ["release.key", "key-set.cose"].map(|name| {
        let path = site.place.path(&format!(".tinyops/{name}"));
        (fs::read(&path).unwrap(), path)
    });

    // The release key has leaked, so that another takes its place.
    let rotate = ["keys", "rotate", "release", "--take-back"];
    site.place.check(&rotate, 0);
    site.wait_for_key_set(2);
    // What it has confirmed it runs still, after a power cut too.
    drop(powered);
    let powered = site.power(UPRIGHT);
    assert_eq!(powered.window()["model"], first["model"]);

    // What the new key signs it takes.
    site.place
        .check(&["rollout", "start", "fan@2", "--canary", "1"], 0);
    site.wait("2", |shown| shown["rollout"]["state"] == "done");
    let second = powered.next_model(&first);

    // Whoever has the old key, and the director's, offers what the old key has signed: to a device whose power went once
    // more, so that only its flash can tell it which key counts.
    drop(powered);
    for (bytes, path) in kept {
        fs::write(path, bytes).unwrap();
    }
    site.serve_again();
    let powered = site.power(UPRIGHT);
    site.place
        .check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    let refused = |shown: &Value| shown["members"][0]["detail"]["reason"] == "signature";
    let shown = site.wait("3", refused);
    assert_eq!(shown["members"][0]["delivery"], "failed", "{shown:#}");
    assert_eq!(powered.window()["model"], second["model"]);
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
        let window = powered.next_model(&model);
        assert!(window["output"].is_number(), "{window}");
        model = window;
    }
}
