//! The Kolmogorov–Smirnov test in a sliding window.

use super::{Detector, Verdict};

/// The newest values of a window, held against as many drawn from those before. The window has at most `WINDOW_MAX`.
///
/// Drawing makes it depend on luck: of 20 seeds, some find a shift of half a deviation and some do not.
///
/// # Units
/// Any. `alpha` is the p value at which a test says drift; it tests after every value, so a small one.
///
/// # Source
/// Raab, Heusinger and Schleif, 2020, "Reactive soft prototype computing for concept drift streams".
#[derive(Clone, Debug)]
pub struct Kswin<const WINDOW_MAX: usize = 100> {
    window: usize,
    recent: usize,
    /// Least statistic, in values, that says drift.
    steps_min: usize,
    /// A ring: the oldest value is at `next` once it is full.
    values: [f64; WINDOW_MAX],
    next: usize,
    count: usize,
    /// The newest values in order of size.
    newest: [f64; WINDOW_MAX],
    /// What was drawn last, in order of size.
    drawn: [f64; WINDOW_MAX],
    p: f64,
    seed: u64,
    random: u64,
    is_over: bool,
}

/// A statistic of no more than this says nothing, however small its p value.
const STATISTIC_MIN: f64 = 0.1;

impl<const WINDOW_MAX: usize> Kswin<WINDOW_MAX> {
    /// An empty window of `window` values, the newest `recent` of which are held against others.
    ///
    /// `None` if there are none to draw `recent` from, or the window is longer than `WINDOW_MAX`.
    pub fn new(alpha: f64, window: usize, recent: usize, seed: u64) -> Option<Kswin<WINDOW_MAX>> {
        if recent == 0 || window > WINDOW_MAX || 2 * recent > window {
            return None;
        }
        let says = |steps: &usize| {
            smirnov_p(recent, *steps) <= alpha && *steps as f64 / recent as f64 > STATISTIC_MIN
        };
        Some(Kswin {
            window,
            recent,
            steps_min: (1..=recent).find(says).unwrap_or(recent + 1),
            values: [0.0; WINDOW_MAX],
            next: 0,
            count: 0,
            newest: [0.0; WINDOW_MAX],
            drawn: [0.0; WINDOW_MAX],
            p: 1.0,
            seed,
            random: seed,
            is_over: false,
        })
    }

    /// The p value of the newest test; 1 before any.
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Takes a value that is a number. If the window is full, `draw` answers, as often as there are newest values, with a
    /// place among the values before them, each another; 0 is the oldest value's.
    ///
    /// # Panics
    /// If a place is none.
    pub fn take_with(&mut self, value: f64, mut draw: impl FnMut(&mut u64) -> usize) -> Verdict {
        if core::mem::take(&mut self.is_over) {
            (self.count, self.next, self.random) = (0, 0, self.seed);
        }
        self.push(value);
        if self.count < self.window {
            return Verdict::Stable;
        }
        let before = self.window - self.recent;
        for index in 0..self.recent {
            let place = draw(&mut self.random);
            assert!(place < before, "a place among those before");
            self.drawn[index] = self.values[(self.next + place) % self.window];
        }
        let drawn = &mut self.drawn[..self.recent];
        drawn.sort_unstable_by(f64::total_cmp);
        let steps = statistic(drawn, &self.newest[..self.recent]);
        self.p = smirnov_p(self.recent, steps);
        self.is_over = steps >= self.steps_min;
        match self.is_over {
            true => Verdict::Drift,
            false => Verdict::Stable,
        }
    }

    /// Puts a value into the ring, and among the newest in order of size in place of the one that leaves them.
    fn push(&mut self, value: f64) {
        let (window, recent) = (self.window, self.recent);
        let held = self.count.min(recent);
        let newest = &mut self.newest[..recent];
        let to = newest[..held].partition_point(|other| *other < value);
        if held == recent {
            let leaving = self.values[(self.next + window - recent) % window];
            let from = newest.partition_point(|other| *other < leaving);
            // Between the two places, all move by one.
            if to > from {
                newest.copy_within(from + 1..to, from);
                newest[to - 1] = value;
            } else {
                newest.copy_within(to..from, to + 1);
                newest[to] = value;
            }
        } else {
            newest.copy_within(to..held, to + 1);
            newest[to] = value;
        }
        self.values[self.next] = value;
        self.next = (self.next + 1) % window;
        self.count = (self.count + 1).min(window);
    }
}

impl<const WINDOW_MAX: usize> Detector for Kswin<WINDOW_MAX> {
    fn take(&mut self, value: f64) -> Verdict {
        // Floyd's choice of a subset: Bentley and Floyd, 1987, "A sample of brilliance".
        let mut taken = [false; WINDOW_MAX];
        let mut last = self.window - 2 * self.recent;
        self.take_with(value, |random| {
            let chosen = below(random, last + 1);
            let place = if taken[chosen] { last } else { chosen };
            taken[place] = true;
            last += 1;
            place
        })
    }
}

/// A number below `end`: the generator of Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators".
fn below(random: &mut u64, end: usize) -> usize {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *random;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * end as u128) >> 64) as usize
}

/// Largest difference, in values, between how many of either sample lie at or below any point; both in order of size.
fn statistic(a: &[f64], b: &[f64]) -> usize {
    let (mut i, mut j, mut most) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let at = a[i].min(b[j]);
        while i < a.len() && a[i] <= at {
            i += 1;
        }
        while j < b.len() && b[j] <= at {
            j += 1;
        }
        most = most.max(i.abs_diff(j));
    }
    most
}

/// Exact p value of the two-sided statistic of two samples of `count` values each: the chance of `steps / count` or
/// more, if both have one continuous law.
///
/// # Source
/// Gnedenko and Korolyuk, 1951, by reflection; evaluated as nested products, which neither overflow nor cancel.
pub fn smirnov_p(count: usize, steps: usize) -> f64 {
    if steps == 0 {
        return 1.0;
    }
    let mut sum = 0.0;
    for turn in (0..=count / steps).rev() {
        let mut product = 1.0;
        for step in 0..steps {
            let below = count as f64 - (turn * steps + step) as f64;
            let above = (count + turn * steps + step + 1) as f64;
            product *= below / above;
        }
        sum = product * (1.0 - sum);
    }
    (2.0 * sum).clamp(0.0, 1.0)
}
