//! `cargo xtask bench footprint`: what the binary and an idle server take.
//!
//! The binary is the release build; the server is a real process on free ports of this machine,
//! with a fresh project, and its devices register over HTTP as any would.

use crate::server::{self, Server};
use crate::steps::Answer;
use std::fs;
use std::time::Duration;

const DEVICES: usize = 1000;
const BINARY_MB_MAX: f64 = 40.0;
const READY_S_MAX: f64 = 0.3;
const MEMORY_MB_MAX: f64 = 60.0;

/// Builds, starts, registers, measures and prints.
pub(crate) fn run() -> Answer {
    let binary = server::build()?;
    let bytes = fs::metadata(&binary)
        .map_err(|error| format!("{}: {error}", binary.display()))?
        .len();
    let project = server::fresh_project(&binary, "bench-footprint")?;
    // The second start is measured: the first also makes the store and the keys.
    drop(Server::start(&binary, &project, &[])?);
    let server = Server::start(&binary, &project, &[])?;
    for _ in 0..DEVICES {
        server.ask("POST /api/v1/devices", r#"{"board":"esp-eye"}"#)?;
    }
    std::thread::sleep(Duration::from_secs(2));
    let rows = [
        ("binary, MB", BINARY_MB_MAX, bytes as f64 / 1e6),
        ("server ready, s", READY_S_MAX, server.ready_s),
        (
            "memory with 1,000 devices idle, MB",
            MEMORY_MB_MAX,
            server.process.memory()? / 1e6,
        ),
    ];
    println!("{:<36} {:>8} {:>8}", "", "at most", "own");
    let mut missed = Vec::new();
    for (name, most, own) in rows {
        println!("{name:<36} {most:>8.2} {own:>8.2}");
        if own > most {
            missed.push(name);
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!("missed: {}", missed.join("; ")))
}
