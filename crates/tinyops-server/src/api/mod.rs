//! The HTTP API under `/api/v1`: JSON in and out, documented by `/api/v1/openapi.json`.
//!
//! A handler extracts, calls and answers. Every error has one shape ([`error::Problem`]), and
//! every route is a row of [`operations`], which the OpenAPI document is made from.

mod alert;
mod annotation;
mod auth;
mod catalog;
mod ddi;
mod device;
mod enrol;
mod episode;
mod error;
mod frame;
mod gateway;
mod label;
mod lorawan;
mod make;
mod operate;
mod operation;
mod range;
mod recording;
mod repair;
mod round;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod upload;
mod view;
mod worth;

use axum::http::header;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use tinyops_fleet::access::Right;

use crate::app::App;
pub use alert::{AddedWebhook, DeliveryView, WebhookView};
pub use annotation::AnnotationView;
pub(crate) use catalog::id_of;
pub(crate) use frame::framed;
pub use label::LabelView;
pub use make::StandingView;
pub use operate::ExpectedView;
use operation::{Access, Content, Operation, Trace};
pub use repair::RepairView;
pub(crate) use repair::{UNREADABLE, unreadable};
pub use round::{RoundView, WithdrawnView};
pub use upload::{UploadDeviceView, UploadView};
pub use view::{AlertView, AtWorkView, TriggerView};
pub use worth::FieldWorthView;

/// The routes of the API, and health and metrics beside it.
pub(crate) fn routes(app: &App) -> Router<App> {
    let guarded = |access, handler: MethodRouter<App>| {
        let guard = middleware::from_fn_with_state((app.clone(), access), auth::guard);
        handler.route_layer(guard)
    };
    let metrics = guarded(Access::Right(Right::Read), get(metrics_text));
    let mut router = Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/metrics", metrics);
    for operation in operations() {
        let handler = guarded(operation.access, operation.handler);
        router = router.route(operation.path, handler);
    }
    router
}

async fn openapi() -> Json<serde_json::Value> {
    Json(operation::document(&operations()))
}

async fn metrics_text(
    app: axum::extract::State<App>,
) -> Result<impl axum::response::IntoResponse, error::ApiError> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], operate::metrics(app).await?))
}

const LIMIT: &[(&str, &str)] = &[("limit", "rows at most, up to 1000; 100 without it")];

const PAGE: &[(&str, &str)] = &[("after", "the last device of the page before"), LIMIT[0]];

