//! Bytes of the protocol: big-endian, and vectors behind their length (RFC 8446, section 3).

/// What is written, at the end of what was.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Bytes behind their number in one byte. The settings hold none that are longer.
    pub(super) fn short(&mut self, bytes: &[u8]) {
        self.u8(u8::try_from(bytes.len()).expect("255 bytes at most"));
        self.fixed(bytes);
    }

    /// Bytes behind their number in two.
    pub(super) fn medium(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).expect("65,535 bytes at most"));
        self.fixed(bytes);
    }

    /// Bytes behind their number in four.
    pub(super) fn long(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("less than 4 GiB"));
        self.fixed(bytes);
    }
}

/// Bytes that may be anything, read from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.fixed().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Bytes behind their number in two.
    pub(super) fn medium(&mut self) -> Option<&'b [u8]> {
        let count = usize::from(self.u16()?);
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
