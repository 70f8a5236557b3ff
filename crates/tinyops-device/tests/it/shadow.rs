//! A candidate that scores windows beside the model that runs.

use tinyops_device::{Action, Answer, Config, Event, Measured};
use tinyops_wire::downlink::{Command, Label, Restandardize, When};
use tinyops_wire::frame::{Frame, Reason, UpdateState};
use tinyops_wire::section::{BodyKind, Task};
use tinyops_wire::shadow::Pairs;
use tinyops_wire::{Digest, Downlink, ModelId};

use crate::fixture::{
    Bench, Buffers, DIRECTOR, Recipe, WINDOW, blank_flash, config, key, model_of, offer_when,
    signed, stated,
};

fn old() -> Vec<u8> {
    Recipe::numbered(1).capsule()
}

/// As the old one, in another order: what is class 0 for it is class 2 here.
fn turned() -> Recipe {
    Recipe {
        turn: 1,
        ..Recipe::numbered(2)
    }
}

fn running_old() -> Bench {
    Bench::new(config(), blank_flash(old()))
}

/// Offers a capsule as a candidate for so many windows, and serves its blocks.
fn shadow(bench: &mut Bench, capsule: &[u8], windows: u16) {
    bench.offer_when(capsule, When::Shadow { windows });
}

/// A shadow report, as a test looks at it.
#[derive(Debug, PartialEq)]
struct Told {
    model: ModelId,
    is_over: bool,
    counts: [u16; 3],
    pairs: Pairs,
    shares: Vec<f32>,
    bytes: usize,
}

fn told(bench: &Bench) -> Vec<Told> {
    let reports = bench.reports.iter().filter_map(|report| {
        let Ok(Frame::Shadow(said)) = Frame::decode(&report.body) else {
            return None;
        };
        Some(Told {
            model: said.model,
            is_over: said.answers.is_over,
            counts: [
                said.answers.windows,
                said.answers.agreed,
                said.answers.failed,
            ],
            pairs: said.answers.pairs,
            shares: said.class_shares().collect(),
            bytes: report.body.len(),
        })
    });
    reports.collect()
}

fn report_now(bench: &mut Bench) {
    bench.send(&Downlink::Command(Command::ReportNow));
}

const FIRST: [f32; WINDOW] = [1.0, 0.0, 0.0, 0.0];
const SECOND: [f32; WINDOW] = [0.0, 1.0, 0.0, 0.0];

#[test]
fn a_candidate_scores_what_the_model_that_runs_has_answered() {
    let (old, new) = (old(), turned().capsule());
    let mut bench = running_old();
    shadow(&mut bench, &new, 4);
    assert_eq!(
        bench.states(),
        [UpdateState::Downloading, UpdateState::Held]
    );
    assert!(bench.agent.is_shadowing() && bench.agent.is_holding());
    assert_eq!(bench.reboots, 0);
    for window in [FIRST, SECOND, FIRST] {
        bench.window(window);
    }
    // Every answer is that of the model that runs, and the candidate's lies beside it.
    let classes = |answers: &[tinyops_device::Prediction]| -> Vec<(ModelId, Option<u8>)> {
        let class = |said: &tinyops_device::Prediction| (said.model, said.answer.class());
        answers.iter().map(class).collect()
    };
    let old_id = model_of(&old);
    assert_eq!(
        classes(&bench.predictions),
        [(old_id, Some(0)), (old_id, Some(1)), (old_id, Some(0))]
    );
    let new_id = model_of(&new);
    assert_eq!(
        classes(&bench.shadows),
        [(new_id, Some(2)), (new_id, Some(0)), (new_id, Some(2))]
    );
    report_now(&mut bench);
    let first = told(&bench).pop().expect("it reports");
    assert_eq!(
        (first.model, first.is_over, first.counts),
        (new_id, false, [3, 0, 0])
    );
    assert!((first.shares[2] - 2.0 / 3.0).abs() < 0.01, "{first:?}");
    // The fourth is its last.
    bench.window(FIRST);
    bench.window(FIRST);
    assert_eq!((bench.predictions.len(), bench.shadows.len()), (5, 4));
    report_now(&mut bench);
    report_now(&mut bench);
    let reports = told(&bench);
    assert_eq!(reports.len(), 2, "what is over is told once");
    assert_eq!((reports[1].is_over, reports[1].counts), (true, [1, 0, 0]));
    assert_eq!(reports[0].bytes, reports[1].bytes);
    // A reset does not begin it anew, and it can still be installed without being fetched.
    bench.boot();
    bench.window(FIRST);
    assert_eq!(bench.shadows.len(), 4);
    assert!(bench.agent.is_holding());
    bench.capsules.clear();
    bench.offer_when(&new, When::AtOnce);
    assert!(bench.agent.is_on_trial() && !bench.agent.is_shadowing());
    for _ in 0..2 {
        bench.window(FIRST);
    }
    assert_eq!(bench.last_update().state, UpdateState::Confirmed);
    assert_eq!(bench.agent.model(), Some(new_id));
}

