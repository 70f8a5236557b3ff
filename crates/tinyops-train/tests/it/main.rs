//! From windows to an int8 model and its figures, on machines that a formula shakes.

mod decision;
mod machines;
mod tune;

use machines::{CLASSES, feature_set, machines};
use tinyops_compile::Golden;
use tinyops_model::Body;
use tinyops_nn::head::{Prior, Sums, Weights, class_of, head_len, solve, work_len};
use tinyops_nn::statistics::cell_count;
use tinyops_sketch::Source;
use tinyops_train::progress::{Flow, Progress, Stage};
use tinyops_train::{
    Asked, AutoencoderSpec, Comparison, Conv1dSpec, Conv2dSpec, Costs, DenseSpec, FeatureSet,
    Features, FrontEndSpec, Goal, KMeansSpec, MahalanobisSpec, MfeSpec, NetworkSpec, Predictions,
    Predictor, RawSpec, Target, TrainError, TrainSpec, Trained, embedding_distances, evaluate, fit,
    golden, head, quantize,
};

fn quiet(_: Progress) -> Flow {
    Flow::Continue
}

fn spec(network: NetworkSpec) -> TrainSpec {
    TrainSpec {
        epochs: 20,
        network,
        ..TrainSpec::default()
    }
}

fn whole(spec: &TrainSpec, set: &FeatureSet) -> (Trained, tinyops_model::Model, Comparison) {
    let trained = fit(spec, set, &mut quiet).unwrap();
    let model = quantize("machine", spec, &trained, set, &mut quiet).unwrap();
    let asked = Asked {
        slices: &["group".to_owned()],
        ..Asked::default()
    };
    let (comparison, predictions) = evaluate(
        &model,
        Some(&trained),
        spec,
        &set.classes,
        &set.test,
        asked,
        &mut quiet,
    )
    .unwrap();
    // What is kept of it is enough to judge it again.
    let kept = Predictions::decode(&predictions.encode()).unwrap();
    assert_eq!(kept, predictions);
    assert_eq!(kept.evaluate(&spec.costs, asked), comparison.int8);
    (trained, model, comparison)
}

#[track_caller]
fn check_classifier(spec: &TrainSpec, at_least: f32) {
    let (_, model, comparison) = whole(spec, &feature_set(spec));
    let (int8, float) = (
        comparison.int8.accuracy.unwrap(),
        comparison.float.as_ref().unwrap().accuracy.unwrap(),
    );
    assert!(int8 >= at_least, "int8 {int8}, float {float}");
    assert!(
        comparison.drop().unwrap() <= 0.02,
        "int8 {int8}, float {float}"
    );
    assert_eq!(model.labels, CLASSES);
    assert_eq!(
        comparison.int8.slices.len(),
        2,
        "one slice for each test machine"
    );
    assert!(model.body.graph().unwrap().check().is_ok());
}

#[test]
fn a_dense_network_over_spectra() {
    check_classifier(&spec(NetworkSpec::Dense(DenseSpec::default())), 0.97);
}

#[test]
fn a_convolution_over_raw_readings() {
    let body = Conv1dSpec {
        channels: vec![8, 12],
        ..Conv1dSpec::default()
    };
    let spec = TrainSpec {
        front_end: FrontEndSpec::Raw(RawSpec::default()),
        ..spec(NetworkSpec::Conv1d(body))
    };
    check_classifier(&spec, 0.9);
}

#[test]
fn separable_convolutions_over_a_spectrogram() {
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
    let spec = TrainSpec {
        front_end: FrontEndSpec::Mfe(front_end),
        ..spec(NetworkSpec::Conv2d(body))
    };
    check_classifier(&spec, 0.85);
}

#[track_caller]
fn check_anomaly(network: NetworkSpec) {
    let costs = Costs {
        normal: vec!["calm".into()],
        ..Costs::default()
    };
    let spec = TrainSpec {
        goal: Goal::Anomaly,
        costs,
        epochs: 60,
        ..spec(network)
    };
    let (_, model, comparison) = whole(&spec, &feature_set(&spec));
    let int8 = comparison.int8;
    assert!(int8.roc.as_ref().unwrap().auc > 0.97, "{:?}", int8.roc);
    let operation = int8.operation.unwrap();
    assert!(
        operation.false_alarm_rate < 0.1 && operation.miss_rate < 0.15,
        "{operation:?}"
    );
    assert!(model.labels.is_empty());
    assert_eq!(int8.metric_named("auc"), int8.metric());
}

