//! The serial port: bytes out, bytes in, without interrupts.

use core::fmt;

/// The machine's first serial port.
pub struct Serial(());

impl Serial {
    /// Switches transmitter and receiver on.
    pub fn start() -> Serial {
        crate::map::start();
        Serial(())
    }

    /// The next byte that comes in.
    pub fn receive(&mut self) -> u8 {
        loop {
            if let Some(byte) = crate::map::receive() {
                return byte;
            }
        }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(crate::map::send);
        Ok(())
    }
}

fn read(offset: usize) -> u32 {
    let register = (crate::map::UART_REGISTERS + offset) as *const u32;
    // SAFETY: the table of machines gives the address of this port's registers.
    unsafe { register.read_volatile() }
}

fn write(offset: usize, value: u32) {
    let register = (crate::map::UART_REGISTERS + offset) as *mut u32;
    // SAFETY: as in `read`; a write moves bytes and switches the port, and touches no memory.
    unsafe { register.write_volatile(value) }
}

/// The UART of Arm's Cortex-M System Design Kit.
///
/// # Source
/// Arm DDI0479, section 4.4.
#[expect(dead_code, reason = "a machine has one of the two")]
pub(crate) mod cmsdk {
    use super::{read, write};

    const DATA: usize = 0x00;
    const STATE: usize = 0x04;
    const CONTROL: usize = 0x08;
    const DIVISOR: usize = 0x10;

    pub(crate) fn start() {
        write(DIVISOR, 16);
        write(CONTROL, 0b11);
    }

    pub(crate) fn send(byte: u8) {
        while read(STATE) & 0b01 != 0 {}
        write(DATA, u32::from(byte));
    }

    pub(crate) fn receive() -> Option<u8> {
        (read(STATE) & 0b10 != 0).then(|| read(DATA) as u8)
    }
}

/// The UART of Nordic's nRF51 series.
///
/// # Source
/// nRF51 Series Reference Manual 3.0, chapter 29.
#[expect(dead_code, reason = "a machine has one of the two")]
pub(crate) mod nrf51 {
    use super::{read, write};

    const START_RECEIVER: usize = 0x000;
    const START_TRANSMITTER: usize = 0x008;
    const RECEIVED: usize = 0x108;
    const SENT: usize = 0x11c;
    const ENABLE: usize = 0x500;
    const RECEIVE: usize = 0x518;
    const SEND: usize = 0x51c;

    pub(crate) fn start() {
        write(ENABLE, 4);
        write(START_TRANSMITTER, 1);
        write(START_RECEIVER, 1);
    }

    pub(crate) fn send(byte: u8) {
        write(SENT, 0);
        write(SEND, u32::from(byte));
        while read(SENT) == 0 {}
    }

    pub(crate) fn receive() -> Option<u8> {
        if read(RECEIVED) == 0 {
            return None;
        }
        write(RECEIVED, 0);
        Some(read(RECEIVE) as u8)
    }
}
