//! Two classes of which one is normal: what an evaluation counts is what a device answers, whichever comes first.

use tinyops_device::{Answer, Model as OnDevice};
use tinyops_train::{
    Asked, Costs, DenseSpec, Evaluation, FeatureSet, NetworkSpec, Predictor, Target, TrainSpec,
    Windows, evaluate, fit, golden, head, quantize,
};
use tinyops_wire::payload::Payload;

use crate::machines::machines;
use crate::quiet;

/// Windows of calm and worn machines alone, of as many classes as are named, in the order that they are.
fn parts(classes: [&str; 2]) -> [Windows; 3] {
    machines().map(|windows| {
        let is_kept = |&index: &usize| windows.targets[index] != Target::Class(2);
        let kept: Vec<usize> = (0..windows.count()).filter(is_kept).collect();
        let mut windows = windows.select(&kept);
        if classes[0] == "worn" {
            for target in &mut windows.targets {
                if let Target::Class(class) = target {
                    *class = 1 - *class;
                }
            }
        }
        windows
    })
}

/// `[true class][given class]` as the device's own code answers, capsule and all.
fn on_device(model: &tinyops_model::Model, windows: &Windows) -> Vec<Vec<u32>> {
    let compiled = tinyops_compile::compile(model).unwrap();
    let vectors = golden(model, windows, 2).unwrap();
    let payload = tinyops_compile::payload(model, &compiled, &vectors).unwrap();
    let device = OnDevice::load(&Payload::parse(&payload).unwrap()).unwrap();
    let scorer = device.scorer();
    let front_end = model.front_end;
    let mut features = vec![0.0; front_end.feature_count()];
    let mut scratch = vec![0.0; front_end.scratch_len()];
    let mut arena = vec![0u8; 1 << 16];
    let mut confusion = vec![vec![0; 2]; 2];
    for index in 0..windows.count() {
        let readings = windows.window(index);
        scorer
            .extract(readings, &mut features, &mut scratch)
            .unwrap();
        let answer = scorer.answer(&mut features, &mut arena[..]).unwrap();
        let (Answer::Class { class, .. }, Target::Class(is)) = (answer, windows.targets[index])
        else {
            panic!("a classifier answers a labelled window by {answer:?}");
        };
        confusion[usize::from(is)][usize::from(class)] += 1;
    }
    confusion
}

/// How a model is trained so little that many windows are in doubt, at this price of a miss.
fn hasty(miss: f32) -> TrainSpec {
    TrainSpec {
        epochs: 2,
        network: NetworkSpec::Dense(DenseSpec::default()),
        costs: Costs {
            normal: vec!["calm".to_owned()],
            miss,
            fault_share: 0.5,
            ..Costs::default()
        },
        ..TrainSpec::default()
    }
}

/// Such a model, and what its evaluation says.
fn judged(classes: [&str; 2], miss: f32) -> (Evaluation, usize) {
    let spec = hasty(miss);
    let parts = parts(classes);
    let named = classes.map(str::to_owned);
    let set = FeatureSet::of_windows(&spec, &named, &parts, &mut quiet).unwrap();
    let trained = fit(&spec, &set, &mut quiet).unwrap();
    let model = quantize("machine", &spec, &trained, &set, &mut quiet).unwrap();
    let asked = Asked::default();
    let told = evaluate(
        &model,
        Some(&trained),
        &spec,
        &named,
        &set.test,
        asked,
        &mut quiet,
    );
    let (comparison, predictions) = told.unwrap();
    let int8 = comparison.int8;
    assert_eq!(int8.confusion, on_device(&model, &parts[2]), "{classes:?}");
    // Every figure is of those answers: of the whole, of the alarms, and at the project's prices.
    let count = |is: usize, given: usize| f64::from(int8.confusion[is][given]);
    let calm = usize::from(classes[1] == "calm");
    let worn = 1 - calm;
    let all = |is: usize| count(is, 0) + count(is, 1);
    let near = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-6, "{a} {b} {classes:?}");
    near(
        int8.accuracy.unwrap(),
        (count(0, 0) + count(1, 1)) / (all(0) + all(1)),
    );
    let operation = int8.operation.unwrap();
    near(operation.false_alarm_rate, count(calm, worn) / all(calm));
    near(operation.miss_rate, count(worn, calm) / all(worn));
    let curve = predictions.cost_curve(&spec.costs).unwrap();
    assert_eq!(curve.own.threshold, operation.threshold);
    near(curve.own.miss_rate as f32, count(worn, calm) / all(worn));
    let whole = predictions.expected_cost(&spec.costs).unwrap();
    assert!((curve.own.expected.cost - whole.cost).abs() < 1e-9);
    // A threshold of the alarm score says the same of these windows as the decision of the device.
    let at = predictions
        .cost_at(&spec.costs, operation.threshold)
        .unwrap();
    assert_eq!(at, curve.own);
    let scores = Predictor::new(&model).unwrap().score(&set.test);
    let likeliest = |&index: &usize| scores.class(index) == worn;
    let by_share = (0..scores.count()).filter(likeliest).count();
    let alarms = int8
        .confusion
        .iter()
        .map(|row| row[worn] as usize)
        .sum::<usize>();
    (int8, alarms.abs_diff(by_share))
}

