//! The little of the FlatBuffers format that reading a `.tflite` file takes.
//!
//! # Source
//! FlatBuffers, "Internals": tables, vtables, vectors and strings.

/// The bytes end where something should be, or an offset leads out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfBytes;

type Read<T> = Result<T, OutOfBytes>;

/// A number of fixed width, little-endian.
pub(super) trait Scalar: Copy {
    const BYTES: usize;
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! scalar {
    ($($kind:ty),*) => {$(
        impl Scalar for $kind {
            const BYTES: usize = size_of::<$kind>();
            fn read(bytes: &[u8]) -> $kind {
                <$kind>::from_le_bytes(bytes.try_into().expect("the caller took as many bytes"))
            }
        }
    )*};
}
scalar!(u8, i8, u16, i32, u32, f32, i64, u64);

/// A table: fields by number, each there or not.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offsets of the fields from `at`, two bytes each.
    fields: &'a [u8],
}

/// A vector of scalars or of offsets.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    bytes: &'a [u8],
    at: usize,
    len: usize,
}

impl<'a> Table<'a> {
    /// The root table of a file.
    pub(super) fn root(bytes: &'a [u8]) -> Read<Table<'a>> {
        let at: u32 = scalar(bytes, 0)?;
        Table::at(bytes, at as usize)
    }

    fn at(bytes: &'a [u8], at: usize) -> Read<Table<'a>> {
        let back: i32 = scalar(bytes, at)?;
        let vtable = i64::try_from(at).map_err(|_| OutOfBytes)? - i64::from(back);
        let vtable = usize::try_from(vtable).map_err(|_| OutOfBytes)?;
        let len: u16 = scalar(bytes, vtable)?;
        let fields = bytes.get(vtable + 4..).ok_or(OutOfBytes)?;
        let fields = fields
            .get(..usize::from(len).saturating_sub(4))
            .ok_or(OutOfBytes)?;
        Ok(Table { bytes, at, fields })
    }

    /// Where a field lies, if it is there.
    fn field(&self, number: usize) -> Option<usize> {
        let offset = self.fields.get(2 * number..2 * number + 2)?;
        let offset = usize::from(u16::read(offset));
        (offset != 0).then(|| self.at.saturating_add(offset))
    }

    /// A scalar field, or its default.
    pub(super) fn scalar<T: Scalar>(&self, number: usize, default: T) -> Read<T> {
        self.field(number)
            .map_or(Ok(default), |at| scalar(self.bytes, at))
    }

    /// A field that is a table.
    pub(super) fn table(&self, number: usize) -> Read<Option<Table<'a>>> {
        let target = self
            .field(number)
            .map(|at| follow(self.bytes, at))
            .transpose()?;
        target.map(|at| Table::at(self.bytes, at)).transpose()
    }

    /// A field that is a vector of scalars; empty if it is not there.
    pub(super) fn scalars<T: Scalar>(&self, number: usize) -> Read<Vector<'a>> {
        self.vector(number, T::BYTES)
    }

    /// A field that is a vector of tables; empty if it is not there.
    pub(super) fn tables(&self, number: usize) -> Read<Vector<'a>> {
        self.vector(number, 4)
    }

    /// A field that is text; empty if it is not there, with marks for what is not UTF-8.
    pub(super) fn text(&self, number: usize) -> Read<String> {
        let vector = self.vector(number, 1)?;
        Ok(String::from_utf8_lossy(vector.raw()).into_owned())
    }

    fn vector(&self, number: usize, item_bytes: usize) -> Read<Vector<'a>> {
        let Some(at) = self.field(number) else {
            return Ok(Vector {
                bytes: self.bytes,
                at: 0,
                len: 0,
            });
        };
        let at = follow(self.bytes, at)?;
        let len: u32 = scalar(self.bytes, at)?;
        let len = len as usize;
        let at = at + 4;
        let end = len
            .checked_mul(item_bytes)
            .and_then(|bytes| bytes.checked_add(at));
        if end.is_none_or(|end| end > self.bytes.len()) {
            return Err(OutOfBytes);
        }
        Ok(Vector {
            bytes: self.bytes,
            at,
            len,
        })
    }
}

impl<'a> Vector<'a> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The scalars, of the kind that the vector was asked for.
    pub(super) fn scalars<T: Scalar + 'a>(self) -> impl Iterator<Item = T> + 'a {
        let items = self.bytes[self.at..].chunks_exact(T::BYTES);
        items.take(self.len).map(T::read)
    }

    /// A table of a vector of tables.
    pub(super) fn table(&self, index: usize) -> Read<Table<'a>> {
        if index >= self.len {
            return Err(OutOfBytes);
        }
        Table::at(self.bytes, follow(self.bytes, self.at + 4 * index)?)
    }

    /// The bytes of a vector of bytes.
    pub(super) fn raw(&self) -> &'a [u8] {
        &self.bytes[self.at..self.at + self.len]
    }
}

fn scalar<T: Scalar>(bytes: &[u8], at: usize) -> Read<T> {
    let end = at.checked_add(T::BYTES).ok_or(OutOfBytes)?;
    bytes.get(at..end).map(T::read).ok_or(OutOfBytes)
}

fn follow(bytes: &[u8], at: usize) -> Read<usize> {
    let offset: u32 = scalar(bytes, at)?;
    at.checked_add(offset as usize).ok_or(OutOfBytes)
}
