//! What devices send, as words to their rollouts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tinyops_sketch::{ChannelBaseline, Source};
use tinyops_store::rollout::{self, Delivery, Member as MemberRecord, RolloutId, RolloutState};
use tinyops_store::{DeviceId, ModelId, Timestamp, Tx};
use tinyops_wire::Frame;
use tinyops_wire::frame::{Flags, Reason, Update, UpdateState};
use tinyops_wire::shadow::ShadowReport;

use super::arrange::{Taken, can_shadow, give_devices};
use super::case::record_of;
use super::plan_of;
use crate::engine::{Member, Said, Sample, Word};
use crate::fleet::lock;
use crate::plan::Plan;
use crate::watch::Observation;
use crate::{Fleet, FleetError};

/// A capsule that came to harm so often on its way into a device's flash is offered it once more; then it has failed there.
const DAMAGED_TIMES_MAX: u8 = 3;

/// Devices of which that is remembered; when there are more, all begin anew.
const DAMAGED_DEVICES_MAX: usize = 4096;

impl Fleet {
    /// Notes what a batch of frames means for the rollouts of their devices.
    pub(crate) async fn follow_updates(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<(), FleetError> {
        // A rollout that is done only learns that a device has gone back.
        let some_are_open = !rollout::open(tx).await?.is_empty();
        let concerns = |o: &&Observation<'_>| some_are_open || matches!(o.frame, Frame::Update(_));
        let concerned = observations.iter().filter(concerns);
        let mut devices: Vec<DeviceId> = concerned.map(|o| o.device).collect();
        devices.sort_unstable();
        devices.dedup();
        if devices.is_empty() {
            return Ok(());
        }
        let records = rollout::listening(tx, &devices).await?;
        if records.is_empty() {
            return Ok(());
        }
        let mut plans: HashMap<RolloutId, (Plan, RolloutState)> = HashMap::new();
        let mut members: HashMap<DeviceId, Vec<(MemberRecord, Member, bool)>> = HashMap::new();
        for record in records {
            if let Entry::Vacant(place) = plans.entry(record.rollout)
                && let Some(rollout) = rollout::get(tx, record.rollout).await?
            {
                place.insert((plan_of(&rollout)?, rollout.state));
            }
            let member = Member::of_record(&record);
            members
                .entry(record.device)
                .or_default()
                .push((record, member, false));
        }
        for observation in observations {
            for (record, member, changed) in
                members.get_mut(&observation.device).into_iter().flatten()
            {
                let Some((plan, state)) = plans.get(&record.rollout) else {
                    continue;
                };
                // A rollout that is done only learns that a device has gone back.
                let is_over = *state == RolloutState::Done;
                if is_over && !matches!(observation.frame, Frame::Update(_)) {
                    continue;
                }
                let word = self.word(tx, observation, member).await?;
                *changed |= member.hear(plan, word, now);
            }
        }
        let changed: Vec<MemberRecord> = members
            .into_values()
            .flatten()
            .filter(|(_, _, changed)| *changed)
            .map(|(record, member, _)| record_of(record.rollout, record.device, &member))
            .collect();
        rollout::put_members(tx, &changed).await?;
        Ok(())
    }

    /// Notes one word of a device for its rollouts: those of one capsule where it is about one, and not the one that
    /// shall not hear it.
    pub(crate) async fn follow_word(
        &self,
        tx: &Tx,
        device: DeviceId,
        about: Option<ModelId>,
        silent_to: Option<RolloutId>,
        word: &Word,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let mut changed = Vec::new();
        for record in rollout::listening(tx, &[device]).await? {
            let mut member = Member::of_record(&record);
            let is_meant = about.is_none_or(|capsule| capsule == member.capsule);
            if !is_meant || silent_to == Some(record.rollout) {
                continue;
            }
            let Some(rollout) = rollout::get(tx, record.rollout).await? else {
                continue;
            };
            // As with frames: a rollout that is done only learns that a device has gone back.
            let is_late = rollout.state == RolloutState::Done && about.is_none();
            if !is_late && member.hear(&plan_of(&rollout)?, word.clone(), now) {
                changed.push(record_of(record.rollout, device, &member));
            }
        }
        Ok(rollout::put_members(tx, &changed).await?)
    }

    /// Takes a device out of a rollout.
    pub(crate) async fn leave_rollout(
        &self,
        tx: &Tx,
        rollout: RolloutId,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        if let Some(mut row) = rollout::get(tx, rollout).await? {
            let mut taken = Taken::default();
            taken.left.insert(rollout, vec![device]);
            give_devices(tx, &mut row, &taken, now).await?;
        }
        Ok(())
    }

    /// What a frame says to a rollout.
    async fn word(
        &self,
        tx: &Tx,
        observation: &Observation<'_>,
        member: &Member,
    ) -> Result<Word, FleetError> {
        let is_measured = |member: &Member| {
            member
                .watch
                .as_ref()
                .is_some_and(|watch| watch.ended.is_none())
                || member.delivery != Delivery::Control
        };
        Ok(match &observation.frame {
            Frame::Update(update)
                if update.model == member.capsule || update.model == ModelId(0) =>
            {
                let (reason, number) = (update.reason.as_str().to_owned(), update.detail);
                match update.state {
                    UpdateState::Confirmed => {
                        // Whatever comes to harm later is another story.
                        lock(&self.damaged).remove(&(observation.device, member.capsule));
                        Word::Confirmed
                    }
                    UpdateState::Held => Word::Held,
                    UpdateState::Reverted => Word::Reverted { reason, number },
                    _ if self.falls_back(observation.device, update)
                        || self.is_owed_again(observation.device, member.capsule, update) =>
                    {
                        Word::Heard
                    }
                    UpdateState::Refused => Word::Refused { reason, number },
                    _ => Word::Fetching,
                }
            }
            Frame::BlockRequest(_) if member.target == Some(member.capsule) => Word::Fetching,
            Frame::Hello(hello) => Word::Restarted {
                can_shadow: hello.trust.is_some_and(|trust| can_shadow(trust.features)),
            },
            Frame::Shadow(report) if member.delivery == Delivery::Shadowing => Word::Shadowed {
                model: report.model,
                said: self.said(tx, observation, report).await?,
            },
            Frame::Outcome(judged) => Word::Judged {
                model: observation.model,
                right: i64::from(judged.correct()),
                judged: i64::from(judged.judged()),
            },
            Frame::Summary(_) if is_measured(member) => Word::Reported {
                model: observation.model,
                sample: self.sample(tx, observation).await?,
            },
            _ => Word::Heard,
        })
    }

    /// Whether what a device has turned away came to harm on its way into flash, as by a power cut in the middle of a
    /// word: that says nothing of the capsule. It is owed it again, at once, a few times.
    fn is_owed_again(&self, device: DeviceId, capsule: ModelId, update: &Update) -> bool {
        let is_damaged = matches!(update.reason, Reason::Flash | Reason::Digest);
        if update.state != UpdateState::Refused || !is_damaged {
            return false;
        }
        let mut damaged = lock(&self.damaged);
        let is_new = !damaged.contains_key(&(device, capsule));
        if is_new && damaged.len() >= DAMAGED_DEVICES_MAX {
            damaged.clear();
        }
        let times = damaged.entry((device, capsule)).or_default();
        *times += 1;
        if *times > DAMAGED_TIMES_MAX {
            damaged.remove(&(device, capsule));
            return false;
        }
        lock(&self.told).remove(&device);
        true
    }

    /// What a shadow report says, with what rollouts compare of it.
    async fn said(
        &self,
        tx: &Tx,
        observation: &Observation<'_>,
        report: &ShadowReport<'_>,
    ) -> Result<Said, FleetError> {
        let cost = report.cost((observation.dither_seed, observation.sequence));
        let ram_share = cost.and_then(|cost| cost.ram_share);
        let mut sample = Sample {
            ln_latency: cost.map(|cost| f64::from(cost.mean_us).ln()),
            ln_ram: ram_share.map(|share| f64::from(share).ln()),
            ..Sample::default()
        };
        let baseline = self.baseline(tx, report.model).await?;
        let prior = baseline.as_ref().map(|baseline| baseline.class_prior());
        if let Some(prior) = prior
            && prior.len() >= 2
            && prior.len() == report.class_count()
            && report.answers.windows > 0
        {
            sample.output = Some(f64::from(report.answers.output));
            sample.label_distance = Some(distance(report.class_shares(), prior));
        }
        let answers = report.answers;
        let pairs = answers.pairs;
        Ok(Said {
            is_over: answers.is_over,
            windows: [answers.windows, answers.agreed, answers.failed],
            pairs: [
                pairs.both,
                pairs.only_active,
                pairs.only_candidate,
                pairs.neither,
            ],
            sample,
        })
    }

    /// What rollouts compare of a summary: what scoring cost, and of classifiers, whose output is a confidence, what
    /// they say.
    async fn sample(&self, tx: &Tx, observation: &Observation<'_>) -> Result<Sample, FleetError> {
        let Frame::Summary(frame) = observation.frame else {
            return Ok(Sample::default());
        };
        let dither = (observation.dither_seed, observation.sequence);
        let cost = frame.cost(dither);
        let ram_share = cost.and_then(|cost| cost.ram_share);
        let costs = Sample {
            ln_latency: cost.map(|cost| f64::from(cost.mean_us).ln()),
            ln_ram: ram_share.map(|share| f64::from(share).ln()),
            is_own_head: frame.header.flags.has(Flags::OWN_HEAD),
            ..Sample::default()
        };
        if costs.is_own_head {
            return Ok(costs);
        }
        let Some(baseline) = self.baseline(tx, observation.model).await? else {
            return Ok(costs);
        };
        let (channels, prior) = (baseline.channels(), baseline.class_prior());
        let Ok(summary) = frame.decode(channels.len(), prior.len(), dither) else {
            return Ok(costs);
        };
        if prior.len() < 2 || summary.count < 1.0 {
            return Ok(costs);
        }
        let is_output = |channel: &ChannelBaseline| channel.source == Source::Output;
        let output = channels
            .iter()
            .position(is_output)
            .and_then(|index| summary.channels().get(index))
            .map(|channel| f64::from(channel.mean));
        let shares = summary.class_shares().iter().copied();
        Ok(Sample {
            output,
            label_distance: Some(distance(shares, prior)),
            ..costs
        })
    }
}

/// Hellinger distance of the shares of classes.
fn distance(shares: impl Iterator<Item = f32>, prior: &[f32]) -> f64 {
    let root = |share: f32| f64::from(share.max(0.0)).sqrt();
    let squares = shares
        .zip(prior)
        .map(|(share, prior)| (root(share) - root(*prior)).powi(2));
    (squares.sum::<f64>() / 2.0).sqrt()
}
