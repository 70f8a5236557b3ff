//! From a body's settings to a network of layers.

use crate::net::{
    AveragePool, Conv, Dense, Depthwise, Dims, Layer, MaxPool, Network, Norm, Param, Walk,
};
use crate::rng::Rng;
use crate::spec::{AutoencoderSpec, Conv1dSpec, Conv2dSpec, DenseSpec};

/// Fully connected layers with ReLU between, the last of `outputs` units without.
pub(crate) fn dense(spec: &DenseSpec, input: Dims, outputs: usize, rng: &mut Rng) -> Network {
    let mut net = Network::new(Dims::vector(input.len()));
    drop_share(&mut net, spec.input_dropout);
    for &units in &spec.hidden {
        let inputs = net.output().len();
        net.push(Layer::Dense(Dense::new(inputs, units as usize, rng)));
        net.push(Layer::Relu);
        drop_share(&mut net, spec.dropout);
    }
    let inputs = net.output().len();
    net.push(Layer::Dense(Dense::new(inputs, outputs, rng)));
    net
}

/// Folded networks of dense layers laid side by side: one network whose outputs are the mean of theirs.
pub(crate) fn joined(members: &[Network]) -> Network {
    let mut net = Network::new(members[0].input);
    let share = 1.0 / members.len() as f32;
    let dense = |member: &Network, index: usize| match &member.layers[index] {
        Layer::Dense(dense) => Some(dense.clone()),
        _ => None,
    };
    let last = members[0].layers.len() - 1;
    for index in 0..=last {
        let layers: Vec<Dense> = members
            .iter()
            .filter_map(|member| dense(member, index))
            .collect();
        if layers.is_empty() {
            net.push(members[0].layers[index].clone());
            continue;
        }
        let inputs = net.output().len();
        let outputs = if index == last {
            layers[0].outputs
        } else {
            layers.iter().map(|d| d.outputs).sum()
        };
        let factor = if index == last { share } else { 1.0 };
        let mut weights = vec![0.0f32; inputs * outputs];
        let mut bias = vec![0.0f32; outputs];
        let (mut above, mut left) = (0, 0);
        for layer in &layers {
            for (row, (values, b)) in layer
                .weights
                .value
                .chunks_exact(layer.inputs)
                .zip(&layer.bias.value)
                .enumerate()
            {
                let row = above + row;
                bias[row] += factor * b;
                for (w, value) in weights[row * inputs + left..][..layer.inputs]
                    .iter_mut()
                    .zip(values)
                {
                    *w += factor * value;
                }
            }
            // Members share the network's input and its outputs; between, each has its own place.
            above += if index == last { 0 } else { layer.outputs };
            left += if index == 0 { 0 } else { layer.inputs };
        }
        let (weights, bias) = (Param::holding(weights, true), Param::holding(bias, false));
        net.push(Layer::Dense(Dense::holding(inputs, outputs, weights, bias)));
    }
    net
}

/// As many outputs as inputs, through a bottleneck.
pub(crate) fn autoencoder(spec: &AutoencoderSpec, input: Dims, rng: &mut Rng) -> Network {
    let spec = DenseSpec {
        hidden: spec.hidden.clone(),
        ..DenseSpec::default()
    };
    dense(&spec, input, input.len(), rng)
}

/// Convolutions along time, written as planes of height 1.
///
/// Features of frames × columns are read as `frames` positions of `columns` channels.
pub(crate) fn conv1d(spec: &Conv1dSpec, input: Dims, outputs: usize, rng: &mut Rng) -> Network {
    let mut net = Network::new(as_series(input));
    for &channels in &spec.channels {
        let kernel = [1, spec.kernel as usize];
        block(&mut net, channels, kernel, [1, 1], false, rng);
        pool(&mut net, [1, spec.pool as usize]);
    }
    head(&mut net, spec.hidden, spec.dropout, outputs, rng);
    net
}

