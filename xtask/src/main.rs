//! Every chore of the project, in Rust: `cargo xtask test | ci | golden | bench`.
//!
//! A chore prints what it does and exits with 1 when its answer is no.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores talk to the person at the terminal"
)]

mod aarch64;
mod bench_device;
mod bench_footprint;
mod bench_host;
mod bench_listen;
mod bench_loop;
mod bench_manage;
mod bench_ship;
mod c99;
mod chance;
mod figure;
mod firmware;
mod fuzz;
mod golden;
mod golden_drift;
mod golden_dsp;
mod golden_labels;
mod golden_random;
mod golden_tflite;
mod handed_on;
mod house;
mod imports;
mod lanes;
mod licences;
mod lineage_told;
mod memory;
mod mlflow;
mod package;
mod peer;
mod processor;
mod screenshots;
mod server;
mod steps;
mod taken_over;
mod tally;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Every chore of the project
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything CI runs: install what tests need, static checks, every test
    Test,
    /// The static checks: format, lints, import table, house rules, licences, docs
    Ci,
    /// Hold our arithmetic against the reference outputs of other libraries
    #[command(subcommand)]
    Golden(golden::Golden),
    /// Measure ourselves on real recordings
    #[command(subcommand)]
    Bench(bench_loop::Bench),
    /// Compile the firmware of real boards, as far as the compilers here reach
    Firmware,
    /// Hold the C99 runtime of `c/` to the Rust runtime, byte for byte
    C99 {
        /// Run the MLPerf Tiny networks on every emulated core, and print target by network
        #[arg(long, conflicts_with = "write")]
        matrix: bool,
        /// Write the records to a file and run none, for a target of your own
        #[arg(long, value_name = "FILE")]
        write: Option<std::path::PathBuf>,
    },
    /// Pack a model for every ecosystem, build what came out, and run its self test
    Package,
    /// Run the tests of the kernels under Miri (says so where there is none)
    Miri,
    /// Run the tests of the kernels under AddressSanitizer
    Address,
    /// Feed every decoder of foreign bytes with mutated ones
    Fuzz {
        /// One target; all of them without it
        target: Option<String>,
        /// Seconds for each target
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Take pictures of the pages of a running server into docs/images/ (needs Chromium)
    Screenshots {
        /// Where the server is, such as the one that `tinyops demo` starts
        #[arg(default_value = "http://127.0.0.1:8787")]
        url: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let answer = match cli.chore {
        Chore::Test => steps::test(),
        Chore::Ci => steps::ci(),
        Chore::Golden(golden) => golden.run(),
        Chore::Bench(bench) => bench.run(),
        Chore::Firmware => firmware::check(),
        Chore::C99 { matrix: true, .. } => c99::matrix(),
        Chore::C99 { write, .. } => match write {
            Some(file) => c99::write(&file),
            None => c99::check(),
        },
        Chore::Package => package::whole(),
        Chore::Miri => memory::miri(),
        Chore::Address => memory::address(),
        Chore::Fuzz { target, seconds } => fuzz::fuzz(target.as_deref(), seconds),
        Chore::Screenshots { url } => screenshots::screenshots(&url),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
