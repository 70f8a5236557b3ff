//! Labels from people reach the device that they are of, once.

use tinyops_fleet::label::{LabelWish, Unlabelled};
use tinyops_fleet::{FleetError, Policy};
use tinyops_store::{DeviceId, ModelId, audit, label};
use tinyops_wire::downlink::Label;
use tinyops_wire::envelope::Direction;
use tinyops_wire::{Downlink, Sealed};

use crate::world::{HOUR, Shift, World};

const WORN: LabelWish<'_> = LabelWish {
    class: "worn",
    windows: 12,
    within_ms: HOUR,
    why: "the bearing was changed",
};

/// Two devices, of which the first has told that it runs a model with the classes `well` and `worn`.
async fn world() -> World {
    let mut world = World::new(2, Policy::default()).await;
    let model = world.release().await.id;
    let device = &mut world.devices[0];
    device.model = model;
    let report = device.report(Shift::default());
    world.send(&[report]).await;
    world
}

/// The labels among what a device is told as it connects.
async fn told(world: &World, index: usize) -> Vec<Label> {
    let row = &world.devices[index].row;
    let mut labels = Vec::new();
    for message in world.fleet.owed(row.id, world.now).await.unwrap() {
        let sealed = Sealed::parse(&message).unwrap();
        let envelope = sealed.open(&row.key, Direction::Down).unwrap();
        match Downlink::decode(envelope.body).unwrap() {
            Downlink::Label(label) => labels.push(label),
            Downlink::Offer(_) => {}
            other => panic!("{other:?}"),
        }
    }
    labels
}

#[tokio::test]
async fn a_label_is_told_once_and_noted() {
    let mut world = world().await;
    let id = world.devices[0].row.id;
    let label = world.fleet.label(id, &WORN, "ana", world.now).await;
    let label = label.unwrap();
    world.now = world.now.plus_ms(HOUR - 1);
    assert_eq!(told(&world, 1).await, []);
    let said = Label {
        class: 1,
        windows_back: 12,
    };
    assert_eq!(told(&world, 0).await, [said]);
    assert_eq!(told(&world, 0).await, []);
    let [kept] = label::list(&world.fleet.db, 9)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(kept.told_at, Some(world.now));
    assert_eq!((kept.id, &kept.said), (label.id, &label.said));
    let entries = audit::about(&world.fleet.db, &id.to_string(), 9)
        .await
        .unwrap();
    let entry = entries.iter().find(|entry| entry.action == "device.label");
    let entry = entry.unwrap();
    assert_eq!(entry.actor, "ana");
    assert_eq!(entry.detail["why"], "the bearing was changed");
}

#[tokio::test]
async fn a_label_ends_with_its_time_and_with_its_model() {
    let mut world = world().await;
    let id = world.devices[0].row.id;
    let label = |world: &World| {
        let (fleet, now) = (world.fleet.clone(), world.now);
        async move { fleet.label(id, &WORN, "ana", now).await.unwrap() }
    };
    label(&world).await;
    world.now = world.now.plus_ms(HOUR);
    assert_eq!(told(&world, 0).await, [], "its time is over");
    label(&world).await;
    world.devices[0].model = ModelId(9);
    let report = world.devices[0].report(Shift::default());
    world.send(&[report]).await;
    assert_eq!(told(&world, 0).await, [], "another model has other classes");
    let kept = label::list(&world.fleet.db, 9).await.unwrap();
    assert!(kept.iter().all(|label| label.told_at.is_none()), "{kept:?}");
}

#[tokio::test]
async fn what_cannot_be_labelled_is_refused_with_its_reason() {
    let mut world = world().await;
    let [told, silent] = [0, 1].map(|index| world.devices[index].row.id);
    let refused = |world: &World, id, wish| {
        let (fleet, now) = (world.fleet.clone(), world.now);
        async move { fleet.label(id, &wish, "ana", now).await.unwrap_err() }
    };
    let unknown = DeviceId(5);
    let error = refused(&world, unknown, WORN).await;
    assert!(
        matches!(error, FleetError::NoDevice(DeviceId(5))),
        "{error}"
    );
    let why = |error| match error {
        FleetError::Label(why) => why,
        other => panic!("{other}"),
    };
    let error = refused(&world, silent, WORN).await;
    assert_eq!(why(error), Unlabelled::NoModel(silent));
    let class = "broken";
    let error = refused(&world, told, LabelWish { class, ..WORN }).await;
    assert!(
        error
            .to_string()
            .ends_with("has no class `broken`; it has: well, worn"),
        "{error}"
    );
    for wish in [
        LabelWish { windows: 0, ..WORN },
        LabelWish {
            within_ms: 0,
            ..WORN
        },
    ] {
        assert_eq!(why(refused(&world, told, wish).await), Unlabelled::Empty);
    }
    let within_ms = 31 * 24 * HOUR + 1;
    let error = refused(&world, told, LabelWish { within_ms, ..WORN }).await;
    assert_eq!(why(error), Unlabelled::TooLong);
    world.devices[0].model = ModelId(9);
    let report = world.devices[0].report(Shift::default());
    world.send(&[report]).await;
    let error = refused(&world, told, WORN).await;
    assert_eq!(why(error), Unlabelled::NoClasses(ModelId(9)));
    world.fleet.revoke(told, "ana", world.now).await.unwrap();
    let error = refused(&world, told, WORN).await;
    assert!(matches!(error, FleetError::NoDevice(_)), "{error}");
    assert!(label::list(&world.fleet.db, 9).await.unwrap().is_empty());
}
