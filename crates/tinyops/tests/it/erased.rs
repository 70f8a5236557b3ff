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
        said.contains("kept by 2 versions of data: 4 objects gone"),
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

#[test]
fn who_is_in_old_versions_alone_is_found_by_group() {
    let place = Workplace::fans();
    place.write(
        "tinyops.toml",
        &format!("{SETTINGS}[versions]\nremote = \"shared\"\n"),
    );
    git(&place, &["init", "--quiet", "--initial-branch", "main"]);
    place.write(".git/info/exclude", "/shared\n");
    place.check(&["data", "add", "data"], 0);
    place.check(&["data", "push"], 0);
    place.check(&["data", "validate"], 0);
    commit(&place, "first");
    let old = Digest::of(recording(3.0, 7.0).as_bytes()).to_string();
    fs::remove_dir_all(place.path("data/m3")).unwrap();
    place.check(&["data", "add", "data"], 0);
    place.check(&["data", "push"], 0);
    commit(&place, "second");
    assert!(names(&place, "shared/objects").contains(&old));

    let plan = place.check(&["erase", "--group", "m3", "--json"], 0).json();
    assert_eq!(plan["recordings"].as_array().unwrap().len(), 3, "{plan}");
    assert_eq!(plan["files"].as_array().unwrap().len(), 0, "{plan}");
    assert_eq!(plan["objects"].as_array().unwrap().len(), 3, "{plan}");
    assert_eq!(plan["versions"].as_array().unwrap().len(), 1, "{plan}");
    place.check(&["erase", "--group", "m3", "--yes"], 0);
    assert!(!names(&place, "shared/objects").contains(&old));
    // What Git's history names is looked for again, for somebody may have brought it back.
    let again = place.check(&["erase", "--group", "m3", "--json"], 0).json();
    assert_eq!(
        (&again["cached"], &again["objects"]),
        (&0.into(), &plan["objects"])
    );
    place.check(&["data", "verify"], 0);
}

/// A project in Git, with a remote, whose recordings are tracked, pushed and committed.
fn shared() -> Workplace {
    let place = Workplace::fans();
    place.write(
        "tinyops.toml",
        &format!("{SETTINGS}[versions]\nremote = \"shared\"\n"),
    );
    git(&place, &["init", "--quiet", "--initial-branch", "main"]);
    place.write(".git/info/exclude", "/shared\n");
    place.check(&["data", "add", "data"], 0);
    place.check(&["data", "push"], 0);
    commit(&place, "first");
    place
}

fn digest_of(hz: f32) -> String {
    Digest::of(recording(3.0, hz).as_bytes()).to_string()
}

#[test]
fn what_a_version_has_besides_stays_whatever_the_workspace_holds() {
    let place = shared();
    // What a teammate has added is in the pointer and not here yet; something else is edited, and kept by nobody.
    fs::remove_file(place.path("data/m1/normal/0.csv")).unwrap();
    fs::remove_file(place.path("data/m2/normal/0.csv")).unwrap();
    place.write("data/m2/normal/0.csv", &recording(2.5, 7.0));
    place.write("data/m2/normal/new.csv", &recording(2.6, 7.0));
    let before = tracked(&place);
    place.check(&["erase", "--group", "m3", "--yes"], 0);
    let after = tracked(&place);
    assert_eq!(after[0]["files"], 15, "{after}");
    for what in ["added", "removed", "changed"] {
        assert_eq!(before[0][what], after[0][what], "{what}");
        assert_eq!(after[0][what].as_array().unwrap().len(), 1, "{what}");
    }
    fs::remove_file(place.path("data/m2/normal/0.csv")).unwrap();
    fs::remove_file(place.path("data/m2/normal/new.csv")).unwrap();
    place.check(&["data", "checkout"], 0);
    assert_eq!(
        fs::read_to_string(place.path("data/m1/normal/0.csv")).unwrap(),
        recording(1.0, 7.0)
    );
}

#[test]
fn what_was_erased_comes_back_by_no_branch_and_no_hand() {
    let place = shared();
    let old = recording(3.0, 7.0);
    place.check(&["erase", "--group", "m3", "--yes"], 0);
    let forgotten = fs::read_to_string(place.path(".tinyopsforgotten")).unwrap();
    assert!(forgotten.contains(&digest_of(7.0)), "{forgotten}");
    assert_eq!(forgotten.lines().filter(|line| line.len() == 64).count(), 3);
    commit(&place, "erased");
    place.check(&["data", "push"], 0);
    // The branch of before: it has the old pointer, and not the new list.
    git(&place, &["checkout", "--quiet", "main~1"]);
    let done = place.check(&["data", "checkout", "--json"], 0).json();
    assert_eq!(done["erased"], 3, "{done}");
    assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    assert_eq!(
        place.check(&["data", "pull", "--json"], 0).json()["erased"],
        3
    );
    place.check(&["data", "gc", "--history", "--yes"], 0);
    place.check(&["data", "verify"], 0);
    git(&place, &["checkout", "--quiet", "main"]);
    place.check(&["data", "checkout"], 0);
    // Somebody has it still.
    place.write("data/m3/normal/0.csv", &old);
    let refused = place.check(&["data", "add", "data"], 1);
    assert!(
        refused.stderr.contains("`data/m3/normal/0.csv` was erased"),
        "{}",
        refused.stderr
    );
    assert!(!names(&place, ".tinyops/cache/objects").contains(&digest_of(7.0)));
    // Once it may be kept again, it is kept.
    let without: Vec<&str> = forgotten
        .lines()
        .filter(|line| **line != digest_of(7.0))
        .collect();
    place.write(".tinyopsforgotten", &(without.join("\n") + "\n"));
    place.check(&["data", "add", "data"], 0);
    place.check(&["data", "push"], 0);
    assert!(names(&place, "shared/objects").contains(&digest_of(7.0)));
    place.check(&["data", "gc", "--yes"], 0);
    place.check(&["data", "verify"], 0);
}

