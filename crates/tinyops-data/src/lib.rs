#![forbid(unsafe_code)]
//! From bytes of recordings to a dataset: decoders, samples, labels, validation, splits, manifests, windows.
//!
//! Pure: files are listed and read by the caller, so this crate opens none, prints nothing and keeps no state.
//! Bad input is a value: every finding lands in a [`finding::Report`] with file and row, and nothing here panics
//! on foreign bytes.
//!
//! [`ingest::ingest`] is the front door: a [`spec::DataSpec`] and the listed files in, a [`dataset::Dataset`] and a
//! report out. [`split::split`] and [`window::Windowing`] take it from there.

pub mod acquisition;
mod annotate;
pub mod chunk;
pub mod confident;
pub mod dataset;
pub mod decode;
pub mod dvc;
mod field;
pub mod finding;
pub mod history;
pub mod ingest;
mod layout;
mod leak;
pub mod manifest;
mod natural;
pub mod outlier;
pub mod pattern;
pub mod pointer;
mod resample;
pub mod sample;
pub mod schema;
mod similar;
pub mod spec;
pub mod split;
pub mod tree;
mod validate;
pub mod window;
