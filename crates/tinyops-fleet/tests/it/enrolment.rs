//! Devices that make their own keys: how they are let in, and every way in which they are not.

use std::net::IpAddr;

use tinyops_fleet::credential::NewToken;
use tinyops_fleet::enrol::{Entropy, device_password};
use tinyops_fleet::enrolment::{Bringer, Enrolled, EnrolmentPolicy, Unenrolled};
use tinyops_fleet::{Fleet, FleetError, Keyring, Policy, Uplink};
use tinyops_store::device::{self, DeviceState};
use tinyops_store::{
    Artifacts, Db, DeviceId, DeviceKey, Digest, ModelId, Timestamp, audit, claim, class_token,
};
use tinyops_wire::claim::{CLAIM_BYTES_MAX, Claim};
use tinyops_wire::enrolment::{
    ClassToken, EnrolmentError, EnrolmentSecret, Proof, REQUEST_BYTES_MAX, Request, open,
};
use tinyops_wire::envelope::{Direction, Envelope};
use tinyops_wire::frame::Hello;
use tinyops_wire::{Frame, SigningKey};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const BOARD: &str = "esp-eye";

struct Place {
    fleet: Fleet,
    keys: Keyring,
    /// Numbers what is random elsewhere.
    dice: std::cell::Cell<u8>,
}

/// A device before it is anyone.
struct New {
    secret: EnrolmentSecret,
    request: Vec<u8>,
}

impl Place {
    async fn new(policy: EnrolmentPolicy) -> Place {
        let db = Db::open("sqlite::memory:").await.unwrap();
        let artifacts = Artifacts::open("memory:").await.unwrap();
        let policy = Policy {
            enrolment: policy,
            ..Policy::default()
        };
        let keys = Keyring::from_seed(&[7; 32]);
        Place {
            fleet: Fleet::new(db, artifacts, policy).with_keys(keys.clone()),
            keys,
            dice: std::cell::Cell::new(1),
        }
    }

    fn entropy(&self) -> Entropy {
        self.dice.set(self.dice.get() + 1);
        Entropy([self.dice.get(); 40])
    }

    async fn token(&self, uses: u32, expires_at: Option<Timestamp>) -> ClassToken {
        let new = NewToken {
            board: BOARD.to_owned(),
            cohort: "hall-1".to_owned(),
            tags: vec!["site=north".to_owned()],
            uses,
            expires_at,
        };
        let made = self
            .fleet
            .make_class_token(&new, self.entropy(), "ana", NOW);
        made.await.unwrap().1
    }

    fn ask(&self, proof: Proof<'_>) -> New {
        self.ask_as(proof, None, BOARD)
    }

    fn ask_as(&self, proof: Proof<'_>, device: Option<u64>, board: &str) -> New {
        let secret = EnrolmentSecret::from_bytes(Digest::of(&self.entropy().0).0);
        let request = Request {
            key_set: self.keys.trust.keys.sequence,
            device: device.map(DeviceId),
            public: secret.public(),
            nonce: [0; 16],
            board,
        };
        let mut bytes = vec![0; REQUEST_BYTES_MAX];
        let written = request.encode(proof, &mut bytes).unwrap();
        bytes.truncate(written);
        New {
            secret,
            request: bytes,
        }
    }

    async fn bring(&self, request: &[u8], now: Timestamp) -> Result<Enrolled, FleetError> {
        let bringer = Bringer::Device { address: None };
        let entropy = self.entropy();
        self.fleet.enrol(request, bringer, entropy, now).await
    }

    /// Lets a device in; its id and key, as the device has them.
    async fn enrol(&self, new: &New) -> (DeviceId, DeviceKey, u32) {
        let enrolled = self.bring(&new.request, NOW).await.unwrap();
        let opened = self.open(new, &enrolled.answer);
        assert_eq!(enrolled.device.key, opened.1);
        opened
    }

    fn open(&self, new: &New, answer: &[u8]) -> (DeviceId, DeviceKey, u32) {
        let trust = &self.keys.trust;
        let opened = open(&new.secret, &new.request, answer, &trust.roots, &trust.keys);
        let opened = opened.unwrap();
        (opened.device, opened.key, opened.first_uplink)
    }

