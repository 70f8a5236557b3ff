//! What can be wrong with the ops whose places are free: joins, rearrangements, functions of two
//! values, reductions.

use super::{bias_fault, elements};
use crate::check::GraphError;
use crate::graph::{Data, Graph, Lstm, Op, OpKind, Product, Reduction, State, Svdf, Tensor, Unary};
use tinyops_nn::record::{BinaryFunction, Element};

/// More inputs than any join needs.
pub(super) const JOINED_MAX: usize = 255;

/// Adds what is wrong; each op has as many inputs as it may.
pub(super) fn faults(op: &Op, tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    match op.kind {
        OpKind::Binary { function, .. } => binary_faults(function, tensors, output, faults),
        OpKind::Unary(Unary::Tanh) if output.element() == Element::Int8 => {
            let fits = output
                .quantization
                .as_ref()
                .is_none_or(|q| q.scale() == 1.0 / 128.0 && q.zero_point == 0);
            if !fits {
                faults.push("needs an output of scale 1/128 and zero point 0".to_owned());
            }
        }
        OpKind::Unary(Unary::LeakyRelu { alpha }) if !alpha.is_finite() => {
            faults.push("has a slope that is no number".to_owned());
        }
        OpKind::Concat { outer } => {
            let each = tensors.iter().map(|tensor| elements(tensor));
            let all = each.fold(0, u64::saturating_add);
            let parts = u64::from(outer);
            let whole = |tensor: &&Tensor| parts > 0 && elements(tensor).is_multiple_of(parts);
            if all != elements(output) || !tensors.iter().all(whole) {
                faults.push("joins another count of values than it makes".to_owned());
            }
            same_scale(tensors, output, faults);
        }
        OpKind::Rearrange { .. } => rearrange_faults(tensors, output, faults),
        OpKind::Constant => {
            if !matches!(tensors[0].data, Some(Data::Int8(_) | Data::Int16(_)))
                || elements(tensors[0]) != elements(output)
            {
                faults.push(
                    "needs an int8 or int16 constant of as many values as it makes".to_owned(),
                );
            }
            same_scale(tensors, output, faults);
        }
        OpKind::Normalize => {
            let fits = output
                .quantization
                .as_ref()
                .is_none_or(|q| q.scale() == 1.0 / 128.0 && q.zero_point == 0);
            if !fits {
                faults.push("needs an output of scale 1/128 and zero point 0".to_owned());
            }
        }
        OpKind::Svdf(svdf) => svdf_faults(&svdf, tensors, output, faults),
        OpKind::Lstm(lstm) => lstm_faults(&lstm, tensors, output, faults),
        OpKind::Table if !matches!(&tensors[1].data, Some(Data::Int8(table)) if table.len() == 256) =>
        {
            faults.push("needs a table of 256 int8 values".to_owned());
        }
        OpKind::Product(product) => product_faults(&product, tensors, output, faults),
        OpKind::Extreme { lens, .. } => {
            let [before, places, after] = lens.map(u64::from);
            let all = before.saturating_mul(places).saturating_mul(after);
            if all != elements(tensors[0]) || before.saturating_mul(after) != elements(output) {
                faults.push(format!("takes axes of {lens:?}"));
            }
            if !(1..=256).contains(&places) {
                faults.push(format!(
                    "looks through {places} places; up to 256 have a number"
                ));
            }
            let fits = output
                .quantization
                .as_ref()
                .is_none_or(|q| q.scale() == 1.0 && q.zero_point == -128);
            if !fits {
                faults.push("needs an output of scale 1 and zero point -128".to_owned());
            }
        }
        OpKind::Reduce { function, axes } => {
            let [_, height, width, channels] = tensors[0].shape.map(u64::from);
            let kept = [height, width, channels].into_iter().zip(axes);
            let kept: u64 = kept.map(|(len, gone)| if gone { 1 } else { len }).product();
            if kept != elements(output) {
                faults.push(format!("makes {kept} values"));
            }
            if matches!(function, Reduction::Maximum | Reduction::Minimum) {
                same_scale(tensors, output, faults);
            }
        }
        OpKind::ResizeBilinear {
            align_corners,
            half_pixel,
        } => {
            if tensors[0].shape[3] != output.shape[3] {
                faults.push("changes the count of channels".to_owned());
            }
            if align_corners && half_pixel {
                faults.push("aligns corners and half pixels at once".to_owned());
            }
            same_scale(tensors, output, faults);
        }
        OpKind::DenseRows(_) => {
            let filter = tensors[1].shape;
            let values = u64::from(filter[1]) * u64::from(filter[2]) * u64::from(filter[3]);
            let rows = elements(tensors[0]) / values.max(1);
            if rows * values != elements(tensors[0])
                || rows.saturating_mul(u64::from(filter[0])) != elements(output)
                || output.shape[3] != filter[0]
            {
                faults.push(format!("does not take whole rows of {values} values"));
            }
            bias_fault(tensors, filter[0], faults);
        }
        _ => {}
    }
}

