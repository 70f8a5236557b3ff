//! What another tracking server has is taken over, and what runs read and made is told to a catalogue of lineage.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{running::Server, workplace::Workplace};

/// One request on a connection of its own; the status and the body of the answer.
pub(crate) fn ask(http: &str, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(http).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let status = std::str::from_utf8(&answer[9..12])
        .unwrap()
        .parse()
        .unwrap();
    (status, answer[end + 4..].to_vec())
}

/// A server, asked in the words of the tracking API.
struct Tracker(Server);

impl Tracker {
    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let path = format!("/api/2.0/mlflow/{path}");
        let (status, answer) = ask(&self.0.http, method, &path, body.as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_slice(&answer).unwrap()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, body)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null)
    }
}

/// An experiment with a run, a file, a logged model, and a version of a registered one; the ids of run and model.
fn fill(there: &Tracker) -> (String, String) {
    let tags = json!([{ "key": "board", "value": "esp-eye" }]);
    let made = there.post(
        "experiments/create",
        &json!({ "name": "pumps", "tags": tags }),
    );
    let experiment = made["experiment_id"].as_str().unwrap();
    let run = json!({
        "experiment_id": experiment, "user_id": "ana", "run_name": "baseline", "start_time": 1_795_368_538_117_i64,
    });
    let made = there.post("runs/create", &run);
    let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let point = |key: &str, value: Value, step: i64| {
        json!({
            "key": key, "value": value, "timestamp": 1_795_368_538_200_i64 + step, "step": step,
        })
    };
    let batch = json!({
        "run_id": run,
        "metrics": [
            point("loss", json!(0.9), 0), point("loss", json!(0.5), 1), point("loss", json!(0.3), 2),
            point("odd", json!("NaN"), 0),
        ],
        "params": [{ "key": "lr", "value": "0.001" }], "tags": tags,
    });
    there.post("runs/log-batch", &batch);
    let place = format!(
        "/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/notes/a%20room.txt"
    );
    assert_eq!(ask(&there.0.http, "PUT", &place, b"quiet").0, 200);
    let model = json!({ "experiment_id": experiment, "name": "net", "source_run_id": run });
    let made = there.post("logged-models", &model);
    let model = made["model"]["info"]["model_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let place = format!(
        "/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{model}/artifacts/MLmodel"
    );
    assert_eq!(ask(&there.0.http, "PUT", &place, b"flavors: {}").0, 200);
    there.call(
        "PATCH",
        &format!("logged-models/{model}"),
        &json!({ "model_id": model, "status": "LOGGED_MODEL_READY" }),
    );
    let outputs = json!({ "run_id": run, "models": [{ "model_id": model, "step": 2 }] });
    there.post("runs/outputs", &outputs);
    let end = json!({ "run_id": run, "status": "FINISHED", "end_time": 1_795_368_544_980_i64 });
    there.post("runs/update", &end);
    there.post(
        "registered-models/create",
        &json!({ "name": "pump-net", "tags": [{ "key": "task", "value": "faults" }] }),
    );
    // The first is gone: the second keeps its number.
    for _ in 0..2 {
        let version = json!({
            "name": "pump-net", "source": format!("models:/{model}"), "run_id": run, "model_id": model,
        });
        there.post("model-versions/create", &version);
    }
    there.post(
        "model-versions/delete",
        &json!({ "name": "pump-net", "version": "1" }),
    );
    let alias = json!({ "name": "pump-net", "alias": "champion", "version": "2" });
    there.post("registered-models/alias", &alias);
    (run, model)
}

#[test]
fn what_another_server_tracks_is_taken_over_once() {
    let (elsewhere, place) = (Workplace::fans(), Workplace::fans());
    let there = Tracker(Server::start(&elsewhere, &[]));
    let (run, model) = fill(&there);
    let from = format!("http://{}", there.0.http);
    let import = |more: &[&str], code: i32| {
        let args = [&["import", "mlflow", &from, "--json"], more].concat();
        place.check(&args, code).json()
    };
    let plan = import(&["--dry-run"], 0);
    assert_eq!(
        (&plan["runs"]["new"], &plan["logged_models"]["new"]),
        (&json!(1), &json!(1)),
        "{plan}"
    );
    let first = import(&[], 0);
    assert_eq!(first["runs"]["new"], 1, "{first}");
    assert_eq!((&first["files"], &first["bytes"]), (&json!(2), &json!(16)));
    assert_eq!(first["registered_models"]["new"], 1, "{first}");
    let again = import(&[], 0);
    for kind in ["runs", "logged_models", "registered_models"] {
        let counts = json!({ "new": 0, "renewed": 0, "known": 1 });
        assert_eq!(again[kind], counts, "{kind}: {again}");
    }
    assert_eq!(again["files"], 0);

    // What changed there changes here, and is there once.
    there.post(
        "runs/update",
        &json!({ "run_id": run, "status": "FAILED", "end_time": 1_795_368_544_999_i64 }),
    );
    assert_eq!(import(&[], 0)["runs"]["renewed"], 1);
    let here = Tracker(Server::start(&place, &[]));
    let of = |tracker: &Tracker| {
        let mut found = tracker.get(&format!("runs/get?run_id={run}"))["run"].take();
        for local in ["experiment_id", "artifact_uri"] {
            found["info"].as_object_mut().unwrap().remove(local);
        }
        let tags = found["data"]["tags"].as_array_mut().unwrap();
        tags.retain(|tag| {
            let key = tag["key"].as_str().unwrap();
            !key.starts_with("tinyops.imported_")
        });
        found
    };
    assert_eq!(of(&here), of(&there));
    assert_eq!(of(&here)["info"]["status"], "FAILED");
    for key in ["loss", "odd"] {
        let path = format!("metrics/get-history?run_id={run}&metric_key={key}");
        assert_eq!(here.get(&path), there.get(&path));
    }
    let experiment = here.get("experiments/get-by-name?experiment_name=pumps");
    let experiment = experiment["experiment"]["experiment_id"].as_str().unwrap();
    let place_of_file = format!(
        "/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/notes/a%20room.txt"
    );
    assert_eq!(ask(&here.0.http, "GET", &place_of_file, b"").1, b"quiet");
    let champion = here.get("registered-models/alias?name=pump-net&alias=champion");
    let champion = &champion["model_version"];
    assert_eq!(
        (&champion["version"], &champion["model_id"]),
        (&json!("2"), &json!(model))
    );
    // The next that is handed in comes after those of before.
    let third = json!({ "name": "pump-net", "source": format!("models:/{model}") });
    let third = here.post("model-versions/create", &third);
    assert_eq!(third["model_version"]["version"], "3");

    // What is here and is another is left alone, and told by its id.
    let other = Workplace::fans();
    let third_server = Tracker(Server::start(&other, &[]));
    let name = json!({ "name": "pump-net" });
    third_server.post("registered-models/create", &name);
    let args = ["import", "mlflow", &from, "--json"];
    let answer = other.check(&args, 1);
    let skipped = &answer.json()["skipped"][0];
    assert_eq!(skipped["what"], "registered model pump-net", "{skipped}");
}

