//! Models as bytes, graphs and their faults, foreign files.

mod bad_files;
mod encoding;
mod exports;
mod faults;
mod foreign;
mod samples;
