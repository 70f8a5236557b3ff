//! A round in the clear that has closed: who is late joins its sum, who withdraws was never in it.

use proptest::prelude::*;
use serde_json::{Value, json};
use tinyops_fleet::annotate::{AnnotationWish, Whom};
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::{Event, FleetError, Policy};
use tinyops_store::model::{self, NewModel, Stage};
use tinyops_store::round::{self, Round, RoundId, RoundState};
use tinyops_store::run::{self, NewRun};
use tinyops_store::trigger::{self, Trigger, TriggerState};
use tinyops_store::{DeviceId, Digest, audit, withdrawal};
use tinyops_wire::annotation::{Annotation, Answer, OrderReason, OrderState};
use tinyops_wire::sealing::AnnotatorSecret;
use tinyops_wire::{Downlink, Frame};

use crate::masked_round::{Labelled, without_noise};
use crate::world::{DAY, HOUR, Shift, World};

/// A labelled window: its class, and its embedding.
type Window = (usize, [i64; 2]);

/// What a device tells of its windows: counts, class sums, upper triangle of the Gram matrix.
fn sums_of(windows: &[Window]) -> Vec<i64> {
    let mut values = vec![0; 9];
    for (class, [a, b]) in windows {
        values[*class] += 1;
        values[2 + 2 * class] += a;
        values[3 + 2 * class] += b;
        for (value, product) in values[6..].iter_mut().zip([a * a, a * b, b * b]) {
            *value += product;
        }
    }
    values
}

/// Ten windows that are a device's own.
fn windows_of(index: usize) -> Vec<Window> {
    let at = |step: usize| (index * 7 + step * 3) as i64 % 40 - 20;
    let window = |step: usize| (step % 2, [at(step), at(step + index)]);
    (0..10).map(window).collect()
}

fn policy() -> Policy {
    Policy {
        round: RoundPolicy {
            device_count_min: 3,
            total_window_count_min: 30,
            ..RoundPolicy::default()
        },
        ..Policy::default()
    }
}

/// Devices that run one model, and have begun their sums anew for a round that asks for them now.
async fn gathering(device_count: u64, policy: Policy) -> (World, RoundId) {
    let mut world = World::new(device_count, policy).await;
    let capsule = world.release().await;
    for device in &mut world.devices {
        device.model = capsule.id;
    }
    world.report_all(|_| Shift::default()).await;
    let round = world
        .fleet
        .open_round(capsule.id, None, "ann", "a test", world.now)
        .await
        .unwrap();
    let ids = world.ids();
    world.fleet.owed_many(&ids, world.now).await.unwrap();
    world.now = world.now.plus_ms(2 * DAY);
    world.fleet.turn(world.now).await.unwrap();
    (world, round.id)
}

impl World {
    async fn tells(&mut self, round: RoundId, index: usize, windows: &[Window]) {
        let frames = self.devices[index].statistics(round.0 as u16, 2, 2, &sums_of(windows));
        self.send(&frames).await;
    }

    /// Turns until nothing is left to do.
    async fn settles(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..3 {
            events.extend(self.fleet.turn(self.now).await.unwrap());
        }
        events
    }

    async fn round(&self, id: RoundId) -> Round {
        round::get(&self.fleet.db, id).await.unwrap().unwrap()
    }

