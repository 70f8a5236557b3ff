//! What a person sees of a plan.

use tinyops_compile::{Compiled, Options, compile_graph, compile_graph_with};

use crate::networks::{classifier, network};
use crate::regions::rooms;

#[test]
fn the_arena_over_time_as_text() {
    let compiled = compile_graph(&classifier(), false).expect("compiles");
    insta::assert_snapshot!(compiled.memory.text());
}

#[test]
fn the_arena_over_time_as_svg() {
    let compiled = compile_graph(&classifier(), true).expect("compiles");
    insta::assert_snapshot!(compiled.memory.svg());
}

/// A network whose arena goes into two memory regions of 8 and 7 tenths of it.
fn over_two_regions() -> Compiled {
    let mut spread = (0..200).map(network).filter_map(|graph| {
        let one = compile_graph(&graph, false).ok()?;
        let options = Options {
            regions: rooms(one.arena_bytes, [8, 7]),
            ..Options::default()
        };
        compile_graph_with(&graph, &options).ok()
    });
    let spread = spread.find(|compiled| compiled.memory.regions.len() == 2);
    spread.expect("many do")
}

#[test]
fn regions_over_time_as_text() {
    insta::assert_snapshot!(over_two_regions().memory.text());
}

#[test]
fn regions_over_time_as_svg() {
    insta::assert_snapshot!(over_two_regions().memory.svg());
}

#[test]
fn names_cannot_break_the_svg() {
    let mut graph = classifier();
    let input = graph.inputs[0].0 as usize;
    graph.tensors[input].name = "</title><script>\"&".to_owned();
    let svg = compile_graph(&graph, false).expect("compiles").memory.svg();
    assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;&amp;"));
}
