//! Devices from the outside: envelopes and blocks in, envelopes and predictions out.

mod fixture;
mod hostile;
mod install;
mod labels;
mod power;
mod predict;
mod refuse;
mod report;