    async fn sum(&self, digest: &Digest) -> Option<Value> {
        let bytes = self.fleet.artifacts.get(digest).await.ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// The round's sum without its number.
    async fn sum_of(&self, id: RoundId) -> Value {
        let round = self.round(id).await;
        let mut sum = self.sum(&round.statistics.unwrap()).await.unwrap();
        assert_eq!(sum["round"], round.id.0);
        sum["round"] = Value::Null;
        sum
    }

    async fn trigger(&self) -> Trigger {
        let newest = trigger::list(&self.fleet.db, 1).await.unwrap();
        newest.into_iter().next().unwrap()
    }

    /// A run has answered the trigger with the next version, which is in this stage.
    async fn is_answered(&self, mut answered: Trigger, stage: Stage) {
        let tx = self.fleet.db.begin("test").await.unwrap();
        let new = NewRun {
            project: "fan".to_owned(),
            kind: answered.kind.clone(),
            trigger: Some(answered.id),
            settings: Digest::of(b"settings"),
            code: "0".to_owned(),
            seed: 1,
            owner: "test".to_owned(),
            lease_until: self.now,
        };
        let run = run::add(&tx, &new, self.now).await.unwrap();
        let new = NewModel {
            name: "fan".to_owned(),
            project: "fan".to_owned(),
            digest: Digest::of(format!("head {}", answered.id).as_bytes()),
            run: Some(run.id),
            parent: Some(1),
            metrics: json!({}),
        };
        let mut version = model::add(&tx, &new, self.now).await.unwrap();
        version.stage = stage;
        model::put(&tx, &mut version).await.unwrap();
        (answered.run, answered.state) = (Some(run.id), TriggerState::Done);
        trigger::put(&tx, &mut answered).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn actions(&self) -> Vec<String> {
        let log = audit::list(&self.fleet.db, 100).await.unwrap();
        log.into_iter().map(|entry| entry.action).collect()
    }
}

/// A round in which only these devices, of so many, answer in time.
async fn fresh(device_count: u64, told: &[(usize, Vec<Window>)]) -> Value {
    let (mut world, round) = gathering(device_count, policy()).await;
    for (index, windows) in told {
        world.tells(round, *index, windows).await;
    }
    world.now = world.now.plus_ms(2 * HOUR);
    world.settles().await;
    world.sum_of(round).await
}

fn own(indices: &[usize]) -> Vec<(usize, Vec<Window>)> {
    indices
        .iter()
        .map(|index| (*index, windows_of(*index)))
        .collect()
}

#[tokio::test]
async fn who_is_late_is_asked_and_joins_and_the_trigger_that_waits_follows() {
    let (mut world, id) = gathering(5, policy()).await;
    for index in 0..4 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.now = world.now.plus_ms(2 * HOUR);
    let events = world.settles().await;
    assert!(
        matches!(
            &events[..],
            [Event::RoundClosed { .. }, Event::Triggered(_)]
        ),
        "{events:?}"
    );
    let before = world.round(id).await;
    let late = world.devices[4].row.id;
    let asked = world.fleet.owed(late, world.now).await.unwrap();
    let asked: Vec<Downlink<'_>> = asked
        .iter()
        .map(|bytes| world.devices[4].open(bytes))
        .collect();
    assert!(
        matches!(&asked[..], [Downlink::StatisticsRequest(asked)] if i64::from(asked.round) == id.0),
        "{asked:?}"
    );
    world.tells(id, 4, &windows_of(4)).await;
    let events = world.settles().await;
    assert!(matches!(&events[..], [Event::RoundJoined(_)]), "{events:?}");
    let after = world.round(id).await;
    assert_eq!((after.device_count, &after.detail["late"]), (5, &json!(1)));
    assert_eq!(after.detail["windows"], 50);
    assert_eq!(
        world.sum_of(id).await,
        fresh(5, &own(&[0, 1, 2, 3, 4])).await
    );
    let trigger = world.trigger().await;
    assert_eq!(
        (trigger.state, trigger.payload),
        (TriggerState::Waiting, after.statistics)
    );
    assert_eq!(
        (
            &trigger.detail["device_count"],
            &trigger.detail["window_count"]
        ),
        (&json!(5), &json!(48)),
        "clipped"
    );
    assert_eq!(
        world.sum(&before.statistics.unwrap()).await,
        None,
        "the difference would be the device's"
    );
    assert_eq!(
        world.fleet.owed(late, world.now).await.unwrap(),
        Vec::<Vec<u8>>::new()
    );
    // Once a head is solved, a sum that grows changes nothing until somebody asks.
    assert_eq!(
        world
            .fleet
            .solve_round(id, "", "ann", world.now)
            .await
            .unwrap()
            .id,
        trigger.id
    );
    world.is_answered(trigger.clone(), Stage::Production).await;
    let again = world
        .fleet
        .solve_round(id, "one more", "ann", world.now)
        .await
        .unwrap();
    assert_eq!(
        (again.payload, &again.detail["why"]),
        (after.statistics, &json!("one more"))
    );
    assert!(again.id > trigger.id);
    let none = world
        .fleet
        .solve_round(RoundId(99), "", "ann", world.now)
        .await;
    assert!(matches!(none, Err(FleetError::NoRound(_))), "{none:?}");
}

#[tokio::test]
async fn nobody_is_asked_for_a_round_once_another_has_begun_or_it_is_too_late() {
    for newer in [false, true] {
        let (mut world, id) = gathering(5, policy()).await;
        for index in 0..4 {
            world.tells(id, index, &windows_of(index)).await;
        }
        world.now = world.now.plus_ms(2 * HOUR);
        world.settles().await;
        if newer {
            let model = world.round(id).await.model;
            world
                .fleet
                .open_round(model, Some("elsewhere"), "ann", "", world.now)
                .await
                .unwrap();
        } else {
            world.now = world.now.plus_ms(7 * DAY);
        }
        let late = world.devices[4].row.id;
        let asked = world.fleet.owed(late, world.now).await.unwrap();
        assert_eq!(asked, Vec::<Vec<u8>>::new(), "newer: {newer}");
    }
}

#[tokio::test]
async fn who_withdraws_was_never_there_and_is_not_asked_again() {
    let (mut world, id) = gathering(5, policy()).await;
    for index in 0..5 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.settles().await;
    let with = world.round(id).await;
    let leaver = world.devices[1].row.id;
    let told = world
        .fleet
        .withdraw_sums(leaver, "sold", "ann", world.now)
        .await
        .unwrap();
    assert_eq!(
        (told.withdrawal.actor.as_str(), told.triggers.len()),
        ("ann", 0)
    );
    assert_eq!(
        told.left.iter().map(|round| round.id).collect::<Vec<_>>(),
        [id]
    );
    let without = world.round(id).await;
    assert_eq!(
        (without.device_count, &without.detail["withdrawn"]),
        (4, &json!(1))
    );
    assert_eq!(world.sum_of(id).await, fresh(5, &own(&[0, 2, 3, 4])).await);
    assert_eq!(
        world.trigger().await.payload,
        without.statistics,
        "it had not been taken"
    );
    assert_eq!(world.sum(&with.statistics.unwrap()).await, None);
    let kept = round::contribution(&world.fleet.db, id, leaver)
        .await
        .unwrap();
    assert_eq!(kept, None);
    world.settles().await;
    let settled = world.round(id).await;
    assert_eq!(
        (settled.statistics, settled.is_stale),
        (without.statistics, false)
    );
    assert_eq!(settled.detail.get("replaced"), None);
    // What it says now is dropped, and the next round asks the others alone.
    world.tells(id, 1, &windows_of(1)).await;
    world.settles().await;
    assert_eq!(world.round(id).await.device_count, 4);
    let again = world
        .fleet
        .withdraw_sums(leaver, "again", "bob", world.now)
        .await
        .unwrap();
    assert_eq!(
        (again.withdrawal.why.as_str(), again.left),
        ("sold", Vec::new())
    );
    let next = world
        .fleet
        .open_round(settled.model, None, "ann", "", world.now)
        .await
        .unwrap();
    let ids = world.ids();
    world.now = world.now.plus_ms(HOUR);
    world.fleet.owed_many(&ids, world.now).await.unwrap();
    let cleared = round::contributors(&world.fleet.db, next.id).await.unwrap();
    assert_eq!(cleared.len(), 4);
    assert!(!cleared.iter().any(|(device, _)| *device == leaver));
    // Nobody waits for it either.
    world.now = world.now.plus_ms(2 * DAY);
    world.fleet.turn(world.now).await.unwrap();
    for index in [0, 2, 3, 4] {
        world.tells(next.id, index, &windows_of(index)).await;
    }
    world.fleet.turn(world.now).await.unwrap();
    assert_eq!(world.round(next.id).await.state, RoundState::Closed);
    world
        .fleet
        .admit_sums(leaver, "bought back", "ann", world.now)
        .await
        .unwrap();
    let twice = world.fleet.admit_sums(leaver, "", "ann", world.now).await;
    assert!(
        matches!(twice, Err(FleetError::NotWithdrawn(_))),
        "{twice:?}"
    );
    let nobody = world
        .fleet
        .withdraw_sums(DeviceId(99), "", "ann", world.now)
        .await;
    assert!(matches!(nobody, Err(FleetError::NoDevice(_))), "{nobody:?}");
    let actions = world.actions().await;
    for action in [
        "device.withdraw-sums",
        "round.withdraw",
        "device.admit-sums",
    ] {
        let count = actions.iter().filter(|said| *said == action).count();
        assert_eq!(count, 1, "{action}: {actions:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_in_use_is_solved_anew_when_a_device_leaves_its_sum() {
    for (stage, is_asked) in [
        (Stage::Production, true),
        (Stage::Canary, true),
        (Stage::Candidate, true),
        (Stage::Archived, false),
        (Stage::Rejected, false),
    ] {
        let (mut world, id) = gathering(4, policy()).await;
        for index in 0..4 {
            world.tells(id, index, &windows_of(index)).await;
        }
        world.settles().await;
        let answered = world.trigger().await;
        world.is_answered(answered.clone(), stage).await;
        let leaver = world.devices[0].row.id;
        let told = world
            .fleet
            .withdraw_sums(leaver, "", "ann", world.now)
            .await
            .unwrap();
        assert_eq!(told.triggers.len(), usize::from(is_asked), "{stage}");
        let newest = world.trigger().await;
        assert_eq!(newest.id > answered.id, is_asked, "{stage}");
        if is_asked {
            assert_eq!(newest.payload, world.round(id).await.statistics);
            assert_eq!(newest.detail["repair"], Value::Null);
            assert_eq!(newest.detail["device_count"], 3);
            assert!(newest.detail["why"].as_str().unwrap().contains("withdrew"));
        }
        // One that was answered stays as it was.
        let before = trigger::get(&world.fleet.db, answered.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(before.payload, answered.payload);
    }
}

#[tokio::test]
async fn a_head_in_use_counts_also_where_a_later_wish_came_to_nothing() {
    let (mut world, id) = gathering(4, policy()).await;
    for index in 0..4 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.settles().await;
    let answered = world.trigger().await;
    world.is_answered(answered, Stage::Production).await;
    let again = world.fleet.solve_round(id, "", "ann", world.now);
    let mut again = again.await.unwrap();
    let tx = world.fleet.db.begin("test").await.unwrap();
    again.state = TriggerState::Failed;
    trigger::put(&tx, &mut again).await.unwrap();
    tx.commit().await.unwrap();
    let leaver = world.devices[0].row.id;
    let told = world.fleet.withdraw_sums(leaver, "", "ann", world.now);
    assert_eq!(told.await.unwrap().triggers.len(), 1);
}

#[tokio::test]
async fn a_run_at_work_keeps_its_sum_from_who_is_late_and_not_from_who_withdraws() {
    let (mut world, id) = gathering(5, policy()).await;
    for index in 0..4 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.now = world.now.plus_ms(2 * HOUR);
    world.settles().await;
    let tx = world.fleet.db.begin("test").await.unwrap();
    let taken = trigger::take(&tx, "fan", world.now).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    world.tells(id, 4, &windows_of(4)).await;
    assert_eq!(world.settles().await, []);
    assert!(world.sum(&taken.payload.unwrap()).await.is_some());
    let leaver = world.devices[0].row.id;
    let told = world
        .fleet
        .withdraw_sums(leaver, "", "ann", world.now)
        .await
        .unwrap();
    assert_eq!(world.sum(&taken.payload.unwrap()).await, None);
    assert_eq!(told.triggers.len(), 1, "the run may end in a head from it");
    assert_eq!(world.sum_of(id).await, fresh(5, &own(&[1, 2, 3, 4])).await);
}

#[tokio::test]
async fn a_sum_of_too_few_is_no_sum() {
    let (mut world, id) = gathering(3, policy()).await;
    for index in 0..3 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.settles().await;
    let with = world.round(id).await;
    let leaver = world.devices[0].row.id;
    world
        .fleet
        .withdraw_sums(leaver, "", "ann", world.now)
        .await
        .unwrap();
    let without = world.round(id).await;
    assert_eq!(
        (without.state, without.statistics),
        (RoundState::Abandoned, None)
    );
    assert_eq!(world.sum(&with.statistics.unwrap()).await, None);
    let trigger = world.trigger().await;
    assert_eq!(trigger.state, TriggerState::Failed);
    assert!(
        trigger.detail["failed"]
            .as_str()
            .unwrap()
            .contains("withdrew")
    );
    assert_eq!(round::contributors(&world.fleet.db, id).await.unwrap(), []);
    let solved = world.fleet.solve_round(id, "", "ann", world.now).await;
    assert!(matches!(solved, Err(FleetError::NoSum(_))), "{solved:?}");
    world.settles().await;
    assert!(!world.round(id).await.is_stale);
}

#[tokio::test]
async fn sums_of_devices_are_kept_for_a_while_or_not_at_all() {
    let (mut world, id) = gathering(4, policy()).await;
    for index in 0..4 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.settles().await;
    let closed = world.round(id).await;
    assert_eq!(closed.kept_until, Some(world.now.plus_ms(30 * DAY)));
    world.now = world.now.plus_ms(30 * DAY - 1);
    world.settles().await;
    assert_eq!(
        round::contributors(&world.fleet.db, id)
            .await
            .unwrap()
            .len(),
        4
    );
    world.now = world.now.plus_ms(1);
    world.settles().await;
    let final_ = world.round(id).await;
    assert_eq!(
        (final_.kept_until, final_.statistics),
        (None, closed.statistics)
    );
    assert_eq!(round::contributors(&world.fleet.db, id).await.unwrap(), []);
    assert!(
        world
            .actions()
            .await
            .contains(&"round.forget-sums".to_owned())
    );
    let leaver = world.devices[0].row.id;
    let told = world
        .fleet
        .withdraw_sums(leaver, "", "ann", world.now)
        .await
        .unwrap();
    assert_eq!(told.left, [], "nobody has what it told");

    let mut none = policy();
    none.round.keep_sums_ms = 0;
    let (mut world, id) = gathering(4, none).await;
    for index in 0..4 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.settles().await;
    let closed = world.round(id).await;
    assert_eq!(
        (closed.state, closed.kept_until),
        (RoundState::Closed, None)
    );
    assert_eq!(round::contributors(&world.fleet.db, id).await.unwrap(), []);
}

#[tokio::test]
async fn an_owner_who_withdraws_on_the_device_leaves_rounds_until_there_is_consent_again() {
    let (mut world, id) = gathering(4, policy()).await;
    for index in 0..4 {
        world.tells(id, index, &windows_of(index)).await;
    }
    world.settles().await;
    let answer = |order, state| {
        let answer = Answer {
            order,
            state,
            reason: OrderReason::None,
            count: 1,
            left: 5,
            bytes: 0,
        };
        let mut body = [0; 64];
        let frame = Frame::Annotation(Annotation::Answer(answer));
        let len = frame.encode(&mut body).unwrap();
        body[..len].to_vec()
    };
    let said = world.devices[2].seal(&answer(0, OrderState::Withdrawn));
    world.send(&[said]).await;
    world.settles().await;
    assert_eq!(world.sum_of(id).await, fresh(4, &own(&[0, 1, 3])).await);
    let device = world.devices[2].row.id;
    let held = withdrawal::get(&world.fleet.db, device).await.unwrap();
    assert_eq!(held.unwrap().actor, device.to_string());
    // It goes by an order that its owner lets it follow; what a person has said stays said.
    let said = world.devices[1].seal(&answer(0, OrderState::Withdrawn));
    world.send(&[said]).await;
    for index in [1, 3] {
        let other = world.devices[index].row.id;
        let withdrawn = world.fleet.withdraw_sums(other, "", "ann", world.now);
        assert_eq!(withdrawn.await.unwrap().withdrawal.actor, "ann");
    }
    for (index, is_held) in [(1, true), (2, false), (3, true)] {
        let device = world.devices[index].row.id;
        let whom = Whom {
            device: Some(device),
            ..Whom::default()
        };
        let wish = AnnotationWish {
            annotator: AnnotatorSecret::from_seed(&[3; 32]).key(),
            count: 1,
            windows: 40,
            within_ms: HOUR,
            why: "a drift",
        };
        let made = world
            .fleet
            .ask_windows(&whom, &wish, "ann", world.now)
            .await
            .unwrap();
        let order = made[0].id.0 as u32;
        let said = world.devices[index].seal(&answer(order, OrderState::Collecting));
        world.send(&[said]).await;
        let held = withdrawal::get(&world.fleet.db, device).await.unwrap();
        assert_eq!(held.is_some(), is_held, "device {index}");
    }
}

#[tokio::test]
async fn a_sum_under_masks_keeps_who_is_in_it_and_asks_who_has_withdrawn_no_more() {
    let mut fleet = Labelled::new(23, without_noise(), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    for index in 0..22 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    // One whose numbers are in the sum, and one that has told none: nobody has the numbers of the first.
    for index in [0, 22] {
        let device = fleet.world.devices[index].row.id;
        let withdrawn = fleet
            .world
            .fleet
            .withdraw_sums(device, "", "ann", fleet.world.now)
            .await
            .unwrap();
        assert_eq!(withdrawn.left, []);
    }
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    fleet.assert_is_sum(&values, &(0..22).collect::<Vec<_>>());
    let closed = fleet.round(id).await;
    assert_eq!((closed.device_count, closed.kept_until), (22, None));
    // One that is closed stays as it is, and the next one asks neither.
    let device = fleet.world.devices[1].row.id;
    let withdrawn = fleet
        .world
        .fleet
        .withdraw_sums(device, "", "ann", fleet.world.now)
        .await
        .unwrap();
    assert_eq!(withdrawn.left, []);
    assert_eq!(fleet.round(id).await.statistics, closed.statistics);
    fleet.requests.fill(None);
    fleet.world.now = fleet.world.now.plus_ms(DAY);
    fleet.open().await;
    fleet.turn().await;
    fleet.read().await;
    let asked = fleet.requests.iter().map(Option::is_some);
    let expected = (0..23).map(|index| ![0, 1, 22].contains(&index));
    assert_eq!(asked.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

/// One thing that happens to a round.
#[derive(Clone, Debug)]
enum Step {
    Tells(usize),
    Withdraws(usize),
    Turns,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..DEVICES).prop_map(Step::Tells),
        2 => (0..DEVICES).prop_map(Step::Withdraws),
        1 => Just(Step::Turns),
    ];
    prop::collection::vec(step, 0..24)
}

const DEVICES: usize = 12;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever comes late, and whoever leaves when, the sum is that of a round in which exactly those answered who are
    /// left: values, norm and buckets, bit for bit.
    #[test]
    fn any_order_of_late_and_withdrawn_is_a_round_of_those_who_are_left(
        windows in prop::collection::vec(
            prop::collection::vec((0..2_usize, [-120..120_i64, -120..120_i64]), 8..30),
            DEVICES,
        ),
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut world, id) = gathering(DEVICES as u64, policy()).await;
            let mut inside = [false; DEVICES];
            let mut gone = [false; DEVICES];
            for index in 0..4 {
                world.tells(id, index, &windows[index]).await;
                inside[index] = true;
            }
            world.now = world.now.plus_ms(2 * HOUR);
            world.settles().await;
            for step in &steps {
                match *step {
                    Step::Tells(index) => {
                        world.tells(id, index, &windows[index]).await;
                        inside[index] |= !gone[index];
                    }
                    Step::Withdraws(index) => {
                        let device = world.devices[index].row.id;
                        world.fleet.withdraw_sums(device, "", "ann", world.now).await.unwrap();
                        (inside[index], gone[index]) = (false, true);
                    }
                    Step::Turns => drop(world.fleet.turn(world.now).await.unwrap()),
                }
                if world.round(id).await.state == RoundState::Abandoned {
                    break;
                }
            }
            world.settles().await;
            let left: Vec<(usize, Vec<Window>)> = (0..DEVICES)
                .filter(|index| inside[*index])
                .map(|index| (index, windows[index].clone()))
                .collect();
            if world.round(id).await.state == RoundState::Abandoned {
                assert!(left.len() < 3, "{left:?}");
            } else {
                assert_eq!(world.sum_of(id).await, fresh(DEVICES as u64, &left).await);
            }
            let all = withdrawal::list(&world.fleet.db).await.unwrap();
            assert_eq!(all.len(), gone.iter().filter(|gone| **gone).count());
        });
    }
}
