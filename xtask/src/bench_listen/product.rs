//! What the product does about a drift without anybody's help: features moved back where inputs moved in place or
//! spread, then one round of sums as `RoundPolicy` makes it if the drift stands, and the gates of the pipeline.
//!
//! Moving features is off in a policy until somebody asks for it; it is played with and without. No label is held
//! back for a verdict: the gates decide. That a model is watched once it is out, and taken back, and that labels tell of
//! errors that remain, is not played here.

use tinyops_fleet::restandardize::{self, Moving, Outcome, outcome_of_cohort};
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::sums::Sums;
use tinyops_train::head::{self, Fleet, Solver};

use super::episodes::{Case, Repaired};
use super::ladder::{State, round_bytes};
use super::rounds::{IN_PARTS, bucketed};
use super::{sets, under_masks};

const DAY_MS: i64 = 24 * 3_600_000;

/// How devices tell their sums.
#[derive(Clone, Copy)]
enum Telling {
    Clear,
    UnderMasks,
}

/// Nobody has asked for features to be moved.
pub(super) fn as_it_comes(case: &Case<'_>) -> Result<Option<Repaired>, String> {
    repair(case, false, Telling::Clear)
}

/// The same where devices tell their sums under masks.
pub(super) fn under_masks(case: &Case<'_>) -> Result<Option<Repaired>, String> {
    repair(case, false, Telling::UnderMasks)
}

/// The project asks for it: `restandardize = 0.5` under `[repair]`.
pub(super) fn moving(case: &Case<'_>) -> Result<Option<Repaired>, String> {
    repair(case, true, Telling::Clear)
}

fn repair(case: &Case<'_>, may_move: bool, telling: Telling) -> Result<Option<Repaired>, String> {
    let policy = RoundPolicy::default();
    if !case.advice.calls_for_statistics() {
        return Ok(None);
    }
    let learn = &case.drift.learn;
    let mut state = case.state.clone();
    let mut how = Vec::new();
    let mut waited = 0;
    if may_move && can_help(case) {
        let (moved, outcome) = moved(case, &policy)?;
        waited += 1 + policy.restandardize_reports;
        state = moved;
        how.push("level 0".to_owned());
        eprintln!(
            "{}, {}: features moved, {outcome:?}: {:.3} on test",
            case.name,
            case.drift.name,
            state.accuracy(&case.drift.test)?
        );
        if outcome == Outcome::Fell {
            return Ok(Some(Repaired {
                state,
                bytes: 0,
                reports: waited,
                how: how.join(" + "),
            }));
        }
    }
    // Labels are awaited, and then asked for at the next report.
    let reports = waited + (policy.gather_ms / DAY_MS) as u32 + 1;
    let windows = |sums: &Sums| sums.values[..sums.class_count].iter().sum::<i64>();
    let mut sums = state.sums(learn)?;
    let mut bytes = match telling {
        Telling::Clear => round_bytes(&sums)?,
        Telling::UnderMasks => 0,
    };
    sums.retain(|sums| windows(sums) >= i64::from(policy.window_count_min));
    let is_enough = sums.len() >= policy.device_count_min as usize
        && sums.iter().map(windows).sum::<i64>() >= policy.total_window_count_min;
    if is_enough {
        // Four sets of as many devices as a sum needs would be kept apart; no tale has so many.
        let (buckets, parts) = match telling {
            Telling::Clear => (bucketed(&sums, 1)?, IN_PARTS),
            Telling::UnderMasks => {
                let (sum, told) = under_masks::sum(&sums)?;
                bytes += told;
                (vec![sum], 1)
            }
        };
        let fleet = Fleet {
            buckets: &buckets,
            parts,
            projection: None,
        };
        let factory = state.prior()?;
        let floor = case.tale.threshold as f32;
        // What chooses a head is not what the gate asks of.
        let [validation, test] = [0, 1].map(|half| {
            let all = &case.tale.factory[1];
            let chosen: Vec<usize> = (half..all.count()).step_by(2).collect();
            all.select(&chosen)
        });
        let held_out = state.embedded(&validation)?;
        let solved = head::solve(&state.model, fleet, &factory, &held_out, floor)
            .map_err(|error| error.to_string())?;
        let kept_back = sets::features(&solved.model, &test)?;
        let metric = sets::accuracy(&solved.model, &kept_back)?;
        if solved.solver == Solver::Unchanged {
            let below = solved.below_floor;
            how.push(format!("no new head, {below} below the floor"));
        } else if metric < case.tale.threshold {
            how.push(format!("head refused, {metric:.3} at the factory"));
        } else {
            state.model = solved.model;
            how.push("level 2".to_owned());
        }
    } else {
        how.push("too few for a sum".to_owned());
    }
    let how = how.join(" + ");
    eprintln!(
        "{}, {}: the product alone, {how}: {:.3} on test",
        case.name,
        case.drift.name,
        state.accuracy(&case.drift.test)?
    );
    Ok(Some(Repaired {
        state,
        bytes,
        reports,
        how,
    }))
}

/// Whether the server would ask for features to be moved, and that would be anything new.
fn can_help(case: &Case<'_>) -> bool {
    let baseline = &case.state.model.baseline;
    // A device that is asked again goes on as it was.
    let is_new = (0..case.drift.learn.len()).any(|device| !case.state.is_moved(device));
    let fired = |signal| case.fired.contains(&signal);
    is_new && restandardize::can_help(case.advice, baseline, fired)
}

/// Devices learn, which takes the windows of one report, and move their features; what the server makes of the reports
/// that follow.
fn moved(case: &Case<'_>, policy: &RoundPolicy) -> Result<(State, Outcome), String> {
    let learn = &case.drift.learn;
    let mut server = case.server.clone();
    // With that report the cohort's window of the one before closes: all devices are meant if it alarms.
    let heard = server.hear(case.state, &case.state.see_all(learn)?)?;
    let meant: Vec<bool> = match heard.cohort {
        Some(_) => vec![true; learn.len()],
        None => server.alarmed.clone(),
    };
    let state = case
        .state
        .standardised_where(learn, |device| meant[device])?;
    let seen = state.see_all(learn)?;
    for _ in 0..policy.restandardize_reports {
        server.hear(&state, &seen)?;
    }
    let outcomes = (0..learn.len()).map(|device| match meant[device] {
        true => Moving {
            is_able: true,
            moved_count: server.memories[device].moved_count(),
            is_alarmed: server.alarmed[device],
        }
        .outcome(false, policy),
        // Nothing was the matter with it.
        false => Outcome::Fell,
    });
    Ok((state, outcome_of_cohort(outcomes, policy)))
}
