//! Against a receiver over a real socket, which can be down, slow to believe, or something else altogether.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use tinyops_fleet::enrol::Entropy;
use tinyops_fleet::webhook::Proof;
use tinyops_store::alert::{self, AlertKind, NewAlert};
use tinyops_store::drift::Scope;
use tinyops_store::{Db, ModelId, webhook};
use tokio::net::TcpListener;

use super::*;
use crate::api::tests::app_on;

/// A receiver that answers with what it is told to, and keeps what it was sent.
struct Receiver {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<&'static str>>,
}

impl Receiver {
    async fn listen() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook?from=tinyops",
            listener.local_addr().unwrap()
        );
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new("HTTP/1.1 204 No Content\r\n\r\n"));
        let (kept, told) = (requests.clone(), answer.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                let mut part = [0; 4096];
                while !is_whole(&request) {
                    match stream.read(&mut part).await {
                        Ok(read) if read > 0 => request.extend(&part[..read]),
                        _ => break,
                    }
                }
                kept.lock()
                    .unwrap()
                    .push(String::from_utf8(request).unwrap());
                let answer = *told.lock().unwrap();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Receiver {
            url,
            requests,
            answer,
        }
    }

    fn answer_with(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = header(head, "Content-Length");
    length.is_some_and(|length| length.parse::<usize>().unwrap() == body.len())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

const START: i64 = 1_795_374_849_000;

/// A server over these records; a second one is what comes after a restart.
async fn app(folder: &std::path::Path, now: &Arc<AtomicI64>) -> App {
    let clock = now.clone();
    let url = format!("sqlite:{}", folder.join("tinyops.db").display());
    let now = Arc::new(move || Timestamp(clock.load(Ordering::Relaxed)));
    app_on(Db::open(&url).await.unwrap(), None, now).await
}

async fn raise(app: &App) -> alert::Alert {
    let new = NewAlert {
        scope: Scope::Cohort("hall-1@11111111".into()),
        model: ModelId(0x1111_1111),
        kind: AlertKind::Drift,
        advice: "retrain".into(),
        detail: serde_json::json!({ "score": 2.5 }),
    };
    let tx = app.db().begin("test").await.unwrap();
    let alert = alert::raise(&tx, &new, app.now()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    alert
}

/// Adds a webhook; answers with its secret.
async fn add(app: &App, name: &str, url: &str, authorities: &str) -> String {
    let (fleet, proof) = (app.fleet(), Proof::Signature(Entropy([3; 40])));
    let added = fleet.add_webhook(name, url, authorities, proof, "test", app.now());
    added.await.unwrap().secret
}

/// Has a webhook owe its receiver a delivery.
async fn ask_for_test(app: &App, name: &str) {
    let asked = app.fleet().test_webhook(name, "test", app.now());
    asked.await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_it_after_a_restart_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let receiver = Receiver::listen().await;
    let secret;
    {
        let app = app(folder.path(), &now).await;
        let fleet = app.fleet();
        secret = add(&app, "pager", &receiver.url, "").await;
        let alert = raise(&app).await;
        let why = "the fan was replaced";
        fleet
            .resolve(alert.id, why, "ana", app.now())
            .await
            .unwrap();
        receiver.answer_with("HTTP/1.1 503 Busy\r\n\r\n");
        turn(&app).await.unwrap();
        assert_eq!(receiver.taken().len(), 1);
        // Its time has not come.
        turn(&app).await.unwrap();
        assert_eq!(receiver.taken().len(), 0);
    }
    let app = app(folder.path(), &now).await;
    receiver.answer_with("HTTP/1.1 200 OK\r\n\r\n");
    now.fetch_add(10_000, Ordering::Relaxed);
    turn(&app).await.unwrap();
    let taken = receiver.taken();
    assert_eq!(taken.len(), 1);
    let (head, body) = taken[0].split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /hook?from=tinyops HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(header(head, "TinyOps-Event"), Some("alert.resolve"));
    let expected = signature(&secret, app.now(), body);
    assert_eq!(header(head, "TinyOps-Signature"), Some(&*expected));
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(told["alert"]["reason"], "the fan was replaced");
    assert_eq!(told["alert"]["state"], "resolved");
    let log = webhook::deliveries(app.db(), 10).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].state, DeliveryState::Delivered);
    assert_eq!((log[0].attempt_count, log[0].answer.as_str()), (2, "200"));
    now.fetch_add(3_600_000, Ordering::Relaxed);
    turn(&app).await.unwrap();
    assert_eq!(
        receiver.taken().len(),
        0,
        "what was delivered is not sent again"
    );
}

#[tokio::test]
async fn what_is_no_receiver_is_noted_and_given_up_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let app = app(folder.path(), &now).await;
    let fleet = app.fleet();
    let receiver = Receiver::listen().await;
    receiver.answer_with("+OK POP3 ready\r\n");
    let https = receiver.url.replace("http://", "https://");
    for (name, url) in [
        ("mail", receiver.url.as_str()),
        ("nobody", "http://127.0.0.1:1/"),
        ("plain", https.as_str()),
    ] {
        add(&app, name, url, "").await;
        ask_for_test(&app, name).await;
    }
    turn(&app).await.unwrap();
    let log = webhook::deliveries(app.db(), 10).await.unwrap();
    assert_eq!(log.len(), 3);
    for delivery in &log {
        assert_eq!(delivery.state, DeliveryState::Waiting, "{delivery:?}");
        assert!(!delivery.answer.is_empty(), "{delivery:?}");
    }
    now.fetch_add(3 * 24 * 3_600_000, Ordering::Relaxed);
    turn(&app).await.unwrap();
    for delivery in webhook::deliveries(app.db(), 10).await.unwrap() {
        assert_eq!(delivery.state, DeliveryState::Abandoned, "{delivery:?}");
    }
    fleet
        .remove_webhook("mail", "test", app.now())
        .await
        .unwrap();
    let gone = fleet.test_webhook("mail", "test", app.now()).await;
    assert!(matches!(gone, Err(FleetError::NoWebhook(_))), "{gone:?}");
}

