//! Deltas: offered to devices that can take one, and not insisted on.

use tinyops_fleet::rollout::Wish;
use tinyops_fleet::{DELTA_EDGE, Keyring, Policy};
use tinyops_store::capsule::Capsule;
use tinyops_store::rollout::Delivery;
use tinyops_store::{Digest, ModelId, lineage, rollout};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::downlink::{Downlink, What};
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Features, Frame, Hello, Reason, Trust, UpdateState};
use tinyops_wire::{Sealed, Statement};

use crate::world::{HOUR, World};

/// What stands for a delta here; that devices decode real ones is for the device and the compiler to show.
fn encoded(old: &[u8], new: &[u8]) -> Vec<u8> {
    [Digest::of(old), Digest::of(new)]
        .map(|digest| digest.prefix::<8>())
        .concat()
}

/// One device, with such features, that runs the first of two versions and is owed the second.
async fn owing(
    features: Features,
    encode: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (World, Capsule, Capsule) {
    let mut world = World::new(1, Policy::default()).await;
    let keys = Keyring::from_seed(&[7; 32]);
    world.fleet = world.fleet.clone().with_keys(keys).with_deltas(encode);
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
    let hello = world.devices[0].seal(&frame_bytes(&hello));
    world.send(&[hello]).await;
    let mut capsules = Vec::new();
    for version in 1..=2 {
        capsules.push(world.release().await);
        let wish = Wish {
            model: "fan",
            version,
            selector: "cohort = hall",
            priority: version.into(),
            plan: None,
        };
        let started = world.fleet.start_rollout(&wish, "ann", world.now).await;
        started.unwrap();
        if version == 1 {
            let (what, digest, _) = offered(&mut world).await;
            assert_eq!(
                (what, digest),
                (What::Capsule, capsules[0].digest),
                "it runs nothing yet"
            );
            confirm(&mut world, capsules[0].id).await;
        }
    }
    let [old, new] = capsules.try_into().unwrap();
    (world, old, new)
}

fn frame_bytes(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = [0; 128];
    let len = frame.encode(&mut out).unwrap();
    out[..len].to_vec()
}

/// What the device is offered now, and the manifest that it is stated to make.
async fn offered(world: &mut World) -> (What, Digest, Digest) {
    world.now = world.now.plus_ms(HOUR);
    let row = world.devices[0].row.clone();
    let messages = world.fleet.owed(row.id, world.now).await.unwrap();
    assert_eq!(messages.len(), 1);
    let sealed = Sealed::parse(&messages[0]).unwrap();
    let envelope = sealed.open(&row.key, Direction::Down).unwrap();
    let Ok(Downlink::Offer(offer)) = Downlink::decode(envelope.body) else {
        panic!("an offer");
    };
    let director = Keyring::from_seed(&[7; 32]).director.verifying_key();
    let statement = Statement::verify(offer.statement.unwrap(), &[director]).unwrap();
    (offer.what, offer.digest, statement.manifest)
}

async fn confirm(world: &mut World, model: ModelId) {
    world.devices[0].model = model;
    let confirmed = world.devices[0].update(UpdateState::Confirmed, Reason::None, model);
    world.send(&[confirmed]).await;
}

const BOTH: Features = Features(Features::STATEMENTS.0 | Features::DELTAS.0);

#[tokio::test]
async fn a_device_gets_what_makes_the_new_capsule_out_of_the_one_it_runs() {
    let (mut world, old, new) = owing(BOTH, |old, new| Some(encoded(old, new))).await;
    let old_bytes = world.fleet.artifacts.get(&old.digest).await.unwrap();
    let new_bytes = world.fleet.artifacts.get(&new.digest).await.unwrap();
    let delta = encoded(&old_bytes, &new_bytes);
    let digest = Digest::of(&delta);
    assert_eq!(
        offered(&mut world).await,
        (What::Delta, digest, new.manifest_digest)
    );
    assert_eq!(world.fleet.artifacts.get(&digest).await.unwrap(), delta);
    let edges = lineage::made_from(&world.fleet.db, &digest).await.unwrap();
    assert!(
        edges
            .iter()
            .any(|edge| edge.kind == DELTA_EDGE && edge.from == old.digest)
    );
    let request = Frame::BlockRequest(BlockRequest {
        digest: digest.prefix(),
        offset: 0,
        block_bytes: 1024,
        wanted: 1,
    });
    let asked = world.devices[0].seal(&frame_bytes(&request));
    let (verdicts, _) = world.send(&[asked]).await;
    let Downlink::Block(block) = world.devices[0].open(&verdicts[0].down[0]) else {
        panic!("a block");
    };
    assert_eq!(block.bytes, delta);
}

#[tokio::test]
async fn a_device_that_cannot_take_the_delta_gets_the_whole() {
    for reason in [Reason::DeltaBase, Reason::Delta, Reason::SlotTooSmall] {
        let (mut world, _, new) = owing(BOTH, |old, new| Some(encoded(old, new))).await;
        assert_eq!(offered(&mut world).await.0, What::Delta);
        let refused = world.devices[0].update(UpdateState::Refused, reason, ModelId(0));
        world.send(&[refused]).await;
        let whole = (What::Capsule, new.digest, new.manifest_digest);
        assert_eq!(offered(&mut world).await, whole, "{reason}");
        // Refused for the same once more, it is the capsule that cannot be taken.
        let last = match reason {
            Reason::SlotTooSmall => {
                let refused = world.devices[0].update(UpdateState::Refused, reason, new.id);
                world.send(&[refused]).await;
                Delivery::Failed
            }
            _ => {
                confirm(&mut world, new.id).await;
                Delivery::Confirmed
            }
        };
        let members = rollout::of_device(&world.fleet.db, world.devices[0].row.id).await;
        let deliveries = members.unwrap().into_iter().map(|member| member.delivery);
        assert!(
            deliveries.into_iter().any(|delivery| delivery == last),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn nobody_gets_a_delta_who_does_not_know_any_or_would_not_gain() {
    let (mut world, _, new) = owing(Features::STATEMENTS, |old, new| Some(encoded(old, new))).await;
    assert_eq!(offered(&mut world).await.1, new.digest);
    let (mut world, _, new) = owing(BOTH, |_, new| Some(new.to_vec())).await;
    assert_eq!(offered(&mut world).await.1, new.digest);
    let (mut world, _, new) = owing(BOTH, |_, _| None).await;
    assert_eq!(offered(&mut world).await.1, new.digest);
}
