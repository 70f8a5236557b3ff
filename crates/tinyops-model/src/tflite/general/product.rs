//! Products of matrices.

use super::Call;
use crate::graph::{Activation, Op, OpKind, Product};
use crate::tflite::facts::shape_of;
use crate::tflite::import::{Answer, Import, op_of};
use crate::tflite::operator::{or_refuse, weights};

/// A product with one constant matrix of zero point 0 is a dense layer over rows, which is faster.
pub(super) fn multiply(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let (first, second) = (or_refuse!(call.input(0)), or_refuse!(call.input(1)));
    let (turns_first, turns_second) =
        (call.options.byte(0, 0)? != 0, call.options.byte(1, 0)? != 0);
    let facts = import.facts(second)?;
    let rank = facts.dims.len();
    let shape = shape_of(&facts.dims).filter(|shape| rank >= 2 && shape[..2] == [1, 1]);
    if let Some(shape) = shape
        && !turns_first
        && !facts.data.is_empty()
        && facts.zero_points.iter().all(|&zero_point| zero_point == 0)
        && facts.scales.len() == 1
        && import.facts(first)?.data.is_empty()
    {
        return by_rows(import, call, shape, turns_second);
    }
    let from = [import.facts(first)?.dims, facts.dims];
    let cannot = || {
        Ok(Err(format!(
            "multiplies shapes {:?} and {:?}; up to two dimensions before the matrices are read",
            from[0], from[1]
        )))
    };
    let mut all = Vec::new();
    for dims in &from {
        // Leading single places are none.
        let ones = dims.iter().take_while(|&&dim| dim == 1).count();
        let ones = ones.min(dims.len().saturating_sub(2));
        let dims = &dims[ones..];
        let in_range = |&dim: &i32| u16::try_from(dim).ok().filter(|&dim| dim > 0);
        let dims: Option<Vec<u16>> = dims.iter().map(in_range).collect();
        let Some(dims) = dims.filter(|dims| (2..=4).contains(&dims.len())) else {
            return cannot();
        };
        let mut four = [1; 4];
        four[4 - dims.len()..].copy_from_slice(&dims);
        all.push(four);
    }
    let mut steps = [[0u32; 4]; 2];
    for (operand, (shape, turned)) in all.iter().zip([turns_first, !turns_second]).enumerate() {
        let [_, inner, rows, columns] = shape.map(u32::from);
        let step = |len: u16, step: Option<u32>| if len == 1 { Some(0) } else { step };
        let whole = rows.checked_mul(columns);
        let outer = step(shape[0], whole.and_then(|whole| whole.checked_mul(inner)));
        let (Some(outer), Some(inner)) = (outer, step(shape[1], whole)) else {
            return cannot();
        };
        // Along rows (or columns of the second), then along terms.
        let [along, terms] = if turned { [1, columns] } else { [columns, 1] };
        steps[operand] = [outer, inner, along, terms];
    }
    let [a, b] = [all[0], all[1]];
    let [rows, terms] = if turns_first {
        [a[3], a[2]]
    } else {
        [a[2], a[3]]
    };
    let [columns, others] = if turns_second {
        [b[2], b[3]]
    } else {
        [b[3], b[2]]
    };
    let repeats = |axis: usize| a[axis] == b[axis] || a[axis] == 1 || b[axis] == 1;
    if terms != others || !repeats(0) || !repeats(1) {
        return cannot();
    }
    let product = Product {
        counts: [a[0].max(b[0]), a[1].max(b[1]), rows, columns, terms],
        first: steps[0],
        second: steps[1],
    };
    let first = or_refuse!(import.made(first));
    let second = if import.facts(second)?.data.is_empty() {
        or_refuse!(import.activation(second))
    } else {
        or_refuse!(import.operand(second))
    };
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let kind = OpKind::Product(product);
    Ok(Ok(vec![op_of(kind, vec![first, second], output)]))
}

fn by_rows(
    import: &mut Import<'_>,
    call: &Call<'_>,
    [_, _, rows, columns]: [u16; 4],
    turned: bool,
) -> Answer<Vec<Op>> {
    let [values, results] = if turned {
        [columns, rows]
    } else {
        [rows, columns]
    };
    let input = or_refuse!(import.made(call.inputs[0]));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let mut ids = vec![input];
    or_refuse!(weights(
        import,
        &call.inputs[..2],
        &mut ids,
        [results, 1, 1, values],
        0
    ));
    let (values, results) = (usize::from(values), usize::from(results));
    if let Some(data) = import.int8s_mut(ids[1])
        && !turned
        && data.len() == values * results
    {
        let made = (0..data.len()).map(|at| data[at % values * results + at / values]);
        *data = made.collect();
    }
    let kind = OpKind::DenseRows(Activation::None);
    Ok(Ok(vec![op_of(kind, ids, output)]))
}
