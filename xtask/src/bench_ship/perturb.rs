//! Successors of a network: its file with some weights moved.

use tinyops_model::graph::{Data, Graph, OpKind, TensorId};

use crate::chance::Chance;

/// How the weights of a layer move.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    /// Each weight is brought back to a real number within half a step of its own, moves by a normal
    /// step of so much of its channel's standard deviation, and is rounded at the same scale; biases
    /// move alike, by the deviation of their layer's.
    Step(f64),
    /// Each channel's weights change places: as likely as before, and nothing of them is known.
    Shuffle,
}

/// Which layers move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layers {
    All,
    Last,
}

/// The file with the weights and biases of some layers moved.
///
/// # Errors
/// When the bytes of a tensor are not in the file, or more than once.
pub(super) fn successor(
    file: &[u8],
    graph: &Graph,
    layers: Layers,
    by: Move,
    seed: u64,
) -> Result<Vec<u8>, String> {
    let mut chance = Chance(seed);
    let mut moved = file.to_vec();
    let with_weights: Vec<_> = (graph.ops.iter())
        .filter(|op| {
            matches!(
                op.kind,
                OpKind::Conv2d(_) | OpKind::DepthwiseConv2d(_) | OpKind::Dense(_)
            )
        })
        .collect();
    let first = match layers {
        Layers::All => 0,
        Layers::Last => with_weights.len() - 1,
    };
    for op in &with_weights[first..] {
        let is_depthwise = matches!(op.kind, OpKind::DepthwiseConv2d(_));
        weights(
            file,
            graph,
            op.inputs[1],
            is_depthwise,
            by,
            &mut chance,
            &mut moved,
        )?;
        if let Some(&bias) = op.inputs.get(2) {
            biases(file, graph, bias, by, &mut chance, &mut moved)?;
        }
    }
    Ok(moved)
}

fn weights(
    file: &[u8],
    graph: &Graph,
    tensor: TensorId,
    is_depthwise: bool,
    by: Move,
    chance: &mut Chance,
    moved: &mut [u8],
) -> Result<(), String> {
    let tensor = graph.tensor(tensor);
    let Some(Data::Int8(values)) = &tensor.data else {
        return Err(format!("{} has no int8 weights", tensor.name));
    };
    let channels = match is_depthwise {
        true => usize::from(tensor.shape[3]),
        false => usize::from(tensor.shape[0]),
    };
    let taps = values.len() / channels;
    let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
    let at = place(file, &bytes, &tensor.name)?;
    for channel in 0..channels {
        let index = |tap: usize| match is_depthwise {
            true => tap * channels + channel,
            false => channel * taps + tap,
        };
        let mut put = |tap: usize, value: i8| moved[at + index(tap)] = value as u8;
        match by {
            Move::Step(share) => {
                let reals: Vec<f64> = (0..taps)
                    .map(|tap| f64::from(values[index(tap)]) + chance.uniform() - 0.5)
                    .collect();
                let step = share * deviation(&reals);
                for (tap, real) in reals.iter().enumerate() {
                    let real = real + step * chance.normal();
                    put(tap, real.round().clamp(-127.0, 127.0) as i8);
                }
            }
            Move::Shuffle => {
                let mut order: Vec<usize> = (0..taps).collect();
                for tap in (1..taps).rev() {
                    order.swap(tap, (chance.uniform() * (tap + 1) as f64) as usize);
                }
                for (tap, &from) in order.iter().enumerate() {
                    put(tap, values[index(from)]);
                }
            }
        }
    }
    Ok(())
}

fn biases(
    file: &[u8],
    graph: &Graph,
    tensor: TensorId,
    by: Move,
    chance: &mut Chance,
    moved: &mut [u8],
) -> Result<(), String> {
    let tensor = graph.tensor(tensor);
    let Some(Data::Int32(values)) = &tensor.data else {
        return Ok(());
    };
    let scales = tensor.quantization.as_ref().map_or(&[][..], |q| &q.scales);
    let scale = |channel: usize| {
        let scale = scales.get(channel).or(scales.first());
        f64::from(scale.copied().unwrap_or(1.0))
    };
    let reals: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(channel, &bias)| f64::from(bias) * scale(channel))
        .collect();
    let share = match by {
        Move::Step(share) => share,
        Move::Shuffle => 1.0,
    };
    let step = share * deviation(&reals);
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let at = place(file, &bytes, &tensor.name)?;
    for (channel, real) in reals.iter().enumerate() {
        let value = (real + step * chance.normal()) / scale(channel);
        let value = value.round() as i32;
        moved[at + 4 * channel..][..4].copy_from_slice(&value.to_le_bytes());
    }
    Ok(())
}

/// Where bytes are in a file that has them once.
fn place(file: &[u8], bytes: &[u8], name: &str) -> Result<usize, String> {
    let mut found = (file.windows(bytes.len()).enumerate())
        .filter(|(_, window)| *window == bytes)
        .map(|(at, _)| at);
    match (found.next(), found.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err(format!("{name}: its values are not in the file")),
        (Some(_), Some(_)) => Err(format!("{name}: its values are in the file more than once")),
    }
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}
