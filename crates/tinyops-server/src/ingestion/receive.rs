//! Bytes on their way to the disk.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody as _};
use tinyops_pipeline::upload::{Delivery, Inlet};
use tinyops_store::upload::Upload;

use super::error::IngestError;
use crate::app::App;

/// Bytes that are held before they are written.
const HELD_BYTES: usize = 1 << 20;

/// A recording that comes in.
pub(super) struct Receiving {
    inlet: Inlet,
    held: Vec<u8>,
}

impl Receiving {
    pub(super) fn open(app: &App) -> Result<Receiving, IngestError> {
        Ok(Receiving {
            inlet: Inlet::open(app.workshop())?,
            held: Vec::new(),
        })
    }

    pub(super) async fn take_body(&mut self, mut body: Body) -> Result<(), IngestError> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| IngestError::bad("the body broke off"))?;
            if let Ok(chunk) = frame.into_data() {
                self.take(&chunk).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn take(&mut self, chunk: &[u8]) -> Result<(), IngestError> {
        self.held.extend_from_slice(chunk);
        if self.held.len() >= HELD_BYTES {
            self.write()?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// A mebibyte goes to the system's own cache in less than the millisecond that a change of threads may take.
    fn write(&mut self) -> Result<(), IngestError> {
        let written = self.inlet.write(&self.held);
        self.held.clear();
        Ok(written?)
    }

    pub(super) async fn keep(
        mut self,
        app: &App,
        delivery: Delivery,
    ) -> Result<Upload, IngestError> {
        self.write()?;
        self.held = Vec::new();
        Ok(self.inlet.keep(app.workshop(), delivery).await?)
    }
}
