//! The crate as its callers see it: real recordings, and recordings with something wrong.

mod real;
