//! What the machines have that differs: the registers of the serial port, and how flash is written.

pub(crate) use map::{erase, receive, send, start, store};

/// Where things are on this machine.
mod map {
    include!(concat!(env!("OUT_DIR"), "/map.rs"));
    pub(crate) use chip::{erase, receive, send, start, store};
}

pub(crate) use map::{LOADED, LOADED_BYTES, MORE_RAM, MORE_RAM_BYTES, PIECES};

fn read(offset: usize) -> u32 {
    // SAFETY: the table of machines gives the address of this port's registers.
    unsafe { register(map::UART + offset).read_volatile() }
}

fn write(offset: usize, value: u32) {
    // SAFETY: as in `read`; a write moves bytes and switches the port, and touches no memory.
    unsafe { register(map::UART + offset).write_volatile(value) }
}

pub(crate) fn register(address: usize) -> *mut u32 {
    address as *mut u32
}

/// Boards of Arm: the UART of the Cortex-M System Design Kit, and RAM where others have flash.
///
/// # Source
/// Arm DDI0479, section 4.4.
#[allow(dead_code, reason = "a machine has one of the two")]
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

    /// # Safety
    /// None: RAM needs no erasing.
    pub(crate) unsafe fn erase(_page: usize) {}

    /// # Safety
    /// The address is one of a word that nothing else reads or writes now.
    pub(crate) unsafe fn store(address: usize, word: u32) {
        // SAFETY: as the caller says.
        unsafe { (address as *mut u32).write_volatile(word) }
    }
}

/// Nordic's nRF51 series.
///
/// # Source
/// nRF51 Series Reference Manual 3.0, chapters 6 (flash) and 29 (UART).
#[allow(dead_code, reason = "a machine has one of the two")]
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

    const FLASH_READY: *const u32 = 0x4001_e400 as *const u32;
    const FLASH_CONFIG: *mut u32 = 0x4001_e504 as *mut u32;

    const FLASH_ERASE: *mut u32 = 0x4001_e508 as *mut u32;

    /// # Safety
    /// The address is one of a page of flash that nothing else reads or writes now.
    pub(crate) unsafe fn erase(page: usize) {
        // SAFETY: the registers exist on this chip; the rest is as the caller says.
        unsafe {
            FLASH_CONFIG.write_volatile(2);
            FLASH_ERASE.write_volatile(page as u32);
            while FLASH_READY.read_volatile() & 1 == 0 {}
            FLASH_CONFIG.write_volatile(0);
        }
    }

    /// # Safety
    /// The address is one of an erased word of flash that nothing else reads or writes now.
    pub(crate) unsafe fn store(address: usize, word: u32) {
        // SAFETY: the registers exist on this chip; the rest is as the caller says.
        unsafe {
            FLASH_CONFIG.write_volatile(1);
            (address as *mut u32).write_volatile(word);
            while FLASH_READY.read_volatile() & 1 == 0 {}
            FLASH_CONFIG.write_volatile(0);
        }
    }
}
