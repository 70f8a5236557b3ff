//! What the agent sends: pending news become frames, one envelope a step.

use tinyops_wire::ModelId;
use tinyops_wire::downlink::StatisticsRequest;
use tinyops_wire::envelope::{BODY_OFFSET, Direction, Envelope, OVERHEAD};
use tinyops_wire::frame::{Alarm, Features, Flags, Frame, FrameError, Hello, Outcome, Trust};
use tinyops_wire::masked::WINDOWS_MIN;
use tinyops_wire::statistics::{self, Cut};
use tinyops_wire::summary::{Header, SummaryFrame};

use crate::agent::Agent;
use crate::flash::Flash;
use crate::memory::{Lent, Memory};
use crate::port::{Action, Fetch};
use crate::settings::{BlockSource, Privacy};
use crate::shadow::Shadow;

impl<F: Flash, M: Memory> Agent<F, M> {
    /// The next thing to do, if there is one.
    #[inline(never)]
    pub(crate) fn next_action(&mut self, now_ms: u64) -> Action<'_> {
        if self.shadow.as_mut().is_some_and(Shadow::ask) {
            return Action::Rescore;
        }
        if let Some(ask) = self.ask_entropy() {
            return ask;
        }
        if self.sequence == u32::MAX || self.slots.reserve_sequence(self.sequence).is_err() {
            // Without a number that is surely new nothing may be sent.
            return if core::mem::take(&mut self.pending.reboot) {
                Action::Reboot
            } else {
                Action::Idle
            };
        }
        if let Some(body_bytes) = self.compose(now_ms) {
            return self.seal(body_bytes);
        }
        if let Some(fetch) = self.fetch(now_ms) {
            match self.config.blocks {
                BlockSource::Caller => return Action::Fetch(fetch),
                BlockSource::Server => {
                    let body = self.body();
                    if let Ok(body_bytes) = Frame::BlockRequest(fetch.request).encode(body) {
                        return self.seal(body_bytes);
                    }
                }
            }
        }
        if core::mem::take(&mut self.pending.reboot) {
            Action::Reboot
        } else {
            Action::Idle
        }
    }

    /// Writes the next pending frame into the outbox; answers its length.
    ///
    /// News that no frame can hold are dropped rather than tried for ever.
    fn compose(&mut self, now_ms: u64) -> Option<usize> {
        if let Some(update) = self.pending.update.take() {
            return Frame::Update(update).encode(self.body()).ok();
        }
        if let Some(keys) = self.pending.keys.take() {
            return Frame::Keys(keys).encode(self.body()).ok();
        }
        if core::mem::take(&mut self.pending.hello) {
            return self.compose_hello().ok();
        }
        if let Some(alarm) = self.pending.alarm.take() {
            return Frame::Alarm(alarm).encode(self.body()).ok();
        }
        if let Some(judged) = self.pending.outcome.take() {
            let class_count = self.running.as_ref()?.labels.class_count;
            let outcome = Outcome::new(judged.class, judged.counts.get(..class_count)?);
            return Frame::Outcome(outcome).encode(self.body()).ok();
        }
        if core::mem::take(&mut self.pending.report) {
            return self.compose_report(now_ms).ok();
        }
        if core::mem::take(&mut self.pending.shadow) {
            return self.compose_shadow().ok();
        }
        let told = match (self.pending.masked, self.pending.statistics) {
            (Some(telling), _) => self.compose_masked_part(telling).ok(),
            (None, Some((request, part))) => self.compose_statistics(request, part).ok(),
            (None, None) => return self.compose_annotation()?.ok(),
        };
        // It goes on waiting while there are parts left.
        if let Some(label) = self.pending.label.take() {
            self.label(label);
        }
        told
    }

    fn compose_hello(&mut self) -> Result<usize, FrameError> {
        let record = self.slots.record();
        let arena = self.memory.lend().arena;
        let hello = Hello {
            boot_count: record.boot_count,
            sequence: self.running.as_ref().map_or(0, |running| running.sequence),
            arena_bytes: arena.pieces().iter().map(|piece| piece.len() as u32).sum(),
            slot_bytes: self.slots.slot_bytes() as u32,
            board: self.config.board,
            trust: Some(Trust {
                key_set: self.in_force.sequence(),
                features: self.features(),
            }),
        };
        Frame::Hello(hello).encode(self.body())
    }

    fn features(&mut self) -> Features {
        let mut features = Features::STATEMENTS
            .with(Features::DELTAS)
            .with(Features::HOLDS);
        if !self.memory.lend().moments.is_empty() {
            features = features.with(Features::RESTANDARDIZES);
        }
        if self.can_own_head() {
            features = features.with(Features::OWN_HEAD);
        }
        if self.slots.record().own_head.generation().is_some() {
            features = features.with(Features::OWN_HEAD_ASKED);
        }
        match self.config.privacy {
            // What a candidate says of each class is the device's own, so it is told in the clear alone.
            Privacy::Plain => features.with(Features::SHADOWS),
            Privacy::Masked(_) => features.with(Features::MASKS),
            Privacy::Local(_) => features.with(Features::NOISES),
        }
    }

    #[inline(never)]
    fn compose_report(&mut self, now_ms: u64) -> Result<usize, FrameError> {
        self.reported_at_ms = now_ms;
        if self.config.privacy.terms().is_some() {
            return self.compose_masked_report(now_ms);
        }
        self.pending.shadow = self.shadow.as_ref().is_some_and(Shadow::has_news);
        let format = self.config.reporting.format;
        let dither = (self.config.key.dither_seed(), self.sequence);
        let Some(running) = &self.running else {
            let flags = Flags::default();
            return Frame::Alarm(Alarm { flags, moved: None }).encode(self.body());
        };
        let summary = self.monitor.summary(&running.baseline);
        let header = Header {
            model: running.model.0 as u16,
            epoch: self.monitor.epoch,
            count_code: 0,
            flags: self.monitor.flags,
        };
        let cost = self.monitor.costs.summary();
        self.monitor.begin_period();
        let body = self.body();
        let frame_len = SummaryFrame::encode(format, header, &summary, dither, body)?;
        match cost {
            Some(cost) => cost.append(format, frame_len, dither, body),
            None => Ok(frame_len),
        }
    }

    fn compose_statistics(
        &mut self,
        request: StatisticsRequest,
        part: u8,
    ) -> Result<usize, FrameError> {
        self.pending.statistics = None;
        let labels = self
            .running
            .as_ref()
            .map(|running| running.labels)
            .unwrap_or_default();
        let Lent {
            statistics: cells,
            outbox,
            ..
        } = self.memory.lend();
        let cells = cells.get_mut(..labels.cells()).unwrap_or_default();
        let class_counts = cells.get(..labels.class_count).unwrap_or_default();
        let window_count: i64 = class_counts.iter().map(|&count| i64::from(count)).sum();
        let shape = statistics::Shape {
            round: request.round,
            class_count: labels.class_count as u8,
            width: labels.width as u16,
            window_count: u16::try_from(window_count).unwrap_or(u16::MAX),
        };
        let room = outbox.len() - OVERHEAD;
        let body = &mut outbox[BODY_OFFSET..][..room];
        if window_count < WINDOWS_MIN {
            // So few could be turned back into windows: only how few they are is told.
            let nothing = Cut {
                first: 0,
                count: 0,
                part_count: 1,
            };
            return statistics::encode_part(shape, 0, nothing, core::iter::empty(), body);
        }
        let frame_bytes = room.min(usize::from(request.frame_bytes));
        let values = || cells.iter().map(|&cell| i64::from(cell));
        let cut = statistics::plan_parts(values(), frame_bytes, part)?.ok_or(FrameError::Length)?;
        let written = statistics::encode_part(shape, part, cut, values(), body)?;
        if part + 1 < cut.part_count {
            self.pending.statistics = Some((request, part + 1));
        } else if request.forget {
            cells.fill(0);
        }
        Ok(written)
    }

    fn fetch(&mut self, now_ms: u64) -> Option<Fetch> {
        let transfer = self.transfer.as_mut()?;
        let blocks = self.memory.lend().blocks;
        let request = transfer.request(blocks, self.joined, now_ms, self.config.retry_after_ms)?;
        Some(Fetch {
            digest: transfer.wanted.digest,
            bytes: transfer.wanted.bytes,
            request,
        })
    }

    /// Seals the body in the outbox under the next sequence number.
    fn seal(&mut self, body_bytes: usize) -> Action<'_> {
        let envelope = Envelope {
            direction: Direction::Up,
            device: self.config.device,
            model: self
                .running
                .as_ref()
                .map_or(ModelId::default(), |running| running.model),
            sequence: self.sequence,
            body: &[],
        };
        let outbox = self.memory.lend().outbox;
        let sealed = envelope.seal_in_place(body_bytes, &self.config.key, outbox);
        self.sequence += 1;
        match sealed {
            Ok(bytes) => {
                self.counters.sent += 1;
                self.counters.sent_bytes += bytes as u64;
                Action::Send(&outbox[..bytes])
            }
            Err(_) => Action::Idle,
        }
    }

    /// Where the body of the next envelope goes.
    pub(crate) fn body(&mut self) -> &mut [u8] {
        let outbox = self.memory.lend().outbox;
        let room = outbox.len() - OVERHEAD;
        &mut outbox[BODY_OFFSET..][..room]
    }
}
