//! The levels of repair, climbed from the one that costs nothing to a full retrain, each judged by labels that it has
//! not learnt from.
//!
//! Whoever climbs does not know what the next rung would have brought: a rung is tried when the one below was not good
//! enough, and what was tried is paid for, kept or not. Levels 1 and 3, and the verdict, are in this bench alone; what
//! the product does is `product.rs`.

use tinyops_device::restandard::{Moments, memory_len};
use tinyops_fleet::sums::Sums;
use tinyops_model::Model;
use tinyops_nn::head as own_head;
use tinyops_nn::statistics::ClassStatistics;
use tinyops_train::head::{self, Embedded, Fleet, Statistics};
use tinyops_train::{Features, Predictor, Target, Windows, embedding_distances};

use super::episodes::{BLEND, Case, ENVELOPE, Repaired, Tale, joined};
use super::rounds::{IN_PARTS, bucketed, in_wholes, plain_bytes};
use super::sets;

/// Windows that a device may be asked for at one drift.
const UPLOADS: usize = 8;
/// A level is kept from this gain on, in accuracy on labels that it has not seen.
const GAIN_MIN: f64 = 0.005;
/// A fleet is repaired when it is no further below what it was before the drift.
const REPAIRED_WITHIN: f64 = 0.02;

/// What a device does with a window before the model sees it, and after.
#[derive(Clone, Default)]
struct Adapted {
    moments: Option<(Moments, Vec<f32>)>,
    head: Option<Vec<f32>>,
}

/// What a device makes of windows.
pub(super) struct Seen {
    pub(super) features: Features,
    embedded: Embedded,
    pub(super) classes: Vec<usize>,
    pub(super) confidences: Vec<f32>,
    /// How far embeddings lie from the factory's; nothing where the model does not watch it.
    pub(super) distances: Option<Vec<f32>>,
}

/// A fleet whose devices run one model, each adapted in its own way.
#[derive(Clone)]
pub(super) struct State {
    pub(super) model: Model,
    adapted: Vec<Adapted>,
    /// Windows of the world that the model was trained in: the prior of what devices learn.
    prior: Windows,
}

/// One way to repair that was tried.
struct Rung {
    name: String,
    state: State,
    /// Accuracy on labels that it has not learnt from.
    verdict: f64,
    /// Bytes up of all devices that this rung took by itself.
    bytes: usize,
    /// Reports that it took.
    reports: u32,
}

/// The ways to repair one drift.
struct Ladder<'a> {
    case: &'a Case<'a>,
    /// What devices have labels of, and what the verdict has.
    fit: Vec<Windows>,
    verdict: Vec<Windows>,
    /// Bytes of the outcomes that a verdict comes from.
    outcomes: usize,
    tried: Vec<Rung>,
}

impl State {
    pub(super) fn new(model: Model, prior: &Windows, devices: usize) -> State {
        State {
            model,
            adapted: vec![Adapted::default(); devices],
            prior: prior.clone(),
        }
    }

    /// What a device makes of windows.
    pub(super) fn see(&self, device: usize, windows: &Windows) -> Result<Seen, String> {
        let told = |error: tinyops_train::TrainError| error.to_string();
        let mut features = sets::features(&self.model, windows)?;
        let adapted = &self.adapted[device];
        if let Some((moments, memory)) = &adapted.moments {
            let width = features.width();
            for row in features.values.chunks_exact_mut(width) {
                moments.apply(row, scaler(&self.model), memory, BLEND);
            }
        }
        let embedded = Embedded::of(&self.model, &features).map_err(told)?;
        let scores = Predictor::new(&self.model).map_err(told)?.score(&features);
        let given = |index: usize| scores.given(index, self.model.decision.threshold);
        let class = |index: usize| match &adapted.head {
            Some(head) => own_head::class_of(head, embedded.bytes(index), embedded.zero_point()),
            None => given(index),
        };
        let all = 0..features.count();
        let confidence = |index: usize| scores.row(index)[given(index)];
        let distances = embedding_distances(&self.model, &features).map_err(told)?;
        Ok(Seen {
            distances,
            classes: all.clone().map(class).collect(),
            confidences: all.map(confidence).collect(),
            features,
            embedded,
        })
    }

