//! Holds the importer, the compiler and the kernels against outputs of TFLM: `cargo xtask golden tflite DIR…`.
//!
//! Reads `*.cases.json` files, see [`Reference`]. Inputs and outputs are as the `.tflite` has them; real and whole numbers are brought to int8 or int16, exactly.

use std::path::Path;
use tinyops_compile::{Compiled, Options, Reference, compile_graph, compile_graph_with};
use tinyops_emulate::{Bench, EmulateError, RunFile};
use tinyops_model::graph::Graph;
use tinyops_model::tflite::{EndKind, ImportError, Imported, import_with_ends};
use tinyops_nn::record::Element;
use tinyops_nn::{Isa, Line, Plan, Prepared, TensorView, quantize, quantize_int16};

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
    /// One line for each machine whose memory is too small for a model.
    pub(crate) left_out: Vec<String>,
}

/// Where a network's tensors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arena {
    /// In one memory.
    Whole,
    /// Over two memory regions, where the network goes into neither alone.
    Split,
}

/// A model and its cases.
pub(crate) struct CaseFile {
    /// The model's file name.
    pub(crate) model: String,
    /// The compiled plan.
    pub(crate) program: Vec<u8>,
    tolerance: u32,
    /// Each case goes on where the one before ended.
    pub(crate) is_stream: bool,
    names: Vec<String>,
    /// Inputs and expected outputs of each case, each after the other.
    pub(crate) cases: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a file of cases and compiles its model; `None`, with a line in the tally, if that cannot run.
///
/// # Errors
/// When the file or its model cannot be read, or the file has another form.
pub(crate) fn read(
    path: &Path,
    arena: Arena,
    tally: &mut Tally,
) -> Result<Option<CaseFile>, String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
    let file = Reference::from_json(&text).map_err(|error| at(&error))?;
    let model = &file.model;
    let model_path = path.with_file_name(model);
    let bytes =
        std::fs::read(&model_path).map_err(|error| format!("{}: {error}", model_path.display()))?;
    let (ends, compiled) = match compile_file(&bytes, arena) {
        Ok(compiled) => compiled,
        Err(reasons) => {
            let lines = reasons.iter().map(|reason| format!("{model}: {reason}"));
            tally.refused += 1;
            tally.refusals.extend(lines);
            return Ok(None);
        }
    };
    let mut read = CaseFile {
        model: model.clone(),
        program: compiled.program,
        tolerance: file.tolerance,
        is_stream: file.is_stream,
        names: Vec::new(),
        cases: Vec::new(),
    };
    let plan = Plan::load(&read.program).map_err(|error| at(&error))?;
    let [inputs, outputs]: [Vec<TensorView>; 2] =
        [plan.inputs().collect(), plan.outputs().collect()];
    for case in file.cases {
        let name = case.name;
        let input = tensors(case.inputs, &ends[0], &inputs, false);
        let input = input.ok_or_else(|| at(&format!("{name}: input")))?;
        let expected = tensors(case.outputs, &ends[1], &outputs, true);
        let expected = expected.ok_or_else(|| at(&format!("{name}: output")))?;
        read.names.push(name);
        read.cases.push((input, expected));
    }
    Ok(Some(read))
}

