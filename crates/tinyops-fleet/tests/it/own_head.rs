//! Heads of devices' own: who is asked for one, who is told to let go, and what their reports count for.

use tinyops_fleet::own_head::answers_by_own_head;
use tinyops_fleet::plan::{Plan, Strategy};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::{FleetError, Policy};
use tinyops_store::{DeviceId, audit, rollout};
use tinyops_wire::Downlink;
use tinyops_wire::downlink::Command;
use tinyops_wire::frame::Features;

use crate::world::{Shift, World};

/// What a device is told as it connects, but for offers.
async fn told(world: &World, index: usize) -> Vec<String> {
    let device = &world.devices[index];
    let owed = world.fleet.owed(device.row.id, world.now).await.unwrap();
    let messages = owed.iter().map(|message| device.open(message));
    messages
        .filter(|message| !matches!(message, Downlink::Offer(_)))
        .map(|message| format!("{message:?}"))
        .collect()
}

async fn world_of(own_heads: bool, count: u64) -> World {
    let policy = Policy {
        own_heads,
        ..Policy::default()
    };
    let mut world = World::new(count, policy).await;
    let model = world.release().await.id;
    world
        .devices
        .iter_mut()
        .for_each(|device| device.model = model);
    world.report_all(|_| Shift::default()).await;
    world
}

#[tokio::test]
async fn devices_with_room_are_asked_as_the_project_wants_it() {
    let asked = Features::OWN_HEAD.with(Features::OWN_HEAD_ASKED);
    for (own_heads, features, expected) in [
        (true, Features::OWN_HEAD, Some("OwnHead(true)")),
        (true, asked, None),
        (true, Features::RESTANDARDIZES, None),
        (false, asked, Some("OwnHead(false)")),
        (false, Features::OWN_HEAD, None),
    ] {
        let mut world = world_of(own_heads, 2).await;
        world.hello_all(features).await;
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(told(&world, 0).await, expected, "{own_heads} {features:?}");
        // And so are all that are connected.
        let ids = world.ids();
        world.now = world.now.plus_ms(24 * 3_600_000);
        let owed = world.fleet.owed_many(&ids, world.now).await.unwrap();
        assert_eq!(owed.len(), 2 * expected.len(), "{own_heads} {features:?}");
    }
}

#[tokio::test]
async fn labels_are_taken_back_once_and_noted() {
    let world = world_of(true, 2).await;
    let id = world.devices[0].row.id;
    let taken = world
        .fleet
        .take_labels_back(id, "by mistake", "ana", world.now);
    assert_eq!(taken.await.unwrap().said.windows, 0);
    let command = format!("{:?}", Downlink::Command(Command::DropOwnHead));
    assert_eq!(told(&world, 1).await, [""; 0]);
    assert_eq!(told(&world, 0).await, [command]);
    assert_eq!(told(&world, 0).await, [""; 0], "once");
    let audited = audit::list(&world.fleet.db, 9).await.unwrap();
    assert!(
        audited
            .iter()
            .any(|entry| entry.action == "device.take-labels-back" && entry.actor == "ana"),
        "{audited:?}"
    );
    let nobody = world
        .fleet
        .take_labels_back(DeviceId(99), "", "ana", world.now)
        .await;
    assert!(matches!(nobody, Err(FleetError::NoDevice(_))), "{nobody:?}");
}

/// Twelve devices with known baselines; from then on the first reports this of its output, by its own head or not.
async fn alerts_of(has_own_head: bool) -> (World, usize) {
    let mut world = world_of(false, 12).await;
    for _ in 0..20 {
        let raised = world.report_all(|_| Shift::default()).await;
        assert_eq!(raised, []);
    }
    world.devices[0].has_own_head = has_own_head;
    let mut raised = 0;
    for _ in 0..10 {
        let moved = Shift {
            output: -1.5,
            ..Shift::default()
        };
        let shift = |index| if index == 0 { moved } else { Shift::default() };
        raised += world.report_all(shift).await.len();
    }
    (world, raised)
}

#[tokio::test]
async fn answers_of_another_head_are_a_new_normal_and_are_shown() {
    let (world, raised) = alerts_of(false).await;
    assert!(raised > 0, "an output that moves by itself is an alert");
    let id = world.devices[0].row.id;
    assert!(!answers_by_own_head(&world.fleet.db, id).await.unwrap());
    let (world, raised) = alerts_of(true).await;
    assert_eq!(raised, 0);
    let id = world.devices[0].row.id;
    assert!(answers_by_own_head(&world.fleet.db, id).await.unwrap());
    let view = world.fleet.cohort_view("hall").await.unwrap().unwrap();
    assert_eq!(view.own_head_count, 1);
}

/// What a rollout comes to whose devices are far less sure than those of the control arm, and the members' watches.
async fn rolled_out(has_own_head: bool) -> (Vec<String>, Vec<tinyops_store::Json>) {
    let mut world = world_of(false, 60).await;
    let new = world.release().await.id;
    let plan = Plan {
        reports: 2,
        ..Plan::default()
    }
    .with(Strategy::Canary { share: 0.4 });
    let wish = Wish {
        plan: Some(plan),
        ..Wish::of("fan", 2)
    };
    let started = world.fleet.start_rollout(&wish, "ann", world.now).await;
    let id = started.unwrap().0.id;
    world.fleet.turn(world.now).await.unwrap();
    world.deliver(|_| true).await;
    for device in &mut world.devices {
        device.has_own_head = has_own_head && device.model == new;
    }
    let models: Vec<_> = world.devices.iter().map(|device| device.model).collect();
    let mut told = Vec::new();
    for _ in 0..3 {
        let shift = |index: usize| Shift {
            output: if models[index] == new { -1.5 } else { 0.0 },
            ..Shift::default()
        };
        world.report_all(shift).await;
        let events = world.fleet.turn(world.now).await.unwrap();
        told.extend(events.iter().map(|event| format!("{event:?}")));
    }
    let tx = world.fleet.db.begin("look").await.unwrap();
    let members = rollout::members(&tx, id).await.unwrap();
    let watches = members.iter().map(|member| member.detail["watch"].clone());
    (told, watches.collect())
}

#[tokio::test]
async fn what_own_heads_say_counts_for_no_arm_of_a_rollout_and_is_told() {
    let halted = |told: &[String]| told.iter().any(|event| event.contains("RolloutHalted"));
    let (told, _) = rolled_out(false).await;
    assert!(
        halted(&told),
        "a candidate that is less sure is halted: {told:?}"
    );
    let (told, watches) = rolled_out(true).await;
    assert!(!halted(&told), "{told:?}");
    let of_candidates: Vec<_> = watches
        .iter()
        .filter(|watch| watch["candidate"] == true)
        .collect();
    assert!(!of_candidates.is_empty());
    for watch in of_candidates {
        assert_eq!(watch["own_head"], watch["reports"], "{watch}");
        assert_eq!(watch["output"][1], 0, "{watch}");
    }
}
