#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The device agent: window, features, scores, sketch, report; slots, trials and updates.
//!
//! [`Agent::step`] is handed the time and an event and answers with what to do. It reads no clock, no
//! pin and no link, and allocates nothing: flash and memory are the caller's ([`flash::Flash`],
//! [`memory::Memory`]). The same code runs on a board and, a thousand times over, in one process.

pub mod annotate;
#[doc(hidden)]
pub mod conformance;
pub mod flash;
pub mod lorawan;
pub mod memory;
pub mod monitor;
pub mod restandard;
pub mod sim;

mod adapt;
mod agent;
mod install;
mod journal;
mod labels;
mod ledger;
mod masked;
mod model;
mod normal;
mod own_head;
mod own_store;
mod port;
mod running;
mod sensor;
mod settings;
mod shadow;
mod slots;
mod trust;
mod unpack;
mod uplink;

pub use agent::Agent;
pub use model::{Answer, Model, Prediction, Refusal, Scorer, Verdict, Workspace};
pub use own_head::{OwnHeadState, Trial};
pub use port::{Action, Counters, Event, Fetch, Measured};
pub use sensor::Sensor;
pub use settings::{BlockSource, Budgets, Config, Local, Masked, Privacy, Reporting};
