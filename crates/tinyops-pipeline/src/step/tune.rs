//! Tune: a model in the field fine-tuned so that its update stays within a budget.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tinyops_compile::{Golden, Update, golden_of};
use tinyops_model::Model;
use tinyops_store::{Json, model, step::Port};
use tinyops_train::tune::{Budget, Candidate, Question, search, with_baseline};
use tinyops_train::{Asked, Comparison, FeatureSet, evaluate, golden_again, progress::Flow};

use crate::{
    Gate, GateName, Metric, Package, Project, RunError, StepName,
    bench::{Bench, Done, Made, listener},
    flow::Origin,
    sensor::Contract,
    step::{
        compile::{Packed, prior_of, shape_of},
        evaluate::read_model,
    },
};

/// What was tried to keep an update small, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneReport {
    /// The model that devices hold, such as `fan@3`.
    pub parent: String,
    /// What was asked.
    pub budget: Budget,
    /// What the update takes, manifest and signature and all: the largest of the boards'.
    pub delta_bytes: u64,
    /// Whether the capsule has a baseline of the new training windows, or had no room for one and keeps the old.
    pub is_baseline_new: bool,
    /// What the update takes with one.
    pub baseline_delta_bytes: u64,
    /// The metric on the test part, int8.
    pub test: Tuned,
    /// Which candidate was taken.
    pub chosen: usize,
    /// All that was tried; the first is the model as it was, the second may change everything.
    pub candidates: Vec<Candidate>,
}

/// A figure of three models on the test part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Of the model as it was.
    pub before: f64,
    /// Of the one that was taken.
    pub after: f64,
    /// Of the fine-tune that may change everything.
    pub unrestricted: f64,
}

impl TuneReport {
    /// What the record of the model keeps.
    pub(crate) fn figures(&self) -> Json {
        serde_json::json!({
            "parent": self.parent,
            "delta_bytes": self.delta_bytes,
            "delta_bytes_max": self.budget.delta_bytes_max,
            "loss_max": self.budget.loss_max,
            "layers": self.candidates[self.chosen].layers.to_string(),
            "scales": self.candidates[self.chosen].scales.to_string(),
            "changed": self.candidates[self.chosen].changed,
            "is_baseline_new": self.is_baseline_new,
            "test": self.test,
        })
    }
}

/// What devices hold of a model: its payloads by board.
pub(crate) struct Held {
    title: String,
    model: Port,
    name: String,
    packages: Vec<Package>,
}

impl Held {
    /// The packages of a registered model; each board that the project asks for must have one.
    pub(crate) fn of(parent: &model::Model, targets: &[String]) -> Result<Self, RunError> {
        let title = format!("{}@{}", parent.name, parent.version);
        let packages = parent.metrics.get("packages").cloned().unwrap_or_default();
        let packages: Vec<Package> = serde_json::from_value(packages).unwrap_or_default();
        let has = |board: &&String| packages.iter().any(|package| package.board == **board);
        let missing = match (
            targets.iter().find(|board| !has(board)),
            packages.is_empty(),
        ) {
            (Some(board), _) => Some(board.as_str()),
            (None, true) => Some("any"),
            (None, false) => None,
        };
        if let Some(board) = missing {
            let known: Vec<&str> = packages.iter().map(|p| p.board.as_str()).collect();
            return Err(RunError::NoCapsule {
                model: title,
                board: board.to_owned(),
                known: match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                },
            });
        }
        Ok(Self {
            title,
            model: Port {
                name: "parent".to_owned(),
                digest: parent.digest,
            },
            name: parent.name.clone(),
            packages,
        })
    }

    /// The payload whose golden vectors go on.
    pub(crate) fn first(&self) -> Port {
        Port {
            name: "held".to_owned(),
            digest: self.packages[0].payload,
        }
    }
}

/// The payloads that devices hold, each with the boards' class that makes its update largest.
struct Payloads {
    name: String,
    held: Vec<(String, Vec<u8>)>,
    vectors: Vec<Golden>,
}

impl Payloads {
    async fn read(bench: &Bench<'_>, held: &Held) -> Result<Self, RunError> {
        let mut packages: Vec<&Package> = held.packages.iter().collect();
        packages.sort_by_key(|package| std::cmp::Reverse(package.board.len()));
        let mut seen = BTreeSet::new();
        packages.retain(|package| seen.insert(package.payload));
        let mut payloads = Vec::with_capacity(packages.len());
        for package in packages {
            let bytes = bench.bytes(&package.payload).await?;
            payloads.push((package.board.clone(), bytes));
        }
        let first = bench.bytes(&held.first().digest).await?;
        Ok(Self {
            name: held.name.clone(),
            held: payloads,
            vectors: golden_of(&first)?,
        })
    }

