//! What a report says of a stream, and how far two of them are apart.

use crate::distance::psi;
use crate::{BINS, Baseline, CHANNELS_MAX, CLASSES_MAX, Sketch};

/// A stream in shares and moments: what is left of a [`Sketch`] after a frame of a few bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Windows that it stands for; a frame carries this rounded to about 9 %.
    pub count: f32,
    channel_count: usize,
    channels: [ChannelSummary; CHANNELS_MAX],
    class_count: usize,
    class_shares: [f32; CLASSES_MAX],
}

/// One channel of a [`Summary`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelSummary {
    /// Mean deviation from the baseline's mean, in its standard deviations.
    pub mean: f32,
    /// Natural logarithm of the standard deviation over the baseline's.
    pub ln_sd: f32,
    /// Share of the values in each bin; absent where the frame had no room for a histogram.
    pub shares: Option<[f32; BINS]>,
}

impl Default for ChannelSummary {
    fn default() -> ChannelSummary {
        ChannelSummary {
            mean: 0.0,
            ln_sd: 0.0,
            shares: None,
        }
    }
}

impl Summary {
    /// A summary of these channels and class shares; what is beyond the capacity is left out.
    pub fn new(count: f32, channels: &[ChannelSummary], class_shares: &[f32]) -> Summary {
        let mut summary = Summary {
            count,
            channel_count: channels.len().min(CHANNELS_MAX),
            channels: [ChannelSummary::default(); CHANNELS_MAX],
            class_count: class_shares.len().min(CLASSES_MAX),
            class_shares: [0.0; CLASSES_MAX],
        };
        for (own, given) in summary.channels.iter_mut().zip(channels) {
            *own = *given;
        }
        for (own, given) in summary.class_shares.iter_mut().zip(class_shares) {
            *own = *given;
        }
        summary
    }

    /// What a sketch of `baseline` says.
    pub fn of(sketch: &Sketch, baseline: &Baseline) -> Summary {
        let mut channels = [ChannelSummary::default(); CHANNELS_MAX];
        let channels = &mut channels[..baseline.channels().len()];
        for (channel, counted) in channels.iter_mut().zip(&sketch.channels) {
            *channel = ChannelSummary {
                mean: counted.mean(sketch.count),
                ln_sd: counted.ln_sd(sketch.count),
                shares: Some(shares(&counted.bins)),
            };
        }
        let class_count = baseline.class_prior().len();
        let class_shares: [f32; CLASSES_MAX] = shares(&sketch.class_counts);
        Summary::new(sketch.count as f32, channels, &class_shares[..class_count])
    }

    /// What the training data itself would have reported: no deviation, its own bins and classes.
    pub fn of_baseline(baseline: &Baseline) -> Summary {
        let mut channels = [ChannelSummary::default(); CHANNELS_MAX];
        let channels = &mut channels[..baseline.channels().len()];
        for (channel, reference) in channels.iter_mut().zip(baseline.channels()) {
            channel.shares = Some(reference.shares);
        }
        Summary::new(
            baseline.window_count as f32,
            channels,
            baseline.class_prior(),
        )
    }

    /// The channels, in the order of the baseline.
    pub fn channels(&self) -> &[ChannelSummary] {
        &self.channels[..self.channel_count]
    }

    /// Share of the windows that the model gave to each class.
    pub fn class_shares(&self) -> &[f32] {
        &self.class_shares[..self.class_count]
    }

    /// Moves this summary a `weight` (0 to 1) of the way to `live`: one step of an exponentially weighted mean.
    ///
    /// The count stays this summary's own. Channels or classes that only one of the two has stay as they are.
    pub fn blend(&mut self, live: &Summary, weight: f32) {
        let toward = |own: &mut f32, live: f32| *own += weight * (live - *own);
        let channel_count = self.channel_count.min(live.channel_count);
        for (own, live) in self.channels[..channel_count]
            .iter_mut()
            .zip(&live.channels)
        {
            toward(&mut own.mean, live.mean);
            toward(&mut own.ln_sd, live.ln_sd);
            match (&mut own.shares, &live.shares) {
                (Some(own), Some(live)) => {
                    own.iter_mut()
                        .zip(live)
                        .for_each(|(own, live)| toward(own, *live));
                }
                (own @ None, Some(live)) => *own = Some(*live),
                (_, None) => {}
            }
        }
        let class_count = self.class_count.min(live.class_count);
        for (own, live) in self.class_shares[..class_count]
            .iter_mut()
            .zip(&live.class_shares)
        {
            toward(own, *live);
        }
    }

