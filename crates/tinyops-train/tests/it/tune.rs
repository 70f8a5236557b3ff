//! Fine-tunes under a budget, on machines that another mounting shakes otherwise.

use tinyops_model::{Body, Data, Model};
use tinyops_train::progress::{Flow, Progress};
use tinyops_train::tune::{Budget, Found, Layers, OutOfReach, Question, Scales, TuneSpec, search};
use tinyops_train::{
    Conv2dSpec, Evaluation, FeatureSet, FrontEndSpec, Goal, KMeansSpec, MfeSpec, NetworkSpec,
    TrainError, TrainSpec, fit, quantize,
};

use crate::machines::{CLASSES, feature_set, machines};

fn quiet(_: Progress) -> Flow {
    Flow::Continue
}

fn accuracy(evaluation: &Evaluation) -> Option<f64> {
    evaluation.accuracy.map(f64::from)
}

/// A model of the machines as they were.
fn parent(spec: &TrainSpec) -> Model {
    let set = feature_set(spec);
    let trained = fit(spec, &set, &mut quiet).unwrap();
    quantize("machine", spec, &trained, &set, &mut quiet).unwrap()
}

/// The machines under a sensor that is turned by a right angle and twice as sensitive.
fn turned(spec: &TrainSpec) -> FeatureSet {
    let mut parts = machines();
    for part in &mut parts {
        for reading in part.readings.chunks_exact_mut(3) {
            reading.swap(0, 2);
            reading.iter_mut().for_each(|x| *x *= 2.0);
        }
    }
    FeatureSet::of_windows(spec, &CLASSES.map(String::from), &parts, &mut quiet).unwrap()
}

fn spec() -> TrainSpec {
    TrainSpec {
        epochs: 20,
        ..TrainSpec::default()
    }
}

