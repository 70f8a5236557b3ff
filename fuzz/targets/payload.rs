//! Every section of a payload that parses is read without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_nn::EmbeddingDistance;
use tinyops_nn::head::{Prior, Sums, Weights, head_len, solve, work_len};
use tinyops_nn::statistics::{ClassStatistics, cell_count};
use tinyops_sketch::Baseline;
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::section::{DecisionSection, GoldenSection, Labels, ScalerSection};
use tinyops_wire::sensor::SensorSection;

fuzz_target!(|bytes: &[u8]| {
    let Ok(payload) = Payload::parse(bytes) else {
        return;
    };
    if let Some(section) = payload.section(SectionId::Golden) {
        if let Ok(golden) = GoldenSection::decode(section) {
            assert_eq!(golden.vectors().count(), golden.count());
        }
    }
    if let Some(section) = payload.section(SectionId::Labels) {
        if let Ok(labels) = Labels::decode(section) {
            assert_eq!(labels.names().count(), labels.count());
        }
    }
    if let Some(section) = payload.section(SectionId::Sensor) {
        if let Ok(sensor) = SensorSection::decode(section) {
            assert_eq!(sensor.channels().count(), sensor.count());
        }
    }
    if let Some(section) = payload.section(SectionId::Scaler) {
        if let Ok(scaler) = ScalerSection::decode(section) {
            assert_eq!(scaler.means().count(), scaler.groups());
        }
    }
    if let Some(Ok(prior)) = payload.section(SectionId::Prior).map(Prior::decode) {
        let (classes, width) = (prior.class_count(), prior.embedding_len());
        let none =
            ClassStatistics::<i32, _>::new(classes, width, vec![0; cell_count(classes, width)]);
        let none = none.expect("as many cells");
        // A prior of any bytes leads to a head of finite numbers, or to none.
        if width <= 32 {
            let mut work = vec![0.0; work_len(width)];
            let mut head = vec![0.0; head_len(classes, width)];
            if solve(&none, &prior, Weights::default(), &mut work, &mut head).is_ok() {
                assert!(head.iter().all(|value| value.is_finite()));
            }
        }
    }
    let embedding = payload.section(SectionId::Embedding);
    if let Some(Ok(distance)) = embedding.map(EmbeddingDistance::decode) {
        for class in 0..=distance.class_count() {
            let octaves = distance.octaves(class, &vec![0x80; distance.embedding_len()]);
            assert_eq!(
                octaves.is_some_and(f32::is_finite),
                class < distance.class_count()
            );
        }
    }
    let _ = payload.section(SectionId::Baseline).map(Baseline::decode);
    let _ = payload
        .section(SectionId::Decision)
        .map(DecisionSection::decode);
});
