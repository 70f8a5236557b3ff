//! A new last layer from sums that a fleet sends: no window leaves a device.
//!
//! Devices add up the embeddings of labelled windows ([`ClassStatistics`]). From these sums alone the
//! server solves for new head weights in closed form, three ways, and takes the one that tells the
//! fleet's classes apart best; body, scales before the head, labels and thresholds stay as they are.

use tinyops_model::{Body, Data, Graph, Model, OpKind, Quantization, TensorId};
use tinyops_nn::statistics::{Cell, ClassStatistics, cell_count};

use crate::codec::{CodecError, Reader, Writer};
use crate::predictor::Predictor;
use crate::quantize::round_weights;
use crate::{Features, Target, TrainError, linalg};

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

/// A solved head and what is expected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// The model with its new head.
    pub model: Model,
    /// How the head was found.
    pub solver: Solver,
    /// Weight of the factory's windows against the fleet's.
    pub factory_weight: f32,
    /// Expected accuracy of the old and the new head on what the fleet saw.
    pub fleet_accuracy: [f32; 2],
    /// Expected accuracy of the old and the new head on the factory's windows.
    pub factory_accuracy: [f32; 2],
}

/// Ridge as a share of the mean variance: what 12-bit sums of 32 values need.
///
/// # Source
/// Measured in the design notes, "Privacy and monitoring", section 4.1: λ = 0.1 · tr / d.
const RIDGE: f64 = 0.1;
/// A class counts as seen by the fleet from so many windows on.
const SEEN: f64 = 5.0;
/// Weights of the factory's windows that are tried, against as many windows of the fleet.
const FACTORY_WEIGHTS: [f64; 3] = [0.0, 0.25, 1.0];
/// Expected accuracies closer than this are even; the factory's decides then.
const EVEN: f64 = 0.003;

/// The statistics of windows whose class is known, as devices would gather them.
///
/// # Errors
/// [`TrainError::Mismatch`] where the model has no embedding or the windows are not its own.
pub fn statistics(model: &Model, features: &Features) -> Result<Statistics, TrainError> {
    let predictor = Predictor::new(model)?;
    let embeddings = predictor.embeddings(features);
    let (view, embeddings) = embeddings
        .ok_or_else(|| TrainError::Mismatch("the model has no head to solve for".into()))?;
    let classes = model.labels.len();
    let cells = vec![0; cell_count(classes, view.len)];
    let mut statistics = Statistics::new(classes, view.len, cells)
        .map_err(|error| TrainError::Mismatch(error.to_string()))?;
    for (target, embedding) in features.targets.iter().zip(embeddings) {
        if let Target::Class(class) = *target {
            statistics
                .add(class.into(), &embedding, view.zero_point)
                .map_err(|error| TrainError::Mismatch(error.to_string()))?;
        }
    }
    Ok(statistics)
}

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
/// # Errors
/// [`TrainError::Mismatch`] where the statistics are not of this model, or of no window.
pub fn solve<C: Cell, S: AsRef<[C]>, D: Cell, T: AsRef<[D]>>(
    model: &Model,
    fleet: &ClassStatistics<C, S>,
    factory: &ClassStatistics<D, T>,
) -> Result<Solved, TrainError> {
    let head = Head::of(model)?;
    let old = head.read(model)?;
    let (fleet, factory) = (Sums::of(fleet), Sums::of(factory));
    for sums in [&fleet, &factory] {
        if sums.classes != old.classes() || sums.width != old.width {
            return Err(TrainError::Mismatch(format!(
                "statistics of {} classes and {} values, a head of {} and {}",
                sums.classes,
                sums.width,
                old.classes(),
                old.width
            )));
        }
    }
    if fleet.total() + factory.total() < 1.0 {
        return Err(TrainError::Mismatch("the statistics hold no window".into()));
    }
    let judged = |head: &Linear| {
        (
            fleet.expected_accuracy(head),
            factory.expected_accuracy(head),
        )
    };
    let before = judged(&old);
    let mut best = (Solver::Unchanged, 0.0, old.clone(), before);
    let everywhere = (0..fleet.classes).all(|class| fleet.counts[class] >= SEEN);
    for weight in FACTORY_WEIGHTS {
        // Without the factory, a class that the fleet never saw could not be answered any more.
        if (weight == 0.0 && !everywhere) || (weight > 0.0 && factory.total() < 1.0) {
            continue;
        }
        let mixed = fleet.mixed(&factory, weight);
        for (solver, head) in [
            (Solver::Lda, mixed.lda()),
            (Solver::Ridge, mixed.ridge()),
            (Solver::ClassMeans, mixed.class_means()),
        ] {
            let Some(head) = head else { continue };
            let here = judged(&head);
            let is_better =
                here.0 > best.3.0 + EVEN || (here.0 > best.3.0 - EVEN && here.1 > best.3.1 + EVEN);
            if is_better {
                best = (solver, weight, head, here);
            }
        }
    }
    let (solver, weight, mut chosen, after) = best;
    let mut solved = model.clone();
    if solver != Solver::Unchanged {
        let all = fleet.mixed(&factory, 1.0);
        all.temper(&mut chosen);
        head.write(&mut solved, &chosen, all.logit_range(&chosen))?;
    }
    Ok(Solved {
        model: solved,
        solver,
        factory_weight: weight as f32,
        fleet_accuracy: [before.0 as f32, after.0 as f32],
        factory_accuracy: [before.1 as f32, after.1 as f32],
    })
}

