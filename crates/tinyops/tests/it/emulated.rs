//! A server, a gateway and the agent as firmware on an emulated board: what the virtual device goes through, and what
//! only a board can. Needs QEMU and a Rust target for Cortex-M, as the smoke test does.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::{
    f32::consts::TAU,
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::Value;
use tinyops_emulate::{Firmware, Machine, Toolchain};

use crate::{
    live_rollout::{Body, Site, fetches_now_and_installs_when_it_is_told, is, is_done},
    running::PATIENCE,
    workplace::Workplace,
};

/// Whether a board can be emulated here; says why not.
fn can_be_emulated() -> bool {
    let machine = Machine::named("m4f").unwrap();
    let tools = Firmware::find().and_then(|_| Toolchain::find(machine));
    let qemu = std::process::Command::new("qemu-system-arm")
        .arg("--version")
        .output();
    match (tools, qemu) {
        (Ok(_), Ok(_)) => true,
        (Err(error), _) => {
            eprintln!("skipped: {error}");
            false
        }
        (_, Err(error)) => {
            eprintln!("skipped: qemu-system-arm: {error}");
            false
        }
    }
}

/// Windows of a fan at work, or of one whose sensor has come loose.
fn windows(count: usize, is_loose: bool) -> String {
    let mut text = "x,y,z\n".to_owned();
    let (gain, offset) = if is_loose { (2.5, 0.6) } else { (1.0, 0.0) };
    for index in 0..64 * count {
        let at = index as f32 / 100.0;
        let machine = (index / 768 % 6) as f32;
        let hz = match is_loose {
            true => 12.7,
            false => [7.0, 18.0, 30.0][index / 256 % 3],
        };
        let tone = (TAU * hz * at + machine).sin() * (1.0 + 0.05 * machine);
        let hum = (TAU * 3.1 * at + machine).cos() * 0.1;
        let rough = ((index * 7919) % 997) as f32 / 997.0 - 0.5;
        let _ = writeln!(
            text,
            "{:.4},{:.4},{:.4}",
            gain * (tone + hum) + offset,
            gain * 0.5 * tone + 0.1 * rough,
            gain * hum + 0.1 * rough
        );
    }
    text
}

#[test]
fn a_board_goes_through_what_a_virtual_device_does() {
    if !can_be_emulated() {
        return;
    }
    let site = Site::open(Body::Emulated);
    fetches_now_and_installs_when_it_is_told(&site);
    let counted = site.counted();
    // A board that waits for long asks again, and is answered again: it is one device all the same.
    assert!(counted["enrolled"].as_u64().unwrap() > 0, "{counted}");
    let devices = site.place.check(&["devices", "ls", "--json"], 0).json();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
    assert_eq!(
        (&counted["refused"], &counted["damaged"]),
        (&0.into(), &0.into()),
        "{counted}"
    );
    // The second capsule came as what makes it out of the first: both whole would be two times 6 kB.
    let down = counted["down_bytes"].as_u64().unwrap();
    assert!(down < 12_000, "{counted}");
}

/// The first model comes through a terminal, as through any serial port. The second is sound by all that is checked, and
/// the program hangs with it: the watchdog bites until its boots are used up, and the rollout tells.
#[test]
fn a_board_goes_back_by_itself_from_a_model_that_its_program_hangs_with() {
    if !can_be_emulated() {
        return;
    }
    let site = Site::open(Body::Emulated);
    let place = &site.place;
    let replays = ["--replay", "data/m5/normal/0.csv", "--times", "0"];
    let reads = [&replays[..], &["--real-time", "--report-every", "4"]].concat();
    let (device, gateway) = site.device_on_a_terminal(&reads);
    site.wait_for_a_device();
    place.check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    site.wait("1", is_done);
    let old = device.document()["model"].clone();
    let counted = gateway.status(|counted| counted["enrolled"] != 0);
    assert_eq!(
        (&counted["refused"], &counted["damaged"]),
        (&0.into(), &0.into()),
        "{counted}"
    );
    drop((device, gateway));

    place.check(&["rollout", "start", "fan@2", "--canary", "1"], 0);
    let offered = site.rollout("2")["members"][0]["target"].clone();
    let hangs = ["--hang-with", offered.as_str().unwrap()];
    let device = site.device_that(&[&hangs[..], &reads].concat());
    device.note("its watchdog bites");
    let shown = site.wait("2", is("reverted"));
    let said = place.check(&["rollout", "show", "2"], 0).stdout;
    assert!(said.contains("reverted"), "{said}");
    let begun = Instant::now();
    while device.document()["model"] != old {
        assert!(begun.elapsed() < PATIENCE, "{shown:#}");
    }
}

/// The sensor measures as before, and then comes loose: what the device tells of itself becomes an alert.
#[test]
fn a_board_whose_sensor_comes_loose_raises_an_alert() {
    if !can_be_emulated() {
        return;
    }
    let site = Site::open(Body::Emulated);
    let place = &site.place;
    place.write("before.csv", &windows(160, false));
    place.write("loose.csv", &windows(160, true));
    let replays = |file: &str| site.device_that(&["--report-every", "8", "--replay", file]);
    let alerts = || place.check(&["alerts", "ls", "--json"], 0).json();
    let device = replays("before.csv");
    site.wait_for_a_device();
    place.check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    device.wait();
    assert_eq!(alerts()["alerts"], serde_json::json!([]));
    replays("loose.csv").wait();
    let begun = Instant::now();
    let about = loop {
        let told = alerts();
        if let Some(Value::Object(alert)) = told["alerts"].get(0) {
            break alert.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{told:#}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(about["kind"], "drift", "{about:?}");
}

#[test]
fn an_emulated_board_that_cannot_be_started_says_why() {
    let place = Workplace::fans();
    place.check(&["run", "--quiet"], 0);
    let runs = |more: &[&str], code| {
        let is = ["device", "run", "--board", "esp-eye", "--emulated"];
        place.check(&[&is[..], more].concat(), code).stderr
    };
    let said = runs(&["--mqtt", "127.0.0.1:1"], 2);
    assert!(said.contains("cannot be used with"), "{said}");
    let held = std::fs::File::create(place.path("bench.flash.lock")).unwrap();
    held.lock().unwrap();
    let flash = place.path("bench.flash").display().to_string();
    let said = runs(&["--identity", &flash], 2);
    assert!(said.contains("a board runs in"), "{said}");
    let said = place
        .check(&["device", "run", "--cut-power-at", "3"], 2)
        .stderr;
    assert!(said.contains("--emulated"), "{said}");
    let ca = place.path("ca.pem").display().to_string();
    place.write("ca.pem", "");
    let said = runs(&["--line", "tls://127.0.0.1:1", "--ca", &ca], 2);
    assert!(!said.is_empty(), "{said}");
    place.write("short.flash", "no flash");
    let replay = ["--replay", "data/m0/normal/0.csv"];
    let said = runs(&[&["--identity", "short.flash"], &replay[..]].concat(), 2);
    assert!(said.contains("it has 8 bytes, not 294912"), "{said}");
    let said = runs(&[&["--server", "127.0.0.1:1"], &replay[..]].concat(), 3);
    assert!(said.contains("no server answers"), "{said}");
}
