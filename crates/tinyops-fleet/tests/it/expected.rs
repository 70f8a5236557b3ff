//! What confidences let expect of a cohort: an interval, or why none is told.

use tinyops_fleet::Policy;
use tinyops_fleet::confidence::{Interval, Withheld};
use tinyops_store::alert;
use tinyops_wire::summary::Format;

use crate::world::{Shift, World};

async fn world_of(count: u64, format: Format) -> World {
    let mut world = World::new(count, Policy::default()).await;
    let model = world.release().await.id;
    for device in &mut world.devices {
        device.model = model;
        device.format = format;
    }
    world
}

async fn expected(world: &World) -> Result<Interval, Withheld> {
    let view = world.fleet.cohort_view("hall").await.unwrap();
    view.expect("reports have come").expected
}

async fn report(world: &mut World, days: usize, shift: Shift) {
    for _ in 0..days {
        world.report_all(|_| shift).await;
    }
}

#[tokio::test]
async fn an_interval_is_told_until_embeddings_move() {
    let mut world = world_of(12, Format::M6H8).await;
    report(&mut world, 14, Shift::default()).await;
    assert_eq!(
        expected(&world).await,
        Err(Withheld::NoHistogram),
        "nobody is judged yet"
    );
    report(&mut world, 4, Shift::default()).await;
    let interval = expected(&world).await.expect("nothing has moved");
    // An eighth of the windows in each bin: 0.869 of 800 were right.
    assert!(
        interval.low < 0.82 && (0.78..0.82).contains(&interval.low),
        "{interval:?}"
    );
    assert!((0.92..0.96).contains(&interval.high), "{interval:?}");
    // One half of a deviation, with the confidences that there were.
    let moved = Shift {
        embedding: 0.5,
        ..Shift::default()
    };
    report(&mut world, 2, moved).await;
    assert_eq!(expected(&world).await, Err(Withheld::EmbeddingsMoved));
    report(&mut world, 3, moved).await;
    let standing = alert::standing(&world.fleet.db).await.unwrap();
    let cohort = standing
        .iter()
        .find(|alert| alert.detail["mean of embedding"] == true)
        .expect("an alert of embeddings");
    assert_eq!(cohort.advice, "head-update");
}

#[tokio::test]
async fn what_was_never_where_it_was_calibrated_is_withheld_too() {
    // These devices have never seen what the model was trained on: nothing moves, and yet nothing is told.
    let mut world = world_of(12, Format::M6H8).await;
    let apart = Shift {
        embedding: 0.6,
        ..Shift::default()
    };
    report(&mut world, 18, apart).await;
    assert_eq!(expected(&world).await, Err(Withheld::EmbeddingsMoved));
    assert_eq!(alert::standing(&world.fleet.db).await.unwrap(), []);
}

#[tokio::test]
async fn reports_without_histograms_and_heads_of_devices_own_tell_nothing() {
    let mut world = world_of(12, Format::M8).await;
    report(&mut world, 18, Shift::default()).await;
    assert_eq!(expected(&world).await, Err(Withheld::NoHistogram));
    let mut world = world_of(12, Format::M6H8).await;
    report(&mut world, 18, Shift::default()).await;
    world.devices[0].has_own_head = true;
    report(&mut world, 2, Shift::default()).await;
    assert_eq!(expected(&world).await, Err(Withheld::OwnHeads));
}
