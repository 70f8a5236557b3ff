//! Triggers and the real pipeline, on recordings small enough for a test; the clock is the test's.

use std::f32::consts::TAU;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use tinyops_fleet::Keyring;
use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_pipeline::Project;
use tinyops_pipeline::tracking::{self, TrackingError};
use tinyops_store::run::{NewRun, Run};
use tinyops_store::tracking::run::Status;
use tinyops_store::tracking::{Pair, logged_model};
use tinyops_store::{Artifacts, Db};

use super::*;
use crate::access::Door;
use crate::retrain::{RunWish, ask_for_run};
use crate::serve::{Config, assemble};

const NOW: i64 = 1_795_374_849_000;

const SETTINGS: &str = r#"
[project]
name = "fan"
threshold = 0.6

[[data.source]]
root = "data"
files = ["{group}/{label}/*.csv"]
rate_hz = 100.0

[data.window]
len = 64

[data.split]
validation = 0.2
hold_out = ["m3"]

[train]
epochs = 200

[train.front_end]
kind = "spectral"
bands = 6

[train.network]
kind = "dense"
hidden = [8]

[boards]
targets = ["esp-eye"]

[gates]
quantization_loss_max = 0.2
smoke = "off"
"#;

/// A project folder with a store, a server over both, and a clock.
struct Hall {
    folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    app: App,
}

impl Hall {
    async fn new(more: &str) -> Hall {
        let folder = tempfile::tempdir().unwrap();
        for machine in 0..4 {
            record(folder.path(), machine, 0);
        }
        let clock = Arc::new(AtomicI64::new(NOW));
        let app = serve(folder.path(), folder.path(), more, &clock).await;
        Hall { folder, clock, app }
    }

    /// Another server on the same store, which works in a folder of its own.
    async fn second(&self, folder: &Path) -> App {
        serve(self.folder.path(), folder, "", &self.clock).await
    }

    fn pass_ms(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    async fn ask(&self, reason: &str) -> Trigger {
        let wish = RunWish {
            actor: "test",
            reason,
            key: None,
        };
        ask_for_run(self.app.workshop(), wish).await.unwrap()
    }

    async fn turn(&self) {
        turn(&self.app).await.unwrap();
    }

    async fn trigger(&self, like: &Trigger) -> Trigger {
        let found = trigger::get(self.app.db(), like.id).await.unwrap();
        found.unwrap()
    }

    async fn runs(&self) -> Vec<Run> {
        run::list(self.app.db(), 10).await.unwrap()
    }

    /// Leaves a trigger as a process does that is killed at work in a folder elsewhere.
    async fn kill_at_work(&self, trigger: &Trigger, lease_ms: i64) -> Run {
        let tx = self.app.db().begin("test").await.unwrap();
        let mut taken = trigger::take(&tx, "fan", self.app.now())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(taken.id, trigger.id);
        let new = NewRun {
            project: "fan".into(),
            kind: "train".into(),
            trigger: Some(taken.id),
            settings: Digest::of(b"settings"),
            code: "0.1.0".into(),
            seed: 7,
            owner: "process 4711 on `far` in `/fan`".into(),
            lease_until: self.app.now().plus_ms(lease_ms),
        };
        let run = run::add(&tx, &new, self.app.now()).await.unwrap();
        taken.run = Some(run.id);
        trigger::put(&tx, &mut taken).await.unwrap();
        tx.commit().await.unwrap();
        run
    }
}

/// One turn of a server that has not looked at its recordings before.
async fn turn(app: &App) -> Result<(), StoreError> {
    turn_pipeline(app, &mut Look::default()).await
}

async fn serve(store: &Path, root: &Path, more: &str, clock: &Arc<AtomicI64>) -> App {
    let settings = format!("{SETTINGS}{more}");
    let url = format!("sqlite:{}", store.join("tinyops.db").display());
    let clock = Arc::clone(clock);
    let workshop = tinyops_pipeline::Workshop {
        root: root.to_owned(),
        project: Project::parse(&settings, Path::new("tinyops.toml")).unwrap(),
        db: Db::open(&url).await.unwrap(),
        artifacts: Artifacts::open(&store.join("artifacts").display().to_string())
            .await
            .unwrap(),
        now: Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))),
    };
    let door = Door {
        is_open_here: true,
        admin: None,
        is_tls: false,
    };
    assemble(&Config::of(workshop, Keyring::from_seed(&[7; 32])), door).0
}

