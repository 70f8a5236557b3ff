//! The workbench of one run: does a step or takes it from the store, and keeps the record of it.

use std::{sync::Arc, time::Instant};

use serde::Serialize;
use tinyops_store::{
    Digest, DigestBuilder, Json, StoreError, Tx, audit,
    lineage::{self, Edge},
    run::{self, NewRun, Run, RunId, RunState},
    step::{self, Port, Step, StepState},
    trigger::{self, Trigger},
};

use tinyops_train::progress::Flow;
use tokio::sync::OwnedMutexGuard;

use crate::{
    Output, Progress, Reporter, RunError, StepName, StepReport, Workshop,
    background::background,
    code_version, host,
    lease::{Lease, Seat, lease_until, sweep},
    openlineage,
    tracking::own,
};

/// A run that answers a trigger is the loop's, any other a person's.
fn actor_of(run: &Run) -> &'static str {
    match run.trigger {
        Some(_) => "loop",
        None => "command line",
    }
}

/// What a step made: artifacts by name, figures, and one line for a person.
pub(crate) struct Made {
    pub(crate) outputs: Vec<(String, Vec<u8>)>,
    pub(crate) detail: Json,
    pub(crate) summary: String,
}

/// What a step came to, whether done or taken from the store.
#[derive(Clone)]
pub(crate) struct Done {
    pub(crate) outputs: Vec<Port>,
    pub(crate) detail: Json,
}

impl Done {
    /// The digest of one output.
    pub(crate) fn output(&self, name: &str) -> Result<Digest, RunError> {
        self.outputs
            .iter()
            .find(|port| port.name == name)
            .map(|port| port.digest)
            .ok_or_else(|| RunError::Missing {
                what: name.to_owned(),
            })
    }

    /// One output as an input of the next step.
    pub(crate) fn port(&self, name: &str) -> Result<Port, RunError> {
        Ok(Port {
            name: name.to_owned(),
            digest: self.output(name)?,
        })
    }
}

/// How far a step is, told from the thread that works on it.
pub(crate) type Tell = Arc<dyn Fn(u64, u64, String) + Send + Sync>;

pub(crate) struct Bench<'a> {
    pub(crate) workshop: &'a Workshop,
    pub(crate) run: Run,
    /// The interrupted run that this one goes on from.
    pub(crate) resumes: Option<RunId>,
    lease: Lease,
    reporter: Reporter,
    pub(crate) steps: Vec<StepReport>,
    edges: Vec<Edge>,
}

impl<'a> Bench<'a> {
    /// Opens a run.
    pub(crate) async fn open(
        workshop: &'a Workshop,
        kind: &str,
        trigger: Option<Trigger>,
        reporter: Reporter,
    ) -> Result<Self, RunError> {
        let project = &workshop.project;
        let Some(seat) = Seat::take(&workshop.root) else {
            return Err(busy(workshop).await?);
        };
        let text = toml::to_string(project).map_err(|_| RunError::Missing {
            what: "settings that can be written as TOML".to_owned(),
        })?;
        let settings = workshop.artifacts.put(text.as_bytes()).await?;
        let now = (workshop.now)();
        let new = NewRun {
            project: project.project.name.clone(),
            kind: kind.to_owned(),
            trigger: trigger.as_ref().map(|trigger| trigger.id),
            settings,
            code: code_version(&workshop.root),
            seed: project.train.seed,
            owner: seat.owner().to_owned(),
            lease_until: lease_until(now),
        };
        let record = tinyops_store::project::Project {
            name: project.project.name.clone(),
            settings,
            detail: serde_json::to_value(project).unwrap_or_default(),
            created_at: now,
        };
        let tx = workshop.db.begin_audited("open run").await?;
        let interrupted = seat.take_over(&tx, &new.project, now).await?;
        tinyops_store::project::put(&tx, &record).await?;
        let mut run = run::add(&tx, &new, now).await?;
        run.state = RunState::Running;
        run::put(&tx, &mut run).await?;
        own::begin(&tx, &run, &record.detail).await?;
        openlineage::owe_begin(&tx, &run).await?;
        if let Some(mut trigger) = trigger {
            // Whoever took it up meanwhile has changed it, and this fails.
            trigger.run = Some(run.id);
            let put = trigger::put(&tx, &mut trigger).await;
            put.map_err(|error| match error.is_conflict() {
                true => RunError::TriggerTaken {
                    trigger: trigger.id,
                },
                false => error.into(),
            })?;
        }
        let (actor, subject) = (actor_of(&run), run.id.to_string());
        let detail = serde_json::json!({ "kind": run.kind, "owner": run.owner });
        audit::add(&tx, now, actor, "run.start", &subject, &detail).await?;
        tx.commit().await?;
        let resumes = interrupted.as_ref().map(|run| run.id);
        if let Some(run) = interrupted {
            sweep(workshop).await;
            let interrupted = Box::new(run);
            reporter(Progress::Resumes { interrupted });
        }
        Ok(Self {
            lease: Lease::hold(workshop, &run, seat),
            workshop,
            run,
            resumes,
            reporter,
            steps: Vec::new(),
            edges: Vec::new(),
        })
    }

