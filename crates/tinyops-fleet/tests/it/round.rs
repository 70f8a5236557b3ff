//! From a drift to the sum that a new head is solved from.

use tinyops_fleet::rollout::Wish;
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::sums::PARTS;
use tinyops_fleet::{Event, Policy};
use tinyops_store::alert::Alert;
use tinyops_store::drift::Scope;
use tinyops_store::hello::Hello;
use tinyops_store::round::{self, RoundState};
use tinyops_store::{DeviceId, Timestamp, alert, hello, trigger};
use tinyops_wire::Downlink;
use tinyops_wire::downlink::Restandardize;
use tinyops_wire::envelope::{Direction, Sealed};
use tinyops_wire::frame::Features;

use crate::world::{DAY, Shift, World};

async fn drifted_world() -> (World, Vec<Event>) {
    drifted_world_with(8).await
}

/// The same where a sum needs so many devices.
async fn drifted_world_with(device_count_min: u32) -> (World, Vec<Event>) {
    let policy = RoundPolicy {
        total_window_count_min: 50,
        device_count_min,
        ..RoundPolicy::default()
    };
    let shift = Shift {
        mean: 0.8,
        output: -0.8,
        ..Shift::default()
    };
    drifted_world_of(policy, shift).await
}

/// Ten devices, of which the first five drift.
pub(crate) async fn drifted_world_of(round: RoundPolicy, shift: Shift) -> (World, Vec<Event>) {
    let policy = Policy {
        round,
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
                .report_all(|index| if index < 5 { shift } else { Shift::default() })
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
    let expected = [60, 40, 600, 60, 40, 400, 6400, 200, 5000].map(|value| value * PARTS);
    assert_eq!(artifact["values"], serde_json::json!(expected));
    assert_eq!(
        (&artifact["version"], &artifact["parts"]),
        (&3.into(), &PARTS.into())
    );
    assert_eq!(
        (&artifact["devices"], &artifact["width"]),
        (&10.into(), &2.into())
    );
    let kept = round::contributors(&world.fleet.db, round.id).await;
    assert_eq!(kept.unwrap().len(), 10, "so that one may leave");
    assert_eq!(trigger::open(&world.fleet.db).await.unwrap().len(), 1);
    assert_eq!(
        world.fleet.turn(world.now).await.unwrap(),
        [],
        "and no other round at once"
    );
    // All of it hangs together by the trigger, and by the windows that were judged since the first alert.
    let judged = world.devices[0].outcome(1, &[1, 3]);
    world.send(&[judged]).await;
    let [episode] = world.fleet.episodes(9).await.unwrap().try_into().unwrap();
    assert_eq!(
        (&episode.trigger, episode.repaired),
        (wanted, Some(round.model))
    );
    assert!(episode.alerts.len() >= 5, "{episode:?}");
    assert_eq!(episode.began_at(), episode.alerts[0].opened_at);
    assert_eq!(episode.round.as_ref().map(|round| round.id), Some(round.id));
    assert_eq!((episode.run.as_ref(), episode.model.as_ref()), (None, None));
    assert_eq!((episode.during.right, episode.during.judged), (3, 4));
    assert_eq!(episode.after.judged, 0);
    let moments = episode.moments();
    assert!(moments.is_sorted_by_key(|moment| moment.at), "{moments:?}");
    let last = &moments[moments.len() - 1].what;
    assert!(
        last.starts_with("10 devices told sums over 100 labelled windows"),
        "{last}"
    );
}

#[tokio::test]
async fn two_servers_that_see_a_round_close_ask_for_one_head() {
    let (mut world, _) = drifted_world().await;
    world.fleet.turn(world.now).await.unwrap();
    world.deliver(|_| true).await;
    world.now = world.now.plus_ms(2 * DAY);
    // Both have listed the round before either turns it.
    let turn = || world.fleet.turn(world.now);
    let (one, other) = tokio::join!(turn(), turn());
    assert_eq!((one.unwrap(), other.unwrap()), (vec![], vec![]));
    world.deliver(|_| true).await;
    let turn = || world.fleet.turn(world.now);
    let (one, other, third) = tokio::join!(turn(), turn(), turn());
    let events = [one.unwrap(), other.unwrap(), third.unwrap()].concat();
    assert!(
        matches!(events[..], [Event::RoundClosed { .. }, Event::Triggered(_)]),
        "{events:?}"
    );
    assert_eq!(trigger::list(&world.fleet.db, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sum_of_many_devices_is_kept_by_buckets() {
    let (mut world, _) = drifted_world_with(2).await;
    world.fleet.turn(world.now).await.unwrap();
    world.deliver(|_| true).await;
    world.now = world.now.plus_ms(2 * DAY);
    world.fleet.turn(world.now).await.unwrap();
    world.deliver(|_| true).await;
    let events = world.fleet.turn(world.now).await.unwrap();
    let Some(Event::Triggered(wanted)) = events.last() else {
        panic!("{events:?}");
    };
    let artifact = &world.fleet.artifacts;
    let artifact = artifact.get(&wanted.payload.unwrap()).await.unwrap();
    let artifact: serde_json::Value = serde_json::from_slice(&artifact).unwrap();
    let buckets = artifact["buckets"].as_array().unwrap();
    assert_eq!((&artifact["version"], buckets.len()), (&3.into(), 5));
    for bucket in buckets {
        let expected = [12, 8, 120, 12, 8, 80, 1280, 40, 1000].map(|value| value * PARTS);
        assert_eq!(bucket["values"], serde_json::json!(expected));
    }
    assert!(artifact["norm_max"].as_f64().unwrap() > 0.0);
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

#[tokio::test]
async fn inputs_that_moved_are_moved_back_where_a_device_can() {
    let (shift, asked) = (
        Shift {
            mean: 0.8,
            ..Shift::default()
        },
        Restandardize {
            sixteenths: 8,
            windows: 288,
        },
    );
    let policy = |sixteenths| RoundPolicy {
        restandardize_sixteenths: sixteenths,
        ..RoundPolicy::default()
    };
    // Not unless the policy says so; nor more than all the way.
    for (sixteenths, expected) in [
        (0, None),
        (8, Some(asked)),
        (
            40,
            Some(Restandardize {
                sixteenths: 16,
                ..asked
            }),
        ),
    ] {
        let (world, _) = drifted_world_of(policy(sixteenths), shift).await;
        let fleet = &world.fleet;
        let tx = fleet.db.begin("hellos").await.unwrap();
        // The first device is of before; its key set is too.
        let hellos: Vec<Hello> = world.devices[1..]
            .iter()
            .map(|device| Hello {
                device: device.row.id,
                boot_count: 1,
                arena_bytes: 64,
                slot_bytes: 4096,
                key_set: None,
                features: Features::RESTANDARDIZES.0.into(),
                at: world.now,
            })
            .collect();
        hello::put_many(&tx, &hellos).await.unwrap();
        tx.commit().await.unwrap();
        let advised: Vec<Alert> = alert::standing(&fleet.db).await.unwrap();
        let advised = advised
            .iter()
            .filter(|alert| alert.advice == "re-standardise");
        let of_cohort = advised
            .clone()
            .any(|alert| !matches!(alert.scope, Scope::Device(_)));
        let alarmed: Vec<DeviceId> = advised
            .filter_map(|alert| match alert.scope {
                Scope::Device(device) => Some(device),
                _ => None,
            })
            .collect();
        assert!(of_cohort || !alarmed.is_empty());
        let ids = world.ids();
        let told = fleet.owed_many(&ids, world.now).await.unwrap();
        for (index, device) in world.devices.iter().enumerate() {
            let messages = told.iter().filter(|(id, _)| *id == device.row.id);
            let found = messages
                .flat_map(|(_, messages)| messages)
                .find_map(|bytes| {
                    let envelope = Sealed::parse(bytes).unwrap();
                    let envelope = envelope.open(&device.row.key, Direction::Down).unwrap();
                    match Downlink::decode(envelope.body).unwrap() {
                        Downlink::Restandardize(asked) => Some(asked),
                        _ => None,
                    }
                });
            let is_meant = index > 0 && (of_cohort || alarmed.contains(&device.row.id));
            assert_eq!(found, expected.filter(|_| is_meant), "device {index}");
        }
    }
}
