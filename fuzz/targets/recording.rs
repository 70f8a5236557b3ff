//! A file of any format, through the whole of ingest, a table of named columns, or a history of labels: findings, never a
//! panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_data::decode::columns;
use tinyops_data::finding::Report;
use tinyops_data::history::History;
use tinyops_data::ingest::{Listing, ingest, ingest_with};
use tinyops_data::spec::DataSpec;

/// One name a format; the first byte of the input picks one, or the reader of tables, or of histories.
const NAMES: [&str; 10] = [
    "a.csv",
    "a.wav",
    "a.mat",
    "a.json",
    "a.cbor",
    "a.txt",
    "a.txt.gz",
    "a.csv.gz",
    "a-idx3-ubyte",
    "a-idx3-ubyte.gz",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((pick, file)) = bytes.split_first() else {
        return;
    };
    let pick = usize::from(*pick) % (NAMES.len() + 2);
    let Some(name) = NAMES.get(pick) else {
        match pick == NAMES.len() {
            true => drop(columns::read(file)),
            false => labels(file),
        }
        return;
    };
    let spec: DataSpec = toml::from_str("[[source]]\nroot = '.'\nfiles = ['*']\nrate_hz = 100.0\n")
        .expect("the spec is fixed");
    let listing = Listing {
        files: vec![(*name).to_owned()],
    };
    let mut report = Report::default();
    ingest(
        &spec,
        &[listing],
        &mut |_, _| Ok(file.to_vec()),
        &mut report,
    );
});

/// What is read as a history is written the same, and whatever it says of a recording, the recording stays sound.
fn labels(bytes: &[u8]) {
    let Ok(history) = History::decode(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    let lines: Vec<String> = history.entries.iter().map(|entry| entry.encode()).collect();
    let text = format!("{}{}\n", History::header(), lines.join("\n"));
    assert_eq!(History::decode(&text).as_ref(), Ok(&history));
    let spec: DataSpec = toml::from_str("[[source]]\nroot = '.'\nfiles = ['*']\nrate_hz = 100.0\n")
        .expect("the spec is fixed");
    let listing = Listing {
        files: vec!["a.csv".to_owned()],
    };
    let mut read = |_: usize, _: &str| Ok(b"x,y\n1,2\n3,4\n5,6\n".to_vec());
    let dataset = ingest_with(
        &spec,
        &[listing],
        &history,
        &mut read,
        &mut Report::default(),
    );
    for sample in &dataset.samples {
        if let tinyops_data::sample::Label::Segments(segments) = &sample.label {
            let ends = segments
                .iter()
                .flat_map(|segment| [segment.range.start, segment.range.end]);
            assert!(ends.clone().is_sorted() && ends.max() <= Some(sample.len()));
        }
    }
}
