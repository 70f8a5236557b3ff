//! A device's link to a gateway: the serial link over a TCP stream, plain or through TLS.

use std::{io, time::Duration};

use tinyops_server::Stream;
use tinyops_wire::serial::{BODY_BYTES_MAX, Decoder, Message, OVERHEAD, line_bytes_max};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinHandle,
};

use super::way::{Down, Inbox};
use crate::endpoint::Endpoint;

/// One line; what comes down is in the inbox it was opened with.
pub(crate) struct Line {
    up: mpsc::Sender<Vec<u8>>,
    pump: JoinHandle<()>,
}

impl Line {
    /// Connects, and connects again whenever the line breaks. As on a wire, what is sent in between is lost.
    pub(crate) fn open(gateway: Endpoint) -> (Self, Inbox) {
        let (up, outbox) = mpsc::channel(64);
        let (inbox, receiver) = mpsc::channel(256);
        let pump = tokio::spawn(pump(gateway, outbox, inbox));
        (Self { up, pump }, receiver)
    }

    /// Sends an envelope; false when the line is gone for good.
    pub(crate) async fn send(&self, bytes: Vec<u8>) -> bool {
        self.up.send(bytes).await.is_ok()
    }

    /// How many envelopes are not on the line yet.
    pub(crate) fn in_flight(&self) -> u64 {
        (self.up.max_capacity() - self.up.capacity()) as u64
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn pump(gateway: Endpoint, mut outbox: mpsc::Receiver<Vec<u8>>, inbox: mpsc::Sender<Down>) {
    let mut is_well = true;
    loop {
        match gateway.connect().await {
            Ok(stream) => {
                is_well = true;
                if let Err(error) = carry(stream, &mut outbox, &inbox).await {
                    tracing::debug!(%error, "line lost");
                }
            }
            Err(error) => {
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(%gateway, %error, "no line; it is tried again");
                }
            }
        }
        if outbox.is_closed() && outbox.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn carry(
    stream: Box<dyn Stream>,
    outbox: &mut mpsc::Receiver<Vec<u8>>,
    inbox: &mpsc::Sender<Down>,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut decoder = Box::new(Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new());
    let mut chunk = [0; 1024];
    let room = Message::Room {
        body_bytes: BODY_BYTES_MAX as u16,
    };
    writer.write_all(&line_of(&room, 2)?).await?;
    writer.flush().await?;
    loop {
        tokio::select! {
            read = reader.read(&mut chunk) => {
                let count = read?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                for &byte in &chunk[..count] {
                    if let Some(Ok(Message::Down(envelope))) = decoder.push(byte)
                        && inbox.send(Down::Envelope(envelope.to_vec())).await.is_err()
                    {
                        return Ok(());
                    }
                }
            }
            envelope = outbox.recv() => {
                let Some(envelope) = envelope else { return Ok(()) };
                writer.write_all(&line_of(&Message::Up(&envelope), envelope.len())?).await?;
                writer.flush().await?;
            }
        }
    }
}

fn line_of(message: &Message<'_>, body_bytes: usize) -> io::Result<Vec<u8>> {
    let mut line = vec![0; line_bytes_max(body_bytes)];
    let written = message.encode(&mut line).map_err(io::Error::other)?;
    line.truncate(written);
    Ok(line)
}
