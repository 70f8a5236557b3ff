//! From a model to a payload, and the payload's own proof.

use tinyops_compile::{
    CompileError, Golden, RATE_TOLERANCE_PPM, SensorChannel, SensorContract, compile, payload,
    replay,
};
use tinyops_model::{Body, Data, Model, Task};
use tinyops_nn::{Plan, Program, distance, quantize};
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::sensor::SensorSection;

use crate::networks::{autoencoder, classifier, model};

const WINDOW: [f32; 8] = [1.0, -2.0, 3.0, 0.5, -1.5, 2.5, 0.0, 4.0];

/// The features of the window after scaling, by hand: raw readings times 0.5, then the scaler.
fn features() -> Vec<f32> {
    let scaled = |(index, reading): (usize, f32)| {
        let (mean, inv_std) = [(0.5, 2.0), (-0.5, 1.0)][index % 2];
        (reading * 0.5 - mean) * inv_std
    };
    WINDOW.into_iter().enumerate().map(scaled).collect()
}

fn run(program: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let plan = Plan::load(program).expect("loads");
    let view = plan.input();
    let input: Vec<u8> = features()
        .iter()
        .map(|&x| quantize(x, view.scale, view.zero_point) as u8)
        .collect();
    let mut arena = vec![0; plan.arena_bytes()];
    arena[view.range()].copy_from_slice(&input);
    plan.run(&mut arena).expect("runs");
    let output = arena[plan.output().range()].to_vec();
    (input, output, arena)
}

#[test]
fn a_payload_proves_itself() {
    let model = model(Body::Network(classifier()), Task::Classify);
    let compiled = compile(&model).expect("compiles");
    let (input, output, _) = run(&compiled.program);
    assert!(
        output[0] != output[1],
        "the golden vector tells the classes apart: {output:?}"
    );
    let tensor = Golden::Tensor {
        input,
        output: output.clone(),
    };
    let window = Golden::Window {
        readings: WINDOW.to_vec(),
        output: output.clone(),
    };
    for golden in [tensor, window] {
        let bytes = payload(&model, &compiled, std::slice::from_ref(&golden)).expect("writes");
        let replayed = replay(&bytes).expect("runs");
        assert_eq!(
            (replayed.cases, replayed.differing.len()),
            (1, 0),
            "{golden:?}"
        );
        assert_eq!(
            bytes,
            payload(&model, &compiled, &[golden]).expect("writes"),
            "the same bytes again"
        );
    }
    let wrong = Golden::Window {
        readings: WINDOW.to_vec(),
        output: vec![output[0], output[1] ^ 1],
    };
    let bytes = payload(&model, &compiled, &[wrong]).expect("writes");
    let differing = replay(&bytes).expect("runs").differing;
    assert_eq!((differing.len(), differing[0].element), (1, 1));
}

#[test]
fn an_autoencoder_keeps_its_input_for_its_score() {
    let compiled =
        compile(&model(Body::Autoencoder(autoencoder()), Task::Anomaly)).expect("compiles");
    let plan = Plan::load(&compiled.program).expect("loads");
    assert!(plan.input_is_kept());
    let (input, output, arena) = run(&compiled.program);
    let real = |q: u8| f64::from(0.05 * (f32::from(q as i8) + 1.0));
    let errors = input
        .iter()
        .zip(&output)
        .map(|(&a, &b)| (real(a) - real(b)).powi(2));
    let expected = errors.sum::<f64>() / 8.0;
    let score = f64::from(distance::reconstruction_error(&plan, &arena).expect("large enough"));
    assert!(
        (score - expected).abs() < 1e-5 * expected.max(1.0),
        "{score} for {expected}"
    );
}

#[test]
fn bodies_without_network_are_distances() {
    let far = Body::KMeans {
        centres: [vec![0.0; 8], vec![9.0; 8]].concat(),
        radii: vec![0.25, 1.0],
    };
    let model = model(far, Task::Anomaly);
    let compiled = compile(&model).expect("compiles");
    let Ok(Program::Distance(distance)) = Program::load(&compiled.program) else {
        panic!("no distance")
    };
    let score = distance.score(&features());
    let raw = WINDOW.map(|reading| reading * 0.5).to_vec();
    let golden = |score| {
        [Golden::Score {
            features: raw.clone(),
            score,
        }]
    };
    let bytes = payload(&model, &compiled, &golden(score)).expect("writes");
    assert!(replay(&bytes).expect("runs").differing.is_empty());
    let bytes = payload(&model, &compiled, &golden(score * 1.01)).expect("writes");
    assert_eq!(replay(&bytes).expect("runs").differing.len(), 1);
}

