//! Two aggregators that share nothing but a verification key: each opens its half of a report, they agree on whether it
//! is within the law, and their sums together are the sum of what was measured.
//!
//! They take uploads apart by a reader of their own, so that a mistake of the writer is not made twice.

use std::collections::{BTreeMap, btree_map::Entry};
use std::error::Error;

use hpke::aead::{Aead, AesGcm128, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, Serializable as _};
use prio::codec::{Encode, ParameterizedDecode};
use prio::flp::Type;
use prio::vdaf::prio3::Prio3;
use prio::vdaf::xof::XofTurboShake128;
use prio::vdaf::{Aggregator, Collector, VerifyTransition};
use tinyops_fleet::dap::{self, ReportId, Task, Vdaf};

/// The verification key that both know and no client.
const VERIFY_KEY: [u8; 32] = [0x77; 32];

/// A report as it lies in an upload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Uploaded {
    pub(crate) id: ReportId,
    pub(crate) time: u64,
    pub(crate) public_share: Vec<u8>,
    /// Config id, encapsulated key, ciphertext; of the leader and of the helper.
    pub(crate) halves: [(u8, Vec<u8>, Vec<u8>); 2],
}

/// The reports of an upload; none if a byte is amiss.
pub(crate) fn take_apart(mut bytes: &[u8]) -> Option<Vec<Uploaded>> {
    fn bytes_of<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
        let (head, tail) = rest.split_at_checked(count)?;
        *rest = tail;
        Some(head)
    }
    fn number(rest: &mut &[u8], width: usize) -> Option<usize> {
        let bytes = bytes_of(rest, width)?;
        Some(
            bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte)),
        )
    }
    fn half(rest: &mut &[u8]) -> Option<(u8, Vec<u8>, Vec<u8>)> {
        let id = number(rest, 1)? as u8;
        let key_bytes = number(rest, 2)?;
        let key = bytes_of(rest, key_bytes)?.to_vec();
        let sealed_bytes = number(rest, 4)?;
        Some((id, key, bytes_of(rest, sealed_bytes)?.to_vec()))
    }
    let mut reports = Vec::new();
    while !bytes.is_empty() {
        let id = ReportId(bytes_of(&mut bytes, 16)?.try_into().ok()?);
        let time = number(&mut bytes, 8)? as u64;
        if number(&mut bytes, 2)? != 0 {
            return None;
        }
        let public_bytes = number(&mut bytes, 4)?;
        let public_share = bytes_of(&mut bytes, public_bytes)?.to_vec();
        let halves = [half(&mut bytes)?, half(&mut bytes)?];
        reports.push(Uploaded {
            id,
            time,
            public_share,
            halves,
        });
    }
    Some(reports)
}

/// Leader and helper.
pub(crate) struct Pair {
    pub(crate) task: Task,
    secrets: [[u8; 32]; 2],
    /// What has been uploaded, by id: a second report of an id is none.
    pub(crate) reports: BTreeMap<ReportId, Uploaded>,
}

/// Ids of the two keys.
const KEY_IDS: [u8; 2] = [7, 9];
/// Their ways of sealing: AES-128-GCM, as Janus' own, and ChaCha20-Poly1305.
const AEADS: [u16; 2] = [1, 3];

impl Pair {
    pub(crate) fn new(task: Task) -> Pair {
        let secret = |fill: u8| {
            let mut secret = [fill; 32];
            secret[0] &= 248;
            secret[31] = secret[31] & 127 | 64;
            secret
        };
        Pair {
            task,
            secrets: [secret(0x11), secret(0x22)],
            reports: BTreeMap::new(),
        }
    }

