//! Inputs to begin with, written anew each time by the project's own encoders or from its golden files: none is kept for
//! this alone, so none grows old.

use crate::steps::root;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tinyops_compile::{compile_graph, delta, model_of};
use tinyops_dsp::{Block, Flatten, FrontEnd, Raw};
use tinyops_model::tflite::import;
use tinyops_wire::payload::{self, SectionId};

/// The name that the target reads a recording of each ending by, in its order.
const ENDINGS: [&str; 10] = [
    "csv",
    "wav",
    "mat",
    "json",
    "cbor",
    "txt",
    "txt.gz",
    "csv.gz",
    "idx3-ubyte",
    "idx3-ubyte.gz",
];

/// Writes the seeds of a target and answers with their folder, which is empty for a target that has none.
pub(super) fn write(target: &str) -> Result<PathBuf, String> {
    let folder = root().join("fuzz/seeds").join(target);
    let at = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(at)?;
    for (name, bytes) in of_target(target).map_err(at)? {
        fs::write(folder.join(name), bytes).map_err(at)?;
    }
    Ok(folder)
}

/// An input and what it is called.
type Seed = (String, Vec<u8>);

fn of_target(target: &str) -> std::io::Result<Vec<Seed>> {
    match target {
        "plan" | "model" | "tflite" => networks(target),
        "recording" => recordings(),
        "device_recording" => Ok(vec![(
            "v1".to_owned(),
            fs::read(root().join("testdata/golden/recording/v1.bin"))?,
        )]),
        "front_end" => Ok(front_ends()),
        "delta" => deltas(),
        "payload" => contracts(),
        "frame" => frozen("frames.txt"),
        "downlink" => frozen("downlinks.txt"),
        "envelope" => frozen("envelopes.txt"),
        "provision" => frozen("provision.txt"),
        "serial" => frozen("serial.txt"),
        "smp" => frozen("smp.txt"),
        "hpke_config" => golden("dap/janus.txt"),
        "upload_answer" => Ok(answers()),
        "versions" => Ok(versions()),
        "hci" => Ok(controllers()),
        "att" => Ok(gateways()),
        "foreign" => Ok(trackers()),
        _ => Ok(Vec::new()),
    }
}

/// A pointer, a list of files and a list of pieces.
fn versions() -> Vec<Seed> {
    let digest = "0123456789abcdef".repeat(4);
    let texts = [
        (
            "pointer",
            format!(
                "version = 1\nkind = \"folder\"\nfiles = 2\nbytes = 7\ndigest = \"{digest}\"\n"
            ),
        ),
        (
            "tree",
            format!(
                "tinyops-tree 1\n{digest}\t3\tfile\ta/b.csv\n{digest}\t4\tchunks\ta\\tc\\xff\n"
            ),
        ),
        (
            "chunks",
            format!("tinyops-chunks 1\n{digest}\t7\n{digest}\t3\n{digest}\t4\n"),
        ),
    ];
    texts
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .into()
}

