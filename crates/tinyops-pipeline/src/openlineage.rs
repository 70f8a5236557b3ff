//! Runs as events of OpenLineage: what began, what it read, what it made, and how it ended.
//!
//! Source: the OpenLineage object model, specification 2-0-2, `RunEvent`, and its standard facets.

use chrono::{Datelike as _, Timelike as _};
use tinyops_store::run::{Run, RunState};
use tinyops_store::step::{self, Port, Step, StepState};
use tinyops_store::webhook::{self, WebhookKind};
use tinyops_store::{Digest, Json, StoreError, Timestamp, Tx};

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";
/// Who says it: a URI, as the specification asks.
const PRODUCER: &str = concat!("urn:tinyops:", env!("CARGO_PKG_VERSION"));
const NAMESPACE: &str = "tinyops";

/// The events of a run and of its steps, in the order in which they happened; a run that is at work has only begun.
#[must_use]
pub fn events(run: &Run, steps: &[Step]) -> Vec<Json> {
    let whole = Job {
        id: uuid(&format!(
            "run {} of {} at {}",
            run.id, run.project, run.started_at.0
        )),
        name: format!("{}.{}", run.project, run.kind),
    };
    let mut events = vec![whole.event(
        "START",
        run.started_at,
        run_facets(run),
        &[],
        &[],
        &run.project,
    )];
    let parent = facet(
        "1-0-1/ParentRunFacet.json",
        [
            ("run", serde_json::json!({ "runId": whole.id })),
            (
                "job",
                serde_json::json!({ "namespace": NAMESPACE, "name": whole.name }),
            ),
        ],
    );
    for step in steps {
        let job = Job {
            id: uuid(&format!("step {} of {}", step.name, whole.id)),
            name: format!("{}.{}", run.project, step.name),
        };
        let begun = step.changed_at.plus_ms(-((step.seconds * 1000.0) as i64));
        let mut facets = serde_json::json!({ "parent": parent });
        events.push(job.event(
            "START",
            begun,
            facets.clone(),
            &step.inputs,
            &[],
            &run.project,
        ));
        let kind = match step.state {
            StepState::Failed => "FAIL",
            StepState::Done | StepState::Cached => "COMPLETE",
            StepState::Waiting | StepState::Running | StepState::Skipped => continue,
        };
        if let Some(error) = step.detail["error"].as_str() {
            facets["errorMessage"] = error_facet(error);
        }
        events.push(job.event(
            kind,
            step.changed_at,
            facets,
            &step.inputs,
            &step.outputs,
            &run.project,
        ));
    }
    let kind = match run.state {
        RunState::Done | RunState::Refused => "COMPLETE",
        RunState::Failed => "FAIL",
        RunState::Interrupted => "ABORT",
        RunState::Waiting | RunState::Running => return events,
    };
    let outputs_of = |name: &str| {
        let found = steps.iter().filter(|step| step.name == name);
        found
            .flat_map(|step| step.outputs.clone())
            .collect::<Vec<Port>>()
    };
    let inputs: Vec<Port> = outputs_of("ingest")
        .into_iter()
        .filter(|port| port.name == "dataset")
        .collect();
    let mut outputs = Vec::new();
    for name in ["train", "quantize", "resolve", "tune", "compile"] {
        outputs.extend(outputs_of(name));
    }
    let mut facets = run_facets(run);
    if let Some(error) = run.detail["error"].as_str() {
        facets["errorMessage"] = error_facet(error);
    }
    let ended = run.ended_at.unwrap_or(run.started_at);
    events.push(whole.event(kind, ended, facets, &inputs, &outputs, &run.project));
    events
}

/// Owes every receiver of lineage that a run began, in the transaction that begins it.
pub(crate) async fn owe_begin(tx: &Tx, run: &Run) -> Result<(), StoreError> {
    owe(tx, run, run.started_at, |events| events.truncate(1)).await
}

/// Owes every receiver of lineage what the steps of a run read and made, and how it ended, in the transaction that ends
/// it.
pub(crate) async fn owe_end(tx: &Tx, run: &Run) -> Result<(), StoreError> {
    let now = run.ended_at.unwrap_or(run.started_at);
    owe(tx, run, now, |events| drop(events.drain(..1))).await
}

async fn owe(
    tx: &Tx,
    run: &Run,
    now: Timestamp,
    choose: impl FnOnce(&mut Vec<Json>),
) -> Result<(), StoreError> {
    let hooks = webhook::of_kind(tx, WebhookKind::Lineage).await?;
    if hooks.is_empty() {
        return Ok(());
    }
    let mut events = events(run, &step::of_run(tx, run.id).await?);
    choose(&mut events);
    for event in events {
        let kind = event["eventType"].as_str().unwrap_or_default();
        let word = format!("lineage.{}", kind.to_ascii_lowercase());
        for hook in &hooks {
            webhook::owe(tx, &hook.name, &word, &event.to_string(), now).await?;
        }
    }
    Ok(())
}

/// What runs: the pipeline, or a step of it.
struct Job {
    id: String,
    name: String,
}

impl Job {
    fn event(
        &self,
        kind: &str,
        at: Timestamp,
        facets: Json,
        inputs: &[Port],
        outputs: &[Port],
        project: &str,
    ) -> Json {
        let of = |ports: &[Port]| -> Vec<Json> {
            ports.iter().map(|port| dataset(project, port)).collect()
        };
        serde_json::json!({
            "eventType": kind,
            "eventTime": moment(at),
            "run": { "runId": self.id, "facets": facets },
            "job": { "namespace": NAMESPACE, "name": self.name },
            "inputs": of(inputs),
            "outputs": of(outputs),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        })
    }
}

