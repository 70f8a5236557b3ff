//! Which labels are likely wrong: confident learning from predictions out of sample.
//!
//! A class's threshold is the mean probability that its own samples get for it. A sample that another class claims above
//! that class's threshold is counted there: the confident joint of given and likely true labels. Northcutt, Jiang, Chuang:
//! "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021) 1373–1411; the ways to choose are those
//! of cleanlab 2.9, whose results these are.

/// Slack of a threshold: a probability this little below still counts.
const THRESHOLD_SLACK: f64 = 1e-6;
/// What is taken for the smallest probability of the given label where it divides.
const PROBABILITY_MIN: f64 = 1e-6;

/// Why predictions cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfidentError {
    /// There are fewer classes than two.
    #[error("{0} classes: labels can be wrong where there are two at least")]
    Classes(usize),
    /// Labels and probabilities are not of one shape.
    #[error("{labels} labels of {classes} classes need {} probabilities, not {found}", labels * classes)]
    Shape {
        /// How many labels.
        labels: usize,
        /// How many classes.
        classes: usize,
        /// How many probabilities.
        found: usize,
    },
    /// A label is none of the classes.
    #[error("sample {sample}: label {label} is none of {classes} classes")]
    Label {
        /// Which sample, from 0.
        sample: usize,
        /// Its label.
        label: usize,
        /// How many classes.
        classes: usize,
    },
    /// A probability is none.
    #[error("sample {sample}: a probability is {value}")]
    Probability {
        /// Which sample, from 0.
        sample: usize,
        /// The value, as text.
        value: String,
    },
    /// No sample has the label of a class.
    #[error("no sample has label {0}: nothing can be said of it")]
    NoSample(usize),
}

/// Labels as they were given, and what a model that had not seen the sample says of each.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a> {
    labels: &'a [usize],
    probabilities: &'a [f64],
    classes: usize,
}

/// How wrong labels are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// For each pair of classes as many as the joint counts there, those with the largest margin.
    PruneByNoiseRate,
    /// In each class as many as the joint counts beside its diagonal, those with the least probability of it.
    PruneByClass,
    /// Those that both of these choose.
    Both,
    /// Those that the joint counts beside its diagonal.
    ConfidentLearning,
    /// Those for which the model says another class.
    PredictedNotGiven,
    /// As many as the joint counts, those with the least normalized margin.
    LowNormalizedMargin,
    /// As many as the joint counts, those with the least probability of the given label.
    LowSelfConfidence,
}

impl Filter {
    /// Every way, in the order of their names here.
    pub const ALL: [Filter; 7] = [
        Filter::PruneByNoiseRate,
        Filter::PruneByClass,
        Filter::Both,
        Filter::ConfidentLearning,
        Filter::PredictedNotGiven,
        Filter::LowNormalizedMargin,
        Filter::LowSelfConfidence,
    ];

    /// What cleanlab calls it.
    pub fn word(self) -> &'static str {
        match self {
            Filter::PruneByNoiseRate => "prune_by_noise_rate",
            Filter::PruneByClass => "prune_by_class",
            Filter::Both => "both",
            Filter::ConfidentLearning => "confident_learning",
            Filter::PredictedNotGiven => "predicted_neq_given",
            Filter::LowNormalizedMargin => "low_normalized_margin",
            Filter::LowSelfConfidence => "low_self_confidence",
        }
    }
}

/// How often samples of one given label are likely of one true class: a square of counts, a row a given label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfidentJoint {
    classes: usize,
    counts: Vec<u64>,
}

impl ConfidentJoint {
    /// A joint of counts, row by row.
    pub fn of(classes: usize, counts: Vec<u64>) -> Option<ConfidentJoint> {
        (counts.len() == classes * classes).then_some(ConfidentJoint { classes, counts })
    }

    /// Samples with this label that are likely of that class.
    pub fn count(&self, given: usize, likely: usize) -> u64 {
        self.counts[given * self.classes + likely]
    }

    /// All counts, row by row.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How often each class is likely the true one, as a share of all.
    pub fn shares(&self) -> Vec<f64> {
        let total: u64 = self.counts.iter().sum();
        let share = |class| self.likely_count(class) as f64 / total as f64;
        (0..self.classes).map(share).collect()
    }

