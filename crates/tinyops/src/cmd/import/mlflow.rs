//! `tinyops import mlflow`: what a tracking server has becomes ours.

mod remote;

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use serde::Serialize;
use serde_json::json;
use tinyops_pipeline::tracking::{
    Place, TrackingError, check_path,
    foreign::{ForeignError, ForeignExperiment, ForeignModel, ForeignName, ForeignRun, Listed},
    import::{self, Taken},
    registry::By,
};
use tinyops_store::{
    Artifacts, Db, Timestamp,
    tracking::{
        experiment::{Experiment, ExperimentId},
        file::{self, TrackedFile},
    },
};

use self::remote::{Remote, RemoteError};
use crate::{
    context::{ACTOR, Context, now},
    endpoint::{Endpoint, Protocol, read_token},
    failure::Failure,
    table::Table,
    term::Bar,
};

/// Take over what an MLflow tracking server has: experiments, runs, files, logged and registered models
///
/// Ids, times, tags, versions and aliases stay. What was taken over before is left alone unless it changed there, so that
/// an import that was cut off goes on where it was; tags that were set here stay, and aliases that were moved here. A folder `mlruns` or a file `mlflow.db` is served first:
/// `mlflow server --backend-store-uri sqlite:///mlflow.db`. Exits with 1 if something could not be taken over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops import mlflow http://127.0.0.1:5000 --dry-run")]
pub(super) struct Mlflow {
    /// The tracking server, such as http://127.0.0.1:5000
    server: String,
    /// Only this experiment; may be repeated. Registered models are left out then
    #[arg(long = "experiment", value_name = "NAME")]
    experiments: Vec<String>,
    /// Say what would be taken over, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take runs over again that are here as they were left there
    #[arg(long)]
    again: bool,
    /// Leave files where they are
    #[arg(long)]
    no_files: bool,
    /// Show the token in this file; with `--user` it is the password
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Log in by this name
    #[arg(long, value_name = "NAME", requires = "token_file")]
    user: Option<String>,
    /// PEM file of who signs the server's certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// `tinyops import mlflow --json`
#[derive(Default, Serialize)]
struct View {
    from: String,
    /// What the server says that it is.
    server: String,
    dry_run: bool,
    experiments: Vec<ExperimentView>,
    runs: CountView,
    logged_models: CountView,
    registered_models: CountView,
    versions: u64,
    files: u64,
    bytes: u64,
    skipped: Vec<SkippedView>,
    left: Vec<LeftView>,
}

/// An alias that points elsewhere there, and was left as it is here.
#[derive(Serialize)]
struct LeftView {
    name: String,
    alias: String,
    /// The version there.
    there: Option<u32>,
    /// The version here.
    here: Option<u32>,
}

#[derive(Serialize)]
struct ExperimentView {
    name: String,
    /// Its id there.
    id: String,
    /// Its number here; none before it is taken over.
    here: Option<i64>,
    runs: u64,
    logged_models: u64,
}

/// What became of records of one kind, or would.
#[derive(Default, Serialize)]
struct CountView {
    new: u64,
    renewed: u64,
    known: u64,
}

impl CountView {
    fn note(&mut self, taken: Taken) {
        match taken {
            Taken::New => self.new += 1,
            Taken::Renewed => self.renewed += 1,
            Taken::Known => self.known += 1,
        }
    }

    fn text(&self) -> String {
        format!(
            "{} new, {} renewed, {} known",
            self.new, self.renewed, self.known
        )
    }
}

#[derive(Serialize)]
struct SkippedView {
    what: String,
    why: String,
}

/// After so many answers in a row that broke off the server is taken for one that does not answer.
const BROKEN_MAX: u32 = 5;

/// Why one record was not taken over; the others are.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Store(#[from] tinyops_store::StoreError),
}

impl Problem {
    /// Whether the next record would fare no better.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Problem::Store(_)
                | Problem::Tracking(TrackingError::Store(_))
                | Problem::Remote(RemoteError::Unreachable { .. } | RemoteError::Store(_))
        )
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        match problem {
            Problem::Store(error) | Problem::Tracking(TrackingError::Store(error)) => error.into(),
            Problem::Remote(RemoteError::Store(error)) => error.into(),
            problem => Failure::environment(problem.to_string())
                .hint("the same command goes on where this one stopped"),
        }
    }
}

/// One experiment there, what it becomes here, and what is in it.
struct Plan {
    foreign: ForeignExperiment,
    here: Option<Experiment>,
    runs: Vec<ForeignRun>,
    models: Vec<ForeignModel>,
}

impl Plan {
    fn number(&self) -> ExperimentId {
        self.here.as_ref().map_or(ExperimentId(-1), |here| here.id)
    }
}

