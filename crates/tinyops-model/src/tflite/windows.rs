//! Convolutions of a file.

use crate::graph::{Conv, Data, Op, OpKind, Tensor, TensorId};
use crate::tflite::import::{Answer, Import, op_of};
use crate::tflite::int16;
use crate::tflite::operator::{Options, filter_shape, or_refuse, weights};

/// More groups than any network has that runs on a board.
const GROUPS_MAX: u16 = 1024;

/// Reads `CONV_2D` or `DEPTHWISE_CONV_2D`.
pub(super) fn convolution(
    import: &mut Import<'_>,
    options: &Options<'_>,
    name: &str,
    inputs: &[i32],
    output: i32,
) -> Answer<Vec<Op>> {
    let (conv, kind, channels_along) = or_refuse!(convolution_of(options, name));
    let shape = or_refuse!(filter_shape(&import.facts(inputs[1])?.dims, 4));
    let is_one_row = shape[1] == 1 && conv.stride[0] == 1;
    let input = or_refuse!(import.picture(inputs[0], is_one_row));
    let mut ids = vec![input];
    or_refuse!(weights(import, inputs, &mut ids, shape, channels_along));
    if name == "CONV_2D" {
        or_refuse!(int16::without_bias(import, options.byte(6, 0)?, &mut ids));
    }
    let output = or_refuse!(import.activation(output));
    let channels = import.tensor(input).shape[3];
    if name == "CONV_2D" && shape[3] < channels {
        return grouped(import, conv, &ids, output);
    }
    Ok(Ok(vec![op_of(kind(conv), ids, output)]))
}

/// The settings of a convolution, what it is, and along which dimension its filter has scales.
pub(super) type Settings = (Conv, fn(Conv) -> OpKind, i32);

/// The settings of `CONV_2D` or `DEPTHWISE_CONV_2D`.
pub(super) fn convolution_of(options: &Options<'_>, name: &str) -> Answer<Settings> {
    // Conv2DOptions: padding, stride w, stride h, activation, dilation w, dilation h;
    // DepthwiseConv2DOptions has the depth multiplier at 3.
    Ok(if name == "CONV_2D" {
        let conv = or_refuse!(options.conv([0, 1, 2, 3, 4, 5]));
        Ok((conv, OpKind::Conv2d, 0))
    } else {
        let conv = or_refuse!(options.conv([0, 1, 2, 4, 5, 6]));
        Ok((conv, OpKind::DepthwiseConv2d, 3))
    })
}

/// A convolution whose filters see a part of the channels each: one convolution for each group,
/// joined; or a depthwise one, where a group is one channel.
fn grouped(
    import: &mut Import<'_>,
    conv: Conv,
    ids: &[TensorId],
    output: TensorId,
) -> Answer<Vec<Op>> {
    let (input, filter) = (ids[0], ids[1]);
    let [from, to, shape] = [input, output, filter].map(|id| import.tensor(id).shape);
    let [outputs, height, width, inside] = shape;
    let groups = from[3] / inside;
    if inside * groups != from[3] || !outputs.is_multiple_of(groups) || groups > GROUPS_MAX {
        return Ok(Err(format!(
            "has a filter {shape:?} for {} channels; as many for each of up to {GROUPS_MAX} groups are read",
            from[3]
        )));
    }
    let each = outputs / groups;
    let taps = usize::from(height) * usize::from(width);
    let filter = import.tensor(filter).clone();
    let Some(Data::Int8(values)) = &filter.data else {
        return Ok(Err("has no int8 filter".to_owned()));
    };
    if values.len() != usize::from(outputs) * taps * usize::from(inside) {
        return Ok(Err(format!("has a filter of {} values", values.len())));
    }
    if inside == 1 {
        let all = usize::from(outputs);
        let turned = (0..values.len()).map(|at| values[at % all * taps + at / all]);
        let turned = Data::Int8(turned.collect());
        import.take_bytes(values.len())?;
        let filter = import.push(Tensor {
            shape: [1, height, width, outputs],
            data: Some(turned),
            ..filter
        });
        let mut inputs = vec![input, filter];
        inputs.extend(&ids[2..]);
        return Ok(Ok(vec![op_of(
            OpKind::DepthwiseConv2d(conv),
            inputs,
            output,
        )]));
    }
    if groups > 255 {
        return Ok(Err(format!(
            "has {groups} groups; up to 255 of more than one channel are read"
        )));
    }
    // Each group has tensors of its own, and a file may say so in a few bytes.
    import.take_bytes(256 * usize::from(groups))?;
    let mut ops = Vec::new();
    let mut parts = Vec::new();
    for group in 0..groups {
        let name = format!("of group {group}");
        let places = group_places(from, group * inside, inside);
        let places = or_refuse!(import.places(places));
        let part = import.between(input, &name, [1, from[1], from[2], inside]);
        let fill = import
            .tensor(input)
            .quantization
            .as_ref()
            .map_or(0, |q| i16::from(q.zero_point));
        ops.push(op_of(OpKind::Rearrange { fill }, vec![input, places], part));
        let rows = usize::from(group * each)..usize::from((group + 1) * each);
        let mut inputs = vec![part];
        for (&id, len) in ids[1..].iter().zip([taps * usize::from(inside), 1]) {
            let whole = import.tensor(id);
            let range = rows.start * len..rows.end * len;
            let data = match &whole.data {
                Some(Data::Int8(values)) => values.get(range).map(<[i8]>::to_vec).map(Data::Int8),
                Some(Data::Int32(values)) => {
                    values.get(range).map(<[i32]>::to_vec).map(Data::Int32)
                }
                Some(Data::Int64(values)) => {
                    values.get(range).map(<[i64]>::to_vec).map(Data::Int64)
                }
                _ => None,
            };
            let Some(data) = data else {
                return Ok(Err("has too few biases for its filter".to_owned()));
            };
            let mut part = Tensor {
                name: format!("{} {name}", whole.name),
                shape: if len == 1 {
                    [1, 1, 1, each]
                } else {
                    [each, height, width, inside]
                },
                quantization: whole.quantization.clone(),
                data: None,
            };
            if let Some(quantization) = &mut part.quantization
                && quantization.scales.len() == usize::from(outputs)
            {
                quantization.scales = quantization.scales[rows.clone()].to_vec();
            }
            import.take_bytes(data.bytes())?;
            part.data = Some(data);
            inputs.push(import.push(part));
        }
        let made = import.between(output, &name, [1, to[1], to[2], each]);
        ops.push(op_of(OpKind::Conv2d(conv), inputs, made));
        parts.push(made);
    }
    let pixels = u32::from(to[1]) * u32::from(to[2]);
    ops.push(op_of(OpKind::Concat { outer: pixels }, parts, output));
    Ok(Ok(ops))
}

/// Where the channels of a group lie.
fn group_places([_, height, width, channels]: [u16; 4], first: u16, count: u16) -> Vec<i32> {
    let [width, channels] = [width, channels].map(i32::from);
    let rows = (0..i32::from(height)).map(|y| y.wrapping_mul(width).wrapping_mul(channels));
    let columns = (0..width).map(|x| x.wrapping_mul(channels));
    let inside = i32::from(first)..i32::from(first + count);
    rows.chain(columns).chain(inside).collect()
}