    /// The share of likely class `likely` that was given label `given`.
    pub fn noise(&self, given: usize, likely: usize) -> f64 {
        self.count(given, likely) as f64 / self.likely_count(likely) as f64
    }

    /// The share of label `given` that is likely of class `likely`.
    pub fn inverse_noise(&self, likely: usize, given: usize) -> f64 {
        let of_given: u64 = (0..self.classes)
            .map(|class| self.count(given, class))
            .sum();
        self.count(given, likely) as f64 / of_given as f64
    }

    fn likely_count(&self, likely: usize) -> u64 {
        (0..self.classes)
            .map(|given| self.count(given, likely))
            .sum()
    }
}

impl<'a> Predictions<'a> {
    /// Labels, each below `classes`, and for each label as many probabilities as classes, row by row.
    ///
    /// # Errors
    /// [`ConfidentError`], with the sample.
    pub fn new(
        labels: &'a [usize],
        probabilities: &'a [f64],
        classes: usize,
    ) -> Result<Predictions<'a>, ConfidentError> {
        if classes < 2 {
            return Err(ConfidentError::Classes(classes));
        }
        if probabilities.len() != labels.len() * classes {
            return Err(ConfidentError::Shape {
                labels: labels.len(),
                classes,
                found: probabilities.len(),
            });
        }
        if let Some((sample, &label)) = labels.iter().enumerate().find(|(_, l)| **l >= classes) {
            return Err(ConfidentError::Label {
                sample,
                label,
                classes,
            });
        }
        let is_none = |value: &f64| !(0.0..=1.0 + 1e-6).contains(value);
        if let Some(index) = probabilities.iter().position(is_none) {
            return Err(ConfidentError::Probability {
                sample: index / classes,
                value: probabilities[index].to_string(),
            });
        }
        match (0..classes).find(|class| !labels.contains(class)) {
            Some(class) => Err(ConfidentError::NoSample(class)),
            None => Ok(Predictions {
                labels,
                probabilities,
                classes,
            }),
        }
    }

    fn row(&self, sample: usize) -> &[f64] {
        &self.probabilities[sample * self.classes..][..self.classes]
    }

    fn samples(&self) -> std::ops::Range<usize> {
        0..self.labels.len()
    }

    /// The most probable class; of equals the first.
    fn predicted(&self, sample: usize) -> usize {
        let row = self.row(sample);
        (1..self.classes).fold(0, |best, class| match row[class] > row[best] {
            true => class,
            false => best,
        })
    }

    /// Per class the mean probability that samples with its label get for it.
    pub fn thresholds(&self) -> Vec<f64> {
        let mut sums = vec![(0.0, 0_u32); self.classes];
        for sample in self.samples() {
            let label = self.labels[sample];
            sums[label].0 += self.row(sample)[label];
            sums[label].1 += 1;
        }
        sums.into_iter()
            .map(|(sum, count)| sum / f64::from(count))
            .collect()
    }

    /// Per sample the class that claims it above the class's threshold, if any does.
    fn claims(&self) -> Vec<Option<usize>> {
        let thresholds = self.thresholds();
        let claim = |sample| {
            let row = self.row(sample);
            let mut above = (0..self.classes)
                .filter(|class| row[*class] >= thresholds[*class] - THRESHOLD_SLACK);
            let first = above.next()?;
            Some(match above.next() {
                None => first,
                Some(_) => self.predicted(sample),
            })
        };
        self.samples().map(claim).collect()
    }

    /// The samples that the joint counts beside its diagonal.
    fn off_diagonal(&self) -> Vec<usize> {
        let claims = self.claims();
        self.samples()
            .filter(|sample| claims[*sample].is_some_and(|class| class != self.labels[*sample]))
            .collect()
    }

    /// The confident joint as it is counted; each class has one on the diagonal at least.
    pub fn counted_joint(&self) -> ConfidentJoint {
        let mut counts = vec![0; self.classes * self.classes];
        for (sample, claim) in self.claims().into_iter().enumerate() {
            if let Some(class) = claim {
                counts[self.labels[sample] * self.classes + class] += 1;
            }
        }
        for class in 0..self.classes {
            let diagonal = &mut counts[class * self.classes + class];
            *diagonal = (*diagonal).max(1);
        }
        ConfidentJoint {
            classes: self.classes,
            counts,
        }
    }

    /// The confident joint scaled so that each row has as many as the samples with its label, before it is rounded.
    pub fn scaled_joint(&self) -> Vec<f64> {
        let counted = self.counted_joint();
        let mut scaled = Vec::with_capacity(counted.counts.len());
        for (given, row) in counted.counts.chunks(self.classes).enumerate() {
            let of_row: u64 = row.iter().sum();
            let of_label = self.labels.iter().filter(|label| **label == given).count();
            scaled.extend(
                row.iter()
                    .map(|count| *count as f64 / of_row as f64 * of_label as f64),
            );
        }
        scaled
    }

    /// The confident joint in whole samples: each row has as many as the samples with its label.
    pub fn joint(&self) -> ConfidentJoint {
        let scaled = self.scaled_joint();
        let counts = scaled.chunks(self.classes).flat_map(rounded).collect();
        ConfidentJoint {
            classes: self.classes,
            counts,
        }
    }

    /// How many labels are likely wrong.
    pub fn count(&self) -> usize {
        self.off_diagonal().len()
    }

    /// Per sample the probability of the given label: 1 is best.
    pub fn self_confidence(&self) -> Vec<f64> {
        self.samples()
            .map(|sample| self.row(sample)[self.labels[sample]])
            .collect()
    }

    /// Per sample how far the given label is before the best other, from 0 to 1.
    pub fn normalized_margin(&self) -> Vec<f64> {
        let margin = |sample: usize| {
            let (row, label) = (self.row(sample), self.labels[sample]);
            let others = (0..self.classes).filter(|class| *class != label);
            let best = others.map(|class| row[class]).fold(0.0, f64::max);
            (row[label] - best + 1.0) / 2.0
        };
        self.samples().map(margin).collect()
    }

    /// Per sample the entropy of its row over the probability of the given label, brought to 0 to 1.
    pub fn confidence_weighted_entropy(&self) -> Vec<f64> {
        let most = (self.classes as f64).ln();
        let score = |sample: usize| {
            let row = self.row(sample);
            let entropy: f64 = row.iter().map(|p| -p * p.max(f64::MIN_POSITIVE).ln()).sum();
            let own = row[self.labels[sample]].max(PROBABILITY_MIN);
            let weighted = entropy / most / own;
            (weighted + 1.0).ln() / weighted.max(PROBABILITY_MIN)
        };
        self.samples().map(score).collect()
    }

    /// The samples whose labels are likely wrong, in their order.
    pub fn issues(&self, filter: Filter) -> Vec<usize> {
        self.issues_by(filter, &self.joint())
    }

    /// As [`Predictions::issues`], by a joint that is known.
    pub fn issues_by(&self, filter: Filter, joint: &ConfidentJoint) -> Vec<usize> {
        let chosen = match filter {
            Filter::PruneByNoiseRate => self.by_noise_rate(joint),
            Filter::PruneByClass => self.by_class(joint),
            Filter::Both => {
                let by_class = self.by_class(joint);
                let by_rate = self.by_noise_rate(joint).into_iter();
                by_rate
                    .filter(|s| by_class.binary_search(s).is_ok())
                    .collect()
            }
            Filter::ConfidentLearning => self.off_diagonal(),
            Filter::PredictedNotGiven => self.samples().collect(),
            Filter::LowNormalizedMargin => self.lowest(&self.normalized_margin()),
            Filter::LowSelfConfidence => self.lowest(&self.self_confidence()),
        };
        let is_other = |sample: &usize| self.predicted(*sample) != self.labels[*sample];
        chosen.into_iter().filter(is_other).collect()
    }

    /// Samples with the lowest scores, as many as are likely wrong.
    fn lowest(&self, scores: &[f64]) -> Vec<usize> {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let cut = sorted.get(self.count()).copied().unwrap_or(f64::INFINITY);
        self.samples()
            .filter(|sample| scores[*sample] < cut)
            .collect()
    }

    fn by_noise_rate(&self, joint: &ConfidentJoint) -> Vec<usize> {
        let mut is_chosen = vec![false; self.labels.len()];
        for given in 0..self.classes {
            let of_label = || {
                self.samples()
                    .filter(move |sample| self.labels[*sample] == given)
            };
            for likely in (0..self.classes).filter(|class| *class != given) {
                let count = joint.count(given, likely) as usize;
                let margin = |sample: usize| self.row(sample)[likely] - self.row(sample)[given];
                let mut margins: Vec<f64> = of_label().map(margin).collect();
                margins.sort_by(|a, b| b.total_cmp(a));
                if let Some(cut) = count.checked_sub(1).and_then(|last| margins.get(last)) {
                    for sample in of_label().filter(|sample| margin(*sample) >= *cut) {
                        is_chosen[sample] = true;
                    }
                }
            }
        }
        self.samples().filter(|sample| is_chosen[*sample]).collect()
    }

    fn by_class(&self, joint: &ConfidentJoint) -> Vec<usize> {
        let mut is_chosen = vec![false; self.labels.len()];
        for class in 0..self.classes {
            let of_label = || {
                self.samples()
                    .filter(move |sample| self.labels[*sample] == class)
            };
            let mut own: Vec<f64> = of_label().map(|sample| self.row(sample)[class]).collect();
            own.sort_by(f64::total_cmp);
            let wrong = own.len().saturating_sub(joint.count(class, class) as usize);
            if let Some(cut) = own.get(wrong) {
                for sample in of_label().filter(|sample| self.row(*sample)[class] < *cut) {
                    is_chosen[sample] = true;
                }
            }
        }
        self.samples().filter(|sample| is_chosen[*sample]).collect()
    }
}