pub(super) async fn run(context: &Context, args: &Mlflow) -> Result<(), Failure> {
    let server = Endpoint::parse(Protocol::Http, &args.server, args.ca.as_deref())?;
    Endpoint::check_ca(args.ca.as_deref(), &[&server])?;
    let secret = args.token_file.as_deref().map(read_token).transpose()?;
    let remote = Remote::new(server, args.user.as_deref(), secret.as_deref());
    let (db, artifacts) = match args.dry_run {
        true => context.store_to_look_at().await?,
        false => context.store().await?,
    };
    let mut import = Import {
        view: View {
            from: remote.name(),
            server: remote.version().await.map_err(Problem::from)?,
            dry_run: args.dry_run,
            ..View::default()
        },
        context,
        remote,
        db,
        artifacts,
        args,
        broken_in_a_row: 0,
    };
    import.all().await?;
    let view = import.view;
    context.terminal.answer(&view, || text(&view));
    match view.skipped.len() {
        0 => Ok(()),
        count => Err(
            Failure::no(format!("{count} records could not be taken over"))
                .hint("mend what is said of each, and import again: what was taken over stays"),
        ),
    }
}

struct Import<'a> {
    context: &'a Context,
    args: &'a Mlflow,
    remote: Remote,
    db: Db,
    artifacts: Artifacts,
    view: View,
    broken_in_a_row: u32,
}

