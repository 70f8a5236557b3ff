//! Capsules that devices fetch now and install later.

use tinyops_fleet::plan::{Install, Plan, Strategy};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::window::Windows;
use tinyops_fleet::{FleetError, Keyring, Policy};
use tinyops_store::capsule::Capsule;
use tinyops_store::rollout::{self, Delivery, RolloutId};
use tinyops_store::{Timestamp, audit};
use tinyops_wire::ModelId;
use tinyops_wire::downlink::Downlink;
use tinyops_wire::frame::{Features, Frame, Hello, Reason, Trust, UpdateState};

use crate::world::{HOUR, World};

/// The first device can keep a capsule, the second takes what it is offered.
async fn two(plan: Plan) -> (World, Capsule, RolloutId) {
    let mut world = World::new(2, Policy::default()).await;
    world.fleet = world.fleet.clone().with_keys(Keyring::from_seed(&[7; 32]));
    let features = [
        Features::STATEMENTS.with(Features::HOLDS),
        Features::STATEMENTS,
    ];
    for (device, features) in world.devices.iter_mut().zip(features) {
        let hello = Frame::Hello(Hello {
            boot_count: 1,
            sequence: 0,
            arena_bytes: 4096,
            slot_bytes: 65_536,
            board: "esp-eye",
            trust: Some(Trust {
                key_set: 1,
                features,
            }),
        });
        let mut out = [0; 128];
        let len = hello.encode(&mut out).unwrap();
        let sealed = device.seal(&out[..len]);
        let uplink = tinyops_fleet::Uplink {
            from: None,
            bytes: &sealed,
        };
        world.fleet.ingest_many(&[uplink], world.now).await.unwrap();
    }
    // A Monday, noon UTC.
    world.now = Timestamp(1_795_996_800_000 + 12 * HOUR);
    let capsule = world.release().await;
    let wish = Wish {
        plan: Some(plan.with(Strategy::Canary { share: 1.0 })),
        ..Wish::of("fan", 1)
    };
    let started = world.fleet.start_rollout(&wish, "ann", world.now).await;
    let id = started.unwrap().0.id;
    (world, capsule, id)
}

/// What each device is told an hour later: whether to keep it, if it is offered anything.
async fn told(world: &mut World) -> [Option<bool>; 2] {
    world.now = world.now.plus_ms(HOUR);
    world.fleet.turn(world.now).await.unwrap();
    let ids = world.ids();
    let mut told = [None; 2];
    for (id, messages) in world.fleet.owed_many(&ids, world.now).await.unwrap() {
        let index = ids.iter().position(|other| *other == id).unwrap();
        for message in messages {
            match world.devices[index].open(&message) {
                Downlink::Offer(offer) => told[index] = Some(offer.when.is_later()),
                other => panic!("{other:?}"),
            }
        }
    }
    told
}

async fn say(world: &mut World, device: usize, state: UpdateState, model: ModelId) {
    let update = world.devices[device].update(state, Reason::None, model);
    world.send(&[update]).await;
}

async fn deliveries(world: &World, id: RolloutId) -> Vec<Delivery> {
    let members = rollout::members(&world.fleet.db, id).await.unwrap();
    let of = |id| members.iter().find(|member| member.device == id).unwrap();
    let devices = world.devices.iter();
    devices.map(|device| of(device.row.id).delivery).collect()
}

