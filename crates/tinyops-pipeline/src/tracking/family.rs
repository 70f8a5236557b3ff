//! The variants of one model version: float, int8, and what each board gets, with what was measured of each.

use std::collections::BTreeMap;

use tinyops_store::tracking::logged_model::{self, LoggedModel};
use tinyops_store::tracking::search::{Comparison, Condition, Field, Order, Search, Test};
use tinyops_store::{Digest, Read, StoreError};

use super::own::{BOARD_TAG, DIGEST_TAG, MADE_FROM_TAG, VARIANT_TAG, model_id};

/// One variant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// The id of the logged model that it is.
    pub model_id: String,
    /// `float`, `int8` or `payload`.
    pub variant: String,
    /// The board of a payload.
    pub board: Option<String>,
    /// The digest of its bytes.
    pub digest: String,
    /// The id of the one that it was made from.
    pub made_from: Option<String>,
    /// What was measured of it: `parity/…` is how near it answers to the one that it was made from.
    pub figures: BTreeMap<String, f64>,
}

/// The variants of a version, by the digest of its int8 model: the float one first, then int8, then the boards by name.
///
/// # Errors
/// When the records cannot be read.
pub async fn family(on: &impl Read, int8: &Digest) -> Result<Vec<Member>, StoreError> {
    let Some(own) = logged_model::get(on, &model_id(int8)).await? else {
        return Ok(Vec::new());
    };
    let of_boards = Search {
        conditions: vec![Condition {
            field: Field::Tag(MADE_FROM_TAG.to_owned()),
            test: Test::Text(Comparison::Equal, own.id.clone()),
        }],
        order: vec![Order {
            field: Field::Text("name"),
            descending: false,
        }],
        offset: 0,
        limit: 1000,
    };
    let payloads = logged_model::search(on, &of_boards).await?;
    let mut members = members_of(on, std::slice::from_ref(&own)).await?;
    if let Some(float) = members.first().and_then(|member| member.made_from.clone())
        && let Some(float) = logged_model::get(on, &float).await?
    {
        let float = members_of(on, &[float]).await?;
        members.splice(0..0, float);
    }
    members.extend(members_of(on, &payloads).await?);
    Ok(members)
}

async fn members_of(on: &impl Read, models: &[LoggedModel]) -> Result<Vec<Member>, StoreError> {
    let data = logged_model::data_of(on, models).await?;
    let member = |(model, data): (&LoggedModel, logged_model::LoggedModelData)| {
        let tag = |key: &str| {
            let tag = data.tags.iter().find(|tag| tag.key == key);
            tag.map(|tag| tag.value.clone())
        };
        // The newest value of each stands last.
        let figures = data.metrics.iter().map(|metric| {
            let sample = &metric.sample;
            (sample.key.clone(), sample.point.value)
        });
        Member {
            model_id: model.id.clone(),
            variant: tag(VARIANT_TAG).unwrap_or_default(),
            board: tag(BOARD_TAG),
            digest: tag(DIGEST_TAG).unwrap_or_default(),
            made_from: tag(MADE_FROM_TAG),
            figures: figures.collect(),
        }
    };
    Ok(models.iter().zip(data).map(member).collect())
}
