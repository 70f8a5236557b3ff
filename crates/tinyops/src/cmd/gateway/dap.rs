//! Reports go out as shares: what devices say in the clear is measured here, and stays here.

mod aggregator;
mod queue;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tinyops_fleet::{
    dap::{self, Fate, REPORT_ID_BYTES, ReportId, SealError, Task, UploadProblem, Way},
    enrol::Entropy,
};
use tinyops_wire::{DeviceId, ModelId, Sealed, summary::SummaryFrame};
use tokio::sync::Notify;

use self::{
    aggregator::{Aggregator, Trouble},
    queue::{Queue, Taken},
};
use super::backoff::Backoff;
use crate::{context::now, endpoint::Endpoint, failure::Failure};

/// Reports of one upload at most.
const BATCH_COUNT: usize = 64;
/// A clock that says less, in seconds since 1970, is not right: this was written later.
const CLOCK_LEAST: u64 = 1_790_000_000;
/// Between two tries of what a person has to put right.
const PERSON_WITHIN: Duration = Duration::from_secs(60);

/// What a person gives to have reports go out as shares.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DapFlags {
    /// Upload what devices report as shares to the two aggregators of the task in this file (`docs/guide/dap.md`), and
    /// let the server have no report in the clear; may be given several times
    #[arg(long, value_name = "FILE", requires = "dap_folder")]
    dap: Vec<PathBuf>,
    /// Folder for what waits for the aggregators
    #[arg(long, value_name = "DIR", requires = "dap")]
    dap_folder: Option<PathBuf>,
    /// PEM file of those who sign the aggregators' certificates [default: that of `--ca`]
    #[arg(long, value_name = "FILE", requires = "dap")]
    dap_ca: Option<PathBuf>,
}

/// How a task goes, as `--json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct TaskStatus {
    /// Which one.
    task: String,
    /// Reports that were taken in to be uploaded.
    measured: u64,
    /// Reports that the leader has stored.
    uploaded: u64,
    /// Reports that it had, or whose batch it had closed.
    known: u64,
    /// Reports that it will never take, or that made room for others.
    lost: u64,
    /// Reports that were here before, or of a device that was measured in that unit of time.
    repeated: u64,
    /// Reports that have nothing to measure: of another model, of another shape, without windows.
    unmeasured: u64,
    /// Reports that could not be kept, because the folder took nothing.
    unkept: u64,
    /// Reports that wait.
    waiting: usize,
    /// Why they do, if something is wrong.
    waits: Option<String>,
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "task {}: {} measured ({} uploaded, {} known, {} lost, {} wait), {} repeated, {} without a measurement, {} not kept",
            self.task,
            self.measured,
            self.uploaded,
            self.known,
            self.lost,
            self.waiting,
            self.repeated,
            self.unmeasured,
            self.unkept,
        )?;
        match &self.waits {
            None => Ok(()),
            Some(why) => write!(f, "; waits: {why}"),
        }
    }
}

/// All tasks of a gateway.
pub(super) struct Desks(Vec<Arc<Desk>>);

/// One task: its queue, and the way to its aggregators.
pub(super) struct Desk {
    task: Task,
    /// Leader and helper; whoever uploads has them.
    aggregators: tokio::sync::Mutex<[Aggregator; 2]>,
    state: Mutex<State>,
    /// There is something to upload.
    brought: Notify,
}

struct State {
    queue: Queue,
    status: TaskStatus,
}

