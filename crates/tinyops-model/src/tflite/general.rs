//! Operators that join, move, reduce and compare values.

use crate::graph::{Conv, Data, Op, OpKind, Padding, Reduction, Tensor, Unary};
use crate::tflite::import::{Answer, Import, ImportError, op_of, product};
use crate::tflite::operator::{Options, bytes, filter_shape, or_refuse, weights};

mod pairs;
mod places;
mod product;
mod recurrent;

/// Reads one of these operators; `None` where it is another.
pub(super) fn read(
    import: &mut Import<'_>,
    options: &Options<'_>,
    name: &str,
    inputs: &[i32],
    outputs: &[i32],
) -> Result<Option<Result<Vec<Op>, String>>, ImportError> {
    let call = Call {
        options,
        name,
        inputs,
        outputs,
    };
    let read: fn(&mut Import<'_>, &Call<'_>) -> Answer<Vec<Op>> = match name {
        "ADD" | "SUB" | "MUL" | "MAXIMUM" | "MINIMUM" | "PRELU" | "SQUARED_DIFFERENCE" => {
            pairs::binary
        }
        "TANH" | "LEAKY_RELU" | "HARD_SWISH" | "ABS" | "RSQRT" | "ELU" | "EXP" | "LOG" | "GELU"
        | "RELU_N1_TO_1" | "RELU_0_TO_1" => unary,
        "ARG_MAX" | "ARG_MIN" => extreme,
        "FILL" | "ZEROS_LIKE" => fill,
        "SVDF" => recurrent::svdf,
        "UNIDIRECTIONAL_SEQUENCE_LSTM" => recurrent::lstm,
        "L2_NORMALIZATION" => normalize,
        "CONCATENATION" | "PACK" => join,
        "MEAN" | "SUM" | "REDUCE_MAX" | "REDUCE_MIN" => reduce,
        "RESIZE_BILINEAR" => resize,
        "TRANSPOSE_CONV" => transpose_conv,
        "BATCH_MATMUL" => product::multiply,
        "SLICE"
        | "STRIDED_SLICE"
        | "SPLIT"
        | "SPLIT_V"
        | "UNPACK"
        | "TRANSPOSE"
        | "PAD"
        | "PADV2"
        | "MIRROR_PAD"
        | "GATHER"
        | "RESIZE_NEAREST_NEIGHBOR"
        | "SPACE_TO_DEPTH"
        | "DEPTH_TO_SPACE"
        | "SPACE_TO_BATCH_ND"
        | "BATCH_TO_SPACE_ND"
        | "REVERSE_V2"
        | "TILE"
        | "BROADCAST_TO" => places::read,
        _ => return Ok(None),
    };
    read(import, &call).map(Some)
}

/// One operator as the file has it.
struct Call<'a> {
    options: &'a Options<'a>,
    name: &'a str,
    inputs: &'a [i32],
    outputs: &'a [i32],
}

impl Call<'_> {
    fn input(&self, index: usize) -> Answer<i32> {
        let input = self.inputs.get(index).filter(|&&input| input >= 0);
        Ok(input
            .copied()
            .ok_or_else(|| format!("has no input {index}")))
    }

    fn output(&self) -> Answer<i32> {
        Ok(match self.outputs {
            &[output] if output >= 0 => Ok(output),
            _ => Err("has not one output".to_owned()),
        })
    }
}

fn unary(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let input = or_refuse!(import.made(or_refuse!(call.input(0))));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let function = match call.name {
        "TANH" => Unary::Tanh,
        "HARD_SWISH" => Unary::HardSwish,
        "ABS" => Unary::Abs,
        "RSQRT" => Unary::Rsqrt,
        "ELU" => Unary::Elu,
        "EXP" => Unary::Exp,
        "LOG" => Unary::Log,
        "GELU" => Unary::Gelu {
            approximate: call.options.byte(0, 0)? != 0,
        },
        "RELU_N1_TO_1" => Unary::Clip {
            least: -1,
            greatest: 1,
        },
        "RELU_0_TO_1" => Unary::Clip {
            least: 0,
            greatest: 1,
        },
        _ => Unary::LeakyRelu {
            alpha: call.options.float(0, 0.0)?,
        },
    };
    Ok(Ok(vec![op_of(
        OpKind::Unary(function),
        vec![input],
        output,
    )]))
}

