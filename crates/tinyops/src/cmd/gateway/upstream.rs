//! The way to the server: envelopes up, what devices are owed down, again and again.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tinyops_server::{hex, unhex};
use tinyops_wire::DeviceId;

use super::{backoff::Backoff, hub::Hub};
use crate::{endpoint::Endpoint, http};

/// Envelopes of one exchange at most.
const BATCH_COUNT: usize = 64;
/// Their bytes at most: in hex they stay well under the server's limit for a body.
const BATCH_BYTES: usize = 16 * 1024;

/// Where the server is and how to speak to it.
pub(super) struct Upstream {
    pub(super) server: Endpoint,
    pub(super) token: Option<String>,
    /// Time between two questions what devices are owed.
    pub(super) poll: Duration,
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Unreachable(#[from] std::io::Error),
    #[error("the server answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("the server's answer is not that of a TinyOps server")]
    Answer,
}

impl Upstream {
    /// Exchanges for ever. A failed exchange loses nothing: its envelopes stay, and devices are told anew.
    pub(super) async fn keep(&self, hub: Arc<Hub>) {
        let mut backoff = Backoff::default();
        // Another gateway, or this one before it was started anew, may have been told what never arrived.
        let mut again = true;
        let mut was_well = true;
        loop {
            match self.exchange(&hub, again).await {
                Ok(is_empty) => {
                    if !std::mem::replace(&mut was_well, true) {
                        tracing::info!(server = %self.server, "the server answers again");
                    }
                    (backoff, again) = (Backoff::default(), false);
                    if is_empty {
                        let _ = tokio::time::timeout(self.poll, hub.waiting.notified()).await;
                    }
                }
                Err(why) => {
                    hub.failed();
                    if std::mem::replace(&mut was_well, false) {
                        tracing::warn!(server = %self.server, %why, "no exchange; envelopes wait");
                    }
                    again = true;
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// One exchange; true if nothing more waits.
    async fn exchange(&self, hub: &Hub, again: bool) -> Result<bool, Problem> {
        let batch = hub.batch(BATCH_COUNT, BATCH_BYTES);
        let up: Vec<String> = batch.envelopes.iter().map(|bytes| hex(bytes)).collect();
        let devices: Vec<String> = hub.devices().iter().map(DeviceId::to_string).collect();
        let brought = json!({ "up": up, "devices": devices, "again": again });
        let path = "/api/v1/gateway/exchange";
        let answer = http::post(&self.server, path, self.token.as_deref(), &brought).await?;
        let (status, document) = (answer.status, answer.document());
        if status != 200 {
            let message = document["message"].as_str().unwrap_or("no reason given");
            return Err(Problem::Refused {
                status,
                message: message.to_owned(),
            });
        }
        let kept = document["kept"].as_array().ok_or(Problem::Answer)?;
        if kept.len() != batch.envelopes.len() {
            return Err(Problem::Answer);
        }
        let is_empty = hub.stored(&batch, kept.iter().map(|kept| kept == &Value::Bool(true)));
        for delivery in document["down"].as_array().into_iter().flatten() {
            let device = delivery["device"]
                .as_str()
                .and_then(|text| text.parse().ok());
            let message = delivery["message"].as_str().and_then(unhex);
            if let (Some(device), Some(message)) = (device, message) {
                hub.down(device, message);
            }
        }
        Ok(is_empty)
    }
}