#[tokio::test]
async fn a_person_says_when_what_is_fetched_may_be_installed() {
    let plan = Plan {
        install: Install::Later,
        ..Plan::default()
    };
    let (mut world, capsule, id) = two(plan).await;
    assert_eq!(
        told(&mut world).await,
        [Some(true), None],
        "one that cannot keep it is told nothing yet"
    );
    say(&mut world, 0, UpdateState::Downloading, ModelId(0)).await;
    assert_eq!(
        told(&mut world).await,
        [Some(true), None],
        "until it says that it has it"
    );
    say(&mut world, 0, UpdateState::Held, capsule.id).await;
    assert_eq!(
        deliveries(&world, id).await,
        [Delivery::Held, Delivery::Fetching]
    );
    for _ in 0..100 {
        assert_eq!(told(&mut world).await, [None, None]);
    }
    world
        .fleet
        .install_rollout(id, "ann", world.now)
        .await
        .unwrap();
    let log = audit::list(&world.fleet.db, 1).await.unwrap();
    assert_eq!(
        (log[0].action.as_str(), log[0].actor.as_str()),
        ("rollout.install", "ann")
    );
    let again = world.fleet.install_rollout(id, "ann", world.now).await;
    assert!(
        matches!(again, Err(FleetError::NothingWaits(_))),
        "{again:?}"
    );
    assert_eq!(told(&mut world).await, [Some(false), Some(false)]);
    for device in 0..2 {
        say(&mut world, device, UpdateState::Installed, capsule.id).await;
        world.devices[device].model = capsule.id;
        say(&mut world, device, UpdateState::Confirmed, capsule.id).await;
    }
    assert_eq!(deliveries(&world, id).await, [Delivery::Confirmed; 2]);
    assert_eq!(told(&mut world).await, [None, None]);
}

#[tokio::test]
async fn windows_are_for_installing_and_not_for_fetching() {
    let plan = Plan {
        install: Install::Window,
        windows: Windows::parse(&["20:00-04:00".to_owned()], None).unwrap(),
        ..Plan::default()
    };
    let (mut world, capsule, id) = two(plan).await;
    assert_eq!(told(&mut world).await, [Some(true), None]);
    say(&mut world, 0, UpdateState::Held, capsule.id).await;
    for hour in 14..20 {
        assert_eq!(told(&mut world).await, [None, None], "{hour}:00");
    }
    assert_eq!(told(&mut world).await, [Some(false), Some(false)]);
    assert_eq!(deliveries(&world, id).await, [Delivery::Offered; 2]);
    let nothing = world.fleet.install_rollout(id, "ann", world.now).await;
    assert!(
        matches!(nothing, Err(FleetError::NothingWaits(_))),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn a_rollout_that_is_over_installs_nothing() {
    let plan = Plan {
        install: Install::Later,
        ..Plan::default()
    };
    let (mut world, capsule, id) = two(plan).await;
    told(&mut world).await;
    say(&mut world, 0, UpdateState::Held, capsule.id).await;
    let fleet = &world.fleet;
    fleet
        .revert_rollout(id, "ann", "", world.now)
        .await
        .unwrap();
    let late = fleet.install_rollout(id, "ann", world.now).await;
    assert!(
        matches!(late, Err(FleetError::WrongState { .. })),
        "{late:?}"
    );
    assert_eq!(told(&mut world).await, [None, None]);
}

#[tokio::test]
async fn what_a_power_cut_damaged_is_offered_again_and_not_for_ever() {
    let (mut world, capsule, id) = two(Plan::default()).await;
    assert_eq!(told(&mut world).await, [Some(false), Some(false)]);
    for (time, reason) in [Reason::Flash, Reason::Digest, Reason::Flash]
        .into_iter()
        .enumerate()
    {
        let refused = world.devices[0].update(UpdateState::Refused, reason, ModelId(0));
        world.send(&[refused]).await;
        let delivery = deliveries(&world, id).await[0];
        assert_eq!(delivery, Delivery::Offered, "time {time}");
        let [first, _] = world.ids()[..] else {
            panic!("two devices");
        };
        // At once, and not only when it is told again for its silence.
        let owed = world.fleet.owed_many(&[first], world.now).await.unwrap();
        assert_eq!(owed.len(), 1, "time {time}");
    }
    let refused = world.devices[0].update(UpdateState::Refused, Reason::Flash, ModelId(0));
    world.send(&[refused]).await;
    assert_eq!(deliveries(&world, id).await[0], Delivery::Failed);
    // What is the capsule's own fault is held against it the first time.
    let refused = world.devices[1].update(UpdateState::Refused, Reason::Golden, capsule.id);
    world.send(&[refused]).await;
    assert_eq!(deliveries(&world, id).await[1], Delivery::Failed);
}
