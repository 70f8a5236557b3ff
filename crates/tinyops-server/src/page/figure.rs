//! Charts that tell how the fleet fares over time, from rows of the store.

use std::collections::BTreeMap;

use maud::Markup;
use tinyops_fleet::outcome::cost_of;
use tinyops_pipeline::worth::Prices;
use tinyops_store::alert::{Alert, AlertState};
use tinyops_store::outcome::Outcome;
use tinyops_store::rollout::{Rollout, RolloutState};

use super::part::Names;
use crate::chart::{LineChart, Marker, Series, Span, Tone, XAxis};

/// Points on a line at most: finer than the eye needs, coarser than single outcomes.
const BUCKETS: i64 = 60;

/// What outcomes say in one stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Bucket {
    judged: i64,
    right: i64,
    cost: f64,
}

/// Outcomes by stretches of time; a bucket's key is its middle in Unix milliseconds.
fn buckets(
    outcomes: &[Outcome],
    mut count: impl FnMut(&Outcome, &mut Bucket),
) -> BTreeMap<i64, Bucket> {
    let times = || outcomes.iter().map(|outcome| outcome.at.0);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return BTreeMap::new();
    };
    let width = ((last - first) / BUCKETS).max(1);
    let mut buckets = BTreeMap::<i64, Bucket>::new();
    for outcome in outcomes {
        let index = (outcome.at.0 - first) / width;
        let bucket = buckets
            .entry(first + index * width + width / 2)
            .or_default();
        bucket.judged += outcome.window_count;
        count(outcome, bucket);
    }
    buckets
}

/// The events that explain a bend in a line.
pub(super) struct Events<'a> {
    pub alerts: &'a [Alert],
    pub rollouts: &'a [Rollout],
}

impl Events<'_> {
    pub(super) fn markers(&self) -> Vec<Marker> {
        let started = self.rollouts.iter().map(|rollout| Marker {
            x: rollout.created_at.0 as f64,
            text: format!("{}@{} starts", rollout.model, rollout.version),
            tone: Tone::Series(0),
        });
        let ended = self.rollouts.iter().filter_map(|rollout| {
            let (what, tone) = match rollout.state {
                RolloutState::Done => ("on all", Tone::Good),
                RolloutState::Halted => ("halted", Tone::Bad),
                _ => return None,
            };
            Some(Marker {
                x: rollout.changed_at.0 as f64,
                text: format!("{}@{} {what}", rollout.model, rollout.version),
                tone,
            })
        });
        let mut markers: Vec<Marker> = started.chain(ended).collect();
        markers.sort_by(|a, b| a.x.total_cmp(&b.x));
        markers
    }

    /// One shade from the first alert to the last resolution, however many devices alarm.
    pub(super) fn spans(&self, until: f64) -> Vec<Span> {
        let opened = self.alerts.iter().map(|alert| alert.opened_at.0).min();
        let standing = self
            .alerts
            .iter()
            .any(|alert| alert.state != AlertState::Resolved);
        let resolved = self.alerts.iter().map(|alert| alert.changed_at.0).max();
        opened
            .map(|from| Span {
                from: from as f64,
                to: if standing {
                    until
                } else {
                    resolved.unwrap_or(from) as f64
                },
                text: "drift alert stands".to_owned(),
                tone: Tone::Bad,
            })
            .into_iter()
            .collect()
    }
}

/// Share of judged predictions that were right, over time.
pub(super) fn accuracy(outcomes: &[Outcome], events: &Events<'_>, goal: Option<f64>) -> Markup {
    let buckets = buckets(outcomes, |outcome, bucket| {
        if outcome.predicted == outcome.actual {
            bucket.right += outcome.window_count;
        }
    });
    let points: Vec<(f64, f64)> = buckets
        .iter()
        .map(|(at, bucket)| (*at as f64, bucket.right as f64 / bucket.judged as f64))
        .collect();
    let until = points.last().map_or(0.0, |point| point.0);
    LineChart {
        title: "Accuracy in the field",
        note: Some("share of predictions that later labels confirmed, whole fleet"),
        x: XAxis::Time,
        y: "accuracy",
        y_range: Some((points.iter().map(|point| point.1).fold(0.8, f64::min), 1.0)),
        series: vec![Series {
            name: "fleet".to_owned(),
            points,
            tone: Tone::Series(0),
            dashed: false,
        }],
        markers: events.markers(),
        spans: events.spans(until),
        threshold: goal.map(|goal| (goal, "goal")),
        width: 830.0,
        height: 270.0,
        empty: "No labels have come back yet. A device reports an outcome when someone tells it what was really \
                the case; `tinyops demo` shows them from simulated maintenance.",
    }
    .draw()
}

/// What wrong decisions cost per judged prediction, over time.
pub(super) fn cost(outcomes: &[Outcome], names: &Names, prices: &Prices) -> Markup {
    let buckets = buckets(outcomes, |outcome, bucket| {
        let cell = (outcome.actual as usize, outcome.predicted as usize);
        let labels = names.labels(outcome.model);
        let each = cost_of(outcome.model, cell, &labels, &|model, is, said| {
            prices.price(model, is, said)
        });
        bucket.cost += outcome.window_count as f64 * each;
    });
    let points = buckets
        .iter()
        .map(|(at, bucket)| (*at as f64, bucket.cost / bucket.judged as f64))
        .collect();
    LineChart {
        title: "Cost of wrong decisions",
        note: Some("false alarms and misses at the project's prices"),
        x: XAxis::Time,
        y: "cost per prediction",
        y_range: None,
        series: vec![Series {
            name: "cost".to_owned(),
            points,
            tone: Tone::Series(1),
            dashed: false,
        }],
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: None,
        width: 560.0,
        height: 200.0,
        empty: "Set `[train.costs]` (normal, false_alarm, miss) in tinyops.toml; \
                the cost is drawn once labels come back.",
    }
    .draw()
}

/// The share of right predictions among the newest `count` judged ones.
pub(super) fn recent_accuracy(outcomes: &[Outcome], count: i64) -> Option<f64> {
    let (mut right, mut judged) = (0, 0);
    for outcome in outcomes {
        if judged >= count {
            break;
        }
        judged += outcome.window_count;
        if outcome.predicted == outcome.actual {
            right += outcome.window_count;
        }
    }
    (judged > 0).then(|| right as f64 / judged as f64)
}
