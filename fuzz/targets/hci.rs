//! A stream of any bytes from a Bluetooth LE controller: the gateway reads the same packets of it however it is cut, and of
//! the packets that the guard lets through, the host can read every request and every answer to its end.
#![no_main]
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/tinyops/src/cmd/gateway/h4.rs"]
mod h4;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bt_hci::ControllerToHostPacket;
use bt_hci::controller::Controller as _;
use bt_hci::data::AclPacketBoundary;
use embassy_futures::block_on;
use tinyops_ble::Guarded;
use tokio::io::{AsyncRead, ReadBuf};
use trouble_host::att::{Att, AttRsp, AttServer};
use trouble_host::prelude::ExternalController;

use crate::h4::H4;

fuzz_target!(|bytes: &[u8]| {
    let whole = packets(bytes, usize::MAX);
    assert_eq!(whole, packets(bytes, 1));
    assert_eq!(whole, packets(bytes, 7));
});

/// What packets a stream holds, up to the first that is none.
fn packets(bytes: &[u8], at_once: usize) -> Vec<String> {
    let stream = Stream {
        bytes: bytes.to_vec(),
        at: 0,
        at_once,
    };
    let h4 = H4::new(Box::new(stream), Box::new(tokio::io::sink()));
    let controller = Guarded(ExternalController::<_, 1>::new(h4));
    let mut packets = Vec::new();
    block_on(async {
        let mut buffer = controller.alloc_buf().expect("259 bytes");
        while let Ok(packet) = controller.read(&mut buffer).await {
            packets.push(format!("{packet:?}"));
            if let ControllerToHostPacket::Acl(packet) = packet
                && packet.boundary_flag() != AclPacketBoundary::Continuing
            {
                read_attributes(packet.data());
            }
        }
    });
    packets
}

/// Reads what begins in a packet as the host does once it has come whole.
fn read_attributes(data: &[u8]) {
    let Some((&[low, high, 4, 0], begun)) = data.split_first_chunk::<4>() else {
        return;
    };
    let mut whole = begun.to_vec();
    whole.resize(usize::from(u16::from_le_bytes([low, high])), 0);
    let Ok(Att::Server(AttServer::Response(answer))) = Att::decode(&whole) else {
        return;
    };
    // A host goes on until there is no more, or what there is is none.
    match answer {
        AttRsp::FindByTypeValue { mut it } => while let Some(Ok(_)) = it.next() {},
        AttRsp::FindInformation { mut it } => while let Some(Ok(_)) = it.next() {},
        AttRsp::ReadByType { mut it } | AttRsp::ReadByGroupType { mut it } => {
            while let Some(Ok(_)) = it.next() {}
        }
        _ => {}
    }
}

/// Bytes that come so many at once.
struct Stream {
    bytes: Vec<u8>,
    at: usize,
    at_once: usize,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.bytes[self.at..];
        let count = left.len().min(self.at_once).min(into.remaining());
        into.put_slice(&left[..count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}