/// Every operation, in the order of the document.
fn operations() -> Vec<Operation> {
    use view::{
        AlertView, AuditView, DatasetView, DeviceDetailView, DeviceView, ModelView,
        RolloutDetailView, RolloutView, RunDetailView, RunView, TriggerView,
    };
    let read = |path, summary, query, response, handler| Operation {
        method: "get",
        path,
        summary,
        access: Access::Right(Right::Read),
        trace: Trace::Entry,
        query,
        request: Content::Nothing,
        status: 200,
        response,
        handler,
    };
    let manage = |path, summary, request, status, response, handler| Operation {
        method: "post",
        path,
        summary,
        access: Access::Right(Right::Operate),
        trace: Trace::Entry,
        query: &[],
        request,
        status,
        response,
        handler,
    };
    let mut operations = vec![
        Operation {
            access: Access::Open,
            ..read(
                "/health",
                "Whether the process answers",
                &[],
                Content::json::<make::Health>(),
                get(make::health),
            )
        },
        Operation {
            access: Access::Open,
            ..read(
                "/ready",
                "Whether the store answers, too",
                &[],
                Content::json::<make::Health>(),
                get(make::ready),
            )
        },
        read(
            "/api/v1/fleet",
            "The fleet in figures",
            &[("since_ms", "count labels from here on")],
            Content::json::<operate::FleetView>(),
            get(operate::fleet),
        ),
        read(
            "/api/v1/devices",
            "Devices in the order of their ids",
            PAGE,
            Content::json::<Vec<DeviceView>>(),
            get(device::list),
        ),
        manage(
            "/api/v1/devices",
            "Enrol a device whose request an operator brings, and vouches for",
            Content::json::<enrol::Registration>(),
            201,
            Content::json::<enrol::Registered>(),
            post(enrol::register),
        ),
        Operation {
            access: Access::Open,
            ..manage(
                "/api/v1/enrol",
                "Enrol the calling device, which made its own key, by a class token or claim; bytes in and out",
                Content::Bytes,
                200,
                Content::Bytes,
                post(enrol::enrol),
            )
        },
        read(
            "/api/v1/devices/{device}",
            "One device",
            &[],
            Content::json::<DeviceDetailView>(),
            get(device::show),
        ),
        Operation {
            method: "delete",
            ..manage(
                "/api/v1/devices/{device}",
                "Take a device's right to speak away",
                Content::Nothing,
                204,
                Content::Nothing,
                delete(device::revoke),
            )
        },
        manage(
            "/api/v1/devices/{device}/ddi",
            "Let a device poll the hawkBit DDI, or give it a new token; it is shown this once",
            Content::json::<ddi::TargetWish>(),
            201,
            Content::json::<ddi::MadeTarget>(),
            post(ddi::make_target),
        ),
        manage(
            "/api/v1/devices/{device}/allow",
            "Let a device that is known enrol once more: it was revoked, or lost its key",
            Content::json::<device::Permit>(),
            204,
            Content::Nothing,
            post(device::allow),
        ),
        read(
            "/api/v1/class-tokens",
            "Every class token, without what its devices are given",
            &[],
            Content::json::<Vec<enrol::ClassTokenView>>(),
            get(enrol::tokens),
        ),
        manage(
            "/api/v1/class-tokens",
            "Make a class token, which enrols so many devices of one board into one cohort; it is shown this once",
            Content::json::<enrol::ClassTokenWish>(),
            201,
            Content::json::<enrol::MadeClassToken>(),
            post(enrol::make_token),
        ),
        Operation {
            method: "delete",
            ..manage(
                "/api/v1/class-tokens/{token}",
                "End a class token: it enrols nobody any more",
                Content::Nothing,
                204,
                Content::Nothing,
                delete(enrol::revoke_token),
            )
        },
        read(
            "/api/v1/claims",
            "Who signs claims, and the claims that were used or revoked",
            &[],
            Content::json::<enrol::ClaimsView>(),
            get(enrol::claims),
        ),
        Operation {
            method: "delete",
            ..manage(
                "/api/v1/claims/{serial}",
                "End a claim, used or not: it enrols nobody any more",
                Content::Nothing,
                204,
                Content::Nothing,
                delete(enrol::revoke_claim),
            )
        },
        Operation {
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/claim-authorities",
                "Let the claims that an authority signs count from now on",
                Content::json::<enrol::AuthorityWish>(),
                201,
                Content::Nothing,
                post(enrol::trust),
            )
        },
        Operation {
            method: "delete",
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/claim-authorities/{name}",
                "Let nothing that an authority signed count any more",
                Content::Nothing,
                204,
                Content::Nothing,
                delete(enrol::distrust),
            )
        },
        Operation {
            access: Access::Right(Right::Administer),
            ..read(
                "/api/v1/tokens",
                "Every access token, without what its holder shows",
                &[],
                Content::json::<Vec<token::TokenView>>(),
                get(token::list),
            )
        },
        Operation {
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/tokens",
                "Make an access token; it is shown this once",
                Content::json::<token::TokenWish>(),
                201,
                Content::json::<token::MadeToken>(),
                post(token::make),
            )
        },
        Operation {
            method: "delete",
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/tokens/{name}",
                "End an access token: its next call is refused",
                Content::Nothing,
                204,
                Content::Nothing,
                delete(token::revoke),
            )
        },
        Operation {
            access: Access::Device,
            trace: Trace::Record,
            ..manage(
                "/api/v1/reports",
                "Report: an envelope, as over MQTT; the answer means stored",
                Content::Bytes,
                200,
                Content::json::<device::Receipt>(),
                post(device::report),
            )
        },
        Operation {
            access: Access::Right(Right::Carry),
            trace: Trace::Record,
            ..manage(
                "/api/v1/gateway/exchange",
                "Bring the envelopes of many devices, take what these are owed; the answer means stored",
                Content::json::<gateway::Brought>(),
                200,
                Content::json::<gateway::Taken>(),
                post(gateway::exchange),
            )
        },
        Operation {
            access: Access::Right(Right::Carry),
            trace: Trace::Record,
            query: &[("event", "which event it is: up, join, txack, ack, log")],
            ..manage(
                "/api/v1/lorawan/chirpstack",
                "Bring an event of ChirpStack v4, take the downlink that follows; the answer means stored",
                Content::Bytes,
                200,
                Content::json::<lorawan::Taken>(),
                post(lorawan::chirpstack),
            )
        },
        Operation {
            access: Access::Right(Right::Carry),
            trace: Trace::Record,
            ..manage(
                "/api/v1/lorawan/tts",
                "Bring an event of The Things Stack v3, take the downlink that follows; the answer means stored",
                Content::Bytes,
                200,
                Content::json::<lorawan::Taken>(),
                post(lorawan::the_things_stack),
            )
        },
        Operation {
            access: Access::Device,
            ..read(
                "/api/v1/owed",
                "What the calling device is owed: offers, requests",
                &[],
                Content::json::<device::OwedView>(),
                get(device::owed),
            )
        },
        Operation {
            access: Access::DeviceOr(Right::Read),
            ..read(
                "/api/v1/capsules/{digest}",
                "A capsule, or a byte range of it",
                &[],
                Content::Bytes,
                get(device::capsule),
            )
        },
        read(
            "/api/v1/models",
            "Every version, newest first within its name",
            &[],
            Content::json::<Vec<ModelView>>(),
            get(make::models),
        ),
        read(
            "/api/v1/models/{name}/{version}",
            "One version and its capsules",
            &[],
            Content::json::<make::ModelDetailView>(),
            get(make::model_version),
        ),
        read(
            "/api/v1/models/{name}/{version}/cost",
            "What a version's wrong answers cost on its test windows, by alarm threshold",
            &[("threshold", "one more alarm threshold to price")],
            Content::json::<worth::BillView>(),
            get(worth::cost),
        ),
        read(
            "/api/v1/models/{name}/{version}/worth",
            "What a version saves against no model and against the version before",
            &[("against", "number of another version")],
            Content::json::<worth::AppraisalView>(),
            get(worth::worth),
        ),
        read(
            "/api/v1/catalog",
            "Find data, models, runs, experiments, devices, cohorts and recordings, best first",
            &[
                ("q", "what to look for, as docs/guide/catalog.md lists it"),
                ("offset", "entries to leave out before the page"),
                ("limit", "entries of the page, 100 unless said, 500 at most"),
            ],
            Content::json::<catalog::PageView>(),
            get(catalog::find),
        ),
        read(
            "/api/v1/costs",
            "What labelled windows of the field cost, by span, cohort and model",
            &[
                ("days", "how far back, 30 unless said"),
                ("every", "days of one span, 1 unless said"),
            ],
            Content::json::<Vec<worth::CostSpanView>>(),
            get(worth::costs),
        ),
        read(
            "/api/v1/models/{name}/{version}/standing",
            "What keeps a version from production, and who approved it",
            &[],
            Content::json::<StandingView>(),
            get(make::standing),
        ),
        manage(
            "/api/v1/models/{name}/{version}/approve",
            "Approve a version, as the role of whoever asks",
            Content::json::<operate::Why>(),
            200,
            Content::json::<StandingView>(),
            post(make::approve),
        ),
        read(
            "/api/v1/runs",
            "Runs, newest first",
            LIMIT,
            Content::json::<Vec<RunView>>(),
            get(make::runs),
        ),
        manage(
            "/api/v1/runs",
            "Ask for a run of the pipeline; what passes its gates goes out if `[retrain] rollout` says so",
            Content::json::<make::RunWish>(),
            202,
            Content::json::<TriggerView>(),
            post(make::ask_for_run),
        ),
        read(
            "/api/v1/runs/{run}",
            "One run with its steps",
            &[],
            Content::json::<RunDetailView>(),
            get(make::run_detail),
        ),
        read(
            "/api/v1/triggers",
            "What was asked of the pipeline, newest first",
            LIMIT,
            Content::json::<Vec<TriggerView>>(),
            get(make::triggers),
        ),
        read(
            "/api/v1/datasets",
            "The dataset versions of a project, newest first",
            &[("project", "its name")],
            Content::json::<Vec<DatasetView>>(),
            get(make::datasets),
        ),
        Operation {
            access: Access::Open,
            trace: Trace::Record,
            ..manage(
                "/api/v1/recordings",
                "Take a recording that a device has signed (docs/formats/recording.md)",
                Content::Bytes,
                201,
                Content::json::<recording::Kept>(),
                post(recording::take),
            )
        },
        read(
            "/api/v1/uploads",
            "Recordings that came over the network, newest first",
            LIMIT,
            Content::json::<Vec<UploadView>>(),
            get(upload::list),
        ),
        read(
            "/api/v1/upload-devices",
            "The devices that such recordings name",
            &[],
            Content::json::<Vec<UploadDeviceView>>(),
            get(upload::devices),
        ),
        read(
            "/api/v1/lineage",
            "From recordings over datasets, models and capsules to devices, whichever is asked for",
            &[(
                "of",
                "a recording or group, a digest or its first six digits, a model, a model id, or a device",
            )],
            Content::json::<crate::LineageGraph>(),
            get(make::lineage_graph),
        ),
        read(
            "/api/v1/lineage/{name}",
            "Where a digest, or the model id of a report, came from",
            &[],
            Content::json::<make::LineageView>(),
            get(make::lineage_of),
        ),
        read(
            "/api/v1/rollouts",
            "Rollouts, newest first",
            LIMIT,
            Content::json::<Vec<RolloutView>>(),
            get(operate::rollouts),
        ),
        Operation {
            access: Access::Right(Right::Release),
            ..manage(
                "/api/v1/rollouts",
                "Sign a version and begin its rollout",
                Content::json::<operate::RolloutWish>(),
                201,
                Content::json::<RolloutView>(),
                post(operate::start_rollout),
            )
        },
        read(
            "/api/v1/rollouts/{rollout}",
            "One rollout with its devices",
            &[],
            Content::json::<RolloutDetailView>(),
            get(operate::rollout_detail),
        ),
        manage(
            "/api/v1/rollouts/{rollout}/pause",
            "Offer it to nobody new",
            Content::json::<operate::Why>(),
            200,
            Content::json::<RolloutView>(),
            post(operate::pause_rollout),
        ),
        manage(
            "/api/v1/rollouts/{rollout}/resume",
            "Let it go on",
            Content::Nothing,
            200,
            Content::json::<RolloutView>(),
            post(operate::resume_rollout),
        ),
        manage(
            "/api/v1/rollouts/{rollout}/install",
            "Let its devices install what they have fetched and keep (of a plan that installs `later`)",
            Content::Nothing,
            200,
            Content::json::<RolloutView>(),
            post(operate::install_rollout),
        ),
        manage(
            "/api/v1/rollouts/{rollout}/revert",
            "Take its devices back to what they ran before",
            Content::json::<operate::Why>(),
            200,
            Content::json::<RolloutView>(),
            post(operate::revert_rollout),
        ),
        manage(
            "/api/v1/models/{name}/take-back",
            "Take the fleet back from a model's newest version to the one before",
            Content::json::<operate::Why>(),
            200,
            Content::json::<Vec<RolloutView>>(),
            post(operate::take_back),
        ),
        read(
            "/api/v1/alerts",
            "Alerts, newest first",
            LIMIT,
            Content::json::<Vec<AlertView>>(),
            get(alert::list),
        ),
        manage(
            "/api/v1/alerts/{alert}/acknowledge",
            "Say that someone knows",
            Content::Nothing,
            200,
            Content::json::<AlertView>(),
            post(alert::acknowledge),
        ),
        manage(
            "/api/v1/alerts/{alert}/mute",
            "Leave it alone until then: it calls for no repair, and no webhook tells of it",
            Content::json::<alert::Mute>(),
            200,
            Content::json::<AlertView>(),
            post(alert::mute),
        ),
        manage(
            "/api/v1/alerts/{alert}/resolve",
            "Say that it is over, and why",
            Content::json::<alert::Resolution>(),
            200,
            Content::json::<AlertView>(),
            post(alert::resolve),
        ),
        Operation {
            access: Access::Right(Right::Administer),
            ..read(
                "/api/v1/webhooks",
                "Who is told of alerts, without their secrets",
                &[],
                Content::json::<Vec<WebhookView>>(),
                get(alert::webhooks),
            )
        },
        Operation {
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/webhooks",
                "Tell a receiver of alerts from now on; its secret is shown this once",
                Content::json::<alert::WebhookWish>(),
                201,
                Content::json::<AddedWebhook>(),
                post(alert::add_webhook),
            )
        },
        Operation {
            method: "delete",
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/webhooks/{name}",
                "Tell a receiver of nothing any more, nor of what it is still owed",
                Content::Nothing,
                204,
                Content::Nothing,
                delete(alert::remove_webhook),
            )
        },
        Operation {
            access: Access::Right(Right::Administer),
            ..manage(
                "/api/v1/webhooks/{name}/test",
                "Send a receiver an event that tells of nothing",
                Content::Nothing,
                202,
                Content::json::<DeliveryView>(),
                post(alert::test_webhook),
            )
        },
        read(
            "/api/v1/webhook-deliveries",
            "What webhooks were sent or are owed, newest first",
            LIMIT,
            Content::json::<Vec<DeliveryView>>(),
            get(alert::deliveries),
        ),
        read(
            "/api/v1/episodes",
            "Drifts, what was done about each, and whether it helped, newest first",
            LIMIT,
            Content::json::<Vec<episode::EpisodeView>>(),
            get(episode::list),
        ),
        read(
            "/api/v1/repairs",
            "What is done about drifts, rung by rung, newest first",
            LIMIT,
            Content::json::<Vec<RepairView>>(),
            get(repair::list),
        ),
        read(
            "/api/v1/repairs/{repair}",
            "One repair, with every step",
            &[],
            Content::json::<RepairView>(),
            get(repair::show),
        ),
        manage(
            "/api/v1/repairs/{repair}/end",
            "End a repair: no further rung is tried, and what it has sent out stays as it is",
            Content::json::<repair::Stop>(),
            200,
            Content::json::<RepairView>(),
            post(repair::stop),
        ),
        read(
            "/api/v1/labels",
            "What people know of the newest windows of devices, newest first",
            LIMIT,
            Content::json::<Vec<LabelView>>(),
            get(label::list),
        ),
        manage(
            "/api/v1/labels",
            "Label the newest windows of a device; it is told once, when it is there",
            Content::json::<label::Wish>(),
            201,
            Content::json::<LabelView>(),
            post(label::add),
        ),
        manage(
            "/api/v1/devices/{device}/take-labels-back",
            "Take back what was labelled on a device: it lets go of the head of its own, and is told once, when it is there",
            Content::json::<label::TakeBack>(),
            201,
            Content::json::<LabelView>(),
            post(label::take_back),
        ),
        read(
            "/api/v1/annotations",
            "Orders for windows that devices choose for an annotator, newest first",
            LIMIT,
            Content::json::<Vec<AnnotationView>>(),
            get(annotation::list),
        ),
        manage(
            "/api/v1/annotations",
            "Ask devices for the few windows that are worth a look; those whose owners have not consented refuse",
            Content::json::<annotation::Wish>(),
            201,
            Content::json::<Vec<AnnotationView>>(),
            post(annotation::ask),
        ),
        Operation {
            access: Access::Right(Right::Operate),
            ..read(
                "/api/v1/annotations/{order}/parcel",
                "The windows of an order as they came: sealed, to be opened with the annotator's key alone",
                &[],
                Content::Bytes,
                get(annotation::parcel),
            )
        },
        read(
            "/api/v1/audit",
            "Who changed what, newest first",
            LIMIT,
            Content::json::<Vec<AuditView>>(),
            get(operate::audit_log),
        ),
    ];
    operations.extend(round::operations());
    operations.extend(ddi::operations());
    operations
}
