#![forbid(unsafe_code)]
//! Decoders, samples, labels, validation, splits, manifests, baselines.