/// What a leader may answer: status, media type and body, as the target reads them.
fn answers() -> Vec<Seed> {
    let problem = |token: &str| {
        format!(r#"{{"type":"urn:ietf:params:ppm:dap:error:{token}","title":"t","detail":"d"}}"#)
    };
    // Two reports; errors of reports (1), a problem (2), none (0).
    let answer = |kind: u8, status: u16, body: &[u8]| {
        [&[kind | 2 << 2][..], &status.to_be_bytes(), body].concat()
    };
    let errors = [&[b'a'; 16][..], &[2], &[b'b'; 16], &[9]].concat();
    vec![
        ("stored".to_owned(), answer(0, 200, b"")),
        ("errors".to_owned(), answer(1, 200, &errors)),
        ("one-error".to_owned(), answer(1, 200, &errors[17..])),
        (
            "task".to_owned(),
            answer(2, 404, problem("unrecognizedTask").as_bytes()),
        ),
        (
            "message".to_owned(),
            answer(2, 400, problem("invalidMessage").as_bytes()),
        ),
        ("busy".to_owned(), answer(3, 503, b"<html>")),
    ]
}

/// Streams of a controller: events, advertisements, and data that begins, goes on and ends.
fn controllers() -> Vec<Seed> {
    let advertised =
        b"\x04\x3e\x21\x02\x01\x00\x01\xef\xcd\xab\x89\x67\xc5\x15\x02\x01\x06\x11\x07\
        poynit\x42\x9f\x0e\x4c\x5a\x6e\x01\x00\x7d\x3b\xb0";
    let streams: [(&str, &[u8]); 6] = [
        // Reset is done; a command is under way; a packet is on its way; a connection ends.
        ("events", b"\x04\x0e\x04\x01\x03\x0c\x00\x04\x0f\x04\x00\x01\x06\x04\x04\x13\x05\x01\x40\x00\x01\x00\x04\x05\x04\x00\x40\x00\x13"),
        ("advertised", advertised),
        // A write without a response; a notification in two packets.
        ("written", b"\x02\x40\x20\x0a\x00\x06\x00\x04\x00\x52\x0c\x00abc"),
        ("notified", b"\x02\x40\x20\x08\x00\x08\x00\x04\x00\x1b\x0e\x00a\x02\x40\x10\x04\x00bcde"),
        // What a board has: services, characteristics, descriptors.
        ("met", b"\x02\x40\x20\x09\x00\x05\x00\x04\x00\x07\x0a\x00\x0f\x00\x02\x40\x20\x0d\x00\x09\x00\x04\x00\x09\x07\x0b\x00\x0c\x0c\x00\xff\xff\
            \x02\x40\x20\x0a\x00\x06\x00\x04\x00\x05\x01\x0f\x00\x02\x29"),
        // Synchronous and isochronous data, which nobody asked for.
        ("others", b"\x03\x40\x00\x02ab\x05\x40\x20\x04\x00abcd"),
    ];
    let seed = |(name, bytes): (&str, &[u8])| (name.to_owned(), bytes.to_vec());
    streams.map(seed).into()
}

/// What a gateway may do, as the target reads it: a letter for what, and how many bytes of it follow.
fn gateways() -> Vec<Seed> {
    let request = |bytes: &[u8]| [&[0, bytes.len() as u8], bytes].concat();
    let meets = [
        request(b"\x02\xf7\x00"),
        request(b"\x10\x01\x00\xff\xff\x00\x28"),
        request(b"\x06\x01\x00\xff\xff\x00\x28poynit\x42\x9f\x0e\x4c\x5a\x6e\x01\x00\x7d\x3b"),
        request(b"\x08\x0a\x00\x0f\x00\x03\x28"),
        request(b"\x04\x0d\x00\x0f\x00"),
        request(b"\x12\x0f\x00\x01\x00"),
    ]
    .concat();
    let talks = [
        request(b"\x52\x0c\x00abcd"),
        request(b"\x12\x0c\x00efgh"),
        b"\x06\x04said".to_vec(),
    ]
    .concat();
    // A write that is cut in two, one that never ends, a signal, a goodbye, and another time.
    let cuts = b"\x03\x07\x07\x00\x04\x00\x52\x0c\x00\x05\x04abcd\x03\x06\xff\x00\x04\x00\x12\x0c\
        \x03\x08\x04\x00\x05\x00\x12\x01\x00\x00\x07\x00";
    let others = [
        request(b"\x0a\x03\x00"),
        request(b"\x0c\x03\x00\x04\x00"),
        request(b"\x0e\x03\x00\x05\x00"),
        request(b"\x16\x0c\x00\x00\x00ab"),
        request(b"\x18\x01"),
        request(b"\x1e"),
    ]
    .concat();
    vec![
        ("talks".to_owned(), [&meets[..], &talks].concat()),
        (
            "leaves".to_owned(),
            [&meets[..], cuts, &meets, &talks].concat(),
        ),
        ("others".to_owned(), [&meets[..], &others].concat()),
    ]
}

/// A payload of one sensor contract each.
fn contracts() -> std::io::Result<Vec<Seed>> {
    let payload = |(name, section): Seed| {
        let mut out = vec![0; 1024];
        let len = payload::encode(&[(SectionId::Sensor, &section)], &mut out).ok()?;
        out.truncate(len);
        Some((name, out))
    };
    Ok(frozen("sensors.txt")?
        .into_iter()
        .filter_map(payload)
        .collect())
}

/// What a golden file of the wire holds.
fn frozen(file: &str) -> std::io::Result<Vec<Seed>> {
    golden(&format!("wire/{file}"))
}

/// What a golden file holds: a name and bytes in hexadecimal on each line.
fn golden(file: &str) -> std::io::Result<Vec<Seed>> {
    let path = root().join("testdata/golden").join(file);
    let text = fs::read_to_string(&path)?;
    let seed = |line: &str| {
        let (name, digits) = line.split_once(' ')?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        Some((name.to_owned(), bytes?))
    };
    let bad = |line: &str| {
        let said = format!("{}: no name and bytes in {line:?}", path.display());
        std::io::Error::new(std::io::ErrorKind::InvalidData, said)
    };
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| seed(line).ok_or_else(|| bad(line)))
        .collect()
}

