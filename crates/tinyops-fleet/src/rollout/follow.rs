//! What devices send, as words to their rollouts.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use tinyops_sketch::{ChannelBaseline, Source};
use tinyops_store::rollout::{self, Delivery, Member as MemberRecord, RolloutId, RolloutState};
use tinyops_store::{DeviceId, Digest, ModelId, Timestamp, Tx};
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

/// What the frames of one transaction tell of capsules that came to harm on their way into flash. The fleet remembers it
/// once the transaction is kept ([`Fleet::remember`]): one that another writer got in the way of is tried again.
#[derive(Debug, Default)]
pub(crate) struct Setbacks {
    /// How often it has happened by now; 0 where the capsule has arrived.
    damaged: BTreeMap<(DeviceId, ModelId), u8>,
    /// The capsules whose deltas were turned away.
    pub(crate) deltas: BTreeMap<DeviceId, Digest>,
    /// What was said of the frame at hand, for each capsule that it can be about: several rollouts may have one.
    answered: BTreeMap<ModelId, bool>,
    /// Who is told at once what it is owed.
    owed: BTreeSet<DeviceId>,
}

impl Fleet {
    /// Notes what a batch of frames means for the rollouts of their devices; what it gives is to be remembered when the
    /// transaction is kept.
    pub(crate) async fn follow_updates(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<Setbacks, FleetError> {
        let mut setbacks = Setbacks::default();
        // A rollout that is done only learns that a device has gone back.
        let some_are_open = !rollout::open(tx).await?.is_empty();
        let concerns = |o: &&Observation<'_>| some_are_open || matches!(o.frame, Frame::Update(_));
        let concerned = observations.iter().filter(concerns);
        let mut devices: Vec<DeviceId> = concerned.map(|o| o.device).collect();
        devices.sort_unstable();
        devices.dedup();
        if devices.is_empty() {
            return Ok(setbacks);
        }
        let records = rollout::listening(tx, &devices).await?;
        if records.is_empty() {
            return Ok(setbacks);
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
            setbacks.answered.clear();
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
                let word = self.word(tx, observation, member, &mut setbacks).await?;
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
        Ok(setbacks)
    }

    /// Remembers what the frames of a transaction that is kept have told.
    pub(crate) fn remember(&self, setbacks: Setbacks) {
        let mut damaged = lock(&self.damaged);
        for (about, times) in setbacks.damaged {
            if times == 0 {
                damaged.remove(&about);
                continue;
            }
            if !damaged.contains_key(&about) && damaged.len() >= DAMAGED_DEVICES_MAX {
                damaged.clear();
            }
            damaged.insert(about, times);
        }
        drop(damaged);
        for (device, to) in setbacks.deltas {
            self.note_whole(device, to);
        }
        let mut told = lock(&self.told);
        for device in setbacks.owed {
            told.remove(&device);
        }
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
        setbacks: &mut Setbacks,
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
                        let about = (observation.device, member.capsule);
                        setbacks.damaged.insert(about, 0);
                        Word::Confirmed
                    }
                    UpdateState::Held => Word::Held,
                    UpdateState::Reverted => Word::Reverted { reason, number },
                    _ if self.is_owed_again(
                        (observation.device, member.capsule),
                        update,
                        setbacks,
                    ) =>
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

    /// Whether what a device has turned away is no word against the capsule: it is owed that again, at once.
    fn is_owed_again(
        &self,
        about: (DeviceId, ModelId),
        update: &Update,
        setbacks: &mut Setbacks,
    ) -> bool {
        let (device, capsule) = about;
        if let Some(answered) = setbacks.answered.get(&capsule) {
            return *answered;
        }
        let is_owed =
            self.falls_back(device, update, setbacks) || self.is_damaged(about, update, setbacks);
        setbacks.answered.insert(capsule, is_owed);
        if is_owed {
            setbacks.owed.insert(device);
        }
        is_owed
    }

    /// Whether it came to harm on its way into flash, as by a power cut in the middle of a word, and not too often.
    fn is_damaged(
        &self,
        about: (DeviceId, ModelId),
        update: &Update,
        setbacks: &mut Setbacks,
    ) -> bool {
        let is_harm = matches!(update.reason, Reason::Flash | Reason::Digest);
        if update.state != UpdateState::Refused || !is_harm {
            return false;
        }
        let before = || lock(&self.damaged).get(&about).copied().unwrap_or(0);
        let times = setbacks.damaged.get(&about).copied().unwrap_or_else(before) + 1;
        let is_few = times <= DAMAGED_TIMES_MAX;
        setbacks
            .damaged
            .insert(about, if is_few { times } else { 0 });
        is_few
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

#[cfg(test)]
mod tests {
    use tinyops_store::{Artifacts, Db};

    use super::*;
    use crate::Policy;

    const ABOUT: (DeviceId, ModelId) = (DeviceId(1), ModelId(2));

    async fn fleet() -> (Fleet, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().display().to_string();
        let artifacts = Artifacts::open(&place).await.expect("opens");
        let db = Db::open("sqlite::memory:").await.expect("opens");
        (Fleet::new(db, artifacts, Policy::default()), folder)
    }

    fn refused(reason: Reason) -> Update {
        Update {
            state: UpdateState::Refused,
            reason,
            model: ABOUT.1,
            sequence: 1,
            detail: 0,
        }
    }

    #[tokio::test]
    async fn a_transaction_that_is_tried_again_counts_its_damage_once() {
        let (fleet, _folder) = fleet().await;
        let hear = |setbacks: &mut Setbacks| {
            setbacks.answered.clear();
            fleet.is_owed_again(ABOUT, &refused(Reason::Flash), setbacks)
        };
        for time in 1..=DAMAGED_TIMES_MAX {
            // Two tries that another writer got in the way of, and the one that is kept.
            for _ in 0..2 {
                assert!(hear(&mut Setbacks::default()), "time {time}");
            }
            let mut kept = Setbacks::default();
            assert!(hear(&mut kept), "time {time}");
            fleet.remember(kept);
        }
        assert!(!hear(&mut Setbacks::default()));
        // The same frames in one batch count each, and what was too often begins anew.
        let mut kept = Setbacks::default();
        assert!(!hear(&mut kept));
        for _ in 1..=DAMAGED_TIMES_MAX {
            assert!(hear(&mut kept));
        }
        assert!(!hear(&mut kept));
    }

    #[tokio::test]
    async fn two_rollouts_of_one_capsule_hear_of_one_damage() {
        let (fleet, _folder) = fleet().await;
        let mut kept = Setbacks::default();
        for _ in 0..=DAMAGED_TIMES_MAX {
            assert!(fleet.is_owed_again(ABOUT, &refused(Reason::Digest), &mut kept));
        }
        assert_eq!(kept.damaged[&ABOUT], 1);
    }

    #[tokio::test]
    async fn a_delta_is_turned_away_once_however_often_the_transaction_is_tried() {
        let (fleet, _folder) = fleet().await;
        let fleet = fleet.with_deltas(|_, _| None);
        let to = Digest::of(b"capsule");
        fleet.note_delta(ABOUT.0, &to);
        let no_room = refused(Reason::SlotTooSmall);
        for _ in 0..2 {
            assert!(fleet.is_owed_again(ABOUT, &no_room, &mut Setbacks::default()));
        }
        let mut kept = Setbacks::default();
        assert!(fleet.is_owed_again(ABOUT, &no_room, &mut kept));
        fleet.remember(kept);
        // The whole capsule has no room either.
        assert!(!fleet.is_owed_again(ABOUT, &no_room, &mut Setbacks::default()));
    }
}
