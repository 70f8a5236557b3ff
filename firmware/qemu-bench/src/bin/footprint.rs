//! The least program that loads a plan and runs it: its flash, less that of `empty`, is the runtime's.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use qemu_bench::{BenchFile, free_ram, stop};
use tinyops_nn::Plan;

#[entry]
fn main() -> ! {
    if let Ok(plan) = Plan::load(BenchFile::find().plan) {
        let _ = plan.run(free_ram());
    }
    stop()
}
