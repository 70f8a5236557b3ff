//! Every format, from the files of `testdata/recordings`, which all hold the same signal.

use std::path::Path;

use tinyops_data::dataset::Dataset;
use tinyops_data::finding::{Code, Report, Severity};
use tinyops_data::ingest::{Listing, ingest};
use tinyops_data::sample::{Label, Role, Sample};
use tinyops_data::spec::DataSpec;

/// The bytes of a file of `testdata/recordings`.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect("a file of testdata/recordings")
}

fn folder() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/recordings"
    ))
}

/// Reads a `[data]` section over files of `testdata/recordings`.
fn read(files: &[&str], text: &str) -> (Dataset, Report) {
    let spec: DataSpec = toml::from_str(text).expect("a data section");
    let files = files.iter().map(|&file| file.to_owned()).collect();
    let listings = vec![Listing { files }; spec.source.len()];
    let mut report = Report::new();
    let mut read = |_: usize, path: &str| std::fs::read(folder().join(path));
    let dataset = ingest(&spec, &listings, &mut read, &mut report);
    (dataset, report)
}

fn signal() -> Vec<f32> {
    (0..16).map(|i| (i as f32 / 4.0).sin()).collect()
}

#[track_caller]
fn check_signal(sample: &Sample, channel: usize, factor: f32, tolerance: f32) {
    let width = sample.channels.len();
    for (index, expected) in signal().into_iter().enumerate() {
        let reading = sample.readings[index * width + channel];
        assert!(
            (reading - factor * expected).abs() <= tolerance,
            "{}: reading {index} is {reading}",
            sample.name
        );
    }
}

#[track_caller]
fn check(file: &str, settings: &str, rate_hz: f32, tolerance: f32) {
    let text = format!("[[source]]\nfiles = [\"{file}\"]\n{settings}");
    let (dataset, report) = read(&[file], &text);
    assert_eq!(report.findings, [], "{file}");
    let sample = &dataset.samples[0];
    assert_eq!(sample.name, file);
    assert_eq!((sample.rate_hz, sample.len()), (rate_hz, 16), "{file}");
    check_signal(sample, 0, 1.0, tolerance);
    if sample.channels.len() > 1 {
        check_signal(sample, 1, -0.5, tolerance);
    }
}

#[test]
fn every_format_holds_the_same_signal() {
    check("plain.csv", "rate_hz = 50", 50.0, 1e-6);
    check("header.csv", "channels = [\"x\", \"y\"]", 100.0, 1e-6);
    check("comma.csv", "time_unit = \"s\"", 1.0, 1e-6);
    check("mono8.wav", "", 8000.0, 1.0 / 64.0);
    check("mono16.wav", "", 8000.0, 1e-4);
    check("stereo24.wav", "", 8000.0, 1e-6);
    check("float32.wav", "", 8000.0, 1e-6);
    check("plain.mat", "rate_hz = 12000", 12_000.0, 1e-6);
    check("packed.mat", "rate_hz = 12000", 12_000.0, 1e-6);
    check(
        "sample.json",
        "hmac_key_file = \"HMAC_KEY.txt\"",
        100.0,
        1e-6,
    );
    check(
        "sample.cbor",
        "hmac_key_file = \"HMAC_KEY.txt\"",
        100.0,
        1e-6,
    );
}

#[test]
fn labels_that_change_inside_a_file() {
    let (dataset, report) = read(
        &["header.csv"],
        "window = { len = 4, label_share = 0.9 }\n[[source]]\nfiles = [\"*\"]\nlabel_column = \"label\"\nunits = [\"g\"]",
    );
    assert_eq!(report.findings, []);
    assert_eq!(dataset.classes, ["down", "up"]);
    let Label::Segments(segments) = &dataset.samples[0].label else {
        panic!("segments");
    };
    let ranges: Vec<_> = segments
        .iter()
        .map(|segment| segment.range.clone())
        .collect();
    assert_eq!(ranges, [0..5, 5..16]);
}