/// The golden networks: as they are, as plans, or as models.
fn networks(target: &str) -> std::io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for path in files("testdata/golden/tflite")? {
        if path.extension().is_none_or(|end| end != "tflite") {
            continue;
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = fs::read(&path)?;
        let Ok(graph) = import(&bytes) else { continue };
        let seed = match target {
            "plan" => compile_graph(&graph, false)
                .ok()
                .map(|compiled| compiled.program),
            "model" => model_of(&name, graph).ok().map(|model| model.encode()),
            _ => Some(bytes),
        };
        seeds.extend(seed.map(|seed| (name, seed)));
    }
    Ok(seeds)
}

/// Answers of a tracking server, each behind the letter that says to what.
fn trackers() -> Vec<Seed> {
    let tags = json!([{ "key": "mlflow.data.context", "value": "training" }, { "key": "empty" }]);
    let point = json!({ "key": "loss", "value": "NaN", "timestamp": "5", "step": 1 });
    let run = json!({
        "info": {
            "run_id": "24f0", "run_name": "a", "status": "FINISHED", "start_time": 1, "end_time": "2",
            "lifecycle_stage": "deleted", "artifact_uri": "mlflow-artifacts:/4/24f0/artifacts",
        },
        "data": { "metrics": [point], "params": tags, "tags": tags },
        "inputs": {
            "dataset_inputs": [{ "tags": tags, "dataset": { "name": "fan", "digest": "d1" } }],
            "model_inputs": [{ "model_id": "m-1" }],
        },
        "outputs": { "model_outputs": [{ "model_id": "m-2", "step": 3 }] },
    });
    let model = json!({
        "info": { "model_id": "m-1", "name": "net", "status": "LOGGED_MODEL_READY", "tags": tags },
        "data": { "params": tags, "metrics": [point] },
    });
    let aliases = json!([{ "alias": "best", "version": "2" }]);
    let answers = [
        (
            "e",
            json!({ "experiments": [{ "experiment_id": "4", "name": "a", "tags": tags }] }),
        ),
        ("r", json!({ "runs": [run, {}], "next_page_token": "b" })),
        ("l", json!({ "models": [model] })),
        (
            "n",
            json!({ "registered_models": [{ "name": "a", "aliases": aliases }] }),
        ),
        (
            "v",
            json!({ "model_versions": [{ "name": "a", "version": "2", "current_stage": "Staging" }] }),
        ),
        ("h", json!({ "metrics": [point] })),
        (
            "f",
            json!({ "files": [{ "path": "a/b", "is_dir": false, "file_size": "9" }] }),
        ),
    ];
    let seed = |(letter, answer): (&str, serde_json::Value)| {
        (letter.to_owned(), format!("{letter}{answer}").into_bytes())
    };
    answers.into_iter().map(seed).collect()
}