#[test]
fn a_server_that_is_none_is_told_so() {
    let place = Workplace::fans();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let answer = place.check(&["import", "mlflow", &address], 3);
    assert!(
        answer.stderr.contains("does not answer /version"),
        "{}",
        answer.stderr
    );
}

/// What a catalogue asks of an event: the fields that OpenLineage's object model requires.
#[track_caller]
fn check_event(event: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kinds = ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"];
    assert!(
        kinds.contains(&text(&event["eventType"]).as_str()),
        "{event}"
    );
    let time = text(&event["eventTime"]);
    assert!(
        time.len() == 24 && time.ends_with('Z') && time.contains('T'),
        "{time}"
    );
    let id = text(&event["run"]["runId"]);
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
    assert!(text(&event["producer"]).contains(':'));
    assert!(text(&event["schemaURL"]).starts_with("https://openlineage.io/spec/"));
    assert!(
        !text(&event["job"]["name"]).is_empty() && !text(&event["job"]["namespace"]).is_empty()
    );
    let facets = |of: &Value| of.as_object().cloned().unwrap_or_default().into_values();
    let mut all: Vec<Value> = facets(&event["run"]["facets"]).collect();
    for end in ["inputs", "outputs"] {
        for dataset in event[end].as_array().unwrap() {
            assert!(!text(&dataset["name"]).is_empty() && !text(&dataset["namespace"]).is_empty());
            all.extend(facets(&dataset["facets"]));
        }
    }
    for facet in all {
        assert!(text(&facet["_producer"]).contains(':'), "{facet}");
        assert!(
            text(&facet["_schemaURL"]).starts_with("https://"),
            "{facet}"
        );
    }
}

#[test]
fn a_catalogue_of_lineage_is_told_of_every_run() {
    let place = Workplace::fans();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/lineage", listener.local_addr().unwrap());
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {
                let line = head.lines().last().unwrap_or_default();
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let _ = stream.get_mut().write_all(b"HTTP/1.1 201 Created\r\n\r\n");
            if told.send((head, body)).is_err() {
                return;
            }
        }
    });
    // The first start makes the store.
    drop(Server::start(&place, &[]));
    place.write("token", "t0p-secret\n");
    let token = place.path("token").display().to_string();
    let add = ["alerts", "webhook", "add", "catalogue", &url];
    let more = ["--lineage", "--token-file", &token, "--json"];
    let added = place.check(&[&add[..], &more].concat(), 0).json();
    assert_eq!(added["tells"], "lineage");
    let refused = place.check(&["alerts", "webhook", "test", "catalogue"], 2);
    assert!(
        refused.stderr.contains("is told of runs"),
        "{}",
        refused.stderr
    );
    place.check(&["run", "--quiet"], 0);
    let _server = Server::start(&place, &[]);
    let mut kinds = Vec::new();
    loop {
        let (head, body) = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(
            head.starts_with("POST /api/v1/lineage HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(
            head.contains("Authorization: Bearer t0p-secret\r\n"),
            "{head}"
        );
        let event: Value = serde_json::from_slice(&body).unwrap();
        check_event(&event);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        kinds.push((word(&event["eventType"]), word(&event["job"]["name"])));
        // The whole run and its step of training have one name; the run begins first and ends last.
        let parent = &event["run"]["facets"]["parent"];
        if kinds.len() > 1 && parent.is_null() {
            assert_eq!(event["eventType"], "COMPLETE");
            assert!(!event["outputs"].as_array().unwrap().is_empty(), "{event}");
            break;
        }
    }
    assert_eq!(kinds[0].0, "START");
    let ended = |step: &str| kinds.contains(&("COMPLETE".to_owned(), format!("fan.{step}")));
    for step in ["ingest", "train", "quantize", "compile"] {
        assert!(ended(step), "{step}: {kinds:?}");
    }
}
