//! Rollouts as a pure machine: from a state and an event to a state and actions. It reads no clock, no store and no
//! device; [`crate::rollout`] brings it what happened, keeps what it decides, and does what it asks for.

mod judge;
mod member;
mod shadow;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_store::rollout::{Delivery, RolloutState};
use tinyops_store::{DeviceId, Json, ModelId, Timestamp};

pub use judge::{Finding, Look};
pub use member::{Member, Sample, Watch, Word};
pub use shadow::{Beside, Said, Tally};

use crate::plan::{Install, Plan, Strategy};

/// Control devices that are watched beside one candidate at most: more add little.
const CONTROLS_MAX: usize = 4;

/// Where a rollout stands, with everything that its next step depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// How it is carried out.
    pub plan: Plan,
    /// Running, held, done or halted.
    pub phase: RolloutState,
    /// What only the machine needs.
    pub progress: Progress,
    /// Orders devices: the rollout's number.
    pub salt: u64,
    /// Its devices.
    pub members: BTreeMap<DeviceId, Member>,
}

/// What is kept of a rollout besides its devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The wave, from 0.
    pub wave: u32,
    /// Share of the devices that should have it now.
    pub share: f64,
    /// When the wave began, in milliseconds since 1970.
    pub wave_at_ms: i64,
    /// Share of failures that any release shows.
    pub failure_share: f64,
    /// Whether devices could be told to install it when it was last turned.
    pub is_open: bool,
    /// Whether a person has said that what devices have fetched may be installed.
    pub is_released: bool,
    /// What had been seen when it was last judged: it is judged again when there is more.
    pub judged: Vec<u32>,
    /// The findings then.
    pub findings: Vec<Finding>,
    /// How the evidence went: answers so far, and each metric's evidence in units of its limit.
    pub looks: Vec<Look>,
    /// Whether the shadow phase is over.
    pub is_shadowed: bool,
    /// What the devices of the shadow phase show together.
    pub shadow: Option<Tally>,
    /// The findings at the end of the shadow phase.
    pub shadow_findings: Vec<Finding>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            wave: 0,
            share: 0.0,
            wave_at_ms: 0,
            failure_share: 0.01,
            is_open: true,
            is_released: false,
            judged: Vec::new(),
            findings: Vec::new(),
            looks: Vec::new(),
            is_shadowed: false,
            shadow: None,
            shadow_findings: Vec::new(),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed: the only event that offers, advances and halts.
    Tick,
    /// A device matches that did not, and belongs to no other rollout.
    Joined {
        /// Which device.
        device: DeviceId,
        /// Its board and cohort.
        stratum: String,
        /// The capsule that it would get.
        capsule: ModelId,
        /// What it runs.
        before: Option<ModelId>,
        /// Whether it can score windows with a candidate beside that.
        can_shadow: bool,
    },
    /// A device matches no more, may speak no more, or went to another rollout.
    Left(DeviceId),
    /// A device was heard.
    Heard(DeviceId, Word),
    /// A person holds the rollout.
    Pause {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A person lets it go on.
    Resume {
        /// Who.
        by: String,
    },
    /// A person says that what devices have fetched may be installed.
    Install {
        /// Who.
        by: String,
    },
    /// A person takes it back.
    Revert {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell a device to fetch the capsule, and to score windows with it beside what it runs.
    Shadow {
        /// Which device.
        device: DeviceId,
        /// Which capsule.
        capsule: ModelId,
    },
    /// Tell a device to fetch the capsule and keep it.
    Fetch {
        /// Which device.
        device: DeviceId,
        /// Which capsule.
        capsule: ModelId,
    },
    /// Tell a device to run the capsule.
    Offer {
        /// Which device.
        device: DeviceId,
        /// Which capsule.
        capsule: ModelId,
    },
    /// Tell a device nothing of it any more; it has not begun.
    Withdraw(DeviceId),
    /// Tell a device to go back.
    Repin {
        /// Which device.
        device: DeviceId,
        /// What it ran before; `None` is the factory's model.
        to: Option<ModelId>,
    },
    /// A wave is over and the next has begun.
    Advance {
        /// The wave that has begun, from 0.
        wave: u32,
        /// Why.
        reason: Json,
    },
    /// The version is everyone's from now on.
    Promote,
    /// The rollout was held, let go on, or let install.
    Hold {
        /// Why.
        reason: Json,
    },
    /// The rollout is over: every device has answered.
    Finish {
        /// In figures.
        reason: Json,
    },
    /// The rollout is stopped; every exposed device goes back.
    Halt {
        /// The metric, the effect, the interval; or the person.
        reason: Json,
    },
    /// What a person asked for cannot be done from here.
    Refuse,
}

impl State {
    /// A rollout that has not begun: devices join, and the first tick offers. `failure_share` is what past
    /// releases showed.
    pub fn new(plan: Plan, salt: u64, failure_share: f64, now: Timestamp) -> State {
        let progress = Progress {
            share: plan.strategy.share(0),
            wave_at_ms: now.0,
            failure_share: failure_share.max(plan.failure_share),
            ..Progress::default()
        };
        State {
            plan,
            phase: RolloutState::Running,
            progress,
            salt,
            members: BTreeMap::new(),
        }
    }

    /// The next state, and what to do.
    pub fn step(mut self, event: Event, now: Timestamp) -> (State, Vec<Action>) {
        let actions = match event {
            Event::Tick => self.tick(now),
            Event::Joined {
                device,
                stratum,
                capsule,
                before,
                can_shadow,
            } => {
                let member = Member {
                    can_shadow,
                    ..Member::new(stratum, capsule, before, now)
                };
                self.join(device, member)
            }
            Event::Left(device) => self.leave(device, now),
            Event::Heard(device, word) => {
                if self.phase != RolloutState::Halted
                    && let Some(member) = self.members.get_mut(&device)
                {
                    member.hear(&self.plan, word, now);
                }
                Vec::new()
            }
            Event::Pause { by, why } => match self.phase {
                RolloutState::Running => {
                    self.phase = RolloutState::Paused;
                    vec![Action::Hold {
                        reason: json!({ "why": why, "by": by }),
                    }]
                }
                _ => vec![Action::Refuse],
            },
            Event::Resume { by } => match self.phase {
                RolloutState::Paused => {
                    self.phase = RolloutState::Running;
                    self.give_time_again(now);
                    vec![Action::Hold {
                        reason: json!({ "by": by }),
                    }]
                }
                _ => vec![Action::Refuse],
            },
            Event::Install { by } => match self.phase {
                RolloutState::Running | RolloutState::Paused if self.is_unreleased() => {
                    self.progress.is_released = true;
                    // Until now nobody could answer.
                    self.progress.wave_at_ms = now.0;
                    vec![Action::Hold {
                        reason: json!({ "why": "it may be installed", "by": by }),
                    }]
                }
                _ => vec![Action::Refuse],
            },
            Event::Revert { by, why } => match self.phase {
                RolloutState::Halted => vec![Action::Refuse],
                _ => self.halt(json!({ "why": why, "by": by }), now),
            },
        };
        (self, actions)
    }

    /// Whether devices fetch it and wait for a person who says that they may install it.
    pub fn is_unreleased(&self) -> bool {
        self.plan.install == Install::Later && !self.progress.is_released
    }

    /// Nobody was told anything for a while: those that wait for their offer have their time again.
    fn give_time_again(&mut self, now: Timestamp) {
        for member in self.members.values_mut() {
            if member.delivery == Delivery::Offered {
                member.changed_at = now;
            }
        }
    }

    fn join(&mut self, device: DeviceId, member: Member) -> Vec<Action> {
        let is_open = matches!(self.phase, RolloutState::Running | RolloutState::Paused);
        if is_open {
            self.members.entry(device).or_insert(member);
        }
        Vec::new()
    }

    fn leave(&mut self, device: DeviceId, now: Timestamp) -> Vec<Action> {
        let Some(member) = self.members.get_mut(&device) else {
            return Vec::new();
        };
        let was_offered = member.delivery == Delivery::Offered;
        if matches!(member.delivery, Delivery::Left | Delivery::Recalled) {
            return Vec::new();
        }
        member.go(Delivery::Left, None, now);
        match was_offered {
            true => vec![Action::Withdraw(device)],
            false => Vec::new(),
        }
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Action> {
        if self.phase != RolloutState::Running {
            return Vec::new();
        }
        let is_open = !self.is_unreleased() && self.plan.windows.is_open(now);
        if is_open && !self.progress.is_open {
            self.give_time_again(now);
        }
        self.progress.is_open = is_open;
        for member in self.members.values_mut() {
            member.pass_time(&self.plan, is_open, now);
        }
        if let Some(shadow) = self.plan.shadow.clone().filter(|_| self.is_shadowing()) {
            return self.tick_shadow(&shadow, now);
        }
        let end = self.wave_end(now);
        if let Some(reason) = self.judge(end.is_some()) {
            return self.halt(reason, now);
        }
        let mut actions = Vec::new();
        let contest = match self.is_unreleased() {
            true => None,
            false => self.settle_contest(now),
        };
        if let Some(contest) = contest {
            match contest {
                Ok(reason) => actions.extend(self.advance(reason, now)),
                Err(reason) => return self.halt(reason, now),
            }
        }
        match end.filter(|_| actions.is_empty()) {
            Some(Ok(reason)) if self.is_last_wave() => {
                self.phase = RolloutState::Done;
                actions.push(Action::Finish { reason });
                return actions;
            }
            Some(Ok(reason)) if self.plan.strategy.contest().is_none() => {
                actions.extend(self.advance(reason, now));
            }
            Some(Err(reason)) => return self.halt(reason, now),
            _ => {}
        }
        actions.extend(self.offer(now));
        self.watch_controls();
        actions
    }

    fn is_last_wave(&self) -> bool {
        self.progress.wave + 1 >= self.plan.strategy.wave_count()
    }

    fn advance(&mut self, reason: Json, now: Timestamp) -> Vec<Action> {
        self.progress.wave += 1;
        self.progress.wave_at_ms = now.0;
        self.progress.share = self.plan.strategy.share(self.progress.wave);
        let mut actions = vec![Action::Advance {
            wave: self.progress.wave,
            reason,
        }];
        if self.is_last_wave() {
            actions.push(Action::Promote);
        }
        actions
    }

    fn halt(&mut self, reason: Json, now: Timestamp) -> Vec<Action> {
        self.phase = RolloutState::Halted;
        let mut actions = vec![Action::Halt { reason }];
        for (device, member) in &mut self.members {
            match member.delivery {
                Delivery::Fetching
                | Delivery::Held
                | Delivery::Offered
                | Delivery::Taken
                | Delivery::Confirmed
                | Delivery::Silent => {
                    let to = member.before.filter(|before| *before != ModelId(0));
                    member.go(Delivery::Recalled, to, now);
                    actions.push(Action::Repin {
                        device: *device,
                        to,
                    });
                }
                Delivery::Failed | Delivery::Reverted => member.target = None,
                // It has installed nothing: it is told to let go when it says that it scores with it.
                Delivery::Shadowing => member.go(Delivery::Control, None, now),
                Delivery::Control | Delivery::Recalled | Delivery::Left => {}
            }
        }
        actions
    }

    /// Whether the wave is over: well, or not; `None` while it goes on.
    fn wave_end(&self, now: Timestamp) -> Option<Result<Json, Json>> {
        let counts = self.counts(now);
        let age_ms = now.0 - self.progress.wave_at_ms;
        // Those that only fetch it have nothing to answer yet.
        let is_late = age_ms >= self.plan.wave_within_ms && counts.ahead == 0;
        let is_last = self.is_last_wave();
        // The last wave has no control arm to wait for.
        let everyone = counts.waiting == 0
            && counts.ahead == 0
            && counts.exposed >= self.quota_sum()
            && counts.exposed > 0
            && (counts.measured == 0 || is_last);
        let well = |why: &str| {
            json!({ "why": why, "confirmed": counts.confirmed, "of": counts.exposed,
                    "wave": self.progress.wave + 1, "waves": self.plan.strategy.wave_count() })
        };
        if is_last {
            return everyone.then(|| Ok(well("every device has answered")));
        }
        if everyone && counts.ready == counts.confirmed && counts.confirmed > 0 {
            return Some(Ok(well("every device of the wave is well")));
        }
        if is_late && counts.ready > 0 {
            return Some(Ok(well("the devices of the wave that answered are well")));
        }
        let none = everyone && counts.confirmed == 0 && counts.troubled > 0;
        (none || is_late && counts.told > 0 && counts.troubled > 0).then(|| {
            Err(json!({
                "metric": "devices that run it", "effect": 0, "devices": counts.exposed,
                "sentence": format!("none of {} devices that were offered it runs it", counts.exposed),
            }))
        })
    }

    /// Offers it to those next in order, as far as the share, the pace and the windows allow; where it is to be fetched
    /// first, the windows and the pace are those of installing it. A bandit whose share has fallen takes it back from
    /// those last in order.
    fn offer(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        let fetches_first = self.plan.install != Install::AtOnce;
        if !self.progress.is_open && !fetches_first {
            return actions;
        }
        let mut by_stratum: BTreeMap<&str, [Vec<(u64, DeviceId)>; 2]> = BTreeMap::new();
        for (device, member) in &self.members {
            let [waiting, exposed] = by_stratum.entry(&member.stratum).or_default();
            let order = (self.order(*device), *device);
            match member.delivery {
                Delivery::Control => waiting.push(order),
                Delivery::Left | Delivery::Shadowing => {}
                _ => exposed.push(order),
            }
        }
        let arms: BTreeMap<String, [Vec<(u64, DeviceId)>; 2]> = by_stratum
            .into_iter()
            .map(|(stratum, arms)| (stratum.to_owned(), arms))
            .collect();
        let mut next = Vec::new();
        for (stratum, quota) in self.quotas() {
            let [mut waiting, mut exposed] = arms.get(&stratum).cloned().unwrap_or_default();
            waiting.sort_unstable();
            next.extend(
                waiting
                    .into_iter()
                    .take(quota.saturating_sub(exposed.len())),
            );
            if matches!(self.plan.strategy, Strategy::Bandit { .. }) {
                exposed.sort_unstable();
                for (_, device) in exposed.into_iter().skip(quota) {
                    actions.extend(self.take_back(device, now));
                }
            }
        }
        next.sort_unstable();
        if fetches_first {
            for (_, device) in next {
                if let Some(member) = self.members.get_mut(&device) {
                    let capsule = member.capsule;
                    member.go(Delivery::Fetching, Some(capsule), now);
                    member.offered_at = Some(now);
                    actions.push(Action::Fetch { device, capsule });
                }
            }
            if !self.progress.is_open {
                return actions;
            }
            // Those that have it first.
            next = self.ahead();
        }
        let room = match self.plan.in_flight_max {
            0 => usize::MAX,
            max => (max as usize).saturating_sub(self.counts(now).waiting as usize),
        };
        for (_, device) in next.into_iter().take(room) {
            let Some(member) = self.members.get_mut(&device) else {
                continue;
            };
            let capsule = member.capsule;
            member.go(Delivery::Offered, Some(capsule), now);
            match fetches_first {
                true => member.told_at = Some(now),
                false => member.offered_at = Some(now),
            }
            actions.push(Action::Offer { device, capsule });
        }
        actions
    }

    /// Devices that fetch it or have it and may not install it yet: those that have it first, each in order.
    fn ahead(&self) -> Vec<(u64, DeviceId)> {
        let ahead = self.members.iter().filter(|(_, member)| member.is_ahead());
        let mut ahead: Vec<(bool, u64, DeviceId)> = ahead
            .map(|(device, member)| {
                let lacks_it = member.delivery != Delivery::Held;
                (lacks_it, self.order(*device), *device)
            })
            .collect();
        ahead.sort_unstable();
        ahead
            .into_iter()
            .map(|(_, order, device)| (order, device))
            .collect()
    }

    /// Takes the candidate from one device; it counts as exposed still.
    fn take_back(&mut self, device: DeviceId, now: Timestamp) -> Option<Action> {
        let member = self.members.get_mut(&device)?;
        match member.delivery {
            Delivery::Fetching
            | Delivery::Held
            | Delivery::Offered
            | Delivery::Taken
            | Delivery::Confirmed => {
                let to = member.before.filter(|before| *before != ModelId(0));
                member.go(Delivery::Recalled, to, now);
                Some(Action::Repin { device, to })
            }
            _ => None,
        }
    }

    /// How many of each stratum should have it: the share of all, by largest remainders, and enough of each board.
    fn quotas(&self) -> Vec<(String, usize)> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self
            .members
            .values()
            .filter(|member| member.delivery != Delivery::Left)
        {
            *sizes.entry(&member.stratum).or_default() += 1;
        }
        let total: usize = sizes.values().sum();
        let share = self.progress.share.clamp(0.0, 1.0);
        let wanted = (total as f64 * share - 1e-9).ceil().max(0.0) as usize;
        let exact = |size: usize| size as f64 * share;
        let mut quotas: BTreeMap<&str, usize> = sizes
            .iter()
            .map(|(stratum, size)| (*stratum, exact(*size) as usize))
            .collect();
        let mut by_remainder: Vec<(&str, usize)> = sizes.iter().map(|(s, n)| (*s, *n)).collect();
        by_remainder.sort_by(|(a, m), (b, n)| {
            let rest = |size: usize| exact(size) - exact(size).floor();
            rest(*n)
                .total_cmp(&rest(*m))
                .then_with(|| mix(hash_of(a) ^ self.salt).cmp(&mix(hash_of(b) ^ self.salt)))
        });
        let missing = wanted.saturating_sub(quotas.values().sum());
        for (stratum, size) in by_remainder.iter().cycle().take(missing.min(total)) {
            let quota = quotas.entry(stratum).or_default();
            *quota = (*quota + 1).min(*size);
        }
        if share > 0.0 {
            let mut by_board: HashMap<&str, usize> = HashMap::new();
            for (stratum, quota) in &quotas {
                *by_board.entry(board_of(stratum)).or_default() += quota;
            }
            by_remainder.sort_by_key(|(stratum, size)| (usize::MAX - size, *stratum));
            for (stratum, size) in by_remainder {
                let of_board = by_board.entry(board_of(stratum)).or_default();
                let lacking = (self.plan.per_board_min as usize).saturating_sub(*of_board);
                let quota = quotas.entry(stratum).or_default();
                let more = lacking.min(size - *quota);
                *quota += more;
                *of_board += more;
            }
        }
        quotas
            .into_iter()
            .map(|(stratum, quota)| (stratum.to_owned(), quota))
            .collect()
    }

    fn quota_sum(&self) -> u32 {
        self.quotas().iter().map(|(_, quota)| *quota as u32).sum()
    }

    /// Begins to watch control devices beside those that were offered it, last in order first.
    fn watch_controls(&mut self) {
        let mut alone: BTreeMap<String, Vec<DeviceId>> = BTreeMap::new();
        for (device, member) in &mut self.members {
            if member.offered_at.is_some() && !member.is_ahead() && !member.is_matched {
                member.is_matched = true;
                alone
                    .entry(member.stratum.clone())
                    .or_default()
                    .push(*device);
            }
        }
        for (stratum, candidates) in alone {
            let is_free = |member: &Member| {
                member.stratum == stratum
                    && member.delivery == Delivery::Control
                    && member.watch.is_none()
                    && member.before.is_some_and(|before| before != ModelId(0))
            };
            let mut free: Vec<(u64, DeviceId)> = self
                .members
                .iter()
                .filter(|(_, member)| is_free(member))
                .map(|(device, _)| (self.order(*device), *device))
                .collect();
            free.sort_unstable();
            // What is left is shared among those that will still come.
            let coming = free.len().max(1) as f64 * self.progress.share.clamp(0.01, 1.0);
            let each = (free.len() as f64 / coming.max(candidates.len() as f64)).ceil() as usize;
            for candidate in candidates {
                for _ in 0..each.clamp(1, CONTROLS_MAX) {
                    let Some((_, control)) = free.pop() else {
                        break;
                    };
                    if let Some(member) = self.members.get_mut(&control) {
                        member.watch = Some(Watch::of_control(candidate));
                    }
                }
            }
        }
    }

    /// Where a device stands in the order of all rollouts with this salt.
    fn order(&self, device: DeviceId) -> u64 {
        mix(device.0 ^ mix(self.salt))
    }

    /// How many devices stand where.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = Counts::default();
        for member in self.members.values() {
            let is_exposed = !matches!(
                member.delivery,
                Delivery::Control | Delivery::Left | Delivery::Shadowing
            );
            counts.exposed += u32::from(is_exposed);
            let is_measured = |watch: &Watch| watch.since.is_some() && watch.ended.is_none();
            let is_control = member.delivery == Delivery::Control;
            counts.measured +=
                u32::from(is_control && member.watch.as_ref().is_some_and(is_measured));
            counts.told += u32::from(is_exposed && member.heard_at >= member.offered_at);
            match member.delivery {
                Delivery::Offered if member.is_away(&self.plan, now) => counts.away += 1,
                Delivery::Offered | Delivery::Taken => counts.waiting += 1,
                Delivery::Fetching | Delivery::Held => counts.ahead += 1,
                Delivery::Confirmed => {
                    counts.confirmed += 1;
                    counts.ready += u32::from(member.is_ready(&self.plan));
                }
                Delivery::Failed | Delivery::Reverted | Delivery::Silent => counts.troubled += 1,
                Delivery::Control | Delivery::Left | Delivery::Recalled | Delivery::Shadowing => {}
            }
        }
        counts
    }
}