/// Why reports wait.
#[derive(Debug, thiserror::Error)]
enum Wait {
    #[error(transparent)]
    Aggregator(#[from] Trouble),
    #[error("the leader turned reports away: {0}")]
    Reports(dap::ReportError),
    #[error("this machine's clock says that it is {0} s after 1970, which is not right")]
    Clock(u64),
    #[error("{0}")]
    Seal(#[from] SealError),
    #[error("the folder of what waits: {0}")]
    Folder(#[from] io::Error),
}

impl Wait {
    /// Whether it takes a person, and no time, to put it right.
    fn is_for_a_person(&self) -> bool {
        match self {
            Wait::Aggregator(Trouble::Unreachable(..)) => false,
            Wait::Aggregator(Trouble::Upload(UploadProblem::Status { status, .. })) => {
                *status < 500 && *status != 429
            }
            _ => true,
        }
    }
}

impl DapFlags {
    /// Opens the tasks; none if none is asked for.
    pub(super) fn open(&self, ca: Option<&Path>) -> Result<Option<Desks>, Failure> {
        let Some(folder) = &self.dap_folder else {
            return Ok(None);
        };
        let ca = self.dap_ca.as_deref().or(ca);
        let mut open: Vec<Arc<Desk>> = Vec::new();
        let mut endpoints = Vec::new();
        for file in &self.dap {
            let shown = file.display();
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::question(format!("cannot read the task file `{shown}`")).cause(&error)
            })?;
            let task = Task::parse(&text).map_err(|error| {
                Failure::question(format!("`{shown}` describes no task"))
                    .cause(&error)
                    .hint("docs/guide/dap.md has one that does")
            })?;
            if open.iter().any(|desk| desk.task.id == task.id) {
                return Err(Failure::question(format!(
                    "`{shown}` is of a task that another `--dap` is of, {}",
                    task.id
                )));
            }
            let aggregators = [("leader", &task.leader), ("helper", &task.helper)];
            let [leader, helper] = aggregators.map(|(role, url)| Aggregator::new(role, url, ca));
            let aggregators = [leader?, helper?];
            endpoints.extend(aggregators.each_ref().map(|one| one.endpoint().clone()));
            let place = folder.join(task.id.to_string());
            let queue = Queue::open(&place).map_err(|error| {
                Failure::environment(format!(
                    "`{}` cannot keep what waits for the aggregators",
                    place.display()
                ))
                .cause(&error)
            })?;
            open.push(Arc::new(Desk::new(task, queue, aggregators)));
        }
        let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
        Endpoint::check_ca(self.dap_ca.as_deref(), &endpoints)?;
        Ok(Some(Desks(open)))
    }
}

impl Desks {
    /// Each of them, to be kept uploading.
    pub(super) fn each(&self) -> impl Iterator<Item = Arc<Desk>> {
        self.0.iter().cloned()
    }

    /// Takes an envelope that has come; whether the server may have it.
    pub(super) fn passes(&self, sealed: &Sealed<'_>, bytes: &[u8]) -> bool {
        match dap::way(sealed) {
            Way::Passes => true,
            Way::Stays => false,
            Way::Measured {
                device,
                model,
                frame,
            } => {
                for desk in &self.0 {
                    desk.measure(bytes, device, model, &frame);
                }
                false
            }
        }
    }

