//! Orders for windows, at the server: who is asked, what is taken of what devices say, and what is deleted.

use tinyops_fleet::annotate::{AnnotationWish, HOURS_MAX, Unasked, Whom};
use tinyops_fleet::{FleetError, Policy, Verdict};
use tinyops_store::annotation::{self, Annotation as Order, AnnotationId, AnnotationState};
use tinyops_store::{DeviceId, ModelId, audit};
use tinyops_wire::annotation::{
    Annotation, Answer, Collect, OrderReason, OrderState, Part, PartRequest,
};
use tinyops_wire::downlink::Downlink;
use tinyops_wire::frame::{Frame, Hello};
use tinyops_wire::sealing::{AnnotatorKey, AnnotatorSecret};

use crate::world::{HOUR, Shift, World};

const PARCEL: u32 = 200;

fn annotator() -> AnnotatorKey {
    AnnotatorSecret::from_seed(&[3; 32]).key()
}

fn wish() -> AnnotationWish<'static> {
    AnnotationWish {
        annotator: annotator(),
        count: 3,
        windows: 40,
        within_ms: HOUR,
        why: "a drift",
    }
}

fn of(device: DeviceId) -> Whom {
    Whom {
        device: Some(device),
        ..Whom::default()
    }
}

/// Two devices that have told which model they run.
async fn world() -> World {
    let mut world = World::new(2, Policy::default()).await;
    let model = world.release().await.id;
    for device in &mut world.devices {
        device.model = model;
    }
    world.report_all(|_| Shift::default()).await;
    world
}

async fn ask(world: &World, whom: &Whom) -> Result<Vec<Order>, Unasked> {
    let asked = world
        .fleet
        .ask_windows(whom, &wish(), "ana", world.now)
        .await;
    asked.map_err(|error| match error {
        FleetError::Annotation(why) => why,
        other => panic!("{other}"),
    })
}

async fn order(world: &World, id: AnnotationId) -> Order {
    annotation::get(&world.fleet.db, id).await.unwrap().unwrap()
}

fn frame(annotation: Annotation<'_>) -> Vec<u8> {
    let mut out = vec![0; 512];
    let len = Frame::Annotation(annotation).encode(&mut out).unwrap();
    out.truncate(len);
    out
}

fn answer(order: u32, state: OrderState, count: u8) -> Annotation<'static> {
    Annotation::Answer(Answer {
        order,
        state,
        reason: OrderReason::None,
        count,
        left: 5,
        bytes: if state == OrderState::Ready {
            PARCEL
        } else {
            0
        },
    })
}

fn part(order: u32, offset: u32, is_last: bool, bytes: &[u8]) -> Annotation<'_> {
    Annotation::Part(Part {
        order,
        offset,
        is_last,
        bytes,
    })
}

/// Says it and answers what it is told at once.
async fn say(world: &mut World, index: usize, told: Annotation<'_>) -> Vec<PartRequest> {
    let envelope = world.devices[index].seal(&frame(told));
    let (verdicts, _) = world.send(&[envelope]).await;
    let [Verdict { down, .. }] = &verdicts[..] else {
        panic!("one verdict")
    };
    let requests = down
        .iter()
        .map(|message| match world.devices[index].open(message) {
            Downlink::PartRequest(request) => request,
            other => panic!("{other:?}"),
        });
    requests.collect()
}

async fn owed(world: &World, index: usize) -> Vec<Downlink<'static>> {
    let device = &world.devices[index];
    let messages = world.fleet.owed(device.row.id, world.now).await.unwrap();
    let told = messages
        .iter()
        .filter_map(|message| match device.open(message) {
            Downlink::Collect(collect) => Some(Downlink::Collect(collect)),
            Downlink::PartRequest(request) => Some(Downlink::PartRequest(request)),
            _ => None,
        });
    told.collect()
}

fn request(order: u32, offset: u32, bytes: u32) -> PartRequest {
    PartRequest {
        order,
        offset,
        bytes,
    }
}

