//! How soon a bad model is halted, and how often a good one: the rollout engine itself, against simulated devices.

use std::collections::BTreeMap;

use tinyops_fleet::engine::{Action, Event, Sample, State, Watch, Word, stratum};
use tinyops_fleet::plan::{Metric, Plan, Strategy};
use tinyops_store::rollout::{Delivery, RolloutState};
use tinyops_store::{DeviceId, ModelId, Timestamp};

use super::Row;
use crate::chance::Chance;

const HOUR_MS: i64 = 3_600_000;

const DEVICES: u64 = 1_000;
const ROLLOUTS: u64 = 4_000;
const OLD: ModelId = ModelId(1);
const NEW: ModelId = ModelId(2);

/// A fleet that a rollout meets.
struct World {
    plan: Plan,
    devices: u64,
    /// Chance that a device cannot install it.
    failures: f64,
    /// How far the candidate's confidence lies from the control arm's, in standard deviations over devices.
    shift: f64,
    /// Installs of the past that show what is usual.
    past: (i64, i64),
    /// Whether no more controls are heard than devices that run it: they install nothing, and would be ahead.
    equal_arms: bool,
    /// How often it is judged within an hour, as reports come in.
    looks: usize,
}

/// What became of a rollout.
struct Outcome {
    halted: Option<String>,
    exposed: usize,
    /// Devices of each arm whose confidence had been measured.
    measured: [usize; 2],
}

impl World {
    fn run(&self, seed: u64) -> Outcome {
        let mut chance = Chance(seed);
        let at = |hour: i64| Timestamp(1_795_996_800_000 + hour * HOUR_MS);
        let usual = self.plan.usual_failures(self.past);
        let mut state = State::new(self.plan.clone(), seed, usual, at(0));
        for device in 0..self.devices {
            // Boards and cohorts of unlike size.
            let board = ["nrf52840-dk", "esp-eye"][usize::from(device % 5 == 0)];
            let cohort = ["hall", "yard"][usize::from(device % 3 == 0)];
            let joined = Event::Joined {
                device: DeviceId(chance.next()),
                stratum: stratum(board, cohort),
                capsule: NEW,
                before: Some(OLD),
                can_shadow: false,
            };
            state = state.step(joined, at(0)).0;
        }
        // Devices that owe an answer to an offer, and the hour at which it comes.
        let mut answers: BTreeMap<(i64, u64), bool> = BTreeMap::new();
        let mut reporting: Vec<(DeviceId, bool)> = Vec::new();
        for turn in 0..50_000 * self.looks {
            let (hour, look) = ((turn / self.looks) as i64, turn % self.looks);
            let (next, actions) = state.step(Event::Tick, at(hour));
            state = next;
            let mut halted = None;
            for action in actions {
                match action {
                    Action::Offer { device, .. } => {
                        // At the next look or the one after; one that fails says so sooner.
                        let fails = chance.uniform() < self.failures;
                        let delay = i64::from(!fails && chance.uniform() < 0.5);
                        answers.insert((hour + delay, device.0), fails);
                    }
                    Action::Halt { reason } => {
                        halted = reason["metric"].as_str().map(str::to_owned);
                    }
                    _ => {}
                }
            }
            if state.phase != RolloutState::Running {
                let mut measured = [0; 2];
                for watch in state
                    .members
                    .values()
                    .filter_map(|member| member.watch.as_ref())
                {
                    measured[usize::from(!watch.is_candidate)] +=
                        usize::from(watch.output.1 > 0 && watch.ended.is_some());
                }
                let exposed = state
                    .members
                    .values()
                    .filter(|m| m.offered_at.is_some())
                    .count();
                return Outcome {
                    halted,
                    exposed,
                    measured,
                };
            }
            if look == 0 {
                state = answer(state, &mut answers, (hour, at(hour)));
                reporting = self.reporting(&state);
            }
            let mut free = match self.equal_arms {
                true => {
                    let heard = |candidate: bool| {
                        let watches = state.members.values().filter_map(|m| m.watch.as_ref());
                        let is_heard = |w: &&Watch| w.is_candidate == candidate && w.output.1 > 0;
                        watches.filter(is_heard).count()
                    };
                    heard(true).saturating_sub(heard(false))
                }
                false => usize::MAX,
            };
            let now = reporting.len().div_ceil(self.looks - look);
            for (device, runs_it) in reporting.drain(..now) {
                if chance.uniform() >= 0.5 {
                    continue;
                }
                let is_new = |w: &Watch| !w.is_candidate && w.output.1 == 0;
                if state.members[&device].watch.as_ref().is_some_and(is_new) {
                    match free.checked_sub(1) {
                        Some(rest) => free = rest,
                        None => continue,
                    }
                }
                // A device's own level, which stays, and what a report scatters around it.
                let level =
                    Chance(device.0).nearly_normal(12) + if runs_it { self.shift } else { 0.0 };
                let sample = Sample {
                    output: Some(level + 0.1 * chance.nearly_normal(12)),
                    label_distance: Some(0.1 + 0.02 * chance.nearly_normal(12).abs()),
                    ..Sample::default()
                };
                let model = if runs_it { NEW } else { OLD };
                let word = Word::Reported { model, sample };
                state = state.step(Event::Heard(device, word), at(hour)).0;
            }
        }
        Outcome {
            halted: Some("no end".to_owned()),
            exposed: self.devices as usize,
            measured: [0; 2],
        }
    }

