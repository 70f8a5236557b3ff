//! Trained models on the emulated board: the bytes of the host, or a verdict that says otherwise.
//!
//! Needs QEMU and a Rust target for Cortex-M; `cargo xtask test` installs them. Without them the
//! test prints what is missing and stops there.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod agent;

use tinyops_compile::{Golden, Options, compile, compile_with, model_of, payload};
use tinyops_emulate::{
    EmulateError, Firmware, MACHINES, MAIN_PIECE, Machine, Memory, ONE_PIECE, Smoke, smoke,
};
use tinyops_model::Model;
use tinyops_nn::Plan;
use tinyops_train::progress::Flow;
use tinyops_train::{
    Conv1dSpec, FeatureSet, FrontEndSpec, NetworkSpec, Origin, RawSpec, Recording, Target,
    Template, TrainSpec, Windows, fit, golden, quantize,
};

/// What an Arduino Nano 33 BLE Sense leaves.
const NANO_33: Memory = Memory {
    flash_bytes: 960 * 1024,
    ram_bytes: 190 * 1024,
    pieces: ONE_PIECE,
};

/// The smallest and the largest core and that of most boards. Each further target has its own `core` to be built; with
/// `TINYOPS_ALL_MACHINES` all are tested.
const TESTED: [&str; 4] = ["m0", "m0-on-m3", "m4f", "m55"];

/// Two classes of three-axis windows: a slow and a fast oscillation, in noise from a linear
/// congruential generator.
fn windows(count: usize) -> Windows {
    let mut windows = Windows::empty(100.0, 3, 128);
    windows.recordings.push(Recording::default());
    let mut state = 12_345_u32;
    for index in 0..count {
        let class = u16::from(index % 2 == 1);
        let hz = if class == 0 { 3.0 } else { 11.0 };
        let readings: Vec<f32> = (0..128)
            .flat_map(|reading| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 8) as f32 / 16_777_216.0 - 0.5;
                let phase = reading as f32 / 100.0 * hz * std::f32::consts::TAU;
                [phase.sin() + noise, phase.cos() + noise, 1.0 + 0.1 * noise]
            })
            .collect();
        let origin = Origin {
            recording: 0,
            start: (index * 128) as u32,
        };
        windows.push(&readings, Target::Class(class), origin);
    }
    windows
}

/// A trained int8 model and its golden vectors.
fn trained(spec: &TrainSpec) -> (Model, Vec<Golden>) {
    let parts = [windows(64), windows(16), windows(16)];
    let classes = ["slow".to_owned(), "fast".to_owned()];
    let set = FeatureSet::of_windows(spec, &classes, &parts, &mut |_| Flow::Continue).unwrap();
    let trained = fit(spec, &set, &mut |_| Flow::Continue).unwrap();
    let model = quantize("wave", spec, &trained, &set, &mut |_| Flow::Continue).unwrap();
    let vectors = golden(&model, &parts[2], 4).unwrap();
    (model, vectors)
}

/// A trained int8 model as a capsule payload, with its golden vectors changed by `spoil`.
fn trained_payload(spec: &TrainSpec, spoil: impl FnOnce(&mut Vec<Golden>)) -> Vec<u8> {
    let (model, mut vectors) = trained(spec);
    spoil(&mut vectors);
    payload(&model, &compile(&model).unwrap(), &vectors).unwrap()
}

/// A network over int16 as a capsule payload: one that TensorFlow's converter wrote.
fn int16_payload() -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("../../testdata/golden/tflite-int16/converter.tflite");
    let graph = tinyops_model::tflite::import(&std::fs::read(path).unwrap()).unwrap();
    let model = model_of("wave", graph).unwrap();
    let compiled = compile(&model).unwrap();
    let plan = Plan::load(&compiled.program).unwrap();
    let vector = |case: usize| {
        let wave = |at: usize| (at as f32 * 0.3 + case as f32).sin();
        let readings: Vec<f32> = (0..plan.input().len).map(wave).collect();
        let mut arena = vec![0; plan.arena_bytes()];
        plan.set_input(&readings, &mut arena).unwrap();
        let input = arena[plan.input().range()].to_vec();
        plan.run(&mut arena).unwrap();
        let output = arena[plan.output().range()].to_vec();
        match case {
            0 | 1 => Golden::Window { readings, output },
            _ => Golden::Tensor { input, output },
        }
    };
    let vectors: Vec<Golden> = (0..4).map(vector).collect();
    payload(&model, &compiled, &vectors).unwrap()
}

fn m4f() -> &'static Machine {
    Machine::named("m4f").unwrap()
}

fn run(
    firmware: &Firmware,
    machine: &Machine,
    payload: &[u8],
    memory: Memory,
) -> Option<Result<Smoke, EmulateError>> {
    match smoke(firmware, machine, payload, memory) {
        Err(EmulateError::Missing { what, remedy }) => {
            eprintln!("skipped: {what} is missing; {remedy}");
            None
        }
        answer => Some(answer),
    }
}

