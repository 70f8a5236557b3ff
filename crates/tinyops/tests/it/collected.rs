//! What a collection of the cache takes, and what it leaves because somebody may need it.

use std::fs;

use crate::versions::{commit, git, objects, project, refused, replace};

#[test]
fn what_no_branch_needs_goes() {
    let place = project();
    place.check(&["data", "add", "rec"], 0);
    commit(&place, "first");
    git(&place, &["branch", "old"]);
    replace(&place, "rec/m0/0.csv", "x\n5\n5\n");
    place.check(&["data", "add", "rec"], 0);
    commit(&place, "second");
    replace(&place, "rec/m0/0.csv", "x\n6\n6\n");
    place.check(&["data", "add", "rec"], 0);
    commit(&place, "third");
    // Needed: 6 files and the list of the workspace, one file and the list of `old`.
    let plan = place.check(&["data", "gc", "--json"], 0).json();
    assert_eq!((&plan["kept"], &plan["unneeded"]), (&9.into(), &2.into()));
    assert_eq!(plan["removed"], false);
    let plan = place
        .check(&["data", "gc", "--history", "--json"], 0)
        .json();
    assert_eq!(plan["unneeded"], 0);
    assert_eq!(objects(&place).len(), 11, "nothing went yet");
    place.check(&["data", "gc", "--yes"], 0);
    assert_eq!(objects(&place).len(), 9);
    git(&place, &["checkout", "--quiet", "old"]);
    place.check(&["data", "checkout"], 0);
    assert_eq!(
        fs::read_to_string(place.path("rec/m0/0.csv")).unwrap(),
        "x\n0\n0\n"
    );
}

#[test]
fn what_may_be_needed_stays() {
    let place = project();
    place.check(&["data", "add", "rec"], 0);
    commit(&place, "first");
    place.write(".git/info/exclude", "/shared\n/build\n");
    let unneeded = || place.check(&["data", "gc", "--json"], 0).json()["unneeded"].clone();
    // Pointers that Git ignores, that are hidden, and that lie in what is tracked.
    for (at, folder) in ["build", ".cache", "rec/m0"].iter().enumerate() {
        let text = format!("x\n{at}\n");
        replace(&place, "one.csv", &text);
        place.check(&["data", "add", "one.csv"], 0);
        fs::create_dir_all(place.path(folder)).unwrap();
        let to = place.path(&format!("{folder}/one.csv.tinyops"));
        fs::rename(place.path("one.csv.tinyops"), &to).unwrap();
        assert_eq!(unneeded(), at, "{folder}");
        fs::remove_file(&to).unwrap();
        assert_eq!(unneeded(), at + 1, "{folder}");
    }
    place.check(&["data", "gc", "--yes"], 0);
    // What is staged, and what is stashed, the older of two as well.
    for text in ["x\n7\n", "x\n8\n"] {
        replace(&place, "rec/m0/0.csv", text);
        place.check(&["data", "add", "rec"], 0);
        git(&place, &["add", "rec.tinyops"]);
        assert_eq!(unneeded(), 0);
        git(&place, &["stash", "--quiet"]);
        assert_eq!(unneeded(), 0);
    }
    place.check(&["data", "checkout"], 0);
    replace(&place, "rec/m0/0.csv", "x\n9\n");
    place.check(&["data", "add", "rec"], 0);
    git(&place, &["add", "rec.tinyops"]);
    let staged = fs::read_to_string(place.path("rec.tinyops")).unwrap();
    replace(&place, "rec/m0/0.csv", "x\n0\n0\n");
    place.check(&["data", "add", "rec"], 0);
    assert_ne!(
        fs::read_to_string(place.path("rec.tinyops")).unwrap(),
        staged
    );
    assert_eq!(unneeded(), 0, "the index has another than the workspace");
    git(&place, &["reset", "--quiet"]);
    assert_eq!(unneeded(), 2);

    // Where something is not known, nothing goes.
    let before = objects(&place).len();
    place.write("build/odd.tinyops", "not a pointer\n");
    let plan = place.check(&["data", "gc", "--json"], 0).json();
    assert_eq!(
        (&plan["unknown"], &plan["unneeded"]),
        (&1.into(), &2.into())
    );
    assert_eq!(plan["unknown_versions"][0], "build/odd.tinyops");
    let stays = place.check(&["data", "gc", "--yes"], 1);
    refused(&stays, "what build/odd.tinyops needs");
    assert_eq!(objects(&place).len(), before);
    fs::remove_file(place.path("build/odd.tinyops")).unwrap();
    // A branch whose list is not here: of its objects some may be.
    git(&place, &["branch", "other"]);
    let pointer = fs::read_to_string(place.path("rec.tinyops")).unwrap();
    let digest = pointer.split('"').find(|part| part.len() == 64).unwrap();
    let list = place.path(&format!(
        ".tinyops/cache/objects/{}/{}",
        &digest[..2],
        &digest[2..]
    ));
    fs::remove_file(list).unwrap();
    let stays = place.check(&["data", "gc", "--yes"], 1);
    refused(&stays, &format!("what {digest} needs"));
    assert_eq!(objects(&place).len(), before - 1);
    place.check(&["data", "gc", "--yes", "--force"], 0);
    assert!(objects(&place).len() < before - 1);
}
