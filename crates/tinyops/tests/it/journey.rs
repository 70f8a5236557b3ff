//! From recordings to a device and back, command by command.

use tinyops_store::{Db, DeviceId, ModelId, Timestamp, presence, presence::Presence};

use crate::{
    shape::shape,
    workplace::{SETTINGS, Workplace, recording},
};

/// The shape of a command's document, which is a promise.
#[track_caller]
fn check_shape(place: &Workplace, name: &str, args: &[&str]) -> serde_json::Value {
    let mut with_json = args.to_vec();
    with_json.push("--json");
    let json = place.check(&with_json, 0).json();
    insta::assert_snapshot!(name, shape(&json));
    json
}

/// What a report of the device would leave behind.
fn report(place: &Workplace, device: &str, model: &str) {
    let url = format!("sqlite:{}", place.path(".tinyops/tinyops.db").display());
    let device: DeviceId = device.parse().unwrap();
    let model: ModelId = model.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let db = Db::open(&url).await.unwrap();
        let presence = Presence {
            device,
            model: Some(model),
            last_seen: Some(Timestamp(1_800_000_000_000)),
            report_count: 1,
            ..Presence::default()
        };
        let tx = db.begin("report").await.unwrap();
        presence::put_many(&tx, &[presence]).await.unwrap();
        tx.commit().await.unwrap();
    });
}

#[test]
fn a_template_is_a_start() {
    let place = Workplace::empty();
    place.check(&["init", "--template", "motion"], 0);
    let again = place.check(&["init"], 2);
    assert!(
        again.stderr.contains("it is there already"),
        "{}",
        again.stderr
    );
}

#[test]
fn recordings_are_added_where_the_pattern_finds_them() {
    let place = Workplace::fans();
    place.write("new/a.csv", &recording(9.0, 18.0));
    place.write("new/b.csv", &recording(9.5, 18.0));
    place.write("new/README", "nothing to measure");
    let add = ["data", "add", "new", "--label", "blade", "--group", "m9"];
    let added = check_shape(&place, "data-add", &add);
    assert_eq!(added["added"][1], "m9/blade/b.csv");
    let again = place.check(&add, 0).stdout;
    assert!(again.contains("0 added, 2 were there"), "{again}");
    let status = place.check(&["data", "status", "--json"], 0).json();
    assert_eq!(status["detail"]["samples"], 20);

    let no_group = place.check(&["data", "add", "new/a.csv", "--label", "blade"], 2);
    assert!(
        no_group.stderr.contains("add `--group NAME`"),
        "{}",
        no_group.stderr
    );
    place.write("new/a.csv", &recording(1.0, 2.0));
    let other = place.check(&add, 2);
    assert!(
        other.stderr.contains("is another recording"),
        "{}",
        other.stderr
    );
    place.write("bad/c.csv", "x,y,z\n1,2,3\n1,nan,3\n");
    let bad = place.check(
        &["data", "add", "bad", "--label", "blade", "--group", "m9"],
        2,
    );
    assert!(bad.stderr.contains("c.csv, row 3"), "{}", bad.stderr);
    assert!(!place.path("data/m9/blade/c.csv").exists());
    let away = place.check(
        &["data", "add", "new", "--label", "blade", "--group", "../m9"],
        2,
    );
    assert!(
        away.stderr.contains("cannot be a part of a path"),
        "{}",
        away.stderr
    );
}