#[test]
fn strange_machines_by_reconstruction() {
    check_anomaly(NetworkSpec::Autoencoder(AutoencoderSpec::default()));
}

#[test]
fn strange_machines_by_clusters() {
    check_anomaly(NetworkSpec::KMeans(KMeansSpec::default()));
}

#[test]
fn strange_machines_by_covariance() {
    check_anomaly(NetworkSpec::Mahalanobis(MahalanobisSpec::default()));
}

#[test]
fn a_value_is_learned_in_its_own_unit() {
    let spec = TrainSpec {
        goal: Goal::Regress,
        epochs: 60,
        ..spec(NetworkSpec::Dense(DenseSpec::default()))
    };
    let mut set = feature_set(&spec);
    for part in [&mut set.train, &mut set.validation, &mut set.test] {
        for (index, target) in part.targets.iter_mut().enumerate() {
            // The rms of the first channel, in a unit far from 1.
            *target = Target::Value(
                500.0 + 200.0 * part.values[index * part.front_end.feature_count() + 1],
            );
        }
    }
    let (_, _, comparison) = whole(&spec, &set);
    let values = set.test.targets.iter().map(|target| match target {
        Target::Value(value) => *value,
        _ => 0.0,
    });
    let values: Vec<f32> = values.collect();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let deviation =
        (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
    let rmse = comparison.int8.rmse.unwrap();
    let float = comparison.float.unwrap().rmse.unwrap();
    assert!(
        rmse < 0.35 * deviation && rmse < 1.1 * float,
        "{rmse} of {deviation}, float {float}"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let spec = TrainSpec {
        epochs: 3,
        ..spec(NetworkSpec::Dense(DenseSpec {
            dropout: 0.2,
            ..DenseSpec::default()
        }))
    };
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let set = feature_set(&spec);
            let (trained, model, _) = whole(&spec, &set);
            (set.encode(), trained.encode(), model.encode())
        })
    };
    assert_eq!(bytes(1), bytes(4));
}

#[test]
fn what_passes_between_steps_survives_its_bytes() {
    let body = Conv1dSpec {
        channels: vec![4],
        hidden: 8,
        ..Conv1dSpec::default()
    };
    let spec = TrainSpec {
        epochs: 2,
        front_end: FrontEndSpec::Raw(RawSpec::default()),
        ..spec(NetworkSpec::Conv1d(body))
    };
    let set = feature_set(&spec);
    let decoded = FeatureSet::decode(&set.encode()).unwrap();
    assert_eq!(decoded, set);
    let trained = fit(&spec, &set, &mut quiet).unwrap();
    let again = Trained::decode(&trained.encode()).unwrap();
    assert_eq!(again.encode(), trained.encode());
    assert_eq!(again.score(&set.test), trained.score(&set.test));
    let bytes = trained.encode();
    for len in (0..bytes.len()).step_by(97) {
        assert!(
            Trained::decode(&bytes[..len]).is_err(),
            "cut to {len} bytes"
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]
    #[test]
    fn foreign_bytes_are_an_error_and_no_more(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        for mark in [b"TOTRAIN1", b"TOFEATS1", b"TOSTATS1"] {
            let bytes = [&mark[..], &tail].concat();
            let _ = Trained::decode(&bytes);
            let _ = FeatureSet::decode(&bytes);
            let _ = head::decode(&bytes);
        }
    }
}

#[test]
fn golden_vectors_replay_in_a_capsule() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let windows = machines();
    let (_, model, _) = whole(&spec, &feature_set(&spec));
    let vectors = golden(&model, &windows[2], 4).unwrap();
    let is_whole = |golden: &&Golden| matches!(golden, Golden::Window { .. });
    assert_eq!(vectors.len(), 4);
    assert_eq!(
        vectors.iter().filter(is_whole).count(),
        2,
        "two windows of 384 readings fit into 4 kB"
    );
    let compiled = tinyops_compile::compile(&model).unwrap();
    let payload = tinyops_compile::payload(&model, &compiled, &vectors).unwrap();
    let replay = tinyops_compile::replay(&payload).unwrap();
    assert_eq!((replay.cases, replay.differing.len()), (4, 0));
}

