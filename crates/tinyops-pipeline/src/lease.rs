//! Who works on a project: one run at a time.
//!
//! | kept in | seen by | ends |
//! |---|---|---|
//! | the row of the run: owner, and a lease that the owner renews | everybody on the store | [`LEASE_MS`] after it was last renewed |
//! | a lock on `.tinyops/run.lock` of the project folder | processes on that folder | with its process, at once |
//!
//! The lock tells a killed process from one that is at work, so that nobody waits for the lease of a process
//! that is gone; the lease speaks for processes in other folders and on other machines.

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tinyops_store::{
    Timestamp, Tx,
    run::{self, Run, RunState},
};
use tokio::{sync::Mutex, task::JoinHandle};
use tracing::warn;

use crate::{RunError, Workshop, openlineage, tracking::own};

/// How long an owner may be silent before its run counts as interrupted, milliseconds.
const LEASE_MS: i64 = 60_000;
/// How often an owner renews: three renewals may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// The half-written artifacts of a killed process are garbage after this time.
const STRAY_AGE: Duration = Duration::from_secs(3600);

/// The right to start a run from one project folder, as long as it is held.
pub(crate) struct Seat {
    /// Who sits here: `process 4711 on `host` in `/folder``.
    owner: String,
    /// What of it outlives the process; `None` where the machine has no name to tell it from another.
    place: Option<String>,
    /// `None` where the folder takes no locks, as some network file systems.
    lock: Option<File>,
}

impl Seat {
    /// Takes the only seat of the folder; `None` while a living process holds it.
    pub(crate) fn take(root: &Path) -> Option<Self> {
        let folder = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let lock = match lock(&folder) {
            Ok(file) => Some(file),
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Error(_)) => None,
        };
        let host = host();
        let name = host.as_deref().unwrap_or("this machine");
        let place = format!("on `{name}` in `{}`", folder.display());
        Some(Self {
            owner: format!("process {} {place}", std::process::id()),
            place: host.map(|_| place),
            lock,
        })
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether the process that works on `run` lives, as far as can be known from here.
    fn is_alive(&self, run: &Run, now: Timestamp) -> bool {
        let here = match (&run.owner, &self.place) {
            (Some(owner), Some(place)) => owner.ends_with(place.as_str()),
            _ => false,
        };
        // Whoever sat here before is gone, or this seat could not have been locked.
        let is_gone = here && self.lock.is_some();
        !is_gone && run.state_at(now) != RunState::Interrupted
    }

    /// Ends what killed processes left of a project's runs, and returns the newest of them.
    ///
    /// # Errors
    /// [`RunError::AtWork`] if one of the runs is alive.
    pub(crate) async fn take_over(
        &self,
        tx: &Tx,
        project: &str,
        now: Timestamp,
    ) -> Result<Option<Run>, RunError> {
        let mut newest = None;
        for mut left in run::open_of(tx, project).await? {
            if self.is_alive(&left, now) {
                return Err(RunError::AtWork(Box::new(left)));
            }
            left.state = RunState::Interrupted;
            left.ended_at = Some(now);
            left.lease_until = None;
            let owner = left.owner.as_deref().unwrap_or("its process");
            left.detail = serde_json::json!({
                "error": format!("{owner} ended in the middle; the next run went on from the steps that were done"),
            });
            run::put(tx, &mut left).await?;
            own::end(tx, &left).await?;
            openlineage::owe_end(tx, &left).await?;
            newest = Some(left);
        }
        Ok(newest)
    }
}

/// Whether nobody works in a project folder at this moment: a look, not a promise.
#[must_use]
pub fn is_free(root: &Path) -> bool {
    Seat::take(root).is_some()
}

/// Whether the process that worked on an open run is gone, as far as can be known from a project folder.
#[must_use]
pub fn is_left(root: &Path, run: &Run, now: Timestamp) -> bool {
    match Seat::take(root) {
        Some(seat) => !seat.is_alive(run, now),
        None => run.state_at(now) == RunState::Interrupted,
    }
}

/// Opens and locks the file of a folder; the system gives the lock back when the process ends, however it ends.
fn lock(folder: &Path) -> Result<File, TryLockError> {
    let hidden = folder.join(".tinyops");
    std::fs::create_dir_all(&hidden).map_err(TryLockError::Error)?;
    let file = File::options()
        .create(true)
        .append(true)
        .open(hidden.join("run.lock"))
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// The name of this machine.
fn host() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let variable = |name: &str| std::env::var(name).ok();
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| variable("COMPUTERNAME"))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

