#![forbid(unsafe_code)]
//! A model: front end, graph, labels and baseline.
