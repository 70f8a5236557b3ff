//! Every data set of `$TINYOPS_DATA` (or `../shared/data` beside the repository) decodes without an error, and the
//! counts of its README come out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tinyops_data::dataset::Dataset;
use tinyops_data::finding::{Code, Report, Severity};
use tinyops_data::ingest::{Listing, expand, ingest};
use tinyops_data::sample::Label;
use tinyops_data::spec::{DataSpec, SourceSpec};
use tinyops_data::split::{Split, split};
use tinyops_data::window::Windowing;

/// The folder of recordings, if this machine has it.
fn data() -> Option<PathBuf> {
    let beside = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let folder = std::env::var_os("TINYOPS_DATA").map_or(beside.to_owned(), PathBuf::from);
    folder.join("README.md").exists().then_some(folder)
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

struct Read {
    spec: DataSpec,
    dataset: Dataset,
    report: Report,
}

/// Reads a `[data]` section whose roots begin in the folder of recordings; none, with the reason said, if it is not here.
fn read(text: &str) -> Option<Read> {
    read_spec(toml::from_str(text).expect("a data section"))
}

fn read_spec(spec: DataSpec) -> Option<Read> {
    let Some(folder) = data() else {
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("skipped: no recordings in $TINYOPS_DATA or ../shared/data");
        }
        return None;
    };
    let lookup =
        |name: &str| (name == "TINYOPS_DATA").then(|| folder.to_string_lossy().into_owned());
    let root =
        |source: &SourceSpec| folder.join(expand(&source.root, &lookup).expect("a known variable"));
    let roots: Vec<PathBuf> = spec.source.iter().map(root).collect();
    let listings: Vec<Listing> = roots
        .iter()
        .map(|root| {
            let mut files = Vec::new();
            list(root, "", &mut files);
            Listing { files }
        })
        .collect();
    let mut report = Report::new();
    let mut read = |source: usize, path: &str| std::fs::read(roots[source].join(path));
    let dataset = ingest(&spec, &listings, &mut read, &mut report);
    assert!(!report.has_errors(), "{report}");
    Some(Read {
        spec,
        dataset,
        report,
    })
}

#[test]
fn the_examples_are_read() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    // Windows of training, validation and test.
    let expected = [
        ("cwru-12k-de", "952 466 484"),
        ("ei-gestures", "414 72 162"),
        ("fan-esp32", "462 77 231"),
        ("fan-esp32-anomaly", "462 77 231"),
        ("fsdd", "1352 450 450"),
        ("uci-har-raw", "2400 0 1201"),
    ];
    for (name, windows) in expected {
        let text = std::fs::read_to_string(folder.join(name).join("tinyops.toml"))
            .expect("a project file");
        let mut table: toml::Table = toml::from_str(&text).expect("a project file");
        let section = table.remove("data").expect("a data section");
        let Some(mut read) = read_spec(section.try_into().expect("a data section")) else {
            return;
        };
        let (split, _) = read.split();
        assert!(!read.report.has_errors(), "{name}: {}", read.report);
        let windowing = Windowing::new(&read.spec.window, &read.dataset).expect("windows");
        let count = |part: &[usize]| {
            let samples = part.iter().map(|&index| &read.dataset.samples[index]);
            samples
                .map(|sample| windowing.windows(sample).count())
                .sum::<usize>()
        };
        let found =
            [&split.train, &split.validation, &split.test].map(|part| count(part).to_string());
        assert_eq!(found.join(" "), windows, "{name}");
    }
}

impl Read {
    /// Samples and their classes: `240 = 120 idle, 120 walk`.
    fn counts(&self) -> String {
        let counts = self.dataset.class_counts();
        let classes = self.dataset.classes.iter().zip(counts);
        let classes: Vec<String> = classes
            .map(|(class, count)| format!("{count} {class}"))
            .collect();
        format!("{} = {}", self.dataset.samples.len(), classes.join(", "))
    }

