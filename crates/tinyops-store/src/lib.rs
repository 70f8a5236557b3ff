#![forbid(unsafe_code)]
//! Records by entity and artifacts by digest.
