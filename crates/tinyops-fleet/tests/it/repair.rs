//! Repairs rung by rung, at a server that is started anew before every turn.

use serde_json::json;
use tinyops_fleet::diagnosis::Advice;
use tinyops_fleet::ladder::{End, Ladder, Phase, RepairPolicy, Rung};
use tinyops_fleet::plan::Plan;
use tinyops_fleet::repair::details;
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::{Event, Fleet, FleetError, Keyring, Policy};
use tinyops_store::alert::{AlertKind, NewAlert};
use tinyops_store::annotation::{self, AnnotationState};
use tinyops_store::drift::Scope;
use tinyops_store::repair::{self, Repair, RepairId};
use tinyops_store::run::{self, NewRun};
use tinyops_store::step::{self, Step, StepState};
use tinyops_store::trigger::{self, NewTrigger, Trigger, TriggerState};
use tinyops_store::{Digest, Timestamp, alert, audit, capsule, rollout};
use tinyops_wire::annotation::{Annotation, Answer, OrderReason, OrderState, Part};
use tinyops_wire::frame::{Features, Frame};

use crate::world::{DAY, Shift, World};

const ANNOTATOR: [u8; 32] = [5; 32];

fn policy(repair: RepairPolicy) -> Policy {
    Policy {
        round: RoundPolicy {
            total_window_count_min: 50,
            ..RoundPolicy::default()
        },
        repair,
        rollout: Plan {
            reports: 1,
            // What is looked at here is what comes after a rollout.
            halt_on: Vec::new(),
            ..Plan::default()
        },
        ..Policy::default()
    }
}

fn annotated() -> RepairPolicy {
    RepairPolicy {
        annotator: Some(ANNOTATOR),
        device_bytes_max: 1 << 20,
        windows: 4,
        windows_of: 20,
        labelled_min: 5,
        ..RepairPolicy::default()
    }
}

/// Ten devices whose fleet has drifted, and the server that is started anew before every turn.
struct Hall {
    world: World,
    policy: Policy,
}

impl Hall {
    async fn drifted(repair: RepairPolicy) -> Hall {
        let policy = policy(repair);
        let mut world = World::new(10, policy.clone()).await;
        world.release().await;
        let wish = Wish::of("fan", 1);
        let fleet = &world.fleet;
        fleet.start_rollout(&wish, "ann", world.now).await.unwrap();
        for _ in 0..24 {
            world.deliver(|_| true).await;
            world.report_all(|_| Shift::default()).await;
            world.fleet.turn(world.now).await.unwrap();
        }
        // Labels of the time before: nine of ten are right.
        let labels: Vec<Vec<u8>> = (world.devices.iter_mut())
            .map(|device| device.outcome(0, &[18, 2]))
            .collect();
        world.send(&labels).await;
        for _ in 0..6 {
            world.report_all(|_| drift()).await;
        }
        Hall { world, policy }
    }

    /// One turn of a server that knows nothing but its records.
    async fn turn(&mut self) -> Vec<Event> {
        let old = &self.world.fleet;
        let (db, artifacts) = (old.db.clone(), old.artifacts.clone());
        let keys = Keyring::from_seed(&[7; 32]);
        self.world.fleet = Fleet::new(db, artifacts, self.policy.clone()).with_keys(keys);
        self.world.fleet.turn(self.world.now).await.unwrap()
    }

    async fn repair(&self) -> (Repair, Ladder) {
        let newest = repair::list(&self.world.fleet.db, 1).await.unwrap();
        let newest = newest.into_iter().next().expect("a repair");
        let ladder = details(&newest).unwrap();
        (newest, ladder)
    }

    /// From the alert to the trigger that the round's sum makes.
    async fn round(&mut self) -> Trigger {
        let opened = self.turn().await;
        assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
        self.world.deliver(|_| true).await;
        self.world.now = self.world.now.plus_ms(2 * DAY);
        self.turn().await;
        self.world.deliver(|_| true).await;
        let closed = self.turn().await;
        let Some(Event::Triggered(asked)) = closed.last() else {
            panic!("{closed:?}");
        };
        self.turn().await;
        asked.clone()
    }

