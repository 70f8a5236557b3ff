//! Group commit: messages of all connections go into the store together, then all are acknowledged.
//!
//! One message alone waits [`LINGER`] for company; under load the next group collects while
//! the last one commits. An acknowledgement always means durably stored.

use std::sync::Arc;
use std::time::Duration;

use tinyops_fleet::FleetError;
use tinyops_store::StoreError;
use tinyops_wire::id::DeviceId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use super::packet::Payload;
use super::session::{Closing, Session};
use super::{Gate, GateError, Verdict};
use crate::metrics::Metrics;
use crate::stop::Stop;

/// How long a message waits for others before the group is committed.
const LINGER: Duration = Duration::from_millis(5);
/// Messages in one transaction at most.
const GROUP_COUNT_MAX: usize = 512;
/// Messages waiting at most; a connection that finds the queue full stops reading.
const QUEUE_COUNT_MAX: usize = 4096;

/// Something for the store, from a connection or the HTTP API.
#[derive(Debug)]
pub(crate) enum Work {
    /// A report from the device of an MQTT session.
    Message {
        session: Arc<Session>,
        packet_id: Option<u16>,
        payload: Payload,
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
            } => Some((Some(session.device), payload.bytes())),
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
    loop {
        tokio::select! {
            biased;
            collected = collect(&mut queue, &mut group) => {
                if !collected {
                    return;
                }
            }
            () = stop.asked(), if open => {
                queue.close(); // From here on, senders fail and the rest runs dry.
                open = false;
                continue;
            }
        }
        let started = Instant::now();
        commit(&*gate, &mut group, &metrics).await;
        metrics
            .commit_seconds
            .observe(started.elapsed().as_secs_f64());
        group.shrink_to(GROUP_COUNT_MAX);
    }
}

/// Fills the group; false when nothing is left and nothing can come. What was collected before
/// a cancellation stays in the group.
async fn collect(queue: &mut mpsc::Receiver<Work>, group: &mut Vec<Work>) -> bool {
    if group.is_empty() && queue.recv_many(group, GROUP_COUNT_MAX).await == 0 {
        return false;
    }
    let deadline = Instant::now() + LINGER;
    while group.len() < GROUP_COUNT_MAX {
        let room = GROUP_COUNT_MAX - group.len();
        match tokio::time::timeout_at(deadline, queue.recv_many(group, room)).await {
            Ok(0) | Err(_) => break, // No sender is left, or the time is up: commit what is there.
            Ok(_) => {}
        }
    }
    true
}

async fn commit<G: Gate>(gate: &G, group: &mut Vec<Work>, metrics: &Metrics) {
    let uplinks: Vec<(Option<DeviceId>, &[u8])> = group.iter().filter_map(Work::uplink).collect();
    let verdicts = if uplinks.is_empty() {
        Ok(Vec::new())
    } else {
        metrics.commit_messages.observe(uplinks.len() as f64);
        gate.commit(&uplinks).await
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
            }
            Work::Upload { done, .. } => {
                let verdict = verdicts.next().expect("one verdict per message");
                drop(done.send(Ok(verdict)));
            }
            Work::Listening { session } => match gate.owed(session.device).await {
                Ok(messages) => {
                    for message in messages {
                        send(&session, &message, metrics);
                    }
                }
                Err(cause) => warn!(device = %session.device, %cause, "nothing could be offered"),
            },
        }
    }
}

fn send(session: &Session, message: &[u8], metrics: &Metrics) {
    if !session.send(Arc::from(message)) {
        metrics.downlinks_dropped.inc();
    }
}