/// A head over embeddings in units of their own scale: `logit[k] = weights[k] · φ + bias[k]`.
#[derive(Clone, Debug)]
struct Linear {
    width: usize,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Linear {
    fn classes(&self) -> usize {
        self.bias.len()
    }

    fn row(&self, class: usize) -> &[f64] {
        &self.weights[class * self.width..][..self.width]
    }
}

/// Where the head lies in the graph.
struct Head {
    filter: TensorId,
    bias: TensorId,
    output: TensorId,
    input_scale: f32,
}

impl Head {
    fn of(model: &Model) -> Result<Self, TrainError> {
        let none = || TrainError::Mismatch("the model has no head to solve for".into());
        let Body::Network(graph) = &model.body else {
            return Err(none());
        };
        let embedding = graph.embedding.ok_or_else(none)?;
        let op = graph
            .ops
            .iter()
            .find(|op| matches!(op.kind, OpKind::Dense(_)) && op.inputs.first() == Some(&embedding))
            .ok_or_else(none)?;
        let &[_, filter, bias] = &op.inputs[..] else {
            return Err(none());
        };
        let input_scale = graph
            .tensor(embedding)
            .quantization
            .as_ref()
            .ok_or_else(none)?
            .scale();
        Ok(Self {
            filter,
            bias,
            output: op.output,
            input_scale,
        })
    }

    fn read(&self, model: &Model) -> Result<Linear, TrainError> {
        let none = || TrainError::Mismatch("the head is not quantized".into());
        let graph = model.body.graph().ok_or_else(none)?;
        let (filter, bias) = (graph.tensor(self.filter), graph.tensor(self.bias));
        let (Some(Data::Int8(weights)), Some(Data::Int32(biases)), Some(quantization)) =
            (&filter.data, &bias.data, &filter.quantization)
        else {
            return Err(none());
        };
        let classes = biases.len();
        let width = weights.len() / classes.max(1);
        let step = |class: usize| {
            let scale = quantization
                .scales
                .get(class)
                .copied()
                .unwrap_or(quantization.scale());
            f64::from(scale) * f64::from(self.input_scale)
        };
        Ok(Linear {
            width,
            weights: weights
                .iter()
                .enumerate()
                .map(|(i, &w)| f64::from(w) * step(i / width.max(1)))
                .collect(),
            bias: biases
                .iter()
                .enumerate()
                .map(|(class, &b)| f64::from(b) * step(class))
                .collect(),
        })
    }

