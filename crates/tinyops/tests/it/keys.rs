//! Keys at the command line: made in one place, used in another, replaced, and behind a command.

use std::fs;

use crate::workplace::Workplace;

#[test]
fn keys_are_made_shown_and_replaced() {
    let place = Workplace::empty();
    let none = place.check(&["keys", "show"], 2);
    assert!(none.stderr.contains("tinyops keys new"), "{}", none.stderr);
    place.check(&["keys", "new", "--quiet"], 0);
    let again = place.check(&["keys", "new"], 2);
    assert!(again.stderr.contains("keys rotate"), "{}", again.stderr);
    let shown = place.check(&["keys", "show", "--json"], 0).json();
    assert_eq!(shown["key_set"], 1);
    let roles = |shown: &serde_json::Value| -> Vec<String> {
        let keys = shown["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| {
                format!(
                    "{} {}",
                    key["role"].as_str().unwrap(),
                    key["place"].as_str().unwrap()
                )
            })
            .collect()
    };
    assert_eq!(
        roles(&shown),
        ["root file", "release file", "director file"]
    );
    let old = shown["keys"][1]["id"].as_str().unwrap().to_owned();
    let rotated = place
        .check(&["keys", "rotate", "release", "--json"], 0)
        .json();
    assert_eq!(
        (&rotated["key_set"], &rotated["in_force"]),
        (&2.into(), &true.into())
    );
    let both = place.check(&["keys", "show", "--json"], 0).json();
    assert_eq!(both["keys"].as_array().unwrap().len(), 4);
    place.check(&["keys", "take-back", &old], 0);
    let shown = place.check(&["keys", "show", "--json"], 0).json();
    assert_eq!(
        (&shown["key_set"], shown["keys"].as_array().unwrap().len()),
        (&3.into(), 3)
    );
    assert_ne!(shown["keys"][1]["id"], old.as_str());
    for (wrong, why) in [
        (
            vec!["keys", "take-back", "12345678"],
            "no release or director key",
        ),
        (vec!["keys", "take-back", "123"], "8 hex digits"),
        (vec!["keys", "rotate", "root"], "change with the firmware"),
        (vec!["keys", "new", "--roots", "4"], "4"),
        (vec!["keys", "install", "nowhere"], "nowhere"),
    ] {
        let answer = place.check(&wrong, 2);
        assert!(answer.stderr.contains(why), "{wrong:?}: {}", answer.stderr);
    }
    // Nothing that was shown, and nothing that is kept in public, holds a secret.
    let secret = fs::read_to_string(place.path(".tinyops/release.key")).unwrap();
    for public in ["roots.json", "key-set.cose"] {
        let bytes = fs::read(place.path(&format!(".tinyops/{public}"))).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret.trim()));
    }
    assert!(
        !place.path(".tinyops/tinyops.db").exists(),
        "a look makes no store"
    );
}

