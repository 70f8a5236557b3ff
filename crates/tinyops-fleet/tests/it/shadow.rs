//! Candidates that devices score windows with, beside what they run.

use tinyops_fleet::engine::Tally;
use tinyops_fleet::plan::{Plan, Shadow, Strategy};
use tinyops_fleet::rollout::{Wish, details};
use tinyops_fleet::{Keyring, Policy, Verdict};
use tinyops_store::capsule::Capsule;
use tinyops_store::model::{self, Stage};
use tinyops_store::rollout::{self, Delivery, Rollout, RolloutId, RolloutState};
use tinyops_wire::downlink::{Command, Downlink, What, When};
use tinyops_wire::frame::{Features, Frame, Hello, Reason, Trust, UpdateState};
use tinyops_wire::shadow::{Answers, Pairs, ShadowReport};

use crate::world::{HOUR, Shift, World};

const ABLE: Features = Features(0b1101);

/// Devices that all run version 1, of which all but the last can score with two models, and a rollout of version 2.
async fn begun(device_count: u64, plan: Plan) -> (World, Capsule, RolloutId) {
    let mut world = World::new(device_count, Policy::default()).await;
    world.fleet = world.fleet.clone().with_keys(Keyring::from_seed(&[7; 32]));
    let old = world.release().await;
    let last = world.devices.len() - 1;
    let mut envelopes = Vec::new();
    for (index, device) in world.devices.iter_mut().enumerate() {
        device.model = old.id;
        let hello = Frame::Hello(Hello {
            boot_count: 1,
            sequence: 1,
            arena_bytes: 4096,
            slot_bytes: 65_536,
            board: "esp-eye",
            trust: Some(Trust {
                key_set: 1,
                features: match index == last {
                    true => Features::STATEMENTS,
                    false => ABLE,
                },
            }),
        });
        let mut out = [0; 128];
        let len = hello.encode(&mut out).unwrap();
        envelopes.push(device.seal(&out[..len]));
    }
    world.send(&envelopes).await;
    let new = world.release().await;
    let wish = Wish {
        plan: Some(plan),
        ..Wish::of("fan", 2)
    };
    let started = world.fleet.start_rollout(&wish, "ann", world.now).await;
    let id = started.unwrap().0.id;
    (world, new, id)
}

fn plan() -> Plan {
    let shadow = Shadow {
        windows: 200,
        ..Shadow::default()
    };
    Plan {
        shadow: Some(shadow),
        ..Plan::default().with(Strategy::Canary { share: 1.0 })
    }
}

/// What each device is told an hour later.
async fn told(world: &mut World) -> Vec<Option<When>> {
    world.now = world.now.plus_ms(HOUR);
    world.fleet.turn(world.now).await.unwrap();
    let ids = world.ids();
    let mut told = vec![None; ids.len()];
    for (id, messages) in world.fleet.owed_many(&ids, world.now).await.unwrap() {
        let index = ids.iter().position(|other| *other == id).unwrap();
        for message in messages {
            match opened(world, index, &message) {
                Told::Offer(when) => told[index] = Some(when),
                other => panic!("{other:?}"),
            }
        }
    }
    told
}

#[derive(Debug, PartialEq)]
enum Told {
    Offer(When),
    Command(Command),
    Other,
}

fn opened(world: &World, device: usize, message: &[u8]) -> Told {
    match world.devices[device].open(message) {
        Downlink::Offer(offer) => {
            assert_eq!(offer.what, What::Capsule);
            Told::Offer(offer.when)
        }
        Downlink::Command(command) => Told::Command(command),
        _ => Told::Other,
    }
}

/// A device reports a day, and what the candidate said of 100 windows of it.
async fn score(world: &mut World, device: usize, new: &Capsule, answers: Answers) -> Vec<Verdict> {
    let report = world.devices[device].report(Shift::default());
    let counts = [70, 30];
    let report_of_both = Frame::Shadow(ShadowReport::new(new.id, answers, &counts));
    let mut out = [0; 64];
    let len = report_of_both.encode(&mut out).unwrap();
    let shadow = world.devices[device].seal(&out[..len]);
    world.send(&[report, shadow]).await.0
}

fn answers(agreed: u16, pairs: [u16; 4]) -> Answers {
    let [both, only_active, only_candidate, neither] = pairs;
    Answers {
        windows: 100,
        agreed,
        pairs: Pairs {
            both,
            only_active,
            only_candidate,
            neither,
        },
        ..Answers::default()
    }
}

async fn shown(world: &World, id: RolloutId) -> (Rollout, Tally, Vec<Delivery>) {
    let row = rollout::get(&world.fleet.db, id).await.unwrap().unwrap();
    let tally = details(&row).unwrap().1.shadow.unwrap_or_default();
    let members = rollout::members(&world.fleet.db, id).await.unwrap();
    let deliveries = members.iter().map(|member| member.delivery).collect();
    (row, tally, deliveries)
}

