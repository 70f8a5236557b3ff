//! What scoring costs, held against the control arm.

use super::*;

/// How slow and how full devices are, in microseconds and as a share.
#[derive(Clone, Copy)]
struct Load {
    micros: f64,
    ram: f64,
}

const USUAL: Load = Load {
    micros: 4_000.0,
    ram: 0.6,
};

fn report(model: ModelId, load: Load, noise: f64) -> Word {
    let sample = Sample {
        // As dithered codes blur them.
        ln_latency: Some(load.micros.ln() + 0.05 * noise),
        ln_ram: Some(load.ram.ln() + 0.02 * noise),
        ..Sample::default()
    };
    Word::Reported { model, sample }
}

/// A rollout in which every candidate is one way and every control another; answers with the reason to halt, and how
/// many had the candidate by then.
fn run(candidate: Load, control: Load, plan: Plan) -> Option<(Json, usize)> {
    run_seeded(candidate, control, plan, 0)
}

fn run_seeded(candidate: Load, control: Load, plan: Plan, seed: u64) -> Option<(Json, usize)> {
    let mut state = tick(begun(plan, 400), 0).0;
    for hours in 1..40 {
        for (device, member) in state.members.clone() {
            if device.0 % 10 != hours as u64 % 10 || state.phase != RolloutState::Running {
                continue;
            }
            let noise =
                (mix(device.0 ^ (hours as u64) << 32 ^ seed << 40) % 1_000) as f64 / 1_000.0 - 0.5;
            // Boards differ: the one of stratum `a` is three times as slow.
            let slower = if device.0.is_multiple_of(3) { 3.0 } else { 1.0 };
            let of_arm = |load: Load| Load {
                micros: load.micros * slower,
                ..load
            };
            let word = match member.delivery {
                Delivery::Control => report(OLD, of_arm(control), noise),
                _ => report(NEW, of_arm(candidate), noise),
            };
            state = hear(state, device.0, word, hours);
        }
        let (next, actions) = tick(state, hours);
        state = next;
        if let Some(Action::Halt { reason }) = actions.into_iter().next() {
            return Some((reason, exposed(&state).len()));
        }
    }
    None
}

fn plan() -> Plan {
    Plan {
        reports: 1,
        ..Plan::default()
    }
    .with(Strategy::Canary { share: 0.3 })
}

#[test]
fn a_model_that_takes_longer_than_its_margin_halts_with_the_ratio() {
    let slower = |ratio: f64| Load {
        micros: USUAL.micros * ratio,
        ..USUAL
    };
    let (reason, _) = run(slower(1.3), USUAL, plan()).expect("three tenths more");
    assert_eq!(reason["metric"], "latency");
    let [low, high] = [0, 1].map(|index| reason["interval"][index].as_f64().unwrap());
    assert!(low < 0.3 && 0.3 < high && low > 0.1, "{reason}");
    let sentence = reason["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("ms with it, against") && sentence.contains("where 10.0 % more"),
        "{sentence}"
    );
    for ratio in [0.7, 1.0, 1.05] {
        let halted = run(slower(ratio), USUAL, plan());
        assert!(halted.is_none(), "{ratio}: {halted:?}");
    }
    let wide = Plan {
        latency_margin: 0.5,
        ..plan()
    };
    assert!(run(slower(1.3), USUAL, wide).is_none());
    let ignored = Plan {
        halt_on: vec![Metric::Installs],
        ..plan()
    };
    assert!(run(slower(9.0), USUAL, ignored).is_none());
}

#[test]
fn a_model_that_uses_more_memory_than_its_margin_halts() {
    let fuller = |ram: f64| Load { ram, ..USUAL };
    let (reason, _) = run(fuller(0.75), USUAL, plan()).expect("a quarter more");
    assert_eq!(reason["metric"], "ram");
    assert!(
        reason["interval"][0].as_f64().unwrap() > 0.1
            && reason["candidate"].as_f64().unwrap() > 0.7,
        "{reason}"
    );
    assert!(run(fuller(0.63), USUAL, plan()).is_none());
    // A drift that meets both arms halts nothing.
    assert!(run(fuller(0.9), fuller(0.9), plan()).is_none());
}

#[test]
fn a_model_that_fills_the_memory_halts_though_it_is_within_its_margin() {
    let fuller = |ram: f64| Load { ram, ..USUAL };
    let (reason, _) = run(fuller(0.98), fuller(0.9), plan()).expect("nothing is left");
    assert_eq!(reason["metric"], "ram");
    let sentence = reason["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("more than 95.0 %, and 0 of"),
        "{sentence}"
    );
    // Where it was full before, this model does no worse.
    assert!(run(fuller(0.98), fuller(0.97), plan()).is_none());
}

#[test]
fn devices_that_measure_nothing_halt_nothing() {
    let mut state = tick(begun(plan(), 60), 0).0;
    for hours in 1..5 {
        state = tick(all_well(state, hours), hours).0;
    }
    let of_costs = |finding: &&Finding| ["latency", "ram"].contains(&finding.metric.as_str());
    assert_eq!(state.progress.findings.iter().filter(of_costs).count(), 0);
    assert_ne!(state.phase, RolloutState::Halted);
}

/// The worst that is still allowed: each run halts with a chance of one in 2,000 at most, however often one looks.
#[test]
fn a_model_at_its_very_margin_is_not_halted() {
    let slower = Load {
        micros: USUAL.micros * 1.1,
        ram: USUAL.ram * 1.1,
    };
    for seed in 1..=20 {
        let halted = run_seeded(slower, USUAL, plan(), seed);
        assert!(halted.is_none(), "seed {seed}: {halted:?}");
    }
}
