//! Bytes of deltas and of packed images, on the MLPerf Tiny networks.

use super::Row;
use super::peers::{Peers, Sizes};
use super::perturb::{Layers, Move, successor};
use crate::bench_device::{grouped, networks};
use tinyops_compile::{DELTA_EXCESS_MAX, compile, compile_graph, delta, model_of, payload};
use tinyops_model::graph::Graph;
use tinyops_model::tflite::import;
use tinyops_wire::delta::apply;
use tinyops_wire::payload::{self as wire_payload, SectionId};

/// Each figure is the worst of as many perturbations.
const SEEDS: [u64; 3] = [1, 2, 3];

/// A network as its file and as what devices get of it, without golden vectors.
pub(super) struct Network {
    pub(super) file: Vec<u8>,
    graph: Graph,
    pub(super) image: Vec<u8>,
}

impl Network {
    /// Reads and compiles a `.tflite` file.
    pub(super) fn of(file: Vec<u8>) -> Result<Network, String> {
        let graph = import(&file).map_err(|error| error.to_string())?;
        let image = model_of("network", graph.clone()).ok().and_then(|model| {
            let compiled = compile(&model).ok()?;
            payload(&model, &compiled, &[]).ok()
        });
        // Without labels where a network has more outputs than a capsule has names.
        let image = match image {
            Some(image) => image,
            None => {
                let compiled = compile_graph(&graph, false).map_err(|error| error.to_string())?;
                let sections = [(SectionId::Program, &compiled.program[..])];
                let lens = sections.iter().map(|(_, bytes)| bytes.len());
                let mut image = vec![0; wire_payload::encoded_len(lens)];
                wire_payload::encode(&sections, &mut image).map_err(|error| error.to_string())?;
                image
            }
        };
        Ok(Network { file, graph, image })
    }

    /// One of the reference networks; `None` where the data are not here.
    pub(super) fn named(name: &str) -> Result<Option<Network>, String> {
        let path = networks().join(name);
        if !networks().is_dir() {
            return Ok(None);
        }
        let file = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Network::of(file).map(Some)
    }

    pub(super) fn moved(&self, layers: Layers, by: Move, seed: u64) -> Result<Network, String> {
        Network::of(successor(&self.file, &self.graph, layers, by, seed)?)
    }
}

/// The bytes of the delta, after it was decoded and held against the new image.
pub(super) fn delta_bytes(old: &[u8], new: &[u8]) -> Result<u64, String> {
    let delta = delta(old, new).map_err(|error| error.to_string())?;
    let mut made = vec![0; new.len()];
    apply(&delta, old, &mut made).map_err(|error| format!("a delta does not decode: {error}"))?;
    if made != new || delta.len() > new.len() + DELTA_EXCESS_MAX {
        return Err("a delta makes another image, or is larger than the whole one".to_owned());
    }
    Ok(delta.len() as u64)
}

/// The reference network that recognises words.
pub(super) const KWS: &str = "kws_ref_model.tflite";
/// The one that sees people.
pub(super) const VWW: &str = "vww_96_int8.tflite";

/// Why the measurements of the reference networks are skipped.
pub(super) const NO_NETWORKS: &str = "the reference networks are not here; set TINYOPS_DATA";

/// KWS with every weight moved by a share of its channel's deviation at the same scales.
pub(super) fn all_weights() -> Result<Vec<Row>, String> {
    let Some(kws) = Network::named(KWS)? else {
        return Ok(vec![Row::skipped("delta of KWS", NO_NETWORKS)]);
    };
    let peers = Peers::find()?;
    let mut rows = Vec::new();
    for (name, share, most) in [
        ("delta of KWS, all weights, 0.5 %, bytes", 0.005, None),
        ("delta of KWS, all weights, 1 %, bytes", 0.01, Some(4800)),
        ("delta of KWS, all weights, 2 %, bytes", 0.02, None),
        ("delta of KWS, all weights, 5 %, bytes", 0.05, None),
    ] {
        let (mut own, mut told) = (0, String::new());
        for seed in SEEDS {
            let new = kws.moved(Layers::All, Move::Step(share), seed)?;
            let bytes = delta_bytes(&kws.image, &new.image)?;
            if bytes > own {
                own = bytes;
                told = peers.sizes(&kws.file, &new.file)?.told();
            }
        }
        rows.push(Row::at_most(name, most, own, told));
    }
    Ok(rows)
}

/// Only the last layer moved: at most 0.9 of the best that detools makes of it.
pub(super) fn last_layer() -> Result<Vec<Row>, String> {
    let peers = Peers::find()?;
    let mut rows = Vec::new();
    for (file, name, share) in [
        (KWS, "delta of KWS, last layer, 1 %, bytes", 0.01),
        (KWS, "delta of KWS, last layer, 10 %, bytes", 0.1),
        (KWS, "delta of KWS, last layer, 100 %, bytes", 1.0),
        (VWW, "delta of VWW, last layer, 1 %, bytes", 0.01),
        (VWW, "delta of VWW, last layer, 10 %, bytes", 0.1),
        (VWW, "delta of VWW, last layer, 100 %, bytes", 1.0),
    ] {
        let Some(network) = Network::named(file)? else {
            return Ok(vec![Row::skipped("delta of a last layer", NO_NETWORKS)]);
        };
        let mut worst: Option<(u64, Sizes)> = None;
        for seed in SEEDS {
            let new = network.moved(Layers::Last, Move::Step(share), seed)?;
            let own = delta_bytes(&network.image, &new.image)?;
            let sizes = peers.sizes(&network.file, &new.file)?;
            let is_worse = |(most, of): &(u64, Sizes)| own * of.best() > most * sizes.best();
            if worst.as_ref().is_none_or(is_worse) {
                worst = Some((own, sizes));
            }
        }
        let (own, sizes) = worst.ok_or("no seed")?;
        let most = Some(sizes.best() * 9 / 10);
        rows.push(Row::at_most(name, most, own, sizes.told()));
    }
    Ok(rows)
}

/// A network alone, packed, against its file compressed.
pub(super) fn full() -> Result<Vec<Row>, String> {
    let peers = Peers::find()?;
    let mut rows = Vec::new();
    for (name, file, most) in [
        ("KWS packed, bytes", KWS, Some(26_200)),
        ("VWW packed, bytes", VWW, Some(60_000)),
        (
            "ResNet packed, bytes",
            "pretrainedResnet_quant.tflite",
            None,
        ),
        ("AD packed, bytes", "ad01_int8.tflite", None),
        ("SWW packed, bytes", "str_ww_ref_model.tflite", None),
    ] {
        let Some(network) = Network::named(file)? else {
            return Ok(vec![Row::skipped("packed networks", NO_NETWORKS)]);
        };
        let image = grouped(network.image.len() as u64);
        let xz = grouped(peers.xz(&network.file)?);
        let peer = format!("xz of the file {xz}; image {image}");
        let own = delta_bytes(&[], &network.image)?;
        rows.push(Row::at_most(name, most, own, peer));
    }
    Ok(rows)
}