#[tokio::test]
async fn what_waits_behind_a_delivery_that_failed_was_not_tried() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let app = app(folder.path(), &now).await;
    let receiver = Receiver::listen().await;
    receiver.answer_with("+OK POP3 ready\r\n");
    let url = receiver.url.as_str();
    add(&app, "pager", url, "").await;
    for _ in 0..3 {
        ask_for_test(&app, "pager").await;
    }
    turn(&app).await.unwrap();
    let counts = |log: &[Delivery]| -> Vec<(u32, i64)> {
        let of = |delivery: &Delivery| (delivery.attempt_count, delivery.next_at.0 - START);
        log.iter().rev().map(of).collect()
    };
    let log = webhook::deliveries(app.db(), 10).await.unwrap();
    assert_eq!(counts(&log), [(1, 10_000), (0, 10_000), (0, 10_000)]);
    assert_eq!(receiver.taken().len(), 1);
    receiver.answer_with("HTTP/1.1 200 OK\r\n\r\n");
    now.fetch_add(10_000, Ordering::Relaxed);
    turn(&app).await.unwrap();
    let order: Vec<String> = receiver
        .taken()
        .iter()
        .filter_map(|request| header(request, "TinyOps-Delivery").map(str::to_owned))
        .collect();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!((order.len(), &order), (3, &sorted));
    let log = webhook::deliveries(app.db(), 10).await.unwrap();
    let attempts: Vec<u32> = counts(&log).iter().map(|(attempts, _)| *attempts).collect();
    assert_eq!(attempts, [2, 1, 1]);
}

#[tokio::test]
async fn what_a_removed_webhook_was_owed_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let app = app(folder.path(), &now).await;
    let fleet = app.fleet();
    add(&app, "pager", "http://127.0.0.1:1/", "").await;
    ask_for_test(&app, "pager").await;
    // One is under way as the webhook is removed; another is owed by who still saw it.
    let (_, under_way) = fleet.due_deliveries(app.now(), 10).await.unwrap().remove(0);
    fleet
        .remove_webhook("pager", "test", app.now())
        .await
        .unwrap();
    let tx = app.db().begin("test").await.unwrap();
    webhook::owe(&tx, "pager", "alert.raise", "{}", app.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let refused = Err("connection refused".to_owned());
    fleet
        .note_delivery(under_way, refused, app.now())
        .await
        .unwrap();
    turn(&app).await.unwrap();
    let log = webhook::deliveries(app.db(), 10).await.unwrap();
    let states: Vec<_> = log.iter().map(|d| (d.state, d.attempt_count)).collect();
    assert_eq!(states, [(DeliveryState::Abandoned, 0)]);
    now.fetch_add(31 * 24 * 3_600_000, Ordering::Relaxed);
    let later = fleet.due_deliveries(app.now(), 10).await.unwrap();
    assert_eq!(later, []);
}

#[tokio::test]
async fn a_receiver_behind_tls_is_believed_if_its_authority_is() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let app = app(folder.path(), &now).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut part = [0; 4096];
            let _ = stream.read(&mut part).await;
            let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let url = format!("https://localhost:{port}/");
    for (name, authorities) in [("known", pem.as_str()), ("unknown", "")] {
        add(&app, name, &url, authorities).await;
        ask_for_test(&app, name).await;
    }
    turn(&app).await.unwrap();
    for delivery in webhook::deliveries(app.db(), 10).await.unwrap() {
        let is_known = delivery.webhook == "known";
        assert_eq!(
            delivery.state == DeliveryState::Delivered,
            is_known,
            "{delivery:?}"
        );
    }
}

#[tokio::test]
async fn a_muted_alert_is_silent_until_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let app = app(folder.path(), &now).await;
    let (fleet, receiver) = (app.fleet(), Receiver::listen().await);
    add(&app, "pager", &receiver.url, "").await;
    let alert = raise(&app).await;
    let until = app.now().plus_ms(3_600_000);
    fleet
        .mute(alert.id, until, "", "ana", app.now())
        .await
        .unwrap();
    fleet.turn(app.now()).await.unwrap();
    turn(&app).await.unwrap();
    let events = |taken: Vec<String>| -> Vec<String> {
        let event = |request: &String| header(request, "TinyOps-Event").unwrap().to_owned();
        taken.iter().map(event).collect()
    };
    assert_eq!(events(receiver.taken()), ["alert.mute"]);
    now.fetch_add(3_600_000, Ordering::Relaxed);
    fleet.turn(app.now()).await.unwrap();
    turn(&app).await.unwrap();
    assert_eq!(events(receiver.taken()), ["alert.unmute"]);
    let late = fleet.mute(alert.id, until, "", "ana", app.now()).await;
    assert!(matches!(late, Err(FleetError::MuteEnds)), "{late:?}");
    let why = fleet.resolve(alert.id, " ", "ana", app.now()).await;
    assert!(matches!(why, Err(FleetError::Reason)), "{why:?}");
    fleet
        .resolve(alert.id, "done", "ana", app.now())
        .await
        .unwrap();
    let over = fleet.acknowledge(alert.id, "ana", app.now()).await;
    assert!(matches!(over, Err(FleetError::AlertOver(_))), "{over:?}");
}
