//! Counts what the device's monitor takes on an emulated machine: instructions and state.
//!
//! The firmware is `firmware/qemu-monitor`.

use crate::bench::{all_of, load};
use crate::{EmulateError, Firmware, Machine, report};
use std::path::PathBuf;

/// Features of a window; its output comes after them.
pub const MONITOR_FEATURES: usize = 8;

/// Values of the embedding of a window.
pub const MONITOR_EMBEDDING: usize = 32;

/// One window as the monitor is given it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MonitorWindow {
    /// The monitored features.
    pub features: [f32; MONITOR_FEATURES],
    /// What the model says.
    pub output: f32,
    /// Its class.
    pub class: u8,
    /// Its embedding, as it lies in memory.
    pub embedding: [u8; MONITOR_EMBEDDING],
}

/// The program that counts windows, built for a machine.
#[derive(Debug, Clone)]
pub struct MonitorBench {
    program: PathBuf,
    machine: &'static Machine,
}

/// What some windows took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MonitorMeasured {
    /// Windows that were counted, without the first 128, which teach the monitor what is normal.
    pub window_count: u32,
    /// Instructions of all of them, to within a tick of the timer.
    pub instructions: u64,
    /// Instructions of measuring how far all their embeddings lie from the factory's.
    pub embedding_instructions: u64,
    /// Bytes of the monitor's state.
    pub monitor_bytes: u32,
    /// Bytes of what it compares with.
    pub reference_bytes: u32,
    /// The report of all windows, an M6H8 frame without a header's facts, dithered by seed 0 and sequence 0, in hex.
    pub report: String,
}

impl MonitorBench {
    /// Builds the program for a machine.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not compile.
    pub fn build(
        firmware: &Firmware,
        machine: &'static Machine,
    ) -> Result<MonitorBench, EmulateError> {
        let package = ["--package", "qemu-monitor", "--bin", "qemu-monitor"];
        let program = firmware.build(machine, all_of(machine), &package, "qemu-monitor")?;
        Ok(MonitorBench { program, machine })
    }

    /// Counts these windows against an encoded baseline, and bytes that say where embeddings lie.
    ///
    /// # Errors
    /// [`EmulateError`]: no figures came out.
    pub fn run(
        &self,
        baseline: &[u8],
        embedding: &[u8],
        windows: &[MonitorWindow],
    ) -> Result<MonitorMeasured, EmulateError> {
        let counts = [baseline.len(), embedding.len(), windows.len()].map(|count| count as u32);
        let mut bytes: Vec<u8> = counts.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.extend(baseline);
        bytes.extend(embedding);
        for window in windows {
            let values = window.features.iter().chain([&window.output]);
            bytes.extend(values.flat_map(|value| value.to_le_bytes()));
            bytes.extend(u32::from(window.class).to_le_bytes());
            bytes.extend(window.embedding);
        }
        MonitorMeasured::parse(&load(&self.program, self.machine, &bytes)?)
    }
}

impl MonitorMeasured {
    fn parse(output: &str) -> Result<MonitorMeasured, EmulateError> {
        let mut measured = MonitorMeasured::default();
        report::lines(output, "tinyops-monitor 1", |words| {
            let [name, word] = words else { return None };
            match *name {
                "windows" => measured.window_count = word.parse().ok()?,
                "instructions" => measured.instructions = word.parse().ok()?,
                "embedding" => measured.embedding_instructions = word.parse().ok()?,
                "monitor" => measured.monitor_bytes = word.parse().ok()?,
                "reference" => measured.reference_bytes = word.parse().ok()?,
                "report" => (*word).clone_into(&mut measured.report),
                _ => return None,
            }
            Some(())
        })?;
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_report_is_read_and_half_of_one_is_not() {
        let text = "tinyops-monitor 1\nwindows 512\ninstructions 9000\nembedding 700\nmonitor 640\nreference 400\nreport 0a12\nend\n";
        let measured = MonitorMeasured::parse(text).unwrap();
        assert_eq!((measured.window_count, measured.instructions), (512, 9000));
        assert_eq!(measured.embedding_instructions, 700);
        assert_eq!(measured.report, "0a12");
        assert!(MonitorMeasured::parse(&text[..40]).is_err());
    }
}
