//! IDX, as MNIST has it: `0 0 type dimensions`, then sizes and values, all big-endian.

use super::{Findings, Recording};
use crate::finding::{Code, Finding};
use crate::sample::{Channel, ImageSize};

/// Decodes images (`[n, height, width]`, `[n, height, width, channels]`) or rows of readings (`[n, len]`).
pub fn decode(bytes: &[u8], findings: &mut Findings<'_>) -> Vec<Recording> {
    let Some(cube) = Cube::read(bytes, findings) else {
        return Vec::new();
    };
    let (image, width) = match cube.sizes[1..] {
        [] => {
            let finding = Finding::error(
                Code::Unsupported,
                "the file holds one number for each sample, not readings",
            );
            findings.push(finding.hint("name it as `label_file` of the images"));
            return Vec::new();
        }
        [_] => (None, 1),
        [height, width] => (Some((height, width)), 1),
        [height, width, channels @ ..=64] => (Some((height, width)), channels),
        _ => {
            findings.push(Finding::error(
                Code::Unsupported,
                "more than four dimensions or 64 channels are not read",
            ));
            return Vec::new();
        }
    };
    let image = image.map(|(height, width)| (u16::try_from(height), u16::try_from(width)));
    let image = match image {
        None => None,
        Some((Ok(height), Ok(width))) => Some(ImageSize { height, width }),
        Some(_) => {
            findings.push(Finding::error(
                Code::Unsupported,
                "an image has more than 65535 rows or columns",
            ));
            return Vec::new();
        }
    };
    let channels: Vec<Channel> = (0..width)
        .map(|index| Channel {
            name: if width == 1 {
                "value".to_owned()
            } else {
                format!("value{index}")
            },
            unit: String::new(),
        })
        .collect();
    let mut recordings = Vec::new();
    for (index, item) in cube.items().enumerate() {
        let recording = Recording {
            part: format!("{:05}", index + 1),
            row: index as u64 + 1,
            channels: channels.clone(),
            readings: item.map(|value| value as f32).collect(),
            image,
            ..Recording::default()
        };
        findings.not_finite(&recording);
        recordings.push(recording);
    }
    recordings
}

/// Decodes a file of one integer for each sample, as text: the labels of MNIST.
pub fn decode_labels(bytes: &[u8], findings: &mut Findings<'_>) -> Vec<String> {
    let Some(cube) = Cube::read(bytes, findings) else {
        return Vec::new();
    };
    if cube.sizes.len() != 1 {
        findings.push(Finding::error(Code::Malformed, "labels have one dimension"));
        return Vec::new();
    }
    cube.items()
        .flatten()
        .map(|value| value.to_string())
        .collect()
}

struct Cube<'a> {
    kind: Kind,
    sizes: Vec<usize>,
    body: &'a [u8],
    item_len: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    U8,
    I8,
    I16,
    I32,
    F32,
    F64,
}

