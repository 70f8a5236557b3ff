//! The demo's second story, from recordings to a bad model that is taken back, over every kind of link at once.

use crate::workplace::Workplace;

#[test]
fn a_fleet_on_three_kinds_of_links_is_kept_from_a_bad_model() {
    let place = Workplace::empty();
    let args = ["demo", "--ship", "--once", "--port", "0", "--fans", "24"];
    let told = place
        .check(&[&args[..], &["--seed", "3", "--json"]].concat(), 0)
        .json();
    assert_eq!(told["safe"], true, "{told}");
    let why = told["halted_by"].as_str().unwrap();
    assert!(why.contains("control arm"), "{why}");
    let links = told["links"].as_array().unwrap();
    let names: Vec<&str> = links
        .iter()
        .map(|link| link["link"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["MQTT", "serial", "LoRaWAN"]);
    for (link, fans) in links.iter().zip([12, 6, 6]) {
        assert_eq!(link["fans"], fans, "{link}");
        assert_eq!(
            link["updated"], fans,
            "the good model went everywhere: {link}"
        );
        assert_eq!(link["back"], fans, "{link}");
    }
    let exposed = links.iter().map(|link| link["exposed"].as_u64().unwrap());
    let exposed: u64 = exposed.sum();
    assert!((1..=12).contains(&exposed), "{told}");
}
