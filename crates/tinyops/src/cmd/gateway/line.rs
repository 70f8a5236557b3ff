//! One line of bytes: where it leads, and the frames on it.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use tinyops_server::{Stream, StreamListener};
use tinyops_wire::serial::{BODY_BYTES_MAX, Decoder, Message, OVERHEAD, line_bytes_max};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{
    backoff::Backoff,
    hub::{Hub, LineId},
};
use crate::endpoint::Endpoint;

/// Where a line leads.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A serial port, at this speed.
    Tty(PathBuf, u32),
    /// A server of bytes: a terminal server, an emulator, a concentrator.
    Tcp(Endpoint),
}

/// How envelopes lie on the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The serial link of `docs/formats/serial.md`.
    Cobs,
    /// Exchanges of SMP on a console (`docs/formats/smp.md`).
    Smp,
}

/// Both directions of an open line.
pub(super) struct Ends {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Ends {
    fn of(stream: Box<dyn Stream>) -> Ends {
        let (reader, writer) = tokio::io::split(stream);
        Ends {
            reader: Box::new(reader),
            writer: Box::new(writer),
        }
    }
}

impl Place {
    pub(super) fn name(&self) -> String {
        match self {
            Place::Tty(path, _) => path.display().to_string(),
            Place::Tcp(endpoint) => endpoint.to_string(),
        }
    }

    async fn open(&self) -> io::Result<Ends> {
        match self {
            Place::Tty(path, baud) => super::tty::open(path, *baud),
            Place::Tcp(endpoint) => Ok(Ends::of(endpoint.connect().await?)),
        }
    }
}

/// Keeps a line open for ever: when it breaks or is not there, it is opened again.
pub(super) async fn keep(place: Place, framing: Framing, hub: Arc<Hub>) {
    let mut backoff = Backoff::default();
    loop {
        match place.open().await {
            Ok(ends) => {
                backoff = Backoff::default();
                tracing::info!(line = place.name(), "open");
                let why = serve(ends, framing, &hub).await;
                tracing::warn!(line = place.name(), %why, "closed");
            }
            Err(why) => tracing::warn!(line = place.name(), %why, "not open"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Takes in whoever connects, each on a line of its own.
pub(super) async fn accept(mut listener: StreamListener, framing: Framing, hub: Arc<Hub>) {
    loop {
        let (stream, peer) = listener.accept().await;
        tokio::spawn(serve_peer(stream, peer, framing, Arc::clone(&hub)));
    }
}

async fn serve_peer(stream: Box<dyn Stream>, peer: SocketAddr, framing: Framing, hub: Arc<Hub>) {
    tracing::info!(%peer, "connected");
    let why = serve(Ends::of(stream), framing, &hub).await;
    tracing::info!(%peer, %why, "gone");
}

/// Carries frames until the line breaks; answers with why it did.
async fn serve(ends: Ends, framing: Framing, hub: &Hub) -> io::Error {
    let (id, down) = hub.open();
    let why = match framing {
        Framing::Cobs => {
            let (says, said) = mpsc::channel(1);
            tokio::select! {
                why = read(ends.reader, id, hub, says) => why,
                why = write(ends.writer, down, said) => why,
            }
        }
        Framing::Smp => super::smp::serve(ends, id, down, hub).await,
    };
    hub.close(id);
    why
}

async fn read(
    mut reader: Box<dyn AsyncRead + Send + Unpin>,
    id: LineId,
    hub: &Hub,
    says: mpsc::Sender<()>,
) -> io::Error {
    let mut decoder = Box::new(Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new());
    let mut chunk = [0; 1024];
    loop {
        let bytes = match reader.read(&mut chunk).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => &chunk[..count],
            Err(error) => return error,
        };
        for &byte in bytes {
            match decoder.push(byte) {
                None => {}
                Some(Ok(Message::Up(envelope))) => hub.up(id, envelope),
                Some(Ok(Message::Room { body_bytes })) => {
                    hub.set_room(id, usize::from(body_bytes));
                    // A device that begins wants to know ours; one answer is enough, and no device answers that.
                    let _ = says.try_send(());
                }
                Some(Ok(_) | Err(_)) => hub.damaged(),
            }
        }
    }
}

async fn write(
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
    mut down: mpsc::Receiver<Vec<u8>>,
    mut said: mpsc::Receiver<()>,
) -> io::Error {
    let room = Message::Room {
        body_bytes: BODY_BYTES_MAX as u16,
    };
    if let Err(error) = put(&mut writer, &room).await {
        return error;
    }
    loop {
        let put = tokio::select! {
            Some(()) = said.recv() => put(&mut writer, &room).await,
            Some(envelope) = down.recv() => put(&mut writer, &Message::Down(&envelope)).await,
            else => return io::ErrorKind::BrokenPipe.into(),
        };
        if let Err(error) = put {
            return error;
        }
    }
}

async fn put(
    writer: &mut Box<dyn AsyncWrite + Send + Unpin>,
    message: &Message<'_>,
) -> io::Result<()> {
    let body_bytes = match message {
        Message::Down(envelope) => envelope.len(),
        _ => 2,
    };
    let mut line = vec![0; line_bytes_max(body_bytes)];
    let written = message.encode(&mut line).map_err(io::Error::other)?;
    writer.write_all(&line[..written]).await?;
    writer.flush().await
}
