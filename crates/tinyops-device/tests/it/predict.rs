//! Windows in, answers out.

use tinyops_device::memory::Fixed;
use tinyops_device::{Action, Agent, Answer, Event, Model, Verdict, Workspace};
use tinyops_wire::Capsule;
use tinyops_wire::payload::Payload;
use tinyops_wire::section::{BodyKind, Task};

use crate::fixture::{
    Bench, Buffers, RELEASE, Recipe, WINDOW, blank_flash, config, model_of, signer,
};
use tinyops_device::memory::Memory as _;

#[test]
fn a_device_without_a_model_waits() {
    let mut bench = Bench::blank();
    bench.window([1.0; WINDOW]);
    assert_eq!(bench.predictions, []);
    assert_eq!(bench.agent.model(), None);
    assert_eq!(bench.reports.len(), 1, "it says hello");
}

#[test]
fn the_factory_model_answers_at_once() {
    let capsule = Recipe::default().capsule();
    let mut bench = Bench::new(config(), blank_flash(capsule.clone()));
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
    bench.window([0.0, 1.0, 0.5, 0.0]);
    bench.window([0.0, 0.5, 0.75, 0.0]);
    let class = |class, confidence, is_sure| Answer::Class {
        class,
        confidence,
        is_sure,
    };
    assert_eq!(
        bench.answers(),
        [class(1, 0.5, true), class(2, 0.375, false)]
    );
    assert_eq!(bench.agent.class_name(1), Some("slow"));
    assert_eq!(bench.agent.class_name(3), None);
}

#[test]
fn an_anomaly_is_scored_by_distance() {
    let recipe = Recipe {
        task: Task::Anomaly,
        body: BodyKind::Distance,
        ..Recipe::default()
    };
    let mut bench = Bench::new(config(), blank_flash(recipe.capsule()));
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.window([0.0, 0.0, 0.0, 2.5]);
    let anomaly = |score, is_alarm| Answer::Anomaly { score, is_alarm };
    assert_eq!(bench.answers(), [anomaly(0.5, false), anomaly(2.0, true)]);
}

#[test]
fn an_anomaly_is_scored_by_what_cannot_be_reconstructed() {
    let recipe = Recipe {
        task: Task::Anomaly,
        body: BodyKind::Autoencoder,
        ..Recipe::default()
    };
    let mut bench = Bench::new(config(), blank_flash(recipe.capsule()));
    bench.window([1.0, 3.0, 0.5, 0.0]);
    bench.window([1.0, 3.0, 0.5, 4.0]);
    let anomaly = |score, is_alarm| Answer::Anomaly { score, is_alarm };
    assert_eq!(bench.answers(), [anomaly(0.0, false), anomaly(4.0, true)]);
}

#[test]
fn a_regressor_answers_with_its_number() {
    let recipe = Recipe {
        task: Task::Regress,
        ..Recipe::default()
    };
    let mut bench = Bench::new(config(), blank_flash(recipe.capsule()));
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bench.answers(), [Answer::Value(0.5)]);
}

#[test]
fn a_device_runs_in_memory_of_fixed_size() {
    let flash = blank_flash(Recipe::default().capsule());
    let memory = Fixed::<16, 4, 4, 16, 64, 64, 8, 51, 64, 0, 128>::new();
    let mut agent = Agent::new(config(), flash, memory);
    assert!(matches!(agent.step(0, Event::Boot), Action::Send(_)));
    let action = agent.step(0, Event::Window(&[0.0, 1.0, 0.0, 0.0]));
    assert!(matches!(action, Action::Predict(_)), "{action:?}");
}

#[test]
fn single_readings_make_windows_that_overlap_or_leave_gaps() {
    for (hop, expected) in [
        (0, vec![0, 1, 2]),
        (2, vec![0, 0, 1, 1, 2]),
        (8, vec![0, 2]),
    ] {
        let mut config = config();
        config.hop = hop;
        let mut bench = Bench::new(config, blank_flash(Recipe::default().capsule()));
        for window in [
            [1.5, 0.0, 0.0, 0.0],
            [0.0, 1.5, 0.0, 0.0],
            [0.0, 0.0, 1.5, 0.0],
        ] {
            for reading in window {
                bench.run(Event::Reading(&[reading]));
            }
        }
        let classes: Vec<u8> = bench.answers().iter().filter_map(Answer::class).collect();
        assert_eq!(classes.len(), expected.len(), "hop {hop}: {classes:?}");
        if hop != 2 {
            assert_eq!(classes, expected, "hop {hop}");
        }
    }
}

#[test]
fn a_reading_that_is_not_a_number_is_counted_and_costs_only_its_window() {
    let mut bench = Bench::new(config(), blank_flash(Recipe::default().capsule()));
    bench.window([f32::NAN, 0.0, 0.0, 0.0]);
    bench.run(Event::Window(&[1.0, 2.0]));
    assert_eq!(bench.predictions, []);
    assert_eq!(bench.agent.counters().unreadable, 2);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bench.predictions.len(), 1);
}

#[test]
fn golden_vectors_tell_which_element_differs() {
    let check = |golden_output| {
        let capsule = Recipe {
            golden_output,
            ..Recipe::default()
        }
        .capsule();
        let keys = [signer(RELEASE).verifying_key()];
        let payload: Payload<'_> = Capsule::verify(&capsule, &keys).expect("sound").payload;
        let model = Model::load(&payload).expect("sound parts");
        let mut buffers = Buffers::default();
        let lent = buffers.lend();
        let mut workspace = Workspace {
            arena: lent.arena,
            window: lent.window,
            features: lent.features,
            scratch: lent.scratch,
        };
        assert_eq!(model.golden_case(2, &mut workspace), None);
        model.golden_case(0, &mut workspace).expect("a vector")
    };
    assert_eq!(check(None), Verdict::Equal);
    let differs = Verdict::Differs {
        element: 2,
        expected: -127.0,
        actual: -128.0,
    };
    assert_eq!(check(Some([0, 128, 129])), differs);
}
