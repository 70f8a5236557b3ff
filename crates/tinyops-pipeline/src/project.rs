//! `tinyops.toml`: what a project is for, and every setting of its steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tinyops_compile::Boards;
use tinyops_data::spec::DataSpec;
use tinyops_store::access::Role;
use tinyops_train::tune::{Budget, TuneSpec};
use tinyops_train::{Goal, Metric, TrainError, TrainSpec};

use crate::boards::{BoardFileError, boards_of};
use crate::schedule::Schedule;
use crate::sensor::SensorSection;
use crate::versions::VersionsSection;

/// A project file. Every section may be absent, every key has a default, an unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// What the model is for and when it is good enough.
    pub project: ProjectSection,
    /// Recordings: sources, windows, split.
    pub data: DataSpec,
    /// Front end, network, training, cost of mistakes.
    pub train: TrainSpec,
    /// What no recording tells of the sensor; without it capsules say units alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorSection>,
    /// Where it must run.
    pub boards: BoardsSection,
    /// What may leave a device.
    pub privacy: PrivacySection,
    /// What a drift is answered with before anybody trains.
    pub repair: RepairSection,
    /// What becomes of a run that no drift has asked for.
    pub retrain: RetrainSection,
    /// What a model must show before it is registered.
    pub gates: GatesSection,
    /// How a model in the field is fine-tuned.
    pub tune: TuneSection,
    /// Where versions of recordings are shared.
    pub versions: VersionsSection,
    /// The boards that targets may name: those that TinyOps knows and those of the project's folder.
    #[serde(skip)]
    pub known: Boards,
}

/// `[project]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectSection {
    /// The name of the model that the project makes.
    pub name: String,
    /// One sentence: who needs which answer.
    pub goal: String,
    /// What is measured on the test split.
    pub metric: Metric,
    /// The least (for errors such as `rmse`, the most) the metric may be.
    pub threshold: f64,
    /// Parts of the test split that must not fall behind: `group`, `class`, names captured from paths, or several with `*`
    /// between, such as `group*load`.
    pub slices: Vec<String>,
}

impl Default for ProjectSection {
    fn default() -> Self {
        Self {
            name: "model".to_owned(),
            goal: String::new(),
            metric: Metric::Accuracy,
            threshold: 0.0,
            slices: Vec::new(),
        }
    }
}

/// `[boards]`: targets, and limits tighter than what a board itself leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoardsSection {
    /// Board ids; `tinyops boards` lists them. Empty: every board is estimated, none must fit.
    pub targets: Vec<String>,
    /// Longest time from a full window to its class, milliseconds.
    pub latency_ms_max: Option<f64>,
    /// Most RAM for arena, window and features, bytes.
    pub ram_bytes_max: Option<u32>,
    /// Most flash for one capsule, bytes.
    pub flash_bytes_max: Option<u32>,
    /// Most energy for one window, millijoules.
    pub energy_mj_max: Option<f64>,
}

/// `[privacy]`: what may leave a device, and from how many at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacySection {
    /// How devices report; without it they report in the clear, and the server says so at its start.
    pub mode: Option<PrivacyMode>,
    /// That the people around the devices have agreed to `plain`, or that there are none.
    pub consent: bool,
    /// Noise of a sum of masked reports, or of each report under `local`, in units of one device's greatest weight.
    pub noise: f64,
    /// Fewest devices in a sum of statistics before it is used.
    pub round_devices_min: u32,
    /// Fewest labelled windows in a sum of statistics before it is used.
    pub round_labels_min: u64,
    /// Days that the sums of single devices are kept after a round in the clear has closed, so that who is late joins it
    /// and who withdraws leaves it; at 0 they are deleted as it closes.
    pub keep_sums_days: u16,
}

/// How devices report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyMode {
    /// Each device's summaries as they are.
    Plain,
    /// Sums over at least 20 devices alone; what a device says of itself in the clear is turned away.
    Masked,
    /// Each device's reports under noise of its own, where there is no helper; what it says in the clear is turned away.
    Local,
}

impl PrivacySection {
    /// Most noise: tenths of it are told in two bytes.
    pub const NOISE_MAX: f64 = 6_000.0;

