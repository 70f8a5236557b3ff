//! Windows for an annotator, from the device's sensor to the project's recordings, through the real server.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    running::{Running, Server},
    workplace::{SETTINGS, Workplace, recording},
};

struct Site {
    place: Workplace,
    server: Server,
}

impl Site {
    fn open() -> Site {
        let place = Workplace::fans();
        place.check(&["run"], 0);
        // A machine that training has never seen, so that nothing of it is in the store.
        place.write("drifted.csv", &recording(11.5, 12.7));
        let server = Server::start(&place, &[]);
        Site { place, server }
    }

    fn device(&self, name: &str, more: &[&str]) -> Running {
        let args = [
            "device",
            "run",
            "--board",
            "esp-eye",
            "--identity",
            name,
            "--replay",
            "drifted.csv",
            "--times",
            "0",
            "--real-time",
            "--json",
            "--server",
            &self.server.http,
            "--mqtt",
            &self.server.mqtt,
        ];
        Running::start(&self.place, &[&args[..], more].concat())
    }

    fn wait(&self, args: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.place.check(args, 0).json();
            if holds(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{shown:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the newest order is so far.
    fn order(&self, state: &str) -> Value {
        let shown = self.wait(&["annotate", "ls", "--json"], |shown| {
            shown["orders"][0]["state"] == state
        });
        shown["orders"][0].clone()
    }

    fn id(&self, name: &str) -> String {
        let identity = fs::read_to_string(self.place.path(name)).unwrap();
        let identity: Value = serde_json::from_str(&identity).unwrap();
        identity["device"].as_str().expect("its id").to_owned()
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The readings of a table, row by row.
fn readings(path: &Path) -> Vec<f32> {
    let text = fs::read_to_string(path).unwrap();
    let cells = text.lines().skip(1).flat_map(|line| line.split(','));
    cells.map(|cell| cell.parse().expect("a reading")).collect()
}

#[test]
fn windows_go_sealed_to_the_annotator_and_into_the_project() {
    let site = Site::open();
    let place = &site.place;
    let made = place
        .check(&["annotate", "keys", "new", "--json"], 0)
        .json();
    let shown = place.check(&["annotate", "keys", "show"], 0).stdout;
    assert_eq!(shown.trim(), made["annotator"]);
    let again = place.check(&["annotate", "keys", "new"], 2);
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(".tinyops/annotator.key"), 0o600);
    }
    let consent = [
        "--consent",
        ".tinyops/annotator.key.pub",
        "--windows-per-month",
        "5",
    ];
    let device = site.device("first.json", &consent);
    let begun = Instant::now();
    while place.check(&["devices", "ls", "--json"], 0).json()["devices"] == serde_json::json!([]) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it registers");
        std::thread::sleep(Duration::from_millis(100));
    }
    place.check(&["rollout", "start", "fan@1", "--canary", "1"], 0);
    device.document();
    let first = site.id("first.json");

    place.check(&["annotate", "ask"], 2);
    let ask = [
        "annotate", "ask", "--device", &first, "--count", "4", "--of", "8",
    ];
    place.check(&ask, 0);
    let whole = site.order("whole");
    assert_eq!(
        (&whole["chosen"], &whole["quota_left"]),
        (&4.into(), &1.into())
    );
    let opened = place
        .check(&["annotate", "open", "to-label", "--json"], 0)
        .json();
    let windows = opened["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 4);
    let seen = readings(&place.path("drifted.csv"));
    let cycled: Vec<f32> = seen.iter().chain(&seen).copied().collect();
    let mut stored = Vec::new();
    files_below(&place.path(".tinyops"), &mut stored);
    let stored: Vec<(PathBuf, Vec<u8>)> = stored
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert!(stored.len() > 5, "{stored:?}");
    for window in windows {
        let path = place.path(window["file"].as_str().unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "for its owner alone");
        }
        let window = readings(&path);
        assert_eq!(window.len(), 3 * 64);
        assert!(
            cycled.windows(3 * 64).any(|part| part == window),
            "the very readings of the sensor: {window:?}"
        );
        let bytes: Vec<u8> = window[..6]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let text: Vec<String> = window[..3].iter().map(f32::to_string).collect();
        for (path, kept) in &stored {
            for needle in [bytes.as_slice(), text.join(",").as_bytes()] {
                let is_in = kept.windows(needle.len()).any(|part| part == needle);
                assert!(!is_in, "`{}` holds readings", path.display());
            }
        }
    }
    let audit = place.check(&["audit", "ls", "--json"], 0).json();
    let entries = audit["entries"].as_array().unwrap().iter();
    let mut opened = entries.filter(|entry| entry["action"] == "annotation.open");
    assert_eq!(opened.next().unwrap()["detail"]["windows"], 4);
    // Opened again, they are left as they are; a stranger's key opens none of them.
    place.check(&["annotate", "open", "to-label"], 0);
    place.check(&["annotate", "keys", "new", "--key", "stranger.key"], 0);
    let none = [
        "annotate",
        "open",
        "nothing",
        "--key",
        "stranger.key",
        "--json",
    ];
    assert_eq!(
        place.check(&none, 0).json()["windows"],
        serde_json::json!([])
    );

    // What the annotator has looked at becomes a recording of the project.
    let file = windows[0]["file"].as_str().unwrap();
    place.check(
        &["data", "add", file, "--label", "blade", "--group", &first],
        0,
    );
    let status = place.check(&["data", "status", "--json"], 0).json();
    let added = status["since"]["added"].as_array().unwrap();
    let name = added[0].as_str().unwrap();
    assert!(
        added.len() == 1 && name.contains(&format!("{first}/blade/")),
        "{status:#}"
    );

    // Of five windows a month one is left, and then none.
    place.check(&ask, 0);
    let few = site.order("whole");
    assert_eq!((&few["chosen"], &few["quota_left"]), (&1.into(), &0.into()));
    place.check(&ask, 0);
    assert_eq!(site.order("refused")["reason"], "quota");

    // Consent is not kept: one whose owner has said nothing since it was started sends nothing.
    drop(device);
    let silent = site.device("first.json", &[]);
    silent.document();
    place.check(&ask, 0);
    assert_eq!(site.order("refused")["reason"], "consent");
    drop(silent);

    // Bytes that have changed do not open.
    let parcel = whole["parcel"].as_str().unwrap();
    let (path, bytes) = stored
        .iter()
        .find(|(path, _)| path.to_string_lossy().ends_with(&parcel[2..]))
        .expect("the parcel is there");
    let mut changed = bytes.clone();
    changed[40] ^= 1;
    fs::write(path, changed).unwrap();
    let refused = place.run(&["annotate", "open", "changed"]);
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    assert!(!place.path("changed").exists());
    // One that is gone, as of a device that has taken its consent back, is no reason to open none.
    fs::remove_file(path).unwrap();
    let rest = place.check(&["annotate", "open", "rest", "--json"], 0);
    assert!(rest.stderr.contains("is gone"), "{}", rest.stderr);
    assert_eq!(rest.json()["windows"].as_array().unwrap().len(), 1);
    fs::write(path, bytes).unwrap();

    // Consent that is taken back leaves nothing at the server.
    let device = site.device("first.json", &["--withdraw-consent"]);
    site.wait(&["annotate", "ls", "--json"], |shown| {
        let orders = shown["orders"].as_array().unwrap().iter();
        let mut first = orders.filter(|order| order["device"] == first.as_str());
        first.all(|order| order["state"] == "withdrawn" || order["state"] == "refused")
    });
    assert!(!path.exists(), "the parcel is deleted");
    drop(device);
}

#[test]
fn the_private_half_is_not_taken_for_the_public_one() {
    let place = Workplace::fans();
    let new = ["annotate", "keys", "new", "--key", "a.key", "--json"];
    let made = place.check(&new, 0).json();
    let secret = fs::read_to_string(place.path("a.key")).unwrap();
    let digits = secret.trim().strip_prefix("annotator-secret ").unwrap();
    assert_eq!(digits.len(), 64);
    assert_ne!(digits, made["annotator"]);
    let ask = [
        "annotate",
        "ask",
        "--cohort",
        "hall",
        "--annotator",
        "a.key",
    ];
    let refused = place.check(&ask, 2);
    assert!(refused.stderr.contains("`a.key.pub`"), "{}", refused.stderr);
    let said = refused.stdout + &refused.stderr;
    assert!(!said.contains(digits), "{said}");
    // Nor the other way about, nor digits that may be either half.
    place.write("bare.key", digits);
    for file in ["a.key.pub", "bare.key"] {
        let refused = place.check(&["annotate", "open", "nothing", "--key", file], 2);
        assert!(
            refused.stderr.contains("no private half"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn a_pair_of_keys_is_made_whole_or_not_at_all() {
    let place = Workplace::fans();
    let new = ["annotate", "keys", "new", "--key", "a.key"];
    place.write("a.key.pub", "another's");
    let refused = place.check(&new, 2);
    assert!(refused.stderr.contains("a.key.pub"), "{}", refused.stderr);
    assert!(!place.path("a.key").exists(), "half a pair");
    let kept = fs::read_to_string(place.path("a.key.pub")).unwrap();
    assert_eq!(kept, "another's");
    fs::remove_file(place.path("a.key.pub")).unwrap();
    place.check(&new, 0);
    fs::remove_file(place.path("a.key.pub")).unwrap();
    place.check(&new, 2);
    assert!(!place.path("a.key.pub").exists(), "of another pair");
}

#[test]
fn a_project_that_says_nonsense_is_not_taken_for_none() {
    let place = Workplace::fans();
    place.check(&["annotate", "keys", "new"], 0);
    place.write("tinyops.toml", "[project]\nnaem = \"fan\"\n");
    for args in [
        &["annotate", "open", "to-label"][..],
        &["rounds", "open", "11111111"],
    ] {
        let refused = place.check(args, 2);
        let place = "tinyops.toml:2:1: unknown field `naem`";
        assert!(refused.stderr.contains(place), "{}", refused.stderr);
    }
    assert!(!place.path("to-label").exists());
}

#[test]
fn nothing_is_opened_for_a_source_that_would_misread_it() {
    let place = Workplace::fans();
    place.check(&["annotate", "keys", "new"], 0);
    let decimated = SETTINGS.replace("rate_hz = 100.0", "rate_hz = 200.0\ndecimate = 2");
    place.write("tinyops.toml", &decimated);
    let refused = place.check(&["annotate", "open", "to-label"], 2);
    assert!(refused.stderr.contains("`decimate`"), "{}", refused.stderr);
    assert!(!place.path("to-label").exists());
}
