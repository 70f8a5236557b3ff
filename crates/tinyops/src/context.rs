//! What every command works in: a project folder and the store that belongs to it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tinyops_compile::{Board, Boards};
use tinyops_fleet::{Fleet, FleetError, Policy};
use tinyops_pipeline::{FILE_NAME, Project, ProjectError, Workshop, boards_of, read_board};
use tinyops_server::{Moment, ReleaseError};
use tinyops_store::{Artifacts, Db, Digest, Readers, StoreError, Timestamp, audit, write_whole};

use crate::{
    config::Settings,
    failure::{Exit, Failure},
    term::Terminal,
};

/// Who is named in the audit log for what a verb does.
pub(crate) const ACTOR: &str = "command line";

/// Flags that say where to work.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Project folder, the one with `tinyops.toml`
    #[arg(
        long,
        short = 'C',
        global = true,
        value_name = "DIR",
        default_value = "."
    )]
    pub(crate) project: PathBuf,
    /// Records: `sqlite:PATH` or `postgres://…` [default: sqlite:.tinyops/tinyops.db in the project]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) db: Option<String>,
    /// Artifacts: a folder or a URL [default: .tinyops/artifacts in the project]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) artifacts: Option<String>,
}

/// What a command was given besides its own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) terminal: Terminal,
    pub(crate) settings: Settings,
    pub(crate) root: PathBuf,
}

impl Context {
    /// Settles the settings: flag over environment over file over default.
    pub(crate) fn new(place: &PlaceArgs, terminal: Terminal) -> Result<Self, Failure> {
        Ok(Self {
            terminal,
            settings: Settings::read(place)?,
            root: place.project.clone(),
        })
    }

    /// The project file, which must be there.
    pub(crate) fn project(&self) -> Result<Project, Failure> {
        Project::load(&self.root).map_err(|error| {
            let failure = Failure::of(Exit::Question, &error);
            match error {
                ProjectError::Read { .. } => failure.hint(
                    "`tinyops init --template vibration` writes one, `--project DIR` looks elsewhere",
                ),
                _ => failure,
            }
        })
    }

    /// The project file, if there is one: one that is there and says nonsense is no project that is missing.
    pub(crate) fn project_if_any(&self) -> Result<Option<Project>, Failure> {
        match self.root.join(FILE_NAME).exists() {
            true => self.project().map(Some),
            false => Ok(None),
        }
    }

    /// The boards that TinyOps knows and those of the project's folder.
    pub(crate) fn boards(&self) -> Result<Boards, Failure> {
        boards_of(&self.root).map_err(|error| {
            Failure::of(Exit::Question, &error).hint("docs/boards.md says what a board file holds")
        })
    }

    /// A board by its name, or by the path of its file.
    pub(crate) fn board(&self, given: &str) -> Result<Board, Failure> {
        if given.ends_with(".toml") {
            return read_board(Path::new(given)).map_err(|error| {
                Failure::of(Exit::Question, &error)
                    .hint("docs/boards.md says what a board file holds")
            });
        }
        let boards = self.boards()?;
        boards.named(given).cloned().ok_or_else(|| {
            let ids: Vec<&str> = boards.iter().map(|board| board.id.as_str()).collect();
            Failure::question(format!("no board is called `{given}`")).hint(format!(
                "boards are: {}; a file `boards/NAME.toml` beside the project file adds one",
                ids.join(", ")
            ))
        })
    }

    /// Records and artifacts; folders are made where they are missing.
    pub(crate) async fn store(&self) -> Result<(Db, Artifacts), Failure> {
        let folder = self.root.join(".tinyops");
        if self.settings.is_local() {
            std::fs::create_dir_all(&folder).map_err(|error| {
                Failure::environment(format!("cannot make `{}`", folder.display())).cause(&error)
            })?;
        }
        let db = Db::open(&self.settings.db.value)
            .await
            .map_err(|error| store_failure(&error))?;
        let artifacts = Artifacts::open(&self.settings.artifacts.value)
            .await
            .map_err(|error| store_failure(&error))?;
        Ok((db, artifacts))
    }