    /// What a person is to know who starts a server on this project: nothing where it is as the project says.
    pub fn remark(&self) -> Option<&'static str> {
        match self.mode {
            None => Some(
                "devices report in the clear, and the server reads each one's: `[privacy] mode = \"masked\"` takes sums \
                 alone, `mode = \"plain\"` with `consent = true` says that this is meant",
            ),
            _ => None,
        }
    }
}

impl Default for PrivacySection {
    fn default() -> Self {
        Self {
            mode: None,
            consent: false,
            noise: 20.0,
            round_devices_min: 8,
            round_labels_min: 64,
            keep_sums_days: 30,
        }
    }
}

/// `[repair]`: what a drift is answered with, from the cheapest to the dearest, and what that may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepairSection {
    /// How far devices move their features back to training, 0 to 1 of the way, where the place or spread of inputs has
    /// drifted, before they are asked for sums; at 0 none is asked to.
    pub restandardize: f64,
    /// Whether capsules bring the factory's windows as a prior, and devices with room for it answer by heads of their own
    /// where their labels lead to one that is no worse.
    pub personal_head: bool,
    /// Most bytes that repairs may have a device send in 30 days: a repair that would take more is passed over.
    pub device_bytes_max: u64,
    /// Whom windows are sealed for, a public key of 64 hex digits (`tinyops annotate keys`): with it few windows are
    /// ordered where sums did not do, of devices whose owners have consented to it. Without it none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotator: Option<String>,
    /// How many windows are ordered of a device, 1 to 8.
    pub windows: u8,
    /// Out of how many that come next.
    pub windows_of: u16,
    /// Recordings that must be newly labelled before the model is trained on them.
    pub labelled_min: u32,
    /// Windows that later labels must have judged before a new version is found to repair, or is taken back.
    pub verdict_windows: u32,
    /// Days that such labels are awaited.
    pub verdict_days: u32,
}

impl Default for RepairSection {
    fn default() -> Self {
        Self {
            restandardize: 0.0,
            personal_head: false,
            device_bytes_max: 65_536,
            annotator: None,
            windows: 8,
            windows_of: 500,
            labelled_min: 16,
            verdict_windows: 100,
            verdict_days: 7,
        }
    }
}

impl RepairSection {
    /// The annotator's public key, if one is named; `None` also for what is no key, which no project that was read holds.
    #[must_use]
    pub fn annotator_key(&self) -> Option<[u8; 32]> {
        let key: tinyops_store::Digest = self.annotator.as_ref()?.parse().ok()?;
        Some(key.0)
    }

    /// What is wrong with its numbers: the key, and the words after it.
    fn fault(&self) -> Option<(&'static str, String)> {
        if self.annotator.is_some() && self.annotator_key().is_none() {
            let given = self.annotator.as_deref().unwrap_or_default();
            let why = format!(
                "is `{given}`: a public key has 64 hex digits; `tinyops annotate keys show` prints one"
            );
            return Some(("repair.annotator", why));
        }
        if !(1..=8).contains(&self.windows) {
            return Some((
                "repair.windows",
                format!("is {}: 1 to 8 of a device", self.windows),
            ));
        }
        if self.windows_of < u16::from(self.windows) {
            let why = format!(
                "is {}: at least `windows`, {}",
                self.windows_of, self.windows
            );
            return Some(("repair.windows_of", why));
        }
        for (key, value) in [
            ("repair.labelled_min", self.labelled_min),
            ("repair.verdict_windows", self.verdict_windows),
        ] {
            if value == 0 {
                return Some((key, "is 0: at least 1".to_owned()));
            }
        }
        if !(1..=365).contains(&self.verdict_days) {
            let why = format!("is {}: 1 to 365", self.verdict_days);
            return Some(("repair.verdict_days", why));
        }
        None
    }
}

/// `[retrain]`: runs that no drift has asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrainSection {
    /// When the server asks for a run by itself, as cron says it, in UTC: a [`crate::Schedule`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How many recordings must be labelled since the model in production was trained before the server asks for a run by
    /// itself; without it, it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_labelled: Option<u32>,
    /// What becomes of a version that has passed every gate.
    pub rollout: RetrainRollout,
}

