#![forbid(unsafe_code)]
//! Devices, telemetry, drift alerts, rollouts, signing, federated rounds: what operates a fleet.
//!
//! Every decision is a pure function of what is known, tested from tables; around it a thin async function
//! reads the records, decides, and writes them in one transaction. This crate knows nothing of training: it
//! asks for a model by a trigger in the store, and finds the answer there as capsules.
//!
//! Time, keys and randomness come from the caller; only `dap` draws its own, from the system.

mod again;
mod fleet;

// Who may speak, and with what.
pub mod access;
pub mod credential;
pub mod enrol;
pub mod enrolment;
pub mod keys;
mod rate;
pub mod sign;
pub mod signer;

// What they tell.
pub mod cost;
pub mod ingest;
pub mod intake;
mod intake_log;
pub mod lorawan;
pub mod outcome;
pub mod refusal;

// What they tell under masks or noise, as sums.
pub mod budget;
mod cohort_mean;
pub mod dap;
pub mod helper;
mod local;
pub mod masked;
pub mod masked_sums;
pub mod sum_watch;

// What it means.
mod alerts;
mod concept;
pub mod confidence;
pub mod detector;
pub mod diagnosis;
pub mod drift_report;
mod memory;
mod normal;
pub mod two_sample;
pub mod watch;
pub mod webhook;

// What to do about it.
pub mod engine;
pub mod episode;
pub mod evidence;
pub mod kept_sums;
pub mod ladder;
mod masked_round;
pub mod plan;
pub mod repair;
pub mod restandardize;
pub mod rollout;
pub mod round;
pub mod selector;
pub mod sums;
pub mod window;

// What they are told.
pub mod annotate;
pub mod ddi;
mod delta;
pub mod label;
pub mod owed;
pub mod own_head;
pub mod recording;

pub use delta::DELTA_EDGE;
pub use fleet::{Event, Fleet, FleetError, Policy};
pub use ingest::{Refusal, Uplink, Verdict};
pub use intake::Intake;
pub use keys::{KeyFolder, Keyring};
pub use signer::Signer;
