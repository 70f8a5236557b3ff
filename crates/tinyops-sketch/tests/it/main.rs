//! What users of the crate see: merging, drift, and the reference values of other libraries.

mod golden;
mod properties;
mod shift;
