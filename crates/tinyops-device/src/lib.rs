#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The device agent: window, features, scores, sketch, report; slots and updates.
