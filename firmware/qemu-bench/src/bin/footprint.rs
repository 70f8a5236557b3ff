//! The least program that loads a plan and runs it: its flash, less that of `empty`, is the runtime's.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use qemu_bench as _;
use qemu_machine::{memory, slot};
use tinyops_nn::Plan;

#[entry]
fn main() -> ! {
    if let Ok(plan) = Plan::load(slot::loaded()) {
        if let Some(arena) = memory::take(plan.arena_bytes()) {
            let _ = plan.run(arena);
        }
    }
    qemu_machine::stop()
}
