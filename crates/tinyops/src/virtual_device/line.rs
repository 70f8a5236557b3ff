//! A device's link to a gateway: the serial link over a TCP stream, plain or through TLS.

use std::{io, time::Duration};

use tinyops_server::Stream;
use tinyops_wire::serial::{
    BODY_BYTES_MAX, Decoder, Message, NONCE_BYTES, OVERHEAD, line_bytes_max,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinHandle,
};

use super::way::{Down, Inbox};
use crate::endpoint::Endpoint;

/// A request to enrol that gets no answer is sent again after this long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often one is sent before a person is told.
const ASK_TIMES: u32 = 3;

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

/// Sends a request to enrol with this nonce until the gateway has an answer: an empty one is a refusal.
///
/// # Errors
/// What the line says; [`io::ErrorKind::TimedOut`] if no answer comes to any of the requests.
pub(crate) async fn enrol(
    line: impl AsyncRead + AsyncWrite,
    request: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = tokio::io::split(line);
    let mut decoder = Box::new(Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new());
    let request = line_of(&Message::Enrol(request), request.len())?;
    for _ in 0..ASK_TIMES {
        writer.write_all(&request).await?;
        writer.flush().await?;
        let heard = async {
            let mut chunk = [0; 1024];
            loop {
                let count = reader.read(&mut chunk).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                for &byte in &chunk[..count] {
                    // An answer to another device's request may be on the line as well.
                    if let Some(Ok(Message::Enrolled { nonce: of, answer })) = decoder.push(byte)
                        && of == nonce
                    {
                        return Ok(answer.to_vec());
                    }
                }
            }
        };
        if let Ok(heard) = tokio::time::timeout(ASK_AGAIN_AFTER, heard).await {
            return heard;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
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

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    /// Reads the next request on a gateway's end of a line.
    async fn request(line: &mut DuplexStream) -> Vec<u8> {
        let mut decoder = Decoder::<1024>::new();
        loop {
            let byte = line.read_u8().await.unwrap();
            if let Some(message) = decoder.push(byte) {
                let Ok(Message::Enrol(request)) = message else {
                    panic!("{message:?}");
                };
                return request.to_vec();
            }
        }
    }

    /// Lets a device ask at a gateway whose server is away for the first requests, and then answers.
    async fn ask(unheard: u32) -> io::Result<Vec<u8>> {
        let (own, mut gateway) = tokio::io::duplex(4096);
        let gateway = async {
            for _ in 0..unheard {
                assert_eq!(request(&mut gateway).await, b"let me in");
            }
            if unheard < ASK_TIMES {
                request(&mut gateway).await;
            }
            for (nonce, answer) in [
                ([2; NONCE_BYTES], &b"other"[..]),
                ([1; NONCE_BYTES], b"own"),
            ] {
                let answer = Message::Enrolled { nonce, answer };
                let bytes = line_of(&answer, NONCE_BYTES + 5).unwrap();
                // Who has given up is not there any more.
                let _ = gateway.write_all(&bytes).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = enrol(own, b"let me in", [1; NONCE_BYTES]) => answer,
            () = gateway => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_asks_again_until_it_is_answered() {
        assert_eq!(ask(0).await.unwrap(), b"own");
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(ASK_TIMES - 1).await.unwrap(), b"own");
        assert_eq!(begun.elapsed(), ASK_AGAIN_AFTER * (ASK_TIMES - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_without_an_answer_or_that_breaks_says_so() {
        let (own, gateway) = tokio::io::duplex(4096);
        let unheard = enrol(own, b"let me in", [1; NONCE_BYTES])
            .await
            .unwrap_err();
        assert_eq!(unheard.kind(), io::ErrorKind::TimedOut);
        drop(gateway);
        let (own, _) = tokio::io::duplex(4096);
        let broken = enrol(own, b"let me in", [1; NONCE_BYTES])
            .await
            .unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    }
}
