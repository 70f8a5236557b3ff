//! The ops whose places are free, as bytes and back.

use tinyops_nn::record::BinaryFunction;

use super::{DecodeError, decode_activation, encode_activation};
use crate::bytes::{Reader, Writer};
use crate::graph::{Lstm, OpKind, Product, Reduction, Svdf, Unary};

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
                Unary::Abs => out.u8(3),
                Unary::Rsqrt => out.u8(4),
                Unary::Elu => out.u8(5),
                Unary::Exp => out.u8(6),
                Unary::Log => out.u8(7),
                Unary::Gelu { approximate } => {
                    out.u8(8);
                    out.u8(u8::from(approximate));
                }
                Unary::Clip { least, greatest } => {
                    out.u8(9);
                    out.bytes.extend([least as u8, greatest as u8]);
                }
            }
        }
        OpKind::Concat { outer } => {
            out.u8(15);
            out.u32(outer);
        }
        OpKind::Rearrange { fill } => match i8::try_from(fill) {
            Ok(fill) => {
                out.u8(16);
                out.u8(fill as u8);
            }
            Err(_) => {
                out.u8(40);
                out.u16(fill as u16);
            }
        },
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
        OpKind::Constant => out.u8(20),
        OpKind::Table => out.u8(23),
        OpKind::Normalize => out.u8(24),
        OpKind::Lstm(lstm) => {
            out.u8(26);
            out.u8(lstm.cell_exponent as u8);
            out.f32(lstm.cell_clip);
        }
        OpKind::Svdf(svdf) => {
            out.u8(25);
            out.u16(svdf.rank);
            out.u16(svdf.memory);
            out.u8(u8::from(svdf.is_wide));
            out.f32(svdf.state_scale);
        }
        OpKind::Product(product) => {
            out.u8(21);
            product.counts.iter().for_each(|&count| out.u16(count));
            let steps = product.first.iter().chain(&product.second);
            steps.for_each(|&step| out.u32(step));
        }
        OpKind::Extreme { greatest, lens } => {
            out.u8(22);
            out.u8(u8::from(greatest));
            lens.iter().for_each(|&len| out.u32(len));
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
            3 => Unary::Abs,
            4 => Unary::Rsqrt,
            5 => Unary::Elu,
            6 => Unary::Exp,
            7 => Unary::Log,
            8 => Unary::Gelu {
                approximate: flag(reader)?,
            },
            9 => Unary::Clip {
                least: reader.u8()? as i8,
                greatest: reader.u8()? as i8,
            },
            _ => return Err(DecodeError::Value("function")),
        }),
        15 => OpKind::Concat {
            outer: reader.u32()?,
        },
        16 => OpKind::Rearrange {
            fill: i16::from(reader.u8()? as i8),
        },
        40 => OpKind::Rearrange {
            fill: reader.u16()? as i16,
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
        20 => OpKind::Constant,
        23 => OpKind::Table,
        24 => OpKind::Normalize,
        26 => OpKind::Lstm(Lstm {
            cell_exponent: reader.u8()? as i8,
            cell_clip: reader.f32()?,
        }),
        25 => OpKind::Svdf(Svdf {
            rank: reader.u16()?,
            memory: reader.u16()?,
            is_wide: flag(reader)?,
            state_scale: reader.f32()?,
        }),
        21 => OpKind::Product(Product {
            counts: all(Reader::u16, reader)?,
            first: all(Reader::u32, reader)?,
            second: all(Reader::u32, reader)?,
        }),
        22 => OpKind::Extreme {
            greatest: flag(reader)?,
            lens: all(Reader::u32, reader)?,
        },
        _ => return Err(DecodeError::Value("op")),
    })
}

fn all<'r, const COUNT: usize, T: Copy + Default>(
    read: fn(&mut Reader<'r>) -> Result<T, DecodeError>,
    reader: &mut Reader<'r>,
) -> Result<[T; COUNT], DecodeError> {
    let mut values = [T::default(); COUNT];
    for value in &mut values {
        *value = read(reader)?;
    }
    Ok(values)
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Value("flag")),
    }
}
