//! What the firmware reports, line by line.
//!
//! ```text
//! tinyops-smoke 1
//! arena <bytes>
//! case <index> equal <instructions>
//! case <index> differs <instructions> <element> <expected> <actual>
//! stack <bytes>
//! end
//! ```
//! or, after the first line, `refused <reason>`.

use crate::EmulateError;

/// The verdict on one golden vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Instructions from window to scores, a multiple of the timer's 40.
    pub instructions: u64,
    /// The first output element that differs, with the expected and the actual value.
    pub difference: Option<(u32, f32, f32)>,
}

/// What came out of a smoke test.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoke {
    /// One verdict a golden vector, in the capsule's order.
    pub cases: Vec<Case>,
    /// Arena that the plan used, in bytes.
    pub arena_bytes: u32,
    /// The deepest stack seen, in bytes.
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
        let fault = |reason: &str| EmulateError::Report {
            reason: reason.to_owned(),
            output: output.to_owned(),
        };
        let mut lines = output.lines().map(str::trim_end);
        if lines.next() != Some("tinyops-smoke 1") {
            return Err(fault("no greeting"));
        }
        let mut smoke = Self {
            cases: Vec::new(),
            arena_bytes: 0,
            stack_bytes: 0,
        };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["end"] => return Ok(smoke),
                ["refused", ..] => {
                    let reason = line.trim_start_matches("refused ").to_owned();
                    return Err(EmulateError::Refused { reason });
                }
                ["arena", bytes] => smoke.arena_bytes = bytes.parse().map_err(|_| fault(line))?,
                ["stack", bytes] => smoke.stack_bytes = bytes.parse().map_err(|_| fault(line))?,
                ["case", index, rest @ ..] if index.parse() == Ok(smoke.cases.len()) => {
                    smoke
                        .cases
                        .push(parse_case(rest).ok_or_else(|| fault(line))?);
                }
                _ => return Err(fault(line)),
            }
        }
        Err(fault("no end"))
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
                expected.parse().ok()?,
                actual.parse().ok()?,
            )),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_report_is_read() {
        let text = "tinyops-smoke 1\narena 512\ncase 0 equal 4000\ncase 1 differs 4040 2 -7 9\nstack 900\nend\n";
        let smoke = Smoke::parse(text).unwrap();
        assert_eq!(smoke.arena_bytes, 512);
        assert_eq!(smoke.stack_bytes, 900);
        assert_eq!(smoke.instructions_max(), 4040);
        assert_eq!(smoke.cases[1].difference, Some((2, -7.0, 9.0)));
        assert!(!smoke.passed());
    }

    #[test]
    fn a_report_without_cases_does_not_pass() {
        assert!(!Smoke::parse("tinyops-smoke 1\nend\n").unwrap().passed());
    }

    #[test]
    fn a_torn_report_is_an_error() {
        for text in [
            "",
            "tinyops-smoke 1\narena 5\n",
            "tinyops-smoke 1\ncase 1 equal 5\nend\n",
        ] {
            assert!(
                matches!(Smoke::parse(text), Err(EmulateError::Report { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_keeps_its_reason() {
        let error = Smoke::parse("tinyops-smoke 1\nrefused no plan\n").unwrap_err();
        assert!(matches!(error, EmulateError::Refused { reason } if reason == "no plan"));
    }
}
