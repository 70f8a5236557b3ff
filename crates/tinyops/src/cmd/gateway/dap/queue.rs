//! Measurements that wait for the leader, in a folder: they outlive the gateway, and each is uploaded once.
//!
//! A file for each, and a log of what was ever taken in: which envelope, of which device, in which unit of time. The log
//! is written after the file, and a file is gone only when the leader has its report; a report that is sent again after a
//! crash bears the id that it had, and the leader takes it for the same.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tinyops_fleet::dap::{Measurement, REPORT_ID_BYTES, ReportId};
use tinyops_server::{hex, unhex};
use tinyops_store::{Readers, write_whole};
use tinyops_wire::{DeviceId, Digest};

/// Measurements that wait at most; the oldest make room.
const WAITING_MAX: usize = 100_000;
/// Envelopes that are remembered at least, so that one that comes again is not measured twice.
const REMEMBERED: usize = 65_536;
/// Bytes of a line of the log: the envelope's mark, the device, the unit of time.
const LINE_BYTES: usize = 32;
const VERSION: u32 = 1;

/// What tells an envelope from any other.
type Mark = [u8; 16];

/// What becomes of a measurement that is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits, in the folder.
    Waits,
    /// It waits, and the oldest is dropped for it.
    InsteadOfOldest,
    /// The envelope came before, or the device has been measured in this unit of time.
    Repeated,
}

/// A measurement on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) id: ReportId,
    device: DeviceId,
    mark: Mark,
    /// The unit of time it came in; none while the clock was not right.
    pub(super) time: Option<u64>,
    pub(super) measurement: Measurement,
    /// It was turned away once for a key that the aggregator does not have.
    pub(super) is_sealed_anew: bool,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    id: String,
    device: String,
    envelope: String,
    time: Option<u64>,
    measurement: Measurement,
    sealed_anew: bool,
}

/// The folder, and what is in it.
pub(super) struct Queue {
    folder: PathBuf,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    seen: HashSet<Mark>,
    order: VecDeque<(Mark, DeviceId, u64)>,
    latest: HashMap<DeviceId, u64>,
    log: File,
    /// Nobody else has the folder while this is open.
    _lock: File,
}

