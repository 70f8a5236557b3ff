//! The pages over a small fleet in memory: what a person reads is there, and nothing is broken.
//!
//! With `TINYOPS_PAGES=FOLDER` the pages are written there as files, to look at in a browser.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::json;
use tinyops_fleet::ladder::{End, Ladder, Phase, Rung, Step as RepairStep};
use tinyops_store::alert::{self, AlertKind, NewAlert};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::device::{self, Device, DeviceState};
use tinyops_store::drift::{self, DriftPoint, DriftState, Scope};
use tinyops_store::lineage::{self, Edge};
use tinyops_store::model::{self, NewModel, Stage};
use tinyops_store::outcome::{self, Outcome};
use tinyops_store::presence::{self, Presence};
use tinyops_store::rollout::{self, Delivery, Member, NewRollout};
use tinyops_store::run::{self, NewRun, RunId, RunState};
use tinyops_store::step::{self, Port, Step, StepState};
use tinyops_store::trigger::{self, NewTrigger, TriggerState};
use tinyops_store::{DeviceId, DeviceKey, Digest, ModelId, Timestamp, repair};
use tower::ServiceExt as _;

use crate::App;
use crate::api::tests::{NOW, app};
use crate::router;

const MINUTE_MS: i64 = 60_000;
const OLD: ModelId = ModelId(0x1111_1111);
const NEW: ModelId = ModelId(0x2222_2222);