    /// Share of right answers, every window weighing the same.
    pub(super) fn accuracy(&self, windows: &[Windows]) -> Result<f64, String> {
        let (mut right, mut all) = (0, 0);
        for (device, windows) in windows.iter().enumerate() {
            let seen = self.see(device, windows)?;
            all += windows.count();
            right += (0..windows.count())
                .filter(|&at| windows.targets[at] == Target::Class(seen.classes[at] as u16))
                .count();
        }
        Ok(right as f64 / f64::from(all.max(1) as u32))
    }

    /// What every device makes of its windows.
    pub(super) fn see_all(&self, windows: &[Windows]) -> Result<Vec<Seen>, String> {
        let each = windows.iter().enumerate();
        each.map(|(device, windows)| self.see(device, windows))
            .collect()
    }

    /// Whether a device moves its features.
    pub(super) fn is_moved(&self, device: usize) -> bool {
        self.adapted[device].moments.is_some()
    }

    /// What the capsule brings of the factory's windows.
    pub(super) fn prior(&self) -> Result<Embedded, String> {
        self.embedded(&self.prior)
    }

    /// Windows of that world as the model's body embeds them.
    pub(super) fn embedded(&self, windows: &Windows) -> Result<Embedded, String> {
        let features = sets::features(&self.model, windows)?;
        Embedded::of(&self.model, &features).map_err(|error| error.to_string())
    }

    /// Level 0: every device moves its features half of the way back to training, by windows without labels.
    pub(super) fn standardised(&self, windows: &[Windows]) -> Result<State, String> {
        self.standardised_where(windows, |_| true)
    }

    /// As [`State::standardised`], of some devices.
    pub(super) fn standardised_where(
        &self,
        windows: &[Windows],
        is_meant: impl Fn(usize) -> bool,
    ) -> Result<State, String> {
        let mut state = self.clone();
        let each = state.adapted.iter_mut().zip(windows).enumerate();
        for (_, (adapted, windows)) in each.filter(|(device, _)| is_meant(*device)) {
            let features = sets::features(&self.model, windows)?;
            let mut memory = vec![0.0; memory_len(self.model.scaler.mean.len())];
            let mut moments = Moments::default();
            for index in 0..features.count() {
                moments.learn(features.row(0, index), scaler(&self.model), &mut memory);
            }
            *adapted = Adapted {
                moments: Some((moments, memory)),
                head: None,
            };
        }
        Ok(state)
    }

    /// Level 1: every device solves its own head from its own labels and the factory's sums.
    pub(super) fn personal(
        &self,
        windows: &[Windows],
        prior: &Statistics,
    ) -> Result<State, String> {
        let mut state = self.clone();
        let (classes, width) = (prior.class_count(), prior.embedding_len());
        for (device, own) in self.sums(windows)?.into_iter().enumerate() {
            // As the agent keeps them.
            let cells: Vec<i32> = own.values.iter().map(|&cell| cell as i32).collect();
            let own = ClassStatistics::<i32, _>::new(classes, width, cells)
                .map_err(|error| error.to_string())?;
            let mut work = vec![0.0; own_head::work_len(width)];
            let mut head = vec![0.0; own_head::head_len(classes, width)];
            let weights = own_head::Weights::default();
            own_head::solve(&own, prior, weights, &mut work, &mut head)
                .map_err(|error| error.to_string())?;
            state.adapted[device].head = Some(head);
        }
        Ok(state)
    }

    /// What each device has summed up.
    pub(super) fn sums(&self, windows: &[Windows]) -> Result<Vec<Sums>, String> {
        let each = windows.iter().enumerate().map(|(device, windows)| {
            let embedded = self.see(device, windows)?.embedded;
            let sums = embedded.statistics().map_err(|error| error.to_string())?;
            Ok(Sums {
                class_count: sums.class_count(),
                width: sums.embedding_len(),
                values: sums.cells().to_vec(),
            })
        });
        each.collect()
    }

    /// So many windows of each device at most, as far from each other as there are.
    ///
    /// # Source
    /// Gonzalez, 1985, "Clustering to minimize the maximum intercluster distance": the farthest is taken next.
    pub(super) fn farthest(
        &self,
        windows: &[Windows],
        count: usize,
    ) -> Result<Vec<Windows>, String> {
        let each = windows.iter().enumerate().map(|(device, windows)| {
            let embedded = self.see(device, windows)?.embedded;
            let row = |index: usize| embedded.values(index).map(f64::from);
            let distance = |a: usize, b: usize| -> f64 {
                row(a).zip(row(b)).map(|(x, y)| (x - y) * (x - y)).sum()
            };
            let mut chosen: Vec<usize> = vec![0];
            let all = 0..windows.count();
            let mut nearest: Vec<f64> = all.clone().map(|index| distance(index, 0)).collect();
            while chosen.len() < count.min(all.len()) {
                let by = |a: &usize, b: &usize| nearest[*a].total_cmp(&nearest[*b]);
                let Some(far) = all.clone().max_by(by) else {
                    break;
                };
                chosen.push(far);
                for (index, nearest) in nearest.iter_mut().enumerate() {
                    *nearest = nearest.min(distance(index, far));
                }
            }
            Ok(windows.select(&chosen))
        });
        each.collect()
    }
}

