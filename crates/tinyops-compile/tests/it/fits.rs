//! Whether a model fits a board, and every reason why not.

use tinyops_compile::{Board, Compiled, FitError, Limits, boards, compile, fit};
use tinyops_model::{Body, Task};

use crate::networks::{classifier, model};

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
        "two capsule slots need 16384 bytes of flash, board leaves 100"
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
