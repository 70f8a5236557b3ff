//! Resolve: a new head from the sums of a fleet's embeddings; the body stays as it is.

use serde::Deserialize;
use tinyops_store::{Digest, step::Port};
use tinyops_train::{FeatureSet, head};

use crate::{
    Gate, GateName, Metric, Project, RunError, StepName,
    bench::{Bench, Done, Made},
    step::{evaluate::read_model, validate::parsed},
};

/// The sums of a fleet's embeddings, as the operating loop keeps them (`"tinyops-statistics"`).
#[derive(Debug, Deserialize, PartialEq)]
struct FleetSums {
    format: String,
    version: u32,
    class_count: usize,
    /// Values of one embedding.
    width: usize,
    /// Devices in the sum.
    devices: u32,
    /// Counts, class sums, upper triangle of the Gram matrix row by row; in [`FleetSums::parts`] of a window.
    values: Vec<i64>,
    /// From version 3 on: parts that a window is counted in, so that devices which weigh less than their windows lose
    /// nothing by it.
    #[serde(default = "whole")]
    parts: u32,
    /// From version 2 on: the sums of disjoint sets of devices, which add up to `values`.
    #[serde(default)]
    buckets: Vec<Bucket>,
}

/// The sum of some of the devices, in the order of [`FleetSums::values`].
#[derive(Debug, Deserialize, PartialEq)]
struct Bucket {
    values: Vec<i64>,
}

fn whole() -> u32 {
    1
}

impl FleetSums {
    const VERSIONS: std::ops::RangeInclusive<u32> = 1..=3;

    fn decode(bytes: &[u8]) -> Result<Self, RunError> {
        let sums: Self = parsed(bytes)?;
        if sums.format != "tinyops-statistics" || !Self::VERSIONS.contains(&sums.version) {
            return Err(RunError::Statistics(format!(
                "`{}` of version {} is not known",
                sums.format, sums.version
            )));
        }
        if sums.parts == 0 || sums.version < 3 && sums.parts != 1 {
            return Err(RunError::Statistics(format!(
                "a window in {} parts, in version {}",
                sums.parts, sums.version
            )));
        }
        let adds_up = |at: usize| {
            let value = |bucket: &Bucket| bucket.values.get(at).copied();
            let sum: Option<i64> = sums.buckets.iter().map(value).sum();
            sum == Some(sums.values[at])
        };
        let is_whole = sums.buckets.is_empty() || (0..sums.values.len()).all(adds_up);
        if !is_whole {
            return Err(RunError::Statistics(
                "the buckets do not add up to the sum".to_owned(),
            ));
        }
        Ok(sums)
    }

    /// The buckets, or the sum as the only one.
    fn statistics(self) -> Result<Vec<head::Statistics>, RunError> {
        let (class_count, width) = (self.class_count, self.width);
        let parts = if self.buckets.is_empty() {
            vec![self.values]
        } else {
            self.buckets
                .into_iter()
                .map(|bucket| bucket.values)
                .collect()
        };
        parts
            .into_iter()
            .map(|values| {
                head::Statistics::new(class_count, width, values)
                    .map_err(|error| RunError::Statistics(error.to_string()))
            })
            .collect()
    }
}

