//! What the two runtimes are compared on: plans, what loading says of them, and what comes out of them.
//!
//! `c/check/record_file.h` tells the form of the file. Every expected byte is the Rust runtime's, by its portable kernels.

use crate::chance::Chance;
use crate::golden_random;
use crate::golden_tflite::{self, Arena, CaseFile, Tally};
use crate::steps::{data, root};
use tinyops_nn::{Plan, PlanError};

/// A changed plan may claim any arena, and work that grows with it.
const HOSTILE_ARENA_MAX: usize = 1 << 12;
/// Plans that are changed are small ones: a change there hits more often.
const HOSTILE_PLAN_MAX: usize = 6_000;
/// The folders of golden networks in the repository.
const FOLDERS: [&str; 3] = ["tflite", "tflite-int16", "tflite-keras"];
const NETWORKS: [&str; 5] = ["kws", "vww", "ic", "ad", "sww"];

/// A plan and what the Rust runtime makes of it.
pub(crate) struct Record {
    /// What it is, for people.
    pub(crate) name: String,
    /// The bytes that may be a plan.
    pub(crate) plan: Vec<u8>,
    /// Inputs and outputs of each case.
    pub(crate) cases: Vec<(Vec<u8>, Vec<u8>)>,
    kind: Kind,
    verdict: u32,
    /// What stands behind other bytes than a plan: keys and signatures.
    behind: Vec<u8>,
}

/// What the bytes of a record are, by the numbers of `c/check/record_file.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plan, whose cases stand alone.
    Plan = 0,
    /// A plan, each of whose cases goes on where the one before ended.
    Stream = 1,
    /// A capsule; its key stands behind it.
    Capsule = 2,
    /// A message; a key and a signature stand behind it.
    Signature = 3,
    /// Settings of a front end; its windows and features stand behind them.
    FrontEnd = 4,
    /// A delta; both images stand behind it.
    Delta = 5,
    /// A baseline; windows, alarms and reports stand behind it.
    Monitor = 6,
    /// A section SCALER; features stand behind it.
    Scaler = 8,
    /// A flash; a schedule of operations stands behind it.
    Slots = 7,
    /// A section SENSOR; a sensor stands behind it.
    Sensor = 9,
    /// A signed key set; root keys and what it says stand behind it.
    KeySet = 10,
    /// Flash that says who a device is; what is asked of it stands behind it.
    Provision = 11,
    /// An answer to who enrols; the request and what comes of it stand behind it.
    Answer = 12,
    /// A section PROGRAM that is a distance; features and scores stand behind it.
    Distance = 13,
    /// A section EMBEDDING; embeddings and their distances stand behind it.
    Embedding = 14,
}

impl Record {
    /// Runs the cases by the portable kernels.
    fn of(name: String, file: CaseFile) -> Result<Record, String> {
        let CaseFile {
            program,
            is_stream,
            mut cases,
            ..
        } = file;
        let plan = Plan::load(&program).map_err(|error| format!("{name}: {error}"))?;
        let mut arena = vec![0; plan.arena_bytes()];
        for (index, (input, output)) in cases.iter_mut().enumerate() {
            if index == 0 || !is_stream {
                plan.reset(&mut arena).map_err(|error| error.to_string())?;
            }
            golden_tflite::put(&mut arena, &plan, input);
            plan.run(&mut arena).map_err(|error| error.to_string())?;
            *output = golden_tflite::outputs(&arena, &plan);
        }
        Ok(Record {
            name,
            plan: program,
            cases,
            kind: if is_stream { Kind::Stream } else { Kind::Plan },
            verdict: 0,
            behind: Vec::new(),
        })
    }

    /// Other bytes than a plan.
    pub(crate) fn of_bytes(
        name: String,
        kind: Kind,
        bytes: Vec<u8>,
        behind: Vec<u8>,
        verdict: u32,
    ) -> Record {
        Record {
            name,
            plan: bytes,
            cases: Vec::new(),
            kind,
            verdict,
            behind,
        }
    }

