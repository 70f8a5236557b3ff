//! How far embeddings lie from those of the factory: what a device measures, tells and refuses.

use tinyops_nn::EmbeddingDistance;
use tinyops_sketch::{Baseline, Direction, Source};
use tinyops_wire::Frame;
use tinyops_wire::frame::{Flags, Reason};
use tinyops_wire::summary::Format;

use crate::fixture::{
    Bench, Recipe, WINDOW, baseline, blank_flash, config, key, where_embeddings_lie,
};

fn watching() -> Recipe {
    Recipe {
        watches_embedding: true,
        embedding_len: WINDOW,
        ..Recipe::default()
    }
}

fn reporting(recipe: &Recipe, every_windows: u32) -> Bench {
    let mut config = config();
    config.reporting.every_windows = every_windows;
    config.reporting.every_ms = 0;
    config.reporting.format = Format::M6H8;
    Bench::new(config, blank_flash(recipe.capsule()))
}

/// A window of class 0; no output follows the last value.
fn window(index: u8, last: f32) -> [f32; WINDOW] {
    [1.5 + f32::from(index % 4) / 16.0, 0.0, 0.0, last]
}

#[test]
fn what_the_output_does_not_show_the_embedding_does() {
    let mut bench = reporting(&watching(), 300);
    for index in 0..200_u8 {
        bench.window(window(index, 0.0));
    }
    assert_eq!(bench.reports.len(), 1, "a hello and no alarm");
    for index in 0..100 {
        bench.window(window(index, 4.0));
    }
    assert_eq!(bench.reports.len(), 3, "{:?}", bench.reports);
    let Ok(Frame::Alarm(alarm)) = Frame::decode(&bench.reports[1].body) else {
        panic!("an alarm");
    };
    assert_eq!(alarm.moved, Some((2, Direction::Up)), "of the embedding");
    let Ok(Frame::Summary(summary)) = Frame::decode(&bench.reports[2].body) else {
        panic!("a summary");
    };
    assert!(summary.header.flags.has(Flags::MOVED));
    // The next period may alarm again, and these windows are no longer new to nobody.
    for index in 0..100 {
        bench.window(window(index, 4.0));
    }
    let Some(Ok(Frame::Alarm(again))) = bench.reports.get(3).map(|r| Frame::decode(&r.body)) else {
        panic!("an alarm of the next period");
    };
    assert_eq!(again.moved, Some((2, Direction::Up)));
}

#[test]
fn a_report_tells_the_distance_of_its_windows() {
    let mut bench = reporting(&watching(), 1);
    bench.window(window(0, 0.25));
    let report = bench.reports.last().expect("a report");
    let Ok(Frame::Summary(frame)) = Frame::decode(&report.body) else {
        panic!("a summary");
    };
    let summary = frame
        .decode(4, 3, (key().dither_seed(), report.sequence))
        .expect("the shape of the baseline");
    let baseline = Baseline::decode(&baseline(true, true)).expect("a baseline");
    assert_eq!(baseline.channels()[2].source, Source::Embedding);
    assert_eq!(baseline.embedding_channel(), Some(2));
    let bytes = where_embeddings_lie(WINDOW);
    let distance = EmbeddingDistance::decode(&bytes).expect("where embeddings lie");
    let embedding = window(0, 0.25).map(|x| (x * 16.0).round() as i8 as u8);
    // 8 steps and 4 steps of deviations of 2: 1 + 16 + 4.
    let octaves = distance.octaves(0, &embedding).expect("its own shape");
    assert!((octaves - 21.0_f32.log2()).abs() < 0.09, "{octaves}");
    let channel = &baseline.channels()[2];
    let expected = ((octaves - channel.mean) * channel.inv_sd).clamp(-2.0, 2.0);
    let told = summary.channels()[2].mean;
    assert!((told - expected).abs() < 0.07, "{told} {expected}");
}

#[test]
fn embeddings_that_nothing_places_are_refused() {
    for embedding_len in [0, WINDOW - 1, WINDOW + 1] {
        let mut bench = Bench::new(config(), blank_flash(Recipe::default().capsule()));
        let candidate = Recipe {
            sequence: 2,
            embedding_len,
            ..watching()
        };
        bench.install(&candidate.capsule());
        assert_eq!(bench.last_update().reason, Reason::Plan, "{embedding_len}");
    }
    // Without a channel that watches it, it is only bytes.
    let mut bench = reporting(
        &Recipe {
            watches_embedding: false,
            ..watching()
        },
        0,
    );
    bench.window(window(0, 0.0));
    assert_eq!(bench.agent.counters().windows, 1);
}