    /// What the making loop would write: a run of a trigger, and how it ended.
    async fn answer(&self, asked: &Trigger, version: Option<u32>) {
        let tx = self.world.fleet.db.begin("test").await.unwrap();
        let now = self.world.now;
        let mut asked = trigger::get(&tx, asked.id).await.unwrap().unwrap();
        let new = NewRun {
            project: "fan".to_owned(),
            kind: asked.kind.clone(),
            trigger: Some(asked.id),
            settings: Digest::of(b"settings"),
            code: "0".to_owned(),
            seed: 1,
            owner: "test".to_owned(),
            lease_until: now,
        };
        let run = run::add(&tx, &new, now).await.unwrap();
        asked.run = Some(run.id);
        match version {
            Some(version) => {
                asked.state = TriggerState::Done;
                let step = Step {
                    run: run.id,
                    index: 0,
                    name: "register".to_owned(),
                    state: StepState::Done,
                    key: None,
                    inputs: Vec::new(),
                    outputs: Vec::new(),
                    seconds: 0.0,
                    detail: json!({ "version": version }),
                    changed_at: now,
                };
                step::put(&tx, &step).await.unwrap();
            }
            None => {
                asked.state = TriggerState::Failed;
                asked.detail["failed"] = json!("a gate said no: accuracy: 0.85 of 0.9");
            }
        }
        trigger::put(&tx, &mut asked).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Sends out the next version, until every device has it.
    async fn ship(&mut self, asked: &Trigger) -> u32 {
        let version = self.world.release().await.version;
        self.answer(asked, Some(version)).await;
        self.turn().await;
        let wish = Wish::of("fan", version);
        let (fleet, now) = (&self.world.fleet, self.world.now);
        fleet.start_rollout(&wish, "loop", now).await.unwrap();
        for _ in 0..20 {
            self.world.deliver(|_| true).await;
            self.world.report_all(|_| drift()).await;
            self.turn().await;
            if matches!(self.repair().await.1.phase, Phase::Judging { .. }) {
                return version;
            }
        }
        panic!("{:#?}", self.repair().await);
    }

    /// Labels of the version that runs: so many of twenty on each device are right.
    async fn labels(&mut self, right: u16) -> Vec<Event> {
        let devices = self.world.devices.iter_mut();
        let told: Vec<Vec<u8>> = devices
            .map(|device| device.outcome(0, &[right, 20 - right]))
            .collect();
        self.world.send(&told).await;
        self.turn().await
    }

    /// Each device answers its order: with a parcel, or a refusal.
    async fn parcels(&mut self, refuses: impl Fn(usize) -> bool) {
        let orders = annotation::list(&self.world.fleet.db, 100).await.unwrap();
        for order in orders {
            let id = order.asked.device;
            let is_its = |device: &crate::world::Virtual| device.row.id == id;
            let index = self.world.devices.iter().position(is_its).unwrap();
            let number = order.id.0 as u32;
            let answer = |state, reason| {
                Annotation::Answer(Answer {
                    order: number,
                    state,
                    reason,
                    count: 4,
                    left: 5,
                    bytes: 64,
                })
            };
            let told = match refuses(index) {
                true => vec![answer(OrderState::Refused, OrderReason::Consent)],
                false => vec![
                    answer(OrderState::Ready, OrderReason::None),
                    Annotation::Part(Part {
                        order: number,
                        offset: 0,
                        is_last: true,
                        bytes: &[9; 64],
                    }),
                ],
            };
            for annotation in told {
                let mut out = [0; 128];
                let len = Frame::Annotation(annotation).encode(&mut out).unwrap();
                let sealed = self.world.devices[index].seal(&out[..len]);
                self.world.send(&[sealed]).await;
            }
        }
    }

    /// What the making loop asks for once recordings are newly labelled.
    async fn labelled(&self) -> Trigger {
        let fleet = &self.world.fleet;
        let (id, wanted) = fleet.awaits_labels("fan").await.unwrap().expect("it waits");
        assert_eq!(wanted, 5);
        let new = NewTrigger {
            kind: "train".to_owned(),
            model: "fan".to_owned(),
            payload: None,
            detail: json!({ "cause": "data", "repair": id.0 }),
        };
        let tx = fleet.db.begin("test").await.unwrap();
        let asked = trigger::add(&tx, &new, self.world.now).await.unwrap();
        tx.commit().await.unwrap();
        asked
    }
}

fn drift() -> Shift {
    Shift {
        mean: 0.8,
        output: -0.8,
        ..Shift::default()
    }
}

fn ended(events: &[Event]) -> Option<End> {
    events.iter().find_map(|event| match event {
        Event::RepairEnded(repair) => details(repair).unwrap().end(),
        _ => None,
    })
}

#[tokio::test]
async fn a_head_that_a_gate_refuses_leads_to_windows_and_training() {
    let mut hall = Hall::drifted(annotated()).await;
    let asked = hall.round().await;
    assert_eq!(asked.detail["repair"], 1);
    let (_, ladder) = hall.repair().await;
    assert_eq!(ladder.target, Some(0.9));
    assert_eq!(
        ladder.phase,
        Phase::Running {
            rung: Rung::Round,
            trigger: asked.id.0
        }
    );
    assert!(ladder.device_bytes > 20, "{ladder:?}");
    hall.answer(&asked, None).await;
    hall.turn().await;
    // The gate's word, and at once the orders.
    let orders = annotation::list(&hall.world.fleet.db, 100).await.unwrap();
    assert_eq!(orders.len(), 10);
    assert!(orders.iter().all(|order| {
        order.asked.annotator == ANNOTATOR && (order.asked.count, order.asked.windows) == (4, 20)
    }));
    hall.turn().await;
    assert_eq!(
        annotation::list(&hall.world.fleet.db, 100)
            .await
            .unwrap()
            .len(),
        10,
        "once"
    );
    hall.parcels(|index| index == 3).await;
    let orders = annotation::list(&hall.world.fleet.db, 100).await.unwrap();
    let whole = orders
        .iter()
        .filter(|order| order.state == AnnotationState::Whole);
    assert_eq!(whole.count(), 9);
    hall.turn().await;
    let (_, ladder) = hall.repair().await;
    let told = &ladder.steps.last().unwrap().what;
    assert!(
        told.starts_with("36 windows of 9 devices came; the others: 1 consent"),
        "{told}"
    );
    let asked = hall.labelled().await;
    hall.turn().await;
    let version = hall.ship(&asked).await;
    assert_eq!(hall.labels(18).await.len(), 1);
    let (repair, ladder) = hall.repair().await;
    assert_eq!(ladder.end(), Some(End::Repaired), "{ladder:#?}");
    assert_eq!(ladder.kept, [(Rung::Windows, version)]);
    assert!(!repair.is_open);
    // All of it is one trail: in the record, in the audit log, and with the trigger that it led to.
    let told: Vec<&str> = ladder.steps.iter().map(|step| step.what.as_str()).collect();
    for what in [
        "cohort hall has drifted",
        "round 1",
        "a gate said no",
        "10 devices are asked",
        "version 2",
    ] {
        assert!(
            told.iter().any(|told| told.contains(what)),
            "{what}: {told:#?}"
        );
    }
    let log = audit::list(&hall.world.fleet.db, 200).await.unwrap();
    let steps = log
        .iter()
        .filter(|entry| entry.action == "repair.step")
        .count();
    assert_eq!(steps, ladder.steps.len() - 1, "and how it began");
    for action in ["repair.begin", "repair.end", "round.open", "annotation.ask"] {
        assert!(log.iter().any(|entry| entry.action == action), "{action}");
    }
    let episodes = hall.world.fleet.episodes(9).await.unwrap();
    let of_training = episodes
        .iter()
        .find(|episode| episode.trigger.id == asked.id)
        .unwrap();
    let moments = of_training.moments();
    assert!(
        moments
            .iter()
            .any(|moment| moment.what.contains("level 2: round 1 asks")),
        "{moments:#?}"
    );
    // And nothing begins anew: what stood is over.
    assert_eq!(hall.turn().await, []);
    assert_eq!(
        repair::list(&hall.world.fleet.db, 9).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_head_that_later_labels_find_no_better_is_taken_back_and_the_end_is_told() {
    let mut hall = Hall::drifted(RepairPolicy::default()).await;
    let asked = hall.round().await;
    // While it goes on, the model that has drifted is right about half.
    hall.labels(10).await;
    let version = hall.ship(&asked).await;
    let events = hall.labels(10).await;
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::RolloutHalted(_))),
        "{events:?}"
    );
    let newest = rollout::of_model(&hall.world.fleet.db, "fan")
        .await
        .unwrap();
    let newest = newest
        .into_iter()
        .find(|rollout| rollout.version == version)
        .unwrap();
    assert!(
        newest
            .reason
            .to_string()
            .contains("later labels find version 2"),
        "{}",
        newest.reason
    );
    // Nobody is named who may see windows, so it ends, and says so to whoever looks after alerts.
    let events = [events, hall.turn().await].concat();
    assert_eq!(ended(&events), Some(End::Unrepaired), "{events:?}");
    let (repair, ladder) = hall.repair().await;
    let told: Vec<&str> = ladder.steps.iter().map(|step| step.what.as_str()).collect();
    assert!(
        told.iter()
            .any(|told| told.contains("`annotator` under `[repair]`")),
        "{told:#?}"
    );
    assert!(
        told.last()
            .unwrap()
            .starts_with("it ends without a repair: alerts #"),
        "{told:#?}"
    );
    let standing = alert::standing(&hall.world.fleet.db).await.unwrap();
    assert!(
        standing
            .iter()
            .any(|alert| alert.detail["repair ended in vain"] == repair.id.0),
        "{standing:?}"
    );
    // Not at once again, and again after a week.
    let begun = async |hall: &Hall| repair::list(&hall.world.fleet.db, 9).await.unwrap().len();
    hall.world.deliver(|_| true).await;
    hall.world.report_all(|_| drift()).await;
    hall.turn().await;
    assert_eq!(begun(&hall).await, 1);
    hall.world.now = hall.world.now.plus_ms(8 * DAY);
    hall.turn().await;
    assert_eq!(begun(&hall).await, 2);
}

