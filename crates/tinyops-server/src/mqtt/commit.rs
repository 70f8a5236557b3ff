//! Group commit: messages of all connections go into the store together, then all are acknowledged.
//!
//! One message alone waits [`LINGER`] for company; under load the next group collects while
//! the last one commits. An acknowledgement always means durably stored.
//!
//! While little comes, the records hold a message when it is acknowledged. From [`BUSY_COUNT`]
//! messages within [`SETTLE_AFTER`] on they follow within [`SETTLE_WITHIN`], many messages at once.

use std::sync::Arc;
use std::time::Duration;

use tinyops_fleet::FleetError;
use tinyops_store::StoreError;
use tinyops_wire::id::DeviceId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use super::session::{Closing, Session};
use super::{Gate, GateError, Pace, Verdict};
use crate::metrics::Metrics;
use crate::stop::Stop;

/// How long a message waits for others before the group is committed.
const LINGER: Duration = Duration::from_millis(5);
/// Messages in one transaction at most.
const GROUP_COUNT_MAX: usize = 1024;
/// How long what follows from messages is put off while many come.
const SETTLE_AFTER: Duration = Duration::from_millis(250);
/// How long it may be put off while so many come that devices report several times: the longer, the less each costs.
const SETTLE_WITHIN: Duration = Duration::from_millis(500);
/// Messages within [`SETTLE_AFTER`] which are many.
const BUSY_COUNT: usize = 250;
/// Messages put off which are so many.
const VERY_BUSY_COUNT: usize = 2048;
/// Messages that are put off at most.
const PUT_OFF_COUNT_MAX: usize = 32_768;
/// Messages waiting at most; a connection that finds the queue full stops reading.
const QUEUE_COUNT_MAX: usize = 4096;

/// Something for the store, from a connection or the HTTP API.
#[derive(Debug)]
pub(crate) enum Work {
    /// A report from the device of an MQTT session.
    Message {
        session: Arc<Session>,
        packet_id: Option<u16>,
        payload: Box<[u8]>,
    },
    /// A report over HTTP, from a device or from a gateway that carries many; the answer goes back through `done`.
    Upload {
        device: Option<DeviceId>,
        bytes: Vec<u8>,
        done: oneshot::Sender<Result<Verdict, NotStored>>,
    },
    /// A device listens now: send what it is owed.
    Listening { session: Arc<Session> },
}

/// Why a report was not stored; it is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// The disk is full.
    Full,
    /// The store could not for another reason, which is in the log.
    Failed,
}

impl NotStored {
    fn of(cause: &GateError) -> NotStored {
        match cause.downcast_ref() {
            Some(FleetError::Store(StoreError::Full { .. })) => NotStored::Full,
            _ => NotStored::Failed,
        }
    }
}

impl Work {
    fn uplink(&self) -> Option<(Option<DeviceId>, &[u8])> {
        match self {
            Work::Message {
                session, payload, ..
            } => Some((Some(session.device), payload)),
            Work::Upload { device, bytes, .. } => Some((*device, bytes)),
            Work::Listening { .. } => None,
        }
    }
}

/// Makes the queue; [`run`] empties it.
pub(crate) fn queue() -> (mpsc::Sender<Work>, mpsc::Receiver<Work>) {
    mpsc::channel(QUEUE_COUNT_MAX)
}

/// Commits groups until asked to stop; what is in the queue by then is still committed.
pub(crate) async fn run<G: Gate>(
    gate: Arc<G>,
    mut queue: mpsc::Receiver<Work>,
    metrics: Metrics,
    mut stop: Stop,
) {
    let mut group = Vec::with_capacity(GROUP_COUNT_MAX);
    let mut open = true;
    let mut traffic = Traffic::new();
    // What an earlier process left to do.
    settle(&*gate, &mut traffic).await;
    loop {
        tokio::select! {
            biased;
            collected = collect(&mut queue, &mut group) => {
                if !collected {
                    break;
                }
            }
            () = stop.asked(), if open => {
                queue.close(); // From here on, senders fail and the rest runs dry.
                open = false;
                continue;
            }
            () = traffic.due() => {
                settle(&*gate, &mut traffic).await;
                continue;
            }
        }
        let started = Instant::now();
        let pace = traffic.note(group.iter().filter(|work| work.uplink().is_some()).count());
        commit(&*gate, &mut group, pace, &metrics).await;
        metrics
            .commit_seconds
            .observe(started.elapsed().as_secs_f64());
        group.shrink_to(GROUP_COUNT_MAX);
        if traffic.is_due() {
            settle(&*gate, &mut traffic).await;
        }
    }
    settle(&*gate, &mut traffic).await;
}

async fn settle<G: Gate>(gate: &G, traffic: &mut Traffic) {
    traffic.settled();
    if let Err(cause) = gate.settle().await {
        error!(%cause, "reports are stored and not in the records yet; tried again soon");
        traffic.put_off(0);
    }
}

/// How much comes, and how long something has been put off.
struct Traffic {
    /// When the current stretch of [`SETTLE_AFTER`] began.
    since: Instant,
    /// Messages in it, and in the one before.
    count: usize,
    count_before: usize,
    put_off_count: usize,
    put_off_since: Option<Instant>,
}

impl Traffic {
    fn new() -> Traffic {
        Traffic {
            since: Instant::now(),
            count: 0,
            count_before: 0,
            put_off_count: 0,
            put_off_since: None,
        }
    }

