//! What users of the crate see: frozen bytes, hostile bytes, lost blocks.

mod attacks;
mod enrolment;
mod golden;
mod lorawan;
mod masked;
mod properties;
mod provision;
mod reconstruct;
mod samples;
mod serial;
mod shadow;
mod sizes;
mod smp;
mod strict;
mod transfer;
mod trust;
