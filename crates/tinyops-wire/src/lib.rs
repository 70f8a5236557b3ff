#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Ids, frames, envelopes and the capsule: everything in flash or on the air, as bytes.
//!
//! Every format carries a version, is written down in `docs/formats/`, and is frozen by a golden
//! file. Decoders take bytes that may be anything: they answer with an error, never with a panic.
//! Nothing here sends, receives, stores or allocates; the caller lends the room to write in.

pub mod id;
pub mod key;

mod bytes;
mod codes;
pub mod crc;
mod sign1;

// First: how a device becomes one of its server's.
pub mod claim;
pub mod enrolment;
pub mod provision;

// Both ways: windows for an annotator.
pub mod annotation;
pub mod sealing;

// Up: what a device tells.
pub mod envelope;
pub mod frame;
pub mod mask;
pub mod masked;
pub mod noise;
pub mod shadow;
pub mod statistics;
pub mod summary;

// Down: what a device is told and given.
pub mod block;
pub mod capsule;
pub mod cost;
pub mod delta;
pub mod downlink;
pub mod key_set;
pub mod manifest;
pub mod payload;
pub mod section;
pub mod sensor;
pub mod statement;

// Links that need more than an envelope.
pub mod base64;
pub mod lorawan;
pub mod serial;
pub mod smp;

pub use capsule::Capsule;
pub use downlink::Downlink;
pub use envelope::{Envelope, Sealed};
pub use frame::Frame;
pub use id::{DeviceId, Digest, ModelId, Timestamp};
pub use key::{DeviceKey, KeyId, SigningKey, VerifyingKey};
pub use key_set::KeySet;
pub use manifest::Manifest;
pub use statement::Statement;