impl Import<'_> {
    async fn all(&mut self) -> Result<(), Failure> {
        let mut plans = self.plans().await?;
        let names = match self.args.experiments.is_empty() {
            true => {
                let listed = self.remote.names().await;
                self.all_of("registered models", listed)?
            }
            false => Vec::new(),
        };
        let parts = plans
            .iter()
            .map(|plan| plan.runs.len() + plan.models.len())
            .sum::<usize>()
            + names.len();
        let terminal = self.context.terminal;
        let bar = terminal.bar("import", parts as u64);
        let mut done = 0;
        for plan in &mut plans {
            if !self.args.dry_run {
                let taken = import::take_experiment(&self.db, &self.view.from, &plan.foreign).await;
                match taken.map_err(Problem::from) {
                    Ok((here, _)) => plan.here = Some(here),
                    Err(problem) => {
                        self.skip(format!("experiment {}", plan.foreign.name), problem)?;
                        continue;
                    }
                }
            }
            // Models before runs: what a run says of a model finds it.
            for model in &plan.models {
                let taken = self.model(plan, model).await;
                self.note(format!("logged model {}", model.model.id), taken, |view| {
                    &mut view.logged_models
                })?;
                step(&bar, &mut done);
            }
            for run in &plan.runs {
                let taken = self.run(plan, run).await;
                self.note(format!("run {}", run.run.id), taken, |view| &mut view.runs)?;
                step(&bar, &mut done);
            }
            self.view.experiments.push(ExperimentView {
                name: plan.foreign.name.clone(),
                id: plan.foreign.id.clone(),
                here: plan.here.as_ref().map(|here| here.id.0),
                runs: plan.runs.len() as u64,
                logged_models: plan.models.len() as u64,
            });
        }
        for name in &names {
            let taken = self.name(name).await;
            self.note(format!("registered model {}", name.name), taken, |view| {
                &mut view.registered_models
            })?;
            step(&bar, &mut done);
        }
        drop(bar);
        if self.args.dry_run {
            return Ok(());
        }
        let view = &self.view;
        let counts = json!({
            "runs": view.runs.new + view.runs.renewed,
            "logged_models": view.logged_models.new + view.logged_models.renewed,
            "registered_models": view.registered_models.new + view.registered_models.renewed,
            "files": view.files, "bytes": view.bytes, "skipped": view.skipped.len(),
        });
        let noted = import::note(&self.db, &view.from, &counts, ACTOR, now()).await;
        Ok(noted.map_err(Problem::from)?)
    }

    /// What there is, before anything is taken.
    async fn plans(&mut self) -> Result<Vec<Plan>, Failure> {
        let listed = self.remote.experiments().await.map_err(Problem::from)?;
        let mut found = self.readable(listed);
        for wanted in &self.args.experiments {
            if !found.iter().any(|experiment| experiment.name == *wanted) {
                let names: Vec<&str> = found.iter().map(|of| of.name.as_str()).collect();
                return Err(
                    Failure::question(format!("no experiment there is called `{wanted}`"))
                        .hint(format!("there are: {}", names.join(", "))),
                );
            }
        }
        if !self.args.experiments.is_empty() {
            found.retain(|experiment| self.args.experiments.contains(&experiment.name));
        }
        let bar = self.context.terminal.bar("look", found.len() as u64);
        let mut plans = Vec::new();
        for foreign in found {
            let here = tinyops_store::tracking::experiment::named(&self.db, &foreign.name).await?;
            let mut plan = Plan {
                foreign,
                here,
                runs: Vec::new(),
                models: Vec::new(),
            };
            let (id, number) = (&plan.foreign.id, plan.number());
            let name = &plan.foreign.name;
            let runs = self.remote.runs(id, number).await;
            plan.runs = self.all_of(&format!("runs of experiment {name}"), runs)?;
            let models = self.remote.logged_models(id, number).await;
            plan.models = self.all_of(&format!("logged models of experiment {name}"), models)?;
            plans.push(plan);
            bar.at(plans.len() as u64);
        }
        Ok(plans)
    }

    /// The records of a list that can be read; the others are noted as not taken over.
    fn readable<T>(&mut self, listed: Listed<T>) -> Vec<T> {
        let skipped = |error: ForeignError| SkippedView {
            why: error.to_string(),
            what: error.of,
        };
        self.view
            .skipped
            .extend(listed.unread.into_iter().map(skipped));
        listed.items
    }

    /// The same of a list that may not have been had at all.
    fn all_of<T>(
        &mut self,
        what: &str,
        listed: Result<Listed<T>, RemoteError>,
    ) -> Result<Vec<T>, Failure> {
        match listed {
            Ok(listed) => Ok(self.readable(listed)),
            Err(error) => {
                self.skip(what.to_owned(), error.into())?;
                Ok(Vec::new())
            }
        }
    }

    async fn run(&mut self, plan: &Plan, foreign: &ForeignRun) -> Result<Taken, Problem> {
        let from = self.view.from.clone();
        let known = import::knows_run(&self.db, &from, foreign).await?;
        let is_left = known == Taken::Known && !self.args.again;
        let (true, false, Some(here)) = (!is_left, self.args.dry_run, &plan.here) else {
            return Ok(known);
        };
        let mut foreign = foreign.clone();
        foreign.run.experiment = here.id;
        let mut points = Vec::new();
        for latest in &foreign.data.metrics {
            let history = self.remote.history(&foreign.run.id, &latest.key).await?;
            match history.is_empty() {
                // A server that keeps the newest point alone.
                true => points.push(latest.clone()),
                false => points.extend(history),
            }
        }
        if !self.args.no_files {
            let place = Place::of(here).of_run_id(&foreign.run.id);
            let there = remote::Files::of_run(&foreign.run.id, &foreign.files);
            // Of a run that is new and has ended an import that was cut off may have brought some.
            let settled = foreign.ended_at.filter(|_| known == Taken::New);
            self.files(&there, &place, settled).await?;
        }
        Ok(import::take_run(&self.db, &from, &foreign, &points).await?)
    }

    async fn model(&mut self, plan: &Plan, foreign: &ForeignModel) -> Result<Taken, Problem> {
        let from = self.view.from.clone();
        let known = import::knows_model(&self.db, &from, foreign).await?;
        let (true, false, Some(here)) = (known != Taken::Known, self.args.dry_run, &plan.here)
        else {
            return Ok(known);
        };
        let mut foreign = foreign.clone();
        foreign.model.experiment = here.id;
        if !self.args.no_files {
            let place = Place::of(here).of_model_id(&foreign.model.id);
            let there = remote::Files::of_model(&foreign.model.id, &foreign.files);
            let settled = (known == Taken::New).then_some(foreign.updated_at);
            self.files(&there, &place, settled).await?;
        }
        Ok(import::take_model(&self.db, &from, &foreign).await?)
    }

    async fn name(&mut self, foreign: &ForeignName) -> Result<Taken, Problem> {
        let from = self.view.from.clone();
        let listed = self.remote.versions(&foreign.name).await?;
        let mut versions = self.readable(listed);
        self.view.versions += versions.len() as u64;
        if self.args.dry_run {
            versions.retain(|version| version.is_ready);
            return Ok(import::knows_name(&self.db, &from, foreign, &versions).await?);
        }
        versions.sort_by_key(|version| version.version);
        let mut kept = Vec::new();
        for mut version in versions {
            let what = format!("model version {}@{}", version.name, version.version);
            let why = match version.is_ready {
                false => Err("it never got ready there".to_owned()),
                true => match import::source_here(&self.db, &version).await {
                    Ok(source) => Ok(source),
                    Err(TrackingError::Store(error)) => return Err(error.into()),
                    Err(error) => Err(error.to_string()),
                },
            };
            match why {
                Ok(source) => {
                    if let Some(id) = source.strip_prefix("models:/") {
                        id.clone_into(&mut version.logged_model);
                    }
                    version.source = source;
                    kept.push(version);
                }
                Err(why) => self.view.skipped.push(SkippedView { what, why }),
            }
        }
        let by = By {
            actor: ACTOR,
            now: now(),
        };
        let became = import::take_name(&self.db, &from, foreign, &kept, by).await?;
        let left = became.left.into_iter().map(|left| LeftView {
            name: foreign.name.clone(),
            alias: left.alias,
            there: left.there,
            here: left.here,
        });
        self.view.left.extend(left);
        Ok(became.taken)
    }

    /// Brings files to their place here. One that was brought after `settled`, and is as long as it is there, is not
    /// brought again; without such a moment nothing but its bytes says whether a file is the same.
    async fn files(
        &mut self,
        there: &remote::Files,
        place: &str,
        settled: Option<Timestamp>,
    ) -> Result<(), Problem> {
        let Some(root) = place.strip_prefix("mlflow-artifacts:/") else {
            return Ok(());
        };
        let mut known = BTreeMap::new();
        for file in file::below(&self.db, root).await? {
            known.insert(file.path, (file.bytes, file.changed_at));
        }
        for listed in self.remote.files(there).await? {
            let path = format!("{root}/{}", listed.path);
            check_path(&path)?;
            let is_here = known.get(&path).is_some_and(|(bytes, changed_at)| {
                Some(*bytes) == listed.bytes && settled.is_some_and(|then| *changed_at > then)
            });
            if is_here {
                continue;
            }
            let (digest, bytes) = self.remote.file(there, &listed, &self.artifacts).await?;
            let tx = self.db.begin("keep a file that was taken over").await?;
            let file = TrackedFile {
                path,
                digest,
                bytes,
                changed_at: now(),
            };
            file::put(&tx, &file).await?;
            tx.commit().await?;
            self.view.files += 1;
            self.view.bytes += bytes;
        }
        Ok(())
    }

    fn note(
        &mut self,
        what: String,
        taken: Result<Taken, Problem>,
        count: fn(&mut View) -> &mut CountView,
    ) -> Result<(), Failure> {
        match taken {
            Ok(taken) => {
                self.broken_in_a_row = 0;
                count(&mut self.view).note(taken);
            }
            Err(problem) => self.skip(what, problem)?,
        }
        Ok(())
    }

    /// Notes what is not taken over, unless the next would fare no better.
    fn skip(&mut self, what: String, problem: Problem) -> Result<(), Failure> {
        match problem {
            Problem::Remote(RemoteError::Broken { .. }) => self.broken_in_a_row += 1,
            _ => self.broken_in_a_row = 0,
        }
        if problem.is_final() || self.broken_in_a_row == BROKEN_MAX {
            return Err(Failure::from(problem).because(format!("at {what}")));
        }
        let why = problem.to_string();
        self.view.skipped.push(SkippedView { what, why });
        Ok(())
    }
}

