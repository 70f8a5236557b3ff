//! The tracking API without a socket: what clients of MLflow did when they were listened to, and what they may not do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tinyops_store::model::{self, NewModel};
use tinyops_store::{Artifacts, Digest, audit};

use tower::ServiceExt as _;

use crate::api::tests::{NOW, app};
use crate::router;

const API: &str = "/api/2.0/mlflow";

/// Status and document of an answer; bytes that are none are `null`.
async fn send(
    router: &Router,
    method: &str,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

async fn post(router: &Router, path: &str, body: Value) -> (u16, Value) {
    let body = body.to_string().into_bytes();
    send(
        router,
        "POST",
        &format!("{API}/{path}"),
        "application/json",
        body,
    )
    .await
}

async fn get(router: &Router, path: &str) -> (u16, Value) {
    send(router, "GET", &format!("{API}/{path}"), "", Vec::new()).await
}

#[track_caller]
fn check_error(answer: &(u16, Value), status: u16, code: &str) {
    let (found, body) = answer;
    assert_eq!(
        (*found, body["error_code"].as_str()),
        (status, Some(code)),
        "{answer:?}"
    );
    let message = body["message"].as_str().unwrap();
    for word in ["SELECT", "INSERT", "sqlite", "panicked"] {
        assert!(!message.contains(word), "{message}");
    }
}

async fn new_run(router: &Router) -> String {
    let (status, made) = post(router, "runs/create", json!({ "experiment_id": "0" })).await;
    assert_eq!(status, 200, "{made}");
    made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

/// Ids as they were recorded, and what they are here.
#[derive(Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    /// Whether a word is an id that a server gives: 32 hex digits, with or without `m-` before them.
    fn is_id(word: &str) -> bool {
        let digits = word.strip_prefix("m-").unwrap_or(word);
        digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// Learns which recorded ids are which ones here.
    fn learn(&mut self, recorded: &Value, own: &Value) {
        match (recorded, own) {
            (Value::String(recorded), Value::String(own))
                if Ids::is_id(recorded) && Ids::is_id(own) =>
            {
                self.0.insert(recorded.clone(), own.clone());
            }
            (Value::Object(recorded), Value::Object(own)) => {
                for (key, value) in recorded {
                    self.learn(value, own.get(key).unwrap_or(&Value::Null));
                }
            }
            (Value::Array(recorded), Value::Array(own)) => {
                for (recorded, own) in recorded.iter().zip(own) {
                    self.learn(recorded, own);
                }
            }
            _ => {}
        }
    }

    /// A text with the ids of here; none if it has one that is not known.
    fn here(&self, text: &str) -> Option<String> {
        let mut found = text.to_owned();
        for (recorded, own) in &self.0 {
            found = found.replace(recorded.as_str(), own);
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_known = |word: &str| {
            !Ids::is_id(word)
                || word.bytes().all(|b| b == b'0')
                || self.0.values().any(|own| own == word)
        };
        found
            .split(|c: char| !is_word(c))
            .all(is_known)
            .then_some(found)
    }
}

/// Fields whose values are a clock's, a store's, or words for people.
const OWN_WORDS: [&str; 12] = [
    "creation_time",
    "last_update_time",
    "creation_timestamp",
    "last_updated_timestamp",
    "creation_timestamp_ms",
    "last_updated_timestamp_ms",
    "message",
    "sqlstate",
    "error_class",
    "next_page_token",
    "workspace",
    "model_id",
];

/// Where two documents differ, apart from what each server has of its own; what is in ours besides is no difference.
fn difference(recorded: &Value, own: &Value, at: &str) -> Option<String> {
    match (recorded, own) {
        (Value::Object(recorded), Value::Object(_)) => recorded
            .iter()
            .filter(|(key, _)| !OWN_WORDS.contains(&key.as_str()))
            .find_map(|(key, value)| difference(value, &own[key.as_str()], &format!("{at}.{key}"))),
        (Value::Array(recorded), Value::Array(own)) if recorded.len() == own.len() => {
            let sorted = |list: &[Value]| {
                let mut list = list.to_vec();
                // Pairs and points are sets: MLflow tells them in the order in which they came.
                list.sort_by_key(|value| value["key"].as_str().map(str::to_owned));
                list
            };
            let pairs = sorted(recorded).into_iter().zip(sorted(own));
            let mut pairs = pairs.enumerate();
            pairs.find_map(|(index, (recorded, own))| {
                difference(&recorded, &own, &format!("{at}[{index}]"))
            })
        }
        (recorded, own) if recorded == own => None,
        (recorded, own) => Some(format!("{at}: {own} instead of {recorded}")),
    }
}

/// An object in the order of its file.
struct Ordered(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Ordered, D::Error> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Ordered;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Ordered, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Ordered(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

#[derive(serde::Deserialize)]
struct Sequences {
    steps: Ordered,
}

fn recorded<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    let data = std::env::var_os("TINYOPS_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(data.join("mlflow-rest").join(name)).ok()?;
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// Bodies that were not recorded, as the answers that were recorded afterwards have them.
fn unheard(step: &str, path: &str) -> Option<Value> {
    let model = "m-1b2cd4761bdd4097a8b0a0ad36f3b8b0";
    Some(match (step, path.rsplit('/').next()?) {
        ("set_tags", "log-batch") => json!({
            "run_id": "240f5010971a4c56973972d7b0832fbb",
            "tags": [{ "key": "a", "value": "1" }, { "key": "b", "value": "2" }],
        }),
        ("log_artifact(binary)", "log-batch") => json!({
            "run_id": "240f5010971a4c56973972d7b0832fbb",
            "tags": [{ "key": "mlflow.loggedImages", "value": "True" }],
        }),
        ("sklearn.log_model+register", "log-metric") => json!({
            "run_id": "3fdadf155054480a84fbca459972dc65",
            "key": "acc",
            "value": 0.973_333_333_333_333_4,
            "timestamp": 1_795_368_594_792_i64,
            "step": 0,
            "model_id": model,
        }),
        ("register_model(models:/id)", "create") if path.contains("model-versions") => json!({
            "name": "kws-dscnn-1795368537",
            "source": format!("models:/{model}"),
            "model_id": model,
        }),
        _ => return None,
    })
}

/// A step's name in one spelling: the two files write spaces in two ways.
fn word_of(step: &Value) -> String {
    step.as_str().unwrap_or_default().replace(' ', "_")
}

#[expect(clippy::print_stderr, reason = "a skipped test must show")]
fn skipped() {
    eprintln!("skipped: mlflow-rest is not there; set TINYOPS_DATA");
}

/// Where this server means to answer otherwise: MLflow takes broken JSON for an empty search.
const WARTS: [&str; 1] = ["raw:bad-json"];

#[tokio::test]
async fn what_clients_were_heard_to_do_can_be_done_here() {
    let (Some(samples), Some(sequences)) = (
        recorded::<Value>("samples.json"),
        recorded::<Sequences>("step_sequences.json"),
    ) else {
        skipped();
        return;
    };
    let samples: Vec<&Value> = samples
        .as_object()
        .unwrap()
        .values()
        .flat_map(|list| list.as_array().unwrap())
        .collect();
    let router = router(app(None).await);
    // The recorded server had three experiments before.
    for name in ["one", "two", "three"] {
        assert_eq!(
            post(&router, "experiments/create", json!({ "name": name }))
                .await
                .0,
            200
        );
    }
    let mut ids = Ids::default();
    let (mut replayed, mut used) = (0, vec![false; samples.len()]);
    let mut differences = Vec::new();
    for (step, calls) in &sequences.steps.0 {
        for call in calls.as_array().unwrap() {
            let is_it = |sample: &Value| {
                word_of(&sample["step"]) == word_of(&Value::from(step.as_str()))
                    && ["method", "path", "status"]
                        .iter()
                        .all(|word| sample[word] == call[word])
            };
            let index = (0..samples.len()).find(|index| !used[*index] && is_it(samples[*index]));
            let sample = index.map(|index| {
                used[index] = true;
                samples[index]
            });
            let method = call["method"].as_str().unwrap();
            let request = sample.map_or(&Value::Null, |sample| &sample["request"]);
            let path = call["path"].as_str().unwrap();
            let known = request.get("json").cloned().or_else(|| unheard(step, path));
            let is_unknown = sample.is_none() || !request["truncated"].is_null();
            let is_blind = method != "GET" && is_unknown && known.is_none();
            let (kind, body) = match (known, request["text"].as_str()) {
                (Some(json), _) => ("application/json", ids.here(&json.to_string())),
                (None, Some(text)) => ("application/json", Some(text.to_owned())),
                (None, None) => ("", Some(String::new())),
            };
            let path = ids.here(path);
            let (Some(path), Some(body), false) = (path, body, is_blind) else {
                continue;
            };
            if WARTS.contains(&word_of(&Value::from(step.as_str())).as_str())
                || path.contains("webhooks")
                || path.contains("..")
            {
                continue;
            }
            let (status, own) = send(&router, method, &path, kind, body.into_bytes()).await;
            replayed += 1;
            let wanted = call["status"].as_u64().unwrap() as u16;
            // Files whose bytes were not recorded are not here.
            let is_unheard = status == 404 && path.contains("mlflow-artifacts") && method == "GET";
            if status != wanted && !is_unheard {
                differences.push(format!(
                    "{step}: {method} {path}: {status} instead of {wanted}: {own}"
                ));
                continue;
            }
            let told = sample.map_or(&Value::Null, |sample| &sample["response"]["json"]);
            ids.learn(told, &own);
            let has_files = path.contains("mlflow-artifacts") || path.ends_with("/server-info");
            let told = ids
                .here(&told.to_string())
                .map(|text| serde_json::from_str(&text).unwrap());
            if let (Some(told @ Value::Object(_)), false) = (told, has_files)
                && let Some(difference) = difference(&told, &own, "")
            {
                differences.push(format!("{step}: {method} {path}: {difference}"));
            }
        }
    }
    assert!(replayed > 190, "{replayed} calls");
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn a_metric_comes_back_to_its_last_digit() {
    let router = router(app(None).await);
    let run = new_run(&router).await;
    // Written out, as a client writes it.
    let body = format!(
        r#"{{"run_id":{run:?},"key":"loss","value":0.09090909090909091,"timestamp":1,"step":0}}"#
    );
    let path = "/api/2.0/mlflow/runs/log-metric";
    let (status, told) = send(&router, "POST", path, "application/json", body.into_bytes()).await;
    assert_eq!(status, 200, "{told}");
    let path = format!("/api/2.0/mlflow/runs/get?run_id={run}");
    let (_, told) = send(&router, "GET", &path, "", Vec::new()).await;
    let value = told["run"]["data"]["metrics"][0]["value"].as_f64().unwrap();
    assert_eq!(value.to_bits(), (1.0_f64 / 11.0).to_bits(), "{told}");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_that_clients_know() {
    let router = router(app(None).await);
    let run = new_run(&router).await;
    let invalid = "INVALID_PARAMETER_VALUE";
    for (path, body) in [
        ("runs/create", json!({})),
        (
            "runs/log-metric",
            json!({ "run_id": 1, "key": "a", "value": "x", "timestamp": "q" }),
        ),
        (
            "runs/log-metric",
            json!({ "run_id": run, "key": "a", "value": 1.0 }),
        ),
        (
            "runs/log-metric",
            json!({ "run_id": run, "key": "../a", "value": 1.0, "timestamp": 1 }),
        ),
        (
            "runs/log-parameter",
            json!({ "run_id": run, "key": "k", "value": "x".repeat(6001) }),
        ),
        ("runs/log-parameter", json!({ "key": "k", "value": "x" })),
        (
            "runs/set-tag",
            json!({ "run_id": run, "key": "k".repeat(251), "value": "x" }),
        ),
        ("runs/update", json!({ "run_id": run, "status": "DONE" })),
        (
            "runs/search",
            json!({ "experiment_ids": ["0"], "max_results": 50_001 }),
        ),
        (
            "runs/search",
            json!({ "experiment_ids": ["0"], "page_token": "!!" }),
        ),
        (
            "runs/search",
            json!({ "experiment_ids": ["0"], "filter": "metrics.a = '" }),
        ),
        (
            "runs/search",
            json!({ "experiment_ids": ["0"], "order_by": ["metrics.a; DROP"] }),
        ),
        (
            "runs/search",
            json!({ "experiment_ids": ["0"], "run_view_type": "MINE" }),
        ),
        (
            "runs/log-inputs",
            json!({ "run_id": run, "datasets": [{ "dataset": { "name": "d" } }] }),
        ),
        ("experiments/create", json!({ "name": " " })),
        ("experiments/create", json!({ "name": "n".repeat(501) })),
        ("registered-models/create", json!({ "name": "a/b" })),
        (
            "logged-models",
            json!({ "experiment_id": "0", "name": "a/b" }),
        ),
    ] {
        check_error(&post(&router, path, body).await, 400, invalid);
    }
    let many: Vec<Value> = (0..1001)
        .map(|step| json!({ "key": "a", "value": 1, "timestamp": 1, "step": step }))
        .collect();
    let many = post(
        &router,
        "runs/log-batch",
        json!({ "run_id": run, "metrics": many }),
    )
    .await;
    check_error(&many, 400, invalid);
    let search = format!("{API}/runs/search");
    let bad = send(
        &router,
        "POST",
        &search,
        "application/json",
        b"{oops".to_vec(),
    );
    check_error(&bad.await, 400, invalid);
    let text = send(&router, "POST", &search, "text/plain", b"{}".to_vec());
    check_error(&text.await, 400, "BAD_REQUEST");
    let missing = "RESOURCE_DOES_NOT_EXIST";
    check_error(&get(&router, "runs/get?run_id=nope").await, 404, missing);
    check_error(
        &get(&router, "experiments/get?experiment_id=99").await,
        404,
        missing,
    );
    check_error(
        &get(&router, "experiments/get?experiment_id=x").await,
        404,
        missing,
    );
    check_error(&get(&router, "logged-models/m-1").await, 404, missing);
    check_error(
        &get(&router, "nothing/here").await,
        404,
        "ENDPOINT_NOT_FOUND",
    );
    check_error(
        &get(&router, "runs/create").await,
        404,
        "ENDPOINT_NOT_FOUND",
    );
    let files = "/api/2.0/mlflow-artifacts/artifacts";
    for path in ["1/%2e%2e/etc", "1/..%2F..%2Fetc", "a%5Cb"] {
        let put = send(
            &router,
            "PUT",
            &format!("{files}/{path}"),
            "",
            b"x".to_vec(),
        )
        .await;
        check_error(&put, 400, invalid);
    }
    let own_file = format!("{files}/tinyops/fan/1/model.tinyops");
    let own = send(&router, "PUT", &own_file, "", b"x".to_vec());
    check_error(&own.await, 403, "PERMISSION_DENIED");
    check_error(
        &send(&router, "GET", &format!("{files}/1/none"), "", vec![]).await,
        404,
        missing,
    );
    // After all of this the run is as it was.
    let (_, found) = get(&router, &format!("runs/get?run_id={run}")).await;
    assert_eq!(found["run"]["data"]["metrics"], Value::Null, "{found}");
}

#[tokio::test]
async fn a_run_is_found_by_all_that_is_known_of_it() {
    let router = router(app(None).await);
    for (name, accuracy, arch) in [
        ("a", 0.9, "ds_cnn"),
        ("b", 0.8, "dsXcnn"),
        ("c", 0.7, "mlp"),
    ] {
        let run = new_run(&router).await;
        let batch = json!({
            "run_id": run,
            "metrics": [
                { "key": "acc", "value": accuracy, "timestamp": 5, "step": 2 },
                { "key": "acc", "value": 0.1, "timestamp": 9, "step": 1 },
                { "key": "odd", "value": "NaN", "timestamp": 1, "step": 0 },
                { "key": "loud", "value": "Infinity", "timestamp": 1, "step": 0 },
            ],
            "params": [{ "key": "arch", "value": arch }],
            "tags": [{ "key": "mlflow.runName", "value": name }, { "key": "long", "value": "x".repeat(5000) }],
        });
        // Twice, as a client does that did not hear the answer.
        for _ in 0..2 {
            assert_eq!(
                post(&router, "runs/log-batch", batch.clone()).await,
                (200, json!({}))
            );
        }
    }
    let names = async |filter: &str, order: &[&str]| {
        let asked = json!({ "experiment_ids": ["0"], "filter": filter, "order_by": order });
        let (status, found) = post(&router, "runs/search", asked).await;
        assert_eq!(status, 200, "{found}");
        let runs = found["runs"].as_array().cloned().unwrap_or_default();
        let name = |run: &Value| run["info"]["run_name"].as_str().unwrap().to_owned();
        runs.iter().map(name).collect::<String>()
    };
    assert_eq!(names("", &["metrics.acc ASC"]).await, "cba");
    assert_eq!(
        names("metrics.acc >= 0.8", &["metrics.acc DESC"]).await,
        "ab"
    );
    assert_eq!(names("params.arch = 'ds_cnn'", &[]).await, "a");
    assert_eq!(
        names("params.arch LIKE 'ds_cnn'", &["params.arch"])
            .await
            .len(),
        2
    );
    assert_eq!(names("params.arch LIKE 'DS%'", &[]).await, "");
    assert_eq!(
        names("params.arch ILIKE 'DS%' and metrics.acc < 0.85", &[]).await,
        "b"
    );
    assert_eq!(
        names("params.none IS NULL", &["attributes.run_name DESC"]).await,
        "cba"
    );
    assert_eq!(names("params.arch IS NULL", &[]).await, "");
    assert_eq!(names("run_name IN ('a', 'c')", &["run_name"]).await, "ac");
    assert_eq!(names("run_name NOT IN ('a')", &["run_name"]).await, "bc");
    assert_eq!(
        names("start_time > 0 and status = 'RUNNING'", &["run_name"]).await,
        "abc"
    );
    assert_eq!(
        names(
            &format!("tags.long = '{}'", "x".repeat(5000)),
            &["run_name"]
        )
        .await,
        "abc"
    );
    assert_eq!(
        names("tags.`'; DROP TABLE tracked_runs; --` = 'x'", &[]).await,
        ""
    );
    let asked = json!({ "experiment_ids": ["0"], "order_by": ["run_name"], "max_results": 2 });
    let (_, first) = post(&router, "runs/search", asked.clone()).await;
    let mut next = asked;
    next["page_token"] = first["next_page_token"].clone();
    let (_, second) = post(&router, "runs/search", next).await;
    assert_eq!(second["runs"][0]["info"]["run_name"], "c");
    assert_eq!(second["next_page_token"], Value::Null);
    let run = &first["runs"][0];
    let metrics = run["data"]["metrics"].as_array().unwrap();
    let value =
        |key: &str| metrics.iter().find(|metric| metric["key"] == key).unwrap()["value"].clone();
    assert_eq!((value("acc"), value("odd")), (json!(0.9), json!("NaN")));
    assert_eq!(value("loud"), json!(f64::MAX));
    let id = run["info"]["run_id"].as_str().unwrap();
    let (_, history) = get(
        &router,
        &format!("metrics/get-history?run_id={id}&metric_key=acc"),
    )
    .await;
    let steps: Vec<i64> = history["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["step"].as_i64().unwrap())
        .collect();
    assert_eq!(steps, [2, 1], "by time, each once");
}

#[tokio::test]
async fn what_a_pipeline_registered_is_seen_and_not_moved() {
    let app = app(None).await;
    let artifacts: &Artifacts = &app.fleet().artifacts;
    let digest: Digest = artifacts.put(b"a model").await.unwrap();
    let tx = app.db().begin("test").await.unwrap();
    let new = NewModel {
        name: "fan".to_owned(),
        project: "fan".to_owned(),
        digest,
        run: None,
        parent: None,
        metrics: json!({}),
    };
    assert_eq!(model::add(&tx, &new, NOW).await.unwrap().version, 1);
    tx.commit().await.unwrap();
    let router = router(app.clone());
    let (_, handed) = post(
        &router,
        "model-versions/create",
        json!({ "name": "fan", "source": "mlflow-artifacts:/0/x/artifacts" }),
    )
    .await;
    assert_eq!(handed["model_version"]["version"], "2");
    let tx = app.db().begin("test").await.unwrap();
    assert_eq!(
        model::add(&tx, &new, NOW).await.unwrap().version,
        3,
        "one row of numbers"
    );
    tx.commit().await.unwrap();
    let (_, found) = get(&router, "model-versions/search?filter=name%3D%27fan%27").await;
    assert_eq!(found["model_versions"].as_array().unwrap().len(), 3);
    let own = json!({ "name": "fan", "version": "1", "stage": "Production", "archive_existing_versions": false });
    check_error(
        &post(&router, "model-versions/transition-stage", own).await,
        403,
        "PERMISSION_DENIED",
    );
    check_error(
        &post(
            &router,
            "registered-models/delete",
            json!({ "name": "fan" }),
        )
        .await,
        403,
        "PERMISSION_DENIED",
    );
    let alias = json!({ "name": "fan", "alias": "champion", "version": "1" });
    assert_eq!(post(&router, "registered-models/alias", alias).await.0, 200);
    let tag = json!({ "name": "fan", "key": "site", "value": "hall" });
    assert_eq!(post(&router, "registered-models/set-tag", tag).await.0, 200);
    let entries = audit::about(app.db(), "fan", 9).await.unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains(&"registered-model.alias"), "{actions:?}");
    assert!(actions.contains(&"registered-model.tag"), "{actions:?}");
    let (_, champion) = get(&router, "registered-models/alias?name=fan&alias=champion").await;
    assert_eq!(
        champion["model_version"]["source"],
        "mlflow-artifacts:/tinyops/fan/1"
    );
    let files = "/api/2.0/mlflow-artifacts/artifacts";
    let (_, listed) = send(
        &router,
        "GET",
        &format!("{files}?path=tinyops/fan/1"),
        "",
        vec![],
    )
    .await;
    assert_eq!(
        listed,
        json!({ "files": [{ "path": "model.tinyops", "is_dir": false, "file_size": 7 }] })
    );
    for source in ["/etc/passwd", "file:///etc", "runs:/a/../../b", "C:\\x"] {
        let body = json!({ "name": "fan", "source": source });
        check_error(
            &post(&router, "model-versions/create", body).await,
            400,
            "INVALID_PARAMETER_VALUE",
        );
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_told_where_one_is_asked_for() {
    let router = router(app(Some("a-token-of-32-letters-and-digits-")).await);
    let asked = get(&router, "experiments/get?experiment_id=0").await;
    check_error(&asked, 401, "UNAUTHENTICATED");
    let of = async |authorization: &str| {
        let request = Request::builder()
            .uri(format!("{API}/experiments/get?experiment_id=0"))
            .header(header::AUTHORIZATION, authorization)
            .body(Body::empty())
            .unwrap();
        router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(of("Bearer a-token-of-32-letters-and-digits-").await, 200);
    // `ana:a-token-of-32-letters-and-digits-`, as MLFLOW_TRACKING_USERNAME and _PASSWORD are shown.
    assert_eq!(
        of("Basic YW5hOmEtdG9rZW4tb2YtMzItbGV0dGVycy1hbmQtZGlnaXRzLQ==").await,
        200
    );
    assert_eq!(of("Basic YW5hOm5vdC10aGUtdG9rZW4=").await, 401);
    assert_eq!(of("Basic ???").await, 401);
    // What a browser remembers it shows to the pages of others, too.
    let foreign = async |site: &str| {
        let request = Request::builder()
            .method("POST")
            .uri(format!("{API}/experiments/create"))
            .header(
                header::AUTHORIZATION,
                "Basic YW5hOmEtdG9rZW4tb2YtMzItbGV0dGVycy1hbmQtZGlnaXRzLQ==",
            )
            .header(header::CONTENT_TYPE, "application/json")
            .header("sec-fetch-site", site)
            .body(Body::from(r#"{"name":"theirs"}"#))
            .unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    assert_eq!(foreign("cross-site").await.status().as_u16(), 403);
    assert_eq!(foreign("same-origin").await.status().as_u16(), 200);
    let challenge = router.clone().oneshot(
        Request::builder()
            .uri(format!("{API}/experiments/get"))
            .body(Body::empty())
            .unwrap(),
    );
    let challenge = challenge.await.unwrap();
    assert_eq!(challenge.headers()[header::WWW_AUTHENTICATE], "Bearer");
}

#[tokio::test]
async fn webhooks_of_the_registry_are_an_administrators_and_go_by_this_api_alone() {
    const ADMIN: &str = "a-token-of-32-letters-and-digits-";
    let router = router(app(Some(ADMIN)).await);
    let send = async |method: &str, path: &str, token: &str, body: Value| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        (status, document)
    };
    let hooks = format!("{API}/webhooks");
    let wish = json!({
        "name": "ci", "url": "https://ci.example/T0PSECRET",
        "events": [{ "entity": "MODEL_VERSION", "action": "CREATED" }],
    });
    let made = send("POST", &hooks, ADMIN, wish).await;
    let id = made.1["webhook"]["webhook_id"].as_str().unwrap();
    for role in ["viewer", "operator"] {
        let wish = json!({ "name": role, "role": role });
        let token = send("POST", "/api/v1/tokens", ADMIN, wish).await.1;
        let token = token["token"].as_str().unwrap();
        for path in [hooks.clone(), format!("{hooks}/{id}")] {
            let asked = send("GET", &path, token, json!({})).await;
            check_error(&asked, 403, "PERMISSION_DENIED");
            assert!(!asked.1.to_string().contains("T0PSECRET"), "{asked:?}");
        }
        let read = format!("{API}/experiments/get?experiment_id=0");
        assert_eq!(send("GET", &read, token, json!({})).await.0, 200);
    }
    // The API of alerts neither lists nor removes what a client of this one made.
    let listed = send("GET", "/api/v1/webhooks", ADMIN, json!({})).await;
    assert_eq!(listed.1, json!([]));
    let path = format!("/api/v1/webhooks/{id}");
    assert_eq!(send("DELETE", &path, ADMIN, json!({})).await.0, 404);
    assert_eq!(
        send("GET", &format!("{hooks}/{id}"), ADMIN, json!({}))
            .await
            .0,
        200
    );
}
