//! Real numbers in the middle of a network that are each a function of one int8 value.
//!
//! Converters leave an operator in single precision where they have no int8 form of it, between
//! `DEQUANTIZE` and `QUANTIZE`. While such values are only moved, or each is computed from itself,
//! the int8 value says which it is: there are 256, and `QUANTIZE` makes a table of them.

use std::rc::Rc;

use crate::graph::{Data, Op, OpKind, Quantization, Tensor, TensorId};
use crate::tflite::facts::folded_shape;
use crate::tflite::general;
use crate::tflite::import::{Answer, Import, op_of};
use crate::tflite::operator::{Options, or_refuse};
use crate::tflite::outline::Outline;
use crate::tflite::schema::{FLOAT32, INT8};

/// A tensor of real numbers.
#[derive(Clone)]
pub(super) struct Real {
    /// The int8 tensor that says which numbers they are.
    tensor: TensorId,
    /// The number that each int8 value stands for, from -128 on.
    values: Rc<[f32; 256]>,
}

impl Real {
    /// The int8 tensor that says which numbers they are.
    pub(super) fn tensor(&self) -> TensorId {
        self.tensor
    }

    /// Whether the numbers are those of the int8 tensor itself.
    pub(super) fn is_plain(&self, import: &Import<'_>) -> bool {
        *self.values == dequantized(import.tensor(self.tensor))
    }
}

/// Reads an operator that makes or takes real numbers; `None` for another.
pub(super) fn read(
    import: &mut Import<'_>,
    outline: &Outline<'_>,
) -> Answer<Option<Result<Vec<Op>, String>>> {
    let name = outline.name.as_str();
    let output = outline.outputs.first().copied().unwrap_or(-1);
    if name == "DEQUANTIZE" {
        let (&[input], true) = (&outline.inputs[..], output >= 0) else {
            return Ok(Ok(None));
        };
        if input < 0 || import.facts(input)?.kind != INT8 || import.facts(output)?.kind != FLOAT32 {
            return Ok(Ok(None));
        }
        let tensor = or_refuse!(import.made(input));
        let values = dequantized(import.tensor(tensor));
        import.take_bytes(size_of_val(&values))?;
        let values = Rc::new(values);
        import.stands_for(output, Real { tensor, values });
        return Ok(Ok(Some(Ok(Vec::new()))));
    }
    let reals = outline
        .inputs
        .iter()
        .filter_map(|&input| import.real(input));
    let Some(real) = reals.clone().next().cloned() else {
        return Ok(Ok(None));
    };
    let options = Options(outline.options);
    let same =
        |other: &Real| Rc::ptr_eq(&other.values, &real.values) || other.values == real.values;
    if name == "QUANTIZE" {
        return Ok(Ok(Some(quantize(import, &real, output)?)));
    }
    if is_move(name) {
        let joins = matches!(name, "CONCATENATION" | "PACK");
        let all = joins && reals.clone().count() != outline.inputs.len();
        if all || !reals.clone().all(same) {
            return refuse(name, "joins them with numbers of another scale");
        }
        return moved(import, outline, &options, real);
    }
    let function = or_refuse!(function(import, &options, outline));
    let Some(function) = function else {
        return refuse(name, "computes several of them together");
    };
    let values = Rc::new(real.values.map(function));
    import.take_bytes(size_of_val(&*values))?;
    let tensor = real.tensor;
    import.stands_for(output, Real { tensor, values });
    Ok(Ok(Some(Ok(Vec::new()))))
}

fn refuse(name: &str, what: &str) -> Answer<Option<Result<Vec<Op>, String>>> {
    Ok(Ok(Some(Err(format!(
        "{name} takes real numbers in the middle of the network and {what}; convert with full integer quantization, so that it computes in int8"
    )))))
}

fn dequantized(tensor: &Tensor) -> [f32; 256] {
    let (scale, zero_point) = tensor
        .quantization
        .as_ref()
        .map_or((1.0, 0), |q| (q.scale(), q.zero_point));
    std::array::from_fn(|at| tinyops_nn::dequantize((at as i32 - 128) as i8, scale, zero_point))
}

/// Back to int8, by a table.
fn quantize(
    import: &mut Import<'_>,
    real: &Real,
    output: i32,
) -> Result<Result<Vec<Op>, String>, crate::tflite::import::ImportError> {
    let output = or_refuse!(import.activation(output));
    let (scale, zero_point) = import
        .tensor(output)
        .quantization
        .as_ref()
        .map_or((1.0, 0), |q| (q.scale(), q.zero_point));
    let entries = real.values.iter();
    let entries = entries.map(|&value| tinyops_nn::quantize(value, scale, zero_point));
    let table = import.push(Tensor {
        name: "table".to_owned(),
        shape: [1, 1, 1, 256],
        quantization: Some(Quantization::per_tensor(1.0, 0)),
        data: Some(Data::Int8(entries.collect())),
    });
    let op = op_of(OpKind::Table, vec![real.tensor, table], output);
    Ok(Ok(vec![op]))
}

