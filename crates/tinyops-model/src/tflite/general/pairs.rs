//! Functions of two values, where either may be repeated.

use super::Call;
use crate::graph::{Activation, Data, Op, OpKind, TensorId};
use crate::tflite::import::{Answer, Import, op_of, product};
use crate::tflite::operator::or_refuse;
use tinyops_nn::record::BinaryFunction;

pub(super) fn binary(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let numbers = [or_refuse!(call.input(0)), or_refuse!(call.input(1))];
    let made = or_refuse!(call.output());
    let output = or_refuse!(import.activation(made));
    let activation = match call.name {
        "ADD" | "SUB" | "MUL" => or_refuse!(call.options.activation(0)),
        _ => Activation::None,
    };
    let to = import.facts(made)?.dims;
    let mut ops = Vec::new();
    let mut operands = Vec::new();
    for number in numbers {
        let facts = import.facts(number)?;
        let is_constant = !facts.data.is_empty();
        let operand = if is_constant {
            or_refuse!(import.operand(number))
        } else {
            or_refuse!(import.activation(number))
        };
        let from = facts.dims;
        let [shape, result] = [operand, output].map(|id| import.tensor(id).shape);
        let suits = shape
            .iter()
            .zip(result)
            .all(|(&len, result)| len == 1 || len == result);
        operands.push(if suits {
            operand
        } else {
            or_refuse!(spread(import, operand, &from, &to, &mut ops))
        });
    }
    let shape = |import: &Import<'_>, id: TensorId| import.tensor(id).shape;
    let is_whole = |import: &Import<'_>, id: TensorId| {
        import.tensor(id).data.is_none() && shape(import, id) == shape(import, output)
    };
    let [first, second] = [operands[0], operands[1]];
    let (first_is_whole, second_is_whole) = (is_whole(import, first), is_whole(import, second));
    if call.name == "ADD" && first_is_whole && second_is_whole {
        let op = op_of(OpKind::Add(activation), vec![first, second], output);
        ops.push(op);
        return Ok(Ok(ops));
    }
    if [first, second]
        .iter()
        .all(|&id| import.tensor(id).data.is_some())
    {
        return Ok(Err(
            "takes two constants; let the converter fold them".to_owned()
        ));
    }
    let mut operands = [first, second];
    let mut swapped = false;
    if !first_is_whole {
        // The first operand is the one that is as large as the result.
        if call.name != "PRELU" && second_is_whole {
            operands = [second, first];
            swapped = true;
        } else if import.tensor(first).data.is_none() {
            let from = import.facts(numbers[0])?.dims;
            operands[0] = or_refuse!(spread(import, first, &from, &to, &mut ops));
        } else {
            let from = import.facts(numbers[1])?.dims;
            operands = [
                or_refuse!(spread(import, second, &from, &to, &mut ops)),
                first,
            ];
            swapped = true;
        }
    }
    let function = match call.name {
        "ADD" => BinaryFunction::Add,
        "SUB" if swapped => BinaryFunction::SubtractFrom,
        "SUB" => BinaryFunction::Subtract,
        "MUL" => BinaryFunction::Multiply,
        "MAXIMUM" => BinaryFunction::Maximum,
        "MINIMUM" => BinaryFunction::Minimum,
        "SQUARED_DIFFERENCE" => BinaryFunction::SquaredDifference,
        _ if swapped => {
            return Ok(Err("has constant values and made slopes".to_owned()));
        }
        _ => BinaryFunction::Prelu,
    };
    let kind = OpKind::Binary {
        function,
        activation,
    };
    ops.push(op_of(kind, operands.to_vec(), output));
    Ok(Ok(ops))
}

/// An operand repeated to the shape of the result: a constant at once, an activation by an op.
fn spread(
    import: &mut Import<'_>,
    operand: TensorId,
    from: &[i32],
    to: &[i32],
    ops: &mut Vec<Op>,
) -> Answer<TensorId> {
    let cannot = || Ok(Err(format!("repeats shape {from:?} to {to:?}")));
    let Some(missing) = to.len().checked_sub(from.len()) else {
        return cannot();
    };
    let mut axes: Vec<Vec<i64>> = vec![vec![0]; missing];
    for (axis, &len) in from.iter().enumerate() {
        let step = product(&from[axis + 1..]);
        axes.push((0..i64::from(len)).map(|at| at * step).collect());
    }
    for (axis, &len) in axes.iter_mut().zip(to) {
        match axis.len() as i64 {
            1 => *axis = vec![axis[0]; usize::try_from(len).unwrap_or(0)],
            count if count == i64::from(len) => {}
            _ => return cannot(),
        }
    }
    let count = product(from);
    let shape = match crate::tflite::facts::folded_shape(to) {
        Some(shape) => shape,
        None => return cannot(),
    };
    let places = or_refuse!(super::places::flat(&axes, count));
    let whole = import.tensor(operand).clone();
    if whole.data.is_some() {
        let count = shape.iter().map(|&dim| usize::from(dim)).product::<usize>();
        import.take_bytes(count.saturating_mul(whole.element().bytes()))?;
    }
    let made = match &whole.data {
        Some(Data::Int8(values)) => repeated(values, &places, shape).map(Data::Int8),
        Some(Data::Int16(values)) => repeated(values, &places, shape).map(Data::Int16),
        _ => None,
    };
    if let Some(made) = made {
        return Ok(Ok(import.push(crate::graph::Tensor {
            shape,
            data: Some(made),
            ..whole
        })));
    }
    if whole.data.is_some() {
        return cannot();
    }
    let places = or_refuse!(import.places(places));
    let made = import.between(operand, "repeated", shape);
    let fill = whole.quantization.as_ref().map_or(0, |q| q.zero_point);
    ops.push(op_of(
        OpKind::Rearrange { fill: fill.into() },
        vec![operand, places],
        made,
    ));
    Ok(Ok(made))
}

/// The values of a constant at the places of three axes; `None` if one is beyond it.
fn repeated<T: Copy>(values: &[T], places: &[i32], shape: [u16; 4]) -> Option<Vec<T>> {
    let [_, height, width, _] = shape.map(usize::from);
    let (rows, rest) = places.split_at_checked(height)?;
    let (columns, channels) = rest.split_at_checked(width)?;
    let mut made = Vec::new();
    for row in rows {
        for column in columns {
            for channel in channels {
                let place = usize::try_from(row + column + channel).ok()?;
                made.push(*values.get(place)?);
            }
        }
    }
    Some(made)
}
