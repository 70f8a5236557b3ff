//! What the emulated `mps2-an386` gives: a serial port, an instruction counter, a way to stop.
//!
//! The only place with `unsafe`: registers, the linker's symbols and the payload in flash.

use core::arch::asm;
use core::fmt::{self, Write};
use core::ptr::{addr_of, read_volatile, write_volatile};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

/// CMSDK UART0: Arm DTO0061A section 4.3 gives the map, DDI0479 section 4.4 the registers.
const UART_DATA: *mut u32 = 0x4000_4000 as *mut u32;
const UART_STATE: *const u32 = 0x4000_4004 as *const u32;
const UART_CONTROL: *mut u32 = 0x4000_4008 as *mut u32;
const UART_DIVISOR: *mut u32 = 0x4000_4010 as *mut u32;

/// Where the emulator loads the capsule's payload; its length stands in front.
const PAYLOAD: *const u8 = 0x0020_0000 as *const u8;
const PAYLOAD_BYTES_MAX: usize = 0x0020_0000 - 4;

/// The machine's clock is 25 MHz, and `-icount shift=0` makes an instruction take 1 ns.
const INSTRUCTIONS_PER_TICK: u64 = 40;

/// What unused stack is painted with.
const PAINT: u32 = 0x5354_4b21;

/// The serial port.
pub struct Serial;

impl Serial {
    /// Switches the transmitter on.
    pub fn new() -> Self {
        // SAFETY: the two registers exist on this machine and nothing else uses them.
        unsafe {
            write_volatile(UART_DIVISOR, 16);
            write_volatile(UART_CONTROL, 1);
        }
        Self
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: as in `new`; bit 0 of the state says that the transmitter is full.
            unsafe {
                while read_volatile(UART_STATE) & 1 != 0 {}
                write_volatile(UART_DATA, u32::from(byte));
            }
        }
        Ok(())
    }
}

/// Counts instructions between two readings, up to 671 million.
pub struct Counter(SYST);

impl Counter {
    /// Starts the timer.
    pub fn new(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(0x00ff_ffff);
        timer.clear_current();
        timer.enable_counter();
        Self(timer)
    }

    /// Instructions that `work` took, and its answer.
    pub fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
        self.0.clear_current();
        // A cleared timer reads 0 until its next tick loads it again.
        while SYST::get_current() == 0 {}
        let before = SYST::get_current();
        let answer = work();
        let after = SYST::get_current();
        let ticks = u64::from(before.wrapping_sub(after) & 0x00ff_ffff);
        (answer, ticks * INSTRUCTIONS_PER_TICK)
    }
}

/// The capsule's payload, read in place.
pub fn payload() -> Option<&'static [u8]> {
    // SAFETY: the machine has memory up to 0x0040_0000, which nothing of ours writes.
    unsafe {
        let length = PAYLOAD.cast::<u32>().read() as usize;
        if length > PAYLOAD_BYTES_MAX {
            return None;
        }
        Some(core::slice::from_raw_parts(PAYLOAD.add(4), length))
    }
}

unsafe extern "C" {
    static mut __sheap: u32;
    static _stack_start: u32;
}

/// RAM between our statics and the stack's reserve: the arena and buffers live there.
///
/// # Panics
/// When called a second time.
pub fn free_ram(stack_reserve_bytes: usize) -> &'static mut [u8] {
    use core::sync::atomic::{AtomicBool, Ordering};
    static TAKEN: AtomicBool = AtomicBool::new(false);
    assert!(!TAKEN.swap(true, Ordering::Relaxed), "the free RAM is taken once");
    let start = addr_of!(__sheap) as usize;
    let end = (addr_of!(_stack_start) as usize).saturating_sub(stack_reserve_bytes);
    // SAFETY: the linker puts nothing between `__sheap` and the stack, the reserve keeps the
    // stack out, and the flag makes this the only reference.
    unsafe { core::slice::from_raw_parts_mut(start as *mut u8, end.saturating_sub(start)) }
}

/// RAM as words of floating point, less the bytes that alignment costs.
pub fn as_words(ram: &mut [u8]) -> &mut [f32] {
    // SAFETY: every bit pattern is an `f32`, and `align_to_mut` hands out the aligned middle only.
    unsafe { ram.align_to_mut::<f32>().1 }
}

/// Paints the unused part of the stack's reserve.
pub fn paint_stack(stack_reserve_bytes: usize) {
    let (mut at, top) = (stack_bottom(stack_reserve_bytes), stack_pointer() - 256);
    while at < top {
        // SAFETY: below the stack pointer (less what this function may use) and inside the reserve.
        unsafe { write_volatile(at as *mut u32, PAINT) };
        at += 4;
    }
}

/// The deepest stack since [`paint_stack`], in bytes.
pub fn stack_high_water(stack_reserve_bytes: usize) -> usize {
    let mut at = stack_bottom(stack_reserve_bytes);
    let top = addr_of!(_stack_start) as usize;
    // SAFETY: reads inside the stack's reserve.
    while at < top && unsafe { read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    top - at
}

fn stack_bottom(stack_reserve_bytes: usize) -> usize {
    (addr_of!(_stack_start) as usize - stack_reserve_bytes).next_multiple_of(4)
}

fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Ends the emulation (semihosting SYS_EXIT, ADP_Stopped_ApplicationExit).
pub fn stop() -> ! {
    // SAFETY: the emulator is started with semihosting on; without it the breakpoint halts us.
    unsafe { asm!("bkpt 0xab", in("r0") 0x18_u32, in("r1") 0x2_0026_u32) };
    #[expect(clippy::empty_loop, reason = "nothing is left to do, and nothing to return to")]
    loop {}
}