/// Convolutions over a plane.
pub(crate) fn conv2d(spec: &Conv2dSpec, input: Dims, outputs: usize, rng: &mut Rng) -> Network {
    let mut net = Network::new(input);
    for (index, &channels) in spec.channels.iter().enumerate() {
        let kernel = spec.kernel.map(|k| k as usize);
        let stride = if index == 0 {
            spec.stride.map(|s| s as usize)
        } else {
            [1, 1]
        };
        block(
            &mut net,
            channels,
            kernel,
            stride,
            spec.separable && index > 0,
            rng,
        );
        if let Some(size) = spec.pool.get(index) {
            pool(&mut net, size.map(|k| k as usize));
        }
    }
    head(&mut net, spec.hidden, spec.dropout, outputs, rng);
    net
}

/// One series of vectors: a plane of one column each row becomes positions with channels.
fn as_series(input: Dims) -> Dims {
    if input.height > 1 {
        Dims {
            height: 1,
            width: input.height,
            channels: input.width * input.channels,
        }
    } else {
        input
    }
}

fn block(
    net: &mut Network,
    channels: u32,
    kernel: [usize; 2],
    stride: [usize; 2],
    separable: bool,
    rng: &mut Rng,
) {
    let walk = Walk {
        kernel,
        stride,
        padded: true,
    };
    let mut input = net.output();
    if separable {
        input = net.push(Layer::Depthwise(Depthwise::new(input, walk, rng)));
        net.push(Layer::Norm(Norm::new(input.channels)));
        net.push(Layer::Relu);
    }
    let walk = if separable {
        Walk {
            kernel: [1, 1],
            stride: [1, 1],
            padded: true,
        }
    } else {
        walk
    };
    let output = net.push(Layer::Conv(Conv::new(input, channels as usize, walk, rng)));
    net.push(Layer::Norm(Norm::new(output.channels)));
    net.push(Layer::Relu);
}

/// Max pooling side by side; a plane smaller than the kernel is pooled whole along that axis.
fn pool(net: &mut Network, size: [usize; 2]) {
    let input = net.output();
    let kernel = [size[0].min(input.height), size[1].min(input.width)];
    if kernel != [1, 1] {
        let walk = Walk {
            kernel,
            stride: kernel,
            padded: false,
        };
        net.push(Layer::MaxPool(MaxPool::new(input, walk)));
    }
}

fn head(net: &mut Network, hidden: u32, dropout: f32, outputs: usize, rng: &mut Rng) {
    let plane = net.output();
    if plane.positions() > 1 {
        net.push(Layer::AveragePool(AveragePool::global(plane)));
    }
    if hidden > 0 {
        let inputs = net.output().len();
        net.push(Layer::Dense(Dense::new(inputs, hidden as usize, rng)));
        net.push(Layer::Relu);
    }
    drop_share(net, dropout);
    let inputs = net.output().len();
    net.push(Layer::Dense(Dense::new(inputs, outputs, rng)));
}

fn drop_share(net: &mut Network, share: f32) {
    if share > 0.0 {
        net.push(Layer::Dropout(share, Vec::new()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_side_by_side_answer_with_their_mean() {
        let mut rng = Rng::new(1, 1);
        let spec = DenseSpec {
            hidden: vec![5, 3],
            ..DenseSpec::default()
        };
        let mut members: Vec<Network> = (0..3)
            .map(|_| dense(&spec, Dims::vector(4), 2, &mut rng))
            .collect();
        let inputs: Vec<f32> = (0..8).map(|_| rng.normal()).collect();
        let mut mean = [0.0f32; 4];
        for member in &mut members {
            let outputs = member.forward(2, &inputs, None);
            mean.iter_mut()
                .zip(outputs)
                .for_each(|(m, y)| *m += y / 3.0);
        }
        let mut net = joined(&members);
        for (a, b) in net.forward(2, &inputs, None).iter().zip(mean) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
