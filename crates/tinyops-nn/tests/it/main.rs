//! What a user of the crate sees: plans in, scores out, whatever the bytes.

mod arithmetic;
mod distance;
mod general;
mod hostile;
mod kernels;
mod matrices;
mod plans;
mod prior;
mod recurrent;
mod reference;
mod statistics;
mod sums;