#[track_caller]
fn check_equal(firmware: &Firmware, machine: &Machine, payload: &[u8]) -> Option<u64> {
    let answer = run(firmware, machine, payload, NANO_33)?;
    let smoke = answer.unwrap();
    assert!(smoke.passed(), "{}: {smoke:?}", machine.id);
    assert_eq!(smoke.cases.len(), 4);
    assert!(smoke.instructions_max() > 10_000, "{smoke:?}");
    assert_eq!(smoke.arena_touched_bytes, smoke.arena_bytes, "{smoke:?}");
    let stack = 500..9_500;
    assert!(stack.contains(&smoke.stack_bytes), "{smoke:?}");
    assert!(stack.contains(&smoke.install_stack_bytes), "{smoke:?}");
    let image = 20_000..200_000;
    assert!(image.contains(&smoke.flash_bytes), "{smoke:?}");
    Some(smoke.instructions_max())
}

/// A network that goes into no single one of two pieces of RAM, which on the machine are memories
/// apart, and into neither piece of a board that has less.
fn check_pieces(firmware: &Firmware, machine: &Machine, spec: &TrainSpec) {
    let (model, vectors) = trained(spec);
    let one = compile(&model).unwrap();
    let share = one.arena_bytes * 8 / 10;
    let options = Options {
        regions: [share, share, 0, 0],
        ..Options::default()
    };
    let compiled = compile_with(&model, &options).unwrap();
    let regions = &compiled.memory.regions;
    assert_eq!(regions.len(), 2, "{regions:?}");
    let payload = payload(&model, &compiled, &vectors).unwrap();
    for pieces in [[share, MAIN_PIECE, 0, 0], [MAIN_PIECE, share, 0, 0]] {
        let memory = Memory { pieces, ..NANO_33 };
        let Some(answer) = run(firmware, machine, &payload, memory) else {
            return;
        };
        let smoke = answer.unwrap();
        assert!(smoke.passed(), "{}: {smoke:?}", machine.id);
        let planned: Vec<u32> = regions.iter().map(|region| region.bytes).collect();
        assert_eq!(smoke.arena_bytes, planned);
        // Where scratch lies highest, a core's own kernels may need less of it.
        for (touched, planned) in smoke.arena_touched_bytes.iter().zip(&planned) {
            assert!((1..=*planned).contains(touched), "{smoke:?}");
        }
    }
    let small = Memory {
        pieces: [MAIN_PIECE, regions[1].bytes - 1, 0, 0],
        ..NANO_33
    };
    let one_piece = NANO_33;
    for memory in [small, one_piece] {
        if let Some(answer) = run(firmware, machine, &payload, memory) {
            assert!(
                matches!(answer, Err(EmulateError::TooSmall { .. })),
                "{answer:?}"
            );
        }
    }
}

// One test, since the builds share a folder and a machine has few cores.
#[test]
fn the_board_gives_the_bytes_of_the_host() {
    let firmware = Firmware::find().unwrap();
    let spectral = TrainSpec {
        epochs: 3,
        ..TrainSpec::template(Template::Motion)
    };
    let raw = TrainSpec {
        front_end: FrontEndSpec::Raw(RawSpec::default()),
        network: NetworkSpec::Conv1d(Conv1dSpec::default()),
        ..spectral.clone()
    };
    check_equal(&firmware, m4f(), &trained_payload(&raw, |_| ()));
    check_equal(&firmware, m4f(), &int16_payload());
    check_pieces(&firmware, m4f(), &raw);
    let payload = trained_payload(&spectral, |_| ());
    let all = std::env::var_os("TINYOPS_ALL_MACHINES").is_some();
    let mut of_m0 = Vec::new();
    for machine in &MACHINES {
        if all || TESTED.contains(&machine.id) {
            if machine.more_ram.bytes > 0 && machine.id != "m4f" {
                check_pieces(&firmware, machine, &raw);
            }
            let instructions = check_equal(&firmware, machine, &payload);
            of_m0.extend(instructions.filter(|_| machine.core == "Cortex-M0"));
        }
    }
    // The same code takes the same instructions on a larger core, to a tick of each timer.
    if let [own, stand_in] = of_m0[..] {
        assert!(own.abs_diff(stand_in) <= 40 + 63, "{own} and {stand_in}");
    }

    let spoiled = trained_payload(&spectral, |vectors| match &mut vectors[1] {
        Golden::Tensor { output, .. } | Golden::Window { output, .. } => output[0] ^= 1,
        Golden::Score { score, .. } => *score += 1.0,
    });
    if let Some(answer) = run(&firmware, m4f(), &spoiled, NANO_33) {
        let smoke = answer.unwrap();
        assert!(!smoke.passed());
        assert!(smoke.cases[0].difference.is_none());
        assert!(smoke.cases[1].difference.is_some());
    }

    if let Some(answer) = run(&firmware, m4f(), b"not a payload", NANO_33) {
        assert!(
            matches!(answer, Err(EmulateError::Refused { .. })),
            "{answer:?}"
        );
    }
    let little = Memory {
        ram_bytes: 8 * 1024,
        ..NANO_33
    };
    if let Some(answer) = run(&firmware, m4f(), &payload, little) {
        let Err(EmulateError::TooSmall { memory, .. }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(memory, "RAM");
    }
}

#[test]
fn a_firmware_that_does_not_fit_is_named() {
    let Ok(firmware) = Firmware::find() else {
        return;
    };
    let tiny = Memory {
        flash_bytes: 4096,
        ..NANO_33
    };
    match smoke(&firmware, m4f(), b"", tiny) {
        Err(EmulateError::Build {
            flash_bytes: 4096,
            log,
            ..
        }) => {
            assert!(log.contains("FLASH"), "{log}");
        }
        Err(EmulateError::Missing { .. }) => {}
        answer => panic!("{answer:?}"),
    }
}