/// Two recordings of one machine: a slow tone and a fast one.
fn record(root: &Path, machine: u8, take: u8) {
    for (label, hz) in [("blade", 18.0_f32), ("normal", 7.0)] {
        let mut text = "x\n".to_owned();
        for index in 0..256_u16 {
            let at = f32::from(index) / 100.0 + f32::from(take);
            let _ = writeln!(text, "{:.4}", (TAU * hz * at + f32::from(machine)).sin());
        }
        let folder = root.join(format!("data/m{machine}/{label}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{take}.csv")), text).unwrap();
    }
}

#[tokio::test]
async fn what_a_person_asks_for_runs_once_and_goes_out_only_if_the_project_says_so() {
    let hall = Hall::new("").await;
    let asked = hall.ask("the new pump").await;
    hall.turn().await;
    let done = hall.trigger(&asked).await;
    assert_eq!(
        (done.state, done.tries),
        (TriggerState::Done, 1),
        "{done:?}"
    );
    hall.turn().await;
    let runs = hall.runs().await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(
        (runs[0].state, runs[0].trigger, done.run),
        (RunState::Done, Some(asked.id), Some(runs[0].id))
    );
    assert!(rollout::list(hall.app.db(), 10).await.unwrap().is_empty());
    let log = audit::list(hall.app.db(), 50).await.unwrap();
    for action in [
        "run.ask",
        "run.take",
        "run.start",
        "model.register",
        "run.end",
        "run.done",
    ] {
        assert!(log.iter().any(|entry| entry.action == action), "{action}");
    }
}

#[tokio::test]
async fn a_run_is_an_mlflow_run_and_its_models_are_a_family() {
    let hall = Hall::new("").await;
    hall.ask("the new pump").await;
    hall.turn().await;
    let db = hall.app.db();
    let run = hall.runs().await.remove(0);
    let id = own::run_id(run.id);
    let found = tracking::run::get(db, &id).await.unwrap();
    assert_eq!(
        (found.name.as_str(), found.status),
        ("train 1", Status::Finished)
    );
    let experiment = tracking::experiment::get(db, &found.experiment.to_string())
        .await
        .unwrap();
    assert_eq!(experiment.name, "fan");
    let data = tinyops_store::tracking::run::data_of(db, std::slice::from_ref(&found))
        .await
        .unwrap()
        .remove(0);
    let param = |key: &str| {
        data.params
            .iter()
            .find(|pair| pair.key == key)
            .map(|pair| pair.value.as_str())
    };
    assert_eq!(
        (param("train.epochs"), param("boards.targets")),
        (Some("200"), Some("[\"esp-eye\"]"))
    );
    let metric = |key: &str| {
        data.metrics
            .iter()
            .find(|metric| metric.key == key)
            .map(|metric| metric.point)
    };
    for key in [
        "accuracy",
        "float/accuracy",
        "class/normal/f1",
        "parity/int8/agreement",
        "device/esp-eye/arena_bytes",
        "device/esp-eye/energy_mj",
        "steps/train/seconds",
        "ingest/samples",
    ] {
        assert!(metric(key).is_some(), "{key}: {:?}", data.metrics);
    }
    assert_eq!(metric("loss").unwrap().step, 200);
    assert_eq!(data.datasets[0].name, "fan");
    let tag = |tags: &[Pair], key: &str| {
        tags.iter()
            .find(|tag| tag.key == key)
            .map(|tag| tag.value.clone())
    };
    assert_eq!(tag(&data.tags, "tinyops.state").as_deref(), Some("done"));
    assert_eq!(tag(&data.tags, own::VERSION_TAG).as_deref(), Some("fan@1"));
    // Float, int8, payload: each names the one before.
    let mut made_from = None;
    for (link, kind) in data.models.iter().zip(["float", "int8", "payload"]) {
        let model = tracking::logged_model::get(db, &link.model).await.unwrap();
        let about = logged_model::data_of(db, std::slice::from_ref(&model))
            .await
            .unwrap()
            .remove(0);
        assert_eq!(tag(&about.tags, own::VARIANT_TAG).as_deref(), Some(kind));
        assert_eq!(tag(&about.tags, own::MADE_FROM_TAG), made_from);
        assert!(
            about
                .metrics
                .iter()
                .all(|metric| metric.dataset_digest == data.datasets[0].digest)
        );
        let gone = tracking::logged_model::remove(db, &model.id).await;
        assert!(matches!(gone, Err(TrackingError::Forbidden(_))), "{gone:?}");
        made_from = Some(model.id);
    }
    assert_eq!(data.models.len(), 3);
    let version = tracking::registry::version(db, "fan", "1").await.unwrap();
    assert_eq!(
        (version.run, version.logged_model),
        (id.clone(), data.models[1].model.clone())
    );
    // What a pipeline wrote, only a pipeline changes; marks of one's own are welcome.
    let changed = tracking::run::update(db, &id, Some(Status::Failed), None, None).await;
    assert!(
        matches!(changed, Err(TrackingError::Forbidden(_))),
        "{changed:?}"
    );
    let mut marks = tracking::run::Batch::default();
    marks.tags.push(Pair {
        key: "seen".into(),
        value: "yes".into(),
    });
    tracking::run::log(db, &id, &marks).await.unwrap();
    marks.tags[0].key = "tinyops.state".into();
    let changed = tracking::run::log(db, &id, &marks).await;
    assert!(
        matches!(changed, Err(TrackingError::Forbidden(_))),
        "{changed:?}"
    );
    // The same again makes no model anew.
    hall.ask("once more").await;
    hall.turn().await;
    let again = tracking::run::get(db, &own::run_id(RunId(2)))
        .await
        .unwrap();
    let again = tinyops_store::tracking::run::data_of(db, &[again])
        .await
        .unwrap()
        .remove(0);
    assert_eq!(again.models, data.models);
}

