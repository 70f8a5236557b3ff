//! Rollouts from the first canary to the last device, or back.

use tinyops_fleet::cost::Newest;
use tinyops_fleet::plan::{Plan, Strategy};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::window::Windows;
use tinyops_fleet::{Event, FleetError, Policy};
use tinyops_store::model::{self, Stage};
use tinyops_store::rollout::{self, Delivery, RolloutState};
use tinyops_store::{ModelId, audit};

use crate::world::{DAY, Shift, World};

fn wish(version: u32) -> Wish<'static> {
    Wish {
        selector: "cohort = hall",
        ..Wish::of("fan", version)
    }
}

async fn turn(world: &World) -> Vec<String> {
    let events = world.fleet.turn(world.now).await.unwrap();
    let name = |event: &Event| match event {
        Event::WaveDone(_) => "wave".to_owned(),
        Event::RolloutDone(_) => "done".to_owned(),
        Event::RolloutHalted(rollout) => format!(
            "halted: {}",
            rollout.reason["metric"].as_str().unwrap_or("?")
        ),
        other => format!("{other:?}"),
    };
    events.iter().map(name).collect()
}

async fn stage(world: &World, version: u32) -> Stage {
    model::get(&world.fleet.db, "fan", version)
        .await
        .unwrap()
        .unwrap()
        .stage
}

/// Version 1 on every device.
async fn settled(device_count: u64) -> (World, ModelId) {
    let mut world = World::new(device_count, Policy::default()).await;
    let capsule = world.release().await;
    world
        .fleet
        .start_rollout(&wish(1), "ann", world.now)
        .await
        .unwrap();
    for _ in 0..6 {
        world.deliver(|_| true).await;
        world.report_all(|_| Shift::default()).await;
        turn(&world).await;
    }
    assert!(
        world
            .devices
            .iter()
            .all(|device| device.model == capsule.id),
        "version 1 is everywhere"
    );
    assert_eq!(stage(&world, 1).await, Stage::Production);
    (world, capsule.id)
}

#[tokio::test]
async fn a_good_model_reaches_everyone_after_its_canaries() {
    let (mut world, _) = settled(20).await;
    let next = world.release().await;
    let (_, events) = world
        .fleet
        .start_rollout(&wish(2), "ann", world.now)
        .await
        .unwrap();
    assert!(
        matches!(
            events[..],
            [Event::RolloutStarted {
                canary_count: 2,
                ..
            }]
        ),
        "{events:?}"
    );
    let twice = world.fleet.start_rollout(&wish(2), "ann", world.now).await;
    assert!(matches!(twice, Err(FleetError::Underway(_))), "{twice:?}");
    assert_eq!(turn(&world).await, [""; 0]);
    world.deliver(|_| true).await;
    assert_eq!(
        world
            .devices
            .iter()
            .filter(|device| device.model == next.id)
            .count(),
        2
    );
    assert_eq!(turn(&world).await, [""; 0], "they have not reported yet");
    world.report_all(|_| Shift::default()).await;
    world.report_all(|_| Shift::default()).await;
    assert_eq!(turn(&world).await, ["wave"]);
    world.deliver(|_| true).await;
    assert_eq!(turn(&world).await, ["done"]);
    assert!(world.devices.iter().all(|device| device.model == next.id));
    assert_eq!(
        (stage(&world, 1).await, stage(&world, 2).await),
        (Stage::Archived, Stage::Production)
    );
    world.enrol().await;
    let newest = world.devices.len() - 1;
    world.deliver(|_| true).await;
    assert_eq!(
        world.devices[newest].model,
        ModelId(0),
        "a done rollout takes nobody in"
    );
}

#[tokio::test]
async fn a_model_that_canaries_refuse_goes_back() {
    let (mut world, old) = settled(20).await;
    world.release().await;
    let (started, _) = world
        .fleet
        .start_rollout(&wish(2), "ann", world.now)
        .await
        .unwrap();
    world.deliver(|_| false).await;
    assert_eq!(turn(&world).await, ["halted: share of devices in trouble"]);
    let members = rollout::members(&world.fleet.db, started.id).await.unwrap();
    let failed = members
        .iter()
        .find(|member| member.delivery == Delivery::Failed)
        .unwrap();
    assert_eq!(
        (&failed.detail["reason"], failed.target),
        (&"golden".into(), None)
    );
    assert_eq!(
        (stage(&world, 1).await, stage(&world, 2).await),
        (Stage::Production, Stage::Rejected)
    );
    world.deliver(|_| true).await;
    assert!(
        world.devices.iter().all(|device| device.model == old),
        "nobody is offered it again"
    );
}

