//! Work that waits for nothing else of its kind, done side by side.

use crate::steps::Answer;
use std::sync::Mutex;
use std::thread;

/// Does the work for each item, as many at once as there are processors, in order; answers with every failure.
pub(crate) fn each<T: Send>(items: Vec<T>, work: impl Fn(T) -> Answer + Sync) -> Vec<String> {
    let left = Mutex::new(items.into_iter());
    let next = || left.lock().ok()?.next();
    let lane = || {
        let mut failures = Vec::new();
        while let Some(item) = next() {
            failures.extend(work(item).err());
        }
        failures
    };
    let lanes = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| {
            lane.join()
                .unwrap_or_else(|_| vec!["something could not be done at all".to_owned()])
        });
        ended.flatten().collect()
    })
}

/// Something to do.
pub(crate) type Job<'a> = Box<dyn FnOnce() -> Answer + Send + 'a>;

/// Does all of it side by side.
///
/// # Errors
/// What went wrong, all of it.
pub(crate) fn all(jobs: Vec<Job<'_>>) -> Answer {
    let failures = each(jobs, |job| job());
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n\n")),
    }
}