    async fn why(&self, request: &[u8], now: Timestamp) -> Unenrolled {
        match self.bring(request, now).await {
            Err(FleetError::Enrolment(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// A device's hello; why it was refused, if it was.
    async fn hello(
        &self,
        device: DeviceId,
        key: &DeviceKey,
        sequence: u32,
    ) -> Option<&'static str> {
        let frame = Frame::Hello(Hello {
            boot_count: 1,
            sequence: 0,
            arena_bytes: 0,
            slot_bytes: 0,
            board: BOARD,
            trust: None,
        });
        let mut body = [0; 128];
        let body_len = frame.encode(&mut body).unwrap();
        let envelope = Envelope {
            direction: Direction::Up,
            device,
            model: ModelId(0),
            sequence,
            body: &body[..body_len],
        };
        let mut bytes = [0; 256];
        let len = envelope.seal(key, &mut bytes).unwrap();
        let uplink = Uplink {
            from: Some(device),
            bytes: &bytes[..len],
        };
        let (verdicts, _) = self.fleet.ingest_many(&[uplink], NOW).await.unwrap();
        verdicts[0].refusal.map(|refusal| refusal.word())
    }
}

/// What a factory has.
struct Factory {
    authority: SigningKey,
    key: SigningKey,
}

impl Factory {
    fn new() -> Factory {
        Factory {
            authority: SigningKey::from_seed(&[31; 32]),
            key: SigningKey::from_seed(&[32; 32]),
        }
    }

    fn claim(&self) -> Claim<'static> {
        Claim {
            serial: "S-0042",
            board: BOARD,
            cohort: "hall-2",
            key: self.key.verifying_key(),
            uses: 1,
            ends_s: 0,
        }
    }

    fn sign(&self, claim: &Claim<'_>) -> Vec<u8> {
        let mut bytes = vec![0; CLAIM_BYTES_MAX];
        let written = claim.encode(&self.authority, &mut bytes).unwrap();
        bytes.truncate(written);
        bytes
    }

    fn proof<'a>(&'a self, certificate: &'a [u8]) -> Proof<'a> {
        Proof::Claim {
            certificate,
            key: &self.key,
        }
    }

    async fn is_trusted(&self, place: &Place) {
        let public = self.authority.verifying_key();
        let trusted = place.fleet.trust_authority("plant-2", &public, "ana", NOW);
        trusted.await.unwrap();
    }
}

#[tokio::test]
async fn a_device_enrols_by_a_class_token_and_speaks() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let token = place.token(2, None).await;
    let new = place.ask(Proof::Token(&token));
    let (id, key, first_uplink) = place.enrol(&new).await;
    assert_eq!(first_uplink, 0);
    let row = device::get(&place.fleet.db, id).await.unwrap().unwrap();
    assert_eq!((row.board.as_str(), row.cohort.as_str()), (BOARD, "hall-1"));
    assert_eq!(row.tags, ["site=north"]);
    let password = device_password(&key, id);
    assert!(place.fleet.admit(id, &password).await.unwrap());
    assert_eq!(place.hello(id, &key, 1).await, None);
    let stranger = DeviceKey([1; 32]);
    assert_eq!(place.hello(id, &stranger, 2).await, Some("tag"));
    // Two devices of a class have nothing in common.
    let (other, other_key, _) = place.enrol(&place.ask(Proof::Token(&token))).await;
    assert!(other != id && other_key != key);
    let listed = class_token::list(&place.fleet.db).await.unwrap();
    assert_eq!((listed[0].use_count, listed[0].uses_max), (2, 2));
    let log = audit::about(&place.fleet.db, &id.to_string(), 9)
        .await
        .unwrap();
    assert_eq!(log[0].action, "device.enrol");
    assert_eq!(log[0].actor, format!("class token {}", token.id));
}

#[tokio::test]
async fn the_store_holds_nothing_by_which_a_token_could_be_shown() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let token = place.token(1, None).await;
    let listed = class_token::list(&place.fleet.db).await.unwrap();
    let secret: Digest = token.text().to_string()[30..].parse().unwrap();
    assert_ne!(listed[0].key.0, secret.0);
    let thief = ClassToken::new(token.id, listed[0].key.0);
    let request = place.ask(Proof::Token(&thief)).request;
    assert_eq!(place.why(&request, NOW).await, Unenrolled::TokenTag);
}