    /// Rate, readings of the shortest and the longest, channels.
    fn shape(&self) -> String {
        let lens = || self.dataset.samples.iter().map(|sample| sample.len());
        let channels = self.dataset.samples[0].channels.iter();
        let channels: Vec<String> = channels
            .map(|channel| format!("{} [{}]", channel.name, channel.unit))
            .collect();
        let (min, max) = (lens().min().unwrap_or(0), lens().max().unwrap_or(0));
        format!(
            "{} Hz, {min}..{max}, {}",
            self.dataset.rate_hz(),
            channels.join(" ")
        )
    }

    fn split(&mut self) -> (Split, String) {
        let split = split(&self.dataset, &self.spec.split, &mut self.report);
        let text = format!(
            "{} {} {}",
            split.train.len(),
            split.validation.len(),
            split.test.len()
        );
        (split, text)
    }

    fn codes(&self) -> Vec<Code> {
        let mut codes: Vec<Code> = self
            .report
            .findings
            .iter()
            .map(|finding| finding.code)
            .collect();
        codes.sort();
        codes.dedup();
        codes
    }
}

#[test]
fn fan_esp32() {
    let Some(mut read) = read(
        r#"
        split = { by = "time", validation = 0.1, test = 0.3 }
        [[source]]
        root = "fan-esp32"
        files = ["fan_0_{label}_weight/*.csv"]
        channels = ["x", "y", "z"]
        units = ["g"]
        rate_hz = 200
        rows_max = 190
        "#,
    ) else {
        return;
    };
    assert_eq!(
        read.counts(),
        "770 = 110 high_0, 110 high_1, 110 low_0, 110 low_1, 110 med_0, 110 med_1, 110 off_0"
    );
    assert_eq!(read.shape(), "200 Hz, 190..190, x [g] y [g] z [g]");
    assert_eq!(read.split().1, "462 77 231");
    assert_eq!(read.codes(), [Code::LeakFamily]);
}

#[test]
fn uci_har_raw() {
    let Some(mut read) = read(
        r#"
        split = { by = "time", validation = 0.15 }
        [[source]]
        root = "uci-har-raw"
        files = ["train/Inertial Signals/{channel}_train.txt.gz"]
        label_file = "train/y_train.txt"
        label_names = "activity_labels.txt"
        group = "train"
        role = "train"
        rate_hz = 50
        units = ["g", "g", "g", "rad/s", "rad/s", "rad/s", "g", "g", "g"]
        [[source]]
        root = "uci-har-raw"
        files = ["test/Inertial Signals/{channel}_test.txt.gz"]
        label_file = "test/y_test.txt"
        label_names = "activity_labels.txt"
        group_file = "test/subject_test.txt"
        role = "test"
        rate_hz = 50
        units = ["g", "g", "g", "rad/s", "rad/s", "rad/s", "g", "g", "g"]
        "#,
    ) else {
        return;
    };
    assert_eq!(
        read.shape(),
        "50 Hz, 128..128, body_acc_x [g] body_acc_y [g] body_acc_z [g] body_gyro_x [rad/s] body_gyro_y [rad/s] \
         body_gyro_z [rad/s] total_acc_x [g] total_acc_y [g] total_acc_z [g]"
    );
    let (split, _) = read.split();
    assert_eq!(split.test.len(), 1201);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for &index in split.train.iter().chain(&split.validation) {
        for class in read.dataset.samples[index].label.classes() {
            *counts.entry(class).or_default() += 1;
        }
    }
    let counts: Vec<(&str, usize)> = counts.into_iter().collect();
    assert_eq!(
        counts,
        [
            ("LAYING", 459),
            ("SITTING", 420),
            ("STANDING", 449),
            ("WALKING", 400),
            ("WALKING_DOWNSTAIRS", 322),
            ("WALKING_UPSTAIRS", 350)
        ]
    );
    assert_eq!(read.dataset.groups(), ["10", "2", "4", "9", "train"]);
    assert_eq!(read.codes(), []);
}

