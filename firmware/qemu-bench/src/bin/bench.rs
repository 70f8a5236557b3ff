//! Runs every case of the loaded file, and says what it took, line by line.
//!
//! ```text
//! tinyops-bench 1
//! load <instructions>
//! arena <bytes that the plan claims>
//! touched <bytes of it that were written or read back>
//! run <instructions>   one for each case
//! wrong <elements>     one for each case
//! stack <bytes that the runs took>
//! end
//! ```
//! or, after the first line, `refused <reason>` or `lacks <bytes needed> RAM`.
#![no_std]
#![no_main]

use core::fmt::Write;
use cortex_m_rt::entry;
use qemu_bench::{BenchFile, Fault};
use qemu_machine::{counter::Counter, memory, serial::Serial};
use tinyops_nn::{Plan, RunError};

#[entry]
fn main() -> ! {
    qemu_bench::program("bench", measure)
}

fn measure(file: &BenchFile, serial: &mut Serial) -> Result<(), Fault> {
    let mut counter = Counter::start().ok_or("no timer")?;
    let (plan, load) = counter.measure(|| Plan::load(file.plan));
    let plan = plan.map_err(|_| "the plan is not one")?;
    let long = "more instructions than the timer counts";
    let arena = memory::take(plan.arena_bytes()).ok_or(Fault::Lacks(plan.arena_bytes()))?;
    let _ = writeln!(serial, "load {}\narena {}", load.ok_or(long)?, arena.len());
    let own_stack = memory::paint_stack();
    let input_len = plan.inputs().map(|view| view.bytes()).sum();
    let output_len = plan.outputs().map(|view| view.bytes()).sum();
    for index in 0..file.case_count {
        let case = file.case(index, input_len, output_len);
        let (inputs, mut expected) = case.ok_or("a case is not whole")?;
        file.begin(index, &plan, arena, inputs)?;
        let (answer, run) = counter.measure(|| run_plan(&plan, arena));
        answer.map_err(|_| "the plan does not run")?;
        let mut wrong = 0;
        for view in plan.outputs() {
            let one;
            (one, expected) = expected.split_at(view.bytes());
            let pairs = arena[view.range()].iter().zip(one);
            wrong += pairs
                .filter(|(actual, expected)| actual != expected)
                .count();
        }
        let _ = writeln!(serial, "run {}\nwrong {wrong}", run.ok_or(long)?);
    }
    let touched = memory::touched(arena);
    let stack = memory::stack_high_water() - own_stack;
    let _ = writeln!(serial, "touched {touched}\nstack {stack}");
    Ok(())
}

/// Apart, so that its stack is not that of the caller.
#[inline(never)]
fn run_plan(plan: &Plan<'_>, arena: &mut [u8]) -> Result<(), RunError> {
    plan.run(arena)
}