    /// Does one step on a blocking thread, unless a step with the same settings and inputs is in
    /// the store with all it made.
    pub(crate) async fn step(
        &mut self,
        name: StepName,
        settings: &impl Serialize,
        inputs: Vec<Port>,
        work: impl FnOnce(Tell) -> Result<Made, RunError> + Send + 'static,
    ) -> Result<Done, RunError> {
        (self.reporter)(Progress::Begin(name));
        let key = key(name, settings, &inputs);
        let begun = Instant::now();
        let (done, summary, cached) = match self.kept(&key).await? {
            Some((done, summary)) => (done, summary, true),
            None => match self.work(name, work).await {
                Ok((done, summary)) => (done, summary, false),
                Err(error) => {
                    self.record(
                        name,
                        StepState::Failed,
                        key,
                        &inputs,
                        &[],
                        begun,
                        failed(&error),
                    )
                    .await?;
                    return Err(error);
                }
            },
        };
        let state = if cached {
            StepState::Cached
        } else {
            StepState::Done
        };
        let mut detail = done.detail.clone();
        if let Some(fields) = detail.as_object_mut() {
            fields.insert("summary".to_owned(), summary.clone().into());
            fields.insert("host".to_owned(), host::figures());
        }
        self.record(name, state, key, &inputs, &done.outputs, begun, detail)
            .await?;
        self.link(name, &inputs, &done.outputs);
        let report = StepReport {
            step: name,
            cached,
            wall_ms: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            outputs: done
                .outputs
                .iter()
                .map(|port| Output {
                    name: port.name.clone(),
                    digest: port.digest,
                })
                .collect(),
            summary,
        };
        self.end(report);
        Ok(done)
    }

    /// The bytes of an artifact.
    pub(crate) async fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, RunError> {
        Ok(self.workshop.artifacts.get(digest).await?)
    }

    /// Ends the run and keeps its lineage.
    pub(crate) async fn close(&mut self, state: RunState, detail: Json) -> Result<(), RunError> {
        let (_pen, tx) = self.transaction("close run").await?;
        self.close_in(tx, state, detail).await
    }

    /// A transaction that may write to the row of this run: while the pen is held, no renewal of the
    /// lease comes between.
    pub(crate) async fn transaction(
        &self,
        name: &'static str,
    ) -> Result<(OwnedMutexGuard<()>, Tx), StoreError> {
        let pen = Arc::clone(&self.lease.pen).lock_owned().await;
        Ok((pen, self.workshop.db.begin_audited(name).await?))
    }

    /// Ends the run in one [`Self::transaction`] with what the caller has written in it.
    pub(crate) async fn close_in(
        &mut self,
        tx: Tx,
        state: RunState,
        detail: Json,
    ) -> Result<(), RunError> {
        let mut run = self.run.clone();
        run.state = state;
        run.detail = detail;
        run.ended_at = Some((self.workshop.now)());
        run.lease_until = None;
        lineage::add(&tx, &self.edges).await?;
        let put = run::put(&tx, &mut run).await;
        put.map_err(|error| self.lost(error))?;
        own::end(&tx, &run).await?;
        openlineage::owe_end(&tx, &run).await?;
        let (now, subject) = ((self.workshop.now)(), run.id.to_string());
        let detail = serde_json::json!({ "state": state.word() });
        audit::add(&tx, now, self.actor(), "run.end", &subject, &detail).await?;
        tx.commit().await?;
        self.run = run;
        Ok(())
    }

