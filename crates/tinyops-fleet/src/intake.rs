//! Taking in many envelopes a second: each group is one row of a log first, and is folded into the records
//! later, together with its neighbours.
//!
//! An envelope is checked and lies on the disk when it is acknowledged; what the records say of it follows within
//! the time that the caller leaves between two folds. A fold is the same work as [`Fleet::ingest_many`], over more
//! envelopes at once, so a device that reported ten times costs its rows once. The transaction of a fold removes the
//! groups that it folds: after a crash the groups that are left are folded once, by whoever opens the store next.

use std::collections::HashMap;

use tinyops_store::device::DeviceState;
use tinyops_store::intake_log::Group;
use tinyops_store::{DeviceId, DeviceKey, Timestamp, Tx, device, intake_log};
use tinyops_wire::{Envelope, Frame};

use crate::ingest::{KeyBook, open};
use crate::intake_log::{Entries, Entry};
use crate::{Event, Fleet, FleetError, Refusal, Uplink, Verdict};

/// Envelopes that wait to be folded at most; beyond that, every group is folded at once.
const WAITING_COUNT_MAX: usize = 65_536;

/// The way in for a caller that takes groups of envelopes again and again. There is one in a process.
pub struct Intake {
    fleet: Fleet,
    /// Groups that are on the disk and not in the records, oldest first.
    waiting: Vec<Group>,
    waiting_count: usize,
    /// Who may speak, as read since the last fold: a change by another process holds from the next one on.
    known: HashMap<DeviceId, Option<(DeviceKey, DeviceState)>>,
    /// Whether groups that an earlier process left were looked for.
    has_recovered: bool,
}

impl Intake {
    /// The way into this fleet; what an earlier process left in the log is folded by the first call.
    pub fn new(fleet: Fleet) -> Intake {
        Intake {
            fleet,
            waiting: Vec::new(),
            waiting_count: 0,
            known: HashMap::new(),
            has_recovered: false,
        }
    }

    /// Envelopes that are acknowledged and not in the records yet.
    pub fn waiting_count(&self) -> usize {
        self.waiting_count
    }

