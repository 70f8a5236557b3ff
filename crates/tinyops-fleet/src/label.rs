//! Labels from people: a maintenance outcome, a user's word, an annotator's. The device joins them to what it said.
//!
//! What a model said of each window stays on the device, and so do the windows. So a label goes there, is joined to the
//! newest windows, and comes back as an outcome: of so many windows of that class, how many were given to each.

use serde_json::json;
use tinyops_store::device::DeviceState;
use tinyops_store::label::{self, Label, NewLabel};
use tinyops_store::{DeviceId, Json, ModelId, Timestamp, Tx, capsule, device, presence};

use crate::enrol::note;
use crate::owed::running;
use crate::{Fleet, FleetError};

/// A device that is not there for so long is not told any more that its labels are taken back.
const TAKE_BACK_WITHIN_MS: i64 = 90 * 24 * 3_600_000;

/// What someone knows of a device's newest windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelWish<'a> {
    /// The class that they are of, by its name in the model.
    pub class: &'a str,
    /// How many of the newest windows, when the device is told; it judges no more than it remembers.
    pub windows: u16,
    /// How long that may be from now on, in milliseconds: a device that is not there by then is not told.
    pub within_ms: i64,
    /// Why, for the records.
    pub why: &'a str,
}

/// Longest time for which windows may be a device's newest ones, in minutes: 31 days.
pub const MINUTES_MAX: u32 = 31 * 24 * 60;

/// Why windows cannot be labelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unlabelled {
    /// Nothing is known of what it runs.
    #[error("device `{0}` has not said yet which model it runs")]
    NoModel(DeviceId),
    /// The model tells no classes apart, or is not of this store.
    #[error("model `{0}` has no classes here")]
    NoClasses(ModelId),
    /// The model has no such class.
    #[error("model `{model}` has no class `{class}`; it has: {}", classes.join(", "))]
    NoClass {
        /// The model.
        model: ModelId,
        /// What was asked for.
        class: String,
        /// What there is.
        classes: Vec<String>,
    },
    /// A label of no windows, or for no time.
    #[error("a label is of at least one window, and holds for some time")]
    Empty,
    /// A label for longer than any windows are the newest.
    #[error(
        "a label holds for {MINUTES_MAX} minutes (31 days) at most: by then the newest windows are others"
    )]
    TooLong,
}

impl Fleet {
    /// Labels the newest windows of a device, which is told once: when it is connected, or as soon as it is.
    ///
    /// A label that is lost on the way is not sent again, for by then the newest windows may be others.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`], [`FleetError::Label`].
    pub async fn label(
        &self,
        id: DeviceId,
        wish: &LabelWish<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Label, FleetError> {
        if wish.windows == 0 || wish.within_ms <= 0 {
            return Err(Unlabelled::Empty.into());
        }
        if wish.within_ms > i64::from(MINUTES_MAX) * 60_000 {
            return Err(Unlabelled::TooLong.into());
        }
        let tx = self.db.begin_audited("label windows").await?;
        let model = model_of(&tx, id).await?;
        let capsule = capsule::get(&tx, model).await?;
        let classes = capsule.map(|capsule| classes_of(&capsule.detail));
        let classes = classes.unwrap_or_default();
        if classes.is_empty() {
            return Err(Unlabelled::NoClasses(model).into());
        }
        let place = classes.iter().position(|class| class == wish.class);
        let Some(class) = place.and_then(|place| u8::try_from(place).ok()) else {
            return Err(Unlabelled::NoClass {
                model,
                class: wish.class.to_owned(),
                classes,
            }
            .into());
        };
        let new = NewLabel {
            device: id,
            model,
            class,
            class_name: wish.class.to_owned(),
            windows: wish.windows,
            expires_at: now.plus_ms(wish.within_ms),
        };
        let label = Label {
            id: label::add(&tx, &new, now).await?,
            said: new,
            made_at: now,
            told_at: None,
        };
        let detail = json!({
            "class": wish.class, "windows": wish.windows, "model": model.to_string(), "why": wish.why,
        });
        note(&tx, now, actor, "device.label", id, &detail).await?;
        tx.commit().await?;
        Ok(label)
    }

    /// Takes back what has been labelled on a device: it lets go of the head of its own and of the windows that this was
    /// solved from, once it is told. What it has told rounds stays told, until its sums are withdrawn.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`], [`FleetError::Label`].
    pub async fn take_labels_back(
        &self,
        id: DeviceId,
        why: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Label, FleetError> {
        let tx = self.db.begin_audited("take labels back").await?;
        let model = model_of(&tx, id).await?;
        let new = NewLabel {
            device: id,
            model,
            class: 0,
            class_name: String::new(),
            windows: 0,
            expires_at: now.plus_ms(TAKE_BACK_WITHIN_MS),
        };
        let label = Label {
            id: label::add(&tx, &new, now).await?,
            said: new,
            made_at: now,
            told_at: None,
        };
        let detail = json!({ "model": model.to_string(), "why": why });
        note(&tx, now, actor, "device.take-labels-back", id, &detail).await?;
        tx.commit().await?;
        Ok(label)
    }
}

/// The model that a device runs which can be told of labels.
async fn model_of(tx: &Tx, id: DeviceId) -> Result<ModelId, FleetError> {
    let device = device::get(tx, id).await?;
    if device.is_none_or(|device| device.state != DeviceState::Active) {
        return Err(FleetError::NoDevice(id));
    }
    let presence = presence::get(tx, id).await?;
    Ok(running(presence.as_ref()).ok_or(Unlabelled::NoModel(id))?)
}

/// The classes of a capsule, as its details tell.
#[must_use]
pub fn classes_of(detail: &Json) -> Vec<String> {
    let labels = detail.get("labels").and_then(Json::as_array);
    let labels = labels.into_iter().flatten().filter_map(Json::as_str);
    labels.map(str::to_owned).collect()
}