/// Whether an operator only puts values elsewhere.
fn is_move(name: &str) -> bool {
    matches!(
        name,
        "RESHAPE"
            | "SQUEEZE"
            | "EXPAND_DIMS"
            | "CONCATENATION"
            | "PACK"
            | "UNPACK"
            | "SPLIT"
            | "SPLIT_V"
            | "SLICE"
            | "STRIDED_SLICE"
            | "TRANSPOSE"
            | "GATHER"
            | "RESIZE_NEAREST_NEIGHBOR"
            | "SPACE_TO_DEPTH"
            | "DEPTH_TO_SPACE"
            | "REVERSE_V2"
            | "TILE"
            | "BROADCAST_TO"
    )
}

/// Moves the int8 values in the place of the real numbers.
fn moved(
    import: &mut Import<'_>,
    outline: &Outline<'_>,
    options: &Options<'_>,
    real: Real,
) -> Answer<Option<Result<Vec<Op>, String>>> {
    let quantization = import.tensor(real.tensor).quantization.clone();
    let mut made = Vec::new();
    for &output in &outline.outputs {
        let facts = import.facts(output)?;
        let Some(shape) = folded_shape(&facts.dims) else {
            return Ok(Err(format!("makes shape {:?}", facts.dims)));
        };
        let tensor = import.push(Tensor {
            name: facts.name,
            shape,
            quantization: quantization.clone(),
            data: None,
        });
        let values = Rc::clone(&real.values);
        import.stands_for(output, Real { tensor, values });
        made.push(tensor);
    }
    if let "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" = outline.name.as_str() {
        let &[output] = &made[..] else {
            return Ok(Err("has not one output".to_owned()));
        };
        let op = op_of(OpKind::Reshape, vec![real.tensor], output);
        return Ok(Ok(Some(Ok(vec![op]))));
    }
    let Outline {
        name,
        inputs,
        outputs,
        ..
    } = outline;
    Ok(Ok(general::read(import, options, name, inputs, outputs)?))
}

type Function = Box<dyn Fn(f32) -> f32>;

/// What an operator makes of one real number; `None` for one that takes several.
///
/// # Source
/// TFLM's kernels for float32, in single precision.
fn function(
    import: &Import<'_>,
    options: &Options<'_>,
    outline: &Outline<'_>,
) -> Answer<Option<Function>> {
    let one: fn(f32) -> f32 = match outline.name.as_str() {
        "NEG" => |x| -x,
        "ABS" => f32::abs,
        "SQUARE" => |x| x * x,
        "SQRT" => libm::sqrtf,
        "RSQRT" => |x| 1.0 / libm::sqrtf(x),
        "EXP" => libm::expf,
        "LOG" => libm::logf,
        "SIN" => libm::sinf,
        "COS" => libm::cosf,
        "FLOOR" => libm::floorf,
        "CEIL" => libm::ceilf,
        "ROUND" => libm::rintf,
        "SIGN" => |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        },
        "ELU" => |x| if x < 0.0 { libm::expm1f(x) } else { x },
        "RELU" => |x| x.max(0.0),
        "RELU6" => |x| x.clamp(0.0, 6.0),
        "RELU_N1_TO_1" => |x| x.clamp(-1.0, 1.0),
        "RELU_0_TO_1" => |x| x.clamp(0.0, 1.0),
        "LOGISTIC" => |x| 1.0 / (1.0 + libm::expf(-x)),
        "TANH" => libm::tanhf,
        "HARD_SWISH" => |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        "LEAKY_RELU" => {
            let alpha = options.float(0, 0.0)?;
            return Ok(Ok(Some(Box::new(
                move |x| {
                    if x > 0.0 { x } else { x * alpha }
                },
            ))));
        }
        name @ ("ADD" | "SUB" | "MUL" | "DIV" | "MAXIMUM" | "MINIMUM") => {
            return with_constant(import, options, outline, name);
        }
        _ => return Ok(Ok(None)),
    };
    Ok(Ok(Some(Box::new(one))))
}

/// A function of two values, one of them a single constant.
fn with_constant(
    import: &Import<'_>,
    options: &Options<'_>,
    outline: &Outline<'_>,
    name: &str,
) -> Answer<Option<Function>> {
    let &[first, second] = &outline.inputs[..] else {
        return Ok(Ok(None));
    };
    if first < 0 || second < 0 {
        return Ok(Ok(None));
    }
    let constant = |number: i32| -> Answer<Option<f32>> {
        let facts = import.facts(number)?;
        let single = facts.data.as_array::<4>().filter(|_| facts.kind == FLOAT32);
        Ok(Ok(single.map(|&word| f32::from_le_bytes(word))))
    };
    let [a, b] = [or_refuse!(constant(first)), or_refuse!(constant(second))];
    let pair: fn(f32, f32) -> f32 = match name {
        "ADD" => |a, b| a + b,
        "SUB" => |a, b| a - b,
        "MUL" => |a, b| a * b,
        "DIV" => |a, b| a / b,
        "MAXIMUM" => f32::max,
        _ => f32::min,
    };
    let fused = match name {
        "MAXIMUM" | "MINIMUM" => 0,
        _ => options.byte(0, 0)?,
    };
    let clamp: fn(f32) -> f32 = match fused {
        0 => |x| x,
        1 => |x| x.max(0.0),
        3 => |x| x.clamp(0.0, 6.0),
        _ => return Ok(Ok(None)),
    };
    Ok(Ok(match (a, b) {
        (None, Some(b)) => Some(Box::new(move |x| clamp(pair(x, b)))),
        (Some(a), None) => Some(Box::new(move |x| clamp(pair(a, x)))),
        _ => None,
    }))
}