    /// Takes envelopes in, and folds what waits before them: when it returns, the records hold everything.
    ///
    /// # Errors
    /// [`FleetError::Store`] only: then nothing of these envelopes was stored, and the devices will send again.
    pub async fn take(
        &mut self,
        uplinks: &[Uplink<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Verdict>, Vec<Event>), FleetError> {
        self.recover().await?;
        let done = self.fleet.ingest(&self.waiting, uplinks, now).await?;
        self.waiting.clear();
        self.waiting_count = 0;
        self.known.clear();
        Ok(done)
    }

    /// Makes envelopes durable and leaves the rest to the next fold, unless one of them asks for an answer.
    ///
    /// # Errors
    /// As [`Intake::take`].
    pub async fn put_off(
        &mut self,
        uplinks: &[Uplink<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Verdict>, Vec<Event>), FleetError> {
        self.recover().await?;
        if self.waiting_count + uplinks.len() > WAITING_COUNT_MAX {
            return self.take(uplinks, now).await;
        }
        let tx = self.fleet.db.begin("log a group of envelopes").await?;
        self.learn(&tx, uplinks).await?;
        let mut entries = Entries::with_capacity(uplinks.iter().map(|u| u.bytes.len() + 2).sum());
        let mut verdicts = Vec::with_capacity(uplinks.len());
        for uplink in uplinks {
            let (verdict, entry) = match self.check(uplink) {
                Ok((envelope, frame)) if may_wait(&frame) => (
                    Verdict::of(envelope.device),
                    Some(Entry::Authentic(envelope)),
                ),
                Ok(_) => {
                    drop(tx);
                    return self.take(uplinks, now).await;
                }
                Err((refusal, blamed)) => (
                    Verdict::refused(refusal, blamed),
                    blamed.map(|device| Entry::Refused(refusal, device)),
                ),
            };
            if entry.is_some_and(|entry| !entries.put(&entry)) {
                drop(tx);
                return self.take(uplinks, now).await;
            }
            verdicts.push(verdict);
        }
        let count = entries.count();
        if count > 0 {
            let entries = entries.into_bytes();
            let id = intake_log::append(&tx, now, &entries).await?;
            tx.commit().await?;
            self.waiting.push(Group {
                id,
                at: now,
                entries,
            });
            self.waiting_count += count;
        }
        Ok((verdicts, Vec::new()))
    }

    /// Brings everything that waits into the records.
    ///
    /// # Errors
    /// [`FleetError::Store`]; nothing is lost, the next call tries again.
    pub async fn fold(&mut self) -> Result<Vec<Event>, FleetError> {
        self.recover().await?;
        match self.waiting.last().map(|group| group.at) {
            Some(at) => Ok(self.take(&[], at).await?.1),
            None => {
                self.known.clear();
                Ok(Vec::new())
            }
        }
    }

    /// Takes up what an earlier process acknowledged and did not fold; answers how many envelopes wait. Every other
    /// call does this first.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn recover(&mut self) -> Result<usize, FleetError> {
        if self.has_recovered {
            return Ok(self.waiting_count);
        }
        for group in intake_log::list(&self.fleet.db).await? {
            match crate::intake_log::read(&group.entries) {
                Some(entries) => {
                    self.waiting_count += entries.len();
                    self.waiting.push(group);
                }
                None => tracing::error!(
                    group = %group.id,
                    "a group of the intake log cannot be read and stays there: was it written by a later version?"
                ),
            }
        }
        if self.waiting_count > 0 {
            tracing::info!(envelopes = self.waiting_count, "taking up the intake log");
        }
        self.has_recovered = true;
        Ok(self.waiting_count)
    }

    /// Reads the devices that these envelopes name and that are not known yet.
    async fn learn(&mut self, tx: &Tx, uplinks: &[Uplink<'_>]) -> Result<(), FleetError> {
        let mut ids: Vec<DeviceId> = uplinks
            .iter()
            .flat_map(Uplink::names)
            .filter(|id| !self.known.contains_key(id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let found = device::get_many(tx, &ids).await?.into_iter();
        let known = found.map(|device| device.map(|device| (device.key, device.state)));
        self.known.extend(ids.into_iter().zip(known));
        Ok(())
    }

    fn check<'a>(
        &self,
        uplink: &Uplink<'a>,
    ) -> Result<(Envelope<'a>, Frame<'a>), (Refusal, Option<DeviceId>)> {
        let (envelope, frame) = match open(self, uplink) {
            Ok(envelope) => (envelope, Frame::decode(envelope.body)),
            // Whoever sent it, it came in this device's name or over its connection.
            Err((refusal, blamed)) => return Err((refusal, blamed.or(uplink.from))),
        };
        match frame {
            Ok(frame) if self.fleet.policy.privacy.forbids(&frame) => {
                Err((Refusal::Clear, Some(envelope.device)))
            }
            Ok(frame) => Ok((envelope, frame)),
            Err(_) => Err((Refusal::Frame, Some(envelope.device))),
        }
    }
}

impl KeyBook for Intake {
    fn key(&self, device: DeviceId) -> Option<(&DeviceKey, DeviceState)> {
        let known = self.known.get(&device)?.as_ref();
        known.map(|(key, state)| (key, *state))
    }
}

/// Whether nobody waits for what follows from a frame: not the device for an answer, and not a rollout.
///
/// A shadow report does not wait: one that scores with a candidate that nobody wants any more is told so in the answer,
/// and what is folded later has none. There is one for each report of the few devices of a shadow phase.
fn may_wait(frame: &Frame<'_>) -> bool {
    matches!(
        frame,
        Frame::Summary(_)
            | Frame::Alarm(_)
            | Frame::Outcome(_)
            | Frame::Statistics(_)
            | Frame::MaskedReport(_)
            | Frame::NoisedReport(_)
    )
}