/// Filters and biases, in order.
fn numbers(model: &Model) -> Vec<Vec<i32>> {
    let Body::Network(graph) = &model.body else {
        panic!("no network");
    };
    let constants = graph
        .tensors
        .iter()
        .filter_map(|tensor| tensor.data.as_ref());
    constants
        .map(|data| match data {
            Data::Int8(codes) => codes.iter().map(|&code| code.into()).collect(),
            Data::Int32(codes) => codes.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn scales(model: &Model) -> Vec<Vec<f32>> {
    let graph = model.body.graph().unwrap();
    let quantized = graph
        .tensors
        .iter()
        .filter_map(|tensor| tensor.quantization.as_ref());
    quantized
        .map(|quantization| quantization.scales.clone())
        .collect()
}

/// How many numbers differ; a model on other scales shares none.
fn differing(a: &Model, b: &Model) -> u64 {
    let (ours, theirs) = (numbers(a), numbers(b));
    let is_comparable = scales(a) == scales(b);
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    pairs.filter(|(a, b)| !is_comparable || a != b).count() as u64
}

/// Searches, a number that differs counting as a byte; also every model that was measured.
fn searched(
    parent: &Model,
    spec: &TrainSpec,
    set: &FeatureSet,
    budget: Budget,
) -> (Result<Found, OutOfReach>, Vec<Model>) {
    let tune = TuneSpec {
        epochs: 15,
        ..TuneSpec::default()
    };
    let question = Question {
        parent,
        spec,
        tune: &tune,
        budget,
        set,
        goodness: &accuracy,
    };
    let mut measured = Vec::new();
    let mut delta_bytes = |model: &Model| {
        measured.push(model.clone());
        Ok::<_, TrainError>(differing(parent, model))
    };
    let found = search(&question, &mut delta_bytes, &mut quiet).unwrap();
    (found, measured)
}

const BUDGET: Budget = Budget {
    delta_bytes_max: 60,
    loss_max: 0.1,
};

#[test]
fn few_numbers_follow_a_drift() {
    let spec = spec();
    let (parent, set) = (parent(&spec), turned(&spec));
    let (found, measured) = searched(&parent, &spec, &set, BUDGET);
    let found = found.unwrap();
    let before = found.candidates[0];
    let taken = found.candidates[found.chosen];
    assert_eq!((before.layers, before.delta_bytes), (Layers::None, 0));
    assert!(
        taken.metric > before.metric + 0.1,
        "{:#?}",
        found.candidates
    );
    assert!((1..=60).contains(&taken.delta_bytes), "{taken:?}");
    assert!(taken.loss <= 0.1, "{taken:?}");
    assert_eq!(differing(&parent, &found.model), taken.delta_bytes);
    assert_eq!(found.candidates[1].scales, Scales::New);
    assert!(
        found
            .candidates
            .iter()
            .any(|candidate| candidate.is_thinned)
    );
    // Everything but numbers is what devices have.
    assert_eq!(found.model.scaler, parent.scaler);
    let calibrated = parent.baseline.calibration();
    assert!(calibrated.is_some(), "the test part has not been fitted");
    let watched = parent.baseline.clone().with_calibration(None).unwrap();
    assert_eq!(
        found.model.baseline, watched,
        "without what its answers were"
    );
    assert_eq!(found.model.embedding, parent.embedding);
    assert_eq!(scales(&found.model), scales(&parent));

    // What does not learn keeps its bytes: the body under a last layer, weights beside biases.
    let old = numbers(&parent);
    let changed = |model: &Model| -> Vec<bool> {
        let pairs = old.iter().zip(numbers(model));
        pairs.map(|(old, new)| *old != new).collect()
    };
    let kept: Vec<&Model> = measured
        .iter()
        .filter(|m| scales(m) == scales(&parent))
        .collect();
    assert!(
        kept.iter()
            .any(|model| changed(model) == [false, false, true, true])
    );
    assert!(
        kept.iter()
            .any(|model| changed(model) == [false, true, false, true])
    );

    let (again, _) = searched(&parent, &spec, &set, BUDGET);
    let again = again.unwrap();
    assert_eq!(again.model.encode(), found.model.encode());
    assert_eq!(again.candidates, found.candidates);
}

#[test]
fn a_budget_that_nothing_meets_is_answered_with_what_came_nearest() {
    let spec = spec();
    let (parent, set) = (parent(&spec), turned(&spec));
    let budget = Budget {
        delta_bytes_max: 2,
        loss_max: 0.0,
    };
    let (found, _) = searched(&parent, &spec, &set, budget);
    let far = found.unwrap_err();
    let (small, good) = (far.within_bytes.unwrap(), far.within_loss.unwrap());
    assert!(small.delta_bytes <= 2 && small.loss > 0.0, "{small:?}");
    assert!(good.delta_bytes > 2 && good.loss <= 0.0, "{good:?}");
    let told = far.to_string();
    let nearest = format!("{} B at 0.0000 below", good.delta_bytes);
    assert!(told.contains(&nearest), "{told}");
}

/// What a fine-tune starts from is what the device computes: one that goes nowhere changes nothing.
#[track_caller]
fn check_start(spec: &TrainSpec) {
    let (parent, set) = (parent(spec), feature_set(spec));
    let tune = TuneSpec {
        epochs: 1,
        learning_rate: 1e-9,
        pull: 0.0,
    };
    let question = Question {
        parent: &parent,
        spec,
        tune: &tune,
        budget: BUDGET,
        set: &set,
        goodness: &accuracy,
    };
    let mut delta_bytes = |model: &Model| Ok::<_, TrainError>(differing(&parent, model));
    let found = search(&question, &mut delta_bytes, &mut quiet)
        .unwrap()
        .unwrap();
    for candidate in &found.candidates {
        match candidate.scales {
            Scales::Kept => assert_eq!(candidate.delta_bytes, 0, "{candidate:?}"),
            Scales::New => {
                let away = candidate.metric - found.candidates[0].metric;
                assert!(away.abs() < 0.04, "{candidate:?}");
            }
        }
    }
}

#[test]
fn a_start_is_what_the_device_computes() {
    check_start(&spec());
    let front_end = MfeSpec {
        frame_ms: 160.0,
        stride_ms: 80.0,
        filters: 12,
        low_hz: 2.0,
        ..MfeSpec::default()
    };
    let body = Conv2dSpec {
        channels: vec![8, 12],
        separable: true,
        hidden: 16,
        pool: vec![[2, 2]],
        ..Conv2dSpec::default()
    };
    check_start(&TrainSpec {
        front_end: FrontEndSpec::Mfe(front_end),
        network: NetworkSpec::Conv2d(body),
        ..spec()
    });
}

#[track_caller]
fn check_refused(parent: &Model, spec: &TrainSpec, set: &FeatureSet, expected: &str) {
    let question = Question {
        parent,
        spec,
        tune: &TuneSpec::default(),
        budget: BUDGET,
        set,
        goodness: &accuracy,
    };
    let mut delta_bytes = |_: &Model| Ok::<_, TrainError>(0);
    let error = search(&question, &mut delta_bytes, &mut quiet).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_cannot_be_tuned_is_refused_with_its_reason() {
    let spec = spec();
    let (model, set) = (parent(&spec), feature_set(&spec));
    let mut other = set.clone();
    other.classes[2] = "broken".to_owned();
    check_refused(
        &model,
        &spec,
        &other,
        "calm, worn, broken, the model has calm, worn, loose",
    );
    let none = FeatureSet {
        validation: set.validation.select(&[]),
        ..set.clone()
    };
    check_refused(&model, &spec, &none, "no windows to choose by");
    let bands = TrainSpec {
        front_end: FrontEndSpec::Mfe(MfeSpec {
            low_hz: 2.0,
            ..MfeSpec::default()
        }),
        ..spec.clone()
    };
    check_refused(
        &model,
        &bands,
        &feature_set(&bands),
        "window and front end are not those",
    );
    let mut centres = TrainSpec {
        goal: Goal::Anomaly,
        network: NetworkSpec::KMeans(KMeansSpec::default()),
        ..spec.clone()
    };
    centres.costs.normal = vec!["calm".to_owned()];
    check_refused(
        &parent(&centres),
        &centres,
        &set,
        "its body is no network of layers",
    );
    let far = TuneSpec {
        learning_rate: 0.0,
        ..TuneSpec::default()
    };
    let error = far.check().unwrap_err().to_string();
    assert_eq!(error, "`tune.learning_rate` is 0: must be above 0, to 1");
}
