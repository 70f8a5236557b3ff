//! Who is connected, and what waits to be written to them.
//!
//! A session holds no messages beyond its connection: what a device is owed (an offer, a
//! request) is worked out from the store whenever it subscribes or reports, so a lost
//! connection loses nothing. Of a session that the client wants to resume, only the one
//! subscription it may have is remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tinyops_wire::id::DeviceId;
use tokio::sync::Notify;

/// Messages waiting for one device at most; the next one is turned away.
const DOWN_COUNT_MAX: usize = 64;
/// Bytes waiting for one device at most.
const DOWN_BYTES_MAX: usize = 64 * 1024;

/// Why a connection is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The same device connected again.
    TakenOver,
    /// The server stops.
    ShuttingDown,
    /// The store did not take the device's messages: it shall send them again.
    NotStored,
    /// The device was revoked.
    Revoked,
}

/// One connected device, as the rest of the server sees it.
#[derive(Debug)]
pub(crate) struct Session {
    pub device: DeviceId,
    inbox: Mutex<Inbox>,
    wake: Notify,
}

/// What the connection's task has to write next.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Packet ids to acknowledge, in order, and whether the message was kept.
    pub acks: Vec<(u16, bool)>,
    /// Messages of QoS 0 that are done, so that they count against the window no more.
    pub done_count: u16,
    pub down: VecDeque<Arc<[u8]>>,
    down_bytes: usize,
    pub closing: Option<Closing>,
}

impl Inbox {
    pub(crate) fn take_down(&mut self) -> Option<Arc<[u8]>> {
        let message = self.down.pop_front()?;
        self.down_bytes -= message.len();
        if self.down.is_empty() {
            self.down = VecDeque::new(); // An idle connection keeps no buffer.
        }
        Some(message)
    }
}

impl Session {
    pub(crate) fn new(device: DeviceId) -> Arc<Session> {
        Arc::new(Session {
            device,
            inbox: Mutex::new(Inbox::default()),
            wake: Notify::new(),
        })
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Nothing that holds the lock can panic half-way through a change.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something in the inbox; may wake once too often.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Says that a message is durably kept, or refused for good.
    pub(crate) fn acknowledge(&self, packet_id: Option<u16>, kept: bool) {
        let mut inbox = self.inbox();
        match packet_id {
            Some(packet_id) => inbox.acks.push((packet_id, kept)),
            None => inbox.done_count += 1,
        }
        drop(inbox);
        self.wake.notify_one();
    }

    /// Queues a message for the device; false when its queue is full.
    pub(crate) fn send(&self, message: Arc<[u8]>) -> bool {
        let mut inbox = self.inbox();
        if inbox.down.len() >= DOWN_COUNT_MAX || inbox.down_bytes + message.len() > DOWN_BYTES_MAX {
            return false;
        }
        inbox.down_bytes += message.len();
        inbox.down.push_back(message);
        drop(inbox);
        self.wake.notify_one();
        true
    }

    pub(crate) fn close(&self, why: Closing) {
        self.inbox().closing.get_or_insert(why);
        self.wake.notify_one();
    }
}

/// The connected devices by id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_device: Mutex<HashMap<DeviceId, Arc<Session>>>,
    /// What a resumable session listens with; at most one entry per registered device.
    resumable: Mutex<HashMap<DeviceId, Option<u8>>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Session>>> {
        self.by_device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn resumable(&self) -> MutexGuard<'_, HashMap<DeviceId, Option<u8>>> {
        self.resumable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the device's earlier session, or starts anew; `Some` is the earlier subscription.
    pub(crate) fn resume(&self, device: DeviceId, resume: bool, keep: bool) -> Option<Option<u8>> {
        let mut resumable = self.resumable();
        let earlier = resumable.remove(&device).filter(|_| resume);
        if keep {
            resumable.insert(device, earlier.flatten());
        }
        earlier
    }

    /// Notes what a device listens with, if its session shall outlive the connection.
    pub(crate) fn listens(&self, device: DeviceId, qos: Option<u8>) {
        if let Some(kept) = self.resumable().get_mut(&device) {
            *kept = qos;
        }
    }

    /// Lets a session in; one that the same device left behind is told to go.
    pub(crate) fn enter(&self, session: &Arc<Session>) {
        let old = self.lock().insert(session.device, session.clone());
        if let Some(old) = old {
            old.close(Closing::TakenOver);
        }
    }

    /// Forgets a session, unless a newer one has taken its place.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        let mut sessions = self.lock();
        if let Some(current) = sessions.get(&session.device)
            && Arc::ptr_eq(current, session)
        {
            sessions.remove(&session.device);
        }
    }

    /// Queues a message for a device; false when it is not connected or its queue is full.
    pub(crate) fn send(&self, device: DeviceId, message: &[u8]) -> bool {
        let session = self.lock().get(&device).cloned();
        session.is_some_and(|session| session.send(Arc::from(message)))
    }

    /// Ends a device's connection.
    pub(crate) fn close(&self, device: DeviceId, why: Closing) {
        let session = self.lock().get(&device).cloned();
        if let Some(session) = session {
            session.close(why);
        }
    }

    pub(crate) fn close_all(&self, why: Closing) {
        for session in self.lock().values() {
            session.close(why);
        }
    }

    /// The devices connected now.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn is_connected(&self, device: DeviceId) -> bool {
        self.lock().contains_key(&device)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }
}
