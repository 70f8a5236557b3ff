//! The serial port: bytes out, bytes in, without interrupts.

use core::fmt;

/// The machine's first serial port.
pub struct Serial(());

impl Serial {
    /// Switches transmitter and receiver on.
    pub fn start() -> Serial {
        crate::chip::start();
        Serial(())
    }

    /// The next byte that comes in.
    pub fn receive(&mut self) -> u8 {
        loop {
            if let Some(byte) = crate::chip::receive() {
                return byte;
            }
        }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(crate::chip::send);
        Ok(())
    }
}
