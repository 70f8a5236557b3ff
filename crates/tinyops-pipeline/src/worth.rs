//! What a registered version costs and is worth at a project's prices: by its own test windows, against the version
//! before and against no model.

use std::collections::BTreeMap;

use serde::Serialize;
use tinyops_model::Model as Body;
use tinyops_store::{
    Artifacts, ModelId, Read, StoreError, capsule,
    model::{self, Model, Stage},
    project,
};
pub use tinyops_train::worth::{CostCurve, CostPoint, Expected, Worth, WorthOfNone};
use tinyops_train::{Costs, Predictions};

use crate::{Project, RunError, predicted::predictions_of};

/// What a version's answers cost on its test windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Such as `fan@3`.
    pub model: String,
    /// Test windows that have a class.
    pub windows: usize,
    /// The prices.
    pub costs: Costs,
    /// What a device's answers cost: the class of the largest share, or an alarm above the threshold.
    pub answers: Expected,
    /// What the answers would cost that are cheapest by shares and prices; none without classes.
    pub by_shares: Option<Expected>,
    /// Cost by alarm threshold; none where no class is normal.
    pub curve: Option<CostCurve>,
    /// The threshold that was asked for.
    pub asked: Option<CostPoint>,
}

/// What a version is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Appraisal {
    /// Such as `fan@3`.
    pub model: String,
    /// Windows that a device decides on in a month.
    pub windows_per_month: Option<f64>,
    /// Against the cheapest constant answer.
    pub none: WorthOfNone,
    /// Against another version.
    pub previous: Option<Previous>,
    /// Why there is no such figure.
    pub incomparable: Option<String>,
}

/// What a version is worth against another.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous {
    /// Such as `fan@2`.
    pub model: String,
    /// On the windows that both were tested on.
    pub worth: Worth,
}

/// Why a version cannot be priced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorthError {
    /// Nothing was kept of it.
    #[error("what {model} said of each test window was not kept")]
    NotKept {
        /// Such as `fan@3`.
        model: String,
    },
    /// Its answers are values.
    #[error(
        "the test windows of {model} have no classes: no answer is wrong, and none has a price"
    )]
    NoClasses {
        /// Such as `fan@3`.
        model: String,
    },
    /// Nobody recorded what its project asks.
    #[error("nothing is recorded of project `{project}`")]
    NoSettings {
        /// The project.
        project: String,
    },
    /// What was recorded of its project cannot be read.
    #[error("the recorded settings of project `{project}` do not read back: {why}")]
    Settings {
        /// The project.
        project: String,
        /// Why not.
        why: String,
    },
    /// The sums panicked: a bug of ours, of which the trace on stderr tells more.
    #[error("the sums stopped at a bug")]
    Panicked,
    /// Records or artifacts could not be read.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<StoreError> for WorthError {
    fn from(error: StoreError) -> WorthError {
        WorthError::Run(error.into())
    }
}

/// The settings that a version is judged by: those at hand where they are its project's, else those last recorded.
///
/// # Errors
/// [`WorthError::NoSettings`], [`WorthError::Settings`].
pub async fn project_of(
    on: &impl Read,
    model: &Model,
    here: Option<&Project>,
) -> Result<Project, WorthError> {
    settings_of(on, &model.project, here).await
}

async fn settings_of(
    on: &impl Read,
    name: &str,
    here: Option<&Project>,
) -> Result<Project, WorthError> {
    if let Some(here) = here.filter(|here| here.project.name == name) {
        return Ok(here.clone());
    }
    let recorded = project::get(on, name).await?;
    let recorded = recorded.ok_or_else(|| WorthError::NoSettings {
        project: name.to_owned(),
    })?;
    serde_json::from_value(recorded.detail).map_err(|error| WorthError::Settings {
        project: name.to_owned(),
        why: error.to_string(),
    })
}

/// The prices of each model in the field: those of its own project.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    of: BTreeMap<ModelId, Costs>,
    usual: Costs,
}

impl Prices {
    /// The prices of these models; where nothing is known of a model's project, those at hand.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn of(
        on: &impl Read,
        models: &[ModelId],
        here: Option<&Project>,
    ) -> Result<Prices, StoreError> {
        let usual = here.map(|here| here.train.costs.clone());
        let mut prices = Prices {
            of: BTreeMap::new(),
            usual: usual.unwrap_or_default(),
        };
        let mut projects: BTreeMap<String, Option<Costs>> = BTreeMap::new();
        for &id in models {
            if prices.of.contains_key(&id) {
                continue;
            }
            let Some(capsule) = capsule::get(on, id).await? else {
                continue;
            };
            let Some(model) = model::get(on, &capsule.model, capsule.version).await? else {
                continue;
            };
            let name = model.project;
            if !projects.contains_key(&name) {
                let costs = match settings_of(on, &name, here).await {
                    Ok(project) => Some(project.train.costs),
                    Err(WorthError::Run(RunError::Store(error))) => return Err(error),
                    Err(_) => None,
                };
                projects.insert(name.clone(), costs);
            }
            if let Some(Some(costs)) = projects.get(&name) {
                prices.of.insert(id, costs.clone());
            }
        }
        Ok(prices)
    }

    /// What it costs a model to say the second label of a window that is of the first.
    #[must_use]
    pub fn price(&self, model: ModelId, is: &str, said: &str) -> f64 {
        self.of.get(&model).unwrap_or(&self.usual).price(is, said)
    }

    /// Whether somebody set prices.
    #[must_use]
    pub fn are_set(&self) -> bool {
        self.usual.are_set() || self.of.values().any(Costs::are_set)
    }
}

