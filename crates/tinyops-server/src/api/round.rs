//! Rounds over HTTP: gatherings of statistics, who leaves them, and heads that are solved from them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::access::Right;
use tinyops_fleet::kept_sums::Withdrawn;
use tinyops_store::round::{self, Round, RoundId};
use tinyops_store::{DeviceId, Digest, Json as Detail, ModelId};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::make::Limit;
use super::operation::{Access, Content, Operation, Trace};
use super::view::TriggerView;
use crate::app::App;
use crate::text::Text;

/// One gathering of statistics.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RoundView {
    /// Its number.
    pub round: i64,
    /// The model id that the devices run.
    pub model: Text<ModelId>,
    /// Null: every cohort.
    pub cohort: Option<String>,
    /// `clearing`, `gathering`, `opening`, `closed` or `abandoned`.
    pub state: &'static str,
    /// How many devices are in the sum.
    pub device_count: u32,
    /// How many it takes.
    pub device_count_min: u32,
    /// When devices are asked for their sums.
    pub gather_at_ms: i64,
    /// Until when they may send them.
    pub deadline_ms: i64,
    /// Digest of the sum, once it is made.
    pub statistics: Option<Text<Digest>>,
    /// Until when what each device told is kept, so that late ones join the sum and some may leave it. Null: it is not.
    pub kept_until_ms: Option<i64>,
    /// Why it was opened, and what became of it: how many joined late, and how many withdrew.
    pub detail: Detail,
    /// When it was opened.
    pub created_at_ms: i64,
}

impl From<Round> for RoundView {
    fn from(round: Round) -> RoundView {
        RoundView {
            round: round.id.0,
            model: Text(round.model),
            cohort: round.cohort,
            state: round.state.word(),
            device_count: round.device_count,
            device_count_min: round.device_count_min,
            gather_at_ms: round.gather_at.0,
            deadline_ms: round.deadline.0,
            statistics: round.statistics.map(Text),
            kept_until_ms: round.kept_until.map(|at| at.0),
            detail: round.detail,
            created_at_ms: round.created_at.0,
        }
    }
}

/// What the withdrawal of a device's sums came to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WithdrawnView {
    /// 16 hex digits.
    pub device: Text<DeviceId>,
    /// Who said so first.
    pub actor: String,
    /// Why.
    pub why: String,
    /// Since when no round asks it, in Unix milliseconds.
    pub at_ms: i64,
    /// Rounds that it has left now, as they are without it.
    pub rounds: Vec<RoundView>,
    /// New heads that are asked for, in place of those that were solved with it.
    pub triggers: Vec<TriggerView>,
}

impl From<Withdrawn> for WithdrawnView {
    fn from(withdrawn: Withdrawn) -> WithdrawnView {
        WithdrawnView {
            device: Text(withdrawn.withdrawal.device),
            actor: withdrawn.withdrawal.actor,
            why: withdrawn.withdrawal.why,
            at_ms: withdrawn.withdrawal.at.0,
            rounds: withdrawn.left.into_iter().map(RoundView::from).collect(),
            triggers: withdrawn
                .triggers
                .into_iter()
                .map(TriggerView::from)
                .collect(),
        }
    }
}

/// The routes of rounds.
pub(super) fn operations() -> Vec<Operation> {
    let open = Operation {
        method: "post",
        path: "/api/v1/rounds",
        summary: "Ask the devices of a model for their statistics",
        access: Access::Right(Right::Operate),
        trace: Trace::Entry,
        query: &[],
        request: Content::json::<RoundWish>(),
        status: 201,
        response: Content::json::<RoundView>(),
        handler: post(ask),
    };
    let because = |path, summary, status, response, handler| Operation {
        method: "post",
        path,
        summary,
        access: Access::Right(Right::Operate),
        trace: Trace::Entry,
        query: &[],
        request: Content::json::<Because>(),
        status,
        response,
        handler,
    };
    vec![
        Operation {
            method: "get",
            summary: "Gatherings of statistics, newest first",
            access: Access::Right(Right::Read),
            query: super::LIMIT,
            request: Content::Nothing,
            status: 200,
            response: Content::json::<Vec<RoundView>>(),
            handler: get(list),
            ..open
        },
        open,
        because(
            "/api/v1/rounds/{round}/solve",
            "Ask for a head from the sum of a closed round as it is now, with those that joined it and without those that left",
            201,
            Content::json::<TriggerView>(),
            post(solve),
        ),
        because(
            "/api/v1/devices/{device}/withdraw-sums",
            "Take a device out of every round whose sums are kept, and ask it for none any more",
            200,
            Content::json::<WithdrawnView>(),
            post(withdraw),
        ),
        because(
            "/api/v1/devices/{device}/admit-sums",
            "Let a device that has withdrawn take part in rounds again",
            204,
            Content::Nothing,
            post(admit),
        ),
    ]
}

async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<RoundView>>, ApiError> {
    let rounds = round::list(app.db(), limit.count()).await?;
    Ok(Json(rounds.into_iter().map(RoundView::from).collect()))
}

/// A round to open.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoundWish {
    /// The capsule whose embeddings are summed: the 8 hex digits that reports carry.
    pub model: Text<ModelId>,
    /// The cohort that is asked; everyone who runs the capsule where there is none.
    #[serde(default)]
    pub cohort: Option<String>,
    /// Why, for the records.
    #[serde(default)]
    pub why: String,
}

async fn ask(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<RoundWish>,
) -> Result<(StatusCode, Json<RoundView>), ApiError> {
    let cohort = wish.cohort.as_deref();
    let fleet = app.fleet();
    let round = fleet
        .open_round(wish.model.0, cohort, &actor, &wish.why, app.now())
        .await?;
    app.inner().wake.notify_one();
    Ok((StatusCode::CREATED, Json(round.into())))
}

/// Why a device takes part in rounds or does not, or why a round is solved anew.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// Why, for the records.
    #[serde(default)]
    pub why: String,
}

async fn solve(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(round): Path<i64>,
    Body(wish): Body<Because>,
) -> Result<(StatusCode, Json<TriggerView>), ApiError> {
    app.settle().await?;
    let fleet = app.fleet();
    let trigger = fleet
        .solve_round(RoundId(round), &wish.why, &actor, app.now())
        .await?;
    Ok((StatusCode::CREATED, Json(trigger.into())))
}

async fn withdraw(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<DeviceId>>,
    Body(wish): Body<Because>,
) -> Result<Json<WithdrawnView>, ApiError> {
    // What was acknowledged and is not in its records yet is of the device, too.
    app.settle().await?;
    let fleet = app.fleet();
    let withdrawn = fleet
        .withdraw_sums(id, &wish.why, &actor, app.now())
        .await?;
    app.inner().wake.notify_one();
    Ok(Json(withdrawn.into()))
}

async fn admit(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<DeviceId>>,
    Body(wish): Body<Because>,
) -> Result<StatusCode, ApiError> {
    let fleet = app.fleet();
    fleet.admit_sums(id, &wish.why, &actor, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