/// Deltas between plans of the golden networks, each behind its old plan and that plan's length.
fn deltas() -> std::io::Result<Vec<Seed>> {
    let plans = networks("plan")?;
    let pairs = plans.iter().zip(plans.iter().skip(1));
    let seed = |((_, old), (name, new)): (&Seed, &Seed)| {
        let length = u16::try_from(old.len()).ok()?;
        let delta = delta(old, new).ok()?;
        let seed = [&length.to_le_bytes()[..], old, &delta].concat();
        Some((name.clone(), seed))
    };
    Ok(pairs.filter_map(seed).collect())
}

/// The recordings of the decoders' tests, each behind the byte that says how it is read.
fn recordings() -> std::io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for path in files("testdata/recordings")? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let pick = ENDINGS.iter().rposition(|ending| name.ends_with(ending));
        let Some(pick) = pick else { continue };
        let bytes = fs::read(&path)?;
        let seed = |pick: usize| [&[pick as u8], &bytes[..]].concat();
        if name.ends_with(".csv") {
            // The pick after the endings is the reader of tables.
            seeds.push((format!("{name}-table"), seed(ENDINGS.len())));
        }
        seeds.push((name, seed(pick)));
    }
    let history = "tinyops-labels 1\nt\tw\tset\ta.csv\tup\tz\nt\tw\trange 1-2\ta.csv\tdown\t\nt\tw\trule\tname=*.csv\tx\t\n\
                   t\tw\tkeep\ta.csv\tup\t\nt\tw\tundo\t0a1b2c3d\t\t\n";
    let history = [&[ENDINGS.len() as u8 + 1], history.as_bytes()].concat();
    seeds.push(("labels".to_owned(), history));
    Ok(seeds)
}

fn front_ends() -> Vec<Seed> {
    let flatten = Flatten {
        scale: 0.5,
        average: true,
        minimum: true,
        maximum: true,
        rms: true,
        deviation: true,
        skewness: true,
        kurtosis: true,
    };
    let blocks = [
        ("raw", Block::Raw(Raw { scale: 1.0 })),
        ("flatten", Block::Flatten(flatten)),
    ];
    let seed = |(name, block): (&str, Block)| {
        let front_end = FrontEnd {
            rate_hz: 100.0,
            channel_count: 3,
            window_len: 64,
            block,
        };
        let mut bytes = vec![0; 64];
        let used = front_end.encode(&mut bytes).ok()?;
        bytes.truncate(used);
        Some((name.to_owned(), bytes))
    };
    blocks.into_iter().filter_map(seed).collect()
}

fn files(folder: &str) -> std::io::Result<Vec<PathBuf>> {
    let folder: &Path = &root().join(folder);
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_with_an_encoder_has_seeds() {
        for (target, at_least) in [
            ("plan", 100),
            ("model", 100),
            ("tflite", 100),
            ("recording", 12),
            ("front_end", 2),
            ("delta", 90),
            ("envelope", 2),
            ("serial", 4),
            ("smp", 5),
            ("hci", 6),
            ("att", 3),
        ] {
            let seeds = of_target(target).expect("the folders are in the repository");
            assert!(seeds.len() >= at_least, "{target}: {}", seeds.len());
        }
    }

    #[test]
    fn every_kind_of_message_has_a_seed() {
        // The low four bits of the first byte, as `docs/formats/frames.md` has them: no message down is of kind 8.
        let (frames, downlinks) = (1..=13, (1..=11).filter(|kind| *kind != 8));
        let kinds: [(&str, Vec<u8>); 2] = [
            ("frame", frames.collect()),
            ("downlink", downlinks.collect()),
        ];
        for (target, kinds) in kinds {
            let seeds = of_target(target).expect("a golden file");
            for kind in kinds {
                let has = seeds.iter().any(|(_, bytes)| bytes[0] & 0xf == kind);
                assert!(has, "{target} of kind {kind}");
            }
        }
    }
}