    /// The number that the check is to come to.
    pub(crate) fn verdict(&self) -> u32 {
        self.verdict
    }

    /// The same with cases.
    pub(crate) fn with_cases(self, cases: Vec<(Vec<u8>, Vec<u8>)>) -> Record {
        Record { cases, ..self }
    }

    /// The record's bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let words = [
            self.plan.len() as u32,
            self.cases.len() as u32,
            self.kind as u32,
            self.verdict,
        ];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.extend(&self.plan);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        for (input, output) in &self.cases {
            bytes.extend(input);
            bytes.extend(output);
        }
        bytes.extend(&self.behind);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        bytes
    }
}

/// Records after each other, as the check reads them.
pub(crate) fn to_bytes(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(Record::to_bytes).collect()
}

/// The golden networks of the repository, over one memory and over two.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn golden() -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for folder in FOLDERS {
        let folder = root().join("testdata/golden").join(folder);
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.to_string_lossy().ends_with(".cases.json") {
                records.extend(read(&path, Arena::Whole)?);
                records.extend(read(&path, Arena::Split)?);
            }
        }
    }
    Ok(records)
}

/// The MLPerf Tiny networks; none where they are not there.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn networks() -> Result<Vec<Record>, String> {
    let folder = data("mlperf-tiny");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut records = Vec::new();
    for key in NETWORKS {
        let path = folder.join(format!("{key}.cases.json"));
        let record = read(&path, Arena::Whole)?;
        records.extend(record.map(|record| Record {
            name: key.to_owned(),
            ..record
        }));
    }
    Ok(records)
}

fn read(path: &std::path::Path, arena: Arena) -> Result<Option<Record>, String> {
    let mut tally = Tally::default();
    let Some(file) = golden_tflite::read(path, arena, &mut tally)? else {
        return Ok(None);
    };
    let over = if arena == Arena::Split {
        " over two"
    } else {
        ""
    };
    Record::of(format!("{}{over}", file.model), file).map(Some)
}

/// Networks from seeds, over one memory and, where they go in, over two.
///
/// # Errors
/// When one is refused.
pub(crate) fn drawn(count: u64) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for seed in 0..count {
        let drawn = golden_random::drawn(seed)?;
        for (plan, over) in [(Some(drawn.plan), ""), (drawn.spread, " over two")] {
            records.extend(plan.map(|plan| Record {
                name: format!("seed {seed}{over}"),
                plan,
                cases: drawn.cases.clone(),
                kind: Kind::Plan,
                verdict: 0,
                behind: Vec::new(),
            }));
        }
    }
    Ok(records)
}

/// Small plans changed at random, with what the Rust runtime says of each, and makes of it where that is told.
pub(crate) fn hostile(sound: &[Record], count: usize) -> Vec<Record> {
    let small: Vec<&Record> = sound
        .iter()
        .filter(|record| record.plan.len() <= HOSTILE_PLAN_MAX)
        .collect();
    if small.is_empty() {
        return Vec::new();
    }
    let mut chance = Chance(99);
    (0..count)
        .map(|index| {
            let record = small[chance.below(small.len())];
            let mut plan = record.plan.clone();
            for _ in 0..=chance.below(3) {
                change(&mut plan, &mut chance);
            }
            judged(
                format!("change {index} of {}", record.name),
                plan,
                &mut chance,
            )
        })
        .collect()
}

