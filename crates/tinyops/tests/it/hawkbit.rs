//! Linux devices that poll, at the command line.

use crate::workplace::Workplace;

#[test]
fn a_device_gets_a_token_once_and_another_when_it_is_lost() {
    let place = Workplace::empty();
    let add = [
        "devices",
        "add",
        "--board",
        "esp-eye",
        "--ddi",
        "--controller",
        "press-7",
        "--json",
    ];
    let added = place.check(&add, 0).json();
    let (device, token) = (&added["device"], &added["target_token"]);
    assert_eq!(added["controller"], "press-7");
    assert!(token.as_str().unwrap().starts_with("tinyops_"), "{added}");
    let device = device.as_str().unwrap();
    let again = place.check(&["devices", "ddi", device, "--json"], 0).json();
    assert_eq!(again["controller"], "press-7", "it keeps its name");
    assert_ne!(&again["target_token"], token);
    let told = place.check(&["devices", "ddi", device, "--packing", "swu"], 0);
    assert!(
        told.stdout.contains("target token  tinyops_"),
        "{}",
        told.stdout
    );
    let shown = place
        .check(&["devices", "show", device, "--json"], 0)
        .json();
    let polls = &shown["ddi"];
    assert_eq!(
        (&polls["controller"], &polls["packing"], &polls["action"]),
        (&"press-7".into(), &"swu".into(), &serde_json::Value::Null)
    );
    let told = place.check(&["devices", "show", device], 0);
    assert!(
        told.stdout.contains("polls as press-7 with its own token"),
        "{}",
        told.stdout
    );
    let log = place.check(&["audit", "ls", "--json"], 0).stdout;
    assert!(
        log.contains("device.target") && !log.contains(token.as_str().unwrap()),
        "{log}"
    );
    for (wrong, why) in [
        (
            vec!["devices", "ddi", "00000000000000ff"],
            "is not registered",
        ),
        (
            vec!["devices", "ddi", device, "--controller", "a b"],
            "`a b` is no controller id",
        ),
        (
            vec!["devices", "ddi", device, "--packing", "zip"],
            "packings are files and swu",
        ),
        (
            vec!["devices", "add", "--board", "esp-eye", "--consent"],
            "--ddi",
        ),
        (
            vec![
                "devices",
                "add",
                "--board",
                "esp-eye",
                "--ddi",
                "--controller",
                "press-7",
            ],
            "controller `press-7` exists already",
        ),
    ] {
        let answer = place.check(&wrong, 2);
        assert!(answer.stderr.contains(why), "{wrong:?}: {}", answer.stderr);
    }
}

#[test]
fn a_gateway_gets_a_token_for_its_class() {
    let place = Workplace::empty();
    let make = |rest: &[&'static str]| [&["tokens", "make", "line-7", "--role"], rest].concat();
    for (wrong, why) in [
        (
            make(&["viewer", "--class", "esp-eye/hall"]),
            "only a gateway speaks for a class",
        ),
        (make(&["gateway", "--class", "hall"]), "`hall` is no class"),
        (
            make(&["gateway", "--class", "toaster/hall"]),
            "no board is called `toaster`",
        ),
        (make(&["gateway", "--packing", "swu"]), "--class"),
    ] {
        let answer = place.check(&wrong, 2);
        assert!(answer.stderr.contains(why), "{wrong:?}: {}", answer.stderr);
    }
    let made = make(&["gateway", "--class", "esp-eye/hall", "--json"]);
    assert_eq!(place.check(&made, 0).json()["class"], "esp-eye/hall");
    let listed = place.check(&["tokens", "ls", "--json"], 0).json();
    assert_eq!(listed["tokens"][0]["class"], "esp-eye/hall");
}
