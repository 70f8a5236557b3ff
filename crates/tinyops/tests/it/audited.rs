//! Every verb that changes something leaves an entry in the audit log that says who, what and to what.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tinyops_store::{
    Db, Digest, ModelId, Timestamp, Tx,
    alert::{self, AlertKind, NewAlert},
    drift::Scope,
    presence::{self, Presence},
    repair,
    round::{self, RoundId, RoundState},
    trigger::{self, NewTrigger, TriggerState},
};

use crate::workplace::{SETTINGS, Workplace};

/// Verbs that change nothing in a store: they look, write files that were asked for, or work where no store is.
const UNAUDITED: &[&str] = &[
    "alerts ls",
    "alerts webhook log",
    "alerts webhook ls",
    "annotate keys new",
    "annotate keys show",
    "annotate ls",
    // Its entry is in the test of the whole way (annotate.rs), for it takes a device that has sent windows.
    "annotate open",
    "audit export",
    "audit ls",
    "audit verify",
    "boards",
    "claims authority",
    "claims ls",
    "claims make",
    "compare",
    "compile",
    "completions",
    "config",
    "cost",
    "data add",
    "data checkout",
    "data diff",
    "data gc",
    // Labels have a history of their own in the project's folder, with who, when and why.
    "data label accept",
    "data label balance",
    "data label issues",
    "data label log",
    "data label range",
    "data label reject",
    "data label rule",
    "data label set",
    "data label undo",
    "data ls",
    "data pull",
    "data push",
    "data schema check",
    "data schema infer",
    "data schema show",
    "data show",
    "data status",
    "data uploads",
    "data validate",
    "data verify",
    "demo",
    // What they send is audited by the server.
    "device enrol",
    "device run",
    "device upload",
    "devices ls",
    "devices show",
    "devices token ls",
    "doctor",
    "drift",
    // It changes a board, and no record.
    "flash",
    "fleet simulate",
    // What they bring is indexed by the server.
    "gateway at",
    "gateway csv",
    // It has no store; its own log says what it answered.
    "helper key",
    "helper serve",
    "import dvc",
    // It needs another server; what it changes is entries of `tracking.import` and `registered-model.import`.
    "import mlflow",
    "init",
    "keys export",
    "keys show",
    "labels ls",
    "lineage",
    "models bom",
    "models card",
    "models export",
    "models lineage",
    "models log",
    "models ls",
    "models show",
    "models verify",
    "monitor",
    "ops",
    "predict",
    "release request",
    "release sign",
    "repairs ls",
    "repairs show",
    "rollout ls",
    "rollout show",
    "retrain ls",
    "rounds ls",
    "search-catalog",
    "serve",
    "smoke",
    "tokens ls",
    "worth",
];

/// The leaves of the tree of verbs, as their help tells them.
fn verbs(place: &Workplace, under: &[&str]) -> Vec<String> {
    let names = place.verbs(under);
    if names.is_empty() {
        return vec![under.join(" ")];
    }
    let below = |name: &String| verbs(place, &[under, &[name.as_str()]].concat());
    names.iter().flat_map(below).collect()
}

fn entries(place: &Workplace) -> Vec<Value> {
    let listed = place.check(&["audit", "ls", "--limit", "1000", "--json"], 0);
    listed.json()["entries"].as_array().unwrap().clone()
}

struct Walk {
    place: Workplace,
    walked: BTreeSet<String>,
}

impl Walk {
    /// Runs a verb and looks for its entry; what the verb answered.
    #[track_caller]
    fn step(&mut self, verb: &str, args: &[&str], action: &str, subject: &str) -> Value {
        let verb_words: Vec<&str> = verb.split(' ').collect();
        let before = self.count();
        let all = [&verb_words[..], args, &["--json"]].concat();
        let answer = self.place.run(&all);
        // What a run makes of so few recordings is not the matter here: it leaves its entries either way.
        let is_done = answer.code == 0 || (verb == "tune" && answer.code == 1);
        assert!(is_done, "{verb}: {}{}", answer.stdout, answer.stderr);
        let new = self.count() - before;
        assert!(new > 0, "{verb} leaves no entry");
        let entries = entries(&self.place);
        let is_it = |entry: &&Value| {
            entry["action"] == action && (subject.is_empty() || entry["subject"] == subject)
        };
        let found = entries.iter().take(new).find(is_it);
        let entry =
            found.unwrap_or_else(|| panic!("{verb}: no `{action}` of `{subject}` in {entries:?}"));
        assert_eq!(entry["actor"], "command line", "{verb}: {entry}");
        assert_ne!(entry["subject"], "", "{verb}: {entry}");
        self.walked.insert(verb.to_owned());
        serde_json::from_str(&answer.stdout).unwrap_or(Value::Null)
    }