/// The share of the factory's windows that a new head must be right about: what the gate will ask for.
fn floor(project: &Project) -> f32 {
    match project.project.metric {
        Metric::Accuracy => project.project.threshold as f32,
        Metric::MacroF1 | Metric::Auc | Metric::Rmse => 0.0,
    }
}

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    parent: &Digest,
    statistics: &Digest,
    featurized: &Done,
) -> Result<Done, RunError> {
    let port = |name: &str, digest: &Digest| Port {
        name: name.to_owned(),
        digest: *digest,
    };
    let inputs = vec![
        port("parent", parent),
        port("statistics", statistics),
        featurized.port("features")?,
    ];
    let floor = floor(&bench.workshop.project);
    let model = bench.bytes(parent).await?;
    let sums = FleetSums::decode(&bench.bytes(statistics).await?)?;
    let features = bench.bytes(&featurized.output("features")?).await?;
    let work = move |_| {
        let model = read_model(&model)?;
        let set = FeatureSet::decode(&features)?;
        let factory = head::Embedded::of(&model, &set.train)?;
        let devices = sums.devices;
        let parts = sums.parts;
        let buckets = sums.statistics()?;
        let windows: i64 = buckets.iter().map(head::Statistics::total).sum();
        let windows = (windows as f64 / f64::from(parts)).round();
        let fleet = head::Fleet {
            buckets: &buckets,
            parts,
            projection: None,
        };
        // The gate asks of the windows for tests, which nothing may be chosen by.
        let held_out = match set.validation.count() {
            0 => None,
            _ => Some(head::Embedded::of(&model, &set.validation)?),
        };
        let held_out = held_out.as_ref().unwrap_or(&factory);
        let solved = head::solve(&model, fleet, &factory, held_out, floor)?;
        let [fleet_before, fleet_after] = solved.fleet_accuracy;
        let [factory_before, factory_after] = solved.factory_accuracy;
        let solver = serde_json::to_value(solved.solver).unwrap_or_default();
        Ok(Made {
            summary: format!(
                "{} from {windows} labelled windows of {devices} devices: expected on the fleet \
                 {fleet_before:.3} to {fleet_after:.3}, at the factory {factory_before:.3} to \
                 {factory_after:.3}",
                solver.as_str().unwrap_or("solved"),
            ),
            detail: serde_json::json!({
                "solver": solver,
                "factory_weight": solved.factory_weight,
                "old_share": solved.old_share,
                "devices": devices,
                "windows": windows,
                "buckets": buckets.len(),
                "buckets_dropped": solved.dropped,
                "below_floor": solved.below_floor,
                "floor": floor,
                "fleet_accuracy": solved.fleet_accuracy,
                "factory_accuracy": solved.factory_accuracy,
            }),
            outputs: vec![("model".to_owned(), solved.model.encode())],
        })
    };
    bench.step(StepName::Resolve, &floor, inputs, work).await
}

/// That there is a better head at all: the same one again repairs nothing, and must not be shipped as a repair.
pub(crate) fn gate(resolved: &Done) -> Gate {
    let detail = &resolved.detail;
    let is_new = detail["solver"] != "unchanged";
    let [before, after] = [0, 1].map(|at| detail["fleet_accuracy"][at].as_f64().unwrap_or(0.0));
    let below = detail["below_floor"].as_u64().unwrap_or(0);
    let reason = match (is_new, below) {
        (true, _) => format!("expected on the fleet {before:.4}, with the new head {after:.4}"),
        (false, 0) => format!("no head is better for the fleet than the old one, {before:.4}"),
        (false, _) => format!(
            "{below} heads are better for the fleet than {before:.4}, and all fall below {} on the factory's windows",
            detail["floor"]
        ),
    };
    Gate::new(GateName::Head, is_new, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_another_version_are_refused() {
        let text = |version: u32| {
            format!(
                r#"{{"format":"tinyops-statistics","version":{version},"model":"fan","class_count":2,
                   "width":1,"devices":7,"values":[3,-4]}}"#
            )
        };
        let sums = FleetSums::decode(text(1).as_bytes()).unwrap();
        assert_eq!((sums.class_count, sums.values), (2, vec![3, -4]));
        FleetSums::decode(text(4).as_bytes()).unwrap_err();
        FleetSums::decode(b"{}").unwrap_err();
        let in_parts = |version: u32, parts: u32| {
            text(version).replace("\"width\":1", &format!("\"width\":1,\"parts\":{parts}"))
        };
        let sums = FleetSums::decode(in_parts(3, 256).as_bytes()).unwrap();
        assert_eq!(sums.parts, 256);
        for (version, parts) in [(3, 0), (2, 256)] {
            let error = FleetSums::decode(in_parts(version, parts).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("parts"), "{error}");
        }
    }

    #[test]
    fn buckets_must_add_up() {
        let text = |buckets: &str| {
            format!(
                r#"{{"format":"tinyops-statistics","version":2,"class_count":2,"width":1,"devices":7,
                   "values":[3,1,-4,2,9],"buckets":{buckets}}}"#
            )
        };
        let whole = r#"[{"values":[1,1,0,2,4]},{"values":[2,0,-4,0,5]}]"#;
        let parts = FleetSums::decode(text(whole).as_bytes())
            .unwrap()
            .statistics()
            .unwrap();
        assert_eq!((parts.len(), parts[1].total()), (2, 2));
        for broken in [
            r#"[{"values":[1,1,0,2,4]},{"values":[2,0,-4,0,6]}]"#,
            r#"[{"values":[1,1,0,2,4]},{"values":[2,0,-4,0]}]"#,
        ] {
            let error = FleetSums::decode(text(broken).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("do not add up"), "{error}");
        }
    }
}