#[test]
fn from_recordings_to_a_device_and_back() {
    let place = Workplace::fans();

    // Recordings.
    let checked = check_shape(&place, "data-validate", &["data", "validate"]);
    assert_eq!(checked["passed"], true);
    let first = check_shape(&place, "data-status", &["data", "status"]);
    assert_eq!(first["detail"]["samples"], 18);

    // A model.
    let run = place.check(&["run"], 0);
    assert!(run.stdout.contains("Registered fan@1"), "{}", run.stdout);
    let again = place.check(&["run", "--json"], 0).json();
    assert_eq!(again["version"], 1, "nothing changed");
    place.write(
        "tinyops.toml",
        &SETTINGS.replace("epochs = 200", "epochs = 201"),
    );
    let again = place.check(&["run", "--json"], 0).json();
    assert_eq!(again["version"], 2);
    assert_eq!(again["steps"][0]["cached"], true);
    let models = check_shape(&place, "models-ls", &["models", "ls"]);
    assert_eq!(models["models"][0]["version"], 2);
    check_shape(&place, "models-show", &["models", "show"]);
    check_shape(&place, "cost", &["cost"]);
    place.check(&["cost", "--threshold", "0.4"], 2);
    let worth = check_shape(&place, "worth", &["worth"]);
    assert_eq!(worth["previous"]["against"], "fan@1");
    let found = check_shape(&place, "search-catalog", &["search-catalog", "fan"]);
    assert_eq!(found["found"][0]["kind"], "data");
    place.check(&["search-catalog", "kind:robot"], 2);
    place.check(&["search-catalog", "nothing-is-called-so"], 1);

    // What it says.
    place.write("field/new.csv", &recording(9.0, 18.0));
    let said = check_shape(
        &place,
        "predict",
        &["predict", "field", "data/m5/normal/0.csv"],
    );
    assert_eq!(said["recordings"][0]["name"], "field/new.csv");
    assert_eq!(said["recordings"][0]["windows"][0]["class"], "blade");
    assert_eq!(said["recordings"][1]["windows"][0]["class"], "normal");
    let text = place.check(&["predict", "field"], 0).stdout;
    assert!(text.contains("new.csv") && text.contains("blade"), "{text}");

    place.write("bad/new.csv", "x,y,z\n1,2,3\n1,nan,3\n");
    let refused = place.check(&["predict", "bad"], 2);
    assert!(
        refused.stderr.contains("new.csv, row 3"),
        "{}",
        refused.stderr
    );
    let refused = place.check(&["predict", "nowhere"], 2);
    assert!(refused.stderr.contains("`nowhere`"), "{}", refused.stderr);

    // What it takes of a board.
    let svg = place.path("arena.svg");
    let fit = check_shape(
        &place,
        "compile",
        &[
            "compile",
            "fan@1",
            "--board",
            "esp-eye",
            "--svg",
            svg.to_str().unwrap(),
        ],
    );
    assert_eq!(fit["fits"], true);
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));

    // The card says what is known.
    let card = place.check(&["models", "card", "fan@1"], 0).stdout;
    for text in [
        "# fan@1",
        "Tell which fault a fan has.",
        "## Data",
        "## Figures",
        "## Boards",
        "| esp-eye | yes |",
        "## Gates",
        "- pass: metric: ",
        "Not tested: smoke (switched off",
        "## Limits",
    ] {
        assert!(card.contains(text), "no `{text}` in\n{card}");
    }

    // To a device, and back from what its reports carry.
    let (_, request) = place.request(Some(DeviceId(1234)));
    let device = check_shape(
        &place,
        "devices-add",
        &["devices", "add", "--request", &request],
    );
    assert_eq!(device["device"], "00000000000004d2");
    let device = device["device"].as_str().unwrap();
    check_shape(
        &place,
        "rollout-start",
        &["rollout", "start", "fan@1", "--canary", "1"],
    );
    let shown = place
        .check(&["models", "show", "fan@1", "--json"], 0)
        .json();
    let id = shown["capsules"][0]["model_id"].as_str().unwrap();
    report(&place, device, id);
    let trace = check_shape(&place, "models-lineage", &["models", "lineage", id]);
    assert_eq!(trace["kind"], "model id");
    assert_eq!(trace["model"]["version"], 1);
    assert_eq!(trace["run"]["steps"][0]["step"], "ingest");
    assert_eq!(trace["capsules"][0]["devices"][0]["device"], device);
    assert_eq!(trace["dataset"]["sources"][0], "data");
    let recordings = trace["dataset"]["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), 18);
    let held_out = recordings
        .iter()
        .find(|found| found["group"] == "m5")
        .unwrap();
    assert_eq!(held_out["part"], "test");
    assert_eq!(held_out["name"], "m5/bearing/0.csv");

    // Other ways to the same model.
    let payload = trace["capsules"][0]["payload"].as_str().unwrap();
    for (name, kind) in [
        (device, "device"),
        ("fan@1", "model"),
        (&payload[..10], "payload"),
    ] {
        let other = place
            .check(&["models", "lineage", name, "--json"], 0)
            .json();
        assert_eq!(other["kind"], kind);
        assert_eq!(other["model"], trace["model"], "{name}");
    }
    let dataset = trace["dataset"]["digest"].as_str().unwrap();
    let other = place
        .check(&["models", "lineage", dataset, "--json"], 0)
        .json();
    assert_eq!(other["kind"], "source");
    assert_eq!(other["others"].as_array().unwrap().len(), 1);
    let text = place.check(&["models", "lineage", id], 0).stdout;
    for part in [
        "model id",
        device,
        "fan@1",
        "code ",
        "train",
        "m0/bearing/0.csv",
        "10 more",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let unknown = place.check(&["models", "lineage", "deadbeef"], 2);
    assert!(
        unknown.stderr.contains("nothing here is called"),
        "{}",
        unknown.stderr
    );

    // The fleet.
    check_shape(&place, "devices-ls", &["devices", "ls"]);
    check_shape(&place, "devices-show", &["devices", "show", device]);
    check_shape(&place, "rollout-ls", &["rollout", "ls"]);
    check_shape(&place, "rollout-show", &["rollout", "show", "1"]);
    check_shape(&place, "monitor", &["monitor"]);
    check_shape(&place, "alerts-ls", &["alerts", "ls"]);
    check_shape(&place, "labels-ls", &["labels", "ls"]);
    check_shape(&place, "rounds-ls", &["rounds", "ls"]);
    place.check(&["retrain", "ask", "--why", "a new pump"], 0);
    check_shape(&place, "retrain-ls", &["retrain", "ls"]);

    // Stages.
    let refused = place.check(&["models", "promote", "fan@2"], 2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    check_shape(
        &place,
        "models-promote",
        &["models", "promote", "fan@2", "--yes"],
    );
    check_shape(
        &place,
        "models-rollback",
        &["models", "rollback", "fan", "--yes"],
    );
    let models = place.check(&["models", "ls", "--json"], 0).json();
    assert_eq!(models["models"][0]["stage"], "rejected");
    assert_eq!(models["models"][1]["stage"], "production");

    // More recordings are another version.
    place.write("data/m5/normal/1.csv", &recording(5.5, 7.0));
    let now = place.check(&["data", "status", "--json"], 0).json();
    assert_eq!(now["since"]["added"][0], "m5/normal/1.csv");
    let versions = check_shape(&place, "data-ls", &["data", "ls"]);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    let old = first["version"].as_str().unwrap();
    let diff = check_shape(&place, "data-diff", &["data", "diff", &old[..12]]);
    assert_eq!(diff["added"].as_array().unwrap().len(), 1);
    check_shape(&place, "data-show", &["data", "show", "fan@1"]);
}
