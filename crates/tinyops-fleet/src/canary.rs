//! Whether a rollout goes on, waits or goes back: a pure function of where it stands and how its devices are.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_store::rollout::{Delivery, RolloutState};
use tinyops_store::{DeviceId, Json, ModelId, Timestamp};
use tinyops_wire::frame::{Update, UpdateState};

/// How a new model goes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Share of the devices that try it first, 0 to 1; 1 skips the canary.
    pub canary_share: f64,
    /// Devices of each board that try it first at least.
    pub canary_count_min: u32,
    /// Reports that each canary sends with it before it counts as well.
    pub canary_reports: u32,
    /// How long a device that is heard may take from its offer to its first report with the new model.
    pub silent_after_ms: i64,
    /// How long the canaries may take altogether before those that answered decide alone.
    pub canary_within_ms: i64,
    /// Share of those that answered that may fail, revert or fall silent before everything goes back.
    pub failure_share_max: f64,
    /// Points of accuracy (0 to 1), by outcomes, that the canaries may lie below the control arm.
    pub accuracy_drop_max: f64,
    /// Judged windows that each arm needs before accuracy is compared.
    pub judged_min: i64,
    /// Chance of halting a good model, for each sequential test.
    pub alpha: f64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            canary_share: 0.1,
            canary_count_min: 1,
            canary_reports: 2,
            silent_after_ms: 3 * 24 * 3_600_000,
            canary_within_ms: 7 * 24 * 3_600_000,
            failure_share_max: 0.2,
            accuracy_drop_max: 0.05,
            judged_min: 20,
            alpha: 0.01,
        }
    }
}

/// How the devices of a rollout are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Devices that should have it: offered, confirmed, failed, reverted, silent.
    pub offered: u32,
    /// Those that run it.
    pub confirmed: u32,
    /// Those that run it and have reported often enough.
    pub ready: u32,
    /// Those that could not install it.
    pub failed: u32,
    /// Those that tried it and went back.
    pub reverted: u32,
    /// Those that took it and were not heard of.
    pub silent: u32,
    /// Those that were not heard of since their offer, past the deadline: away, not in trouble.
    pub away: u32,
    /// Windows that each arm had right, and windows judged, since the rollout began: canaries, control.
    pub judged: [(i64, i64); 2],
    /// Mean deviation of the model's output from its training, by device: canaries, control.
    pub outputs: [Vec<f64>; 2],
}

/// What to do next, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Where the rollout stands from now on.
    pub state: RolloutState,
    /// The metric that decided, how much, and its limit; what people read.
    pub reason: Json,
}

/// Shares of failures that the sequential test tells apart: what any release shows, and a bad one.
const FAILURE_SHARES: [f64; 2] = [0.01, 0.05];

/// Chance of missing a bad release.
const FAILURE_BETA: f64 = 0.05;

/// Shift of the outputs, in standard deviations, that the mixture test is most sensitive to.
const OUTPUT_SHIFT: f64 = 0.5;

impl Health {
    /// Devices whose delivery is not decided, but those that are away: they get their offer when they come.
    pub fn waiting(&self) -> u32 {
        self.offered
            .saturating_sub(self.confirmed + self.troubled() + self.away)
    }

    /// Devices that did not take it.
    pub fn troubled(&self) -> u32 {
        self.failed + self.reverted + self.silent
    }
}

/// Decides what becomes of a rollout that is under way; `None` leaves it as it is.
///
/// Paused, done and halted rollouts stay as they are: only a person moves them.
pub fn decide(state: RolloutState, plan: &Plan, health: &Health, age_ms: i64) -> Option<Decision> {
    if !matches!(state, RolloutState::Canary | RolloutState::Full) {
        return None;
    }
    if let Some(reason) = halt_reason(plan, health) {
        return Some(Decision {
            state: RolloutState::Halted,
            reason,
        });
    }
    let is_late = age_ms >= plan.canary_within_ms;
    let everyone = health.waiting() == 0;
    match state {
        RolloutState::Canary
            if everyone && health.ready == health.confirmed && health.confirmed > 0 =>
        {
            Some(advance(health, "every canary is well"))
        }
        RolloutState::Canary if is_late && health.ready > 0 => {
            Some(advance(health, "the canaries that answered are well"))
        }
        RolloutState::Canary
            if is_late || everyone && health.confirmed == 0 && health.troubled() > 0 =>
        {
            let reason =
                json!({ "metric": "canaries that run it", "value": 0, "of": health.offered });
            Some(Decision {
                state: RolloutState::Halted,
                reason,
            })
        }
        RolloutState::Full if everyone => Some(Decision {
            state: RolloutState::Done,
            reason: json!({ "why": "every device has answered", "confirmed": health.confirmed, "of": health.offered }),
        }),
        _ => None,
    }
}