fn join(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let packs = call.name == "PACK";
    let axis = call.options.int(usize::from(packs), 0)?;
    if !packs && call.options.byte(1, 0)? != 0 {
        return Ok(Err("has a fused activation; none is read".to_owned()));
    }
    let output = or_refuse!(call.output());
    let dims = import.facts(output)?.dims;
    let Some(axis) = place_of(axis, dims.len()) else {
        return Ok(Err(format!("joins along axis {axis} of shape {dims:?}")));
    };
    let made = or_refuse!(import.activation(output));
    let mut joined = Vec::new();
    for &input in call.inputs {
        let theirs = import.facts(input)?.dims;
        let mut expected = dims.clone();
        if packs {
            expected.remove(axis);
        } else {
            expected[axis] = theirs.get(axis).copied().unwrap_or(-1);
        }
        if theirs != expected {
            return Ok(Err(format!("joins shape {theirs:?} into {dims:?}")));
        }
        joined.push(or_refuse!(import.made(input)));
    }
    let outer = product(&dims[..axis]);
    let Ok(outer) = u32::try_from(outer) else {
        return Ok(Err(format!("has shape {dims:?}")));
    };
    Ok(Ok(vec![op_of(OpKind::Concat { outer }, joined, made)]))
}

fn reduce(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let number = or_refuse!(call.input(0));
    let dims = import.facts(number)?.dims;
    let axes = or_refuse!(import.int32_constant(or_refuse!(call.input(1))));
    let input = or_refuse!(import.made(number));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let mut gone = vec![false; dims.len()];
    for axis in axes {
        let Some(axis) = place_of(axis, dims.len()) else {
            return Ok(Err(format!("reduces axis {axis} of shape {dims:?}")));
        };
        gone[axis] = true;
    }
    // Those before the last two are one axis here: they go together, or are single places.
    let rows = dims.len().saturating_sub(2);
    let mut of_rows = dims[..rows].iter().zip(&gone).filter(|&(&dim, _)| dim != 1);
    let rows_go = of_rows.clone().all(|(_, &gone)| gone) && rows > 0;
    if !rows_go && of_rows.any(|(_, &gone)| gone) {
        return Ok(Err(format!(
            "reduces some of the axes before the last two of shape {dims:?}; all of them or none are read"
        )));
    }
    let last = |from_end: usize| {
        dims.len()
            .checked_sub(from_end)
            .is_some_and(|axis| gone[axis])
    };
    let axes = [rows_go, last(2), last(1)];
    let channels = import.tensor(input).shape[3];
    let function = match call.name {
        "MEAN" => Reduction::Mean,
        "SUM" => Reduction::Sum,
        "REDUCE_MAX" => Reduction::Maximum,
        _ => Reduction::Minimum,
    };
    let over_pixels = axes == [true, true, false]
        && import.tensor(output).shape == [1, 1, 1, channels]
        && function == Reduction::Mean;
    let kind = if over_pixels {
        OpKind::Mean
    } else {
        OpKind::Reduce { function, axes }
    };
    Ok(Ok(vec![op_of(kind, vec![input], output)]))
}

fn resize(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let input = or_refuse!(import.picture(or_refuse!(call.input(0)), false));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let kind = OpKind::ResizeBilinear {
        align_corners: call.options.byte(2, 0)? != 0,
        half_pixel: call.options.byte(3, 0)? != 0,
    };
    Ok(Ok(vec![op_of(kind, vec![input], output)]))
}

