//! The helper of secure sums: it knows the masks of devices, and nothing that they say.
//!
//! It is asked for the sum of the masks of named reports and answers under rules that keep any sum from coming down to
//! a few devices. What it keeps is one secret, and for each device the greatest number that it has answered for.
//!
//! ```text
//! helper.key      64 hex digits, for its owner alone
//! answers.lock    locked while a helper is at work on the folder
//! answers.log     lines: `seen PURPOSE DEVICE NUMBER`, or `answered DIGEST PURPOSE DEVICE:NUMBER,…`
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tinyops_store::{DeviceId, Digest, Readers, write_new, write_whole};
use tinyops_wire::mask::{HelperKey, MaskKey, Task};
use tinyops_wire::noise::{DiscreteGaussian, SD_MAX};

use crate::FleetError;
use crate::fleet::lock;
use crate::signer::check_permissions;

/// Fewest devices of a sum.
pub const DEVICES_MIN: usize = 20;

/// Most devices of one sum, and most numbers of a report: what an honest server never exceeds.
const DEVICES_MAX: usize = 1 << 20;
const VALUES_MAX: usize = 1 << 20;

/// What a server asks for: the sum of the masks of these reports.
#[derive(Clone, Debug, PartialEq)]
pub struct SumRequest {
    /// How the reports were made.
    pub task: Task,
    /// Numbers of each report.
    pub value_count: usize,
    /// Whose reports, and the number of the envelope of each.
    pub reports: Vec<(DeviceId, u32)>,
}

/// Why the helper does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// A sum of so few says too much of each.
    #[error("a sum is of at least {DEVICES_MIN} devices, and this would be of {found}")]
    TooFew {
        /// How many were named.
        found: usize,
    },
    /// A device is named twice: it would count as two.
    #[error("device `{0}` is named twice")]
    Twice(DeviceId),
    /// A report is in another sum already: the difference of the two would be of fewer devices.
    #[error(
        "report {sequence} of device `{device}` is not newer than one that is in another sum: the difference of the \
         two could be of few devices"
    )]
    Answered {
        /// Whose.
        device: DeviceId,
        /// Which.
        sequence: u32,
    },
    /// The sum could leave the ring, and would be wrong without anyone seeing it.
    #[error(
        "{found} devices do not fit a ring of {ring_bits} bits with this task: it would overflow"
    )]
    Overflow {
        /// How many were named.
        found: usize,
        /// The ring.
        ring_bits: u8,
    },
    /// No honest server asks for so much.
    #[error("too many devices or numbers at once")]
    TooMany,
    /// The task's noise is below what this helper adds at least.
    #[error("the task has {found} tenths of noise, and this helper answers from {least} on")]
    TooLittleNoise {
        /// The task's.
        found: u16,
        /// The helper's.
        least: u16,
    },
    /// What was answered could not be noted, so nothing was answered.
    #[error("the helper cannot keep its log: {0}")]
    Log(String),
}

impl Denied {
    /// Its name in answers over HTTP.
    pub fn word(&self) -> &'static str {
        match self {
            Denied::TooFew { .. } => "too_few",
            Denied::Twice(_) => "twice",
            Denied::Answered { .. } => "answered",
            Denied::Overflow { .. } => "overflow",
            Denied::TooMany => "too_many",
            Denied::TooLittleNoise { .. } => "too_little_noise",
            Denied::Log(_) => "log",
        }
    }
}

/// The key that a device shares with the helper of a folder, whether that is at work or not; `None` if there is none.
///
/// # Errors
/// [`FleetError::Key`] if the secret can be read by others or is none.
pub fn mask_key(folder: &Path, device: DeviceId) -> Result<Option<MaskKey>, FleetError> {
    let secret = read_secret(&folder.join("helper.key"))?;
    Ok(secret.map(|secret| HelperKey(secret).mask_key(device)))
}

impl SumRequest {
    /// Names the request: the same reports of the same task have the same, in whatever order.
    fn digest(&self) -> Digest {
        let mut reports = self.reports.clone();
        reports.sort_unstable();
        let mut bytes = self.task.encode().to_vec();
        bytes.extend((self.value_count as u64).to_le_bytes());
        for (device, sequence) in reports {
            bytes.extend(device.0.to_le_bytes());
            bytes.extend(sequence.to_le_bytes());
        }
        Digest::of(&bytes)
    }
}