#[test]
fn a_damaged_payload_is_an_error() {
    let model = model(Body::Network(classifier()), Task::Classify);
    let compiled = compile(&model).expect("compiles");
    let bytes = payload(&model, &compiled, &[]).expect("writes");
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        // A damaged pad byte may go unseen; nothing may panic.
        let _ = replay(&damaged);
        assert!(replay(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[track_caller]
fn check_refused(model: &Model, expected: &str) {
    let error = compile(model).expect_err("must not compile");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn models_that_contradict_themselves_do_not_compile() {
    let sound = || model(Body::Network(classifier()), Task::Classify);
    let wrong_scaler = Model {
        scaler: tinyops_model::OwnedScaler {
            mean: vec![0.0; 3],
            inv_std: vec![1.0; 3],
        },
        ..sound()
    };
    check_refused(
        &wrong_scaler,
        "the model does not fit together: the scaler does not suit the features",
    );

    let mut short_window = sound();
    short_window.front_end.window_len = 3;
    check_refused(
        &short_window,
        "the model does not fit together: the network takes another count of features than the front end makes",
    );

    let clusters = Body::KMeans {
        centres: vec![0.0; 7],
        radii: vec![1.0],
    };
    check_refused(
        &model(clusters, Task::Anomaly),
        "the model does not fit together: the clusters do not suit the features",
    );

    let mut real = classifier();
    for tensor in &mut real.tensors {
        tensor.quantization = None;
        if let Some(data) = &tensor.data {
            tensor.data = Some(Data::Float32(vec![0.5; data.len()]));
        }
    }
    check_refused(
        &model(Body::Network(real), Task::Classify),
        "tensor `input` is not quantized; quantize the model first",
    );

    let mut two_outputs = classifier();
    two_outputs.outputs.push(two_outputs.inputs[0]);
    let error =
        compile(&model(Body::Network(two_outputs), Task::Classify)).expect_err("must not compile");
    assert!(matches!(
        error,
        CompileError::InputsOrOutputs {
            inputs: 1,
            outputs: 2
        }
    ));
}

#[test]
fn a_payload_says_what_its_readings_were_measured_in_if_that_is_known() {
    let model = model(Body::Network(classifier()), Task::Classify);
    let mut compiled = compile(&model).expect("compiles");
    let without = payload(&model, &compiled, &[]).expect("writes");
    assert_eq!(compiled.payload_bytes as usize, without.len());
    let read = |bytes: &[u8]| {
        let payload = Payload::parse(bytes).expect("a payload");
        let section = payload.section(SectionId::Sensor)?;
        let section = SensorSection::decode(section).expect("a section");
        let channels = section.channels();
        Some(
            channels
                .map(|c| (c.unit.to_owned(), c.full_scale))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(read(&without), None);
    let channel = |unit, full_scale| SensorChannel {
        axis: "",
        unit,
        full_scale,
    };
    let channels = [channel("m/s2", 19.6), channel("", 0.0)];
    let contract = SensorContract {
        rate_hz: model.front_end.rate_hz,
        rate_tolerance_ppm: RATE_TOLERANCE_PPM,
        mounting: None,
        channels: &channels,
    };
    compiled.with_contract(&contract).expect("sound");
    let with = payload(&model, &compiled, &[]).expect("writes");
    let expected = channels.map(|c| (c.unit.to_owned(), c.full_scale)).to_vec();
    assert_eq!(read(&with), Some(expected));
    assert_eq!(compiled.payload_bytes as usize, with.len());
    for wrong in [
        channel("furlongs/fortnight", 0.0),
        channel("g", f32::NAN),
        channel("g", -1.0),
        SensorChannel {
            axis: "the axis of a long name",
            ..channel("g", 1.0)
        },
    ] {
        let contract = SensorContract {
            channels: &[wrong],
            ..contract
        };
        assert!(compiled.with_contract(&contract).is_err(), "{wrong:?}");
    }
}
