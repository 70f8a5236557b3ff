//! The story of a bad model: it passes its gates, goes out over three kinds of links, and is halted and taken back.

use std::{fmt::Write as _, time::Instant};

use serde::Serialize;
use tinyops_fleet::plan::{Plan as RolloutPlan, Strategy};

use super::{
    DAY, Heard, Opened, PATIENCE_DAYS,
    fans::{Kind, State},
    folder::{self, Mounting},
    model_id, policy,
    score::Accuracy,
    train,
};
use crate::failure::Failure;

/// Days that the fleet runs with the good model before the bad one comes.
const STEADY_DAYS: u32 = 6;
/// Share of the fleet that the bad model goes to first.
const FIRST_WAVE: f64 = 0.25;

/// Reports of each fan, one a day, before more get it.
const FIRST_WAVE_REPORTS: u32 = 4;

/// What came of it; `tinyops demo --ship --json` prints this.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shipped {
    /// Whether the good model went everywhere, the bad one was halted, and every fan is back on the good one.
    pub(crate) safe: bool,
    /// Why not, if the story ended early.
    pub(crate) failure: Option<String>,
    model: String,
    good_version: u32,
    bad_version: Option<u32>,
    /// Which metric halted the bad one, the effect and its interval.
    halted_by: Option<String>,
    /// Days from the start of the bad model's rollout to its halt, and from there until all were back.
    days_to_halt: Option<f64>,
    days_to_return: Option<f64>,
    /// Accuracy against the simulator's truth: of the good model, and of the bad one where it ran.
    good: Accuracy,
    bad: Accuracy,
    links: Vec<OnLink>,
    virtual_days: f64,
    seconds: f64,
}

/// What happened over one kind of link.
#[derive(Clone, Debug, Serialize)]
struct OnLink {
    link: String,
    fans: usize,
    /// Fans on which the good model was at work, the bad one was, and the good one is now.
    updated: usize,
    exposed: usize,
    back: usize,
    bytes_up_per_fan: f64,
    bytes_down_per_fan: f64,
}

impl Opened {
    /// Ships a good model and a bad one.
    pub(super) async fn ship(&mut self) -> Result<Shipped, Failure> {
        let begun = Instant::now();
        let good = self.version;
        let mut shipped = Shipped {
            safe: false,
            failure: None,
            model: self.name().to_owned(),
            good_version: good,
            bad_version: None,
            halted_by: None,
            days_to_halt: None,
            days_to_return: None,
            good: Accuracy::default(),
            bad: Accuracy::default(),
            links: Vec::new(),
            virtual_days: 0.0,
            seconds: 0.0,
        };

        self.send_out(good, None).await?;
        let wait = |heard: &Heard| matches!(heard, Heard::RolloutDone | Heard::RolloutHalted(_));
        match self.stage.until(0.0, wait).await {
            Some(Heard::RolloutDone) => {}
            Some(Heard::RolloutHalted(why)) => {
                shipped.failure = Some(format!("the good model was halted: {why}"));
                return Ok(self.close(shipped, begun).await);
            }
            _ => {
                shipped.failure = Some("the good model did not reach every fan".to_owned());
                return Ok(self.close(shipped, begun).await);
            }
        }
        let steady_from = self.stage.fans.hour;
        self.stage.live(STEADY_DAYS * DAY, |_| 0.0).await;
        let good_id = model_id(&self.workshop, good).await;
        shipped.good = self
            .stage
            .score(steady_from, self.stage.fans.hour, good_id)
            .fleet;
        self.stage.story.say(format_args!(
            "Day {}: the model is right on {} of all windows",
            self.stage.fans.hour / DAY,
            shipped.good.text()
        ));

        self.stage
            .story
            .head("New recordings: somebody has turned the sensor on the test bench");
        let bad = self.train_bad().await?;
        shipped.bad_version = Some(bad);
        let plan = RolloutPlan {
            reports: FIRST_WAVE_REPORTS,
            strategy: Strategy::Staged {
                waves: vec![FIRST_WAVE, 1.0],
            },
            ..policy(0).rollout
        };
        let sent_at = self.stage.fans.hour;
        self.send_out(bad, Some(plan)).await?;
        match self.stage.until(0.0, wait).await {
            Some(Heard::RolloutHalted(why)) => shipped.halted_by = Some(why),
            Some(_) => shipped.failure = Some("the bad model went everywhere".to_owned()),
            None => shipped.failure = Some("nothing was noticed of the bad model".to_owned()),
        }
        let halted_at = self.stage.fans.hour;
        let bad_id = model_id(&self.workshop, bad).await;
        shipped.bad = self.stage.score(sent_at, halted_at, bad_id).fleet;
        if shipped.failure.is_some() {
            return Ok(self.close(shipped, begun).await);
        }
        let days = |hours: u32| f64::from(hours) / f64::from(DAY);
        shipped.days_to_halt = Some(days(halted_at - sent_at));

        // Everyone who had it goes back, each over its own link. Whoever was about to install it when it was halted still
        // does, so that all have to be back for a while.
        let (mut back_at, mut is_back) = (None, false);
        for _ in 0..PATIENCE_DAYS * 4 {
            self.stage.live(DAY / 4, |_| 0.0).await;
            let states = self.stage.fans.settle().await;
            let are_back = states.iter().all(|state| state.model == good_id);
            is_back = are_back && back_at.is_some();
            if is_back {
                break;
            }
            back_at = are_back.then_some(self.stage.fans.hour);
        }
        if let (true, Some(back_at)) = (is_back, back_at) {
            let took = back_at - halted_at;
            shipped.days_to_return = Some(days(took));
            self.stage.story.say(format_args!(
                "Day {}: every fan runs {}@{good} again",
                self.stage.fans.hour / DAY,
                self.name()
            ));
        } else {
            shipped.failure = Some("not every fan went back to the good model".to_owned());
        }
        Ok(self.close(shipped, begun).await)
    }