#[tokio::test]
async fn every_token_that_does_not_fit_has_its_reason() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let token = place.token(1, Some(NOW.plus_ms(1000))).await;
    let unknown = ClassToken::new(tinyops_wire::enrolment::TokenId(1), [1; 32]);
    let forged = ClassToken::new(token.id, [1; 32]);
    let ask = |token| place.ask(Proof::Token(token)).request;
    assert_eq!(
        place.why(&ask(&unknown), NOW).await,
        Unenrolled::TokenUnknown
    );
    assert_eq!(place.why(&ask(&forged), NOW).await, Unenrolled::TokenTag);
    let over = place.why(&ask(&token), NOW.plus_ms(1000)).await;
    assert_eq!(over, Unenrolled::TokenExpired);
    let elsewhere = place.ask_as(Proof::Token(&token), None, "sparkfun-edge-2");
    assert_eq!(place.why(&elsewhere.request, NOW).await, Unenrolled::Board);
    let mut flipped = ask(&token);
    flipped[50] ^= 1;
    assert_eq!(place.why(&flipped, NOW).await, Unenrolled::TokenTag);
    let bare = place.ask(Proof::Operator).request;
    assert_eq!(place.why(&bare, NOW).await, Unenrolled::NoProof);
    // None of these was counted.
    place.enrol(&place.ask(Proof::Token(&token))).await;
    assert_eq!(place.why(&ask(&token), NOW).await, Unenrolled::TokenUsedUp);
    let revoked = place.fleet.revoke_class_token(token.id, "ana", NOW);
    revoked.await.unwrap();
    assert_eq!(place.why(&ask(&token), NOW).await, Unenrolled::TokenRevoked);
    let again = place.fleet.revoke_class_token(token.id, "ana", NOW).await;
    assert!(
        matches!(again, Err(FleetError::TokenRevoked(_))),
        "{again:?}"
    );
    let none = place.fleet.revoke_class_token(unknown.id, "ana", NOW).await;
    assert!(matches!(none, Err(FleetError::NoClassToken(_))), "{none:?}");
    assert_eq!(device::count(&place.fleet.db).await.unwrap(), 1);
}

#[tokio::test]
async fn requests_that_cannot_be_read_have_their_reasons() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let token = place.token(9, None).await;
    let sound = place.ask(Proof::Token(&token)).request;
    let with = |at: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        (with(0, 2), EnrolmentError::Version { found: 2 }, "version"),
        (with(1, 9), EnrolmentError::Proof { found: 9 }, "proof"),
        (with(45, 0xff), EnrolmentError::PublicKey, "public_key"),
        (with(62, 0), EnrolmentError::Board, "board_name"),
        (with(63, 0xff), EnrolmentError::Board, "board_name"),
        (sound[..40].to_vec(), EnrolmentError::Length, "malformed"),
        (Vec::new(), EnrolmentError::Length, "malformed"),
    ];
    for (bytes, error, word) in cases {
        let why = place.why(&bytes, NOW).await;
        assert_eq!((why, why.word()), (Unenrolled::Request(error), word));
    }
    // A key under which everybody would come to the same secret: signed by the token, and refused all the same.
    let mut zero = sound.clone();
    zero[14..46].fill(0);
    let end = zero.len() - 16;
    let tag = {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&token.key().0).unwrap();
        mac.update(b"tinyops enrolment request 1");
        mac.update(&zero[..end]);
        mac.finalize().into_bytes()
    };
    zero[end..].copy_from_slice(&tag[..16]);
    let why = place.why(&zero, NOW).await;
    assert_eq!(why, Unenrolled::Request(EnrolmentError::PublicKey));
    let listed = class_token::list(&place.fleet.db).await.unwrap();
    assert_eq!(listed[0].use_count, 0, "nothing was counted");
}

