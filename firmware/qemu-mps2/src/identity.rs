//! How the board comes to be someone: as `docs/formats/enrolment.md` says, over its line.

use qemu_machine::host;
use tinyops_wire::KeySet;
use tinyops_wire::enrolment::{
    Enrolled, EnrolmentSecret, REQUEST_BYTES_MAX, Received, Request, open,
};
use tinyops_wire::provision::{Asking, Factory, RECORD_BYTES_MAX, Record};
use tinyops_wire::serial::Message;

use crate::board::Board;
use crate::flash::{ASKING, ENROLLED, FlashError, Image, PAGE_BYTES};

/// A request without an answer is sent again after this long.
const ASK_AGAIN_AFTER_MS: u64 = 30_000;

/// Who the device is: as its flash says, or as its server does after it has asked.
///
/// # Errors
/// What keeps it from asking, as a sentence.
pub fn enrolled(
    factory: &Factory<'_>,
    keys: &KeySet,
    image: &mut Image,
    board: &mut Board,
) -> Result<Enrolled, &'static str> {
    if let Ok(Record::Enrolled(enrolled)) = Record::decode(image.page(ENROLLED)) {
        // The power may have gone before the private half was forgotten.
        return match forget_request(image) {
            Ok(()) => Ok(enrolled),
            Err(_) => Err("the flash cannot be erased"),
        };
    }
    ask(factory, keys, image, board)
}

/// Asks until it is somebody; apart, since one that is has no use for the buffers.
#[inline(never)]
fn ask(
    factory: &Factory<'_>,
    keys: &KeySet,
    image: &mut Image,
    board: &mut Board,
) -> Result<Enrolled, &'static str> {
    loop {
        let (secret, request, request_len) = match asked(image) {
            Some(asked) => asked,
            None => {
                make_request(factory, keys, image)?;
                continue;
            }
        };
        let request = &request[..request_len];
        let nonce = Received::parse(request)
            .map_err(|_| "its own request is none")?
            .request
            .nonce;
        let answered = board.ask(request, ASK_AGAIN_AFTER_MS, |message| match message {
            Message::Enrolled { nonce: of, answer } if of == nonce => match answer {
                [] => Some(None),
                // What is no answer of its server's is none at all: the real one may come still.
                answer => open(&secret, request, answer, &factory.roots, keys)
                    .ok()
                    .map(Some),
            },
            _ => None,
        });
        match answered {
            Some(enrolled) => {
                let kept = keep(&Record::Enrolled(enrolled.clone()), ENROLLED, image);
                kept.map_err(|_| "the flash cannot be written")?;
                forget_request(image).map_err(|_| "the flash cannot be erased")?;
                return Ok(enrolled);
            }
            None => {
                board.say(format_args!("turned away"));
                forget_request(image).map_err(|_| "the flash cannot be erased")?;
                // Not at once again: whoever turns it away may do so for long.
                board.wait(ASK_AGAIN_AFTER_MS);
            }
        }
    }
}

/// The request that has no answer yet.
fn asked(image: &Image) -> Option<(EnrolmentSecret, [u8; REQUEST_BYTES_MAX], usize)> {
    let Ok(Record::Asking(asking)) = Record::decode(image.page(ASKING)) else {
        return None;
    };
    let mut request = [0; REQUEST_BYTES_MAX];
    request
        .get_mut(..asking.request.len())?
        .copy_from_slice(asking.request);
    Some((asking.secret, request, asking.request.len()))
}

/// Makes a key pair and a request, and keeps both before anything is sent.
#[inline(never)]
fn make_request(
    factory: &Factory<'_>,
    keys: &KeySet,
    image: &mut Image,
) -> Result<(), &'static str> {
    let mut random = [0; 48];
    host::random(&mut random).ok_or("there is nothing to guess by")?;
    let (secret, nonce) = random.split_at(32);
    let secret = EnrolmentSecret::from_bytes(secret.try_into().map_err(|_| "no secret")?);
    let wish = Request {
        key_set: keys.sequence,
        device: factory.device,
        public: secret.public(),
        nonce: nonce.try_into().map_err(|_| "no nonce")?,
        board: factory.board,
    };
    let mut request = [0; REQUEST_BYTES_MAX];
    let request_len = factory
        .credential
        .prove(|proof| wish.encode(proof, &mut request))
        .map_err(|_| "its factory's record makes no request")?;
    let request = &request[..request_len];
    let asking = Record::Asking(Asking { secret, request });
    keep(&asking, ASKING, image).map_err(|_| "the flash cannot be written")
}

/// Writes a record to its page.
fn keep(record: &Record<'_>, at: usize, image: &mut Image) -> Result<(), FlashError> {
    let mut bytes = [0; RECORD_BYTES_MAX];
    let written = record
        .encode(&mut bytes)
        .map_err(|_| FlashError::NotWritten)?;
    image.erase(at)?;
    image.write(at, &bytes[..written])
}

fn forget_request(image: &mut Image) -> Result<(), FlashError> {
    match image.page(ASKING) == [0xff; PAGE_BYTES] {
        true => Ok(()),
        false => image.erase(ASKING),
    }
}
