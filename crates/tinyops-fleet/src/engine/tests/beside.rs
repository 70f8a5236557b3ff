//! The shadow phase: a candidate beside the model that runs, and nobody who has installed it.

use super::*;

fn plan() -> Plan {
    Plan {
        shadow: Some(Shadow {
            windows: 100,
            ..Shadow::default()
        }),
        reports: 1,
        ..Plan::default()
    }
}

fn shadowing(state: &State) -> Vec<u64> {
    let of = |delivery| {
        move |(device, member): (&DeviceId, &Member)| {
            (member.delivery == delivery).then_some(device.0)
        }
    };
    state
        .members
        .iter()
        .filter_map(of(Delivery::Shadowing))
        .collect()
}

/// A report of 100 windows, of which 20 are labelled.
fn said(agreed: u16, pairs: [u16; 4]) -> Word {
    Word::Shadowed {
        model: NEW,
        said: Said {
            windows: [100, agreed, 0],
            pairs,
            ..Said::default()
        },
    }
}

/// Devices answer one after the other, one an hour, until the phase is over.
fn run(plan: Plan, count: u64, answer: impl Fn(u64) -> Vec<Word>) -> (State, Vec<Action>, i64) {
    let mut state = tick(begun(plan, count), 0).0;
    let order = shadowing(&state);
    for (hour, device) in (1..).zip(order) {
        for word in answer(device) {
            state = hear(state, device, word, hour);
        }
        let actions;
        (state, actions) = tick(state, hour);
        let offers = actions
            .iter()
            .any(|action| matches!(action, Action::Offer { .. } | Action::Repin { .. }));
        assert!(
            !offers,
            "nobody installs it, and nobody goes back: {actions:?}"
        );
        if !state.is_shadowing() || state.phase != RolloutState::Running {
            return (state, actions, hour);
        }
    }
    panic!("{:?}", state.progress.shadow);
}

