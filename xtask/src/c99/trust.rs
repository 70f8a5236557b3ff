//! Key sets, what flash says of a device, and enrolments: sound ones and changed ones, with what `tinyops-wire` says.

use crate::c99::records::{Kind, Record};
use crate::c99::sensors;
use crate::chance::Chance;
use crate::steps::root;
use tinyops_device::Sensor;
use tinyops_wire::claim::Claim;
use tinyops_wire::crc::crc32;
use tinyops_wire::enrolment::{
    self, ClassToken, Enrolled, EnrolmentError, EnrolmentSecret, Granted, Proof, Received, Request,
    TokenId,
};
use tinyops_wire::key_set::{KeySetError, RoleKeys, RootSignature, Roots, SignedKeySet};
use tinyops_wire::provision::{Asking, Credential, Factory, RECORD_BYTES_MAX, Record as Said};
use tinyops_wire::sensor::Channel;
use tinyops_wire::{DeviceId, DeviceKey, KeySet, SigningKey};

/// Bytes that `c/check/trust.c` reads a request, and a signed key set, from.
const REQUEST_BYTES: usize = enrolment::REQUEST_BYTES_MAX;
const KEY_SET_BYTES: usize = tinyops_wire::key_set::KEY_SET_BYTES_MAX;
const BOARDS: [&str; 3] = ["esp-eye", "b", "0123456789012345678901234567890123456789"];

/// So many of each.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn records(count: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(31);
    let mut records = golden(&mut chance)?;
    for index in 0..count {
        records.push(key_set(index, &mut chance)?);
        records.push(flash(index, &mut chance)?);
        records.push(answer(index, &mut chance)?);
    }
    Ok(records)
}

/// One of four keys.
fn key(chance: &mut Chance) -> SigningKey {
    SigningKey::from_seed(&[1 + chance.below(4) as u8; 32])
}

fn role(chance: &mut Chance) -> RoleKeys {
    let (first, second) = (key(chance).verifying_key(), key(chance).verifying_key());
    match chance.below(2) {
        0 => RoleKeys::one(first),
        _ => RoleKeys::two(first, second),
    }
}

/// Some of three root keys, and how many of them it takes.
fn roots(chance: &mut Chance) -> Roots {
    let count = 1 + chance.below(3);
    let keys: Vec<_> = (0..count)
        .map(|root| root_key(root).verifying_key())
        .collect();
    Roots::new(&keys, 1 + chance.below(count) as u8).expect("as many as it takes")
}

fn root_key(root: usize) -> SigningKey {
    SigningKey::from_seed(&[100 + root as u8; 32])
}

fn put_roots(roots: &Roots, out: &mut Vec<u8>) {
    out.extend(u32::from(roots.threshold()).to_le_bytes());
    out.extend((roots.keys().count() as u32).to_le_bytes());
    let start = out.len();
    roots.keys().for_each(|key| out.extend(key.to_bytes()));
    out.resize(start + 96, 0);
}

/// A key set, signed by some of the root keys and at times by somebody else.
fn signed(sequence: u32, chance: &mut Chance) -> Result<(KeySet, Vec<u8>), String> {
    let set = KeySet {
        sequence,
        release: role(chance),
        director: role(chance),
    };
    let mut signatures = Vec::new();
    let mut signers: Vec<SigningKey> = (0..3)
        .filter(|_| chance.below(4) > 0)
        .map(root_key)
        .collect();
    if signers.is_empty() {
        signers.push(key(chance));
    }
    for signer in &signers {
        signatures.push(RootSignature::new(&set, signer).map_err(|error| error.to_string())?);
    }
    let mut bytes = vec![0; KEY_SET_BYTES];
    let len = (set.encode(&signatures, &mut bytes)).map_err(|error| error.to_string())?;
    bytes.truncate(len);
    Ok((set, bytes))
}