    /// How each task goes.
    pub(super) fn status(&self) -> Vec<TaskStatus> {
        self.0.iter().map(|desk| desk.status()).collect()
    }
}

impl Desk {
    fn new(task: Task, queue: Queue, aggregators: [Aggregator; 2]) -> Desk {
        let status = TaskStatus {
            task: task.id.to_string(),
            ..TaskStatus::default()
        };
        Desk {
            task,
            aggregators: tokio::sync::Mutex::new(aggregators),
            state: Mutex::new(State { queue, status }),
            brought: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A queue is its folder; nothing that holds the lock panics within a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> TaskStatus {
        let state = self.state();
        TaskStatus {
            waiting: state.queue.len(),
            ..state.status.clone()
        }
    }

    /// Measures a report and keeps what comes of it.
    fn measure(&self, bytes: &[u8], device: DeviceId, model: ModelId, frame: &SummaryFrame<'_>) {
        let (secret, draw) = Entropy::from_system().parts();
        let id = ReportId(std::array::from_fn::<u8, REPORT_ID_BYTES, _>(|index| {
            secret[index]
        }));
        // 53 bits are what a number of this kind holds below 1.
        let draw = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        let taken = self.task.reading.take(&self.task.vdaf, model, frame, draw);
        let mut state = self.state();
        let Ok(Some(measurement)) = taken else {
            state.status.unmeasured += 1;
            return;
        };
        let time = seconds_now().ok().map(|now| self.task.time_of(now));
        match state.queue.take(bytes, device, time, (id, measurement)) {
            Ok(Taken::Repeated) => state.status.repeated += 1,
            Ok(taken) => {
                state.status.measured += 1;
                state.status.lost += u64::from(taken == Taken::InsteadOfOldest);
                drop(state);
                self.brought.notify_one();
            }
            Err(why) => {
                state.status.unkept += 1;
                tracing::error!(task = %self.task.id, %why, "a report could not be kept, and is lost");
            }
        }
    }

    /// Uploads for ever.
    pub(super) async fn keep(&self) {
        let mut aggregators = self.aggregators.lock().await;
        let mut backoff = Backoff::default();
        let mut batch = BATCH_COUNT;
        loop {
            if self.state().queue.len() == 0 {
                self.brought.notified().await;
            }
            match self.exchange(&mut aggregators, &mut batch).await {
                Ok(()) => {
                    let was = self.state().status.waits.take();
                    if was.is_some() {
                        tracing::info!(task = %self.task.id, "reports arrive again");
                    }
                    backoff = Backoff::default();
                }
                Err(why) => {
                    let pause = match why.is_for_a_person() {
                        true => PERSON_WITHIN.min(backoff.next() * 2),
                        false => backoff.next(),
                    };
                    let why = why.to_string();
                    let was = self.state().status.waits.replace(why.clone());
                    if was.as_ref() != Some(&why) {
                        tracing::warn!(task = %self.task.id, %why, "reports wait");
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// One upload, of the oldest that wait.
    async fn exchange(
        &self,
        [leader, helper]: &mut [Aggregator; 2],
        batch: &mut usize,
    ) -> Result<(), Wait> {
        let now = seconds_now().map_err(Wait::Clock)?;
        let time = self.task.time_of(now);
        let waiting = {
            let mut state = self.state();
            let repeated = state.queue.stamp(time)? as u64;
            state.status.repeated += repeated;
            state.queue.oldest(*batch)
        };
        let keys = (leader.key().await?, helper.key().await?);
        let mut reports = Vec::with_capacity(waiting.len());
        for (_, one) in &waiting {
            // A time that lies ahead was taken from a clock that has been put right since.
            let time = one.time.unwrap_or(time).min(time);
            let sealed = dap::seal(
                &self.task,
                one.id,
                time,
                &one.measurement,
                (&keys.0, &keys.1),
            )?;
            reports.push((one.id, sealed));
        }
        if reports.is_empty() {
            return Ok(());
        }
        let fates = match leader.upload(&self.task, &reports).await {
            Ok(fates) => fates,
            // One of several may be at fault: they go one by one, and that one is lost alone.
            Err(Trouble::Upload(UploadProblem::Message(_) | UploadProblem::TooLarge))
                if reports.len() > 1 =>
            {
                *batch = reports.len() / 2;
                return Ok(());
            }
            Err(Trouble::Upload(UploadProblem::Message(problem))) => {
                let mut state = self.state();
                state.queue.done(waiting[0].0)?;
                state.status.lost += 1;
                tracing::warn!(task = %self.task.id, %problem, "a report is lost: the leader cannot read it");
                return Ok(());
            }
            Err(why) => return Err(why.into()),
        };
        *batch = (*batch * 2).min(BATCH_COUNT);
        let mut waits = None;
        for ((number, one), fate) in waiting.iter().zip(fates) {
            let mut state = self.state();
            match fate {
                Fate::Stored => state.status.uploaded += 1,
                Fate::Known => state.status.known += 1,
                Fate::Sealed(_) if !one.is_sealed_anew => {
                    state.queue.seal_anew(*number)?;
                    drop(state);
                    leader.forget_key();
                    helper.forget_key();
                    continue;
                }
                Fate::Waits(why) => {
                    waits = Some(why);
                    continue;
                }
                Fate::Sealed(why) | Fate::Lost(why) => {
                    state.status.lost += 1;
                    tracing::warn!(task = %self.task.id, %why, "a report is lost");
                }
            }
            state.queue.done(*number)?;
        }
        waits.map_or(Ok(()), |why| Err(Wait::Reports(why)))
    }
}

/// Seconds since 1970; as an error if they cannot be right.
fn seconds_now() -> Result<u64, u64> {
    let seconds = u64::try_from(now().0 / 1000).unwrap_or(0);
    match seconds {
        CLOCK_LEAST.. => Ok(seconds),
        wrong => Err(wrong),
    }
}
