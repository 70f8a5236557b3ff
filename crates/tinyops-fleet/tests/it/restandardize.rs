//! Features moved back before anyone is asked for sums: whether a round follows is what the model then says.

use serde_json::json;
use tinyops_fleet::ladder::End;
use tinyops_fleet::repair::details;
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::{Event, Policy};
use tinyops_store::alert::{self, Alert, AlertKind, AlertState, NewAlert};
use tinyops_store::drift::{self, Scope};
use tinyops_store::repair::Repair;
use tinyops_store::round;
use tinyops_wire::frame::{Alarm, Features, Flags, Frame};

use crate::round::drifted_world_of;
use crate::world::{DAY, Shift, World};

const DRIFTED: Shift = Shift {
    mean: 0.8,
    ln_sd: 0.0,
    embedding: 0.0,
    output: -0.8,
    micros: 0.0,
    not_finite: false,
};

/// Half of the way, and time enough for a world that drifts for days before it is looked at.
fn policy() -> RoundPolicy {
    RoundPolicy {
        restandardize_sixteenths: 8,
        restandardize_within_ms: 14 * DAY,
        ..RoundPolicy::default()
    }
}

/// Five of ten devices have drifted, inputs and answers, and all can move their features.
async fn able_world() -> World {
    let (world, _) = drifted_world_of(policy(), DRIFTED).await;
    let standing = alert::standing(&world.fleet.db).await.unwrap();
    let of_devices = standing
        .iter()
        .filter(|alert| matches!(alert.scope, Scope::Device(_)))
        .filter(|alert| alert.advice == "head-update");
    assert!(of_devices.count() >= 5, "{standing:?}");
    world.hello_all(Features::RESTANDARDIZES).await;
    world
}

/// A day's reports of moved features, and a turn: half of the way back is left of what moved, and this of the output.
async fn day(world: &mut World, output: f32) -> Vec<Event> {
    let moved = Shift {
        mean: DRIFTED.mean / 2.0,
        output,
        ..DRIFTED
    };
    let shift = |index| if index < 5 { moved } else { Shift::default() };
    let raised = world.report_all(shift).await;
    assert_eq!(raised, [], "what the server asked for is no news");
    world.fleet.turn(world.now).await.unwrap()
}

/// Whether features that were moved were all that it took.
fn repaired(repair: &Repair) -> bool {
    let ladder = details(repair).unwrap();
    ladder.end() == Some(End::Repaired) && ladder.kept.is_empty() && ladder.device_bytes == 0
}

async fn standing(world: &World) -> Vec<Alert> {
    alert::standing(&world.fleet.db).await.unwrap()
}

#[tokio::test]
async fn no_sums_are_asked_for_where_moved_features_did() {
    let mut world = able_world().await;
    assert_eq!(world.fleet.turn(world.now).await.unwrap(), []);
    world.deliver(|_| true).await;
    assert!(world.devices[..5].iter().all(|device| device.is_moved));
    let ids: Vec<_> = standing(&world).await.iter().map(|a| a.id).collect();
    for report in 1..=3 {
        assert!(!standing(&world).await.is_empty());
        let events = day(&mut world, 0.0).await;
        match report {
            3 => assert!(
                matches!(&events[..], [Event::RepairEnded(repair)] if repaired(repair)),
                "{events:?}"
            ),
            _ => assert_eq!(events, []),
        }
    }
    assert_eq!(standing(&world).await, []);
    for id in ids {
        let found = alert::get(&world.fleet.db, id).await.unwrap().unwrap();
        assert_eq!(
            (found.state, found.actor.as_str()),
            (AlertState::Resolved, "fleet")
        );
    }
    // Their new baselines are learnt, and nothing has come of it.
    for _ in 0..16 {
        assert_eq!(day(&mut world, 0.0).await, []);
    }
    assert_eq!(round::list(&world.fleet.db, 10).await.unwrap(), []);
}

#[tokio::test]
async fn an_alert_that_moving_was_not_to_help_stands_when_the_rest_is_repaired() {
    let mut world = able_world().await;
    let new = NewAlert {
        scope: Scope::Device(world.devices[9].row.id),
        model: world.devices[9].model,
        kind: AlertKind::Drift,
        advice: "head-update".to_owned(),
        detail: json!({}),
    };
    let tx = world.fleet.db.begin("test").await.unwrap();
    let other = alert::raise(&tx, &new, world.now).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let until = world.now.plus_ms(90 * DAY);
    let muted = world.fleet.mute(other.id, until, "known", "ana", world.now);
    muted.await.unwrap();
    assert_eq!(world.fleet.turn(world.now).await.unwrap(), []);
    world.deliver(|_| true).await;
    let mut ended = false;
    for _ in 1..=3 {
        let events = day(&mut world, 0.0).await;
        ended |= matches!(&events[..], [Event::RepairEnded(repair)] if repaired(repair));
    }
    assert!(ended);
    let left: Vec<_> = standing(&world).await.iter().map(|a| a.id).collect();
    assert_eq!(left, [other.id]);
}

