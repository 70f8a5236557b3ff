#![forbid(unsafe_code)]
//! Boots firmware in an emulator and compares what it computes with golden vectors.
//!
//! The only crate that starts processes for a board: cargo for the firmware, QEMU to run it, and what puts
//! firmware onto a board. It is never needed to make a capsule; where its tools are missing, [`EmulateError::Missing`] says
//! how to get them and the caller reports that the smoke test was not run.

mod agent;
mod bench;
mod delta;
mod firmware;
mod loader;
mod machine;
mod monitor;
mod qemu;
mod report;
mod serial;
mod smoke;
mod trace;

pub use agent::{
    AGENT_FLASH_BYTES, AgentFirmware, BoardFaults, BoardOutput, BoardSaid, EmulatedBoard,
    FACTORY_BYTES, LineTo, end_readings, write_reading,
};
pub use bench::{Bench, Measured, RunFile, runtime_flash_bytes};
pub use delta::{DeltaBench, DeltaMeasured, delta_flash_bytes};
pub use firmware::{Firmware, MAIN_PIECE, Memory, ONE_PIECE, Toolchain, cargo};
pub use loader::{Load, LoadError, Surroundings};
pub use machine::{MACHINES, Machine, Region, Uart};
pub use monitor::{
    MONITOR_EMBEDDING, MONITOR_FEATURES, MonitorBench, MonitorMeasured, MonitorWindow,
};
pub use report::{Case, Smoke};
pub use serial::open_serial;
pub use smoke::smoke;
pub use trace::Tracer;

/// Why no verdict came out of the emulator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulateError {
    /// A program is not installed, or the firmware's source is not at hand.
    #[error("{what} is missing; {remedy}")]
    Missing {
        /// The program or folder.
        what: String,
        /// What brings it.
        remedy: &'static str,
    },
    /// The firmware did not build, most often because it does not fit the board's memory.
    #[error(
        "the firmware does not build for {flash_bytes} bytes of flash and {ram_bytes} of RAM: {log}"
    )]
    Build {
        /// Flash given to the linker.
        flash_bytes: u32,
        /// RAM given to the linker.
        ram_bytes: u32,
        /// The last lines of what the compiler said.
        log: String,
    },
    /// The machine did not end by itself.
    #[error("the emulator was stopped after {seconds} s; it had printed: {output}")]
    Timeout {
        /// How long it was given.
        seconds: u64,
        /// What it had printed until then.
        output: String,
    },
    /// The machine ended without a whole report.
    #[error("the firmware's report is not whole ({reason}); it printed: {output}")]
    Report {
        /// What is wrong with it.
        reason: String,
        /// What it printed.
        output: String,
    },
    /// The capsule cannot be run at all: the firmware said why.
    #[error("the firmware refused the capsule: {reason}")]
    Refused {
        /// The firmware's word.
        reason: String,
    },
    /// The machine has too little memory for it.
    #[error("it needs {needed_bytes} bytes of {memory}, more than the emulated machine has")]
    TooSmall {
        /// What is short: `flash` or `RAM`.
        memory: String,
        /// How much would be enough.
        needed_bytes: u64,
    },
    /// A file or process could not be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl EmulateError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
