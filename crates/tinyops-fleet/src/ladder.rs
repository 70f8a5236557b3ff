//! The ladder: what is done about a drift, from the repair that costs devices nothing to the one that costs them windows.
//! A pure machine: from a state and an event to a state and actions. It reads no clock and no store; `repair.rs` brings
//! it what is known, keeps what it decides, and does what it asks for.
//!
//! | level | rung | devices send |
//! |---|---|---|
//! | 0 | features moved back to training, on the devices | nothing |
//! | 1 | heads of devices' own, from labels that they have | nothing |
//! | 2 | one round of sums, a new head from them | sums |
//! | 3 | few windows for an annotator, a full training | sealed windows |
//!
//! Each is tried where the project asks for it and its bytes fit the budget. What a pipeline makes goes through the gates
//! and a rollout, and is judged by labels that came later than all that it was made from.

mod event;
mod policy;

use serde::{Deserialize, Serialize};

pub use self::event::{Action, Event, Offer, Orders, Shipped, Standing};
pub use self::policy::{BUDGET_MS, RepairPolicy, masked_round_bytes, order_bytes, round_bytes};
use crate::episode::Judged;
use crate::restandardize::Outcome;

/// A repair of the ladder, the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Level 0: devices move their features back to training.
    Restandardize,
    /// Level 1: devices answer by heads of their own.
    OwnHeads,
    /// Level 2: a new head from one round of sums.
    Round,
    /// Level 3: a full training on windows that an annotator has labelled.
    Windows,
}

impl Rung {
    /// Every rung, the cheapest first.
    pub const ALL: [Rung; 4] = [
        Rung::Restandardize,
        Rung::OwnHeads,
        Rung::Round,
        Rung::Windows,
    ];

    /// Its level, 0 to 3.
    #[must_use]
    pub fn level(self) -> u8 {
        self as u8
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Rung::Restandardize => "features moved back on the devices",
            Rung::OwnHeads => "heads of devices' own",
            Rung::Round => "a round of sums",
            Rung::Windows => "windows for an annotator",
        }
    }

    fn next(self) -> Option<Rung> {
        Rung::ALL.get(usize::from(self.level()) + 1).copied()
    }
}

/// Where a repair stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Phase {
    /// The next rung is to be chosen, this one or a dearer one.
    Choosing {
        /// The cheapest that has not been tried.
        next: Rung,
    },
    /// A rung was begun, and what it needs is being asked for; never kept.
    Beginning {
        /// Which.
        rung: Rung,
    },
    /// Devices help themselves.
    OnDevices {
        /// By features moved, or by heads of their own.
        rung: Rung,
    },
    /// Devices are asked for sums.
    Gathering {
        /// The round.
        round: i64,
    },
    /// Windows are ordered, and an annotator's labels are awaited.
    Labelling {
        /// The first order, and the last.
        orders: (i64, i64),
        /// Whether it was told that all parcels are here that will be.
        is_told: bool,
    },
    /// The pipeline is asked.
    Running {
        /// What for.
        rung: Rung,
        /// By which trigger.
        trigger: i64,
    },
    /// A version has passed every gate and goes out.
    Shipping {
        /// What made it.
        rung: Rung,
        /// The version.
        version: u32,
    },
    /// It is everywhere, and later labels judge it.
    Judging {
        /// What made it.
        rung: Rung,
        /// The version.
        version: u32,
        /// Its rollout.
        rollout: i64,
    },
    /// It is over.
    Over {
        /// How it ended.
        end: End,
    },
}

/// How a repair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The model is right as often as before, or the devices' own checks say so.
    Repaired,
    /// A new version runs, and too few labels came to say whether it repairs anything; no alarm stands.
    Unjudged,
    /// Nothing is left that may be tried.
    Unrepaired,
    /// The alerts were over before anything was sent out.
    AlertsOver,
    /// A person has stopped it.
    Stopped,
}

impl End {
    /// The word that is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            End::Repaired => "repaired",
            End::Unjudged => "unjudged",
            End::Unrepaired => "unrepaired",
            End::AlertsOver => "alerts-over",
            End::Stopped => "stopped",
        }
    }
}

