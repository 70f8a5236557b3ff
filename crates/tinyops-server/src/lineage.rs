//! What carries what: recordings, datasets, models, capsules and devices as one graph, from whichever end it is asked for.
//!
//! The making half is known to `tinyops-pipeline`, the operating half to the records of capsules and devices; they meet
//! here.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tinyops_pipeline::lineage::{Holding, Rows, dataset_of, holding, labels_of, models_of};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::model::{self, Model, Stage};
use tinyops_store::{Artifacts, Db, DeviceId, Digest, ModelId, StoreError, presence};

/// What a node of the graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A recording.
    Recording,
    /// A version of a dataset.
    Dataset,
    /// A version of a model.
    Model,
    /// A version signed for one board.
    Capsule,
    /// A device that runs it.
    Device,
}

impl NodeKind {
    /// Every kind, from what is recorded to what is out there.
    pub const ALL: [NodeKind; 5] = [
        NodeKind::Recording,
        NodeKind::Dataset,
        NodeKind::Model,
        NodeKind::Capsule,
        NodeKind::Device,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            NodeKind::Recording => "recording",
            NodeKind::Dataset => "dataset",
            NodeKind::Model => "model",
            NodeKind::Capsule => "capsule",
            NodeKind::Device => "device",
        }
    }
}

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LineageNode {
    /// What it is.
    pub kind: NodeKind,
    /// What names it among those of its kind: a digest, `NAME@VERSION`, a model id, a device's id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What else is known of it.
    pub detail: String,
}

/// `from` went into `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct LineageEdge {
    /// The place of a node in the list.
    pub from: usize,
    /// The place of another.
    pub to: usize,
}

/// All that a question leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LineageGraph {
    /// As it was asked.
    pub asked: String,
    /// What it was taken for: `recordings`, `dataset`, `model`, `capsule` or `device`; empty where nothing is called so.
    pub kind: &'static str,
    /// The things, kind by kind.
    pub nodes: Vec<LineageNode>,
    /// Which went into which.
    pub edges: Vec<LineageEdge>,
}

/// A graph that grows: where each thing is in its list.
#[derive(Default)]
struct Growing {
    nodes: Vec<LineageNode>,
    places: BTreeMap<(NodeKind, String), usize>,
    edges: BTreeSet<LineageEdge>,
}

impl LineageGraph {
    /// How many things of a kind there are.
    #[must_use]
    pub fn count(&self, kind: NodeKind) -> usize {
        self.nodes.iter().filter(|node| node.kind == kind).count()
    }
}

impl Growing {
    fn node(&mut self, kind: NodeKind, id: String, name: String, detail: String) -> usize {
        let place = self.places.entry((kind, id.clone()));
        *place.or_insert_with(|| {
            self.nodes.push(LineageNode {
                kind,
                id,
                name,
                detail,
            });
            self.nodes.len() - 1
        })
    }

    fn edge(&mut self, from: usize, to: usize) {
        self.edges.insert(LineageEdge { from, to });
    }
}

/// What a question is about.
struct Subject {
    kind: &'static str,
    /// The versions, each with the dataset that it was made with.
    models: Vec<(Model, Option<Digest>)>,
    /// The recordings that were asked for; none where all are meant.
    held: Option<Vec<Holding>>,
    /// The one capsule that is meant.
    capsule: Option<ModelId>,
    /// The one device that is meant.
    device: Option<DeviceId>,
}

