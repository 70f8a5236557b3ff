//! Windows for annotators: who is asked for some, and how the sealed parcels come, part by part.
//!
//! A device is asked only for what its owner has consented to, and says no otherwise; what comes of it is sealed for the
//! annotator and cannot be read here. The device keeps its parcel until all of it is here: it tells the part that it is
//! asked for, and after each part that ends one it is asked for the next that is missing.

use serde_json::json;
use tinyops_store::annotation::{
    self, Annotation as Order, AnnotationId, AnnotationState, NewAnnotation,
};
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::{DeviceId, ModelId, StoreError, Timestamp, Tx, device, presence};
use tinyops_wire::Downlink;
use tinyops_wire::annotation::{
    Annotation, Answer, Collect, ORDER_WINDOWS_MAX, OrderReason, OrderState, Part, PartRequest,
};
use tinyops_wire::frame::Frame;
use tinyops_wire::sealing::{AnnotatorKey, Bound};

use crate::enrol::note;
use crate::owed::{Debt, running, seal};
use crate::watch::Observation;
use crate::{Fleet, FleetError, Verdict};

/// Largest parcel that is taken: eight windows of a second of two channels of sound.
const PARCEL_BYTES_MAX: u32 = 8 << 20;
/// Bytes that a device is asked for at once.
const ASKED_BYTES_MAX: u32 = 64 << 10;
/// Shortest part, but for one that ends a parcel.
const PART_BYTES_MIN: usize = 16;
/// A parcel of which nothing has come for so long is asked for again.
const AGAIN_AFTER_MS: i64 = 60_000;
/// A device of which nothing was heard for so long while it looks for windows is told again: what it has said since may be
/// lost.
const COLLECT_AGAIN_AFTER_MS: i64 = 3_600_000;

/// Which devices are asked: those to which all of it applies that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// This one.
    pub device: Option<DeviceId>,
    /// Those that run this model.
    pub model: Option<ModelId>,
    /// Those of this cohort.
    pub cohort: Option<String>,
}

/// What they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationWish<'a> {
    /// Whom windows are to be sealed for; a device that has not consented to just this key refuses.
    pub annotator: AnnotatorKey,
    /// How many windows at most, from each.
    pub count: u8,
    /// Out of how many that come next.
    pub windows: u16,
    /// How long they may be told, in milliseconds.
    pub within_ms: i64,
    /// Why, for the records.
    pub why: &'a str,
}

/// Longest time for which devices may be told of an order, in hours: a year.
pub const HOURS_MAX: u32 = 365 * 24;

/// Why nobody is asked for windows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unasked {
    /// More windows than an order may ask for, fewer than one, or out of fewer than that.
    #[error("an order is for 1 to {ORDER_WINDOWS_MAX} windows, out of at least as many")]
    Count,
    /// An order that is over before it begins.
    #[error("an order holds for some time")]
    Time,
    /// An order that holds for longer than a year.
    #[error("an order holds for {HOURS_MAX} hours (a year) at most")]
    TooLong,
    /// Nothing says who is asked.
    #[error("say which device, model or cohort is asked")]
    Whom,
    /// No device is like that, or each of them has an order that is open.
    #[error(
        "no active device that has said which model it runs is like that and has no order open"
    )]
    Nobody,
    /// No such order.
    #[error("order {0} does not exist")]
    NoOrder(AnnotationId),
    /// The parcel was deleted.
    #[error("the parcel of order {0} is gone: the device's owner has taken the consent back")]
    Gone(AnnotationId),
    /// The parcel is not here.
    #[error("the parcel of order {id} is not here: it is {state}")]
    NoParcel {
        /// The order.
        id: AnnotationId,
        /// Where it stands.
        state: AnnotationState,
    },
}

/// What the seals of an order are bound to.
#[must_use]
pub fn bound_of(order: &Order) -> Bound {
    Bound {
        device: order.asked.device,
        model: order.asked.model,
        order: order.id.0 as u32,
        count: order.chosen as u8,
    }
}