    fn count(&self) -> usize {
        match self.place.path(".tinyops/tinyops.db").exists() {
            true => entries(&self.place).len(),
            false => 0,
        }
    }
}

/// Writes what only devices bring about.
fn write(place: &Workplace, work: impl AsyncFnOnce(&Tx)) {
    let url = format!("sqlite:{}", place.path(".tinyops/tinyops.db").display());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let db = Db::open(&url).await.unwrap();
        let tx = db.begin("test").await.unwrap();
        work(&tx).await;
        tx.commit().await.unwrap();
    });
}

fn raise_alert(place: &Workplace) {
    write(place, async |tx| {
        let alarm = NewAlert {
            scope: Scope::Cohort("hall-2@11111111".into()),
            model: ModelId(0x1111_1111),
            kind: AlertKind::Drift,
            advice: "look".into(),
            detail: json!({}),
        };
        alert::raise(tx, &alarm, Timestamp(1)).await.unwrap();
    });
}

/// A repair that has just begun, as a server keeps it.
fn begin_repair(place: &Workplace) {
    let state = json!({
        "why": "a drift", "cohort": null, "wants_training": false, "target": null, "best": null, "kept": [],
        "has_shipped": false, "device_bytes": 0, "phase": { "is": "choosing", "next": "round" }, "since_ms": 1,
        "steps": [{ "at_ms": 1, "rung": null, "what": "a repair begins: a drift" }],
    });
    write(place, async |tx| {
        let model = ModelId(0x1111_1111);
        repair::add(tx, "fan", model, &state, Timestamp(1))
            .await
            .unwrap();
    });
}

/// The first round has closed, and its sum has been answered.
fn close_round(place: &Workplace) {
    write(place, async |tx| {
        let sum = Digest::of(b"sum");
        let asked = NewTrigger {
            kind: "resolve-head".to_owned(),
            model: "fan".to_owned(),
            payload: Some(sum),
            detail: json!({}),
        };
        let mut trigger = trigger::add(tx, &asked, Timestamp(1)).await.unwrap();
        trigger.state = TriggerState::Failed;
        trigger::put(tx, &mut trigger).await.unwrap();
        let mut round = round::get(tx, RoundId(1)).await.unwrap().unwrap();
        round.state = RoundState::Closed;
        round.statistics = Some(sum);
        round.detail["trigger"] = json!(trigger.id.0);
        round::put(tx, &mut round).await.unwrap();
    });
}

fn say_that_it_runs(place: &Workplace, device: &str, model: &str) {
    let presence = Presence {
        device: device.parse().unwrap(),
        model: Some(model.parse().unwrap()),
        ..Presence::default()
    };
    write(place, async |tx| {
        presence::put_many(tx, &[presence]).await.unwrap()
    });
}

