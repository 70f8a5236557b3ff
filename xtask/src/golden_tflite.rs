//! Holds the importer, the compiler and the kernels against outputs of TFLM: `cargo xtask golden tflite DIR…`.
//!
//! Reads `*.cases.json` files: `{model, tolerance, cases: [{name, inputs: [base64], outputs: [base64]}]}`, where
//! `model` names the `.tflite` beside it and `tolerance` is the greatest difference that counts as equal.

use serde_json::Value;
use std::path::Path;
use tinyops_compile::{Compiled, compile_graph};
use tinyops_emulate::{Bench, RunFile};
use tinyops_model::tflite::{ImportError, import};
use tinyops_nn::golden::differences;
use tinyops_nn::{Isa, Line, Plan, Prepared};

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Cases compared.
    pub(crate) checked: usize,
    /// One line for each case that differs: file, case, first element.
    pub(crate) differences: Vec<String>,
    /// One line for each reason why a model cannot run.
    pub(crate) refusals: Vec<String>,
    /// Models that cannot run.
    pub(crate) refused: usize,
}

/// A model and its cases.
pub(crate) struct CaseFile {
    /// The model's file name.
    pub(crate) model: String,
    /// The compiled plan.
    pub(crate) program: Vec<u8>,
    tolerance: u64,
    names: Vec<String>,
    /// Input and expected output of each case.
    pub(crate) cases: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a file of cases and compiles its model; `None`, with a line in the tally, if that cannot run.
///
/// # Errors
/// When the file or its model cannot be read, or the file has another form.
pub(crate) fn read(path: &Path, tally: &mut Tally) -> Result<Option<CaseFile>, String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
    let file: Value = serde_json::from_str(&text).map_err(|error| at(&error))?;
    let (Some(model), Some(cases)) = (file["model"].as_str(), file["cases"].as_array()) else {
        return Err(at(&"holds no `model` and `cases`"));
    };
    let model_path = path.with_file_name(model);
    let bytes =
        std::fs::read(&model_path).map_err(|error| format!("{}: {error}", model_path.display()))?;
    let compiled = match compile_file(&bytes) {
        Ok(compiled) => compiled,
        Err(reasons) => {
            let lines = reasons.iter().map(|reason| format!("{model}: {reason}"));
            tally.refused += 1;
            tally.refusals.extend(lines);
            return Ok(None);
        }
    };
    let mut read = CaseFile {
        model: model.to_owned(),
        program: compiled.program,
        tolerance: file["tolerance"].as_u64().unwrap_or(0),
        names: Vec::new(),
        cases: Vec::new(),
    };
    for case in cases {
        let name = case["name"].as_str().unwrap_or("?");
        let input = tensor(&case["inputs"]).ok_or_else(|| at(&format!("{name}: input")))?;
        let expected = tensor(&case["outputs"]).ok_or_else(|| at(&format!("{name}: output")))?;
        read.names.push(name.to_owned());
        read.cases.push((input, expected));
    }
    Ok(Some(read))
}

