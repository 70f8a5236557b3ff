//! Small problems that training must solve, the same way every time.

use super::*;
use crate::architecture;
use crate::net::Dims;
use crate::spec::{AutoencoderSpec, Conv1dSpec, Conv2dSpec, DenseSpec};

fn quiet(_: Progress) -> Flow {
    Flow::Continue
}

fn spec(epochs: u32) -> TrainSpec {
    TrainSpec {
        epochs,
        batch: 16,
        learning_rate: 1e-2,
        ..TrainSpec::default()
    }
}

/// Tones of one of three frequencies with random phase, 2 channels of 32 readings.
fn tones(count: usize, rng: &mut Rng) -> Examples {
    let mut examples = Examples {
        copies: 1,
        inputs: vec![],
        targets: vec![],
        weights: vec![1.0; count],
        plane: [1, 64, 32],
    };
    for index in 0..count {
        let (class, phase) = (index % 3, rng.uniform() * 6.3);
        for reading in 0..32 {
            let angle = reading as f32 * [0.3, 0.7, 1.3][class] + phase;
            examples.inputs.push(angle.sin() + 0.2 * rng.normal());
            examples.inputs.push(angle.cos() + 0.2 * rng.normal());
        }
        examples
            .targets
            .extend((0..3).map(|k| f32::from(u8::from(k == class))));
    }
    examples
}

fn accuracy_on_tones(build: impl Fn(&mut Rng) -> Network, epochs: u32) -> f32 {
    let (training, held) = (
        tones(240, &mut Rng::new(1, 7)),
        tones(90, &mut Rng::new(2, 7)),
    );
    let mut net = build(&mut Rng::new(1, 1));
    let history = optimise(
        &mut net,
        &spec(epochs),
        Loss::CrossEntropy,
        &training,
        Some(&held),
        None,
        &mut quiet,
    )
    .unwrap();
    assert_eq!(history.len(), epochs as usize);
    history.last().unwrap().metric.unwrap()
}

#[test]
fn convolutions_hear_tones() {
    let input = Dims {
        height: 1,
        width: 32,
        channels: 2,
    };
    let body = Conv1dSpec {
        channels: vec![8, 8],
        ..Conv1dSpec::default()
    };
    let accuracy = accuracy_on_tones(|rng| architecture::conv1d(&body, input, 3, rng), 15);
    assert!(accuracy > 0.97, "{accuracy}");
}

#[test]
fn separable_planes_hear_tones() {
    let input = Dims {
        height: 32,
        width: 2,
        channels: 1,
    };
    let body = Conv2dSpec {
        channels: vec![8, 12],
        separable: true,
        pool: vec![[2, 1]],
        ..Conv2dSpec::default()
    };
    let accuracy = accuracy_on_tones(|rng| architecture::conv2d(&body, input, 3, rng), 20);
    assert!(accuracy > 0.95, "{accuracy}");
}

#[test]
fn an_autoencoder_finds_the_plane_that_data_lies_in() {
    let mut rng = Rng::new(3, 3);
    let inputs: Vec<f32> = (0..200)
        .flat_map(|_| {
            let (a, b) = (rng.normal(), rng.normal());
            [a, b, a + b, a - b, 0.5 * a, -b]
        })
        .collect();
    let data = Examples {
        copies: 1,
        inputs,
        targets: vec![],
        weights: vec![1.0; 200],
        plane: [1, 6, 6],
    };
    let body = AutoencoderSpec {
        hidden: vec![12, 4, 12],
    };
    let mut net = architecture::autoencoder(&body, Dims::vector(6), &mut Rng::new(1, 1));
    let history = optimise(
        &mut net,
        &spec(60),
        Loss::Reconstruction,
        &data,
        None,
        None,
        &mut quiet,
    )
    .unwrap();
    assert!(history.last().unwrap().loss < 0.05, "{:?}", history.last());
}

#[test]
fn patience_keeps_the_best_epoch() {
    let training = tones(30, &mut Rng::new(1, 7));
    let mut held = tones(30, &mut Rng::new(2, 7));
    // Nothing that is learned helps on wrong labels: the first epochs are the best.
    held.targets.rotate_right(1);
    let mut net = architecture::dense(
        &DenseSpec::default(),
        Dims::vector(64),
        3,
        &mut Rng::new(1, 1),
    );
    let spec = TrainSpec {
        patience: 3,
        ..spec(200)
    };
    let history = optimise(
        &mut net,
        &spec,
        Loss::CrossEntropy,
        &training,
        Some(&held),
        None,
        &mut quiet,
    )
    .unwrap();
    assert!(history.len() < 50, "{}", history.len());
    let best = history
        .iter()
        .filter_map(|epoch| epoch.validation_loss)
        .fold(f32::INFINITY, f32::min);
    assert_eq!(check(&mut net, Loss::CrossEntropy, &held).0, best);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_cancelling_stops() {
    let training = tones(60, &mut Rng::new(1, 7));
    let body = DenseSpec {
        dropout: 0.2,
        ..DenseSpec::default()
    };
    let run = |seed| {
        let mut net = architecture::dense(&body, Dims::vector(64), 3, &mut Rng::new(1, 1));
        let spec = TrainSpec { seed, ..spec(3) };
        optimise(
            &mut net,
            &spec,
            Loss::CrossEntropy,
            &training,
            None,
            None,
            &mut quiet,
        )
        .unwrap();
        net.params_mut()
            .flat_map(|p| p.value.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let mut net = architecture::dense(&body, Dims::vector(64), 3, &mut Rng::new(1, 1));
    let mut calls = 0;
    let result = optimise(
        &mut net,
        &spec(10),
        Loss::CrossEntropy,
        &training,
        None,
        None,
        &mut |_| {
            calls += 1;
            if calls == 2 {
                Flow::Cancel
            } else {
                Flow::Continue
            }
        },
    );
    assert!(matches!(result, Err(TrainError::Cancelled)) && calls == 2);
}

#[test]
fn a_loss_that_explodes_is_an_error() {
    let mut training = tones(30, &mut Rng::new(1, 7));
    training.inputs[5] = f32::NAN;
    let mut net = architecture::dense(
        &DenseSpec::default(),
        Dims::vector(64),
        3,
        &mut Rng::new(1, 1),
    );
    let result = optimise(
        &mut net,
        &spec(2),
        Loss::CrossEntropy,
        &training,
        None,
        None,
        &mut quiet,
    );
    assert!(
        matches!(result, Err(TrainError::NotFinite { .. })),
        "{result:?}"
    );
}
