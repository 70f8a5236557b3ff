//! What a leader's answer to an upload means for each report. Foreign bytes.

use std::fmt;

use super::message::Reader;
use super::problem::Problem;
use super::report::ReportId;
use super::{UPLOAD_ERRORS_TYPE, is_type};

/// Why a leader turned one report away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportError(pub u8);

impl ReportError {
    const REPLAYED: u8 = 2;
    const UNKNOWN_CONFIG: u8 = 4;
    const DECRYPT: u8 = 5;
    const TOO_EARLY: u8 = 9;
    const NOT_STARTED: u8 = 10;
    const OUTDATED_CONFIG: u8 = 11;
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "its batch has been collected",
            2 => "a report of its id is there, or its batch has been collected",
            3 => "it was dropped: it is too old, or outside of the task's interval",
            4 | 11 => "it was sealed for a key that the aggregator does not have",
            5 => {
                "it cannot be opened: the task's settings here and at the leader differ in some byte"
            }
            6 => "its proof does not hold",
            7 => "the task has ended",
            8 => "the aggregator could not read it",
            9 => "its time is in the leader's future: is this machine's clock right?",
            10 => "the task has not begun",
            other => return write!(f, "report error {other}"),
        })
    }
}

/// What becomes of one report that was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The leader has it.
    Stored,
    /// The leader had it before, or has closed its batch: it is not to be sent again.
    Known,
    /// It is to be sealed anew, for keys that are fetched anew, and sent once more.
    Sealed(ReportError),
    /// It waits: something must be put right first, at the leader or here.
    Waits(ReportError),
    /// The leader will never take it.
    Lost(ReportError),
}

/// Why an upload came to nothing, for all of its reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadProblem {
    /// The leader does not know the task, or not any more.
    #[error("the leader does not know the task ({0})")]
    Task(Problem),
    /// The leader could not read the request: of several reports, one may be at fault.
    #[error("the leader could not read the request ({0})")]
    Message(Problem),
    /// The request is larger than the leader takes.
    #[error("the leader takes no request of so many bytes")]
    TooLarge,
    /// The leader takes no uploads of this draft.
    #[error("the leader takes no `{0}`: it speaks another draft of DAP than {version}", version = super::VERSION)]
    MediaType(&'static str),
    /// Anything else: it may pass.
    #[error("the leader answered {status}: {problem}")]
    Status {
        /// Status of the answer.
        status: u16,
        /// What it said.
        problem: Problem,
    },
    /// The answer is none of the protocol's.
    #[error("the leader's answer is none of DAP's: {0}")]
    Answer(&'static str),
}

/// Reads the answer to an upload of these reports: one fate for each, in their order.
///
/// # Errors
/// [`UploadProblem`], if the answer is none, or is for all of them together; never a panic, whatever the bytes are.
pub fn read_upload(
    (status, content_type, body): (u16, Option<&str>, &[u8]),
    reports: &[ReportId],
) -> Result<Vec<Fate>, UploadProblem> {
    if (200..300).contains(&status) {
        if content_type.is_some_and(|found| is_type(found, UPLOAD_ERRORS_TYPE)) {
            return errors(body, reports).ok_or(UploadProblem::Answer(
                "errors of reports that are not, or not in this order, those that were uploaded",
            ));
        }
        if !body.is_empty() {
            return Err(UploadProblem::Answer("a body of another media type"));
        }
        return Ok(vec![Fate::Stored; reports.len()]);
    }
    let problem = Problem::read(body);
    Err(match (status, problem.token.as_str()) {
        (400..500, "unrecognizedTask" | "invalidTask") => UploadProblem::Task(problem),
        (400..500, "invalidMessage" | "unsupportedExtension" | "invalidExtension") => {
            UploadProblem::Message(problem)
        }
        (413, _) => UploadProblem::TooLarge,
        (415, _) => UploadProblem::MediaType(super::UPLOAD_TYPE),
        _ => UploadProblem::Status { status, problem },
    })
}

/// `UploadErrors`: an id and a reason for each report that was turned away, in the request's order.
fn errors(body: &[u8], reports: &[ReportId]) -> Option<Vec<Fate>> {
    let mut fates = vec![Fate::Stored; reports.len()];
    let mut rest = Reader(body);
    let mut next = 0;
    while !rest.is_empty() {
        let id = ReportId(rest.fixed()?);
        let error = ReportError(rest.u8()?);
        let place = next + reports.get(next..)?.iter().position(|&own| own == id)?;
        fates[place] = fate(error);
        next = place + 1;
    }
    Some(fates)
}

fn fate(error: ReportError) -> Fate {
    match error.0 {
        ReportError::REPLAYED => Fate::Known,
        ReportError::UNKNOWN_CONFIG | ReportError::OUTDATED_CONFIG => Fate::Sealed(error),
        ReportError::DECRYPT | ReportError::TOO_EARLY | ReportError::NOT_STARTED => {
            Fate::Waits(error)
        }
        _ => Fate::Lost(error),
    }
}
