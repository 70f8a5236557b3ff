//! A model with every kind of op, and models of the other bodies.

use tinyops_dsp::{Block, FrontEnd, Raw};
use tinyops_model::build::Weights;
use tinyops_model::{
    Activation, Body, Conv, Decision, Graph, GraphBuilder, Model, OwnedScaler, Padding, Pool,
    Quantization, Task,
};
use tinyops_nn::EmbeddingDistance;
use tinyops_sketch::{Baseline, Calibration, ChannelBaseline, Source};

pub(crate) fn quantization(zero_point: i8) -> Option<Quantization> {
    Some(Quantization::per_tensor(0.1, zero_point))
}

pub(crate) fn weights(shape: [u16; 4], outputs: u16) -> Weights {
    let count = shape.iter().map(|&dim| usize::from(dim)).product();
    let filter = (0..count).map(|index| (index % 200) as u8 as i8).collect();
    let scales = (0..outputs)
        .map(|channel| 0.01 + f32::from(channel) * 0.001)
        .collect();
    Weights::int8(
        shape,
        filter,
        scales,
        (0..i32::from(outputs)).collect(),
        0.1,
    )
}

/// A network that goes through every kind of op.
pub(crate) fn every_op() -> Graph {
    let pool = Pool {
        window: [2, 2],
        stride: [2, 2],
        padding: Padding::Valid,
        activation: Activation::None,
    };
    let strided = Conv {
        stride: [2, 1],
        dilation: [1, 2],
        ..Conv::same(Activation::Relu6)
    };
    let mut builder = GraphBuilder::new();
    let input = builder.input([1, 8, 8, 2], quantization(-4));
    let padded = builder.pad(
        input,
        Padding::Explicit {
            top: 1,
            bottom: 0,
            left: 2,
            right: 3,
        },
    );
    let conv = builder.conv2d(
        padded,
        weights([4, 3, 3, 2], 4),
        strided,
        quantization(-128),
    );
    let depthwise = builder.depthwise_conv2d(
        conv,
        weights([1, 3, 3, 8], 8),
        Conv::same(Activation::Relu),
        quantization(1),
    );
    let greatest = builder.max_pool2d(depthwise, pool);
    let average = builder.average_pool2d(
        greatest,
        Pool {
            padding: Padding::Same,
            ..pool
        },
    );
    let sum = builder.add(average, average, Activation::None, quantization(2));
    let rectified = builder.activate(sum, Activation::Relu, quantization(-128));
    let mean = builder.mean(rectified, quantization(-128));
    builder.embedding(mean);
    let flat = builder.reshape(mean, [1, 1, 2, 4]);
    let logits = builder.dense(
        flat,
        weights([3, 1, 1, 8], 3),
        Activation::None,
        quantization(0),
    );
    let output = builder.softmax(logits);
    builder.name(output, "scores");
    builder.finish(&[output])
}

pub(crate) fn model(body: Body) -> Model {
    let channels = [
        ChannelBaseline::new(Source::Feature(1), 0.5, 2.0),
        ChannelBaseline::new(Source::Output, 0.9, 0.1),
    ];
    Model {
        name: "fan äöü".to_owned(),
        task: if matches!(body, Body::Network(_)) {
            Task::Classify
        } else {
            Task::Anomaly
        },
        front_end: FrontEnd {
            rate_hz: 100.0,
            channel_count: 2,
            window_len: 64,
            block: Block::Raw(Raw { scale: 0.5 }),
        },
        scaler: OwnedScaler {
            mean: vec![0.5, -0.5],
            inv_std: vec![2.0, 1.0],
        },
        body,
        labels: vec!["idle".to_owned(), String::new(), "worn".to_owned()],
        decision: Decision {
            threshold: 0.5,
            min_confidence: 0.6,
        },
        baseline: Baseline::new(100, &channels, &[0.25, 0.25, 0.5]).expect("sound"),
        embedding: Vec::new(),
    }
}

/// A model whose baseline watches how far embeddings lie from those of its training windows.
pub(crate) fn watching_embeddings() -> Model {
    let channel = ChannelBaseline::new(Source::Embedding, 5.0, 0.5);
    let calibration = Calibration {
        windows: [3; 8],
        right: [1, 2, 2, 2, 3, 3, 3, 3],
        embedding_mean: 0.25,
        embedding_sd: 1.5,
    };
    let mut model = model(Body::Network(every_op()));
    let baseline = Baseline::new(100, &[channel], &[0.25, 0.25, 0.5]).expect("sound");
    let baseline = baseline.with_calibration(Some(calibration));
    model.baseline = baseline.expect("sound");
    model.embedding = vec![0; EmbeddingDistance::encoded_len(3, 2)];
    EmbeddingDistance::encode(&[1.0; 6], &[0.5, 0.1, 0.5], &[0.5; 3], &mut model.embedding)
        .expect("three means of two values");
    model
}

pub(crate) fn models() -> Vec<Model> {
    let mut logistic = GraphBuilder::new();
    let input = logistic.input([1, 1, 1, 128], quantization(0));
    let output = logistic.logistic(input);
    vec![
        model(Body::Network(every_op())),
        watching_embeddings(),
        model(Body::Autoencoder(logistic.finish(&[output]))),
        model(Body::KMeans {
            centres: vec![1.5; 256],
            radii: vec![0.1, 0.2],
        }),
        model(Body::Mahalanobis {
            mean: vec![0.5; 2],
            inverse_covariance: vec![1.0, 0.5, 2.0],
        }),
    ]
}
