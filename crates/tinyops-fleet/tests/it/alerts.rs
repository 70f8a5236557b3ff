//! Alerts between the loop and people, labels that say that a model errs, and reports that should change nothing.

use tinyops_fleet::detector::Memory;
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::{Event, Policy};
use tinyops_store::alert::{self, AlertKind, AlertState};
use tinyops_store::drift::Scope;
use tinyops_store::{ModelId, drift, outcome, presence, report, round};
use tinyops_wire::summary::Format;

use crate::world::{DAY, HOUR, Shift, World};

/// Ten devices that run a model and know what is normal for them.
async fn watched_world() -> World {
    let mut world = World::new(10, Policy::default()).await;
    world.release().await;
    let wish = Wish::of("fan", 1);
    let started = world.fleet.start_rollout(&wish, "ann", world.now).await;
    started.unwrap();
    for _ in 0..20 {
        world.deliver(|_| true).await;
        let events = world.report_all(|_| Shift::default()).await;
        assert!(events.is_empty(), "{events:?}");
        world.fleet.turn(world.now).await.unwrap();
    }
    world
}

fn moved() -> Shift {
    Shift {
        mean: 0.8,
        output: -0.8,
        ..Shift::default()
    }
}

/// What a device of the fleet runs.
fn model_of(world: &World) -> ModelId {
    world.devices[0].model
}

#[tokio::test]
async fn a_muted_alert_opens_no_round_until_its_time_is_over() {
    let mut world = watched_world().await;
    for _ in 0..6 {
        world.report_all(|_| moved()).await;
    }
    let standing = alert::standing(&world.fleet.db).await.unwrap();
    assert!(standing.len() > 5, "{standing:?}");
    let until = world.now.plus_ms(2 * DAY);
    for alert in &standing {
        let muted = world.fleet.mute(alert.id, until, "fair", "ana", world.now);
        assert!(muted.await.unwrap().is_muted(world.now));
    }
    assert_eq!(world.fleet.turn(world.now).await.unwrap(), []);
    assert!(round::list(&world.fleet.db, 9).await.unwrap().is_empty());
    world.now = until;
    let events = world.fleet.turn(world.now).await.unwrap();
    let unmuted = |event: &&Event| matches!(event, Event::AlertUnmuted(_));
    assert_eq!(events.iter().filter(unmuted).count(), standing.len());
    assert!(
        matches!(events.last(), Some(Event::RoundOpened(_))),
        "{events:?}"
    );
}

#[tokio::test]
async fn what_a_person_resolved_is_not_raised_again_while_it_lasts() {
    let mut world = watched_world().await;
    for _ in 0..6 {
        world.report_all(|_| moved()).await;
    }
    for alert in alert::standing(&world.fleet.db).await.unwrap() {
        let resolved = world.fleet.resolve(alert.id, "known", "ana", world.now);
        assert_eq!(resolved.await.unwrap().reason, "known");
    }
    let mut events = Vec::new();
    for _ in 0..4 {
        events.extend(world.report_all(|_| moved()).await);
    }
    assert_eq!(events, []);
}

#[tokio::test]
async fn errors_that_become_more_raise_an_alert_of_their_own_kind() {
    let mut world = watched_world().await;
    let model = model_of(&world);
    // A label a day and device judges four windows; a tenth of them was wrong.
    for day in 0..40_usize {
        let envelopes: Vec<Vec<u8>> = (0..10)
            .map(|index| {
                let wrong = u16::from((index + day).is_multiple_of(3));
                world.devices[index].outcome(1, &[wrong, 4 - wrong])
            })
            .collect();
        let (_, events) = world.send(&envelopes).await;
        assert!(events.is_empty(), "day {day}: {events:?}");
    }
    let mut raised = None;
    for _ in 0..5 {
        for index in 0..10 {
            let told = world.devices[index].outcome(1, &[3, 1]);
            let (_, events) = world.send(std::slice::from_ref(&told)).await;
            raised = raised.or(events.into_iter().next());
            // A repeated outcome is no second label.
            let (_, again) = world.send(&[told]).await;
            assert_eq!(again, []);
        }
    }
    let Some(Event::AlertRaised(alert)) = raised else {
        panic!("{raised:?}");
    };
    assert_eq!(alert.kind, AlertKind::ConceptDrift);
    assert_eq!(alert.scope, Scope::Cohort(format!("hall@{model}")));
    assert_eq!(alert.advice, "head-update");
    let standing = alert::standing(&world.fleet.db).await.unwrap();
    assert_eq!(standing.len(), 1, "one of its kind stands: {standing:?}");
    let opened = world.fleet.turn(world.now).await.unwrap();
    assert!(matches!(opened[..], [Event::RoundOpened(_)]), "{opened:?}");
}

