//! A program that only starts and stops: vectors, start-up, and nothing of ours.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use qemu_bench as _;

#[entry]
fn main() -> ! {
    qemu_machine::stop()
}
