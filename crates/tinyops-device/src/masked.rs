//! What the agent tells under masks, and what it pays for it.

use tinyops_wire::downlink::MaskedRequest;
use tinyops_wire::envelope::{BODY_OFFSET, OVERHEAD};
use tinyops_wire::frame::{Alarm, Flags, Frame, FrameError};
use tinyops_wire::mask::{Purpose, Task};
use tinyops_wire::masked::{self, MaskedPart, MaskedReport, PartHead, part_len, update_value};

use crate::agent::Agent;
use crate::flash::Flash;
use crate::labels::WINDOWS_MIN;
use crate::memory::{Lent, Memory};
use crate::settings::{Masked, Privacy};

/// What of a device's state a report under masks may show: the output's alarm and its labels are the device's own.
const SHOWN: Flags = Flags(Flags::NOT_FINITE.0 | Flags::LOW_BATTERY.0);

/// An update that is being told, part by part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Telling {
    request: MaskedRequest,
    /// The envelope whose number the masks of all its parts have.
    sequence: u32,
    part: u8,
}

impl<F: Flash, M: Memory> Agent<F, M> {
    fn masked_settings(&self) -> Option<&Masked> {
        match &self.config.privacy {
            Privacy::Plain => None,
            Privacy::Masked(masked) => Some(masked),
        }
    }

    /// Notes how reports are to be made; one under less noise than the device takes part under is refused.
    pub(crate) fn take_task(&mut self, task: Task) {
        let may = self
            .masked_settings()
            .is_some_and(|masked| task.noise_tenths >= masked.noise_tenths_min);
        if may && task.purpose == Purpose::Monitoring {
            self.task = Some(task);
        } else {
            self.counters.refused += 1;
        }
    }

    /// Begins to tell the sums of labelled embeddings, if they are of enough windows and the budget pays for it.
    pub(crate) fn take_masked_request(&mut self, request: &MaskedRequest, now_ms: u64) {
        let task = &request.task;
        let model = self.running.as_ref().map(|running| running.model);
        let may = self
            .masked_settings()
            .is_some_and(|masked| task.noise_tenths >= masked.noise_tenths_min)
            && task.purpose == Purpose::Update
            && model == Some(task.model)
            && self.labelled_windows() >= WINDOWS_MIN;
        // The numbers of its envelopes rise, so those of the masks do.
        if may && self.pending.masked.is_none() && self.pay(task, now_ms) {
            self.pending.masked = Some(Telling {
                request: *request,
                sequence: self.sequence,
                part: 0,
            });
        } else {
            self.counters.refused += 1;
        }
    }

    fn labelled_windows(&mut self) -> i64 {
        let class_count = self
            .running
            .as_ref()
            .map_or(0, |running| running.labels.class_count);
        let cells = self.memory.lend().statistics;
        let counts = cells.get(..class_count).unwrap_or_default();
        counts.iter().map(|&count| i64::from(count)).sum()
    }

    /// Writes into the journal what a task costs, before anything of it is sent; whether that is paid.
    fn pay(&mut self, task: &Task, now_ms: u64) -> bool {
        let Privacy::Masked(masked) = &self.config.privacy else {
            return false;
        };
        let mut ledger = self.slots.record().ledger;
        let minutes = now_ms.saturating_sub(self.ledger_at_ms) / 60_000;
        ledger.pass(minutes);
        let paid = ledger.pay(task.purpose, task.cost(), &masked.budgets);
        let after = paid.unwrap_or(ledger);
        let is_written = after == self.slots.record().ledger
            || self.slots.write(|record| record.ledger = after).is_ok();
        if is_written {
            self.ledger_at_ms += minutes * 60_000;
        }
        paid.is_some() && is_written
    }

    /// What is spent for a purpose in this period, in millionths of ρ.
    pub fn spent(&self, purpose: Purpose) -> u32 {
        self.slots.record().ledger.spent(purpose)
    }