#[tokio::test]
async fn a_parcel_is_asked_for_until_it_is_whole() {
    let mut world = world().await;
    let [first, second] = [0, 1].map(|index| world.devices[index].row.id);
    let made = ask(&world, &of(first)).await.unwrap();
    let [made] = &made[..] else { panic!("one") };
    let number = made.id.0 as u32;
    assert_eq!(
        ask(&world, &of(first)).await,
        Err(Unasked::Nobody),
        "it is open"
    );
    let collect = Downlink::Collect(Collect {
        order: number,
        count: 3,
        windows: 40,
        annotator: annotator().id(),
    });
    assert_eq!(owed(&world, 0).await, [collect]);
    assert_eq!(owed(&world, 1).await, []);
    assert_eq!(
        say(&mut world, 0, answer(number, OrderState::Collecting, 2)).await,
        []
    );
    assert_eq!(owed(&world, 0).await, [], "it has heard");
    // A boot ends what it was at.
    let hello = Hello {
        boot_count: 2,
        sequence: 1,
        arena_bytes: 1,
        slot_bytes: 1,
        board: "esp-eye",
        trust: None,
    };
    let mut out = [0; 64];
    let len = Frame::Hello(hello).encode(&mut out).unwrap();
    let hello = world.devices[0].seal(&out[..len]);
    world.send(&[hello]).await;
    assert_eq!(owed(&world, 0).await, [collect]);
    say(&mut world, 0, answer(number, OrderState::Collecting, 2)).await;

    let asked = say(&mut world, 0, answer(number, OrderState::Ready, 2)).await;
    assert_eq!(asked, [request(number, 0, PARCEL)]);
    let sealed: Vec<u8> = (0..PARCEL as u8).collect();
    assert_eq!(
        say(&mut world, 0, part(number, 0, false, &sealed[..80])).await,
        []
    );
    let asked = say(&mut world, 0, part(number, 120, true, &sealed[120..])).await;
    assert_eq!(asked, [request(number, 80, 40)], "what was lost");
    // It does not come, and it is asked for again after a while, but not sooner.
    assert_eq!(owed(&world, 0).await, []);
    world.now = world.now.plus_ms(60_000);
    let again = Downlink::PartRequest(request(number, 80, 40));
    assert_eq!(owed(&world, 0).await, [again]);
    // The same bytes twice, those of nobody's order and those beyond its end change nothing.
    say(&mut world, 0, part(number, 64, false, &[0xff; 64])).await;
    say(&mut world, 0, part(number + 9, 80, false, &[0xff; 40])).await;
    say(&mut world, 0, part(number, 190, false, &[0xff; 40])).await;
    say(&mut world, 0, part(number, u32::MAX, false, &[0xff; 40])).await;
    say(&mut world, 1, part(number, 80, true, &[0xff; 40])).await;
    let asked = say(&mut world, 0, part(number, 80, true, &sealed[80..120])).await;
    assert_eq!(asked, [request(number, 0, 0)], "it may let go of it");
    let whole = order(&world, made.id).await;
    assert_eq!((whole.state, whole.chosen), (AnnotationState::Whole, 2));
    assert_eq!(whole.quota_left, Some(5));
    let (_, bytes) = world.fleet.parcel(made.id).await.unwrap();
    assert_eq!(bytes, sealed);
    assert_eq!(
        annotation::parts(&world.fleet.db, made.id).await.unwrap(),
        []
    );
    // It has not heard that: it is told again.
    let asked = say(&mut world, 0, answer(number, OrderState::Ready, 2)).await;
    assert_eq!(asked, [request(number, 0, 0)]);
    // And when its owner takes the consent back, nothing is left.
    say(&mut world, 1, answer(0, OrderState::Withdrawn, 0)).await;
    assert_eq!(
        order(&world, made.id).await.state,
        AnnotationState::Whole,
        "another's"
    );
    say(&mut world, 0, answer(0, OrderState::Withdrawn, 0)).await;
    let gone = order(&world, made.id).await;
    assert_eq!(
        (gone.state, gone.parcel),
        (AnnotationState::Withdrawn, None)
    );
    let digest = whole.parcel.unwrap();
    assert!(!world.fleet.artifacts.exists(&digest).await.unwrap());
    let error = world.fleet.parcel(made.id).await.unwrap_err();
    assert!(error.to_string().contains("withdrawn"), "{error}");
    let entries = audit::about(&world.fleet.db, &first.to_string(), 9)
        .await
        .unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains(&"annotation.ask") && actions.contains(&"annotation.withdraw"));
    assert!(ask(&world, &of(second)).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_of_an_order_is_refused() {
    let mut world = world().await;
    let device = world.devices[0].row.id;
    let made = ask(&world, &of(device)).await.unwrap().pop().unwrap();
    let number = made.id.0 as u32;
    // Parts before the parcel is announced are nothing.
    say(&mut world, 0, part(number, 0, true, &[1; 64])).await;
    assert_eq!(
        annotation::parts(&world.fleet.db, made.id).await.unwrap(),
        []
    );
    // More windows than were asked for.
    let asked = say(&mut world, 0, answer(number, OrderState::Ready, 4)).await;
    assert_eq!(asked, [request(number, 0, 0)]);
    assert_eq!(order(&world, made.id).await.state, AnnotationState::Refused);
    // A parcel without an end, and one of another model.
    for (bytes, model) in [(u32::MAX, world.devices[0].model), (PARCEL, ModelId(9))] {
        let made = ask(&world, &of(device)).await.unwrap().pop().unwrap();
        let told = Annotation::Answer(Answer {
            order: made.id.0 as u32,
            state: OrderState::Ready,
            reason: OrderReason::None,
            count: 2,
            left: 0,
            bytes,
        });
        let own = std::mem::replace(&mut world.devices[0].model, model);
        say(&mut world, 0, told).await;
        world.devices[0].model = own;
        assert_eq!(order(&world, made.id).await.state, AnnotationState::Refused);
        let report = world.devices[0].report(Shift::default());
        world.send(&[report]).await;
    }
    // A device that says no keeps its word, and its reason.
    let made = ask(&world, &of(device)).await.unwrap().pop().unwrap();
    let told = Annotation::Answer(Answer {
        order: made.id.0 as u32,
        state: OrderState::Refused,
        reason: OrderReason::Consent,
        count: 0,
        left: 0,
        bytes: 0,
    });
    say(&mut world, 0, told).await;
    let refused = order(&world, made.id).await;
    assert_eq!(
        (refused.state, refused.reason.as_str()),
        (AnnotationState::Refused, "consent")
    );
    say(
        &mut world,
        0,
        answer(made.id.0 as u32, OrderState::Ready, 2),
    )
    .await;
    assert_eq!(order(&world, made.id).await.state, AnnotationState::Refused);
    assert_eq!(owed(&world, 0).await, []);
}

#[tokio::test]
async fn who_is_asked_is_who_is_meant() {
    let mut world = world().await;
    let ids = world.ids();
    let model = world.devices[0].model;
    let asked = |orders: Vec<Order>| {
        let devices = orders.into_iter().map(|order| order.asked.device);
        devices.collect::<Vec<DeviceId>>()
    };
    assert_eq!(ask(&world, &Whom::default()).await, Err(Unasked::Whom));
    let elsewhere = Whom {
        cohort: Some("yard".to_owned()),
        ..Whom::default()
    };
    assert_eq!(ask(&world, &elsewhere).await, Err(Unasked::Nobody));
    let other = Whom {
        model: Some(ModelId(77)),
        ..Whom::default()
    };
    assert_eq!(ask(&world, &other).await, Err(Unasked::Nobody));
    let running = Whom {
        model: Some(model),
        cohort: Some("hall".to_owned()),
        ..Whom::default()
    };
    assert_eq!(asked(ask(&world, &running).await.unwrap()), ids);
    // Its time is over, so it is not told any more, and can be asked anew.
    world.now = world.now.plus_ms(HOUR);
    assert_eq!(owed(&world, 0).await, []);
    let all = Whom {
        model: Some(model),
        ..Whom::default()
    };
    assert_eq!(asked(ask(&world, &all).await.unwrap()), ids);
    let refused = |wish: AnnotationWish<'static>| {
        let (fleet, now) = (world.fleet.clone(), world.now);
        let whom = of(ids[0]);
        async move {
            match fleet.ask_windows(&whom, &wish, "ana", now).await {
                Err(FleetError::Annotation(why)) => why,
                other => panic!("{other:?}"),
            }
        }
    };
    for (count, windows) in [(0, 40), (9, 40), (3, 2)] {
        let wish = AnnotationWish {
            count,
            windows,
            ..wish()
        };
        assert_eq!(refused(wish).await, Unasked::Count);
    }
    let over = AnnotationWish {
        within_ms: 0,
        ..wish()
    };
    assert_eq!(refused(over).await, Unasked::Time);
    let year = AnnotationWish {
        within_ms: i64::from(HOURS_MAX) * HOUR,
        ..wish()
    };
    let longer = AnnotationWish {
        within_ms: year.within_ms + 1,
        ..wish()
    };
    assert_eq!(refused(longer).await, Unasked::TooLong);
    // Just a year is sound: all that is in its way is the order that is open.
    assert_eq!(refused(year).await, Unasked::Nobody);
    let error = world.fleet.parcel(AnnotationId(99)).await.unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test]
