//! A run that somebody asks for, by the command line and by HTTP, of a server at work.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::running::Server;
use crate::workplace::{SETTINGS, Workplace};

/// The triggers, newest first, once none of them is open.
fn answered(place: &Workplace) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let listed = place.check(&["retrain", "ls", "--json"], 0).json();
        let triggers = listed["triggers"].as_array().unwrap().clone();
        let is_over = |one: &Value| one["state"] == "done" || one["state"] == "failed";
        if triggers.iter().all(is_over) {
            return triggers;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{listed}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_does_the_run_that_was_asked_for_and_says_what_came_of_it() {
    let place = Workplace::fans();
    let ask = [
        "retrain",
        "ask",
        "--why",
        "a new pump",
        "--key",
        "pump-7",
        "--json",
    ];
    let asked = place.check(&ask, 0).json();
    assert_eq!(asked["state"], "waiting");
    let _server = Server::start(&place, &[]);
    let triggers = answered(&place);
    assert_eq!(triggers.len(), 1);
    assert_eq!(
        (&triggers[0]["state"], &triggers[0]["tries"]),
        (&"done".into(), &1.into())
    );
    let listed = place.check(&["retrain", "ls"], 0).stdout;
    assert!(listed.contains("asked: a new pump"), "{listed}");
    assert!(listed.contains("done, 4 of 4 gates passed"), "{listed}");
    let models = place.check(&["models", "ls", "--json"], 0).json();
    assert_eq!(models["models"][0]["stage"], "candidate", "it went nowhere");
    // Asked again under the key, nothing new runs.
    assert_eq!(place.check(&ask, 0).json()["trigger"], asked["trigger"]);
    assert_eq!(answered(&place).len(), 1);
}

#[test]
fn settings_that_ask_for_nothing_are_refused_with_their_line() {
    let place = Workplace::fans();
    for (line, why) in [
        ("schedule = \"every night\"", "such as `0 3 * * 1`"),
        ("schedule = \"0 0 30 2 *\"", "it never comes"),
        ("new_labelled = 0", "at least 1"),
        ("rollout = \"everyone\"", "everyone"),
        ("scedule = \"@daily\"", "scedule"),
    ] {
        place.write("tinyops.toml", &format!("[retrain]\n{line}\n{SETTINGS}"));
        let said = place.check(&["serve"], 2).stderr;
        assert!(
            said.contains("tinyops.toml:2:") && said.contains(why),
            "{line}: {said}"
        );
    }
    place.write("tinyops.toml", "[project]\nname = \"fan\"\n");
    let said = place.check(&["retrain", "ask"], 2).stderr;
    assert!(
        said.contains("no recordings") && said.contains("data.source"),
        "{said}"
    );
}