    /// Records and artifacts for a command that changes nothing: empty ones in memory where there is no store yet.
    pub(crate) async fn store_to_look_at(&self) -> Result<(Db, Artifacts), Failure> {
        if self.settings.is_local() && !self.root.join(".tinyops").exists() {
            return Ok((
                Db::open("sqlite::memory:").await?,
                Artifacts::open("memory:").await?,
            ));
        }
        self.store().await
    }

    /// Enters into the audit log what was done beside the store. Where keys are kept away from every store there is no
    /// log, and none is made.
    pub(crate) async fn note_in_audit(
        &self,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), Failure> {
        let is_own = self.settings.db.from == "default";
        if is_own && !self.root.join(".tinyops").join("tinyops.db").exists() {
            return Ok(());
        }
        let (db, _) = self.store().await?;
        let tx = db
            .begin_audited("note what was done beside the store")
            .await?;
        audit::add(&tx, now(), ACTOR, action, subject, detail).await?;
        Ok(tx.commit().await?)
    }

    /// The fleet over this project's store, with the default policy.
    pub(crate) async fn fleet(&self) -> Result<Fleet, Failure> {
        let (db, artifacts) = self.existing_store().await?;
        Ok(Fleet::new(db, artifacts, Policy::default()))
    }

    /// Records and artifacts of a project that has some: a command that only reads makes no store.
    pub(crate) async fn existing_store(&self) -> Result<(Db, Artifacts), Failure> {
        if self.settings.is_local() && !self.root.join(".tinyops").exists() {
            return Err(
                Failure::question(format!("`{}` holds no store", self.root.display()))
                    .hint("`tinyops run` makes one; `--project DIR` or `--db URL` looks elsewhere"),
            );
        }
        self.store().await
    }

    /// Writes a file that a person asked for, whole or not at all, and says so.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let shown = path.display();
        write_whole(path, Readers::Usual, bytes).map_err(|error| {
            Failure::environment(format!("cannot write `{shown}`")).cause(&error)
        })?;
        let count = bytes.len();
        self.terminal
            .note(format_args!("wrote {shown} ({count} bytes)"));
        Ok(())
    }

    /// The folder with the keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join(".tinyops")
    }

    /// Everything a pipeline needs.
    pub(crate) async fn workshop(&self) -> Result<Workshop, Failure> {
        let project = self.project()?;
        let (db, artifacts) = self.store().await?;
        Ok(Workshop {
            root: self.root.clone(),
            project,
            db,
            artifacts,
            now: Arc::new(now),
        })
    }
}

/// The time by the system's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A store that does not open is the environment's fault, a name that is not there the question's.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Missing { .. } | StoreError::Exists { .. } | StoreError::Url { .. } => {
            Exit::Question
        }
        _ => Exit::Environment,
    };
    Failure::of(exit, error)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        store_failure(&error)
    }
}

/// What a fleet refuses is the question's fault, unless it is a key file or the store.
impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        match &error {
            FleetError::Store(error) => store_failure(error),
            FleetError::Key { .. } | FleetError::Signing { .. } => {
                Failure::of(Exit::Environment, &error)
            }
            FleetError::NoReleaseKey => Failure::of(Exit::Question, &error).hint(
                "`tinyops release request` makes what the holder of the key signs, `tinyops release import` takes it in",
            ),
            _ => Failure::of(Exit::Question, &error),
        }
    }
}

/// A version that cannot be released is the question's fault, unless it is a key or the store.
impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Fleet(error) => error.into(),
            ReleaseError::Store(error) => error.into(),
            error => Failure::of(Exit::Question, &error),
        }
    }
}

/// A moment for people, UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    Moment::of_ms(at.0).full()
}

/// The first digits of a digest: enough for people and for `tinyops models lineage`.
pub(crate) fn short(digest: &Digest) -> String {
    let mut text = digest.to_string();
    text.truncate(12);
    text
}
