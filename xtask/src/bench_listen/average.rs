//! Federated averaging of a head, as the peer of one round of sums.
//!
//! # Source
//! McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017.

use tinyops_model::Model;
use tinyops_train::head::{Embedded, weights_of};

/// Rounds, and steps of full-batch descent that a device takes in each.
const ROUNDS: usize = 40;
const STEPS: usize = 5;
/// Learning rates that are tried; the one that does best on the windows that devices learn from counts.
const RATES: [f64; 5] = [0.5, 1.5, 5.0, 15.0, 50.0];

/// What averaging came to.
pub(super) struct Averaged {
    pub(super) accuracy: f64,
    /// Bytes that one device has sent.
    pub(super) bytes: usize,
}

/// A head over embeddings of unit mean square length.
#[derive(Clone)]
struct Head {
    width: usize,
    /// `[class, value]`, the bias last in each row.
    rows: Vec<Vec<f64>>,
}

/// Averages with every rate and keeps the best.
pub(super) fn best(
    model: &Model,
    fleet: &Embedded,
    devices: &[Vec<usize>],
    test: &Embedded,
) -> Result<Averaged, String> {
    let (weights, bias) = weights_of(model).map_err(|error| error.to_string())?;
    let width = fleet.width();
    let used = || devices.iter().flatten();
    let square: f64 = used()
        .map(|&index| {
            fleet
                .values(index)
                .map(|x| f64::from(x).powi(2))
                .sum::<f64>()
        })
        .sum();
    let length = (square / used().count().max(1) as f64).sqrt().max(1e-9);
    let start = Head {
        width,
        rows: (0..bias.len())
            .map(|class| {
                let row = weights[class * width..][..width].iter();
                row.map(|w| w * length).chain([bias[class]]).collect()
            })
            .collect(),
    };
    let rows = |embedded: &Embedded, index: usize| -> Vec<f64> {
        let values = embedded.values(index).map(|x| f64::from(x) / length);
        values.chain([1.0]).collect()
    };
    let windows = |embedded: &Embedded, members: &[usize]| -> Vec<(Vec<f64>, usize)> {
        let known = members.iter().filter_map(|&index| {
            Some((rows(embedded, index), usize::from(embedded.class(index)?)))
        });
        known.collect()
    };
    let held: Vec<_> = devices.iter().map(|own| windows(fleet, own)).collect();
    let all: Vec<usize> = (0..test.count()).collect();
    let test = windows(test, &all);
    let own: Vec<_> = held.iter().flatten().cloned().collect();
    let runs = RATES.map(|rate| {
        let mut head = start.clone();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            bytes += round(&mut head, &held, rate);
        }
        let averaged = Averaged {
            accuracy: head.accuracy(&test),
            bytes,
        };
        (head.accuracy(&own), averaged)
    });
    let best = runs.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, averaged)| averaged)
        .ok_or_else(|| "no rate was tried".to_owned())
}

/// One round: every device descends and sends its change in int8; answers the bytes of one.
fn round(head: &mut Head, devices: &[Vec<(Vec<f64>, usize)>], rate: f64) -> usize {
    let len = head.rows.len() * (head.width + 1);
    let mut sum = vec![0.0; len];
    let mut windows = 0.0;
    for own in devices.iter().filter(|own| !own.is_empty()) {
        let mut local = head.clone();
        (0..STEPS).for_each(|_| local.step(own, rate));
        let before = head.rows.iter().flatten();
        let change: Vec<f64> = local
            .rows
            .iter()
            .flatten()
            .zip(before)
            .map(|(a, b)| a - b)
            .collect();
        let largest = change.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let scale = (largest / 127.0).max(1e-12);
        let weight = own.len() as f64;
        windows += weight;
        for (sum, change) in sum.iter_mut().zip(change) {
            *sum += weight * (change / scale).round() * scale;
        }
    }
    let cells = head.rows.iter_mut().flatten();
    cells
        .zip(sum)
        .for_each(|(cell, sum)| *cell += sum / windows);
    len
}

impl Head {
    fn logits(&self, row: &[f64]) -> Vec<f64> {
        let dot = |weights: &Vec<f64>| weights.iter().zip(row).map(|(w, x)| w * x).sum();
        self.rows.iter().map(dot).collect()
    }

    /// One step down the mean cross-entropy.
    fn step(&mut self, windows: &[(Vec<f64>, usize)], rate: f64) {
        let mut gradient = vec![vec![0.0; self.width + 1]; self.rows.len()];
        for (row, class) in windows {
            let mut shares = self.logits(row);
            let largest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            shares.iter_mut().for_each(|z| *z = (*z - largest).exp());
            let sum: f64 = shares.iter().sum();
            for (index, (gradient, share)) in gradient.iter_mut().zip(shares).enumerate() {
                let error = share / sum - f64::from(u8::from(index == *class));
                gradient
                    .iter_mut()
                    .zip(row)
                    .for_each(|(g, x)| *g += error * x);
            }
        }
        let factor = rate / windows.len() as f64;
        for (row, gradient) in self.rows.iter_mut().zip(gradient) {
            row.iter_mut()
                .zip(gradient)
                .for_each(|(w, g)| *w -= factor * g);
        }
    }

    fn accuracy(&self, windows: &[(Vec<f64>, usize)]) -> f64 {
        let class = |row: &[f64]| {
            let logits = self.logits(row);
            (0..logits.len()).fold(
                0,
                |best, at| if logits[at] > logits[best] { at } else { best },
            )
        };
        let right = windows
            .iter()
            .filter(|(row, known)| class(row) == *known)
            .count();
        right as f64 / windows.len().max(1) as f64
    }
}