#[tokio::test]
async fn sums_of_moved_features_are_asked_for_where_the_drift_stands() {
    let mut world = able_world().await;
    assert_eq!(world.fleet.turn(world.now).await.unwrap(), []);
    world.deliver(|_| true).await;
    for _ in 0..2 {
        assert_eq!(day(&mut world, DRIFTED.output).await, []);
    }
    let opened = day(&mut world, DRIFTED.output).await;
    assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
    assert!(!standing(&world).await.is_empty());
}

#[tokio::test]
async fn a_drift_that_stood_is_not_forgotten_when_it_has_become_normal() {
    let mut world = able_world().await;
    world.deliver(|_| true).await;
    // Nobody answers the round; the new baselines are learnt of the drifted world.
    let mut events = Vec::new();
    for _ in 0..20 {
        events.extend(day(&mut world, DRIFTED.output).await);
    }
    let is_opened = |event: &&Event| matches!(event, Event::RoundOpened(_));
    assert!(events.iter().filter(is_opened).count() >= 2, "{events:?}");
    assert!(!standing(&world).await.is_empty());
}

#[tokio::test]
async fn a_drift_that_follows_on_a_new_baseline_is_raised() {
    for in_an_alarm in [false, true] {
        let (mut world, _) = drifted_world_of(policy(), Shift::default()).await;
        let (device, model) = (world.devices[0].row.id, world.devices[0].model);
        let of_device = |alert: &&Alert| alert.scope == Scope::Device(device);
        assert_eq!(standing(&world).await.iter().find(of_device), None);
        // The model answers otherwise from the move on, and that becomes this device's normal.
        world.devices[0].is_moved = true;
        let normal = Shift {
            output: DRIFTED.output,
            ..Shift::default()
        };
        let reports = Policy::default().drift.baseline_reports;
        for report in 1..=reports {
            let shift = |index| if index == 0 { normal } else { Shift::default() };
            assert_eq!(world.report_all(shift).await, []);
            if in_an_alarm && report + 1 == reports {
                // One that comes in a report's place: of readings that are numbers.
                let flags = Flags::default().with_privacy_class(1);
                let mut out = [0; 8];
                let frame = Frame::Alarm(Alarm { flags, moved: None });
                let len = frame.encode(&mut out).unwrap();
                let sealed = world.devices[0].seal(&out[..len]);
                assert_eq!(world.send(&[sealed]).await.1, []);
            }
        }
        let tx = world.fleet.db.begin("test").await.unwrap();
        let states = drift::get_many(&tx, &[(Scope::Device(device), model)]).await;
        let state = states.unwrap().pop().flatten().unwrap();
        drop(tx);
        assert!(state.score >= 1.0 && !state.alarmed, "{state:?}");
        let drifted = Shift {
            output: -4.0 * DRIFTED.output,
            ..Shift::default()
        };
        let shift = |index| {
            if index == 0 {
                drifted
            } else {
                Shift::default()
            }
        };
        let raised = world.report_all(shift).await;
        let is_its =
            |event: &Event| matches!(event, Event::AlertRaised(alert) if of_device(&alert));
        assert!(raised.iter().any(is_its), "{raised:?}");
    }
}

#[tokio::test]
async fn nobody_is_waited_for_beyond_the_time_for_moving() {
    let mut world = able_world().await;
    assert_eq!(world.fleet.turn(world.now).await.unwrap(), []);
    world.now = world.now.plus_ms(14 * DAY);
    for alert in standing(&world).await {
        // Someone knows of it. That is no reason to wait for as long again.
        let known = world.fleet.acknowledge(alert.id, "ann", world.now).await;
        known.unwrap();
    }
    let opened = world.fleet.turn(world.now).await.unwrap();
    assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
}

#[tokio::test]
async fn devices_that_cannot_are_not_waited_for() {
    let world = able_world().await;
    world.hello_all(Features(0)).await;
    let opened = world.fleet.turn(world.now).await.unwrap();
    assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
}

#[tokio::test]
async fn what_moving_cannot_help_asks_for_sums_at_once() {
    for (kind, fired) in [
        (AlertKind::ConceptDrift, "errors"),
        (AlertKind::Drift, "shape of feature 0"),
    ] {
        let (mut world, _) = drifted_world_of(policy(), Shift::default()).await;
        // A stable device may have alarmed by chance; it is of no account here.
        for alert in standing(&world).await {
            let (fleet, now) = (&world.fleet, world.now);
            fleet
                .resolve(alert.id, "by chance", "ann", now)
                .await
                .unwrap();
        }
        world.hello_all(Features::RESTANDARDIZES).await;
        let model = world.devices[0].model;
        let new = NewAlert {
            scope: Scope::Cohort(format!("hall@{model}")),
            model,
            kind,
            advice: "head-update".to_owned(),
            detail: serde_json::json!({ fired: true }),
        };
        let tx = world.fleet.db.begin_audited("test").await.unwrap();
        alert::raise(&tx, &new, world.now).await.unwrap();
        tx.commit().await.unwrap();
        let opened = world.fleet.turn(world.now).await.unwrap();
        assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
        world.deliver(|_| true).await;
        assert!(
            world.devices.iter().all(|device| !device.is_moved),
            "{fired}"
        );
    }
}