    /// What each publishes of its key.
    pub(crate) fn keys(&self, which: usize) -> Vec<u8> {
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&self.secrets[which]);
        let public = X25519HkdfSha256::sk_to_pk(&secret.unwrap()).to_bytes();
        let mut config = vec![KEY_IDS[which], 0, 0x20, 0, 1];
        config.extend(AEADS[which].to_be_bytes());
        config.extend([0, 32]);
        config.extend(&public);
        [&(config.len() as u16).to_be_bytes()[..], &config].concat()
    }

    /// Takes what a client uploaded; answers what each report came to: nothing, or the code of an error.
    pub(crate) fn upload(&mut self, bytes: &[u8]) -> Option<Vec<(ReportId, u8)>> {
        let mut errors = Vec::new();
        for report in take_apart(bytes)? {
            if report.halves[0].0 != KEY_IDS[0] {
                errors.push((report.id, 11));
                continue;
            }
            match self.reports.entry(report.id) {
                Entry::Occupied(_) => errors.push((report.id, 2)),
                Entry::Vacant(place) => {
                    place.insert(report);
                }
            }
        }
        Some(errors)
    }

    /// Opens one half, as its aggregator does; its private extensions are none.
    pub(crate) fn open(&self, report: &Uploaded, which: usize) -> Option<Vec<u8>> {
        let aad = dap::aad(&self.task, report.id, report.time, &report.public_share);
        let info = dap::info(2 + which as u8);
        let plain = match which {
            0 => self.opened::<AesGcm128>(report, which, &info, &aad),
            _ => self.opened::<ChaCha20Poly1305>(report, which, &info, &aad),
        }?;
        let share = plain.strip_prefix(&[0, 0])?;
        let (length, share) = share.split_first_chunk()?;
        (u32::from_be_bytes(*length) as usize == share.len()).then(|| share.to_vec())
    }

    fn opened<A: Aead>(
        &self,
        report: &Uploaded,
        which: usize,
        info: &[u8],
        aad: &[u8],
    ) -> Option<Vec<u8>> {
        type Scheme = X25519HkdfSha256;
        let (id, key, sealed) = &report.halves[which];
        assert_eq!(*id, KEY_IDS[which]);
        let secret = <Scheme as Kem>::PrivateKey::from_bytes(&self.secrets[which]).ok()?;
        let key = <Scheme as Kem>::EncappedKey::from_bytes(key).ok()?;
        let mode = OpModeR::Base;
        hpke::single_shot_open::<A, HkdfSha256, Scheme>(&mode, &secret, &key, info, sealed, aad)
            .ok()
    }

    /// The sum of what lies within the law, and how many reports do not.
    pub(crate) fn sum(&self) -> (Vec<u128>, usize) {
        match self.task.vdaf {
            Vdaf::Prio3Histogram {
                length,
                chunk_length,
            } => self.sum_with(
                &Prio3::new_histogram(2, length as usize, chunk_length as usize).unwrap(),
            ),
            Vdaf::Prio3SumVec {
                length,
                max_measurement,
                chunk_length,
            } => self.sum_with(
                &Prio3::new_sum_vec(
                    2,
                    u128::from(max_measurement),
                    length as usize,
                    chunk_length as usize,
                )
                .unwrap(),
            ),
        }
    }

    fn sum_with<T>(&self, vdaf: &Prio3<T, XofTurboShake128, 32>) -> (Vec<u128>, usize)
    where
        T: Type<AggregateResult = Vec<u128>>,
    {
        let (mut leader, mut helper) = (vdaf.aggregate_init(&()), vdaf.aggregate_init(&()));
        let (mut taken, mut refused) = (0, 0);
        for report in self.reports.values() {
            let halves = [0, 1].map(|which| self.open(report, which));
            let [Some(first), Some(second)] = halves else {
                refused += 1;
                continue;
            };
            match verify(vdaf, &self.context(), report, [&first, &second]) {
                Ok([first, second]) => {
                    use prio::vdaf::Aggregatable as _;
                    leader.accumulate(&first).unwrap();
                    helper.accumulate(&second).unwrap();
                    taken += 1;
                }
                Err(_) => refused += 1,
            }
        }
        let sum = vdaf.unshard(&(), [leader, helper], taken).unwrap();
        (sum, refused)
    }

    pub(crate) fn context(&self) -> Vec<u8> {
        [dap::VERSION.as_bytes(), &self.task.id.0].concat()
    }
}

/// Both verify; what they say to each other goes through bytes.
pub(crate) fn verify<T: Type>(
    vdaf: &Prio3<T, XofTurboShake128, 32>,
    context: &[u8],
    report: &Uploaded,
    halves: [&[u8]; 2],
) -> Result<[prio::vdaf::OutputShare<T::Field>; 2], Box<dyn Error>> {
    type Share<T> = <Prio3<T, XofTurboShake128, 32> as prio::vdaf::Vdaf>::InputShare;
    type Public<T> = <Prio3<T, XofTurboShake128, 32> as prio::vdaf::Vdaf>::PublicShare;
    let public = Public::<T>::get_decoded_with_param(vdaf, &report.public_share)?;
    let mut states = Vec::new();
    let mut said = Vec::new();
    for (which, half) in halves.into_iter().enumerate() {
        let share = Share::<T>::get_decoded_with_param(&(vdaf, which), half)?;
        let (state, share) = vdaf.verify_init(
            &VERIFY_KEY,
            context,
            which,
            &(),
            &report.id.0,
            &public,
            &share,
        )?;
        said.push(share.get_encoded()?);
        states.push(state);
    }
    let shares: Result<Vec<_>, _> = said
        .iter()
        .map(|bytes| ParameterizedDecode::get_decoded_with_param(&states[0], bytes))
        .collect();
    let message = vdaf.verifier_shares_to_message(context, &(), shares?)?;
    let mut outputs = states
        .into_iter()
        .map(|state| -> Result<_, Box<dyn Error>> {
            match vdaf.verify_next(context, state, message.clone())? {
                VerifyTransition::Finish(output) => Ok(output),
                VerifyTransition::Continue(..) => panic!("Prio3 has one round"),
            }
        });
    let mut next = || outputs.next().expect("two aggregators");
    Ok([next()?, next()?])
}
