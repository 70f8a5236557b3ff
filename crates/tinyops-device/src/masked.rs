//! What the agent tells under masks, or under noise of its own, and what it pays for it.

use tinyops_wire::downlink::MaskedRequest;
use tinyops_wire::envelope::{BODY_OFFSET, OVERHEAD};
use tinyops_wire::frame::{Alarm, Flags, Frame, FrameError};
use tinyops_wire::mask::{Purpose, Task};
use tinyops_wire::masked::{
    self, MaskedPart, MaskedReport, NoisedReport, PartHead, WINDOWS_MIN, part_len, report_bytes,
    report_len, update_value,
};
use tinyops_wire::noise::SD_MAX;

use crate::agent::Agent;
use crate::flash::Flash;
use crate::memory::{Lent, Memory};
use crate::settings::{Masked, Privacy};

/// What of a device's state a report under masks or noise may show: the output's alarm and its labels are the device's own.
const SHOWN: Flags = Flags(Flags::NOT_FINITE.0 | Flags::LOW_BATTERY.0);

/// An update that is being told, part by part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Telling {
    request: MaskedRequest,
    /// The envelope whose number the masks of all its parts have.
    sequence: u32,
    part: u8,
}

/// How an update is cut into parts.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Numbers in all.
    len: usize,
    per_part: usize,
    part_count: u8,
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// Whether the device takes part in a task for a purpose: for the model that runs, and under no less noise than its
    /// owner wants.
    fn takes_part(&self, task: &Task, purpose: Purpose) -> bool {
        let model = self.running.as_ref().map(|running| running.model);
        let terms = self.config.privacy.terms();
        task.purpose == purpose
            && model == Some(task.model)
            && terms.is_some_and(|(_, least)| task.noise_tenths >= least)
    }

    /// Notes how reports are to be made, until the next boot; a task that the device does not take part in, or that no
    /// report can be told under, is refused.
    #[inline(never)]
    pub(crate) fn take_task(&mut self, task: Task) {
        if self.takes_part(&task, Purpose::Monitoring) && self.fits_report(&task) {
            self.task = Some(task);
        } else {
            self.counters.refused += 1;
        }
    }

    /// Whether a report fits into an envelope, its integers into what they may measure, and its noise into what can be
    /// drawn.
    fn fits_report(&mut self, task: &Task) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let (channel_count, class_count) = (
            running.baseline.channels().len(),
            running.baseline.class_prior().len(),
        );
        report_bytes(channel_count, class_count, task.ring_bits) <= self.body().len()
            && task
                .steps_per_unit(report_len(channel_count, class_count))
                .is_some()
            && task.noise_sd() <= SD_MAX as f64
    }

    /// Begins to tell the sums of labelled embeddings, if they are of enough windows, can be told under that task, and
    /// the budget pays for it.
    #[inline(never)]
    pub(crate) fn take_masked_request(&mut self, request: &MaskedRequest, now_ms: u64) {
        let task = &request.task;
        // An update has hundreds of numbers: under noise of one device's own nothing would be left of it.
        let may = matches!(self.config.privacy, Privacy::Masked(_))
            && self.takes_part(task, Purpose::Update)
            && self.labelled_windows() >= WINDOWS_MIN
            && self.pending.masked.is_none()
            && self.cut(request).is_some();
        // The numbers of its envelopes rise, so those of the masks do.
        if may && self.pay(task, now_ms) {
            self.pending.masked = Some(Telling {
                request: *request,
                sequence: self.sequence,
                part: 0,
            });
        } else {
            self.counters.refused += 1;
        }
    }

    /// How an update is cut; `None` if the device has none, it does not fit into so many parts of that size, or its
    /// integers not into what they may measure.
    fn cut(&mut self, request: &MaskedRequest) -> Option<Cut> {
        let labels = self.running.as_ref()?.labels;
        let has_sums = labels.width > 0 && self.memory.lend().statistics.len() >= labels.cells();
        let len = request.content.len(labels.class_count, labels.width);
        request.task.steps_per_unit(len).filter(|_| has_sums)?;
        let frame_bytes = self.body().len().min(usize::from(request.frame_bytes));
        let per_part = part_len(frame_bytes, request.task.ring_bits);
        let part_count = (per_part > 0).then(|| len.div_ceil(per_part))?;
        Some(Cut {
            len,
            per_part,
            part_count: u8::try_from(part_count).ok()?,
        })
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
    ///
    /// A task without noise costs nothing, and then the ledger that stands in the journal says what one after it would:
    /// nothing is written unless time has passed. What protects there is that the owner lets the device take part
    /// ([`Masked::noise_tenths_min`]) and has left it a budget for the purpose.
    fn pay(&mut self, task: &Task, now_ms: u64) -> bool {
        let Some((budgets, _)) = self.config.privacy.terms() else {
            return false;
        };
        let mut ledger = self.slots.record().ledger;
        let minutes = now_ms.saturating_sub(self.ledger_at_ms) / 60_000;
        ledger.pass(minutes);
        let paid = ledger.pay(task.purpose, task.cost(), budgets);
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

    /// A report under masks or noise, or a heartbeat where there is nothing to say yet or no budget left to say it.
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
        let Some(task) = self.task.filter(|task| self.pay(task, now_ms)) else {
            return self.compose_heartbeat(flags);
        };
        let flags = flags.with_privacy_class(self.budget_class());
        let values = masked::quantize(&task, normal.deviations(&summary));
        let values = values.ok_or(FrameError::Length)?;
        match &self.config.privacy {
            Privacy::Plain => Err(FrameError::Length),
            Privacy::Masked(masked) => {
                let masks = masked.key.masks(&task, sequence);
                MaskedReport::encode(&task, flags, values, masks, self.body())
            }
            Privacy::Local(local) => {
                let noise = local.key.noise(&task, sequence, values.clone());
                let noise = noise.ok_or(FrameError::Length)?;
                NoisedReport::encode(&task, flags, values, noise, self.body())
            }
        }
    }

    fn compose_heartbeat(&mut self, flags: Flags) -> Result<usize, FrameError> {
        let flags = flags.with_privacy_class(self.budget_class());
        Frame::Alarm(Alarm { flags, moved: None }).encode(self.body())
    }

    fn budget_class(&self) -> u8 {
        let cost = self.task.map_or(0, |task| task.cost());
        self.config.privacy.terms().map_or(0, |(budgets, _)| {
            let ledger = self.slots.record().ledger;
            ledger.class(Purpose::Monitoring, cost, budgets)
        })
    }

    pub(crate) fn compose_masked_part(&mut self, telling: Telling) -> Result<usize, FrameError> {
        self.pending.masked = None;
        let Telling {
            request,
            sequence,
            part,
        } = telling;
        let MaskedRequest { task, content, .. } = request;
        let (Some(cut), Some(running), Privacy::Masked(Masked { key, .. })) =
            (self.cut(&request), &self.running, &self.config.privacy)
        else {
            return Err(FrameError::Length);
        };
        let labels = running.labels;
        let Lent {
            statistics, outbox, ..
        } = self.memory.lend();
        let cells = &mut statistics[..labels.cells()];
        let room = outbox.len() - OVERHEAD;
        let body = &mut outbox[BODY_OFFSET..][..room];
        let head = PartHead {
            task: task.number,
            ring_bits: task.ring_bits,
            part_count: cut.part_count,
            sequence,
            content,
            class_count: labels.class_count as u8,
            width: labels.width as u16,
        };
        let cells_told = cells[..cut.len].iter().enumerate();
        let values = cells_told.map(|(index, &cell)| {
            update_value(index, cell.into(), labels.class_count, labels.width)
        });
        let values = masked::quantize(&task, values).ok_or(FrameError::Length)?;
        let masks = key.masks(&task, sequence);
        let written = MaskedPart::encode(head, part, cut.per_part, &task, values, masks, body)?;
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
