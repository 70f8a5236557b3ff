//! When a stream has left its own past: pure arithmetic over summaries.
//!
//! A device's first reports are its baseline: their mean is its reference, and how they scatter around it,
//! pooled over the cohort, is the noise. Later reports are smoothed (an exponentially weighted mean of their
//! deviations) and held against what that noise alone would give. One signal per channel is its mean, one its
//! spread, one the shape of its histogram; one more is the predicted classes. A signal's score is its distance
//! in units of the threshold, so 1 alarms.
//!
//! # Source
//! `docs/monitoring.md`; the smoothing is Roberts, 1959, "Control chart tests based on geometric moving averages".

mod score;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tinyops_sketch::{BINS, Summary};

use score::{Law, Thresholds, crowd_score, score};

/// When a stream has drifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftPolicy {
    /// Reports of a device that make its baseline.
    pub baseline_reports: u32,
    /// Weight of the newest report in the smoothed stream.
    pub lambda: f64,
    /// Chance that a stable device alarms within [`HORIZON`] reports; 0.6 % keeps the realised rate below 1 %.
    pub false_alarm_share: f64,
    /// Reports of fewer windows are kept and not judged.
    pub window_count_min: u32,
    /// How far the whole cohort moves together without drift (weather, season), as a share of how far one
    /// device's reports move by themselves.
    pub common_share: f64,
    /// Score below which a standing alarm falls again.
    pub calm_score: f64,
}

impl Default for DriftPolicy {
    fn default() -> DriftPolicy {
        DriftPolicy {
            baseline_reports: 14,
            lambda: 0.2,
            false_alarm_share: 0.006,
            window_count_min: 4,
            common_share: 0.1,
            calm_score: 0.6,
        }
    }
}

/// Whether an alarm stands after a score, if it `was` standing before: it falls again only below `calm_score`.
pub fn stands(score: f64, was: bool, calm_score: f64) -> bool {
    score >= 1.0 || was && score >= calm_score
}

/// Reports within which [`DriftPolicy::false_alarm_share`] is counted.
pub const HORIZON: u32 = 30;

/// How many reports the quantisation and sampling noise weighs against those seen.
const PRIOR_FREEDOM: f64 = 4.0;

/// Which numbers a report gives: reports of another layout begin a new baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Monitored channels.
    pub channel_count: u8,
    /// Whether each has a histogram.
    pub has_shares: bool,
    /// Classes.
    pub class_count: u8,
    /// Whether they are of features that the device has moved back to training.
    pub is_restandardized: bool,
    /// Whether they were answered by a head of the device's own.
    pub has_own_head: bool,
}

/// What of a stream is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// The mean of a channel.
    Mean(u8),
    /// The spread of a channel.
    Spread(u8),
    /// The histogram of a channel.
    Shape(u8),
    /// The predicted classes.
    Classes,
}

/// One report as numbers that scatter alike: per channel mean, logarithm of the spread, and roots of the bin
/// shares; then roots of the class shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Which numbers.
    pub layout: Layout,
    /// The numbers.
    pub values: Vec<f32>,
    /// Windows that they stand for.
    pub window_count: f32,
}

/// What is remembered of one device.
#[derive(Clone, Debug, PartialEq)]
pub enum Memory {
    /// Its first reports, until there are enough.
    Learning(Vec<Point>),
    /// What is normal for it, and where it is now.
    Watching(Watching),
    /// Its features have been moved back to training: its reports make a new baseline, and until there are enough,
    /// what the model says is still held against what was normal before.
    Settling {
        /// What was normal, and how far reports of moved features are from it.
        before: Watching,
        /// Those reports.
        points: Vec<Point>,
    },
}

/// A device whose baseline is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Watching {
    /// Mean of the baseline's reports.
    pub reference: Point,
    /// Reports that made it.
    pub baseline_count: u32,
    /// Smoothed deviation from it.
    pub smoothed: Vec<f32>,
    /// Reports since.
    pub step_count: u32,
}

