#![forbid(unsafe_code)]
//! Steps, cache, lineage, triggers.
