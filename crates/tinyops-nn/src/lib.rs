#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Int8 kernels, the executor of a Plan, and last-layer learning from sufficient statistics.
