//! Compile: plan the arena, hold the result against the boards, write the payload of each capsule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tinyops_compile::{
    Band, Board, Boards, Compiled, Fit, GOLDEN_COUNT_MAX, Golden, Limits, compile, compile_with,
    fit, golden_count, golden_of, payload, spread_options,
};
use tinyops_data::window::Windowing;
use tinyops_model::Model;
use tinyops_store::step::Port;
use tinyops_train::{FeatureSet, Windows, golden, golden_again, head};

use crate::{
    BoardsSection, Gate, GateName, Package, RunError, StepName,
    bench::{Bench, Done, Made},
    flow::Origin,
    sensor::Contract,
    step::{
        evaluate::read_model,
        validate::{NamedSplit, parsed},
    },
};

/// What a model takes of one board.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoardFit {
    /// The board's id.
    pub board: String,
    /// Whether the project asks for this board.
    pub is_target: bool,
    /// Whether the model fits.
    pub fits: bool,
    /// Flash of two capsule slots, and what the board leaves for them.
    pub flash_bytes: u32,
    /// Flash that the board leaves.
    pub flash_free_bytes: u32,
    /// RAM of one prediction.
    pub ram_bytes: u32,
    /// RAM that the board leaves.
    pub ram_free_bytes: u32,
    /// Milliseconds of one prediction, typically.
    pub latency_ms: f64,
    /// The same, at best and at worst.
    pub latency_ms_band: [f64; 2],
    /// Millijoules of one prediction, typically.
    pub energy_mj: f64,
    /// The same, at best and at worst.
    pub energy_mj_band: [f64; 2],
    /// Everything that does not fit.
    pub reasons: Vec<String>,
}

