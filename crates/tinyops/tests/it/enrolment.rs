//! Devices that enrol at the command line: with a token, with a claim, by hand, and those that may not.

use std::fs;

use crate::running::Server;
use crate::workplace::Workplace;

fn enrol(place: &Workplace, server: &str, more: &[&str], code: i32) -> crate::workplace::Answer {
    let args = [
        &["device", "enrol", "--board", "esp-eye", "--server", server][..],
        more,
        &["--json"],
    ];
    place.check(&args.concat(), code)
}

#[test]
fn a_device_enrols_by_a_class_token_once_and_stays_who_it_is() {
    let place = Workplace::fans();
    let server = Server::start(&place, &["--no-loops"]);
    let make = [
        "devices", "token", "make", "--board", "esp-eye", "--cohort", "hall-2", "--tag", "roof",
        "--json",
    ];
    let made = place.check(&make, 0).json();
    let text = made["token"].as_str().unwrap();
    fs::write(place.path("token"), format!("{text}\n")).unwrap();
    let path = place.path("token").display().to_string();
    let own = place.path("pump-7.json").display().to_string();
    let by_token = ["--class-token", &path, "--identity", &own];
    let first = enrol(&place, &server.http, &by_token, 0).json();
    let again = enrol(&place, &server.http, &by_token, 0).json();
    assert_eq!(first, again, "who is enrolled asks no more");
    let identity = fs::read_to_string(&own).unwrap();
    assert!(
        !identity.contains("secret") && identity.contains("\"key\""),
        "{identity}"
    );
    let listed = place.check(&["devices", "ls", "--json"], 0).json();
    let device = &listed["devices"][0];
    assert_eq!(device["device"], first["device"]);
    assert_eq!(
        (&device["cohort"], &device["tags"][0]),
        (&"hall-2".into(), &"roof".into())
    );

    // It was for one device.
    let other = place.path("pump-8.json").display().to_string();
    let refused = enrol(
        &place,
        &server.http,
        &["--class-token", &path, "--identity", &other],
        3,
    );
    assert!(
        refused.stderr.contains("as many devices as it may"),
        "{}",
        refused.stderr
    );
    assert!(!fs::exists(&other).unwrap(), "it asks anew the next time");
    let tokens = place.check(&["devices", "token", "ls"], 0);
    assert!(tokens.stdout.contains("1 of 1") && tokens.stdout.contains("used up"));
    let tokens = place.check(&["devices", "token", "ls", "--json"], 0);
    assert!(!tokens.stdout.contains(&text[30..]), "{}", tokens.stdout);
    let id = made["id"].as_str().unwrap();
    place.check(&["devices", "token", "revoke", id, "--yes"], 0);
    let again = place.check(&["devices", "token", "revoke", id, "--yes"], 2);
    assert!(again.stderr.contains("revoked already"), "{}", again.stderr);

    // Revoked, it comes back only if allowed, and under its id.
    let device = first["device"].as_str().unwrap();
    let revoked = place.check(&["devices", "revoke", device, "--yes"], 0);
    assert!(
        revoked.stderr.contains(&format!("class token {id}")),
        "{}",
        revoked.stderr
    );
    let back = ["--id", device, "--identity", &other];
    let refused = enrol(&place, &server.http, &back, 3);
    assert!(
        refused.stderr.contains("tinyops devices allow"),
        "{}",
        refused.stderr
    );
    place.check(&["devices", "allow", device], 0);
    let same = enrol(&place, &server.http, &back, 0).json();
    assert_eq!(same["device"], first["device"]);
}

