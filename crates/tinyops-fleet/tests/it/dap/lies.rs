//! Clients that lie: their proofs are made as well as they can be made, and do not hold.

use hpke::aead::{AesGcm128, ChaCha20Poly1305};
use prio::codec::Encode as _;
use prio::field::{Field128, FieldElement as _};
use prio::flp::gadgets::{Mul, ParallelSum};
use prio::flp::types::Histogram;
use prio::flp::{Flp, FlpError, Gadget, Type};
use prio::vdaf::Client as _;
use prio::vdaf::prio3::Prio3;
use prio::vdaf::xof::XofTurboShake128;
use tinyops_fleet::dap::{self, HpkeConfig, Measurement, ReportId};

use super::aggregators::{Pair, Uploaded, take_apart};
use super::{sealed, task};

type Honest = Histogram<Field128, ParallelSum<Field128, Mul>>;

/// The histogram's law with any vector for a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lying(Honest);

impl Flp for Lying {
    type Field = Field128;

    fn gadget(&self) -> Vec<Box<dyn Gadget<Field128>>> {
        self.0.gadget()
    }

    fn num_gadgets(&self) -> usize {
        self.0.num_gadgets()
    }

    fn valid(
        &self,
        gadgets: &mut Vec<Box<dyn Gadget<Field128>>>,
        input: &[Field128],
        joint_rand: &[Field128],
        num_shares: usize,
    ) -> Result<Vec<Field128>, FlpError> {
        self.0.valid(gadgets, input, joint_rand, num_shares)
    }

    fn input_len(&self) -> usize {
        self.0.input_len()
    }

    fn proof_len(&self) -> usize {
        self.0.proof_len()
    }

    fn verifier_len(&self) -> usize {
        self.0.verifier_len()
    }

    fn joint_rand_len(&self) -> usize {
        self.0.joint_rand_len()
    }

    fn eval_output_len(&self) -> usize {
        self.0.eval_output_len()
    }

    fn prove_rand_len(&self) -> usize {
        self.0.prove_rand_len()
    }
}

impl Type for Lying {
    type Measurement = Vec<u128>;
    type AggregateResult = Vec<u128>;

    fn encode_measurement(&self, measurement: &Vec<u128>) -> Result<Vec<Field128>, FlpError> {
        Ok(measurement.iter().map(|&value| value.into()).collect())
    }

    fn truncate(&self, input: Vec<Field128>) -> Result<Vec<Field128>, FlpError> {
        self.0.truncate(input)
    }

    fn decode_result(&self, data: &[Field128], count: usize) -> Result<Vec<u128>, FlpError> {
        self.0.decode_result(data, count)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }
}

/// What a client uploads that has another measurement than the law allows.
fn lie(pair: &Pair, id: u8, measurement: &[u128]) -> Uploaded {
    let id = ReportId([id; 16]);
    let law = Lying(Honest::new(16, 6).unwrap());
    let vdaf: Prio3<Lying, XofTurboShake128, 32> = Prio3::new(2, 1, 4, law).unwrap();
    let (public, halves) = vdaf
        .shard(&pair.context(), &measurement.to_vec(), &id.0)
        .unwrap();
    let public_share = public.get_encoded().unwrap();
    let aad = dap::aad(&pair.task, id, 495_000, &public_share);
    let mut sealed = halves.iter().enumerate().map(|(which, half)| {
        let half = half.get_encoded().unwrap();
        let plain = [&[0, 0][..], &(half.len() as u32).to_be_bytes(), &half].concat();
        let config = HpkeConfig::choose(&pair.keys(which)).unwrap();
        let info = dap::info(2 + which as u8);
        let (key, sealed) = match which {
            0 => seal::<AesGcm128>(&config, &info, &plain, &aad),
            _ => seal::<ChaCha20Poly1305>(&config, &info, &plain, &aad),
        };
        (config.id, key, sealed)
    });
    let halves = [sealed.next().unwrap(), sealed.next().unwrap()];
    Uploaded {
        id,
        time: 495_000,
        public_share,
        halves,
    }
}

fn seal<A: hpke::aead::Aead>(
    config: &HpkeConfig,
    info: &[u8],
    plain: &[u8],
    aad: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    use hpke::{Deserializable as _, Serializable as _};
    type Scheme = hpke::kem::X25519HkdfSha256;
    let key = <Scheme as hpke::Kem>::PublicKey::from_bytes(&config.public_key).unwrap();
    let mode = hpke::OpModeS::Base;
    let (sent, sealed) =
        hpke::single_shot_seal::<A, hpke::kdf::HkdfSha256, Scheme>(&mode, &key, info, plain, aad)
            .unwrap();
    (sent.to_bytes().to_vec(), sealed)
}

#[test]
fn a_report_outside_of_the_law_is_not_in_the_sum() {
    let mut pair = Pair::new(task());
    let mut expected = vec![0; 16];
    for id in 0..10 {
        expected[usize::from(id % 3)] += 1;
        let honest = sealed(
            &pair,
            id,
            495_000,
            &Measurement::Bucket(usize::from(id % 3)),
        );
        pair.upload(&honest);
    }
    let one_hot = |bucket: usize, value: u128| {
        let mut vector = vec![0; 16];
        vector[bucket] = value;
        vector
    };
    // The same way of making reports, with a measurement that is one of the law's, is taken.
    pair.reports
        .insert(ReportId([99; 16]), lie(&pair, 99, &one_hot(5, 1)));
    expected[5] += 1;
    assert_eq!(pair.sum(), (expected.clone(), 0));

    // A thousand of a bucket, two buckets, none, and one more here for one less there.
    let minus_one = u128::from(-Field128::one());
    let mut two = one_hot(1, 1);
    two[2] = 1;
    let mut shifted = one_hot(3, 2);
    shifted[4] = minus_one;
    let lies = [one_hot(7, 1000), two, vec![0; 16], shifted];
    for (id, measurement) in lies.iter().enumerate() {
        let report = lie(&pair, 100 + id as u8, measurement);
        pair.reports.insert(report.id, report);
    }
    assert_eq!(pair.sum(), (expected.clone(), lies.len()));

    // A half that belongs to another report of the same client.
    let of = |pair: &Pair, id| take_apart(&sealed(pair, id, 495_000, &Measurement::Bucket(1)));
    let (mut mixed, other) = (
        of(&pair, 120).unwrap().remove(0),
        of(&pair, 121).unwrap().remove(0),
    );
    mixed.halves[1] = other.halves[1].clone();
    pair.reports.insert(mixed.id, mixed);
    assert_eq!(pair.sum(), (expected, lies.len() + 1));
}
