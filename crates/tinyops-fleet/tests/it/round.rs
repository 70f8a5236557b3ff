//! From a drift to the sum that a new head is solved from.

use tinyops_fleet::rollout::Wish;
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::{Event, Policy};
use tinyops_store::round::{self, RoundState};
use tinyops_store::{Timestamp, alert, trigger};

use crate::world::{DAY, Shift, World};

async fn drifted_world() -> (World, Vec<Event>) {
    let policy = Policy {
        round: RoundPolicy {
            total_window_count_min: 50,
            ..RoundPolicy::default()
        },
        ..Policy::default()
    };
    let mut world = World::new(10, policy).await;
    world.release().await;
    let wish = Wish::of("fan", 1);
    world
        .fleet
        .start_rollout(&wish, "ann", world.now)
        .await
        .unwrap();
    for _ in 0..24 {
        world.deliver(|_| true).await;
        let events = world.report_all(|_| Shift::default()).await;
        assert!(events.is_empty(), "{events:?}");
        world.fleet.turn(world.now).await.unwrap();
    }
    let mut raised = Vec::new();
    for _ in 0..6 {
        raised.extend(
            world
                .report_all(|index| Shift {
                    mean: if index < 5 { 0.8 } else { 0.0 },
                    output: if index < 5 { -0.8 } else { 0.0 },
                    ..Shift::default()
                })
                .await,
        );
    }
    (world, raised)
}

#[tokio::test]
async fn a_drift_becomes_a_round_and_the_round_a_trigger() {
    let (mut world, raised) = drifted_world().await;
    assert!(raised.len() >= 5, "{raised:?}");
    let standing = alert::standing(&world.fleet.db).await.unwrap();
    assert!(
        standing.iter().any(|alert| alert.advice == "head-update"),
        "{standing:?}"
    );
    let opened = world.fleet.turn(world.now).await.unwrap();
    assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
    assert_eq!(
        world.fleet.turn(world.now).await.unwrap(),
        [],
        "one round at a time"
    );
    // Cleared first: what they had is of the world before.
    world.deliver(|_| true).await;
    world.now = world.now.plus_ms(2 * DAY);
    world.fleet.turn(world.now).await.unwrap();
    assert_eq!(
        round::open(&world.fleet.db).await.unwrap()[0].state,
        RoundState::Gathering
    );
    world.deliver(|_| true).await;
    let events = world.fleet.turn(world.now).await.unwrap();
    let [
        Event::RoundClosed {
            round,
            window_count,
            bytes,
        },
        Event::Triggered(wanted),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((round.device_count, *window_count), (10, 100));
    assert!(*bytes > 10 * 20);
    assert_eq!(
        (wanted.kind.as_str(), wanted.model.as_str()),
        ("resolve-head", "fan")
    );
    let artifact = world
        .fleet
        .artifacts
        .get(&wanted.payload.unwrap())
        .await
        .unwrap();
    let artifact: serde_json::Value = serde_json::from_slice(&artifact).unwrap();
    assert_eq!(
        artifact["values"],
        serde_json::json!([60, 40, 600, 60, 40, 400, 6400, 200, 5000])
    );
    assert_eq!(
        (&artifact["devices"], &artifact["width"]),
        (&10.into(), &2.into())
    );
    assert_eq!(
        round::contributions(&world.fleet.db, round.id)
            .await
            .unwrap(),
        [],
        "nothing of a device is kept"
    );
    assert_eq!(trigger::open(&world.fleet.db).await.unwrap().len(), 1);
    assert_eq!(
        world.fleet.turn(world.now).await.unwrap(),
        [],
        "and no other round at once"
    );
}

#[tokio::test]
async fn too_few_answers_make_no_sum() {
    let (mut world, _) = drifted_world().await;
    world.fleet.turn(world.now).await.unwrap();
    world.devices.truncate(3);
    world.deliver(|_| true).await;
    world.now = world.now.plus_ms(2 * DAY);
    world.fleet.turn(world.now).await.unwrap();
    world.deliver(|_| true).await;
    assert_eq!(
        world.fleet.turn(world.now).await.unwrap(),
        [],
        "it waits until the deadline"
    );
    world.now = world.now.plus_ms(2 * DAY);
    let events = world.fleet.turn(world.now).await.unwrap();
    assert!(
        matches!(events[..], [Event::RoundAbandoned(_)]),
        "{events:?}"
    );
    assert_eq!(trigger::open(&world.fleet.db).await.unwrap(), []);
}

#[tokio::test]
async fn statistics_that_nobody_asked_for_are_dropped() {
    let (mut world, _) = drifted_world().await;
    let values = [6, 4, 60, 6, 4, 40, 640, 20, 500];
    let unasked = world.devices[0].statistics(77, 2, 2, &values);
    world.send(&unasked).await;
    world.fleet.turn(world.now).await.unwrap();
    let id = round::open(&world.fleet.db).await.unwrap()[0].id;
    assert_eq!(round::contributions(&world.fleet.db, id).await.unwrap(), []);
    assert!(
        round::get(&world.fleet.db, id)
            .await
            .unwrap()
            .unwrap()
            .deadline
            > Timestamp(0)
    );
}
