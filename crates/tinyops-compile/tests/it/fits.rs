//! Whether a model fits a board, and every reason why not.

use tinyops_compile::{
    Board, Compiled, FitError, Limits, Options, Shortfall, Smaller, boards, compile,
    compile_graph_with, fit, spread_options,
};
use tinyops_model::{Body, Graph, Task};

use crate::networks::{classifier, model, network, tall};

fn compiled() -> Compiled {
    compile(&model(Body::Network(classifier()), Task::Classify)).expect("compiles")
}

fn board(id: &str) -> &'static Board {
    boards()
        .iter()
        .find(|board| board.id == id)
        .expect("a known board")
}

#[test]
fn a_small_model_fits_every_board() {
    let compiled = compiled();
    for board in boards() {
        let fit = fit(&compiled, board, &Limits::default());
        assert!(fit.fits(), "{}: {:?}", board.id, fit.reasons);
        assert!(fit.latency_ms.low > 0.0 && fit.latency_ms.low < fit.latency_ms.high);
        assert!(fit.energy_mj.low > 0.0 && fit.energy_mj.low < fit.energy_mj.high);
    }
}

#[test]
fn every_reason_is_told_at_once() {
    let limits = Limits {
        flash_bytes: Some(100),
        ram_bytes: Some(16),
        latency_ms: Some(1e-6),
        energy_mj: Some(1e-9),
    };
    let fit = fit(&compiled(), board("sparkfun-edge-2"), &limits);
    assert!(!fit.fits());
    assert!(
        matches!(
            fit.reasons[..],
            [
                FitError::Flash {
                    needed_bytes: 16384,
                    own_head_bytes: 0,
                    free_bytes: 100
                },
                FitError::Ram { free_bytes: 16, .. },
                FitError::Latency { .. },
                FitError::Energy { .. },
            ]
        ),
        "{:?}",
        fit.reasons
    );
    assert_eq!(
        fit.reasons[0].to_string(),
        "two capsule slots need 16384 bytes of flash, board leaves 100: 16284 too many"
    );
}

#[test]
fn a_limit_above_what_the_board_has_changes_nothing() {
    let limits = Limits {
        flash_bytes: Some(u32::MAX),
        ram_bytes: Some(u32::MAX),
        ..Limits::default()
    };
    let board = board("arduino-nano-33-ble-sense");
    assert_eq!(
        fit(&compiled(), board, &limits),
        fit(&compiled(), board, &Limits::default())
    );
}

/// What the shortfall of a tall network says where RAM has so many bytes.
fn short_of(ram_bytes: u32) -> Shortfall {
    let graph = (0..100)
        .map(tall)
        .filter(|graph| graph.check().is_ok())
        .find(|graph| {
            let [plain, banded] = [1, 100].map(|percent| arena(graph, percent));
            banded * 3 < plain * 2
        });
    let graph = graph.expect("bands help some tall network");
    let again = |options: &Options| {
        let mut compiled = compile_graph_with(&graph, options).ok()?;
        compiled.ram.arena_bytes = compiled.arena_bytes;
        Some(compiled)
    };
    let compiled = again(&Options::default()).expect("compiles");
    let limits = Limits {
        ram_bytes: Some(ram_bytes.min(compiled.arena_bytes - 1)),
        flash_bytes: Some(10_000),
        ..Limits::default()
    };
    let board = board("sparkfun-edge-2");
    let shortfall = Shortfall::of(&compiled, board, &limits, boards(), again);
    shortfall.expect("it does not fit")
}

fn arena(graph: &Graph, extra_macs_percent: u32) -> u32 {
    let options = Options {
        split_from_bytes: if extra_macs_percent > 1 { 0 } else { u32::MAX },
        extra_macs_percent,
        ..Options::default()
    };
    compile_graph_with(graph, &options)
        .expect("compiles")
        .arena_bytes
}

#[test]
fn a_network_that_does_not_fit_says_where_and_what_would() {
    let shortfall = short_of(u32::MAX);
    assert_eq!(shortfall.ram_over_bytes, 1);
    let peak = shortfall.peak.as_ref().expect("there is a network");
    assert!(!peak.needed.is_empty());
    assert!(
        peak.to_string()
            .starts_with("the arena is fullest in step ")
    );
    let options = &shortfall.options;
    let Smaller::Bands {
        arena_bytes,
        more_percent,
        ..
    } = options[0]
    else {
        panic!("{options:?}");
    };
    assert!(more_percent >= 0.0);
    assert!(arena_bytes < peak.bytes, "{arena_bytes} of {}", peak.bytes);
    assert!(matches!(options[1], Smaller::OneSlot { flash_bytes: 8192 }));
    assert_eq!(
        options.len(),
        2,
        "the limits hold for every board: {options:?}"
    );
}

