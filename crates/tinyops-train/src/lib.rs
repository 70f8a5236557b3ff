#![forbid(unsafe_code)]
//! Featurize, train, quantize, evaluate.
