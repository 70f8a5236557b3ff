//! A physical model of fans with faults: what the demo and the fleet simulator measure.
//!
//! No recording is stored and none is replayed: forces (rotor, blades, bearing, looseness) act on a
//! mounting with its own resonances, a sensor picks the motion up, samples and rounds it. Machines
//! differ in speed, load, geometry and mounting; a mounting can also work itself loose.

mod dice;
mod machine;
mod mount;

pub(crate) use dice::Dice;
pub(crate) use machine::{AXES, Condition, Fan, Machine, RATE_HZ};
