//! What every operator of a file reads and makes, before any is read whole.

use std::collections::HashMap;

use crate::tflite::flatbuffer::{Table, Vector};
use crate::tflite::import::ImportError;
use crate::tflite::schema::operator as op;

/// More tensors than any operator that is read has.
const LIST_MAX: usize = 255;

/// One operator as the file lists it.
pub(super) struct Outline<'a> {
    /// Its name in the schema.
    pub(super) name: String,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) options: Option<Table<'a>>,
}

/// All operators of a subgraph, in order.
pub(super) struct Outlines<'a> {
    pub(super) all: Vec<Outline<'a>>,
    makers: HashMap<i32, usize>,
    readers: HashMap<i32, Vec<usize>>,
}

impl<'a> Outlines<'a> {
    /// Reads the lists of all operators; `numbers_max` is how many numbers they may have together.
    pub(super) fn read(
        operators: &Vector<'a>,
        names: &[String],
        numbers_max: usize,
    ) -> Result<Outlines<'a>, ImportError> {
        let mut outlines = Outlines {
            all: Vec::new(),
            makers: HashMap::new(),
            readers: HashMap::new(),
        };
        let mut numbers_left = numbers_max;
        for index in 0..operators.len() {
            let table = operators.table(index)?;
            let code = table.scalar(op::CODE_INDEX, 0u32)? as usize;
            let name = names.get(code).ok_or(ImportError::Truncated)?;
            let outline = one(&table, name).map_err(|error| match error {
                ImportError::Truncated => ImportError::Operator {
                    op: index,
                    operator: name.clone(),
                },
                other => other,
            })?;
            // An operator has a table beside its lists, which several may share.
            let numbers = 4 + outline.inputs.len() + outline.outputs.len() + name.len() / 4;
            numbers_left = numbers_left
                .checked_sub(numbers)
                .ok_or(ImportError::TooLarge)?;
            for &input in &outline.inputs {
                outlines.readers.entry(input).or_default().push(index);
            }
            for &output in &outline.outputs {
                outlines.makers.insert(output, index);
            }
            outlines.all.push(outline);
        }
        Ok(outlines)
    }

    /// The operator that makes a tensor.
    pub(super) fn maker(&self, tensor: i32) -> Option<(usize, &Outline<'a>)> {
        let index = *self.makers.get(&tensor)?;
        Some((index, &self.all[index]))
    }

    /// The operators that read a tensor, once for each time.
    pub(super) fn readers(&self, tensor: i32) -> &[usize] {
        self.readers.get(&tensor).map_or(&[], Vec::as_slice)
    }

    /// The operator that alone reads a tensor.
    pub(super) fn only_reader(&self, tensor: i32) -> Option<(usize, &Outline<'a>)> {
        match *self.readers(tensor) {
            [index] => Some((index, &self.all[index])),
            _ => None,
        }
    }
}

fn one<'a>(table: &Table<'a>, name: &str) -> Result<Outline<'a>, ImportError> {
    Ok(Outline {
        name: name.to_owned(),
        inputs: take(table.scalars::<i32>(op::INPUTS)?),
        outputs: take(table.scalars::<i32>(op::OUTPUTS)?),
        options: table.table(op::OPTIONS)?,
    })
}

/// The numbers of a list, at most as many as any operator that is read has.
fn take(list: Vector<'_>) -> Vec<i32> {
    list.scalars().take(LIST_MAX).collect()
}
