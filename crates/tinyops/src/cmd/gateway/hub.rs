//! What lines and upstream share: envelopes that wait, and which device is on which line.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tinyops_wire::{DeviceId, Sealed};
use tokio::sync::{Notify, mpsc};

use super::dap::Desks;

/// Devices that are remembered at most; the one that was silent longest makes room.
const DEVICES_MAX: usize = 2048;
/// Envelopes that wait for one line at most.
pub(super) const LINE_DOWN_MAX: usize = 64;
/// A device that has said nothing for so long is not asked for any more.
const SILENT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// One open line.
pub(super) type LineId = u64;

/// Counts since the gateway began.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counters {
    /// Envelopes that devices sent.
    pub(super) up: u64,
    pub(super) up_bytes: u64,
    /// Envelopes that the server has stored.
    pub(super) stored: u64,
    /// Envelopes that the server turned away for good.
    pub(super) refused: u64,
    /// Envelopes that were dropped because the queue was full.
    pub(super) dropped: u64,
    /// Envelopes that say in the clear what a device has seen, and that the server is not to have.
    pub(super) withheld: u64,
    /// Envelopes that went out to devices.
    pub(super) down: u64,
    pub(super) down_bytes: u64,
    /// Envelopes for devices that no line has heard, or whose line was busy or takes only smaller ones.
    pub(super) undelivered: u64,
    /// Devices that the server has let in by a request over a line.
    pub(super) enrolled: u64,
    /// Frames on the lines that were broken, too long, or held no envelope.
    pub(super) damaged: u64,
    /// Exchanges with the server that failed.
    pub(super) failures: u64,
}

/// Shared by all tasks of a gateway.
pub(super) struct Hub {
    state: Mutex<State>,
    /// There is something to bring up.
    pub(super) waiting: Notify,
    queue_bytes_max: usize,
    /// Where reports are measured, if they are to go out as shares.
    desks: Option<Desks>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    queue_bytes: usize,
    /// Envelopes ever taken off the front, so that a batch is removed once although the queue has moved.
    taken: u64,
    lines: HashMap<LineId, Line>,
    next_line: LineId,
    devices: HashMap<DeviceId, (LineId, Instant)>,
    counters: Counters,
}

struct Line {
    sender: mpsc::Sender<Vec<u8>>,
    /// Largest envelope that it takes.
    room_bytes: usize,
}

/// Some envelopes of the queue, on their way to the server.
pub(super) struct Batch {
    first: u64,
    pub(super) envelopes: Vec<Vec<u8>>,
}

impl Hub {
    pub(super) fn new(queue_bytes_max: usize, desks: Option<Desks>) -> Hub {
        Hub {
            state: Mutex::default(),
            waiting: Notify::new(),
            queue_bytes_max,
            desks,
        }
    }

    /// The tasks whose aggregators reports go to as shares, if they do.
    pub(super) fn desks(&self) -> Option<&Desks> {
        self.desks.as_ref()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line has opened; what is to be written to it comes out of the receiver.
    pub(super) fn open(&self) -> (LineId, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel(LINE_DOWN_MAX);
        let mut state = self.state();
        let id = state.next_line;
        state.next_line += 1;
        let room_bytes = usize::MAX;
        state.lines.insert(id, Line { sender, room_bytes });
        (id, receiver)
    }

    /// A line has closed, and its devices are out of reach.
    pub(super) fn close(&self, id: LineId) {
        let mut state = self.state();
        state.lines.remove(&id);
        state.devices.retain(|_, (line, _)| *line != id);
    }

    /// The other end of a line takes envelopes up to this size.
    pub(super) fn set_room(&self, id: LineId, room_bytes: usize) {
        if let Some(line) = self.state().lines.get_mut(&id) {
            line.room_bytes = room_bytes;
        }
    }

    /// An envelope came over a line.
    pub(super) fn up(&self, line: LineId, bytes: &[u8]) {
        let Ok(sealed) = Sealed::parse(bytes) else {
            self.damaged();
            return;
        };
        let passes = self
            .desks()
            .is_none_or(|desks| desks.passes(&sealed, bytes));
        let mut state = self.state();
        state.counters.up += 1;
        state.counters.up_bytes += bytes.len() as u64;
        state.hear(sealed.device(), line);
        if !passes {
            state.counters.withheld += 1;
            return;
        }
        state.queue_bytes += bytes.len();
        state.queue.push_back(bytes.to_vec());
        // The oldest goes: what devices say now is worth more than what they said long ago.
        while state.queue_bytes > self.queue_bytes_max && state.queue.len() > 1 {
            state.pop();
            state.counters.dropped += 1;
        }
        drop(state);
        self.waiting.notify_one();
    }

    /// The server has let a device in.
    pub(super) fn enrolled(&self) {
        self.state().counters.enrolled += 1;
    }

    pub(super) fn damaged(&self) {
        self.state().counters.damaged += 1;
    }

    pub(super) fn failed(&self) {
        self.state().counters.failures += 1;
    }

    /// The oldest envelopes, which stay in the queue until [`Hub::stored`].
    pub(super) fn batch(&self, count_max: usize, bytes_max: usize) -> Batch {
        let state = self.state();
        let mut bytes = 0;
        let fits = |envelope: &&Vec<u8>| {
            bytes += envelope.len();
            bytes <= bytes_max
        };
        let oldest = state.queue.iter().take(count_max);
        Batch {
            first: state.taken,
            envelopes: oldest.take_while(fits).cloned().collect(),
        }
    }

    /// The server has a batch: it leaves the queue. False if more waits.
    pub(super) fn stored(&self, batch: &Batch, kept: impl IntoIterator<Item = bool>) -> bool {
        let mut state = self.state();
        let end = batch.first + batch.envelopes.len() as u64;
        while state.taken < end {
            state.pop();
        }
        for kept in kept {
            match kept {
                true => state.counters.stored += 1,
                false => state.counters.refused += 1,
            }
        }
        state.queue.is_empty()
    }

    /// Devices that a line has heard lately.
    pub(super) fn devices(&self) -> Vec<DeviceId> {
        let mut state = self.state();
        let now = Instant::now();
        state
            .devices
            .retain(|_, (_, heard)| now.duration_since(*heard) < SILENT_AFTER);
        let mut devices: Vec<DeviceId> = state.devices.keys().copied().collect();
        devices.sort_unstable();
        devices
    }

    /// Sends an envelope out on the line where its device was last heard.
    pub(super) fn down(&self, device: DeviceId, bytes: Vec<u8>) {
        let mut state = self.state();
        let len = bytes.len();
        let line = state
            .devices
            .get(&device)
            .and_then(|(line, _)| state.lines.get(line));
        let sent = line
            .filter(|line| len <= line.room_bytes)
            .is_some_and(|line| line.sender.try_send(bytes).is_ok());
        if sent {
            state.counters.down += 1;
            state.counters.down_bytes += len as u64;
        } else {
            state.counters.undelivered += 1;
        }
    }

    /// Counts, lines that are open, devices heard, envelopes that wait and their bytes.
    pub(super) fn figures(&self) -> (Counters, usize, usize, usize, usize) {
        let state = self.state();
        (
            state.counters.clone(),
            state.lines.len(),
            state.devices.len(),
            state.queue.len(),
            state.queue_bytes,
        )
    }
}

impl State {
    fn hear(&mut self, device: DeviceId, line: LineId) {
        if self.devices.len() >= DEVICES_MAX && !self.devices.contains_key(&device) {
            let oldest = self.devices.iter().min_by_key(|(_, (_, heard))| *heard);
            if let Some(oldest) = oldest.map(|(device, _)| *device) {
                self.devices.remove(&oldest);
            }
        }
        self.devices.insert(device, (line, Instant::now()));
    }