#[test]
fn a_device_enrols_by_a_claim_that_a_factory_signed() {
    let place = Workplace::fans();
    let factory = Workplace::empty();
    let key = factory.path("plant-2.key").display().to_string();
    let made = factory
        .check(&["claims", "authority", &key, "--json"], 0)
        .json();
    let again = factory.check(&["claims", "authority", &key], 2);
    assert!(again.stderr.contains("there already"), "{}", again.stderr);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "only its owner reads it");
    }
    let claim = factory.path("S-0042.json").display().to_string();
    let make = [
        "claims",
        "make",
        "--authority",
        &key,
        "--serial",
        "S-0042",
        "--board",
        "esp-eye",
        "--cohort",
        "hall-2",
        "--out",
        &claim,
    ];
    factory.check(&make, 0);
    let server = Server::start(&place, &["--no-loops"]);
    let own = place.path("pump-7.json").display().to_string();
    let by_claim = ["--claim", &claim, "--identity", &own];
    let refused = enrol(&place, &server.http, &by_claim, 3);
    assert!(
        refused.stderr.contains("no claim authority"),
        "{}",
        refused.stderr
    );
    let public = made["public"].as_str().unwrap();
    place.check(&["claims", "trust", "plant-2", "--public", public], 0);
    let device = enrol(&place, &server.http, &by_claim, 0).json();
    let listed = place.check(&["devices", "show", device["device"].as_str().unwrap()], 0);
    assert!(listed.stdout.contains("hall-2"), "{}", listed.stdout);
    let known = place.check(&["claims", "ls", "--json"], 0).json();
    assert_eq!(known["authorities"][0]["name"], "plant-2");
    assert_eq!(
        (&known["claims"][0]["serial"], &known["claims"][0]["used"]),
        (&"S-0042".into(), &1.into())
    );
    place.check(&["claims", "revoke", "S-0043", "--yes"], 0);
    place.check(&["claims", "distrust", "plant-2", "--yes"], 0);
    let text = place.check(&["claims", "ls"], 0).stdout;
    assert_eq!(text.matches("revoked").count(), 2, "{text}");
    let none = place.check(&["claims", "distrust", "plant-3", "--yes"], 2);
    assert!(none.stderr.contains("plant-3"), "{}", none.stderr);
}

#[test]
fn what_a_device_was_not_given_right_says_so() {
    let place = Workplace::fans();
    fs::write(place.path("token"), "tinyops_class_00").unwrap();
    fs::write(place.path("claim"), "{\"claim\": \"00\"}").unwrap();
    for (args, why) in [
        (vec!["--class-token", "token"], "80 hex digits"),
        (vec!["--class-token", "nowhere"], "nowhere"),
        (vec!["--claim", "claim"], "tinyops claims make"),
        (
            vec!["--claim", "claim", "--class-token", "token"],
            "cannot be used with",
        ),
        (vec!["--id", "77"], "16 hex digits"),
    ] {
        let args: Vec<String> = args
            .iter()
            .map(|arg| match *arg {
                "token" | "claim" => place.path(arg).display().to_string(),
                arg => arg.to_owned(),
            })
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let answer = enrol(&place, "127.0.0.1:1", &args, 2);
        assert!(answer.stderr.contains(why), "{why}: {}", answer.stderr);
    }
    // Nobody answers: what it asked is kept, and asked again.
    fs::write(
        place.path("token"),
        format!("tinyops_class_{}", "0123456789".repeat(8)),
    )
    .unwrap();
    let token = place.path("token").display().to_string();
    let own = place.path("pump.json").display().to_string();
    let ask = || {
        let args = ["--class-token", &token, "--identity", &own];
        let answer = enrol(&place, "127.0.0.1:1", &args, 3);
        assert!(
            answer.stderr.contains("no server answers"),
            "{}",
            answer.stderr
        );
        fs::read_to_string(&own).unwrap()
    };
    assert_eq!(ask(), ask());
    let answer = place.check(&["devices", "add", "--request", "0123"], 2);
    assert!(answer.stderr.contains("cannot read"), "{}", answer.stderr);
    let odd = format!("01{}", "0".repeat(120));
    let answer = place.check(&["devices", "add", "--request", &odd], 2);
    assert!(answer.stderr.contains("enrol"), "{}", answer.stderr);
    fs::write(place.path("request"), "no hex").unwrap();
    let path = place.path("request").display().to_string();
    let answer = place.check(&["devices", "add", "--request", &path], 2);
    assert!(answer.stderr.contains("hex digits"), "{}", answer.stderr);
}