#[tokio::test]
async fn outcomes_of_classes_that_a_model_does_not_have_count_nowhere() {
    let mut world = watched_world().await;
    for told in [
        world.devices[0].outcome(7, &[50, 0]),
        world.devices[1].outcome(1, &[0, 0, 0, 9]),
        world.devices[2].outcome(255, &[u16::MAX; 2]),
    ] {
        let (_, events) = world.send(&[told]).await;
        assert_eq!(events, []);
    }
    assert!(outcome::list(&world.fleet.db, 9).await.unwrap().is_empty());
    assert!(
        world
            .fleet
            .accuracy(world.now.plus_ms(-HOUR))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_one_device_alone_says_of_its_labels_is_no_drift_of_its_cohort() {
    let mut world = watched_world().await;
    for _ in 0..12 {
        let told: Vec<Vec<u8>> = (0..10)
            .map(|index| world.devices[index].outcome(1, &[0, 4]))
            .collect();
        world.send(&told).await;
    }
    // A claim of 65,535 wrong windows is one label, and says little; many are the device's own.
    let mut found = Vec::new();
    for claim in 0..20 {
        let lie = world.devices[3].outcome(1, &[u16::MAX, 0]);
        let (_, events) = world.send(&[lie]).await;
        assert!(claim > 0 || events.is_empty());
        found.extend(events);
    }
    let [Event::AlertRaised(alert)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(alert.scope, Scope::Device(world.devices[3].row.id));
    assert_eq!(alert.kind, AlertKind::ConceptDrift);
}

#[tokio::test]
async fn a_sensor_at_fault_is_said_once_while_it_lasts_and_again_when_it_comes_again() {
    let mut world = watched_world().await;
    let broken = Shift {
        not_finite: true,
        ..Shift::default()
    };
    let mut raised = Vec::new();
    for shift in [broken, broken, Shift::default(), broken] {
        let report = world.devices[1].report(shift);
        let (_, events) = world.send(&[report]).await;
        for event in &events {
            let Event::AlertRaised(alert) = event else {
                panic!("{event:?}");
            };
            assert_eq!(alert.advice, "sensor-fault");
            let resolved = world.fleet.resolve(alert.id, "seen", "ana", world.now);
            resolved.await.unwrap();
        }
        raised.push(events.len());
    }
    assert_eq!(raised, [1, 0, 0, 1]);
}

/// What a fleet remembers of its devices' drift.
async fn memories(world: &World) -> Vec<(Scope, Vec<u8>)> {
    let states = drift::list(&world.fleet.db, 100).await.unwrap();
    let mut states: Vec<_> = states.into_iter().map(|s| (s.scope, s.state)).collect();
    states.sort();
    states
}

#[tokio::test]
async fn replayed_reordered_and_late_reports_are_kept_once_and_judge_nothing() {
    let mut world = watched_world().await;
    let late: Vec<Vec<u8>> = (0..5).map(|_| world.devices[0].report(moved())).collect();
    let newest = world.devices[0].report(Shift::default());
    world.send(std::slice::from_ref(&newest)).await;
    let before = memories(&world).await;
    let kept = report::count(&world.fleet.db).await.unwrap();
    // Days offline: what waited comes behind what is newest, in the wrong order, and twice.
    let mut sent: Vec<Vec<u8>> = late.iter().rev().cloned().collect();
    sent.extend(late.iter().cloned());
    sent.extend(std::iter::repeat_n(newest, 50));
    let (_, events) = world.send(&sent).await;
    assert_eq!(events, []);
    assert_eq!(
        memories(&world).await,
        before,
        "the detectors have seen nothing"
    );
    let now = report::count(&world.fleet.db).await.unwrap();
    assert_eq!(now - kept, 5, "each is kept once");
    let id = world.devices[0].row.id;
    let heard = presence::get(&world.fleet.db, id).await.unwrap().unwrap();
    assert_eq!(heard.missing_count, 0);
    assert_eq!(heard.duplicate_count, 55);
}

#[tokio::test]
async fn a_clock_that_jumps_judges_as_one_that_does_not() {
    let mut world = watched_world().await;
    let mut other = watched_world().await;
    for days in [0, -400, 4000, 0, -1] {
        // The server's clock, which devices do not know: nothing of what is judged is read from it.
        world.now = world.now.plus_ms(days * DAY);
        let by_clock = world.report_all(|_| moved()).await.len();
        let steady = other.report_all(|_| moved()).await.len();
        assert_eq!(by_clock, steady);
    }
    let states = |alerts: Vec<alert::Alert>| -> Vec<(Scope, String, AlertState)> {
        let mut states: Vec<_> = alerts
            .into_iter()
            .map(|a| (a.scope, a.advice, a.state))
            .collect();
        states.sort();
        states
    };
    let jumped = alert::standing(&world.fleet.db).await.unwrap();
    let steady = alert::standing(&other.fleet.db).await.unwrap();
    assert_eq!(states(jumped), states(steady));
}

#[tokio::test]
async fn a_flood_of_one_device_moves_its_own_memory_alone() {
    let mut world = watched_world().await;
    let own = Scope::Device(world.devices[0].row.id);
    let of_others = |memories: Vec<(Scope, Vec<u8>)>| -> Vec<(Scope, Vec<u8>)> {
        let is_other =
            |(scope, _): &(Scope, Vec<u8>)| matches!(scope, Scope::Device(_)) && *scope != own;
        memories.into_iter().filter(is_other).collect()
    };
    let before = of_others(memories(&world).await);
    let flood: Vec<Vec<u8>> = (0..200).map(|_| world.devices[0].report(moved())).collect();
    let (_, events) = world.send(&flood).await;
    // It is far from its own past, and says so once; a cohort of one device says nothing.
    assert!(events.len() <= 2, "{events:?}");
    for event in &events {
        let (Event::AlertRaised(alert) | Event::AlertEscalated(alert)) = event else {
            panic!("{event:?}");
        };
        assert_eq!(alert.scope, own);
    }
    assert_eq!(of_others(memories(&world).await), before);
}

/// Half of a cohort reports over links that carry no histograms: what is known of the noise of the one half is nothing
/// to the other, and takes nothing from it.
#[tokio::test]
async fn devices_of_narrow_links_and_of_wide_ones_are_judged_side_by_side() {
    let mut world = World::new(10, Policy::default()).await;
    let capsule = world.release().await;
    for (index, device) in world.devices.iter_mut().enumerate() {
        device.model = capsule.id;
        if index % 2 == 1 {
            device.format = Format::M8;
        }
    }
    for day in 0..24 {
        let events = world.report_all(|_| Shift::default()).await;
        assert_eq!(events, [], "day {day}");
    }
    for device in &world.devices {
        let scope = Scope::Device(device.row.id);
        let state = drift::get(&world.fleet.db, &scope).await.unwrap().unwrap();
        let memory = Memory::decode(&state.state).unwrap();
        let Memory::Watching(watching) = &memory else {
            panic!("device {} learns on day 24", device.row.id);
        };
        assert_eq!(watching.step_count, 10);
    }
    let view = world.fleet.cohort_view("hall").await.unwrap().unwrap();
    assert_eq!(view.watched_count, 10);

    // What moves is seen on both, and the cohort's is one alert.
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..6 {
        for event in world.report_all(|_| moved()).await {
            match event {
                Event::AlertRaised(alert) => assert!(found.insert(alert.scope)),
                Event::AlertEscalated(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let expected = world.devices.iter().map(|d| Scope::Device(d.row.id));
    let expected = expected.chain([Scope::Cohort(format!("hall@{}", capsule.id))]);
    assert_eq!(found, expected.collect());
}
