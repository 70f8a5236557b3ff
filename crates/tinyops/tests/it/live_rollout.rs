//! Rollouts through the real server to a virtual device, which is the real agent.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    running::{Running, Server},
    workplace::{SETTINGS, Workplace},
};

/// A project with two versions of its model, and a server of it.
struct Site {
    place: Workplace,
    server: Server,
}

impl Site {
    fn open() -> Site {
        let place = Workplace::fans();
        place.check(&["run"], 0);
        let other = SETTINGS.replace("epochs = 200", "epochs = 201");
        place.write("tinyops.toml", &other);
        let again = place.check(&["run", "--json"], 0).json();
        assert_eq!(again["version"], 2);
        let server = Server::start(&place, &[]);
        Site { server, place }
    }

    /// The one device, which lives until it is dropped; the next is the same after a power cut.
    fn device(&self) -> Running {
        let args = [
            "device",
            "run",
            "--board",
            "esp-eye",
            "--replay",
            "data/m5/normal/0.csv",
            "--times",
            "0",
            "--real-time",
            "--report-every",
            "4",
            "--json",
            "--server",
            &self.server.http,
            "--mqtt",
            &self.server.mqtt,
        ];
        Running::start(&self.place, &args)
    }

    fn rollout(&self, number: &str) -> Value {
        let show = ["rollout", "show", number, "--json"];
        self.place.check(&show, 0).json()
    }

    /// Waits until something holds of a rollout.
    #[track_caller]
    fn wait(&self, number: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.rollout(number);
            if holds(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{shown:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Whether the one device of a rollout is so far.
fn is(delivery: &str) -> impl Fn(&Value) -> bool {
    move |shown| shown["members"][0]["delivery"] == delivery
}

/// Whether a rollout is over, and all is well.
fn is_done(shown: &Value) -> bool {
    shown["rollout"]["state"] == "done"
}

#[test]
fn a_device_fetches_now_and_installs_when_it_is_told() {
    let site = Site::open();
    let place = &site.place;
    let device = site.device();
    let begun = Instant::now();
    while place.check(&["devices", "ls", "--json"], 0).json()["devices"] == serde_json::json!([]) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it registers");
        std::thread::sleep(Duration::from_millis(100));
    }
    place.check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    site.wait("1", is_done);
    let old = device.document()["model"].clone();

    // What a window costs is measured, and told.
    let devices = place.check(&["devices", "ls", "--json"], 0).json();
    let id = devices["devices"][0]["device"].as_str().unwrap();
    let shown = place.check(&["devices", "show", id, "--json"], 0).json();
    let cost = &shown["cost"];
    let figure = |name: &str| cost[name].as_f64().unwrap_or_default();
    // A few kilobytes of this board's 3 MB: less than one in 256, which is the least code, of 2 % and dithered by half.
    let least = 1.0 / 256.0..1.04 / 256.0;
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
        assert!(begun.elapsed() < Duration::from_secs(60), "{done:#}");
    }
    let again = place.check(&["rollout", "install", "1"], 2);
    assert!(
        again.stderr.contains("rollout 1 is done"),
        "{}",
        again.stderr
    );
}

#[test]
fn a_device_that_first_comes_after_its_rollout_began_gets_it_at_once() {
    let site = Site::open();
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
