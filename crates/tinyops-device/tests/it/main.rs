//! Devices from the outside: envelopes and blocks in, envelopes and predictions out.

mod adapt;
mod annotate;
mod attacks;
mod delta;
mod embedding;
mod faults;
mod fixture;
mod hold;
mod hostile;
mod install;
mod journals;
mod key_sets;
mod labels;
mod masked;
mod noised;
mod own_head;
mod power;
mod predict;
mod refuse;
mod report;
mod shadow;
