//! How right the models are, and what that costs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use tinyops_store::outcome::Cell;
use tinyops_store::{DeviceId, ModelId, Timestamp, capsule};

use crate::label::classes_of;
use crate::{Fleet, FleetError};

/// How right one model is in one cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// In which cohort.
    pub cohort: String,
    /// Which model.
    pub model: ModelId,
    /// Windows that it had right.
    pub right: i64,
    /// Windows judged.
    pub judged: i64,
    /// Windows by true class and predicted class: `[actual][predicted]`.
    pub confusion: Vec<Vec<i64>>,
}

/// What it costs a model to say the second label of a window that is of the first.
pub type Price<'a> = &'a dyn Fn(ModelId, &str, &str) -> f64;

/// The names of the classes of each model.
pub type Labels = BTreeMap<ModelId, Vec<String>>;

/// A figure of judged windows, and where it lies by how much devices differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// A window.
    pub value: f64,
    /// From where to where, 95 times of 100; none of a single device, of which nobody can tell how others fare.
    pub interval: Option<(f64, f64)>,
}

/// What the answers of one model in one cohort cost in one span of time.
#[derive(Clone, Debug, PartialEq)]
pub struct CostSpan {
    /// When the span begins.
    pub begin: Timestamp,
    /// In which cohort.
    pub cohort: String,
    /// By which model.
    pub model: ModelId,
    /// Labelled windows that it rests on.
    pub windows: i64,
    /// Devices that they come from.
    pub devices: usize,
    /// What all of them cost.
    pub cost: f64,
    /// What one costs.
    pub mean: Mean,
}

/// Days that labels of the field are looked back at without a word.
pub const FIELD_DAYS: u32 = 90;

const DAY_MS: i64 = 24 * 3_600_000;

/// What a model is worth by windows labelled later.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldWorth {
    /// Labelled windows that it rests on.
    pub windows: i64,
    /// Devices that they come from.
    pub devices: usize,
    /// What a window costs with the model.
    pub model: Mean,
    /// The cheapest constant answer.
    pub answer: String,
    /// What a window costs with it.
    pub constant: f64,
    /// What the model saves a window.
    pub gain: Mean,
}

impl Accuracy {
    /// What all its judged windows cost; `labels` are the names of the model's classes.
    pub fn cost(&self, labels: &[String], price: Price<'_>) -> f64 {
        let mut sum = 0.0;
        for (actual, row) in self.confusion.iter().enumerate() {
            for (predicted, &windows) in row.iter().enumerate() {
                let cell = (actual, predicted);
                sum += windows as f64 * cost_of(self.model, cell, labels, price);
            }
        }
        sum
    }

    /// Share of judged windows that it had right; `None` of none.
    pub fn share(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }
}

impl Fleet {
    /// The confusion matrices of labels that came since, by spans of `span_ms`, and the classes of their models.
    pub async fn judged(
        &self,
        since: Timestamp,
        span_ms: i64,
    ) -> Result<(Vec<Cell>, Labels), FleetError> {
        let cells = tinyops_store::outcome::cells(&self.db, since, span_ms).await?;
        let mut labels = Labels::new();
        for cell in &cells {
            if let Entry::Vacant(place) = labels.entry(cell.model) {
                let capsule = capsule::get(&self.db, cell.model).await?;
                place.insert(capsule.map_or_else(Vec::new, |of| classes_of(&of.detail)));
            }
        }
        Ok((cells, labels))
    }

    /// What one version is worth by labels that came in the last `days`, where a window costs what `price` says of its
    /// class and of the answer; nothing where no label came.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn field_worth_of(
        &self,
        name: &str,
        version: u32,
        days: u32,
        now: Timestamp,
        price: impl Fn(&str, &str) -> f64 + Send,
    ) -> Result<Option<FieldWorth>, FleetError> {
        let span_ms = i64::from(days.max(1)) * DAY_MS;
        let (mut cells, labels) = self.judged(now.plus_ms(-span_ms), span_ms).await?;
        let mut own = capsule::of_model(&self.db, name).await?;
        own.retain(|capsule| capsule.version == version);
        cells.retain(|cell| own.iter().any(|capsule| capsule.id == cell.model));
        Ok(field_worth(&cells, &labels, &|_, is, said| price(is, said)))
    }

    /// How right each model is in each cohort, by the outcomes since `since`.
    pub async fn accuracy(&self, since: Timestamp) -> Result<Vec<Accuracy>, FleetError> {
        let mut found: Vec<Accuracy> = Vec::new();
        for tally in tinyops_store::outcome::tally(&self.db, since).await? {
            let same = |a: &Accuracy| a.cohort == tally.cohort && a.model == tally.model;
            if !found.last().is_some_and(same) {
                found.push(Accuracy {
                    cohort: tally.cohort.clone(),
                    model: tally.model,
                    right: 0,
                    judged: 0,
                    confusion: Vec::new(),
                });
            }
            let accuracy = found.last_mut().expect("one was pushed");
            accuracy.add(
                tally.actual as usize,
                tally.predicted as usize,
                tally.window_count,
            );
        }
        Ok(found)
    }
}