#[tokio::test]
async fn a_request_played_again_is_answered_the_same_and_counts_once() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let token = place.token(9, None).await;
    let new = place.ask(Proof::Token(&token));
    let first = place.bring(&new.request, NOW).await.unwrap();
    // Its token may be over by then.
    place
        .fleet
        .revoke_class_token(token.id, "ana", NOW)
        .await
        .unwrap();
    let second = place.bring(&new.request, NOW.plus_ms(9)).await.unwrap();
    assert_eq!(
        (&first.answer, first.device.id),
        (&second.answer, second.device.id)
    );
    assert_eq!(device::count(&place.fleet.db).await.unwrap(), 1);
    let listed = class_token::list(&place.fleet.db).await.unwrap();
    assert_eq!(listed[0].use_count, 1);
    // The same key in another request is no repetition.
    let request = Request {
        key_set: place.keys.trust.keys.sequence,
        device: None,
        public: new.secret.public(),
        nonce: [1; 16],
        board: BOARD,
    };
    let mut bytes = [0; REQUEST_BYTES_MAX];
    let written = request.encode(Proof::Token(&token), &mut bytes).unwrap();
    let why = place.why(&bytes[..written], NOW).await;
    assert_eq!(why, Unenrolled::KeyUsed);
    // Revoked, it is not let in again by what it said then.
    place
        .fleet
        .revoke(first.device.id, "ana", NOW)
        .await
        .unwrap();
    assert_eq!(place.why(&new.request, NOW).await, Unenrolled::Revoked);
}

#[tokio::test]
async fn a_revoked_device_is_silent_and_comes_back_only_if_allowed() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let token = place.token(1, None).await;
    let ask = || place.ask_as(Proof::Token(&token), Some(0x77), BOARD);
    let first = ask();
    let (id, key, _) = place.enrol(&first).await;
    assert_eq!(id, DeviceId(0x77));
    assert_eq!(place.hello(id, &key, 41).await, None);
    // Its id is taken, for whoever has the token.
    assert_eq!(place.why(&ask().request, NOW).await, Unenrolled::IdTaken);
    let proof = place.fleet.revoke(id, "ana", NOW).await.unwrap();
    assert_eq!(proof, Some(format!("class token {}", token.id)));
    assert_eq!(place.hello(id, &key, 42).await, Some("revoked"));
    assert!(
        !place
            .fleet
            .admit(id, &device_password(&key, id))
            .await
            .unwrap()
    );
    assert_eq!(place.why(&ask().request, NOW).await, Unenrolled::Revoked);
    // Allowed for a while, and that while is over.
    let until = NOW.plus_ms(1000);
    place.fleet.allow(id, until, "ana", NOW).await.unwrap();
    assert_eq!(place.why(&ask().request, until).await, Unenrolled::Revoked);
    // Allowed, once: with a new key, above its numbers of before, without counting it twice.
    place.fleet.allow(id, until, "ana", NOW).await.unwrap();
    let again = ask();
    let (same, new_key, first_uplink) = place.enrol(&again).await;
    assert_eq!((same, first_uplink), (id, 42));
    assert_ne!(new_key, key);
    assert_eq!(
        place.hello(id, &key, 43).await,
        Some("tag"),
        "the key of before"
    );
    assert_eq!(place.hello(id, &new_key, first_uplink).await, None);
    assert_eq!(place.why(&ask().request, NOW).await, Unenrolled::IdTaken);
    // What it said with the key of before is no way back.
    assert_eq!(place.why(&first.request, NOW).await, Unenrolled::KeyUsed);
    let row = device::get(&place.fleet.db, id).await.unwrap().unwrap();
    assert_eq!(row.state, DeviceState::Active);
    // A revocation takes a permission back that was not used.
    place.fleet.allow(id, until, "ana", NOW).await.unwrap();
    place.fleet.revoke(id, "ana", NOW).await.unwrap();
    assert_eq!(place.why(&ask().request, NOW).await, Unenrolled::Revoked);
    let none = place.fleet.allow(DeviceId(1), until, "ana", NOW).await;
    assert!(matches!(none, Err(FleetError::NoDevice(_))), "{none:?}");
    let actions: Vec<String> = audit::about(&place.fleet.db, &id.to_string(), 99)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(
        actions
            .iter()
            .filter(|action| *action == "device.enrol")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_device_enrols_by_a_claim_of_a_trusted_authority() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let factory = Factory::new();
    let certificate = factory.sign(&factory.claim());
    let ask = || place.ask(factory.proof(&certificate)).request;
    assert_eq!(place.why(&ask(), NOW).await, Unenrolled::ClaimAuthority);
    factory.is_trusted(&place).await;
    let (id, key, _) = place.enrol(&place.ask(factory.proof(&certificate))).await;
    assert_eq!(place.hello(id, &key, 1).await, None);
    let row = device::get(&place.fleet.db, id).await.unwrap().unwrap();
    assert_eq!(row.cohort, "hall-2");
    assert_eq!(place.why(&ask(), NOW).await, Unenrolled::ClaimUsedUp);
    let log = audit::about(&place.fleet.db, &id.to_string(), 9)
        .await
        .unwrap();
    assert_eq!(log[0].actor, "claim S-0042");
    // One that is revoked before it is used.
    let spare = Claim {
        serial: "S-0043",
        ..factory.claim()
    };
    let spare = factory.sign(&spare);
    place
        .fleet
        .revoke_claim("S-0043", "ana", NOW)
        .await
        .unwrap();
    let why = place
        .why(&place.ask(factory.proof(&spare)).request, NOW)
        .await;
    assert_eq!(why, Unenrolled::ClaimRevoked);
    // An authority that is trusted no more.
    let more = Claim {
        serial: "S-0044",
        ..factory.claim()
    };
    let more = factory.sign(&more);
    place
        .fleet
        .distrust_authority("plant-2", "ana", NOW)
        .await
        .unwrap();
    let why = place
        .why(&place.ask(factory.proof(&more)).request, NOW)
        .await;
    assert_eq!(why, Unenrolled::ClaimAuthority);
    let again = place.fleet.distrust_authority("plant-2", "ana", NOW).await;
    assert!(
        matches!(again, Err(FleetError::NoAuthority(_))),
        "{again:?}"
    );
    let claims = claim::list(&place.fleet.db).await.unwrap();
    assert_eq!(claims.len(), 2);
    assert_eq!(place.hello(id, &key, 2).await, None, "who is in stays in");
}

