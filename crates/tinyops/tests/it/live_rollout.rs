//! Rollouts through the real server to a device, which is the real agent: in a process of this machine's, or as firmware on
//! an emulated board.

use std::time::{Duration, Instant};

use serde_json::Value;
use tinyops_compile::Boards;
use tinyops_emulate::{AgentFirmware, Firmware, Memory};

use crate::{
    running::{PATIENCE, Running, Server},
    workplace::{SETTINGS, Workplace},
};

/// What the device is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// A process, which speaks MQTT.
    Virtual,
    /// Firmware on an emulated board, which speaks to a gateway over its serial line.
    Emulated,
    /// A process behind the board's end of Bluetooth LE, which a gateway reaches through the air.
    InTheAir,
}

impl Body {
    fn board(self) -> &'static str {
        match self {
            Body::Virtual | Body::InTheAir => "esp-eye",
            Body::Emulated => "arduino-nano-33-ble-sense",
        }
    }
}

/// A project with two versions of its model, and a server of it.
pub(crate) struct Site {
    pub(crate) place: Workplace,
    server: Server,
    body: Body,
    /// The gateway of a device that has a line, and where the line leads.
    gateway: Option<(Running, String)>,
}

/// What a gateway is told beside where its lines and its server are.
const GATEWAY: [&str; 5] = ["--poll-ms", "50", "--status-seconds", "1", "--json"];

impl Site {
    pub(crate) fn open(body: Body) -> Site {
        Site::reached(body, None)
    }

    /// The same; `air` is the radio of its gateway, and the line behind the board's own.
    pub(crate) fn reached(body: Body, air: Option<(&str, &str)>) -> Site {
        if body == Body::Emulated {
            build_firmware(body.board());
        }
        let place = Workplace::fans();
        let settings = SETTINGS.replace("esp-eye", body.board());
        place.write("tinyops.toml", &settings);
        place.check(&["run"], 0);
        let other = settings.replace("epochs = 200", "epochs = 201");
        place.write("tinyops.toml", &other);
        let again = place.check(&["run", "--json"], 0).json();
        assert_eq!(again["version"], 2);
        let server = Server::start(&place, &[]);
        let gateway = (body != Body::Virtual).then(|| {
            let place_of_lines = match air {
                Some((radio, _)) => ["--ble", radio],
                None => ["--listen", "127.0.0.1:0"],
            };
            let args = ["gateway", "--server", &server.http];
            let gateway = Running::start(&place, &[&args[..], &place_of_lines, &GATEWAY].concat());
            let listening = gateway.document()["listening"][0].clone();
            let line = air.map_or_else(|| listening.as_str().unwrap(), |(_, line)| line);
            (gateway, line.to_owned())
        });
        Site {
            place,
            server,
            body,
            gateway,
        }
    }

    /// What its gateway has counted.
    pub(crate) fn counted(&self) -> Value {
        let (gateway, _) = self.gateway.as_ref().expect("the device has a line");
        // Lines that came while nobody looked are of before.
        let begun = Instant::now();
        gateway.status(|_| begun.elapsed() > Duration::from_millis(1500))
    }

    /// The one device, which lives until it is dropped; the next is the same after a power cut.
    pub(crate) fn device(&self) -> Running {
        self.device_that(&[
            "--replay",
            "data/m5/normal/0.csv",
            "--times",
            "0",
            "--real-time",
            "--report-every",
            "4",
        ])
    }

    /// The same, with other readings.
    pub(crate) fn device_that(&self, reads: &[&str]) -> Running {
        let is = ["device", "run", "--board", self.body.board(), "--json"];
        let says = ["--server", &self.server.http];
        let speaks = match &self.gateway {
            None => vec!["--mqtt", &self.server.mqtt],
            Some((_, line)) if self.body == Body::Emulated => vec!["--emulated", "--line", line],
            Some((_, line)) => vec!["--line", line],
        };
        Running::start(&self.place, &[&is[..], &says, &speaks, reads].concat())
    }

    /// A board whose serial port is a terminal of this machine's, and a gateway that has opened that.
    pub(crate) fn device_on_a_terminal(&self, reads: &[&str]) -> (Running, Running) {
        let is = ["device", "run", "--board", self.body.board(), "--json"];
        let says = ["--emulated", "--server", &self.server.http];
        let device = Running::start(&self.place, &[&is[..], &says, reads].concat());
        let said = device.note("its serial port is ");
        let (_, path) = said.split_once("its serial port is ").unwrap();
        let (path, _) = path.split_once(':').unwrap();
        let args = ["gateway", "--tty", path, "--server", &self.server.http];
        let gateway = Running::start(&self.place, &[&args[..], &GATEWAY].concat());
        (device, gateway)
    }

