#![forbid(unsafe_code)]
//! MLOps for TinyML: the one binary.

fn main() {}
