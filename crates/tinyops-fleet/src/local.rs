//! Reports under noise of the devices' own, where there is no helper: added up per cohort without one, and judged.
//!
//! Whoever has the database reads each of them, and it says little: noise of `z` times the longest report lies over it.
//! In the mean of N devices that is `z / √N` of it, where a helper's would be `z / N`.

use tinyops_sketch::Baseline;
use tinyops_store::drift::Scope;
use tinyops_store::privacy::{self, MaskedReport, Waiting};
use tinyops_store::{ModelId, Timestamp, Tx};
use tinyops_wire::mask::Task;

use crate::cohort_mean::MeanOfMany;
use crate::masked::{PrivacyPolicy, value_count};
use crate::{Event, Fleet, FleetError};

impl PrivacyPolicy {
    /// How devices of a model report under noise of their own: a ring that holds one report. `None` without noise, which
    /// would be to report in the clear, or with more of it than any ring holds.
    pub(crate) fn local_task(&self, model: ModelId) -> Option<Task> {
        self.task(model, 1).filter(|task| task.noise_tenths > 0)
    }
}

impl Fleet {
    /// Adds up reports of one cohort, holds their mean against the cohort's own past, and forgets them.
    pub(crate) async fn judge_noised(
        &self,
        tx: &Tx,
        waiting: &Waiting,
        task: &Task,
        reports: &[MaskedReport],
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        privacy::forget_reports(tx, reports).await?;
        let Some(baseline) = self.baseline(tx, waiting.model).await? else {
            return Ok(Vec::new());
        };
        let Some(mean) = mean_of(task, reports, &baseline) else {
            return Ok(Vec::new());
        };
        let cohort = &waiting.cohort;
        // Beside sums of a helper's, which scatter otherwise.
        let memory = Scope::Cohort(format!("{cohort} (noised)@{}", waiting.model));
        self.judge_mean(tx, (cohort, waiting.model), memory, &mean, &baseline, now)
            .await
    }
}

/// The mean of reports, and how much of its scatter is their noise.
fn mean_of(task: &Task, reports: &[MaskedReport], baseline: &Baseline) -> Option<MeanOfMany> {
    let count = value_count(baseline);
    let steps_per_unit = task.steps_per_unit(count)?;
    let mut sums = vec![0_i64; count];
    for report in reports {
        let (numbers, _) = report.numbers.as_chunks();
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += task.signed(u32::from_le_bytes(*number));
        }
    }
    let devices = reports.len().max(1) as f64;
    let scale = steps_per_unit * devices;
    // Each report brings its own noise, and was rounded.
    let variance = devices * (task.noise_sd().powi(2) + 1.0 / 12.0);
    Some(MeanOfMany {
        values: sums.iter().map(|sum| *sum as f64 / scale).collect(),
        noise_variance: variance / (scale * scale),
        device_count: reports.len() as u32,
        // Spreads of single devices are cut down with their reports, and the noise is as large as what would be read
        // from them.
        ln_sds: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use tinyops_store::DeviceId;
    use tinyops_store::privacy::Veil;

    use super::*;

    #[test]
    fn a_task_holds_one_report_and_fits_as_few_bytes_as_under_masks() {
        let policy = PrivacyPolicy::default();
        let task = policy.local_task(ModelId(7)).unwrap();
        assert_eq!((task.ring_bits, task.norm_max), (13, 33));
        assert!(task.holds(1) && !task.holds(2000));
        assert_eq!(task.cost(), 1_250);
        let none = PrivacyPolicy {
            noise: 0.0,
            ..policy.clone()
        };
        assert_eq!(none.local_task(ModelId(7)), None);
        let loud = PrivacyPolicy {
            noise: 6_000.0,
            ..policy
        };
        let task = loud.local_task(ModelId(7)).unwrap();
        assert!(task.norm_max >= 15 && task.ring_bits < 32, "{task:?}");
    }

    #[test]
    fn the_mean_of_reports_is_theirs_with_the_noise_of_all() {
        let channels = [tinyops_sketch::ChannelBaseline::new(
            tinyops_sketch::Source::Output,
            0.0,
            1.0,
        )];
        let baseline = Baseline::new(100, &channels, &[0.5, 0.5]).unwrap();
        let task = PrivacyPolicy::default().local_task(ModelId(7)).unwrap();
        let told = [[3, -3, 40, 0], [-1, -3, 8, 0], [1, -3, 0, 0]];
        let reports: Vec<MaskedReport> = (0..)
            .zip(told)
            .map(|(device, numbers)| MaskedReport {
                device: DeviceId(device),
                veil: Veil::Noise,
                seq: 1,
                cohort: "hall".to_owned(),
                model: ModelId(7),
                task: task.encode().to_vec(),
                numbers: numbers
                    .into_iter()
                    .flat_map(|number: i32| (number as u32 & task.ring_mask()).to_le_bytes())
                    .collect(),
                received_at: Timestamp(0),
            })
            .collect();
        let mean = mean_of(&task, &reports, &baseline).unwrap();
        let steps = task.steps_per_unit(4).unwrap();
        let expected = [3.0, -9.0, 48.0, 0.0].map(|sum| sum / (3.0 * steps));
        assert_eq!(mean.values, expected);
        // Of one unit, the clip: z / √N.
        let sd = mean.noise_variance.sqrt() / f64::from(task.clip);
        let known = 20.0 / 3.0_f64.sqrt();
        assert!((sd / known - 1.0).abs() < 0.05, "{sd} {known}");
        assert_eq!(mean.device_count, 3);
    }
}
