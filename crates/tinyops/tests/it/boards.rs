//! Boards: those that TinyOps knows, and those that one file adds.

use serde_json::Value;

use crate::workplace::Workplace;

const KNOWN: &str = include_str!("../../../tinyops-compile/boards/nucleo-l4r5zi.toml");

fn named<'v>(view: &'v Value, id: &str) -> &'v Value {
    let boards = view["boards"].as_array().expect("a list");
    boards.iter().find(|board| board["id"] == id).expect(id)
}

#[test]
fn every_board_says_where_its_figures_come_from_and_what_emulates_it() {
    let view = Workplace::empty().check(&["boards", "--json"], 0).json();
    for board in view["boards"].as_array().expect("a list") {
        let id = &board["id"];
        assert!(board["cost"]["active_mw_source"].is_string(), "{id}");
        let reserved = board["flash"]["reserved"].as_array().expect("a list");
        assert!(
            reserved.iter().all(|part| part["source"].is_string()),
            "{id}"
        );
        let stands_in = board["stand_in"].is_string();
        let is_own = board["emulated_core"].as_str().is_some_and(|core| {
            board["arch"]
                .as_str()
                .is_some_and(|arch| arch.starts_with(core))
        });
        assert!(stands_in || is_own, "{id}");
    }
    assert_eq!(named(&view, "nrf5340-dk")["emulated_by"], "mps2-an505");
    assert_eq!(named(&view, "ensemble-e7")["emulated_core"], "Cortex-M55");
    assert!(named(&view, "esp-eye")["stand_in"].is_string());
}

#[test]
fn one_file_adds_a_board() {
    let place = Workplace::empty();
    place.write("boards/mine.toml", &KNOWN.replace("nucleo-l4r5zi", "mine"));
    let view = place.check(&["boards", "--json"], 0).json();
    assert_eq!(named(&view, "mine")["own"], true);
    assert_eq!(named(&view, "nucleo-l4r5zi")["own"], false);
    let text = place.check(&["boards"], 0).stdout;
    assert!(text.contains("mine"), "{text}");
}

#[test]
fn a_file_that_is_no_board_is_named() {
    let place = Workplace::empty();
    place.write("boards/bad.toml", &KNOWN.replace("clock_hz", "clock_khz"));
    let answer = place.check(&["boards"], 2);
    assert!(answer.stderr.contains("bad.toml"), "{}", answer.stderr);
    place.write("boards/bad.toml", KNOWN);
    let answer = place.check(&["boards"], 2);
    assert!(answer.stderr.contains("there already"), "{}", answer.stderr);
}
