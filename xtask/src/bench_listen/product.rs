//! What the product does about a drift without anybody's help: features moved back where the alert advises it, one round
//! of sums as `RoundPolicy` makes it, and the gates of the pipeline.
//!
//! Moving features is off in a policy until somebody asks for it; here half of the way is asked for. No label is held
//! back for a verdict: the gates decide. That a model is watched once it is out, and taken back, is not played here.

use tinyops_fleet::diagnosis::Advice;
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::sums::Sums;
use tinyops_train::head::{self, Fleet, Solver};

use super::episodes::{Case, Repaired};
use super::ladder::round_bytes;
use super::rounds::bucketed;
use super::sets;

const DAY_MS: i64 = 24 * 3_600_000;

pub(super) fn repair(case: &Case<'_>) -> Result<Option<Repaired>, String> {
    let policy = RoundPolicy::default();
    if !case.advice.calls_for_statistics() {
        return Ok(None);
    }
    let learn = &case.drift.learn;
    let mut state = case.state.clone();
    let mut how = Vec::new();
    // A device that is asked again goes on as it was.
    if case.advice == Advice::ReStandardise && !state.is_standardised() {
        state = state.standardised(learn)?;
        how.push("level 0".to_owned());
    }
    // Labels are awaited, and then asked for at the next report.
    let reports = (policy.gather_ms / DAY_MS) as u32 + 1;
    let windows = |sums: &Sums| sums.values[..sums.class_count].iter().sum::<i64>();
    let mut sums = state.sums(learn)?;
    let bytes = round_bytes(&sums)?;
    sums.retain(|sums| windows(sums) >= i64::from(policy.window_count_min));
    let is_enough = sums.len() >= policy.device_count_min as usize
        && sums.iter().map(windows).sum::<i64>() >= policy.total_window_count_min;
    if is_enough {
        // Four sets of as many devices as a sum needs would be kept apart; no tale has so many.
        let buckets = bucketed(&sums, 1)?;
        let fleet = Fleet {
            buckets: &buckets,
            projection: None,
        };
        let factory = state.prior()?;
        let solved = head::solve(&state.model, fleet, &factory, case.tale.threshold as f32)
            .map_err(|error| error.to_string())?;
        let kept_back = sets::features(&solved.model, &case.tale.factory[1])?;
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
