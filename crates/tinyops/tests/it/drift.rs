//! `tinyops drift` over files: what moved is named, by rows and by profiles, and what is no table is told.

use crate::workplace::Workplace;

/// Rows of two columns; the first one moves by `shift`.
fn csv(seed: u64, rows: usize, shift: f64) -> String {
    let mut state = seed;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let row = |_| format!("{:.4},{:.4}\n", uniform() + shift, uniform());
    "heat,load\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

#[test]
fn a_table_is_held_against_another_by_rows_and_by_profiles() {
    let place = Workplace::empty();
    place.write("training.csv", &csv(1, 3000, 0.0));
    place.write("monday.csv", &csv(2, 1000, 0.3));
    place.write("tuesday.csv", &csv(3, 1000, 0.3));
    place.write("still.csv", &csv(4, 2000, 0.0));
    let at = |name: &str| place.path(name).display().to_string();
    let (training, monday, tuesday) = (at("training.csv"), at("monday.csv"), at("tuesday.csv"));
    let (still, page, kept) = (at("still.csv"), at("drift.html"), at("training.json"));

    let rows = [
        "drift", &training, &monday, &tuesday, "--html", &page, "--json",
    ];
    let rows = place.check(&rows, 0).json();
    assert_eq!(rows["drifted"], 1);
    assert_eq!(rows["columns"][0]["name"], "heat");
    assert_eq!(rows["columns"][0]["sides"][1]["count"], 2000);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("1 of 2 columns") && page.contains("<svg"),
        "{page}"
    );
    place.check(&["drift", &training, &still, "--check"], 0);
    place.check(&["drift", &training, &monday, "--check"], 1);

    place.check(&["drift", &training, "--profile", &kept], 0);
    let day = at("monday.json");
    place.check(&["drift", &kept, &monday, "--profile", &day], 0);
    let merged = ["drift", &kept, &day, &tuesday, "--json"];
    let merged = place.check(&merged, 0).json();
    assert_eq!(merged["drifted"], 1);
    let heat = &merged["columns"][0];
    assert_eq!(heat["sides"][1]["count"], 2000);
    let apart = heat["psi"].as_f64().unwrap() - rows["columns"][0]["psi"].as_f64().unwrap();
    assert!(apart.abs() < 0.05, "{apart}");
}

#[test]
fn what_is_no_table_or_profile_is_told_with_a_way_out() {
    let place = Workplace::empty();
    place.write("good.csv", "a,b\n1,x\n2,y\n");
    place.write("torn.csv", "a,b\n1\n");
    place.write("other.csv", "c\n1\n");
    place.write("words.csv", "a,b\nx,x\n");
    place.write("wrong.json", "{\"tinyops_profile\": 9, \"columns\": {}}");
    let at = |name: &str| place.path(name).display().to_string();
    let good = at("good.csv");
    for (second, words) in [
        ("torn.csv", "line 2 has 1 cells"),
        ("other.csv", "no column in common"),
        ("words.csv", "`a` is numbers on one side"),
        ("wrong.json", "no profile"),
        ("missing.csv", "cannot read"),
    ] {
        let told = place.check(&["drift", &good, &at(second)], 2).stderr;
        assert!(told.contains(words), "{second}: {told}");
    }
    place.check(&["drift", &good], 2);
    place.check(&["drift", &good, &good, "--limit", "-1"], 2);
}