/// An artifact: what it is to the project, and which version of that, by digest.
fn dataset(project: &str, port: &Port) -> Json {
    let version = facet(
        "1-0-1/DatasetVersionDatasetFacet.json",
        [("datasetVersion", Json::from(port.digest.to_string()))],
    );
    serde_json::json!({
        "namespace": format!("{NAMESPACE}:{project}"),
        "name": port.name,
        "facets": { "version": version },
    })
}

fn run_facets(run: &Run) -> Json {
    let engine = facet(
        "1-1-1/ProcessingEngineRunFacet.json",
        [
            ("name", Json::from("tinyops")),
            ("version", Json::from(env!("CARGO_PKG_VERSION"))),
        ],
    );
    let own = serde_json::json!({
        "_producer": PRODUCER, "_schemaURL": format!("{FACETS}/1-0-0/BaseFacet.json"),
        "run": run.id.0, "code": run.code, "seed": run.seed, "settings": run.settings.to_string(),
        "state": run.state.word(),
    });
    serde_json::json!({ "processing_engine": engine, "tinyops": own })
}

fn error_facet(message: &str) -> Json {
    facet(
        "1-0-1/ErrorMessageRunFacet.json",
        [
            ("message", Json::from(message)),
            ("programmingLanguage", Json::from("Rust")),
        ],
    )
}

fn facet<const N: usize>(schema: &str, fields: [(&str, Json); N]) -> Json {
    let mut facet = serde_json::json!({
        "_producer": PRODUCER, "_schemaURL": format!("{FACETS}/{schema}"),
    });
    for (key, value) in fields {
        facet[key] = value;
    }
    facet
}

/// A UUID, version 8 of RFC 9562, that is always the same for the same thing.
fn uuid(of: &str) -> String {
    let mut bytes = Digest::of(of.as_bytes()).prefix::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// `2026-11-29T12:00:00.000Z`
pub(crate) fn moment(at: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at.0).unwrap_or_default();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.timestamp_subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_store::run::RunId;

    fn run(state: RunState, detail: Json) -> Run {
        Run {
            id: RunId(7),
            project: "fan".to_owned(),
            kind: "train".to_owned(),
            trigger: None,
            settings: Digest::of(b"toml"),
            code: "git:0".to_owned(),
            seed: 1,
            state,
            detail,
            started_at: Timestamp(1_700_000_000_000),
            ended_at: Some(Timestamp(1_700_000_010_500)),
            owner: None,
            lease_until: None,
            revision: 0,
        }
    }

    fn step(name: &str, state: StepState, inputs: &[&str], outputs: &[&str]) -> Step {
        let ports = |names: &[&str]| {
            let port = |name: &&str| Port {
                name: (*name).to_owned(),
                digest: Digest::of(name.as_bytes()),
            };
            names.iter().map(port).collect()
        };
        Step {
            run: RunId(7),
            index: 0,
            name: name.to_owned(),
            state,
            key: None,
            inputs: ports(inputs),
            outputs: ports(outputs),
            seconds: 2.0,
            detail: Json::Null,
            changed_at: Timestamp(1_700_000_005_000),
        }
    }

    #[track_caller]
    fn check(state: RunState, detail: Json, expected: &[&str]) -> Vec<Json> {
        let steps = [
            step("ingest", StepState::Done, &[], &["dataset"]),
            step("train", StepState::Cached, &["dataset"], &["trained"]),
        ];
        let events = events(&run(state, detail), &steps);
        let found: Vec<String> = events
            .iter()
            .map(|event| {
                format!("{} {}", event["eventType"], event["job"]["name"]).replace('"', "")
            })
            .collect();
        assert_eq!(found, expected);
        events
    }

    #[test]
    fn a_run_begins_reads_makes_and_ends() {
        let steps = [
            "START fan.train",
            "START fan.ingest",
            "COMPLETE fan.ingest",
            "START fan.train",
            "COMPLETE fan.train",
        ];
        let whole = |end: &'static str| [&steps[..], &[end]].concat();
        let events = check(RunState::Done, Json::Null, &whole("COMPLETE fan.train"));
        let last = &events[5];
        assert_eq!(last["eventTime"], "2023-11-14T22:13:30.500Z");
        assert_eq!(
            (&last["inputs"][0]["name"], &last["outputs"][0]["name"]),
            (&"dataset".into(), &"trained".into())
        );
        let version = &last["inputs"][0]["facets"]["version"]["datasetVersion"];
        assert_eq!(*version, Json::from(Digest::of(b"dataset").to_string()));
        assert_eq!(events[0]["run"]["runId"], last["run"]["runId"]);
        assert_eq!(
            events[1]["run"]["facets"]["parent"]["run"]["runId"],
            last["run"]["runId"]
        );
        let failed = check(
            RunState::Failed,
            serde_json::json!({ "error": "no" }),
            &whole("FAIL fan.train"),
        );
        assert_eq!(failed[5]["run"]["facets"]["errorMessage"]["message"], "no");
        check(RunState::Interrupted, Json::Null, &whole("ABORT fan.train"));
        check(RunState::Running, Json::Null, &steps);
    }
}