async fn stage(world: &World, version: u32) -> Stage {
    let found = model::get(&world.fleet.db, "fan", version).await.unwrap();
    found.unwrap().stage
}

#[tokio::test]
async fn a_candidate_is_scored_with_and_then_offered() {
    let (mut world, new, id) = begun(4, plan()).await;
    let offered = Some(When::Shadow { windows: 200 });
    assert_eq!(told(&mut world).await, [offered, offered, offered, None]);
    // One that says that it scores is told no more.
    let held = world.devices[0].update(UpdateState::Held, Reason::None, new.id);
    world.send(&[held]).await;
    let again = told(&mut world).await;
    assert_eq!(again, [None, offered, offered, None]);
    for _ in 0..2 {
        for device in 0..3 {
            let verdicts = score(&mut world, device, &new, answers(98, [12, 0, 1, 0])).await;
            assert!(verdicts.iter().all(|verdict| verdict.down.is_empty()));
        }
    }
    let (_, _, deliveries) = shown(&world, id).await;
    assert_eq!(
        deliveries
            .iter()
            .filter(|d| **d == Delivery::Shadowing)
            .count(),
        3
    );
    world.now = world.now.plus_ms(HOUR);
    world.fleet.turn(world.now).await.unwrap();
    let (row, tally, deliveries) = shown(&world, id).await;
    assert_eq!(row.state, RolloutState::Running);
    assert_eq!(
        (
            tally.devices,
            tally.can,
            tally.told,
            tally.done,
            tally.windows
        ),
        (4, 3, 3, 3, 600)
    );
    assert_eq!(tally.pairs, [72, 0, 6, 0]);
    assert_eq!(tally.agreement, Some(0.98));
    assert!(
        deliveries.iter().all(|d| *d == Delivery::Control),
        "{deliveries:?}"
    );
    // The waves begin, with the device that could not score too.
    let offers = told(&mut world).await;
    assert_eq!(offers, [Some(When::AtOnce); 4]);
    assert_eq!(stage(&world, 2).await, Stage::Production);
}

#[tokio::test]
async fn a_bad_candidate_is_rejected_and_let_go_of() {
    let (mut world, new, id) = begun(16, plan()).await;
    let offered = told(&mut world).await;
    assert_eq!(offered.iter().flatten().count(), 15);
    for device in 0..15 {
        score(&mut world, device, &new, answers(80, [10, 9, 0, 1])).await;
    }
    world.now = world.now.plus_ms(HOUR);
    world.fleet.turn(world.now).await.unwrap();
    let (row, tally, deliveries) = shown(&world, id).await;
    assert_eq!(row.state, RolloutState::Halted);
    assert_eq!(row.reason["metric"], "shadow accuracy", "{}", row.reason);
    assert_eq!((tally.told, tally.scoring), (15, 15));
    assert!(
        deliveries.iter().all(|d| *d == Delivery::Control),
        "{deliveries:?}"
    );
    assert_eq!(stage(&world, 2).await, Stage::Rejected);
    assert_eq!(told(&mut world).await, [None; 16], "nothing is reverted");
    // Whoever still scores with it is told to let it go, each time that it says so.
    for _ in 0..2 {
        let verdicts = score(&mut world, 3, &new, answers(80, [0; 4])).await;
        let [message] = &verdicts[1].down[..] else {
            panic!("{verdicts:?}")
        };
        assert_eq!(opened(&world, 3, message), Told::Command(Command::Drop));
    }
}

#[tokio::test]
async fn a_device_that_cannot_take_it_is_no_failure_of_others() {
    let (mut world, new, id) = begun(6, plan()).await;
    told(&mut world).await;
    // Its windows are of another length; another finds that a golden vector comes out otherwise.
    let unable = world.devices[0].update(UpdateState::Refused, Reason::Window, new.id);
    let refused = world.devices[1].update(UpdateState::Refused, Reason::Golden, new.id);
    world.send(&[unable, refused]).await;
    for _ in 0..2 {
        for device in 2..5 {
            score(&mut world, device, &new, answers(99, [0; 4])).await;
        }
    }
    world.now = world.now.plus_ms(HOUR);
    world.fleet.turn(world.now).await.unwrap();
    let (row, tally, _) = shown(&world, id).await;
    assert_eq!(
        (tally.can, tally.told, tally.failed, tally.done),
        (4, 4, 1, 3)
    );
    assert_eq!(
        row.state,
        RolloutState::Halted,
        "one in four is too many: {}",
        row.reason
    );
    assert_eq!(row.reason["metric"], "share of devices in trouble");
}