/// Follows what is asked both ways: back to recordings, and on to every device that carries it.
///
/// `asked` is a recording (its name, or the end of its path), a group of recordings, a digest or its first digits (at
/// least six), a model (`fan`, `fan@3`), the model id of a report, or a device.
///
/// # Errors
/// When records or artifacts cannot be read.
pub async fn lineage(
    db: &Db,
    artifacts: &Artifacts,
    asked: &str,
) -> Result<LineageGraph, StoreError> {
    let Some(subject) = find(db, artifacts, asked).await? else {
        return Ok(LineageGraph {
            asked: asked.to_owned(),
            ..LineageGraph::default()
        });
    };
    let mut graph = Growing::default();
    let held = match &subject.held {
        Some(held) => held.clone(),
        None => {
            let mut held = Vec::new();
            let datasets: BTreeSet<Digest> = subject
                .models
                .iter()
                .filter_map(|(_, dataset)| *dataset)
                .collect();
            for dataset in datasets {
                held.extend(holding(db, artifacts, &Rows::Dataset(dataset.to_string())).await?);
            }
            held
        }
    };
    for holding in &held {
        let dataset = dataset_node(&mut graph, holding);
        for recording in &holding.recordings {
            let (id, name) = (recording.content.to_string(), recording.name.clone());
            let detail = format!("{}, group {}", recording.label, recording.group);
            let from = graph.node(NodeKind::Recording, id, name, detail);
            graph.edge(from, dataset);
        }
    }
    for (model, dataset) in &subject.models {
        let to = model_node(&mut graph, model);
        let from = held
            .iter()
            .find(|holding| Some(holding.dataset.digest) == *dataset);
        if let Some(holding) = from {
            let from = dataset_node(&mut graph, holding);
            graph.edge(from, to);
        }
        if let Some(parent) = model.parent
            && let Some(parent) = model::get(db, &model.name, parent).await?
        {
            let from = model_node(&mut graph, &parent);
            graph.edge(from, to);
        }
    }
    for (model, _) in &subject.models {
        let from = model_node(&mut graph, model);
        for capsule in capsule::of_model(db, &model.name).await? {
            let is_meant = subject.capsule.is_none_or(|id| id == capsule.id);
            if capsule.version == model.version && is_meant {
                add_capsule(db, &mut graph, from, &capsule, subject.device).await?;
            }
        }
    }
    let (nodes, edges) = sorted(graph);
    Ok(LineageGraph {
        asked: asked.to_owned(),
        kind: subject.kind,
        nodes,
        edges,
    })
}

async fn add_capsule(
    db: &Db,
    graph: &mut Growing,
    from: usize,
    capsule: &Capsule,
    only: Option<DeviceId>,
) -> Result<(), StoreError> {
    let detail = format!("for {}, {} bytes", capsule.board, capsule.bytes);
    let id = capsule.id.to_string();
    let at = graph.node(NodeKind::Capsule, id.clone(), id, detail);
    graph.edge(from, at);
    for (device, cohort) in presence::running(db, capsule.id).await? {
        if only.is_none_or(|only| only == device) {
            let id = device.to_string();
            let detail = format!("cohort {cohort}");
            let device = graph.node(NodeKind::Device, id.clone(), id, detail);
            graph.edge(at, device);
        }
    }
    Ok(())
}

fn dataset_node(graph: &mut Growing, holding: &Holding) -> usize {
    let digest = holding.dataset.digest.to_string();
    let labels = labels_of(&holding.recordings);
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, count)| format!("{count} {label}"))
        .collect();
    let detail = format!(
        "{} recordings, of them here {}",
        holding.dataset.sample_count,
        labels.join(", ")
    );
    graph.node(
        NodeKind::Dataset,
        digest.clone(),
        digest[..12].to_owned(),
        detail,
    )
}

fn model_node(graph: &mut Growing, model: &Model) -> usize {
    let name = format!("{}@{}", model.name, model.version);
    let detail = match model.parent {
        Some(parent) => format!("{}, from @{parent}", model.stage),
        None => model.stage.to_string(),
    };
    graph.node(NodeKind::Model, name.clone(), name, detail)
}

/// Brings the nodes into the order of their kinds and names.
fn sorted(graph: Growing) -> (Vec<LineageNode>, Vec<LineageEdge>) {
    let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
    order.sort_by_key(|&index| {
        let node = &graph.nodes[index];
        (node.kind, node.name.clone(), node.id.clone())
    });
    let mut places = vec![0; order.len()];
    for (place, &index) in order.iter().enumerate() {
        places[index] = place;
    }
    let moved = |edge: LineageEdge| LineageEdge {
        from: places[edge.from],
        to: places[edge.to],
    };
    let mut edges: Vec<LineageEdge> = graph.edges.into_iter().map(moved).collect();
    edges.sort_unstable();
    let nodes = order.iter().map(|&index| graph.nodes[index].clone());
    (nodes.collect(), edges)
}

