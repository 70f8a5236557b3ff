//! The inputs that both sides are given.

use std::{fs, path::Path};

use tinyops_compile::Reference;
use tinyops_nn::record::Element;
use tinyops_nn::{dequantize, quantize, quantize_int16};

use super::{Compare, side::Side};
use crate::failure::Failure;

/// Inputs, quantized as the first network that is compared takes them.
pub(super) struct Inputs {
    /// Where they come from.
    pub(super) from: String,
    /// Scale and zero point of the values.
    pub(super) quantization: (f32, i8),
    /// Each goes on where the one before ended.
    pub(super) is_stream: bool,
    pub(super) all: Vec<Input>,
}

pub(super) struct Input {
    pub(super) name: String,
    pub(super) values: Vec<u8>,
}

/// What a network takes.
#[derive(Clone, Copy)]
pub(super) struct Takes {
    /// Bytes of all inputs.
    pub(super) bytes: usize,
    pub(super) quantization: (f32, i8),
    pub(super) element: Element,
}

impl Inputs {
    /// Those of the command line, else those of a golden side, else random ones.
    pub(super) fn choose(args: &Compare, a: &Side, b: &Side) -> Result<Self, Failure> {
        let takes = a.takes().or(b.takes());
        if args.input.is_empty()
            && let Some((name, reference)) = a.reference().or(b.reference())
        {
            let quantization = takes.map_or((1.0, 0), |takes| takes.quantization);
            return Ok(Self {
                from: format!("the cases of {name}"),
                quantization,
                is_stream: reference.is_stream,
                all: of_reference(reference),
            });
        }
        let Some(takes) = takes else {
            return Err(Failure::question("nothing here says what the inputs are"));
        };
        if a.reference().is_some() || b.reference().is_some() {
            return Err(Failure::question(
                "a golden file knows the outputs of its own inputs only",
            )
            .hint("leave `--input` out, or compare networks"));
        }
        if args.input.is_empty() {
            return Ok(random(takes, args.random, args.seed));
        }
        let mut all = Vec::new();
        for path in &args.input {
            all.extend(read(path, takes)?);
        }
        let paths: Vec<String> = args
            .input
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Ok(Self {
            from: paths.join(", "),
            quantization: takes.quantization,
            is_stream: false,
            all,
        })
    }

    /// Leaves out those whose name has not these words; in a stream only what comes after them,
    /// since what comes before is remembered.
    pub(super) fn keep(&mut self, words: &str) -> Result<(), Failure> {
        let names: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        let is_kept = |input: &Input| input.name.contains(words);
        if self.is_stream {
            let end = self
                .all
                .iter()
                .rposition(is_kept)
                .map_or(0, |last| last + 1);
            self.all.truncate(end);
        } else {
            self.all.retain(is_kept);
        }
        if self.all.is_empty() {
            return Err(
                Failure::question(format!("no input has `{words}` in its name"))
                    .hint(format!("inputs are: {}", names.join(", "))),
            );
        }
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|input| input.name.as_str())
    }

    /// The inputs as a network with its own scale takes them.
    pub(super) fn for_network(&self, takes: Takes, name: &str) -> Result<Vec<Vec<u8>>, Failure> {
        let is_other = |input: &&Input| input.values.len() != takes.bytes;
        if let Some(input) = self.all.iter().find(is_other) {
            let (has, takes) = (input.values.len(), takes.bytes);
            return Err(Failure::question(format!(
                "`{}` has {has} bytes, {name} takes {takes}",
                input.name
            ))
            .hint("inputs are quantized, also where the file of the network takes real numbers"));
        }
        let (from, to) = (self.quantization, takes.quantization);
        let again = |&value: &u8| {
            let real = dequantize(value as i8, from.0, from.1);
            quantize(real, to.0, to.1) as u8
        };
        let values = self.all.iter().map(|input| {
            if from == to || takes.element != Element::Int8 {
                input.values.clone()
            } else {
                input.values.iter().map(again).collect()
            }
        });
        Ok(values.collect())
    }
}

fn of_reference(reference: &Reference) -> Vec<Input> {
    let cases = reference.cases.iter().map(|case| Input {
        name: case.name.clone(),
        values: case.inputs.concat(),
    });
    cases.collect()
}

/// Inputs that cover the range: uniform ones, smooth ones, and those of one value.
fn random(takes: Takes, count: u32, seed: u64) -> Inputs {
    let mut all: Vec<Input> = (0..u64::from(count))
        .map(|number| {
            let seed = seed.wrapping_add(number);
            let is_smooth = number % 2 == 1;
            let kind = if is_smooth { "smooth" } else { "uniform" };
            let values = takes.bytes / takes.element.bytes();
            let smooth = || smooth(Bytes(seed).take(values));
            Input {
                name: format!("{kind} seed {seed}"),
                values: match (is_smooth, takes.element) {
                    (false, _) => Bytes(seed).take(takes.bytes).collect(),
                    (true, Element::Int8) => smooth(),
                    (true, Element::Int16) => smooth().iter().flat_map(|&high| [0, high]).collect(),
                },
            }
        })
        .collect();
    let (_, zero_point) = takes.quantization;
    let [least, greatest] = match takes.element {
        Element::Int8 => [i8::MIN.into(), i8::MAX.into()],
        Element::Int16 => [i16::MIN, i16::MAX],
    };
    for value in [least, i16::from(zero_point), greatest] {
        // The low byte comes first; of int8 it is the only one.
        let bytes = &value.to_le_bytes()[..takes.element.bytes()];
        all.push(Input {
            name: format!("all {value}"),
            values: bytes.repeat(takes.bytes / bytes.len()),
        });
    }
    Inputs {
        from: "seeded random bytes, uniform and smooth, and three of one value".to_owned(),
        quantization: takes.quantization,
        is_stream: false,
        all,
    }
}

