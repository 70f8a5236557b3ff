//! Keeps requests that are cut off from a host that takes them for whole: `trouble-host` 0.8 reads the handle of a write
//! request of one byte, and panics; and so it does at an error without a code. Anybody in reach could restart a board so. And
//! answers whose entries have no room for their handles, whose length it reckons below zero.
//!
//! What would lift it: a host that checks lengths. `another_gateway_may_cut_break_and_leave_as_it_likes` says when.

use core::future::Future;

use bt_hci::ControllerToHostPacket;
use bt_hci::cmd::{AsyncCmd, Error, SyncCmd};
use bt_hci::controller::{Controller, ControllerCmdAsync, ControllerCmdSync};
use bt_hci::data::{AclPacket, AclPacketBoundary, IsoPacket, SyncPacket};
use embedded_io::ErrorType;

/// The channel of the attribute protocol.
const ATTRIBUTES: u16 = 4;
/// Bytes of the header of L2CAP: length and channel.
const HEADER_BYTES: usize = 4;

/// A controller whose packets have been looked at.
pub struct Guarded<C>(pub C);

impl<C: ErrorType> ErrorType for Guarded<C> {
    type Error = C::Error;
}

impl<C: Controller> Controller for Guarded<C> {
    type Buffer<'a> = C::Buffer<'a>;

    fn alloc_buf(&self) -> Result<Self::Buffer<'_>, C::Error> {
        self.0.alloc_buf()
    }

    fn write_acl_data(&self, packet: &AclPacket<'_>) -> impl Future<Output = Result<(), C::Error>> {
        self.0.write_acl_data(packet)
    }

    fn write_sync_data(
        &self,
        packet: &SyncPacket<'_>,
    ) -> impl Future<Output = Result<(), C::Error>> {
        self.0.write_sync_data(packet)
    }

    fn write_iso_data(&self, packet: &IsoPacket<'_>) -> impl Future<Output = Result<(), C::Error>> {
        self.0.write_iso_data(packet)
    }

    async fn read<'a>(
        &self,
        buffer: &'a mut Self::Buffer<'_>,
    ) -> Result<ControllerToHostPacket<'a>, C::Error> {
        Ok(match self.0.read(buffer).await? {
            // The host drops a packet without a header, and counts it.
            ControllerToHostPacket::Acl(packet) if !is_whole(&packet) => {
                ControllerToHostPacket::Acl(AclPacket::new(
                    packet.handle(),
                    packet.boundary_flag(),
                    packet.broadcast_flag(),
                    &[],
                ))
            }
            packet => packet,
        })
    }
}

impl<C: ControllerCmdSync<T>, T: SyncCmd + ?Sized> ControllerCmdSync<T> for Guarded<C> {
    fn exec(&self, command: &T) -> impl Future<Output = Result<T::Return, Error<C::Error>>> {
        self.0.exec(command)
    }
}

impl<C: ControllerCmdAsync<T>, T: AsyncCmd + ?Sized> ControllerCmdAsync<T> for Guarded<C> {
    fn exec(&self, command: &T) -> impl Future<Output = Result<(), Error<C::Error>>> {
        self.0.exec(command)
    }
}

/// Whether a packet that begins a request or an answer has what it needs.
fn is_whole(packet: &AclPacket<'_>) -> bool {
    if packet.boundary_flag() == AclPacketBoundary::Continuing {
        return true;
    }
    let data = packet.data();
    let Some((&[length_low, length_high, channel_low, channel_high], rest)) =
        data.split_first_chunk::<HEADER_BYTES>()
    else {
        return false;
    };
    if u16::from_le_bytes([channel_low, channel_high]) != ATTRIBUTES {
        return true;
    }
    // A packet of the link layer holds 27 bytes at least: one that ends before the opcode is nobody's.
    let Some(&opcode) = rest.first() else {
        return false;
    };
    let length = usize::from(u16::from_le_bytes([length_low, length_high]));
    let Some(parameters) = length.checked_sub(1) else {
        return false;
    };
    match opcode {
        // Answers of read by type and of read by group type: the first byte says how long each entry is, of which the host
        // takes a handle off.
        0x09 | 0x11 => rest.get(1).is_some_and(|entry_bytes| *entry_bytes >= 2),
        _ => has_parameters(opcode, parameters),
    }
}

/// Whether so many bytes are enough for the parameters of a request, a command or an error (Bluetooth Core 5.4, volume 3,
/// part F, 3.4).
fn has_parameters(opcode: u8, bytes: usize) -> bool {
    match opcode {
        // An error, which ends with its code.
        0x01 => bytes >= 4,
        // Exchange MTU; read; write, with a response and without.
        0x02 | 0x0a | 0x12 | 0x52 => bytes >= 2,
        // Find information; read by type; read blob; prepare write.
        0x04 | 0x08 | 0x0c | 0x16 => bytes >= 4,
        // Find by type and value.
        0x06 => bytes >= 6,
        // Read by group type: of the long ids the host reads one byte too many, and no group has one.
        0x10 => bytes == 6,
        // Execute write.
        0x18 => bytes >= 1,
        _ => true,
    }
}
