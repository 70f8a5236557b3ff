//! Bytes between the firmware and its radio.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_sync::signal::Signal;

use crate::{PIECE_BYTES, WINDOW};

/// Bytes from a gateway that wait for the firmware: two windows, so that one is taken while the other comes.
pub const DOWN_BYTES: usize = 2 * WINDOW * PIECE_BYTES;
/// Bytes that wait for a gateway: a few frames.
pub const UP_BYTES: usize = 2048;

/// The line, which lies in memory whether a gateway is there or not.
pub struct Line {
    down: Pipe<CriticalSectionRawMutex, DOWN_BYTES>,
    up: Pipe<CriticalSectionRawMutex, UP_BYTES>,
    is_open: AtomicBool,
    lost_bytes: AtomicU32,
    opened: Signal<CriticalSectionRawMutex, ()>,
    /// The firmware has taken bytes, and the radio has.
    heard: Signal<CriticalSectionRawMutex, ()>,
    sent: Signal<CriticalSectionRawMutex, ()>,
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

impl Line {
    /// A line that no gateway has opened.
    pub const fn new() -> Line {
        Line {
            down: Pipe::new(),
            up: Pipe::new(),
            is_open: AtomicBool::new(false),
            lost_bytes: AtomicU32::new(0),
            opened: Signal::new(),
            heard: Signal::new(),
            sent: Signal::new(),
        }
    }

    /// Waits until a gateway listens; each time that one does is told once.
    pub async fn opened(&self) {
        self.opened.wait().await;
    }

    /// Whether a gateway listens now.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Waits for bytes of a gateway; answers how many came.
    pub async fn read(&self, bytes: &mut [u8]) -> usize {
        let count = self.down.read(bytes).await;
        self.heard.signal(());
        count
    }

    /// Hands a frame over, all of it or nothing; answers whether. While no gateway listens, as much waits for the next one as
    /// there is room for; while one does, this waits for room.
    pub async fn send(&self, frame: &[u8]) -> bool {
        if frame.len() > UP_BYTES {
            return false;
        }
        while self.up.free_capacity() < frame.len() {
            if !self.is_open() {
                return false;
            }
            self.sent.wait().await;
        }
        put(&self.up, frame);
        true
    }

    /// Bytes that a gateway has written faster than it may, and that nobody has.
    pub fn lost_bytes(&self) -> u32 {
        self.lost_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn open(&self) {
        if !self.is_open.swap(true, Ordering::Relaxed) {
            self.opened.signal(());
        }
    }

    pub(crate) fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
        // Who waits for room is told that none comes.
        self.sent.signal(());
    }

    /// Takes in what a gateway has written. What finds no room is lost, and the frame that it is of with it.
    pub(crate) fn hear(&self, bytes: &[u8]) {
        let taken = put(&self.down, bytes);
        let lost = (bytes.len() - taken) as u32;
        let before = self.lost_bytes.load(Ordering::Relaxed);
        self.lost_bytes
            .store(before.wrapping_add(lost), Ordering::Relaxed);
    }

    /// Waits until a window of the longest writes finds room.
    pub(crate) async fn room(&self) {
        while self.down.free_capacity() < WINDOW * PIECE_BYTES {
            self.heard.wait().await;
        }
    }

    /// Waits for bytes to notify of.
    pub(crate) async fn next(&self, piece: &mut [u8]) -> usize {
        let count = self.up.read(piece).await;
        self.sent.signal(());
        count
    }
}

/// Writes what there is room for; answers how much. A pipe takes less at once where its memory ends.
fn put<const N: usize>(pipe: &Pipe<CriticalSectionRawMutex, N>, mut bytes: &[u8]) -> usize {
    let before = bytes.len();
    while !bytes.is_empty() {
        let Ok(count) = pipe.try_write(bytes) else {
            break;
        };
        bytes = &bytes[count..];
    }
    before - bytes.len()
}
