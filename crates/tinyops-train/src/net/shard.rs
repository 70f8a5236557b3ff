//! Splitting a batch between threads without changing a bit of the result.
//!
//! A batch is always cut into the same shards, however many threads there are, and partial sums
//! are added in the order of the shards.

use rayon::prelude::*;

/// Most shards of a batch: enough for the cores of a workstation, few enough to add up quickly.
const SHARDS: usize = 8;

/// Multiply-accumulates below which handing work to other threads costs more than it saves.
const WORTH_SHARING: usize = 200_000;

/// Examples in each shard of a batch (the last may hold fewer).
pub(crate) fn shard_len(count: usize) -> usize {
    count.div_ceil(SHARDS).max(1)
}

/// Does the same to every shard, on other threads where the work is worth it.
pub(crate) fn for_each<T: Send>(shards: Vec<T>, work: usize, act: impl Fn(T) + Sync + Send) {
    if work < WORTH_SHARING {
        shards.into_iter().for_each(act);
    } else {
        shards.into_par_iter().with_max_len(1).for_each(act);
    }
}

/// Adds the shards' partial sums to `total`, first shard first.
pub(crate) fn add_in_order(total: &mut [f32], partials: &[f32]) {
    for partial in partials.chunks_exact(total.len().max(1)) {
        for (sum, part) in total.iter_mut().zip(partial) {
            *sum += part;
        }
    }
}
