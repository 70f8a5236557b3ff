//! When the mean of many devices has left what is normal for them: the detector of `detector.rs`, for a stream whose
//! reference is known and whose noise mostly is.
//!
//! Each device reports how far it is from its own normal, so the mean is 0 while nothing happens: nothing of it has to be
//! learnt but how much it scatters beyond the helper's noise, which the first sums tell.

use crate::detector::{DriftPolicy, Judgement, Layout, Memory, Point, Pool, Watching};

/// How much more than any baseline the reference, and the helper's noise, are known by.
const KNOWN: u32 = 1_000_000;

/// How many sums the known noise weighs against those seen, where the two agree.
const NOISE_SUMS: f64 = 14.0;

/// How far the first sums scatter beyond the known noise before they alone say how much they do.
const BEYOND_NOISE: f64 = 2.5;

/// Excess kurtosis of Student's law of 13 degrees of freedom: of a variance known by the first sums alone.
const LEARNT_EXCESS: f64 = 6.0 / 9.0;

/// What is remembered of a cohort's sums.
#[derive(Clone, Debug, PartialEq)]
pub struct SumWatch {
    memory: Memory,
    /// Scatter beyond the known noise, as squares.
    pool: Pool,
}

impl SumWatch {
    /// Nothing yet.
    pub fn new(layout: Layout) -> SumWatch {
        SumWatch {
            memory: Memory::new(),
            pool: Pool::new(layout),
        }
    }

    /// Takes the mean of one sum, and the variance of each of its numbers that is known; judges it once the first sums
    /// have told how much they scatter beyond that. Another layout begins anew.
    pub fn push(
        &mut self,
        layout: Layout,
        mean: &[f64],
        noise_variance: f64,
        policy: &DriftPolicy,
    ) -> Option<Judgement> {
        if self.pool.layout != layout {
            *self = SumWatch::new(layout);
        }
        let point = Point {
            layout,
            values: mean.iter().map(|value| *value as f32).collect(),
            window_count: 1.0,
        };
        let Memory::Learning(points) = &mut self.memory else {
            let mut pool = self.pool_with(noise_variance);
            return self.memory.push(0, &point, &mut pool, policy);
        };
        points.push(point);
        if points.len() < policy.baseline_reports.max(2) as usize {
            return None;
        }
        let count = points.len() as f64;
        for index in 0..layout.len() {
            let squares = points
                .iter()
                .map(|point| f64::from(point.values[index]).powi(2));
            let seen = squares.sum::<f64>() / count;
            let variance = if seen > BEYOND_NOISE * noise_variance {
                seen
            } else {
                (NOISE_SUMS * noise_variance + count * seen) / (NOISE_SUMS + count)
            };
            self.pool.squares[index] = (variance - noise_variance).max(0.0);
        }
        self.memory = Memory::Watching(Watching {
            reference: Point {
                layout,
                values: vec![0.0; layout.len()],
                window_count: 1.0,
            },
            baseline_count: KNOWN,
            smoothed: vec![0.0; layout.len()],
            step_count: 0,
        });
        None
    }

    /// The noise of one sum, as the detector takes it.
    fn pool_with(&self, noise_variance: f64) -> Pool {
        let mut pool = Pool::new(self.pool.layout);
        pool.freedom = f64::from(KNOWN);
        for (index, beyond) in self.pool.squares.iter().enumerate() {
            let excess = if *beyond > noise_variance {
                LEARNT_EXCESS
            } else {
                0.0
            };
            let squares = (beyond + noise_variance) * pool.freedom;
            pool.squares[index] = squares;
            pool.quartics[index] = (3.0 + excess) * squares * squares / pool.freedom;
        }
        pool
    }

    /// The watch as bytes: a length u32, the memory, the pool (`memory.rs`).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let memory = self.memory.encode();
        let mut out = (memory.len() as u32).to_le_bytes().to_vec();
        out.extend(memory);
        out.extend(self.pool.encode());
        out
    }

    /// The watch of [`SumWatch::encode`]'s bytes; `None` for others, which is as if nothing were remembered.
    pub(crate) fn decode(bytes: &[u8]) -> Option<SumWatch> {
        let (len, rest) = bytes.split_first_chunk()?;
        let (memory, pool) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(SumWatch {
            memory: Memory::decode(memory)?,
            pool: Pool::decode(pool)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        channel_count: 2,
        has_shares: false,
        class_count: 2,
        is_restandardized: false,
    };

    /// Sums that alternate by as much as their noise says, and then stand aside.
    #[test]
    fn a_mean_that_leaves_zero_is_seen_and_survives_as_bytes() {
        let policy = DriftPolicy::default();
        let mut watch = SumWatch::new(LAYOUT);
        let sd = 0.01_f64;
        for day in 0..30 {
            let value = if day % 2 == 0 { sd } else { -sd };
            let judged = watch.push(LAYOUT, &[value; 6], sd * sd, &policy);
            assert_eq!(judged.is_some(), day >= 14, "day {day}");
            assert!(judged.is_none_or(|judged| judged.score < 1.0), "day {day}");
            watch = SumWatch::decode(&watch.encode()).unwrap();
        }
        let mut moved = [0.0; 6];
        moved[0] = 3.0 * sd;
        let delay = (1..30).find(|_| {
            let judged = watch.push(LAYOUT, &moved, sd * sd, &policy).unwrap();
            judged.score >= 1.0
        });
        assert!(delay.is_some_and(|delay| delay <= 4), "{delay:?}");
        // A tenfold noise hides it.
        let hidden = watch
            .push(LAYOUT, &moved, 100.0 * sd * sd, &policy)
            .unwrap();
        assert!(hidden.score < 1.0);
        let other = Layout {
            class_count: 3,
            ..LAYOUT
        };
        assert!(watch.push(other, &[0.0; 7], sd * sd, &policy).is_none());
    }
}
