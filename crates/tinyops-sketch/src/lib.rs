#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Mergeable summaries and drift detectors.