/// When a lease that is renewed `now` runs out.
pub(crate) fn lease_until(now: Timestamp) -> Timestamp {
    now.plus_ms(LEASE_MS)
}

/// A lease that is renewed until it is dropped.
pub(crate) struct Lease {
    /// Held by whoever writes to the row of the run, so that a renewal never meets the owner's own writing.
    pub(crate) pen: Arc<Mutex<()>>,
    renewing: JoinHandle<()>,
    _seat: Seat,
}

impl Lease {
    pub(crate) fn hold(workshop: &Workshop, run: &Run, seat: Seat) -> Self {
        let pen = Arc::<Mutex<()>>::default();
        Self {
            renewing: tokio::spawn(renew(workshop.clone(), run.clone(), Arc::clone(&pen))),
            pen,
            _seat: seat,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Renews until the run is over, or somebody else has taken it: its owner sees that at the next step.
async fn renew(workshop: Workshop, run: Run, pen: Arc<Mutex<()>>) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let _pen = pen.lock().await;
        let renewed = async {
            let tx = workshop.db.begin("renew a lease").await?;
            run::renew(&tx, &run, lease_until((workshop.now)())).await?;
            tx.commit().await
        };
        match renewed.await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => return,
            Err(error) => warn!(run = %run.id, %error, "a lease could not be renewed"),
        }
    }
}

/// Removes what killed processes left half-written among the artifacts.
pub(crate) async fn sweep(workshop: &Workshop) {
    if let Err(error) = workshop.artifacts.sweep(STRAY_AGE).await {
        warn!(%error, "half-written artifacts could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_store::{Db, Digest, StoreError, run::NewRun};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    async fn add(db: &Db, owner: &str, lease_until: Timestamp) -> Run {
        let new = NewRun {
            project: "fan".to_owned(),
            kind: "train".to_owned(),
            trigger: None,
            settings: Digest::of(b"toml"),
            code: "0.1.0".to_owned(),
            seed: 1,
            owner: owner.to_owned(),
            lease_until,
        };
        let tx = db.begin("test").await.unwrap();
        let run = run::add(&tx, &new, NOW).await.unwrap();
        tx.commit().await.unwrap();
        run
    }

    /// Whether a run of `owner` with a lease `lease_ms` from now on is taken over from this seat.
    async fn check(seat: &Seat, owner: &str, lease_ms: i64, taken: bool) {
        let db = Db::open("sqlite::memory:").await.unwrap();
        let left = add(&db, owner, NOW.plus_ms(lease_ms)).await;
        let tx = db.begin("test").await.unwrap();
        match seat.take_over(&tx, "fan", NOW).await {
            Ok(Some(run)) => {
                assert!(taken, "{owner}");
                assert_eq!(
                    (run.id, run.state, run.ended_at),
                    (left.id, RunState::Interrupted, Some(NOW))
                );
                let late = run::renew(&tx, &left, NOW).await;
                assert!(
                    matches!(late, Err(StoreError::Conflict { .. })),
                    "the old owner must see that it lost the run: {late:?}"
                );
            }
            Ok(None) => panic!("the run of {owner} was not seen"),
            Err(RunError::AtWork(run)) => {
                assert!(!taken, "{owner}");
                assert_eq!(run.id, left.id);
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_run_is_taken_over_when_its_process_is_gone_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let seat = Seat::take(folder.path()).unwrap();
        let here = seat.place.clone().expect("this machine has a name");
        check(&seat, &format!("process 1 {here}"), LEASE_MS, true).await;
        check(&seat, "process 1 on `far` in `/fan`", 1, false).await;
        check(&seat, "process 1 on `far` in `/fan`", -1, true).await;
        let unlocked = Seat { lock: None, ..seat };
        check(&unlocked, &format!("process 1 {here}"), 1, false).await;
        check(&unlocked, &format!("process 1 {here}"), -1, true).await;
    }

    #[test]
    fn a_folder_has_one_seat() {
        let folder = tempfile::tempdir().unwrap();
        let first = Seat::take(folder.path()).unwrap();
        assert!(Seat::take(folder.path()).is_none());
        drop(first);
        assert!(Seat::take(folder.path()).is_some());
    }
}
