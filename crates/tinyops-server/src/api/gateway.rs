//! Gateways over HTTP: envelopes of many devices go up, what these devices are owed comes down.
//!
//! A gateway is a pipe. It has no device's key, so it can neither read what proves an envelope nor
//! make one; what it brings is judged as if each device had brought it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::FleetError;
use tinyops_store::DeviceId;
use tinyops_wire::Frame;
use tinyops_wire::envelope::{BODY_OFFSET, OVERHEAD};

use super::device::store;
use super::error::ApiError;
use super::frame::Body;
use crate::app::App;
use crate::text::{Text, hex, unhex};

/// Envelopes in one exchange at most.
const UP_COUNT_MAX: usize = 256;
/// Devices behind one gateway at most.
const DEVICES_MAX: usize = 2048;

/// What a gateway brings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Brought {
    /// Sealed envelopes, each in hex; at most 256.
    #[serde(default)]
    up: Vec<String>,
    /// Devices that it can reach now; at most 2048.
    #[serde(default)]
    devices: Vec<Text<DeviceId>>,
    /// An answer may have been lost: tell these devices anew, whatever they were told before.
    #[serde(default)]
    again: bool,
}

/// What it takes with it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Taken {
    /// For each envelope, in order: false for one that no repetition could make right; it was counted.
    kept: Vec<bool>,
    /// Sealed envelopes, in the order in which they should go out.
    down: Vec<Delivery>,
}

/// An envelope for a device.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Delivery {
    device: Text<DeviceId>,
    /// In hex.
    message: String,
}

pub(super) async fn exchange(
    State(app): State<App>,
    Body(brought): Body<Brought>,
) -> Result<Json<Taken>, ApiError> {
    if brought.up.len() > UP_COUNT_MAX || brought.devices.len() > DEVICES_MAX {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "too_many",
            format!(
                "{} envelopes and {} devices in one exchange",
                brought.up.len(),
                brought.devices.len()
            ),
            "at most 256 envelopes and 2048 devices: make several exchanges",
        ));
    }
    let mut reports = Vec::with_capacity(brought.up.len());
    for (index, text) in brought.up.iter().enumerate() {
        let bytes = unhex(text).ok_or_else(|| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "hex",
                format!("envelope {index} is not hex"),
                "two digits for each byte",
            )
        })?;
        reports.push((None, bytes));
    }
    let is_boot: Vec<bool> = reports.iter().map(|(_, bytes)| is_boot(bytes)).collect();
    let verdicts = store(&app, reports).await?;
    let kept = verdicts.iter().map(|verdict| verdict.kept).collect();
    let devices: Vec<DeviceId> = brought.devices.into_iter().map(|Text(id)| id).collect();
    let mut anew = if brought.again {
        devices.clone()
    } else {
        Vec::new()
    };
    let mut down = Vec::new();
    for (verdict, is_boot) in verdicts.into_iter().zip(is_boot) {
        let Some(device) = verdict.device else {
            continue;
        };
        if verdict.kept && is_boot && !anew.contains(&device) {
            anew.push(device);
        }
        down.extend(deliveries(device, verdict.down));
    }
    for &device in &anew {
        match app.fleet().owed(device, app.now()).await {
            Ok(messages) => down.extend(deliveries(device, messages)),
            // A gateway names whom it hears; strangers are owed nothing.
            Err(FleetError::NoDevice(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Those just told are not told twice.
    for (device, messages) in app.fleet().owed_many(&devices, app.now()).await? {
        down.extend(deliveries(device, messages));
    }
    Ok(Json(Taken { kept, down }))
}

/// Whether an envelope says that its device has booted: it may have missed what it was told before.
pub(super) fn is_boot(envelope: &[u8]) -> bool {
    let end = envelope.len().saturating_sub(OVERHEAD - BODY_OFFSET);
    let body = envelope.get(BODY_OFFSET..end).unwrap_or_default();
    matches!(Frame::decode(body), Ok(Frame::Hello(_)))
}

fn deliveries(device: DeviceId, messages: Vec<Vec<u8>>) -> impl Iterator<Item = Delivery> {
    messages.into_iter().map(move |message| Delivery {
        device: Text(device),
        message: hex(&message),
    })
}
