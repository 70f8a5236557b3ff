//! Erasing reaches what versions keep: the cache, the remote, and every version that Git knows of.

use std::{collections::BTreeSet, fs};

use tinyops_store::Digest;

use crate::{
    versions::{commit, git, objects, tracked},
    workplace::{SETTINGS, Workplace, recording},
};

/// The names of the objects of a folder of them.
fn names(place: &Workplace, folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for head in fs::read_dir(place.path(folder)).unwrap() {
        let head = head.unwrap().path();
        for object in fs::read_dir(&head).unwrap() {
            let tail = object.unwrap().file_name();
            let head = head.file_name().unwrap().to_string_lossy();
            names.insert(format!("{head}{}", tail.to_string_lossy()));
        }
    }
    names
}

#[test]
fn what_versions_keep_of_a_person_goes_from_cache_and_remote() {
    let place = Workplace::fans();
    place.write(
        "tinyops.toml",
        &format!("{SETTINGS}[versions]\nremote = \"shared\"\n"),
    );
    git(&place, &["init", "--quiet", "--initial-branch", "main"]);
    place.write(".git/info/exclude", "/shared\n");
    // One recording of two machines is the same.
    let common = recording(9.0, 30.0);
    place.write("data/m3/bearing/same.csv", &common);
    place.write("data/m1/bearing/same.csv", &common);
    place.check(&["data", "add", "data"], 0);
    place.check(&["data", "push"], 0);
    commit(&place, "first");
    let old = Digest::of(recording(3.0, 7.0).as_bytes()).to_string();
    fs::remove_file(place.path("data/m3/normal/0.csv")).unwrap();
    place.write("data/m3/normal/0.csv", &recording(3.5, 7.0));
    let new = Digest::of(recording(3.5, 7.0).as_bytes()).to_string();
    place.check(&["data", "add", "data"], 0);
    place.check(&["data", "push"], 0);
    commit(&place, "second");
    let all = names(&place, "shared/objects");
    assert!(all.contains(&old) && all.contains(&new));

    let plan = place.check(&["erase", "--group", "m3", "--json"], 0).json();
    let meant: BTreeSet<String> = plan["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object.as_str().unwrap().to_owned())
        .collect();
    // Bearing, blade, normal as it is and as it was; the common one is not hers alone.
    assert_eq!(meant.len(), 4, "{plan}");
    assert!(meant.contains(&old) && meant.contains(&new));
    assert!(!meant.contains(&Digest::of(common.as_bytes()).to_string()));
    assert_eq!(plan["tracked"][0], "data");
    assert_eq!(plan["tracked_versions"].as_array().unwrap().len(), 2);
    assert_eq!(plan["cached"], 4);
    assert!(plan["remotes"][0].as_str().unwrap().ends_with("shared"));
    assert_eq!(
        names(&place, "shared/objects"),
        all,
        "a plan changes nothing"
    );

    let said = place.check(&["erase", "--group", "m3", "--yes"], 0).stdout;
    assert!(
        said.contains("2 versions of data keep them: 4 objects gone"),
        "{said}"
    );
    for (left, what) in [
        (names(&place, "shared/objects"), "the remote"),
        (
            objects(&place).into_iter().map(|(name, _)| name).collect(),
            "the cache",
        ),
    ] {
        assert!(left.is_disjoint(&meant), "{what}");
        assert!(
            left.is_superset(&all.difference(&meant).cloned().collect()),
            "{what}"
        );
    }
    assert!(!place.path("data/m3").exists() || fs::read_dir(place.path("data/m3")).is_ok());
    // The new version is whole, and can be shared.
    let standing = tracked(&place);
    assert_eq!(standing[0]["standing"], "unchanged", "{standing}");
    assert_eq!(standing[0]["files"], 16);
    place.check(&["data", "verify"], 0);
    place.check(&["data", "push"], 0);
    assert_eq!(
        fs::read_to_string(place.path("data/m1/bearing/same.csv")).unwrap(),
        common
    );
    // Who is erased whole is tracked no longer.
    let rest = ["erase", "--yes", "--no-remote", "--group"];
    for group in ["m0", "m1", "m2", "m4", "m5"] {
        place.check(&[&rest[..], &[group]].concat(), 0);
    }
    assert!(!place.path("data.tinyops").exists());
}
