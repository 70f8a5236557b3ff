//! Keys: made, replaced, kept elsewhere; and what devices get that ask for statements.

use std::path::Path;

use tempfile::TempDir;
use tinyops_fleet::keys::{Role, public_key};
use tinyops_fleet::owed::OwedPolicy;
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::sign::sign_capsule;
use tinyops_fleet::signer::SigningCommand;
use tinyops_fleet::{Fleet, FleetError, KeyFolder, Keyring, Policy, Signer};
use tinyops_store::capsule::Capsule;
use tinyops_wire::capsule::CapsuleError;
use tinyops_wire::downlink::{Downlink, KeySetPart, What};
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Features, Frame, Hello, Keys, Reason, Trust};
use tinyops_wire::key_set::SignedKeySet;
use tinyops_wire::{Sealed, SigningKey, Statement};

use crate::world::{HOUR, World};

/// Seeds, each another.
fn seeds() -> impl FnMut() -> [u8; 32] {
    let mut next = 0;
    move || {
        next += 1;
        [next; 32]
    }
}

fn folder() -> (TempDir, KeyFolder) {
    let place = tempfile::tempdir().unwrap();
    let folder = KeyFolder::new(place.path());
    (place, folder)
}

#[test]
fn keys_are_made_once_and_are_their_owners_alone() {
    let (place, folder) = folder();
    let made = folder.open_or_make(seeds()).unwrap();
    let again = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    assert_eq!(made.trust, again.trust);
    let ids = |keys: &Keyring| {
        let release = keys.release().unwrap().verifying_key().id();
        (release, keys.director.verifying_key().id())
    };
    assert_eq!(ids(&made), ids(&again));
    assert_ne!(ids(&made).0, ids(&made).1, "two roles, two keys");
    #[cfg(unix)]
    for name in ["root", "release", "director"] {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.file(name);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600, "{name}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let refused = folder.signer(name).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        let secret = std::fs::read_to_string(&path).unwrap();
        assert!(!refused.contains(secret.trim()));
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    drop(place);
}

#[test]
fn a_server_has_no_more_than_it_needs() {
    let (_place, folder) = folder();
    let made = folder.open_or_make(seeds()).unwrap();
    std::fs::remove_file(folder.file("root")).unwrap();
    std::fs::remove_file(folder.file("release")).unwrap();
    let keys = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    assert_eq!(keys.trust, made.trust);
    assert!(matches!(keys.release(), Err(FleetError::NoReleaseKey)));
    std::fs::remove_file(folder.file("director")).unwrap();
    let refused = folder
        .open_or_make(|| panic!("nothing is made"))
        .unwrap_err();
    assert!(refused.to_string().contains("director.key"), "{refused}");
}

#[test]
fn a_key_that_is_not_in_the_key_set_is_refused() {
    let (_place, folder) = folder();
    folder.open_or_make(seeds()).unwrap();
    std::fs::remove_file(folder.file("release")).unwrap();
    Signer::make(&folder.file("release"), &[77; 32]).unwrap();
    let refused = folder
        .open_or_make(|| panic!("nothing is made"))
        .unwrap_err();
    assert!(refused.to_string().contains("release key"), "{refused}");
}

#[test]
fn a_key_is_replaced_beside_the_old_one_and_then_alone() {
    let (place, folder) = folder();
    let before = folder.open_or_make(seeds()).unwrap();
    let old = before.release().unwrap().verifying_key();
    let proposed = folder
        .rotate(Role::Release, None, false, &[50; 32])
        .unwrap();
    assert_eq!((proposed.found, proposed.needed), (1, 1));
    // Until it is in force, nothing has changed.
    let still = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    assert_eq!(still.trust, before.trust);
    let trust = folder.install(&proposed.signed).unwrap();
    assert_eq!(trust, folder.install(&proposed.signed).unwrap(), "again");
    let after = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    let new = after.release().unwrap().verifying_key();
    assert_eq!(after.trust.keys.sequence, 2);
    assert_eq!(after.trust.keys.release.keys(), [new, old]);
    let kept = place.path().join(format!("release-{}.key", old.id()));
    assert!(kept.exists(), "the old key is kept until it is thrown away");
    let third = folder.rotate(Role::Release, None, false, &[51; 32]);
    assert!(third.unwrap_err().to_string().contains("two keys"));
    let refused = folder.install(&before.trust.signed).unwrap_err();
    assert!(refused.to_string().contains("not above"), "{refused}");
    let alone = folder.take_back(old.id()).unwrap();
    let trust = folder.install(&alone.signed).unwrap();
    assert_eq!(trust.keys.release.keys(), [new]);
    assert_eq!(trust.keys.director, before.trust.keys.director);
    let last = folder.take_back(new.id()).unwrap_err().to_string();
    assert!(last.contains("rotate release --take-back"), "{last}");
}

#[test]
fn a_key_that_has_leaked_is_replaced_at_once() {
    let (_place, folder) = folder();
    let before = folder.open_or_make(seeds()).unwrap();
    let proposed = folder
        .rotate(Role::Director, None, true, &[50; 32])
        .unwrap();
    let trust = folder.install(&proposed.signed).unwrap();
    let old = before.director.verifying_key();
    assert!(!trust.keys.director.keys().contains(&old));
    let after = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    assert_eq!(trust.keys.director.keys(), [after.director.verifying_key()]);
}

#[test]
fn so_many_root_keys_sign_each_where_it_is() {
    let (place, folder) = folder();
    folder.make(3, 2, seeds()).unwrap();
    // Each root key goes to its holder.
    let mut holders = Vec::new();
    for name in ["root", "root-2", "root-3"] {
        let holder = tempfile::tempdir().unwrap();
        std::fs::copy(
            place.path().join("roots.json"),
            holder.path().join("roots.json"),
        )
        .unwrap();
        std::fs::rename(folder.file(name), holder.path().join("root.key")).unwrap();
        holders.push(holder);
    }
    let nobody = folder.rotate(Role::Release, None, false, &[60; 32]);
    assert!(nobody.unwrap_err().to_string().contains("no root key"));
    std::fs::remove_file(folder.file("release.next")).unwrap();
    std::fs::rename(holders[2].path().join("root.key"), folder.file("root-3")).unwrap();
    let first = folder
        .rotate(Role::Release, None, false, &[60; 32])
        .unwrap();
    assert_eq!((first.found, first.needed), (1, 2));
    let refused = folder.install(&first.signed).unwrap_err();
    assert!(
        matches!(
            refused,
            FleetError::Signatures {
                found: 1,
                needed: 2
            }
        ),
        "{refused}"
    );
    let second = KeyFolder::new(holders[0].path())
        .sign(&first.signed)
        .unwrap();
    assert_eq!((second.found, second.needed), (2, 2));
    let same = KeyFolder::new(holders[0].path())
        .sign(&second.signed)
        .unwrap();
    assert_eq!(same, second, "nobody signs twice");
    assert_eq!(folder.install(&second.signed).unwrap().keys, first.set);
    let stranger = tempfile::tempdir().unwrap();
    std::fs::copy(
        place.path().join("roots.json"),
        stranger.path().join("roots.json"),
    )
    .unwrap();
    Signer::make(&stranger.path().join("root.key"), &[99; 32]).unwrap();
    let signed = KeyFolder::new(stranger.path()).sign(&first.signed).unwrap();
    assert_eq!(signed.found, 1, "who is no root is not asked");
}

#[test]
fn a_server_takes_its_trust_from_elsewhere() {
    let (made, folder) = folder();
    let keys = folder.make(1, 1, seeds()).unwrap();
    let server = tempfile::tempdir().unwrap();
    let there = KeyFolder::new(server.path());
    let read = |name: &str| std::fs::read(made.path().join(name)).unwrap();
    there.install_roots(&read("roots.json")).unwrap();
    there.install(&read("key-set.cose")).unwrap();
    std::fs::copy(folder.file("director"), there.file("director")).unwrap();
    let opened = there.open_or_make(|| panic!("nothing is made")).unwrap();
    assert_eq!(opened.trust, keys.trust);
    let (_place, other) = self::folder();
    other.make(1, 1, || [9; 32]).unwrap();
    let others = std::fs::read(other.file("roots").with_extension("json")).unwrap();
    let refused = there.install_roots(&others).unwrap_err();
    assert!(refused.to_string().contains("other root keys"), "{refused}");
}

/// A command that prints a file.
#[cfg(unix)]
fn printing(bytes: &[u8], key: &SigningKey, place: &TempDir) -> Signer {
    let path = place.path().join("answer");
    std::fs::write(&path, bytes).unwrap();
    let command = ["cat", path.to_str().unwrap()].map(str::to_owned).to_vec();
    Signer::by_command(SigningCommand {
        command,
        public: key.verifying_key(),
    })
    .unwrap()
}

#[cfg(unix)]
#[test]
fn a_command_signs_and_its_answer_is_checked() {
    let place = tempfile::tempdir().unwrap();
    let key = SigningKey::from_seed(&[3; 32]);
    let signature = key.sign(b"message");
    let signer = printing(&signature, &key, &place);
    assert_eq!(signer.sign(b"message").unwrap(), signature);
    let problem = |signer: &Signer| signer.sign(b"message").unwrap_err().to_string();
    let other = printing(&key.sign(b"another"), &key, &place);
    assert!(problem(&other).contains("no signature of key"));
    let short = printing(&signature[..63], &key, &place);
    assert!(problem(&short).contains("63 bytes"), "{}", problem(&short));
    let long = printing(&[0; 1000], &key, &place);
    assert!(problem(&long).contains("65 bytes"), "{}", problem(&long));
    let command = |words: &[&str]| {
        Signer::by_command(SigningCommand {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            public: key.verifying_key(),
        })
    };
    let failing = problem(&command(&["sh", "-c", "exit 3 # pin 1234"]).unwrap());
    assert!(failing.contains("exit status: 3"), "{failing}");
    assert!(
        !failing.contains("1234"),
        "its arguments stay out: {failing}"
    );
    let missing = problem(&command(&["no-such-program-here"]).unwrap());
    assert!(missing.contains("no-such-program-here"), "{missing}");
    assert!(command(&[]).is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn a_release_key_behind_a_command_signs_releases() {
    // The other half of the key set is made where the key is; here it is a command alone.
    let (_made, folder) = folder();
    folder.make(1, 1, seeds()).unwrap();
    let seed = std::fs::read_to_string(folder.file("release")).unwrap();
    let signer = folder.signer("release").unwrap().unwrap();
    let public = signer.verifying_key();
    let world = World::new(0, Policy::default()).await;
    let keys = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    let fleet = world.fleet.clone().with_keys(keys);
    let unsigned = world.unsigned("esp-eye");
    let request = fleet.signing_request(&unsigned).await.unwrap();
    // Ed25519 is a function: the answer can be made before it is asked for.
    let signed = sign_capsule(&signer, &request).unwrap();
    let at = signed
        .windows(2)
        .position(|pair| pair == [0x58, 64])
        .unwrap()
        + 2;
    let answer = folder.file("answer");
    std::fs::write(&answer, &signed[at..at + 64]).unwrap();
    std::fs::remove_file(folder.file("release")).unwrap();
    let text = format!(
        "[release]\ncommand = [\"cat\", {:?}]\npublic = \"{}\"\n",
        answer,
        tinyops_fleet::keys::hex_of(&public)
    );
    let commands = folder.file("x").with_file_name("signers.toml");
    std::fs::write(&commands, text).unwrap();
    let keys = folder.open_or_make(|| panic!("nothing is made")).unwrap();
    let capsule = fleet
        .sign(keys.release().unwrap(), &unsigned, world.now)
        .await
        .unwrap();
    let bytes = fleet.artifacts.get(&capsule.digest).await.unwrap();
    assert_eq!(bytes, signed);
    // Two places for one key, and a role that a command cannot have, are mistakes.
    std::fs::write(folder.file("release"), seed).unwrap();
    let text = std::fs::read_to_string(&commands).unwrap();
    std::fs::write(&commands, text.replace("[release]", "[director]")).unwrap();
    let refused = folder.signer("release").unwrap_err().to_string();
    assert!(refused.contains("`director` cannot"), "{refused}");
}

#[tokio::test]
async fn a_release_is_signed_elsewhere_and_taken_in() {
    let world = World::new(0, Policy::default()).await;
    let keys = Keyring::from_seed(&[7; 32]);
    let release = keys.release().unwrap().clone();
    let server = Keyring {
        release: None,
        ..keys
    };
    let fleet = world.fleet.clone().with_keys(server);
    let unsigned = world.unsigned("esp-eye");
    let request = fleet.signing_request(&unsigned).await.unwrap();
    let detail = serde_json::json!({});
    let take = async |bytes: &[u8]| fleet.take_signed(bytes, &detail, "ana", world.now).await;
    let not_signed = take(&request).await.unwrap_err();
    assert!(matches!(
        not_signed,
        FleetError::Capsule(CapsuleError::Signature)
    ));
    let stranger = sign_capsule(&Signer::from_seed(&[1; 32]), &request).unwrap();
    let by_stranger = take(&stranger).await.unwrap_err();
    assert!(matches!(
        by_stranger,
        FleetError::Capsule(CapsuleError::Signature)
    ));
    let mut other = request.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(
        sign_capsule(&release, &other).is_err(),
        "it is looked at before"
    );
    let signed = sign_capsule(&release, &request).unwrap();
    let row = take(&signed).await.unwrap();
    assert_eq!((row.model.as_str(), row.sequence), ("fan", 1));
    let again = take(&signed).await.unwrap_err();
    assert!(
        matches!(again, FleetError::Store(_)),
        "its number is taken: {again}"
    );
}

/// What a device that has said hello is sent.
async fn owed(world: &mut World, hello: Option<Trust>) -> Vec<Vec<u8>> {
    if let Some(trust) = hello {
        let frame = Frame::Hello(Hello {
            boot_count: 1,
            sequence: 0,
            arena_bytes: 4096,
            slot_bytes: 65_536,
            board: "esp-eye",
            trust: (trust.features != Features::default()).then_some(trust),
        });
        let bytes = frame_bytes(&frame);
        let envelope = world.devices[0].seal(&bytes);
        world.send(&[envelope]).await;
    }
    world.now = world.now.plus_ms(HOUR);
    let id = world.devices[0].row.id;
    world.fleet.owed(id, world.now).await.unwrap()
}

fn frame_bytes(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = [0; 128];
    let len = frame.encode(&mut out).unwrap();
    out[..len].to_vec()
}

/// One device and a model that it should run.
async fn directed(policy: Policy) -> (World, Capsule, Keyring) {
    let mut world = World::new(1, policy).await;
    let keys = Keyring::from_seed(&[7; 32]);
    world.fleet = world.fleet.clone().with_keys(keys.clone());
    let capsule = world.release().await;
    let wish = Wish {
        model: "fan",
        version: 1,
        selector: "cohort = hall",
        priority: 0,
        plan: None,
    };
    world
        .fleet
        .start_rollout(&wish, "ann", world.now)
        .await
        .unwrap();
    (world, capsule, keys)
}

const ASKING: Trust = Trust {
    key_set: 1,
    features: Features::STATEMENTS,
};

#[tokio::test]
async fn a_device_that_asks_for_statements_gets_one() {
    let (mut world, capsule, keys) = directed(Policy::default()).await;
    let mut counters = Vec::new();
    for _ in 0..2 {
        let messages = owed(&mut world, Some(ASKING)).await;
        assert_eq!(messages.len(), 1);
        let sealed = Sealed::parse(&messages[0]).unwrap();
        let envelope = sealed
            .open(&world.devices[0].row.key, Direction::Down)
            .unwrap();
        let Ok(Downlink::Offer(offer)) = Downlink::decode(envelope.body) else {
            panic!("an offer");
        };
        assert_eq!((offer.what, offer.digest), (What::Capsule, capsule.digest));
        let director = [keys.director.verifying_key()];
        let statement = Statement::verify(offer.statement.unwrap(), &director).unwrap();
        assert_eq!(statement.device, world.devices[0].row.id);
        assert_eq!(statement.manifest, capsule.manifest_digest);
        assert_eq!(statement.counter, envelope.sequence);
        let window = world.fleet.policy.owed.statement_uplinks;
        assert_eq!(statement.last_uplink, world.devices[0].sequence + window);
        counters.push(statement.counter);
    }
    assert!(counters[1] > counters[0], "each time a new one");
}

#[tokio::test]
async fn a_device_of_before_statements_gets_none() {
    let (mut world, ..) = directed(Policy::default()).await;
    let old = Trust {
        key_set: 0,
        features: Features::default(),
    };
    for hello in [None, Some(old)] {
        let messages = owed(&mut world, hello).await;
        let Downlink::Offer(offer) = world.devices[0].open(&messages[0]) else {
            panic!("an offer");
        };
        assert_eq!(offer.statement, None);
    }
}

#[tokio::test]
async fn without_a_director_nobody_who_asks_is_directed() {
    let (mut world, ..) = directed(Policy::default()).await;
    let Fleet { db, artifacts, .. } = world.fleet.clone();
    world.fleet = Fleet::new(db, artifacts, Policy::default());
    assert!(owed(&mut world, Some(ASKING)).await.is_empty());
}

#[tokio::test]
async fn a_device_with_an_older_key_set_gets_the_newer_first() {
    let policy = Policy {
        owed: OwedPolicy {
            key_set_part_bytes: 100,
            ..OwedPolicy::default()
        },
        ..Policy::default()
    };
    let (mut world, _, keys) = directed(policy).await;
    let behind = Trust {
        key_set: 0,
        ..ASKING
    };
    let messages = owed(&mut world, Some(behind)).await;
    let mut whole = vec![0; keys.trust.signed.len()];
    for message in &messages {
        let sealed = Sealed::parse(message).unwrap();
        let envelope = sealed
            .open(&world.devices[0].row.key, Direction::Down)
            .unwrap();
        let Ok(Downlink::KeySetPart(KeySetPart {
            sequence: 1,
            total,
            offset,
            bytes,
        })) = Downlink::decode(envelope.body)
        else {
            panic!("a part of the key set, and no offer before it is there");
        };
        assert_eq!(usize::from(total), whole.len());
        whole[usize::from(offset)..][..bytes.len()].copy_from_slice(bytes);
    }
    assert_eq!(messages.len(), whole.len().div_ceil(100));
    let set = SignedKeySet::parse(&whole)
        .and_then(|set| set.verify(&keys.trust.roots))
        .unwrap();
    assert_eq!(set, keys.trust.keys);
    let taken = Frame::Keys(Keys {
        key_set: 1,
        reason: Reason::None,
        detail: 0,
    });
    let envelope = world.devices[0].seal(&frame_bytes(&taken));
    world.send(&[envelope]).await;
    let messages = owed(&mut world, None).await;
    let offer = world.devices[0].open(&messages[0]);
    assert!(matches!(offer, Downlink::Offer(_)), "{offer:?}");
}

#[test]
fn public_keys_are_64_hex_digits_of_a_sound_key() {
    let key = SigningKey::from_seed(&[3; 32]).verifying_key();
    let text = tinyops_fleet::keys::hex_of(&key);
    assert_eq!(public_key(&format!("{text}\n")), Ok(key));
    assert!(public_key(&text[1..]).is_err());
    assert!(public_key(&"0".repeat(64)).is_err(), "anybody could sign");
}
