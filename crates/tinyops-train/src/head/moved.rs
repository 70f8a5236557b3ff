//! The factory's windows where a fleet's sums say that its own lie now: what a head makes of them is counted, and no law
//! is assumed of how embeddings scatter.
//!
//! Sums tell where the classes of a changed world lie and how its windows scatter around them, and not the shape that
//! they scatter in. The factory's windows have that shape: each is taken as how far it lies from the mean of its class,
//! and put as far from the mean that the fleet has of the class, in the fleet's scatter.
//!
//! # Source
//! Sun, Feng and Saenko, 2016, "Return of frustratingly easy domain adaptation" (CORAL): whitened by the covariance of
//! one world and coloured by that of the other; here around the means of classes, as these are known of both.

use super::linear::{Accuracy, Linear};
use super::sums::Sums;
use super::{Embedded, Projection, SEEN};
use crate::linalg;

/// Part of the mean variance that is added to each direction, of both worlds: what hardly varied at the factory is not
/// drawn out at any length.
const RIDGE: f64 = 1e-3;

/// How the factory's windows scatter around the means of their classes, in units of their own deviation.
pub(super) struct Scatter {
    width: usize,
    /// `[class][window, value]`; a class of too few windows has those of all.
    whitened: Vec<Vec<f64>>,
}

/// Windows that are moved at most: more of them say hardly more of a shape, and take longer to count.
const WINDOWS_MAX: usize = 3_000;

/// Windows of a fleet as its sums let them be imagined.
pub(super) struct Moved {
    width: usize,
    classes: usize,
    /// `[window, value]`, and the class of each.
    pub(super) rows: Vec<f64>,
    pub(super) labels: Vec<usize>,
}

impl Scatter {
    /// Of the factory's windows, and their sums as the fleet tells its own; `None` where there is no window, or all lie on
    /// their means.
    pub(super) fn of(
        windows: &Embedded,
        sums: &Sums,
        projection: Option<&Projection>,
    ) -> Option<Scatter> {
        let d = sums.width;
        let lower = linalg::cholesky(&ridged(sums.within(), d)?, d)?;
        let mut by_class = vec![Vec::new(); sums.classes];
        let step = windows.count().div_ceil(WINDOWS_MAX).max(1);
        let mut met = vec![0; sums.classes];
        for index in 0..windows.count() {
            let class = windows.class(index).map(usize::from);
            let Some(class) = class.filter(|&class| class < sums.classes) else {
                continue;
            };
            met[class] += 1;
            // Evenly of each class, in whatever order they come.
            if met[class] % step != 1 % step {
                continue;
            }
            let wide: Vec<f64> = windows.values(index).map(f64::from).collect();
            let mut row = projection.map_or_else(|| wide.clone(), |narrow| narrow.of(&wide));
            let mean = sums.mean(class);
            row.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean);
            linalg::forward(&lower, d, &mut row);
            by_class[class].extend(row);
        }
        let all = by_class.concat();
        for own in &mut by_class {
            if ((own.len() / d) as f64) < SEEN {
                own.clone_from(&all);
            }
        }
        (!all.is_empty()).then_some(Scatter {
            width: d,
            whitened: by_class,
        })
    }

    /// Moved to where these sums lie; `None` where they say of no direction how they scatter.
    ///
    /// A class that has `c` windows in the sums has their mean in the place of its own, which is itself off by the scatter
    /// over `c`: windows are drawn in by `√(1 − 1 / c)`, so that they lie as the sums' own do around their mean, and where
    /// there is one, on it.
    pub(super) fn moved(&self, to: &Sums) -> Option<Moved> {
        let d = self.width;
        let seen = (0..to.classes).filter(|&class| to.holds(class));
        // Means that were taken from the windows themselves leave them less scatter than there is.
        let free = to.total() - seen.clone().count() as f64;
        let spread = match free >= 1.0 {
            true => to.total() / free,
            false => 1.0,
        };
        let mut covariance = to.within();
        covariance.iter_mut().for_each(|x| *x *= spread);
        let lower = linalg::cholesky(&ridged(covariance, d)?, d)?;
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for class in seen {
            let mean = to.mean(class);
            let drawn_in = (1.0 - 1.0 / to.counts[class].max(1.0)).sqrt();
            for own in self.whitened[class].chunks_exact(d) {
                let coloured = (0..d).map(|i| {
                    let row = &lower[i * d..][..=i];
                    let sum: f64 = row.iter().zip(own).map(|(l, z)| l * z).sum();
                    mean[i] + drawn_in * sum
                });
                rows.extend(coloured);
                labels.push(class);
            }
        }
        (!labels.is_empty()).then_some(Moved {
            width: d,
            classes: to.classes,
            rows,
            labels,
        })
    }
}

impl Moved {
    /// Share of these windows that a head is right about, classes weighing the same.
    pub(super) fn accuracy(&self, head: &Linear) -> f64 {
        let rows = self.rows.chunks_exact(self.width);
        let told = rows.zip(&self.labels);
        let told = told.map(|(row, &class)| (class, head.class(row)));
        Accuracy::of(self.classes, told).map_or(0.0, |found| found.balanced)
    }
}

/// A covariance with some of its mean variance added; `None` where there is none.
fn ridged(mut covariance: Vec<f64>, d: usize) -> Option<Vec<f64>> {
    let scale = (0..d).map(|i| covariance[i * d + i]).sum::<f64>() / d.max(1) as f64;
    if scale <= 0.0 || !scale.is_finite() {
        return None;
    }
    (0..d).for_each(|i| covariance[i * d + i] += RIDGE * scale);
    Some(covariance)
}
