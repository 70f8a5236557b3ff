use std::path::PathBuf;

use serde_json::{Value, json};
use tinyops_model::{Body, Task};
use tinyops_store::Digest;
use tinyops_train::Evaluation;

use super::facts::{Facts, detail};
use crate::{
    context::{Context, moment},
    failure::Failure,
    model_ref::{ModelRef, title},
    record::output,
};

/// Write a bill of materials of a version: CycloneDX 1.6, with model card, parts and data
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models bom fan@3 --out fan.cdx.json")]
pub(super) struct Bom {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Write it here instead of stdout
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, args: &Bom) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let facts = Facts::load(context, &db, &artifacts, args.model.as_ref()).await?;
    let bom = facts.bom();
    match &args.out {
        Some(path) => context.write(path, text_of(&bom).as_bytes())?,
        None => context.terminal.answer(&bom, || text_of(&bom)),
    }
    Ok(())
}

/// The document as it is kept: with line breaks, for it is read and compared by people too.
pub(super) fn text_of(bom: &Value) -> String {
    format!("{bom:#}\n")
}

impl Facts {
    /// The bill of materials. The same version gives the same bytes, whenever it is asked for.
    pub(super) fn bom(&self) -> Value {
        let mut parts = Vec::new();
        let mut dependencies = Vec::new();
        let model_ref = title(&self.row);
        let mut of_model = Vec::new();
        if let Some(float) = output(&self.steps, "train", "trained") {
            let part = part(
                "machine-learning-model",
                &format!("{}-float", self.row.name),
                &float,
            );
            of_model.push(float_ref(&float));
            parts.push(with(part, "bom-ref", float_ref(&float).into()));
        }
        if let Some(dataset) = output(&self.steps, "ingest", "dataset") {
            of_model.push(data_ref(&dataset));
            parts.push(self.dataset(&dataset));
        }
        for capsule in &self.capsules {
            let reference = format!("capsule:{}", capsule.id);
            let name = format!("{}-{}", self.row.name, capsule.board);
            let mut component = part("firmware", &name, &capsule.digest);
            component["bom-ref"] = reference.clone().into();
            component["version"] = capsule.sequence.to_string().into();
            component["description"] =
                format!("the signed capsule of {model_ref} for {}", capsule.board).into();
            component["properties"] = properties([
                ("tinyops:board", capsule.board.clone()),
                ("tinyops:model_id", capsule.id.to_string()),
                ("tinyops:manifest", capsule.manifest_digest.to_string()),
                ("tinyops:payload", capsule.payload.to_string()),
                ("tinyops:bytes", capsule.bytes.to_string()),
            ]);
            parts.push(component);
            dependencies.push(json!({ "ref": reference, "dependsOn": [model_ref] }));
        }
        dependencies.push(json!({ "ref": model_ref, "dependsOn": of_model }));
        json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": serial(&self.row.digest),
            "version": 1,
            "metadata": {
                "timestamp": format!("{}Z", moment(self.row.created_at).replace(' ', "T")),
                "tools": { "components": [{
                    "type": "application", "name": "tinyops", "version": env!("CARGO_PKG_VERSION"),
                }] },
                "component": self.component(&model_ref),
            },
            "components": parts,
            "dependencies": dependencies,
        })
    }

    /// The int8 model, which every capsule carries.
    fn component(&self, reference: &str) -> Value {
        let mut component = part("machine-learning-model", &self.row.name, &self.row.digest);
        component["bom-ref"] = reference.into();
        component["version"] = self.row.version.to_string().into();
        if !self.goal.is_empty() {
            component["description"] = self.goal.clone().into();
        }
        component["modelCard"] = self.model_card();
        let mut ancestors = Vec::new();
        if let Some(float) = output(&self.steps, "train", "trained") {
            let float = part(
                "machine-learning-model",
                &format!("{}-float", self.row.name),
                &float,
            );
            ancestors.push(float);
        }
        if let Some(parent) = self.row.parent {
            ancestors.push(json!({
                "type": "machine-learning-model", "name": self.row.name, "version": parent.to_string(),
            }));
        }
        let mut pedigree = json!({ "ancestors": ancestors });
        if let Some(commit) = self
            .run
            .as_ref()
            .and_then(|run| run.code.strip_prefix("git:"))
        {
            pedigree["commits"] = json!([{ "uid": commit }]);
        }
        component["pedigree"] = pedigree;
        component["properties"] = self.properties();
        component
    }

    fn model_card(&self) -> Value {
        let front_end = &self.model.front_end;
        let task = match self.model.task {
            Task::Classify => "classification",
            Task::Regress => "regression",
            Task::Anomaly => "anomaly detection",
        };
        let approach = match self.model.task {
            Task::Classify | Task::Regress => "supervised",
            Task::Anomaly => "unsupervised",
        };
        let architecture = match self.model.body {
            Body::Network(_) => "int8 neural network",
            Body::Autoencoder(_) => "int8 autoencoder",
            Body::KMeans { .. } => "distances to cluster centres",
            Body::Mahalanobis { .. } => "distance from the mean",
        };
        let mut parameters = json!({
            "approach": { "type": approach },
            "task": task,
            "architectureFamily": architecture,
            "inputs": [{ "format": format!(
                "{} readings of {} channels at {} Hz",
                front_end.window_len, front_end.channel_count, front_end.rate_hz
            ) }],
            "outputs": [{ "format": match self.model.labels.is_empty() {
                true => "one number".to_owned(),
                false => format!("a share of each class: {}", self.model.labels.join(", ")),
            } }],
        });
        if let Some(dataset) = output(&self.steps, "ingest", "dataset") {
            parameters["datasets"] = json!([{ "ref": data_ref(&dataset) }]);
        }
        let mut card = json!({ "modelParameters": parameters });
        if let Some(comparison) = &self.evaluation {
            let mut metrics = metrics(&comparison.int8);
            if let Some(parity) = comparison.parity {
                metrics.push(metric("float-int8 largest error", parity.max_error, None));
                metrics.push(metric("float-int8 mean error", parity.mean_error, None));
                if let Some(agreement) = parity.agreement {
                    metrics.push(metric("float-int8 agreement", agreement, None));
                }
            }
            card["quantitativeAnalysis"] = json!({ "performanceMetrics": metrics });
        }
        let limits: Vec<String> = self.limits();
        let mut considerations = json!({ "technicalLimitations": limits });
        if !self.goal.is_empty() {
            considerations["useCases"] = json!([self.goal]);
        }
        card["considerations"] = considerations;
        card
    }

    fn dataset(&self, digest: &Digest) -> Value {
        let ingest = detail(&self.steps, "ingest");
        let summary = ingest.and_then(|ingest| ingest["summary"].as_str());
        let mut component = part("data", &format!("{}-recordings", self.row.name), digest);
        component["bom-ref"] = data_ref(digest).into();
        component["data"] = json!([{
            "type": "dataset",
            "name": format!("{}-recordings", self.row.name),
            "description": summary.unwrap_or_default(),
        }]);
        component
    }

    /// What of a board a model takes, and how it was made: what the format has no words for.
    fn properties(&self) -> Value {
        let mut pairs = vec![("tinyops:stage".to_owned(), self.row.stage.to_string())];
        if let Some(run) = &self.run {
            pairs.push(("tinyops:run".to_owned(), run.id.to_string()));
            pairs.push(("tinyops:seed".to_owned(), run.seed.to_string()));
            pairs.push(("tinyops:settings".to_owned(), run.settings.to_string()));
            pairs.push(("tinyops:code".to_owned(), run.code.clone()));
        }
        for gate in &self.gates {
            let verdict = match gate.passed {
                Some(true) => "pass",
                Some(false) => "fail",
                None => "not run",
            };
            pairs.push((
                format!("tinyops:gate:{}", gate.gate),
                format!("{verdict}: {}", gate.why),
            ));
        }
        if let Some(compiled) = &self.compiled {
            pairs.push((
                "tinyops:arena_bytes".to_owned(),
                compiled.arena_bytes.to_string(),
            ));
            let targets = compiled.fits.iter().filter(|fit| fit.is_target);
            for fit in targets {
                let board = &fit.board;
                for (name, value) in [
                    ("flash_bytes", fit.flash_bytes.to_string()),
                    ("ram_bytes", fit.ram_bytes.to_string()),
                    ("latency_ms", fit.latency_ms.to_string()),
                    ("energy_mj", fit.energy_mj.to_string()),
                ] {
                    pairs.push((format!("tinyops:device:{board}:{name}"), value));
                }
            }
        }
        properties(
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone())),
        )
    }
}

