//! What the tensors of a file say of themselves.

use crate::tflite::import::{Import, ImportError, short};
use crate::tflite::schema::{self, TYPES, quantization, tensor};

/// What a tensor of the file says of itself.
pub(super) struct TensorFacts<'a> {
    pub(super) name: String,
    pub(super) dims: Vec<i32>,
    /// Its type; -1 for one that is sparse or a variable.
    pub(super) kind: i8,
    /// The type of a variable, which an operator keeps between runs.
    pub(super) variable: Option<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i64>,
    pub(super) dimension: i32,
    /// The bytes of a constant; empty for an activation.
    pub(super) data: &'a [u8],
}

impl<'a> Import<'a> {
    /// The facts of a tensor by its number in the file; an optional input has number -1 and is never asked for.
    pub(super) fn facts(&self, number: i32) -> Result<TensorFacts<'a>, ImportError> {
        let index = usize::try_from(number).ok();
        let index = index.filter(|&index| index < self.tensors.len());
        let index = index.ok_or(ImportError::NoSuchTensor(number))?;
        let table = self.tensors.table(index)?;
        let buffer = table.scalar(tensor::BUFFER, 0u32)? as usize;
        // Buffer 0 is empty by convention; some writers leave the list out altogether.
        let data = if buffer == 0 {
            &[]
        } else {
            self.buffers
                .table(buffer)?
                .scalars::<u8>(schema::BUFFER_DATA)?
                .raw()
        };
        let (scales, zero_points, dimension) = match table.table(tensor::QUANTIZATION)? {
            None => (Vec::new(), Vec::new(), 0),
            Some(parameters) => (
                parameters
                    .scalars::<f32>(quantization::SCALE)?
                    .scalars()
                    .collect(),
                parameters
                    .scalars::<i64>(quantization::ZERO_POINT)?
                    .scalars()
                    .collect(),
                parameters.scalar(quantization::DIMENSION, 0i32)?,
            ),
        };
        let is_variable = table.scalar(tensor::IS_VARIABLE, 0u8)? != 0;
        let is_sparse = table.table(tensor::SPARSITY)?.is_some();
        let kind = table.scalar(tensor::TYPE, 0i8)?;
        Ok(TensorFacts {
            name: short(table.text(tensor::NAME)?),
            dims: table
                .scalars::<i32>(tensor::SHAPE)?
                .scalars()
                .take(9)
                .collect(),
            kind: if is_variable || is_sparse { -1 } else { kind },
            variable: (is_variable && !is_sparse).then_some(kind),
            scales,
            zero_points,
            dimension,
            data,
        })
    }
}

/// `[batch, height, width, channels]` of up to four dimensions; `None` if one is out of range.
pub(super) fn shape_of(dims: &[i32]) -> Option<[u16; 4]> {
    let mut shape = [1; 4];
    let start = 4usize.checked_sub(dims.len())?;
    for (place, &dim) in shape[start..].iter_mut().zip(dims) {
        *place = u16::try_from(dim).ok().filter(|&dim| dim > 0)?;
    }
    Some(shape)
}

/// [`shape_of`] of any dimensions: those before the last two become the height.
pub(super) fn folded_shape(dims: &[i32]) -> Option<[u16; 4]> {
    let rows = dims.len().saturating_sub(2);
    let in_range = |&dim: &i32| u16::try_from(dim).ok().filter(|&dim| dim > 0);
    let height = dims[..rows]
        .iter()
        .try_fold(1u16, |all, dim| all.checked_mul(in_range(dim)?))?;
    let mut shape = [1, height, 1, 1];
    let start = 4 - (dims.len() - rows);
    for (place, dim) in shape[start..].iter_mut().zip(&dims[rows..]) {
        *place = in_range(dim)?;
    }
    Some(shape)
}

pub(super) fn type_name(kind: i8) -> &'static str {
    let name = usize::try_from(kind)
        .ok()
        .and_then(|kind| TYPES.get(kind).copied());
    name.unwrap_or("a variable, sparse or of unknown type")
}

pub(super) fn int32s(data: &[u8]) -> Vec<i32> {
    data.as_chunks()
        .0
        .iter()
        .map(|&word| i32::from_le_bytes(word))
        .collect()
}
