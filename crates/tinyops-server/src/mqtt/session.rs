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

use super::packet;
use super::stream::Writer;

/// Messages waiting for one device at most; the next one is turned away.
const DOWN_COUNT_MAX: usize = 64;
/// Bytes waiting for one device at most.
const DOWN_BYTES_MAX: usize = 64 * 1024;

/// Acknowledgements of one device that are written at once at most.
const ACKS_AT_ONCE: usize = 32;

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
    /// Messages that are done, so that they count against the window no more.
    pub done_count: u16,
    /// Where acknowledgements are written at once; none where they go through TLS.
    pub writer: Option<Writer>,
    /// The rest of an acknowledgement that the socket took in part: it goes before anything else.
    pub rest: Vec<u8>,
    /// The connection holds bytes that go before what is written now.
    pub has_unsent: bool,
    /// The connection reads nothing until a message is done.
    pub is_full: bool,
    pub down: VecDeque<Arc<[u8]>>,
    down_bytes: usize,
    pub closing: Option<Closing>,
}

impl Inbox {
    /// Writes what was acknowledged; false if anything is left to the connection's task.
    fn try_write_acks(&mut self) -> bool {
        let is_plain = |(_, kept): &(u16, bool)| *kept;
        let Some(writer) = &self.writer else {
            return self.acks.is_empty();
        };
        if self.has_unsent || !self.rest.is_empty() || self.closing.is_some() {
            return false;
        }
        while !self.acks.is_empty() && self.acks.iter().all(is_plain) {
            let mut bytes = [0; 4 * ACKS_AT_ONCE];
            let (chunks, _) = bytes.as_chunks_mut::<4>();
            let count = self.acks.len().min(ACKS_AT_ONCE);
            for (chunk, (packet_id, _)) in chunks.iter_mut().zip(&self.acks) {
                *chunk = packet::puback_kept(*packet_id);
            }
            let bytes = &bytes[..4 * count];
            // An error is for the connection to find: it writes the same bytes next.
            let sent = writer.try_write(bytes).unwrap_or(0);
            let whole = sent.div_ceil(4);
            self.acks.drain(..whole);
            self.done_count += whole as u16;
            self.rest.extend_from_slice(&bytes[sent..4 * whole]);
            if whole < count || sent % 4 != 0 {
                return false;
            }
        }
        self.acks.is_empty()
    }

    /// Puts the rest of an acknowledgement before what the connection is about to write: the socket has its beginning, and
    /// nothing of that.
    pub(crate) fn put_rest_before(&mut self, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            out.splice(0..0, std::mem::take(&mut self.rest));
        }
    }

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
    pub(crate) fn new(device: DeviceId, writer: Option<Writer>) -> Arc<Session> {
        Arc::new(Session {
            device,
            inbox: Mutex::new(Inbox {
                writer,
                ..Inbox::default()
            }),
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

    /// Notes that a message is durably kept, or refused for good; [`Session::write_acks`] tells the client.
    pub(crate) fn acknowledge(&self, packet_id: Option<u16>, kept: bool) {
        let mut inbox = self.inbox();
        match packet_id {
            Some(packet_id) => inbox.acks.push((packet_id, kept)),
            None => inbox.done_count += 1,
        }
    }

    /// Writes what was acknowledged, all in one, or leaves it to the connection's task where that has something to
    /// say first: a task that is woken for four bytes takes longer than the writing.
    pub(crate) fn write_acks(&self) {
        let mut inbox = self.inbox();
        let is_done = inbox.try_write_acks();
        let is_awaited = inbox.is_full && inbox.done_count > 0;
        drop(inbox);
        if !is_done || is_awaited {
            self.wake.notify_one();
        }
    }

    /// Notes that the connection reads nothing until a message is done; if one is by now, it is woken.
    pub(crate) fn wait_for_room(&self) {
        let mut inbox = self.inbox();
        inbox.is_full = true;
        let has_room = inbox.done_count > 0;
        drop(inbox);
        if has_room {
            self.wake.notify_one();
        }
    }

    /// Leaves the socket to the connection, which is about to close it.
    pub(crate) fn hang_up(&self) {
        if let Some(writer) = self.inbox().writer.take() {
            writer.leave();
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::mqtt::stream::Stream;

    const DEVICE: DeviceId = DeviceId(7);

    /// A plain connection: the session, what keeps its socket open, and the client's end.
    async fn plain() -> (Arc<Session>, Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, writer) = Stream::new(accepted.unwrap().0, None).unwrap();
        (Session::new(DEVICE, writer), stream, client.unwrap())
    }

    async fn is_woken(session: &Session) -> bool {
        let woken = tokio::time::timeout(Duration::from_millis(20), session.woken());
        woken.await.is_ok()
    }

    #[tokio::test]
    async fn acknowledgements_go_out_in_order_and_wake_nobody() {
        let (session, _stream, mut client) = plain().await;
        let ids: Vec<u16> = (1..=70).collect();
        ids.iter()
            .for_each(|id| session.acknowledge(Some(*id), true));
        session.acknowledge(None, true);
        session.write_acks();
        let mut bytes = [0; 4 * 70];
        client.read_exact(&mut bytes).await.unwrap();
        let read: Vec<u16> = bytes
            .chunks(4)
            .map(|ack| u16::from_be_bytes([ack[2], ack[3]]))
            .collect();
        assert_eq!(read, ids);
        assert_eq!(session.inbox().done_count, 71);
        assert!(!is_woken(&session).await);
        // Who waits for room hears of it, whichever came first.
        session.wait_for_room();
        assert!(is_woken(&session).await);
        session.inbox().done_count = 0;
        session.wait_for_room();
        assert!(!is_woken(&session).await);
        session.acknowledge(Some(9), true);
        session.write_acks();
        assert!(is_woken(&session).await);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_left_to_the_connection() {
        let (session, mut stream, _client) = plain().await;
        // The connection has something to say first.
        session.inbox().has_unsent = true;
        session.acknowledge(Some(1), true);
        session.write_acks();
        assert_eq!(session.inbox().acks, [(1, true)]);
        assert!(is_woken(&session).await);
        // One of them is not kept: how to say so is the connection's business.
        session.inbox().has_unsent = false;
        session.acknowledge(Some(2), false);
        session.write_acks();
        assert_eq!(session.inbox().acks, [(1, true), (2, false)]);
        assert!(is_woken(&session).await);
        // The socket takes no more; what it took in part, if anything, is kept apart.
        session.inbox().acks.clear();
        while stream.try_write(&[0; 4096]).is_ok() {}
        while stream.try_write(&[0]).is_ok() {}
        session.acknowledge(Some(3), true);
        session.write_acks();
        assert!(is_woken(&session).await);
        let inbox = session.inbox();
        assert_eq!((&*inbox.acks, inbox.done_count), (&[(3, true)][..], 0));
    }

    #[tokio::test]
    async fn the_rest_of_an_acknowledgement_goes_before_anything_else() {
        let (session, _stream, _client) = plain().await;
        session.inbox().rest = vec![0, 1];
        session.acknowledge(Some(2), true);
        session.write_acks();
        assert!(is_woken(&session).await);
        let mut inbox = session.inbox();
        assert_eq!(inbox.acks, [(2, true)]);
        let mut out = vec![0xd0, 0];
        inbox.put_rest_before(&mut out);
        inbox.put_rest_before(&mut out);
        assert_eq!(out, [0, 1, 0xd0, 0]);
    }
}