fn title(model: &Model) -> String {
    format!("{}@{}", model.name, model.version)
}

async fn kept(
    on: &impl Read,
    artifacts: &Artifacts,
    model: &Model,
) -> Result<Predictions, WorthError> {
    let kept = predictions_of(on, artifacts, model).await?;
    let predictions = kept.ok_or_else(|| WorthError::NotKept {
        model: title(model),
    })?;
    match predictions.priced_windows() {
        0 => Err(no_classes(model)),
        _ => Ok(predictions),
    }
}

fn no_classes(model: &Model) -> WorthError {
    WorthError::NoClasses {
        model: title(model),
    }
}

/// What a version's answers cost, and what those of an alarm threshold would.
///
/// # Errors
/// [`WorthError`].
pub async fn bill(
    on: &impl Read,
    artifacts: &Artifacts,
    model: &Model,
    costs: &Costs,
    threshold: Option<f32>,
) -> Result<Bill, WorthError> {
    let predictions = kept(on, artifacts, model).await?;
    let (title, costs) = (title(model), costs.clone());
    priced(move || {
        let answers = predictions.expected_cost(&costs)?;
        Some(Bill {
            model: title,
            windows: predictions.priced_windows(),
            answers,
            by_shares: predictions.cost_by_shares(&costs),
            curve: predictions.cost_curve(&costs),
            asked: threshold.and_then(|threshold| predictions.cost_at(&costs, threshold)),
            costs,
        })
    })
    .await?
    .ok_or_else(|| no_classes(model))
}

/// Does the sums, which draw a thousand times, where nobody else waits for them.
async fn priced<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorthError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| WorthError::Panicked)
}

/// What a version is worth against no model and against another version: the one that was asked for, or
/// [`previous_of`] it.
///
/// # Errors
/// [`WorthError`].
pub async fn appraise(
    on: &impl Read,
    artifacts: &Artifacts,
    model: &Model,
    against: Option<&Model>,
    project: &Project,
) -> Result<Appraisal, WorthError> {
    let own = kept(on, artifacts, model).await?;
    let other = match against {
        Some(other) => Some(other.clone()),
        None => previous_of(on, model).await?,
    };
    let theirs = match &other {
        Some(other) => predictions_of(on, artifacts, other).await?,
        None => None,
    };
    let windows_per_month = windows_per_month(artifacts, model, project).await?;
    let (name, costs) = (title(model), project.train.costs.clone());
    priced(move || {
        let none = own.worth_of_none(&costs)?;
        let before = other.as_ref().map(title);
        let worth = theirs.as_ref().map(|theirs| own.worth_of(theirs, &costs));
        let (previous, incomparable) = match (before, worth) {
            (None, _) => (None, Some("there is no version before it".to_owned())),
            (Some(before), None) => {
                let why = format!("what {before} said of each test window was not kept");
                (None, Some(why))
            }
            (Some(before), Some(None)) => (
                None,
                Some(format!("no test window is one of {before} as well")),
            ),
            (Some(model), Some(Some(worth))) => (Some(Previous { model, worth }), None),
        };
        Some(Appraisal {
            model: name,
            windows_per_month,
            none,
            previous,
            incomparable,
        })
    })
    .await?
    .ok_or_else(|| no_classes(model))
}

/// What a version is held against: the one in production, or, of that one itself, the newest before it.
///
/// # Errors
/// [`RunError::Store`].
pub async fn previous_of(on: &impl Read, model: &Model) -> Result<Option<Model>, RunError> {
    let production = model::in_stage(on, &model.name, Stage::Production).await?;
    if let Some(production) = production.filter(|of| of.version != model.version) {
        return Ok(Some(production));
    }
    let versions = model::list(on).await?;
    let before = |other: &Model| other.name == model.name && other.version < model.version;
    Ok(versions.into_iter().find(before))
}

/// Windows that a device decides on in a month: what `[train.costs]` says, or as many as follow each other in 30 days.
async fn windows_per_month(
    artifacts: &Artifacts,
    model: &Model,
    project: &Project,
) -> Result<Option<f64>, RunError> {
    if let Some(told) = project.train.costs.windows_per_month {
        return Ok(Some(told));
    }
    let body = Body::decode(&artifacts.get(&model.digest).await?).map_err(RunError::Model)?;
    let rate_hz = f64::from(body.front_end.rate_hz);
    let window = &project.data.window;
    let seconds = |readings: u32| (rate_hz > 0.0).then(|| f64::from(readings) / rate_hz);
    let hop = match (
        window.hop_ms.or(window.ms.filter(|_| window.hop.is_none())),
        window.hop,
    ) {
        (Some(ms), _) => Some(f64::from(ms) / 1000.0),
        (None, Some(hop)) => seconds(hop),
        (None, None) => seconds(body.front_end.window_len),
    };
    let rate = hop.filter(|hop| *hop > 0.0).map(|hop| MONTH_S / hop);
    Ok(rate)
}

/// 30 days.
const MONTH_S: f64 = 30.0 * 86_400.0;
