//! Episodes over HTTP: a drift, what was done about it, and whether that helped.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use tinyops_fleet::episode::{Episode, Judged};
use tinyops_store::ModelId;

use super::error::ApiError;
use super::frame::Query;
use super::make::Limit;
use crate::app::App;
use crate::text::Text;

/// One wish for a better model: why it was made, and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EpisodeView {
    /// The number of the trigger that it hangs together by.
    pub episode: i64,
    /// `resolve-head`, `train`, …
    pub kind: String,
    /// The capsule that was to be repaired; none where a person asked for a run.
    pub repaired: Option<Text<ModelId>>,
    /// The alerts that led to it.
    pub alerts: Vec<i64>,
    /// The repair that it is a part of, `/api/v1/repairs/{repair}`.
    pub repair: Option<i64>,
    pub round: Option<i64>,
    pub run: Option<i64>,
    pub model: String,
    /// The version that came of it; none if a gate refused it.
    pub version: Option<u32>,
    pub rollout: Option<i64>,
    /// Of that rollout.
    pub rollout_state: Option<&'static str>,
    /// Windows that labels judged since the first alert, with the capsule that was to be repaired.
    pub during: JudgedView,
    /// The same with the new version.
    pub after: JudgedView,
    pub began_at_ms: i64,
    pub moments: Vec<MomentView>,
}

/// Windows that labels have judged.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JudgedView {
    pub right: i64,
    pub judged: i64,
}

/// One thing that happened.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MomentView {
    pub at_ms: i64,
    pub what: String,
}

impl From<Judged> for JudgedView {
    fn from(of: Judged) -> JudgedView {
        JudgedView {
            right: of.right,
            judged: of.judged,
        }
    }
}

impl From<Episode> for EpisodeView {
    fn from(episode: Episode) -> EpisodeView {
        let moments = episode.moments().into_iter().map(|moment| MomentView {
            at_ms: moment.at.0,
            what: moment.what,
        });
        EpisodeView {
            episode: episode.trigger.id.0,
            repaired: episode.repaired.map(Text),
            alerts: episode.alerts.iter().map(|alert| alert.id.0).collect(),
            repair: episode.repair.as_ref().map(|(repair, _)| repair.id.0),
            round: episode.round.as_ref().map(|round| round.id.0),
            run: episode.run.as_ref().map(|run| run.id.0),
            version: episode.model.as_ref().map(|model| model.version),
            rollout: episode.rollout.as_ref().map(|rollout| rollout.id.0),
            rollout_state: episode.rollout.as_ref().map(|rollout| rollout.state.word()),
            during: episode.during.into(),
            after: episode.after.into(),
            began_at_ms: episode.began_at().0,
            moments: moments.collect(),
            kind: episode.trigger.kind,
            model: episode.trigger.model,
        }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<EpisodeView>>, ApiError> {
    let episodes = app.fleet().episodes(limit.count()).await?;
    Ok(Json(episodes.into_iter().map(EpisodeView::from).collect()))
}