/// How a version that nobody repaired anything with goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetrainRollout {
    /// It does not: it is registered, and a person decides.
    #[default]
    None,
    /// To a few devices of each board first, by the fleet's plan.
    Canary,
    /// Beside the model that answers first, and then as a canary.
    Shadow,
}

/// `[gates]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatesSection {
    /// Most that int8 may lose against float, in the unit of the metric.
    pub quantization_loss_max: f64,
    /// Most that a slice may lie behind the whole test split, in the unit of the metric.
    pub slice_gap_max: f64,
    /// Fewest windows of a slice that is judged.
    pub slice_windows_min: u32,
    /// Whether no slice may fall behind the version in production either.
    pub slice_production: bool,
    /// Most that a slice may lose against the version in production, in the unit of the metric.
    pub slice_loss_max: f64,
    /// Whether the emulated board must answer.
    pub smoke: Smoke,
    /// How many people of each role must approve a version before it is promoted or signed: `{ releaser = 1 }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<String, u32>,
}

impl Default for GatesSection {
    fn default() -> Self {
        Self {
            quantization_loss_max: 0.01,
            slice_gap_max: 0.1,
            slice_windows_min: 20,
            slice_production: true,
            slice_loss_max: 0.05,
            smoke: Smoke::WhenAvailable,
            approvals: BTreeMap::new(),
        }
    }
}

/// `[tune]`: a fine-tune whose update is small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TuneSection {
    /// Most bytes of the update. With it, what a drift sets off is a fine-tune of the model in production, no new
    /// training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_bytes_max: Option<u32>,
    /// Most that the result may lie below a fine-tune that may change everything, in the unit of the metric.
    pub loss_max: f64,
    /// Passes over the training windows, in each way that is tried.
    pub epochs: u32,
    /// Largest learning rate of the cosine schedule.
    pub learning_rate: f32,
    /// Pull of every number towards what it was, as a factor of the distance.
    pub pull: f32,
}

impl Default for TuneSection {
    fn default() -> Self {
        let TuneSpec {
            epochs,
            learning_rate,
            pull,
        } = TuneSpec::default();
        Self {
            delta_bytes_max: None,
            loss_max: 0.01,
            epochs,
            learning_rate,
            pull,
        }
    }
}

impl TuneSection {
    /// What training reads of it.
    #[must_use]
    pub fn spec(&self) -> TuneSpec {
        TuneSpec {
            epochs: self.epochs,
            learning_rate: self.learning_rate,
            pull: self.pull,
        }
    }

    /// What the update may take and lose, if the project says so.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        Some(Budget {
            delta_bytes_max: self.delta_bytes_max?.into(),
            loss_max: self.loss_max,
        })
    }
}

/// Whether the golden vectors must also be answered by an emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smoke {
    /// Never asked.
    Off,
    /// Asked where emulator and compiler are installed; the run says when it was not.
    WhenAvailable,
    /// A run without it does not pass.
    Required,
}

/// The name of the project file.
pub const FILE_NAME: &str = "tinyops.toml";

impl Project {
    /// Reads `tinyops.toml` in `folder`.
    ///
    /// # Errors
    /// [`ProjectError`], with file, line and column where the text is at fault.
    pub fn load(folder: &Path) -> Result<Self, ProjectError> {
        let path = folder.join(FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(|source| ProjectError::Read {
            path: path.clone(),
            source,
        })?;
        let known = boards_of(folder)?;
        Self::parse_with(&text, &path, known)
    }

    /// Reads the text of a project file; `path` is only for the words of an error.
    ///
    /// # Errors
    /// [`ProjectError::Syntax`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ProjectError> {
        Self::parse_with(text, path, Boards::default())
    }