impl<'a> Cube<'a> {
    fn read(bytes: &'a [u8], findings: &mut Findings<'_>) -> Option<Cube<'a>> {
        let mut malformed = |message: &str, offset: u64| {
            let finding = Finding::error(Code::Malformed, message).at_offset(offset);
            findings.push(finding.hint("set `format` to what it is"));
            None
        };
        let [0, 0, kind, dimensions, rest @ ..] = bytes else {
            return malformed("the file does not begin like IDX", 0);
        };
        let kind = match kind {
            0x08 => Kind::U8,
            0x09 => Kind::I8,
            0x0b => Kind::I16,
            0x0c => Kind::I32,
            0x0d => Kind::F32,
            0x0e => Kind::F64,
            _ => return malformed("the type of its values is unknown", 2),
        };
        let dimensions = usize::from(*dimensions);
        if dimensions == 0 {
            return malformed("it has no dimension", 3);
        }
        let Some((sizes, body)) = rest.split_at_checked(4 * dimensions) else {
            let finding = Finding::error(Code::Truncated, "the file ends inside its header");
            findings.push(finding.at_offset(bytes.len() as u64).hint("copy it again"));
            return None;
        };
        let sizes: Vec<usize> = sizes
            .chunks_exact(4)
            .map(|size| {
                size.iter()
                    .fold(0, |sum, &byte| sum << 8 | usize::from(byte))
            })
            .collect();
        let item_len = sizes[1..]
            .iter()
            .try_fold(1usize, |len, &size| len.checked_mul(size));
        let item_len = item_len.filter(|&len| len > 0 && len <= bytes.len());
        let Some(item_len) = item_len else {
            let finding = Finding::error(
                Code::TooLarge,
                format!("samples of size {:?} are not in the file", &sizes[1..]),
            );
            findings.push(finding.at_offset(8));
            return None;
        };
        let promised = sizes[0];
        let found = body.len() / (item_len * kind.bytes());
        if found < promised {
            let message = format!("the header promises {promised} samples, {found} follow");
            let finding = Finding::error(Code::Truncated, message);
            findings.push(finding.at_offset(bytes.len() as u64).hint("copy it again"));
        }
        let body_len = promised.min(found) * item_len * kind.bytes();
        Some(Cube {
            kind,
            sizes,
            body: &body[..body_len],
            item_len,
        })
    }

    fn items(&self) -> impl Iterator<Item = impl Iterator<Item = f64>> {
        let kind = self.kind;
        let items = self.body.chunks_exact(self.item_len * kind.bytes());
        items.map(move |item| {
            item.chunks_exact(kind.bytes())
                .map(move |value| kind.value(value))
        })
    }
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::I16 => 2,
            Kind::I32 | Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    fn value(self, bytes: &[u8]) -> f64 {
        let word = bytes
            .iter()
            .fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        match self {
            Kind::U8 => word as f64,
            Kind::I8 => f64::from(word as u8 as i8),
            Kind::I16 => f64::from(word as u16 as i16),
            Kind::I32 => f64::from(word as u32 as i32),
            Kind::F32 => f64::from(f32::from_bits(word as u32)),
            Kind::F64 => f64::from_bits(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Report;
    use crate::spec::Missing;

    fn read(bytes: &[u8]) -> (Vec<Vec<f32>>, Vec<Code>) {
        let mut report = Report::new();
        let recordings = decode(
            bytes,
            &mut Findings::new("a.idx", Missing::Refuse, &mut report),
        );
        let codes = report.findings.iter().map(|finding| finding.code).collect();
        (
            recordings
                .into_iter()
                .map(|recording| recording.readings)
                .collect(),
            codes,
        )
    }

    #[test]
    fn images_rows_and_labels() {
        let images = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 255];
        assert_eq!(
            read(&images),
            (vec![vec![1.0, 2.0], vec![3.0, 255.0]], vec![])
        );
        let rows = [0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 2, 255, 254, 1, 0];
        assert_eq!(read(&rows), (vec![vec![-2.0, 256.0]], vec![]));
        let labels = [0, 0, 8, 1, 0, 0, 0, 2, 7, 9];
        let mut report = Report::new();
        let mut findings = Findings::new("l.idx", Missing::Refuse, &mut report);
        assert_eq!(decode_labels(&labels, &mut findings), ["7", "9"]);
        assert_eq!(read(&labels), (vec![], vec![Code::Unsupported]));
    }

    #[test]
    fn what_breaks() {
        let cut = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3];
        assert_eq!(read(&cut), (vec![vec![1.0, 2.0]], vec![Code::Truncated]));
        let huge = [
            0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            255, 1,
        ];
        assert_eq!(read(&huge).1, [Code::TooLarge]);
        assert_eq!(read(&[0, 0, 8]).1, [Code::Malformed]);
        assert_eq!(read(&[0, 0, 8, 200, 1]).1, [Code::Truncated]);
    }
}