    /// Waits until a device has registered.
    pub(crate) fn wait_for_a_device(&self) {
        let begun = Instant::now();
        let none = serde_json::json!([]);
        while self.place.check(&["devices", "ls", "--json"], 0).json()["devices"] == none {
            assert!(begun.elapsed() < PATIENCE, "it registers");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn rollout(&self, number: &str) -> Value {
        let show = ["rollout", "show", number, "--json"];
        self.place.check(&show, 0).json()
    }

    /// Waits until something holds of a rollout.
    #[track_caller]
    pub(crate) fn wait(&self, number: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.rollout(number);
            if holds(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "{shown:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Builds the firmware, which takes minutes where it was never built: no wait below has so much patience.
fn build_firmware(board: &str) {
    let boards = Boards::default();
    let memory = Memory::of(boards.named(board).unwrap());
    let firmware = Firmware::find().unwrap();
    AgentFirmware::build(&firmware, memory).unwrap();
}

/// Whether the one device of a rollout is so far.
pub(crate) fn is(delivery: &str) -> impl Fn(&Value) -> bool {
    move |shown| shown["members"][0]["delivery"] == delivery
}

/// Whether a rollout is over, and all is well.
pub(crate) fn is_done(shown: &Value) -> bool {
    shown["rollout"]["state"] == "done"
}

#[test]
fn a_device_fetches_now_and_installs_when_it_is_told() {
    fetches_now_and_installs_when_it_is_told(&Site::open(Body::Virtual));
}

/// A device takes its first model, is told what it costs, keeps the next through a power cut, and installs it then.
pub(crate) fn fetches_now_and_installs_when_it_is_told(site: &Site) {
    let place = &site.place;
    let device = site.device();
    site.wait_for_a_device();
    place.check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    site.wait("1", is_done);
    let old = device.document()["model"].clone();

    // What a window costs is measured, and told.
    let devices = place.check(&["devices", "ls", "--json"], 0).json();
    let id = devices["devices"][0]["device"].as_str().unwrap();
    let shown = place.check(&["devices", "show", id, "--json"], 0).json();
    let cost = &shown["cost"];
    let figure = |name: &str| cost[name].as_f64().unwrap_or_default();
    let least = match site.body {
        // A few kilobytes of this board's 3 MB: less than one in 256, which is the least code, of 2 % and dithered by half.
        Body::Virtual | Body::InTheAir => 1.0 / 256.0..1.04 / 256.0,
        // All that the agent has taken, and the deepest stack.
        Body::Emulated => 0.3..1.0,
    };
    assert!(
        figure("latency_mean_us") > 2.0
            && figure("latency_max_us") >= figure("latency_mean_us")
            && least.contains(&figure("ram_share")),
        "{shown:#}"
    );
    let text = place.check(&["devices", "show", id], 0).stdout;
    assert!(text.contains("of its memory was in use"), "{text}");

    let start = ["rollout", "start", "fan@2", "--canary", "1", "--install"];
    let bad = place.check(&[&start[..], &["soon"]].concat(), 2);
    assert!(
        bad.stderr.contains("it is at-once, window or later"),
        "{}",
        bad.stderr
    );
    let bad = place.check(&[&start[..], &["window"]].concat(), 2);
    assert!(bad.stderr.contains("no windows"), "{}", bad.stderr);
    let started = place.check(&[&start[..], &["later"]].concat(), 0).stdout;
    assert!(
        started.contains("until `tinyops rollout install 2`"),
        "{started}"
    );
    let held = site.wait("2", is("held"));
    assert_eq!(
        (&held["rollout"]["install"], &held["rollout"]["waits"]),
        (&"later".into(), &true.into())
    );

    // It waits through a power cut, and the old model goes on.
    drop(device);
    let device = site.device();
    for _ in 0..4 {
        assert_eq!(device.document()["model"], old);
    }
    assert_eq!(site.rollout("2")["members"][0]["delivery"], "held");

    place.check(&["rollout", "install", "2"], 0);
    let done = site.wait("2", is_done);
    let begun = Instant::now();
    while device.document()["model"] == old {
        assert!(begun.elapsed() < PATIENCE, "{done:#}");
    }
    let again = place.check(&["rollout", "install", "1"], 2);
    assert!(
        again.stderr.contains("rollout 1 is done"),
        "{}",
        again.stderr
    );

    // What proves bad later is taken back.
    place.check(&["rollout", "revert", "2", "--yes"], 0);
    let taken_back = site.wait("2", is("recalled"));
    let begun = Instant::now();
    while device.document()["model"] != old {
        assert!(begun.elapsed() < PATIENCE, "{taken_back:#}");
    }
}

#[test]
fn a_device_that_first_comes_after_its_rollout_began_gets_it_at_once() {
    let site = Site::open(Body::Virtual);
    let serves = ["--server", &site.server.http, "--mqtt", &site.server.mqtt];
    let is = ["--board", "esp-eye", "--identity", "late.json"];
    let enrols = [&["device", "enrol"], &is[..], &serves[..2]].concat();
    site.place.check(&enrols, 0);
    site.place.check(&["rollout", "start", "fan@1"], 0);
    let reads = ["--replay", "data/m5/normal/0.csv"];
    let runs = [&["device", "run"], &is[..], &reads, &serves].concat();
    let said = site.place.check(&runs, 0);
    assert!(
        !said.stderr.contains("no model has come"),
        "{}",
        said.stderr
    );
    assert!(said.stdout.contains("normal"), "{}", said.stdout);
}
