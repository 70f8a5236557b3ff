//! Resolve: a new head from the sums of a fleet's embeddings; the body stays as it is.

use tinyops_store::{Digest, step::Port};
use tinyops_train::{FeatureSet, head};

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made},
    step::evaluate::read_model,
};

/// The sums of a fleet's embeddings, as the operating loop keeps them.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | `TOPS` |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | classes |
/// | 6 | 2 | values of an embedding |
/// | 8 | 4 | devices in the sum |
/// | 12 | 8 each | counts, class sums, upper triangle of the Gram matrix row by row |
///
/// Little-endian, signed where cells are concerned.
#[derive(Debug, PartialEq)]
struct FleetSums {
    class_count: usize,
    width: usize,
    devices: u32,
    cells: Vec<i64>,
}

impl FleetSums {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, cells) = bytes.split_first_chunk::<12>()?;
        let [
            b'T',
            b'O',
            b'P',
            b'S',
            1,
            class_count,
            w0,
            w1,
            d0,
            d1,
            d2,
            d3,
        ] = *head
        else {
            return None;
        };
        let (cells, []) = cells.as_chunks::<8>() else {
            return None;
        };
        Some(Self {
            class_count: class_count.into(),
            width: u16::from_le_bytes([w0, w1]).into(),
            devices: u32::from_le_bytes([d0, d1, d2, d3]),
            cells: cells.iter().map(|cell| i64::from_le_bytes(*cell)).collect(),
        })
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
    let sums = FleetSums::decode(&bench.bytes(statistics).await?)
        .ok_or_else(|| RunError::Statistics("the artifact holds no sums".to_owned()))?;
    let features = bench.bytes(&featurized.output("features")?).await?;
    let work = move |_| {
        let model = read_model(&model)?;
        let set = FeatureSet::decode(&features)?;
        let factory = head::statistics(&model, &set.train)?;
        let devices = sums.devices;
        let fleet = head::Statistics::new(sums.class_count, sums.width, sums.cells)
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
    fn sums_are_read_strictly() {
        let mut bytes = b"TOPS\x01\x02\x01\x00\x07\x00\x00\x00".to_vec();
        bytes.extend((-3i64).to_le_bytes());
        let sums = FleetSums {
            class_count: 2,
            width: 1,
            devices: 7,
            cells: vec![-3],
        };
        assert_eq!(FleetSums::decode(&bytes), Some(sums));
        for len in 0..bytes.len() {
            // Twelve bytes are a head without cells, which the solver refuses by their number.
            assert_eq!(
                FleetSums::decode(&bytes[..len]).is_some(),
                len == 12,
                "{len}"
            );
        }
    }
}
