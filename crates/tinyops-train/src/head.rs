//! A new last layer from sums that a fleet sends: no window leaves a device.
//!
//! Devices add up the embeddings of labelled windows ([`ClassStatistics`]). From these sums alone the
//! server solves for new head weights in closed form, three ways, and takes the one that tells the
//! fleet's classes apart best; body, scales before the head, labels and thresholds stay as they are.
//!
//! Where the sums come in buckets of devices, a bucket that fails the factory-data check is left out, and
//! a head is judged by the buckets that it was not solved from. A head that falls below a floor on the
//! factory's windows is not taken. Of two classes with a threshold every head is judged by the answers that devices give
//! with it, which hold the share of the second against the threshold.
//!
//! How much of what the old head says is kept beside it is judged by the factory's windows, moved to where the fleet's
//! sums say that its own lie.
//!
//! [`ClassStatistics`]: tinyops_nn::statistics::ClassStatistics

mod buckets;
mod embedded;
mod linear;
mod moved;
mod place;
mod projection;
mod sums;

use tinyops_model::Model;
use tinyops_nn::head::Prior;
use tinyops_nn::statistics::{ClassStatistics, cell_count};

pub use self::embedded::Embedded;
pub use self::projection::Projection;

use self::linear::Linear;
use self::moved::{Moved, Scatter};
use self::place::Head;
use self::sums::Sums;
use crate::TrainError;
use crate::codec::{CodecError, Reader, Writer};

/// Statistics that hold any number of windows.
pub type Statistics = ClassStatistics<i64, Vec<i64>>;

/// How a head was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Solver {
    /// The head as it was: nothing better was found.
    Unchanged,
    /// Linear discriminant analysis.
    Lda,
    /// Least squares onto the classes, with ridge.
    Ridge,
    /// Nearest class mean.
    ClassMeans,
}

/// What a fleet has sent.
#[derive(Clone, Copy, Debug)]
pub struct Fleet<'a> {
    /// Sums of disjoint sets of devices; one where there are no buckets.
    pub buckets: &'a [Statistics],
    /// Parts that a window is counted in: 1 where the sums are those of whole windows.
    pub parts: u32,
    /// What narrowed the embeddings before they were summed, if anything did.
    pub projection: Option<&'a Projection>,
}

/// A solved head and what is expected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// The model with its new head.
    pub model: Model,
    /// How the head was found.
    pub solver: Solver,
    /// Weight of the factory's windows against the fleet's.
    pub factory_weight: f32,
    /// How much of the old head's log odds is added to its own; 0 where it is of sums alone.
    pub old_share: f32,
    /// Expected accuracy of the old and the new head on what the fleet saw, classes weighing the same.
    pub fleet_accuracy: [f32; 2],
    /// Accuracy of the old and the new head on the factory's windows that were held out.
    pub factory_accuracy: [f32; 2],
    /// Buckets that failed the factory-data check, by index; nothing of them is in the head.
    pub dropped: Vec<usize>,
    /// Heads that were better for the fleet and fell below the floor on the factory's windows.
    pub below_floor: u32,
}

/// A class counts as seen by the fleet from so many windows on.
const SEEN: f64 = 5.0;
/// Weights of the factory's windows that are tried, against as many windows of the fleet.
const FACTORY_WEIGHTS: [f64; 4] = [0.0, 0.25, 1.0, 4.0];
/// Shares of the old head's log odds that are added to those of a discriminant. What the fleet has told says where classes
/// lie now; the old head was trained on far more windows, and tells of what sums cannot say.
const OLD_SHARES: [f64; 3] = [0.5, 1.0, 2.0];
/// What a share must gain on windows that were moved: they are the factory's, and might flatter its head.
const SHARE_GAIN_MIN: f64 = 0.01;
/// Parts that buckets are held out in where windows are moved: of more, each would have too few windows to say how they
/// scatter.
const FOLDS_MAX: usize = 4;
/// Expected accuracies closer than this are even; the factory's decides then.
const EVEN: f64 = 0.003;
/// The three ways to a head.
const SOLVERS: [Solver; 3] = [Solver::Lda, Solver::Ridge, Solver::ClassMeans];

