//! Envelopes that wait in the log: on the disk when they are acknowledged, in the records once, and as if they
//! had been taken in one by one.

use tinyops_fleet::{Intake, Policy, Refusal, Uplink, Verdict};
use tinyops_store::drift::DriftState;
use tinyops_store::presence::Presence;
use tinyops_store::report::Report;
use tinyops_store::{Timestamp, drift, intake_log, presence, report};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::{Frame, frame};

use crate::world::{DAY, Shift, World};

fn uplinks(envelopes: &[Vec<u8>]) -> Vec<Uplink<'_>> {
    let uplink = |bytes| Uplink { from: None, bytes };
    envelopes.iter().map(Vec::as_slice).map(uplink).collect()
}

async fn put_off(intake: &mut Intake, envelopes: &[Vec<u8>], now: Timestamp) -> Vec<Verdict> {
    let (verdicts, _) = intake.put_off(&uplinks(envelopes), now).await.unwrap();
    verdicts
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_log_and_then_once_in_the_records() {
    let mut world = World::new(2, Policy::default()).await;
    let db = world.fleet.db.clone();
    let envelopes: Vec<Vec<u8>> = (0..3)
        .flat_map(|_| {
            world
                .devices
                .iter_mut()
                .map(|d| d.report(Shift::default()))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut intake = Intake::new(world.fleet.clone());
    let verdicts = put_off(&mut intake, &envelopes, world.now).await;
    assert!(verdicts.iter().all(|verdict| verdict.refusal.is_none()));
    assert_eq!(intake.waiting_count(), 6);
    assert_eq!(intake_log::list(&db).await.unwrap().len(), 1);
    assert_eq!(report::count(&db).await.unwrap(), 0);

    // The process ends here. The next one finds them, and a third that looked at the same time does them no harm.
    let (mut next, mut other) = (
        Intake::new(world.fleet.clone()),
        Intake::new(world.fleet.clone()),
    );
    let more = vec![world.devices[0].report(Shift::default())];
    put_off(&mut next, &more, world.now).await;
    put_off(&mut other, &more, world.now).await;
    assert_eq!((next.waiting_count(), other.waiting_count()), (7, 8));
    next.fold().await.unwrap();
    other.fold().await.unwrap();
    intake.fold().await.unwrap();
    assert_eq!(intake.waiting_count(), 0);
    assert!(intake_log::list(&db).await.unwrap().is_empty());
    assert_eq!(report::count(&db).await.unwrap(), 7);
    let counted = presence::get(&db, world.devices[0].row.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            counted.report_count,
            counted.duplicate_count,
            counted.last_seq
        ),
        (4, 1, Some(4))
    );
}

#[tokio::test]
async fn bad_envelopes_are_counted_by_the_fold() {
    let mut world = World::new(2, Policy::default()).await;
    let ids = world.ids();
    let good = world.devices[0].report(Shift::default());
    let mut bent = world.devices[1].report(Shift::default());
    bent[20] ^= 1;
    let odd = world.devices[1].seal(b"\xff is no frame");
    let mut stranger = good.clone();
    stranger[1..9].copy_from_slice(&12_345_u64.to_le_bytes());
    let sent = [good, bent, odd, stranger, Vec::new()];
    let mut intake = Intake::new(world.fleet.clone());
    let verdicts = put_off(&mut intake, &sent, world.now).await;
    let refusals: Vec<_> = verdicts.iter().map(|verdict| verdict.refusal).collect();
    let expected = [
        None,
        Some(Refusal::Tag),
        Some(Refusal::Frame),
        Some(Refusal::UnknownDevice),
        Some(Refusal::Envelope),
    ];
    assert_eq!(refusals, expected);
    assert_eq!(intake.waiting_count(), 3, "nobody can be blamed for two");
    intake.fold().await.unwrap();
    let blamed = presence::get(&world.fleet.db, ids[1]).await.unwrap();
    let blamed = blamed.unwrap();
    assert_eq!((blamed.malformed_count, blamed.last_seq), (2, None));
    assert_eq!(report::count(&world.fleet.db).await.unwrap(), 1);
}

#[tokio::test]
async fn a_revoked_device_is_refused_from_the_next_fold_on_and_a_new_one_is_let_in_at_once() {
    let mut world = World::new(1, Policy::default()).await;
    let mut intake = Intake::new(world.fleet.clone());
    let first = vec![world.devices[0].report(Shift::default())];
    put_off(&mut intake, &first, world.now).await;
    world.enrol().await;
    let newcomer = vec![world.devices[1].report(Shift::default())];
    let verdicts = put_off(&mut intake, &newcomer, world.now).await;
    assert_eq!(verdicts[0].refusal, None);
    let id = world.devices[0].row.id;
    world.fleet.revoke(id, "ann", world.now).await.unwrap();
    intake.fold().await.unwrap();
    let second = vec![world.devices[0].report(Shift::default())];
    let verdicts = put_off(&mut intake, &second, world.now).await;
    assert_eq!(verdicts[0].refusal, Some(Refusal::Revoked));
    assert_eq!(
        report::count(&world.fleet.db).await.unwrap(),
        2,
        "what was acknowledged before is kept"
    );
}

#[tokio::test]
async fn who_waits_for_an_answer_has_it_at_once() {
    let mut world = World::new(1, Policy::default()).await;
    let capsule = world.release().await;
    let wish = tinyops_fleet::rollout::Wish::of("fan", 1);
    let fleet = world.fleet.clone();
    fleet.start_rollout(&wish, "ann", world.now).await.unwrap();
    let mut intake = Intake::new(fleet.clone());
    let report = vec![world.devices[0].report(Shift::default())];
    put_off(&mut intake, &report, world.now).await;
    let request = BlockRequest {
        digest: capsule.digest.prefix(),
        offset: 0,
        block_bytes: 64,
        wanted: u32::MAX,
    };
    let mut body = [0; 64];
    let len = Frame::BlockRequest(request).encode(&mut body).unwrap();
    let asked = vec![world.devices[0].seal(&body[..len])];
    let verdicts = put_off(&mut intake, &asked, world.now).await;
    assert!(!verdicts[0].down.is_empty());
    assert_eq!(intake.waiting_count(), 0);
    let confirmed = world.devices[0].update(
        frame::UpdateState::Confirmed,
        frame::Reason::None,
        capsule.id,
    );
    put_off(&mut intake, &[confirmed], world.now).await;
    assert_eq!(intake.waiting_count(), 0, "a rollout waits for this");
    assert_eq!(report::count(&fleet.db).await.unwrap(), 2);
}

/// What the records hold of a fleet after all that was sent.
async fn held(world: &World) -> Vec<(Presence, Vec<Report<'static>>, Vec<DriftState>)> {
    let db = &world.fleet.db;
    let mut all = Vec::new();
    for device in &world.devices {
        let id = device.row.id;
        let scope = drift::Scope::Device(id);
        all.push((
            presence::get(db, id).await.unwrap().unwrap(),
            report::of_device(db, id, 1_000).await.unwrap(),
            drift::of_scope(db, &scope).await.unwrap(),
        ));
    }
    let cohorts = drift::of_cohorts(db).await.unwrap();
    all.push((Presence::default(), Vec::new(), cohorts));
    all
}

#[tokio::test]
async fn folded_or_taken_in_one_by_one_the_records_are_the_same() {
    let mut worlds = Vec::new();
    for _ in 0..2 {
        let mut world = World::new(5, Policy::default()).await;
        let capsule = world.release().await;
        for device in &mut world.devices {
            device.model = capsule.id;
        }
        worlds.push(world);
    }
    let mut folded = worlds.pop().unwrap();
    let mut direct = worlds.pop().unwrap();
    let mut intake = Intake::new(folded.fleet.clone());
    let (mut events, mut events_direct) = (Vec::new(), Vec::new());
    for day in 0..40_usize {
        // From day 25 on, one device drifts.
        let shift = |index: usize| Shift {
            mean: if day >= 25 && index == 3 { 3.0 } else { 0.0 },
            ..Shift::default()
        };
        let mut sent = Vec::new();
        for (index, device) in direct.devices.iter_mut().enumerate() {
            sent.push(device.report(shift(index)));
        }
        for (index, device) in folded.devices.iter_mut().enumerate() {
            assert_eq!(device.report(shift(index)), sent[index]);
        }
        match day % 4 {
            0 => sent.push(sent[day % 5].clone()),
            1 => sent[1][20] ^= 1,
            _ => {}
        }
        direct.now = direct.now.plus_ms(DAY);
        for envelope in &sent {
            let one = std::slice::from_ref(envelope);
            let now = direct.now;
            let (_, more) = direct.fleet.ingest_many(&uplinks(one), now).await.unwrap();
            events_direct.extend(more);
        }
        put_off(&mut intake, &sent, direct.now).await;
        if day % 3 == 0 {
            events.extend(intake.fold().await.unwrap());
        }
    }
    events.extend(intake.fold().await.unwrap());
    let kinds = |events: &[tinyops_fleet::Event]| {
        let kind = |event: &tinyops_fleet::Event| std::mem::discriminant(event);
        events.iter().map(kind).collect::<Vec<_>>()
    };
    assert!(!events.is_empty(), "the drift is noticed");
    assert_eq!(kinds(&events), kinds(&events_direct));
    let (ours, theirs) = (held(&folded).await, held(&direct).await);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!((&ours.0, &ours.1), (&theirs.0, &theirs.1));
        let memory = |state: &DriftState| (state.model, state.state.clone(), state.alarmed);
        let memories = |states: &[DriftState]| states.iter().map(memory).collect::<Vec<_>>();
        assert_eq!(memories(&ours.2), memories(&theirs.2));
    }
}
