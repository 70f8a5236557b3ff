//! Reads int8 and int16x8 networks from `.tflite` files, and writes them.
//!
//! [`import`] turns a file into a [`Graph`](crate::Graph), or says everything that stands in the
//! way: each operator, the tensor it makes, and why. Bytes may be anything: nothing panics, and
//! no more memory is asked for than a small multiple of the file's length.

mod batches;
mod constants;
mod ends;
mod export;
mod facts;
mod flatbuffer;
mod general;
mod import;
mod int16;
mod islands;
mod operator;
mod operators;
mod outline;
mod schema;
mod variables;
mod windows;
mod write;

pub use ends::{End, EndKind};
pub use export::{ExportError, export};
pub use import::{
    ImportError, Imported, Refusal, graph_name, import, import_with_ends, tensor_names,
};
pub use int16::runs_int16;
pub use operators::{Operator, operators};
