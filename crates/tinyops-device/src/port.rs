//! What passes between the agent and its driver.

use tinyops_wire::Digest;
use tinyops_wire::block::BlockRequest;
use tinyops_wire::downlink::Label;

use crate::model::Prediction;

/// What happens to a device.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// It has been reset; the first event of all, and the answer to [`Action::Reboot`].
    Boot,
    /// Nothing but time; also asks for what is left to do.
    Tick,
    /// One reading of all channels of its sensor.
    Reading(&'e [f32]),
    /// A whole window of readings, interleaved.
    Window(&'e [f32]),
    /// An envelope from its server.
    Downlink(&'e [u8]),
    /// A block of the capsule being fetched, from the caller.
    Block {
        /// Where it belongs.
        offset: u32,
        /// The bytes.
        bytes: &'e [u8],
    },
    /// The truth about its newest windows has become known on the spot.
    Label(Label),
    /// Whoever has it does not want the head that its labels have led to: it is let go, and they with it.
    DropOwnHead,
    /// 32 bytes from the device's own source of randomness, which nobody else knows or can guess: the answer to
    /// [`Action::Entropy`]. A key that the server knows is none.
    Entropy(&'e [u8; 32]),
    /// What the newest step that scored a window cost; the answer to [`Action::Predict`] and [`Action::Shadow`] of a
    /// driver that measures it.
    Measured(Measured),
    /// The newest window once more, for a candidate: the answer to [`Action::Rescore`]. Empty if the agent has filled it
    /// by single readings, and has it still.
    Rescore(&'e [f32]),
}

/// What a window cost, as its driver has measured it: the agent reads no clock and no stack pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Time of the step that scored it, in microseconds.
    pub micros: u32,
    /// Most memory that has been in use at once since the boot, stack and all, in bytes; 0 if it is not measured.
    pub ram_bytes: u32,
    /// Memory that the device has, in bytes.
    pub ram_total_bytes: u32,
}

/// What a device is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// Nothing is left to do.
    Idle,
    /// Act upon what the model says of a window.
    Predict(Prediction),
    /// Hand the newest window in once more ([`Event::Rescore`]), now that its answer is out: a candidate is to score it.
    /// A driver that goes on instead lets the candidate pass it over.
    Rescore,
    /// What a candidate says of a window: nothing to act upon.
    Shadow(Prediction),
    /// Hand in bytes that nobody can guess ([`Event::Entropy`]): chosen windows are to be sealed. A driver that has none
    /// goes on, and is asked again with the next window; nothing is sent meanwhile.
    Entropy,
    /// Send this envelope to the server.
    Send(&'a [u8]),
    /// Fetch blocks of a capsule, and hand them in as [`Event::Block`].
    Fetch(Fetch),
    /// Reset, or hand in [`Event::Boot`].
    Reboot,
}

/// Blocks that the caller is to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Digest of the whole capsule.
    pub digest: Digest,
    /// Its size, in bytes.
    pub bytes: u32,
    /// Which blocks.
    pub request: BlockRequest,
}

/// What has happened since the boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Windows scored.
    pub windows: u64,
    /// Windows with a reading that was not a number, or of the wrong length.
    pub unreadable: u64,
    /// Envelopes sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Downlinks that were malformed, not for this device, or sealed with another key.
    pub malformed: u64,
    /// Downlinks that had been seen before.
    pub replayed: u64,
    /// Requests that ask for more than the device may tell.
    pub refused: u64,
    /// Signatures of capsules that were checked: one when a capsule is installed, none in a boot of it while its keys
    /// count.
    pub signatures: u64,
}