/// Fifty fans: half of them age, an alert is raised, and a new head goes out.
async fn seed(app: &App) {
    let tx = app.db().begin("seed").await.unwrap();
    let evaluation = json!({
        "int8": {
            "windows": 300, "accuracy": 0.98, "macro_f1": 0.979,
            "classes": ["normal", "imbalance", "bearing wear"],
            "confusion": [[99, 1, 0], [2, 97, 1], [0, 2, 98]],
            "per_class": [
                { "label": "normal", "f1": 0.985 }, { "label": "imbalance", "f1": 0.97 },
                { "label": "bearing wear", "f1": 0.985 },
            ],
            "slices": [
                { "key": "group", "value": "hall-1", "windows": 180, "recordings": 9, "figure": "macro_f1", "metric": 0.99,
                  "interval": { "low": 0.98, "high": 1.0 }, "whole": 0.979 },
                { "key": "group", "value": "hall-2", "windows": 120, "recordings": 6, "figure": "macro_f1", "metric": 0.9,
                  "interval": { "low": 0.85, "high": 0.95 }, "whole": 0.979 },
            ],
            "fairness": [{
                "key": "group",
                "metric": { "of": "macro_f1", "best": "hall-1", "worst": "hall-2", "figures": [0.99, 0.9], "gap": 0.09,
                            "interval": { "low": 0.03, "high": 0.15 } },
                "recalls": [{ "of": "bearing wear", "best": "hall-1", "worst": "hall-2", "figures": [1.0, 0.8],
                              "gap": 0.2, "interval": null }],
                "false_alarms": null,
            }],
            "roc": { "auc": 0.998, "points": [[0.0, 0.0], [0.0, 0.9], [0.05, 0.99], [1.0, 1.0]] },
        },
        "float": { "windows": 300, "accuracy": 0.983, "macro_f1": 0.982, "roc": { "auc": 0.999 } },
    });
    let digest = app
        .fleet()
        .artifacts
        .put(evaluation.to_string().as_bytes())
        .await
        .unwrap();
    for (version, id) in [(1, OLD), (2, NEW)] {
        let new = NewRun {
            project: "fan".into(),
            kind: if version == 1 {
                "train"
            } else {
                "resolve-head"
            }
            .into(),
            trigger: None,
            settings: Digest::of(b"settings"),
            code: "0.1.0".into(),
            seed: 7,
            owner: "process 1".into(),
            lease_until: NOW,
        };
        let started = Timestamp(NOW.0 - (4 - i64::from(version)) * 30 * MINUTE_MS);
        let mut row = run::add(&tx, &new, started).await.unwrap();
        row.state = RunState::Done;
        row.ended_at = Some(started.plus_ms(21_300));
        row.detail = json!({
            "metrics": { "accuracy": 0.98 },
            "gates": [{ "gate": "metric", "verdict": "pass", "why": "int8 accuracy 0.98, at least 0.95 asked" }],
        });
        run::put(&tx, &mut row).await.unwrap();
        let names = [
            "ingest",
            "validate",
            "featurize",
            "train",
            "quantize",
            "evaluate",
            "compile",
        ];
        for (index, name) in names.into_iter().enumerate() {
            let outputs = match name {
                "evaluate" => vec![Port {
                    name: "evaluation".into(),
                    digest,
                }],
                _ => vec![Port {
                    name: name.into(),
                    digest: Digest::of(name.as_bytes()),
                }],
            };
            let detail = match name {
                "train" => {
                    json!({ "summary": "40 epochs, last loss 0.04", "losses": [1.2, 0.8, 0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.04] })
                }
                "compile" => json!({ "summary": "fits 2 of 2 boards", "boards": [
                    { "board": "esp-eye", "fits": true, "flash_bytes": 41_000, "flash_free_bytes": 2_900_000,
                      "ram_bytes": 9_300, "ram_free_bytes": 300_000, "latency_ms": 1.6, "latency_ms_band": [1.1, 2.4], "energy_mj": 0.5, "energy_mj_band": [0.3, 0.9], "reasons": [] },
                    { "board": "sparkfun-edge-2", "fits": false, "flash_bytes": 41_000, "flash_free_bytes": 30_000,
                      "ram_bytes": 9_300, "ram_free_bytes": 200_000, "latency_ms": 4.0, "latency_ms_band": [3.0, 5.5], "energy_mj": 0.2, "energy_mj_band": [0.1, 0.3], "reasons": ["flash needs 41000 bytes, board leaves 30000"] },
                ] }),
                _ => json!({ "summary": format!("{name} is done") }),
            };
            let state = if version == 2 && index < 2 {
                StepState::Cached
            } else {
                StepState::Done
            };
            let step = Step {
                run: row.id,
                index: index as u32,
                name: name.into(),
                state,
                key: None,
                inputs: Vec::new(),
                outputs,
                seconds: 1.7 * index as f64,
                detail,
                changed_at: started,
            };
            step::put(&tx, &step).await.unwrap();
        }
        let encoded = Digest::of(&[version as u8]);
        let new = NewModel {
            name: "fan".into(),
            project: "fan".into(),
            digest: encoded,
            run: Some(row.id),
            parent: (version == 2).then_some(1),
            metrics: json!({ "accuracy": 0.98, "float_accuracy": 0.983, "macro_f1": 0.979, "auc": 0.998 }),
        };
        let mut registered = model::add(&tx, &new, started.plus_ms(21_000))
            .await
            .unwrap();
        registered.stage = if version == 2 {
            Stage::Production
        } else {
            Stage::Archived
        };
        model::put(&tx, &mut registered).await.unwrap();
        let signed = Capsule {
            manifest_digest: Digest::of(&id.0.to_le_bytes()),
            id,
            model: "fan".into(),
            version: version as u32,
            board: "esp-eye".into(),
            digest: Digest::of(&[version as u8, 1]),
            bytes: 14_208,
            payload: Digest::of(&[version as u8, 2]),
            sequence: version as u32,
            baseline: Vec::new(),
            detail: json!({ "labels": ["normal", "imbalance", "bearing wear"] }),
            created_at: started.plus_ms(22_000),
        };
        capsule::add(&tx, &signed).await.unwrap();
        let edge = |from: &[u8], kind: &str| Edge {
            from: Digest::of(from),
            to: encoded,
            kind: kind.into(),
            run: Some(row.id),
        };
        lineage::add(
            &tx,
            &[edge(b"train", "quantize"), edge(b"ingest", "dataset")],
        )
        .await
        .unwrap();
    }
    seed_devices(&tx).await;
    seed_history(&tx).await;
    tx.commit().await.unwrap();
}

