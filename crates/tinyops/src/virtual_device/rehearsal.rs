//! A rehearsal of what nobody wants to try for the first time on a real fleet: keys are replaced and taken back while
//! a device is in the field.

use std::sync::Arc;

use tinyops_device::{BlockSource, Config, Event, Privacy, Reporting, Sensor};
use tinyops_fleet::{
    Fleet, KeyFolder, Keyring, Policy, Signer,
    enrol::{Entropy, NewDevice},
    keys::{Proposed, Role},
    rollout::Wish,
    sign::Unsigned,
};
use tinyops_store::{Artifacts, Db, DeviceId, Digest, Timestamp, hello, model, model::NewModel};
use tinyops_wire::{
    Frame,
    frame::{Reason, UpdateState},
    payload::{self, SectionId},
    summary::Format,
};

use super::{BLOCK_BYTES, Room, VirtualDevice, carried::carry};

const BOARD: &str = "esp-eye";

struct Rehearsal {
    folder: KeyFolder,
    fleet: Fleet,
    device: VirtualDevice,
    id: DeviceId,
    now: Timestamp,
    /// What the device told of updates.
    told: Vec<(UpdateState, Reason, u32)>,
    key: tinyops_wire::DeviceKey,
}

impl Rehearsal {
    async fn begin(place: &tempfile::TempDir) -> Self {
        let folder = KeyFolder::new(place.path());
        let mut seed = 0;
        let keys = folder
            .make(3, 2, || {
                seed += 1;
                [seed; 32]
            })
            .unwrap();
        let db = Db::open("sqlite::memory:").await.unwrap();
        let artifacts = Artifacts::open("memory:").await.unwrap();
        let fleet = Fleet::new(db, artifacts, Policy::default()).with_keys(keys.clone());
        let now = Timestamp(1_700_000_000_000);
        let new = NewDevice {
            board: BOARD.to_owned(),
            ..NewDevice::default()
        };
        let row = fleet
            .register(&new, Entropy([9; 40]), "test", now)
            .await
            .unwrap();
        let config = Config {
            device: row.id,
            key: row.key.clone(),
            first_uplink: 0,
            roots: keys.trust.roots,
            keys: keys.trust.keys,
            board: BOARD,
            sensor: Sensor {
                channel_count: 1,
                rate_hz: 10.0,
                mounting: None,
                channels: &[],
            },
            reporting: Reporting {
                every_windows: 0,
                every_ms: 0,
                format: Format::M6H8,
            },
            privacy: Privacy::Plain,
            hop: 0,
            blocks: BlockSource::Server,
            block_bytes: BLOCK_BYTES,
            retry_after_ms: 1000,
            tries: 3,
            trial_windows: 1,
        };
        let mut rehearsal = Self {
            folder,
            fleet,
            device: VirtualDevice::new(config, Room::SMALL, Arc::new([])),
            id: row.id,
            now,
            told: Vec::new(),
            key: row.key,
        };
        rehearsal.run(Event::Boot).await;
        rehearsal
    }

    /// Hands in an event, and carries envelopes both ways until neither side has more to say.
    async fn run(&mut self, event: Event<'_>) {
        let told = &mut self.told;
        let see = |body: &[u8]| {
            if let Ok(Frame::Update(update)) = Frame::decode(body) {
                told.push((update.state, update.reason, update.detail));
            }
        };
        let of = (&self.key, self.now);
        carry(&self.fleet, &mut self.device, of, event, see).await;
    }

    /// The device connects, and hears what it is owed.
    async fn connect(&mut self) {
        self.now = self.now.plus_ms(3_600_000);
        for message in self.fleet.owed(self.id, self.now).await.unwrap() {
            self.run(Event::Downlink(&message)).await;
        }
    }

    /// The server is started again with a key set that enough root keys have signed.
    fn install(&mut self, proposed: &Proposed) -> Keyring {
        assert!(proposed.found >= proposed.needed);
        self.folder.install(&proposed.signed).unwrap();
        let keys = self
            .folder
            .open_or_make(|| panic!("nothing is made"))
            .unwrap();
        self.fleet = self.fleet.clone().with_keys(keys.clone());
        keys
    }

    async fn held(&self) -> Option<u32> {
        let hello = hello::get(&self.fleet.db, self.id).await.unwrap();
        hello.and_then(|hello| hello.key_set)
    }

    /// Signs a model that no device can run, and offers it before what is of lower priority; a capsule's signature is
    /// looked at before what is in it.
    async fn roll_out(&mut self, name: &str, priority: i64, signer: &Signer) {
        let payload = payload_bytes();
        let tx = self.fleet.db.begin("test").await.unwrap();
        let new = NewModel {
            name: name.to_owned(),
            project: "fan".to_owned(),
            digest: Digest::of(b"model"),
            run: None,
            parent: None,
            metrics: serde_json::json!({}),
        };
        let version = model::add(&tx, &new, self.now).await.unwrap().version;
        tx.commit().await.unwrap();
        let unsigned = Unsigned {
            model: name,
            version,
            board: BOARD,
            payload: &payload,
            detail: serde_json::json!({}),
        };
        self.fleet.sign(signer, &unsigned, self.now).await.unwrap();
        let wish = Wish {
            priority,
            ..Wish::of(name, version)
        };
        self.fleet
            .start_rollout(&wish, "test", self.now)
            .await
            .unwrap();
        self.connect().await;
    }
}

fn payload_bytes() -> Vec<u8> {
    let sections: [(SectionId, &[u8]); 1] = [(SectionId::Program, b"program")];
    let mut out = vec![0; payload::encoded_len(sections.iter().map(|(_, bytes)| bytes.len()))];
    payload::encode(&sections, &mut out).unwrap();
    out
}

#[tokio::test]
async fn keys_are_replaced_and_taken_back_in_the_field() {
    let place = tempfile::tempdir().unwrap();
    let mut rehearsal = Rehearsal::begin(&place).await;
    assert_eq!(rehearsal.held().await, Some(1), "what its firmware brings");
    rehearsal.connect().await;
    assert_eq!(rehearsal.held().await, Some(1), "nothing is owed");
    let old = rehearsal.folder.signer("release").unwrap().unwrap();

    let both = rehearsal
        .folder
        .rotate(Role::Release, None, false, &[50; 32])
        .unwrap();
    let keys = rehearsal.install(&both);
    rehearsal.connect().await;
    assert_eq!(rehearsal.held().await, Some(2));
    let alone = rehearsal
        .folder
        .take_back(old.verifying_key().id())
        .unwrap();
    rehearsal.install(&alone);
    let director = rehearsal
        .folder
        .rotate(Role::Director, None, true, &[51; 32])
        .unwrap();
    rehearsal.install(&director);
    rehearsal.connect().await;
    assert_eq!(
        rehearsal.held().await,
        Some(4),
        "one that was missed is not missed"
    );

    // What the new director offers is taken up; what the old release key signs is not.
    rehearsal.roll_out("fan", 0, &old).await;
    assert_eq!(
        rehearsal.told,
        [
            (UpdateState::Downloading, Reason::None, 0),
            (UpdateState::Refused, Reason::Signature, 4),
        ]
    );
    rehearsal.told.clear();
    rehearsal.roll_out("pump", 1, keys.release().unwrap()).await;
    assert_eq!(
        rehearsal.told,
        [
            (UpdateState::Downloading, Reason::None, 0),
            (UpdateState::Refused, Reason::Malformed, 0),
        ],
        "the signature is right, and what it signs is no model"
    );
    rehearsal.run(Event::Boot).await;
    assert_eq!(rehearsal.held().await, Some(4), "and it stays so");
}