fn advance(health: &Health, why: &str) -> Decision {
    let mut reason = json!({ "why": why, "confirmed": health.confirmed, "of": health.offered });
    for (arm, (right, judged)) in ["accuracy of canaries", "accuracy of control"]
        .iter()
        .zip(health.judged)
    {
        if judged > 0 {
            reason[*arm] = json!(rounded(right as f64 / judged as f64));
        }
    }
    Decision {
        state: RolloutState::Full,
        reason,
    }
}

fn halt_reason(plan: &Plan, health: &Health) -> Option<Json> {
    let troubled = health.troubled();
    let answered = health.confirmed + troubled;
    let due = health.offered.saturating_sub(health.away).max(1);
    let parts =
        json!({ "failed": health.failed, "reverted": health.reverted, "silent": health.silent });
    if troubled >= 2 || troubled > 0 && health.waiting() == 0 {
        let share = f64::from(troubled) / f64::from(answered);
        // While others have not answered, two bad ones of three prove little: they count among all.
        let share_of_all = f64::from(troubled) / f64::from(due);
        if share_of_all > plan.failure_share_max {
            return Some(json!({
                "metric": "share of devices in trouble", "value": rounded(share),
                "limit": plan.failure_share_max, "devices": troubled, "of": health.offered, "parts": parts,
            }));
        }
    }
    let evidence = failure_evidence(health.confirmed, troubled);
    let limit = ((1.0 - FAILURE_BETA) / plan.alpha.clamp(1e-9, 0.5)).ln();
    if evidence >= limit && troubled >= 3 {
        return Some(json!({
            "metric": "evidence of failures", "value": rounded(evidence), "limit": rounded(limit),
            "devices": troubled, "of": answered, "parts": parts,
        }));
    }
    let [
        (canary_right, canary_judged),
        (control_right, control_judged),
    ] = health.judged;
    if canary_judged >= plan.judged_min.max(1) && control_judged >= plan.judged_min.max(1) {
        let canary = canary_right as f64 / canary_judged as f64;
        let control = control_right as f64 / control_judged as f64;
        if control - canary > plan.accuracy_drop_max {
            return Some(json!({
                "metric": "accuracy against the control arm", "value": rounded(canary), "control": rounded(control),
                "limit": plan.accuracy_drop_max, "windows": canary_judged,
            }));
        }
    }
    let [canaries, control] = &health.outputs;
    let (shift, evidence) = shift_evidence(canaries, control);
    // Half of the chance of a two-sided test: only a fall halts.
    let limit = 0.5 / plan.alpha.clamp(1e-9, 0.5);
    if shift < 0.0 && evidence >= limit {
        return Some(json!({
            "metric": "confidence against the control arm", "value": rounded(shift), "unit": "standard deviations",
            "evidence": rounded(evidence), "limit": rounded(limit), "devices": canaries.len(), "of": control.len(),
        }));
    }
    None
}

/// Logarithm of how much likelier the failures are under a bad release than under a good one.
///
/// # Source
/// Wald, 1945, "Sequential tests of statistical hypotheses".
fn failure_evidence(well: u32, troubled: u32) -> f64 {
    let [good, bad] = FAILURE_SHARES;
    let per_failure = (bad / good).ln();
    let per_success = ((1.0 - bad) / (1.0 - good)).ln();
    f64::from(well) * per_success + f64::from(troubled) * per_failure
}