/// A helper over a folder.
#[derive(Debug)]
pub struct Helper {
    key: HelperKey,
    noise_tenths_min: u16,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    file: File,
    /// Two helpers over one log would each answer what the other has.
    _lock: File,
    /// A line may stand half-written at its end: nothing may follow it.
    is_torn: bool,
    seen: HashMap<(u8, DeviceId), u32>,
    answered: HashSet<Digest>,
}

impl Helper {
    /// Opens the helper of a folder; `seed` becomes its secret if it has none yet.
    ///
    /// # Errors
    /// [`FleetError::Key`] if the secret can be read by others or is none, or the log cannot be read.
    pub fn open(
        folder: &Path,
        seed: &[u8; 32],
        noise_tenths_min: u16,
    ) -> Result<Helper, FleetError> {
        let path = folder.join("helper.key");
        let key = match read_secret(&path)? {
            Some(secret) => secret,
            None => {
                std::fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))?;
                write_new(
                    &path,
                    Readers::Owner,
                    format!("{}\n", Digest(*seed)).as_bytes(),
                )
                .map_err(|error| wrong(&path, &error))?;
                *seed
            }
        };
        Ok(Helper {
            key: HelperKey(key),
            noise_tenths_min,
            log: Mutex::new(Log::open(&folder.join("answers.log"))?),
        })
    }

    /// The key that a device shares with this helper: for whoever puts it on the device, and not for its server.
    pub fn mask_key(&self, device: DeviceId) -> MaskKey {
        self.key.mask_key(device)
    }

    /// The sum of the masks of the reports, less the helper's noise, in the ring.
    ///
    /// The same request is answered the same again, for an answer may be lost; noise and all, so that asking often
    /// averages nothing away. When this returns, the answer is noted on the disk.
    ///
    /// # Errors
    /// [`Denied`], and then nothing is noted.
    pub fn sum(&self, request: &SumRequest) -> Result<Vec<u32>, Denied> {
        self.check(request)?;
        let digest = request.digest();
        {
            let mut log = lock(&self.log);
            if !log.answered.contains(&digest) {
                log.note(request, digest)?;
            }
        }
        let task = &request.task;
        let ring = task.ring_mask();
        let mut sums = vec![0_u32; request.value_count];
        for (device, sequence) in &request.reports {
            let masks = self.key.mask_key(*device).masks(task, *sequence);
            for (sum, mask) in sums.iter_mut().zip(masks) {
                *sum = sum.wrapping_add(mask) & ring;
            }
        }
        let secret = self.key.derive("noise", &digest.0);
        if let Some(mut noise) = DiscreteGaussian::of_task(task, secret) {
            for sum in &mut sums {
                *sum = sum.wrapping_sub(noise.draw() as u32) & ring;
            }
        }
        Ok(sums)
    }

    fn check(&self, request: &SumRequest) -> Result<(), Denied> {
        let found = request.reports.len();
        let task = &request.task;
        if found > DEVICES_MAX || request.value_count > VALUES_MAX {
            return Err(Denied::TooMany);
        }
        let mut named = HashSet::with_capacity(found);
        for (device, _) in &request.reports {
            if !named.insert(*device) {
                return Err(Denied::Twice(*device));
            }
        }
        if found < DEVICES_MIN {
            return Err(Denied::TooFew { found });
        }
        if task.noise_tenths < self.noise_tenths_min {
            return Err(Denied::TooLittleNoise {
                found: task.noise_tenths,
                least: self.noise_tenths_min,
            });
        }
        if !task.holds(found as u32) || task.noise_sd() > SD_MAX as f64 {
            return Err(Denied::Overflow {
                found,
                ring_bits: task.ring_bits,
            });
        }
        Ok(())
    }
}

