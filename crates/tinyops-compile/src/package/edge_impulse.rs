//! The calls of Edge Impulse's library over a package's own, so that a sketch compiles as it is.

use std::collections::BTreeMap;

use tinyops_dsp::Block;
use tinyops_wire::section::Task;

use super::contents::Contents;
use super::escape::fill;
use super::sources::EDGE_IMPULSE_FILES;
use super::{Described, Ecosystem};

/// The sketch that needs no sensor.
const SKETCH: &str = "examples/static_buffer.ino";

/// Whether whoever builds the package compiles C++ that lies beside its sources.
pub(super) fn goes_with(ecosystem: Ecosystem) -> bool {
    // A crate brings no part at all, and says so itself.
    matches!(
        ecosystem,
        Ecosystem::Arduino | Ecosystem::Platformio | Ecosystem::Rust
    )
}

/// What a sketch includes.
pub(super) fn header(described: &Described<'_>) -> String {
    format!("{}_inferencing.h", described.identifier)
}

/// The files that go beside the package's sources.
pub(super) fn files(
    contents: &Contents<'_>,
    described: &Described<'_>,
) -> BTreeMap<String, Vec<u8>> {
    let upper = described.identifier.to_uppercase();
    let task = match contents.decision.task {
        Task::Classify => "0",
        Task::Regress => "1",
        Task::Anomaly => "2",
    };
    let texts = [
        ("name", described.identifier.as_str()),
        ("upper", &upper),
        ("title", &described.title),
        ("task", task),
        ("sensor", sensor(contents)),
    ];
    let mut out = BTreeMap::new();
    for &(path, text) in EDGE_IMPULSE_FILES {
        let (path, text) = match path {
            "README.md" => continue,
            path if path.starts_with("examples/") => continue,
            "inferencing.h.in" => (header(described), text.to_owned()),
            "tinyops_ei_model.h.in" => ("tinyops_ei_model.h".to_owned(), fill(text, &texts)),
            path => (path.to_owned(), text.to_owned()),
        };
        out.insert(path, text.into_bytes());
    }
    out
}

/// A sketch over a window that lies in it, and that window: zeros, until somebody puts another there.
pub(super) fn sketch(contents: &Contents<'_>, described: &Described<'_>) -> (String, String) {
    let sketch = EDGE_IMPULSE_FILES.iter().find(|(path, _)| *path == SKETCH);
    let (_, text) = sketch.expect("the table has it");
    let include = format!("#include <{}>", header(described));
    let text = text.replace("#include <model_inferencing.h>", &include);
    let rows = vec!["0"; contents.front_end.reading_count()];
    let window: Vec<String> = rows.chunks(32).map(|row| row.join(", ")).collect();
    (text, window.join(",\n") + "\n")
}

/// Which kind of sensor a sketch may ask for, as far as the payload tells.
fn sensor(contents: &Contents<'_>) -> &'static str {
    let channels: Vec<&str> = contents
        .sensor
        .iter()
        .flat_map(|sensor| sensor.channels())
        .map(|channel| channel.unit)
        .collect();
    let is_acceleration = |unit: &&str| matches!(*unit, "g" | "m/s2" | "m/s²");
    match contents.front_end.block {
        Block::Image(_) => "CAMERA",
        Block::Mfe(_) | Block::Mfcc(_) if contents.front_end.channel_count == 1 => "MICROPHONE",
        _ if channels.len() == 3 && channels.iter().all(is_acceleration) => "ACCELEROMETER",
        _ => "UNKNOWN",
    }
}