#[test]
fn ei_gestures() {
    let Some(mut read) = read(
        r#"
        window = { len = 208, hop = 208 }
        split = { by = "every", every = 4 }
        [[source]]
        root = "ei-gestures"
        files = ["training/*.json"]
        label_file = "info.labels"
        "#,
    ) else {
        return;
    };
    assert_eq!(
        read.counts(),
        "72 = 18 circle, 18 flick, 18 idle, 18 updown"
    );
    assert_eq!(
        read.shape(),
        "104 Hz, 1040..1040, accx [m/s2] accy [m/s2] accz [m/s2]"
    );
    let (split, _) = read.split();
    assert_eq!(split.test.len(), 18);
    let windowing = Windowing::new(&read.spec.window, &read.dataset).expect("windows");
    let windows = read
        .dataset
        .samples
        .iter()
        .map(|sample| windowing.windows(sample).count());
    assert_eq!(windows.sum::<usize>(), 72 * 5);
    // The sensor was set to ±2 g, and the units of the export are wrong: it is g, and gestures exceed it.
    assert_eq!(read.codes(), [Code::Clipped, Code::LeakFamily]);
}

#[test]
fn ei_gestures_signed() {
    let source = |format: &str, key: &str| {
        format!(
            "[[source]]\nroot = \"ei-gestures\"\nfiles = [\"resigned/{{label}}.{{take:digit}}.{format}\"]\n{key}"
        )
    };
    let key = "hmac_key_file = \"resigned/HMAC_KEY.txt\"";
    let (Some(json), Some(cbor)) = (read(&source("json", key)), read(&source("cbor", key))) else {
        return;
    };
    assert_eq!(json.counts(), "12 = 3 circle, 3 flick, 3 idle, 3 updown");
    for (json, cbor) in json.dataset.samples.iter().zip(&cbor.dataset.samples) {
        assert_eq!(
            json.content_digest(),
            cbor.content_digest(),
            "{}",
            json.name
        );
    }
    let all = read(
        "[[source]]\nroot = \"ei-gestures\"\nfiles = [\"resigned/{label}.*.json\", \"resigned/{label}.*.cbor\"]",
    );
    let all = all.expect("the folder is there");
    // Each sample is there in both encodings, the unsigned pair too.
    assert_eq!(all.dataset.samples.len(), 26);
    assert!(
        all.report.of(Code::Duplicate).count() >= 13,
        "{}",
        all.report
    );
}

#[test]
fn other_edge_impulse_exports() {
    let Some(arm) = read(
        "[[source]]\nroot = \"ei-arm-activities/training\"\nfiles = [\"*.json\"]\nlabel_file = \"info.labels\"",
    ) else {
        return;
    };
    assert_eq!(
        arm.counts(),
        "60 = 15 biceps_flexion, 15 hello_with_hand, 15 squat, 15 wrist_rotation"
    );
    assert_eq!(
        arm.shape(),
        "62.5 Hz, 625..625, accX [m/s2] accY [m/s2] accZ [m/s2]"
    );

    let motion = read(
        "window = { len = 62 }\n[[source]]\nroot = \"ei-motionsense-esp\"\nfiles = [\"training/*.json\"]\nlabel_file = \"info.labels\"",
    );
    let motion = motion.expect("the folder is there");
    assert_eq!(
        motion.counts(),
        "600 = 150 fall, 150 groundquack, 150 idle, 150 shake"
    );
    // The README: a few files are shorter than 62 rows.
    assert!(
        motion.codes().contains(&Code::TooShort),
        "{}",
        motion.report
    );

    let pump = read("[[source]]\nroot = \"mimii-pump\"\nfiles = [\"ei-json/{label}.*.json\"]")
        .expect("the folder");
    assert_eq!(pump.shape(), "16000 Hz, 160000..160000, audio [FS]");
}

