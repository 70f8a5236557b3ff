//! An attack: a window out of a device's default report, by the best linear guess that many known days teach.
//!
//! Whoever attacks has the windows and the reports of hundreds of days of the same kind of device, learns the window of
//! a given hour from the numbers of the report (ridge regression), and tries it on days that were not among them.

use tinyops_sketch::{Baseline, ChannelBaseline, Observation, Sketch, Source, Summary};
use tinyops_wire::Frame;
use tinyops_wire::frame::Flags;
use tinyops_wire::mask::{HelperKey, Task};
use tinyops_wire::masked::{MaskedReport, quantize, report_values};
use tinyops_wire::summary::{Format, Header, SummaryFrame};

use crate::samples;

const CHANNELS: usize = 9;
const LEARNT: usize = 900;
const TRIED: usize = 300;

struct Noise(u64);

impl Noise {
    fn normal(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

fn baseline() -> Baseline {
    let channels: Vec<ChannelBaseline> = (0..CHANNELS as u16)
        .map(|index| {
            let mut channel = ChannelBaseline::new(Source::Feature(index), 0.0, 1.0);
            // Octiles of the normal law.
            channel.edges = [-1.15, -0.674, -0.319, 0.0, 0.319, 0.674, 1.15];
            channel
        })
        .collect();
    Baseline::new(4_000, &channels, &[0.25; 4]).expect("sound")
}

/// A day: what one of its windows was, what the day was like on the whole, and what was reported of it.
struct Day {
    window: [f64; CHANNELS],
    mean: [f64; CHANNELS],
    summary: Summary,
}

/// A day of so many windows of an AR(1) stream, with the offsets of its device and of the day.
fn day(noise: &mut Noise, windows: usize) -> Day {
    let baseline = baseline();
    let mut sketch = Sketch::new();
    let offsets: [f64; CHANNELS] = std::array::from_fn(|_| 0.22 * noise.normal());
    let mut state: [f64; CHANNELS] = std::array::from_fn(|_| noise.normal());
    let (mut chosen, mut mean) = ([0.0; CHANNELS], [0.0; CHANNELS]);
    for index in 0..windows {
        let window: [f64; CHANNELS] =
            std::array::from_fn(|channel| offsets[channel] + state[channel]);
        let features = window.map(|value| value as f32);
        let class = (window[0] * 2.0 + 2.0).clamp(0.0, 3.0) as u8;
        sketch.push(
            &baseline,
            &Observation::of(&baseline, &features),
            Some(class),
        );
        for channel in 0..CHANNELS {
            mean[channel] += window[channel] / windows as f64;
            state[channel] = 0.5 * state[channel] + 0.75_f64.sqrt() * noise.normal();
        }
        if index == windows / 2 {
            chosen = window;
        }
    }
    Day {
        window: chosen,
        mean,
        summary: Summary::of(&sketch, &baseline),
    }
}

/// All numbers of a default report as the server reads them, and a 1.
fn in_the_clear(summary: &Summary, sequence: u32) -> Vec<f64> {
    let dither = (samples::KEY.dither_seed(), sequence);
    let mut out = [0; 64];
    let len = SummaryFrame::encode(Format::M6H8, Header::default(), summary, dither, &mut out)
        .expect("room");
    assert_eq!(len, 51);
    let Ok(Frame::Summary(frame)) = Frame::decode(&out[..len]) else {
        panic!("a summary");
    };
    let read = frame.decode(CHANNELS, 4, dither).expect("its shape");
    let mut values = vec![1.0];
    for channel in read.channels() {
        values.extend([f64::from(channel.mean), f64::from(channel.ln_sd)]);
        values.extend(channel.shares.expect("histograms").map(f64::from));
    }
    values.extend(read.class_shares().iter().map(|share| f64::from(*share)));
    values
}

/// All numbers of a masked report as whoever lacks its key reads them.
fn masked(summary: &Summary, sequence: u32) -> Vec<f64> {
    let task: Task = samples::TASK;
    let key = HelperKey([4; 32]).mask_key(samples::DEVICE);
    let values: Vec<f64> = report_values(summary).map(f64::from).collect();
    let values = quantize(&task, values.into_iter()).expect("fine enough");
    let mut out = [0; 64];
    let masks = key.masks(&task, sequence);
    let len = MaskedReport::encode(&task, Flags::default(), values, masks, &mut out).expect("room");
    let Ok(Frame::MaskedReport(report)) = Frame::decode(&out[..len]) else {
        panic!("a report");
    };
    let read = report.values(22).expect("its shape");
    let read = read.map(|value| task.signed(value) as f64 / 4096.0);
    [1.0].into_iter().chain(read).collect()
}

/// Solves `(XᵀX + λ) w = XᵀY` for all channels at once, by elimination.
fn learn(reports: &[Vec<f64>], truths: &[[f64; CHANNELS]]) -> Vec<[f64; CHANNELS]> {
    let width = reports[0].len();
    let mut rows: Vec<Vec<f64>> = vec![vec![0.0; width + CHANNELS]; width];
    for (report, truth) in reports.iter().zip(truths) {
        for (row, value) in rows.iter_mut().zip(report) {
            for (cell, other) in row.iter_mut().zip(report.iter().chain(truth)) {
                *cell += value * other;
            }
        }
    }
    for (index, row) in rows.iter_mut().enumerate() {
        row[index] += 1.0;
    }
    for pivot in 0..width {
        let divisor = rows[pivot][pivot];
        rows[pivot].iter_mut().for_each(|cell| *cell /= divisor);
        let pivot_row = rows[pivot].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            let factor = row[pivot];
            if index != pivot && factor != 0.0 {
                row.iter_mut()
                    .zip(&pivot_row)
                    .for_each(|(cell, other)| *cell -= factor * other);
            }
        }
    }
    rows.iter()
        .map(|row| std::array::from_fn(|channel| row[width + channel]))
        .collect()
}

/// How much of the squares the attack explains: of the windows themselves, against guessing the same for all; and of
/// how they differ from the mean of their day, against guessing that mean.
fn attack(windows: usize, read: fn(&Summary, u32) -> Vec<f64>) -> (f64, f64) {
    let mut noise = Noise(windows as u64 + 5);
    let days: Vec<Day> = (0..LEARNT + TRIED)
        .map(|_| day(&mut noise, windows))
        .collect();
    let reports: Vec<Vec<f64>> = (0..)
        .zip(&days)
        .map(|(sequence, day)| read(&day.summary, sequence))
        .collect();
    let explained = |truth: fn(&Day, usize) -> f64| {
        let truths: Vec<[f64; CHANNELS]> = days
            .iter()
            .map(|day| std::array::from_fn(|channel| truth(day, channel)))
            .collect();
        let weights = learn(&reports[..LEARNT], &truths[..LEARNT]);
        let (mut left, mut whole) = (0.0, 0.0);
        for (report, truth) in reports.iter().zip(&truths).skip(LEARNT) {
            for channel in 0..CHANNELS {
                let guess: f64 = report
                    .iter()
                    .zip(&weights)
                    .map(|(value, weight)| value * weight[channel])
                    .sum();
                left += (truth[channel] - guess).powi(2);
                whole += truth[channel].powi(2);
            }
        }
        1.0 - left / whole
    };
    (
        explained(|day, channel| day.window[channel]),
        explained(|day, channel| day.window[channel] - day.mean[channel]),
    )
}

#[test]
fn a_window_cannot_be_found_from_a_default_report() {
    // The attack works: of a report of one window it finds nearly all.
    let (of_one, _) = attack(1, in_the_clear);
    assert!(of_one > 0.9, "{of_one}");
    // A day's report gives away what the day was like, and nothing of a window in it.
    let (of_window, within_day) = attack(288, in_the_clear);
    assert!(of_window < 0.12, "{of_window}");
    assert!(within_day < 0.01, "{within_day}");
    // Under masks not even what the day was like, and not even of a report of one window.
    let (of_one, _) = attack(1, masked);
    assert!(of_one < 0.01, "{of_one}");
    let (of_window, within_day) = attack(288, masked);
    assert!(of_window < 0.01, "{of_window}");
    assert!(within_day < 0.01, "{within_day}");
}
