//! The API without a socket, over records in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tinyops_fleet::Keyring;
use tinyops_pipeline::{Project, Workshop};
use tinyops_store::run::{self, NewRun, RunState};
use tinyops_store::{Artifacts, Db, Digest, Timestamp};
use tower::ServiceExt as _;

use crate::access::Door;
use crate::serve::{Config, assemble};
use crate::{App, Clock, router};

mod access;
mod catalog;
mod ddi;
mod enrolment;
mod walk;

/// What the clock of the tests says.
pub(crate) const NOW: Timestamp = Timestamp(1_795_374_849_000);

pub(crate) async fn app(admin_token: Option<&str>) -> App {
    app_at(admin_token, Arc::new(|| NOW)).await
}

async fn app_at(admin_token: Option<&str>, now: Clock) -> App {
    let db = Db::open("sqlite::memory:").await.unwrap();
    app_on(db, admin_token, now).await
}

/// A server over these records, without a socket.
pub(crate) async fn app_on(db: Db, admin_token: Option<&str>, now: Clock) -> App {
    // Recordings are never read here; that there are files is what counts.
    let project = "[[data.source]]\nroot = \"src\"\nfiles = [\"*.rs\"]\n";
    let workshop = Workshop {
        root: PathBuf::new(),
        project: Project::parse(project, Path::new("tinyops.toml")).unwrap(),
        db,
        artifacts: Artifacts::open("memory:").await.unwrap(),
        now,
    };
    let door = Door {
        is_open_here: admin_token.is_none(),
        admin: admin_token.map(|token| Digest::of(token.as_bytes())),
        is_tls: false,
    };
    assemble(&Config::of(workshop, Keyring::from_seed(&[7; 32])), door).0
}

