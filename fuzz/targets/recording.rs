//! A file of any format, through the whole of ingest, or a table of named columns: findings, never a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_data::decode::columns;
use tinyops_data::finding::Report;
use tinyops_data::ingest::{Listing, ingest};
use tinyops_data::spec::DataSpec;

/// One name a format; the first byte of the input picks one, or the reader of tables.
const NAMES: [&str; 10] = [
    "a.csv", "a.wav", "a.mat", "a.json", "a.cbor", "a.txt", "a.txt.gz", "a.csv.gz", "a-idx3-ubyte", "a-idx3-ubyte.gz",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((pick, file)) = bytes.split_first() else {
        return;
    };
    let Some(name) = NAMES.get(usize::from(*pick) % (NAMES.len() + 1)) else {
        let _ = columns::read(file);
        return;
    };
    let spec: DataSpec = toml::from_str(
        "[[source]]\nroot = '.'\nfiles = ['*']\nrate_hz = 100.0\n",
    )
    .expect("the spec is fixed");
    let listing = Listing { files: vec![(*name).to_owned()] };
    let mut report = Report::default();
    ingest(&spec, &[listing], &mut |_, _| Ok(file.to_vec()), &mut report);
});
