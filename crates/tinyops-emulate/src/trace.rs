//! What each op of a plan makes on an emulated machine.
//!
//! The firmware is `firmware/qemu-bench`, its program `trace`. It prints, for each case and op, the bytes of the
//! op's output before a later op takes them:
//!
//! ```text
//! tinyops-trace 1
//! op <case> <index> <bytes in hex>
//! end
//! ```

use crate::bench::{self, RunFile};
use crate::{EmulateError, Firmware, Machine, report};
use std::path::PathBuf;

/// The program that shows what each op makes, built for a machine.
#[derive(Debug, Clone)]
pub struct Tracer {
    program: PathBuf,
    machine: &'static Machine,
}

impl Tracer {
    /// Builds the program for a machine, with all the memory that it has.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not compile.
    pub fn build(firmware: &Firmware, machine: &'static Machine) -> Result<Tracer, EmulateError> {
        let package = ["--package", "qemu-bench", "--bin", "trace"];
        let program = firmware.build(machine, bench::all_of(machine), &package, "trace")?;
        Ok(Tracer { program, machine })
    }

    /// The output of each op for each input, which has the bytes of all inputs of the plan. In a
    /// stream each goes on where the one before ended.
    ///
    /// # Errors
    /// [`EmulateError`]; [`EmulateError::TooSmall`] when the machine is.
    pub fn run(
        &self,
        plan: &[u8],
        inputs: &[Vec<u8>],
        is_stream: bool,
    ) -> Result<Vec<Vec<Vec<u8>>>, EmulateError> {
        let cases: Vec<(Vec<u8>, Vec<u8>)> = inputs
            .iter()
            .map(|input| (input.clone(), Vec::new()))
            .collect();
        let file = RunFile {
            plan,
            cases: &cases,
            is_stream,
        };
        let output = bench::run_loaded(&self.program, self.machine, &file)?;
        let made = parse(&output)?;
        if made.len() != inputs.len() {
            let reason = format!("{} of {} cases", made.len(), inputs.len());
            return Err(EmulateError::Report { reason, output });
        }
        Ok(made)
    }
}

fn parse(output: &str) -> Result<Vec<Vec<Vec<u8>>>, EmulateError> {
    let mut cases: Vec<Vec<Vec<u8>>> = Vec::new();
    report::lines(output, "tinyops-trace 1", |words| {
        let ["op", case, index, bytes] = words else {
            return None;
        };
        let (case, index): (usize, usize) = (case.parse().ok()?, index.parse().ok()?);
        if case == cases.len() {
            cases.push(Vec::new());
        }
        let ops = cases.get_mut(case).filter(|ops| ops.len() == index)?;
        ops.push(hex(bytes)?);
        Some(())
    })?;
    Ok(cases)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let &[high, low] = pair else { return None };
        let [high, low] = [high, low].map(|digit| char::from(digit).to_digit(16));
        Some((high? * 16 + low?) as u8)
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_are_read_by_case() {
        let text = "tinyops-trace 1\nop 0 0 00ff\nop 0 1 7f\nop 1 0 0102\nop 1 1 80\nend\n";
        let made = parse(text).unwrap();
        assert_eq!(made, [[vec![0, 255], vec![127]], [vec![1, 2], vec![128]]]);
    }

    #[test]
    fn a_report_with_a_gap_is_an_error() {
        for text in [
            "tinyops-trace 1\nop 0 1 00\nend\n",
            "tinyops-trace 1\nop 1 0 00\nend\n",
            "tinyops-trace 1\nop 0 0 0\nend\n",
            "tinyops-trace 1\nop 0 0 00\n",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, EmulateError::Report { .. }), "{text}");
        }
    }
}