#[test]
fn lines_engines_images() {
    for file in ["lines.txt", "lines.txt.gz"] {
        let text = format!("[[source]]\nfiles = [\"{file}\"]\nformat = \"lines\"\nrate_hz = 50");
        let (dataset, report) = read(&[file], &text);
        assert_eq!(report.findings, []);
        let names: Vec<&str> = dataset
            .samples
            .iter()
            .map(|sample| sample.name.as_str())
            .collect();
        assert_eq!(names, [1, 2, 3].map(|row| format!("{file}#0000{row}")));
        check_signal(&dataset.samples[0], 0, 1.0, 1e-6);
        check_signal(&dataset.samples[1], 0, -0.5, 1e-6);
    }
    let (dataset, report) = read(
        &["engines.txt"],
        "[[source]]\nfiles = [\"*\"]\nsample_column = \"0\"\ntime_column = \"1\"\nrate_hz = 1",
    );
    assert_eq!(report.findings, []);
    assert_eq!(dataset.groups(), ["engines.txt#1", "engines.txt#2"]);
    assert!((dataset.samples[1].readings[0] - signal()[8]).abs() < 1e-6);
    let (dataset, report) = read(
        &["two-images-idx3-ubyte"],
        "[[source]]\nfiles = [\"*\"]\nlabel_file = \"two-labels-idx1-ubyte\"",
    );
    assert_eq!(report.findings, []);
    assert_eq!(dataset.classes, ["3", "8"]);
    let size = dataset.samples[0]
        .image
        .map(|size| (size.height, size.width));
    assert_eq!(size, Some((2, 4)));
}

#[test]
fn what_an_export_says_of_its_files() {
    let (dataset, report) = read(
        &["sample.json"],
        "label_map = { sine = \"wave\" }\n[[source]]\nfiles = [\"*\"]\nlabel_file = \"info.labels\"",
    );
    assert_eq!(report.findings, []);
    let sample = &dataset.samples[0];
    assert_eq!(sample.label, Label::Class("wave".into()));
    assert_eq!(sample.role, Some(Role::Test));
    assert_eq!(sample.metadata["device_type"], "TEST");
}

#[test]
fn a_cut_recording_has_two_sides() {
    let (dataset, report) = read(
        &["plain.csv"],
        "window = { len = 2 }\n[[source]]\nfiles = [\"*\"]\nrate_hz = 1000\nscale = 2.0\ncut = { train = 0.5, gap_ms = 2 }",
    );
    assert_eq!(report.findings, []);
    let pieces: Vec<_> = dataset
        .samples
        .iter()
        .map(|sample| (sample.name.as_str(), sample.origin.cut.clone(), sample.role))
        .collect();
    assert_eq!(
        pieces,
        [
            ("plain.csv@test", Some(10..16), Some(Role::Test)),
            ("plain.csv@train", Some(0..8), Some(Role::Train))
        ]
    );
    let expected = 2.0 * signal()[10];
    assert!((dataset.samples[0].readings[0] - expected).abs() < 1e-5);
}

#[test]
fn what_does_not_fit_together_is_said() {
    let (dataset, report) = read(
        &[
            "plain.csv",
            "header.csv",
            "mono8.wav",
            "mono16.wav",
            "notes.md",
            "lines.txt",
        ],
        r#"
        window = { len = 20 }
        classes = ["sine", "square"]
        [[source]]
        files = ["*.wav", "*.flac", "{open"]
        label = "{shape}"
        [[source]]
        files = ["*.csv"]
        rate_hz = 50
        label = "tone"
        time_column = "when"
        [[source]]
        files = ["notes.md"]
        "#,
    );
    assert!(dataset.samples.len() <= 2, "{report}");
    let codes = |severity| {
        let mut codes: Vec<Code> = report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .map(|finding| finding.code)
            .collect();
        codes.sort();
        codes.dedup();
        codes
    };
    assert_eq!(
        codes(Severity::Error),
        [
            Code::Setting,
            Code::NoFile,
            Code::Unreadable,
            Code::MissingColumn
        ]
    );
    assert_eq!(
        codes(Severity::Warning),
        [Code::MissingLabel, Code::TooShort, Code::MissingClass]
    );
}
