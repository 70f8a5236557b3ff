//! The part of CBOR that samples are written in: numbers, text, arrays and maps, of definite or indefinite length.
//!
//! # Source
//! RFC 8949, section 3 and appendix B.

/// Reads one value after the other, never past its bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The head of a value: all of it, unless it holds others.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// Any number.
    Number(f64),
    /// Text of definite length.
    Text(&'a str),
    /// Bytes of definite length.
    Bytes(&'a [u8]),
    /// Text or bytes in pieces, which follow up to [`Item::Break`].
    Pieces,
    /// So many values follow; none: up to [`Item::Break`].
    Array(Option<u64>),
    /// So many pairs of values follow; none: up to [`Item::Break`].
    Map(Option<u64>),
    /// `false` or `true`.
    Bool(bool),
    /// `null`, `undefined` or another simple value.
    Null,
    /// The end of an indefinite length.
    Break,
}

/// Why bytes are not CBOR, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    End {
        /// Where they end.
        offset: usize,
    },
    /// A byte that CBOR has no meaning for, or text that is not UTF-8.
    #[error("the bytes are not CBOR")]
    Malformed {
        /// Where.
        offset: usize,
    },
    /// Values nest deeper than a sample's do.
    #[error("values nest deeper than {DEPTH_MAX}")]
    Deep {
        /// Where.
        offset: usize,
    },
}

/// How deep a value that is skipped may nest.
const DEPTH_MAX: usize = 32;

impl CborError {
    /// Which byte it is about, counted from 0.
    pub fn offset(&self) -> usize {
        match self {
            CborError::End { offset }
            | CborError::Malformed { offset }
            | CborError::Deep { offset } => *offset,
        }
    }
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// The next byte to read, counted from 0.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub fn rest_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next head. Tags are skipped.
    ///
    /// # Errors
    /// [`CborError`] where the bytes end or mean nothing.
    pub fn item(&mut self) -> Result<Item<'a>, CborError> {
        loop {
            let offset = self.at;
            let malformed = CborError::Malformed { offset };
            let head = self.take(1)?[0];
            let (major, info) = (head >> 5, head & 0x1f);
            let argument = match info {
                0..=23 => Some(u64::from(info)),
                24..=27 => {
                    let bytes = self.take(1 << (info - 24))?;
                    Some(
                        bytes
                            .iter()
                            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
                    )
                }
                31 => None,
                _ => return Err(malformed),
            };
            return Ok(match (major, argument) {
                (0, Some(number)) => Item::Number(number as f64),
                (1, Some(number)) => Item::Number(-1.0 - number as f64),
                (2, Some(len)) => Item::Bytes(self.take_len(len)?),
                (3, Some(len)) => {
                    let bytes = self.take_len(len)?;
                    Item::Text(std::str::from_utf8(bytes).map_err(|_| malformed)?)
                }
                (2 | 3, None) => Item::Pieces,
                (4, count) => Item::Array(count),
                (5, count) => Item::Map(count),
                (6, Some(_)) => continue,
                (7, None) => Item::Break,
                (7, Some(bits)) => match info {
                    20 => Item::Bool(false),
                    21 => Item::Bool(true),
                    25 => Item::Number(half(bits as u16)),
                    26 => Item::Number(f64::from(f32::from_bits(bits as u32))),
                    27 => Item::Number(f64::from_bits(bits)),
                    _ => Item::Null,
                },
                _ => return Err(malformed),
            });
        }
    }

    /// Skips all that belongs to `item`, which has just been read.
    ///
    /// # Errors
    /// [`CborError`] where the bytes end, mean nothing or nest too deep.
    pub fn skip(&mut self, item: &Item<'_>) -> Result<(), CborError> {
        // For each open value, how many more values it has; none: up to the break.
        let mut open = Vec::new();
        open.extend(remaining(item));
        while let Some(count) = open.last_mut() {
            if *count == Some(0) {
                open.pop();
                continue;
            }
            if let Some(count) = count {
                *count -= 1;
            }
            let is_open_ended = count.is_none();
            let offset = self.at;
            let item = self.item()?;
            if item == Item::Break {
                if !is_open_ended {
                    return Err(CborError::Malformed { offset });
                }
                open.pop();
                continue;
            }
            open.extend(remaining(&item));
            if open.len() > DEPTH_MAX {
                return Err(CborError::Deep { offset });
            }
        }
        Ok(())
    }

    fn take_len(&mut self, len: u64) -> Result<&'a [u8], CborError> {
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CborError> {
        let offset = self.bytes.len();
        let end = self.at.checked_add(len).ok_or(CborError::End { offset })?;
        let bytes = self
            .bytes
            .get(self.at..end)
            .ok_or(CborError::End { offset })?;
        self.at = end;
        Ok(bytes)
    }
}

/// How many values belong to an item, if any do.
fn remaining(item: &Item<'_>) -> Option<Option<u64>> {
    match item {
        Item::Array(count) => Some(*count),
        Item::Map(count) => Some(count.map(|count| count.saturating_mul(2))),
        Item::Pieces => Some(None),
        _ => None,
    }
}

/// A float of 16 bits: 1 sign, 5 exponent, 10 fraction.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Item<'_>, CborError>) {
        assert_eq!(Reader::new(bytes).item(), expected, "{bytes:x?}");
    }

    #[test]
    fn heads() {
        check(&[0x17], Ok(Item::Number(23.0)));
        check(&[0x19, 0x03, 0xe8], Ok(Item::Number(1000.0)));
        check(&[0x38, 0x63], Ok(Item::Number(-100.0)));
        check(&[0xf9, 0x3e, 0x00], Ok(Item::Number(1.5)));
        check(&[0xf9, 0xc4, 0x00], Ok(Item::Number(-4.0)));
        check(&[0xfa, 0x47, 0xc3, 0x50, 0x00], Ok(Item::Number(100_000.0)));
        check(
            &[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a],
            Ok(Item::Number(1.1)),
        );
        check(&[0x62, b'h', b'i'], Ok(Item::Text("hi")));
        check(&[0xc1, 0x01], Ok(Item::Number(1.0)));
        check(&[0x9f], Ok(Item::Array(None)));
        check(&[0xf6], Ok(Item::Null));
        check(&[0xff], Ok(Item::Break));
        check(&[0x62, b'h'], Err(CborError::End { offset: 2 }));
        check(
            &[0x7b, 255, 255, 255, 255, 255, 255, 255, 255],
            Err(CborError::End { offset: 9 }),
        );
        check(&[0x61, 0xff], Err(CborError::Malformed { offset: 0 }));
        check(&[0x1c], Err(CborError::Malformed { offset: 0 }));
    }

    #[test]
    fn skipping_is_bounded() {
        let nested = [0x81; 100];
        let mut reader = Reader::new(&nested);
        let item = reader.item().expect("an array");
        assert_eq!(reader.skip(&item), Err(CborError::Deep { offset: 32 }));
        let mixed = [0x9f, 0xa1, 0x01, 0x7f, 0x61, b'a', 0xff, 0xff, 0x07];
        let mut reader = Reader::new(&mixed);
        let item = reader.item().expect("an array");
        assert_eq!(reader.skip(&item), Ok(()));
        assert_eq!(reader.item(), Ok(Item::Number(7.0)));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(item) = reader.item() {
                let _ = reader.clone().skip(&item);
            }
        }
    }
}