/// Whole numbers near a row's, with the row's sum: what is missing goes to those that rounding took most from, and what is
/// too much comes from those that it gave least; of equals the last. So does cleanlab, whose sort leaves equals to chance.
fn rounded(row: &[f64]) -> Vec<u64> {
    let mut whole: Vec<f64> = row.iter().map(|value| value.round_ties_even()).collect();
    let wanted = row.iter().sum::<f64>().round_ties_even();
    loop {
        let missing = wanted - whole.iter().sum::<f64>();
        if missing == 0.0 {
            return whole.into_iter().map(|value| value as u64).collect();
        }
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| (row[*a] - whole[*a]).total_cmp(&(row[*b] - whole[*b])));
        let steps = (missing.abs() as usize).min(row.len());
        for index in order.into_iter().rev().take(steps) {
            whole[index] += missing.signum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_judged_is_said() {
        let wrong = |labels: &[usize], probabilities: &[f64], classes| {
            Predictions::new(labels, probabilities, classes).unwrap_err()
        };
        assert_eq!(wrong(&[0], &[1.0], 1), ConfidentError::Classes(1));
        assert_eq!(
            wrong(&[0, 1], &[1.0], 2).to_string(),
            "2 labels of 2 classes need 4 probabilities, not 1"
        );
        assert_eq!(
            wrong(&[0, 2], &[0.5; 4], 2).to_string(),
            "sample 1: label 2 is none of 2 classes"
        );
        assert_eq!(
            wrong(&[0, 1], &[0.5, 0.5, f64::NAN, 0.5], 2).to_string(),
            "sample 1: a probability is NaN"
        );
        assert_eq!(wrong(&[0, 0], &[0.5; 4], 2), ConfidentError::NoSample(1));
    }

    #[test]
    fn a_label_that_all_but_its_giver_deny_is_found() {
        let mut labels = vec![0; 20];
        labels.extend(vec![1; 20]);
        labels[3] = 1;
        let row = |true_class: usize| match true_class {
            0 => [0.9, 0.1],
            _ => [0.2, 0.8],
        };
        let probabilities: Vec<f64> = (0..40).flat_map(|sample| row(sample / 20)).collect();
        let predictions = Predictions::new(&labels, &probabilities, 2).unwrap();
        assert_eq!(predictions.count(), 1);
        for filter in Filter::ALL {
            assert_eq!(predictions.issues(filter), [3], "{filter:?}");
        }
        let joint = predictions.joint();
        assert_eq!(joint.counts(), [19, 0, 1, 20]);
        assert_eq!(joint.shares(), [0.5, 0.5]);
        assert_eq!(joint.noise(1, 0), 0.05);
    }

    #[test]
    fn rounding_keeps_the_sum() {
        assert_eq!(rounded(&[1.4, 1.4, 0.2]), [1, 2, 0]);
        assert_eq!(rounded(&[0.5, 0.5, 2.0]), [0, 1, 2]);
        assert_eq!(rounded(&[2.6, 2.6, 2.8]), [3, 3, 2]);
        assert_eq!(rounded(&[0.0, 3.0]), [0, 3]);
    }
}