#[test]
fn the_baseline_watches_telling_features_and_the_output() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&spec);
    let (_, model, _) = whole(&spec, &set);
    assert_eq!(model.baseline.window_count as usize, set.train.count());
    assert_eq!(model.baseline.channels().len(), 9);
    let sources = model.baseline.channels().iter().map(|c| c.source);
    let watched: Vec<Source> = sources.skip(7).collect();
    assert_eq!(watched, [Source::Embedding, Source::Output]);
    assert!((model.baseline.class_prior().iter().sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn the_distance_of_an_embedding_is_that_of_the_device_and_tells_of_windows_like_no_other() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&spec);
    let (_, model, _) = whole(&spec, &set);
    let channel = &model.baseline.channels()[7];
    let distances = |features: &Features| {
        let found = embedding_distances(&model, features).unwrap();
        found.expect("the model watches them")
    };
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let own = distances(&set.train);
    assert!((mean(&own) - channel.mean).abs() < 1e-3 * channel.mean);
    let embedded = head::Embedded::of(&model, &set.train).unwrap();
    let section = tinyops_nn::EmbeddingDistance::decode(&model.embedding).unwrap();
    let classes = Predictor::new(&model).unwrap().score(&set.train);
    for (index, own) in own.iter().enumerate() {
        let octaves = section.octaves(classes.class(index), embedded.bytes(index));
        assert_eq!(octaves, Some(*own));
    }
    // The squared distances of windows from their own mean are on average as many as there are values, but for what
    // shrinkage takes.
    let squared = own.iter().map(|octaves| octaves.exp2() - 1.0);
    let squared = squared.sum::<f32>() / own.len() as f32 / embedded.width() as f32;
    assert!((0.5..1.1).contains(&squared), "{squared}");
    let [_, _, mut windows] = machines();
    windows.readings.iter_mut().for_each(|x| *x *= 3.0);
    let strange = Features::extract(&model.front_end, &windows, &mut |_| Flow::Continue);
    let far = mean(&distances(&strange.unwrap()));
    assert!(far > channel.mean + 2.0 * channel.sd, "{far} {channel:?}");
}

/// Two conditions of the machines, told apart by so little training that many windows are in doubt.
fn in_doubt() -> (TrainSpec, FeatureSet) {
    let mut spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    (spec.epochs, spec.refit) = (2, true);
    let is_kept = |target: &Target| *target != Target::Class(2);
    let parts = machines().map(|windows| {
        let kept = (0..windows.count()).filter(|&index| is_kept(&windows.targets[index]));
        windows.select(&kept.collect::<Vec<_>>())
    });
    let classes: Vec<String> = CLASSES[..2].iter().map(ToString::to_string).collect();
    let set = FeatureSet::of_windows(&spec, &classes, &parts, &mut quiet).unwrap();
    (spec, set)
}

#[test]
fn two_classes_are_watched_by_the_answers_that_devices_give() {
    const THRESHOLD: f32 = 0.2;
    let (spec, set) = in_doubt();
    let mut trained = fit(&spec, &set, &mut quiet).unwrap();
    trained.decision.threshold = THRESHOLD;
    let model = quantize("machine", &spec, &trained, &set, &mut quiet).unwrap();
    assert_eq!(model.decision.threshold, THRESHOLD);
    let predictor = Predictor::new(&model).unwrap();
    let answers = |features: &Features| -> Vec<(usize, f32)> {
        let scores = predictor.score(features);
        let second = |index: usize| scores.row(index)[1];
        let given = |index: usize| usize::from(second(index) >= THRESHOLD);
        let all = 0..features.count();
        all.map(|index| (given(index), scores.row(index)[given(index)]))
            .collect()
    };
    // Of the windows that nothing was fitted to, how many are answered so, and rightly.
    let calibration = model.baseline.calibration().expect("a test part");
    let right = answers(&set.test)
        .iter()
        .zip(&set.test.targets)
        .filter(|((given, _), target)| **target == Target::Class(*given as u16))
        .count();
    let told: usize = calibration
        .right
        .iter()
        .map(|&right| usize::from(right))
        .sum();
    assert_eq!(told, right);
    // The output's channel holds the shares of the classes that are given, whether or not they are the greatest.
    let own = answers(&set.train);
    assert!(own.iter().any(|(_, share)| *share < 0.45), "none in doubt");
    let mean = own.iter().map(|(_, share)| share).sum::<f32>() / own.len() as f32;
    let channels = model.baseline.channels();
    let output = channels
        .iter()
        .find(|channel| channel.source == Source::Output);
    let output = output.unwrap();
    assert!((output.mean - mean).abs() < 1e-3, "{} {mean}", output.mean);
    // Embeddings are measured from those of windows that were given the same class.
    let distances = embedding_distances(&model, &set.train).unwrap().unwrap();
    let embedded = head::Embedded::of(&model, &set.train).unwrap();
    let section = tinyops_nn::EmbeddingDistance::decode(&model.embedding).unwrap();
    let watched = channels
        .iter()
        .find(|channel| channel.source == Source::Embedding);
    let mean = distances.iter().sum::<f32>() / distances.len() as f32;
    assert!((watched.unwrap().mean - mean).abs() < 1e-3 * mean.abs().max(1.0));
    for (index, (given, _)) in own.iter().enumerate() {
        let octaves = section.octaves(*given, embedded.bytes(index));
        assert_eq!(octaves, Some(distances[index]));
    }
}