#[tokio::test]
async fn every_claim_that_does_not_fit_has_its_reason() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let factory = Factory::new();
    factory.is_trusted(&place).await;
    let why = async |claim: Claim<'_>, board: &str| {
        let certificate = factory.sign(&claim);
        let request = place.ask_as(factory.proof(&certificate), None, board);
        place.why(&request.request, NOW).await
    };
    let over = Claim {
        ends_s: (NOW.0 / 1000) as u32,
        ..factory.claim()
    };
    assert_eq!(why(over, BOARD).await, Unenrolled::ClaimExpired);
    assert_eq!(
        why(factory.claim(), "sparkfun-edge-2").await,
        Unenrolled::Board
    );
    // Somebody copied the certificate off another device, and has not its key.
    let certificate = factory.sign(&factory.claim());
    let thief = SigningKey::from_seed(&[99; 32]);
    let proof = Proof::Claim {
        certificate: &certificate,
        key: &thief,
    };
    let stolen = place.ask(proof).request;
    assert_eq!(place.why(&stolen, NOW).await, Unenrolled::ClaimProof);
    // Somebody signs for itself.
    let forger = Factory {
        authority: SigningKey::from_seed(&[98; 32]),
        key: SigningKey::from_seed(&[97; 32]),
    };
    let certificate = forger.sign(&forger.claim());
    let forged = place.ask(forger.proof(&certificate)).request;
    assert_eq!(place.why(&forged, NOW).await, Unenrolled::ClaimAuthority);
    for serial in ["", &"x".repeat(41)] {
        let refused = place.fleet.revoke_claim(serial, "ana", NOW).await;
        assert!(matches!(refused, Err(FleetError::Serial(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn an_operator_vouches_for_a_request_that_proves_nothing() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let tags = ["roof".to_owned()];
    let operator = Bringer::Operator {
        actor: "ana",
        cohort: "",
        tags: &tags,
    };
    let new = place.ask_as(Proof::Operator, Some(0x0011_2233_4455_6677), BOARD);
    let enrolled = place
        .fleet
        .enrol(&new.request, operator, place.entropy(), NOW);
    let enrolled = enrolled.await.unwrap();
    let (id, key, _) = place.open(&new, &enrolled.answer);
    assert_eq!(id, DeviceId(0x0011_2233_4455_6677));
    assert_eq!(enrolled.device.tags, tags);
    assert_eq!(enrolled.device.cohort, "default");
    assert_eq!(place.hello(id, &key, 1).await, None);
    let token = place.token(1, None).await;
    let proven = place.ask(Proof::Token(&token)).request;
    let refused = place
        .fleet
        .enrol(&proven, operator, place.entropy(), NOW)
        .await;
    assert!(
        matches!(refused, Err(FleetError::Enrolment(Unenrolled::OwnProof))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let policy = EnrolmentPolicy {
        address_per_minute: 3,
        class_per_minute: 2,
    };
    let place = Place::new(policy).await;
    let token = place.token(99, None).await;
    let from = async |address: &str, request: &[u8], now: Timestamp| {
        let address: IpAddr = address.parse().unwrap();
        let bringer = Bringer::Device {
            address: Some(address),
        };
        let entropy = place.entropy();
        match place.fleet.enrol(request, bringer, entropy, now).await {
            Ok(_) => None,
            Err(FleetError::Enrolment(why)) => Some(why),
            Err(other) => panic!("{other:?}"),
        }
    };
    // Guessing costs tries, whoever the guesses are for.
    for _ in 0..3 {
        let why = from("10.0.0.9", b"no request", NOW).await;
        assert_eq!(
            why,
            Some(Unenrolled::Request(EnrolmentError::Version { found: b'n' }))
        );
    }
    let ask = || place.ask(Proof::Token(&token)).request;
    let why = from("10.0.0.9", &ask(), NOW).await;
    assert_eq!(why, Some(Unenrolled::AddressRate));
    // Others go on, until the token has let in as many as it may in a minute.
    assert_eq!(from("10.0.0.10", &ask(), NOW).await, None);
    assert_eq!(from("2001:db8::1", &ask(), NOW).await, None);
    let why = from("10.0.0.11", &ask(), NOW).await;
    assert_eq!(why, Some(Unenrolled::ClassRate));
    // One network of IPv6 is one address.
    for host in 2..4 {
        from(&format!("2001:db8::{host}"), b"n", NOW).await;
    }
    let why = from("2001:db8::9", b"n", NOW).await;
    assert_eq!(why, Some(Unenrolled::AddressRate));
    let later = NOW.plus_ms(60_000);
    assert_eq!(from("10.0.0.9", &ask(), later).await, None);
}

#[tokio::test]
async fn a_newer_key_set_goes_with_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let key_folder = tinyops_fleet::KeyFolder::new(folder.path());
    let mut seed = 0;
    let mut seeds = || {
        seed += 1;
        [seed; 32]
    };
    let first = key_folder.open_or_make(&mut seeds).unwrap();
    let role = tinyops_fleet::keys::Role::Director;
    let proposed = key_folder.rotate(role, None, true, &[200; 32]).unwrap();
    key_folder.install(&proposed.signed).unwrap();
    let newer = key_folder.open_or_make(&mut seeds).unwrap();
    let db = Db::open("sqlite::memory:").await.unwrap();
    let artifacts = Artifacts::open("memory:").await.unwrap();
    let fleet = Fleet::new(db, artifacts, Policy::default()).with_keys(newer);
    let place = Place {
        fleet,
        // The firmware's keys are those of before.
        keys: first,
        dice: std::cell::Cell::new(1),
    };
    let token = place.token(1, None).await;
    place.enrol(&place.ask(Proof::Token(&token))).await;
}

#[tokio::test]
async fn tokens_that_would_never_enrol_are_not_made() {
    let place = Place::new(EnrolmentPolicy::default()).await;
    let make = async |uses, expires_at, board: &str| {
        let new = NewToken {
            board: board.to_owned(),
            cohort: "hall-1".to_owned(),
            tags: vec!["site=north".to_owned()],
            uses,
            expires_at,
        };
        let made = place
            .fleet
            .make_class_token(&new, place.entropy(), "ana", NOW);
        made.await.unwrap_err().to_string()
    };
    assert!(make(0, None, BOARD).await.contains("at least one device"));
    assert!(make(1, Some(NOW), BOARD).await.contains("over before"));
    assert!(make(1, None, "a/b").await.contains("no name"));
    assert_eq!(class_token::list(&place.fleet.db).await.unwrap(), []);
    let db = Db::open("sqlite::memory:").await.unwrap();
    let artifacts = Artifacts::open("memory:").await.unwrap();
    let keyless = Fleet::new(db, artifacts, Policy::default());
    let request = place.ask(Proof::Operator).request;
    let operator = Bringer::Operator {
        actor: "ana",
        cohort: "",
        tags: &[],
    };
    let refused = keyless
        .enrol(&request, operator, place.entropy(), NOW)
        .await;
    assert!(
        matches!(refused, Err(FleetError::NoDirectorKey)),
        "{refused:?}"
    );
}
