//! Little-endian bytes of what passes between two steps of the pipeline.
//!
//! These are working files, read back by the version that wrote them: every kind starts with its own
//! mark, which changes with its layout.

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {what} of this version, or cut short")]
pub struct CodecError {
    /// What they should be.
    pub what: &'static str,
}

#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn new(mark: [u8; 8]) -> Self {
        Self(mark.to_vec())
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn len(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub(crate) fn f32s(&mut self, values: &[f32]) {
        self.len(values.len());
        self.0.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    }

    pub(crate) fn u32s(&mut self, values: &[u32]) {
        self.len(values.len());
        self.0.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    error: CodecError,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        mark: [u8; 8],
        what: &'static str,
        bytes: &'a [u8],
    ) -> Result<Self, CodecError> {
        let error = CodecError { what };
        let bytes = bytes.strip_prefix(&mark).ok_or(error)?;
        Ok(Self { bytes, error })
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        let (value, rest) = self.bytes.split_first_chunk().ok_or(self.error)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*value))
    }

    /// A count of items that are at least `item_bytes` each, so that no bytes can ask for more memory
    /// than they have themselves.
    pub(crate) fn len(&mut self, item_bytes: usize) -> Result<usize, CodecError> {
        let len = usize::try_from(self.u64()?).map_err(|_| self.error)?;
        let fits = len
            .checked_mul(item_bytes)
            .is_some_and(|bytes| bytes <= self.bytes.len());
        if fits { Ok(len) } else { Err(self.error) }
    }

    pub(crate) fn size(&mut self) -> Result<usize, CodecError> {
        let value = self.u64()?;
        if value <= 1 << 24 {
            Ok(value as usize)
        } else {
            Err(self.error)
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.len(1)?;
        let (bytes, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Ok(bytes)
    }

    pub(crate) fn f32s(&mut self) -> Result<Vec<f32>, CodecError> {
        Ok(self.words()?.map(f32::from_le_bytes).collect())
    }

    pub(crate) fn u32s(&mut self) -> Result<Vec<u32>, CodecError> {
        Ok(self.words()?.map(u32::from_le_bytes).collect())
    }

    pub(crate) fn text(&mut self) -> Result<String, CodecError> {
        let error = self.error;
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| error)
    }

    pub(crate) fn finish(self) -> Result<(), CodecError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.error)
        }
    }

    pub(crate) fn wrong(&self) -> CodecError {
        self.error
    }

    fn words(&mut self) -> Result<impl Iterator<Item = [u8; 4]> + use<'a>, CodecError> {
        let len = self.len(4)?;
        let (bytes, rest) = self.bytes.split_at(len * 4);
        self.bytes = rest;
        Ok(bytes.as_chunks().0.iter().copied())
    }
}
