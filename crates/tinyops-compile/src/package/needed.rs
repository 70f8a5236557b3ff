//! Which files of the C99 runtime a model needs: what its network and its front end name, and what those include.

use std::collections::BTreeSet;

use tinyops_dsp::Block;
use tinyops_nn::record::OpCode;

use super::Part;
use super::contents::{Contents, Operator};
use super::sources::C_FILES;

/// Loading, checks and the run: every network needs them.
const NETWORK: [&str; 5] = [
    "src/plan.c",
    "src/plan_check.c",
    "src/plan_wide.c",
    "src/regions.c",
    "src/run.c",
];
/// What a distance needs in their place.
const DISTANCE: [&str; 1] = ["src/distance.c"];
/// Features and the scaler.
const FRONT_END: [&str; 1] = ["src/dsp/front_end.c"];
/// Files that implement a header of another name. Those for the DSP extension are empty without it.
const IMPLEMENTS: [(&str, &[&str]); 2] = [
    ("src/dsp/fft.h", &["src/dsp/quarter_wave.c"]),
    (
        "src/kernel/arm_dsp/arm_dsp.h",
        &[
            "src/kernel/arm_dsp/add.c",
            "src/kernel/arm_dsp/conv_2d.c",
            "src/kernel/arm_dsp/dense.c",
            "src/kernel/arm_dsp/depthwise_conv_2d.c",
            "src/kernel/arm_dsp/patches.c",
            "src/kernel/arm_dsp/table.c",
        ],
    ),
];

/// The symbol of an operator and the file that defines it.
pub(super) fn operator(operator: Operator) -> (String, String) {
    let (code, is_wide) = operator;
    let stem = match (code, is_wide) {
        (OpCode::Conv2d, _) => "conv_2d",
        (OpCode::DepthwiseConv2d, _) => "depthwise_conv_2d",
        (OpCode::MaxPool2d, _) => "max_pool_2d",
        (OpCode::AveragePool2d, _) => "average_pool_2d",
        (OpCode::Mean, _) => "mean",
        (OpCode::Add, _) => "add",
        (OpCode::Softmax, _) => "softmax",
        (OpCode::Lookup, false) => "lookup",
        (OpCode::Lookup, true) => "function",
        (OpCode::Pad, _) => "pad",
        (OpCode::Copy, _) => "copy",
        (OpCode::Binary, _) => "binary",
        (OpCode::Reduce, _) => "reduce",
        (OpCode::ResizeBilinear, _) => "resize_bilinear",
        (OpCode::Constant, _) => "constant",
        (OpCode::Product, _) => "product",
        (OpCode::Extreme, _) => "extreme",
        (OpCode::Normalize, _) => "normalize",
        (OpCode::Svdf, _) => "svdf",
        (OpCode::Lstm, _) => "lstm",
    };
    match is_wide {
        false => (format!("tinyops_{stem}"), format!("src/kernel/{stem}.c")),
        true => (
            format!("tinyops_{stem}_int16"),
            format!("src/kernel/int16/{stem}.c"),
        ),
    }
}

/// The name of a front end's block, after which its symbol and its file are called.
pub(super) fn block(block: &Block) -> &'static str {
    match block {
        Block::Raw(_) => "raw",
        Block::Flatten(_) => "flatten",
        Block::Spectral(_) => "spectral",
        Block::Mfe(_) => "mfe",
        Block::Mfcc(_) => "mfcc",
        Block::Image(_) => "image",
    }
}

/// The symbol of the first operator that a model needs and the runtime has not.
pub(super) fn missing(contents: &Contents<'_>) -> Option<String> {
    let needed = contents.operators().into_iter().map(operator);
    let is_there = |file: &str| C_FILES.iter().any(|(path, _)| *path == file);
    let mut missing = needed.filter(|(_, file)| !is_there(file));
    missing.next().map(|(symbol, _)| symbol)
}

/// The files of the runtime that a model and some parts of the agent need, each with its text, in order of their paths.
pub(super) fn files(contents: &Contents<'_>, parts: &[Part]) -> Vec<(&'static str, &'static str)> {
    let core = match contents.plan() {
        Some(_) => &NETWORK[..],
        None => &DISTANCE,
    };
    let mut roots: Vec<String> = core
        .iter()
        .chain(&FRONT_END)
        .map(|&path| path.to_owned())
        .collect();
    roots.push(format!("src/dsp/{}.c", block(&contents.front_end.block)));
    roots.extend(
        contents
            .operators()
            .into_iter()
            .map(|found| operator(found).1),
    );
    for (_, folder) in parts.iter().filter_map(|part| part.of_runtime()) {
        let in_folder = C_FILES.iter().filter(|(path, _)| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.ends_with(".c"))
        });
        roots.extend(in_folder.map(|(path, _)| (*path).to_owned()));
    }
    closure(roots)
}

