//! How a background task learns that it shall end.

use tokio::sync::watch;

/// The side that asks; dropping it asks too.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// The side that is asked; each task owns a clone.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

pub(crate) fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the task shall end.
    pub(crate) async fn asked(&mut self) {
        drop(self.0.wait_for(|stop| *stop).await);
    }
}