    /// Whom the audit log names for what this run does.
    pub(crate) fn actor(&self) -> &'static str {
        actor_of(&self.run)
    }

    /// Ends the run as failed.
    pub(crate) async fn fail(&mut self, error: &RunError) -> Result<(), RunError> {
        self.close(RunState::Failed, failed(error)).await
    }

    /// Tells that a step begins which the bench does not do itself.
    pub(crate) fn begin(&self, name: StepName) {
        (self.reporter)(Progress::Begin(name));
    }

    /// Tells, and remembers, that a step ended which the bench did not do itself.
    pub(crate) fn end(&mut self, report: StepReport) {
        (self.reporter)(Progress::End(report.clone()));
        self.steps.push(report);
    }

    async fn kept(&self, key: &Digest) -> Result<Option<(Done, String)>, RunError> {
        let Some(step) = step::cached(&self.workshop.db, key).await? else {
            return Ok(None);
        };
        for port in &step.outputs {
            if !self.workshop.artifacts.exists(&port.digest).await? {
                // Somebody cleaned up: the step is simply done again.
                return Ok(None);
            }
        }
        let summary = step.detail["summary"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let done = Done {
            outputs: step.outputs,
            detail: step.detail,
        };
        Ok(Some((done, summary)))
    }

    async fn work(
        &self,
        name: StepName,
        work: impl FnOnce(Tell) -> Result<Made, RunError> + Send + 'static,
    ) -> Result<(Done, String), RunError> {
        let reporter = Arc::clone(&self.reporter);
        let tell: Tell = Arc::new(move |done, total, note| {
            reporter(Progress::At {
                step: name,
                done,
                total,
                note,
            });
        });
        let work = move || work(tell);
        let made = match self.run.trigger {
            Some(_) => background(work).await,
            None => tokio::task::spawn_blocking(work).await.ok(),
        };
        let made = made.ok_or(RunError::Panicked { step: name })??;
        let mut outputs = Vec::with_capacity(made.outputs.len());
        for (name, bytes) in made.outputs {
            let digest = self.workshop.artifacts.put(&bytes).await?;
            outputs.push(Port { name, digest });
        }
        let done = Done {
            outputs,
            detail: made.detail,
        };
        Ok((done, made.summary))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one argument per column of the row"
    )]
    async fn record(
        &self,
        name: StepName,
        state: StepState,
        key: Digest,
        inputs: &[Port],
        outputs: &[Port],
        begun: Instant,
        detail: Json,
    ) -> Result<(), RunError> {
        let row = Step {
            run: self.run.id,
            index: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            name: name.word().to_owned(),
            state,
            key: Some(key),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            seconds: begun.elapsed().as_secs_f64(),
            detail,
            changed_at: (self.workshop.now)(),
        };
        let sizes = own::sizes_of(&self.workshop.artifacts, outputs.iter()).await?;
        let (_pen, tx) = self.transaction("record step").await?;
        let renewed = run::renew(&tx, &self.run, lease_until(row.changed_at)).await;
        renewed.map_err(|error| self.lost(error))?;
        step::put(&tx, &row).await?;
        own::step(&tx, &self.run, &row, &sizes).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What a conflict on the row of this run means: only its owner writes to it.
    fn lost(&self, error: StoreError) -> RunError {
        if error.is_conflict() {
            RunError::TakenOver { run: self.run.id }
        } else {
            error.into()
        }
    }

    fn link(&mut self, name: StepName, inputs: &[Port], outputs: &[Port]) {
        for output in outputs {
            // A step may pass on the very bytes it got.
            for input in inputs.iter().filter(|input| input.digest != output.digest) {
                self.edges.push(Edge {
                    from: input.digest,
                    to: output.digest,
                    kind: name.word().to_owned(),
                    run: Some(self.run.id),
                });
            }
        }
    }
}

/// Who keeps this process from working in the folder.
async fn busy(workshop: &Workshop) -> Result<RunError, StoreError> {
    let open = run::open_of(&workshop.db, &workshop.project.project.name).await?;
    Ok(match open.into_iter().next_back() {
        Some(run) => RunError::AtWork(Box::new(run)),
        // It is about to open its run, or works on another project or store.
        None => RunError::FolderBusy {
            folder: workshop.root.clone(),
        },
    })
}

/// The digest of everything that a step's outputs depend on.
fn key(name: StepName, settings: &impl Serialize, inputs: &[Port]) -> Digest {
    let settings = serde_json::to_string(settings).expect("settings have string keys");
    let mut builder = DigestBuilder::new();
    let mut line = |text: &str| {
        builder.update(text.as_bytes());
        builder.update(b"\n");
    };
    line("tinyops step 1");
    line(env!("CARGO_PKG_VERSION"));
    line(name.word());
    line(&settings);
    for port in inputs {
        line(&format!("{} {}", port.name, port.digest));
    }
    builder.finish()
}

fn failed(error: &RunError) -> Json {
    serde_json::json!({ "error": error.to_string() })
}

/// A listener for `tinyops-train` that tells the bench.
pub(crate) fn listener(tell: Tell) -> impl FnMut(tinyops_train::progress::Progress) -> Flow {
    move |progress| {
        let note = progress.loss.map_or_else(String::new, |loss| {
            progress.metric.map_or_else(
                || format!("loss {loss:.4}"),
                |metric| format!("loss {loss:.4}, validation {metric:.3}"),
            )
        });
        tell(progress.done as u64, progress.total as u64, note);
        Flow::Continue
    }
}