async fn what_is_here_already_puts_off_no_asking() {
    let mut world = world().await;
    let first = world.devices[0].row.id;
    let made = ask(&world, &of(first)).await.unwrap();
    let number = made[0].id.0 as u32;
    say(&mut world, 0, answer(number, OrderState::Ready, 2)).await;
    say(&mut world, 0, part(number, 0, false, &[1; 80])).await;
    // The rest does not come; what is here comes again and again, and crumbs of it.
    world.now = world.now.plus_ms(50_000);
    say(&mut world, 0, part(number, 0, false, &[1; 80])).await;
    say(&mut world, 0, part(number, 40, false, &[1; 40])).await;
    assert_eq!(owed(&world, 0).await, [], "not yet");
    world.now = world.now.plus_ms(10_000);
    let again = Downlink::PartRequest(request(number, 80, PARCEL - 80));
    assert_eq!(owed(&world, 0).await, [again]);
}

#[tokio::test]
async fn a_refusal_for_another_model_tells_nothing_of_the_quota() {
    let mut world = world().await;
    let first = world.devices[0].row.id;
    let made = ask(&world, &of(first)).await.unwrap();
    let (id, number) = (made[0].id, made[0].id.0 as u32);
    say(&mut world, 0, answer(number, OrderState::Collecting, 2)).await;
    let refused = |reason, left| {
        Annotation::Answer(Answer {
            order: number,
            state: OrderState::Refused,
            reason,
            count: 0,
            left,
            bytes: 0,
        })
    };
    say(&mut world, 0, refused(OrderReason::Model, 0)).await;
    let ended = order(&world, id).await;
    assert_eq!(
        (ended.state, ended.quota_left),
        (AnnotationState::Refused, Some(5))
    );
}