    fn parse_with(text: &str, path: &Path, known: Boards) -> Result<Self, ProjectError> {
        let mut project: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let (line, column) = position(text, offset);
            ProjectError::Syntax {
                path: path.to_path_buf(),
                line,
                column,
                message: match error.message() {
                    // Templates of before 2026-11-29 had it.
                    told if told.starts_with("unknown field `raw_windows_max`") => {
                        "`raw_windows_max` is gone: no device sends raw windows; delete the line"
                            .to_owned()
                    }
                    told => told.to_owned(),
                },
            }
        })?;
        project.known = known;
        project.check(text, path)?;
        Ok(project)
    }

    /// Holds the values against each other, which the types alone cannot.
    fn check(&self, text: &str, path: &Path) -> Result<(), ProjectError> {
        let refuse = |key: &str, message: String| {
            let (line, column) = place_of(text, key);
            Err(ProjectError::Syntax {
                path: path.to_path_buf(),
                line,
                column,
                message: format!("`{key}` {message}"),
            })
        };
        let name = &self.project.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            return refuse(
                "project.name",
                format!("is `{name}`: 1 to 32 letters, digits, `-`, `_` or `.`"),
            );
        }
        let numbers = [
            ("project.threshold", self.project.threshold),
            (
                "gates.quantization_loss_max",
                self.gates.quantization_loss_max,
            ),
            ("gates.slice_gap_max", self.gates.slice_gap_max),
            ("gates.slice_loss_max", self.gates.slice_loss_max),
            ("tune.loss_max", self.tune.loss_max),
        ];
        // No gate passes or fails by a comparison with what is not a number.
        if let Some((key, value)) = numbers.into_iter().find(|(_, value)| !value.is_finite()) {
            return refuse(key, format!("is {value}: must be a finite number"));
        }
        for role in self.gates.approvals.keys() {
            if !matches!(
                Role::of_word(role),
                Some(Role::Operator | Role::Releaser | Role::Admin)
            ) {
                return refuse(
                    "gates.approvals",
                    format!("names `{role}`: approvals are of `operator`, `releaser` or `admin`"),
                );
            }
        }
        let noise = self.privacy.noise;
        if !(0.0..=PrivacySection::NOISE_MAX).contains(&noise) {
            return refuse(
                "privacy.noise",
                format!("is {noise}: must be 0 to {}", PrivacySection::NOISE_MAX),
            );
        }
        for id in &self.boards.targets {
            if self.known.named(id).is_none() {
                return refuse(
                    "boards.targets",
                    format!("names `{id}`, which `tinyops boards` does not list"),
                );
            }
        }
        if let Some((key, why)) = self.sensor.as_ref().and_then(SensorSection::fault) {
            return refuse(key, why);
        }
        if let Err(why) = self.loss_is_sensible(self.tune.loss_max) {
            return refuse("tune.loss_max", why);
        }
        if self.privacy.mode == Some(PrivacyMode::Plain) && !self.privacy.consent {
            return refuse(
                "privacy.mode",
                "is `plain`: that takes `consent = true`, which says that the people around the devices agree, or that \
                 there are none; `mode = \"masked\"` takes sums alone"
                    .to_owned(),
            );
        }
        if self.privacy.mode == Some(PrivacyMode::Local) {
            // Devices are told tenths of it.
            if noise < 0.1 {
                return refuse(
                    "privacy.noise",
                    format!(
                        "is {noise}: with `mode = \"local\"` each device's own noise is all that protects it, and must be \
                         0.1 or more (20 costs an ε of 1.3 in thirty reports)"
                    ),
                );
            }
            if self.repair.restandardize > 0.0 {
                return refuse(
                    "repair.restandardize",
                    format!(
                        "is {}: with `mode = \"local\"` no device tells of itself whether it has moved its features, or \
                         whether that has helped; leave it out, or take `mode = \"masked\"` or `\"plain\"`",
                        self.repair.restandardize
                    ),
                );
            }
        }
        if !(0.0..=1.0).contains(&self.repair.restandardize) {
            return refuse(
                "repair.restandardize",
                format!(
                    "is {}: a part of the way, from 0 to 1",
                    self.repair.restandardize
                ),
            );
        }
        if let Some((key, why)) = self.repair.fault() {
            return refuse(key, why);
        }
        if self.repair.personal_head && self.train.goal != Goal::Classify {
            return refuse(
                "repair.personal_head",
                "is true: a head of a device's own tells classes apart, so it takes `goal = \"classify\"` under `[train]`"
                    .to_owned(),
            );
        }
        if self.retrain.new_labelled == Some(0) {
            let why = "is 0: at least 1; without the line no recording sets a run off";
            return refuse("retrain.new_labelled", why.to_owned());
        }
        if let Some(schedule) = &self.retrain.schedule
            && let Err(why) = Schedule::parse(schedule)
        {
            return refuse("retrain.schedule", format!("is `{schedule}`: {why}"));
        }
        match self.train.check().and_then(|()| self.tune.spec().check()) {
            Err(TrainError::Setting { key, value, reason }) => {
                refuse(&key, format!("is {value}: {reason}"))
            }
            Err(error) => refuse("train", error.to_string()),
            Ok(()) => Ok(()),
        }
    }

    /// Whether a loss is meant in the unit of the metric: shares have no whole points.
    ///
    /// # Errors
    /// What is wrong, as what follows the name of the setting.
    pub fn loss_is_sensible(&self, loss: f64) -> Result<(), String> {
        let is_share = self.project.metric != Metric::Rmse;
        match loss {
            loss if !(loss.is_finite() && loss >= 0.0) => {
                Err(format!("is {loss}: must be a finite number from 0 on"))
            }
            loss if is_share && loss >= 0.5 => Err(format!(
                "is {loss}: it is in the unit of the metric; one point of {} is 0.01",
                self.project.metric.word()
            )),
            _ => Ok(()),
        }
    }
}

