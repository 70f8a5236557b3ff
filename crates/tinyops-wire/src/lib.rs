#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Ids, frames, reports, capsule format.

pub mod id;