/// Shift of the first group's mean from the second's, in their pooled standard deviation, and the evidence for
/// any shift: at most 1 in `1 / evidence` stable comparisons ever reaches it, however often one looks.
///
/// # Source
/// Johari, Koomen, Pekelis and Walsh, 2022, "Always valid inference: continuous monitoring of A/B tests": the
/// mixture sequential probability ratio with a normal prior.
fn shift_evidence(canaries: &[f64], control: &[f64]) -> (f64, f64) {
    let (n, m) = (canaries.len() as f64, control.len() as f64);
    if n < 3.0 || m < 3.0 {
        return (0.0, 0.0);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let squares = |values: &[f64], mean: f64| {
        values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
    };
    let (canary_mean, control_mean) = (mean(canaries), mean(control));
    let variance =
        (squares(canaries, canary_mean) + squares(control, control_mean)) / (n + m - 2.0);
    let shift = (canary_mean - control_mean) / variance.max(1e-6).sqrt();
    let pairs = n * m / (n + m);
    let spread = 1.0 + OUTPUT_SHIFT * OUTPUT_SHIFT * pairs;
    let evidence = (OUTPUT_SHIFT * pairs * shift).powi(2) / (2.0 * spread);
    (shift, evidence.min(600.0).exp() / spread.sqrt())
}

/// What a frame of a device means for its delivery; `None` if nothing.
///
/// `reports` is whether the frame is a report of the model that it was to install.
pub fn observe(
    delivery: Delivery,
    target: ModelId,
    running: ModelId,
    update: Option<&Update>,
) -> Option<Delivery> {
    if matches!(delivery, Delivery::Control | Delivery::Recalled) {
        return None;
    }
    let about_target = |update: &&Update| update.model == target || update.model == ModelId(0);
    let next = match update.filter(about_target).map(|update| update.state) {
        Some(UpdateState::Confirmed) => Delivery::Confirmed,
        Some(UpdateState::Reverted) => Delivery::Reverted,
        Some(UpdateState::Refused) => Delivery::Failed,
        _ if update.is_none() && running == target => Delivery::Confirmed,
        _ => return None,
    };
    (next != delivery).then_some(next)
}

/// Whether a device was heard of since it was offered a model: one that was not never got the offer.
pub fn was_heard_since(offered_at: Timestamp, last_seen: Option<Timestamp>) -> bool {
    last_seen.is_some_and(|seen| seen > offered_at)
}

/// Whether a device has had its time since it was offered a model.
pub fn is_due(plan: &Plan, offered_at: Timestamp, now: Timestamp) -> bool {
    now.ms_since(offered_at) > plan.silent_after_ms
}

/// The devices that try a model first: the smallest hashes of their ids with the rollout's salt.
///
/// The same device is not the canary of every rollout, and a group is neither one batch nor one building.
pub fn choose(devices: &[DeviceId], plan: &Plan, salt: u64) -> Vec<DeviceId> {
    let share = plan.canary_share.clamp(0.0, 1.0);
    let count =
        ((devices.len() as f64 * share).ceil() as usize).max(plan.canary_count_min as usize);
    let mut shuffled = devices.to_vec();
    shuffled.sort_by_key(|device| (mix(device.0 ^ mix(salt)), device.0));
    shuffled.truncate(count);
    shuffled
}

/// SplitMix64's finalizer: every bit of the input moves every bit of the answer.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(offered: u32, confirmed: u32, troubled: u32) -> Health {
        Health {
            offered,
            confirmed,
            ready: confirmed,
            failed: troubled,
            ..Health::default()
        }
    }

    #[track_caller]
    fn check(state: RolloutState, health: Health, age_ms: i64, expected: Option<RolloutState>) {
        let decision = decide(state, &Plan::default(), &health, age_ms);
        assert_eq!(
            decision.map(|decision| decision.state),
            expected,
            "{health:?}"
        );
    }

    #[test]
    fn a_rollout_goes_on_when_its_canaries_are_well() {
        use RolloutState::{Canary, Done, Full, Halted, Paused};
        let late = Plan::default().canary_within_ms;
        check(Canary, health(5, 4, 0), 0, None);
        check(Canary, health(5, 5, 0), 0, Some(Full));
        check(
            Canary,
            Health {
                ready: 4,
                ..health(5, 5, 0)
            },
            0,
            None,
        );
        check(Canary, health(5, 4, 0), late, Some(Full));
        check(Canary, health(5, 0, 0), late, Some(Halted));
        check(Canary, health(10, 9, 1), 0, Some(Full));
        check(Canary, health(5, 3, 2), 0, Some(Halted));
        check(Canary, health(1, 0, 1), 0, Some(Halted));
        check(Canary, health(10, 0, 1), 0, None);
        check(
            Canary,
            Health {
                away: 1,
                ..health(5, 4, 0)
            },
            0,
            Some(Full),
        );
        check(
            Canary,
            Health {
                away: 5,
                ..health(5, 0, 0)
            },
            0,
            None,
        );
        check(
            Full,
            Health {
                away: 3,
                ..health(50, 47, 0)
            },
            0,
            Some(Done),
        );
        check(Full, health(1_000, 980, 10), 0, None);
        check(Full, health(50, 49, 0), late, None);
        check(Full, health(50, 49, 1), 0, Some(Done));
        check(Full, health(1_000, 50, 10), 0, Some(Halted));
        check(Paused, health(5, 0, 5), 0, None);
    }

    #[test]
    fn canaries_that_err_more_than_the_control_arm_halt_it() {
        use RolloutState::{Canary, Full, Halted};
        let judged = |canary, control| Health {
            judged: [(canary, 100), (control, 100)],
            ..health(5, 5, 0)
        };
        check(Canary, judged(60, 90), 0, Some(Halted));
        check(Canary, judged(87, 90), 0, Some(Full));
        // After a drift it is the control arm that errs.
        check(Canary, judged(95, 50), 0, Some(Full));
        let decision = decide(Canary, &Plan::default(), &judged(60, 90), 0).unwrap();
        assert_eq!(
            decision.reason["metric"],
            "accuracy against the control arm"
        );
        assert_eq!(
            (&decision.reason["value"], &decision.reason["control"]),
            (&json!(0.6), &json!(0.9))
        );
    }

    #[test]
    fn a_shift_of_confidence_halts_within_a_hundred_devices() {
        let wave = |count: usize, mean: f64| -> Vec<f64> {
            (0..count)
                .map(|i| mean + crate::normal::normal_quantile((i as f64 + 0.5) / count as f64))
                .collect()
        };
        let outputs = |shift: f64| Health {
            outputs: [wave(100, shift), wave(100, 0.0)],
            ..health(100, 100, 0)
        };
        check(
            RolloutState::Canary,
            outputs(-0.5),
            0,
            Some(RolloutState::Halted),
        );
        check(
            RolloutState::Canary,
            outputs(0.5),
            0,
            Some(RolloutState::Full),
        );
        check(
            RolloutState::Canary,
            outputs(-0.1),
            0,
            Some(RolloutState::Full),
        );
    }

    #[test]
    fn stable_arms_rarely_halt_however_often_one_looks() {
        let mut state = 1_u64;
        let mut normal = || {
            state = mix(state);
            crate::normal::normal_quantile((state >> 11) as f64 / (1_u64 << 53) as f64)
        };
        let mut halted = 0;
        for _ in 0..400 {
            let (mut canaries, mut control) = (Vec::new(), Vec::new());
            for _ in 0..100 {
                canaries.push(normal());
                control.push(normal());
                let (shift, evidence) = shift_evidence(&canaries, &control);
                if canaries.len() > 5 && shift < 0.0 && evidence >= 100.0 {
                    halted += 1;
                    break;
                }
            }
        }
        assert!(halted <= 8, "{halted} of 400");
    }

    #[test]
    fn a_device_is_believed_about_its_update() {
        use tinyops_wire::frame::Reason;
        let (new, old) = (ModelId(7), ModelId(6));
        let update = |state| Update {
            state,
            reason: Reason::None,
            model: new,
            sequence: 2,
            detail: 0,
        };
        let check = |delivery, running, state: Option<UpdateState>, expected| {
            assert_eq!(
                observe(delivery, new, running, state.map(update).as_ref()),
                expected
            );
        };
        check(Delivery::Offered, old, None, None);
        check(Delivery::Offered, new, None, Some(Delivery::Confirmed));
        check(Delivery::Offered, new, Some(UpdateState::Installed), None);
        check(
            Delivery::Offered,
            old,
            Some(UpdateState::Refused),
            Some(Delivery::Failed),
        );
        check(
            Delivery::Confirmed,
            old,
            Some(UpdateState::Reverted),
            Some(Delivery::Reverted),
        );
        check(Delivery::Silent, new, None, Some(Delivery::Confirmed));
        check(Delivery::Recalled, new, None, None);
        check(Delivery::Control, new, None, None);
    }

    #[test]
    fn canaries_are_the_same_for_the_same_rollout_and_others_for_another() {
        let devices: Vec<DeviceId> = (0..1_000).map(DeviceId).collect();
        let first = choose(&devices, &Plan::default(), 1);
        assert_eq!(first.len(), 100);
        assert_eq!(first, choose(&devices, &Plan::default(), 1));
        let again = choose(&devices, &Plan::default(), 2);
        let both = first.iter().filter(|device| again.contains(device)).count();
        assert!(both < 30, "{both} are canaries of both");
        assert_eq!(choose(&devices[..3], &Plan::default(), 1).len(), 1);
    }
}