/// Bytes of statistics, as [`decode`] reads them back.
pub fn encode(statistics: &Statistics) -> Vec<u8> {
    let mut out = Writer::new(MARK);
    out.len(statistics.class_count());
    out.len(statistics.embedding_len());
    statistics
        .cells()
        .iter()
        .for_each(|&cell| out.u64(cell as u64));
    out.0
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`CodecError`] for any other bytes, and for sums that no windows can have.
pub fn decode(bytes: &[u8]) -> Result<Statistics, CodecError> {
    let mut from = Reader::new(MARK, "class statistics", bytes)?;
    let (classes, width) = (from.size()?, from.size()?);
    if classes > 1 << 12 || width > 1 << 12 {
        return Err(from.wrong());
    }
    let mut cells = Vec::new();
    for _ in 0..cell_count(classes, width) {
        cells.push(from.u64()? as i64);
    }
    let wrong = from.wrong();
    from.finish()?;
    let statistics = Statistics::new(classes, width, cells).map_err(|_| wrong)?;
    if statistics.is_plausible() {
        Ok(statistics)
    } else {
        Err(wrong)
    }
}

const MARK: [u8; 8] = *b"TOSTATS1";

/// Solves for a new head; the same sums give the same bytes.
///
/// `factory` are the windows that the model was trained on. `floor` is the least share that a new head must be right about,
/// where the old one was, of windows that were `held_out` of them: of those that it was trained on the old head knows more
/// than any gate will find. They are the same where none were.
///
/// # Errors
/// [`TrainError::Mismatch`] where the statistics are not of this model, or of no window.
pub fn solve(
    model: &Model,
    fleet: Fleet<'_>,
    factory: &Embedded,
    held_out: &Embedded,
    floor: f32,
) -> Result<Solved, TrainError> {
    let head = Head::of(model)?;
    let old = head.read(model)?;
    let wide = factory.statistics()?;
    let Candidates {
        buckets,
        factory: sums,
        projection,
    } = Candidates::check(&old, fleet, &wide)?;
    let passed = buckets::sound(&buckets, &sums, factory, projection, old.ahead);
    let kept: Vec<&Sums> = (0..buckets.len())
        .filter(|&at| passed[at])
        .map(|at| &buckets[at])
        .collect();
    let dropped = (0..buckets.len()).filter(|&at| !passed[at]).collect();
    let mut whole = Sums::none(sums.classes, sums.width);
    kept.iter().for_each(|bucket| whole.accumulate(bucket, 1.0));
    let all = whole.clone().definite();
    if all.total() + sums.total() < 1.0 {
        return Err(TrainError::Mismatch("the statistics hold no window".into()));
    }
    // Every head is judged by the answers that a device would give with it.
    let as_given = |fleet: &Sums, head: Linear| fleet.mixed(&sums, 1.0).deciding(head, old.ahead);
    let at_factory = |head: &Linear| head.accuracy(held_out).map_or(0.0, |found| found.plain);
    let narrowed = projection.map_or_else(|| old.clone(), |projection| old.narrowed(projection));
    let folds = folds(&kept, &whole);
    let judged = |head: &dyn Fn(&Sums) -> Option<Linear>| expected(&folds, head);
    let before = judged(&|_| Some(narrowed.clone())).unwrap_or(0.0);
    let before = (before, at_factory(&old));
    let mut best = (Solver::Unchanged, 0.0, None, before);
    let mut below_floor = 0;
    for weight in FACTORY_WEIGHTS {
        for solver in SOLVERS {
            let Some(solved) = solver.head(&all, &sums, weight) else {
                continue;
            };
            let head = |fleet: &Sums| {
                // A class that only this bucket has seen is the factory's for the others.
                let head = solver.head(fleet, &sums, weight);
                let head = head.or_else(|| solver.head(fleet, &sums, TRACE))?;
                Some(as_given(fleet, head))
            };
            let Some(expected) = judged(&head) else {
                continue;
            };
            let given = as_given(&all, solved.clone());
            let here = (expected, at_factory(&given.lifted(projection)));
            let is_better =
                here.0 > best.3.0 + EVEN || (here.0 > best.3.0 - EVEN && here.1 > best.3.1 + EVEN);
            if is_better && here.1 < f64::from(floor).min(before.1) {
                below_floor += 1;
            } else if is_better {
                best = (solver, weight, Some(solved), here);
            }
        }
    }
    let (solver, weight, mut chosen, mut after) = best;
    let mut old_share = 0.0;
    let plain = chosen.clone().filter(|_| solver == Solver::Lda);
    let scatter = Scatter::of(factory, &sums, projection);
    if let (Some(plain), Some(scatter)) = (plain, scatter) {
        let held_out = judging(&kept, &whole, &scatter);
        let head = |fleet: &Sums, share: f64| {
            let head = solver.head(fleet, &sums, weight);
            let head = head.or_else(|| solver.head(fleet, &sums, TRACE))?;
            Some(as_given(fleet, head.blended(&narrowed, share)))
        };
        let floor = f64::from(floor).min(before.1);
        for (share, gain) in gains(&held_out, head) {
            let blended = plain.clone().blended(&narrowed, share);
            let given = as_given(&all, blended.clone());
            let factory = at_factory(&given.lifted(projection));
            if factory >= floor {
                (old_share, chosen) = (share, Some(blended));
                after = ((after.0 + gain).min(1.0), factory);
                break;
            }
        }
    }
    let mut solved = model.clone();
    if let Some(mut chosen) = chosen {
        let seen = all.mixed(&sums, 1.0);
        seen.temper(&mut chosen);
        let range = seen.logit_range(&chosen);
        head.write(&mut solved, &chosen.lifted(projection), range)?;
        // What was measured of the old head's answers is not so of these.
        solved.baseline = solved
            .baseline
            .with_calibration(None)
            .expect("none is sound");
    }
    Ok(Solved {
        model: solved,
        solver,
        factory_weight: weight as f32,
        old_share: old_share as f32,
        fleet_accuracy: [before.0 as f32, after.0 as f32],
        factory_accuracy: [before.1 as f32, after.1 as f32],
        dropped,
        below_floor,
    })
}

