//! HCI packets on a stream of bytes.

use std::{convert::Infallible, fmt, io};

use bt_hci::transport::{PacketKind, PacketToController, PacketToHost, Transport, WithIndicator};
use bt_hci_transport::ReadHciError;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::Mutex,
};

/// Of a packet from a controller: kind, header and 255 bytes, or what data packets may have.
const PACKET_BYTES_MAX: usize = 1 + 4 + 1024;
/// The greatest handle of a connection; data of another is nobody's, and `bt-hci` breaks on it.
const HANDLE_MAX: u16 = 0xeff;

/// HCI packets on a stream, each led by its kind (Bluetooth Core 5.4, volume 4, part A). A socket that keeps packets apart
/// serves too: each is read and written at once.
pub(crate) struct H4 {
    reader: Mutex<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    writer: Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl H4 {
    pub(crate) fn new(
        reader: Box<dyn AsyncRead + Send + Unpin>,
        writer: Box<dyn AsyncWrite + Send + Unpin>,
    ) -> H4 {
        H4 {
            reader: Mutex::new(BufReader::with_capacity(4096, reader)),
            writer: Mutex::new(writer),
        }
    }
}

/// Why a controller is not understood.
#[derive(Debug)]
pub(crate) struct H4Error(io::Error);

impl fmt::Display for H4Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for H4Error {}

impl embedded_io::Error for H4Error {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

impl From<ReadHciError<Infallible>> for H4Error {
    fn from(_: ReadHciError<Infallible>) -> H4Error {
        H4Error(io::Error::new(
            io::ErrorKind::InvalidData,
            "what comes from the controller is no HCI",
        ))
    }
}

impl embedded_io::ErrorType for H4 {
    type Error = H4Error;
}

impl Transport for H4 {
    async fn read<'a, P: PacketToHost<'a>>(&self, into: &'a mut [u8]) -> Result<P, H4Error> {
        let mut reader = self.reader.lock().await;
        let mut packet = [0; PACKET_BYTES_MAX];
        reader.read_exact(&mut packet[..1]).await.map_err(H4Error)?;
        // Bytes of the header, and where in it the length stands.
        let (header_bytes, long) = match packet[0] {
            2 | 5 => (4, true),
            3 => (3, false),
            4 => (2, false),
            _ => return Err(ReadHciError::<Infallible>::InvalidValue.into()),
        };
        let header = &mut packet[1..=header_bytes];
        reader.read_exact(header).await.map_err(H4Error)?;
        let is_event = header_bytes == 2;
        if !is_event && u16::from_le_bytes([header[0], header[1]]) & 0xfff > HANDLE_MAX {
            return Err(ReadHciError::<Infallible>::InvalidValue.into());
        }
        let bytes = match long {
            true => usize::from(u16::from_le_bytes([header[2], header[3]]) & 0x3fff),
            false => usize::from(header[header_bytes - 1]),
        };
        let end = 1 + header_bytes + bytes;
        let rest = packet
            .get_mut(1 + header_bytes..end)
            .ok_or(ReadHciError::<Infallible>::BufferTooSmall)?;
        reader.read_exact(rest).await.map_err(H4Error)?;
        let mut packet = &packet[..end];
        let kind = PacketKind::read(&mut packet)?;
        Ok(P::read_hci(kind, &mut packet, into)?)
    }

    async fn write<P: PacketToController>(&self, packet: &P) -> Result<(), H4Error> {
        let mut bytes = Vec::with_capacity(1 + packet.size());
        let Ok(()) = WithIndicator::new(packet).write_hci(&mut bytes);
        let mut writer = self.writer.lock().await;
        writer.write_all(&bytes).await.map_err(H4Error)?;
        writer.flush().await.map_err(H4Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bt_hci::ControllerToHostPacket;

    /// Reads one packet of a stream, and asks for the connection that it is of.
    async fn read(stream: &'static [u8]) -> Result<u16, H4Error> {
        let h4 = H4::new(Box::new(stream), Box::new(tokio::io::sink()));
        let mut into = [0; 259];
        match h4.read(&mut into).await? {
            ControllerToHostPacket::Acl(packet) => Ok(packet.handle().raw()),
            ControllerToHostPacket::Sync(packet) => Ok(packet.handle().raw()),
            ControllerToHostPacket::Iso(packet) => Ok(packet.handle().raw()),
            ControllerToHostPacket::Event(_) => Ok(0),
        }
    }

    #[tokio::test]
    async fn data_of_a_connection_that_cannot_be_is_no_packet() {
        assert_eq!(read(b"\x02\xff\x2e\x00\x00").await.unwrap(), 0xeff);
        assert_eq!(read(b"\x03\x40\x00\x00").await.unwrap(), 0x40);
        assert_eq!(read(b"\x04\xff\x00").await.unwrap(), 0);
        for stream in [
            &b"\x02\x00\x2f\x00\x00"[..],
            b"\x03\xff\x3f\x00",
            b"\x05\x75\x4f\x00\x00",
        ] {
            let told = read(stream).await.unwrap_err().to_string();
            assert_eq!(told, "what comes from the controller is no HCI");
        }
    }
}