/// One step of a repair, as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Which rung it is of, if of one.
    pub rung: Option<Rung>,
    /// What happened, in a sentence.
    pub what: String,
}

/// A repair, with everything that its next step depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// Why it began: who has drifted.
    pub why: String,
    /// The cohort that is asked for windows, if one alone has drifted.
    pub cohort: Option<String>,
    /// Whether training was advised from the start, as heads had been solved anew often enough.
    pub wants_training: bool,
    /// What it should be right about: a share of windows, and what says so.
    pub target: Option<f64>,
    /// What the newest version that was kept is right about.
    pub best: Option<f64>,
    /// The versions that were kept, and what made each.
    pub kept: Vec<(Rung, u32)>,
    /// Whether a version was sent out: from then on alerts tell of it and no more of what began the repair.
    pub has_shipped: bool,
    /// Bytes that a device has sent for it, as far as they were counted.
    pub device_bytes: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// What has happened.
    pub steps: Vec<Step>,
}

impl Ladder {
    /// A repair that begins.
    #[must_use]
    pub fn begin(
        why: String,
        cohort: Option<String>,
        wants_training: bool,
        target: Option<(f64, String)>,
        now_ms: i64,
    ) -> Ladder {
        let mut what = format!("a repair begins: {why}");
        match &target {
            Some((share, from)) => {
                what += &format!("; it is to be right about {share:.3}, {from}");
            }
            None => what += "; nothing tells how right it was before",
        }
        let next = match wants_training {
            true => Rung::Windows,
            false => Rung::Restandardize,
        };
        Ladder {
            why,
            cohort,
            wants_training,
            target: target.map(|(share, _)| share),
            best: None,
            kept: Vec::new(),
            has_shipped: false,
            device_bytes: 0,
            phase: Phase::Choosing { next },
            since_ms: now_ms,
            steps: vec![Step {
                at_ms: now_ms,
                rung: None,
                what,
            }],
        }
    }

