//! The machine against devices that do anything at any time.

use proptest::prelude::{
    Just, ProptestConfig, Strategy as Gen, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use tinyops_store::rollout::Delivery;

use super::*;
use crate::plan::{Install, Metric, Reward, Shadow};
use crate::window::Windows;

mod beside;
mod costs;

const HOUR: i64 = 3_600_000;
const OLD: ModelId = ModelId(1);
const NEW: ModelId = ModelId(2);

fn at(hours: i64) -> Timestamp {
    // A Monday, midnight UTC.
    Timestamp(1_795_996_800_000 + hours * HOUR)
}

fn joined(device: u64) -> Event {
    Event::Joined {
        device: DeviceId(device),
        stratum: stratum(if device.is_multiple_of(3) { "a" } else { "b" }, "hall"),
        capsule: NEW,
        before: Some(OLD),
        can_shadow: device % 4 != 1,
    }
}

fn begun(plan: Plan, count: u64) -> State {
    let mut state = State::new(plan, 7, 0.0, at(0));
    for device in 0..count {
        state = state.step(joined(device), at(0)).0;
    }
    state
}

fn tick(state: State, hours: i64) -> (State, Vec<Action>) {
    state.step(Event::Tick, at(hours))
}

fn hear(state: State, device: u64, word: Word, hours: i64) -> State {
    state
        .step(Event::Heard(DeviceId(device), word), at(hours))
        .0
}

fn refused() -> Word {
    Word::Refused {
        reason: "arena".to_owned(),
        number: 9,
    }
}

fn reported(model: ModelId, output: f64) -> Word {
    let sample = Sample {
        output: Some(output),
        label_distance: Some(0.1),
        ..Sample::default()
    };
    Word::Reported { model, sample }
}

fn exposed(state: &State) -> Vec<u64> {
    let is_exposed =
        |member: &Member| !matches!(member.delivery, Delivery::Control | Delivery::Left);
    state
        .members
        .iter()
        .filter(|(_, m)| is_exposed(m))
        .map(|(id, _)| id.0)
        .collect()
}

/// Every device that has its offer confirms and reports well; every device of the control arm reports.
fn all_well(mut state: State, hours: i64) -> State {
    for (device, member) in state.members.clone() {
        let model = match member.delivery {
            Delivery::Offered | Delivery::Taken | Delivery::Confirmed => NEW,
            _ => OLD,
        };
        state = hear(state, device.0, reported(model, 0.0), hours);
        if member.delivery == Delivery::Fetching {
            state = hear(state, device.0, Word::Held, hours);
        }
        if member.delivery == Delivery::Shadowing {
            state = hear(state, device.0, scored(100, 100), hours);
        }
    }
    state
}

/// The candidate scored so many windows, and said the same of some.
fn scored(windows: u16, agreed: u16) -> Word {
    Word::Shadowed {
        model: NEW,
        said: Said {
            windows: [windows, agreed, 0],
            ..Said::default()
        },
    }
}

#[test]
fn waves_follow_each_other_to_the_last_device() {
    let plan = Plan {
        reports: 1,
        ..Plan::default()
    }
    .with(Strategy::Staged {
        waves: vec![0.05, 0.3, 1.0],
    });
    let (mut state, actions) = tick(begun(plan, 100), 0);
    assert_eq!(actions.len(), 5);
    // The boards have their part each.
    let of_a = exposed(&state)
        .iter()
        .filter(|id| id.is_multiple_of(3))
        .count();
    assert!((1..=2).contains(&of_a), "{of_a}");
    let mut waves = Vec::new();
    for hours in 1..10 {
        let actions;
        (state, actions) = tick(all_well(state, hours), hours);
        waves.push(exposed(&state).len());
        for action in actions {
            match action {
                Action::Advance { wave, .. } => assert_eq!(wave as usize, waves.len()),
                Action::Promote => assert_eq!(waves.len(), 2),
                Action::Finish { .. } => assert_eq!(waves, [30, 100, 100]),
                Action::Offer { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        if state.phase == RolloutState::Done {
            return;
        }
    }
    panic!("{waves:?}");
}

#[test]
fn a_bad_release_stops_before_it_is_on_many() {
    let plan = Plan {
        in_flight_max: 5,
        failure_share_max: 1.0,
        ..Plan::default()
    }
    .with(Strategy::Staged {
        waves: vec![0.5, 1.0],
    });
    let mut state = begun(plan, 1_000);
    let mut hours = 0;
    let reason = 'rollout: loop {
        let actions;
        (state, actions) = tick(state, hours);
        for action in actions {
            match action {
                Action::Offer { device, .. } => {
                    // One in eight cannot install it.
                    let word = if device.0.is_multiple_of(8) {
                        refused()
                    } else {
                        Word::Confirmed
                    };
                    state = hear(state, device.0, word, hours);
                }
                Action::Halt { reason } => break 'rollout reason,
                other => panic!("{other:?}"),
            }
        }
        hours += 1;
    };
    assert!(exposed(&state).len() < 100, "{}", exposed(&state).len());
    assert_eq!(reason["metric"], "installs");
    let interval = &reason["interval"];
    assert!(
        interval[0].as_f64().unwrap() > 0.0 && interval[1].as_f64().unwrap() < 0.8,
        "{reason}"
    );
    assert!(
        reason["sentence"]
            .as_str()
            .unwrap()
            .contains("1.0 % is usual"),
        "{reason}"
    );
    for member in state.members.values() {
        match member.delivery {
            Delivery::Recalled => assert_eq!(member.target, Some(OLD)),
            _ => assert_eq!(member.target, None),
        }
    }
}

#[test]
fn a_lower_confidence_halts_and_a_lower_one_of_all_does_not() {
    let run = |candidate: f64, control: f64| {
        let plan = Plan {
            reports: 1,
            ..Plan::default()
        }
        .with(Strategy::Canary { share: 0.3 });
        let mut state = tick(begun(plan, 400), 0).0;
        for hours in 1..40 {
            for (device, member) in state.members.clone() {
                // A tenth answers each hour.
                if device.0 % 10 != hours as u64 % 10 || state.phase != RolloutState::Running {
                    continue;
                }
                let noise = (mix(device.0) % 1_000) as f64 / 1_000.0 - 0.5;
                let (model, level) = match member.delivery {
                    Delivery::Control => (OLD, control),
                    _ => (NEW, candidate),
                };
                state = hear(state, device.0, reported(model, level + noise), hours);
            }
            let (next, actions) = tick(state, hours);
            state = next;
            if let Some(Action::Halt { reason }) = actions.into_iter().next() {
                return Some(reason);
            }
        }
        None
    };
    let reason = run(-0.5, 0.0).expect("the candidate is less sure");
    assert_eq!(reason["metric"], "confidence");
    assert!(reason["interval"][1].as_f64().unwrap() < 0.0, "{reason}");
    assert_eq!(run(-0.5, -0.5), None, "both arms have drifted");
    assert_eq!(run(0.5, 0.0), None, "it is more sure");
}

#[test]
fn silence_after_taking_it_is_held_against_the_control_arm() {
    let run = |dark_candidates: u64, dark_controls: u64| {
        let plan = Plan {
            reports: 3,
            failure_share_max: 1.0,
            ..Plan::default()
        }
        .with(Strategy::Canary { share: 0.4 });
        let mut state = tick(begun(plan, 300), 0).0;
        for (device, member) in state.members.clone() {
            if member.delivery == Delivery::Offered {
                state = hear(state, device.0, Word::Fetching, 1);
            }
        }
        state = tick(state, 1).0;
        for hours in [2, 26, 50, 74, 98] {
            for (device, member) in state.members.clone() {
                let (word, dark) = match member.delivery {
                    Delivery::Control => (reported(OLD, 0.0), dark_controls),
                    _ => (reported(NEW, 0.0), dark_candidates),
                };
                // The dark ones are heard once, and never again.
                if hours == 2 || device.0 % 10 >= dark {
                    state = hear(state, device.0, word, hours);
                }
            }
            let (next, actions) = tick(state, hours + 1);
            state = next;
            if let Some(Action::Halt { reason }) = actions.into_iter().next() {
                return Some(reason["metric"].as_str().unwrap().to_owned());
            }
        }
        None
    };
    assert_eq!(run(3, 0).as_deref(), Some("silence"));
    assert_eq!(run(3, 3), None, "the whole fleet is often silent");
}

#[test]
fn restarts_and_accuracy_are_held_against_the_control_arm() {
    let run = |restarts: u32, right: i64| {
        let plan = Plan {
            reports: 2,
            ..Plan::default()
        }
        .with(Strategy::Canary { share: 0.2 });
        let mut state = tick(begun(plan, 300), 0).0;
        for hours in 1..6 {
            for (device, member) in state.members.clone() {
                let is_new = matches!(member.delivery, Delivery::Offered | Delivery::Confirmed);
                let model = if is_new { NEW } else { OLD };
                state = hear(state, device.0, reported(model, 0.0), hours);
                if is_new {
                    for _ in 0..restarts {
                        state = hear(state, device.0, Word::Restarted { can_shadow: true }, hours);
                    }
                }
                let right = if is_new { right } else { 18 };
                state = hear(
                    state,
                    device.0,
                    Word::Judged {
                        model,
                        right,
                        judged: 20,
                    },
                    hours,
                );
            }
            let (next, actions) = tick(state, hours);
            state = next;
            if let Some(Action::Halt { reason }) = actions.into_iter().next() {
                return Some(reason["metric"].as_str().unwrap().to_owned());
            }
        }
        None
    };
    assert_eq!(run(0, 18), None);
    assert_eq!(run(3, 18).as_deref(), Some("restarts"));
    assert_eq!(run(0, 11).as_deref(), Some("accuracy"));
    assert_eq!(run(0, 20), None);
}

#[test]
fn offers_wait_for_the_window() {
    let windows = Windows::parse(&["22:00-05:00".to_owned()], Some("+01:00")).unwrap();
    let plan = Plan {
        windows,
        ..Plan::default()
    };
    // Noon: nothing. 21:00 UTC is 22:00 there.
    let (state, actions) = tick(begun(plan, 20), 12);
    assert_eq!(actions, []);
    let (state, actions) = tick(state, 21);
    assert_eq!(actions.len(), 2, "{actions:?}");
    let (first, second) = (exposed(&state)[0], exposed(&state)[1]);
    // By day nobody new is offered it, and those that wait are not late for it.
    let plan_time = state.plan.silent_after_ms / HOUR;
    let mut state = hear(state, first, Word::Fetching, 27);
    for hours in [28, 28 + plan_time, 40 + plan_time] {
        state = hear(state, second, Word::Heard, hours);
        let (next, actions) = tick(state, hours);
        assert_eq!(actions, [], "{hours}");
        state = next;
    }
    assert_eq!(state.members[&DeviceId(second)].delivery, Delivery::Offered);
}

#[test]
fn what_is_installed_later_is_fetched_before_and_waits_for_the_word() {
    let plan = Plan {
        install: Install::Later,
        in_flight_max: 2,
        reports: 1,
        ..Plan::default()
    }
    .with(Strategy::Canary { share: 0.4 });
    let (state, actions) = tick(begun(plan, 20), 0);
    let is_fetch = |action: &Action| matches!(action, Action::Fetch { .. });
    assert_eq!(actions.len(), 8, "the pace is that of installing");
    assert!(actions.iter().all(is_fetch), "{actions:?}");
    let canaries = exposed(&state);
    let mut state = hear(state, canaries[0], refused(), 1);
    for &device in &canaries[1..5] {
        state = hear(state, device, Word::Fetching, 1);
        state = hear(state, device, Word::Held, 1);
    }
    // However long it takes, nobody is late, and one that could not take it says nothing of the others.
    for hours in [2, 200, 2_000] {
        let (next, actions) = tick(state, hours);
        assert_eq!(actions, []);
        state = next;
    }
    let counts = state.counts(at(2_000));
    assert_eq!((counts.ahead, counts.troubled, counts.waiting), (7, 1, 0));
    let by = "ann".to_owned();
    let (state, actions) = state.step(Event::Install { by: by.clone() }, at(2_000));
    assert!(matches!(actions[..], [Action::Hold { .. }]), "{actions:?}");
    let (again, actions) = state.clone().step(Event::Install { by }, at(2_000));
    assert_eq!(actions, [Action::Refuse]);
    assert_eq!(again, state);
    let (mut state, actions) = tick(state, 2_001);
    let told: Vec<u64> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Offer { device, .. } => Some(device.0),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2);
    assert!(
        told.iter().all(|device| canaries[1..5].contains(device)),
        "those that have it come first: {told:?}"
    );
    for hours in 2_002..2_040 {
        let (next, actions) = tick(all_well(state, hours), hours);
        state = next;
        let offers = actions.iter().filter(|a| matches!(a, Action::Offer { .. }));
        assert!(offers.count() <= 2);
        if state.phase == RolloutState::Done {
            return;
        }
    }
    panic!("{:?}", state.counts(at(2_040)));
}

#[test]
fn what_is_installed_in_a_window_is_fetched_at_any_time() {
    let plan = Plan {
        windows: Windows::parse(&["22:00-05:00".to_owned()], None).unwrap(),
        install: Install::Window,
        ..Plan::default()
    };
    let (state, actions) = tick(begun(plan, 20), 12);
    assert!(matches!(
        actions[..],
        [Action::Fetch { .. }, Action::Fetch { .. }]
    ));
    let canaries = exposed(&state);
    let state = hear(state, canaries[0], Word::Held, 13);
    let (state, actions) = tick(state, 13);
    assert_eq!(actions, []);
    // The window opens: the one that has it, and the one that fetches it still.
    let (state, actions) = tick(state, 22);
    assert_eq!(actions.len(), 2, "{actions:?}");
    for device in canaries {
        let member = &state.members[&DeviceId(device)];
        assert_eq!(member.delivery, Delivery::Offered);
        assert_eq!(
            (member.offered_at, member.told_at),
            (Some(at(12)), Some(at(22)))
        );
    }
}

#[test]
fn a_rollout_that_is_taken_back_leaves_nobody_waiting() {
    let plan = Plan {
        install: Install::Later,
        ..Plan::default()
    };
    let state = tick(begun(plan, 40), 0).0;
    let canaries = exposed(&state);
    let state = hear(state, canaries[0], Word::Held, 1);
    let (by, why) = ("ann".to_owned(), String::new());
    let (state, actions) = state.step(Event::Revert { by, why }, at(2));
    let is_repin = |action: &&Action| matches!(action, Action::Repin { .. });
    assert_eq!(actions.iter().filter(is_repin).count(), canaries.len());
    for device in canaries {
        assert_eq!(
            state.members[&DeviceId(device)].delivery,
            Delivery::Recalled
        );
    }
}

fn contest(plan: Plan, candidate: f64, control: f64) -> (State, Option<Action>, u32) {
    let mut state = begun(plan, 600);
    let mut lowest = u32::MAX;
    for hours in 0..400 {
        let (next, actions) = tick(state, hours);
        state = next;
        let end = actions
            .into_iter()
            .find(|a| matches!(a, Action::Promote | Action::Halt { .. }));
        if end.is_some() {
            return (state, end, lowest);
        }
        lowest = lowest.min((state.progress.share * 1000.0) as u32);
        for (device, member) in state.members.clone() {
            if !mix(device.0 ^ hours as u64).is_multiple_of(20) {
                continue;
            }
            let noise = (mix(device.0) % 1_000) as f64 / 1_000.0 - 0.5;
            let (model, level) = match member.delivery {
                Delivery::Control | Delivery::Recalled => (OLD, control),
                _ => (NEW, candidate),
            };
            state = hear(state, device.0, reported(model, level + noise), hours);
        }
    }
    (state, None, lowest)
}

#[test]
fn a_contest_ends_with_the_better_arm() {
    let strategies = [
        Strategy::Ab {
            share: 0.3,
            reward: Reward::Confidence,
            within_ms: 300 * HOUR,
        },
        Strategy::Bandit {
            floor: 0.1,
            reward: Reward::Confidence,
            within_ms: 300 * HOUR,
        },
    ];
    for strategy in strategies {
        let plan = Plan {
            reports: 1,
            halt_on: vec![Metric::Installs],
            ..Plan::default()
        }
        .with(strategy);
        let (state, end, _) = contest(plan.clone(), 0.3, 0.0);
        assert_eq!(
            (end, state.progress.share),
            (Some(Action::Promote), 1.0),
            "{:?}",
            state.progress
        );
        let (state, end, lowest) = contest(plan.clone(), -0.3, 0.0);
        let Some(Action::Halt { reason }) = end else {
            panic!("{end:?}")
        };
        assert!(
            reason["interval"][1].as_f64().unwrap() < 0.0 && lowest <= 300,
            "{reason}"
        );
        assert!(
            state
                .members
                .values()
                .all(|m| m.target.is_none_or(|target| target == OLD))
        );
        let (_, end, _) = contest(plan, 0.0, 0.0);
        let Some(Action::Halt { reason }) = end else {
            panic!("{end:?}")
        };
        assert!(
            reason["sentence"]
                .as_str()
                .unwrap()
                .contains("not shown to differ"),
            "{reason}"
        );
    }
}

#[test]
fn an_owner_is_the_highest_priority_and_the_oldest() {
    assert_eq!(owner([(3, 0), (2, 5), (1, 5)]), Some(1));
    assert_eq!(owner([(3, 9), (2, 5)]), Some(3));
    assert_eq!(owner::<i32>([]), None);
}

/// Anything that may happen, with hours that pass before it.
fn happening() -> impl Gen<Value = (i64, Event)> {
    let device = 0..12_u64;
    let word = prop_oneof![
        Just(Word::Heard),
        Just(Word::Fetching),
        Just(Word::Held),
        Just(Word::Confirmed),
        any::<bool>().prop_map(|can_shadow| Word::Restarted { can_shadow }),
        Just(refused()),
        Just(Word::Reverted {
            reason: "tries".to_owned(),
            number: 3
        }),
        (any::<bool>(), -1.0..1.0_f64)
            .prop_map(|(new, output)| reported(if new { NEW } else { OLD }, output)),
        (any::<bool>(), 0..100_u16, 0..20_u16).prop_map(|(is_over, agreed, won)| Word::Shadowed {
            model: NEW,
            said: Said {
                is_over,
                windows: [100, agreed, 1],
                pairs: [3, 4, won, 0],
                ..Said::default()
            },
        }),
        (any::<bool>(), 0..20_i64).prop_map(|(new, right)| Word::Judged {
            model: if new { NEW } else { OLD },
            right,
            judged: 20
        }),
    ];
    let event = prop_oneof![
        6 => Just(Event::Tick),
        10 => (device.clone(), word).prop_map(|(device, word)| Event::Heard(DeviceId(device), word)),
        2 => device.clone().prop_map(joined),
        1 => device.prop_map(|device| Event::Left(DeviceId(device))),
        1 => Just(Event::Pause { by: "ann".to_owned(), why: String::new() }),
        2 => Just(Event::Resume { by: "ann".to_owned() }),
        2 => Just(Event::Install { by: "ann".to_owned() }),
        1 => Just(Event::Revert { by: "ann".to_owned(), why: String::new() }),
    ];
    (0..30_i64, event)
}

fn plans() -> impl Gen<Value = Plan> {
    let strategy = prop_oneof![
        (0.01..=1.0).prop_map(|share| Strategy::Canary { share }),
        Just(Strategy::Staged {
            waves: vec![0.1, 0.4, 1.0]
        }),
        Just(Strategy::Ab {
            share: 0.5,
            reward: Reward::Confidence,
            within_ms: 60 * HOUR
        }),
        Just(Strategy::Bandit {
            floor: 0.2,
            reward: Reward::Accuracy,
            within_ms: 60 * HOUR
        }),
    ];
    let install = prop_oneof![
        Just(Install::AtOnce),
        Just(Install::Window),
        Just(Install::Later)
    ];
    let shadow = (0.1..=1.0).prop_map(|share| Shadow {
        share,
        within_ms: 90 * HOUR,
        ..Shadow::default()
    });
    let shadow = proptest::option::of(shadow);
    let all = (strategy, 0..4_u32, any::<bool>(), install, shadow);
    all.prop_map(|(strategy, in_flight_max, night, install, shadow)| Plan {
        in_flight_max,
        shadow,
        install: match install {
            Install::Window if !night => Install::AtOnce,
            install => install,
        },
        windows: match night {
            true => Windows::parse(&["20:00-06:00".to_owned()], None).unwrap(),
            false => Windows::default(),
        },
        ..Plan::default().with(strategy)
    })
}

/// What holds of every state, and of what a step did.
fn check(before: &State, event: &Event, state: &State, actions: &[Action], now: Timestamp) {
    for member in state.members.values() {
        match member.delivery {
            Delivery::Control
            | Delivery::Left
            | Delivery::Shadowing
            | Delivery::Failed
            | Delivery::Reverted => {
                assert_eq!(member.target, None, "{member:?}");
                assert!(
                    member.delivery != Delivery::Shadowing || state.is_shadowing(),
                    "{member:?}"
                );
            }
            Delivery::Fetching
            | Delivery::Held
            | Delivery::Offered
            | Delivery::Taken
            | Delivery::Confirmed
            | Delivery::Silent => {
                assert_eq!(member.target, Some(member.capsule), "{member:?}");
                assert_ne!(
                    state.phase,
                    RolloutState::Halted,
                    "exposed after a halt: {member:?}"
                );
                assert!(member.offered_at.is_some());
            }
            Delivery::Recalled => assert_eq!(member.target, member.before),
        }
    }
    if state.is_shadowing() {
        let is_installed = |action: &Action| {
            matches!(
                action,
                Action::Offer { .. } | Action::Fetch { .. } | Action::Promote
            )
        };
        assert!(!actions.iter().any(is_installed), "{actions:?}");
    }
    let counts = state.counts(now);
    let recalled = state
        .members
        .values()
        .filter(|m| m.delivery == Delivery::Recalled)
        .count() as u32;
    assert_eq!(
        counts.ahead + counts.waiting + counts.away + counts.confirmed + counts.troubled + recalled,
        counts.exposed
    );
    assert!(counts.ready <= counts.confirmed);
    let offers = actions
        .iter()
        .filter(|action| matches!(action, Action::Offer { .. }))
        .count() as u32;
    if before.phase != RolloutState::Running || *event != Event::Tick {
        assert_eq!(offers, 0, "only a tick of a running rollout offers");
    }
    let fetches = actions
        .iter()
        .filter(|action| matches!(action, Action::Fetch { .. }))
        .count() as u32;
    if !state.plan.windows.is_open(now) || state.is_unreleased() {
        assert_eq!(offers, 0, "nothing is to be installed out of hours");
    }
    if state.plan.install == Install::AtOnce {
        assert_eq!((fetches, counts.ahead), (0, 0), "nothing waits");
    }
    if offers > 0 && state.plan.in_flight_max > 0 {
        assert!(counts.waiting <= state.plan.in_flight_max.max(before.counts(now).waiting));
    }
    if matches!(before.phase, RolloutState::Halted) {
        assert_eq!(state.phase, RolloutState::Halted, "what is halted stays so");
    }
    if before.phase == RolloutState::Done {
        assert!(matches!(
            state.phase,
            RolloutState::Done | RolloutState::Halted
        ));
    }
    // What is kept is the state: it goes on from the records alone.
    for member in state.members.values() {
        let record = tinyops_store::rollout::Member {
            rollout: tinyops_store::rollout::RolloutId(7),
            device: DeviceId(0),
            delivery: member.delivery,
            target: member.target,
            changed_at: member.changed_at,
            detail: member.detail(),
        };
        assert_eq!(&Member::of_record(&record), member);
    }
    let kept = serde_json::to_value(&state.progress).unwrap();
    assert_eq!(
        serde_json::from_value::<Progress>(kept).unwrap(),
        state.progress
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold(
        plan in plans(),
        happenings in proptest::collection::vec(happening(), 0..60),
    ) {
        plan.check().unwrap();
        let mut state = begun(plan, 8);
        let mut hours = 0;
        for (pause, event) in happenings {
            hours += pause;
            let before = state.clone();
            let (next, actions) = state.step(event.clone(), at(hours));
            check(&before, &event, &next, &actions, at(hours));
            // A function: the same again.
            prop_assert_eq!(&(next.clone(), actions), &before.step(event, at(hours)));
            state = next;
        }
        // No state cannot be left: whatever it is, a person can take it back, and devices that answer end it.
        if state.phase == RolloutState::Paused {
            state = state.step(Event::Resume { by: "ann".to_owned() }, at(hours)).0;
        }
        state = state.step(Event::Install { by: "ann".to_owned() }, at(hours)).0;
        if state.members.values().any(|member| member.delivery != Delivery::Left) {
            let mut ended = state.clone();
            for _ in 0..400 {
                hours += 6;
                ended = all_well(tick(ended, hours).0, hours);
                if ended.phase != RolloutState::Running {
                    break;
                }
            }
            prop_assert!(ended.phase != RolloutState::Running, "{:?} {:?}", ended.progress, ended.counts(at(hours)));
        }
        let by = "ann".to_owned();
        let (back, _) = state.step(Event::Revert { by, why: String::new() }, at(hours));
        prop_assert_eq!(back.phase, RolloutState::Halted);
    }
}
