//! The crate as its callers see it: small recordings, broken ones, real ones.

mod hostile;
mod real;
mod small;
