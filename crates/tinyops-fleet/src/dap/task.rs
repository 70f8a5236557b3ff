//! A task: what is measured, by whom it is added up, and the law that every measurement obeys.
//!
//! All its parameters are bound into every report, so that an aggregator that was set up otherwise cannot open one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tinyops_wire::base64;

use super::VERSION;
use super::measurement::{Reading, ReadingError};
use super::message::Writer;
use crate::helper::DEVICES_MIN;

/// Most numbers of a measurement: a report of so many takes some 100 kB.
const LENGTH_MAX: u32 = 4096;
/// Largest number of a vector: a sum of 2³² reports fits whatever reads it.
const MEASUREMENT_MAX: u64 = u32::MAX as u64;
/// Longest time unit, in seconds: 400 days.
const PRECISION_MAX: u64 = 400 * 24 * 3600;

/// Which task: 32 bytes that aggregators agree upon, shown as base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId(pub [u8; 32]);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 44];
        base64::encode(&self.0, &mut text).expect("44 characters hold 32 bytes");
        for &character in &text[..43] {
            let character = match character {
                b'+' => '-',
                b'/' => '_',
                other => char::from(other),
            };
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

impl FromStr for TaskId {
    type Err = TaskError;

    fn from_str(text: &str) -> Result<TaskId, TaskError> {
        let standard = |character: u8| match character {
            b'-' => b'+',
            b'_' => b'/',
            // The alphabet of the other base64 is none of this one.
            b'+' | b'/' | b'=' => b' ',
            other => other,
        };
        let mut characters: Vec<u8> = text.bytes().map(standard).collect();
        characters.push(b'=');
        let mut id = [0; 32];
        match base64::decode(&characters, &mut id) {
            Some(32) => Ok(TaskId(id)),
            _ => Err(TaskError::Id),
        }
    }
}

/// How batches are made of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchMode {
    /// All reports of an interval that the collector names.
    TimeInterval,
    /// As the leader gathers them.
    LeaderSelected,
}

/// When a task takes reports, in its own units of time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The first unit.
    pub start: u64,
    /// How many units.
    pub duration: u64,
}

impl Interval {
    /// Whether a report of this unit may be taken.
    pub fn contains(&self, time: u64) -> bool {
        time.checked_sub(self.start)
            .is_some_and(|since| since < self.duration)
    }
}

/// How a measurement is split, proven and added up. Names are those of the VDAF draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Vdaf {
    /// One of so many buckets.
    Prio3Histogram {
        /// Buckets.
        length: u32,
        /// Numbers that the proof takes at a time.
        chunk_length: u32,
    },
    /// So many integers, none above the largest.
    Prio3SumVec {
        /// Integers.
        length: u32,
        /// The largest that each may be.
        max_measurement: u64,
        /// Numbers that the proof takes at a time.
        chunk_length: u32,
    },
}

impl Vdaf {
    /// Numbers of a measurement, and of a sum.
    pub fn len(&self) -> usize {
        match self {
            Vdaf::Prio3Histogram { length, .. } | Vdaf::Prio3SumVec { length, .. } => {
                *length as usize
            }
        }
    }

    /// Never true: a task of no numbers is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn chunk_length(&self) -> u32 {
        match self {
            Vdaf::Prio3Histogram { chunk_length, .. } | Vdaf::Prio3SumVec { chunk_length, .. } => {
                *chunk_length
            }
        }
    }

    fn check(&self) -> Result<(), TaskError> {
        let length = self.len() as u32;
        if !(1..=LENGTH_MAX).contains(&length) {
            return Err(TaskError::Length(length));
        }
        let numbers = match self {
            Vdaf::Prio3Histogram { .. } => u64::from(length),
            Vdaf::Prio3SumVec {
                max_measurement, ..
            } => {
                if !(1..=MEASUREMENT_MAX).contains(max_measurement) {
                    return Err(TaskError::Largest(*max_measurement));
                }
                u64::from(length) * u64::from(u64::BITS - max_measurement.leading_zeros())
            }
        };
        let chunk_length = self.chunk_length();
        if chunk_length == 0 || u64::from(chunk_length) > numbers {
            return Err(TaskError::Chunk(chunk_length, numbers));
        }
        Ok(())
    }

    fn write(&self, out: &mut Writer) {
        match *self {
            Vdaf::Prio3SumVec {
                length,
                max_measurement,
                chunk_length,
            } => {
                out.u32(3);
                out.u16(16);
                out.u32(length);
                out.u64(max_measurement);
                out.u32(chunk_length);
            }
            Vdaf::Prio3Histogram {
                length,
                chunk_length,
            } => {
                out.u32(4);
                out.u16(8);
                out.u32(length);
                out.u32(chunk_length);
            }
        }
    }
}

/// A task, as its file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Which one.
    pub id: TaskId,
    /// What tells it from tasks that are alike otherwise.
    pub info: String,
    /// Where the leader's resources are, byte for byte as the aggregators were told.
    pub leader: String,
    /// Where the helper's are.
    pub helper: String,
    /// Seconds of a unit of time, to which a report's time is cut.
    pub time_precision_seconds: u64,
    /// Fewest reports of a sum.
    pub min_batch_size: u64,
    /// How batches are made.
    pub batch_mode: BatchMode,
    /// When it takes reports, if not always.
    pub interval: Option<Interval>,
    /// How measurements are split and proven.
    pub vdaf: Vdaf,
    /// What of a report is measured.
    pub reading: Reading,
}

/// The file of a task.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    task_id: String,
    task_info: String,
    leader: String,
    helper: String,
    time_precision_seconds: u64,
    min_batch_size: u64,
    batch_mode: BatchMode,
    task_interval: Option<Interval>,
    vdaf: Vdaf,
    measurement: Reading,
}