#[tokio::test]
async fn canaries_that_err_are_taken_back_to_what_they_ran() {
    let (mut world, old) = settled(20).await;
    let bad = world.release().await;
    world
        .fleet
        .start_rollout(&wish(2), "ann", world.now)
        .await
        .unwrap();
    world.deliver(|_| true).await;
    let judged: Vec<Vec<u8>> = world
        .devices
        .iter_mut()
        .map(|device| {
            if device.model == bad.id {
                device.outcome(1, &[20, 5])
            } else {
                device.outcome(1, &[1, 24])
            }
        })
        .collect();
    world.send(&judged).await;
    assert_eq!(turn(&world).await, ["halted: accuracy"]);
    world.deliver(|_| true).await;
    assert!(
        world.devices.iter().all(|device| device.model == old),
        "they were told to go back"
    );
    world.report_all(|_| Shift::default()).await;
    world.now = world.now.plus_ms(DAY);
    let ids = world.ids();
    assert_eq!(
        world.fleet.owed_many(&ids, world.now).await.unwrap(),
        [],
        "and are told no more"
    );
    let log = audit::list(&world.fleet.db, 5).await.unwrap();
    assert!(
        log.iter()
            .any(|entry| entry.action == "rollout.halted" && entry.detail["candidate"] == 0.8),
        "{log:?}"
    );
}

#[tokio::test]
async fn outcomes_that_cannot_be_take_no_model_back() {
    let (mut world, _) = settled(20).await;
    let next = world.release().await;
    let started = world.fleet.start_rollout(&wish(2), "ann", world.now).await;
    let (rollout, _) = started.unwrap();
    world.deliver(|_| true).await;
    // Of two classes, what runs is right; the candidates' outcomes are of a third, and of four.
    let judged: Vec<Vec<u8>> = world
        .devices
        .iter_mut()
        .enumerate()
        .map(
            |(index, device)| match (device.model == next.id, index % 2) {
                (true, 0) => device.outcome(7, &[20, 5]),
                (true, _) => device.outcome(1, &[20, 0, 0, 5]),
                (false, _) => device.outcome(1, &[1, 24]),
            },
        )
        .collect();
    world.send(&judged).await;
    assert_eq!(turn(&world).await, [""; 0]);
    let members = rollout::members(&world.fleet.db, rollout.id).await.unwrap();
    let judged_by = |member: &rollout::Member| member.detail["watch"]["judged"][1].as_i64();
    let candidates = members
        .iter()
        .filter(|member| member.delivery == Delivery::Confirmed);
    let counts: Vec<Option<i64>> = candidates.map(judged_by).collect();
    assert_eq!(counts, [Some(0); 2]);
}

#[tokio::test]
async fn a_model_that_takes_longer_is_taken_back_with_the_ratio() {
    let (mut world, old) = settled(60).await;
    let slow = world.release().await;
    let plan = Plan {
        reports: 1,
        ..Plan::default()
    }
    .with(Strategy::Canary { share: 0.4 });
    let wish = Wish {
        plan: Some(plan),
        ..wish(2)
    };
    let started = world.fleet.start_rollout(&wish, "ann", world.now).await;
    let id = started.unwrap().0.id;
    turn(&world).await;
    world.deliver(|_| true).await;
    let models: Vec<ModelId> = world.devices.iter().map(|device| device.model).collect();
    let of = |index: usize| Shift {
        micros: if models[index] == slow.id {
            6_000.0
        } else {
            4_000.0
        },
        ..Shift::default()
    };
    let mut told = Vec::new();
    for _ in 0..4 {
        world.report_all(of).await;
        told.extend(turn(&world).await);
    }
    assert_eq!(told, ["halted: latency"]);
    let halted = rollout::get(&world.fleet.db, id).await.unwrap().unwrap();
    let interval = &halted.reason["interval"];
    assert!(
        interval[0].as_f64().unwrap() > 0.4 && interval[1].as_f64().unwrap() < 0.6,
        "{}",
        halted.reason
    );
    world.deliver(|_| true).await;
    assert!(world.devices.iter().all(|device| device.model == old));
    // And what each device says of it can be read.
    let newest = Newest::read(&world.fleet.db, &world.devices[0].row).await;
    let cost = newest.unwrap().expect("it measures it").cost;
    let expected = of(0).micros;
    assert!((cost.mean_us / expected - 1.0).abs() < 0.07, "{cost:?}");
    assert!(
        (cost.ram_share.unwrap() / 0.5 - 1.0).abs() < 0.025,
        "{cost:?}"
    );
}