/// Runs every case of a file here, by the portable kernels and by those for each instruction set
/// that this processor has, and on the emulated board if there is one.
///
/// # Errors
/// As [`read`], and when the emulator gives no answer.
pub(crate) fn check_file(
    path: &Path,
    board: Option<&Bench>,
    tally: &mut Tally,
) -> Result<(), String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let Some(mut file) = read(path, tally)? else {
        return Ok(());
    };
    let model = &file.model;
    let plan = Plan::load(&file.program).map_err(|error| at(&error))?;
    let mut arena = vec![0; plan.arena_bytes()];
    let mut memories = Isa::available()
        .filter(|&isa| isa != Isa::Portable)
        .map(|isa| (isa, vec![Line::ZERO; plan.prepared_lines(isa)]))
        .collect::<Vec<_>>();
    let prepared = memories
        .iter_mut()
        .filter_map(|(isa, memory)| plan.prepare(*isa, memory))
        .collect::<Vec<_>>();
    let work_lines = prepared.iter().map(Prepared::work_lines).max();
    let mut work = vec![Line::ZERO; work_lines.unwrap_or(0)];
    let mut fits = true;
    for (name, (input, expected)) in file.names.iter().zip(&mut file.cases) {
        tally.checked += 1;
        let place = &mut arena[plan.input().range()];
        if input.len() != place.len() || expected.len() != plan.output().len {
            fits = false;
            tally
                .differences
                .push(format!("{model}: {name}: the shapes differ"));
            continue;
        }
        place.copy_from_slice(input);
        plan.run(&mut arena).map_err(|error| at(&error))?;
        let actual = &arena[plan.output().range()];
        let pairs = expected
            .iter()
            .zip(actual)
            .map(|(&a, &b)| (a as i8, b as i8));
        let mut differing = pairs
            .enumerate()
            .filter(|(_, (a, b))| u64::from(a.abs_diff(*b)) > file.tolerance);
        if let Some((element, (expected, actual))) = differing.next() {
            let others = differing.count();
            let line = format!(
                "{model}: {name}: element {element} is {actual}, not {expected}; {others} others differ"
            );
            tally.differences.push(line);
        }
        // The others, and the board, shall give the very bytes that the portable kernels gave.
        expected.copy_from_slice(actual);
        for prepared in &prepared {
            tally.checked += 1;
            arena[plan.input().range()].copy_from_slice(input);
            prepared
                .run(&mut arena, &mut work)
                .map_err(|error| at(&error))?;
            let actual = &arena[plan.output().range()];
            if let Some(first) = differences(expected, actual).next() {
                tally.differences.push(format!(
                    "{model}: {name}: element {} is {}, not {}, by the kernels for {}",
                    first.element,
                    first.actual,
                    first.expected,
                    prepared.isa().name()
                ));
            }
        }
    }
    if let Some(board) = board.filter(|_| fits) {
        let run = RunFile {
            plan: &file.program,
            cases: &file.cases,
        };
        let measured = board.run(&run).map_err(|error| at(&error))?;
        for (name, &wrong) in file.names.iter().zip(&measured.wrong) {
            tally.checked += 1;
            if wrong > 0 {
                let line =
                    format!("{model}: {name}: {wrong} elements differ on the emulated Cortex-M4F");
                tally.differences.push(line);
            }
        }
    }
    Ok(())
}

fn compile_file(bytes: &[u8]) -> Result<Compiled, Vec<String>> {
    let graph = import(bytes).map_err(|error| match error {
        ImportError::Unsupported(refusals) => refusals.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    })?;
    compile_graph(&graph, false).map_err(|error| vec![error.to_string()])
}

/// The bytes of a list of one tensor in base64.
fn tensor(list: &Value) -> Option<Vec<u8>> {
    match list.as_array()?.as_slice() {
        [one] => base64(one.as_str()?),
        _ => None,
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut bit_count) = (0u32, 0);
    for symbol in text.bytes().take_while(|&symbol| symbol != b'=') {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes() {
        assert_eq!(base64("AAEC/w==").as_deref(), Some(&[0, 1, 2, 255][..]));
        assert_eq!(base64("AAE").as_deref(), Some(&[0, 1][..]));
        assert_eq!(base64("A*=="), None);
    }

    #[test]
    fn single_operators_give_the_bytes_of_tflm() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/golden/tflite");
        let mut tally = Tally::default();
        for entry in std::fs::read_dir(folder).expect("the folder is in the repository") {
            let path = entry.expect("reads").path();
            if path.to_string_lossy().ends_with(".cases.json") {
                check_file(&path, None, &mut tally).expect("reads");
            }
        }
        assert_eq!(tally.differences, [""; 0]);
        assert_eq!(tally.refusals, [""; 0]);
        assert!(tally.checked > 450, "{} cases", tally.checked);
    }

    #[test]
    fn mlperf_tiny_models_give_the_bytes_of_tflm() {
        let data = std::env::var("TINYOPS_DATA").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned()
        });
        let folder = Path::new(&data).join("mlperf-tiny");
        if !folder.is_dir() {
            println!(
                "skipped: {} is not there; set TINYOPS_DATA",
                folder.display()
            );
            return;
        }
        let mut tally = Tally::default();
        for key in ["kws", "vww", "ic", "ad", "sww"] {
            check_file(&folder.join(format!("{key}.cases.json")), None, &mut tally).expect(key);
        }
        assert_eq!(tally.differences, [""; 0]);
        assert_eq!(tally.refusals, [""; 0]);
        assert!(tally.checked > 40, "{} cases", tally.checked);
    }
}
