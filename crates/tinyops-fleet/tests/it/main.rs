//! A fleet over an in-memory store: what devices send, and what comes of it.

mod alerts;
mod annotate;
mod dap;
mod deltas;
mod detection;
mod enrolment;
mod expected;
// The device's own tests make sound capsules, and memory to run them in.
#[allow(dead_code, reason = "the device's tests use the rest")]
#[path = "../../../tinyops-device/tests/it/fixture.rs"]
mod fixture;
mod ingest;
mod installs;
mod intake;
mod kept_sums;
mod keys;
mod label;
mod links;
mod local;
mod masked;
mod masked_round;
mod own_head;
mod repair;
mod restandardize;
mod rollout;
mod round;
mod shadow;
mod world;
