//! Counts instructions with SysTick, which every machine here has.
//!
//! Under `-icount shift=0` an instruction takes one nanosecond of virtual time. How many of them are a tick of this
//! machine's clock shows a loop of known length.

use core::arch::asm;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

/// Instructions of the loop that calibrates.
const CALIBRATION: u32 = 4_000_000;

/// A calibrated counter.
pub struct Counter {
    timer: SYST,
    ticks_of_calibration: u32,
}

impl Counter {
    /// Starts the timer and calibrates it; `None` when it was taken before or does not run.
    pub fn start() -> Option<Counter> {
        let mut timer = cortex_m::Peripherals::take()?.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(0x00ff_ffff);
        timer.clear_current();
        timer.enable_counter();
        let mut counter = Counter {
            timer,
            ticks_of_calibration: 0,
        };
        // SAFETY: a loop of two instructions over one register.
        let (_, ticks) = counter.ticks(|| unsafe {
            asm!("2:", "subs {n}, {n}, #1", "bne 2b", n = inout(reg) CALIBRATION / 2 => _, options(nomem, nostack));
        });
        counter.ticks_of_calibration = ticks?;
        (ticks? > 0).then_some(counter)
    }

    /// The answer of `work`, and the instructions that it took: exact to one tick, which is 31 to 63 of them.
    /// `None` when they are more than the timer holds, some 500 million.
    pub fn measure<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<u64>) {
        let (answer, ticks) = self.ticks(work);
        let instructions = |ticks| u64::from(ticks) * u64::from(CALIBRATION);
        let instructions =
            ticks.map(|ticks| instructions(ticks) / u64::from(self.ticks_of_calibration));
        (answer, instructions)
    }

    fn ticks<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<u32>) {
        self.timer.clear_current();
        // A cleared timer reads 0 until its next tick loads it again.
        while SYST::get_current() == 0 {}
        let _ = self.timer.has_wrapped();
        let before = SYST::get_current();
        let answer = work();
        let after = SYST::get_current();
        let ticks = before.checked_sub(after);
        (answer, ticks.filter(|_| !self.timer.has_wrapped()))
    }
}