fn binary_faults(
    function: BinaryFunction,
    tensors: &[&Tensor],
    output: &Tensor,
    faults: &mut Vec<String>,
) {
    let (first, second) = (tensors[0].shape, tensors[1].shape);
    if first
        .iter()
        .zip(second)
        .any(|(&len, other)| other != 1 && other != len)
    {
        faults.push(format!("takes shapes {first:?} and {second:?}"));
    }
    if !matches!(tensors[1].data, None | Some(Data::Int8(_) | Data::Int16(_))) {
        faults.push("needs an int8 or int16 operand".to_owned());
    }
    if matches!(function, BinaryFunction::Maximum | BinaryFunction::Minimum) {
        same_scale(tensors, output, faults);
    }
}

fn svdf_faults(svdf: &Svdf, tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let [filters, height, width, values] = tensors[1].shape.map(u64::from);
    let units = elements(output);
    let state = filters * u64::from(svdf.memory) * if svdf.is_wide { 2 } else { 1 };
    let sound = height * width == 1
        && svdf.rank > 0
        && svdf.memory > 0
        && values == elements(tensors[0])
        && units.saturating_mul(u64::from(svdf.rank)) == filters
        && elements(tensors[2]) == state
        && elements(tensors[3]) == state
        && tensors.get(4).is_none_or(|bias| elements(bias) == units);
    if !sound {
        faults.push(format!(
            "has {filters} filters of {values} values, rank {}, {} steps of memory",
            svdf.rank, svdf.memory
        ));
    }
    let are_int8 = tensors[1..3]
        .iter()
        .all(|tensor| matches!(tensor.data, Some(Data::Int8(_))));
    let bias_is_int32 = tensors
        .get(4)
        .is_none_or(|bias| matches!(bias.data, Some(Data::Int32(_))));
    if !are_int8 || !bias_is_int32 || tensors[3].data.is_some() {
        faults.push(
            "needs int8 filters, bytes of weights of time, a state, an int32 bias".to_owned(),
        );
    }
    if !(svdf.state_scale.is_normal() && svdf.state_scale > 0.0) {
        faults.push("has a state scale that is not a positive number".to_owned());
    }
}

fn lstm_faults(lstm: &Lstm, tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let units = u64::from(output.shape[3]);
    let values = u64::from(tensors[0].shape[3]);
    let steps = elements(tensors[0]) / values.max(1);
    let is_gate = |gate: &[&Tensor]| {
        let [of_input, of_memory, bias] = gate else {
            return false;
        };
        let one_scale = |tensor: &Tensor| {
            let quantization = tensor.quantization.as_ref();
            quantization.is_none_or(|q| q.scales.len() == 1 && q.zero_point == 0)
        };
        elements(of_input) == units * values
            && elements(of_memory) == units * units
            && elements(bias) == units
            && one_scale(of_input)
            && one_scale(of_memory)
            && matches!(of_input.data, Some(Data::Int8(_)))
            && matches!(of_memory.data, Some(Data::Int8(_)))
            && matches!(bias.data, Some(Data::Int32(_)))
    };
    if steps * units != elements(output)
        || elements(tensors[1]) != 3 * units
        || tensors[1].data.is_some()
        || tensors[1]
            .quantization
            .as_ref()
            .is_some_and(|q| q.zero_point != 0)
        || !tensors[2..].chunks(3).all(is_gate)
    {
        faults.push(format!(
            "has no state and four gates of int8 filters and int32 biases for {units} units over {values} values"
        ));
    }
    if !(-15..=-9).contains(&lstm.cell_exponent) || lstm.cell_clip.is_nan() || lstm.cell_clip < 0.0
    {
        faults.push("has cells of a scale that its arithmetic does not reach".to_owned());
    }
}