#[test]
fn only_windows_that_were_not_fitted_calibrate() {
    let mut spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let mut set = feature_set(&spec);
    let calibrated = |spec: &TrainSpec, set: &FeatureSet| {
        let (_, model, _) = whole(spec, set);
        let calibration = model.baseline.calibration().copied();
        calibration.map(|found| (found.window_count() as usize, found))
    };
    let (windows, found) = calibrated(&spec, &set).expect("a test part");
    assert_eq!(windows, set.test.count());
    // What is new lies farther off than what was learnt.
    assert!(found.embedding_mean > 0.0 && found.embedding_sd > 0.0);
    set.test = set.test.select(&[]);
    spec.refit = false;
    let (windows, _) = calibrated(&spec, &set).expect("a validation part");
    assert_eq!(windows, set.validation.count());
    spec.refit = true;
    assert_eq!(calibrated(&spec, &set), None, "a refit has seen them");
}

#[test]
fn a_head_solved_from_training_statistics_is_as_good_as_the_trained_one() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&spec);
    let (_, model, before) = whole(&spec, &set);
    let factory = head::Embedded::of(&model, &set.train).unwrap();
    let statistics = [factory.statistics().unwrap()];
    let fleet = head::Fleet {
        buckets: &statistics,
        parts: 1,
        projection: None,
    };
    let mut spoiled = model.clone();
    let Body::Network(graph) = &mut spoiled.body else {
        panic!("a classifier is a network")
    };
    let bias = graph
        .ops
        .iter()
        .rev()
        .find_map(|op| op.inputs.get(2))
        .unwrap()
        .0 as usize;
    graph.tensors[bias].data = Some(tinyops_model::Data::Int32(vec![90_000, 0, 0]));
    let accuracy = |model: &tinyops_model::Model| {
        let asked = Asked::default();
        evaluate(
            model,
            None,
            &spec,
            &set.classes,
            &set.test,
            asked,
            &mut quiet,
        )
        .unwrap()
        .0
        .int8
        .accuracy
        .unwrap()
    };
    assert!(accuracy(&spoiled) < 0.9, "the head is spoiled");
    let solved = head::solve(&spoiled, fleet, &factory, &factory, 0.0).unwrap();
    assert_ne!(solved.solver, head::Solver::Unchanged);
    assert!(
        solved.fleet_accuracy[1] > solved.fleet_accuracy[0],
        "{solved:?}"
    );
    let after = accuracy(&solved.model);
    assert!(
        after >= before.int8.accuracy.unwrap() - 0.02,
        "{after} {:?}",
        before.int8.accuracy
    );
    assert_eq!(solved.model.front_end, model.front_end);
    let (old, new) = (
        spoiled.body.graph().unwrap(),
        solved.model.body.graph().unwrap(),
    );
    let changed = old
        .tensors
        .iter()
        .zip(&new.tensors)
        .filter(|(a, b)| a != b)
        .count();
    assert_eq!(changed, 3, "filter, bias and output of the head");
    assert_eq!(
        head::solve(&spoiled, fleet, &factory, &factory, 0.0)
            .unwrap()
            .model,
        solved.model
    );
}

