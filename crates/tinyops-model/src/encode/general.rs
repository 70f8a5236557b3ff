//! The ops whose places are free, as bytes and back.

use tinyops_nn::record::BinaryFunction;

use super::{DecodeError, decode_activation, encode_activation};
use crate::bytes::{Reader, Writer};
use crate::graph::{OpKind, Reduction, Unary};

pub(super) fn encode(kind: OpKind, out: &mut Writer) {
    match kind {
        OpKind::Binary {
            function,
            activation,
        } => {
            out.u8(13);
            out.u8(function as u8);
            encode_activation(activation, out);
        }
        OpKind::Unary(unary) => {
            out.u8(14);
            match unary {
                Unary::Tanh => out.u8(0),
                Unary::LeakyRelu { alpha } => {
                    out.u8(1);
                    out.f32(alpha);
                }
                Unary::HardSwish => out.u8(2),
            }
        }
        OpKind::Concat { outer } => {
            out.u8(15);
            out.u32(outer);
        }
        OpKind::Rearrange { fill } => {
            out.u8(16);
            out.u8(fill as u8);
        }
        OpKind::Reduce { function, axes } => {
            out.u8(17);
            out.u8(match function {
                Reduction::Mean => 0,
                Reduction::Sum => 1,
                Reduction::Maximum => 2,
                Reduction::Minimum => 3,
            });
            axes.into_iter().for_each(|gone| out.u8(u8::from(gone)));
        }
        OpKind::ResizeBilinear {
            align_corners,
            half_pixel,
        } => {
            out.u8(18);
            out.u8(u8::from(align_corners));
            out.u8(u8::from(half_pixel));
        }
        OpKind::DenseRows(activation) => {
            out.u8(19);
            encode_activation(activation, out);
        }
        _ => unreachable!("`encode_op` writes the others"),
    }
}

pub(super) fn decode(code: u8, reader: &mut Reader<'_>) -> Result<OpKind, DecodeError> {
    Ok(match code {
        13 => OpKind::Binary {
            function: BinaryFunction::from_number(i32::from(reader.u8()?))
                .ok_or(DecodeError::Value("function"))?,
            activation: decode_activation(reader)?,
        },
        14 => OpKind::Unary(match reader.u8()? {
            0 => Unary::Tanh,
            1 => Unary::LeakyRelu {
                alpha: reader.f32()?,
            },
            2 => Unary::HardSwish,
            _ => return Err(DecodeError::Value("function")),
        }),
        15 => OpKind::Concat {
            outer: reader.u32()?,
        },
        16 => OpKind::Rearrange {
            fill: reader.u8()? as i8,
        },
        17 => OpKind::Reduce {
            function: match reader.u8()? {
                0 => Reduction::Mean,
                1 => Reduction::Sum,
                2 => Reduction::Maximum,
                3 => Reduction::Minimum,
                _ => return Err(DecodeError::Value("function")),
            },
            axes: [flag(reader)?, flag(reader)?, flag(reader)?],
        },
        18 => OpKind::ResizeBilinear {
            align_corners: flag(reader)?,
            half_pixel: flag(reader)?,
        },
        19 => OpKind::DenseRows(decode_activation(reader)?),
        _ => return Err(DecodeError::Value("op")),
    })
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Value("flag")),
    }
}