/// Counts and class sums without a Gram matrix, completed: windows are taken to scatter around their classes' means as
/// other windows do. `None` where the two are not of one shape, or the others of no window.
///
/// No round takes sums without a Gram matrix yet: `cargo xtask bench listen heads` measures what they would be worth.
///
/// # Source
/// What the design notes call prototypes with the factory's covariance: "Privacy and monitoring", section 4.1.
pub fn with_scatter_of(prototypes: &Statistics, others: &Statistics) -> Option<Statistics> {
    let (classes, width) = (prototypes.class_count(), prototypes.embedding_len());
    if (classes, width) != (others.class_count(), others.embedding_len()) || others.total() < 1 {
        return None;
    }
    let (own, others) = (Sums::of(prototypes), Sums::of(others));
    let within = others.within();
    let mut cells = prototypes.cells()[..classes * (1 + width)].to_vec();
    for row in 0..width {
        for column in row..width {
            let between: f64 = (0..classes)
                .filter(|&class| own.counts[class] > 0.0)
                .map(|class| {
                    let sum = |at: usize| own.sums[class * width + at];
                    sum(row) * sum(column) / own.counts[class]
                })
                .sum();
            let scatter = own.total() * within[row * width + column];
            cells.push((between + scatter).round() as i64);
        }
    }
    Statistics::new(classes, width, cells).ok()
}