#[test]
fn every_verb_that_changes_something_leaves_an_entry() {
    let place = Workplace::fans();
    let known = verbs(&place, &[]);
    let mut walk = Walk {
        place,
        walked: BTreeSet::new(),
    };
    walk.step("run", &[], "run.start", "");
    let new = ["--roots", "2", "--threshold", "1"];
    walk.step("keys new", &new, "keys.new", "key set 1");
    let first = ["fan@1", "--yes"];
    let approval = ["fan@1", "--why", "heard it"];
    walk.step("models approve", &approval, "model.approve", "fan@1");
    walk.step("models sign", &["data"], "model.sign", "data");
    walk.place.check(&["models", "verify", "data"], 0);
    let pack = ["fan@1", "--for", "c99"];
    walk.step("package", &pack, "package.sign", "fan@1");
    walk.step("models promote", &first, "model.promote", "fan@1");
    walk.place.write(
        "tinyops.toml",
        &SETTINGS.replace("epochs = 200", "epochs = 201"),
    );
    walk.step("run", &[], "model.register", "fan@2");
    let second = ["fan@2", "--yes"];
    walk.step("models promote", &second, "model.promote", "fan@2");
    walk.step("models rollback", &["fan", "--yes"], "model.rollback", "");
    let asks = ["--why", "a new pump", "--key", "k"];
    let asked = walk.step("retrain ask", &asks, "run.ask", "1");
    assert_eq!(asked["why"], "a new pump (command line)");
    let again = walk.place.check(&["retrain", "ask", "--key", "k"], 2);
    assert!(
        again.stderr.contains("names another wish"),
        "{}",
        again.stderr
    );
    let listed = walk.place.check(&["retrain", "ls"], 0).stdout;
    assert!(listed.contains("asked: a new pump"), "{listed}");
    let request = walk.place.request(None).1;
    let added = ["--request", &request];
    let added = walk.step("devices add", &added, "device.enrol", "");
    let device = added["device"].as_str().unwrap();
    let id = device;
    walk.step("devices ddi", &[id], "device.target", id);
    let by = ["--board", "esp-eye"];
    let token = walk.step("devices token make", &by, "class_token.make", "");
    let token = token["id"].as_str().unwrap();
    let yes = [token, "--yes"];
    walk.step("devices token revoke", &yes, "class_token.revoke", token);

    let later = ["fan@1", "--install", "later"];
    walk.step("rollout start", &later, "rollout.start", "1");
    walk.step("rollout install", &["1"], "rollout.install", "1");
    let budget = ["fan@1", "--delta-max", "100000"];
    walk.step("tune", &budget, "run.start", "");
    walk.step("rollout pause", &["1"], "rollout.pause", "1");
    walk.step("rollout resume", &["1"], "rollout.resume", "1");
    walk.step("rollout revert", &["1", "--yes"], "rollout.revert", "1");
    walk.step("rollout start", &["fan@1"], "rollout.start", "2");
    let back = ["fan", "--yes"];
    walk.step("rollout back", &back, "rollout.revert", "2");

    walk.step("devices revoke", &[id, "--yes"], "device.revoke", id);
    walk.step("devices allow", &[id], "device.allow", id);

    let public = "a9fc37a8e5da8fca49bde9637fc0e5a9fa0bac8d94d9e0bdec9e9f4f8bbc50f8";
    let plant = ["plant-2", "--public", public];
    walk.step("claims trust", &plant, "claim_authority.trust", "plant-2");
    let plant = ["plant-2", "--yes"];
    walk.step(
        "claims distrust",
        &plant,
        "claim_authority.distrust",
        "plant-2",
    );
    let serial = ["S-0042", "--yes"];
    walk.step("claims revoke", &serial, "claim.revoke", "S-0042");
    let ana = ["ana", "--role", "viewer"];
    walk.step("tokens make", &ana, "token.make", "ana");
    walk.step("tokens revoke", &["ana", "--yes"], "token.revoke", "ana");

    raise_alert(&walk.place);
    walk.step("alerts ack", &["1"], "alert.acknowledge", "1");
    let quiet = ["1", "--hours", "8"];
    walk.step("alerts mute", &quiet, "alert.mute", "1");
    let why = ["1", "--reason", "the fan was replaced"];
    walk.step("alerts resolve", &why, "alert.resolve", "1");
    let hook = ["pager", "http://127.0.0.1:1/hook"];
    walk.step("alerts webhook add", &hook, "webhook.add", "pager");
    walk.step("alerts webhook test", &["pager"], "webhook.test", "pager");
    let gone = ["pager", "--yes"];
    walk.step("alerts webhook remove", &gone, "webhook.remove", "pager");
    // Keys: replaced here, signed by another root, put in force.
    let shown = walk.place.check(&["keys", "show", "--json"], 0).json();
    let keys = shown["keys"].as_array().unwrap();
    let old = keys.iter().find(|key| key["role"] == "release").unwrap();
    let old = old["id"].as_str().unwrap();
    walk.step("keys rotate", &["release"], "keys.rotate", "key set 2");
    walk.step("keys take-back", &[old], "keys.take_back", "key set 3");
    let in_force = walk.place.path(".tinyops/key-set.cose");
    let copy = walk.place.path("copy.cose");
    std::fs::copy(in_force, &copy).unwrap();
    let copy = copy.display().to_string();
    walk.step("keys install", &[&copy], "keys.install", "key set 3");
    walk.step("keys sign", &[&copy], "keys.sign", "key set 3");

    // A release that was signed elsewhere.
    let place = &walk.place;
    let asked = place
        .check(&["release", "request", "fan@2", "--json"], 0)
        .json();
    let file = asked["capsules"][0]["file"].as_str().unwrap().to_owned();
    place.check(&["release", "sign", &file], 0);
    let signed = file.replace(".unsigned", ".capsule");
    let imported = walk.step("release import", &[&signed], "capsule.import", "");
    let running = imported["capsules"][0]["model_id"].as_str().unwrap();
    walk.place.check(&["rounds", "open", "00000001"], 2);
    walk.step("rounds open", &[running], "round.open", "1");
    walk.place.check(&["rounds", "solve", "1"], 2);
    walk.place.check(&["rounds", "solve", "9"], 2);
    close_round(&walk.place);
    walk.step("rounds solve", &["1"], "round.solve", "1");
    let out = walk.step("rounds withdraw", &[device], "device.withdraw-sums", device);
    assert_eq!(
        (&out["actor"], &out["rounds"]),
        (&json!("command line"), &json!([]))
    );
    let shown = walk.place.check(&["devices", "show", device], 0).stdout;
    assert!(shown.contains("takes part in no round"), "{shown}");
    walk.step("rounds admit", &[device], "device.admit-sums", device);
    walk.place.check(&["rounds", "admit", device], 2);
    begin_repair(&walk.place);
    walk.place
        .check(&["repairs", "end", "2", "--why", "none"], 2);
    let why = ["1", "--why", "the fans are sold"];
    let ended = walk.step("repairs end", &why, "repair.step", "1");
    assert_eq!(ended["state"], "stopped", "{ended}");
    let shown = walk
        .place
        .check(&["repairs", "show", "1", "--json"], 0)
        .json();
    assert_eq!(shown, ended);
    let listed = walk.place.check(&["repairs", "ls", "--json"], 0).json();
    assert_eq!(listed["repairs"], json!([ended]));
    let request = walk.place.request(None).1;
    let added = ["--request", &request];
    let added = walk.step("devices add", &added, "device.enrol", "");
    let id = added["device"].as_str().unwrap();
    let early = walk.place.check(&["labels", "add", id, "blade"], 2);
    assert!(early.stderr.contains("has not said"), "{}", early.stderr);
    say_that_it_runs(&walk.place, id, running);
    walk.step("labels add", &[id, "blade"], "device.label", id);
    walk.step("labels take-back", &[id], "device.take-labels-back", id);
    let windows = ["--device", id, "--annotator", public];
    walk.step("annotate ask", &windows, "annotation.ask", id);
    let wrong = walk.place.check(&["labels", "add", id, "blades"], 2);
    let classes = "it has: bearing, blade, normal";
    assert!(wrong.stderr.contains(classes), "{}", wrong.stderr);

    // The last, for it takes recordings away.
    walk.step(
        "erase",
        &["--group", "m0", "--yes"],
        "data.erase",
        "group m0",
    );

    let open: Vec<&String> = known
        .iter()
        .filter(|verb| !walk.walked.contains(*verb) && !UNAUDITED.contains(&verb.as_str()))
        .collect();
    assert!(
        open.is_empty(),
        "neither walked nor said to change nothing: {open:?}"
    );
    let gone = UNAUDITED
        .iter()
        .filter(|verb| !known.contains(&(**verb).to_owned()));
    assert_eq!(gone.count(), 0, "verbs that are no more: {known:?}");
    walk.place.check(&["audit", "verify"], 0);
}