/// Mean and inverse deviation of each group of features.
fn scaler(model: &Model) -> impl ExactSizeIterator<Item = (f32, f32)> + '_ {
    let scaler = &model.scaler;
    scaler
        .mean
        .iter()
        .copied()
        .zip(scaler.inv_std.iter().copied())
}

/// Climbs until a rung is about as good as the fleet was before the drift, or the next one would break the budget.
pub(super) fn climb(case: &Case<'_>) -> Result<Option<Repaired>, String> {
    let parted = case.drift.learn.iter().enumerate();
    let (fit, verdict) = parted
        .map(|(device, own)| parted_labels(own, device))
        .unzip();
    let verdict: Vec<Windows> = verdict;
    let outcome_bytes = 3 + 2 * case.tale.classes.len() + ENVELOPE;
    let mut ladder = Ladder {
        case,
        outcomes: verdict.iter().map(|own| held(own) * outcome_bytes).sum(),
        fit,
        verdict,
        tried: Vec::new(),
    };
    ladder.climb()?;
    ladder.taken()
}

impl Ladder<'_> {
    fn climb(&mut self) -> Result<(), String> {
        let tale = self.case.tale;
        let as_it_is = self.case.state.clone();
        let moved = as_it_is.standardised(&self.fit)?;
        if !self.step("as it is".to_owned(), as_it_is.clone(), 0, 1)?
            || !self.step("level 0".to_owned(), moved.clone(), 0, 1)?
        {
            return Ok(());
        }
        let is_kept = self.tried[1].verdict >= self.tried[0].verdict + GAIN_MIN;
        let (base, said) = if is_kept {
            (moved, "level 0 + ")
        } else {
            (as_it_is, "level ")
        };
        if !self.heads(&base, said)? {
            return Ok(());
        }
        // A full retrain on a few windows of each device, sent with consent.
        let asked = base.farthest(&self.fit, UPLOADS)?;
        let sent: usize = asked.iter().map(|windows| tale.raw_bytes(windows)).sum();
        let sent = sent + ENVELOPE * asked.iter().map(Windows::count).sum::<usize>();
        let (model, prior) = retrained(tale, &base.prior, &asked)?;
        let body = State::new(model, &prior, self.fit.len());
        if self.step("level 3".to_owned(), body.clone(), sent, 3)? {
            self.heads(&body, "level 3 + ")?;
        }
        Ok(())
    }

    /// Heads over a body: of each device, of the fleet, and of each device over the fleet's; whether to climb on.
    fn heads(&mut self, base: &State, said: &str) -> Result<bool, String> {
        let told = |error: tinyops_train::TrainError| error.to_string();
        let factory = base.prior()?;
        let prior = factory.statistics().map_err(told)?;
        let personal = base.personal(&self.fit, &prior)?;
        if !self.step(format!("{said}1"), personal, 0, 1)? {
            return Ok(false);
        }
        let sums = base.sums(&self.fit)?;
        let buckets = bucketed(&sums, 1)?;
        let fleet = Fleet {
            buckets: &buckets,
            parts: IN_PARTS,
            projection: None,
        };
        let solved = head::solve(&base.model, fleet, &factory, &factory, 0.0).map_err(told)?;
        let mut repaired = base.clone();
        repaired.model = solved.model;
        let bytes = round_bytes(&sums)?;
        if !self.step(format!("{said}2"), repaired.clone(), bytes, 2)? {
            return Ok(false);
        }
        // The round's sums are the prior of the capsule that brings the new head.
        let mut prior = prior;
        prior
            .merge(&in_wholes(&buckets[0])?)
            .map_err(|error| error.to_string())?;
        let personal = repaired.personal(&self.fit, &prior)?;
        self.step(format!("{said}2 + 1"), personal, 0, 1)
    }

    /// Tries a rung that takes these bytes and reports beside its verdict's; whether there is reason and room for another.
    fn step(
        &mut self,
        name: String,
        state: State,
        bytes: usize,
        reports: u32,
    ) -> Result<bool, String> {
        let bytes = bytes + self.outcomes;
        let (spent, waited) = self.spent();
        if !self.case.fits(spent + bytes, waited + reports) {
            return Ok(false);
        }
        let verdict = state.accuracy(&self.verdict)?;
        self.tried.push(Rung {
            name,
            state,
            verdict,
            bytes,
            reports,
        });
        Ok(verdict < self.case.before - REPAIRED_WITHIN)
    }

    /// Bytes and reports of all that was tried.
    fn spent(&self) -> (usize, u32) {
        let bytes = self.tried.iter().map(|rung| rung.bytes).sum();
        (bytes, self.tried.iter().map(|rung| rung.reports).sum())
    }

    /// What the fleet keeps of it: a later rung where it gained on those before, at the cost of all.
    fn taken(self) -> Result<Option<Repaired>, String> {
        let (bytes, reports) = self.spent();
        let best = self
            .tried
            .iter()
            .enumerate()
            .reduce(|best, next| {
                if next.1.verdict >= best.1.verdict + GAIN_MIN {
                    next
                } else {
                    best
                }
            })
            .map(|(index, _)| index);
        for (index, rung) in self.tried.iter().enumerate() {
            eprintln!(
                "{}, {}: {} {:.3} on test, {:.3} on labels, {} bytes up of a device{}",
                self.case.name,
                self.case.drift.name,
                rung.name,
                rung.state.accuracy(&self.case.drift.test)?,
                rung.verdict,
                rung.bytes / self.fit.len(),
                if Some(index) == best { ", taken" } else { "" }
            );
        }
        let tried = self.tried.len();
        let rung = best.and_then(|index| self.tried.into_iter().nth(index));
        Ok(rung.map(|rung| Repaired {
            how: format!("{} of {tried} tried", rung.name),
            state: rung.state,
            bytes,
            reports,
        }))
    }
}

