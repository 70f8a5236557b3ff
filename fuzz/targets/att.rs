//! A gateway in the air that sends what it likes: the board's end goes on, or lets it go, and never breaks.
//!
//! Behind a controller that does as it is told, the whole of it runs: guard, host, service and line.
#![no_main]
use libfuzzer_sys::fuzz_target;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bt_hci::transport::{PacketKind, PacketToController, PacketToHost, Transport, WithIndicator};
use bt_hci_transport::ReadHciError;
// Its locks are linked in, and nobody calls them here.
use critical_section as _;
use embassy_futures::poll_once;
use embassy_time::{Duration, MockDriver};
use tinyops_ble::{Line, Resources, address, name, serve};
use trouble_host::prelude::ExternalController;

/// Turns of the host without a packet after which it has done all that it will.
const QUIET_TURNS: usize = 8;
/// Bytes of a data packet that the controller takes.
const DATA_BYTES: u8 = 251;
const CONNECTION: u16 = 0x40;

fuzz_target!(|bytes: &[u8]| {
    let air = RefCell::new(Air {
        script: bytes,
        said: VecDeque::new(),
        is_connected: false,
        packets: 0,
    });
    let line = Line::new();
    let mut resources = Resources::new();
    let controller = ExternalController::<_, 4>::new(Scripted(&air));
    let name = name(7);
    let mut host = pin!(serve(controller, &mut resources, address(7), &name, &line));
    let (mut quiet_turns, mut packets) = (0, 0);
    while quiet_turns < QUIET_TURNS {
        // It ends where the controller says what none may say, which nobody in the air can make it do.
        if let Poll::Ready(Err(_)) = poll_once(host.as_mut()) {
            return;
        }
        MockDriver::get().advance(Duration::from_millis(10));
        quiet_turns += 1;
        let mut air = air.borrow_mut();
        let is_done = air.said.is_empty() && (!air.is_connected || !air.turn(&line));
        if !is_done || air.packets != packets {
            (quiet_turns, packets) = (0, air.packets);
        }
    }
});

/// A gateway's part, and the controller between.
struct Air<'s> {
    /// What the gateway has left to do: a letter for what, and how many bytes of it follow.
    script: &'s [u8],
    /// Packets for the host.
    said: VecDeque<Vec<u8>>,
    is_connected: bool,
    /// Packets of the host's so far.
    packets: u32,
}

impl Air<'_> {
    /// Does the next thing of the script; answers whether there was one.
    fn turn(&mut self, line: &Line) -> bool {
        let Some((&[what, count], rest)) = self.script.split_first_chunk() else {
            return false;
        };
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(count)));
        self.script = rest;
        match what & 7 {
            // A request or a command, framed as it should be.
            0..=2 => {
                let mut framed = (bytes.len() as u16).to_le_bytes().to_vec();
                framed.extend([4, 0]);
                framed.extend(bytes);
                self.data(2, &framed);
            }
            // Packets that begin anything and go on with anything.
            3 => self.data(2, bytes),
            4 => self.data(u16::from(what >> 3 & 3), bytes),
            5 => self.data(1, bytes),
            // The firmware takes what came, and says something.
            6 => {
                let mut taken = [0; 512];
                let _ = poll_once(pin!(line.read(&mut taken)));
                let _ = poll_once(pin!(line.send(bytes)));
            }
            _ => {
                let [low, high] = CONNECTION.to_le_bytes();
                self.said.push_back(vec![4, 0x05, 4, 0, low, high, 0x13]);
                self.is_connected = false;
            }
        }
        true
    }

    fn data(&mut self, boundary: u16, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(usize::from(DATA_BYTES))];
        let mut packet = vec![2];
        packet.extend((CONNECTION | boundary << 12).to_le_bytes());
        packet.extend((bytes.len() as u16).to_le_bytes());
        packet.extend(bytes);
        self.said.push_back(packet);
    }

    /// Takes a packet of the host's in.
    fn take(&mut self, packet: &[u8]) {
        self.packets += 1;
        match *packet {
            [1, low, high, _, ref parameters @ ..] => {
                self.answer(u16::from_le_bytes([low, high]), parameters);
            }
            // Data is sent at once.
            [2, low, high, ..] => {
                let event = [4, 0x13, 5, 1, low, high & 0xf, 1, 0];
                self.said.push_back(event.to_vec());
            }
            _ => {}
        }
    }

    /// Does what a command says (Bluetooth Core 5.4, volume 4, part E, 7).
    fn answer(&mut self, opcode: u16, parameters: &[u8]) {
        let [low, high] = opcode.to_le_bytes();
        // Disconnect and update a connection: taken, and done at some time.
        if [0x0406, 0x2013].contains(&opcode) {
            self.said.push_back(vec![4, 0x0f, 4, 0, 1, low, high]);
        } else {
            let returned: &[u8] = match opcode {
                // The address; bytes and packets of data; entries of the accept list.
                0x1009 => &[1, 2, 3, 4, 5, 6],
                0x2002 => &[DATA_BYTES, 0, 8],
                0x200f => &[4],
                _ => &[],
            };
            let count = 4 + returned.len() as u8;
            let mut event = vec![4, 0x0e, count, 1, low, high, 0];
            event.extend(returned);
            self.said.push_back(event);
        }
        match (opcode, parameters) {
            (0x0406, &[low, high, why]) => {
                self.said.push_back(vec![4, 0x05, 4, 0, low, high, why]);
                self.is_connected = false;
            }
            // Advertised: a gateway connects at once.
            (0x200a, [1]) if !self.is_connected => {
                let [low, high] = CONNECTION.to_le_bytes();
                let mut event = vec![4, 0x3e, 19, 1, 0, low, high, 1, 1];
                event.extend([9, 8, 7, 6, 5, 0xc4]);
                event.extend([12, 0, 0, 0, 200, 0, 0]);
                self.said.push_back(event);
                self.is_connected = true;
            }
            _ => {}
        }
    }
}

/// The controller, as the host sees it.
struct Scripted<'a, 's>(&'a RefCell<Air<'s>>);

/// The controller has said what is no packet, which this one never does.
#[derive(Debug)]
struct NoPacket;

impl std::fmt::Display for NoPacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no packet")
    }
}

impl std::error::Error for NoPacket {}

impl embedded_io::Error for NoPacket {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::InvalidData
    }
}

impl From<ReadHciError<Infallible>> for NoPacket {
    fn from(_: ReadHciError<Infallible>) -> NoPacket {
        NoPacket
    }
}

impl embedded_io::ErrorType for Scripted<'_, '_> {
    type Error = NoPacket;
}

impl Transport for Scripted<'_, '_> {
    async fn read<'a, P: PacketToHost<'a>>(&self, into: &'a mut [u8]) -> Result<P, NoPacket> {
        let packet = poll_fn(|_| match self.0.borrow_mut().said.pop_front() {
            Some(packet) => Poll::Ready(packet),
            None => Poll::Pending,
        });
        let packet = packet.await;
        let mut packet = &packet[..];
        let kind = PacketKind::read(&mut packet)?;
        Ok(P::read_hci(kind, &mut packet, into)?)
    }

    async fn write<P: PacketToController>(&self, packet: &P) -> Result<(), NoPacket> {
        let mut bytes = Vec::new();
        let Ok(()) = WithIndicator::new(packet).write_hci(&mut bytes);
        self.0.borrow_mut().take(&bytes);
        Ok(())
    }
}
