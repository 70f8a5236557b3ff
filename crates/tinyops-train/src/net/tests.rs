//! Gradients against finite differences, folding against the unfolded network.

use super::*;

fn plane(height: usize, width: usize, channels: usize) -> Dims {
    Dims {
        height,
        width,
        channels,
    }
}

fn walk(kernel: [usize; 2], stride: [usize; 2], padded: bool) -> Walk {
    Walk {
        kernel,
        stride,
        padded,
    }
}

/// A network with one of everything.
fn everything(rng: &mut Rng) -> Network {
    let mut net = Network::new(plane(7, 6, 2));
    let d = net.push(Layer::Conv(Conv::new(
        net.input,
        5,
        walk([3, 3], [1, 1], true),
        rng,
    )));
    let d = {
        net.push(Layer::Norm(Norm::new(d.channels)));
        net.push(Layer::Relu)
    };
    let d = net.push(Layer::MaxPool(MaxPool::new(d, walk([2, 2], [2, 2], false))));
    let d = net.push(Layer::Depthwise(Depthwise::new(
        d,
        walk([3, 3], [1, 1], true),
        rng,
    )));
    net.push(Layer::Norm(Norm::new(d.channels)));
    let d = net.push(Layer::Conv(Conv::new(
        d,
        6,
        walk([1, 1], [1, 1], true),
        rng,
    )));
    let d = net.push(Layer::AveragePool(AveragePool::new(
        d,
        walk([2, 2], [1, 1], true),
    )));
    let d = net.push(Layer::Conv(Conv::new(
        d,
        4,
        walk([2, 2], [2, 1], false),
        rng,
    )));
    let d = net.push(Layer::AveragePool(AveragePool::global(d)));
    net.push(Layer::Dense(Dense::new(d.len(), 3, rng)));
    net
}

fn noise(len: usize, rng: &mut Rng) -> Vec<f32> {
    (0..len).map(|_| rng.normal()).collect()
}

#[derive(Clone, Copy)]
enum Loss {
    CrossEntropy,
    SquaredError,
}

fn check_gradients(mut net: Network, loss: Loss, rng: &mut Rng) {
    let count = 9;
    let inputs = noise(count * net.input.len(), rng);
    let width = net.output().len();
    let targets: Vec<f32> = (0..count)
        .flat_map(|i| {
            (0..width).map(move |k| {
                if i % width == k {
                    0.9
                } else {
                    0.1 / (width - 1) as f32
                }
            })
        })
        .collect();
    let weights: Vec<f32> = (0..count).map(|i| 0.5 + i as f32 / 4.0).collect();
    let run = |net: &mut Network, grad: &mut Vec<f32>| {
        let outputs = net
            .forward(count, &inputs, Some(&mut Rng::new(0, 0)))
            .to_vec();
        grad.resize(outputs.len(), 0.0);
        match loss {
            Loss::CrossEntropy => cross_entropy(&outputs, &targets, &weights, grad),
            Loss::SquaredError => squared_error(&outputs, &targets, &weights, grad),
        }
    };
    let mut grad = Vec::new();
    run(&mut net, &mut grad);
    net.clear_grads();
    net.backward(count, &grad.clone());
    let analytic: Vec<Vec<f32>> = net.params_mut().map(|p| p.grad.clone()).collect();
    let (mut checked, mut off) = (0, 0);
    for (tensor, expected) in analytic.iter().enumerate() {
        for element in (0..expected.len()).step_by(1 + expected.len() / 12) {
            let step = 4e-3;
            let mut shifted = |by: f32| {
                net.params_mut().nth(tensor).unwrap().value[element] += by;
                let loss = run(&mut net, &mut grad);
                net.params_mut().nth(tensor).unwrap().value[element] -= by;
                loss
            };
            let measured = (shifted(step) - shifted(-step)) / (2.0 * step);
            checked += 1;
            let error = (measured - expected[element]).abs();
            if error > 2e-3 + 0.03 * expected[element].abs() {
                off += 1;
            }
            assert!(
                error < 0.02 + 0.2 * measured.abs(),
                "tensor {tensor} element {element}: {measured} {}",
                expected[element]
            );
        }
    }
    // A step may cross the kink of a ReLU or a pool: a few differences then see another slope.
    assert!(off * 20 <= checked, "{off} of {checked} gradients are off");
}

#[test]
fn gradients_of_every_layer_match_finite_differences() {
    let mut rng = Rng::new(3, 1);
    let net = everything(&mut rng);
    check_gradients(net, Loss::CrossEntropy, &mut rng);
}

#[test]
fn gradients_of_an_autoencoder_match_finite_differences() {
    let mut rng = Rng::new(4, 1);
    let mut net = Network::new(Dims::vector(8));
    net.push(Layer::Dense(Dense::new(8, 5, &mut rng)));
    net.push(Layer::Relu);
    net.push(Layer::Dense(Dense::new(5, 8, &mut rng)));
    check_gradients(net, Loss::SquaredError, &mut rng);
}

#[test]
fn folding_changes_nothing() {
    let mut rng = Rng::new(5, 1);
    let mut net = everything(&mut rng);
    let inputs = noise(16 * net.input.len(), &mut rng);
    for _ in 0..40 {
        net.forward(16, &inputs, Some(&mut rng)); // Settles the running figures.
    }
    let expected = net.forward(16, &inputs, None).to_vec();
    let mut folded = net.folded();
    assert!(
        !folded
            .layers
            .iter()
            .any(|layer| matches!(layer, Layer::Norm(_)))
    );
    for (a, b) in folded.forward(16, &inputs, None).iter().zip(&expected) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let step = || {
        let mut rng = Rng::new(6, 1);
        let mut net = Network::new(plane(16, 16, 4));
        let d = net.push(Layer::Conv(Conv::new(
            net.input,
            16,
            walk([3, 3], [1, 1], true),
            &mut rng,
        )));
        net.push(Layer::Norm(Norm::new(d.channels)));
        net.push(Layer::Relu);
        let d = net.push(Layer::Depthwise(Depthwise::new(
            d,
            walk([3, 3], [1, 1], true),
            &mut rng,
        )));
        net.push(Layer::Dense(Dense::new(d.len(), 32, &mut rng)));
        let inputs = noise(33 * net.input.len(), &mut rng);
        let outputs = net.forward(33, &inputs, Some(&mut rng)).to_vec();
        net.clear_grads();
        net.backward(33, &outputs);
        net.params_mut()
            .flat_map(|p| p.grad.iter().map(|g| g.to_bits()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(step)
    };
    assert_eq!(on(1), on(5));
}
