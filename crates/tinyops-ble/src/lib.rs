//! The serial link over Bluetooth LE: a GATT service that carries its bytes, and the board's end of it, over any controller
//! that speaks HCI.
//!
//! ```text
//! service  3b7d0001-6e5a-4c0e-9f42-74696e796f70   advertised
//!   down   3b7d0002-…  write, write without response   bytes from the gateway
//!   up     3b7d0003-…  notify                          bytes from the board
//! ```
//! What is written and what is notified are pieces of one stream each, cut anywhere: frames are found by their zeros, as on
//! any line (`tinyops_wire::serial`). A gateway writes at most [`WINDOW`] times before it writes with a response, and the
//! board answers when it has room for as many again: no queue in between overflows. Specified in `docs/formats/ble.md`.
//!
//! Knows no frame and no key; what is said is sealed before it comes here.
#![no_std]
#![forbid(unsafe_code)]

mod guard;
mod line;
mod peripheral;

pub use guard::Guarded;
pub use line::{DOWN_BYTES, Line, UP_BYTES};
pub use peripheral::{Resources, address, name, serve};

use trouble_host::prelude::Uuid;

/// The service.
pub const SERVICE: Uuid = uuid(1);
/// What a gateway writes to.
pub const DOWN: Uuid = uuid(2);
/// What a board notifies of.
pub const UP: Uuid = uuid(3);
/// Writes of which the last asks for a response. Hosts on small boards keep eight packets before they drop one.
pub const WINDOW: usize = 4;
/// Bytes of a write or a notification at most: of a packet of 251, less the headers of L2CAP and ATT.
pub const PIECE_BYTES: usize = 244;

/// 3b7d000N-6e5a-4c0e-9f42-74696e796f70, as it goes over the air: its last byte first.
const fn uuid(number: u8) -> Uuid {
    Uuid::new_long([
        0x70, 0x6f, 0x79, 0x6e, 0x69, 0x74, 0x42, 0x9f, 0x0e, 0x4c, 0x5a, 0x6e, number, 0x00, 0x7d,
        0x3b,
    ])
}