/// Runs every case of a file here, by the portable kernels and by those for each instruction set
/// that this processor has, and on the emulated machines.
///
/// # Errors
/// As [`read`], and when the emulator gives no answer.
pub(crate) fn check_file(
    path: &Path,
    arena: Arena,
    machines: &[Bench],
    tally: &mut Tally,
) -> Result<(), String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let Some(mut file) = read(path, arena, tally)? else {
        return Ok(());
    };
    let model = &file.model;
    let plan = Plan::load(&file.program).map_err(|error| at(&error))?;
    // A plan that remembers has an arena for each that runs it.
    let new_arena = || vec![0; plan.arena_bytes()];
    let mut arena = new_arena();
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
    let mut others: Vec<Vec<u8>> = prepared.iter().map(|_| new_arena()).collect();
    let cases = file.names.iter().zip(&mut file.cases);
    for (number, (name, (input, expected))) in cases.enumerate() {
        tally.checked += 1;
        if number == 0 || !file.is_stream {
            for arena in others.iter_mut().chain([&mut arena]) {
                plan.reset(arena).map_err(|error| at(&error))?;
            }
        }
        let lens = |views: &mut dyn Iterator<Item = TensorView>| -> usize {
            views.map(|view| view.bytes()).sum()
        };
        if input.len() != lens(&mut plan.inputs()) || expected.len() != lens(&mut plan.outputs()) {
            fits = false;
            tally
                .differences
                .push(format!("{model}: {name}: the shapes differ"));
            continue;
        }
        put(&mut arena, &plan, input);
        plan.run(&mut arena).map_err(|error| at(&error))?;
        let actual = &outputs(&arena, &plan);
        let pairs = values(&plan, expected)
            .into_iter()
            .zip(values(&plan, actual));
        let mut differing = pairs
            .enumerate()
            .filter(|(_, (a, b))| a.abs_diff(*b) > file.tolerance);
        if let Some((element, (expected, actual))) = differing.next() {
            let others = differing.count();
            let line = format!(
                "{model}: {name}: element {element} is {actual}, not {expected}; {others} others differ"
            );
            tally.differences.push(line);
        }
        // The others, and the machines, shall give the very bytes that the portable kernels gave.
        expected.copy_from_slice(actual);
        for (prepared, arena) in prepared.iter().zip(&mut others) {
            tally.checked += 1;
            put(arena, &plan, input);
            prepared.run(arena, &mut work).map_err(|error| at(&error))?;
            let actual = values(&plan, &outputs(arena, &plan));
            let pairs = values(&plan, expected).into_iter().zip(actual);
            let mut differing = pairs.enumerate().filter(|(_, (a, b))| a != b);
            if let Some((element, (expected, actual))) = differing.next() {
                tally.differences.push(format!(
                    "{model}: {name}: element {element} is {actual}, not {expected}, by the kernels for {}",
                    prepared.isa().name()
                ));
            }
        }
    }
    if !fits {
        return Ok(());
    }
    let run = RunFile {
        plan: &file.program,
        cases: &file.cases,
        is_stream: file.is_stream,
    };
    let measured = on_all(machines, |bench| bench.run(&run));
    for (bench, measured) in machines.iter().zip(measured) {
        let core = bench.machine().core;
        let measured = match measured {
            Ok(measured) => measured,
            Err(EmulateError::TooSmall { .. }) => {
                let line = format!(
                    "{model}: not run on {}, too little memory",
                    bench.machine().id
                );
                tally.left_out.push(line);
                continue;
            }
            Err(error) => return Err(at(&format!("{}: {error}", bench.machine().id))),
        };
        for (name, &wrong) in file.names.iter().zip(&measured.wrong) {
            tally.checked += 1;
            if wrong > 0 {
                let line = format!("{model}: {name}: {wrong} bytes differ on the emulated {core}");
                tally.differences.push(line);
            }
        }
    }
    Ok(())
}

/// Puts inputs, which lie after each other, into the arena.
pub(crate) fn put(arena: &mut [u8], plan: &Plan<'_>, mut inputs: &[u8]) {
    for view in plan.inputs() {
        let (one, others) = inputs.split_at(view.bytes());
        arena[view.range()].copy_from_slice(one);
        inputs = others;
    }
}

/// The outputs of a run, one after the other.
pub(crate) fn outputs(arena: &[u8], plan: &Plan<'_>) -> Vec<u8> {
    let all = plan.outputs().map(|view| &arena[view.range()]);
    all.collect::<Vec<_>>().concat()
}

/// What `work` gives for each machine, several at a time, in the machines' order.
pub(crate) fn on_all<T: Send>(machines: &[Bench], work: impl Fn(&Bench) -> T + Sync) -> Vec<T> {
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    let mut answers = Vec::new();
    for some in machines.chunks(at_a_time) {
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = some
                .iter()
                .map(|bench| scope.spawn(move || work(bench)))
                .collect();
            for thread in threads {
                answers.push(thread.join().expect("emulating does not panic"));
            }
        });
    }
    answers
}

/// The values of outputs, which lie after each other.
fn values(plan: &Plan<'_>, mut bytes: &[u8]) -> Vec<i32> {
    let mut all = Vec::new();
    for view in plan.outputs() {
        let (one, others) = bytes.split_at(view.bytes());
        all.extend(view.values(one));
        bytes = others;
    }
    all
}

/// What the file has at its ends, and the plan.
fn compile_file(bytes: &[u8], arena: Arena) -> Result<([Vec<EndKind>; 2], Compiled), Vec<String>> {
    let imported = import_with_ends(bytes).map_err(|error| match error {
        ImportError::Unsupported(refusals) => refusals.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    })?;
    let Imported {
        graph,
        inputs,
        outputs,
    } = imported;
    let mut compiled = compile_graph(&graph, false).map_err(|error| vec![error.to_string()])?;
    if arena == Arena::Split {
        compiled = split(&graph, &compiled).unwrap_or(compiled);
    }
    let kinds = [inputs, outputs].map(|ends| ends.iter().map(|end| end.kind).collect());
    Ok((kinds, compiled))
}