    /// Rounds the head into the graph; the scale of its input is what it was.
    fn write(
        &self,
        model: &mut Model,
        head: &Linear,
        [low, high]: [f64; 2],
    ) -> Result<(), TrainError> {
        let scale = self.input_scale;
        let weights: Vec<f32> = head
            .weights
            .iter()
            .map(|&w| (w / f64::from(scale)) as f32)
            .collect();
        let bias: Vec<f32> = head.bias.iter().map(|&b| b as f32).collect();
        if weights.iter().chain(&bias).any(|x| !x.is_finite()) {
            return Err(TrainError::NotFinite {
                what: "a solved weight",
                at: String::new(),
            });
        }
        let rounded = round_weights(&weights, &bias, scale, false);
        let Body::Network(graph) = &mut model.body else {
            return Err(TrainError::Mismatch(
                "the model has no head to solve for".into(),
            ));
        };
        let bias_scales = rounded.scales.iter().map(|s| s * scale).collect();
        put(
            graph,
            self.filter,
            Some(Data::Int8(rounded.filter)),
            Quantization::per_channel(rounded.scales),
        );
        put(
            graph,
            self.bias,
            Some(Data::Int32(rounded.bias)),
            Quantization::per_channel(bias_scales),
        );
        let range = crate::quantize::per_tensor(&[low as f32, high as f32], crate::Range::Full);
        put(graph, self.output, None, range);
        Ok(())
    }
}

fn put(graph: &mut Graph, id: TensorId, data: Option<Data>, quantization: Quantization) {
    let tensor = &mut graph.tensors[id.0 as usize];
    tensor.data = data;
    tensor.quantization = Some(quantization);
}

/// Statistics in real numbers, per window.
struct Sums {
    classes: usize,
    width: usize,
    counts: Vec<f64>,
    /// `[class, value]`.
    sums: Vec<f64>,
    /// `[value, value]`, of all classes together.
    gram: Vec<f64>,
}

impl Sums {
    fn of<C: Cell, S: AsRef<[C]>>(statistics: &ClassStatistics<C, S>) -> Self {
        let (classes, width) = (statistics.class_count(), statistics.embedding_len());
        Self {
            classes,
            width,
            counts: statistics
                .counts()
                .iter()
                .map(|count| count.get() as f64)
                .collect(),
            sums: (0..classes)
                .flat_map(|class| statistics.class_sum(class))
                .map(|sum| sum.get() as f64)
                .collect(),
            gram: (0..width * width)
                .map(|at| statistics.gram(at / width, at % width) as f64)
                .collect(),
        }
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// These and others together, the others as if they were `weight` times as many as these.
    fn mixed(&self, other: &Self, weight: f64) -> Self {
        let factor = if other.total() > 0.0 {
            weight * self.total().max(1.0) / other.total()
        } else {
            0.0
        };
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + factor * b).collect();
        Self {
            classes: self.classes,
            width: self.width,
            counts: mix(&self.counts, &other.counts),
            sums: mix(&self.sums, &other.sums),
            gram: mix(&self.gram, &other.gram),
        }
    }

    fn mean(&self, class: usize) -> Vec<f64> {
        let count = self.counts[class].max(1e-9);
        self.sums[class * self.width..][..self.width]
            .iter()
            .map(|sum| sum / count)
            .collect()
    }

    fn holds(&self, class: usize) -> bool {
        self.counts[class] > 0.0
    }

    /// Covariance within the classes, pooled.
    fn within(&self) -> Vec<f64> {
        let d = self.width;
        let mut within = self.gram.clone();
        for class in (0..self.classes).filter(|&class| self.holds(class)) {
            let mean = self.mean(class);
            for i in 0..d {
                for j in 0..d {
                    within[i * d + j] -= self.counts[class] * mean[i] * mean[j];
                }
            }
        }
        let total = self.total().max(1.0);
        within.iter_mut().for_each(|x| *x /= total);
        within
    }

    /// Adds the ridge to the diagonal; a value that never moves gets some too.
    fn ridged(mut matrix: Vec<f64>, d: usize) -> Vec<f64> {
        let trace: f64 = (0..d).map(|i| matrix[i * d + i]).sum();
        let added = (RIDGE * trace / d as f64).max(1e-6);
        (0..d).for_each(|i| matrix[i * d + i] += added);
        matrix
    }

    /// `w = (Σ + λI)⁻¹ μ`, `b = -½ μᵀ (Σ + λI)⁻¹ μ`: classes equally likely, for what was labelled says
    /// little about what occurs.
    fn lda(&self) -> Option<Linear> {
        let d = self.width;
        let lower = linalg::cholesky(&Self::ridged(self.within(), d), d)?;
        self.of_means(|mean| {
            let mut weights = mean.to_vec();
            linalg::solve(&lower, d, &mut weights);
            weights
        })
    }

    /// As LDA, with the same variance in every direction.
    fn class_means(&self) -> Option<Linear> {
        let d = self.width;
        let within = self.within();
        let variance = ((0..d).map(|i| within[i * d + i]).sum::<f64>() / d as f64).max(1e-6);
        self.of_means(|mean| mean.iter().map(|m| m / variance).collect())
    }

    fn of_means(&self, weights_of: impl Fn(&[f64]) -> Vec<f64>) -> Option<Linear> {
        let mut head = Linear {
            width: self.width,
            weights: Vec::new(),
            bias: Vec::new(),
        };
        for class in 0..self.classes {
            if !self.holds(class) {
                return None;
            }
            let mean = self.mean(class);
            let weights = weights_of(&mean);
            head.bias.push(-0.5 * dot(&weights, &mean));
            head.weights.extend(weights);
        }
        Some(head)
    }

