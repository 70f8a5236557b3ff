//! Runs every case of the file in flash, and says what it took, line by line.
//!
//! ```text
//! calibration <ticks of 4,000,000 instructions>
//! load <ticks>
//! arena <bytes>
//! run <ticks>          one for each case
//! wrong <elements>     one for each case
//! stack <bytes>
//! end 0
//! ```
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use qemu_bench::{BenchFile, Counter, free_ram, paint_stack, say, stack_high_water, stop};
use tinyops_nn::Plan;

#[entry]
fn main() -> ! {
    paint_stack();
    let Some(peripherals) = cortex_m::Peripherals::take() else {
        stop()
    };
    let mut counter = Counter::new(peripherals.SYST);
    say("calibration", counter.calibrate(2_000_000));
    let file = BenchFile::find();
    let (plan, load) = counter.measure(|| Plan::load(file.plan));
    say("load", load);
    let Ok(plan) = plan else { stop() };
    say("arena", plan.arena_bytes() as u32);
    let Some(arena) = free_ram().get_mut(..plan.arena_bytes()) else {
        stop()
    };
    let (input, output) = (plan.input(), plan.output());
    for index in 0..file.case_count {
        let (values, expected) = file.case(index, input.len, output.len);
        arena[input.range()].copy_from_slice(values);
        let (answer, ticks) = counter.measure(|| plan.run(arena));
        let pairs = arena[output.range()].iter().zip(expected);
        let wrong = pairs.filter(|(actual, expected)| actual != expected).count();
        say("run", ticks);
        say("wrong", if answer.is_ok() { wrong as u32 } else { u32::MAX });
    }
    say("stack", stack_high_water());
    say("end", 0);
    stop()
}