fn step(bar: &Bar, done: &mut u64) {
    *done += 1;
    bar.at(*done);
}

fn text(view: &View) -> String {
    let mut table = Table::new(["experiment", "there", "here", "runs", "logged models"]);
    for experiment in &view.experiments {
        table.row([
            experiment.name.clone(),
            experiment.id.clone(),
            experiment
                .here
                .map_or_else(|| "new".to_owned(), |here| here.to_string()),
            experiment.runs.to_string(),
            experiment.logged_models.to_string(),
        ]);
    }
    let mut out = format!("{} at {}\n{}", view.server, view.from, table.text());
    for skipped in &view.skipped {
        let _ = writeln!(out, "  NOT {}: {}", skipped.what, skipped.why);
    }
    let version = |of: Option<u32>| of.map_or("nothing".to_owned(), |number| format!("@{number}"));
    for LeftView {
        name,
        alias,
        there,
        here,
    } in &view.left
    {
        let _ = writeln!(
            out,
            "  left alone: alias {alias} of {name} points at {} there and at {} here",
            version(*there),
            version(*here)
        );
    }
    let _ = writeln!(out, "  runs               {}", view.runs.text());
    let _ = writeln!(out, "  logged models      {}", view.logged_models.text());
    let _ = writeln!(
        out,
        "  registered models  {}, {} versions",
        view.registered_models.text(),
        view.versions
    );
    let _ = match view.dry_run {
        true => writeln!(
            out,
            "  nothing was changed: without `--dry-run` it is taken over"
        ),
        false => writeln!(
            out,
            "  files              {} of {} bytes",
            view.files, view.bytes
        ),
    };
    out
}