/// Files with all that they include, and with the files that implement those headers.
fn closure(roots: Vec<String>) -> Vec<(&'static str, &'static str)> {
    let mut waiting = roots;
    let mut found = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let Some(&(path, text)) = C_FILES.iter().find(|(known, _)| *known == path) else {
            // A header that nothing of its name implements.
            assert!(path.ends_with(".c"), "`{path}` is a file of the runtime");
            continue;
        };
        if !found.insert((path, text)) {
            continue;
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        waiting.extend(included(text).map(|name| joined(folder, name)));
        if let Some(stem) = path.strip_suffix(".h") {
            waiting.push(format!("{stem}.c"));
        }
        let others = IMPLEMENTS.iter().filter(|(header, _)| *header == path);
        waiting.extend(others.flat_map(|(_, files)| files.iter().map(|&file| file.to_owned())));
    }
    found.into_iter().collect()
}

/// What a file includes of its own project.
fn included(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let quoted = line.strip_prefix("#include \"")?;
        quoted.strip_suffix('"')
    })
}

/// A path as a file in a folder names it.
fn joined(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in name.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::sources::{DSP_FILES, EDGE_IMPULSE_FILES, NN_FILES};
    use super::*;

    /// Every file below a folder, as paths from `top`.
    fn below(top: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("reads").path();
            if path.is_dir() {
                below(top, &path, found);
            } else {
                let path = path.strip_prefix(top).expect("lies below");
                found.insert(path.to_str().expect("ASCII").to_owned());
            }
        }
    }

    /// What to do where it fails: write the file's path into the table of `sources.rs`, in order.
    #[test]
    fn the_tables_hold_every_file_of_the_runtimes() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tables = [
            ("c", &["include", "src"][..], C_FILES),
            ("c/edge_impulse", &["."], EDGE_IMPULSE_FILES),
            ("crates/tinyops-dsp", &["src"], DSP_FILES),
            ("crates/tinyops-nn", &["src"], NN_FILES),
        ];
        for (project, folders, table) in tables {
            let top = top.join(project);
            let mut found = BTreeSet::new();
            for folder in folders {
                below(&top, &top.join(folder), &mut found);
            }
            let known: Vec<&str> = table.iter().map(|(path, _)| *path).collect();
            assert_eq!(
                known,
                Vec::from_iter(&found),
                "{project}: sources.rs lists them in order"
            );
        }
    }

    #[test]
    fn every_operator_has_its_file() {
        let all = C_FILES
            .iter()
            .find(|(path, _)| *path == "src/operators_all.c");
        let listed: BTreeSet<&str> = all
            .expect("is there")
            .1
            .lines()
            .filter_map(|line| line.trim().strip_prefix('&')?.strip_suffix(','))
            .collect();
        let codes = [
            OpCode::Conv2d,
            OpCode::DepthwiseConv2d,
            OpCode::MaxPool2d,
            OpCode::AveragePool2d,
            OpCode::Mean,
            OpCode::Add,
            OpCode::Softmax,
            OpCode::Lookup,
            OpCode::Pad,
            OpCode::Copy,
            OpCode::Binary,
            OpCode::Reduce,
            OpCode::ResizeBilinear,
            OpCode::Constant,
            OpCode::Product,
            OpCode::Extreme,
            OpCode::Normalize,
            OpCode::Svdf,
            OpCode::Lstm,
        ];
        let mut found = BTreeSet::new();
        for (code, is_wide) in codes
            .into_iter()
            .flat_map(|code| [(code, false), (code, true)])
        {
            let (symbol, file) = operator((code, is_wide));
            let Some((_, text)) = C_FILES.iter().find(|(path, _)| *path == file) else {
                continue;
            };
            assert!(
                text.contains(&format!("const tinyops_operator {symbol} = ")),
                "{file}"
            );
            found.insert(symbol);
        }
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn what_is_included_comes_along() {
        let paths = |roots: &[&str]| -> Vec<&str> {
            let roots = roots.iter().map(|&root| root.to_owned()).collect();
            closure(roots).into_iter().map(|(path, _)| path).collect()
        };
        let spectral = paths(&["src/dsp/spectral.c"]);
        for path in [
            "src/dsp/quarter_wave.c",
            "src/dsp/elementary.c",
            "src/exact.h",
            "include/tinyops_front_end.h",
        ] {
            assert!(
                spectral.contains(&path),
                "{path} is missing of {spectral:?}"
            );
        }
        assert!(!spectral.contains(&"src/dsp/sound.c"));
        // What nothing includes by name comes by what it implements.
        let dense = paths(&["src/kernel/conv_2d.c"]);
        let in_folder = |path: &&str| path.starts_with("src/kernel/arm_dsp/");
        let all = C_FILES.iter().map(|(path, _)| *path).filter(in_folder);
        assert_eq!(
            dense.iter().copied().filter(in_folder).collect::<Vec<_>>(),
            all.collect::<Vec<_>>()
        );
        assert_eq!(
            joined("src/kernel/int16", "../../operator.h"),
            "src/operator.h"
        );
    }
}