/// Changes bytes in one of some ways, or not at all.
fn change(bytes: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..chance.below(3).saturating_sub(1) {
        let at = chance.below(bytes.len());
        match chance.below(5) {
            // A record of no bytes would end the file.
            0 => bytes.truncate(at.max(1)),
            1 => bytes.push(0),
            2 => bytes[at] ^= 1 << chance.below(8),
            // Where heads and names are.
            3 => bytes[at % 40] = [0, 1, 2, 3, 4, 0x18, 0x58, 0x81, 0xff][chance.below(9)],
            _ => bytes[at] = chance.next() as u8,
        }
    }
}

fn key_set(index: usize, chance: &mut Chance) -> Result<Record, String> {
    let sequence = [0, 1, 23, 24, 300, u32::MAX][chance.below(6)];
    let (_, mut bytes) = signed(sequence, chance)?;
    change(&mut bytes, chance);
    let roots = roots(chance);
    let verified = SignedKeySet::parse(&bytes).and_then(|signed| signed.verify(&roots));
    let mut behind = Vec::new();
    put_roots(&roots, &mut behind);
    let set = verified.unwrap_or(KeySet {
        sequence: 0,
        release: RoleKeys::one(root_key(0).verifying_key()),
        director: RoleKeys::one(root_key(0).verifying_key()),
    });
    behind.extend(set.sequence.to_le_bytes());
    for role in [set.release, set.director] {
        behind.extend((role.keys().len() as u32).to_le_bytes());
        let start = behind.len();
        let keys = role.keys().iter();
        keys.for_each(|key| behind.extend(key.to_bytes()));
        behind.resize(start + 64, 0);
    }
    let verdict = match verified {
        Ok(_) => 0,
        Err(KeySetError::Cose) => 1,
        Err(KeySetError::Cbor) => 2,
        Err(KeySetError::Version { .. }) => 3,
        Err(KeySetError::Key) => 4,
        Err(KeySetError::Signatures { .. }) => 5,
        Err(error) => return Err(error.to_string()),
    };
    let name = format!("key set {index}");
    Ok(Record::of_bytes(name, Kind::KeySet, bytes, behind, verdict))
}

/// What lets a device in: a token, or a certificate and the seed of its key.
fn credential<'c>(certificate: &'c mut Vec<u8>, chance: &mut Chance) -> Credential<'c> {
    let secret = [chance.next() as u8; 32];
    if chance.below(2) == 0 {
        return Credential::Token {
            id: TokenId(chance.next()),
            secret,
        };
    }
    let claim = Claim {
        serial: BOARDS[chance.below(3)],
        board: BOARDS[chance.below(3)],
        cohort: ["", "hall-1"][chance.below(2)],
        key: SigningKey::from_seed(&secret).verifying_key(),
        uses: 5,
        ends_s: [0, 1_800_000_000][chance.below(2)],
    };
    *certificate = vec![0; 300];
    let len = claim.encode(&key(chance), certificate);
    certificate.truncate(len.expect("these are values of a claim"));
    Credential::Claim {
        certificate,
        seed: secret,
    }
}

/// The records that are frozen: each of its own kind.
fn golden(chance: &mut Chance) -> Result<Vec<Record>, String> {
    let path = root().join("testdata/golden/wire/provision.txt");
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut records = Vec::new();
    for line in text.lines() {
        let bytes = line.split_once(' ').and_then(|(name, digits)| {
            let digits = (0..digits.len())
                .step_by(2)
                .map(|at| digits.get(at..at + 2));
            let bytes = digits.map(|pair| u8::from_str_radix(pair?, 16).ok());
            Some((name, bytes.collect::<Option<Vec<u8>>>()?))
        });
        let (name, bytes) = bytes.ok_or_else(|| format!("{}: {line}", path.display()))?;
        let asked = u32::from(bytes[5]);
        let record = asked_of(format!("golden {name}"), bytes, asked, chance);
        // Those that nobody reads would prove nothing.
        match record.verdict() {
            1 => records.push(record),
            _ => return Err(format!("{}: {name} is not read", path.display())),
        }
    }
    Ok(records)
}