    /// Devices that are measured, and whether each runs it.
    fn reporting(&self, state: &State) -> Vec<(DeviceId, bool)> {
        let members = state.members.iter().map(|(device, member)| {
            let runs_it = member.delivery == Delivery::Confirmed;
            let is_watched = member.watch.as_ref().is_some_and(|w| w.ended.is_none());
            let reports = is_watched || runs_it && member.reports < self.plan.reports;
            reports.then_some((*device, runs_it))
        });
        members.flatten().collect()
    }

    fn run_many(&self, count: u64, seed: u64) -> Vec<Outcome> {
        let half = count / 2;
        std::thread::scope(|scope| {
            let second =
                scope.spawn(move || (half..count).map(|i| self.run(seed ^ (i << 20))).collect());
            let mut all: Vec<Outcome> = (0..half).map(|i| self.run(seed ^ (i << 20))).collect();
            let rest: Vec<Outcome> = second.join().unwrap_or_default();
            all.extend(rest);
            all
        })
    }
}

/// Devices answer what was offered to them, by that hour.
fn answer(
    state: State,
    answers: &mut BTreeMap<(i64, u64), bool>,
    (hour, now): (i64, Timestamp),
) -> State {
    let later = answers.split_off(&(hour + 1, 0));
    let due = std::mem::replace(answers, later).into_iter();
    due.fold(state, |state, ((_, device), fails)| {
        let word = match fails {
            true => Word::Refused {
                reason: "golden".to_owned(),
                number: 0,
            },
            false => Word::Confirmed,
        };
        state.step(Event::Heard(DeviceId(device), word), now).0
    })
}

/// hawkBit's rule: more errors than a share of the group.
fn hawkbit(failures: f64, share: f64, seed: u64) -> Option<u64> {
    let mut chance = Chance(seed);
    let mut failed = 0;
    (1..=DEVICES).find(|_| {
        failed += u64::from(chance.uniform() < failures);
        failed as f64 > share * DEVICES as f64
    })
}