fn reason(actions: &[Action]) -> &Json {
    match &actions[0] {
        Action::Halt { reason } | Action::Advance { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_candidate_goes_on_to_the_waves() {
    let (state, actions) = tick(begun(plan(), 40), 0);
    // One in four cannot score with two models.
    assert_eq!(actions.len(), 30);
    assert!(actions.iter().all(|a| matches!(a, Action::Shadow { .. })));
    assert_eq!(state.counts(at(0)).exposed, 0);
    let (state, actions, _) = run(plan(), 40, |device| {
        let won = if device.is_multiple_of(2) { 2 } else { 1 };
        vec![Word::Held, said(95, [16, 1, won, 1])]
    });
    assert!(matches!(actions[..], [Action::Advance { wave: 0, .. }]));
    let why = reason(&actions)["why"].as_str().unwrap();
    assert!(why.contains("95.0 % of 3000 windows"), "{why}");
    let tally = state.progress.shadow.clone().unwrap();
    assert_eq!(
        (
            tally.devices,
            tally.can,
            tally.told,
            tally.done,
            tally.failed
        ),
        (40, 30, 30, 30, 0)
    );
    let (active, candidate) = tally.accuracy.unwrap();
    assert!(candidate > active, "{tally:?}");
    let (gain, (low, high)) = tally.gain.unwrap();
    assert!(low < gain && gain < high && high < 0.1, "{tally:?}");
    assert!(
        state
            .members
            .values()
            .all(|member| member.delivery == Delivery::Control && member.target.is_none())
    );
    // Now it is as any other rollout.
    let (mut state, actions) = tick(state, 100);
    assert_eq!(actions.len(), 4, "{actions:?}");
    for hours in 101..120 {
        state = tick(all_well(state, hours), hours).0;
        if state.phase == RolloutState::Done {
            assert_eq!(state.progress.shadow, Some(tally));
            return;
        }
    }
    panic!("{:?}", state.counts(at(120)));
}

#[test]
fn what_a_device_showed_stays_counted_when_it_leaves_and_its_place_is_taken() {
    let mut half = plan();
    half.shadow = Some(Shadow {
        windows: 300,
        share: 0.5,
        ..Shadow::default()
    });
    let (mut state, _) = tick(begun(half, 40), 0);
    let told = shadowing(&state);
    for device in &told {
        state = hear(state, *device, said(95, [16, 1, 2, 1]), 1);
    }
    let (first, second) = (told[0], told[1]);
    state = tick(hear(state, first, said(0, [4, 16, 0, 0]), 2), 2).0;
    let before = state.progress.shadow.clone().unwrap();
    let findings = state.progress.findings.clone();
    let accuracy = |findings: &[Finding]| {
        let found = findings.iter().find(|f| f.metric == "shadow accuracy");
        found.map(|f| (f.devices, f.candidate, f.reference))
    };
    for device in [first, second] {
        state = state.step(Event::Left(DeviceId(device)), at(3)).0;
    }
    // Something new, so that it is judged again.
    let third = told[2];
    state = hear(state, third, refused(), 3);
    let (state, actions) = tick(state, 3);
    let after = state.progress.shadow.clone().unwrap();
    assert_eq!(after.devices, 38);
    assert_eq!(
        (after.told, after.scoring, after.windows, after.pairs),
        (before.told, before.scoring, before.windows, before.pairs)
    );
    assert_eq!(
        accuracy(&state.progress.findings),
        accuracy(&findings),
        "the sums are of the devices that are judged"
    );
    // Fifteen of those that are left should score, and do not yet.
    let told_now = actions
        .iter()
        .filter(|action| matches!(action, Action::Shadow { .. }))
        .count();
    assert!(told_now > 0, "{actions:?}");
    assert!(state.is_shadowing());
}

#[test]
fn the_phase_ends_where_those_that_are_left_have_the_candidate_from_elsewhere() {
    let mut state = hear(begun(plan(), 8), 0, Word::Confirmed, 0);
    state = tick(state, 0).0;
    state = hear(state, 7, reported(NEW, 0.0), 0);
    for device in [3, 6, 2, 4] {
        state = state.step(Event::Left(DeviceId(device)), at(0)).0;
    }
    assert!(state.is_shadowing());
    state = tick(state, 1).0;
    assert!(!state.is_shadowing(), "{:?}", state.progress);
}

#[test]
fn a_candidate_that_errs_goes_no_further() {
    let (state, actions, hours) = run(plan(), 80, |_| vec![said(85, [10, 8, 1, 1])]);
    let reason = reason(&actions);
    assert_eq!(reason["metric"], "shadow accuracy");
    assert_eq!(reason["phase"], "shadow");
    assert!(reason["interval"][1].as_f64().unwrap() < 0.0, "{reason}");
    // A dozen devices are enough, where two arms would take many more.
    assert!((8..=16).contains(&hours), "{hours}");
    assert_eq!(state.phase, RolloutState::Halted);
    for member in state.members.values() {
        assert_eq!((member.delivery, member.target), (Delivery::Control, None));
    }
    assert_eq!(actions.len(), 1, "nothing is told to anybody: {actions:?}");
}

#[test]
fn one_that_says_something_else_goes_no_further_without_a_label() {
    let (_, actions, hours) = run(plan(), 80, |_| vec![said(30, [0; 4])]);
    assert_eq!(reason(&actions)["metric"], "shadow agreement");
    assert!(hours < 40, "{hours}");
    // A repair may say what it likes.
    let mut repair = plan();
    repair.halt_on.retain(|metric| *metric != Metric::Agreement);
    let (state, ..) = run(repair, 80, |_| vec![said(30, [0; 4])]);
    assert_eq!(state.phase, RolloutState::Running);
}

#[test]
fn one_that_is_less_sure_or_slow_or_says_other_classes_goes_no_further() {
    let shifted = |output: f64, labels: f64, ln_latency: f64| {
        let of = |base: f64| Sample {
            output: Some(base * output),
            label_distance: Some(0.1 + base * labels),
            ln_latency: Some(8.0 + base * ln_latency),
            ..Sample::default()
        };
        let report = Word::Reported {
            model: OLD,
            sample: of(0.0),
        };
        let shadow = Word::Shadowed {
            model: NEW,
            said: Said {
                windows: [100, 95, 0],
                sample: of(1.0),
                ..Said::default()
            },
        };
        run(plan(), 120, move |_| vec![report.clone(), shadow.clone()])
    };
    for (output, labels, latency, metric) in [
        (-0.6, 0.0, 0.0, "shadow confidence"),
        (0.0, 0.3, 0.0, "shadow labels"),
        (0.0, 0.0, 0.4, "shadow latency"),
    ] {
        let (_, actions, _) = shifted(output, labels, latency);
        assert_eq!(reason(&actions)["metric"], metric, "{actions:?}");
    }
    // Within the margins, it goes on.
    let (state, ..) = shifted(-0.2, 0.05, 0.05);
    assert_eq!(state.phase, RolloutState::Running);
}

#[test]
fn few_devices_are_held_to_bare_limits() {
    // Three devices prove nothing, and their windows are plain enough.
    let (state, actions, hours) = run(plan(), 4, |_| vec![said(40, [0; 4])]);
    assert_eq!((state.phase, hours), (RolloutState::Halted, 3));
    assert_eq!(reason(&actions)["metric"], "shadow agreement");
    let (state, actions, _) = run(plan(), 4, |_| vec![said(90, [20, 20, 2, 0])]);
    assert_eq!(state.phase, RolloutState::Halted);
    let sentence = reason(&actions)["sentence"].as_str().unwrap();
    assert!(sentence.contains("of 126 labelled windows"), "{sentence}");
    // Too few labels say nothing.
    let (state, ..) = run(plan(), 4, |_| vec![said(90, [3, 3, 0, 0])]);
    assert_eq!(state.phase, RolloutState::Running);
}

#[test]
fn one_that_devices_cannot_take_goes_no_further() {
    let (state, actions, hours) = run(plan(), 40, |_| vec![refused()]);
    assert!(hours <= 12, "{hours}");
    assert_eq!(state.phase, RolloutState::Halted, "{actions:?}");
    let tally = state.progress.shadow.unwrap();
    assert_eq!((tally.scoring, tally.windows), (0, 0));
}

#[test]
fn a_device_that_takes_other_windows_says_nothing_of_the_candidate() {
    let unable = || Word::Refused {
        reason: "window".to_owned(),
        number: 4,
    };
    let mut state = tick(begun(plan(), 8), 0).0;
    for device in shadowing(&state) {
        state = hear(state, device, unable(), 1);
    }
    assert!(shadowing(&state).is_empty());
    let (state, actions) = tick(state, 2);
    assert!(!state.is_shadowing(), "nobody is left: {actions:?}");
    let why = reason(&actions)["why"].as_str().unwrap();
    assert!(why.contains("no device can score"), "{why}");
    assert_eq!(state.phase, RolloutState::Running);
}

#[test]
fn a_fleet_that_cannot_score_with_two_models_begins_with_its_waves() {
    let mut state = State::new(plan(), 7, 0.0, at(0));
    for device in 0..8 {
        let Event::Joined {
            device,
            stratum,
            capsule,
            before,
            ..
        } = joined(device)
        else {
            panic!("it joins")
        };
        let unable = Event::Joined {
            device,
            stratum,
            capsule,
            before,
            can_shadow: false,
        };
        state = state.step(unable, at(0)).0;
    }
    let (state, actions) = tick(state, 0);
    assert!(matches!(actions[..], [Action::Advance { wave: 0, .. }]));
    assert_eq!(state.progress.shadow.as_ref().unwrap().can, 0);
    let (_, actions) = tick(state, 1);
    assert!(matches!(actions[..], [Action::Offer { .. }, ..]));
}

#[test]
fn the_time_of_the_phase_is_bounded() {
    let mut state = tick(begun(plan(), 40), 0).0;
    let told = shadowing(&state);
    let days = Shadow::default().within_ms / HOUR;
    // Nobody answers: there is nothing to go on with.
    let (waits, actions) = tick(state.clone(), days + 1);
    assert_eq!(actions, []);
    assert!(waits.is_shadowing());
    for &device in &told[..5] {
        state = hear(state, device, scored(30, 29), 1);
    }
    let (state, actions) = tick(state, days - 1);
    assert_eq!(actions, []);
    let (state, actions) = tick(state, days + 1);
    assert!(matches!(actions[..], [Action::Advance { wave: 0, .. }]));
    let agreement = state.progress.shadow_findings.iter();
    let agreement = agreement.clone().find(|f| f.metric == "shadow agreement");
    assert_eq!(agreement.unwrap().devices, (5, 5), "those that scored any");
}

#[test]
fn a_share_of_each_stratum_scores_and_later_devices_join_in() {
    let half = Plan {
        shadow: Some(Shadow {
            share: 0.5,
            ..Shadow::default()
        }),
        ..Plan::default()
    };
    let (mut state, actions) = tick(begun(half, 48), 0);
    assert_eq!(actions.len(), 18, "half of 36");
    assert_eq!(tick(state.clone(), 1).1, []);
    for device in 100..108 {
        state = state.step(joined(device), at(1)).0;
    }
    assert_eq!(tick(state.clone(), 1).1.len(), 4, "half, in each of two");
    // One that says at a boot that it can, can.
    let before = state.members[&DeviceId(1)].clone();
    let word = Word::Restarted { can_shadow: true };
    let state = hear(state, 1, word, 2);
    assert!(!before.can_shadow && state.members[&DeviceId(1)].can_shadow);
}

#[test]
fn a_person_may_end_it() {
    let state = tick(begun(plan(), 20), 0).0;
    let (by, why) = ("ann".to_owned(), String::new());
    let (state, actions) = state.step(Event::Revert { by, why }, at(1));
    assert!(matches!(actions[..], [Action::Halt { .. }]));
    assert!(shadowing(&state).is_empty());
}

/// The chance that a candidate that is no worse is stopped, with labels of one device that are all alike.
#[test]
fn a_candidate_that_is_no_worse_is_seldom_stopped() {
    let mut stopped = 0;
    for seed in 0..300_u64 {
        let (state, ..) = run(plan(), 80, |device| {
            // Of the windows on which they differ, all go one way on a device.
            let pairs = match mix(device ^ seed << 20).is_multiple_of(2) {
                true => [10, 10, 0, 0],
                false => [10, 0, 10, 0],
            };
            vec![said(90, pairs)]
        });
        stopped += u32::from(state.phase == RolloutState::Halted);
    }
    assert!(stopped <= 3, "{stopped} of 300");
}

/// Devices that say how many of 20 labelled windows they had right, some better than others, until a candidate that errs
/// on 8 in a hundred more is stopped: beside the model that runs, and in two arms. Half of what is hard for the one is as
/// hard for the other.
#[test]
fn pairs_need_far_fewer_devices_than_arms() {
    let uniform = |salt: u64| (mix(salt) % 1_000_000) as f64 / 1e6;
    let windows = |device: u64, seed: u64| {
        let error = 0.02 + 0.12 * uniform(device ^ seed << 32 ^ 0xaa << 50);
        (0..20_u64).map(move |window| {
            let salt = device << 8 ^ window ^ seed << 40;
            let hard = uniform(salt);
            let other = match uniform(salt ^ 1 << 56) < 0.5 {
                true => hard,
                false => uniform(salt ^ 1 << 57),
            };
            (hard >= error, other >= error + 0.08)
        })
    };
    let paired = |seed: u64| {
        let (state, _, hours) = run(plan(), 400, |device| {
            let mut pairs = [0; 4];
            for (active, candidate) in windows(device, seed) {
                pairs[2 * usize::from(!active) + usize::from(!candidate)] += 1;
            }
            vec![said(90, pairs)]
        });
        (state.phase == RolloutState::Halted).then_some(hours)
    };
    let arms = |seed: u64| {
        let plan = Plan {
            shadow: None,
            ..plan()
        };
        let mut state = tick(begun(plan.with(Strategy::Canary { share: 0.5 }), 1_600), 0).0;
        let mut order: Vec<DeviceId> = state.members.keys().copied().collect();
        order.sort_by_key(|device| mix(device.0 ^ seed));
        for (count, device) in (1_i64..).zip(order) {
            let is_new = state.members[&device].delivery != Delivery::Control;
            let right = windows(device.0, seed).filter(|(a, c)| if is_new { *c } else { *a });
            let (right, judged) = (right.count() as i64, 20);
            let model = if is_new { NEW } else { OLD };
            let word = Word::Judged {
                model,
                right,
                judged,
            };
            state = hear(state, device.0, reported(model, 0.0), 1);
            state = hear(state, device.0, word, 1);
            if count % 10 == 0 {
                state = tick(state, 1).0;
                if state.phase == RolloutState::Halted {
                    return Some(count);
                }
            }
        }
        None
    };
    let median = |needed: &dyn Fn(u64) -> Option<i64>| {
        let mut needed: Vec<i64> = (0..21).map(|s| needed(s).unwrap_or(i64::MAX)).collect();
        needed.sort_unstable();
        needed[10]
    };
    let (paired, arms) = (median(&paired), median(&arms));
    // 25 and 510 are in `docs/guide/rollouts.md`.
    assert_eq!((paired, arms), (25, 510));
}