#[tokio::test]
async fn silence_counts_against_a_model_but_absence_does_not() {
    let (mut world, _) = settled(20).await;
    world.release().await;
    let plan = Plan::default().with(Strategy::Canary { share: 0.25 });
    let slow = Wish {
        plan: Some(plan),
        ..wish(2)
    };
    world
        .fleet
        .start_rollout(&slow, "ann", world.now)
        .await
        .unwrap();
    // The canaries go on reporting with the old model: heard, and not installing.
    for _ in 0..4 {
        assert_eq!(turn(&world).await, [""; 0]);
        world.report_all(|_| Shift::default()).await;
    }
    assert_eq!(turn(&world).await, ["halted: installs"]);

    let (mut world, _) = settled(20).await;
    world.release().await;
    let (started, _) = world
        .fleet
        .start_rollout(&wish(2), "ann", world.now)
        .await
        .unwrap();
    for _ in 0..6 {
        world.now = world.now.plus_ms(DAY);
        assert_eq!(turn(&world).await, [""; 0], "nobody was heard of");
    }
    world
        .fleet
        .pause_rollout(started.id, "ann", "wait", world.now)
        .await
        .unwrap();
    let ids = world.ids();
    assert_eq!(
        world.fleet.owed_many(&ids, world.now).await.unwrap(),
        [],
        "nothing is offered while it is held"
    );
    let resumed = world
        .fleet
        .resume_rollout(started.id, "ann", world.now)
        .await
        .unwrap();
    assert_eq!(resumed.state, RolloutState::Running);
    assert_eq!(
        world.fleet.owed_many(&ids, world.now).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn a_person_can_take_a_done_rollout_back() {
    let (mut world, old) = settled(10).await;
    world.release().await;
    let (started, _) = world
        .fleet
        .start_rollout(&wish(2), "ann", world.now)
        .await
        .unwrap();
    for _ in 0..4 {
        world.deliver(|_| true).await;
        world.report_all(|_| Shift::default()).await;
        turn(&world).await;
    }
    world
        .fleet
        .revert_rollout(started.id, "ann", "too loud", world.now)
        .await
        .unwrap();
    world.deliver(|_| true).await;
    assert!(world.devices.iter().all(|device| device.model == old));
    assert_eq!(
        (stage(&world, 1).await, stage(&world, 2).await),
        (Stage::Production, Stage::Rejected)
    );
}

/// How many devices run what.
fn running(world: &World, model: ModelId) -> usize {
    let runs_it = |device: &&crate::world::Virtual| device.model == model;
    world.devices.iter().filter(runs_it).count()
}

#[tokio::test]
async fn a_rollout_goes_on_matching_devices_that_come_later() {
    let (mut world, _) = settled(6).await;
    let next = world.release().await;
    let everyone = Plan::default().with(Strategy::Canary { share: 1.0 });
    let north = Wish {
        selector: "site = north and board != x",
        plan: Some(everyone),
        ..Wish::of("fan", 2)
    };
    let nobody = world.fleet.start_rollout(&north, "ann", world.now).await;
    assert!(
        matches!(nobody, Err(FleetError::NoCapsule { .. })),
        "{nobody:?}"
    );
    world.enrol_with(&["site=north"]).await;
    world
        .fleet
        .start_rollout(&north, "ann", world.now)
        .await
        .unwrap();
    world.enrol_with(&["site=south"]).await;
    world.enrol_with(&["site=north"]).await;
    turn(&world).await;
    world.deliver(|_| true).await;
    let has_it: Vec<bool> = world
        .devices
        .iter()
        .map(|device| device.model == next.id)
        .collect();
    assert_eq!(
        has_it,
        [false, false, false, false, false, false, true, false, true]
    );

    let bad = Wish {
        selector: "site ~ north",
        ..north.clone()
    };
    let error = world
        .fleet
        .start_rollout(&bad, "ann", world.now)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("at character 6"), "{error}");
    let plan = Plan::default().with(Strategy::Staged { waves: vec![] });
    let bad = Wish {
        plan: Some(plan),
        ..north
    };
    let error = world
        .fleet
        .start_rollout(&bad, "ann", world.now)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("waves are shares that rise"),
        "{error}"
    );
}