#[test]
fn the_active_model_answers_as_if_it_were_alone() {
    let windows: Vec<[f32; WINDOW]> = (0..40_u8)
        .map(|index| {
            let x = f32::from(index);
            [x / 20.0, (x * 0.7).sin(), (x * 1.3).cos(), 0.25]
        })
        .collect();
    let run = |with_candidate: bool| {
        let mut bench = running_old();
        if with_candidate {
            shadow(&mut bench, &turned().capsule(), 400);
        }
        for window in &windows {
            bench.window(*window);
        }
        bench.run(Event::Label(Label {
            class: 1,
            windows_back: 20,
        }));
        let outcomes: Vec<Vec<u8>> = bench
            .reports
            .iter()
            .filter(|report| matches!(Frame::decode(&report.body), Ok(Frame::Outcome(_))))
            .map(|report| report.body.clone())
            .collect();
        let statistics = bench.agent.memory_mut().statistics.clone();
        (bench.predictions, outcomes, statistics)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn windows_that_the_agent_fills_are_scored_by_both() {
    for hop in [0, 2] {
        let config = Config { hop, ..config() };
        let run = |with_candidate: bool| {
            let mut bench = Bench::new(config.clone(), blank_flash(old()));
            if with_candidate {
                shadow(&mut bench, &turned().capsule(), 400);
            }
            for index in 0..24_u8 {
                bench.run(Event::Reading(&[f32::from(index % 5) / 4.0]));
            }
            bench
        };
        let (with, without) = (run(true), run(false));
        assert_eq!(with.predictions, without.predictions, "hop {hop}");
        assert_eq!(with.shadows.len(), with.predictions.len());
        for (active, candidate) in with.predictions.iter().zip(&with.shadows) {
            // The same readings: its classes are those of the other, turned.
            let class = |answer: &Answer| answer.class().expect("a class");
            assert_eq!((class(&candidate.answer) + 1) % 3, class(&active.answer));
        }
    }
}

#[test]
fn labels_say_which_of_the_two_was_right() {
    let mut bench = running_old();
    bench.window(FIRST);
    shadow(&mut bench, &turned().capsule(), 100);
    for window in [FIRST, SECOND, FIRST, SECOND] {
        bench.window(window);
    }
    let label = |class, windows_back| {
        Event::Label(Label {
            class,
            windows_back,
        })
    };
    // The model that runs said 0, 1, 0, 1; the candidate 2, 0, 2, 0.
    bench.run(label(1, 1));
    bench.run(label(2, 1));
    // The window before the candidate came counts for nobody.
    bench.run(label(0, 50));
    report_now(&mut bench);
    let pairs = told(&bench).pop().expect("it reports").pairs;
    let expected = Pairs {
        both: 0,
        only_active: 2,
        only_candidate: 2,
        neither: 0,
    };
    assert_eq!(pairs, expected);
    bench.run(label(0, 50));
    report_now(&mut bench);
    let pairs = told(&bench).pop().expect("it reports").pairs;
    assert_eq!(pairs, Pairs::default(), "one label is all they get");
}

#[test]
fn labels_that_come_when_its_windows_are_over_are_told_too() {
    let mut bench = running_old();
    shadow(&mut bench, &Recipe::numbered(2).capsule(), 2);
    bench.window(FIRST);
    bench.window(FIRST);
    report_now(&mut bench);
    let last = told(&bench).pop().expect("it reports");
    assert_eq!((last.is_over, last.counts), (true, [2, 2, 0]));
    bench.run(Event::Label(Label {
        class: 0,
        windows_back: 2,
    }));
    report_now(&mut bench);
    assert_eq!(told(&bench).len(), 2);
    assert_eq!(told(&bench).pop().expect("it reports").pairs.both, 2);
}

#[test]
fn one_window_proves_it_where_a_trial_takes_none() {
    let new = turned().capsule();
    let config = Config {
        trial_windows: 0,
        ..config()
    };
    let mut bench = Bench::new(config, blank_flash(old()));
    shadow(&mut bench, &new, 3);
    for _ in 0..8 {
        bench.boot();
        assert!(bench.agent.is_shadowing());
        bench.window(FIRST);
    }
    // It is not proven before it has said anything.
    for _ in 0..4 {
        bench.boot();
    }
    assert!(!bench.agent.is_shadowing());
    assert_eq!(bench.last_update().reason, Reason::Tries);
}

#[test]
fn a_reset_begins_its_windows_anew_and_costs_a_try_until_it_scores() {
    let new = turned().capsule();
    let mut bench = running_old();
    shadow(&mut bench, &new, 3);
    for _ in 0..8 {
        bench.boot();
        assert!(bench.agent.is_shadowing());
        // As many as a trial takes: the boot has gone well.
        bench.window(FIRST);
        bench.window(FIRST);
    }
    report_now(&mut bench);
    assert_eq!(told(&bench).pop().expect("it reports").counts, [2, 0, 0]);
    for _ in 0..3 {
        bench.boot();
        assert!(bench.agent.is_shadowing());
        bench.window(FIRST);
    }
    bench.boot();
    assert!(!bench.agent.is_shadowing() && !bench.agent.is_holding());
    let update = bench.last_update();
    assert_eq!(
        (update.state, update.reason, update.model),
        (UpdateState::Refused, Reason::Tries, model_of(&new))
    );
    let fetched = bench.states().len();
    bench.offer_when(&new, When::AtOnce);
    assert_eq!(bench.states().len(), fetched + 1, "it is not fetched again");
    assert_eq!(bench.last_update().reason, Reason::Tries);
    assert_eq!(bench.agent.model(), Some(model_of(&old())));
}

#[test]
fn a_candidate_is_checked_before_it_scores_anything() {
    let golden = Recipe {
        golden_output: Some([0, 128, 129]),
        ..Recipe::numbered(2)
    };
    let board = Recipe {
        board: "other",
        ..Recipe::numbered(2)
    };
    let arena = Recipe {
        arena_bytes: 65,
        ..Recipe::numbered(2)
    };
    let rollback = Recipe::numbered(0);
    let rate = Recipe {
        rate_hz: 20.0,
        ..Recipe::numbered(2)
    };
    let operator = Recipe {
        later_operator: true,
        ..Recipe::numbered(2)
    };
    for (recipe, reason) in [
        (golden, Reason::Golden),
        (board, Reason::Board),
        (arena, Reason::Arena),
        (rate, Reason::Rate),
        (operator, Reason::Operator),
        (rollback, Reason::Rollback),
    ] {
        let mut bench = running_old();
        shadow(&mut bench, &recipe.capsule(), 9);
        let update = bench.last_update();
        assert_eq!(
            (update.state, update.reason),
            (UpdateState::Refused, reason)
        );
        bench.window(FIRST);
        assert!(!bench.agent.is_shadowing() && bench.shadows.is_empty());
        report_now(&mut bench);
        assert_eq!(told(&bench), []);
    }
}

#[test]
fn a_candidate_for_other_windows_is_refused_and_may_be_installed() {
    let other = Recipe {
        window: 8,
        arena_bytes: 16,
        ..Recipe::numbered(2)
    };
    let memory = Buffers {
        window: vec![0.0; 8],
        features: vec![0.0; 8],
        ..Buffers::default()
    };
    let mut bench = Bench::with_memory(config(), blank_flash(old()), memory);
    shadow(&mut bench, &other.capsule(), 9);
    let update = bench.last_update();
    assert_eq!(
        (update.state, update.reason, update.detail),
        (UpdateState::Refused, Reason::Window, 8)
    );
    bench.offer_when(&other.capsule(), When::AtOnce);
    assert!(bench.agent.is_on_trial());
}

#[test]
fn a_candidate_without_a_finite_answer_is_let_go() {
    // Distances of readings that are not small overflow.
    let overflowing = Recipe {
        scale: f32::MAX,
        task: Task::Anomaly,
        body: BodyKind::Distance,
        ..Recipe::numbered(2)
    };
    let new = overflowing.capsule();
    let mut bench = running_old();
    shadow(&mut bench, &new, 100);
    assert_eq!(bench.last_update().state, UpdateState::Held);
    let (small, large) = ([0.0; WINDOW], [2.0; WINDOW]);
    // It is held to those in a row.
    for window in [small, large, small] {
        bench.window(window);
    }
    assert!(bench.agent.is_shadowing());
    report_now(&mut bench);
    assert_eq!(told(&bench).pop().expect("it reports").counts, [2, 0, 1]);
    bench.window(large);
    bench.window(large);
    let update = bench.last_update();
    assert_eq!(
        (update.state, update.reason, update.detail, update.model),
        (UpdateState::Refused, Reason::Output, 2, model_of(&new))
    );
    assert!(!bench.agent.is_shadowing() && !bench.agent.is_holding());
    bench.window(large);
    assert_eq!(bench.predictions.len(), 6, "the model that runs goes on");
}

#[test]
fn models_of_another_kind_never_agree() {
    let anomaly = Recipe {
        task: Task::Anomaly,
        body: BodyKind::Distance,
        ..Recipe::numbered(2)
    };
    let mut bench = running_old();
    shadow(&mut bench, &anomaly.capsule(), 9);
    bench.window(FIRST);
    report_now(&mut bench);
    let told = told(&bench).pop().expect("it reports");
    assert_eq!((told.counts, told.shares.len()), ([1, 0, 0], 0));
}

#[test]
fn what_nobody_wants_any_more_is_let_go_and_may_come_again() {
    let new = turned().capsule();
    let mut bench = running_old();
    bench.send(&Downlink::Command(Command::Drop));
    assert_eq!(bench.updates(), [], "there is nothing to let go");
    shadow(&mut bench, &new, 100);
    bench.window(FIRST);
    bench.send(&Downlink::Command(Command::Drop));
    let update = bench.last_update();
    assert_eq!(
        (update.state, update.reason, update.model),
        (UpdateState::Refused, Reason::Commanded, model_of(&new))
    );
    for _ in 0..2 {
        assert!(!bench.agent.is_shadowing() && !bench.agent.is_holding());
        bench.window(FIRST);
        assert_eq!(bench.shadows.len(), 1);
        bench.boot();
    }
    shadow(&mut bench, &new, 100);
    bench.window(FIRST);
    assert_eq!(bench.shadows.len(), 2);
    // One that is still on its way is let go as well.
    let newer = Recipe::numbered(3).capsule();
    let statement = signed(&stated(&newer, 90), DIRECTOR);
    bench.send(&offer_when(&newer, When::Shadow { windows: 9 }, &statement));
    assert_eq!(bench.last_update().state, UpdateState::Downloading);
    bench.send(&Downlink::Command(Command::Drop));
    assert_eq!(bench.last_update().reason, Reason::Commanded);
    bench.capsules.insert(Digest::of(&newer), newer);
    bench.now_ms += 10_000;
    bench.boot();
    assert!(!bench.agent.is_holding());
}

#[test]
fn an_offer_says_anew_whether_it_scores() {
    let new = turned().capsule();
    let mut bench = running_old();
    bench.offer_when(&new, When::Later);
    bench.window(FIRST);
    assert_eq!(bench.shadows.len(), 0);
    bench.capsules.clear();
    shadow(&mut bench, &new, 100);
    assert_eq!(bench.last_update().state, UpdateState::Held);
    bench.window(FIRST);
    // Told twice, it goes on where it was.
    shadow(&mut bench, &new, 100);
    bench.window(FIRST);
    report_now(&mut bench);
    assert_eq!(told(&bench).pop().expect("it reports").counts[0], 2);
    bench.offer_when(&new, When::Later);
    bench.boot();
    bench.window(FIRST);
    assert_eq!(bench.shadows.len(), 2);
    assert!(bench.agent.is_holding());
}

#[test]
fn what_it_costs_is_told_apart_from_what_the_model_that_runs_costs() {
    let mut bench = running_old();
    shadow(&mut bench, &turned().capsule(), 100);
    let measured = |micros| {
        Event::Measured(Measured {
            micros,
            ram_bytes: 100,
            ram_total_bytes: 200,
        })
    };
    for _ in 0..3 {
        assert!(matches!(
            bench.agent.step(0, Event::Window(&FIRST)),
            Action::Predict(_)
        ));
        assert_eq!(bench.agent.step(0, measured(1_000)), Action::Rescore);
        assert!(matches!(
            bench.agent.step(0, Event::Rescore(&FIRST)),
            Action::Shadow(_)
        ));
        assert_eq!(bench.agent.step(0, measured(5_000)), Action::Idle);
    }
    bench.reports.clear();
    report_now(&mut bench);
    let mut means = Vec::new();
    for report in &bench.reports {
        let dither = (key().dither_seed(), report.sequence);
        let cost = match Frame::decode(&report.body) {
            Ok(Frame::Summary(summary)) => summary.cost(dither),
            Ok(Frame::Shadow(said)) => said.cost(dither),
            other => panic!("{other:?}"),
        };
        means.push(cost.expect("it is measured"));
    }
    let [active, candidate] = means[..] else {
        panic!("{means:?}")
    };
    assert!((active.mean_us / 1_000.0 - 1.0).abs() < 0.08, "{active:?}");
    assert!(
        (candidate.mean_us / 5_000.0 - 1.0).abs() < 0.08,
        "{candidate:?}"
    );
    assert!(
        candidate
            .ram_share
            .is_some_and(|share| (share - 0.5).abs() < 0.02)
    );
}

#[test]
fn features_that_are_moved_are_moved_for_a_candidate_with_the_same_scaler() {
    let mut bench = running_old();
    shadow(&mut bench, &Recipe::numbered(2).capsule(), 100);
    bench.send(&Downlink::Restandardize(Restandardize {
        sixteenths: 16,
        windows: 8,
    }));
    // The second reading lies too high here, and hides the first class until that is known.
    for index in 0..16_u8 {
        let first = f32::from(index % 2);
        bench.window([first, 2.2 - first, 0.0, 0.0]);
    }
    let classes = |said: &[tinyops_device::Prediction]| -> Vec<Option<u8>> {
        said.iter().map(|said| said.answer.class()).collect()
    };
    let (active, candidate) = (classes(&bench.predictions), classes(&bench.shadows));
    assert!(active.contains(&Some(0)), "it is moved: {active:?}");
    assert_eq!(active, candidate);
}

#[test]
fn a_driver_that_goes_on_lets_the_candidate_pass_a_window_over() {
    let mut bench = running_old();
    shadow(&mut bench, &turned().capsule(), 100);
    bench.agent.step(0, Event::Window(&FIRST));
    assert_eq!(bench.agent.step(0, Event::Tick), Action::Rescore);
    assert_eq!(bench.agent.step(0, Event::Tick), Action::Idle, "asked once");
    assert_eq!(bench.agent.step(0, Event::Rescore(&[])), Action::Idle);
    bench.agent.step(0, Event::Window(&SECOND));
    assert_eq!(bench.agent.step(0, Event::Tick), Action::Rescore);
    let Action::Shadow(said) = bench.agent.step(0, Event::Rescore(&SECOND)) else {
        panic!("it scores the newest")
    };
    assert_eq!(said.answer.class(), Some(0));
    assert_eq!(bench.agent.step(0, Event::Rescore(&SECOND)), Action::Idle);
}

#[test]
fn a_device_that_runs_nothing_keeps_its_candidate() {
    let mut bench = Bench::blank();
    shadow(&mut bench, &turned().capsule(), 9);
    assert_eq!(bench.last_update().state, UpdateState::Held);
    assert!(bench.agent.is_holding() && !bench.agent.is_shadowing());
    assert_eq!(bench.agent.model(), None);
}

#[test]
fn flash_that_loses_the_candidate_costs_nothing_else() {
    let new = turned().capsule();
    let mut bench = running_old();
    shadow(&mut bench, &new, 100);
    bench.window(FIRST);
    // A bit of its weights, wherever the slot is.
    let mut bytes = bench.agent.flash_mut().bytes().to_vec();
    let at = bytes
        .windows(64)
        .position(|window| window == &new[new.len() - 64..])
        .expect("it is in its slot");
    bytes[at] ^= 0x10;
    let flash = crate::fixture::Flash::new(bytes, old());
    let mut bench = Bench::new(config(), flash);
    assert!(!bench.agent.is_shadowing() && !bench.agent.is_holding());
    assert_eq!(bench.last_update().state, UpdateState::Refused);
    bench.window(FIRST);
    assert_eq!(bench.agent.model(), Some(model_of(&old())));
    // It may go well the next time.
    bench.downlink_sequence = 50;
    shadow(&mut bench, &new, 100);
    assert!(bench.agent.is_shadowing());
}
