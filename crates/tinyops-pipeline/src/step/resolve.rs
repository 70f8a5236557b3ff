//! Resolve: a new head from the sums of a fleet's embeddings; the body stays as it is.

use serde::Deserialize;
use tinyops_store::{Digest, step::Port};
use tinyops_train::{FeatureSet, head};

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made},
    step::{evaluate::read_model, validate::parsed},
};

/// The sums of a fleet's embeddings, as the operating loop keeps them (`"tinyops-statistics"`, version 1).
#[derive(Debug, Deserialize, PartialEq)]
struct FleetSums {
    format: String,
    version: u32,
    class_count: usize,
    /// Values of one embedding.
    width: usize,
    /// Devices in the sum.
    devices: u32,
    /// Counts, class sums, upper triangle of the Gram matrix row by row.
    values: Vec<i64>,
}

impl FleetSums {
    fn decode(bytes: &[u8]) -> Result<Self, RunError> {
        let sums: Self = parsed(bytes)?;
        if sums.format == "tinyops-statistics" && sums.version == 1 {
            Ok(sums)
        } else {
            Err(RunError::Statistics(format!(
                "`{}` of version {} is not known",
                sums.format, sums.version
            )))
        }
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
    let model = bench.bytes(parent).await?;
    let sums = FleetSums::decode(&bench.bytes(statistics).await?)?;
    let features = bench.bytes(&featurized.output("features")?).await?;
    let work = move |_| {
        let model = read_model(&model)?;
        let set = FeatureSet::decode(&features)?;
        let factory = head::statistics(&model, &set.train)?;
        let devices = sums.devices;
        let fleet = head::Statistics::new(sums.class_count, sums.width, sums.values)
            .map_err(|error| RunError::Statistics(error.to_string()))?;
        let windows = fleet.total();
        let solved = head::solve(&model, &fleet, &factory)?;
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
                "devices": devices,
                "windows": windows,
                "fleet_accuracy": solved.fleet_accuracy,
                "factory_accuracy": solved.factory_accuracy,
            }),
            outputs: vec![("model".to_owned(), solved.model.encode())],
        })
    };
    bench.step(StepName::Resolve, &(), inputs, work).await
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
        FleetSums::decode(text(2).as_bytes()).unwrap_err();
        FleetSums::decode(b"{}").unwrap_err();
    }
}
