//! A plan that loads must run without a panic, whatever its bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_nn::Plan;

/// A hostile plan may claim any arena, and work that grows with it: larger ones only take longer.
const ARENA_BYTES_MAX: usize = 1 << 12;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = Plan::load(bytes) else {
        return;
    };
    if plan.arena_bytes() <= ARENA_BYTES_MAX {
        let mut arena = vec![0; plan.arena_bytes()];
        let _ = plan.run(&mut arena);
    }
});