async fn seed_devices(tx: &tinyops_store::Tx) {
    for number in 0..50u64 {
        let device = Device {
            id: DeviceId(0xfa00_0000_0000 + number),
            key: DeviceKey([1; 32]),
            board: "esp-eye".into(),
            cohort: if number < 25 { "hall-1" } else { "hall-2" }.into(),
            tags: Vec::new(),
            state: DeviceState::Active,
            enrolled_at: NOW,
            revision: 0,
        };
        device::add(tx, &device).await.unwrap();
        let presence = Presence {
            device: device.id,
            model: Some(if number % 10 == 9 { OLD } else { NEW }),
            last_seq: Some(120),
            last_seen: Some(NOW.plus_ms(-1000 * number as i64)),
            report_count: 120,
            byte_count: 120 * 73,
            missing_count: 0,
            duplicate_count: 1,
            malformed_count: i64::from(number == 3),
        };
        presence::put_many(tx, &[presence]).await.unwrap();
    }
    let new = NewRollout {
        model: "fan".into(),
        version: 2,
        previous: Some(1),
        selector: "site = north".into(),
        priority: 0,
        plan: json!({ "strategy": { "kind": "staged", "waves": [0.1, 0.5, 1.0] } }),
        progress: json!({
            "wave": 1, "share": 0.5,
            "findings": [{
                "metric": "installs", "e_value": 2.0, "limit": 166.7, "candidate": 0.02, "reference": 0.01,
                "effect": 0.01, "interval": [-0.01, 0.09], "devices": [46, 0],
                "sentence": "1 of 46 devices that answered did not install it",
            }],
            "looks": [
                { "answered": 10, "evidence": [["installs", 0.02]] },
                { "answered": 46, "evidence": [["installs", 0.01]] },
            ],
        }),
    };
    let row = rollout::add(tx, &new, NOW.plus_ms(-12 * MINUTE_MS))
        .await
        .unwrap();
    let members: Vec<Member> = (0..50u64)
        .map(|number| Member {
            rollout: row.id,
            device: DeviceId(0xfa00_0000_0000 + number),
            delivery: match number {
                0..=44 => Delivery::Confirmed,
                45..=48 => Delivery::Offered,
                _ => Delivery::Failed,
            },
            target: (number < 49).then_some(NEW),
            changed_at: NOW.plus_ms(-MINUTE_MS),
            detail: json!({ "stratum": "nrf52840-dk/hall-2", "reason": "arena", "number": 9 }),
        })
        .collect();
    rollout::put_members(tx, &members).await.unwrap();
}

async fn seed_history(tx: &tinyops_store::Tx) {
    let shifted = |minute: i64| (40..95).contains(&minute);
    for minute in 0..120 {
        let at = NOW.plus_ms((minute - 120) * MINUTE_MS);
        for (cohort, ages) in [("hall-1", false), ("hall-2", true)] {
            let wobble = f64::from((minute * 7 % 13) as u32) / 26.0;
            let score = if ages && shifted(minute) {
                1.2 + wobble
            } else {
                0.2 + wobble
            };
            let scope = Scope::Cohort(format!("{cohort}@{OLD}"));
            let point = DriftPoint {
                scope: scope.clone(),
                model: OLD,
                at,
                score,
                detail: json!({}),
            };
            drift::add_points(tx, &[point]).await.unwrap();
            let state = DriftState {
                scope,
                model: OLD,
                state: Vec::new(),
                score,
                alarmed: score > 1.0,
                updated_at: at,
            };
            drift::put_many(tx, &[state]).await.unwrap();
        }
        let wrong = if shifted(minute) { 30 } else { 2 };
        let outcomes = [(1, 1, 100 - wrong), (1, 0, wrong / 2), (0, 1, wrong / 2)].map(
            |(actual, predicted, window_count)| Outcome {
                device: DeviceId(0xfa00_0000_0000),
                seq: minute as u32,
                model: OLD,
                predicted,
                actual,
                window_count,
                at,
            },
        );
        outcome::add_many(tx, &outcomes).await.unwrap();
    }
    let new = NewAlert {
        scope: Scope::Cohort(format!("hall-2@{OLD}")),
        model: OLD,
        kind: AlertKind::Drift,
        advice: "head-update".into(),
        detail: json!({ "score": 1.42, "devices": 24 }),
    };
    alert::raise(tx, &new, NOW.plus_ms(-75 * MINUTE_MS))
        .await
        .unwrap();
    let device = DeviceId(0xfa00_0000_0000 + 30);
    let state = DriftState {
        scope: Scope::Device(device),
        model: NEW,
        state: Vec::new(),
        score: 1.31,
        alarmed: true,
        updated_at: NOW,
    };
    drift::put_many(tx, &[state]).await.unwrap();
}

async fn page(router: &Router, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        !text.contains("NaN") && !text.contains("=\"inf"),
        "{path} draws a number that is none"
    );
    if let Some(folder) = std::env::var_os("TINYOPS_PAGES") {
        let name = path.trim_matches('/').replace('/', "-");
        let name = if name.is_empty() { "overview" } else { &name };
        let style = include_str!("style.css");
        let whole = text.replace("</head>", &format!("<style>{style}</style></head>"));
        std::fs::write(
            std::path::Path::new(&folder).join(format!("{name}.html")),
            whole,
        )
        .unwrap();
    }
    text
}