#[tokio::test]
async fn a_head_that_is_better_and_not_enough_is_kept_while_windows_are_ordered() {
    let mut hall = Hall::drifted(annotated()).await;
    let asked = hall.round().await;
    hall.labels(10).await;
    let version = hall.ship(&asked).await;
    hall.labels(15).await;
    let (_, ladder) = hall.repair().await;
    assert_eq!(ladder.kept, [(Rung::Round, version)]);
    assert_eq!(ladder.best, Some(0.75));
    assert!(
        matches!(ladder.phase, Phase::Labelling { .. }),
        "{ladder:#?}"
    );
    // Those that run the new version are asked for windows.
    let capsule = capsule::of_model(&hall.world.fleet.db, "fan")
        .await
        .unwrap();
    let capsule = capsule
        .into_iter()
        .find(|capsule| capsule.version == version)
        .unwrap();
    let orders = annotation::list(&hall.world.fleet.db, 100).await.unwrap();
    assert_eq!(orders.len(), 10);
    assert!(orders.iter().all(|order| order.asked.model == capsule.id));
    // Nobody lets windows go: it ends, and what was kept stays.
    hall.parcels(|_| true).await;
    let events = hall.turn().await;
    assert_eq!(ended(&events), Some(End::Unrepaired), "{events:?}");
    let rollouts = rollout::of_model(&hall.world.fleet.db, "fan")
        .await
        .unwrap();
    assert!(
        rollouts
            .iter()
            .all(|rollout| rollout.state == rollout::RolloutState::Done)
    );
}

