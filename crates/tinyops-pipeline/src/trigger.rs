//! What makes a pipeline run, and which job it makes: decided from values alone.

use tinyops_store::Digest;

use crate::{Job, Project};

/// Something that may be worth a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody asked, or what devices see has drifted.
    Asked {
        /// The model in production, if there is one.
        production: Option<Digest>,
    },
    /// A federated round was closed: the fleet's statistics of a model's embeddings are complete.
    RoundClosed {
        /// The model whose embeddings were counted.
        model: Digest,
        /// The artifact that holds the summed statistics.
        statistics: Digest,
        /// How many devices are in the sum.
        devices: u32,
        /// How many labelled windows are in the sum.
        labels: u64,
    },
}

/// Why a trigger makes no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The sum would say too much about its few devices.
    #[error("the round has {devices} devices, `[privacy] round_devices_min` asks for {needed}")]
    TooFewDevices {
        /// Devices in the sum.
        devices: u32,
        /// Devices the project asks for.
        needed: u32,
    },
    /// A head solved from so few labels would follow their noise.
    #[error("the round has {labels} labels, `[privacy] round_labels_min` asks for {needed}")]
    TooFewLabels {
        /// Labelled windows in the sum.
        labels: u64,
        /// Labelled windows the project asks for.
        needed: u64,
    },
}

/// The job that answers a trigger.
///
/// # Errors
/// [`Refusal`] when the project's privacy section forbids it.
pub fn job_for(trigger: &Trigger, project: &Project) -> Result<Job, Refusal> {
    let privacy = &project.privacy;
    match trigger {
        Trigger::Asked { production } => Ok(match (production, project.tune.budget()) {
            (Some(model), Some(budget)) => Job::Tune {
                model: *model,
                budget,
            },
            _ => Job::Full { until: None },
        }),
        Trigger::RoundClosed { devices, .. } if *devices < privacy.round_devices_min => {
            Err(Refusal::TooFewDevices {
                devices: *devices,
                needed: privacy.round_devices_min,
            })
        }
        Trigger::RoundClosed { labels, .. } if *labels < privacy.round_labels_min => {
            Err(Refusal::TooFewLabels {
                labels: *labels,
                needed: privacy.round_labels_min,
            })
        }
        Trigger::RoundClosed {
            model, statistics, ..
        } => Ok(Job::ResolveHead {
            model: *model,
            statistics: *statistics,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivacySection;

    #[test]
    fn a_budget_turns_training_into_a_fine_tune_of_what_is_in_production() {
        let production = Some(Digest::of(b"model"));
        let mut project = Project::default();
        let job = |production, project: &Project| job_for(&Trigger::Asked { production }, project);
        assert_eq!(job(production, &project), Ok(Job::Full { until: None }));
        project.tune.delta_bytes_max = Some(512);
        assert_eq!(job(None, &project), Ok(Job::Full { until: None }));
        let Ok(Job::Tune { model, budget }) = job(production, &project) else {
            panic!("no fine-tune");
        };
        assert_eq!((model, budget.delta_bytes_max), (Digest::of(b"model"), 512));
    }

    #[track_caller]
    fn check(devices: u32, labels: u64, expected: Result<(), Refusal>) {
        let project = Project {
            privacy: PrivacySection {
                round_devices_min: 5,
                round_labels_min: 20,
                ..PrivacySection::default()
            },
            ..Project::default()
        };
        let trigger = Trigger::RoundClosed {
            model: Digest::of(b"model"),
            statistics: Digest::of(b"statistics"),
            devices,
            labels,
        };
        assert_eq!(job_for(&trigger, &project).map(|_| ()), expected);
    }

    #[test]
    fn rounds() {
        check(5, 20, Ok(()));
        check(
            4,
            20,
            Err(Refusal::TooFewDevices {
                devices: 4,
                needed: 5,
            }),
        );
        check(
            5,
            19,
            Err(Refusal::TooFewLabels {
                labels: 19,
                needed: 20,
            }),
        );
    }
}
