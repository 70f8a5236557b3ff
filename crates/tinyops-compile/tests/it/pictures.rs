//! What a person sees of a plan.

use tinyops_compile::compile_graph;

use crate::networks::classifier;

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

#[test]
fn names_cannot_break_the_svg() {
    let mut graph = classifier();
    let input = graph.inputs[0].0 as usize;
    graph.tensors[input].name = "</title><script>\"&".to_owned();
    let svg = compile_graph(&graph, false).expect("compiles").memory.svg();
    assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;&amp;"));
}
