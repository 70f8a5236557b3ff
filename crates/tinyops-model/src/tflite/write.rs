//! The little of the FlatBuffers format that writing a `.tflite` file takes.
//!
//! Whatever is named lies behind what names it, so one pass from front to back is enough.
//!
//! # Source
//! FlatBuffers, "Internals": tables, vtables, vectors and strings.

/// What a field of a table can hold.
pub(super) enum Value {
    Byte(u8),
    Int(i32),
    Float(f32),
    Table(Table),
    Tables(Vec<Table>),
    /// Numbers as bytes, with the length of one.
    Vector(Vec<u8>, usize),
    Text(String),
}

impl Value {
    pub(super) fn ints(values: &[i32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        Value::Vector(bytes.collect(), 4)
    }

    pub(super) fn floats(values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        Value::Vector(bytes.collect(), 4)
    }

    pub(super) fn longs(values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        Value::Vector(bytes.collect(), 8)
    }
}

/// Fields by number.
pub(super) type Table = Vec<(u16, Value)>;

/// Data of a buffer begins at a multiple of this, as readers in place want it.
const DATA_ALIGN: usize = 16;

/// A file with this root.
pub(super) fn file(identifier: [u8; 4], root: &Table) -> Vec<u8> {
    let mut out = Writer { bytes: vec![0; 4] };
    out.bytes.extend(identifier);
    let root = out.table(root);
    out.bytes[..4].copy_from_slice(&(root as u32).to_le_bytes());
    out.bytes
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn table(&mut self, fields: &Table) -> usize {
        let slots = fields.iter().map(|(number, _)| number + 1).max();
        let vtable_bytes = 4 + 2 * usize::from(slots.unwrap_or(0));
        // The table follows its vtable and begins with its distance from it; four bytes a field.
        self.align(4, vtable_bytes);
        let vtable = self.bytes.len();
        let start = vtable + vtable_bytes;
        let mut offsets = vec![0u16; vtable_bytes / 2];
        offsets[0] = vtable_bytes as u16;
        offsets[1] = (4 + 4 * fields.len()) as u16;
        for (index, (number, _)) in fields.iter().enumerate() {
            offsets[2 + usize::from(*number)] = (4 + 4 * index) as u16;
        }
        self.bytes
            .extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        self.bytes.extend((vtable_bytes as u32).to_le_bytes());
        for (_, value) in fields {
            self.bytes.extend(match value {
                Value::Byte(byte) => [*byte, 0, 0, 0],
                Value::Int(int) => int.to_le_bytes(),
                Value::Float(float) => float.to_le_bytes(),
                _ => [0; 4],
            });
        }
        for (index, (_, value)) in fields.iter().enumerate() {
            let at = start + 4 + 4 * index;
            let target = match value {
                Value::Byte(_) | Value::Int(_) | Value::Float(_) => continue,
                Value::Table(table) => self.table(table),
                Value::Tables(tables) => self.tables(tables),
                Value::Vector(bytes, one) => {
                    let align = if *one == 1 { DATA_ALIGN } else { *one };
                    self.vector(bytes, *one, align)
                }
                Value::Text(text) => {
                    let at = self.vector(text.as_bytes(), 1, 4);
                    self.bytes.push(0);
                    at
                }
            };
            self.point(at, target);
        }
        start
    }

    fn tables(&mut self, tables: &[Table]) -> usize {
        self.align(4, 0);
        let at = self.bytes.len();
        self.bytes.extend((tables.len() as u32).to_le_bytes());
        self.bytes.resize(at + 4 + 4 * tables.len(), 0);
        for (index, table) in tables.iter().enumerate() {
            let target = self.table(table);
            self.point(at + 4 + 4 * index, target);
        }
        at
    }

    fn vector(&mut self, bytes: &[u8], one: usize, align: usize) -> usize {
        self.align(align, 4);
        let at = self.bytes.len();
        self.bytes
            .extend(((bytes.len() / one) as u32).to_le_bytes());
        self.bytes.extend(bytes);
        at
    }

    /// Zeros, so that what comes after `ahead` more bytes begins at a multiple of `align`.
    fn align(&mut self, align: usize, ahead: usize) {
        let len = (self.bytes.len() + ahead).next_multiple_of(align) - ahead;
        self.bytes.resize(len, 0);
    }

    fn point(&mut self, at: usize, target: usize) {
        let distance = (target - at) as u32;
        self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }
}