/// How many devices stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Devices that were offered it.
    pub exposed: u32,
    /// Those heard of since.
    pub told: u32,
    /// Those that fetch it or have it, and may not install it yet.
    pub ahead: u32,
    /// Those that have not answered and may still.
    pub waiting: u32,
    /// Those not heard of since their offer, past the deadline: away, not in trouble.
    pub away: u32,
    /// Those that run it.
    pub confirmed: u32,
    /// Those that run it and have reported often enough.
    pub ready: u32,
    /// Those that failed, went back, or fell silent.
    pub troubled: u32,
    /// Control devices that are being measured.
    pub measured: u32,
}

/// Which of several open rollouts a device belongs to: the one of the highest priority, of those the oldest.
pub fn owner<T: Copy + Ord>(matching: impl IntoIterator<Item = (T, i64)>) -> Option<T> {
    matching
        .into_iter()
        .min_by_key(|(rollout, priority)| (std::cmp::Reverse(*priority), *rollout))
        .map(|(rollout, _)| rollout)
}

/// The name of a device's stratum.
pub fn stratum(board: &str, cohort: &str) -> String {
    format!("{board}/{cohort}")
}

fn board_of(stratum: &str) -> &str {
    stratum.split_once('/').map_or(stratum, |(board, _)| board)
}

/// FNV-1a.
fn hash_of(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// SplitMix64's finalizer: every bit of the input moves every bit of the answer.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
