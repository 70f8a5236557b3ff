#![forbid(unsafe_code)]
//! Records by entity and artifacts by digest: what TinyOps remembers.
//!
//! Records live in SQLite or PostgreSQL, chosen by URL; artifacts in a folder or in memory; versions of recordings in a
//! cache of files and on a remote, a folder or a bucket. One module per
//! table: the row's type, its SQL, nothing else. This crate never decides anything: it keeps what it is given,
//! whole or not at all, and an answered commit is on the disk.
//!
//! Reading functions take a [`Db`] or a [`Tx`]; writing functions take a [`Tx`].

mod column;
mod db;
mod error;
mod migration;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
mod statement;

mod artifacts;
pub mod cache;
mod file;
pub mod remote;

pub mod access;
pub mod approval;
pub mod audit;
pub mod capsule;
pub mod catalog;
pub mod dataset;
pub mod label;
pub mod lineage;
pub mod model;
pub mod project;
pub mod run;
pub mod schedule;
pub mod step;
pub mod tracking;
pub mod trigger;
pub mod upload;
pub mod webhook;
pub mod withdrawal;

pub mod alert;
pub mod annotation;
pub mod claim;
pub mod class_token;
pub mod ddi;
pub mod device;
pub mod downlink;
pub mod drift;
pub mod enrolment;
pub mod error_stream;
pub mod hello;
pub mod intake_log;
pub mod masked_update;
pub mod outcome;
pub mod presence;
pub mod privacy;
pub mod repair;
pub mod report;
pub mod rollout;
pub mod round;

pub use artifacts::{Artifacts, Incoming, Outgoing};
pub use db::{Db, Read, Tx};
pub use error::{Cause, StoreError};
pub use file::{Readers, move_new, write_new, write_whole, write_whole_with};
pub use tinyops_wire::id::{DeviceId, Digest, DigestBuilder, ModelId, Timestamp};
pub use tinyops_wire::key::DeviceKey;

/// Free-form details of a record: numbers, texts and lists that nobody queries by.
pub type Json = serde_json::Value;