impl Log {
    fn open(path: &Path) -> Result<Log, FleetError> {
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).map_err(|error| wrong(&lock_path, &error))?;
        lock.try_lock().map_err(|error| FleetError::Key {
            path: lock_path.display().to_string(),
            problem: match error {
                TryLockError::WouldBlock => {
                    "another helper is at work on this folder: stop it first".to_owned()
                }
                TryLockError::Error(error) => error.to_string(),
            },
        })?;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(path, &error)),
        };
        let mut log = (HashMap::new(), HashSet::new());
        // A line that a crash has cut short was never answered.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        for (number, line) in whole.lines().enumerate() {
            read_line(line, &mut log).ok_or_else(|| FleetError::Key {
                path: path.display().to_string(),
                problem: format!(
                    "line {} is none of this helper's; without the whole log it must not answer",
                    number + 1
                ),
            })?;
        }
        let (seen, answered) = log;
        // What it comes to, so that the file does not grow for ever.
        let mut lines: Vec<String> = seen
            .iter()
            .map(|((purpose, device), number)| format!("seen {purpose} {device} {number}\n"))
            .chain(
                answered
                    .iter()
                    .map(|digest| format!("answered {digest} 0 \n")),
            )
            .collect();
        lines.sort_unstable();
        write_whole(path, Readers::Owner, lines.concat().as_bytes())
            .map_err(|error| wrong(path, &error))?;
        let file = File::options()
            .append(true)
            .open(path)
            .map_err(|error| wrong(path, &error))?;
        Ok(Log {
            file,
            _lock: lock,
            is_torn: false,
            seen,
            answered,
        })
    }

    fn note(&mut self, request: &SumRequest, digest: Digest) -> Result<(), Denied> {
        let purpose = request.task.purpose as u8;
        for &(device, sequence) in &request.reports {
            let is_old = self
                .seen
                .get(&(purpose, device))
                .is_some_and(|newest| sequence <= *newest);
            if is_old {
                return Err(Denied::Answered { device, sequence });
            }
        }
        let named = request.reports.iter();
        let named: Vec<String> = named
            .map(|(device, sequence)| format!("{device}:{sequence}"))
            .collect();
        let line = format!("answered {digest} {purpose} {}\n", named.join(","));
        if self.is_torn {
            return Err(Denied::Log(
                "a line could not be written; start it anew".to_owned(),
            ));
        }
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_all());
        if let Err(error) = written {
            self.is_torn = true;
            return Err(Denied::Log(error.to_string()));
        }
        for &(device, sequence) in &request.reports {
            self.seen.insert((purpose, device), sequence);
        }
        self.answered.insert(digest);
        Ok(())
    }
}

fn read_line(
    line: &str,
    (seen, answered): &mut (HashMap<(u8, DeviceId), u32>, HashSet<Digest>),
) -> Option<()> {
    let mut words = line.split(' ');
    match words.next()? {
        "seen" => {
            let purpose: u8 = words.next()?.parse().ok()?;
            let device = words.next()?.parse().ok()?;
            seen.insert((purpose, device), words.next()?.parse().ok()?);
        }
        "answered" => {
            answered.insert(words.next()?.parse().ok()?);
            let purpose: u8 = words.next()?.parse().ok()?;
            for named in words.next()?.split(',').filter(|named| !named.is_empty()) {
                let (device, sequence) = named.split_once(':')?;
                seen.insert((purpose, device.parse().ok()?), sequence.parse().ok()?);
            }
        }
        _ => return None,
    }
    Some(())
}

/// Reads 64 hex digits that others may not; `None` if there is no such file.
///
/// # Errors
/// [`FleetError::Key`].
fn read_secret(path: &Path) -> Result<Option<[u8; 32]>, FleetError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            check_permissions(path).map_err(|problem| FleetError::Key {
                path: path.display().to_string(),
                problem,
            })?;
            let secret: Digest = text.trim().parse().map_err(|_| FleetError::Key {
                path: path.display().to_string(),
                problem: "not 64 hex digits".to_owned(),
            })?;
            Ok(Some(secret.0))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(path, &error)),
    }
}

fn wrong(path: &Path, error: &std::io::Error) -> FleetError {
    FleetError::Key {
        path: PathBuf::from(path).display().to_string(),
        problem: error.to_string(),
    }
}