/// How reports of one cohort scatter around their own device's mean, and the cohort as one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Which numbers.
    pub layout: Layout,
    /// Sums of squared residuals of the baselines' reports.
    pub squares: Vec<f64>,
    /// Sums of their fourth powers: how much likelier far residuals are than the normal law has it.
    pub quartics: Vec<f64>,
    /// Degrees of freedom in them.
    pub freedom: f64,
    /// The cohort's current window: standardised residuals, added up.
    pub sums: Vec<f64>,
    /// The values themselves, added up.
    pub levels: Vec<f64>,
    /// Devices in the current window, and their scores.
    pub members: Vec<(u64, f32)>,
    /// Smoothed merged residuals.
    pub smoothed: Vec<f64>,
    /// Closed windows.
    pub step_count: u32,
    /// Mean values of the last closed window.
    pub last_levels: Vec<f32>,
    /// Devices in it.
    pub last_member_count: u32,
    /// What judging by it needs again and again.
    pub(crate) work: Workspace,
}

/// What follows from a pool and a policy, kept from one report to the next, and room for the numbers of a report. It says
/// nothing of the pool that the pool does not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    /// What the rest was worked out from: the numbers, and how much was known of them, which grows with all that is learnt.
    known: Option<(Layout, f64, DriftPolicy)>,
    thresholds: Thresholds,
    laws: Vec<Law>,
    variances: Vec<f64>,
    drifts: Vec<f64>,
    jumps: Vec<f64>,
    /// The devices of the pool's current window.
    members: HashSet<u64>,
}

impl PartialEq for Workspace {
    fn eq(&self, _: &Workspace) -> bool {
        true
    }
}

/// What a report, or a closed window of a cohort, says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// The largest score.
    pub score: f64,
    /// Each signal's score, largest first.
    pub signals: Vec<(Signal, f64)>,
    /// Of a cohort: how many of its devices alarm by themselves, in units of the count that alarms.
    pub crowd_score: f64,
    /// Of a cohort: devices in the window.
    pub member_count: u32,
}

impl Layout {
    /// The layout of a summary.
    pub fn of(summary: &Summary) -> Layout {
        Layout {
            channel_count: summary.channels().len() as u8,
            has_shares: summary
                .channels()
                .iter()
                .all(|channel| channel.shares.is_some()),
            class_count: summary.class_shares().len() as u8,
            is_restandardized: false,
            has_own_head: false,
        }
    }

    /// The same numbers, whatever they are of: how they scatter is one cohort's.
    pub fn as_numbers(self) -> Layout {
        Layout {
            is_restandardized: false,
            has_own_head: false,
            ..self
        }
    }

    /// How many numbers there are.
    pub fn len(self) -> usize {
        usize::from(self.channel_count) * self.stride() + usize::from(self.class_count)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Where a channel's numbers begin: its mean, then its spread, then its bins.
    pub fn channel(self, index: u8) -> usize {
        usize::from(index) * self.stride()
    }

    /// Where the classes begin.
    pub fn classes(self) -> usize {
        usize::from(self.channel_count) * self.stride()
    }

    fn stride(self) -> usize {
        2 + if self.has_shares { BINS } else { 0 }
    }

    fn signal_count(self) -> usize {
        usize::from(self.channel_count) * (2 + usize::from(self.has_shares))
            + usize::from(self.class_count > 1)
    }

    /// Appends the variance that quantisation and sampling alone give each number, so that one that never moved has some.
    fn add_floors(self, window_count: f32, floors: &mut Vec<f64>) {
        let sampling = 1.0 / f64::from(window_count.max(1.0));
        let step = |width: f64, codes: f64| (width / codes).powi(2) / 12.0;
        // The steps of frame M6H8, the coarsest that has histograms (`docs/formats/frames.md`).
        let (mean, spread) = (step(4.0, 63.0) + sampling, step(2.0, 63.0) + sampling / 2.0);
        let bin = step(std::f64::consts::FRAC_1_SQRT_2, 7.0) + sampling / 4.0;
        let class = step(1.0, 63.0) + sampling / 4.0;
        for _ in 0..self.channel_count {
            floors.extend([mean, spread]);
            floors.extend(std::iter::repeat_n(bin, self.stride() - 2));
        }
        floors.extend(std::iter::repeat_n(class, usize::from(self.class_count)));
    }
}

impl Point {
    /// The numbers of a summary.
    pub fn of(summary: &Summary) -> Point {
        let layout = Layout::of(summary);
        let mut values = Vec::with_capacity(layout.len());
        for channel in summary.channels() {
            values.extend([channel.mean, channel.ln_sd]);
            if layout.has_shares {
                values.extend(
                    channel
                        .shares
                        .unwrap_or_default()
                        .map(|share| share.max(0.0).sqrt()),
                );
            }
        }
        values.extend(
            summary
                .class_shares()
                .iter()
                .map(|share| share.max(0.0).sqrt()),
        );
        // What no summary should hold is taken for "as trained", so that one number cannot spoil the rest.
        values
            .iter_mut()
            .filter(|value| !value.is_finite())
            .for_each(|value| *value = 0.0);
        Point {
            layout,
            values,
            window_count: summary.count.clamp(0.0, 1e9),
        }
    }
}

impl Memory {
    /// Nothing yet.
    pub fn new() -> Memory {
        Memory::Learning(Vec::new())
    }