#[tokio::test]
async fn a_budget_that_a_round_would_break_refuses_it_before_it_is_tried() {
    let mut hall = Hall::drifted(RepairPolicy {
        device_bytes_max: 100,
        ..RepairPolicy::default()
    })
    .await;
    let events = hall.turn().await;
    assert_eq!(ended(&events), Some(End::Unrepaired), "{events:?}");
    let (_, ladder) = hall.repair().await;
    let told = ladder.steps.iter().any(|step| {
        step.what
            .contains("the budget of 100 in 30 days leaves 100")
    });
    assert!(told, "{ladder:#?}");
}

/// The standing alerts' scopes, once all devices but these have heads of their own that do better.
async fn standing_after_own_heads(left: &[usize], policy: Policy) -> (Vec<Scope>, Hall) {
    let mut hall = Hall::drifted(annotated()).await;
    hall.policy = policy;
    hall.world.hello_all(Features::OWN_HEAD).await;
    // One of them alarms by itself, too.
    for device in 0..2 {
        let tx = hall.world.fleet.db.begin("test").await.unwrap();
        let new = NewAlert {
            scope: Scope::Device(hall.world.devices[device].row.id),
            model: hall.world.devices[device].model,
            kind: AlertKind::Drift,
            advice: Advice::HeadUpdate.word().to_owned(),
            detail: json!({}),
        };
        alert::raise(&tx, &new, hall.world.now).await.unwrap();
        tx.commit().await.unwrap();
    }
    hall.turn().await;
    let (_, ladder) = hall.repair().await;
    let rung = Rung::OwnHeads;
    assert_eq!(ladder.phase, Phase::OnDevices { rung }, "{ladder:#?}");
    for (index, device) in hall.world.devices.iter_mut().enumerate() {
        device.has_own_head = !left.contains(&index);
    }
    let shift = |index: usize| match left.contains(&index) {
        true => drift(),
        false => Shift::default(),
    };
    for _ in 0..30 {
        hall.world.report_all(shift).await;
    }
    hall.turn().await;
    let standing = alert::standing(&hall.world.fleet.db).await.unwrap();
    let scopes = standing.into_iter().map(|alert| alert.scope);
    (scopes.collect(), hall)
}