    /// What the update to a model takes: the most of all boards.
    fn delta_bytes(
        &self,
        model: &Model,
        project: &Project,
        contract: Option<&Contract<'_>>,
        set: &FeatureSet,
    ) -> Result<u64, RunError> {
        let prior = match project.repair.personal_head {
            true => Some(prior_of(model, set)?),
            false => None,
        };
        let vectors = golden_again(model, &self.vectors)?;
        let packed = Packed::of(model, &project.known, contract, prior.as_deref())?;
        let mut most = 0;
        for (board, old) in &self.held {
            let new = packed.payload(model, &vectors, board)?;
            let update = Update {
                name: &self.name,
                board,
                old,
                new: &new,
            };
            most = most.max(update.bytes()?);
        }
        Ok(most)
    }
}

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    origin: &Origin,
    held: &Held,
    budget: &Budget,
) -> Result<(Done, TuneReport), RunError> {
    let project = bench.workshop.project.clone();
    let version = origin.ingested.output("dataset")?;
    let mut inputs = vec![
        held.model.clone(),
        origin.featurized.port("features")?,
        origin.ingested.port("dataset")?,
    ];
    inputs.extend(held.packages.iter().map(|package| Port {
        name: format!("held/{}", package.board),
        digest: package.payload,
    }));
    let settings = (
        project.train.clone(),
        project.tune.spec(),
        *budget,
        project.project.metric,
        project.known.added().to_vec(),
        project.sensor.clone(),
        project.repair.personal_head,
    );
    let payloads = Payloads::read(bench, held).await?;
    let features = bench.bytes(&origin.featurized.output("features")?).await?;
    let parent = bench.bytes(&held.model.digest).await?;
    let (shelf, title, budget) = (origin.shelf.clone(), held.title.clone(), *budget);
    let work = move |tell| {
        let set = FeatureSet::decode(&features)?;
        let parent = read_model(&parent)?;
        let metric = project.project.metric;
        let dataset = shelf.dataset(&version)?;
        let contract = Contract::of(project.sensor.as_ref(), dataset, shape_of(&parent));
        let goodness = |evaluation: &_| metric.of(evaluation).map(|value| metric.goodness(value));
        let question = Question {
            parent: &parent,
            spec: &project.train,
            tune: &project.tune.spec(),
            budget,
            set: &set,
            goodness: &goodness,
        };
        let mut delta_bytes =
            |model: &Model| payloads.delta_bytes(model, &project, contract.as_ref(), &set);
        let found = search(&question, &mut delta_bytes, &mut listener(tell))?.map_err(Box::new)?;
        let mut taken = found.model;
        let mut bytes = found.candidates[found.chosen].delta_bytes;
        // A capsule whose baseline is of what devices see now sets off no alarm that is none; room permitting.
        let renewed = with_baseline(&taken, &project.train, &set)?;
        let renewed_bytes = delta_bytes(&renewed)?;
        let is_baseline_new = found.chosen > 0 && renewed_bytes <= budget.delta_bytes_max;
        if is_baseline_new {
            (taken, bytes) = (renewed, renewed_bytes);
        }
        let on_test = |model: &Model| -> Result<f64, RunError> {
            let quiet = &mut |_| Flow::Continue;
            let (Comparison { int8, .. }, _) = evaluate(
                model,
                None,
                &project.train,
                &set.classes,
                &set.test,
                Asked::default(),
                quiet,
            )?;
            metric.of(&int8).ok_or_else(|| RunError::Missing {
                what: format!("a test window with {}", metric.word()),
            })
        };
        let report = TuneReport {
            parent: title,
            budget,
            delta_bytes: bytes,
            is_baseline_new,
            baseline_delta_bytes: renewed_bytes,
            test: Tuned {
                before: on_test(&parent)?,
                after: on_test(&taken)?,
                unrestricted: on_test(&found.unrestricted)?,
            },
            chosen: found.chosen,
            candidates: found.candidates,
        };
        Ok(Made {
            outputs: vec![("model".to_owned(), taken.encode())],
            summary: summary(&report),
            detail: serde_json::to_value(&report).expect("reports have string keys"),
        })
    };
    let done = bench.step(StepName::Tune, &settings, inputs, work).await?;
    let report = TuneReport::deserialize(&done.detail).map_err(|source| RunError::Artifact {
        what: "tune report",
        source,
    })?;
    Ok((done, report))
}

fn summary(report: &TuneReport) -> String {
    let taken = &report.candidates[report.chosen];
    format!(
        "update of {} B of {} allowed: layers {}, scales {}, {} numbers changed; {} ways tried",
        report.delta_bytes,
        report.budget.delta_bytes_max,
        taken.layers,
        taken.scales,
        taken.changed,
        report.candidates.len() - 1
    )
}

/// Whether bytes and loss are within the budget, on windows that nothing was chosen by.
pub(crate) fn gate(report: &TuneReport, metric: Metric) -> Gate {
    let Budget {
        delta_bytes_max,
        loss_max,
    } = report.budget;
    let Tuned {
        before,
        after,
        unrestricted,
    } = report.test;
    let loss = metric.loss(after, unrestricted);
    let reason = format!(
        "update of {} B, {delta_bytes_max} allowed; int8 {} {after:.4} (before {before:.4}), unrestricted \
         {unrestricted:.4}, {loss_max} below allowed",
        report.delta_bytes,
        metric.word(),
    );
    let holds = report.delta_bytes <= delta_bytes_max && loss <= loss_max + 1e-9;
    Gate::new(GateName::Budget, holds, reason)
}