    /// Takes a report: it joins the baseline, or is judged. `pool` gives and takes the cohort's noise.
    pub fn push(
        &mut self,
        device: u64,
        point: &Point,
        pool: &mut Pool,
        policy: &DriftPolicy,
    ) -> Option<Judgement> {
        match self {
            Memory::Learning(points) => {
                if points
                    .first()
                    .is_some_and(|first| first.layout != point.layout)
                {
                    points.clear();
                }
                points.push(point.clone());
                if points.len() >= policy.baseline_reports.max(2) as usize {
                    *self = Memory::Watching(pool.learn(points));
                }
                None
            }
            Memory::Watching(watching) if watching.is_moved_by(point) => {
                let mut before = watching.clone();
                before.begin_smoothing();
                before.smooth(point, policy.lambda);
                *self = Memory::Settling {
                    before,
                    points: vec![point.clone()],
                };
                None
            }
            // Without the cohort's noise in these numbers it cannot be judged: it learns with the cohort.
            Memory::Watching(watching)
                if watching.reference.layout != point.layout
                    || pool.layout != point.layout.as_numbers() =>
            {
                *self = Memory::Learning(vec![point.clone()]);
                None
            }
            Memory::Watching(watching) => Some(watching.push(device, point, pool, policy)),
            Memory::Settling { before, points } if before.is_moved_by(point) => {
                before.smooth(point, policy.lambda);
                points.push(point.clone());
                if points.len() >= policy.baseline_reports.max(2) as usize {
                    *self = Memory::Watching(pool.learn(points));
                }
                None
            }
            // After a reset features are as they were, until the device has learnt again.
            Memory::Settling { before, .. } if before.reference.layout == point.layout => {
                let mut before = before.clone();
                before.begin_smoothing();
                *self = Memory::Watching(before);
                self.push(device, point, pool, policy)
            }
            Memory::Settling { .. } => {
                *self = Memory::Learning(vec![point.clone()]);
                None
            }
        }
    }

    /// How far what the model says is from what was normal before features were moved; `None` unless that is new, and
    /// for a report without such signals. `is_answer` says which signals are of what it says: those of its inputs
    /// were moved on purpose.
    pub fn since_moved(
        &self,
        pool: &Pool,
        policy: &DriftPolicy,
        is_answer: impl Fn(Signal) -> bool,
    ) -> Option<Judgement> {
        let Memory::Settling { before, .. } = self else {
            return None;
        };
        let layout = before.reference.layout;
        if pool.layout != layout.as_numbers() {
            return None;
        }
        let mut work = Workspace::default();
        work.prepare(pool, policy);
        pool.put_variances(before.reference.window_count, &mut work.variances);
        before.put_drifts(&work.variances, policy, &mut work.drifts);
        let thresholds = Thresholds::new(layout, policy);
        let rules = [(&work.drifts[..], thresholds.smoothed)];
        let mut signals = score(layout, &work.laws, &rules);
        signals.retain(|(signal, _)| is_answer(*signal));
        (!signals.is_empty()).then(|| Judgement::of(signals))
    }

