//! What every emulated Cortex-M board gives alike: semihosting, SysTick, and RAM.
//!
//! The only place with `unsafe`: breakpoints, the linker's symbols, the file in flash.
#![no_std]

use core::arch::asm;
use core::ptr::{addr_of, read_volatile};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

/// Where the emulator loads the plan and its cases: above any image, still in code memory.
const BENCH_FILE: *const u32 = 0x0020_0000 as *const u32;

/// RAM kept for the stack, in bytes.
pub const STACK_BYTES: usize = 8 * 1024;

/// The file of a bench: a plan, then inputs and outputs of its cases.
///
/// ```text
/// plan_bytes u32 · case_count u32 · 8 reserved · plan · to a multiple of 16 · case_count × (input, output)
/// ```
pub struct BenchFile {
    /// The bytes of the plan.
    pub plan: &'static [u8],
    /// How many cases follow.
    pub case_count: usize,
    cases: *const u8,
}

impl BenchFile {
    /// The file that the emulator has put into flash.
    pub fn find() -> BenchFile {
        // SAFETY: the machine has code memory there, which the emulator fills and nothing writes.
        unsafe {
            let plan_bytes = read_volatile(BENCH_FILE) as usize;
            let case_count = read_volatile(BENCH_FILE.add(1)) as usize;
            let plan = BENCH_FILE.cast::<u8>().add(16);
            BenchFile {
                plan: core::slice::from_raw_parts(plan, plan_bytes),
                case_count,
                cases: plan.add(plan_bytes.next_multiple_of(16)),
            }
        }
    }

    /// Input and output of a case.
    pub fn case(&self, index: usize, input_len: usize, output_len: usize) -> (&'static [u8], &'static [u8]) {
        assert!(index < self.case_count, "the file has so many cases");
        // SAFETY: the emulator's side writes so many cases of these lengths.
        unsafe {
            let input = self.cases.add(index * (input_len + output_len));
            (
                core::slice::from_raw_parts(input, input_len),
                core::slice::from_raw_parts(input.add(input_len), output_len),
            )
        }
    }
}

/// SysTick, which counts virtual time; how many instructions that is shows [`Counter::calibrate`].
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

    /// Ticks that `work` took, and its answer.
    pub fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, u32) {
        self.0.clear_current();
        // A cleared timer reads 0 until its next tick loads it again.
        while SYST::get_current() == 0 {}
        let before = SYST::get_current();
        let answer = work();
        let after = SYST::get_current();
        (answer, before.wrapping_sub(after) & 0x00ff_ffff)
    }

    /// Ticks of a loop of `2 × rounds` instructions.
    pub fn calibrate(&mut self, rounds: u32) -> u32 {
        // SAFETY: a loop over one register.
        let (_, ticks) = self.measure(|| unsafe {
            asm!("2:", "subs {n}, {n}, #1", "bne 2b", n = inout(reg) rounds => _, options(nomem, nostack));
        });
        ticks
    }
}

unsafe extern "C" {
    static mut __sheap: u32;
    static _stack_start: u32;
}

/// RAM between our statics and the stack's reserve, from an address that is a multiple of 16;
/// nothing when asked a second time.
pub fn free_ram() -> &'static mut [u8] {
    static mut TAKEN: bool = false;
    let start = (addr_of!(__sheap) as usize).next_multiple_of(16);
    let end = (addr_of!(_stack_start) as usize).saturating_sub(STACK_BYTES);
    // SAFETY: one core, no interrupts; the linker puts nothing between `__sheap` and the stack,
    // the reserve keeps the stack out, and the flag makes this the only reference.
    unsafe {
        if TAKEN {
            return &mut [];
        }
        TAKEN = true;
        core::slice::from_raw_parts_mut(start as *mut u8, end.saturating_sub(start))
    }
}

/// What unused stack is painted with.
const PAINT: u32 = 0x5354_4b21;

/// Paints the unused part of the stack's reserve.
pub fn paint_stack() {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    let mut at = stack_bottom();
    while at < pointer - 256 {
        // SAFETY: below the stack pointer (less what this function may use) and inside the reserve.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += 4;
    }
}

/// The deepest stack since [`paint_stack`], in bytes.
pub fn stack_high_water() -> u32 {
    let mut at = stack_bottom();
    let top = addr_of!(_stack_start) as usize;
    // SAFETY: reads inside the stack's reserve.
    while at < top && unsafe { read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    (top - at) as u32
}

fn stack_bottom() -> usize {
    (addr_of!(_stack_start) as usize - STACK_BYTES).next_multiple_of(4)
}

/// Prints a name and a number (semihosting SYS_WRITE0).
pub fn say(name: &str, number: u32) {
    let mut line = [0u8; 64];
    let mut digits = [0u8; 10];
    let mut rest = number;
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let text = name.bytes().chain([b' ']).chain(digits[first..].iter().copied()).chain([b'\n']);
    for (place, byte) in line[..63].iter_mut().zip(text) {
        *place = byte;
    }
    // SAFETY: the line ends with a 0, and the emulator is started with semihosting on.
    unsafe { asm!("bkpt 0xab", inout("r0") 0x04_u32 => _, in("r1") line.as_ptr()) };
}

/// Ends the emulation (semihosting SYS_EXIT, ADP_Stopped_ApplicationExit).
pub fn stop() -> ! {
    // SAFETY: the emulator is started with semihosting on; without it the breakpoint halts us.
    unsafe { asm!("bkpt 0xab", in("r0") 0x18_u32, in("r1") 0x2_0026_u32) };
    #[expect(clippy::empty_loop, reason = "nothing is left to do, and nothing to return to")]
    loop {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}