#[tokio::test]
async fn runs_that_were_killed_and_runs_of_before_are_tracked_as_what_they_are() {
    let hall = Hall::new("").await;
    let asked = hall.ask("the new pump").await;
    let left = hall.kill_at_work(&asked, 1000).await;
    let db = hall.app.db();
    assert_eq!(
        own::catch_up(db, &hall.app.workshop().artifacts)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        own::catch_up(db, &hall.app.workshop().artifacts)
            .await
            .unwrap(),
        0
    );
    let id = own::run_id(left.id);
    let status = async || tracking::run::get(db, &id).await.unwrap().status;
    own::settle(db, "fan", hall.app.now()).await.unwrap();
    assert_eq!(status().await, Status::Running);
    hall.pass_ms(2000);
    own::settle(db, "fan", hall.app.now()).await.unwrap();
    assert_eq!(status().await, Status::Killed);
}

#[tokio::test]
async fn a_version_goes_out_by_the_strategy_of_the_project_and_only_once() {
    for (wanted, is_shadow) in [("canary", false), ("shadow", true)] {
        let hall = Hall::new(&format!("[retrain]\nrollout = \"{wanted}\"\n")).await;
        let new = NewDevice {
            board: "esp-eye".into(),
            cohort: "hall-1".into(),
            ..NewDevice::default()
        };
        let entropy = Entropy([9; 40]);
        let fleet = hall.app.fleet();
        fleet
            .register(&new, entropy, "test", hall.app.now())
            .await
            .unwrap();
        let asked = hall.ask("the new pump").await;
        hall.turn().await;
        let done = hall.trigger(&asked).await;
        assert_eq!(done.state, TriggerState::Done, "{done:?}");
        assert_eq!(done.detail.get("failed"), None, "{done:?}");
        let rollouts = rollout::list(hall.app.db(), 10).await.unwrap();
        assert_eq!(rollouts.len(), 1, "{rollouts:?}");
        let plan = &rollouts[0].plan;
        assert_eq!(
            plan.get("shadow").is_some_and(|shadow| !shadow.is_null()),
            is_shadow,
            "{plan}"
        );
        // The same recordings are the same version, which is out already or was taken back.
        hall.ask("once more").await;
        hall.turn().await;
        assert_eq!(hall.runs().await.len(), 2);
        assert_eq!(rollout::list(hall.app.db(), 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn nothing_goes_past_a_failed_gate() {
    let hall = Hall::new("[retrain]\nrollout = \"canary\"\n").await;
    // No accuracy is above 1.
    let mut workshop = hall.app.workshop().clone();
    workshop.project.project.threshold = 1.5;
    let door = Door {
        is_open_here: true,
        admin: None,
        is_tls: false,
    };
    let strict = assemble(&Config::of(workshop, Keyring::from_seed(&[7; 32])), door).0;
    let asked = hall.ask("the new pump").await;
    turn(&strict).await.unwrap();
    let failed = hall.trigger(&asked).await;
    assert_eq!(failed.state, TriggerState::Failed);
    let why = failed.detail["failed"].as_str().unwrap();
    assert!(
        why.starts_with("a gate said no: ") && why.contains("1.5"),
        "{why}"
    );
    assert_eq!(hall.runs().await[0].state, RunState::Refused);
    assert!(model::list(hall.app.db()).await.unwrap().is_empty());
    assert!(rollout::list(hall.app.db(), 10).await.unwrap().is_empty());
    // What a gate refuses is not tried again.
    hall.pass_ms(100 * 3_600_000);
    turn(&strict).await.unwrap();
    assert_eq!(hall.runs().await.len(), 1);
}

#[tokio::test]
async fn what_a_crash_left_behind_is_told_and_tried_again_with_a_pause_and_not_for_ever() {
    let hall = Hall::new("").await;
    let asked = hall.ask("the new pump").await;
    for tries in 1..TRIES_MAX {
        hall.kill_at_work(&asked, 60_000).await;
        hall.turn().await;
        let held = hall.trigger(&asked).await;
        assert_eq!(held.state, TriggerState::Taken, "its lease has not run out");
        hall.pass_ms(60_001);
        take_up(&hall.app).await.unwrap();
        let left = hall.trigger(&asked).await;
        assert_eq!((left.state, left.tries), (TriggerState::Waiting, tries));
        assert_eq!(left.detail["failed"], "its process ended in the middle");
        let pause = left.not_before.ms_since(hall.app.now());
        let minutes = [0, 1, 4, 16][tries as usize - 1];
        assert_eq!(pause, 60_000 * minutes);
        if pause > 0 {
            hall.pass_ms(pause - 1);
            hall.turn().await;
            assert_eq!(hall.trigger(&asked).await.state, TriggerState::Waiting);
            hall.pass_ms(1);
        }
        // A store knows one open run of a project: the next one ends what was left.
        let tx = hall.app.db().begin("test").await.unwrap();
        for mut open in run::open_of(&tx, "fan").await.unwrap() {
            open.state = RunState::Interrupted;
            open.ended_at = Some(hall.app.now());
            run::put(&tx, &mut open).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    hall.kill_at_work(&asked, 60_000).await;
    hall.pass_ms(60_001);
    hall.turn().await;
    let given_up = hall.trigger(&asked).await;
    assert_eq!(given_up.state, TriggerState::Failed);
    let why = given_up.detail["failed"].as_str().unwrap();
    assert_eq!(
        why,
        "its process ended in the middle; given up after 5 tries"
    );
    assert_eq!(hall.runs().await.len(), TRIES_MAX as usize);
}

#[tokio::test]
async fn a_trigger_that_was_left_is_answered_by_the_next_turn() {
    let hall = Hall::new("").await;
    let asked = hall.ask("the new pump").await;
    let left = hall.kill_at_work(&asked, 60_000).await;
    hall.pass_ms(60_001);
    hall.turn().await;
    hall.pass_ms(60_000);
    hall.turn().await;
    let done = hall.trigger(&asked).await;
    assert_eq!(
        (done.state, done.tries),
        (TriggerState::Done, 2),
        "{done:?}"
    );
    assert_eq!(done.detail.get("failed"), None);
    let runs = hall.runs().await;
    assert_eq!((runs.len(), runs[0].state), (2, RunState::Done));
    assert_eq!(
        (runs[1].id, runs[1].state),
        (left.id, RunState::Interrupted)
    );
}

#[tokio::test]
async fn a_run_that_ended_before_its_trigger_was_closed_is_not_done_again() {
    let hall = Hall::new("").await;
    let asked = hall.ask("the new pump").await;
    hall.turn().await;
    let mut open = hall.trigger(&asked).await;
    open.state = TriggerState::Taken;
    let tx = hall.app.db().begin("test").await.unwrap();
    trigger::put(&tx, &mut open).await.unwrap();
    tx.commit().await.unwrap();
    hall.turn().await;
    assert_eq!(hall.trigger(&asked).await.state, TriggerState::Taken);
    hall.pass_ms(CLOSING_MS);
    hall.turn().await;
    assert_eq!(hall.trigger(&asked).await.state, TriggerState::Done);
    assert_eq!(hall.runs().await.len(), 1);
}

#[tokio::test]
async fn of_two_servers_on_one_store_one_answers_a_trigger() {
    let hall = Hall::new("").await;
    let folder = tempfile::tempdir().unwrap();
    for machine in 0..4 {
        record(folder.path(), machine, 0);
    }
    let second = hall.second(folder.path()).await;
    let asked = hall.ask("the new pump").await;
    let (first, other) = tokio::join!(turn(&hall.app), turn(&second));
    for turned in [first, other] {
        assert!(turned.is_ok() || turned.unwrap_err().is_conflict());
    }
    assert_eq!(hall.trigger(&asked).await.state, TriggerState::Done);
    assert_eq!(hall.runs().await.len(), 1);

    // One that took it a while ago, and was taken for dead, begins nothing.
    let asked = hall.ask("once more").await;
    let tx = hall.app.db().begin("test").await.unwrap();
    let stale = trigger::take(&tx, "fan", hall.app.now())
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    hall.pass_ms(CLOSING_MS);
    take_up(&second).await.unwrap();
    let job = Job::Full { until: None };
    let reporter: Reporter = Arc::new(|_| {});
    let late = tinyops_pipeline::run(hall.app.workshop(), &job, Some(stale), &reporter).await;
    assert!(matches!(late, Err(RunError::TriggerTaken { trigger }) if trigger == asked.id));
    assert_eq!(hall.runs().await.len(), 1, "nothing is left of it");
}

#[tokio::test]
async fn of_two_projects_on_one_store_each_answers_its_own() {
    let hall = Hall::new("").await;
    let mut workshop = hall.app.workshop().clone();
    workshop.project.project.name = "pump".into();
    let door = Door {
        is_open_here: true,
        admin: None,
        is_tls: false,
    };
    let other = assemble(&Config::of(workshop, Keyring::from_seed(&[7; 32])), door).0;
    let wish = |reason| RunWish {
        actor: "test",
        reason,
        key: Some("spring"),
    };
    let of_fan = ask_for_run(hall.app.workshop(), wish("new fans")).await;
    let of_pump = ask_for_run(other.workshop(), wish("new pumps")).await;
    let (of_fan, of_pump) = (of_fan.unwrap(), of_pump.unwrap());
    assert_ne!(of_fan.id, of_pump.id);

    // What a server of the one has left, that of the other lets be.
    let tx = hall.app.db().begin("test").await.unwrap();
    let taken = trigger::take(&tx, "fan", hall.app.now()).await.unwrap();
    assert_eq!(taken.unwrap().id, of_fan.id);
    tx.commit().await.unwrap();
    hall.pass_ms(CLOSING_MS);
    turn(&other).await.unwrap();
    assert_eq!(hall.trigger(&of_fan).await.state, TriggerState::Taken);
    assert_eq!(hall.trigger(&of_pump).await.state, TriggerState::Done);
    hall.turn().await;
    assert_eq!(hall.trigger(&of_fan).await.state, TriggerState::Done);
    let runs = hall.runs().await;
    let projects: Vec<&str> = runs.iter().map(|run| run.project.as_str()).collect();
    assert_eq!(projects, ["fan", "pump"]);
}

#[tokio::test]
async fn a_run_elsewhere_is_asked_after_once_a_minute() {
    let hall = Hall::new("").await;
    let first = hall.ask("the new pump").await;
    hall.kill_at_work(&first, 10 * 60_000).await;
    let asked = hall.ask("once more").await;
    for minute in 1..3 {
        for _ in 0..60 {
            hall.turn().await;
            hall.pass_ms(1000);
        }
        let waits = hall.trigger(&asked).await;
        assert_eq!((waits.state, waits.tries), (TriggerState::Waiting, 0));
        let log = audit::list(hall.app.db(), 1000).await.unwrap();
        let of = |action: &str| {
            let subject = asked.id.to_string();
            let is_it = |entry: &&audit::Entry| entry.action == action && entry.subject == subject;
            log.iter().filter(is_it).count()
        };
        assert_eq!((of("run.take"), of("run.wait")), (minute, minute));
    }
}

#[tokio::test]
async fn recordings_at_fault_are_told_and_a_person_at_work_is_waited_for() {
    let hall = Hall::new("").await;
    let asked = hall.ask("the new pump").await;
    let at_work = hall.folder.path().join(".tinyops");
    fs::create_dir_all(&at_work).unwrap();
    let lock = fs::File::create(at_work.join("run.lock")).unwrap();
    lock.lock().unwrap();
    hall.turn().await;
    let waits = hall.trigger(&asked).await;
    assert_eq!((waits.state, waits.tries), (TriggerState::Waiting, 0));
    drop(lock);
    fs::remove_dir_all(hall.folder.path().join("data")).unwrap();
    hall.turn().await;
    let failed = hall.trigger(&asked).await;
    assert_eq!(failed.state, TriggerState::Failed);
    let why = failed.detail["failed"].as_str().unwrap();
    assert!(why.contains("cannot list the recordings"), "{why}");
}

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn a_schedule_asks_at_its_time_once_whatever_restarts() {
    let hall = Hall::new("[retrain]\nschedule = \"0 3 * * *\"\n").await;
    // What was due last night was before the schedule was known.
    hall.turn().await;
    let day_ms = 24 * HOUR_MS;
    let due = (NOW / day_ms + 1) * day_ms + 3 * HOUR_MS;
    hall.clock.store(due - 1, Ordering::Relaxed);
    hall.turn().await;
    assert_eq!(hall.runs().await, []);
    hall.pass_ms(1);
    hall.turn().await;
    hall.turn().await;
    assert_eq!(hall.runs().await.len(), 1);
    let triggers = trigger::list(hall.app.db(), 10).await.unwrap();
    assert_eq!(triggers.len(), 1, "{triggers:?}");
    assert_eq!(
        (cause_of(&triggers[0]), triggers[0].state),
        ("schedule", TriggerState::Done)
    );
    let why = triggers[0].detail["why"].as_str().unwrap();
    assert!(why.contains("03:00") && why.contains("0 3 * * *"), "{why}");
    // Another server on the store, and this one after a restart, know that it was answered.
    let settings = "[retrain]\nschedule = \"0 3 * * *\"\n";
    let root = hall.folder.path();
    let again = serve(root, root, settings, &hall.clock).await;
    turn(&again).await.unwrap();
    assert_eq!(hall.runs().await.len(), 1);
    // The server was away for three nights: one run makes up for them.
    hall.pass_ms(72 * HOUR_MS);
    let (first, other) = tokio::join!(turn(&hall.app), turn(&again));
    assert!(first.is_ok() || first.unwrap_err().is_conflict());
    assert!(other.is_ok() || other.unwrap_err().is_conflict());
    hall.turn().await;
    assert_eq!(hall.runs().await.len(), 2);
    assert_eq!(trigger::list(hall.app.db(), 10).await.unwrap().len(), 2);
    // Another schedule is for what is to come.
    let other = serve(
        root,
        root,
        "[retrain]\nschedule = \"0 2 * * *\"\n",
        &hall.clock,
    )
    .await;
    hall.pass_ms(24 * HOUR_MS);
    turn(&other).await.unwrap();
    assert_eq!(hall.runs().await.len(), 2);
}

#[tokio::test]
async fn a_schedule_waits_while_a_run_is_asked_for() {
    let hall = Hall::new("[retrain]\nschedule = \"@hourly\"\n").await;
    hall.turn().await;
    let asked = hall.ask("the new pump").await;
    let tx = hall.app.db().begin("test").await.unwrap();
    let mut later = trigger::get(&tx, asked.id).await.unwrap().unwrap();
    later.not_before = hall.app.now().plus_ms(3 * HOUR_MS);
    trigger::put(&tx, &mut later).await.unwrap();
    tx.commit().await.unwrap();
    hall.pass_ms(2 * HOUR_MS);
    hall.turn().await;
    assert_eq!(trigger::list(hall.app.db(), 10).await.unwrap().len(), 1);
    hall.pass_ms(HOUR_MS);
    hall.turn().await;
    hall.turn().await;
    let triggers = trigger::list(hall.app.db(), 10).await.unwrap();
    let causes: Vec<&str> = triggers.iter().map(cause_of).collect();
    assert_eq!(causes, ["schedule", "asked"]);
}

#[tokio::test]
async fn newly_labelled_recordings_set_a_run_off_when_there_are_enough() {
    let hall = Hall::new("[retrain]\nnew_labelled = 3\n").await;
    let mut look = Look::default();
    let mut minute = async || {
        turn_pipeline(&hall.app, &mut look).await.unwrap();
        hall.pass_ms(60_000);
        hall.runs().await.len()
    };
    // Nothing is known yet: eight recordings are new, once they have stayed as they are for a minute.
    assert_eq!(minute().await, 0);
    assert_eq!(minute().await, 1);
    let triggers = trigger::list(hall.app.db(), 10).await.unwrap();
    assert_eq!(cause_of(&triggers[0]), "data");
    assert_eq!(triggers[0].detail["why"], "8 recordings are newly labelled");
    for _ in 0..3 {
        assert_eq!(minute().await, 1, "nothing is new");
    }
    // Two are too few, and a file without a label is none.
    record(hall.folder.path(), 0, 1);
    fs::write(hall.folder.path().join("data/notes.txt"), "of the new pump").unwrap();
    for _ in 0..3 {
        assert_eq!(minute().await, 1);
    }
    // Two more, of which the second comes while the first was there: one run, for both.
    record(hall.folder.path(), 1, 1);
    assert_eq!(minute().await, 1, "somebody may be copying");
    assert_eq!(minute().await, 2);
    let triggers = trigger::list(hall.app.db(), 10).await.unwrap();
    assert_eq!(
        triggers[0].detail["why"],
        "4 recordings are newly labelled since fan@1"
    );
    assert_eq!(triggers[0].state, TriggerState::Done, "{:?}", triggers[0]);
    for _ in 0..3 {
        assert_eq!(minute().await, 2);
    }
    // After a restart, which has forgotten what it saw, nothing runs twice.
    for _ in 0..3 {
        hall.turn().await;
        hall.pass_ms(60_000);
    }
    assert_eq!(trigger::list(hall.app.db(), 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn recordings_that_a_gate_refused_a_model_of_are_not_tried_again_until_more_are_new() {
    let hall = Hall::new("[retrain]\nnew_labelled = 2\n").await;
    let mut workshop = hall.app.workshop().clone();
    workshop.project.project.threshold = 1.5;
    let door = Door {
        is_open_here: true,
        admin: None,
        is_tls: false,
    };
    let strict = assemble(&Config::of(workshop, Keyring::from_seed(&[7; 32])), door).0;
    let mut look = Look::default();
    let mut minutes = async |count: u32| {
        for _ in 0..count {
            turn_pipeline(&strict, &mut look).await.unwrap();
            hall.pass_ms(60_000);
        }
        let triggers = trigger::list(strict.db(), 10).await.unwrap();
        assert!(triggers.iter().all(|one| one.state == TriggerState::Failed));
        triggers.len()
    };
    assert_eq!(minutes(5).await, 1);
    record(hall.folder.path(), 0, 1);
    assert_eq!(minutes(5).await, 2);
    fs::remove_file(hall.folder.path().join("data/m0/blade/1.csv")).unwrap();
    assert_eq!(minutes(5).await, 2, "one that is gone is not new");
    fs::remove_dir_all(hall.folder.path().join("data")).unwrap();
    assert_eq!(minutes(5).await, 2, "nor is anything where no folder is");
}