    /// Reports of features that the device has moved back to training, as far as they are remembered as such.
    pub fn moved_count(&self) -> u32 {
        let counted = |layout: Layout, count: usize| match layout.is_restandardized {
            true => count as u32,
            false => 0,
        };
        match self {
            Memory::Learning(points) | Memory::Settling { points, .. } => points
                .first()
                .map_or(0, |first| counted(first.layout, points.len())),
            Memory::Watching(watching) => {
                let count = watching.baseline_count + watching.step_count;
                counted(watching.reference.layout, count as usize)
            }
        }
    }

    /// The mean deviation of a channel from training, in its standard deviations, as far as it is known.
    pub fn level(&self, channel: u8) -> Option<f32> {
        match self {
            Memory::Learning(points) | Memory::Settling { points, .. } => {
                let first = points.first()?;
                let index = (channel < first.layout.channel_count)
                    .then(|| first.layout.channel(channel))?;
                Some(
                    points.iter().map(|point| point.values[index]).sum::<f32>()
                        / points.len() as f32,
                )
            }
            Memory::Watching(watching) => {
                let layout = watching.reference.layout;
                let index = (channel < layout.channel_count).then(|| layout.channel(channel))?;
                Some(watching.reference.values[index] + watching.smoothed[index])
            }
        }
    }

    /// Which numbers it remembers; `None` before any report.
    pub fn layout(&self) -> Option<Layout> {
        let layout = match self {
            Memory::Learning(points) => points.first()?.layout,
            Memory::Watching(watching)
            | Memory::Settling {
                before: watching, ..
            } => watching.reference.layout,
        };
        Some(layout.as_numbers())
    }

    /// Windows that a report of the device stands for, once its baseline is known.
    pub fn window_count(&self) -> Option<f64> {
        match self {
            Memory::Learning(_) => None,
            Memory::Watching(watching)
            | Memory::Settling {
                before: watching, ..
            } => Some(f64::from(watching.reference.window_count)),
        }
    }

