//! Broken recordings: findings, never a panic, and never a sample that is not whole.

use std::io;

use proptest::prelude::*;
use tinyops_data::finding::Report;
use tinyops_data::ingest::{Listing, ingest};
use tinyops_data::sample::{Label, Sample};
use tinyops_data::spec::DataSpec;
use tinyops_data::split::split;
use tinyops_data::window::Windowing;

use crate::small::bytes;

/// A file of `testdata/recordings`, and how it is read.
const CASES: [(&str, &str); 16] = [
    ("plain.csv", "rate_hz = 50"),
    ("header.csv", "label_column = \"label\"\nmissing = \"hold\""),
    ("comma.csv", "resample_hz = 3"),
    ("engines.txt", "sample_column = \"0\"\ntime_column = \"1\""),
    (
        "lines.txt",
        "format = \"lines\"\nlabel_column = \"3\"\nrate_hz = 50",
    ),
    (
        "lines.txt.gz",
        "format = \"lines\"\nrate_hz = 50\nmissing = \"hold\"",
    ),
    ("mono8.wav", "decimate = 2"),
    ("mono16.wav", "cut = { train = 0.5, validation = 0.2 }"),
    ("stereo24.wav", "rows_skip = 3\nrows_max = 9"),
    ("float32.wav", "missing = \"hold\""),
    ("plain.mat", "channels = [\"X*_DE_time\"]\nrate_hz = 1"),
    ("packed.mat", "rate_hz = 1"),
    (
        "two-images-idx3-ubyte",
        "label_file = \"two-labels-idx1-ubyte\"",
    ),
    ("two-labels-idx1-ubyte", "format = \"lines\""),
    ("sample.json", "label_file = \"info.labels\""),
    ("sample.cbor", ""),
];

/// Reads `changed` as if it were the file of a case.
fn read(case: usize, changed: &[u8]) -> (Vec<Sample>, Report) {
    let (file, settings) = CASES[case];
    let text = format!(
        "window = {{ len = 4, short = \"zeros\" }}\n[[source]]\nfiles = [\"{file}\"]\n{settings}"
    );
    let spec: DataSpec = toml::from_str(&text).expect("a data section");
    let listing = Listing {
        files: vec![file.to_owned()],
    };
    let mut read = |_: usize, path: &str| -> io::Result<Vec<u8>> {
        Ok(if path == file {
            changed.to_vec()
        } else {
            bytes(path)
        })
    };
    let mut report = Report::new();
    let dataset = ingest(&spec, &[listing], &mut read, &mut report);
    split(&dataset, &spec.split, &mut report);
    if let Ok(windowing) = Windowing::new(&spec.window, &dataset) {
        for sample in &dataset.samples {
            for window in windowing.windows(sample) {
                assert_eq!(window.readings.len(), windowing.len * sample.channels.len());
            }
        }
    }
    assert!(!report.to_string().is_empty());
    (dataset.samples, report)
}

/// What a dataset promises of every sample, whatever was read.
#[track_caller]
fn check(case: usize, changed: &[u8]) {
    let (samples, report) = read(case, changed);
    assert!(
        !samples.is_empty() || report.has_errors(),
        "nothing read, nothing said: {}",
        CASES[case].0
    );
    let mut total = 0;
    for sample in &samples {
        assert!(!sample.channels.is_empty() && !sample.readings.is_empty());
        assert_eq!(sample.readings.len() % sample.channels.len(), 0);
        assert!(
            sample.readings.iter().all(|reading| reading.is_finite()),
            "{}",
            sample.name
        );
        assert_eq!(sample.channels, samples[0].channels);
        if let Label::Segments(segments) = &sample.label {
            assert!(
                segments
                    .iter()
                    .all(|segment| segment.range.end <= sample.len())
            );
            assert!(
                segments
                    .windows(2)
                    .all(|pair| pair[0].range.end <= pair[1].range.start)
            );
        }
        if let Label::Values(values) = &sample.label {
            assert_eq!(values.len(), sample.len());
        }
        total += sample.readings.len();
    }
    // Every reading comes from at least a fraction of a packed byte, or from resampling within its bound.
    assert!(
        total <= 2000 * (changed.len() + 1),
        "{total} readings of {} bytes",
        changed.len()
    );
}

#[test]
fn whole_files_are_read() {
    for (case, (file, _)) in CASES.iter().enumerate() {
        check(case, &bytes(file));
    }
}

#[test]
fn a_file_may_end_anywhere() {
    for (case, (file, _)) in CASES.iter().enumerate() {
        let whole = bytes(file);
        for end in 0..whole.len() {
            check(case, &whole[..end]);
        }
    }
}

#[test]
fn a_file_may_be_filled_with_one_byte() {
    for (case, (file, _)) in CASES.iter().enumerate() {
        let mut whole = bytes(file);
        for fill in [0, 0x20, 0x30, 0x7f, 0x80, 0xff, b',', b'\n', b'[', b'"'] {
            let half = whole.len() / 2;
            whole[half..].fill(fill);
            check(case, &whole);
            check(case, &vec![fill; 300]);
        }
    }
}

#[test]
fn any_file_may_be_called_anything() {
    for case in 0..CASES.len() {
        for (file, _) in CASES {
            check(case, &bytes(file));
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, &'static str),
    Word(usize, u32),
}

fn change() -> impl Strategy<Value = Change> {
    let text = prop::sample::select(vec![
        "nan",
        "NaN,",
        "1e999",
        "-",
        "\n",
        "\0",
        ",,,,",
        "\"",
        "0x1p3",
        "9999999999999999999999",
        "[[",
        "{}",
        "null",
        "é",
    ]);
    prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, mask)| Change::Flip(at, mask)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        any::<usize>().prop_map(Change::Cut),
        (any::<usize>(), 1usize..40).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<usize>(), 1usize..40).prop_map(|(at, len)| Change::Repeat(at, len)),
        (any::<usize>(), text).prop_map(|(at, text)| Change::Insert(at, text)),
        (
            any::<usize>(),
            prop_oneof![Just(u32::MAX), Just(0), Just(1 << 31), any::<u32>()]
        )
            .prop_map(|(at, word)| Change::Word(at, word)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        match *change {
            Change::Flip(at, mask) => bytes[at % len] ^= mask,
            Change::Set(at, byte) => bytes[at % len] = byte,
            Change::Cut(at) => bytes.truncate(at % len),
            Change::Remove(at, count) => {
                let at = at % len;
                bytes.drain(at..(at + count).min(len));
            }
            Change::Repeat(at, count) => {
                let at = at % len;
                let again = bytes[at..(at + count).min(len)].to_vec();
                bytes.splice(at..at, again);
            }
            Change::Insert(at, text) => {
                let at = at % len;
                bytes.splice(at..at, text.bytes());
            }
            Change::Word(at, word) => {
                let at = at % len;
                let end = (at + 4).min(len);
                bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_files_never_panic(case in 0..CASES.len(), changes in prop::collection::vec(change(), 1..6)) {
        check(case, &changed(bytes(CASES[case].0), &changes));
    }
}