impl Queue {
    /// Opens a folder, or makes it.
    pub(super) fn open(folder: &Path) -> io::Result<Queue> {
        make(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::other("another gateway has it: give each a folder of its own")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let waiting = read_waiting(folder)?;
        let order = read_log(&folder.join("taken.log"))?;
        let log = write_log(folder, &order)?;
        let mut queue = Queue {
            folder: folder.to_owned(),
            next: waiting.last_key_value().map_or(0, |(last, _)| last + 1),
            waiting,
            seen: HashSet::new(),
            order: VecDeque::new(),
            latest: HashMap::new(),
            log,
            _lock: lock,
        };
        order.into_iter().for_each(|line| queue.remember(line));
        // A crash may have come between a file and its line.
        let unlogged: Vec<_> = (queue.waiting.values())
            .filter(|waiting| !queue.seen.contains(&waiting.mark))
            .map(|waiting| (waiting.mark, waiting.device, waiting.time.unwrap_or(0)))
            .collect();
        for (mark, device, time) in unlogged {
            // One that has waited for long says nothing of the clock.
            let last = queue.latest.get(&device);
            let time = last.map_or(time, |last| if *last > time { 0 } else { time });
            queue.log((mark, device, time))?;
        }
        Ok(queue)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a device may be measured by this envelope, in this unit of time.
    pub(super) fn wants(&self, envelope: &[u8], device: DeviceId, time: Option<u64>) -> bool {
        let is_new = !self.seen.contains(&mark(envelope));
        is_new && time.is_none_or(|time| self.is_due(device, time))
    }

    /// Whether a device was not measured in this unit of time yet. One that lies ahead by more than the next is of a clock
    /// that has been set back since: nobody waits until it is reached.
    fn is_due(&self, device: DeviceId, time: u64) -> bool {
        let last = self.latest.get(&device);
        last.is_none_or(|&last| last < time || last > time + 1)
    }

    /// Takes a measurement in: when this has answered, it is in the folder.
    pub(super) fn take(
        &mut self,
        envelope: &[u8],
        device: DeviceId,
        time: Option<u64>,
        (id, measurement): (ReportId, Measurement),
    ) -> io::Result<Taken> {
        if !self.wants(envelope, device, time) {
            return Ok(Taken::Repeated);
        }
        let waiting = Waiting {
            id,
            device,
            mark: mark(envelope),
            time,
            measurement,
            is_sealed_anew: false,
        };
        let number = self.next;
        self.next += 1;
        self.keep(number, &waiting)?;
        self.log((waiting.mark, device, time.unwrap_or(0)))?;
        self.waiting.insert(number, waiting);
        if self.waiting.len() <= WAITING_MAX {
            return Ok(Taken::Waits);
        }
        if let Some(oldest) = self.waiting.first_key_value().map(|(oldest, _)| *oldest) {
            self.done(oldest)?;
        }
        Ok(Taken::InsteadOfOldest)
    }

    /// The oldest, each with its number.
    pub(super) fn oldest(&self, count_max: usize) -> Vec<(u64, Waiting)> {
        let oldest = self.waiting.iter().take(count_max);
        oldest
            .map(|(number, waiting)| (*number, waiting.clone()))
            .collect()
    }

    /// The clock is right: what came while it was not is of this unit of time. A device that has been measured in it
    /// already is not measured twice. Answers how many were dropped for that.
    pub(super) fn stamp(&mut self, time: u64) -> io::Result<usize> {
        let unstamped: Vec<u64> = (self.waiting.iter())
            .filter(|(_, waiting)| waiting.time.is_none())
            .map(|(number, _)| *number)
            .collect();
        let mut dropped = 0;
        for number in unstamped {
            let Some(mut waiting) = self.waiting.get(&number).cloned() else {
                continue;
            };
            if !self.is_due(waiting.device, time) {
                self.done(number)?;
                dropped += 1;
                continue;
            }
            waiting.time = Some(time);
            self.keep(number, &waiting)?;
            self.log((waiting.mark, waiting.device, time))?;
            self.waiting.insert(number, waiting);
        }
        Ok(dropped)
    }

    /// One is to be sealed anew, once.
    pub(super) fn seal_anew(&mut self, number: u64) -> io::Result<()> {
        if let Some(mut waiting) = self.waiting.get(&number).cloned() {
            waiting.is_sealed_anew = true;
            self.keep(number, &waiting)?;
            self.waiting.insert(number, waiting);
        }
        Ok(())
    }

    /// One has arrived, or never will.
    pub(super) fn done(&mut self, number: u64) -> io::Result<()> {
        self.waiting.remove(&number);
        match fs::remove_file(place(&self.folder, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn keep(&self, number: u64, waiting: &Waiting) -> io::Result<()> {
        let kept = Kept {
            version: VERSION,
            id: waiting.id.to_string(),
            device: waiting.device.to_string(),
            envelope: hex(&waiting.mark),
            time: waiting.time,
            measurement: waiting.measurement.clone(),
            sealed_anew: waiting.is_sealed_anew,
        };
        let text = serde_json::to_vec(&kept).expect("no map in it");
        write_whole(&place(&self.folder, number), Readers::Owner, &text)
    }

    fn log(&mut self, line: (Mark, DeviceId, u64)) -> io::Result<()> {
        self.log.write_all(&bytes_of(line))?;
        self.log.sync_data()?;
        self.remember(line);
        if self.order.len() >= 2 * REMEMBERED {
            let kept = self.order.split_off(self.order.len() - REMEMBERED);
            for (forgotten, device, time) in std::mem::replace(&mut self.order, kept) {
                self.seen.remove(&forgotten);
                if self.latest.get(&device) == Some(&time) {
                    self.latest.remove(&device);
                }
            }
            self.log = write_log(&self.folder, self.order.make_contiguous())?;
        }
        Ok(())
    }

    fn remember(&mut self, (mark, device, time): (Mark, DeviceId, u64)) {
        self.seen.insert(mark);
        self.order.push_back((mark, device, time));
        let latest = self.latest.entry(device).or_default();
        let was_set_back = time > 0 && *latest > time + 1;
        *latest = if was_set_back {
            time
        } else {
            time.max(*latest)
        };
    }
}

/// The first half of its SHA-256.
fn mark(envelope: &[u8]) -> Mark {
    let digest = Digest::of(envelope).0;
    std::array::from_fn(|index| digest[index])
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    // Measurements lie in it as they are.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn place(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.json"))
}

fn read_waiting(folder: &Path) -> io::Result<BTreeMap<u64, Waiting>> {
    let mut waiting = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".json"));
        let Some(Ok(number)) = number.map(str::parse) else {
            continue;
        };
        let read = read_one(&fs::read(&path)?);
        let read = read.map_err(|why| {
            let said = format!("{}: {why}; move it away to go on", path.display());
            io::Error::new(io::ErrorKind::InvalidData, said)
        })?;
        waiting.insert(number, read);
    }
    Ok(waiting)
}

fn read_one(bytes: &[u8]) -> Result<Waiting, String> {
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} is unknown", kept.version));
    }
    let sixteen = |text: &str| unhex(text).and_then(|bytes| bytes.try_into().ok());
    let id: Option<[u8; REPORT_ID_BYTES]> = sixteen(&kept.id);
    Ok(Waiting {
        id: ReportId(id.ok_or("`id` is not 16 bytes")?),
        device: kept
            .device
            .parse()
            .map_err(|_| "`device` is none".to_owned())?,
        mark: sixteen(&kept.envelope).ok_or("`envelope` is not 16 bytes")?,
        time: kept.time,
        measurement: kept.measurement,
        is_sealed_anew: kept.sealed_anew,
    })
}