/// A fleet that calls every class by the next one's name.
fn renamed(windows: &Features) -> Features {
    let mut renamed = windows.clone();
    for target in &mut renamed.targets {
        if let Target::Class(class) = target {
            *class = (*class + 1) % 3;
        }
    }
    renamed
}

#[test]
fn a_prior_leads_a_device_without_labels_to_a_head_as_good_as_the_trained_one() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&spec);
    let (_, model, before) = whole(&spec, &set);
    let factory = head::Embedded::of(&model, &set.train).unwrap();
    let bytes = head::prior(&model, &factory).unwrap();
    let prior = Prior::decode(&bytes).unwrap();
    let (classes, width) = (prior.class_count(), prior.embedding_len());
    let none = head::Statistics::new(classes, width, vec![0; cell_count(classes, width)]).unwrap();
    let mut work = vec![0.0; work_len(width)];
    let mut own = vec![0.0; head_len(classes, width)];
    solve(&none, &prior, Weights::default(), &mut work, &mut own).unwrap();
    let test = head::Embedded::of(&model, &set.test).unwrap();
    let right = |index: &usize| {
        let said = class_of(&own, test.bytes(*index), test.zero_point());
        test.class(*index) == u16::try_from(said).ok()
    };
    let accuracy = (0..test.count()).filter(right).count() as f64 / test.count() as f64;
    let trained = f64::from(before.int8.accuracy.unwrap());
    assert!(accuracy >= trained - 0.02, "{accuracy}, trained {trained}");
    // What the head alone knows is no part of what is embedded: only a body that is another changes that.
    let mut other = model.clone();
    other.decision.min_confidence += 0.1;
    assert_eq!(head::prior(&other, &factory).unwrap(), bytes);
    let mut anomaly = model.clone();
    anomaly.body = Body::KMeans {
        centres: Vec::new(),
        radii: Vec::new(),
    };
    let error = head::prior(&anomaly, &factory).unwrap_err().to_string();
    assert!(error.contains("no embedding"), "{error}");
}

#[test]
fn a_head_that_forgets_the_factory_is_not_taken() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&spec);
    let (_, model, _) = whole(&spec, &set);
    let factory = head::Embedded::of(&model, &set.train).unwrap();
    let fleet = head::Embedded::of(&model, &renamed(&set.train)).unwrap();
    let buckets = [fleet.statistics().unwrap()];
    let solve = |floor| {
        let fleet = head::Fleet {
            buckets: &buckets,
            parts: 1,
            projection: None,
        };
        head::solve(&model, fleet, &factory, &factory, floor).unwrap()
    };
    let free = solve(0.0);
    assert_ne!(free.solver, head::Solver::Unchanged);
    assert!(free.factory_accuracy[1] < 0.2 && free.fleet_accuracy[1] > 0.9);
    let held = solve(0.8);
    assert!(held.below_floor > 0, "{held:?}");
    let [before, after] = held.factory_accuracy;
    assert!(after >= 0.8_f32.min(before), "{after}");
    // A floor that the old head does not reach itself is lowered to what it does reach.
    assert!(solve(2.0).factory_accuracy[1] >= before);
    // It is a floor of windows that were held out, not of those that the model was trained on.
    let of_fleet = head::Fleet {
        buckets: &buckets,
        parts: 1,
        projection: None,
    };
    let taken = head::solve(&model, of_fleet, &factory, &fleet, 0.8).unwrap();
    assert_eq!(taken.below_floor, 0, "{taken:?}");
    assert_ne!(taken.solver, head::Solver::Unchanged);
    assert!(taken.factory_accuracy[1] > 0.9, "{taken:?}");
    let none = head::Fleet {
        buckets: &[],
        parts: 1,
        projection: None,
    };
    let error = head::solve(&model, none, &factory, &factory, 0.0).unwrap_err();
    assert!(error.to_string().contains("no statistics"), "{error}");
}