    /// How it ended, if it is over.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Over { end } => Some(end),
            _ => None,
        }
    }

    /// The rung that is being tried.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        match self.phase {
            Phase::Choosing { .. } | Phase::Over { .. } => None,
            Phase::Beginning { rung }
            | Phase::OnDevices { rung }
            | Phase::Running { rung, .. }
            | Phase::Shipping { rung, .. }
            | Phase::Judging { rung, .. } => Some(rung),
            Phase::Gathering { .. } => Some(Rung::Round),
            Phase::Labelling { .. } => Some(Rung::Windows),
        }
    }

    /// Where it stands, in a few words.
    #[must_use]
    pub fn state_words(&self) -> String {
        match &self.phase {
            Phase::Choosing { next } => format!("waits to try level {}", next.level()),
            Phase::Beginning { rung } => format!("begins level {}", rung.level()),
            Phase::OnDevices { .. } => "devices help themselves".to_owned(),
            Phase::Gathering { round } => format!("round {round}"),
            Phase::Labelling { .. } => "awaits labels".to_owned(),
            Phase::Running { trigger, .. } => format!("trigger {trigger}"),
            Phase::Shipping { version, .. } => format!("version {version} goes out"),
            Phase::Judging { version, .. } => format!("labels judge version {version}"),
            Phase::Over { end } => end.word().to_owned(),
        }
    }

    /// The next state, and what to do. An event that does not belong to the phase changes nothing.
    #[must_use]
    pub fn step(
        mut self,
        event: Event,
        policy: &RepairPolicy,
        now_ms: i64,
    ) -> (Ladder, Vec<Action>) {
        let waited = now_ms - self.since_ms;
        let actions = match (self.phase.clone(), event) {
            (Phase::Over { .. }, _) => Vec::new(),
            (_, Event::Stop { by, why }) => {
                self.over(End::Stopped, format!("{by} ends it: {why}"), now_ms)
            }
            (
                Phase::Choosing { next },
                Event::Look {
                    standing,
                    offers,
                    other_bytes,
                    trains_at_once,
                },
            ) => match standing {
                Standing::Over if !self.has_shipped => self.over(
                    End::AlertsOver,
                    "no alert stands any more".to_owned(),
                    now_ms,
                ),
                Standing::Muted if !self.has_shipped => Vec::new(),
                _ => self.choose(next, offers, other_bytes, trains_at_once, policy, now_ms),
            },
            (Phase::OnDevices { rung }, Event::OnDevices(outcome)) => match outcome {
                Outcome::Waits => Vec::new(),
                Outcome::Fell => {
                    let what = match rung {
                        Rung::OwnHeads => {
                            "devices answer by heads of their own, which labels that no head was solved from found \
                             no worse, and none of them alarms"
                        }
                        _ => "features were moved back, and the model says what it said before",
                    };
                    self.over(End::Repaired, what.to_owned(), now_ms)
                }
                Outcome::Stands => self.climb(rung, "it was not enough", now_ms),
            },
            (Phase::Beginning { .. }, Event::RoundOpened(round)) => {
                let what = format!("round {round} asks devices for sums");
                self.go(Phase::Gathering { round }, what, now_ms)
            }
            (
                Phase::Gathering { .. },
                Event::RoundOver {
                    trigger,
                    device_bytes,
                    what,
                },
            ) => {
                self.device_bytes += device_bytes;
                match trigger {
                    Some(trigger) => {
                        let rung = Rung::Round;
                        self.go(Phase::Running { rung, trigger }, what, now_ms)
                    }
                    None => self.climb(Rung::Round, &what, now_ms),
                }
            }
            (Phase::Beginning { .. }, Event::Ordered { orders, count }) => {
                let what = format!(
                    "{count} devices are asked for {} of their next {} windows each, sealed for the annotator",
                    policy.windows, policy.windows_of
                );
                let is_told = false;
                self.go(Phase::Labelling { orders, is_told }, what, now_ms)
            }
            (Phase::Beginning { rung }, Event::NotOrdered(why)) => self.climb(rung, &why, now_ms),
            (Phase::Labelling { orders, is_told }, Event::Orders(seen)) => {
                self.label(orders, is_told, &seen, policy, waited, now_ms)
            }
            (Phase::Beginning { rung }, Event::Asked(trigger)) => {
                let what =
                    format!("trigger {trigger} asks for training: a new head did not repair it");
                self.go(Phase::Running { rung, trigger }, what, now_ms)
            }
            (Phase::Running { rung, .. }, Event::RunOver { version, what }) => match version {
                Some(version) => self.go(Phase::Shipping { rung, version }, what, now_ms),
                None => self.climb(rung, &what, now_ms),
            },
            (Phase::Shipping { rung, version }, Event::Shipped(seen)) => match seen {
                Shipped::NotYet(_) | Shipped::Open if waited < policy.rollout_within_ms => {
                    Vec::new()
                }
                Shipped::NotYet(why) => {
                    let what = format!("version {version} was rolled out to nobody: {why}");
                    self.over(End::Unrepaired, what, now_ms)
                }
                Shipped::Open => {
                    let what =
                        format!("version {version} is not everywhere, and no longer waited for");
                    self.over(End::Unrepaired, what, now_ms)
                }
                Shipped::Done(rollout) => {
                    self.has_shipped = true;
                    let what = format!(
                        "version {version} is everywhere; labels of {} windows are awaited",
                        policy.verdict_windows_min
                    );
                    let judging = Phase::Judging {
                        rung,
                        version,
                        rollout,
                    };
                    self.go(judging, what, now_ms)
                }
                Shipped::Halted(why) => {
                    self.has_shipped = true;
                    let what = format!("version {version} was taken back: {why}");
                    self.climb(rung, &what, now_ms)
                }
            },
            (Phase::Judging { rung, version, .. }, Event::Shipped(Shipped::Halted(why))) => {
                let what = format!("version {version} was taken back: {why}");
                self.climb(rung, &what, now_ms)
            }
            (
                Phase::Judging {
                    rung,
                    version,
                    rollout,
                },
                Event::Labels {
                    after,
                    meanwhile,
                    alerts,
                    expected,
                },
            ) => {
                let is_late = waited >= policy.verdict_within_ms;
                self.judge(
                    rung,
                    version,
                    rollout,
                    (after, meanwhile, alerts, expected),
                    is_late,
                    policy,
                    now_ms,
                )
            }
            _ => Vec::new(),
        };
        (self, actions)
    }

    /// Begins the cheapest rung from `next` on that can be tried and that the budget allows.
    fn choose(
        &mut self,
        next: Rung,
        offers: [Offer; 4],
        other_bytes: u64,
        trains_at_once: bool,
        policy: &RepairPolicy,
        now_ms: i64,
    ) -> Vec<Action> {
        for (rung, offer) in Rung::ALL.into_iter().zip(offers) {
            if rung < next {
                continue;
            }
            let passed_over = match offer {
                Offer::Later => {
                    self.phase = Phase::Choosing { next: rung };
                    return Vec::new();
                }
                Offer::Closed(why) => why,
                Offer::Open(bytes) => {
                    let spent = other_bytes + self.device_bytes;
                    let left = policy.device_bytes_max.saturating_sub(spent);
                    if bytes <= left {
                        return self.begin_rung(rung, bytes, trains_at_once, now_ms);
                    }
                    format!(
                        "a device would send {bytes} bytes, and the budget of {} in 30 days leaves {left}",
                        policy.device_bytes_max
                    )
                }
            };
            self.tell(
                Some(rung),
                format!("{}: {passed_over}", rung.words()),
                now_ms,
            );
        }
        self.over(End::Unrepaired, "no rung is left to try".to_owned(), now_ms)
    }

    fn begin_rung(
        &mut self,
        rung: Rung,
        bytes: u64,
        trains_at_once: bool,
        now_ms: i64,
    ) -> Vec<Action> {
        let cost = match bytes {
            0 => "no byte".to_owned(),
            bytes => format!("at most {bytes} bytes"),
        };
        let what = format!("{}: {cost} a device", rung.words());
        let (phase, action) = match rung {
            Rung::Restandardize | Rung::OwnHeads => (Phase::OnDevices { rung }, None),
            Rung::Round => (Phase::Beginning { rung }, Some(Action::OpenRound)),
            Rung::Windows if trains_at_once => (Phase::Beginning { rung }, Some(Action::Train)),
            Rung::Windows => (Phase::Beginning { rung }, Some(Action::OrderWindows)),
        };
        self.go(phase, what, now_ms);
        action.into_iter().collect()
    }

    fn label(
        &mut self,
        orders: (i64, i64),
        is_told: bool,
        seen: &Orders,
        policy: &RepairPolicy,
        waited: i64,
        now_ms: i64,
    ) -> Vec<Action> {
        let came = format!("{} windows of {} devices came", seen.windows, seen.whole);
        if let Some(trigger) = seen.trigger {
            self.device_bytes += seen.device_bytes;
            let what = format!(
                "{came}, {} bytes each device, and enough recordings are newly labelled: trigger {trigger} asks for training",
                seen.device_bytes
            );
            let rung = Rung::Windows;
            return self.go(Phase::Running { rung, trigger }, what, now_ms);
        }
        let refused = match seen.refused.as_str() {
            "" => String::new(),
            why => format!("; the others: {why}"),
        };
        if seen.open == 0 && seen.whole == 0 {
            return self.climb(Rung::Windows, &format!("no window came{refused}"), now_ms);
        }
        if waited >= policy.labelled_within_ms {
            self.device_bytes += seen.device_bytes;
            let what = format!(
                "{came}{refused}, and fewer than {} recordings were newly labelled in time",
                policy.labelled_min
            );
            return self.climb(Rung::Windows, &what, now_ms);
        }
        if seen.open == 0 && !is_told {
            let what = format!(
                "{came}{refused}; {} newly labelled recordings are awaited: `tinyops annotate open`, `tinyops data add`",
                policy.labelled_min
            );
            self.tell(Some(Rung::Windows), what, now_ms);
            let is_told = true;
            self.phase = Phase::Labelling { orders, is_told };
        }
        Vec::new()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, which has just taken them apart"
    )]
    fn judge(
        &mut self,
        rung: Rung,
        version: u32,
        rollout: i64,
        (after, meanwhile, alerts, expected): (Judged, Judged, u32, Option<(f64, f64)>),
        is_late: bool,
        policy: &RepairPolicy,
        now_ms: i64,
    ) -> Vec<Action> {
        if after.judged < policy.verdict_windows_min.max(1) {
            if !is_late {
                return Vec::new();
            }
            let few = format!(
                "labels judged {} windows of the {} that are a verdict",
                after.judged, policy.verdict_windows_min
            );
            self.kept.push((rung, version));
            let least = self.target.map(|target| target - policy.loss_max);
            let told = expected.map(|(low, high)| {
                format!("{few}; confidences expect {low:.3} to {high:.3}, and embeddings lie where they did")
            });
            return match (expected.zip(least), told, alerts) {
                (Some(((low, _), least)), Some(told), 0) if low >= least => {
                    self.over(End::Repaired, format!("{told}: repaired"), now_ms)
                }
                (Some(((_, high), least)), Some(told), _) if high < least => self.climb(
                    rung,
                    &format!("{told}: it is kept, but more is asked"),
                    now_ms,
                ),
                (_, told, 0) => {
                    let few = told.unwrap_or(few);
                    let what =
                        format!("{few}, and no alarm of version {version} stands: it is kept");
                    self.over(End::Unjudged, what, now_ms)
                }
                _ => {
                    let what = format!("{few}, and {alerts} alerts of version {version} stand");
                    self.climb(rung, &what, now_ms)
                }
            };
        }
        let share = after.right as f64 / after.judged as f64;
        let before = self.best.or(meanwhile.share());
        let mut found = format!(
            "later labels find version {version} right about {share:.3} of {} windows",
            after.judged
        );
        if let Some(before) = before {
            found += &format!(", what ran before about {before:.3}");
        }
        // Where nothing tells what it should reach, what it gains is all that there is.
        let gained = before.is_none_or(|before| share >= before + policy.gain_min);
        let reached = match self.target {
            Some(target) => share >= target - policy.loss_max,
            None => gained,
        };
        if reached {
            self.kept.push((rung, version));
            self.best = Some(share);
            return self.over(End::Repaired, format!("{found}: repaired"), now_ms);
        }
        if gained {
            self.kept.push((rung, version));
            self.best = Some(share);
            let target = self.target.unwrap_or_default();
            let what = format!("{found}: it is kept, but {target:.3} is asked");
            return self.climb(rung, &what, now_ms);
        }
        self.climb(rung, &format!("{found}: it is taken back"), now_ms);
        let why = format!("repair: {found}");
        let revert = Action::Revert { rollout, why };
        let mut actions = vec![revert];
        if let Some(end) = self.end() {
            actions.push(Action::Tell(end));
        }
        actions
    }

    /// Leaves a rung: the next one is to be chosen, or there is none.
    fn climb(&mut self, rung: Rung, what: &str, now_ms: i64) -> Vec<Action> {
        match rung.next() {
            Some(next) => self.go(Phase::Choosing { next }, what.to_owned(), now_ms),
            None => {
                self.tell(Some(rung), what.to_owned(), now_ms);
                self.over(End::Unrepaired, "no rung is left to try".to_owned(), now_ms)
            }
        }
    }

    fn over(&mut self, end: End, what: String, now_ms: i64) -> Vec<Action> {
        self.go(Phase::Over { end }, what, now_ms);
        vec![Action::Tell(end)]
    }

    fn go(&mut self, phase: Phase, what: String, now_ms: i64) -> Vec<Action> {
        // A step is of the rung that it leaves or begins.
        let left = self.rung();
        self.phase = phase;
        let rung = left.or(self.rung());
        self.tell(rung, what, now_ms);
        self.since_ms = now_ms;
        Vec::new()
    }

    fn tell(&mut self, rung: Option<Rung>, what: String, at_ms: i64) {
        self.steps.push(Step { at_ms, rung, what });
    }
}

#[cfg(test)]
mod tests;
