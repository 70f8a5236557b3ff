//! Networks that were trained anew: real ones out of a repository's history, and weights that changed places.

use super::Row;
use super::peers::Peers;
use super::perturb::{Layers, Move};
use super::sizes::{KWS, NO_NETWORKS, Network, VWW, delta_bytes};
use crate::bench_device::grouped;
use std::path::PathBuf;
use std::process::Command;

/// The git directory of `mlcommons/tiny`, which is not ours to keep.
const HISTORY: &str = "TINYOPS_MLCOMMONS_TINY";

/// Name, and commit and path of the old network and of the new.
const PAIRS: [(&str, [(&str, &str); 2]); 5] = [
    (
        "streaming wake word 2024 → 2025, bytes",
        [
            (
                "0c6a990",
                "benchmark/training/streaming_wakeword/trained_models/strm_ww_int8.tflite",
            ),
            (
                "904de6f",
                "benchmark/training/streaming_wakeword/trained_models/str_ww_ref_model.tflite",
            ),
        ],
    ),
    (
        "audio wake word 2021-02 → keyword spotting 2021-04, bytes",
        [
            (
                "9d422ba",
                "v0.1/training/audio_wake_words/trained_models/aww_ref_model.tflite",
            ),
            (
                "cd9db70",
                "v0.1/training/keyword_spotting/trained_models/kws_ref_model.tflite",
            ),
        ],
    ),
    (
        "visual wake words 2020-09 → 11, bytes",
        [
            (
                "8077883",
                "v0.1/reference_submissions/person_detection/vww_96_int8.tflite",
            ),
            (
                "d783e1f",
                "v0.1/reference_submissions/person_detection/vww_96_int8.tflite",
            ),
        ],
    ),
    (
        "anomaly autoencoder, one week, bytes",
        [
            (
                "d3f2995",
                "v0.1/benchmarks/anomaly_detection/trained_models/ToyCar/baseline_tf23/model/model_ToyCar_quant_fullint_micro.tflite",
            ),
            (
                "b8dd2a2",
                "v0.1/benchmarks/anomaly_detection/trained_models/ToyCar/baseline_tf23/model/model_ToyCar_quant_fullint_micro.tflite",
            ),
        ],
    ),
    (
        "ResNet, other converter, bytes",
        [
            (
                "23c8b1f",
                "v0.1/benchmarks/image_classification/trained_models/pretrainedResnet_quant.tflite",
            ),
            (
                "3d8082f",
                "v0.1/training/image_classification/trained_models/pretrainedResnet_quant.tflite",
            ),
        ],
    ),
];

/// At most 0.95 of the least of xz of the new file and any patch that detools makes.
pub(super) fn retrained() -> Result<Vec<Row>, String> {
    let peers = Peers::find()?;
    let mut rows = Vec::new();
    for (name, file) in [
        ("KWS, weights drawn anew, bytes", KWS),
        ("VWW, weights drawn anew, bytes", VWW),
    ] {
        let Some(old) = Network::named(file)? else {
            return Ok(vec![Row::skipped("retrained networks", NO_NETWORKS)]);
        };
        let new = old.moved(Layers::All, Move::Shuffle, 1)?;
        rows.push(pair(&peers, name, &old, &new)?);
    }
    let Some(history) = std::env::var_os(HISTORY).map(PathBuf::from) else {
        let why = format!("{HISTORY} names no git directory of mlcommons/tiny");
        rows.push(Row::skipped("retrained networks of a repository", &why));
        return Ok(rows);
    };
    for (name, ends) in PAIRS {
        let [old, new] = ends.map(|(commit, path)| {
            let object = format!("{commit}:{path}");
            let mut git = Command::new("git");
            git.arg("--git-dir").arg(&history).args(["show", &object]);
            let output = git.output().map_err(|error| error.to_string())?;
            match output.status.success() {
                true => Network::of(output.stdout),
                false => Err(format!("git has no {object}")),
            }
        });
        rows.push(pair(&peers, name, &old?, &new?)?);
    }
    Ok(rows)
}

fn pair(peers: &Peers, name: &'static str, old: &Network, new: &Network) -> Result<Row, String> {
    let sizes = peers.sizes(&old.file, &new.file)?;
    let least = sizes.best().min(sizes.xz());
    let peer = format!("xz {}; {}", grouped(sizes.xz()), sizes.told());
    let own = delta_bytes(&old.image, &new.image)?;
    Ok(Row::at_most(name, Some(least * 95 / 100), own, peer))
}
