//! A fine-tune whose update is small, from the first model to the delta that devices are sent.

use std::path::PathBuf;

use tinyops_compile::delta;
use tinyops_store::{Artifacts, Db, capsule};
use tinyops_wire::delta::apply;

use crate::{
    shape::shape,
    workplace::{SETTINGS, Workplace},
};

const BALANCE: &str = r#"
[project]
name = "balance"
goal = "Tell whether a blade of the fan carries a weight"
metric = "accuracy"

[data.window]
len = 190

[data.split]
by = "time"
validation = 0.2
test = 0.3

[[data.source]]
root = "ROOT"
files = ["fan_0_low_{label}_weight/*.csv", "fan_0_med_{label}_weight/*.csv"]
channels = ["x", "y", "z"]
units = ["g"]
rate_hz = 200
rows_max = 190

[train]
epochs = 60

[train.front_end]
kind = "spectral"

[train.network]
kind = "dense"
hidden = [32]

[tune]
delta_bytes_max = 512

[boards]
targets = ["esp-eye"]

[gates]
smoke = "off"
quantization_loss_max = 0.05
"#;

/// Recordings of a real fan; where they are not, the test is skipped with a word.
fn fan() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let data = std::env::var_os("TINYOPS_DATA").map_or(beside, PathBuf::from);
    let folder = data.join("fan-esp32");
    if folder.is_dir() {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test must show")]
    {
        eprintln!(
            "skipped: {} is not there; set TINYOPS_DATA",
            folder.display()
        );
    }
    None
}

/// The capsules of two versions, as they were signed.
fn capsules(place: &Workplace) -> Vec<(u32, Vec<u8>)> {
    let store = place.path(".tinyops");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = format!("sqlite:{}", store.join("tinyops.db").display());
        let db = Db::open(&url).await.unwrap();
        let url = store.join("artifacts").display().to_string();
        let artifacts = Artifacts::open(&url).await.unwrap();
        let mut found = Vec::new();
        for row in capsule::of_model(&db, "balance").await.unwrap() {
            found.push((row.version, artifacts.get(&row.digest).await.unwrap()));
        }
        found.sort_by_key(|(version, _)| *version);
        found
    })
}

#[test]
fn a_fan_at_another_speed_is_followed_by_an_update_of_few_bytes() {
    let Some(fan) = fan() else { return };
    let place = Workplace::empty();
    let settings = BALANCE.replace("ROOT", fan.to_str().unwrap());
    place.write("tinyops.toml", &settings);
    place.check(&["run"], 0);
    // From now on the fan runs fast, which the model has never seen.
    let files = r#"files = ["fan_0_low_{label}_weight/*.csv", "fan_0_med_{label}_weight/*.csv"]"#;
    let fast = settings.replace(files, r#"files = ["fan_0_high_{label}_weight/*.csv"]"#);
    assert_ne!(fast, settings);
    place.write("tinyops.toml", &fast);

    let far = place.check(&["tune", "balance@1", "--delta-max", "100"], 1);
    assert!(
        far.stderr.contains("the least update takes 1"),
        "{}",
        far.stderr
    );
    assert!(far.stderr.contains("all: unrestricted"), "{}", far.stderr);
    assert!(far.stderr.contains("hint: `--delta-max "), "{}", far.stderr);
    assert_eq!(far.stdout, "");

    let args = ["tune", "balance@1", "--json"];
    let tuned = place.check(&args, 0).json();
    insta::assert_snapshot!("tune", shape(&tuned));
    assert_eq!(tuned["version"], 2);
    let tune = &tuned["tune"];
    assert_eq!(tune["parent"], "balance@1");
    let test = |which: &str| tune["test"][which].as_f64().unwrap();
    assert!(test("before") < 0.8, "no drift: {tune:#}");
    assert!(test("after") >= test("unrestricted") - 0.01, "{tune:#}");
    assert!(tune["delta_bytes"].as_u64().unwrap() <= 512, "{tune:#}");
    assert!(
        tune["candidates"][1]["delta_bytes"].as_u64().unwrap() > 1000,
        "{tune:#}"
    );
    let text = place.check(&["models", "show", "balance@2"], 0).stdout;
    assert!(
        text.contains("tuned from  balance@1, by an update of "),
        "{text}"
    );
    let text = place.check(&["models", "lineage", "balance@2"], 0).stdout;
    assert!(
        text.contains("tuned from balance@1 (`tinyops models lineage"),
        "{text}"
    );

    // Nothing has changed: everything is taken from the store, and it is the same version.
    let again = place.check(&args, 0).json();
    assert_eq!(again["version"], 2);
    assert!(again["steps"][3]["cached"].as_bool().unwrap(), "{again:#}");

    // What a rollout delivers to devices that run the first is no more than was said.
    place.check(&["devices", "add", "--board", "esp-eye", "--ddi"], 0);
    place.check(&["rollout", "start", "balance@1"], 0);
    place.check(&["rollout", "start", "balance@2", "--priority", "5"], 0);
    let capsules = capsules(&place);
    let [(1, old), (2, new)] = &capsules[..] else {
        panic!("{} capsules", capsules.len());
    };
    let sent = delta(old, new).unwrap();
    assert!(sent.len() <= 512, "{} bytes", sent.len());
    let said = tune["delta_bytes"].as_u64().unwrap();
    assert!(
        said.abs_diff(sent.len() as u64) <= 8,
        "{said} said, {} sent",
        sent.len()
    );
    let mut made = vec![0; new.len()];
    apply(&sent, old, &mut made).unwrap();
    assert!(made == *new);
}

/// Each text must stand on stderr, and nothing on stdout.
#[track_caller]
fn check_refused(place: &Workplace, args: &[&str], texts: &[&str]) {
    let answer = place.check(args, 2);
    for text in texts {
        assert!(
            answer.stderr.contains(text),
            "no `{text}` in:\n{}",
            answer.stderr
        );
    }
    assert_eq!(answer.stdout, "");
}

#[test]
fn what_cannot_be_tuned_is_said_with_a_way_out() {
    let place = Workplace::fans();
    place.check(&["run"], 0);
    let tune = ["tune", "--delta-max", "400"];
    check_refused(
        &place,
        &["tune"],
        &["is not said", "hint: `--delta-max 512`, or"],
    );
    let unknown = ["tune", "fan@9", "--delta-max", "400"];
    check_refused(
        &place,
        &unknown,
        &["model `fan@9` is not registered", "hint: "],
    );
    let points = ["tune", "--delta-max", "400", "--loss-max", "1"];
    check_refused(
        &place,
        &points,
        &["`--loss-max` is 1: it is in the unit of the metric"],
    );

    let boards = SETTINGS.replace("[\"esp-eye\"]", "[\"arduino-nano-33-ble-sense\"]");
    place.write("tinyops.toml", &boards);
    let held = "`fan@1` has no capsule for board `arduino-nano-33-ble-sense`, only for esp-eye";
    check_refused(&place, &tune, &[held, "hint: "]);

    place.write("tinyops.toml", &SETTINGS.replace("bands = 6", "bands = 8"));
    let other = "window and front end are not those of the model";
    check_refused(&place, &tune, &[other, "hint: a fine-tune keeps network"]);

    place.write(
        "tinyops.toml",
        &SETTINGS.replace("name = \"fan\"", "name = \"vent\""),
    );
    let project = ["tune", "fan@1", "--delta-max", "400"];
    check_refused(
        &place,
        &project,
        &["`fan@1` is no model of project `vent`", "hint: "],
    );
}