/// Says of a factory's record what its sensor is, whether or not it is the sensor of its channels and rate.
fn say_sensor(record: &mut Vec<u8>, section: &[u8]) {
    record.truncate(record.len() - 4);
    record.extend((section.len() as u16).to_le_bytes());
    record.extend(section);
    record[4] = 2;
    let body = record.len() - 8;
    record[6..8].copy_from_slice(&(body as u16).to_le_bytes());
    record.extend(crc32(record).to_le_bytes());
}

/// Channels of a sensor: few ones, as many as a record may say all of, and one more.
fn channel_count(chance: &mut Chance) -> usize {
    [0, 1, 2, 3, 3, 3, 16, 17][chance.below(8)]
}

fn flash(index: usize, chance: &mut Chance) -> Result<Record, String> {
    let (_, key_set) = signed(1, chance)?;
    let (roots, mut certificate) = (roots(chance), Vec::new());
    let mut request = vec![0; chance.below(REQUEST_BYTES + 1)];
    request.fill_with(|| chance.next() as u8);
    let count = channel_count(chance);
    let sensor = sensors::said(count, chance);
    let (is_its_count, is_its_rate) = (chance.below(8) > 0, chance.below(8) > 0);
    let said = match chance.below(4) {
        0 | 1 => Said::Factory(Factory {
            roots,
            key_set: &key_set,
            board: BOARDS[chance.below(3)],
            channel_count: if is_its_count { count as u16 } else { 3 },
            rate_hz: if is_its_rate { sensor.rate_hz } else { 104.0 },
            report_windows: chance.next() as u32,
            report_ms: 0,
            device: [None, Some(DeviceId(chance.next()))][chance.below(2)],
            credential: credential(&mut certificate, chance),
            sensor: None,
        }),
        2 => Said::Asking(Asking {
            secret: EnrolmentSecret::from_bytes([chance.next() as u8; 32]),
            request: &request,
        }),
        _ => Said::Enrolled(Enrolled {
            device: DeviceId(chance.next()),
            key: DeviceKey([chance.next() as u8; 32]),
            first_uplink: chance.next() as u32,
        }),
    };
    let mut bytes = vec![0; RECORD_BYTES_MAX];
    let len = said.encode(&mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(len);
    if matches!(said, Said::Factory(_)) && chance.below(3) > 0 {
        say_sensor(&mut bytes, &sensor.section);
    }
    // Of what is changed most has its checksum right, or nothing behind that would be looked at.
    change(&mut bytes, chance);
    if bytes.len() > 12 && chance.below(2) == 0 {
        let body = bytes.len() - 12;
        if chance.below(2) == 0 {
            bytes[6..8].copy_from_slice(&(body as u16).to_le_bytes());
        }
        let crc = crc32(&bytes[..8 + body]);
        bytes[8 + body..].copy_from_slice(&crc.to_le_bytes());
    }
    if chance.below(3) == 0 {
        bytes.resize(bytes.len() + 40, 0xff);
    }
    let asked = 1 + chance.below(3) as u32;
    let asked = match (chance.below(6), &said) {
        (0, _) => asked,
        (_, Said::Factory(_)) => 1,
        (_, Said::Asking(_)) => 2,
        (_, Said::Enrolled(_)) => 3,
    };
    Ok(asked_of(format!("flash {index}"), bytes, asked, chance))
}

/// What a record comes to where one of this kind is asked for.
fn asked_of(name: String, bytes: Vec<u8>, asked: u32, chance: &mut Chance) -> Record {
    let decoded = Said::decode(&bytes);
    let is_read = matches!(
        (&decoded, asked),
        (Ok(Said::Factory(_)), 1) | (Ok(Said::Asking(_)), 2) | (Ok(Said::Enrolled(_)), 3)
    );
    // The C reader lends a device's own request no more room than one can need.
    let is_read = is_read
        && !matches!(&decoded, Ok(Said::Asking(asking)) if asking.request.len() > REQUEST_BYTES);
    let mut behind = asked.to_le_bytes().to_vec();
    if asked == 1 {
        let key_set = chance.next() as u32;
        let mut random = [0; 48];
        random.fill_with(|| chance.next() as u8);
        let made = match &decoded {
            Ok(Said::Factory(factory)) => request_of(factory, key_set, &random),
            _ => Vec::new(),
        };
        behind.extend(key_set.to_le_bytes());
        behind.extend(random);
        behind.extend((made.len() as u32).to_le_bytes());
        behind.extend(&made);
        behind.resize(4 + 56 + REQUEST_BYTES, 0);
        let factory = match &decoded {
            Ok(Said::Factory(factory)) => Some(factory),
            _ => None,
        };
        put_wanted(factory, &mut behind, chance);
    }
    Record::of_bytes(name, Kind::Provision, bytes, behind, u32::from(is_read))
}

/// A contract that the factory's sensor mostly meets, and what the agent says of it.
fn put_wanted(factory: Option<&Factory<'_>>, behind: &mut Vec<u8>, chance: &mut Chance) {
    let mut count = channel_count(chance);
    let wanted = sensors::said(count, chance);
    let (mut rate_hz, mut section) = (wanted.rate_hz, wanted.section);
    let mut verdict = 0;
    if let Some(factory) = factory {
        let said = factory.sensor.as_ref();
        if let Some(said) = said
            && chance.below(4) > 0
        {
            // The same, or another mounting, or one bit another: of a name, a unit, a scale.
            rate_hz = factory.rate_hz;
            count = said.count();
            section = said.bytes().to_vec();
            match chance.below(4) {
                0 if section[0] == 2 => section[2] = [0x13, 0x32, 0x64][chance.below(3)],
                1 => {
                    let at = chance.below(section.len());
                    section[at] ^= 1 << chance.below(8);
                }
                _ => {}
            }
        }
        let own: Vec<_> = said.iter().flat_map(|said| said.channels()).collect();
        let own = own.into_iter().map(|channel| Channel {
            axis: channel.axis.to_owned().leak(),
            unit: channel.unit.to_owned().leak(),
            full_scale: channel.full_scale,
        });
        let sensor = Sensor {
            channel_count: factory.channel_count,
            rate_hz: factory.rate_hz,
            mounting: said.and_then(|said| said.mounting()),
            channels: own.collect::<Vec<_>>().leak(),
        };
        let front_end = sensors::front_end(count, rate_hz);
        let (reason, detail) = sensors::judged(&sensor, &front_end, Some(&section));
        verdict = reason as u32 | detail << 8;
    }
    let says = factory.is_some_and(|factory| factory.sensor.is_some());
    behind.extend(u32::from(says).to_le_bytes());
    behind.extend((count as u16).to_le_bytes());
    behind.extend(rate_hz.to_le_bytes());
    behind.extend(verdict.to_le_bytes());
    behind.extend((section.len() as u16).to_le_bytes());
    behind.extend(section);
}

/// The request that a factory's record makes; empty if none.
fn request_of(factory: &Factory<'_>, key_set: u32, random: &[u8; 48]) -> Vec<u8> {
    let secret = EnrolmentSecret::from_bytes(std::array::from_fn(|at| random[at]));
    let wish = Request {
        key_set,
        device: factory.device,
        public: secret.public(),
        nonce: std::array::from_fn(|at| random[32 + at]),
        board: factory.board,
    };
    let mut out = vec![0; REQUEST_BYTES];
    let made = factory
        .credential
        .prove(|proof| wish.encode(proof, &mut out));
    out.truncate(made.unwrap_or(0));
    out
}

fn answer(index: usize, chance: &mut Chance) -> Result<Record, String> {
    let roots = roots(chance);
    let (keys, own_set) = signed(chance.below(3) as u32, chance)?;
    let (newer, set) = signed(1 + chance.below(3) as u32, chance)?;
    let secret = EnrolmentSecret::from_bytes([chance.next() as u8; 32]);
    let wish = Request {
        key_set: keys.sequence,
        device: None,
        public: secret.public(),
        nonce: [chance.next() as u8; 16],
        board: BOARDS[chance.below(3)],
    };
    let token = ClassToken::new(TokenId(7), [8; 32]);
    let proof = [Proof::Operator, Proof::Token(&token)][chance.below(2)];
    let mut request = vec![0; REQUEST_BYTES];
    let len = wish
        .encode(proof, &mut request)
        .map_err(|error| error.to_string())?;
    request.truncate(len);
    let brings = chance.below(2) == 0;
    let granted = Granted {
        device: DeviceId(chance.next()),
        first_uplink: chance.next() as u32,
        key_set: if brings { &set } else { &[] },
    };
    // Mostly a director of the set that counts.
    let directors = if brings {
        newer.director
    } else {
        keys.director
    };
    let director = (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32]));
    let mut director = director.filter(|key| directors.keys().contains(&key.verifying_key()));
    let director = match chance.below(6) {
        0 => key(chance),
        _ => director.next().ok_or("a director of none of the keys")?,
    };
    let received = Received::parse(&request).map_err(|error| error.to_string())?;
    let theirs = EnrolmentSecret::from_bytes([chance.next() as u8; 32]);
    let mut bytes = vec![0; enrolment::ANSWER_BYTES_MAX];
    let sign = |message: &[u8]| Ok::<_, EnrolmentError>(director.sign(message));
    let answered = received.answer(&theirs, granted, sign, &mut bytes);
    let (len, _) = answered.map_err(|error| error.to_string())?;
    bytes.truncate(len);
    match chance.below(8) {
        // A key in a second encoding, and one of small order.
        0 => bytes[1..33].fill(0xff),
        1 => bytes[1..33].fill(0),
        _ => change(&mut bytes, chance),
    }
    if chance.below(4) == 0 {
        // What a director has signed has a seal that is not looked at before.
        let signed_len = bytes.len().saturating_sub(80);
        let parts = [
            b"tinyops enrolment answer 1".as_slice(),
            &received.digest().0,
        ];
        let message = [&parts.concat(), &bytes[..signed_len]].concat();
        if let Some(place) = bytes.get_mut(signed_len..signed_len + 64) {
            place.copy_from_slice(&director.sign(&message));
        }
    }
    let opened = enrolment::open(&secret, &request, &bytes, &roots, &keys);
    let verdict = match &opened {
        Ok(_) => 0,
        Err(EnrolmentError::Length) => 1,
        Err(EnrolmentError::Version { .. }) => 2,
        Err(EnrolmentError::PublicKey) => 3,
        Err(EnrolmentError::KeySet(_)) => 4,
        Err(EnrolmentError::KeySetOld) => 5,
        Err(EnrolmentError::Signature) => 6,
        Err(EnrolmentError::Seal) => 7,
        Err(error) => return Err(error.to_string()),
    };
    let mut behind = Vec::new();
    put_roots(&roots, &mut behind);
    behind.extend(secret.to_bytes());
    for (bytes, room) in [(&request, REQUEST_BYTES), (&own_set, KEY_SET_BYTES)] {
        behind.extend((bytes.len() as u32).to_le_bytes());
        let start = behind.len();
        behind.extend(bytes);
        behind.resize(start + room, 0);
    }
    let who = opened.unwrap_or(Enrolled {
        device: DeviceId(0),
        key: DeviceKey([0; 32]),
        first_uplink: 0,
    });
    behind.extend(who.device.0.to_le_bytes());
    behind.extend(who.key.0);
    behind.extend(who.first_uplink.to_le_bytes());
    let name = format!("answer {index}");
    Ok(Record::of_bytes(name, Kind::Answer, bytes, behind, verdict))
}
