//! A tracking server that breaks off, lies and goes round in circles: what can be taken over is, the rest is named.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{running::Server, taken_over::ask, workplace::Workplace};

/// What is answered to a path, by the beginning of it: the body, and how many bytes its head announces.
type Answers = BTreeMap<&'static str, (String, Option<usize>)>;

/// A server of a script that tests change.
struct Scripted {
    answers: Arc<Mutex<Answers>>,
    url: String,
}

impl Scripted {
    fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(Answers::new()));
        let script = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = BufReader::new(stream);
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap_or(0) > 0 {
                    let line = head.lines().last().unwrap_or_default();
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                let _ = stream.read_exact(&mut body);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let script = script.lock().unwrap();
                // The longest beginning sorts last.
                let found = script
                    .iter()
                    .rev()
                    .find(|(begin, _)| path.starts_with(**begin));
                let answer = match found {
                    Some((_, (body, announced))) => format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        announced.unwrap_or(body.len())
                    ),
                    None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                let _ = stream.get_mut().write_all(answer.as_bytes());
            }
        });
        let server = Scripted { answers, url };
        server.say("/version", "3.1.0");
        let experiment = json!({ "experiment_id": "4", "name": "pumps", "creation_time": 1 });
        server.say(
            "/api/2.0/mlflow/experiments/search",
            json!({ "experiments": [experiment] }),
        );
        server.say("/api/2.0/mlflow/registered-models/search", json!({}));
        server
    }

    fn say(&self, path: &'static str, body: impl ToString) {
        let answer = (body.to_string(), None);
        self.answers.lock().unwrap().insert(path, answer);
    }

    /// A body whose head announces more, or fewer, bytes.
    fn say_announced(&self, path: &'static str, body: &str, announced: usize) {
        let answer = (body.to_owned(), Some(announced));
        self.answers.lock().unwrap().insert(path, answer);
    }

    fn import(&self, place: &Workplace, more: &[&str], code: i32) -> Value {
        let args = [&["import", "mlflow", &self.url, "--json"], more].concat();
        place.check(&args, code).json()
    }
}

const RUNS: &str = "/api/2.0/mlflow/runs/search";
const FILES: [&str; 2] = [
    "/api/2.0/mlflow-artifacts/artifacts?path=4%2F24f0%2Fartifacts",
    "/api/2.0/mlflow-artifacts/artifacts?path=4%2F24f1%2Fartifacts",
];
const FILE: [&str; 2] = [
    "/api/2.0/mlflow-artifacts/artifacts/4/24f0/artifacts/a.txt",
    "/api/2.0/mlflow-artifacts/artifacts/4/24f1/artifacts/a.txt",
];

fn run(id: &str, status: &str) -> Value {
    json!({ "info": {
        "run_id": id, "status": status, "start_time": 1, "end_time": 2,
        "artifact_uri": format!("mlflow-artifacts:/4/{id}/artifacts"),
    } })
}

fn listing(bytes: usize) -> Value {
    json!({ "files": [{ "path": "a.txt", "is_dir": false, "file_size": bytes }] })
}

fn whats(view: &Value) -> Vec<&str> {
    let skipped = view["skipped"].as_array().unwrap().iter();
    skipped.map(|of| of["what"].as_str().unwrap()).collect()
}

#[test]
fn what_is_broken_is_named_and_costs_nothing_else() {
    let place = Workplace::fans();
    let there = Scripted::start();
    let runs = [
        run("24f0", "FINISHED"),
        run("24f1", "FINISHED"),
        json!({ "info": { "run_id": "24f2" } }),
    ];
    there.say(RUNS, json!({ "runs": runs }));
    for (path, bytes) in FILES.into_iter().zip([9, 5]) {
        there.say(path, listing(bytes));
    }
    there.say_announced(FILE[0], "quie", 9);
    there.say(FILE[1], "quiet");
    // What would be done is told without a store, and none is made.
    let plan = there.import(&place, &["--dry-run"], 1);
    assert_eq!(
        (&plan["runs"]["new"], whats(&plan)),
        (&json!(2), vec!["run 24f2"])
    );
    assert!(!place.path(".tinyops").exists());
    // A body that breaks off is of one run alone.
    let first = there.import(&place, &[], 1);
    assert_eq!(first["runs"]["new"], 1, "{first}");
    assert_eq!(whats(&first), ["run 24f2", "run 24f0"]);
    // One that is shorter than its listing says is none.
    there.say(FILE[0], "quiet");
    let second = there.import(&place, &[], 1);
    let why = second["skipped"][1]["why"].as_str().unwrap();
    assert!(why.contains("9 bytes long, and 5 came"), "{why}");
    // One that is longer is none either.
    there.say(FILE[0], "quiet and loud");
    let third = there.import(&place, &[], 1);
    assert_eq!(whats(&third), ["run 24f2", "run 24f0"]);
    // Once it is whole, the same command goes on where it was.
    there.say(FILE[0], "quiet now");
    let runs = [run("24f0", "FINISHED"), run("24f1", "FINISHED")];
    there.say(RUNS, json!({ "runs": runs }));
    let whole = there.import(&place, &[], 0);
    let counts = json!({ "new": 1, "renewed": 0, "known": 1 });
    assert_eq!((&whole["runs"], &whole["files"]), (&counts, &json!(1)));
    // A file of the same length is another where its run changed.
    there.say(FILE[1], "noisy");
    there.say(
        RUNS,
        json!({ "runs": [run("24f0", "FINISHED"), run("24f1", "FAILED")] }),
    );
    assert_eq!(there.import(&place, &[], 0)["runs"]["renewed"], 1);
    let here = Server::start(&place, &[]);
    let (_, found) = ask(
        &here.http,
        "GET",
        "/api/2.0/mlflow/runs/get?run_id=24f1",
        b"",
    );
    let found: Value = serde_json::from_slice(&found).unwrap();
    let uri = found["run"]["info"]["artifact_uri"].as_str().unwrap();
    let file = uri.strip_prefix("mlflow-artifacts:/").unwrap();
    let path = format!("/api/2.0/mlflow-artifacts/artifacts/{file}/a.txt");
    assert_eq!(ask(&here.http, "GET", &path, b"").1, b"noisy");
}

#[test]
fn a_list_that_never_ends_is_left() {
    let place = Workplace::fans();
    let there = Scripted::start();
    // Whatever is asked for, the next page is said to follow.
    there.say(
        RUNS,
        json!({ "runs": [run("24f0", "FINISHED")], "next_page_token": "more" }),
    );
    let view = there.import(&place, &[], 1);
    assert_eq!(whats(&view), ["runs of experiment pumps"]);
    let why = view["skipped"][0]["why"].as_str().unwrap();
    assert!(why.ends_with("lists without end"), "{why}");
}