/// Bytes up of a round in the clear.
pub(super) fn round_bytes(sums: &[Sums]) -> Result<usize, String> {
    let parts: usize = sums.iter().map(plain_bytes).sum::<Result<_, _>>()?;
    Ok(parts + ENVELOPE * sums.len())
}

/// Labels that devices learn from, and a quarter that judges; which quarter differs by device.
///
/// Windows that overlap are judged in runs, and those that overlap one of them teach nothing.
fn parted_labels(windows: &Windows, device: usize) -> (Windows, Windows) {
    const RUN: usize = 8;
    let all = 0..windows.count();
    let overlap = |a: usize, b: usize| {
        let [a, b] = [a, b].map(|index| windows.origins[index]);
        a.recording == b.recording && a.start.abs_diff(b.start) < windows.window_len
    };
    let is_overlapping = all.clone().skip(1).any(|index| overlap(index - 1, index));
    let run = if is_overlapping { RUN } else { 1 };
    let judges = |index: &usize| (index / run + device) % 4 == 3;
    let verdict: Vec<usize> = all.clone().filter(judges).collect();
    let teaches = |index: &usize| !verdict.iter().any(|&other| overlap(*index, other));
    let fit: Vec<usize> = all.filter(teaches).collect();
    (windows.select(&fit), windows.select(&verdict))
}

/// A model trained again on windows of before and those that were sent, which weigh half as much together; and both.
fn retrained(tale: &Tale, before: &Windows, asked: &[Windows]) -> Result<(Model, Windows), String> {
    let [_, validation, test] = &tale.factory;
    let sent = joined(asked);
    let times = (before.count() / (2 * sent.count().max(1))).max(1);
    let mut parts = vec![before.clone()];
    parts.extend(std::iter::repeat_n(sent.clone(), times));
    let all = [joined(&parts), validation.clone(), test.clone()];
    let model = sets::trained(&tale.spec, &tale.classes, &all)?.0;
    Ok((model, joined(&[before.clone(), sent])))
}

/// Classes that windows are of.
fn held(windows: &Windows) -> usize {
    let classes = windows.targets.iter().filter_map(|target| match target {
        Target::Class(class) => Some(*class),
        Target::None | Target::Value(_) => None,
    });
    classes.collect::<std::collections::BTreeSet<_>>().len()
}
