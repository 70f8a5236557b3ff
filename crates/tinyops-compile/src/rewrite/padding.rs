//! Zeros around an input, as the padding of what reads them.

use tinyops_model::graph::{Graph, OpKind, Padding};

use super::{Merged, maker, only_reader, prune};
use crate::constants::quantization;
use crate::geometry::Windows;

/// Merges one `PAD` into its only reader.
///
/// A tap in the padding of a convolution counts as the zero point, which is what `PAD` writes. A
/// max pool leaves padding out, which is the same where the zero point is the least value.
pub(super) fn merge(graph: &Graph) -> Option<Merged> {
    (0..graph.ops.len()).find_map(|index| merge_into(graph, index))
}

fn merge_into(graph: &Graph, reader: usize) -> Option<Merged> {
    let op = &graph.ops[reader];
    let (pad_index, pad) = maker(graph, op.inputs[0])?;
    let OpKind::Pad(around) = pad.kind else {
        return None;
    };
    if only_reader(graph, pad.output) != Some(reader) {
        return None;
    }
    let windows = Windows::of(graph, op)?;
    let both = |axis: usize, outer: (u32, u32)| {
        // What the reader itself pads before; after its last window it needs none.
        let before = outer.0 as usize + windows.pad[axis];
        let after = outer.1 as usize + spare(&windows, axis);
        Some((u16::try_from(before).ok()?, u16::try_from(after).ok()?))
    };
    let source = graph.tensor(pad.inputs[0]);
    let (top, bottom) = both(0, around.around(0, source.shape[1], 1, 1))?;
    let (left, right) = both(1, around.around(1, source.shape[2], 1, 1))?;
    let padding = Padding::Explicit {
        top,
        bottom,
        left,
        right,
    };
    let kind = match op.kind {
        OpKind::Conv2d(conv) => OpKind::Conv2d(tinyops_model::Conv { padding, ..conv }),
        OpKind::DepthwiseConv2d(conv) => {
            OpKind::DepthwiseConv2d(tinyops_model::Conv { padding, ..conv })
        }
        OpKind::MaxPool2d(pool) if quantization(source).1 == i8::MIN => {
            OpKind::MaxPool2d(tinyops_model::Pool { padding, ..pool })
        }
        _ => return None,
    };
    let mut made = graph.clone();
    made.ops[reader].kind = kind;
    made.ops[reader].inputs[0] = pad.inputs[0];
    made.ops.remove(pad_index);
    Some(Merged {
        tensor: graph.tensor(pad.output).name.clone(),
        graph: prune(made),
    })
}

/// How many places beyond the padded input the last window of the reader reaches.
fn spare(windows: &Windows, axis: usize) -> usize {
    let last = (windows.output[axis] - 1) * windows.stride[axis];
    let end = last + (windows.kernel[axis] - 1) * windows.dilation[axis] + 1;
    end.saturating_sub(windows.pad[axis] + windows.input[axis])
}
