//! Plans of whole networks with wrong bytes: refused, or run within their memory.

use proptest::prelude::*;
use proptest::sample::Index;
use tinyops_compile::compile_graph;
use tinyops_nn::Plan;

use crate::networks::network;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_plans_of_networks_never_leave_their_memory(
        seed in 0u64..300, changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..5), in_tables: bool,
    ) {
        let graph = network(seed);
        prop_assume!(graph.check().is_ok());
        let compiled = compile_graph(&graph, seed % 2 == 0).expect("compiles");
        let mut bytes = compiled.program;
        // Half of the time where it hurts: header and tables come first.
        let reach = if in_tables { bytes.len().min(400) } else { bytes.len() };
        for (index, value) in changes {
            let at = index.index(reach);
            bytes[at] = value;
        }
        if let Ok(plan) = Plan::load(&bytes)
            && plan.arena_bytes() <= 1 << 16
        {
            let mut arena = vec![0x80; plan.arena_bytes()];
            plan.run(&mut arena).expect("the arena is as large as asked");
        }
    }
}
