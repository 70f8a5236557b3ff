//! What a payload brings so that devices can solve heads of their own, and what it takes.

use tinyops_compile::{Limits, boards, compile, embedding_digest, fit, payload, prior_of};
use tinyops_model::{Body, Data, Graph, Model, Task};
use tinyops_nn::head::Prior;
use tinyops_nn::statistics::{ClassStatistics, cell_count};

use crate::networks::{autoencoder, classifier, model};

#[test]
fn a_payload_brings_a_prior_where_devices_solve_heads_of_their_own() {
    let model = model(Body::Network(classifier()), Task::Classify);
    let mut compiled = compile(&model).expect("compiles");
    let known = boards();
    let board = known.iter().find(|board| board.id == "sparkfun-edge-2");
    let board = board.expect("a known board");
    let [without, ram] = [compiled.payload_bytes, compiled.ram.total_bytes()];
    let taken = fit(&compiled, board, &Limits::default());
    let digest = embedding_digest(&model).expect("an embedding");
    compiled
        .with_prior(prior(2, 6, digest))
        .expect("of this network");
    let bytes = payload(&model, &compiled, &[]).expect("writes");
    assert_eq!(compiled.payload_bytes as usize, bytes.len());
    assert_eq!(prior_of(&bytes), Some(compiled.prior.clone()));
    let read = Prior::decode(&compiled.prior).expect("a prior");
    assert_eq!(read.embedding(), digest);
    // Its entry in the table, and itself: 24 bytes of header, and 2, 12 and 21 numbers.
    assert_eq!(
        compiled.payload_bytes.next_multiple_of(16) - without.next_multiple_of(16),
        112
    );
    // Two heads of 14 numbers, a triangle of 21, and 64 windows of 8 bytes.
    assert_eq!(compiled.ram.total_bytes() - ram, 4 * 49 + 512);
    let fuller = fit(&compiled, board, &Limits::default());
    // Two copies of the windows, a page each.
    assert_eq!(fuller.flash_bytes - taken.flash_bytes, 2 * 8192);
    assert_eq!(fuller.ram_bytes - taken.ram_bytes, 708);
    let limits = Limits {
        flash_bytes: Some(100),
        ..Limits::default()
    };
    let reasons = fit(&compiled, board, &limits).reasons;
    assert_eq!(
        reasons[0].to_string(),
        "two capsule slots and the windows of a device's own head need 32768 bytes of flash, board leaves 100: 32668 too many"
    );
    for (classes, width) in [(3, 6), (2, 5)] {
        let error = compiled.with_prior(prior(classes, width, digest));
        let error = error.expect_err("of another network").to_string();
        assert_eq!(error, "the prior of a head is not of this network");
    }
    assert!(compiled.with_prior(vec![1, 2, 3]).is_err());
}

#[test]
fn what_makes_the_embedding_is_told_from_the_head() {
    let sound = || model(Body::Network(classifier()), Task::Classify);
    let digest = |change: &dyn Fn(&mut Model)| {
        let mut model = sound();
        change(&mut model);
        embedding_digest(&model)
    };
    let graph = |model: &mut Model, change: &dyn Fn(&mut Graph)| {
        let Body::Network(graph) = &mut model.body else {
            panic!("a network");
        };
        change(graph);
    };
    let weights = |graph: &mut Graph, op: usize| {
        let filter = graph.ops[op].inputs[1];
        match &mut graph.tensors[filter.0 as usize].data {
            Some(Data::Int8(values)) => values[0] ^= 1,
            other => panic!("{other:?}"),
        }
    };
    let old = embedding_digest(&sound());
    assert!(old.is_some());
    let alike = [
        digest(&|model| model.name.push('2')),
        digest(&|model| model.decision.min_confidence = 0.9),
        digest(&|model| graph(model, &|graph| weights(graph, 1))),
        digest(&|model| graph(model, &|graph| graph.tensors[0].name.push('x'))),
    ];
    assert_eq!(alike, [old; 4]);
    let others = [
        digest(&|model| graph(model, &|graph| weights(graph, 0))),
        digest(&|model| model.labels.swap(0, 1)),
        digest(&|model| model.front_end.rate_hz += 1.0),
        digest(&|model| graph(model, &|graph| graph.embedding = None)),
    ];
    assert!(others.iter().all(|other| *other != old), "{others:?}");
    let clusters = model(Body::Autoencoder(autoencoder()), Task::Anomaly);
    assert_eq!(embedding_digest(&clusters), None);
}

/// The prior of windows whose values follow their class and an index.
fn prior(classes: usize, width: usize, embedding: [u8; 8]) -> Vec<u8> {
    let cells = vec![0_i64; cell_count(classes, width)];
    let mut sums = ClassStatistics::new(classes, width, cells).expect("as many cells");
    for index in 0..60_usize {
        let class = index % classes;
        let value = |at: usize| (index * (at + 3) % 17 + 9 * class) as u8;
        let row: Vec<u8> = (0..width).map(value).collect();
        sums.add(class, &row, 0).expect("of this shape");
    }
    let mut out = vec![0; Prior::encoded_len(classes, width)];
    Prior::encode(&sums, embedding, &mut out).expect("windows that vary");
    out
}