/// Weights, `[class, value]`, and biases of the discriminant that sums lead to; `None` where a class has no window.
///
/// What [`solve`] does with them before it chooses and rounds: `cargo xtask bench listen exact` holds it against windows
/// at one place.
pub fn discriminant(statistics: &Statistics) -> Option<(Vec<f64>, Vec<f64>)> {
    let head = Sums::of(statistics).lda()?;
    Some((head.weights, head.bias))
}

/// What a capsule of the model brings of the factory's windows, so that devices can solve heads of their own: section
/// PRIOR of its payload.
///
/// # Errors
/// [`TrainError::Mismatch`] where the model has no embedding, or the windows say nothing of it.
pub fn prior(model: &Model, factory: &Embedded) -> Result<Vec<u8>, TrainError> {
    let mismatch = |what: &str| TrainError::Mismatch(what.to_owned());
    let embedding = tinyops_compile::embedding_digest(model)
        .ok_or_else(|| mismatch("the model has no embedding that devices could learn from"))?;
    let sums = factory.statistics()?;
    let mut out = vec![0; Prior::encoded_len(sums.class_count(), sums.embedding_len())];
    Prior::encode(&sums, embedding, &mut out).map_err(|error| {
        TrainError::Mismatch(format!("no prior for heads of devices' own: {error}"))
    })?;
    Ok(out)
}

/// Weights and biases of a model's head over embeddings `q - zero_point`.
///
/// # Shapes
/// The weights are `[class, value]`.
///
/// # Errors
/// [`TrainError::Mismatch`] where the model has no int8 head.
pub fn weights_of(model: &Model) -> Result<(Vec<f64>, Vec<f64>), TrainError> {
    let head = Head::of(model)?.read(model)?;
    Ok((head.weights, head.bias))
}

/// Sums that fit the head and each other.
struct Candidates<'a> {
    buckets: Vec<Sums>,
    factory: Sums,
    projection: Option<&'a Projection>,
}

impl<'a> Candidates<'a> {
    fn check(old: &Linear, fleet: Fleet<'a>, factory: &Statistics) -> Result<Self, TrainError> {
        let mismatch = |what: String| Err(TrainError::Mismatch(what));
        if fleet.buckets.is_empty() {
            return mismatch("the fleet has sent no statistics".to_owned());
        }
        let narrow = fleet.projection.map_or(old.width, Projection::narrow);
        let projected = fleet.projection.map(|projection| projection.apply(factory));
        let factory = match projected {
            Some(None) => {
                return mismatch(format!(
                    "a projection of {} values, a head of {}",
                    fleet.projection.map_or(0, Projection::wide),
                    old.width
                ));
            }
            Some(Some(narrow)) => Sums::of(&narrow),
            None => Sums::of(factory),
        };
        for sums in fleet.buckets {
            if sums.class_count() != old.classes() || sums.embedding_len() != narrow {
                return mismatch(format!(
                    "statistics of {} classes and {} values, a head of {} and {narrow}",
                    sums.class_count(),
                    sums.embedding_len(),
                    old.classes(),
                ));
            }
        }
        Ok(Self {
            buckets: fleet
                .buckets
                .iter()
                .map(|sums| Sums::of(sums).in_wholes(fleet.parts))
                .collect(),
            factory,
            projection: fleet.projection,
        })
    }
}

impl Solver {
    /// The head of the fleet's sums, with the factory's at this weight; `None` where a class would have none.
    fn head(self, fleet: &Sums, factory: &Sums, weight: f64) -> Option<Linear> {
        // Without the factory, a class that the fleet hardly saw could not be answered any more.
        let everywhere = (0..fleet.classes).all(|class| fleet.counts[class] >= SEEN);
        if (weight == 0.0 && !everywhere) || (weight > 0.0 && factory.total() < 1.0) {
            return None;
        }
        let mixed = fleet.mixed(factory, weight);
        match self {
            Solver::Unchanged => None,
            Solver::Lda => mixed.lda(),
            Solver::Ridge => mixed.ridge(),
            Solver::ClassMeans => mixed.class_means(),
        }
    }
}