#[test]
fn fsdd() {
    let Some(mut read) = read(
        r#"
        window = { ms = 1000, short = "zeros" }
        split = { hold_out = ["george"] }
        [[source]]
        root = "fsdd/recordings"
        files = ["{label}_{group}_{index}.wav"]
        "#,
    ) else {
        return;
    };
    assert_eq!(
        read.counts(),
        "2250 = 225 0, 225 1, 225 2, 225 3, 225 4, 225 5, 225 6, 225 7, 225 8, 225 9"
    );
    assert!(read.shape().starts_with("8000 Hz"), "{}", read.shape());
    assert_eq!(
        read.dataset.groups(),
        ["george", "jackson", "nicolas", "theo", "yweweler"]
    );
    assert_eq!(read.split().1, "1350 450 450");
    assert!(!read.codes().contains(&Code::LeakFamily), "{}", read.report);
}

#[test]
fn cwru_12k_de() {
    let Some(mut read) = read(
        r#"
        window = { len = 1024 }
        split = { hold_out = ["load 3"] }
        [[source]]
        root = "cwru-12k-de"
        files = ["{label:alpha}{diameter:digit}_{load}_*.mat", "{label:alpha}{diameter:digit}@*_{load}_*.mat"]
        channels = ["X*_DE_time"]
        units = ["g"]
        rate_hz = 12000
        group = "load {load}"
        [[source]]
        root = "cwru-12k-de"
        files = ["Normal_*.mat"]
        label = "normal"
        group = "healthy"
        channels = ["X*_DE_time"]
        units = ["g"]
        rate_hz = 48000
        decimate = 4
        cut = { train = 0.6 }
        "#,
    ) else {
        return;
    };
    assert_eq!(read.counts(), "26 = 8 B, 8 IR, 8 OR, 2 normal");
    assert_eq!(read.shape(), "12000 Hz, 12197..40000, DE_time [g]");
    let bearing = &read.dataset.samples[0];
    assert_eq!(bearing.name, "B007_0_118.mat");
    assert_eq!(bearing.metadata["rpm"], "1796");
    let (split, _) = read.split();
    let tests: Vec<&str> = split
        .test
        .iter()
        .map(|&index| read.dataset.samples[index].name.as_str())
        .collect();
    assert_eq!(
        tests,
        [
            "B007_3_121.mat",
            "B021_3_225.mat",
            "IR007_3_108.mat",
            "IR021_3_212.mat",
            "Normal_0_97_first_half_48k.mat@test",
            "OR007@6_3_133.mat",
            "OR021@6_3_237.mat"
        ]
    );
    assert_eq!(
        read.codes(),
        [Code::Imbalance, Code::LeakRecording, Code::LeakFamily]
    );
    let warning = read
        .report
        .of(Code::LeakFamily)
        .next()
        .map(|finding| finding.message.clone());
    let warning = warning.expect("a warning");
    assert!(
        warning.contains("B007, B021, IR007, IR021, OR007@6, OR021@6"),
        "{warning}"
    );
}

#[test]
fn har_phone_watch() {
    let Some(read) = read(
        r#"
        window = { len = 100, hop = 50 }
        [[source]]
        root = "har-phone-watch"
        files = ["{group}/*.csv"]
        exclude = ["*.csv"]
        label_column = "label"
        resample_hz = 100
        units = ["m/s2", "m/s2", "m/s2", "rad/s", "rad/s", "rad/s"]
        "#,
    ) else {
        return;
    };
    assert_eq!(read.dataset.samples.len(), 48);
    assert_eq!(read.dataset.groups().len(), 16);
    assert_eq!(
        read.dataset.classes,
        [
            "SEATED",
            "SITTING_DOWN",
            "STANDING_UP",
            "TURNING",
            "WALKING"
        ]
    );
    assert!(
        read.dataset
            .samples
            .iter()
            .all(|sample| matches!(sample.label, Label::Segments(_)))
    );
    assert!(read.shape().starts_with("100 Hz"), "{}", read.shape());
}