    /// Trains on what a bench measures whose sensor is turned: its gates know no better.
    async fn train_bad(&mut self) -> Result<u32, Failure> {
        let root = self.workshop.root.clone();
        let record =
            tokio::task::spawn_blocking(move || folder::record(&root, 2, Mounting::Turned));
        record
            .await
            .map_err(|error| Failure::environment("recording stopped").cause(&error))??;
        let version = train(&self.workshop, &self.stage.story, "the bad model").await?;
        self.stage.story.say(format_args!(
            "{}@{version} passed every gate: on recordings of that bench it is right",
            self.name()
        ));
        Ok(version)
    }

    async fn close(&mut self, mut shipped: Shipped, begun: Instant) -> Shipped {
        let states = self.stage.fans.settle().await;
        let id_of = async |version: Option<u32>| match version {
            Some(version) => model_id(&self.workshop, version).await,
            None => None,
        };
        let good = id_of(Some(shipped.good_version)).await;
        let bad = id_of(shipped.bad_version).await;
        let fans_with = |model: Option<_>| {
            let score = self.stage.fans.score.lock();
            let score = score.expect("a score is pushed whole");
            model.map(|model| score.fans(model)).unwrap_or_default()
        };
        let (updated, exposed) = (fans_with(good), fans_with(bad));
        for link in [Kind::Mqtt, Kind::Serial, Kind::Lorawan] {
            let members: Vec<&State> = states.iter().filter(|state| state.link == link).collect();
            let count = members.len().max(1) as f64;
            let on_link = |fan: &&u32| self.doors.kind(**fan) == link;
            let mean = |of: fn(&State) -> u64| {
                members.iter().map(|state| of(state)).sum::<u64>() as f64 / count
            };
            shipped.links.push(OnLink {
                link: link.to_string(),
                fans: members.len(),
                updated: updated.iter().filter(on_link).count(),
                exposed: exposed.iter().filter(on_link).count(),
                back: members.iter().filter(|state| state.model == good).count(),
                bytes_up_per_fan: mean(|state| state.traffic.up_bytes),
                bytes_down_per_fan: mean(|state| state.traffic.down_bytes),
            });
        }
        shipped.safe = shipped.failure.is_none();
        shipped.virtual_days = f64::from(self.stage.fans.hour) / f64::from(DAY);
        shipped.seconds = begun.elapsed().as_secs_f64();
        shipped
    }
}

impl Shipped {
    /// What a person reads.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "\nLink       fans  got @{}  ran the bad one  run @{} now   bytes up  bytes down, a fan",
            self.good_version, self.good_version
        );
        for on in &self.links {
            let _ = writeln!(
                out,
                "  {:<8} {:>4}  {:>6}  {:>15}  {:>10}   {:>8.0}  {:>10.0}",
                on.link,
                on.fans,
                on.updated,
                on.exposed,
                on.back,
                on.bytes_up_per_fan,
                on.bytes_down_per_fan
            );
        }
        let _ = writeln!(
            out,
            "\n  right windows: {} with {}@{}, {} where the bad one ran",
            self.good.text(),
            self.model,
            self.good_version,
            self.bad.text()
        );
        if let (Some(why), Some(halt), Some(back)) =
            (&self.halted_by, self.days_to_halt, self.days_to_return)
        {
            let _ = writeln!(
                out,
                "  halted after {halt:.1} days: {why}\n  every fan was back after {back:.1} more"
            );
        }
        let _ = writeln!(
            out,
            "  {:.0} virtual days in {:.0} s",
            self.virtual_days, self.seconds
        );
        if let Some(failure) = &self.failure {
            let _ = writeln!(out, "  the fleet was not safe: {failure}");
        }
        out
    }
}