#[tokio::test]
async fn pages_tell_how_the_fleet_is() {
    let app = app(None).await;
    seed(&app).await;
    let router = router(app);
    for (path, expected) in [
        (
            "/",
            vec![
                "Accuracy in the field",
                "drift alert stands",
                "fan@2",
                "45 confirmed",
                "head-update",
            ],
        ),
        ("/runs", vec!["resolve-head", "21.3 s", "98.0"]),
        (
            "/runs/1",
            vec![
                "Confusion of classes",
                "imbalance taken for bearing wear: 1 of 100",
                "Loss by epoch",
                "at least 0.95 asked",
                "Slices by group",
                "hall-2: 0.9 (0.85 to 0.95), 120 w",
                "Gaps between slices by group",
                "recall of bearing wear",
            ],
        ),
        (
            "/catalog?q=fan",
            vec!["/models/fan/2", "cohort"][..1].to_vec(),
        ),
        (
            "/catalog?q=kind:device+hall-2",
            vec!["/devices/0000fa000000001e"],
        ),
        ("/catalog?q=kind:robot", vec!["is no kind"]),
        (
            "/catalog?q=%22%3Cscript%3E%22",
            vec!["Nothing is found", "&lt;script&gt;"],
        ),
        ("/models", vec!["production", "0.9800"]),
        (
            "/models/fan/2",
            vec!["board leaves 30000", "made from", "Lineage", "22222222"],
        ),
        (
            "/devices",
            vec!["0000fa0000000000", "hall-2", "next"][..2].to_vec(),
        ),
        ("/devices/0000fa000000001e", vec!["hall-2", "1.31"]),
        (
            "/drift",
            vec![
                "Drift by cohort",
                "alarm at",
                "hall-2 with fan@1",
                "Cost by cohort",
            ],
        ),
        ("/rollouts", vec!["45 confirmed", "1 failed"]),
        (
            "/rollouts/1",
            vec![
                "offered",
                "site = north",
                "wave 2 of 3",
                "1 of 46 devices that answered did not install it",
                "halts at",
            ],
        ),
    ] {
        let text = page(&router, path).await;
        for words in expected {
            assert!(text.contains(words), "{path} does not say `{words}`");
        }
    }
}

