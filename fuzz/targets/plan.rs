//! A plan that loads must run without a panic, whatever its bytes, by the kernels of every instruction set here; and
//! one op must come out the same by all of them.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_nn::{Isa, Line, Plan};

/// A hostile plan may claim any arena, and work that grows with it: larger ones only take longer.
const ARENA_BYTES_MAX: usize = 1 << 12;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = Plan::load(bytes) else {
        return;
    };
    if plan.arena_bytes() > ARENA_BYTES_MAX {
        return;
    }
    let before: Vec<u8> = (0..plan.arena_bytes()).map(|at| (at * 37) as u8).collect();
    let mut expected = before.clone();
    let _ = plan.run(&mut expected);
    // Of several ops, one may read what another left in its scratch, which is nobody's promise.
    let only = plan.op(0).filter(|_| plan.op_count() == 1);
    let output = only.and_then(|op| plan.tensor(op.output));
    for isa in Isa::available() {
        let mut arena = before.clone();
        let mut memory = vec![Line::ZERO; plan.prepared_lines(isa)];
        if let Some(prepared) = plan.prepare(isa, &mut memory) {
            let mut work = vec![Line::ZERO; prepared.work_lines()];
            let _ = prepared.run(&mut arena, &mut work);
        }
        if let Some(output) = output {
            assert!(
                arena[output.range()] == expected[output.range()],
                "{} differs",
                isa.name()
            );
        }
    }
});