    /// Counts messages that come now; says how to take them.
    fn note(&mut self, count: usize) -> Pace {
        let elapsed = self.since.elapsed();
        if elapsed >= SETTLE_AFTER {
            self.count_before = match elapsed < 2 * SETTLE_AFTER {
                true => self.count,
                false => 0,
            };
            self.count = 0;
            self.since = Instant::now();
        }
        self.count += count;
        if self.count.max(self.count_before) < BUSY_COUNT {
            return Pace::Calm;
        }
        self.put_off(count);
        Pace::Busy
    }

    fn put_off(&mut self, count: usize) {
        self.put_off_count += count;
        self.put_off_since.get_or_insert_with(Instant::now);
    }

    fn settled(&mut self) {
        self.put_off_count = 0;
        self.put_off_since = None;
    }

    fn is_due(&self) -> bool {
        self.put_off_count >= PUT_OFF_COUNT_MAX
            || self.due_at().is_some_and(|at| Instant::now() >= at)
    }

    fn due_at(&self) -> Option<Instant> {
        let after = match self.put_off_count < VERY_BUSY_COUNT {
            true => SETTLE_AFTER,
            false => SETTLE_WITHIN,
        };
        self.put_off_since.map(|since| since + after)
    }

    /// Waits until something has been put off for long enough.
    async fn due(&self) {
        match self.due_at() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// Fills the group; false when nothing is left and nothing can come. What was collected before
/// a cancellation stays in the group.
async fn collect(queue: &mut mpsc::Receiver<Work>, group: &mut Vec<Work>) -> bool {
    if group.is_empty() && queue.recv_many(group, GROUP_COUNT_MAX).await == 0 {
        return false;
    }
    if group.len() < GROUP_COUNT_MAX && !queue.is_closed() {
        // Asleep, so that those who come meanwhile wake nobody.
        tokio::time::sleep(LINGER).await;
    }
    while group.len() < GROUP_COUNT_MAX
        && let Ok(work) = queue.try_recv()
    {
        group.push(work);
    }
    true
}

async fn commit<G: Gate>(gate: &G, group: &mut Vec<Work>, pace: Pace, metrics: &Metrics) {
    let uplinks: Vec<(Option<DeviceId>, &[u8])> = group.iter().filter_map(Work::uplink).collect();
    let verdicts = if uplinks.is_empty() {
        Ok(Vec::new())
    } else {
        metrics.commit_messages.observe(uplinks.len() as f64);
        gate.commit(&uplinks, pace).await
    };
    drop(uplinks);
    let mut verdicts = match verdicts {
        Ok(verdicts) => verdicts.into_iter(),
        Err(cause) => {
            error!(%cause, messages = group.len(), "reports were not stored; devices will repeat them");
            metrics.commit_failures.inc();
            let why = NotStored::of(&cause);
            for work in group.drain(..) {
                match work {
                    Work::Message { session, .. } => session.close(Closing::NotStored),
                    Work::Upload { done, .. } => drop(done.send(Err(why))),
                    Work::Listening { .. } => {}
                }
            }
            return;
        }
    };
    let (mut heard, mut listening) = (Vec::with_capacity(group.len()), Vec::new());
    for work in group.drain(..) {
        match work {
            Work::Message {
                session, packet_id, ..
            } => {
                let verdict = verdicts.next().expect("one verdict per message");
                session.acknowledge(packet_id, verdict.kept);
                for message in verdict.down {
                    send(&session, &message, metrics);
                }
                heard.push(session);
            }
            Work::Upload { done, .. } => {
                let verdict = verdicts.next().expect("one verdict per message");
                drop(done.send(Ok(verdict)));
            }
            Work::Listening { session } => listening.push(session),
        }
    }
    // The first time that a device comes here, everything of it goes out.
    for session in heard {
        session.write_acks();
    }
    for session in listening {
        match gate.owed(session.device).await {
            Ok(messages) => {
                for message in messages {
                    send(&session, &message, metrics);
                }
            }
            Err(cause) => warn!(device = %session.device, %cause, "nothing could be offered"),
        }
    }
}

fn send(session: &Session, message: &[u8], metrics: &Metrics) {
    if !session.send(Arc::from(message)) {
        metrics.downlinks_dropped.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn much_is_put_off_for_a_while_and_little_is_not() {
        let mut traffic = Traffic::new();
        assert_eq!(traffic.note(BUSY_COUNT - 1), Pace::Calm);
        assert_eq!(traffic.note(1), Pace::Busy);
        assert!(!traffic.is_due());
        let begun = Instant::now();
        traffic.due().await;
        assert_eq!(begun.elapsed(), SETTLE_AFTER);
        assert!(traffic.is_due());
        traffic.settled();
        // The stretch before this one was busy.
        assert_eq!(traffic.note(VERY_BUSY_COUNT), Pace::Busy);
        traffic.due().await;
        assert_eq!(begun.elapsed(), SETTLE_AFTER + SETTLE_WITHIN);
        assert!(traffic.is_due());
        traffic.settled();
        tokio::time::advance(SETTLE_AFTER).await;
        assert_eq!(traffic.note(1), Pace::Calm);
        assert!(!traffic.is_due(), "nothing is put off");
        assert_eq!(traffic.note(PUT_OFF_COUNT_MAX), Pace::Busy);
        assert!(traffic.is_due());
        tokio::time::advance(10 * SETTLE_AFTER).await;
        assert_eq!(traffic.note(1), Pace::Calm, "that was long ago");
    }
}