#[test]
fn a_head_is_held_against_the_old_one_over_the_same_buckets() {
    let spec = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&spec);
    let (_, model, _) = whole(&spec, &set);
    let factory = head::Embedded::of(&model, &set.train).unwrap();
    // Two buckets see what the factory saw. A fifth of the windows lies in a third one, which calls every class by the
    // next one's name: no head that the others lead to is better there, and none can be better for all.
    let renamed = head::Embedded::of(&model, &renamed(&set.train)).unwrap();
    let of = |from: &head::Embedded, fifths: [usize; 2]| {
        let indices = (0..from.count()).filter(|index| fifths.contains(&(index % 5)));
        from.statistics_of(indices).unwrap()
    };
    let buckets = [
        of(&factory, [0, 1]),
        of(&factory, [2, 3]),
        of(&renamed, [4, 4]),
    ];
    let fleet = head::Fleet {
        buckets: &buckets,
        parts: 1,
        projection: None,
    };
    let solved = head::solve(&model, fleet, &factory, &factory, 0.0).unwrap();
    let [before, after] = solved.fleet_accuracy;
    assert!((0.75..0.82).contains(&before), "{solved:?}");
    assert_eq!(solved.solver, head::Solver::Unchanged, "{after}");
}

#[test]
fn settings_and_data_that_cannot_be_are_errors() {
    let good = spec(NetworkSpec::Dense(DenseSpec::default()));
    let set = feature_set(&good);
    let refused =
        |spec: &TrainSpec, set: &FeatureSet| fit(spec, set, &mut quiet).unwrap_err().to_string();
    let spec = TrainSpec {
        learning_rate: f32::NAN,
        ..good.clone()
    };
    assert!(refused(&spec, &set).contains("train.learning_rate"));
    let spec = TrainSpec {
        goal: Goal::Anomaly,
        ..good.clone()
    };
    assert!(refused(&spec, &set).contains("k_means"));
    let spec = TrainSpec {
        goal: Goal::Anomaly,
        network: NetworkSpec::KMeans(KMeansSpec::default()),
        ..good.clone()
    };
    assert!(refused(&spec, &set).contains("train.costs.normal"));
    let mut lacking = set.clone();
    lacking
        .train
        .targets
        .iter_mut()
        .filter(|t| **t == Target::Class(2))
        .for_each(|t| *t = Target::None);
    assert_eq!(
        refused(&good, &lacking),
        "class `loose` has no training window"
    );
    let mut broken = machines();
    broken[0].readings[700] = f32::NAN;
    let error = FeatureSet::of_windows(&good, &set.classes, &broken, &mut quiet).unwrap_err();
    assert!(
        matches!(error, TrainError::NotFinite { .. }) && error.to_string().contains("machine"),
        "{error}"
    );
}

#[test]
fn every_stage_tells_how_far_it_is_and_can_be_stopped() {
    let spec = TrainSpec {
        epochs: 2,
        ..spec(NetworkSpec::Dense(DenseSpec::default()))
    };
    let mut stages = Vec::new();
    let mut listen = |progress: Progress| {
        assert!(progress.done <= progress.total);
        if stages.last() != Some(&progress.stage) {
            stages.push(progress.stage);
        }
        Flow::Continue
    };
    let set = FeatureSet::of_windows(&spec, &CLASSES.map(String::from), &machines(), &mut listen)
        .unwrap();
    let trained = fit(&spec, &set, &mut listen).unwrap();
    let model = quantize("machine", &spec, &trained, &set, &mut listen).unwrap();
    evaluate(
        &model,
        None,
        &spec,
        &set.classes,
        &set.test,
        Asked::default(),
        &mut listen,
    )
    .unwrap();
    assert_eq!(
        stages,
        [
            Stage::Featurize,
            Stage::Train,
            Stage::Quantize,
            Stage::Evaluate
        ]
    );
    let stopped = fit(&spec, &set, &mut |_| Flow::Cancel);
    assert!(matches!(stopped, Err(TrainError::Cancelled)));
}

#[test]
fn every_template_survives_its_own_text() {
    use tinyops_train::Template::{Audio, Image, Motion, Vibration};
    for template in [Vibration, Motion, Audio, Image] {
        let spec = TrainSpec::template(template);
        spec.check().unwrap();
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<TrainSpec>(&text).unwrap(), spec, "{text}");
    }
    let error =
        toml::from_str::<TrainSpec>("[front_end]\nkind = \"mfe\"\nfilter_banks = 3\n").unwrap_err();
    assert!(error.to_string().contains("filter_banks"), "{error}");
}