    /// A report under masks, or a heartbeat where there is nothing to say yet or no budget left to say it.
    pub(crate) fn compose_masked_report(&mut self, now_ms: u64) -> Result<usize, FrameError> {
        let sequence = self.sequence;
        let flags = Flags(self.monitor.flags.0 & SHOWN.0);
        let Some(running) = &self.running else {
            return self.compose_heartbeat(flags);
        };
        let (model, summary) = (running.model, self.monitor.summary(&running.baseline));
        if i64::from(self.monitor.sketch.count) < WINDOWS_MIN {
            // So few say too much of each other; they are in the next report.
            return self.compose_heartbeat(flags);
        }
        self.monitor.begin_period();
        if self.adapting.is_learning() {
            // What is normal is so of features that are moved.
            return self.compose_heartbeat(flags);
        }
        let normal = self.slots.record().normal;
        if !normal.is_known(model) {
            let learnt = normal.learn(model, &summary);
            // If it cannot be written this report is not in it.
            let _ = self.slots.write(|record| record.normal = learnt);
            return self.compose_heartbeat(flags);
        }
        let task = self.task.filter(|task| task.model == model);
        let Some(task) = task.filter(|task| self.pay(task, now_ms)) else {
            return self.compose_heartbeat(flags);
        };
        let flags = flags.with_privacy_class(self.budget_class());
        let masks = self
            .masked_settings()
            .map(|masked| masked.key.masks(&task, sequence))
            .ok_or(FrameError::Length)?;
        let values = masked::quantize(&task, normal.deviations(&summary));
        let values = values.ok_or(FrameError::Length)?;
        MaskedReport::encode(&task, flags, values, masks, self.body())
    }

    fn compose_heartbeat(&mut self, flags: Flags) -> Result<usize, FrameError> {
        let flags = flags.with_privacy_class(self.budget_class());
        Frame::Alarm(Alarm { flags, moved: None }).encode(self.body())
    }

    fn budget_class(&self) -> u8 {
        let cost = self.task.map_or(0, |task| task.cost());
        self.masked_settings().map_or(0, |masked| {
            let ledger = self.slots.record().ledger;
            ledger.class(Purpose::Monitoring, cost, &masked.budgets)
        })
    }

    pub(crate) fn compose_masked_part(&mut self, telling: Telling) -> Result<usize, FrameError> {
        self.pending.masked = None;
        let (Some(running), Privacy::Masked(Masked { key, .. })) =
            (&self.running, &self.config.privacy)
        else {
            return Err(FrameError::Length);
        };
        let labels = running.labels;
        let Telling {
            request,
            sequence,
            part,
        } = telling;
        let MaskedRequest { task, content, .. } = request;
        let Lent {
            statistics, outbox, ..
        } = self.memory.lend();
        let cells = statistics.get_mut(..labels.cells()).unwrap_or_default();
        let room = outbox.len() - OVERHEAD;
        let body = &mut outbox[BODY_OFFSET..][..room];
        let len = content.len(labels.class_count, labels.width);
        let per_part = part_len(room.min(usize::from(request.frame_bytes)), task.ring_bits);
        let part_count = len.div_ceil(per_part.max(1));
        let cells_told = cells
            .get(..len)
            .filter(|_| per_part > 0 && labels.width > 0);
        let cells_told = cells_told.ok_or(FrameError::Length)?;
        let head = PartHead {
            task: task.number,
            ring_bits: task.ring_bits,
            part_count: u8::try_from(part_count).map_err(|_| FrameError::Length)?,
            sequence,
            content,
            class_count: labels.class_count as u8,
            width: labels.width as u16,
        };
        let values = cells_told.iter().enumerate().map(|(index, &cell)| {
            update_value(index, cell.into(), labels.class_count, labels.width)
        });
        let values = masked::quantize(&task, values).ok_or(FrameError::Length)?;
        let masks = key.masks(&task, sequence);
        let written = MaskedPart::encode(head, part, per_part, &task, values, masks, body)?;
        if part + 1 < head.part_count {
            self.pending.masked = Some(Telling {
                part: part + 1,
                ..telling
            });
        } else if request.forget {
            cells.fill(0);
        }
        Ok(written)
    }
}
