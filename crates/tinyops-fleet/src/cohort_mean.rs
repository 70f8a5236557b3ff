//! What the devices of a cohort tell together, under masks or under noise, held against the cohort's own past.

use tinyops_sketch::Baseline;
use tinyops_store::drift::{self, DriftPoint, DriftState, Scope};
use tinyops_store::{ModelId, Timestamp, Tx};

use crate::detector::{Layout, stands};
use crate::sum_watch::SumWatch;
use crate::watch::history_of;
use crate::{Event, Fleet, FleetError};

/// What many devices tell together of how far they are from their own normals.
pub(crate) struct MeanOfMany {
    /// The mean of each number over the devices.
    pub(crate) values: Vec<f64>,
    /// Variance of each that is known: noise, and what rounding on the devices does.
    pub(crate) noise_variance: f64,
    pub(crate) device_count: u32,
    /// Logarithms of the spreads by channel, where they can be read.
    pub(crate) ln_sds: Vec<f32>,
}

impl Fleet {
    /// Holds what the devices of a cohort tell together against its own past, which `memory` is of.
    pub(crate) async fn judge_mean(
        &self,
        tx: &Tx,
        (cohort, model): (&str, ModelId),
        memory: Scope,
        mean: &MeanOfMany,
        baseline: &Baseline,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let scope = Scope::Cohort(format!("{cohort}@{model}"));
        let key = (memory, model);
        let state = drift::get_many(tx, std::slice::from_ref(&key))
            .await?
            .pop()
            .flatten();
        let alarmed = state.as_ref().is_some_and(|state| state.alarmed);
        let layout = Layout {
            channel_count: baseline.channels().len() as u8,
            has_shares: false,
            class_count: baseline.class_prior().len() as u8,
            is_restandardized: false,
            has_own_head: false,
        };
        let mut watch = state
            .and_then(|state| SumWatch::decode(&state.state))
            .unwrap_or_else(|| SumWatch::new(layout));
        let policy = &self.policy.drift;
        let judgement = watch.push(layout, &mean.values, mean.noise_variance, policy);
        let score = judgement.as_ref().map_or(0.0, |judgement| judgement.score);
        let stands = stands(score, alarmed, policy.calm_score);
        let mut events = Vec::new();
        if let Some(mut judgement) = judgement {
            judgement.member_count = mean.device_count;
            let history = DriftPoint {
                scope: scope.clone(),
                model,
                at: now,
                score,
                detail: history_of(&judgement, baseline),
            };
            drift::add_points(tx, &[history]).await?;
            if score >= 1.0 {
                let raised = self
                    .raise_of_sum(
                        tx,
                        scope,
                        (&judgement, mean.ln_sds.clone()),
                        !alarmed,
                        (model, baseline),
                        now,
                    )
                    .await?;
                events.extend(raised);
            }
        }
        let state = DriftState {
            scope: key.0,
            model,
            state: watch.encode(),
            score,
            alarmed: stands,
            updated_at: now,
        };
        drift::put_many(tx, &[state]).await?;
        events.push(Event::SumJudged {
            cohort: cohort.to_owned(),
            device_count: mean.device_count,
            score,
        });
        Ok(events)
    }
}