    /// Least squares onto `1` for the class and `0` for the others, every class as heavy as any other.
    fn ridge(&self) -> Option<Linear> {
        let d = self.width;
        if (0..self.classes).any(|class| !self.holds(class)) {
            return None;
        }
        let share = 1.0 / self.classes as f64;
        let means: Vec<Vec<f64>> = (0..self.classes).map(|class| self.mean(class)).collect();
        let centre: Vec<f64> = (0..d)
            .map(|i| means.iter().map(|mean| mean[i] * share).sum())
            .collect();
        // Within the classes pooled, between them even.
        let mut scatter = self.within();
        for mean in &means {
            for i in 0..d {
                for j in 0..d {
                    scatter[i * d + j] += share * (mean[i] - centre[i]) * (mean[j] - centre[j]);
                }
            }
        }
        let lower = linalg::cholesky(&Self::ridged(scatter, d), d)?;
        let mut head = Linear {
            width: d,
            weights: Vec::new(),
            bias: Vec::new(),
        };
        for mean in &means {
            let mut weights: Vec<f64> = mean
                .iter()
                .zip(&centre)
                .map(|(m, c)| share * (m - c))
                .collect();
            linalg::solve(&lower, d, &mut weights);
            head.bias.push(share - dot(&weights, &centre));
            head.weights.extend(weights);
        }
        Some(head)
    }

    /// Calls `see(class, other, mean, variance)` of the margin by which each class beats each other one,
    /// its embeddings taken for Gaussian with the pooled covariance.
    fn margins(&self, head: &Linear, mut see: impl FnMut(usize, usize, f64, f64)) {
        let d = self.width;
        let within = self.within();
        for class in (0..self.classes).filter(|&class| self.holds(class)) {
            let mean = self.mean(class);
            for other in (0..self.classes).filter(|&other| other != class) {
                let ahead: Vec<f64> = head
                    .row(class)
                    .iter()
                    .zip(head.row(other))
                    .map(|(a, b)| a - b)
                    .collect();
                let margin = dot(&ahead, &mean) + head.bias[class] - head.bias[other];
                let variance: f64 = (0..d)
                    .map(|i| ahead[i] * dot(&within[i * d..][..d], &ahead))
                    .sum();
                see(class, other, margin, variance.max(0.0));
            }
        }
    }

    /// Share of right answers, classes weighing the same, were margins independent.
    fn expected_accuracy(&self, head: &Linear) -> f64 {
        let mut chances = vec![1.0f64; self.classes];
        self.margins(head, |class, _, margin, variance| {
            chances[class] *= normal_share(margin / variance.sqrt().max(1e-9));
        });
        let seen: Vec<f64> = (0..self.classes)
            .filter(|&class| self.holds(class))
            .map(|class| chances[class])
            .collect();
        seen.iter().sum::<f64>() / seen.len().max(1) as f64
    }

    /// Scales the head so that its margins are log odds, and softmax gives honest shares.
    fn temper(&self, head: &mut Linear) {
        // Gaussian margins of mean m and variance v have log odds 2 m / v each unit.
        let (mut margins, mut variances) = (0.0, 0.0);
        self.margins(head, |_, _, margin, variance| {
            margins += 2.0 * margin.max(0.0);
            variances += variance;
        });
        let factor = margins / variances.max(1e-12);
        if factor.is_finite() && factor > 0.0 {
            head.weights
                .iter_mut()
                .chain(&mut head.bias)
                .for_each(|x| *x *= factor);
        }
        // A logit that all classes share says nothing and would only widen the range.
        let classes = head.classes();
        for value in 0..head.width {
            let common = (0..classes)
                .map(|class| head.weights[class * head.width + value])
                .sum::<f64>()
                / classes as f64;
            (0..classes).for_each(|class| head.weights[class * head.width + value] -= common);
        }
        let common = head.bias.iter().sum::<f64>() / classes as f64;
        head.bias.iter_mut().for_each(|b| *b -= common);
    }

    /// Least and greatest logit to expect: four deviations around the class means.
    fn logit_range(&self, head: &Linear) -> [f64; 2] {
        const DEVIATIONS: f64 = 4.0;
        let d = self.width;
        let within = self.within();
        let mut range = [0.0f64; 2];
        for output in 0..head.classes() {
            let weights = head.row(output);
            let variance: f64 = (0..d)
                .map(|i| weights[i] * dot(&within[i * d..][..d], weights))
                .sum();
            let room = DEVIATIONS * variance.max(0.0).sqrt();
            for class in (0..self.classes).filter(|&class| self.holds(class)) {
                let centre = dot(weights, &self.mean(class)) + head.bias[output];
                range = [range[0].min(centre - room), range[1].max(centre + room)];
            }
        }
        range
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Share of a standard normal below `x`.
fn normal_share(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests;