/// Changes a plan somewhere, its tables more often than its constants.
fn change(plan: &mut Vec<u8>, chance: &mut Chance) {
    let tables = constants_offset(plan).min(plan.len());
    let within = match chance.below(8) {
        0 => 0..plan.len(),
        1 => 0..tables.min(48),
        2 => tables..plan.len().min(tables + 256),
        _ => 32.min(tables)..tables,
    };
    if within.is_empty() {
        return;
    }
    let at = within.start + chance.below(within.len());
    match chance.below(12) {
        // A record of no bytes would end the file.
        0 => plan.truncate(at.max(1)),
        1 => plan[at] ^= 1 << chance.below(8),
        2 => put(plan, at & !3, &(chance.next() as u32).to_le_bytes()),
        3 => {
            let number = [0, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, 16, 0xFFFF][chance.below(7)];
            put(plan, at & !3, &u32::to_le_bytes(number));
        }
        4 => {
            let number = [0, 1, 2, 3, 255, 0x7FFF, 0x8000, u16::MAX][chance.below(8)];
            put(plan, at & !1, &u16::to_le_bytes(number));
        }
        5 => plan[at] = [0, 1, 127, 128, 255][chance.below(5)],
        6 => plan[at] = plan[at].wrapping_add(1),
        7 => plan[at] = plan[at].wrapping_sub(1),
        8 => {
            let from = chance.below(plan.len());
            plan[at] = plan[from];
        }
        _ => plan[at] = chance.below(32) as u8,
    }
}

fn put(plan: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in plan.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

/// Where the constants begin, as far as the header tells.
fn constants_offset(plan: &[u8]) -> usize {
    let word = |at: usize| {
        plan.get(at..at + 2)
            .map_or(0, |b| usize::from(b[0]) + 256 * usize::from(b[1]))
    };
    let more = plan.get(28).map_or(0, |&more| usize::from(more.min(3)));
    (32 + 4 * more + 20 * word(16) + 40 * word(18)).next_multiple_of(16)
}

/// What loading says of some bytes; where they are a plan of one op, what a run makes of them.
fn judged(name: String, plan: Vec<u8>, chance: &mut Chance) -> Record {
    let loaded = Plan::load(&plan);
    let mut cases = Vec::new();
    if let Ok(loaded) = &loaded {
        // Of several ops, one may read what another left in its scratch, which is nobody's promise.
        if loaded.op_count() == 1 && loaded.arena_bytes() <= HOSTILE_ARENA_MAX {
            let mut arena = vec![0; loaded.arena_bytes()];
            let bytes = loaded.inputs().map(|view| view.bytes()).sum();
            let input: Vec<u8> = (0..bytes).map(|_| chance.next() as u8).collect();
            let ran = loaded.reset(&mut arena).and_then(|()| {
                golden_tflite::put(&mut arena, loaded, &input);
                loaded.run(&mut arena)
            });
            if ran.is_ok() && outputs_are_made(loaded) {
                cases.push((input, golden_tflite::outputs(&arena, loaded)));
            }
        }
    }
    let verdict = verdict(&loaded.map(|_| ()));
    Record {
        name,
        plan,
        cases,
        kind: Kind::Plan,
        verdict,
        behind: Vec::new(),
    }
}

/// Whether the op makes the one output: other tensors may lie over its scratch, whose bytes are nobody's promise.
fn outputs_are_made(plan: &Plan<'_>) -> bool {
    let made = plan.op(0).and_then(|op| plan.tensor(op.output));
    let mut outputs = plan.outputs();
    outputs.next() == made && outputs.next().is_none()
}

/// The number of a reason in `c/include/tinyops.h`, and the index above it.
fn verdict(loaded: &Result<(), PlanError>) -> u32 {
    let (reason, index) = match *loaded {
        Ok(()) => (0, 0),
        Err(PlanError::Truncated) => (1, 0),
        Err(PlanError::Header) => (2, 0),
        Err(PlanError::Regions) => (3, 0),
        Err(PlanError::NoSuchTensor) => (4, 0),
        Err(PlanError::Tensor(index)) => (5, index),
        Err(PlanError::Op(index)) => (6, index),
        Err(PlanError::Shapes(index)) => (7, index),
        Err(PlanError::Constants(index)) => (8, index),
        Err(PlanError::Overlap(index)) => (9, index),
        Err(PlanError::Misaligned) => (10, 0),
        // A reason that the C runtime has no number for: it cannot be equal.
        Err(_) => (255, 0),
    };
    reason | u32::from(index) << 8
}