/// AWS Jobs' rule: at least `least` executed, and a share of those executed failed.
fn aws(failures: f64, least: u64, share: f64, seed: u64) -> Option<u64> {
    let mut chance = Chance(seed);
    let mut failed = 0;
    (1..=DEVICES).find(|executed| {
        failed += u64::from(chance.uniform() < failures);
        *executed >= least && failed as f64 >= share * *executed as f64
    })
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

fn waves() -> Plan {
    Plan {
        in_flight_max: 10,
        ..Plan::default()
    }
    .with(Strategy::Staged {
        waves: vec![0.02, 0.1, 0.3, 1.0],
    })
}

/// A bad release on 1,000 devices, and a good one.
pub(super) fn halts() -> Result<Vec<Row>, String> {
    let world = |failures: f64| World {
        plan: waves(),
        devices: DEVICES,
        failures,
        shift: 0.0,
        // Five releases of the past, each of which failed on a hundredth.
        past: (4_950, 50),
        equal_arms: false,
        looks: 1,
    };
    let bad = world(0.05).run_many(ROLLOUTS / 4, 1);
    let halted: Vec<&Outcome> = bad.iter().filter(|run| run.halted.is_some()).collect();
    let exposed = mean(halted.iter().map(|run| run.exposed as f64));
    let peers: Vec<u64> = (0..ROLLOUTS)
        .filter_map(|seed| hawkbit(0.05, 0.03, seed))
        .collect();
    let good = world(0.01).run_many(ROLLOUTS, 2);
    let false_halts = good.iter().filter(|run| run.halted.is_some()).count();
    let share = 100.0 * false_halts as f64 / ROLLOUTS as f64;
    let aws_halts = (0..ROLLOUTS)
        .filter(|seed| aws(0.01, 10, 0.03, *seed).is_some())
        .count();
    let mut by_metric: BTreeMap<&str, u32> = BTreeMap::new();
    for metric in good.iter().filter_map(|run| run.halted.as_deref()) {
        *by_metric.entry(metric).or_default() += 1;
    }
    let peers_of_worse = (0..ROLLOUTS)
        .filter_map(|seed| hawkbit(0.2, 0.03, seed))
        .map(|count| count as f64);
    let worse = world(0.2).run_many(ROLLOUTS / 20, 3);
    Ok(vec![
        Row {
            name: "5 % bad release of 1,000, 1 % usual: exposed when halted",
            goal: "150 on average at most".to_owned(),
            own: format!("{exposed:.0} ({} of {} halted)", halted.len(), bad.len()),
            peer: format!(
                "hawkBit 3 %: {:.0} ({} of {ROLLOUTS} halted)",
                mean(peers.iter().map(|count| *count as f64)),
                peers.len()
            ),
            holds: exposed <= 150.0 && halted.len() * 100 >= bad.len() * 99,
        },
        Row {
            name: "1 % release of 1,000, 1 % usual: halted falsely",
            goal: format!("1 % of {ROLLOUTS} at most"),
            own: format!("{share:.2} % {by_metric:?}"),
            peer: format!(
                "AWS min 10, 3 %: {:.0} %",
                100.0 * aws_halts as f64 / ROLLOUTS as f64
            ),
            holds: share <= 1.0,
        },
        Row {
            name: "20 % bad release of 1,000, 1 % usual: exposed when halted",
            goal: "30 on average at most".to_owned(),
            own: format!("{:.0}", mean(worse.iter().map(|run| run.exposed as f64))),
            peer: format!("hawkBit 3 %: {:.0}", mean(peers_of_worse)),
            holds: mean(worse.iter().map(|run| run.exposed as f64)) <= 30.0,
        },
    ])
}

/// A confidence that is half a standard deviation lower, which no peer looks at.
pub(super) fn confidence() -> Result<Vec<Row>, String> {
    const RUNS: u64 = 400;
    let world = |plan: Plan, shift: f64| World {
        plan,
        devices: DEVICES,
        failures: 0.01,
        shift,
        past: (4_950, 50),
        equal_arms: false,
        looks: 1,
    };
    let alone = Plan {
        halt_on: vec![Metric::Confidence],
        in_flight_max: 10,
        ..Plan::default()
    };
    let equal = alone.clone().with(Strategy::Canary { share: 0.5 });
    let tenth = Plan {
        in_flight_max: 10,
        ..Plan::default()
    };
    let measure = |plan: &Plan, shift: f64| world(plan.clone(), shift).run_many(RUNS, 4);
    let in_step = World {
        equal_arms: true,
        looks: 6,
        ..world(equal.clone(), -0.5)
    };
    let is_found = |run: &&Outcome| run.halted.as_deref() == Some("confidence");
    let figure = |runs: &[Outcome]| {
        let found: Vec<&Outcome> = runs.iter().filter(is_found).collect();
        let of_arm = |arm: usize| mean(found.iter().map(|run| run.measured[arm] as f64));
        (found.len(), of_arm(0), of_arm(1))
    };
    let (found, candidates, controls) = figure(&measure(&equal, -0.5));
    let (found_in_step, candidates_in_step, controls_in_step) = figure(&in_step.run_many(RUNS, 4));
    let (found_all, candidates_all, controls_all) = figure(&measure(&tenth, -0.5));
    let stable = measure(&equal, 0.0);
    let false_halts = stable.iter().filter(|run| run.halted.is_some()).count();
    let nobody = || "nobody looks at it".to_owned();
    Ok(vec![
        Row {
            name: "0.5 σ lower confidence, half the fleet, α = 1 %",
            goal: "100 devices an arm at most".to_owned(),
            own: format!(
                "{candidates_in_step:.0} against {controls_in_step:.0} ({found_in_step} of {RUNS} halted)"
            ),
            peer: nobody(),
            holds: candidates_in_step.max(controls_in_step) <= 100.0
                && found_in_step as u64 * 100 >= RUNS * 99,
        },
        Row {
            name: "the same where controls, with nothing to install, are ahead",
            goal: "100 devices an arm at most".to_owned(),
            own: format!("{candidates:.0} against {controls:.0} ({found} of {RUNS} halted)"),
            peer: nobody(),
            holds: candidates.max(controls) <= 100.0 && found as u64 * 100 >= RUNS * 99,
        },
        Row {
            name: "the same by the default plan: a tenth, all metrics, α = 1 %",
            goal: "100 devices with it at most".to_owned(),
            own: format!(
                "{candidates_all:.0} against {controls_all:.0} ({found_all} of {RUNS} halted)"
            ),
            peer: nobody(),
            holds: candidates_all <= 100.0 && found_all as u64 * 100 >= RUNS * 85,
        },
        Row {
            name: "no shift, half the fleet, α = 1 %: halted falsely",
            goal: format!("1 % of {RUNS} at most"),
            own: format!("{:.2} %", 100.0 * false_halts as f64 / RUNS as f64),
            peer: nobody(),
            holds: false_halts as u64 * 100 <= RUNS,
        },
    ])
}