    fn pop(&mut self) {
        if let Some(envelope) = self.queue.pop_front() {
            self.queue_bytes -= envelope.len();
        }
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An envelope that names a device; nobody here can check its tag.
    fn envelope(device: u64, bytes: usize) -> Vec<u8> {
        let mut envelope = vec![0; bytes];
        envelope[0] = 1;
        envelope[1..9].copy_from_slice(&device.to_le_bytes());
        envelope
    }

    #[test]
    fn the_oldest_makes_room_and_a_batch_on_its_way_is_removed_once() {
        let hub = Hub::new(250, None);
        let (line, _receiver) = hub.open();
        for device in 1..=2 {
            hub.up(line, &envelope(device, 100));
        }
        let batch = hub.batch(10, 10_000);
        assert_eq!(batch.envelopes.len(), 2);
        // While the batch is on its way, its first envelope is dropped for a third one.
        hub.up(line, &envelope(3, 100));
        assert!(!hub.stored(&batch, [true, false]), "the third one waits");
        let rest = hub.batch(10, 10_000);
        assert_eq!(rest.envelopes, [envelope(3, 100)]);
        let (counters, _, devices, waiting, bytes) = hub.figures();
        assert_eq!((counters.stored, counters.refused), (1, 1));
        assert_eq!((counters.dropped, devices, waiting, bytes), (1, 3, 1, 100));
    }

    #[test]
    fn a_batch_keeps_its_bounds() {
        let hub = Hub::new(10_000, None);
        let (line, _receiver) = hub.open();
        (0..10).for_each(|device| hub.up(line, &envelope(device, 100)));
        assert_eq!(hub.batch(3, 10_000).envelopes.len(), 3);
        assert_eq!(hub.batch(10, 450).envelopes.len(), 4);
    }

    #[test]
    fn envelopes_go_down_where_the_device_was_last_heard() {
        let hub = Hub::new(10_000, None);
        let (old, mut at_old) = hub.open();
        let (new, mut at_new) = hub.open();
        hub.up(old, &envelope(7, 60));
        hub.up(new, &envelope(7, 60));
        hub.down(DeviceId(7), vec![1; 50]);
        assert_eq!(at_new.try_recv().ok(), Some(vec![1; 50]));
        assert!(at_old.try_recv().is_err());
        hub.set_room(new, 49);
        hub.down(DeviceId(7), vec![2; 50]);
        hub.down(DeviceId(8), vec![3; 10]);
        hub.close(new);
        hub.down(DeviceId(7), vec![4; 10]);
        assert_eq!(hub.figures().0.undelivered, 3);
        assert!(hub.devices().is_empty());
    }

    #[test]
    fn what_is_no_envelope_is_counted_and_goes_nowhere() {
        let hub = Hub::new(10_000, None);
        let (line, _receiver) = hub.open();
        hub.up(line, b"hello");
        assert_eq!(hub.figures().0.damaged, 1);
        assert!(hub.batch(10, 10_000).envelopes.is_empty());
    }

    #[test]
    fn who_was_silent_longest_makes_room() {
        let hub = Hub::new(10_000_000, None);
        let (line, _receiver) = hub.open();
        for device in 0..=DEVICES_MAX as u64 {
            hub.up(line, &envelope(device, 30));
        }
        let devices = hub.devices();
        assert_eq!(devices.len(), DEVICES_MAX);
        assert!(!devices.contains(&DeviceId(0)));
    }
}
