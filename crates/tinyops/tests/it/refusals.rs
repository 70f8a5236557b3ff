//! Bad input: the exit code, and the file, the row and the way out in the message. Nothing is half-written.

use crate::workplace::{SETTINGS, Workplace, recording};

/// Each text must stand on stderr, and nothing on stdout.
#[track_caller]
fn check(place: &Workplace, args: &[&str], code: i32, texts: &[&str]) {
    let answer = place.check(args, code);
    for text in texts {
        assert!(
            answer.stderr.contains(text),
            "no `{text}` in:\n{}",
            answer.stderr
        );
    }
    assert!(answer.stderr.contains("error: "), "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
}

#[test]
fn an_unknown_key() {
    let place = Workplace::fans();
    place.write(
        "tinyops.toml",
        &SETTINGS.replace("goal = \"Tell", "gaol = \"Tell"),
    );
    check(
        &place,
        &["run"],
        2,
        &["tinyops.toml:4:1: unknown field `gaol`"],
    );
    assert!(!place.path(".tinyops").exists());
}

#[test]
fn no_project() {
    check(
        &Workplace::empty(),
        &["run"],
        2,
        &["tinyops.toml", "hint: `tinyops init"],
    );
}

#[test]
fn no_folder() {
    let place = Workplace::fans();
    std::fs::remove_dir_all(place.path("data")).unwrap();
    check(&place, &["run"], 2, &["data", "hint: "]);
}

#[test]
fn no_store() {
    let place = Workplace::fans();
    check(
        &place,
        &["models", "ls"],
        2,
        &["holds no store", "hint: `tinyops run`"],
    );
    assert!(!place.path(".tinyops").exists());
}

#[test]
fn an_empty_file() {
    let place = Workplace::fans();
    place.write("data/m0/normal/1.csv", "");
    check(&place, &["run"], 2, &["error[empty]: m0/normal/1.csv"]);
}

#[test]
fn a_file_with_nan() {
    let place = Workplace::fans();
    let text = recording(0.0, 7.0);
    let mut lines: Vec<&str> = text.lines().collect();
    lines[17] = "0.1,nan,0.1";
    place.write("data/m0/normal/1.csv", &lines.join("\n"));
    check(&place, &["run"], 2, &["m0/normal/1.csv, row 18"]);
}

#[test]
fn a_word_among_numbers() {
    let place = Workplace::fans();
    let text = recording(0.0, 7.0);
    let mut lines: Vec<&str> = text.lines().collect();
    lines[4] = "0.1,hello,0.1";
    place.write("data/m0/normal/1.csv", &lines.join("\n"));
    check(&place, &["run"], 2, &["m0/normal/1.csv, row 5", "hello"]);
}

#[test]
fn a_wrong_label() {
    let place = Workplace::fans();
    let settings = SETTINGS.replace(
        "[[data.source]]",
        "[data]\nclasses = [\"bearing\", \"blade\", \"normal\"]\n\n[[data.source]]",
    );
    place.write("tinyops.toml", &settings);
    place.write("data/m0/nromal/0.csv", &recording(0.0, 7.0));
    check(
        &place,
        &["run"],
        2,
        &[
            "m0/nromal/0.csv",
            "label `nromal` is not among the classes",
            "hint: ",
        ],
    );
}

#[test]
fn a_sensor_that_contradicts_the_recordings() {
    let place = Workplace::fans();
    let line = SETTINGS.lines().count() + 2;
    for (setting, told) in [
        (
            "axes = [\"x\"]",
            "`sensor.axes` is for 1, and the recordings have 3 channels",
        ),
        (
            "axes = [\"y\", \"x\", \"z\"]",
            "`sensor.axes` has `y` where the recordings have `x`",
        ),
        (
            "full_scale = [0.01]",
            "`sensor.full_scale` is 0.01, and channel `x` of `m0/",
        ),
    ] {
        place.write("tinyops.toml", &format!("{SETTINGS}[sensor]\n{setting}\n"));
        let told = format!("error[setting]: tinyops.toml, row {line}: {told}");
        // Before anything is trained.
        for args in [&["data", "validate"][..], &["run", "validate"], &["run"]] {
            let answer = place.check(args, 2);
            let said = format!("{}{}", answer.stdout, answer.stderr);
            assert!(said.contains(&told), "no `{told}` in:\n{said}");
            assert!(said.contains("  hint: "), "{said}");
            assert!(!said.contains("featurize"), "{said}");
        }
    }
    // The line is that of the file as it is now, whatever an earlier run found.
    let moved = format!("{SETTINGS}\n\n[sensor]\nfull_scale = [0.01]\n");
    place.write("tinyops.toml", &moved);
    let told = format!("tinyops.toml, row {}: `sensor.full_scale`", line + 2);
    check(&place, &["run"], 2, &[&told]);
}

#[test]
fn every_finding_is_listed() {
    let place = Workplace::fans();
    place.write("data/m0/normal/1.csv", "");
    place.write("data/m1/normal/1.csv", "");
    let answer = place.check(&["data", "validate"], 2);
    for file in ["m0/normal/1.csv", "m1/normal/1.csv"] {
        assert!(answer.stdout.contains(file), "{}", answer.stdout);
    }
    let json = place.check(&["data", "validate", "--json"], 2).json();
    assert_eq!(json["passed"], false);
    assert_eq!(json["report"]["findings"][0]["file"], "m0/normal/1.csv");
}

#[test]
fn a_failure_as_json_is_on_stderr() {
    let answer = Workplace::empty().check(&["run", "--json"], 2);
    assert_eq!(answer.stdout, "");
    let failure: serde_json::Value = serde_json::from_str(&answer.stderr).unwrap();
    assert_eq!(failure["error"]["code"], 2);
}