#[test]
fn what_was_tried_in_vain_is_told_too() {
    let shortfall = short_of(16);
    let [bands] = &shortfall.in_vain[..] else {
        panic!("{shortfall:?}");
    };
    assert!(bands.contains("still"), "{bands}");
    assert!(shortfall.ram_over_bytes > 16);
}

#[test]
fn a_network_that_fits_is_short_of_nothing() {
    let compiled = compiled();
    let again = |_: &Options| unreachable!("nothing has to be tried");
    let board = board("sparkfun-edge-2");
    let shortfall = Shortfall::of(&compiled, board, &Limits::default(), boards(), again);
    assert_eq!(shortfall, None);
}

/// A board of two pieces of RAM without reserves, of so many tenths of an arena.
fn board_of(arena_bytes: u32, [fast, main]: [u32; 2]) -> Board {
    let mut board = board("nucleo-h7a3zi-q").clone();
    board.more_ram.truncate(1);
    for (piece, tenths) in [(&mut board.ram, main), (&mut board.more_ram[0], fast)] {
        piece.reserved.clear();
        piece.bytes = arena_bytes * tenths / 10;
    }
    board
}

fn alone(graph: &Graph, options: &Options) -> Option<Compiled> {
    let mut compiled = compile_graph_with(graph, options).ok()?;
    compiled.ram.arena_bytes = compiled.arena_bytes;
    Some(compiled)
}

/// A network that a board of two pieces, each too small for it, takes, and what it takes in one.
fn in_pieces() -> (Compiled, Compiled, Board) {
    let mut found = (0..200).map(network).filter_map(|graph| {
        let one = alone(&graph, &Options::default())?;
        let board = board_of(one.arena_bytes, [7, 8]);
        let spread = alone(&graph, &spread_options(&one, &board)?)?;
        (spread.memory.regions.len() == 2).then_some((one, spread, board))
    });
    found.next().expect("many do")
}

#[test]
fn what_goes_into_no_single_piece_of_ram_goes_into_two() {
    let (one, compiled, board) = in_pieces();
    let taken = fit(&compiled, &board, &Limits::default());
    assert!(taken.fits(), "{:?}", taken.reasons);
    let [fast, plain] = &taken.ram_pieces[..] else {
        panic!("{taken:?}");
    };
    assert_eq!((&fast.name[..], &plain.name[..]), ("DTCM", "AXI SRAM"));
    assert!(fast.arena_bytes > 0 && plain.arena_bytes > 0);
    assert!(fast.arena_bytes + plain.arena_bytes <= taken.ram_bytes);
    let again = |_: &Options| unreachable!("nothing has to be tried");
    let limits = Limits::default();
    let short = Shortfall::of(&compiled, &board, &limits, &[], again);
    assert_eq!(short, None);

    // In one piece it goes into neither, and that is told.
    let taken = fit(&one, &board, &limits);
    let [reason @ FitError::Pieces { .. }] = &taken.reasons[..] else {
        panic!("{:?}", taken.reasons);
    };
    let said = format!("{} in DTCM, ", one.arena_bytes * 7 / 10);
    assert!(reason.to_string().contains(&said), "{reason}");
    let shortfall = Shortfall::of(&one, &board, &limits, &[], |_| Some(one.clone()));
    let shortfall = shortfall.expect("it does not fit");
    assert_eq!(shortfall.ram_over_bytes, 0);
    assert!(shortfall.peak.is_some());
}

#[test]
fn what_the_first_piece_holds_lies_there_alone() {
    let (one, ..) = in_pieces();
    let board = board_of(one.arena_bytes, [10, 1]);
    assert_eq!(spread_options(&one, &board), None);
    let taken = fit(&one, &board, &Limits::default());
    assert!(taken.fits(), "{:?}", taken.reasons);
    assert_eq!(taken.ram_pieces[0].arena_bytes, one.arena_bytes);
    assert_eq!(taken.ram_pieces[1].arena_bytes, 0);
}

#[test]
fn what_lies_beside_the_arena_lies_in_the_main_piece() {
    let (mut one, ..) = in_pieces();
    one.ram.window_bytes = one.arena_bytes / 5;
    let board = board_of(one.arena_bytes, [10, 1]);
    let taken = fit(&one, &board, &Limits::default());
    assert!(
        matches!(
            taken.reasons[..],
            [FitError::Ram { .. } | FitError::Pieces { .. }]
        ),
        "{:?}",
        taken.reasons
    );
    let board = board_of(one.arena_bytes, [10, 2]);
    assert!(fit(&one, &board, &Limits::default()).fits());
}
