//! Envelopes: stored once, counted when they are bad, and never in the way of others.

use tinyops_fleet::rollout::Wish;
use tinyops_fleet::{Policy, Refusal, Uplink};
use tinyops_store::{DeviceId, ModelId, outcome, presence, report};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::frame::Features;
use tinyops_wire::{Downlink, Frame};

use crate::world::{HOUR, Shift, World};

async fn refusals(world: &World, uplinks: &[Uplink<'_>]) -> Vec<(Option<Refusal>, bool)> {
    let (verdicts, _) = world.fleet.ingest_many(uplinks, world.now).await.unwrap();
    verdicts
        .iter()
        .map(|verdict| (verdict.refusal, verdict.first_offence))
        .collect()
}

#[tokio::test]
async fn bad_envelopes_are_counted_and_good_ones_stored() {
    let mut world = World::new(3, Policy::default()).await;
    let good = world.devices[0].report(Shift::default());
    let mut bent = world.devices[1].report(Shift::default());
    bent[20] ^= 1;
    let odd = world.devices[1].seal(b"\xff is no frame");
    let others = world.devices[2].report(Shift::default());
    let mut stranger = good.clone();
    stranger[1..9].copy_from_slice(&12_345_u64.to_le_bytes());
    let ids = world.ids();
    let up = |from: Option<DeviceId>, bytes| Uplink { from, bytes };
    let found = refusals(
        &world,
        &[
            up(Some(ids[0]), &good),
            up(Some(ids[1]), &bent),
            up(None, &odd),
            up(Some(ids[0]), &others),
            up(None, &stranger),
            up(None, b""),
            up(None, &good[..20]),
        ],
    )
    .await;
    let expected = [
        (None, false),
        (Some(Refusal::Tag), true),
        (Some(Refusal::Frame), false),
        (Some(Refusal::OtherDevice), true),
        (Some(Refusal::UnknownDevice), false),
        (Some(Refusal::Envelope), false),
        (Some(Refusal::Envelope), false),
    ];
    assert_eq!(found, expected);
    assert_eq!(report::count(&world.fleet.db).await.unwrap(), 1);
    let counted = presence::get(&world.fleet.db, ids[1])
        .await
        .unwrap()
        .unwrap();
    assert_eq!((counted.malformed_count, counted.last_seq), (2, None));
    world.fleet.revoke(ids[2], "ann", world.now).await.unwrap();
    assert_eq!(
        refusals(&world, &[up(None, &others)]).await,
        [(Some(Refusal::Revoked), true)]
    );
}

#[tokio::test]
async fn repeated_late_and_missing_reports_are_told_apart() {
    let mut world = World::new(1, Policy::default()).await;
    let reports: Vec<Vec<u8>> = (0..5)
        .map(|_| world.devices[0].report(Shift::default()))
        .collect();
    world
        .send(&[reports[0].clone(), reports[3].clone(), reports[3].clone()])
        .await;
    let id = world.devices[0].row.id;
    let now = presence::get(&world.fleet.db, id).await.unwrap().unwrap();
    assert_eq!(
        (
            now.report_count,
            now.missing_count,
            now.duplicate_count,
            now.last_seq
        ),
        (2, 2, 1, Some(4))
    );
    world.send(&[reports[1].clone()]).await;
    world.send(&[reports[0].clone(), reports[4].clone()]).await;
    let now = presence::get(&world.fleet.db, id).await.unwrap().unwrap();
    assert_eq!(
        (
            now.report_count,
            now.missing_count,
            now.duplicate_count,
            now.last_seq
        ),
        (4, 1, 2, Some(5))
    );
    let stored: Vec<u32> = report::of_device(&world.fleet.db, id, 9)
        .await
        .unwrap()
        .iter()
        .map(|report| report.seq)
        .collect();
    assert_eq!(stored, [5, 4, 2, 1]);
}

#[tokio::test]
async fn a_report_from_far_ahead_is_taken_once_and_what_it_passes_over_is_not_missing() {
    let mut world = World::new(2, Policy::default()).await;
    let id = world.devices[0].row.id;
    let first = world.devices[0].report(Shift::default());
    let overtaken = world.devices[0].report(Shift::default());
    world.devices[0].sequence = u32::MAX - 3;
    let ahead = world.devices[0].report(Shift::default());
    world
        .send(&[first.clone(), ahead.clone(), ahead.clone()])
        .await;
    let heard = async |world: &World| {
        let now = presence::get(&world.fleet.db, id).await.unwrap().unwrap();
        (
            now.report_count,
            now.missing_count,
            now.duplicate_count,
            now.last_seq,
        )
    };
    assert_eq!(heard(&world).await, (2, 0, 1, Some(u32::MAX - 2)));
    // What it passed over may still come, is kept as what it is, late, and makes no count negative.
    world.send(&[overtaken]).await;
    assert_eq!(heard(&world).await, (3, 0, 1, Some(u32::MAX - 2)));
    // It goes on from there, to the last number there is; then it is silent, and what repeats changes nothing.
    let next = world.devices[0].report(Shift::default());
    let last = world.devices[0].report(Shift::default());
    world.send(&[last.clone(), next]).await;
    world.send(&[last, ahead, first]).await;
    assert_eq!(heard(&world).await, (5, 0, 4, Some(u32::MAX)));
    // It is told what it is owed all the same: a statement's last number is the greatest there is.
    world.hello_all(Features::STATEMENTS).await;
    world.devices[0].model = ModelId(0);
    world.release().await;
    let wish = Wish::of("fan", 1);
    world
        .fleet
        .start_rollout(&wish, "ann", world.now)
        .await
        .unwrap();
    let told = world.fleet.owed(id, world.now).await.unwrap();
    let [offer] = &told[..] else {
        panic!("{told:?}")
    };
    let Downlink::Offer(offer) = world.devices[0].open(offer) else {
        panic!("no offer")
    };
    assert!(offer.statement.is_some());
    // Others are judged as ever.
    let other = world.devices[1].report(Shift::default());
    world.send(&[other]).await;
}

#[tokio::test]
async fn outcomes_count_once() {
    let mut world = World::new(1, Policy::default()).await;
    let judged = world.devices[0].outcome(1, &[2, 8]);
    world.send(std::slice::from_ref(&judged)).await;
    world.send(&[judged]).await;
    let found = world
        .fleet
        .accuracy(world.now.plus_ms(-HOUR))
        .await
        .unwrap();
    assert_eq!((found.len(), found[0].right, found[0].judged), (1, 8, 10));
    assert_eq!(found[0].confusion, [[0, 0], [2, 8]]);
    let labels = ["normal", "bearing"].map(str::to_owned);
    let price = |_: ModelId, is: &str, said: &str| match (is, said) {
        ("bearing", "normal") => 10.0,
        _ => 0.0,
    };
    assert_eq!(found[0].cost(&labels, &price), 20.0);
    let since = world.now.plus_ms(-HOUR);
    let cells = outcome::cells(&world.fleet.db, since, HOUR).await.unwrap();
    let of: Vec<_> = cells
        .iter()
        .map(|cell| (cell.actual, cell.predicted, cell.window_count))
        .collect();
    assert_eq!(of, [(1, 0, 2), (1, 1, 8)]);
    assert_eq!(outcome::list(&world.fleet.db, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_device_gets_the_blocks_that_it_asks_for() {
    let mut world = World::new(1, Policy::default()).await;
    let capsule = world.release().await;
    let wish = Wish::of("fan", 1);
    world
        .fleet
        .start_rollout(&wish, "ann", world.now)
        .await
        .unwrap();
    let owed = world
        .fleet
        .owed(world.devices[0].row.id, world.now)
        .await
        .unwrap();
    assert_eq!(owed.len(), 1);
    let request = BlockRequest {
        digest: capsule.digest.prefix(),
        offset: 0,
        block_bytes: 64,
        wanted: u32::MAX,
    };
    let mut body = [0; 64];
    let len = Frame::BlockRequest(request).encode(&mut body).unwrap();
    let asked = world.devices[0].seal(&body[..len]);
    let (verdicts, _) = world.send(std::slice::from_ref(&asked)).await;
    let mut bytes = Vec::new();
    for message in &verdicts[0].down {
        let Downlink::Block(block) = world.devices[0].open(message) else {
            panic!()
        };
        assert_eq!(block.offset as usize, bytes.len());
        bytes.extend_from_slice(block.bytes);
    }
    assert_eq!(
        bytes,
        world.fleet.artifacts.get(&capsule.digest).await.unwrap()
    );
    let (again, _) = world.send(&[asked]).await;
    assert_eq!(
        again[0].down.len(),
        0,
        "a repeated request is not answered twice"
    );
}
