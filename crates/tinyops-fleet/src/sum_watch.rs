//! When the mean of many devices has left what is normal for them: the detector of `detector.rs`, for a stream whose
//! reference is known and whose noise mostly is.
//!
//! Each device reports how far it is from its own normal, so the mean is 0 while nothing happens, but for what those
//! normals themselves are off: they are means of a few reports, and their error stands in every sum. What has to be
//! learnt is how much the mean scatters beyond the helper's noise, which the first sums tell.

use crate::detector::{DriftPolicy, Judgement, Layout, Memory, Point, Pool, Watching};

/// How much more than any baseline the helper's noise is known by, and the reference where sums scatter by nothing else.
const KNOWN: u32 = 1_000_000;

/// Reports that a device takes its own normal from: `NORMAL_REPORTS` of `tinyops-device`.
const NORMAL_REPORTS: u32 = 14;

/// How many sums it weighs, against those seen of one number, that all numbers scatter alike: they are weighted to.
const COMMON_SUMS: f64 = 14.0;

/// How much more than all a number's first sums scatter before they alone say how much it does.
const BEYOND_COMMON: f64 = 1.5;

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
        let seen: Vec<f64> = (0..layout.len())
            .map(|index| {
                let squares = points
                    .iter()
                    .map(|point| f64::from(point.values[index]).powi(2));
                squares.sum::<f64>() / count
            })
            .collect();
        let common = (seen.iter().sum::<f64>() / seen.len().max(1) as f64).max(noise_variance);
        for (beyond, seen) in self.pool.squares.iter_mut().zip(seen) {
            let variance = if seen > BEYOND_COMMON * common {
                seen
            } else {
                (COMMON_SUMS * common + count * seen) / (COMMON_SUMS + count)
            };
            *beyond = (variance - noise_variance).max(0.0);
        }
        // What scatters beyond the noise did so too while the devices learnt their normals: the mean of those is as far
        // off as the mean of as many sums without noise.
        let beyond: f64 = self.pool.squares.iter().sum();
        let all = beyond + layout.len() as f64 * noise_variance;
        let known_by = f64::from(NORMAL_REPORTS) * all / beyond;
        self.memory = Memory::Watching(Watching {
            reference: Point {
                layout,
                values: vec![0.0; layout.len()],
                window_count: 1.0,
            },
            baseline_count: known_by.min(f64::from(KNOWN)) as u32,
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
        has_own_head: false,
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

    /// Standard normal numbers: the sum of twelve uniforms of SplitMix64.
    fn normal(state: &mut u64) -> f64 {
        let mut uniform = || {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }

    /// Whatever devices scatter beside the noise, a fifth or five times as much: 1.5 % at most, where 0.6 % are meant.
    #[test]
    fn scatter_beside_the_noise_and_normals_that_are_off_raise_no_alarm() {
        const FLEETS: u32 = 1_000;
        let policy = DriftPolicy::default();
        let noise_sd = 0.01;
        for own_sd in [0.002, 0.005, 0.012, 0.05] {
            let off_sd = own_sd / f64::from(NORMAL_REPORTS).sqrt();
            let mut state = 3;
            let alarmed = (0..FLEETS).filter(|_| {
                let mut watch = SumWatch::new(LAYOUT);
                let off = [0.0; 6].map(|_: f64| off_sd * normal(&mut state));
                let mut judged = (0..policy.baseline_reports + 30).filter_map(|_| {
                    let mean = off.map(|off| {
                        off + own_sd * normal(&mut state) + noise_sd * normal(&mut state)
                    });
                    watch.push(LAYOUT, &mean, noise_sd * noise_sd, &policy)
                });
                judged.any(|judged| judged.score >= 1.0)
            });
            let count = alarmed.count();
            assert!(count <= 15, "{count} of {FLEETS} at {own_sd}");
        }
    }
}