fn bytes_of((mark, device, time): (Mark, DeviceId, u64)) -> [u8; LINE_BYTES] {
    let mut line = [0; LINE_BYTES];
    line[..16].copy_from_slice(&mark);
    line[16..24].copy_from_slice(&device.0.to_le_bytes());
    line[24..].copy_from_slice(&time.to_le_bytes());
    line
}

/// The newest lines of a log; half a one at its end, which a crash left, is none.
fn read_log(path: &Path) -> io::Result<Vec<(Mark, DeviceId, u64)>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let lines = bytes.chunks_exact(LINE_BYTES);
    let first = lines.len().saturating_sub(REMEMBERED);
    let number = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    let line = |line: &[u8]| {
        let mark = std::array::from_fn(|index| line[index]);
        (mark, DeviceId(number(&line[16..24])), number(&line[24..]))
    };
    Ok(lines.skip(first).map(line).collect())
}

/// Writes a log anew, and opens it to be written on.
fn write_log(folder: &Path, lines: &[(Mark, DeviceId, u64)]) -> io::Result<File> {
    let path = folder.join("taken.log");
    let bytes: Vec<u8> = lines.iter().flat_map(|line| bytes_of(*line)).collect();
    write_whole(&path, Readers::Owner, &bytes)?;
    File::options().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &mut Queue, envelope: u8, device: u64, time: Option<u64>) -> Taken {
        let brought = (
            ReportId([envelope; 16]),
            Measurement::Bucket(usize::from(envelope)),
        );
        queue
            .take(&[envelope], DeviceId(device), time, brought)
            .unwrap()
    }

    #[test]
    fn what_waits_outlives_the_gateway_and_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let mut queue = Queue::open(&path).unwrap();
        assert_eq!(take(&mut queue, 1, 7, Some(100)), Taken::Waits);
        assert_eq!(take(&mut queue, 2, 8, Some(100)), Taken::Waits);
        assert_eq!(take(&mut queue, 1, 7, Some(101)), Taken::Repeated);
        assert_eq!(take(&mut queue, 3, 7, Some(100)), Taken::Repeated);
        let Err(error) = Queue::open(&path) else {
            panic!("two gateways have one folder");
        };
        assert!(error.to_string().contains("another gateway"), "{error}");
        let waiting = queue.oldest(10);
        drop(queue);

        let mut queue = Queue::open(&path).unwrap();
        assert_eq!(queue.oldest(10), waiting);
        assert_eq!(take(&mut queue, 2, 8, Some(102)), Taken::Repeated);
        queue.done(waiting[0].0).unwrap();
        queue.done(waiting[0].0).unwrap();
        queue.seal_anew(waiting[1].0).unwrap();
        drop(queue);

        // What has arrived is gone, and its envelope is known all the same.
        let mut queue = Queue::open(&path).unwrap();
        assert_eq!(queue.len(), 1);
        assert!(queue.oldest(1)[0].1.is_sealed_anew);
        assert_eq!(take(&mut queue, 1, 7, Some(105)), Taken::Repeated);
        assert_eq!(take(&mut queue, 4, 7, Some(105)), Taken::Waits);
    }

    /// The moments at which power may go: before the line of the log, within it, before a file is removed.
    #[test]
    fn a_crash_loses_nothing_and_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut queue = Queue::open(path).unwrap();
        take(&mut queue, 1, 7, Some(100));
        take(&mut queue, 2, 8, Some(100));
        drop(queue);
        let log = path.join("taken.log");
        let bytes = fs::read(&log).unwrap();
        assert_eq!(bytes.len(), 2 * LINE_BYTES);
        for kept in [LINE_BYTES, LINE_BYTES + 9, 0] {
            fs::write(&log, &bytes[..kept]).unwrap();
            let mut queue = Queue::open(path).unwrap();
            assert_eq!(queue.len(), 2);
            assert_eq!(take(&mut queue, 2, 8, Some(200)), Taken::Repeated);
            assert_eq!(take(&mut queue, 9, 8, Some(100)), Taken::Repeated);
        }
    }

    #[test]
    fn without_a_clock_they_wait_and_are_of_the_time_when_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(folder.path()).unwrap();
        assert_eq!(take(&mut queue, 1, 7, None), Taken::Waits);
        assert_eq!(take(&mut queue, 2, 7, None), Taken::Waits);
        assert_eq!(take(&mut queue, 3, 8, None), Taken::Waits);
        assert_eq!(queue.stamp(500).unwrap(), 1);
        let times: Vec<_> = queue.oldest(9).iter().map(|(_, one)| one.time).collect();
        assert_eq!(times, [Some(500), Some(500)]);
        assert_eq!(take(&mut queue, 4, 8, Some(500)), Taken::Repeated);
        assert_eq!(queue.stamp(501).unwrap(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_costs_no_device_its_reports() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(folder.path()).unwrap();
        assert_eq!(take(&mut queue, 1, 7, Some(500)), Taken::Waits);
        assert_eq!(take(&mut queue, 2, 7, Some(499)), Taken::Repeated);
        assert_eq!(take(&mut queue, 3, 7, Some(100)), Taken::Waits);
        assert_eq!(take(&mut queue, 4, 7, Some(100)), Taken::Repeated);
        assert_eq!(take(&mut queue, 5, 8, Some(500)), Taken::Waits);
        assert_eq!(take(&mut queue, 6, 8, None), Taken::Waits);
        assert_eq!(queue.stamp(100).unwrap(), 0);
        drop(queue);
        let mut queue = Queue::open(folder.path()).unwrap();
        assert_eq!(take(&mut queue, 7, 7, Some(100)), Taken::Repeated);
        assert_eq!(take(&mut queue, 8, 8, Some(100)), Taken::Repeated);
        assert_eq!(take(&mut queue, 9, 7, Some(101)), Taken::Waits);
    }

    #[test]
    fn what_is_no_measurement_of_ours_is_told_and_not_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["", "{}", r#"{"version":2}"#] {
            let path = folder.path().join("00000000000000000003.json");
            fs::write(&path, wrong).unwrap();
            let Err(error) = Queue::open(folder.path()) else {
                panic!("{wrong}");
            };
            assert!(error.to_string().contains("00003.json"), "{error}");
            assert!(path.is_file());
        }
    }

    #[test]
    fn a_long_log_keeps_its_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<_> = (0..REMEMBERED as u64 + 5)
            .map(|line| {
                let mut mark = [0; 16];
                mark[..8].copy_from_slice(&line.to_le_bytes());
                (mark, DeviceId(line), line)
            })
            .collect();
        drop(write_log(folder.path(), &lines).unwrap());
        let queue = Queue::open(folder.path()).unwrap();
        assert_eq!(queue.order.len(), REMEMBERED);
        assert!(!queue.seen.contains(&lines[4].0) && queue.seen.contains(&lines[5].0));
        let kept = fs::metadata(folder.path().join("taken.log")).unwrap().len();
        assert_eq!(kept as usize, REMEMBERED * LINE_BYTES);
    }
}
