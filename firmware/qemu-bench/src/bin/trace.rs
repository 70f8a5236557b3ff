//! Runs every case of the loaded file, and shows what each op makes, line by line.
//!
//! ```text
//! tinyops-trace 1
//! op <case> <index> <bytes in hex>   one for each op of each case
//! end
//! ```
//! or, after the first line, `refused <reason>` or `lacks <bytes needed> RAM`.
#![no_std]
#![no_main]

use core::fmt::Write;
use cortex_m_rt::entry;
use qemu_bench::{BenchFile, Fault};
use qemu_machine::{memory, serial::Serial};
use tinyops_nn::Plan;

#[entry]
fn main() -> ! {
    qemu_bench::program("trace", trace)
}

fn trace(file: &BenchFile, serial: &mut Serial) -> Result<(), Fault> {
    let plan = Plan::load(file.plan).map_err(|_| "the plan is not one")?;
    let arena = memory::take(plan.arena_bytes()).ok_or(Fault::Lacks(plan.arena_bytes()))?;
    let input_len = plan.inputs().map(|view| view.bytes()).sum();
    for case in 0..file.case_count {
        let (inputs, _) = file.case(case, input_len, 0).ok_or("a case is not whole")?;
        file.begin(case, &plan, arena, inputs)?;
        let ran = plan.run_observed(arena, |index, arena| {
            let _ = write!(serial, "op {case} {index} ");
            let output = plan.op(index).and_then(|op| plan.tensor(op.output));
            for byte in output.map_or(&[][..], |view| &arena[view.range()]) {
                let _ = write!(serial, "{byte:02x}");
            }
            let _ = writeln!(serial);
        });
        ran.map_err(|_| "the plan does not run")?;
    }
    Ok(())
}
