//! Adaptive windowing.

use super::{Detector, Verdict};

/// Buckets of one size at most, before two of them become one.
const BUCKETS_MAX: usize = 5;

/// A window as long as nothing has changed in it, kept as exponentially larger buckets of sums.
///
/// `ROWS` bounds the window: about `5 × 2^ROWS` values, after which the oldest go.
///
/// # Units
/// Any; best standardised.
///
/// # Source
/// Bifet and Gavaldà, 2007, "Learning from time-changing data with adaptive windowing"; variances of buckets after
/// Babcock, Datar, Motwani and O'Callaghan, 2003, "Maintaining variance and k-medians over data stream windows".
#[derive(Clone, Debug)]
pub struct Adwin<const ROWS: usize = 24> {
    /// Chance that a look takes noise for a change.
    pub delta: f64,
    /// Values from one look to the next, at least 1.
    pub clock: u32,
    /// Values on either side of a cut at least.
    pub side_min: u32,
    /// Values in the window before it is looked at.
    pub warm_up: u32,
    ticks: u32,
    rows: [Row; ROWS],
    /// Rows that hold something.
    row_count: usize,
    width: f64,
    total: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    is_over: bool,
}

/// Buckets of one size, oldest first.
#[derive(Clone, Copy, Debug)]
struct Row {
    count: usize,
    buckets: [Bucket; BUCKETS_MAX + 1],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    total: f64,
    squares: f64,
}

impl Row {
    const EMPTY: Row = Row {
        count: 0,
        buckets: [Bucket {
            total: 0.0,
            squares: 0.0,
        }; BUCKETS_MAX + 1],
    };

    fn push(&mut self, bucket: Bucket) {
        self.buckets[self.count] = bucket;
        self.count += 1;
    }

    fn drop_oldest(&mut self, count: usize) {
        self.buckets.copy_within(count..self.count, 0);
        self.count -= count;
    }
}

/// Values in a bucket of a row.
fn size_of(row: usize) -> f64 {
    (1_u64 << row) as f64
}

impl<const ROWS: usize> Adwin<ROWS> {
    /// An empty window that is looked at after every `clock`-th value.
    pub const fn new(delta: f64, clock: u32) -> Adwin<ROWS> {
        const { assert!(ROWS >= 2 && ROWS <= 48, "a window of some length") };
        Adwin {
            delta,
            clock,
            side_min: 5,
            warm_up: 10,
            ticks: 0,
            rows: [Row::EMPTY; ROWS],
            row_count: 1,
            width: 0.0,
            total: 0.0,
            squares: 0.0,
            is_over: false,
        }
    }

    /// How many values the window holds.
    pub fn width(&self) -> u64 {
        self.width as u64
    }

    /// Mean of the window; 0 of an empty one.
    pub fn mean(&self) -> f64 {
        match self.width > 0.0 {
            true => self.total / self.width,
            false => 0.0,
        }
    }

    /// Sum of the squared distances of the window's values from its mean.
    pub fn squares(&self) -> f64 {
        self.squares
    }

    fn insert(&mut self, value: f64) {
        self.rows[0].push(Bucket {
            total: value,
            squares: 0.0,
        });
        self.width += 1.0;
        if self.width > 1.0 {
            let distance = value - self.total / (self.width - 1.0);
            self.squares += (self.width - 1.0) * distance * distance / self.width;
        }
        self.total += value;
        self.compress();
    }

    /// Joins the two oldest buckets of a row that is too long, and so on upwards.
    fn compress(&mut self) {
        for row in 0..ROWS {
            if self.rows[row].count <= BUCKETS_MAX {
                return;
            }
            if row + 1 == ROWS {
                return self.drop_oldest();
            }
            let size = size_of(row);
            let [a, b, ..] = self.rows[row].buckets;
            let apart = a.total / size - b.total / size;
            self.rows[row].drop_oldest(2);
            self.rows[row + 1].push(Bucket {
                total: a.total + b.total,
                squares: a.squares + b.squares + size * size * apart * apart / (size + size),
            });
            self.row_count = self.row_count.max(row + 2);
        }
    }

    fn drop_oldest(&mut self) {
        let row = self.row_count - 1;
        let (size, bucket) = (size_of(row), self.rows[row].buckets[0]);
        self.width -= size;
        self.total -= bucket.total;
        let apart = bucket.total / size - self.total / self.width;
        self.squares -= bucket.squares + size * self.width * apart * apart / (size + self.width);
        self.rows[row].drop_oldest(1);
        while self.row_count > 1 && self.rows[self.row_count - 1].count == 0 {
            self.row_count -= 1;
        }
    }

    /// Whether some cut parts two halves whose means differ by more than chance allows.
    fn has_cut(&self) -> bool {
        let side_min = f64::from(self.side_min);
        let ln = libm::log(2.0 * libm::log(self.width) / self.delta);
        let spread = 2.0 * (self.squares / self.width) * ln;
        let (mut older, mut older_total) = (0.0, 0.0);
        for row in (0..self.row_count).rev() {
            let size = size_of(row);
            for bucket in &self.rows[row].buckets[..self.rows[row].count] {
                older += size;
                older_total += bucket.total;
                let newer = self.width - older;
                if newer < side_min {
                    return false;
                }
                if older < side_min {
                    continue;
                }
                let apart = older_total / older - (self.total - older_total) / newer;
                let room = 1.0 / (older - side_min + 1.0) + 1.0 / (newer - side_min + 1.0);
                let limit = libm::sqrt(room * spread) + 2.0 / 3.0 * ln * room;
                if libm::fabs(apart) > limit {
                    return true;
                }
            }
        }
        false
    }
}

impl<const ROWS: usize> Detector for Adwin<ROWS> {
    fn take(&mut self, value: f64) -> Verdict {
        if self.is_over {
            let Adwin {
                side_min, warm_up, ..
            } = *self;
            *self = Adwin {
                side_min,
                warm_up,
                ..Adwin::new(self.delta, self.clock)
            };
        }
        self.insert(value);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(self.clock.max(1)) && self.width > f64::from(self.warm_up) {
            while self.has_cut() {
                self.is_over = true;
                self.drop_oldest();
            }
        }
        match self.is_over {
            true => Verdict::Drift,
            false => Verdict::Stable,
        }
    }
}