/// What is wrong with a state of a graph that is sound beside.
pub(super) fn state_fault(graph: &Graph, state: &State) -> Option<GraphError> {
    let before = graph.tensor(state.before);
    let mut readers = graph
        .ops
        .iter()
        .filter(|op| op.inputs.contains(&state.before));
    let fault = match state.after.map(|after| graph.tensor(after)) {
        Some(_)
            if graph
                .states
                .iter()
                .any(|other| other.before != state.before && Some(other.before) == state.after) =>
        {
            "is a state that becomes what another state was"
        }
        Some(after) if after.shape != before.shape || after.quantization != before.quantization => {
            "is a state that a run leaves with another shape or scale"
        }
        None if !matches!(readers.next(), Some(op) if matches!(op.kind, OpKind::Svdf(_) | OpKind::Lstm(_)))
            || readers.next().is_some() =>
        {
            "is a state that not one op changes"
        }
        _ => return None,
    };
    Some(GraphError::Tensor {
        tensor: state.before,
        name: before.name.clone(),
        fault,
    })
}

fn product_faults(
    product: &Product,
    tensors: &[&Tensor],
    output: &Tensor,
    faults: &mut Vec<String>,
) {
    let [outer, inner, rows, columns, terms] = product.counts.map(u64::from);
    let reaches = |steps: [u32; 4], along: u64, operand: &Tensor| {
        let counts = [outer, inner, along, terms].into_iter();
        let last = counts.zip(steps);
        // Each product is below 2^48.
        let last: u64 = last
            .map(|(count, step)| count.max(1).saturating_sub(1) * u64::from(step))
            .sum();
        last < elements(operand)
    };
    if product.counts.contains(&0) || outer * inner * rows * columns != elements(output) {
        faults.push(format!("makes {:?} values", product.counts));
    }
    if !reaches(product.first, rows, tensors[0]) || !reaches(product.second, columns, tensors[1]) {
        faults.push("multiplies values beyond its operands".to_owned());
    }
    if !matches!(tensors[1].data, None | Some(Data::Int8(_))) {
        faults.push("needs an int8 operand".to_owned());
    }
}

fn rearrange_faults(tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let Some(Data::Int32(places)) = &tensors[1].data else {
        faults.push("needs int32 places".to_owned());
        return;
    };
    let [_, height, width, channels] = output.shape.map(usize::from);
    if places.len() != height + width + channels {
        faults.push("has another count of places than its output".to_owned());
        return;
    }
    let (rows, rest) = places.split_at(height);
    let (columns, channels) = rest.split_at(width);
    let most = [rows, columns, channels].map(|axis| {
        let greatest = axis.iter().copied().max().unwrap_or(-1);
        i64::from(greatest)
    });
    let reaches = most.iter().all(|&most| most >= 0);
    if reaches && most.iter().sum::<i64>() >= elements(tensors[0]) as i64 {
        faults.push("has a place beyond its input".to_owned());
    }
    let input = std::slice::from_ref(&tensors[0]);
    same_scale(input, output, faults);
}

fn same_scale(tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let same = |tensor: &&Tensor| match (&tensor.quantization, &output.quantization) {
        (Some(a), Some(b)) => {
            (a.scale(), a.zero_point, a.element) == (b.scale(), b.zero_point, b.element)
        }
        (a, b) => a.is_none() && b.is_none(),
    };
    if !tensors.iter().all(same) {
        faults.push("needs one scale and zero point for all inputs and the output".to_owned());
    }
}
