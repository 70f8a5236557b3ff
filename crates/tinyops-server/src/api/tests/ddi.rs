//! The hawkBit DDI as its clients call it.

mod flow;
mod refusals;

use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::HeaderMap;
use tinyops_fleet::ddi::NewTarget;
use tinyops_fleet::ddi::body::{Form, read, write};
use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_store::model::{self, NewModel};
use tinyops_store::rollout::{self, Delivery, Member, RolloutId};
use tinyops_store::{DeviceId, presence};
use tinyops_wire::payload::{self, SectionId};

use super::*;

const MINUTE: i64 = 60_000;

/// A server whose clock the test turns, and devices that poll it.
struct Site {
    app: App,
    router: Router,
    clock: Arc<AtomicI64>,
    devices: Vec<(DeviceId, String)>,
}

/// What came back.
struct Answer {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        serde_json::from_slice(&self.bytes).unwrap()
    }

    #[track_caller]
    fn check(&self, status: u16, code: &str, message: &str) {
        let problem: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        assert_eq!(
            (self.status, problem["code"].as_str()),
            (status, Some(code)),
            "{problem}"
        );
        let said = problem["message"].as_str().unwrap_or_default();
        assert!(said.contains(message), "{said}");
    }
}

impl Site {
    async fn new(devices: u8, new: &NewTarget) -> Site {
        let clock = Arc::new(AtomicI64::new(NOW.0));
        let time = clock.clone();
        let app = app_at(
            None,
            Arc::new(move || Timestamp(time.load(Ordering::Relaxed))),
        )
        .await;
        let router = router(app.clone());
        let mut site = Site {
            app,
            router,
            clock,
            devices: Vec::new(),
        };
        for version in [1, 2] {
            site.release(version).await;
        }
        for number in 0..devices {
            site.enrol(number, new).await;
        }
        site
    }

    async fn enrol(&mut self, number: u8, new: &NewTarget) {
        let fleet = self.app.fleet();
        let id = DeviceId(0xaa00 + u64::from(number));
        let device = NewDevice {
            id: Some(id),
            board: "esp-eye".into(),
            cohort: "hall".into(),
            ..NewDevice::default()
        };
        let now = self.app.now();
        let entropy = Entropy([number; 40]);
        fleet.register(&device, entropy, "test", now).await.unwrap();
        let made = fleet.make_target(id, new, Entropy([number ^ 0x80; 40]), "test", now);
        let (_, token) = made.await.unwrap();
        self.devices.push((id, token));
    }

    /// Registers a version that is compiled for the board.
    async fn release(&self, version: u8) {
        let program = [version; 2000];
        let sections = [(SectionId::Program, &program[..])];
        let mut payload = vec![0; payload::encoded_len([program.len()].into_iter())];
        payload::encode(&sections, &mut payload).unwrap();
        let payload = self.app.fleet().artifacts.put(&payload).await.unwrap();
        let new = NewModel {
            name: "fan".into(),
            project: "fan".into(),
            digest: Digest::of(&[version]),
            run: None,
            parent: None,
            metrics: json!({ "packages": [{ "board": "esp-eye", "payload": payload.to_string() }] }),
        };
        let tx = self.app.db().begin("seed").await.unwrap();
        model::add(&tx, &new, NOW).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Starts a rollout to everyone at once.
    async fn roll_out(&self, version: u32, changes: Value) -> RolloutId {
        let mut plan = json!({ "strategy": { "kind": "canary", "share": 1.0 } });
        for (name, value) in changes.as_object().unwrap() {
            plan[name] = value.clone();
        }
        let wish = json!({ "model": "fan", "version": version, "plan": plan });
        let (status, made) = call(&self.router, "POST", "/api/v1/rollouts", None, wish).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        RolloutId(made["rollout"].as_i64().unwrap())
    }

    async fn command(&self, rollout: RolloutId, verb: &str) {
        let path = format!("/api/v1/rollouts/{rollout}/{verb}");
        let body = match verb {
            "resume" => Value::Null,
            _ => json!({ "why": "a test" }),
        };
        let (status, answer) = call(&self.router, "POST", &path, None, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    async fn turn(&self) {
        self.app.fleet().turn(self.app.now()).await.unwrap();
    }

    /// One request with these headers, as it is.
    async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer {
            status,
            headers,
            bytes: bytes.to_vec(),
        }
    }

    fn path(&self, device: usize, below: &str) -> String {
        let below = match below {
            "" => String::new(),
            below => format!("/{below}"),
        };
        format!("/DEFAULT/controller/v1/{}{below}", self.devices[device].0)
    }

    async fn get(&self, device: usize, below: &str) -> Answer {
        let shown = format!("TargetToken {}", self.devices[device].1);
        let headers = [("authorization", shown.as_str()), ("host", "tinyops.lan")];
        let path = self.path(device, below);
        self.raw("GET", &path, &headers, Vec::new()).await
    }

    async fn send(&self, device: usize, method: &str, below: &str, body: &Value) -> Answer {
        let shown = format!("TargetToken {}", self.devices[device].1);
        let headers = [
            ("authorization", shown.as_str()),
            ("content-type", "application/json;charset=UTF-8"),
        ];
        let path = self.path(device, below);
        self.raw(method, &path, &headers, body.to_string().into())
            .await
    }

    /// What a poll's links say, as `NAME ID`.
    async fn poll(&self, device: usize) -> Vec<String> {
        let answer = self.get(device, "").await.json();
        let links = answer["_links"].as_object().unwrap();
        let word = |(name, link): (&String, &Value)| {
            let href = link["href"].as_str().unwrap();
            let last = href.rsplit('/').next().unwrap();
            let last = last.split('?').next().unwrap();
            match last == name.as_str() {
                true => name.clone(),
                false => format!("{name} {last}"),
            }
        };
        links.iter().map(word).collect()
    }

    async fn feed(&self, device: usize, action: i64, execution: &str, finished: &str) -> u16 {
        let body = json!({
            "id": action.to_string(), "time": "20261129T041000",
            "status": { "execution": execution, "result": { "finished": finished }, "details": ["said so"] },
        });
        let below = format!("deploymentBase/{action}/feedback");
        self.send(device, "POST", &below, &body).await.status
    }

    async fn member(&self, rollout: RolloutId, device: usize) -> Member {
        let members = rollout::members(self.app.db(), rollout).await.unwrap();
        let id = self.devices[device].0;
        members.into_iter().find(|m| m.device == id).unwrap()
    }

    async fn running(&self, device: usize) -> Option<String> {
        let presence = presence::get(self.app.db(), self.devices[device].0);
        let model = presence.await.unwrap().unwrap().model?;
        let row = tinyops_store::capsule::get(self.app.db(), model)
            .await
            .unwrap()
            .unwrap();
        Some(format!("{}@{}", row.model, row.version))
    }
}