fn part(kind: &str, name: &str, digest: &Digest) -> Value {
    json!({
        "type": kind,
        "name": name,
        "hashes": [{ "alg": "SHA-256", "content": digest.to_string() }],
    })
}

fn with(mut component: Value, key: &str, value: Value) -> Value {
    component[key] = value;
    component
}

fn float_ref(digest: &Digest) -> String {
    format!("float:{digest}")
}

fn data_ref(digest: &Digest) -> String {
    format!("data:{digest}")
}

fn properties<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Value {
    let pair = |(name, value)| json!({ "name": name, "value": value });
    pairs.into_iter().map(pair).collect()
}

fn metric(kind: &str, value: f32, slice: Option<String>) -> Value {
    let mut metric = json!({ "type": kind, "value": value.to_string() });
    if let Some(slice) = slice {
        metric["slice"] = slice.into();
    }
    metric
}

fn metrics(found: &Evaluation) -> Vec<Value> {
    let mut metrics = Vec::new();
    for name in ["accuracy", "macro_f1", "auc", "rmse", "expected_cost"] {
        if let Some(value) = found.metric_named(name) {
            metrics.push(metric(name, value, None));
        }
    }
    for class in &found.per_class {
        let slice = || Some(format!("class={}", class.label));
        metrics.push(metric("precision", class.precision, slice()));
        metrics.push(metric("recall", class.recall, slice()));
        metrics.push(metric("f1", class.f1, slice()));
    }
    for slice in &found.slices {
        if let Some(value) = slice.metric {
            let of = format!("{}={}", slice.key, slice.value);
            metrics.push(metric("accuracy", value, Some(of)));
        }
    }
    metrics
}

/// A number of RFC 9562, version 8, out of a digest: the same model has the same one.
fn serial(digest: &Digest) -> String {
    let mut bytes = digest.prefix::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
    format!("urn:uuid:{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_of_their_form() {
        let serial = serial(&Digest([0xff; 32]));
        assert_eq!(serial, "urn:uuid:ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