/// What a name stands for: the ids of reports and devices first, then digests, models, and recordings.
async fn find(db: &Db, artifacts: &Artifacts, asked: &str) -> Result<Option<Subject>, StoreError> {
    if let Ok(id) = asked.parse::<ModelId>()
        && let Some(capsule) = capsule::get(db, id).await?
    {
        return of_capsule(db, &capsule, "capsule", None).await;
    }
    if let Ok(id) = asked.parse::<DeviceId>()
        && let Some(running) = presence::get(db, id)
            .await?
            .and_then(|presence| presence.model)
        && let Some(capsule) = capsule::get(db, running).await?
    {
        return of_capsule(db, &capsule, "device", Some(id)).await;
    }
    let digits = asked.to_ascii_lowercase();
    let is_hex =
        (6..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && let Some(found) = by_digest(db, artifacts, &digits).await? {
        return Ok(Some(found));
    }
    let (name, which) = asked.split_once('@').unwrap_or((asked, ""));
    let found = match which.parse::<u32>() {
        Ok(version) => model::get(db, name, version).await?,
        Err(_) if which.is_empty() => match model::in_stage(db, name, Stage::Production).await? {
            Some(found) => Some(found),
            None => model::latest(db, name).await?,
        },
        Err(_) => match Stage::of_word(which) {
            Some(stage) => model::in_stage(db, name, stage).await?,
            None => model::by_alias(db, name, which).await?,
        },
    };
    if let Some(model) = found {
        return Ok(Some(of_model(db, model, "model").await?));
    }
    of_rows(db, artifacts, Rows::Named(asked.to_owned()), "recordings").await
}

async fn by_digest(
    db: &Db,
    artifacts: &Artifacts,
    digits: &str,
) -> Result<Option<Subject>, StoreError> {
    let is_it = |digest: &Digest| digest.to_string().starts_with(digits);
    let models = model::list(db).await?;
    if let Some(model) = models.iter().find(|model| is_it(&model.digest)) {
        return Ok(Some(of_model(db, model.clone(), "model").await?));
    }
    let names: BTreeSet<&str> = models.iter().map(|model| model.name.as_str()).collect();
    for name in names {
        for capsule in capsule::of_model(db, name).await? {
            if is_it(&capsule.digest) || is_it(&capsule.manifest_digest) || is_it(&capsule.payload)
            {
                return of_capsule(db, &capsule, "capsule", None).await;
            }
        }
    }
    let whole = of_rows(db, artifacts, Rows::Dataset(digits.to_owned()), "dataset").await?;
    match whole {
        Some(found) => Ok(Some(found)),
        None => {
            of_rows(
                db,
                artifacts,
                Rows::Content(digits.to_owned()),
                "recordings",
            )
            .await
        }
    }
}

async fn of_model(db: &Db, model: Model, kind: &'static str) -> Result<Subject, StoreError> {
    let mut models = Vec::new();
    // What its parents learned is in it too.
    let mut next = Some(model);
    while let Some(model) = next {
        next = match model.parent {
            Some(parent) => model::get(db, &model.name, parent).await?,
            None => None,
        };
        let dataset = dataset_of(db, &model).await?;
        models.push((model, dataset));
    }
    Ok(Subject {
        kind,
        models,
        held: None,
        capsule: None,
        device: None,
    })
}

async fn of_capsule(
    db: &Db,
    capsule: &Capsule,
    kind: &'static str,
    device: Option<DeviceId>,
) -> Result<Option<Subject>, StoreError> {
    let Some(model) = model::get(db, &capsule.model, capsule.version).await? else {
        return Ok(None);
    };
    let subject = of_model(db, model, kind).await?;
    Ok(Some(Subject {
        capsule: Some(capsule.id),
        device,
        ..subject
    }))
}

async fn of_rows(
    db: &Db,
    artifacts: &Artifacts,
    rows: Rows,
    kind: &'static str,
) -> Result<Option<Subject>, StoreError> {
    let held = holding(db, artifacts, &rows).await?;
    if held.is_empty() {
        return Ok(None);
    }
    let datasets = held.iter().map(|holding| holding.dataset.digest).collect();
    Ok(Some(Subject {
        kind,
        models: models_of(db, &datasets).await?,
        held: Some(held),
        capsule: None,
        device: None,
    }))
}