#[test]
fn two_of_three_root_keys_sign_where_they_are() {
    let place = Workplace::empty();
    place.check(&["keys", "new", "--roots", "3", "--threshold", "2"], 0);
    let holder = Workplace::empty();
    fs::create_dir(holder.path(".tinyops")).unwrap();
    for name in ["root-2.key", "root-3.key"] {
        fs::rename(
            place.path(&format!(".tinyops/{name}")),
            holder.path(&format!(".tinyops/{name}")),
        )
        .unwrap();
    }
    fs::copy(
        place.path(".tinyops/roots.json"),
        holder.path(".tinyops/roots.json"),
    )
    .unwrap();
    let waiting = place
        .check(&["keys", "rotate", "director", "--json"], 0)
        .json();
    assert_eq!(
        (&waiting["in_force"], &waiting["signatures"]),
        (&false.into(), &1.into())
    );
    let file = place.path(".tinyops/key-set.next.cose");
    let file = file.to_str().unwrap();
    let early = place.check(&["keys", "install", file], 2);
    assert!(early.stderr.contains("1 of the 2"), "{}", early.stderr);
    let signed = holder.check(&["keys", "sign", file, "--json"], 0);
    assert_eq!(signed.json()["signatures"], 3);
    assert!(
        signed.stderr.contains("director key"),
        "whom it puts in charge"
    );
    place.check(&["keys", "install", file], 0);
    assert_eq!(
        place.check(&["keys", "show", "--json"], 0).json()["key_set"],
        2
    );
    place.check(&["doctor"], 0);
    // A server that has what it needs and no more.
    let server = Workplace::empty();
    let from = |name: &str| {
        place
            .path(&format!(".tinyops/{name}"))
            .display()
            .to_string()
    };
    server.check(
        &[
            "keys",
            "install",
            &from("key-set.cose"),
            "--roots",
            &from("roots.json"),
        ],
        0,
    );
    let lacking = server.check(&["doctor"], 3);
    assert!(
        lacking.stdout.contains("director.key"),
        "{}",
        lacking.stdout
    );
    fs::copy(from("director.key"), server.path(".tinyops/director.key")).unwrap();
    let whole = server.check(&["doctor"], 0);
    assert!(
        whole.stdout.contains("release key elsewhere"),
        "{}",
        whole.stdout
    );
    let exported = server.check(&["keys", "export", "--rust"], 0).stdout;
    assert!(
        exported.contains("pub const THRESHOLD: u8 = 2;"),
        "{exported}"
    );
    assert!(
        exported.contains("pub const ROOTS: [[u8; 32]; 3] = ["),
        "{exported}"
    );
}

#[cfg(unix)]
#[test]
fn others_may_not_read_a_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Workplace::empty();
    place.check(&["keys", "new"], 0);
    let path = place.path(".tinyops/director.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = place.check(&["doctor"], 3);
    assert!(answer.stdout.contains("chmod 600"), "{}", answer.stdout);
    let secret = fs::read_to_string(&path).unwrap();
    assert!(!format!("{}{}", answer.stdout, answer.stderr).contains(secret.trim()));
}

#[test]
fn a_release_is_signed_where_its_key_is() {
    let server = Workplace::fans();
    server.check(&["run"], 0);
    server.check(&["keys", "new"], 0);
    let offline = Workplace::empty();
    fs::create_dir(offline.path(".tinyops")).unwrap();
    fs::rename(
        server.path(".tinyops/release.key"),
        offline.path(".tinyops/release.key"),
    )
    .unwrap();
    let (_, request) = server.request(None);
    server.check(&["devices", "add", "--request", &request], 0);
    let refused = server.check(&["rollout", "start", "fan@1"], 2);
    assert!(
        refused.stderr.contains("no release key"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("release request"),
        "{}",
        refused.stderr
    );
    let requested = server.check(
        &["release", "request", "fan@1", "--out", "requests", "--json"],
        0,
    );
    let file = requested.json()["capsules"][0]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    let request = server.path(&file);
    let unsigned = server.check(&["release", "import", &file], 2);
    assert!(
        unsigned.stderr.contains("no known key"),
        "{}",
        unsigned.stderr
    );
    let stranger = Workplace::empty();
    stranger.check(&["release", "sign", request.to_str().unwrap()], 2);
    let signed = offline.check(&["release", "sign", request.to_str().unwrap()], 0);
    assert!(
        signed.stderr.contains("signing fan@1 for esp-eye"),
        "{}",
        signed.stderr
    );
    let capsule = file.replace(".unsigned", ".capsule");
    server.check(&["release", "import", &capsule], 0);
    let again = server.check(&["release", "import", &capsule], 2);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    server.check(&["rollout", "start", "fan@1"], 0);
    let nothing = server
        .check(&["release", "request", "fan@1", "--json"], 0)
        .json();
    assert_eq!(nothing["capsules"].as_array().unwrap().len(), 0);
}