/// The top bytes of splitmix64.
///
/// # Source
/// Steele, Lea, Flood, 2014, "Fast splittable pseudorandom number generators".
struct Bytes(u64);

impl Iterator for Bytes {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(((mixed ^ mixed >> 31) >> 56) as u8)
    }
}

/// A walk in steps from −15 to 15 by the top four bits of each byte, reflected at the ends of the range.
fn smooth(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut at = 0i32;
    let step = |byte: u8| {
        at += 2 * i32::from(byte >> 4) - 15;
        if at > 127 {
            at = 254 - at;
        }
        if at < -128 {
            at = -256 - at;
        }
        at as i8 as u8
    };
    bytes.map(step).collect()
}

/// The inputs in a file: cases of a golden file, an array of NumPy, or raw bytes.
fn read(path: &Path, takes: Takes) -> Result<Vec<Input>, Failure> {
    let shown = path.display();
    let unsuited = |why: String| Failure::question(format!("`{shown}` gives no input: {why}"));
    let bytes = fs::read(path)
        .map_err(|error| Failure::question(format!("cannot read `{shown}`")).cause(&error))?;
    if path.extension().is_some_and(|end| end == "json") {
        let text = String::from_utf8_lossy(&bytes);
        let reference = Reference::from_json(&text)
            .map_err(|error| Failure::question(format!("cannot read `{shown}`")).cause(&error))?;
        return Ok(of_reference(&reference));
    }
    let values = if bytes.starts_with(b"\x93NUMPY") {
        numpy(&bytes, takes).map_err(|why| unsuited(why.to_owned()))?
    } else {
        bytes
    };
    if values.is_empty() || !values.len().is_multiple_of(takes.bytes) {
        let (has, each) = (values.len(), takes.bytes);
        return Err(unsuited(format!("it has {has} bytes, an input {each}")));
    }
    let inputs = values.chunks(takes.bytes).enumerate();
    Ok(inputs
        .map(|(index, values)| Input {
            name: format!("{shown} {index}"),
            values: values.to_vec(),
        })
        .collect())
}

/// The values of a `.npy` file, real numbers quantized.
///
/// # Source
/// NumPy documentation, "NEP 1: A simple file format for NumPy arrays", versions 1.0 to 3.0.
fn numpy(bytes: &[u8], takes: Takes) -> Result<Vec<u8>, &'static str> {
    const CUT: &str = "the .npy file is cut short";
    let (&version, rest) = bytes.get(6).zip(bytes.get(8..)).ok_or(CUT)?;
    let (length, rest) = match version {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(CUT)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        _ => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
    };
    let (header, data) = rest.split_at_checked(length).ok_or(CUT)?;
    let header = String::from_utf8_lossy(header);
    if header.contains("'fortran_order': True") {
        return Err("its array is in Fortran's order; save a copy in C's");
    }
    let same = match takes.element {
        Element::Int8 => "'|i1'",
        Element::Int16 => "'<i2'",
    };
    if header.contains(same) {
        return Ok(data.to_vec());
    }
    if header.contains("'<f4'") {
        let (scale, zero_point) = takes.quantization;
        let reals = data.as_chunks::<4>().0.iter();
        let reals = reals.map(|&real| f32::from_le_bytes(real));
        let int8 = |real: f32| vec![quantize(real, scale, zero_point) as u8];
        let int16 = |real: f32| quantize_int16(real, scale).to_le_bytes().to_vec();
        return Ok(match takes.element {
            Element::Int8 => reals.flat_map(int8).collect(),
            Element::Int16 => reals.flat_map(int16).collect(),
        });
    }
    Err("its array is neither float32 nor what the network takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `../shared/data/mlperf-tiny` has them.
    #[test]
    fn seeded_bytes_are_those_of_the_goldens() {
        let bytes: Vec<u8> = Bytes(1).take(8).collect();
        assert_eq!(bytes, [0x91, 0xbe, 0xf8, 0x71, 0x71, 0xc3, 0xe0, 0x85]);
    }

    #[test]
    fn a_smooth_input_stays_in_its_range() {
        let values = smooth(Bytes(5).take(4000));
        let near = |pair: &[u8]| (pair[0] as i8).abs_diff(pair[1] as i8) <= 15;
        assert!(values.windows(2).all(near));
        for far in [-120..=-100, 100..=120] {
            assert!(values.iter().any(|&value| far.contains(&(value as i8))));
        }
    }

    #[test]
    fn arrays_of_numpy_are_read() {
        let takes = |scale: f32, zero_point: i8| Takes {
            bytes: 2,
            quantization: (scale, zero_point),
            element: Element::Int8,
        };
        let file = |kind: &str, data: &[u8]| {
            let header =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2,), }}\n");
            let mut file = b"\x93NUMPY\x01\x00".to_vec();
            file.extend((header.len() as u16).to_le_bytes());
            file.extend(header.as_bytes());
            file.extend(data);
            file
        };
        assert_eq!(
            numpy(&file("|i1", &[1, 255]), takes(1.0, 0)),
            Ok(vec![1, 255])
        );
        let reals = [1.0f32.to_le_bytes(), (-0.5f32).to_le_bytes()].concat();
        assert_eq!(numpy(&file("<f4", &reals), takes(0.5, 3)), Ok(vec![5, 2]));
        assert!(numpy(&file("<f8", &[]), takes(1.0, 0)).is_err());
        assert!(numpy(b"\x93NUMPY\x01\x00\xff\xff{", takes(1.0, 0)).is_err());
    }
}