/// What one window of one class costs that got another; a class without a name has its number for one.
pub fn cost_of(
    model: ModelId,
    (actual, predicted): (usize, usize),
    labels: &[String],
    price: Price<'_>,
) -> f64 {
    let name = |class: usize| labels.get(class).cloned().unwrap_or(class.to_string());
    price(model, &name(actual), &name(predicted))
}

/// What answers cost by span, cohort and model, in the order of the cells.
pub fn cost_spans(cells: &[Cell], labels: &Labels, price: Price<'_>) -> Vec<CostSpan> {
    let of_one =
        |a: &Cell, b: &Cell| (a.begin, &a.cohort, a.model) == (b.begin, &b.cohort, b.model);
    let span = |cells: &[Cell]| {
        let first = cells.first()?;
        let sums = Sums::of(cells, |cell| cell_cost(cell, labels, price));
        Some(CostSpan {
            begin: first.begin,
            cohort: first.cohort.clone(),
            model: first.model,
            windows: sums.windows(),
            devices: sums.0.len(),
            cost: sums.total(),
            mean: sums.mean()?,
        })
    };
    cells.chunk_by(of_one).filter_map(span).collect()
}

/// What the models of some cells are worth against the cheapest constant answer to the same windows; nothing of none.
fn field_worth(cells: &[Cell], labels: &Labels, price: Price<'_>) -> Option<FieldWorth> {
    let own = Sums::of(cells, |cell| cell_cost(cell, labels, price));
    let answers: BTreeSet<&String> = cells
        .iter()
        .flat_map(|cell| labels.get(&cell.model).into_iter().flatten())
        .collect();
    let of_constant =
        |cell: &Cell, said: &str| price(cell.model, &name_of(cell, cell.actual, labels), said);
    let priced = answers.into_iter().map(|said| {
        let sums = Sums::of(cells, |cell| of_constant(cell, said));
        (sums.total(), said)
    });
    let (constant, said) = priced.min_by(|a, b| a.0.total_cmp(&b.0))?;
    let gain = Sums::of(cells, |cell| {
        of_constant(cell, said) - cell_cost(cell, labels, price)
    });
    let windows = own.windows();
    Some(FieldWorth {
        windows,
        devices: own.0.len(),
        model: own.mean()?,
        answer: said.clone(),
        constant: constant / windows as f64,
        gain: gain.mean()?,
    })
}

fn name_of(cell: &Cell, class: u32, labels: &Labels) -> String {
    let of_model = labels.get(&cell.model);
    let name = of_model.and_then(|labels| labels.get(class as usize));
    name.cloned().unwrap_or_else(|| class.to_string())
}

fn cell_cost(cell: &Cell, labels: &Labels, price: Price<'_>) -> f64 {
    price(
        cell.model,
        &name_of(cell, cell.actual, labels),
        &name_of(cell, cell.predicted, labels),
    )
}

/// A sum and how many windows it is of, by device.
struct Sums(BTreeMap<DeviceId, (f64, f64)>);

impl Sums {
    fn of(cells: &[Cell], each: impl Fn(&Cell) -> f64) -> Self {
        let mut sums: BTreeMap<DeviceId, (f64, f64)> = BTreeMap::new();
        for cell in cells {
            let (sum, count) = sums.entry(cell.device).or_default();
            *sum += cell.window_count as f64 * each(cell);
            *count += cell.window_count as f64;
        }
        Self(sums)
    }

    fn total(&self) -> f64 {
        self.0.values().map(|(sum, _)| sum).sum()
    }

    fn windows(&self) -> i64 {
        self.0.values().map(|(_, count)| *count as i64).sum()
    }