#[test]
fn another_cache_loses_it_when_it_is_collected() {
    let place = shared();
    let other = Workplace::empty();
    let (from, to) = (
        place.root().display().to_string(),
        other.root().join("clone"),
    );
    git(
        &place,
        &["clone", "--quiet", &from, &to.display().to_string()],
    );
    let remote = place.path("shared").display().to_string();
    let in_clone = |args: &[&str]| {
        let answer = other
            .command(args)
            .current_dir(&to)
            .env("TINYOPS_REMOTE", &remote)
            .output()
            .unwrap();
        assert!(answer.status.success(), "{args:?}: {answer:?}");
    };
    in_clone(&["data", "pull"]);
    place.check(&["erase", "--group", "m3", "--yes"], 0);
    commit(&place, "erased");
    place.check(&["data", "push"], 0);
    git(
        &place,
        &["-C", &to.display().to_string(), "pull", "--quiet"],
    );
    let object = |of: &str| {
        to.join(".tinyops/cache/objects")
            .join(&of[..2])
            .join(&of[2..])
    };
    assert!(object(&digest_of(7.0)).exists());
    in_clone(&["data", "pull"]);
    assert!(!to.join("data/m3/normal/0.csv").exists());
    in_clone(&["data", "gc", "--history", "--yes"]);
    assert!(!object(&digest_of(7.0)).exists());
    in_clone(&["data", "push"]);
    assert!(!names(&place, "shared/objects").contains(&digest_of(7.0)));
}

#[test]
fn what_is_tracked_no_longer_goes_too_and_a_list_comes_from_the_remote() {
    let place = shared();
    fs::remove_file(place.path("data.tinyops")).unwrap();
    fs::remove_dir_all(place.path(".tinyops/cache")).unwrap();
    commit(&place, "tracked no longer");
    let plan = place.check(&["erase", "--group", "m3", "--json"], 0).json();
    assert_eq!(
        plan["unknown_versions"].as_array().unwrap().len(),
        1,
        "{plan}"
    );
    // With no remote nobody knows what the version holds, and nothing goes.
    let stays = place.check(&["erase", "--group", "m3", "--no-remote", "--yes"], 1);
    assert!(stays.stderr.contains("of 1 version"), "{}", stays.stderr);
    assert!(place.path("data/m3/normal/0.csv").exists());
    let before = names(&place, "shared/objects");
    let done = place
        .check(&["erase", "--group", "m3", "--yes", "--json"], 0)
        .json();
    assert_eq!(done["objects"].as_array().unwrap().len(), 3, "{done}");
    assert_eq!(done["unknown_versions"].as_array().unwrap().len(), 0);
    assert_eq!(names(&place, "shared/objects").len(), before.len() - 3);
    assert!(!place.path("data/m3/normal/0.csv").exists());
}

#[test]
fn two_paths_with_the_same_pointer_are_two() {
    let place = Workplace::fans();
    git(&place, &["init", "--quiet", "--initial-branch", "main"]);
    // The same recordings below two names: their pointers are the same bytes.
    fs::rename(place.path("data"), place.path("all")).unwrap();
    for group in ["m3", "m4"] {
        let text = recording(3.0, 7.0);
        place.write(&format!("data/{group}/normal/0.csv"), &text);
    }
    fs::create_dir_all(place.path("data/m1/normal")).unwrap();
    place.write("data/m1/normal/0.csv", &recording(1.0, 7.0));
    place.check(&["data", "add", "data/m3", "data/m4"], 0);
    commit(&place, "first");
    // One of them now holds another recording, the other is gone.
    fs::remove_file(place.path("data/m4/normal/0.csv")).unwrap();
    place.write("data/m4/normal/0.csv", &recording(3.0, 8.0));
    place.check(&["data", "add", "data/m4"], 0);
    fs::remove_dir_all(place.path("data/m3")).unwrap();
    fs::remove_file(place.path("data/m3.tinyops")).unwrap();
    commit(&place, "second");
    let plan = place.check(&["erase", "--group", "m4", "--json"], 0).json();
    let objects = plan["objects"].as_array().unwrap();
    let of = |hz| objects.iter().any(|object| *object == digest_of(hz));
    assert!(
        of(8.0) && !of(7.0),
        "m3 had the same bytes, and m3 stays: {plan}"
    );
    assert_eq!(
        plan["tracked_versions"].as_array().unwrap().len(),
        2,
        "{plan}"
    );
}
