//! A plan that loads must run without a panic, whatever its bytes, by the kernels of every instruction set here.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_nn::{Isa, Line, Plan};

/// A hostile plan may claim any arena, and work that grows with it: larger ones only take longer.
const ARENA_BYTES_MAX: usize = 1 << 12;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = Plan::load(bytes) else {
        return;
    };
    if plan.arena_bytes() <= ARENA_BYTES_MAX {
        let mut arena = vec![0; plan.arena_bytes()];
        let _ = plan.run(&mut arena);
        for isa in Isa::available() {
            let mut memory = vec![Line::ZERO; plan.prepared_lines(isa)];
            if let Some(prepared) = plan.prepare(isa, &mut memory) {
                let mut work = vec![Line::ZERO; prepared.work_lines()];
                let _ = prepared.run(&mut arena, &mut work);
            }
        }
    }
});
