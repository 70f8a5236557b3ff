#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Filters, FFT and feature blocks: one implementation for training and device.