/// Sums that a head is solved from, and those that judge it.
struct Fold {
    solves: Sums,
    judges: Sums,
}

/// Each bucket, and what the others come to together; a lone bucket judges what it led to itself.
fn folds(kept: &[&Sums], whole: &Sums) -> Vec<Fold> {
    let fold = |bucket: &&Sums| {
        let mut solves = whole.clone();
        if kept.len() > 1 {
            solves.accumulate(bucket, -1.0);
        }
        Fold {
            solves: solves.definite(),
            judges: (*bucket).clone().definite(),
        }
    };
    kept.iter().map(fold).collect()
}

/// What buckets expect of the heads that the others lead to, by windows.
///
/// `head` is told the sums that it is to be solved from. `None` where some of them lead to none: two heads are held
/// against each other over the same windows or not at all.
fn expected(folds: &[Fold], head: impl Fn(&Sums) -> Option<Linear>) -> Option<f64> {
    let (mut sum, mut windows) = (0.0, 0.0);
    for Fold { solves, judges } in folds {
        sum += judges.total() * judges.expected_accuracy(&head(solves)?);
        windows += judges.total();
    }
    Some(sum / f64::max(windows, 1.0))
}

/// Sums that a head is solved from, and windows that lie where others do, which judge it.
struct Part {
    solves: Sums,
    judges: Moved,
    /// Windows of the sums that the judging ones were moved to.
    windows: f64,
}

/// Some of the buckets, and what the others come to together; a lone bucket judges what it led to itself. Buckets whose
/// windows do not say how they scatter judge nothing.
fn judging(kept: &[&Sums], whole: &Sums, scatter: &Scatter) -> Vec<Part> {
    let count = kept.len().min(FOLDS_MAX);
    let part = |first: usize| {
        let mut own = Sums::none(whole.classes, whole.width);
        let of_it = kept.iter().skip(first).step_by(count);
        of_it.for_each(|bucket| own.accumulate(bucket, 1.0));
        let mut solves = whole.clone();
        if count > 1 {
            solves.accumulate(&own, -1.0);
        }
        let windows = own.total();
        Some(Part {
            solves: solves.definite(),
            judges: scatter.moved(&own.definite())?,
            windows,
        })
    };
    (0..count).filter_map(part).collect()
}

/// Shares of the old head's log odds that windows which were moved say to gain on none, and how much; the most first.
///
/// `head` is told the sums that it is to be solved from, and the share.
fn gains(held_out: &[Part], head: impl Fn(&Sums, f64) -> Option<Linear>) -> Vec<(f64, f64)> {
    let of = |share: f64| moved_accuracy(held_out, |fleet| head(fleet, share));
    let Some(alone) = of(0.0) else {
        return Vec::new();
    };
    let gain = |share: f64| Some((share, of(share)? - alone));
    let mut gains: Vec<(f64, f64)> = OLD_SHARES.into_iter().filter_map(gain).collect();
    gains.retain(|(_, gain)| *gain >= SHARE_GAIN_MIN);
    // Of equals the smaller share stands first.
    gains.sort_by(|a, b| b.1.total_cmp(&a.1));
    gains
}

/// What heads make of windows that were moved, by the windows of the sums that they were moved to; `None` where some sums
/// lead to no head, or nothing judges.
fn moved_accuracy(parts: &[Part], head: impl Fn(&Sums) -> Option<Linear>) -> Option<f64> {
    let (mut sum, mut all) = (0.0, 0.0);
    for part in parts {
        sum += part.windows * part.judges.accuracy(&head(&part.solves)?);
        all += part.windows;
    }
    (all > 0.0).then(|| sum / all)
}

/// A weight of the factory's windows that says where its classes lie, and no more.
const TRACE: f64 = 1e-4;

#[cfg(test)]
mod tests;
