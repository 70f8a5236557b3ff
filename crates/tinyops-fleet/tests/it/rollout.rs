//! Rollouts from the first canary to the last device, or back.

use tinyops_fleet::canary::Plan;
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::{Event, FleetError, Policy};
use tinyops_store::model::{self, Stage};
use tinyops_store::rollout::{self, Delivery, RolloutState};
use tinyops_store::{ModelId, audit};

use crate::world::{DAY, Shift, World};

fn wish(version: u32) -> Wish<'static> {
    Wish {
        model: "fan",
        version,
        cohort: Some("hall"),
        plan: None,
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
    assert_eq!(
        turn(&world).await,
        ["halted: accuracy against the control arm"]
    );
    world.deliver(|_| true).await;
    assert!(
        world.devices.iter().all(|device| device.model == old),
        "they were told to go back"
    );
    world.report_all(|_| Shift::default()).await;
    world.now = world.now.plus_ms(DAY);
    let ids: Vec<_> = world.devices.iter().map(|device| device.row.id).collect();
    assert_eq!(
        world.fleet.owed_many(&ids, world.now).await.unwrap(),
        [],
        "and are told no more"
    );
    let log = audit::list(&world.fleet.db, 5).await.unwrap();
    assert!(
        log.iter()
            .any(|entry| entry.action == "rollout.halted" && entry.detail["value"] == 0.2),
        "{log:?}"
    );
}

#[tokio::test]
async fn silence_counts_against_a_model_but_absence_does_not() {
    let (mut world, _) = settled(20).await;
    world.release().await;
    let plan = Plan {
        canary_share: 0.25,
        ..Plan::default()
    };
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
    assert_eq!(turn(&world).await, ["halted: share of devices in trouble"]);

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
    let ids: Vec<_> = world.devices.iter().map(|device| device.row.id).collect();
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
    assert_eq!(resumed.state, RolloutState::Canary);
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
