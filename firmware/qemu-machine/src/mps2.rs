//! What Arm's MPS2 boards have beside a core: more serial ports than one, a clock, sleep, a reset, a watchdog.
//!
//! # Source
//! Arm application note AN386, sections 3.3 (interrupts), 4.2 (memory map) and 4.5 (FPGA's registers); the ports are
//! those of Arm DDI0479, section 4.4, and the watchdog is of the same document. What of them QEMU 7.2 has:
//! `hw/misc/mps2-fpgaio.c`, `hw/char/cmsdk-apb-uart.c`, `hw/watchdog/cmsdk-apb-watchdog.c`.

use core::fmt;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};

use crate::chip::{self, register};

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CONTROL: usize = 0x08;
const INTERRUPT: usize = 0x0c;
const DIVISOR: usize = 0x10;

const SEND_IS_FULL: u32 = 0b01;
const HAS_RECEIVED: u32 = 0b10;
/// Transmitter, receiver and the receiver's interrupt.
const ON: u32 = 0b1011;

const FIRST_PORT: usize = 0x4000_4000;
const SECOND_PORT: usize = 0x4000_5000;
/// Interrupts of their receivers.
const PORT_INTERRUPTS: u32 = 0b101;

const HUNDREDTHS: usize = 0x4002_8014;
const COUNTER: usize = 0x4002_8018;
const PRESCALER: usize = 0x4002_801c;

const WATCHDOG_LOAD: usize = 0x4000_8000;
const WATCHDOG_CONTROL: usize = 0x4000_8008;
const WATCHDOG_FEED: usize = 0x4000_800c;
const WATCHDOG_LOCK: usize = 0x4000_8c00;
/// What opens its registers.
const UNLOCKED: u32 = 0x1acc_e551;
/// It counts, and resets the machine.
const WATCHES: u32 = 0b11;
/// It bites when it has counted down twice. By the host's clock, of a machine that may do much else: half a minute.
const WATCHDOG_TICKS: u32 = 15 * 25_000_000;

const NVIC_ENABLE: usize = 0xe000_e100;
const NVIC_CLEAR: usize = 0xe000_e280;

/// Ticks of the core's clock in a hundredth of a second.
const TICKS_IN_HUNDREDTH: u32 = 250_000;

fn read(address: usize) -> u32 {
    // SAFETY: the addresses above are registers of this board.
    unsafe { register(address).read_volatile() }
}

fn write(address: usize, value: u32) {
    // SAFETY: as in `read`; nothing here moves memory.
    unsafe { register(address).write_volatile(value) }
}

/// The board, switched on: its ports, and what wakes it.
pub struct Board {
    /// The first serial port.
    pub first: Port,
    /// The second.
    pub second: Port,
    _timer: SYST,
}

impl Board {
    /// Switches on what is used; `None` when it was taken before.
    pub fn start() -> Option<Board> {
        let mut timer = cortex_m::Peripherals::take()?.SYST;
        // Nothing is handled by an interrupt: they only wake the core, and what they say is looked at then.
        cortex_m::interrupt::disable();
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(TICKS_IN_HUNDREDTH - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        write(NVIC_ENABLE, PORT_INTERRUPTS);
        // Every tick of the clock counts.
        write(PRESCALER, 0);
        watch(WATCHDOG_TICKS);
        Some(Board {
            first: Port::start(FIRST_PORT),
            second: Port::start(SECOND_PORT),
            _timer: timer,
        })
    }

    /// Forgets what has woken the core until now. To be called before the ports are looked at: what comes after wakes
    /// it again.
    pub fn forget_wakes(&mut self) {
        for port in [&self.first, &self.second] {
            write(port.0 + INTERRUPT, 0b11);
        }
        write(NVIC_CLEAR, PORT_INTERRUPTS);
        SCB::clear_pendst();
    }

    /// Sleeps until a byte comes or a hundredth of a second is over.
    pub fn sleep(&mut self) {
        cortex_m::asm::wfi();
    }

    /// Milliseconds since the machine was switched on or reset, in steps of ten.
    pub fn now_ms(&self) -> u64 {
        u64::from(read(HUNDREDTHS)) * 10
    }

    /// A counter of microseconds, which begins anew after 171 seconds.
    pub fn now_us(&self) -> Instant {
        Instant(read(COUNTER))
    }

    /// Tells the watchdog that the program goes on.
    pub fn feed_watchdog(&mut self) {
        write(WATCHDOG_FEED, 1);
    }

    /// Does nothing any more, until the watchdog bites. That is soon: a program that hangs on purpose has nobody to wait
    /// for.
    pub fn hang(&mut self) -> ! {
        watch(TICKS_IN_HUNDREDTH);
        loop {
            self.forget_wakes();
            self.sleep();
        }
    }

    /// Resets the machine once all that was sent is out; memory that nobody initializes keeps what it holds.
    pub fn reset(&mut self) -> ! {
        self.first.flush();
        self.second.flush();
        SCB::sys_reset()
    }
}

/// Has the watchdog bite when it has counted down twice from there.
fn watch(ticks: u32) {
    write(WATCHDOG_LOCK, UNLOCKED);
    write(WATCHDOG_LOAD, ticks);
    write(WATCHDOG_CONTROL, WATCHES);
}

/// A time of [`Board::now_us`].
#[derive(Clone, Copy)]
pub struct Instant(u32);

impl Instant {
    /// Microseconds since then.
    pub fn elapsed_us(self, board: &Board) -> u32 {
        const TICKS_IN_MICROSECOND: u32 = 25;
        board.now_us().0.wrapping_sub(self.0) / TICKS_IN_MICROSECOND
    }
}

/// A serial port.
pub struct Port(usize);

impl Port {
    fn start(base: usize) -> Port {
        write(base + DIVISOR, 16);
        write(base + CONTROL, ON);
        Port(base)
    }

    /// The next byte, if one has come.
    pub fn receive(&mut self) -> Option<u8> {
        (read(self.0 + STATE) & HAS_RECEIVED != 0).then(|| read(self.0 + DATA) as u8)
    }

    /// Sends bytes; the last of them may be on its way still.
    pub fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.flush();
            write(self.0 + DATA, u32::from(byte));
        }
    }

    /// Waits until every byte is out.
    pub fn flush(&mut self) {
        while read(self.0 + STATE) & SEND_IS_FULL != 0 {}
    }
}

impl fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send(text.as_bytes());
        Ok(())
    }
}

/// A number that a reset leaves as it is, and a power cut does not: the last word of the memory that lies apart.
pub struct Kept(());

impl Kept {
    /// The number; 0 after the machine was switched on.
    pub fn get(&self) -> u32 {
        read(Kept::address())
    }

    /// Writes it.
    pub fn set(&mut self, number: u32) {
        write(Kept::address(), number);
    }

    /// The number of this machine. Its word is not handed out to anybody as long as no one takes the whole memory.
    pub fn take() -> Kept {
        Kept(())
    }

    fn address() -> usize {
        // Programs of machines without such a memory have this, and call nothing of it.
        (chip::MORE_RAM + chip::MORE_RAM_BYTES).saturating_sub(4)
    }
}