    /// Reports taken so far.
    pub fn report_count(&self) -> u32 {
        match self {
            Memory::Learning(points) | Memory::Settling { points, .. } => points.len() as u32,
            Memory::Watching(watching) => watching.baseline_count + watching.step_count,
        }
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Watching {
    /// Whether a report is of the same numbers, of features that have been moved back to training since.
    fn is_moved_by(&self, point: &Point) -> bool {
        let (own, other) = (self.reference.layout, point.layout);
        other.is_restandardized && !own.is_restandardized && other.as_numbers() == own
    }

    fn deviation(&self, point: &Point, index: usize) -> f64 {
        f64::from(point.values[index] - self.reference.values[index])
    }

    fn begin_smoothing(&mut self) {
        self.smoothed.fill(0.0);
        self.step_count = 0;
    }

    /// Takes a report into the smoothed deviation.
    fn smooth(&mut self, point: &Point, lambda: f64) {
        self.step_count += 1;
        for index in 0..self.smoothed.len() {
            let deviation = self.deviation(point, index);
            let smoothed = &mut self.smoothed[index];
            *smoothed += (lambda * (deviation - f64::from(*smoothed))) as f32;
        }
    }

    /// Puts down the smoothed deviation in units of what noise of these variances would give after as many reports.
    fn put_drifts(&self, variances: &[f64], policy: &DriftPolicy, drifts: &mut Vec<f64>) {
        let of_reference = 1.0 / f64::from(self.baseline_count);
        let scale = smoothed_variance(policy.lambda, self.step_count, 1.0, of_reference);
        let drift =
            |(smoothed, variance): (&f32, &f64)| f64::from(*smoothed) / (variance * scale).sqrt();
        drifts.clear();
        drifts.extend(self.smoothed.iter().zip(variances).map(drift));
    }

    fn push(
        &mut self,
        device: u64,
        point: &Point,
        pool: &mut Pool,
        policy: &DriftPolicy,
    ) -> Judgement {
        self.smooth(point, policy.lambda);
        let mut work = std::mem::take(&mut pool.work);
        let thresholds = work.prepare(pool, policy);
        pool.put_variances(self.reference.window_count, &mut work.variances);
        let jump_variance = 1.0 + 1.0 / f64::from(self.baseline_count);
        let jump = |(index, variance): (usize, &f64)| {
            self.deviation(point, index) / (variance * jump_variance).sqrt()
        };
        work.jumps.clear();
        let jumps = work.variances.iter().enumerate().map(jump);
        work.jumps.extend(jumps);
        self.put_drifts(&work.variances, policy, &mut work.drifts);
        let rules = [
            (&work.drifts[..], thresholds.smoothed),
            (&work.jumps[..], thresholds.jump),
        ];
        let judgement = Judgement::of(score(self.reference.layout, &work.laws, &rules));
        pool.join(device, &work.jumps, point, judgement.score);
        work.members.insert(device);
        pool.work = work;
        judgement
    }
}

/// Variance of a smoothed deviation after `steps`, in units of the noise of one report: that of the reports
/// themselves, and that of the reference, which does not average out.
fn smoothed_variance(lambda: f64, steps: u32, of_reports: f64, of_reference: f64) -> f64 {
    let left = (1.0 - lambda).powi(steps.min(10_000) as i32);
    of_reports * lambda / (2.0 - lambda) * (1.0 - left * left) + of_reference * (1.0 - left).powi(2)
}

impl Pool {
    /// Knows nothing of how reports of this layout scatter.
    pub fn new(layout: Layout) -> Pool {
        let len = layout.len();
        Pool {
            layout: layout.as_numbers(),
            squares: vec![0.0; len],
            quartics: vec![0.0; len],
            freedom: 0.0,
            sums: vec![0.0; len],
            levels: vec![0.0; len],
            members: Vec::new(),
            smoothed: vec![0.0; len],
            step_count: 0,
            last_levels: Vec::new(),
            last_member_count: 0,
            work: Workspace::default(),
        }
    }

    /// Makes a baseline of a device's first reports, and adds how they scatter to the cohort's noise.
    fn learn(&mut self, points: &[Point]) -> Watching {
        let layout = points[0].layout;
        if self.layout != layout.as_numbers() {
            *self = Pool::new(layout);
        }
        let count = points.len() as f64;
        let mut reference = points[0].clone();
        for index in 0..layout.len() {
            let value = |point: &Point| f64::from(point.values[index]);
            let mean = points.iter().map(value).sum::<f64>() / count;
            for point in points {
                let square = (value(point) - mean).powi(2);
                self.squares[index] += square;
                self.quartics[index] += square * square;
            }
            reference.values[index] = mean as f32;
        }
        reference.window_count =
            points.iter().map(|point| point.window_count).sum::<f32>() / count as f32;
        self.freedom += count - 1.0;
        Watching {
            smoothed: vec![0.0; layout.len()],
            reference,
            baseline_count: points.len() as u32,
            step_count: 0,
        }
    }

    /// Puts down the variance of each number of a report around its device's mean.
    fn put_variances(&self, window_count: f32, variances: &mut Vec<f64>) {
        variances.clear();
        self.layout.add_floors(window_count, variances);
        for (variance, squares) in variances.iter_mut().zip(&self.squares) {
            *variance = (PRIOR_FREEDOM * *variance + squares) / (PRIOR_FREEDOM + self.freedom);
        }
    }

    /// Puts down the law of each number of a report: Student's, with the kurtosis that the baselines' reports show, or
    /// with the degrees of freedom that its variance is known by, where those are fewer.
    ///
    /// A day of few spells, and devices of which some scatter more than others, give far residuals more often
    /// than the normal law has it; thresholds far out in its tail would be crossed by chance.
    fn put_laws(&self, laws: &mut Vec<Law>) {
        let freedom = self.freedom + PRIOR_FREEDOM;
        let law = |(square, quartic): (&f64, &f64)| {
            let excess = if *square > 0.0 {
                self.freedom * quartic / (square * square) - 3.0
            } else {
                0.0
            };
            let tail = if excess > 0.0 {
                4.0 + 6.0 / excess
            } else {
                f64::INFINITY
            };
            Law::of(freedom, tail)
        };
        laws.clear();
        laws.extend(self.squares.iter().zip(&self.quartics).map(law));
    }

    /// Adds a judged report to the cohort's current window.
    fn join(&mut self, device: u64, residuals: &[f64], point: &Point, score: f64) {
        self.members.push((device, score as f32));
        for (index, residual) in residuals.iter().enumerate() {
            self.sums[index] += residual;
            self.levels[index] += f64::from(point.values[index]);
        }
    }

    /// Closes the current window if `device` is in it already, so that each device is in each window once.
    ///
    /// Call it before the device's report is pushed. Windows of fewer than three devices say nothing of a cohort.
    pub fn close_before(&mut self, device: u64, policy: &DriftPolicy) -> Option<Judgement> {
        if self.work.members.len() != self.members.len() {
            self.work.members.clear();
            let members = self.members.iter().map(|(member, _)| *member);
            self.work.members.extend(members);
        }
        if !self.work.members.contains(&device) {
            return None;
        }
        self.work.members.clear();
        let members = std::mem::take(&mut self.members);
        let count = members.len() as f64;
        let merged: Vec<f64> = self
            .sums
            .iter_mut()
            .map(|sum| std::mem::take(sum) / count.sqrt())
            .collect();
        self.last_levels = self
            .levels
            .iter_mut()
            .map(|level| (std::mem::take(level) / count) as f32)
            .collect();
        self.last_member_count = members.len() as u32;
        if members.len() < 3 {
            return None;
        }
        self.step_count += 1;
        // The devices' references err independently, so that part of the variance is as for one device.
        let baseline = f64::from(policy.baseline_reports.max(2));
        let own = baseline / (baseline + 1.0);
        let common = 1.0 + count * policy.common_share.powi(2);
        let variance = smoothed_variance(policy.lambda, self.step_count, own, 1.0 - own) * common;
        let mut drifts = Vec::with_capacity(merged.len());
        let mut jumps = Vec::with_capacity(merged.len());
        for (smoothed, merged) in self.smoothed.iter_mut().zip(&merged) {
            *smoothed += policy.lambda * (merged - *smoothed);
            drifts.push(*smoothed / variance.sqrt());
            jumps.push(merged / common.sqrt());
        }
        // A sum over devices is close to normal, whatever the law of each.
        let laws = vec![Law::of(self.freedom + PRIOR_FREEDOM, f64::INFINITY); self.layout.len()];
        let thresholds = Thresholds::new(self.layout, policy);
        let rules = [
            (&drifts[..], thresholds.smoothed),
            (&jumps[..], thresholds.jump),
        ];
        let mut judgement = Judgement::of(score(self.layout, &laws, &rules));
        judgement.member_count = members.len() as u32;
        judgement.crowd_score = crowd_score(&members, policy);
        judgement.score = judgement.score.max(judgement.crowd_score);
        Some(judgement)
    }

    /// Logarithms of the spreads over training's in the last closed window, by channel.
    pub fn last_ln_sds(&self) -> Vec<f32> {
        let spread = |channel: u8| {
            self.last_levels
                .get(self.layout.channel(channel) + 1)
                .copied()
        };
        (0..self.layout.channel_count).filter_map(spread).collect()
    }
}

impl Workspace {
    /// Works out what the pool has not said before; answers with the thresholds.
    fn prepare(&mut self, pool: &Pool, policy: &DriftPolicy) -> Thresholds {
        let is_known = self.known.as_ref().is_some_and(|(layout, freedom, of)| {
            (*layout, *freedom) == (pool.layout, pool.freedom) && of == policy
        });
        if !is_known {
            self.known = Some((pool.layout, pool.freedom, policy.clone()));
            self.thresholds = Thresholds::new(pool.layout, policy);
            pool.put_laws(&mut self.laws);
        }
        self.thresholds
    }
}

impl Judgement {
    fn of(mut signals: Vec<(Signal, f64)>) -> Judgement {
        signals.sort_by(|a, b| b.1.total_cmp(&a.1));
        let score = signals.first().map_or(0.0, |(_, score)| *score);
        Judgement {
            score,
            signals,
            ..Judgement::default()
        }
    }

    /// The signals that alarm.
    pub fn fired(&self) -> impl Iterator<Item = Signal> + '_ {
        self.signals
            .iter()
            .filter(|(_, score)| *score >= 1.0)
            .map(|(signal, _)| *signal)
    }
}