async fn call(
    router: &Router,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = match body {
        Value::Null => Body::empty(),
        body => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
    };
    let response = router
        .clone()
        .oneshot(request.body(body).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

#[track_caller]
fn check_problem(answer: &(StatusCode, Value), status: u16, code: &str) {
    assert_eq!(
        (answer.0.as_u16(), answer.1["code"].as_str()),
        (status, Some(code)),
        "{answer:?}"
    );
    assert!(
        answer.1["request_id"]
            .as_str()
            .is_some_and(|id| id.len() == 8)
    );
    assert!(answer.1["message"].is_string() && answer.1["hint"].is_string());
}

#[tokio::test]
async fn errors_have_one_shape() {
    let router = router(app(None).await);
    let unknown = json!({ "request": "00", "bord": 1 });
    check_problem(
        &call(&router, "POST", "/api/v1/devices", None, unknown).await,
        422,
        "body",
    );
    let name = json!({ "request": enrolment::New::of(1, None, "a/b").hex() });
    check_problem(
        &call(&router, "POST", "/api/v1/devices", None, name).await,
        422,
        "name",
    );
    let checks = [
        ("GET", "/api/v1/nothing", 404, "no_route"),
        ("PUT", "/api/v1/devices", 405, "method"),
        ("GET", "/api/v1/devices/xyz", 400, "path"),
        ("GET", "/api/v1/devices/00000000000000ff", 404, "missing"),
        ("GET", "/api/v1/devices?limt=1", 400, "query"),
        ("GET", "/api/v1/runs/7", 404, "missing"),
        ("GET", "/api/v1/models/fan/1", 404, "missing"),
        ("GET", "/api/v1/lineage/zz", 422, "name"),
        ("GET", "/api/v1/owed", 401, "device"),
        ("POST", "/api/v1/reports", 401, "device"),
        ("POST", "/api/v1/devices", 415, "body"),
    ];
    for (method, path, status, code) in checks {
        check_problem(
            &call(&router, method, path, None, Value::Null).await,
            status,
            code,
        );
    }
    let large = json!({ "request": "0".repeat(100_000) });
    check_problem(
        &call(&router, "POST", "/api/v1/devices", None, large).await,
        413,
        "body",
    );
}

#[tokio::test]
async fn a_webhook_whose_authorities_are_none_is_not_added() {
    let router = router(app(None).await);
    let add = async |authorities: &str| {
        let url = "https://pager.example/hook";
        let wish = json!({ "name": "pager", "url": url, "authorities": authorities });
        call(&router, "POST", "/api/v1/webhooks", None, wish).await
    };
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for authorities in ["nobody", broken] {
        let (status, answer) = add(authorities).await;
        let said = (status, answer["code"].as_str());
        let expected = (StatusCode::UNPROCESSABLE_ENTITY, Some("authorities"));
        assert_eq!(said, expected, "{answer}");
    }
    let made = rcgen::generate_simple_self_signed(["pager.example".to_owned()]).unwrap();
    let (status, answer) = add(&made.cert.pem()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["has_authorities"], true);
}

#[tokio::test]
async fn a_run_is_asked_for_by_a_trigger() {
    let app = app(None).await;
    let router = router(app.clone());
    let ask = async |wish| call(&router, "POST", "/api/v1/runs", None, wish).await;
    let (status, asked) = ask(json!({ "reason": "new recordings", "key": "r1" })).await;
    assert_eq!(
        (status, &asked["state"], &asked["cause"]),
        (StatusCode::ACCEPTED, &json!("waiting"), &json!("asked"))
    );
    // The same again, as after an answer that was lost.
    let again = ask(json!({ "reason": "new recordings", "key": "r1" })).await;
    assert_eq!(again, (status, asked));
    let other = ask(json!({ "reason": "a whim", "key": "r1" })).await;
    check_problem(&other, 409, "key_used");
    let long = "r".repeat(129);
    for key in ["", long.as_str()] {
        let wish = json!({ "reason": "new recordings", "key": key });
        check_problem(&ask(wish).await, 422, "value");
    }
    check_problem(&ask(json!({ "why": "no such field" })).await, 422, "body");
    let second = ask(json!({})).await.1;
    assert_eq!(second["trigger"], 2);
    let (_, listed) = call(&router, "GET", "/api/v1/triggers", None, Value::Null).await;
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed[1]["detail"]["reason"], "new recordings");
    assert_eq!(listed[1]["why"], "new recordings (local)");
    let asks = |entry: &&tinyops_store::audit::Entry| entry.action == "run.ask";
    let log = tinyops_store::audit::list(app.db(), 10).await.unwrap();
    assert_eq!(log.iter().filter(asks).count(), 2, "{log:?}");
}

#[tokio::test]
async fn nobody_asks_for_a_run_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let of = async |settings: &str| {
        let workshop = Workshop {
            root: folder.path().to_owned(),
            project: Project::parse(settings, Path::new("tinyops.toml")).unwrap(),
            db: Db::open("sqlite::memory:").await.unwrap(),
            artifacts: Artifacts::open("memory:").await.unwrap(),
            now: Arc::new(|| NOW),
        };
        let door = Door {
            is_open_here: true,
            admin: None,
            is_tls: false,
        };
        let config = Config::of(workshop, Keyring::from_seed(&[7; 32]));
        let router = router(assemble(&config, door).0);
        call(&router, "POST", "/api/v1/runs", None, json!({})).await
    };
    let source = "[[data.source]]\nroot = \"data\"\nfiles = [\"*.csv\"]\n";
    check_problem(&of("").await, 409, "no_data");
    let missing = of(source).await;
    check_problem(&missing, 409, "no_data");
    assert!(
        missing.1["message"].as_str().unwrap().contains("data"),
        "{missing:?}"
    );
    std::fs::create_dir(folder.path().join("data")).unwrap();
    check_problem(&of(source).await, 409, "no_data");
    std::fs::write(folder.path().join("data/1.csv"), "x\n1\n").unwrap();
    assert_eq!(of(source).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_run_whose_lease_ran_out_is_shown_as_interrupted() {
    let app = app(None).await;
    let tx = app.db().begin("test").await.unwrap();
    for lease_ms in [-1, 1] {
        let new = NewRun {
            project: "fan".into(),
            kind: "train".into(),
            trigger: None,
            settings: Digest::of(b"settings"),
            code: "0.1.0".into(),
            seed: 7,
            owner: "process 4711 on `bench`".into(),
            lease_until: NOW.plus_ms(lease_ms),
        };
        let mut row = run::add(&tx, &new, NOW).await.unwrap();
        row.state = RunState::Running;
        run::put(&tx, &mut row).await.unwrap();
    }
    tx.commit().await.unwrap();
    let router = router(app);
    let (_, runs) = call(&router, "GET", "/api/v1/runs", None, Value::Null).await;
    assert_eq!(
        (&runs[0]["state"], &runs[1]["state"]),
        (&json!("running"), &json!("interrupted"))
    );
    assert_eq!(runs[1]["owner"], "process 4711 on `bench`");
    let (_, one) = call(&router, "GET", "/api/v1/runs/1", None, Value::Null).await;
    assert_eq!(one["state"], "interrupted");
}

#[tokio::test]
async fn every_operation_of_the_document_is_a_route() {
    let router = router(app(None).await);
    let (_, document) = call(&router, "GET", "/api/v1/openapi.json", None, Value::Null).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20);
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace(['{', '}'], "");
            let answer = call(&router, &method.to_uppercase(), &path, None, Value::Null).await;
            let code = answer.1["code"].as_str().unwrap_or_default().to_owned();
            assert!(
                code != "no_route" && code != "method",
                "{method} {path}: {answer:?}"
            );
        }
    }
}

/// The committed document is what the server says; `UPDATE_OPENAPI=1` writes it anew.
#[tokio::test]
async fn the_committed_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let document = super::operation::document(&super::operations());
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is old: run this test with UPDATE_OPENAPI=1"
    );
}

#[tokio::test]
async fn metrics_are_in_prometheus_text() {
    let router = router(app(None).await);
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains("tinyops_devices 0\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}