impl BoardFit {
    fn of(fit: &Fit, is_target: bool) -> Self {
        let band = |band: Band| [band.low, band.high];
        Self {
            board: fit.board.clone(),
            is_target,
            fits: fit.fits(),
            flash_bytes: fit.flash_bytes,
            flash_free_bytes: fit.flash_free_bytes,
            ram_bytes: fit.ram_bytes,
            ram_free_bytes: fit.ram_free_bytes,
            latency_ms: fit.latency_ms.typical,
            latency_ms_band: band(fit.latency_ms),
            energy_mj: fit.energy_mj.typical,
            energy_mj_band: band(fit.energy_mj),
            reasons: fit.reasons.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What the compile step found, kept with its record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompileReport {
    /// Multiply-accumulate operations of one prediction.
    pub macs: u64,
    /// Bytes of the plan, or of the distances of a body without network.
    pub program_bytes: usize,
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// Bytes of the capsule's payload.
    pub payload_bytes: usize,
    /// Of them, what devices solve heads of their own from; 0 where they solve none.
    #[serde(default)]
    pub prior_bytes: usize,
    /// Values of the embedding, 0 of a model without.
    #[serde(default)]
    pub embedding_width: u32,
    /// Readings of a window, of all channels.
    #[serde(default)]
    pub window_readings: u32,
    /// The boards, targets first.
    #[serde(rename = "boards")]
    pub fits: Vec<BoardFit>,
}

impl CompileReport {
    /// The boards that get a capsule: those asked for, or all where none is, as far as the model fits.
    fn packaged(&self) -> impl Iterator<Item = &str> {
        let any = self.fits.iter().all(|fit| !fit.is_target);
        self.fits
            .iter()
            .filter(move |fit| fit.fits && (any || fit.is_target))
            .map(|fit| fit.board.as_str())
    }
}

/// Channels and rate of what a model reads.
pub(crate) fn shape_of(model: &Model) -> (u16, f32) {
    (model.front_end.channel_count, model.front_end.rate_hz)
}

/// What capsules of a model bring of its training windows, so that devices can solve heads of their own.
pub(crate) fn prior_of(model: &Model, set: &FeatureSet) -> Result<Vec<u8>, RunError> {
    let factory = head::Embedded::of(model, &set.train)?;
    Ok(head::prior(model, &factory)?)
}

/// A model as its capsules carry it. The payload is the same for every board, but for those whose RAM is in pieces that
/// the arena spreads over; who may install it, the manifest says.
pub(crate) struct Packed<'b> {
    compiled: Compiled,
    spread: BTreeMap<&'b str, Compiled>,
}

impl<'b> Packed<'b> {
    pub(crate) fn of(
        model: &Model,
        known: &'b Boards,
        contract: Option<&Contract<'_>>,
        prior: Option<&[u8]>,
    ) -> Result<Self, RunError> {
        let mut compiled = compile(model)?;
        let spread = known.iter().filter_map(|board| {
            let options = spread_options(&compiled, board)?;
            Some(compile_with(model, &options).map(|own| (board.id.as_str(), own)))
        });
        let mut spread: BTreeMap<&str, Compiled> = spread.collect::<Result<_, _>>()?;
        if let Some(contract) = contract {
            for compiled in spread.values_mut().chain([&mut compiled]) {
                compiled.with_contract(&contract.section())?;
            }
        }
        if let Some(prior) = prior {
            for compiled in spread.values_mut().chain([&mut compiled]) {
                compiled.with_prior(prior.to_vec())?;
            }
        }
        Ok(Self { compiled, spread })
    }

    /// The payload for one board.
    pub(crate) fn payload(
        &self,
        model: &Model,
        vectors: &[Golden],
        board: &str,
    ) -> Result<Vec<u8>, RunError> {
        let compiled = self.spread.get(board).unwrap_or(&self.compiled);
        Ok(payload(model, compiled, vectors)?)
    }
}

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    origin: &Origin,
    model: &Port,
) -> Result<(Done, CompileReport), RunError> {
    let project = bench.workshop.project.clone();
    let version = origin.ingested.output("dataset")?;
    let split = origin.validated.port("split")?;
    let mut inputs = vec![
        model.clone(),
        origin.ingested.port("dataset")?,
        split.clone(),
    ];
    inputs.extend(origin.held.clone());
    let features = match project.repair.personal_head {
        true => {
            let features = origin.featurized.port("features")?;
            let bytes = bench.bytes(&features.digest).await?;
            inputs.push(features);
            Some(bytes)
        }
        false => None,
    };
    let held = match &origin.held {
        Some(held) => Some(bench.bytes(&held.digest).await?),
        None => None,
    };
    let model = bench.bytes(&model.digest).await?;
    let split: NamedSplit = parsed(&bench.bytes(&split.digest).await?)?;
    let settings = (
        project.boards.clone(),
        project.known.added().to_vec(),
        project.data.window.clone(),
        project.sensor.clone(),
        GOLDEN_COUNT_MAX,
    );
    let work = {
        let shelf = origin.shelf.clone();
        move |_| {
            let model = read_model(&model)?;
            let dataset = shelf.dataset(&version)?;
            let windowing = Windowing::new(&project.data.window, dataset)?;
            let windows = Windows::cut(dataset, &split.in_dataset(dataset).test, &windowing)?;
            let contract = Contract::of(project.sensor.as_ref(), dataset, shape_of(&model));
            let prior = match &features {
                Some(features) => Some(prior_of(&model, &FeatureSet::decode(features)?)?),
                None => None,
            };
            let packed = Packed::of(&model, &project.known, contract.as_ref(), prior.as_deref())?;
            let compiled = &packed.compiled;
            let vectors = match held {
                // What devices hold has proven itself with these inputs.
                Some(held) => golden_again(&model, &golden_of(&held)?)?,
                None => golden(&model, &windows, golden_count(compiled) as usize)?,
            };
            let payload = payload(&model, compiled, &vectors)?;
            let mut baseline = vec![0; model.baseline.encoded_len()];
            let used = model
                .baseline
                .encode(&mut baseline)
                .map_err(|_| RunError::Missing {
                    what: "a baseline that encodes".to_owned(),
                })?;
            baseline.truncate(used);
            let report = CompileReport {
                macs: compiled.macs,
                program_bytes: compiled.program.len(),
                arena_bytes: compiled.arena_bytes,
                payload_bytes: payload.len(),
                prior_bytes: compiled.prior.len(),
                embedding_width: embedding_width(&model),
                window_readings: model.front_end.window_len
                    * u32::from(model.front_end.channel_count),
                fits: fits(&packed, &project.boards, &project.known),
            };
            let fitting = report.fits.iter().filter(|fit| fit.fits).count();
            let own_head = match report.prior_bytes {
                0 => String::new(),
                bytes => format!(
                    " (prior of devices' own heads {bytes} B, and {} B of their RAM)",
                    compiled.ram.own_head_bytes
                ),
            };
            let summary = format!(
                "program {} B, arena {} B, {} MACs, payload {} B{own_head}; fits {fitting} of {} boards",
                report.program_bytes,
                report.arena_bytes,
                report.macs,
                report.payload_bytes,
                report.fits.len()
            );
            let mut outputs = vec![
                ("program".to_owned(), compiled.program.clone()),
                ("baseline".to_owned(), baseline),
            ];
            for board in report.packaged() {
                if let Some(own) = packed.spread.get(board) {
                    outputs.push((format!("program/{board}"), own.program.clone()));
                }
                let payload = packed.payload(&model, &vectors, board)?;
                outputs.push((format!("payload/{board}"), payload));
            }
            Ok(Made {
                detail: serde_json::to_value(&report).expect("reports have string keys"),
                outputs,
                summary,
            })
        }
    };
    let done = bench
        .step(StepName::Compile, &settings, inputs, work)
        .await?;
    let report = CompileReport::deserialize(&done.detail).map_err(|source| RunError::Artifact {
        what: "compile report",
        source,
    })?;
    Ok((done, report))
}

/// Values of what the last layer of a model sees, as devices tell sums of it; 0 of one without.
fn embedding_width(model: &Model) -> u32 {
    let Some(graph) = model.body.graph() else {
        return 0;
    };
    let tensor = graph
        .embedding
        .and_then(|id| graph.tensors.get(id.0 as usize));
    tensor.map_or(0, |tensor| {
        tensor.shape.iter().copied().map(u32::from).product()
    })
}

fn fits(packed: &Packed<'_>, settings: &BoardsSection, known: &[Board]) -> Vec<BoardFit> {
    let limits = Limits {
        flash_bytes: settings.flash_bytes_max,
        ram_bytes: settings.ram_bytes_max,
        latency_ms: settings.latency_ms_max,
        energy_mj: settings.energy_mj_max,
    };
    let mut fits: Vec<BoardFit> = known
        .iter()
        .map(|board| {
            let is_target = settings.targets.contains(&board.id);
            let own = packed
                .spread
                .get(board.id.as_str())
                .unwrap_or(&packed.compiled);
            BoardFit::of(&fit(own, board, &limits), is_target)
        })
        .collect();
    fits.sort_by_key(|fit| !fit.is_target);
    fits
}

/// Each target must fit; without targets, one board at least.
pub(crate) fn gates(report: &CompileReport) -> Vec<Gate> {
    let targets: Vec<&BoardFit> = report.fits.iter().filter(|fit| fit.is_target).collect();
    let gate = |fit: &BoardFit| {
        let name = GateName::Fit {
            board: fit.board.clone(),
        };
        let reason = if fit.fits {
            format!(
                "RAM {} of {} B, flash {} of {} B, {:.1} ms",
                fit.ram_bytes,
                fit.ram_free_bytes,
                fit.flash_bytes,
                fit.flash_free_bytes,
                fit.latency_ms
            )
        } else {
            fit.reasons.join("; ")
        };
        Gate::new(name, fit.fits, reason)
    };
    if !targets.is_empty() {
        return targets.into_iter().map(gate).collect();
    }
    let fitting: Vec<&str> = report
        .fits
        .iter()
        .filter(|fit| fit.fits)
        .map(|fit| fit.board.as_str())
        .collect();
    let name = GateName::Fit {
        board: "any".to_owned(),
    };
    let reason = if fitting.is_empty() {
        "no board has room for it".to_owned()
    } else {
        format!("fits {}", fitting.join(", "))
    };
    vec![Gate::new(name, !fitting.is_empty(), reason)]
}

/// What fleets can sign: one package for each board that the model fits and the project asks for.
pub(crate) fn packages(compiled: &Done, report: &CompileReport) -> Result<Vec<Package>, RunError> {
    let baseline = compiled.output("baseline")?;
    report
        .packaged()
        .map(|board| {
            Ok(Package {
                board: board.to_owned(),
                payload: compiled.output(&format!("payload/{board}"))?,
                payload_bytes: u32::try_from(report.payload_bytes).unwrap_or(u32::MAX),
                plan: compiled
                    .output(&format!("program/{board}"))
                    .or_else(|_| compiled.output("program"))?,
                baseline,
                embedding_width: report.embedding_width,
                window_readings: report.window_readings,
            })
        })
        .collect()
}
