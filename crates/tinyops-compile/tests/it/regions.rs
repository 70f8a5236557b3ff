//! An arena over several memory regions makes the bytes of one in one piece.

use proptest::prelude::*;
use tinyops_compile::{Options, compile_graph, compile_graph_with};
use tinyops_nn::record::REGIONS_MAX;
use tinyops_nn::{Isa, Line, Plan, Regions};

use crate::graphs::{len, options, run};
use crate::networks::{Random, network, tall};

/// A copy of each region's part of an arena.
pub(crate) fn pieces_of(plan: &Plan<'_>, arena: &[u8]) -> Vec<Vec<u8>> {
    plan.regions()
        .map(|region| arena[region].to_vec())
        .collect()
}

/// The pieces as memory for a run, and nothing for the regions that the plan does not have.
pub(crate) fn lend(pieces: &mut [Vec<u8>]) -> Regions<'_> {
    let mut pieces = pieces.iter_mut();
    let lent =
        [(); REGIONS_MAX].map(|()| pieces.next().map_or(&mut [][..], |piece| &mut piece[..]));
    Regions::new(lent)
}

/// Rooms of so many tenths of an arena, and the rest of the regions without any.
pub(crate) fn rooms<const N: usize>(arena_bytes: u32, tenths: [u32; N]) -> [u32; REGIONS_MAX] {
    let mut rooms = [0; REGIONS_MAX];
    for (room, tenths) in rooms.iter_mut().zip(tenths) {
        *room = (arena_bytes * tenths).div_ceil(10);
    }
    rooms
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn regions_change_no_byte(
        seed: u64, keep_input: bool, in_bands: bool,
        tenths in prop::array::uniform4(prop_oneof![0u32..12, Just(9)]),
    ) {
        let graph = if in_bands { tall(seed) } else { network(seed) };
        prop_assume!(graph.check().is_ok());
        let one = compile_graph_with(&graph, &options(keep_input, in_bands)).expect("compiles");
        let regions = rooms(one.arena_bytes, tenths);
        let spread = Options { regions, ..options(keep_input, in_bands) };
        let compiled = compile_graph_with(&graph, &spread).expect("compiles");
        let memory = &compiled.memory;
        if compiled.program == one.program {
            // All of it in the first, or nothing goes: as if there were no regions.
            prop_assert_eq!(memory.regions.len(), 1);
            return Ok(());
        }
        // Looking for room in the first alone, the planner may find a smaller arena than without a limit.
        prop_assert!(memory.regions.len() > 1 || compiled.arena_bytes < one.arena_bytes);
        prop_assert!(one.arena_bytes > regions[0]);
        let plan = Plan::load(&compiled.program).expect("the compiler has loaded it");
        for ((part, planned), room) in plan.regions().zip(&memory.regions).zip(regions) {
            prop_assert_eq!(part.start, planned.offset as usize);
            prop_assert_eq!(part.len(), planned.bytes as usize);
            prop_assert!(planned.bytes <= room);
        }
        for placed in &memory.placed {
            let (start, end) = (placed.offset, placed.offset + placed.lifetime.bytes);
            let holds = |region: &&tinyops_compile::Region| {
                region.offset <= start && end <= region.offset + region.bytes
            };
            prop_assert_eq!(memory.regions.iter().filter(holds).count(), 1, "{}", placed.name);
        }

        let input = Random::new(seed ^ 0xA5).int8s(len(&graph, graph.inputs[0]));
        let (_, expected) = run(&one.program, &input);
        let (arena, output) = run(&compiled.program, &input);
        prop_assert_eq!(&output, &expected, "in one piece");
        let mut pieces = pieces_of(&plan, &vec![0xA5; plan.arena_bytes()]);
        let mut lent = lend(&mut pieces);
        let place = tinyops_nn::Arena::bytes_mut(&mut lent, &plan, plan.input().range()).expect("large enough");
        place.copy_from_slice(&input.iter().map(|&value| value as u8).collect::<Vec<_>>());
        plan.run(&mut lent).expect("as large as asked");
        prop_assert_eq!(&pieces, &pieces_of(&plan, &arena), "in pieces");
        for isa in Isa::available() {
            let mut lines = vec![Line::ZERO; plan.prepared_lines(isa)];
            let prepared = plan.prepare(isa, &mut lines).expect("as large as asked");
            let mut work = vec![Line::ZERO; prepared.work_lines()];
            let mut arena = vec![0xA5; plan.arena_bytes()];
            for (place, &value) in arena[plan.input().range()].iter_mut().zip(&input) {
                *place = value as u8;
            }
            prepared.run(&mut arena, &mut work).expect("as large as asked");
            let output = arena[plan.output().range()].iter().map(|&byte| byte as i8);
            prop_assert!(output.eq(expected.iter().copied()), "{}", isa.name());
        }
    }
}

#[test]
fn many_networks_go_into_two_regions_that_go_into_neither() {
    let sound = (0..200).map(network).filter(|graph| graph.check().is_ok());
    let spread = sound.filter(|graph| {
        let one = compile_graph(graph, false).expect("compiles");
        let regions = rooms(one.arena_bytes, [8, 7]);
        let options = Options {
            regions,
            ..Options::default()
        };
        let compiled = compile_graph_with(graph, &options).expect("compiles");
        compiled.memory.regions.len() == 2
    });
    let count = spread.count();
    assert!(count >= 60, "{count}");
}

#[test]
fn an_arena_that_goes_into_the_first_region_is_as_if_there_were_one() {
    for seed in 0..40 {
        let graph = network(seed);
        if graph.check().is_err() {
            continue;
        }
        let one = compile_graph(&graph, false).expect("compiles");
        let regions = [one.arena_bytes, 1 << 20, 1 << 20, 1 << 20];
        let options = Options {
            regions,
            ..Options::default()
        };
        let compiled = compile_graph_with(&graph, &options).expect("compiles");
        assert_eq!(compiled.program, one.program, "seed {seed}");
    }
}
