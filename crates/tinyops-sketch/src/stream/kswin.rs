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
    /// Places in the ring in the order of their values.
    order: [u16; WINDOW_MAX],
    /// By place in the ring: 1 for what was drawn last, -1 for the newest.
    marks: [i8; WINDOW_MAX],
    /// The newest test's statistic, in values.
    steps: usize,
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
        const { assert!(WINDOW_MAX <= u16::MAX as usize, "places have 16 bits") };
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
            order: [0; WINDOW_MAX],
            marks: [0; WINDOW_MAX],
            steps: 0,
            seed,
            random: seed,
            is_over: false,
        })
    }

    /// The p value of the newest test; 1 before any.
    pub fn p(&self) -> f64 {
        smirnov_p(self.recent, self.steps)
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
        let marks = &mut self.marks[..self.window];
        marks.fill(0);
        let at = |place: usize| match self.next + place {
            at if at >= self.window => at - self.window,
            at => at,
        };
        (before..self.window).for_each(|place| marks[at(place)] = -1);
        for _ in 0..self.recent {
            let place = draw(&mut self.random);
            assert!(place < before, "a place among those before");
            marks[at(place)] = 1;
        }
        self.steps = self.statistic();
        self.is_over = self.steps >= self.steps_min;
        match self.is_over {
            true => Verdict::Drift,
            false => Verdict::Stable,
        }
    }

    /// Largest difference, in values, between how many of the drawn and of the newest lie at or below any point.
    fn statistic(&self) -> usize {
        let (mut level, mut most, mut last) = (0_i32, 0_u32, f64::NEG_INFINITY);
        for &place in &self.order[..self.window] {
            let (value, mark) = (
                self.values[usize::from(place)],
                self.marks[usize::from(place)],
            );
            // Equal values count at once.
            if value != last {
                most = most.max(level.unsigned_abs());
                last = value;
            }
            level += i32::from(mark);
        }
        most.max(level.unsigned_abs()) as usize
    }

    /// Puts a value into the ring, in place of the oldest one if it is full.
    fn push(&mut self, value: f64) {
        let Kswin { values, order, .. } = self;
        let mut held = self.count;
        if held == self.window {
            let leaving = values[self.next];
            let first = order[..held].partition_point(|&at| values[usize::from(at)] < leaving);
            let equal = order[first..held].iter();
            let from = first
                + equal
                    .take_while(|&&at| usize::from(at) != self.next)
                    .count();
            order.copy_within(from + 1..held, from);
            held -= 1;
        }
        let to = order[..held].partition_point(|&at| values[usize::from(at)] < value);
        order.copy_within(to..held, to + 1);
        order[to] = self.next as u16;
        values[self.next] = value;
        self.next = match self.next + 1 {
            next if next == self.window => 0,
            next => next,
        };
        self.count = held + 1;
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
