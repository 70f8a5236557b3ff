//! The fault simulator: flash that fails at any operation in any way, and a device that must not mind.
//!
//! A schedule is one story on one geometry of flash with up to three faults. Replay one with
//! `TINYOPS_SCHEDULE=4x512/update/cut@12#3 cargo test -p tinyops-device --test it replay -- --nocapture`.

#![expect(
    clippy::print_stdout,
    reason = "it tells what it has gone through, and replays in words"
)]

mod explore;
mod flash;
mod foreign;
mod own_head;
mod parcel;
mod schedule;
mod story;
mod world;
