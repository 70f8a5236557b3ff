//! The ends of a network: what the file says that goes in and comes out, and what does here.

use std::collections::{HashMap, HashSet};

use tinyops_nn::record::Element;

use crate::tflite::import::{Import, ImportError};
use crate::tflite::outline::Outlines;
use crate::tflite::schema::{FLOAT32, INT8, INT16, UINT8};

/// An input or output of a file, and how its numbers stand to the graph's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The name of the tensor in the file.
    pub tensor: String,
    /// What the file has there.
    pub kind: EndKind,
    /// What the graph has there.
    pub element: Element,
}

/// The type of an end in the file. The graph's end is int8, or int16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndKind {
    /// The same bytes.
    Int8,
    /// The same bytes.
    Int16,
    /// Each byte less 128.
    Uint8,
    /// Real numbers: the operator between, `QUANTIZE` or `DEQUANTIZE`, is left out.
    Float32,
    /// Whole numbers, such as places: `q - zero_point` of the graph's.
    Int32,
}

impl End {
    /// What a person has to know of it; `None` where file and graph have the same bytes.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let name = &self.tensor;
        let here = match self.element {
            Element::Int8 => "int8",
            Element::Int16 => "int16",
        };
        match self.kind {
            EndKind::Int8 | EndKind::Int16 => None,
            EndKind::Uint8 => Some(format!(
                "`{name}` is uint8 in the file: here it is int8, each value less 128"
            )),
            EndKind::Float32 => Some(format!(
                "`{name}` is float32 in the file: here it is {here}, quantized outside of the network"
            )),
            EndKind::Int32 => Some(format!(
                "`{name}` holds whole numbers in the file: here it is int8, each value less 128"
            )),
        }
    }
}

/// What is left out at the ends of a file.
#[derive(Default)]
pub(super) struct Ends {
    /// The int8 or int16 tensor in place of another.
    pub(super) instead: HashMap<i32, i32>,
    /// Tensors of uint8 that are read as int8.
    pub(super) uint8: HashSet<i32>,
    /// Operators that are left out.
    pub(super) without: HashSet<usize>,
}

/// Finds the conversions at the ends of a file.
pub(super) fn find(
    import: &Import<'_>,
    outlines: &Outlines<'_>,
    inputs: &[i32],
    outputs: &[i32],
) -> Result<Ends, ImportError> {
    let mut ends = Ends::default();
    for &input in inputs {
        let readers = outlines.readers(input);
        let quantized = |index: &usize| outlines.all[*index].name == "QUANTIZE";
        if readers.is_empty() || !readers.iter().all(quantized) || outputs.contains(&input) {
            continue;
        }
        match import.facts(input)?.kind {
            UINT8 => {
                ends.uint8.insert(input);
            }
            FLOAT32 => {
                let made = readers
                    .iter()
                    .map(|&index| outlines.all[index].outputs.first());
                let made: Option<Vec<i32>> = made.map(Option::<&i32>::copied).collect();
                let Some(made) = made.filter(|made| !made.is_empty()) else {
                    continue;
                };
                let first = import.facts(made[0])?;
                let mut same = matches!(first.kind, INT8 | INT16);
                for &other in &made {
                    let other = import.facts(other)?;
                    same &= (other.kind, &other.scales, &other.zero_points)
                        == (first.kind, &first.scales, &first.zero_points);
                }
                if same {
                    ends.instead.insert(input, made[0]);
                    ends.instead
                        .extend(made[1..].iter().map(|&other| (other, made[0])));
                    ends.without.extend(readers);
                }
            }
            _ => {}
        }
    }
    for &output in outputs {
        let Some((index, maker)) = outlines.maker(output) else {
            continue;
        };
        let (&[from], &[_]) = (&maker.inputs[..], &maker.outputs[..]) else {
            continue;
        };
        if !outlines.readers(output).is_empty() || inputs.contains(&output) {
            continue;
        }
        match (maker.name.as_str(), import.facts(output)?.kind) {
            ("QUANTIZE", UINT8) => {
                ends.uint8.insert(output);
            }
            ("DEQUANTIZE", FLOAT32) if matches!(import.facts(from)?.kind, INT8 | INT16) => {
                ends.instead.insert(output, from);
                ends.without.insert(index);
            }
            _ => {}
        }
    }
    Ok(ends)
}
