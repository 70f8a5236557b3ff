//! Every call of the API's document that changes something leaves an entry in the audit log.

use std::collections::BTreeSet;

use tinyops_fleet::credential::NewToken;
use tinyops_fleet::enrol::Entropy;
use tinyops_fleet::ladder::Ladder;
use tinyops_store::alert::{self, AlertKind, NewAlert};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::drift::Scope;
use tinyops_store::model::{self, NewModel};
use tinyops_store::presence::{self, Presence};
use tinyops_store::round::{self, NewRound, RoundState};
use tinyops_store::trigger::{self, NewTrigger, TriggerState};
use tinyops_store::{DeviceId, ModelId, Tx, audit, repair};
use tinyops_wire::payload::{self, SectionId};

use super::enrolment::New;
use super::*;

/// One call in an order in which each can succeed: method, path in the document, path, body, status.
type Call = (&'static str, &'static str, &'static str, Value, u16);

fn calls() -> Vec<Call> {
    let why = || json!({ "why": "a test" });
    let request = |number: u8| New::of(number, Some(number.into()), "esp-eye").hex();
    let device = json!({ "request": request(0xaa), "cohort": "hall-2" });
    let spare = json!({ "request": request(0xbb) });
    let class = json!({ "board": "esp-eye", "cohort": "hall-2", "uses": 2 });
    let authority = json!({
        "name": "plant-2",
        "public": "a9fc37a8e5da8fca49bde9637fc0e5a9fa0bac8d94d9e0bdec9e9f4f8bbc50f8",
    });
    let token = json!({ "name": "ana", "role": "operator" });
    let hook = json!({ "name": "pager", "url": "http://127.0.0.1:1/hook" });
    let round = json!({ "model": "11111111", "why": "a test" });
    let label = json!({ "device": "00000000000000aa", "class": "worn", "windows": 12 });
    let windows = json!({ "device": "00000000000000aa", "annotator": "07".repeat(32), "count": 2 });
    let plan = json!({ "install": "later" });
    let rollout = || json!({ "model": "fan", "version": 1, "plan": plan });
    vec![
        ("post", "/api/v1/devices", "/api/v1/devices", device, 201),
        ("post", "/api/v1/devices", "/api/v1/devices", spare, 201),
        (
            "delete",
            "/api/v1/devices/{device}",
            "/api/v1/devices/00000000000000bb",
            Value::Null,
            204,
        ),
        (
            "post",
            "/api/v1/devices/{device}/ddi",
            "/api/v1/devices/00000000000000aa/ddi",
            json!({}),
            201,
        ),
        (
            "post",
            "/api/v1/devices/{device}/allow",
            "/api/v1/devices/00000000000000bb/allow",
            json!({}),
            204,
        ),
        (
            "post",
            "/api/v1/class-tokens",
            "/api/v1/class-tokens",
            class,
            201,
        ),
        (
            "delete",
            "/api/v1/class-tokens/{token}",
            "/api/v1/class-tokens/8c1f00e2a4b3d596",
            Value::Null,
            204,
        ),
        (
            "post",
            "/api/v1/claim-authorities",
            "/api/v1/claim-authorities",
            authority,
            201,
        ),
        (
            "delete",
            "/api/v1/claim-authorities/{name}",
            "/api/v1/claim-authorities/plant-2",
            Value::Null,
            204,
        ),
        (
            "delete",
            "/api/v1/claims/{serial}",
            "/api/v1/claims/S-0042",
            Value::Null,
            204,
        ),
        ("post", "/api/v1/tokens", "/api/v1/tokens", token, 201),
        (
            "delete",
            "/api/v1/tokens/{name}",
            "/api/v1/tokens/ana",
            Value::Null,
            204,
        ),
        ("post", "/api/v1/runs", "/api/v1/runs", json!({}), 202),
        ("post", "/api/v1/rounds", "/api/v1/rounds", round, 201),
        (
            "post",
            "/api/v1/rounds/{round}/solve",
            "/api/v1/rounds/1/solve",
            why(),
            201,
        ),
        (
            "post",
            "/api/v1/devices/{device}/withdraw-sums",
            "/api/v1/devices/00000000000000aa/withdraw-sums",
            why(),
            200,
        ),
        (
            "post",
            "/api/v1/devices/{device}/admit-sums",
            "/api/v1/devices/00000000000000aa/admit-sums",
            why(),
            204,
        ),
        ("post", "/api/v1/labels", "/api/v1/labels", label, 201),
        (
            "post",
            "/api/v1/annotations",
            "/api/v1/annotations",
            windows,
            201,
        ),
        (
            "post",
            "/api/v1/devices/{device}/take-labels-back",
            "/api/v1/devices/00000000000000aa/take-labels-back",
            why(),
            201,
        ),
        (
            "post",
            "/api/v1/rollouts",
            "/api/v1/rollouts",
            rollout(),
            201,
        ),
        (
            "post",
            "/api/v1/rollouts/{rollout}/pause",
            "/api/v1/rollouts/1/pause",
            why(),
            200,
        ),
        (
            "post",
            "/api/v1/rollouts/{rollout}/resume",
            "/api/v1/rollouts/1/resume",
            Value::Null,
            200,
        ),
        (
            "post",
            "/api/v1/rollouts/{rollout}/install",
            "/api/v1/rollouts/1/install",
            Value::Null,
            200,
        ),
        (
            "post",
            "/api/v1/rollouts/{rollout}/revert",
            "/api/v1/rollouts/1/revert",
            why(),
            200,
        ),
        (
            "post",
            "/api/v1/rollouts",
            "/api/v1/rollouts",
            rollout(),
            201,
        ),
        (
            "post",
            "/api/v1/models/{name}/{version}/approve",
            "/api/v1/models/fan/1/approve",
            why(),
            200,
        ),
        (
            "post",
            "/api/v1/models/{name}/take-back",
            "/api/v1/models/fan/take-back",
            why(),
            200,
        ),
        (
            "post",
            "/api/v1/alerts/{alert}/acknowledge",
            "/api/v1/alerts/1/acknowledge",
            Value::Null,
            200,
        ),
        (
            "post",
            "/api/v1/alerts/{alert}/mute",
            "/api/v1/alerts/1/mute",
            json!({ "until_ms": NOW.0 + 1, "reason": "a test" }),
            200,
        ),
        (
            "post",
            "/api/v1/alerts/{alert}/resolve",
            "/api/v1/alerts/1/resolve",
            json!({ "reason": "a test" }),
            200,
        ),
        (
            "post",
            "/api/v1/repairs/{repair}/end",
            "/api/v1/repairs/1/end",
            why(),
            200,
        ),
        ("post", "/api/v1/webhooks", "/api/v1/webhooks", hook, 201),
        (
            "post",
            "/api/v1/webhooks/{name}/test",
            "/api/v1/webhooks/pager/test",
            Value::Null,
            202,
        ),
        (
            "delete",
            "/api/v1/webhooks/{name}",
            "/api/v1/webhooks/pager",
            Value::Null,
            204,
        ),
    ]
}

/// A version that is compiled for a board, and an alert.
async fn seed(app: &App) {
    // The smallest payload that is one; a release signs it.
    let sections = [(SectionId::Program, &b"program"[..])];
    let mut payload = vec![0; payload::encoded_len([7].into_iter())];
    payload::encode(&sections, &mut payload).unwrap();
    let payload = app.fleet().artifacts.put(&payload).await.unwrap();
    let new = NewModel {
        name: "fan".into(),
        project: "fan".into(),
        digest: Digest::of(b"model"),
        run: None,
        parent: None,
        metrics: json!({ "packages": [{ "board": "esp-eye", "payload": payload.to_string() }] }),
    };
    let alarm = NewAlert {
        scope: Scope::Cohort("hall-2@11111111".into()),
        model: ModelId(0x1111_1111),
        kind: AlertKind::Drift,
        advice: "look".into(),
        detail: json!({}),
    };
    let token = NewToken {
        board: "esp-eye".into(),
        cohort: "hall-2".into(),
        tags: Vec::new(),
        uses: 1,
        expires_at: None,
    };
    let mut entropy = [5; 40];
    entropy[32..].copy_from_slice(&0x8c1f_00e2_a4b3_d596_u64.to_le_bytes());
    let made = app
        .fleet()
        .make_class_token(&token, Entropy(entropy), "test", NOW);
    made.await.unwrap();
    let tx = app.db().begin("seed").await.unwrap();
    model::add(&tx, &new, NOW).await.unwrap();
    let ladder = Ladder::begin("a drift".into(), None, false, None, NOW.0);
    repair::add(&tx, "pump", alarm.model, &json!(ladder), NOW)
        .await
        .unwrap();
    let runs = Capsule {
        manifest_digest: Digest::of(b"manifest"),
        id: alarm.model,
        model: "pump".into(),
        version: 1,
        board: "esp32-s3".into(),
        digest: Digest::of(b"capsule"),
        bytes: 7,
        payload: Digest::of(b"payload"),
        sequence: 1,
        baseline: Vec::new(),
        detail: json!({ "labels": ["well", "worn"] }),
        created_at: NOW,
    };
    capsule::add(&tx, &runs).await.unwrap();
    let presence = Presence {
        device: DeviceId(0xaa),
        model: Some(runs.id),
        ..Presence::default()
    };
    presence::put_many(&tx, &[presence]).await.unwrap();
    alert::raise(&tx, &alarm, NOW).await.unwrap();
    close_round(&tx, alarm.model).await;
    tx.commit().await.unwrap();
}

/// A round that is closed, and whose sum has been answered.
async fn close_round(tx: &Tx, model: ModelId) {
    let asked = NewTrigger {
        kind: "resolve-head".into(),
        model: "pump".into(),
        payload: Some(Digest::of(b"sum")),
        detail: json!({}),
    };
    let mut trigger = trigger::add(tx, &asked, NOW).await.unwrap();
    trigger.state = TriggerState::Failed;
    trigger::put(tx, &mut trigger).await.unwrap();
    let new = NewRound {
        model,
        cohort: None,
        device_count_min: 8,
        gather_at: NOW,
        deadline: NOW,
        detail: json!({ "trigger": trigger.id.0 }),
    };
    let mut round = round::add(tx, &new, NOW).await.unwrap();
    (round.state, round.statistics) = (RoundState::Closed, asked.payload);
    round::put(tx, &mut round).await.unwrap();
}

async fn entry_count(app: &App) -> usize {
    audit::list(app.db(), 10_000).await.unwrap().len()
}

#[tokio::test]
async fn every_call_that_changes_something_leaves_an_entry() {
    let app = app(Some("0123456789abcdef0123456789abcdef")).await;
    seed(&app).await;
    let fleet = app.fleet();
    let entropy = Entropy([9; 40]);
    let role = tinyops_store::access::Role::Admin;
    let made = fleet.make_access_token("walker", role, None, entropy, "test", NOW);
    let (_, token) = made.await.unwrap();
    let router = router(app.clone());
    let (_, document) = call(&router, "GET", "/api/v1/openapi.json", None, Value::Null).await;
    let (mut audited, mut records) = (BTreeSet::new(), BTreeSet::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            match operation["x-audited"].as_bool() {
                Some(true) => audited.insert(format!("{method} {path}")),
                Some(false) => records.insert(format!("{method} {path}")),
                None => {
                    assert_eq!(
                        method, "get",
                        "{method} {path} does not say if it is audited"
                    );
                    false
                }
            };
        }
    }
    // What devices send is a record itself; nothing else may go without an entry.
    let target = "/{tenant}/controller/v1/{controller}";
    let expected = [
        "post /api/v1/gateway/exchange".to_owned(),
        "post /api/v1/lorawan/chirpstack".to_owned(),
        "post /api/v1/lorawan/tts".to_owned(),
        "post /api/v1/recordings".to_owned(),
        "post /api/v1/reports".to_owned(),
        format!("post {target}/cancelAction/{{action}}/feedback"),
        format!("post {target}/confirmationBase/activateAutoConfirm"),
        format!("post {target}/confirmationBase/deactivateAutoConfirm"),
        format!("post {target}/confirmationBase/{{action}}/feedback"),
        format!("post {target}/deploymentBase/{{action}}/feedback"),
        format!("put {target}/configData"),
        format!("put {target}/installedBase"),
    ];
    assert_eq!(records.into_iter().collect::<Vec<_>>(), expected);

    for (method, operation, path, body, status) in calls() {
        let before = entry_count(&app).await;
        let wrong = call(&router, &method.to_uppercase(), path, None, body.clone()).await;
        assert_eq!(wrong.0, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(entry_count(&app).await, before, "{method} {path} refused");
        let answer = call(
            &router,
            &method.to_uppercase(),
            path,
            Some(&token),
            body.clone(),
        )
        .await;
        assert_eq!(answer.0.as_u16(), status, "{method} {path}: {answer:?}");
        assert!(
            entry_count(&app).await > before,
            "{method} {path} leaves no entry"
        );
        let newest = audit::list(app.db(), 1).await.unwrap().remove(0);
        assert_eq!(newest.actor, "walker", "{method} {path}: {newest:?}");
        audited.remove(&format!("{method} {operation}"));
    }
    // A device proves itself by what it sends, and its entry names what let it in.
    let answer = enrolment::enrol_by_token(&app, &router).await;
    assert_eq!(answer, StatusCode::OK);
    let newest = audit::list(app.db(), 1).await.unwrap().remove(0);
    assert_eq!(newest.action, "device.enrol");
    assert!(newest.actor.starts_with("class token "), "{newest:?}");
    audited.remove("post /api/v1/enrol");
    assert!(
        audited.is_empty(),
        "these calls have no recipe in this test: {audited:?}"
    );
    let chain = audit::walk(app.db()).await.unwrap();
    assert_eq!(chain.broken_at, None);
    // What has ended does not end again, and what never began is not there.
    let (status, shown) = call(
        &router,
        "GET",
        "/api/v1/repairs/1",
        Some(&token),
        Value::Null,
    )
    .await;
    assert_eq!(
        (status, &shown["state"]),
        (StatusCode::OK, &json!("stopped")),
        "{shown}"
    );
    assert_eq!(
        shown["steps"][1]["what"], "walker ends it: a test",
        "{shown}"
    );
    for (path, expected) in [
        ("/api/v1/repairs/1/end", StatusCode::CONFLICT),
        ("/api/v1/repairs/2/end", StatusCode::NOT_FOUND),
    ] {
        let answer = call(
            &router,
            "POST",
            path,
            Some(&token),
            json!({ "why": "again" }),
        )
        .await;
        assert_eq!(answer.0, expected, "{answer:?}");
    }
    // Of a model that is not known here nobody is asked for anything.
    let round = json!({ "model": "11111112" });
    let answer = call(&router, "POST", "/api/v1/rounds", Some(&token), round).await;
    assert_eq!(answer.0, StatusCode::NOT_FOUND, "{answer:?}");
    assert_eq!(answer.1["code"], "missing", "{answer:?}");
}
