//! Runs every case of the loaded file, and says what it took, line by line.
//!
//! ```text
//! tinyops-bench 1
//! load <instructions>
//! arena <bytes that the plan claims>
//! run <instructions>   one for each case
//! wrong <elements>     one for each case
//! stack <bytes that the runs took>
//! touched <bytes of the arena that were written or read back, in all regions>
//! end
//! ```
//! or, after the first line, `refused <reason>` or `lacks <bytes needed> RAM`.
#![no_std]
#![no_main]

use core::fmt::Write;
use cortex_m_rt::entry;
use qemu_bench::{BenchFile, Fault};
use qemu_machine::{counter::Counter, memory, serial::Serial};
use tinyops_nn::record::REGIONS_MAX;
use tinyops_nn::{Arena, Plan, Regions, RunError};

#[entry]
fn main() -> ! {
    qemu_bench::program("bench", measure)
}

fn measure(file: &BenchFile, serial: &mut Serial) -> Result<(), Fault> {
    let mut counter = Counter::start().ok_or("no timer")?;
    let (plan, load) = counter.measure(|| Plan::load(file.plan));
    let plan = plan.map_err(|_| "the plan is not one")?;
    let arena_bytes = plan.arena_bytes();
    let load = load.ok_or(LONG)?;
    let _ = writeln!(serial, "load {load}\narena {arena_bytes}");
    let touched;
    if plan.regions().count() == 1 {
        let arena = memory::take(arena_bytes).ok_or(Fault::Lacks(arena_bytes))?;
        run_cases(file, &plan, arena, &mut counter, serial)?;
        touched = memory::touched(arena);
    } else {
        let mut arena = lend(&plan).ok_or(Fault::Lacks(arena_bytes))?;
        run_cases(file, &plan, &mut arena, &mut counter, serial)?;
        touched = arena
            .pieces()
            .iter()
            .map(|piece| memory::touched(piece))
            .sum();
    }
    let _ = writeln!(serial, "touched {touched}");
    Ok(())
}

/// Memory for the regions of a plan: every second one lies where the linker has nothing.
fn lend(plan: &Plan<'_>) -> Option<Regions<'static>> {
    let mut pieces = [(); REGIONS_MAX].map(|()| &mut [][..]);
    for (index, (piece, part)) in pieces.iter_mut().zip(plan.regions()).enumerate() {
        *piece = match index % 2 {
            0 => memory::take(part.len())?,
            _ => memory::take_more(part.len())?,
        };
    }
    Some(Regions::new(pieces))
}

fn run_cases<A: Arena + ?Sized>(
    file: &BenchFile,
    plan: &Plan<'_>,
    arena: &mut A,
    counter: &mut Counter,
    serial: &mut Serial,
) -> Result<(), Fault> {
    let own_stack = memory::paint_stack();
    let input_len = plan.inputs().map(|view| view.bytes()).sum();
    let output_len = plan.outputs().map(|view| view.bytes()).sum();
    for index in 0..file.case_count {
        let case = file.case(index, input_len, output_len);
        let (inputs, mut expected) = case.ok_or("a case is not whole")?;
        file.begin(index, plan, arena, inputs)?;
        let (answer, run) = counter.measure(|| run_plan(plan, arena));
        answer.map_err(|_| "the plan does not run")?;
        let mut wrong = 0;
        for view in plan.outputs() {
            let one;
            (one, expected) = expected.split_at(view.bytes());
            let made = arena.bytes(plan, view.range());
            let pairs = made.map_err(|_| "the plan does not run")?.iter().zip(one);
            wrong += pairs
                .filter(|(actual, expected)| actual != expected)
                .count();
        }
        let _ = writeln!(serial, "run {}\nwrong {wrong}", run.ok_or(LONG)?);
    }
    let stack = memory::stack_high_water() - own_stack;
    let _ = writeln!(serial, "stack {stack}");
    Ok(())
}

const LONG: &str = "more instructions than the timer counts";

/// Apart, so that its stack is not that of the caller.
#[inline(never)]
fn run_plan<A: Arena + ?Sized>(plan: &Plan<'_>, arena: &mut A) -> Result<(), RunError> {
    plan.run(arena)
}