#[tokio::test]
async fn an_episode_is_told_from_the_alert_to_the_verdict() {
    let app = app(None).await;
    seed(&app).await;
    let tx = app.db().begin("test").await.unwrap();
    let wish = |detail| NewTrigger {
        kind: "resolve-head".into(),
        model: "fan".into(),
        payload: None,
        detail,
    };
    let mut ladder = Ladder::begin("cohort hall-2 has drifted".into(), None, false, None, NOW.0);
    ladder.phase = Phase::Over { end: End::Repaired };
    ladder.kept.push((Rung::Round, 2));
    ladder.steps.push(RepairStep {
        at_ms: NOW.0 + 1,
        rung: Some(Rung::Round),
        what: "round 1 asks devices for sums".into(),
    });
    repair::add(&tx, "fan", OLD, &json!(ladder), NOW)
        .await
        .unwrap();
    // A record of another version is shown as one, and takes no other along.
    let foreign = json!({ "phase": { "is": "dreaming" } });
    repair::add(&tx, "pump", OLD, &foreign, NOW).await.unwrap();
    let detail = json!({
        "model_id": OLD.to_string(), "why": "cohort hall-2 has drifted", "repair": 1,
    });
    let mut answered = trigger::add(&tx, &wish(detail), NOW).await.unwrap();
    answered.state = TriggerState::Done;
    answered.run = Some(RunId(2));
    trigger::put(&tx, &mut answered).await.unwrap();
    trigger::add(&tx, &wish(json!({})), NOW).await.unwrap();
    tx.commit().await.unwrap();
    let router = router(app);
    let list = page(&router, "/drift").await;
    for expected in [
        "/episodes/1",
        "/episodes/2",
        "/repairs/1",
        "repaired",
        "/repairs/2",
        "unreadable",
        "its record cannot be read",
        "a new head from sums",
        "fan@2",
    ] {
        assert!(list.contains(expected), "{expected}: {list}");
    }
    // The second one waits for its run.
    let runs = page(&router, "/runs").await;
    for expected in ["Asked for", "waiting", "/episodes/2", ">repair<"] {
        assert!(runs.contains(expected), "{expected}: {runs}");
    }
    let told = page(&router, "/episodes/1").await;
    let in_order = [
        "head-update",
        "cohort hall-2 has drifted",
        "/repairs/1",
        "repair 1, level 2: round 1 asks devices for sums",
        "run 2 begins",
        "every gate is passed: fan@2 is registered",
        "goes to the first devices",
    ];
    for expected in in_order {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let foreign = page(&router, "/repairs/2").await;
    for expected in ["its record cannot be read", "tinyops repairs end 2"] {
        assert!(foreign.contains(expected), "{expected}: {foreign}");
    }
    let repair = page(&router, "/repairs/1").await;
    for expected in [
        "level 2: round 1 asks devices for sums",
        "fan@2",
        "of at most 65536",
    ] {
        assert!(repair.contains(expected), "{expected}: {repair}");
    }
    let asked = page(&router, "/episodes/2").await;
    assert!(asked.contains("a person asked for it"), "{asked}");
}

#[tokio::test]
async fn a_rollout_in_shadow_shows_both_models() {
    let app = app(None).await;
    let tx = app.db().begin("test").await.unwrap();
    let new = NewRollout {
        model: "fan".into(),
        version: 3,
        previous: Some(2),
        selector: String::new(),
        priority: 0,
        plan: json!({ "shadow": { "windows": 400, "share": 0.5 } }),
        progress: json!({
            "shadow": {
                "devices": 40, "can": 30, "told": 15, "scoring": 14, "done": 9, "failed": 1, "windows": 5210,
                "agreement": 0.942, "unscored": 3, "pairs": [120, 14, 9, 7], "accuracy": [0.893, 0.86],
                "gain": [-0.033, [-0.081, 0.015]], "micros": 4210.0, "ram": 0.61,
            },
            "findings": [{
                "metric": "shadow accuracy", "e_value": 3.1, "limit": 500.0, "candidate": 0.86, "reference": 0.893,
                "effect": -0.033, "interval": [-0.081, 0.015], "devices": [9, 9], "sentence": "on 9 devices",
            }],
        }),
    };
    let row = rollout::add(&tx, &new, NOW).await.unwrap();
    let member = Member {
        rollout: row.id,
        device: DeviceId(7),
        delivery: Delivery::Shadowing,
        target: None,
        changed_at: NOW,
        detail: json!({ "stratum": "nrf52840-dk/hall-2", "can_shadow": true }),
    };
    rollout::put_members(&tx, &[member]).await.unwrap();
    tx.commit().await.unwrap();
    let router = router(app);
    let text = page(&router, "/rollouts/1").await;
    for words in [
        "shadow, then canary",
        "30 of 40 devices can score with two models; the others wait",
        "9 of 15 have scored 400 windows each, 1 could not",
        "None has installed it",
        "5210, 3 that it could not score",
        "candidate 86.0\u{202f}%, the model that runs 89.3\u{202f}%",
        "candidate 9, the model that runs 14",
        "-3.3\u{202f}points (from -8.1\u{202f}points to +1.5\u{202f}points)",
        "4.2\u{202f}ms",
        "1 scoring beside",
        "400 windows on 50 %",
        "on 9 devices",
    ] {
        assert!(text.contains(words), "it does not say `{words}`: {text}");
    }
    assert!(
        page(&router, "/rollouts")
            .await
            .contains("shadow, then canary")
    );
}

#[tokio::test]
async fn empty_pages_say_what_to_do() {
    let router = router(app(None).await);
    for (path, expected) in [
        ("/", "tinyops device run"),
        ("/labels", "tinyops data label issues"),
        ("/runs", "tinyops run"),
        ("/models", "No model is registered"),
        ("/devices", "No device is registered"),
        ("/drift", "No cohort is judged yet"),
        ("/rollouts", "tinyops rollout start"),
    ] {
        assert!(page(&router, path).await.contains(expected), "{path}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let router = router(app(None).await);
    for path in [
        "/labels/9/picture?at=1",
        "/runs/9",
        "/models/fan/9",
        "/devices/00000000000000ff",
        "/rollouts/9",
        "/episodes/9",
        "/repairs/9",
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
}

/// Sends the form of an alert, as a browser does from there; the status.
async fn say(router: &Router, form: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::post("/alerts/1")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("host", "localhost:8420");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(form.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn alerts_are_handled_by_the_buttons_of_our_own_pages_alone() {
    let app = app(None).await;
    seed(&app).await;
    let router = router(app.clone());
    let drift = page(&router, "/drift").await;
    for words in ["Acknowledge", "Mute", "Resolve", "action=\"/alerts/1\""] {
        assert!(drift.contains(words), "{words}");
    }
    let own = [("origin", "http://localhost:8420")];
    let state = async || {
        let alert = alert::get(app.db(), alert::AlertId(1))
            .await
            .unwrap()
            .unwrap();
        (
            alert.state.word(),
            alert.actor,
            alert.reason,
            alert.muted_until,
        )
    };
    let untouched = state().await;
    // A page of another site is nobody: it is sent to the login.
    for (form, headers, status) in [
        (
            "word=&action=acknowledge",
            &[("origin", "http://evil.example")][..],
            303,
        ),
        (
            "word=&action=acknowledge",
            &[("sec-fetch-site", "cross-site")],
            303,
        ),
        ("word=x&action=acknowledge", &own, 403),
        ("word=&action=delete", &own, 409),
        ("word=&action=mute&hours=5", &own, 409),
        ("word=&action=mute", &own, 409),
        ("word=&action=resolve&reason=+", &own, 409),
        ("action=acknowledge", &own, 422),
    ] {
        assert_eq!(say(&router, form, headers).await, status, "{form}");
    }
    assert_eq!(state().await, untouched);
    assert_eq!(
        say(&router, "word=&action=mute&hours=8&reason=fair", &own).await,
        303
    );
    let until = Some(NOW.plus_ms(8 * 3_600_000));
    let (muted, _, reason, ends) = state().await;
    assert_eq!((muted, &*reason, ends), ("acknowledged", "fair", until));
    assert!(page(&router, "/drift").await.contains("muted for 8"));
    let why = "word=&action=resolve&reason=bearing+%3Cb%3E";
    assert_eq!(say(&router, why, &own).await, 303);
    assert_eq!(state().await.0, "resolved");
    let drift = page(&router, "/drift").await;
    assert!(drift.contains("bearing &lt;b&gt;") && !drift.contains("action=\"/alerts/1\""));
    assert_eq!(say(&router, why, &own).await, 409, "it is over already");
}

#[tokio::test]
async fn a_viewer_sees_no_buttons_and_an_operator_uses_them_with_the_word_of_their_session() {
    use tinyops_fleet::enrol::Entropy;
    use tinyops_store::access::Role;
    let app = app(Some("0123456789abcdef0123456789abcdef")).await;
    seed(&app).await;
    let router = router(app.clone());
    let login = async |name: &str, role| {
        let fleet = app.fleet();
        let entropy = Entropy([role as u8 + 1; 40]);
        let made = fleet.make_access_token(name, role, None, entropy, "test", NOW);
        let digest = made.await.unwrap().0.digest;
        app.inner().logins.open(digest, NOW)
    };
    let looks = async |session: &str| {
        let cookie = format!("{}={session}", crate::login::COOKIE);
        let request = Request::get("/drift").header("cookie", cookie);
        let response = router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let (viewer, operator) = (
        login("vera", Role::Viewer).await,
        login("otto", Role::Operator).await,
    );
    assert!(!looks(&viewer).await.contains("action=\"/alerts/1\""));
    let word = crate::login::form_word(&operator);
    assert!(
        looks(&operator)
            .await
            .contains(&format!("value=\"{word}\""))
    );
    let form = format!("word={word}&action=acknowledge");
    let cookie = |session: &str| format!("{}={session}", crate::login::COOKIE);
    let (of_viewer, of_operator) = (cookie(&viewer), cookie(&operator));
    let own = ("origin", "http://localhost:8420");
    assert_eq!(
        say(&router, &form, &[own, ("cookie", &of_viewer)]).await,
        403
    );
    let viewers = format!(
        "word={}&action=acknowledge",
        crate::login::form_word(&viewer)
    );
    assert_eq!(
        say(&router, &viewers, &[own, ("cookie", &of_viewer)]).await,
        403
    );
    assert_eq!(say(&router, &form, &[own]).await, 303, "to the login");
    assert_eq!(
        say(
            &router,
            "word=&action=acknowledge",
            &[own, ("cookie", &of_operator)]
        )
        .await,
        403
    );
    assert_eq!(
        say(&router, &form, &[own, ("cookie", &of_operator)]).await,
        303
    );
    let alert = alert::get(app.db(), alert::AlertId(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (alert.state.word(), alert.actor.as_str()),
        ("acknowledged", "otto")
    );
}
