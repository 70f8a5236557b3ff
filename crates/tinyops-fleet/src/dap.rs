//! Reports as shares for two aggregators, neither of which can read one: Prio3 over the Distributed Aggregation Protocol.
//!
//! A gateway that devices trust takes their reports in the clear, reads one number out of each, or few, and uploads it to
//! a pair of aggregators that somebody else runs (such as Janus): split so that only sums can be read, and with a proof
//! that it is within the task's law. Here are the messages, the settings of a task, how a report becomes a measurement,
//! and what answers mean; connections and the queue are the gateway's.
//!
//! Sharding and sealing draw their randomness themselves, from the system; time comes from the caller.
//!
//! # Source
//! draft-ietf-ppm-dap-18, "Distributed Aggregation Protocol for Privacy Preserving Measurement"; draft-irtf-cfrg-vdaf-18,
//! "Verifiable Distributed Aggregation Functions"; RFC 9180, "Hybrid Public Key Encryption".

mod answer;
mod hpke_config;
mod measurement;
mod message;
mod problem;
mod report;
mod task;
mod way;

pub use answer::{Fate, ReportError, UploadProblem, read_upload};
pub use hpke_config::{Aead, HpkeConfig, HpkeConfigError};
pub use measurement::{Measurement, Quantity, Reading, ReadingError};
pub use problem::Problem;
pub use report::{REPORT_ID_BYTES, ReportId, SealError, aad, info, seal};
pub use task::{BatchMode, Interval, Task, TaskError, TaskId, Vdaf};
pub use way::{Way, way};

/// What tells this draft's bytes from those of any other.
pub const VERSION: &str = "dap-18";

/// Media type of what is uploaded.
pub const UPLOAD_TYPE: &str = "application/ppm-dap;message=upload-req";
/// Media type of what an aggregator says of its keys.
pub const HPKE_CONFIG_TYPE: &str = "application/ppm-dap;message=hpke-config-list";
/// Media type of an answer that turns reports away.
pub const UPLOAD_ERRORS_TYPE: &str = "application/ppm-dap;message=upload-errors";
/// Media type of a problem document (RFC 9457).
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// Whether a `Content-Type` is this media type, whatever its letters' case and the blanks in it.
pub fn is_type(content_type: &str, media_type: &str) -> bool {
    let bare = |text: &str| {
        text.chars()
            .filter(|c| !c.is_ascii_whitespace() && *c != '"')
            .collect::<String>()
    };
    bare(content_type).eq_ignore_ascii_case(&bare(media_type))
}
