//! What a program on an emulated Cortex-M machine needs: a serial port, an instruction counter, its memory, an end.
//!
//! The only place in the firmware with `unsafe`: registers, breakpoints, the linker's symbols. Which machine it is
//! decides `build.rs` from the environment; `tinyops-emulate` holds the table of machines.
#![no_std]

mod chip;

pub mod counter;
pub mod host;
pub mod memory;
pub mod mps2;
pub mod serial;
pub mod slot;

/// Ends the emulation (semihosting SYS_EXIT, ADP_Stopped_ApplicationExit).
pub fn stop() -> ! {
    // SAFETY: the emulator is started with semihosting on; without it the breakpoint halts us.
    unsafe { core::arch::asm!("bkpt 0xab", in("r0") 0x18_u32, in("r1") 0x2_0026_u32) };
    #[expect(
        clippy::empty_loop,
        reason = "nothing is left to do, and nothing to return to"
    )]
    loop {}
}

/// What faults, a stack that grew out of RAM among it, ends the emulation: the report is not whole then.
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    stop()
}