#[tokio::test]
async fn heads_of_devices_own_close_the_alerts_of_those_that_have_them() {
    let mut policy = policy(annotated());
    policy.own_heads = true;
    // One in ten may be left.
    policy.round.alarmed_share_min = 0.15;
    let (standing, hall) = standing_after_own_heads(&[], policy.clone()).await;
    let (_, ladder) = hall.repair().await;
    assert_eq!(ladder.end(), Some(End::Repaired), "{ladder:#?}");
    assert_eq!(standing, []);
    let (standing, hall) = standing_after_own_heads(&[1], policy).await;
    let (_, ladder) = hall.repair().await;
    assert_eq!(ladder.end(), Some(End::Repaired), "{ladder:#?}");
    let left = Scope::Device(hall.world.devices[1].row.id);
    assert_eq!(standing, [left], "one without a head drifts on");
}

#[tokio::test]
async fn a_person_ends_a_repair_once() {
    let mut hall = Hall::drifted(annotated()).await;
    hall.turn().await;
    let (repair, _) = hall.repair().await;
    let fleet = hall.world.fleet.clone();
    let stop = async |why| {
        fleet
            .stop_repair(repair.id, "ana", why, hall.world.now)
            .await
    };
    assert!(matches!(stop(" ").await, Err(FleetError::Reason)));
    let ended = stop("the fans are sold").await.unwrap();
    assert!(!ended.is_open);
    assert!(matches!(
        stop("again").await,
        Err(FleetError::RepairOver(_))
    ));
    let nobody = fleet
        .stop_repair(RepairId(99), "ana", "x", Timestamp(0))
        .await;
    assert!(matches!(nobody, Err(FleetError::NoRepair(_))));
    // The alerts still stand, and begin nothing.
    hall.world.now = hall.world.now.plus_ms(2 * DAY);
    hall.turn().await;
    assert_eq!(
        repair::list(&hall.world.fleet.db, 9).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn one_that_cannot_be_read_holds_up_its_model_until_a_person_ends_it() {
    let mut hall = Hall::drifted(annotated()).await;
    let db = hall.world.fleet.db.clone();
    let model = tinyops_store::presence::by_model(&db).await.unwrap()[0]
        .0
        .expect("it runs one");
    let tx = db.begin("test").await.unwrap();
    let foreign = json!({ "phase": { "is": "dreaming" } });
    let now = hall.world.now;
    let unread = repair::add(&tx, "fan", model, &foreign, now).await.unwrap();
    tx.commit().await.unwrap();
    hall.turn().await;
    let all = repair::list(&db, 9).await.unwrap();
    assert_eq!(all.len(), 1, "it holds up others of its model");
    let stop = async |hall: &Hall| {
        let (fleet, now) = (&hall.world.fleet, hall.world.now);
        fleet
            .stop_repair(unread.id, "ana", "made by a later version", now)
            .await
    };
    let ended = stop(&hall).await.unwrap();
    assert!(!ended.is_open);
    assert_eq!(ended.state, foreign, "nothing of it is lost");
    assert!(matches!(stop(&hall).await, Err(FleetError::RepairOver(_))));
    let log = audit::list(&db, 200).await.unwrap();
    let of_it = log.iter().filter(|entry| entry.actor == "ana");
    let mut told: Vec<&str> = of_it.map(|entry| entry.action.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["repair.end", "repair.step"]);
    // As after any that a person ended, the model is tried again after a week.
    hall.turn().await;
    assert_eq!(repair::list(&db, 9).await.unwrap().len(), 1);
    hall.world.now = hall.world.now.plus_ms(8 * DAY);
    hall.world.report_all(|_| drift()).await;
    hall.turn().await;
    let all = repair::list(&db, 9).await.unwrap();
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all[0].is_open);
    assert!(details(&all[0]).is_ok());
}

#[tokio::test]
async fn windows_are_ordered_once_devices_are_back_from_a_version_that_was_taken_back() {
    let mut hall = Hall::drifted(annotated()).await;
    let drifted = hall.world.devices[0].model;
    let asked = hall.round().await;
    hall.labels(10).await;
    hall.ship(&asked).await;
    hall.labels(10).await;
    hall.turn().await;
    let orders = async |hall: &Hall| annotation::list(&hall.world.fleet.db, 99).await.unwrap();
    assert_eq!(orders(&hall).await, [], "they all run what was taken back");
    assert!(hall.repair().await.0.is_open);
    // They go back, and say so in their next report.
    hall.world.deliver(|_| true).await;
    hall.world.report_all(|_| drift()).await;
    hall.turn().await;
    let ordered = orders(&hall).await;
    assert_eq!(ordered.len(), 10, "{:#?}", hall.repair().await.1);
    assert!(ordered.iter().all(|order| order.asked.model == drifted));
}