#[tokio::test]
async fn a_device_belongs_to_the_rollout_of_the_highest_priority() {
    let (mut world, _) = settled(10).await;
    for _ in 0..4 {
        world.enrol_with(&["trial"]).await;
    }
    world.release().await;
    let everyone = Some(Plan::default().with(Strategy::Canary { share: 1.0 }));
    let plain = Wish {
        plan: everyone.clone(),
        ..Wish::of("fan", 2)
    };
    let (low, _) = world
        .fleet
        .start_rollout(&plain, "ann", world.now)
        .await
        .unwrap();
    let newest = world.release().await;
    let urgent = Wish {
        selector: "has trial",
        priority: 5,
        ..Wish {
            version: 3,
            ..plain
        }
    };
    let (high, _) = world
        .fleet
        .start_rollout(&urgent, "ann", world.now)
        .await
        .unwrap();
    let delivery = |id| {
        let db = world.fleet.db.clone();
        async move {
            let tally = rollout::tally(&db, id).await.unwrap();
            tally
                .into_iter()
                .map(|(delivery, count)| format!("{count} {delivery}"))
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(delivery(low.id).await, ["4 left", "10 offered"]);
    assert_eq!(delivery(high.id).await, ["4 offered"]);
    // The same again finds no device that is free.
    let again = world.fleet.start_rollout(&urgent, "ann", world.now).await;
    assert!(
        matches!(again, Err(FleetError::Underway(id)) if id == high.id),
        "{again:?}"
    );
    for _ in 0..3 {
        world.deliver(|_| true).await;
        world.report_all(|_| Shift::default()).await;
        turn(&world).await;
    }
    assert_eq!(
        running(&world, newest.id),
        4,
        "and they stay when both are done"
    );
    let owned = rollout::owned(&world.fleet.db).await.unwrap();
    assert_eq!(owned, [], "both are over");
}

#[tokio::test]
async fn one_command_takes_the_fleet_back_to_the_last_good_version() {
    let (mut world, old) = settled(10).await;
    let next = world.release().await;
    world
        .fleet
        .start_rollout(&wish(2), "ann", world.now)
        .await
        .unwrap();
    for _ in 0..4 {
        world.deliver(|_| true).await;
        world.report_all(|_| Shift::default()).await;
        turn(&world).await;
    }
    assert_eq!(running(&world, next.id), 10);
    let back = world
        .fleet
        .take_back("fan", "ann", "too loud", world.now)
        .await
        .unwrap();
    assert_eq!(
        (back.len(), back[0].version, back[0].previous),
        (1, 2, Some(1))
    );
    world.deliver(|_| true).await;
    assert_eq!(running(&world, old), 10);
    // Once more goes back before the first version: to the factory's model.
    world.report_all(|_| Shift::default()).await;
    let back = world
        .fleet
        .take_back("fan", "ann", "", world.now)
        .await
        .unwrap();
    assert_eq!((back[0].version, back[0].previous), (1, None));
    let ids = world.ids();
    assert_eq!(
        world.fleet.owed_many(&ids, world.now).await.unwrap().len(),
        10,
        "each is told to go back, though it ran nothing before"
    );
    let nothing = world.fleet.take_back("fan", "ann", "", world.now).await;
    assert!(
        matches!(nothing, Err(FleetError::NothingToTakeBack(_))),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn devices_are_told_in_their_window_only() {
    let (mut world, _) = settled(10).await;
    let next = world.release().await;
    // 2023-11-14 22:13:20 UTC is when the world begins; it is moved to midnight.
    world.now.0 = world.now.0.div_euclid(DAY) * DAY;
    let windows = Windows::parse(&["02:00-04:00".to_owned()], None).unwrap();
    let plan = Plan {
        windows,
        ..Plan::default()
    };
    let nightly = Wish {
        plan: Some(plan),
        ..wish(2)
    };
    world
        .fleet
        .start_rollout(&nightly, "ann", world.now)
        .await
        .unwrap();
    let mut at_hour = Vec::new();
    for _ in 0..5 {
        turn(&world).await;
        world.deliver(|_| true).await;
        at_hour.push(running(&world, next.id));
    }
    // `deliver` lets an hour pass first: nobody at 1, the canary from the turn at 2 on, told at 3.
    assert_eq!(at_hour, [0, 0, 1, 1, 1]);
}
