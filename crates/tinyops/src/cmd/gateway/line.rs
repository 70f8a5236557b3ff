//! One line of bytes: where it leads, and the frames on it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tinyops_server::{Stream, StreamListener};
use tinyops_wire::{
    enrolment::Received,
    serial::{BODY_BYTES_MAX, Decoder, Message, NONCE_BYTES, OVERHEAD, line_bytes_max},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    backoff::Backoff,
    hub::{Hub, LineId},
};
use crate::{
    endpoint::Endpoint,
    http::{self, OCTETS},
};

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

/// What all lines share.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) framing: Framing,
    pub(super) hub: Arc<Hub>,
    /// Where devices enrol.
    pub(super) server: Endpoint,
}

/// Both directions of an open line.
pub(super) struct Ends {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Ends {
    pub(super) fn of(stream: Box<dyn Stream>) -> Ends {
        let (reader, writer) = tokio::io::split(stream);
        Ends {
            reader: Box::new(reader),
            writer: Box::new(writer),
        }
    }

    /// A serial port at a speed, in bits a second.
    pub(super) fn of_port(path: &Path, baud: u32) -> io::Result<Ends> {
        let port = tinyops_emulate::open_serial(path, baud)?;
        Ok(Ends {
            reader: Box::new(tokio::fs::File::from_std(port.try_clone()?)),
            writer: Box::new(tokio::fs::File::from_std(port)),
        })
    }
}

impl Place {
    pub(super) fn name(&self) -> String {
        match self {
            Place::Tty(path, _) => path.display().to_string(),
            Place::Tcp(endpoint) => endpoint.to_string(),
        }
    }

    pub(super) async fn open(&self) -> io::Result<Ends> {
        match self {
            Place::Tty(path, baud) => Ends::of_port(path, *baud),
            Place::Tcp(endpoint) => Ok(Ends::of(endpoint.connect().await?)),
        }
    }
}

/// Keeps a line open for ever: when it breaks or is not there, it is opened again.
pub(super) async fn keep(place: Place, lines: Lines) {
    let mut backoff = Backoff::default();
    loop {
        match place.open().await {
            Ok(ends) => {
                backoff = Backoff::default();
                tracing::info!(line = place.name(), "open");
                let why = serve(ends, &lines).await;
                tracing::warn!(line = place.name(), %why, "closed");
            }
            Err(why) => tracing::warn!(line = place.name(), %why, "not open"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Takes in whoever connects, each on a line of its own.
pub(super) async fn accept(mut listener: StreamListener, lines: Lines) {
    loop {
        let (stream, peer) = listener.accept().await;
        tokio::spawn(serve_peer(stream, peer, lines.clone()));
    }
}

async fn serve_peer(stream: Box<dyn Stream>, peer: SocketAddr, lines: Lines) {
    tracing::info!(%peer, "connected");
    let why = serve(Ends::of(stream), &lines).await;
    tracing::info!(%peer, %why, "gone");
}

/// Carries frames until the line breaks; answers with why it did.
pub(super) async fn serve(ends: Ends, lines: &Lines) -> io::Error {
    let hub = &lines.hub;
    let (id, down) = hub.open();
    let why = match lines.framing {
        Framing::Cobs => {
            let (says, said) = mpsc::channel(1);
            tokio::select! {
                why = read(ends.reader, id, lines, says) => why,
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
    lines: &Lines,
    says: mpsc::Sender<Said>,
) -> io::Error {
    let hub = &lines.hub;
    // One at a time: a device that gets no answer asks again.
    let mut enrolling = JoinSet::new();
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
                    let _ = says.try_send(Said::Room);
                }
                Some(Ok(Message::Enrol(request))) => {
                    while enrolling.try_join_next().is_some() {}
                    match Received::parse(request) {
                        Ok(asked) if enrolling.is_empty() => {
                            let nonce = asked.request.nonce;
                            let (lines, says) = (lines.clone(), says.clone());
                            enrolling.spawn(enrol(request.to_vec(), nonce, lines, says));
                        }
                        Ok(_) => {}
                        Err(_) => hub.damaged(),
                    }
                }
                Some(Ok(_) | Err(_)) => hub.damaged(),
            }
        }
    }
}

/// What the gateway itself has to say on a line.
enum Said {
    Room,
    Enrolled {
        nonce: [u8; NONCE_BYTES],
        answer: Vec<u8>,
    },
}

/// Brings a request to enrol to the server. Where that is away, or what answers is no server of ours (a proxy, another
/// address), nothing is said, and the device asks again.
async fn enrol(request: Vec<u8>, nonce: [u8; NONCE_BYTES], lines: Lines, says: mpsc::Sender<Said>) {
    let answer = match http::post_bytes(&lines.server, "/api/v1/enrol", OCTETS, &request).await {
        Ok(answer) if answer.status == 200 => {
            lines.hub.enrolled();
            answer.body
        }
        Ok(answer) => {
            let (status, problem) = (answer.status, answer.document());
            let why = problem["message"].as_str().unwrap_or_default();
            if !(400..500).contains(&status) || problem["is_final"] != true {
                tracing::warn!(status, why, "no device enrolled for now");
                return lines.hub.failed();
            }
            tracing::warn!(why, "the server did not enrol a device");
            Vec::new()
        }
        Err(why) => {
            tracing::warn!(%why, "no device enrolled for now");
            return lines.hub.failed();
        }
    };
    // The line may be gone by now.
    let _ = says.send(Said::Enrolled { nonce, answer }).await;
}

async fn write(
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
    mut down: mpsc::Receiver<Vec<u8>>,
    mut said: mpsc::Receiver<Said>,
) -> io::Error {
    let room = Message::Room {
        body_bytes: BODY_BYTES_MAX as u16,
    };
    if let Err(error) = put(&mut writer, &room).await {
        return error;
    }
    loop {
        let put = tokio::select! {
            Some(said) = said.recv() => match said {
                Said::Room => put(&mut writer, &room).await,
                Said::Enrolled { nonce, answer } => {
                    let answer = answer.as_slice();
                    put(&mut writer, &Message::Enrolled { nonce, answer }).await
                }
            },
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
        Message::Enrolled { nonce, answer } => nonce.len() + answer.len(),
        _ => 2,
    };
    let mut line = vec![0; line_bytes_max(body_bytes)];
    let written = message.encode(&mut line).map_err(io::Error::other)?;
    writer.write_all(&line[..written]).await?;
    writer.flush().await
}
