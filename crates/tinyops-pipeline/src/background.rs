//! Work that must not be in the way of a server.

use tokio::sync::oneshot;

/// How much less of a processor the work gets than what competes with it: about a tenth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Does work on a thread of its own, of low priority where the system has that for a thread; `None` if it panics.
///
/// Threads that the work starts, those of a pool too, have the priority of the one that starts them.
pub(crate) async fn background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new()
        .name("pipeline".to_owned())
        .spawn(move || {
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                tracing::debug!(%error, "the priority stays as it is");
            }
            // Whoever waited may have gone.
            let _ = sender.send(work());
        });
    started.ok()?;
    receiver.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_work_gives_way_and_whoever_waits_does_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let own = niceness();
        let there = background(move || {
            let child = std::thread::spawn(niceness).join().unwrap();
            (niceness(), child)
        });
        let lowest = NICENESS.max(own);
        assert_eq!(there.await, Some((lowest, lowest)));
        assert_eq!(niceness(), own);
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        assert_eq!(background(|| panic!("as tested")).await, None::<()>);
    }
}
