//! Reads int8 networks from `.tflite` files, and writes them.
//!
//! [`import`] turns a file into a [`Graph`](crate::Graph), or says everything that stands in the
//! way: each operator, the tensor it makes, and why. Bytes may be anything: nothing panics, and
//! no more memory is asked for than a small multiple of the file's length.

mod export;
mod flatbuffer;
mod general;
mod import;
mod operator;
mod operators;
mod schema;
mod write;

pub use export::{ExportError, export};
pub use import::{ImportError, Refusal, graph_name, import, tensor_names};
pub use operators::{Operator, operators};
