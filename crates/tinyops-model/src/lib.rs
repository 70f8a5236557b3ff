#![forbid(unsafe_code)]
//! A model: front end, graph, labels and baseline.
//!
//! [`Model`] is everything that turns a window of readings into a decision, and its bytes are the
//! registry's artifact: the same model has the same bytes, always. [`Graph`] is the network in it.
//!
//! This crate never trains, never knows a board, and never opens a file.

pub mod build;
mod bytes;
mod check;
mod encode;
pub mod graph;
mod model;
pub mod tflite;

pub use build::GraphBuilder;
pub use check::GraphError;
pub use encode::DecodeError;
pub use graph::{
    Activation, Conv, Data, Graph, Op, OpKind, Padding, Pool, Quantization, Reduction, State,
    Tensor, TensorId, Unary,
};
pub use model::{Body, Decision, Model, OwnedScaler, Task};