/// Line and column, both from 1, of a dotted key; of its nearest table where the key is not written.
pub(crate) fn place_of(text: &str, key: &str) -> (usize, usize) {
    let Ok(document) = toml::de::DeTable::parse(text) else {
        return (1, 1);
    };
    let mut start = 0;
    let mut table = document.get_ref();
    for part in key.split('.') {
        let Some((name, value)) = table.get_key_value(part) else {
            break;
        };
        start = name.span().start;
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    position(text, start)
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Why a project file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A file in the project's `boards` folder is not a board.
    #[error(transparent)]
    Board(#[from] BoardFileError),
    /// The file is not there, or not readable.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = Project::parse(text, Path::new("tinyops.toml")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn every_default_works() {
        assert_eq!(
            Project::parse("", Path::new("tinyops.toml")).unwrap(),
            Project::default()
        );
    }

    #[test]
    fn errors_say_where() {
        check(
            "[project]\nname = \"fan\"\nmetrics = \"auc\"\n",
            "tinyops.toml:3:1: unknown field `metrics`, expected one of `name`, `goal`, `metric`, \
             `threshold`, `slices`",
        );
        check(
            "[project]\nname = \"my fan\"\n",
            "tinyops.toml:2:1: `project.name` is `my fan`: 1 to 32 letters, digits, `-`, `_` or `.`",
        );
        check(
            "[train]\nepochs = 0\n",
            "tinyops.toml:2:1: `train.epochs` is 0: must be 1 to 100000",
        );
        check(
            "[tune]\nloss_max = 1\n",
            "tinyops.toml:2:1: `tune.loss_max` is 1: it is in the unit of the metric; one point of accuracy is 0.01",
        );
        check(
            "[privacy]\nmode = \"masked\"\nnoise = 6001\n",
            "tinyops.toml:3:1: `privacy.noise` is 6001: must be 0 to 6000",
        );
        check(
            "[privacy]\nnoise = nan\n",
            "tinyops.toml:2:1: `privacy.noise` is NaN: must be 0 to 6000",
        );
        check(
            "[tune]\nepochs = 0\n",
            "tinyops.toml:2:1: `tune.epochs` is 0: must be above 0, to 100000",
        );
        check(
            "[sensor]\nmounting = \"x y -z\"\n",
            "tinyops.toml:2:1: `sensor.mounting` is `x y -z`: a mounting says where the sensor's x, y and z point in the \
             machine, such as `x y z` or `y -x z`, right-handed",
        );
        check(
            "[sensor]\naxes = [\"acc.x\", \"acc.x\"]\n",
            "tinyops.toml:2:1: `sensor.axes` names `acc.x` twice",
        );
        check(
            "[boards]\ntargets = [\"toaster\"]\n",
            "tinyops.toml:2:1: `boards.targets` names `toaster`, which `tinyops boards` does not list",
        );
        check(
            "[privacy]\nmode = \"masked\"\nraw_windows_max = 0 # none\n",
            "tinyops.toml:3:1: `raw_windows_max` is gone: no device sends raw windows; delete the line",
        );
        check(
            "[retrain]\nrollout = \"shadow\"\nschedule = \"0 0 30 2 *\"\n",
            "tinyops.toml:3:1: `retrain.schedule` is `0 0 30 2 *`: it never comes",
        );
        check(
            "[retrain]\nnew_labelled = 0\n",
            "tinyops.toml:2:1: `retrain.new_labelled` is 0: at least 1; without the line no recording sets a run off",
        );
        check(
            "[retrain]\nschedule = \"0 3 * *\"\n",
            "tinyops.toml:2:1: `retrain.schedule` is `0 3 * *`: it has 4 fields (minute, hour, day, month, day of the week, such as `0 3 * * 1`)",
        );
        check(
            "[repair]\nrestandardize = 1.5\n",
            "tinyops.toml:2:1: `repair.restandardize` is 1.5: a part of the way, from 0 to 1",
        );
        for (line, why) in [
            (
                "annotator = \"ana\"",
                "annotator` is `ana`: a public key has 64 hex digits; `tinyops annotate keys show` prints one",
            ),
            ("windows = 9", "windows` is 9: 1 to 8 of a device"),
            ("windows_of = 7", "windows_of` is 7: at least `windows`, 8"),
            ("labelled_min = 0", "labelled_min` is 0: at least 1"),
            ("verdict_windows = 0", "verdict_windows` is 0: at least 1"),
            ("verdict_days = 0", "verdict_days` is 0: 1 to 365"),
        ] {
            let text = format!("[repair]\n{line}\n");
            check(&text, &format!("tinyops.toml:2:1: `repair.{why}"));
        }
        check(
            "[repair]\npersonal_head = true\n[train]\ngoal = \"anomaly\"\n",
            "tinyops.toml:2:1: `repair.personal_head` is true: a head of a device's own tells classes apart, so it takes \
             `goal = \"classify\"` under `[train]`",
        );
    }

    #[test]
    fn what_noise_of_each_device_alone_cannot_do_is_refused() {
        let parse = |text: &str| Project::parse(text, Path::new("tinyops.toml"));
        let local = "[privacy]\nmode = \"local\"\n";
        let project = parse(local).unwrap();
        assert_eq!(project.privacy.mode, Some(PrivacyMode::Local));
        assert_eq!(project.privacy.remark(), None);
        let why = |text: &str| parse(text).unwrap_err().to_string();
        for noise in ["0", "0.09"] {
            let none = why(&format!("{local}noise = {noise}\n"));
            assert!(none.contains("`privacy.noise` is 0"), "{none}");
            assert!(none.contains("all that protects"), "{none}");
        }
        assert!(parse(&format!("{local}noise = 0.1\n")).is_ok());
        let moves = why(&format!("{local}[repair]\nrestandardize = 0.5\n"));
        assert!(moves.contains("`repair.restandardize` is 0.5"), "{moves}");
        assert!(moves.contains("no device tells of itself"), "{moves}");
        assert!(parse(&format!("{local}[repair]\nrestandardize = 0\n")).is_ok());
    }

    #[test]
    fn devices_report_in_the_clear_by_consent() {
        let plain = "[privacy]\nmode = \"plain\"\n";
        check(
            plain,
            "tinyops.toml:2:1: `privacy.mode` is `plain`: that takes `consent = true`, which says that the people \
             around the devices agree, or that there are none; `mode = \"masked\"` takes sums alone",
        );
        let remark = |text: &str| {
            let project = Project::parse(text, Path::new("tinyops.toml")).unwrap();
            project.privacy.remark()
        };
        assert_eq!(remark(&format!("{plain}consent = true\n")), None);
        assert_eq!(remark("[privacy]\nmode = \"masked\"\n"), None);
        // A project that says nothing is said so at each start.
        assert!(remark("").is_some());
    }
}