#[test]
fn an_evaluation_counts_what_a_device_answers_whichever_class_is_normal() {
    for classes in [["calm", "worn"], ["worn", "calm"]] {
        let (watchful, more) = judged(classes, 50.0);
        let (calm_down, fewer) = judged(classes, 0.05);
        let [dear, cheap] = [&watchful, &calm_down].map(|of| of.operation.unwrap());
        // Where a miss is dear the threshold lies low and hardly any is missed; where it costs nothing, hardly one
        // alarms in vain. Taken the wrong way round it is the other way.
        assert!(dear.threshold < 0.5, "{classes:?} {dear:?}");
        assert!(cheap.threshold > 0.5, "{classes:?} {cheap:?}");
        assert!(dear.miss_rate < 0.1, "{classes:?} {dear:?}");
        assert!(cheap.false_alarm_rate < 0.1, "{classes:?} {cheap:?}");
        assert!(dear.miss_rate < cheap.miss_rate, "{dear:?} {cheap:?}");
        assert!(more + fewer > 0, "no window is in doubt");
    }
}

#[test]
fn a_solved_head_is_judged_by_what_a_device_answers_with_it() {
    let (mut apart, mut solved_anew) = (0.0f32, 0);
    for classes in [["calm", "worn"], ["worn", "calm"]] {
        for miss in [50.0, 0.05] {
            let spec = hasty(miss);
            let parts = parts(classes);
            let named = classes.map(str::to_owned);
            let set = FeatureSet::of_windows(&spec, &named, &parts, &mut quiet).unwrap();
            let trained = fit(&spec, &set, &mut quiet).unwrap();
            let model = quantize("machine", &spec, &trained, &set, &mut quiet).unwrap();
            let factory = head::Embedded::of(&model, &set.train).unwrap();
            let held_out = head::Embedded::of(&model, &set.test).unwrap();
            let buckets = [held_out.statistics().unwrap()];
            let fleet = head::Fleet {
                buckets: &buckets,
                parts: 1,
                projection: None,
            };
            let solved = head::solve(&model, fleet, &factory, &held_out, 0.0).unwrap();
            solved_anew += usize::from(solved.solver != head::Solver::Unchanged);
            for (model, judged) in [&model, &solved.model]
                .into_iter()
                .zip(solved.factory_accuracy)
            {
                let answers = on_device(model, &parts[2]);
                let all: u32 = answers.iter().flatten().sum();
                let right = (answers[0][0] + answers[1][1]) as f32 / all as f32;
                // Shares are rounded to 256ths on the device, and windows lie that near to the threshold.
                assert!(
                    (judged - right).abs() <= 0.03,
                    "{classes:?} {miss}: {judged}, {right}"
                );
                let scores = Predictor::new(model).unwrap().score(&set.test);
                let is_right = |&index: &usize| {
                    set.test.targets[index] == Target::Class(scores.class(index) as u16)
                };
                let by_share = (0..scores.count()).filter(is_right).count();
                apart = apart.max((right - by_share as f32 / all as f32).abs());
            }
        }
    }
    assert!(
        apart > 0.1,
        "by the larger share the answers would be as many: {apart}"
    );
    assert!(solved_anew > 0, "every head stayed as it was");
}