impl Fleet {
    /// Orders windows of devices, which are told as soon as they are connected. One that has an order open is passed over.
    ///
    /// # Errors
    /// [`FleetError::Annotation`], [`FleetError::Store`].
    pub async fn ask_windows(
        &self,
        whom: &Whom,
        wish: &AnnotationWish<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<Order>, FleetError> {
        let tx = self.db.begin_audited("order windows").await?;
        let orders = self.order_windows(&tx, whom, wish, actor, now).await?;
        tx.commit().await?;
        Ok(orders)
    }

    /// Orders windows in a transaction of its caller's.
    pub(crate) async fn order_windows(
        &self,
        tx: &Tx,
        whom: &Whom,
        wish: &AnnotationWish<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<Order>, FleetError> {
        let is_sound =
            (1..=ORDER_WINDOWS_MAX).contains(&wish.count) && wish.windows >= u16::from(wish.count);
        if !is_sound {
            return Err(Unasked::Count.into());
        }
        if wish.within_ms <= 0 {
            return Err(Unasked::Time.into());
        }
        if wish.within_ms > i64::from(HOURS_MAX) * 3_600_000 {
            return Err(Unasked::TooLong.into());
        }
        if *whom == Whom::default() {
            return Err(Unasked::Whom.into());
        }
        let mut orders = Vec::new();
        for (device, model) in those_meant(tx, whom).await? {
            let is_open = |order: &Order| match order.state {
                AnnotationState::Ready => true,
                AnnotationState::Asked | AnnotationState::Collecting => {
                    order.asked.expires_at > now
                }
                _ => false,
            };
            let of_device = annotation::of_device(tx, device).await?;
            if of_device.iter().any(is_open) {
                continue;
            }
            let asked = NewAnnotation {
                device,
                model,
                annotator: wish.annotator.0,
                count: wish.count.into(),
                windows: wish.windows.into(),
                expires_at: now.plus_ms(wish.within_ms),
            };
            let order = annotation::add(tx, &asked, now).await?;
            let detail = json!({
                "order": order.id.0, "count": wish.count, "windows": wish.windows,
                "annotator": wish.annotator.id().to_string(), "why": wish.why,
            });
            note(tx, now, actor, "annotation.ask", device, &detail).await?;
            orders.push(order);
        }
        if orders.is_empty() {
            return Err(Unasked::Nobody.into());
        }
        Ok(orders)
    }

    /// The sealed parcel of an order.
    ///
    /// # Errors
    /// [`Unasked::NoOrder`], [`Unasked::NoParcel`], [`Unasked::Gone`], [`FleetError::Store`].
    pub async fn parcel(&self, id: AnnotationId) -> Result<(Order, Vec<u8>), FleetError> {
        let order = annotation::get(&self.db, id).await?;
        let order = order.ok_or(Unasked::NoOrder(id))?;
        let Some(digest) = order.parcel else {
            return Err(Unasked::NoParcel {
                id,
                state: order.state,
            }
            .into());
        };
        match self.artifacts.get(&digest).await {
            Ok(bytes) => Ok((order, bytes)),
            // It is deleted before the record says so.
            Err(StoreError::Missing { .. }) => Err(Unasked::Gone(id).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// What devices are owed of orders: to take one up, or bytes of a parcel that has stopped to come.
    pub(crate) async fn annotation_debts(
        &self,
        of: Option<DeviceId>,
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, Debt)>, FleetError> {
        let mut debts = Vec::new();
        for order in annotation::open(&self.db, of, now).await? {
            let silent_ms = now.ms_since(order.changed_at);
            let debt = match order.state {
                AnnotationState::Asked => Debt::Collect(order.id),
                AnnotationState::Collecting if silent_ms >= COLLECT_AGAIN_AFTER_MS => {
                    Debt::Collect(order.id)
                }
                AnnotationState::Ready if silent_ms >= AGAIN_AFTER_MS => Debt::Parts(order.id),
                _ => continue,
            };
            debts.push((order.asked.device, debt));
        }
        Ok(debts)
    }

    /// What such a debt comes to now.
    pub(crate) async fn annotation_message(
        &self,
        tx: &Tx,
        debt: Debt,
    ) -> Result<Option<Downlink<'static>>, FleetError> {
        let (Debt::Collect(id) | Debt::Parts(id)) = debt else {
            return Ok(None);
        };
        let Some(order) = annotation::get(tx, id).await? else {
            return Ok(None);
        };
        Ok(match order.state {
            AnnotationState::Asked | AnnotationState::Collecting => {
                Some(Downlink::Collect(Collect {
                    order: order.id.0 as u32,
                    count: order.asked.count as u8,
                    windows: order.asked.windows as u16,
                    annotator: AnnotatorKey(order.asked.annotator).id(),
                }))
            }
            AnnotationState::Ready => {
                // Where nothing is missing, what ends it comes again, and with it the end.
                let spans = annotation::spans(tx, id).await?;
                let last = order.bytes.saturating_sub(PART_BYTES_MIN as u32);
                let (offset, bytes) =
                    gap(&spans, order.bytes).unwrap_or((last, order.bytes - last));
                Some(request(&order, offset, bytes))
            }
            _ => None,
        })
    }

    /// Follows what devices say of their orders, and keeps what they bring.
    pub(crate) async fn take_annotations(
        &self,
        tx: &Tx,
        told: &[Told<'_>],
        verdicts: &mut [Verdict],
        now: Timestamp,
    ) -> Result<(), FleetError> {
        for told in told {
            let reply = match told.annotation {
                Annotation::Answer(answer) if answer.state == OrderState::Withdrawn => {
                    self.withdraw(tx, told.device.id, now).await?;
                    None
                }
                Annotation::Answer(answer) => self.take_answer(tx, told, &answer, now).await?,
                Annotation::Part(part) => self.take_part(tx, told, &part, now).await?,
            };
            if let (Some(reply), Some(index)) = (reply, told.index) {
                verdicts[index]
                    .down
                    .extend(seal(tx, &told.device, &[reply]).await?);
            }
        }
        Ok(())
    }

    /// Lets devices that have booted be asked again for what the boot has ended.
    pub(crate) async fn ask_windows_again(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
    ) -> Result<(), FleetError> {
        let booted = observations
            .iter()
            .filter(|observation| matches!(observation.frame, Frame::Hello(_)))
            .map(|observation| observation.device);
        Ok(annotation::ask_again(tx, &booted.collect::<Vec<_>>()).await?)
    }

    async fn order_of(
        &self,
        tx: &Tx,
        device: DeviceId,
        number: u32,
    ) -> Result<Option<Order>, FleetError> {
        let order = annotation::get(tx, AnnotationId(number.into())).await?;
        let order = order.filter(|order| order.asked.device == device);
        if order.is_none() {
            tracing::warn!(%device, order = number, "it speaks of an order that it was never given");
        }
        Ok(order)
    }

    async fn take_answer(
        &self,
        tx: &Tx,
        told: &Told<'_>,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Option<Downlink<'static>>, FleetError> {
        let Some(mut order) = self.order_of(tx, told.device.id, answer.order).await? else {
            return Ok(None);
        };
        if order.state == AnnotationState::Whole && answer.state == OrderState::Ready {
            return Ok(Some(let_go(&order)));
        }
        let is_over = matches!(
            order.state,
            AnnotationState::Whole | AnnotationState::Withdrawn | AnnotationState::Refused
        );
        if is_over {
            return Ok(None);
        }
        // One that another model has ended while it looked says nothing of its quota.
        if (answer.state, answer.reason) != (OrderState::Refused, OrderReason::Model) {
            order.quota_left = Some(answer.left.into());
        }
        order.changed_at = now;
        if matches!(answer.state, OrderState::Collecting | OrderState::Ready) {
            // Its owner consents again.
            self.readmit(tx, told.device.id, now).await?;
        }
        let is_possible = (1..=order.asked.count).contains(&u32::from(answer.count))
            && (1..=PARCEL_BYTES_MAX).contains(&answer.bytes);
        let mut reply = None;
        match answer.state {
            OrderState::Collecting if order.state != AnnotationState::Ready => {
                order.state = AnnotationState::Collecting;
                order.chosen = answer.count.into();
            }
            OrderState::Collecting => {}
            OrderState::Ready if is_possible && told.model == order.asked.model => {
                if order.state != AnnotationState::Ready || order.bytes != answer.bytes {
                    annotation::forget_parts(tx, order.id).await?;
                }
                order.state = AnnotationState::Ready;
                order.chosen = answer.count.into();
                order.bytes = answer.bytes;
                let spans = annotation::spans(tx, order.id).await?;
                reply =
                    gap(&spans, order.bytes).map(|(offset, bytes)| request(&order, offset, bytes));
            }
            OrderState::Ready => {
                tracing::warn!(device = %told.device.id, order = %order.id, "a parcel that cannot be of its order");
                annotation::forget_parts(tx, order.id).await?;
                order.state = AnnotationState::Refused;
                OrderReason::Model.as_str().clone_into(&mut order.reason);
                reply = Some(let_go(&order));
            }
            OrderState::Refused => {
                annotation::forget_parts(tx, order.id).await?;
                order.state = AnnotationState::Refused;
                answer.reason.as_str().clone_into(&mut order.reason);
            }
            _ => return Ok(None),
        }
        annotation::put(tx, &order).await?;
        Ok(reply)
    }

    async fn take_part(
        &self,
        tx: &Tx,
        told: &Told<'_>,
        part: &Part<'_>,
        now: Timestamp,
    ) -> Result<Option<Downlink<'static>>, FleetError> {
        let Some(mut order) = self.order_of(tx, told.device.id, part.order).await? else {
            return Ok(None);
        };
        match order.state {
            AnnotationState::Ready => {}
            AnnotationState::Whole | AnnotationState::Withdrawn if part.is_last => {
                return Ok(Some(let_go(&order)));
            }
            _ => return Ok(None),
        }
        let end = u64::from(part.offset) + part.bytes.len() as u64;
        let is_of_it = end <= u64::from(order.bytes)
            && (part.bytes.len() >= PART_BYTES_MIN || end == u64::from(order.bytes));
        let room = (PART_BYTES_MIN, order.bytes);
        let is_new =
            is_of_it && annotation::put_part(tx, order.id, part.offset, part.bytes, room).await?;
        let mut reply = None;
        if part.is_last {
            let spans = annotation::spans(tx, order.id).await?;
            reply = Some(match gap(&spans, order.bytes) {
                Some((offset, bytes)) => request(&order, offset, bytes),
                None => {
                    let parts = annotation::parts(tx, order.id).await?;
                    let whole = joined(&parts, order.bytes);
                    order.parcel = Some(self.artifacts.put(&whole).await?);
                    order.state = AnnotationState::Whole;
                    annotation::forget_parts(tx, order.id).await?;
                    let_go(&order)
                }
            });
        }
        // What brings nothing new, and is answered by nothing, is no reason to ask again later.
        if is_new || reply.is_some() && told.index.is_some() {
            order.changed_at = now;
        }
        annotation::put(tx, &order).await?;
        Ok(reply)
    }

    /// Deletes what is here of a device, whose owner has taken the consent back.
    async fn withdraw(&self, tx: &Tx, device: DeviceId, now: Timestamp) -> Result<(), FleetError> {
        let mut deleted = Vec::new();
        for mut order in annotation::of_device(tx, device).await? {
            annotation::forget_parts(tx, order.id).await?;
            if matches!(
                order.state,
                AnnotationState::Withdrawn | AnnotationState::Refused
            ) {
                continue;
            }
            if let Some(parcel) = order.parcel.take() {
                self.artifacts.remove(&parcel).await?;
            }
            order.state = AnnotationState::Withdrawn;
            order.changed_at = now;
            annotation::put(tx, &order).await?;
            deleted.push(order.id.0);
        }
        if !deleted.is_empty() {
            let detail = json!({ "orders": deleted });
            let actor = device.to_string();
            note(tx, now, &actor, "annotation.withdraw", device, &detail).await?;
        }
        // Nor may rounds go on with what it has told them.
        let actor = device.to_string();
        self.leave_rounds(tx, device, "said by the device", &actor, now)
            .await?;
        Ok(())
    }
}

/// The active devices that are meant and have said which model they run.
async fn those_meant(tx: &Tx, whom: &Whom) -> Result<Vec<(DeviceId, ModelId)>, FleetError> {
    let is_in = |cohort: &str| whom.cohort.as_ref().is_none_or(|asked| asked == cohort);
    if let (None, Some(model)) = (whom.device, whom.model) {
        let found = match model {
            // Of those nobody has said which it is.
            ModelId(0) => Vec::new(),
            model => presence::running(tx, model).await?,
        };
        let meant = found.into_iter().filter(|(_, cohort)| is_in(cohort));
        return Ok(meant.map(|(device, _)| (device, model)).collect());
    }
    let mut devices: Vec<Device> = Vec::new();
    match (whom.device, &whom.cohort) {
        (Some(id), _) => devices.extend(device::get(tx, id).await?),
        (None, Some(cohort)) => devices.extend(device::in_cohort(tx, cohort).await?),
        (None, None) => {}
    }
    devices.retain(|device| device.state == DeviceState::Active && is_in(&device.cohort));
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let presences = presence::get_many(tx, &ids).await?;
    let runs = presences.iter().map(|presence| running(Some(presence)));
    let meant = ids
        .into_iter()
        .zip(runs)
        .filter_map(|(device, model)| Some((device, model?)))
        .filter(|(_, model)| whom.model.is_none_or(|asked| asked == *model))
        .collect();
    Ok(meant)
}

/// What a device says of an order, and where an answer to it goes.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) index: Option<usize>,
    pub(crate) device: Device,
    pub(crate) model: ModelId,
    pub(crate) annotation: Annotation<'a>,
}

fn request(order: &Order, offset: u32, bytes: u32) -> Downlink<'static> {
    Downlink::PartRequest(PartRequest {
        order: order.id.0 as u32,
        offset,
        bytes: bytes.min(ASKED_BYTES_MAX),
    })
}

/// Everything is here, or wanted no more.
fn let_go(order: &Order) -> Downlink<'static> {
    request(order, 0, 0)
}

/// The first bytes that are missing: where, and how many.
fn gap(spans: &[(u32, u32)], total: u32) -> Option<(u32, u32)> {
    let mut end = 0;
    for (first, len) in spans {
        if *first > end {
            return Some((end, first - end));
        }
        end = end.max(first + len);
    }
    (end < total).then_some((end, total - end))
}

fn joined(parts: &[(u32, Vec<u8>)], total: u32) -> Vec<u8> {
    let mut whole = vec![0; total as usize];
    for (first, bytes) in parts {
        whole[*first as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_that_are_missing_are_found() {
        assert_eq!(gap(&[], 10), Some((0, 10)));
        assert_eq!(gap(&[(0, 4)], 10), Some((4, 6)));
        assert_eq!(gap(&[(2, 4)], 10), Some((0, 2)));
        assert_eq!(gap(&[(0, 4), (6, 4)], 10), Some((4, 2)));
        assert_eq!(gap(&[(0, 6), (4, 2), (5, 5)], 10), None);
        let part = |first, len: usize| (first, vec![first as u8; len]);
        let whole = joined(&[part(0, 6), part(4, 2), part(5, 5)], 10);
        assert_eq!(whole, [0, 0, 0, 0, 4, 5, 5, 5, 5, 5]);
    }
}