    /// The mean of a window, and where it lies: a ratio of sums over devices, each of which is one draw, by Student's t.
    ///
    /// `r ± t √(D / (D - 1) · Σ (sum_d - r · count_d)²) / count`
    ///
    /// # Source
    /// W. G. Cochran, 1977, "Sampling techniques", §6.
    fn mean(&self) -> Option<Mean> {
        let (count, devices) = (self.windows() as f64, self.0.len());
        if count <= 0.0 {
            return None;
        }
        let value = self.total() / count;
        let squares: f64 = self
            .0
            .values()
            .map(|(sum, of_device)| (sum - value * of_device) * (sum - value * of_device))
            .sum();
        let interval = (devices > 1).then(|| {
            let spread = (devices as f64 / (devices - 1) as f64 * squares).sqrt() / count;
            let half = student(devices - 1) * spread;
            (value - half, value + half)
        });
        Some(Mean { value, interval })
    }
}

/// The quantile 0.975 of Student's t.
fn student(freedom: usize) -> f64 {
    // Fisher and Yates, 1963, "Statistical tables", table III; beyond it the next term of its expansion is enough.
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let beyond = 1.96 + 2.4 / freedom as f64;
    TABLE.get(freedom - 1).copied().unwrap_or(beyond)
}

impl Accuracy {
    fn add(&mut self, actual: usize, predicted: usize, count: i64) {
        let size = actual.max(predicted) + 1;
        if self.confusion.len() < size {
            self.confusion.resize(size, Vec::new());
            self.confusion
                .iter_mut()
                .for_each(|row| row.resize(size, 0));
        }
        self.confusion[actual][predicted] += count;
        self.judged += count;
        if actual == predicted {
            self.right += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What devices were told: number, predicted, actual, windows.
    fn cells(told: &[(u64, u32, u32, i64)]) -> Vec<Cell> {
        let cell = |&(device, predicted, actual, window_count)| Cell {
            begin: Timestamp(0),
            cohort: "hall".to_owned(),
            model: ModelId(7),
            device: DeviceId(device),
            predicted,
            actual,
            window_count,
        };
        told.iter().map(cell).collect()
    }

    fn labels() -> Labels {
        [(ModelId(7), vec!["calm".to_owned(), "worn".to_owned()])].into()
    }

    fn price(_: ModelId, is: &str, said: &str) -> f64 {
        match (is, said) {
            ("calm", "worn") => 1.0,
            ("worn", "calm") => 10.0,
            _ => 0.0,
        }
    }

    #[test]
    fn a_cohort_costs_what_its_windows_cost() {
        // Of three devices: 0.2, 0.1 and 0.6 a window.
        let told = [
            (1, 0, 0, 8),
            (1, 1, 0, 2),
            (2, 0, 0, 9),
            (2, 1, 0, 1),
            (3, 1, 1, 4),
            (3, 1, 0, 6),
        ];
        let spans = cost_spans(&cells(&told), &labels(), &price);
        let [span] = &spans[..] else {
            panic!("one span, not {spans:?}")
        };
        assert_eq!((span.windows, span.devices, span.cost), (30, 3, 9.0));
        assert!((span.mean.value - 0.3).abs() < 1e-12);
        // Residuals -1, -2 and 3: √(3/2 · 14) / 30 · 4.303
        let (low, high) = span.mean.interval.unwrap();
        let half = 21f64.sqrt() / 30.0 * 4.303;
        assert!((low - (0.3 - half)).abs() < 1e-9 && (high - (0.3 + half)).abs() < 1e-9);
        let alone = cost_spans(&cells(&told[..2]), &labels(), &price);
        assert_eq!(alone[0].mean.interval, None);
        assert_eq!(cost_spans(&[], &labels(), &price), []);
    }

    #[test]
    fn a_model_is_worth_what_the_best_constant_costs_more() {
        let told = [
            (1, 0, 0, 90),
            (1, 1, 1, 9),
            (1, 0, 1, 1),
            (2, 0, 0, 95),
            (2, 1, 1, 5),
        ];
        let worth = field_worth(&cells(&told), &labels(), &price).unwrap();
        // Always calm: 15 misses at 10; always worn: 185 at 1. The model: one miss.
        assert_eq!((worth.answer.as_str(), worth.windows), ("calm", 200));
        assert!((worth.constant - 0.75).abs() < 1e-12);
        assert!((worth.gain.value - 0.7).abs() < 1e-12, "{worth:?}");
        assert_eq!(field_worth(&[], &labels(), &price), None);
    }

    #[test]
    fn few_devices_make_wide_intervals() {
        assert_eq!((student(1), student(30)), (12.706, 2.042));
        assert!((student(60) - 2.0).abs() < 1e-3 && (student(1000) - 1.962).abs() < 1e-3);
    }
}
