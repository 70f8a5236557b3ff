//! The bytes of a connection, plain or through TLS, read and written without waiting.
//!
//! A plain connection is its socket and nothing more; what TLS needs is behind a box.

use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes that TLS keeps for a client which does not take them.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

pub(super) enum Stream {
    Plain(OwnedReadHalf),
    Tls(Box<Tls>),
}

/// Writes to a plain connection beside the task that serves it.
#[derive(Debug)]
pub(crate) struct Writer(OwnedWriteHalf);

impl Writer {
    /// Writes what the socket takes without waiting; answers how many bytes that were.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// Leaves the socket to whoever else has it.
    pub(super) fn leave(self) {
        self.0.forget();
    }
}

pub(super) struct Tls {
    tcp: TcpStream,
    session: ServerConnection,
    /// Bytes that are decrypted and not read yet: the socket says nothing of them.
    decrypted: usize,
}

impl Stream {
    /// The stream, and what else may write to it.
    pub(super) fn new(
        tcp: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<(Stream, Option<Writer>), rustls::Error> {
        let Some(config) = tls else {
            let (read, write) = tcp.into_split();
            return Ok((Stream::Plain(read), Some(Writer(write))));
        };
        let mut session = ServerConnection::new(config.clone())?;
        session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        let tls = Tls {
            tcp,
            session,
            decrypted: 0,
        };
        Ok((Stream::Tls(Box::new(tls)), None))
    }

    /// Waits until reading or writing may get somewhere; it need not.
    pub(super) async fn ready(&mut self, interest: Interest) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => {
                poll_fn(|context| poll_ready(tcp.as_ref(), interest, context)).await
            }
            Stream::Tls(tls) => tls.ready(interest).await,
        }
    }

    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => read_now(tcp, buffer),
            Stream::Tls(tls) => tls.try_read(buffer),
        }
    }

    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.as_ref().try_write(bytes),
            Stream::Tls(tls) => tls.try_write(bytes),
        }
    }

    /// Tells the client that nothing follows, if the socket takes it.
    pub(super) fn close(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.session.send_close_notify();
            drop(tls.push());
        }
    }
}

impl Tls {
    async fn ready(&mut self, interest: Interest) -> io::Result<()> {
        if interest.is_readable() && self.decrypted > 0 {
            return Ok(());
        }
        let wanted = match self.session.wants_write() {
            true => interest | Interest::WRITABLE,
            false => interest,
        };
        let ready = self.tcp.ready(wanted).await?;
        match ready.is_writable() {
            true => self.push(),
            false => Ok(()),
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Ok(count) => {
                    self.decrypted = self.decrypted.saturating_sub(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.session.read_tls(&mut Socket(&self.tcp))? == 0 {
                return Ok(0);
            }
            let processed = self.session.process_new_packets();
            // An alert tells the client what was wrong.
            self.push()?;
            let state =
                processed.map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
            self.decrypted = state.plaintext_bytes_to_read();
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.session.writer().write(bytes)?;
        self.push()?;
        match count {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Sends what is encrypted, as far as the socket takes it.
    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Socket(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits as `TcpStream::ready` does, for the one task that a connection has: that needs no list of who waits.
fn poll_ready(
    tcp: &TcpStream,
    interest: Interest,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if interest.is_readable()
        && let Poll::Ready(ready) = tcp.poll_read_ready(context)
    {
        return Poll::Ready(ready);
    }
    match interest.is_writable() {
        true => tcp.poll_write_ready(context),
        false => Poll::Pending,
    }
}

/// Reads what is there. Unlike `TcpStream::try_read`, this takes a short read for the end of what there is, which
/// spares the system call that would say so.
fn read_now(tcp: &mut OwnedReadHalf, buffer: &mut [u8]) -> io::Result<usize> {
    let mut into = ReadBuf::new(buffer);
    // Nobody is woken by this: whoever reads waits with `ready`.
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(tcp).poll_read(&mut context, &mut into) {
        Poll::Ready(done) => done.map(|()| into.filled().len()),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// The socket as TLS wants it.
struct Socket<'a>(&'a TcpStream);

impl io::Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
