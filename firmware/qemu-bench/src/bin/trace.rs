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
use qemu_bench::BenchFile;
use qemu_machine::{memory, serial::Serial, slot, stop};
use tinyops_nn::Plan;

#[entry]
fn main() -> ! {
    memory::paint();
    let mut serial = Serial::start();
    let _ = writeln!(serial, "tinyops-trace 1");
    let _ = match trace(&mut serial) {
        Ok(()) => writeln!(serial, "end"),
        Err(Fault::Refused(reason)) => writeln!(serial, "refused {reason}"),
        Err(Fault::Lacks(bytes)) => writeln!(serial, "lacks {bytes} RAM"),
    };
    stop()
}

enum Fault {
    Refused(&'static str),
    /// So many bytes of arena are more than there are.
    Lacks(usize),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Fault {
        Fault::Refused(reason)
    }
}

fn trace(serial: &mut Serial) -> Result<(), Fault> {
    let file = BenchFile::parse(slot::loaded()).ok_or("no file was loaded")?;
    let plan = Plan::load(file.plan).map_err(|_| "the plan is not one")?;
    let arena = memory::take(plan.arena_bytes()).ok_or(Fault::Lacks(plan.arena_bytes()))?;
    let input_len = plan.inputs().map(|view| view.bytes()).sum();
    for case in 0..file.case_count {
        plan.reset(arena).map_err(|_| "the plan does not run")?;
        let (mut values, _) = file.case(case, input_len, 0).ok_or("a case is not whole")?;
        for view in plan.inputs() {
            let one;
            (one, values) = values.split_at(view.bytes());
            arena[view.range()].copy_from_slice(one);
        }
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