    /// Adds the windows of `other` to this summary, each weighing the same: the two as one stream.
    ///
    /// Spreads are averaged as logarithms, so a merged summary keeps the spread of its parts and not
    /// the distance between their means.
    pub fn merge(&mut self, other: &Summary) {
        let count = self.count + other.count;
        if count > 0.0 {
            self.blend(other, other.count / count);
        }
        self.count = count;
    }

    /// How far this summary has moved from `reference`.
    pub fn drift_from(&self, reference: &Summary) -> Drift {
        let channel_count = self.channel_count.min(reference.channel_count);
        let mut channels = [ChannelDrift::default(); CHANNELS_MAX];
        for (index, drift) in channels[..channel_count].iter_mut().enumerate() {
            let (live, base) = (&self.channels[index], &reference.channels[index]);
            *drift = ChannelDrift {
                mean: live.mean - base.mean,
                ln_sd: live.ln_sd - base.ln_sd,
                psi: match (&base.shares, &live.shares) {
                    (Some(base), Some(live)) => {
                        psi_of_shares(base, reference.count, live, self.count)
                    }
                    _ => 0.0,
                },
            };
        }
        let class_count = self.class_count.min(reference.class_count);
        let class_psi = psi_of_shares(
            &reference.class_shares[..class_count],
            reference.count,
            &self.class_shares[..class_count],
            self.count,
        );
        Drift {
            channel_count,
            channels,
            class_psi,
        }
    }
}

/// How far one summary has moved from another.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    channel_count: usize,
    channels: [ChannelDrift; CHANNELS_MAX],
    /// Population stability index of the predicted classes, in nats.
    pub class_psi: f32,
}

/// How far one channel has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelDrift {
    /// Shift of the mean, in the baseline's standard deviations.
    pub mean: f32,
    /// Shift of the logarithm of the standard deviation.
    pub ln_sd: f32,
    /// Population stability index of the bins, in nats; 0 without histograms.
    pub psi: f32,
}

impl Drift {
    /// The channels, in the order of the baseline.
    pub fn channels(&self) -> &[ChannelDrift] {
        &self.channels[..self.channel_count]
    }

    /// The largest index of any channel or of the classes.
    pub fn psi_max(&self) -> f32 {
        self.channels()
            .iter()
            .map(|channel| channel.psi)
            .fold(self.class_psi, f32::max)
    }

    /// The largest shift of any mean, in standard deviations, without its sign.
    pub fn mean_max(&self) -> f32 {
        self.channels()
            .iter()
            .map(|channel| libm::fabsf(channel.mean))
            .fold(0.0, f32::max)
    }
}

fn shares<const N: usize>(counts: &[u32; N]) -> [f32; N] {
    let sum: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    counts.map(|count| {
        if sum == 0 {
            0.0
        } else {
            (f64::from(count) / sum as f64) as f32
        }
    })
}

/// [`psi`] with half a window added to every bin of either side, so that an empty bin is finite and
/// weighs less the fewer windows there are.
fn psi_of_shares(base: &[f32], base_count: f32, live: &[f32], live_count: f32) -> f32 {
    let mut smooth = [[0.0_f64; CLASSES_MAX]; 2];
    let bins = base.len().min(CLASSES_MAX);
    for (smooth, (shares, count)) in smooth
        .iter_mut()
        .zip([(base, base_count), (live, live_count)])
    {
        let count = f64::from(count.max(0.0));
        for (smooth, share) in smooth[..bins].iter_mut().zip(shares) {
            *smooth = (f64::from(share.max(0.0)) * count + 0.5) / (count + 0.5 * bins as f64);
        }
    }
    psi(&smooth[0][..bins], &smooth[1][..bins]) as f32
}