/// A transposed convolution: the input spread over the places that it reaches, then a convolution
/// with the filter turned round. The same sums in another order, so the same bytes.
fn transpose_conv(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let filter = or_refuse!(call.input(1));
    let input = or_refuse!(import.picture(or_refuse!(call.input(2)), false));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let padding = or_refuse!(call.options.padding(0));
    let stride = [call.options.int(2, 0)?, call.options.int(1, 0)?];
    let Some(stride) = bytes(stride) else {
        return Ok(Err(format!("has stride {stride:?}; 1 to 255 are read")));
    };
    let activation = or_refuse!(call.options.activation(3));
    let shape = or_refuse!(filter_shape(&import.facts(filter)?.dims, 4));
    let [from, to] = [input, output].map(|id| import.tensor(id).shape);
    let values = from.iter().map(|&dim| u64::from(dim)).product::<u64>();
    if values > i32::MAX as u64 {
        return Ok(Err(format!("takes {values} values")));
    }
    let mut lens = [0; 2];
    let mut places = Vec::new();
    for axis in [0, 1] {
        let (kernel, step) = (i32::from(shape[axis + 1]), i32::from(stride[axis]));
        let (before, _) =
            padding.around(axis, to[axis + 1], u32::from(shape[axis + 1]), stride[axis]);
        let before = kernel - 1 - before as i32;
        let len = i32::from(to[axis + 1]) + kernel - 1;
        let Ok(len) = u16::try_from(len) else {
            return Ok(Err(format!("has a result of shape {to:?}")));
        };
        let row = match axis {
            0 => i32::from(from[2]) * i32::from(from[3]),
            _ => i32::from(from[3]),
        };
        let place = |at: i32| {
            let at = at - before;
            let inside = at >= 0 && at % step == 0 && at / step < i32::from(from[axis + 1]);
            if inside { at / step * row } else { -1 }
        };
        places.extend((0..i32::from(len)).map(place));
        lens[axis] = len;
    }
    places.extend(0..i32::from(from[3]));
    if import.tensor(input).quantization.is_none() {
        return Ok(Err("has an input without scale".to_owned()));
    }
    let fill = import
        .tensor(input)
        .quantization
        .as_ref()
        .map_or(0, |q| i16::from(q.zero_point));
    let places = or_refuse!(import.places(places));
    let spread = import.between(input, "spread", [1, lens[0], lens[1], from[3]]);
    let mut ids = vec![spread];
    let inputs = [
        call.inputs[2],
        filter,
        call.inputs.get(3).copied().unwrap_or(-1),
    ];
    or_refuse!(weights(import, &inputs, &mut ids, shape, 0));
    let (taps, channels) = (
        usize::from(shape[1]) * usize::from(shape[2]),
        usize::from(shape[3]),
    );
    if let Some(values) = import.int8s_mut(ids[1])
        && values.len() == usize::from(shape[0]) * taps * channels
    {
        for row in values.chunks_exact_mut(taps * channels) {
            for tap in 0..taps / 2 {
                for channel in 0..channels {
                    row.swap(
                        tap * channels + channel,
                        (taps - 1 - tap) * channels + channel,
                    );
                }
            }
        }
    }
    let conv = Conv {
        padding: Padding::Valid,
        ..Conv::valid(activation)
    };
    Ok(Ok(vec![
        op_of(OpKind::Rearrange { fill }, vec![input, places], spread),
        op_of(OpKind::Conv2d(conv), ids, output),
    ]))
}

/// The place of the greatest or the least value along one axis.
fn extreme(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let number = or_refuse!(call.input(0));
    let dims = import.facts(number)?.dims;
    let axis = or_refuse!(import.int32_constant(or_refuse!(call.input(1))));
    let &[axis] = &axis[..] else {
        return Ok(Err(format!("looks along axes {axis:?}; one is read")));
    };
    let Some(axis) = place_of(axis, dims.len()) else {
        return Ok(Err(format!("looks along axis {axis} of shape {dims:?}")));
    };
    let input = or_refuse!(import.made(number));
    let output = or_refuse!(call.output());
    import.holds_places(output);
    let output = or_refuse!(import.activation(output));
    let product = |dims: &[i32]| {
        dims.iter()
            .try_fold(1u32, |all, &dim| all.checked_mul(dim as u32))
    };
    let (before, after) = (product(&dims[..axis]), product(&dims[axis + 1..]));
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(Err(format!("takes shape {dims:?}")));
    };
    let places = dims[axis] as u32;
    if places > 256 {
        return Ok(Err(format!(
            "looks through {places} places; up to 256 have a number in int8"
        )));
    }
    let kind = OpKind::Extreme {
        greatest: call.name == "ARG_MAX",
        lens: [before, places, after],
    };
    Ok(Ok(vec![op_of(kind, vec![input], output)]))
}

/// Vectors brought to length 1, along the last axis.
fn normalize(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    if call.options.byte(0, 0)? != 0 {
        return Ok(Err("has a fused activation; none is read".to_owned()));
    }
    let input = or_refuse!(import.made(or_refuse!(call.input(0))));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    Ok(Ok(vec![op_of(OpKind::Normalize, vec![input], output)]))
}

/// A tensor of one value.
fn fill(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let made = import.tensor(output).clone();
    let value = if call.name == "FILL" {
        let value = import.facts(or_refuse!(call.input(1)))?;
        match value.data {
            &[byte] => byte as i8,
            _ => {
                return Ok(Err(format!(
                    "fills with `{}`, which is no int8 constant",
                    value.name
                )));
            }
        }
    } else {
        made.quantization.as_ref().map_or(0, |q| q.zero_point)
    };
    let count = made.shape.iter().map(|&dim| usize::from(dim)).product();
    import.take_bytes(count)?;
    let constant = import.push(Tensor {
        data: Some(Data::Int8(vec![value; count])),
        ..made
    });
    Ok(Ok(vec![op_of(OpKind::Constant, vec![constant], output)]))
}

/// More dimensions than any operator that is read takes.
const RANK_MAX: i32 = 8;

/// An axis counted from the front, or from behind where it is negative.
fn place_of(axis: i32, rank: usize) -> Option<usize> {
    let rank = i32::try_from(rank).ok().filter(|&rank| rank <= RANK_MAX)?;
    let axis = if axis < 0 { axis + rank } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}