impl Task {
    /// Reads the file of a task.
    ///
    /// # Errors
    /// [`TaskError`], which says what is wrong with which setting.
    pub fn parse(text: &str) -> Result<Task, TaskError> {
        let file: File =
            toml::from_str(text).map_err(|error| TaskError::File(error.to_string()))?;
        let task = Task {
            id: file.task_id.parse()?,
            info: file.task_info,
            leader: file.leader,
            helper: file.helper,
            time_precision_seconds: file.time_precision_seconds,
            min_batch_size: file.min_batch_size,
            batch_mode: file.batch_mode,
            interval: file.task_interval,
            vdaf: file.vdaf,
            reading: file.measurement,
        };
        task.check()?;
        Ok(task)
    }

    fn check(&self) -> Result<(), TaskError> {
        if !(1..=255).contains(&self.info.len()) {
            return Err(TaskError::Info(self.info.len()));
        }
        check_url("leader", &self.leader)?;
        check_url("helper", &self.helper)?;
        if self.leader.trim_end_matches('/') == self.helper.trim_end_matches('/') {
            return Err(TaskError::SameAggregator);
        }
        if !(1..=PRECISION_MAX).contains(&self.time_precision_seconds) {
            return Err(TaskError::Precision(self.time_precision_seconds));
        }
        if self.min_batch_size < DEVICES_MIN as u64 {
            return Err(TaskError::Batch(self.min_batch_size));
        }
        let is_whole = |interval: &Interval| {
            interval.duration > 0 && interval.start.checked_add(interval.duration).is_some()
        };
        if !self.interval.as_ref().is_none_or(is_whole) {
            return Err(TaskError::Interval);
        }
        self.vdaf.check()?;
        self.reading.check(&self.vdaf)?;
        Ok(())
    }

    /// The unit of time that a moment lies in, in seconds since 1970.
    pub fn time_of(&self, seconds: u64) -> u64 {
        seconds / self.time_precision_seconds
    }

    /// What is bound into every report: `TaskConfiguration`.
    pub fn configuration(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.short(self.info.as_bytes());
        out.medium(self.leader.as_bytes());
        out.medium(self.helper.as_bytes());
        out.u64(self.time_precision_seconds);
        out.u64(self.min_batch_size);
        out.u8(match self.batch_mode {
            BatchMode::TimeInterval => 1,
            BatchMode::LeaderSelected => 2,
        });
        out.medium(&[]);
        self.vdaf.write(&mut out);
        let mut extensions = Writer::default();
        if let Some(interval) = self.interval {
            extensions.u16(1);
            extensions.u16(16);
            extensions.u64(interval.start);
            extensions.u64(interval.duration);
        }
        out.medium(&extensions.0);
        out.0
    }

    /// What separates the shares of this task from those of any other.
    pub(super) fn context(&self) -> Vec<u8> {
        [VERSION.as_bytes(), &self.id.0].concat()
    }
}

/// Refuses an address over which somebody could hand out keys of his own, and so read both shares.
fn check_url(name: &'static str, url: &str) -> Result<(), TaskError> {
    let wrong = || TaskError::Url(name, url.to_owned());
    let is_plain = |c: u8| c.is_ascii_graphic() && !matches!(c, b'?' | b'#' | b'@' | b'"' | b'\\');
    if url.len() > usize::from(u16::MAX) || !url.bytes().all(is_plain) {
        return Err(wrong());
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() {
        return Err(wrong());
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(authority) => Ok(()),
        "http" => Err(TaskError::NoTls(name, url.to_owned())),
        _ => Err(wrong()),
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// Why the file of a task describes none.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It is no TOML, or has other settings.
    #[error("{0}")]
    File(String),
    /// `task_id` is not 32 bytes.
    #[error("`task_id` is not 32 bytes in base64url without padding (43 characters)")]
    Id,
    /// `task_info` is empty or too long.
    #[error("`task_info` has {0} bytes, not 1 to 255")]
    Info(usize),
    /// An address is none.
    #[error("`{0}` is no address of an aggregator: `{1}`; such as https://leader.example/dap/")]
    Url(&'static str, String),
    /// An address is not through TLS.
    #[error(
        "`{0}` is not through TLS: `{1}`; whoever is on the way could hand out keys of his own and read both shares"
    )]
    NoTls(&'static str, String),
    /// Leader and helper are one.
    #[error("`leader` and `helper` are the same: one aggregator alone reads every report")]
    SameAggregator,
    /// The unit of time is none.
    #[error("`time_precision_seconds` is {0}, not 1 to {PRECISION_MAX}")]
    Precision(u64),
    /// Sums of so few say too much of one.
    #[error(
        "`min_batch_size` is {0}: sums of fewer than {DEVICES_MIN} reports say too much of one"
    )]
    Batch(u64),
    /// The interval is empty, or ends after time does.
    #[error("`task_interval` is empty, or ends beyond what 64 bits count")]
    Interval,
    /// A measurement has no number, or too many.
    #[error("`vdaf.length` is {0}, not 1 to {LENGTH_MAX}")]
    Length(u32),
    /// A vector's numbers have no room, or too much.
    #[error("`vdaf.max_measurement` is {0}, not 1 to {MEASUREMENT_MAX}")]
    Largest(u64),
    /// A proof cannot take so many numbers at a time.
    #[error(
        "`vdaf.chunk_length` is {0}, not 1 to {1}, which is what a measurement has of numbers to prove"
    )]
    Chunk(u32, u64),
    /// What is to be measured is not in a report, or does not fit.
    #[error(transparent)]
    Reading(#[from] ReadingError),
}
