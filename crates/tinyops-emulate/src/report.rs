//! What the firmware reports, line by line.
//!
//! ```text
//! tinyops-smoke 3
//! case <index> equal <instructions>
//! case <index> differs <instructions> <element> <expected> <actual>   (the last two as bits, in hex)
//! arena <bytes that the plan claims> <bytes that were written>
//! stack <bytes to install> <bytes to run>
//! end
//! ```
//! or, after the first line, `refused <reason>` or `lacks <bytes needed> <memory>`.

use crate::EmulateError;

/// Gives the words of every line between a greeting and `end` to `each`.
///
/// # Errors
/// [`EmulateError::Refused`] and [`EmulateError::TooSmall`] when a line says so; [`EmulateError::Report`] when `each` knows no such line, or the
/// report is not whole.
pub(crate) fn lines(
    output: &str,
    greeting: &str,
    mut each: impl FnMut(&[&str]) -> Option<()>,
) -> Result<(), EmulateError> {
    let fault = |reason: &str| EmulateError::Report {
        reason: reason.to_owned(),
        output: output.to_owned(),
    };
    let mut lines = output.lines().map(str::trim_end);
    if lines.next() != Some(greeting) {
        return Err(fault("no greeting"));
    }
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["end"] => return Ok(()),
            ["refused", ..] => {
                let reason = line.trim_start_matches("refused ").to_owned();
                return Err(EmulateError::Refused { reason });
            }
            ["lacks", bytes, memory] => {
                return Err(EmulateError::TooSmall {
                    memory: (*memory).to_owned(),
                    needed_bytes: bytes.parse().map_err(|_| fault(line))?,
                });
            }
            words => each(words).ok_or_else(|| fault(line))?,
        }
    }
    Err(fault("no end"))
}

/// The verdict on one golden vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Instructions from window to scores, to within one tick of the timer, which is 31 to 63 of them.
    pub instructions: u64,
    /// The first output element that differs, with the expected and the actual value.
    pub difference: Option<(u32, f32, f32)>,
}

/// What came out of a smoke test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Smoke {
    /// One verdict a golden vector, in the capsule's order.
    pub cases: Vec<Case>,
    /// Arena that the plan claims, in bytes, of each memory region that it has some of.
    pub arena_bytes: Vec<u32>,
    /// Bytes of each up to the last that was written, measured on the board.
    pub arena_touched_bytes: Vec<u32>,
    /// Flash of the program, without the payload, in bytes.
    pub flash_bytes: u32,
    /// The deepest stack until the model was loaded, in bytes: start-up, hashes, signatures, checks.
    pub install_stack_bytes: u32,
    /// The deepest stack of the windows below that of their caller, in bytes.
    pub stack_bytes: u32,
}

impl Smoke {
    /// True when there were golden vectors and every one gave the expected bytes.
    pub fn passed(&self) -> bool {
        !self.cases.is_empty() && self.cases.iter().all(|case| case.difference.is_none())
    }

    /// The most instructions that one window took.
    pub fn instructions_max(&self) -> u64 {
        self.cases
            .iter()
            .map(|case| case.instructions)
            .max()
            .unwrap_or(0)
    }

    /// Reads the firmware's report.
    pub(crate) fn parse(output: &str) -> Result<Self, EmulateError> {
        let mut smoke = Self::default();
        lines(output, "tinyops-smoke 3", |words| {
            match words {
                ["arena", claimed, touched] => {
                    smoke.arena_bytes.push(claimed.parse().ok()?);
                    smoke.arena_touched_bytes.push(touched.parse().ok()?);
                }
                ["stack", install, run] => {
                    smoke.install_stack_bytes = install.parse().ok()?;
                    smoke.stack_bytes = run.parse().ok()?;
                }
                ["case", index, rest @ ..] if index.parse() == Ok(smoke.cases.len()) => {
                    smoke.cases.push(parse_case(rest)?);
                }
                _ => return None,
            }
            Some(())
        })?;
        Ok(smoke)
    }
}

fn parse_case(words: &[&str]) -> Option<Case> {
    match words {
        ["equal", instructions] => Some(Case {
            instructions: instructions.parse().ok()?,
            difference: None,
        }),
        ["differs", instructions, element, expected, actual] => Some(Case {
            instructions: instructions.parse().ok()?,
            difference: Some((
                element.parse().ok()?,
                number_of(expected)?,
                number_of(actual)?,
            )),
        }),
        _ => None,
    }
}

/// A number told by its bits, in hex.
fn number_of(bits: &str) -> Option<f32> {
    u32::from_str_radix(bits, 16).ok().map(f32::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_report_is_read() {
        let text = "tinyops-smoke 3\ncase 0 equal 4000\ncase 1 differs 4040 2 c0e00000 41100000\narena 512 500\narena 64 60\nstack 2900 900\nend\n";
        let smoke = Smoke::parse(text).unwrap();
        assert_eq!(smoke.arena_bytes, [512, 64]);
        assert_eq!(smoke.arena_touched_bytes, [500, 60]);
        assert_eq!((smoke.install_stack_bytes, smoke.stack_bytes), (2900, 900));
        assert_eq!(smoke.instructions_max(), 4040);
        assert_eq!(smoke.cases[1].difference, Some((2, -7.0, 9.0)));
        assert!(!smoke.passed());
    }

    #[test]
    fn a_report_without_cases_does_not_pass() {
        assert!(!Smoke::parse("tinyops-smoke 3\nend\n").unwrap().passed());
    }

    #[test]
    fn a_torn_report_is_an_error() {
        for text in [
            "",
            "tinyops-smoke 3\narena 5 5\n",
            "tinyops-smoke 3\ncase 1 equal 5\nend\n",
        ] {
            assert!(
                matches!(Smoke::parse(text), Err(EmulateError::Report { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_keeps_its_reason() {
        let error = Smoke::parse("tinyops-smoke 3\nrefused no plan\n").unwrap_err();
        assert!(matches!(error, EmulateError::Refused { reason } if reason == "no plan"));
    }
}