/// A network over two regions of 8 and 7 tenths of its arena, neither of which holds it; `None` if
/// it does not go in.
pub(crate) fn split(graph: &Graph, one: &Compiled) -> Option<Compiled> {
    let mut options = Options::default();
    for (room, tenths) in options.regions.iter_mut().zip([8, 7]) {
        *room = one.arena_bytes * tenths / 10;
    }
    let compiled = compile_graph_with(graph, &options).ok()?;
    (compiled.memory.regions.len() > 1).then_some(compiled)
}

/// The bytes of some tensors, as the plan takes or gives them.
fn tensors(
    list: Vec<Vec<u8>>,
    kinds: &[EndKind],
    views: &[TensorView],
    is_exact: bool,
) -> Option<Vec<u8>> {
    if [list.len(), kinds.len()] != [views.len(); 2] {
        return None;
    }
    let mut all = Vec::new();
    for ((one, &kind), view) in list.into_iter().zip(kinds).zip(views) {
        all.extend(quantized(one, kind, view, is_exact)?);
    }
    Some(all)
}

/// Bytes as a file has them, as the values that stand for them; `None` if they shall stand for the
/// very same numbers, and none do.
fn quantized(bytes: Vec<u8>, kind: EndKind, view: &TensorView, is_exact: bool) -> Option<Vec<u8>> {
    let words = || bytes.as_chunks::<4>().0.iter().copied();
    match kind {
        EndKind::Uint8 => Some(bytes.iter().map(|byte| byte ^ 0x80).collect()),
        EndKind::Float32 => words()
            .map(|word| {
                let real = f32::from_le_bytes(word);
                let q = match view.element {
                    Element::Int8 => i32::from(quantize(real, view.scale, view.zero_point)),
                    Element::Int16 => i32::from(quantize_int16(real, view.scale)),
                };
                let same = view.real(q) == real || !is_exact;
                same.then(|| q.to_le_bytes()[..view.element.bytes()].to_vec())
            })
            .collect::<Option<Vec<_>>>()
            .map(|values| values.concat()),
        EndKind::Int32 => words()
            .map(|word| {
                let q = i32::from_le_bytes(word) + i32::from(view.zero_point);
                i8::try_from(q).ok().map(|q| q as u8)
            })
            .collect(),
        _ => Some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_operators_give_the_bytes_of_tflm() {
        check_folder("tflite", 860);
    }

    #[test]
    fn networks_of_keras_give_the_bytes_of_tflm() {
        check_folder("tflite-keras", 90);
    }

    #[test]
    fn int16_operators_and_networks_give_the_bytes_of_tflm() {
        check_folder("tflite-int16", 500);
    }

    #[track_caller]
    fn check_folder(name: &str, more_than: usize) {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/golden");
        let folder = golden.join(name);
        for arena in [Arena::Whole, Arena::Split] {
            let mut tally = Tally::default();
            for entry in std::fs::read_dir(&folder).expect("the folder is in the repository") {
                let path = entry.expect("reads").path();
                if path.to_string_lossy().ends_with(".cases.json") {
                    check_file(&path, arena, &[], &mut tally).expect("reads");
                }
            }
            check_all_equal(&tally, more_than);
        }
    }

    #[track_caller]
    fn check_all_equal(tally: &Tally, more_than: usize) {
        assert_eq!(tally.differences, [""; 0]);
        assert_eq!(tally.refusals, [""; 0]);
        assert!(tally.checked > more_than, "{} cases", tally.checked);
    }

    #[test]
    fn mlperf_tiny_models_give_the_bytes_of_tflm() {
        let folder = crate::steps::data("mlperf-tiny");
        if !folder.is_dir() {
            println!(
                "skipped: {} is not there; set TINYOPS_DATA",
                folder.display()
            );
            return;
        }
        for arena in [Arena::Whole, Arena::Split] {
            let mut tally = Tally::default();
            for key in ["kws", "vww", "ic", "ad", "sww"] {
                let path = folder.join(format!("{key}.cases.json"));
                check_file(&path, arena, &[], &mut tally).expect(key);
            }
            check_all_equal(&tally, 40);
        }
    }
}
