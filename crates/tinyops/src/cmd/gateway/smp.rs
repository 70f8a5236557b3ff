//! A console that speaks SMP: asked now and then, and again at once while there is more either way.

use std::{io, time::Duration};

use tinyops_wire::{
    envelope,
    serial::BODY_BYTES_MAX,
    smp::{self, Console, Exchange, Frame, Operation, console_bytes_max, encode_console},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::Instant,
};

use super::{
    hub::{Hub, LineId},
    line::Ends,
};

/// Time between two questions to a device that has nothing more to say.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// An answer that takes longer is lost; the question's envelope goes out once more.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Times that an envelope goes out before it is given up: the server tells again what matters.
const TRIES: u32 = 3;
/// Largest frame, on its console.
const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + smp::OVERHEAD;

/// Carries exchanges until the line breaks; answers with why it did.
pub(super) async fn serve(
    mut ends: Ends,
    line: LineId,
    mut down: mpsc::Receiver<Vec<u8>>,
    hub: &Hub,
) -> io::Error {
    hub.set_room(line, BODY_BYTES_MAX);
    let mut console = Box::new(Console::<{ FRAME_BYTES_MAX + 4 }>::new());
    let mut sequence = 0_u8;
    let mut held: Option<(Vec<u8>, u32)> = None;
    loop {
        if held.is_none() {
            held = down.try_recv().ok().map(|envelope| (envelope, TRIES));
        }
        sequence = sequence.wrapping_add(1);
        let asked = held.as_ref().map(|(envelope, _)| envelope.as_slice());
        let lines = match question(sequence, asked) {
            Ok(lines) => lines,
            Err(error) => return error,
        };
        if let Err(error) = ends.writer.write_all(&lines).await {
            return error;
        }
        if let Err(error) = ends.writer.flush().await {
            return error;
        }
        match answer(&mut ends, &mut console, sequence, line, hub).await {
            Err(error) => return error,
            Ok(Some(more)) => {
                held = None;
                if more == 0 {
                    // Nothing more waits there: until something waits here, or it is time to ask.
                    let next = tokio::time::timeout(ASK_EVERY, down.recv()).await;
                    match next {
                        Ok(Some(envelope)) => held = Some((envelope, TRIES)),
                        Ok(None) => return io::ErrorKind::BrokenPipe.into(),
                        Err(_) => {}
                    }
                }
            }
            Ok(None) => {
                held = held
                    .map(|(envelope, tries)| (envelope, tries - 1))
                    .filter(|(_, tries)| *tries > 0);
            }
        }
    }
}

/// Waits for the answer to a question: how many envelopes more the device has, or none if no answer comes.
async fn answer(
    ends: &mut Ends,
    console: &mut Console<{ FRAME_BYTES_MAX + 4 }>,
    sequence: u8,
    line: LineId,
    hub: &Hub,
) -> io::Result<Option<u32>> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut chunk = [0; 1024];
    loop {
        let read = tokio::time::timeout_at(deadline, ends.reader.read(&mut chunk)).await;
        let Ok(read) = read else { return Ok(None) };
        let count = read?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut answered = None;
        for &byte in &chunk[..count] {
            let frame = match console.push(byte) {
                None => continue,
                Some(Err(_)) => {
                    hub.damaged();
                    continue;
                }
                Some(Ok(frame)) => Frame::decode(frame),
            };
            // Answers of other groups are another client's, such as that of an upload on the same console.
            let Some(frame) = frame.filter(Frame::is_exchange) else {
                continue;
            };
            let Some(exchange) = Exchange::decode(frame.body) else {
                hub.damaged();
                continue;
            };
            if let Some(envelope) = exchange.up {
                hub.up(line, envelope);
            }
            if frame.sequence == sequence {
                answered = Some(exchange.more);
            }
        }
        if answered.is_some() {
            return Ok(answered);
        }
    }
}

fn question(sequence: u8, down: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let exchange = Exchange {
        down,
        ..Exchange::default()
    };
    let room = || io::Error::other("the envelope is longer than a frame may be");
    let mut body = vec![0; down.map_or(0, <[u8]>::len) + envelope::OVERHEAD];
    let len = exchange.encode(&mut body).ok_or_else(room)?;
    let frame = Frame {
        operation: Operation::Write,
        group: smp::GROUP,
        sequence,
        command: smp::EXCHANGE,
        body: &body[..len],
    };
    let mut bytes = vec![0; len + smp::HEADER_BYTES];
    let len = frame.encode(&mut bytes).ok_or_else(room)?;
    let mut lines = vec![0; console_bytes_max(len)];
    let len = encode_console(&bytes[..len], &mut lines).ok_or_else(room)?;
    lines.truncate(len);
    Ok(lines)
}
