//! Network servers over HTTP: their events come in, the downlink that follows from each goes back in the answer.
//!
//! ChirpStack and The Things Stack post events and do not read answers: whoever posts for them (`tinyops gateway`
//! from their MQTT broker, a function of theirs) queues the downlink there.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::FleetError;
use tinyops_fleet::lorawan::{Heard, Network, RadioUplink};
use tinyops_store::DeviceId;
use tracing::{debug, warn};

use super::device::store;
use super::error::ApiError;
use super::frame::Query;
use super::gateway::is_boot;
use crate::app::App;
use crate::text::Text;

/// Which event of ChirpStack it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    #[serde(default)]
    event: String,
}

/// What became of an event.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Taken {
    /// Whether it completed a report, and that was stored; false for one that no repetition could make right.
    kept: Option<bool>,
    /// The downlink to queue now, if there is one.
    down: Option<Down>,
    /// Further payloads that wait for the device: each needs an uplink.
    waiting: usize,
}

/// A downlink in the network server's own words.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Down {
    /// DevEUI.
    device: Text<DeviceId>,
    /// ChirpStack: payload of `application/…/device/…/command/down`. The Things Stack: of `v3/…/devices/…/down/push`.
    document: serde_json::Value,
}

pub(super) async fn chirpstack(
    app: State<App>,
    Query(kind): Query<Kind>,
    document: Bytes,
) -> Result<Json<Taken>, ApiError> {
    take(app, Network::ChirpStack, &kind.event, &document).await
}

pub(super) async fn the_things_stack(
    app: State<App>,
    document: Bytes,
) -> Result<Json<Taken>, ApiError> {
    take(app, Network::TheThingsStack, "", &document).await
}

async fn take(
    State(app): State<App>,
    network: Network,
    kind: &str,
    document: &[u8],
) -> Result<Json<Taken>, ApiError> {
    let heard = network.read(kind, document).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "event",
            error.to_string(),
            "ChirpStack posts JSON with `?event=up`; The Things Stack posts its JSON format",
        )
    })?;
    let radios = &app.inner().radios;
    match heard {
        Heard::Uplink(uplink) => hear(&app, network, &uplink).await.map(Json),
        Heard::Joined(device) => {
            radios.forget(device);
            Ok(Json(Taken::default()))
        }
        Heard::NotSent(device, why) => {
            warn!(%device, why, "the network did not send a downlink");
            Ok(Json(Taken::default()))
        }
        heard => {
            debug!(?heard, "event of a network server");
            Ok(Json(Taken::default()))
        }
    }
}

async fn hear(app: &App, network: Network, uplink: &RadioUplink) -> Result<Taken, ApiError> {
    let (fleet, radios) = (app.fleet(), &app.inner().radios);
    let (device, factor) = (uplink.device, uplink.spreading_factor);
    let mut kept = None;
    let mut is_anew = false;
    if let Some(message) = fleet.lengthen(radios, uplink).await? {
        let booted = is_boot(&message);
        let verdict = store(app, [(Some(device), message)]).await?.remove(0);
        kept = Some(verdict.kept);
        is_anew = verdict.kept && booted;
        fleet.queue(radios, device, &verdict.down, factor).await?;
    }
    let owed = if is_anew {
        match fleet.owed(device, app.now()).await {
            Err(FleetError::NoDevice(_)) => Vec::new(),
            owed => owed?,
        }
    } else {
        let owed = fleet.owed_many(&[device], app.now()).await?;
        owed.into_iter()
            .flat_map(|(_, messages)| messages)
            .collect()
    };
    fleet.queue(radios, device, &owed, factor).await?;
    let down = radios.next(device, factor).map(|payload| Down {
        device: Text(device),
        document: network.write(device, &payload),
    });
    Ok(Taken {
        kept,
        down,
        waiting: radios.waiting(device),
    })
}