#[test]
fn tables_without_a_rate_of_their_own() {
    let Some(fleet) = read(
        r#"
        window = { len = 30 }
        [[source]]
        root = "cmapss-fd001"
        files = ["train_FD001.txt"]
        format = "table"
        sample_column = "0"
        time_column = "1"
        rate_hz = 1
        "#,
    ) else {
        return;
    };
    assert_eq!(fleet.dataset.samples.len(), 100);
    let rows: usize = fleet
        .dataset
        .samples
        .iter()
        .map(|sample| sample.len())
        .sum();
    assert_eq!(rows, 20_631);
    assert_eq!(fleet.dataset.samples[0].channels.len(), 24);
    assert_eq!(fleet.dataset.groups().len(), 100);
    // The README: sensors 1, 5, 10, 16, 18, 19 and setting 3 never change.
    let constant = fleet.report.of(Code::Constant);
    let never = constant.filter(|finding| finding.severity == Severity::Warning);
    assert_eq!(never.count(), 7, "{}", fleet.report);

    let elec2 = read(
        "window = { len = 48 }\n[[source]]\nroot = \"drift-elec2\"\nfiles = [\"*.csv\"]\nlabel_column = \"class\"\nrate_hz = 1",
    );
    assert_eq!(elec2.expect("the folder").dataset.samples[0].len(), 30_000);

    let gas = read(
        "[[source]]\nroot = \"drift-gas-sensor\"\nfiles = [\"{group}.dat\"]\nformat = \"lines\"\nlabel_column = \"0\"\nrate_hz = 1",
    );
    let gas = gas.expect("the folder");
    assert_eq!(gas.dataset.samples.len(), 445 + 1244 + 1586 + 161 + 197);
    assert_eq!(gas.dataset.samples[0].len(), 129);
}

#[test]
fn images() {
    let Some(mnist) = read(
        r#"
        [[source]]
        root = "mnist-10k"
        files = ["*-images-idx3-ubyte.gz"]
        label_file = "mnist8000-labels-idx1-ubyte.gz"
        "#,
    ) else {
        return;
    };
    assert_eq!(
        mnist.counts(),
        "8000 = 801 0, 882 1, 814 2, 821 3, 790 4, 738 5, 771 6, 822 7, 758 8, 803 9"
    );
    assert_eq!(mnist.shape(), "0 Hz, 784..784, value []");

    let digits = read(
        "[[source]]\nroot = \"digits-8x8\"\nfiles = [\"*.csv.gz\"]\nformat = \"lines\"\nlabel_column = \"64\"\nimage = [8, 8]",
    );
    let digits = digits.expect("the folder");
    assert_eq!(
        (digits.dataset.samples.len(), digits.dataset.classes.len()),
        (1500, 10)
    );
    assert_eq!(digits.dataset.samples[0].len(), 64);
}

#[test]
fn other_audio() {
    let Some(words) = read(
        r#"
        window = { ms = 1000 }
        [[source]]
        root = "speech-commands-mini"
        files = ["{label}/{group}_nohash_*.wav", "{label}/{group}.wav"]
        "#,
    ) else {
        return;
    };
    assert_eq!(words.counts(), "287 = 17 noise, 90 off, 90 on, 90 unknown");
    assert_eq!(words.shape(), "16000 Hz, 16000..16000, audio [FS]");
    let pump = read(
        "[[source]]\nroot = \"mimii-pump\"\nfiles = [\"{label}/*.wav\"]\nexclude = [\"ei-json/**\"]",
    );
    let pump = pump.expect("the folder");
    assert_eq!(pump.counts(), "42 = 14 abnormal, 28 normal");
    assert_eq!(pump.shape(), "16000 Hz, 64000..64000, audio [FS]");
    let micro = read(
        "window = { len = 480 }\n[[source]]\nroot = \"micro-speech-testdata\"\nfiles = [\"*.wav\"]\nexclude = [\"marvin*\"]",
    );
    // The seventh is stereo.
    assert_eq!(micro.expect("the folder").dataset.samples.len(), 6);
}
