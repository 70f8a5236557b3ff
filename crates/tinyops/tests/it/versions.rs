//! Versions of recordings, as whoever keeps a project in Git uses them, and all that may stand against it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tinyops_store::Digest;

use crate::workplace::{Answer, Workplace};

/// A project in a Git repository with six recordings in a folder.
pub(crate) fn project() -> Workplace {
    let place = Workplace::empty();
    place.write(
        "tinyops.toml",
        "[project]\nname = \"fan\"\n[versions]\nremote = \"shared\"\n",
    );
    for machine in 0..2 {
        for take in 0..3 {
            let text = format!("x\n{machine}\n{take}\n");
            place.write(&format!("rec/m{machine}/{take}.csv"), &text);
        }
    }
    git(&place, &["init", "--quiet", "--initial-branch", "main"]);
    place.write(".git/info/exclude", "/shared\n");
    place
}

pub(crate) fn git(place: &Workplace, args: &[&str]) {
    let who = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org"];
    let status = Command::new("git")
        .current_dir(place.root())
        .args(who)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status()
        .unwrap();
    assert!(status.success(), "git {}", args.join(" "));
}

pub(crate) fn commit(place: &Workplace, message: &str) {
    git(place, &["add", "--all"]);
    git(place, &["commit", "--quiet", "--message", message]);
}

pub(crate) fn tracked(place: &Workplace) -> Value {
    place.check(&["data", "status", "--json"], 0).json()["tracked"].take()
}

/// All objects of the cache, by name and path.
pub(crate) fn objects(place: &Workplace) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    let Ok(folders) = fs::read_dir(place.path(".tinyops/cache/objects")) else {
        return all;
    };
    for folder in folders {
        let folder = folder.unwrap().path();
        for object in fs::read_dir(&folder).unwrap() {
            let path = object.unwrap().path();
            let head = folder.file_name().unwrap().to_string_lossy().into_owned();
            let tail = path.file_name().unwrap().to_string_lossy().into_owned();
            all.push((head + &tail, path));
        }
    }
    all
}

/// Every object is what its name says, and nothing is half-written in the workspace.
#[track_caller]
fn check_whole(place: &Workplace) {
    for (name, path) in objects(place) {
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), name);
    }
}

/// Writes over a file as a program does that does not care for its rights.
fn overwrite(path: &Path, text: &str) {
    allow_writing(path);
    fs::write(path, text).unwrap();
}

#[cfg(unix)]
fn allow_writing(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Replaces a file as an editor does: another file takes its name.
pub(crate) fn replace(place: &Workplace, name: &str, text: &str) {
    place.write("new", text);
    fs::rename(place.path("new"), place.path(name)).unwrap();
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, why: &str) {
    assert!(answer.stderr.contains(why), "{}", answer.stderr);
}

#[test]
fn a_folder_is_kept_changed_and_brought_back() {
    let place = project();
    let added = place.check(&["data", "add", "rec", "--json"], 0).json();
    assert_eq!(added["versions"][0]["files"], 6);
    assert_eq!(added["versions"][0]["read"], 6);
    let ignored = fs::read_to_string(place.path(".gitignore")).unwrap();
    assert_eq!(ignored, "/.tinyops/\n/rec\n");
    let pointer = fs::read_to_string(place.path("rec.tinyops")).unwrap();
    assert!(pointer.contains("kind = \"folder\"\nfiles = 6\nbytes = 36\n"));
    assert!(
        fs::metadata(place.path("rec/m0/0.csv"))
            .unwrap()
            .permissions()
            .readonly()
    );
    commit(&place, "first");

    // Again: nothing new, and the pointer stays as it is, whatever lies in between.
    let again = place.check(&["data", "add", "rec", "--json"], 0).json();
    assert_eq!(again["versions"][0]["changed"], false);
    assert_eq!(
        fs::read_to_string(place.path("rec.tinyops")).unwrap(),
        pointer
    );
    assert_eq!(
        fs::read_to_string(place.path(".gitignore")).unwrap(),
        ignored
    );
    assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    assert_eq!(tracked(&place)[0]["pushed"], false);

    replace(&place, "rec/m0/0.csv", "x\n9\n9\n");
    fs::remove_file(place.path("rec/m0/1.csv")).unwrap();
    place.write("rec/m2/0.csv", "x\n2\n0\n");
    let status = tracked(&place);
    assert_eq!(status[0]["standing"], "changed");
    assert_eq!(status[0]["added"][0], "rec/m2/0.csv");
    assert_eq!(status[0]["changed"][0], "rec/m0/0.csv");
    assert_eq!(status[0]["removed"][0], "rec/m0/1.csv");

    // What no version keeps is not lost by a checkout.
    let unsaved = place.check(&["data", "checkout"], 1);
    refused(&unsaved, "2 files hold changes that no version keeps");
    refused(&unsaved, "`rec/m0/0.csv` would be lost");
    assert!(!place.path("rec/m0/1.csv").exists(), "nothing was touched");
    place.check(&["data", "add", "rec"], 0);
    let diff = place.check(&["data", "diff", "--json"], 0).json();
    assert_eq!(diff["added"][0], "rec/m2/0.csv");
    assert_eq!(diff["removed"][0], "rec/m0/1.csv");
    commit(&place, "second");
    let diff = place.check(&["data", "diff", "HEAD~1", "HEAD"], 0).stdout;
    assert!(diff.contains("1 added, 1 removed, 1 changed"), "{diff}");
    place.check(&["data", "diff", "no-such-branch"], 2);

    // Back and forth by Git: all of it is kept, so nothing has to be forced.
    git(&place, &["checkout", "--quiet", "HEAD~1"]);
    let done = place.check(&["data", "checkout", "--json"], 0).json();
    assert_eq!((&done["written"], &done["removed"]), (&2.into(), &1.into()));
    assert_eq!(
        fs::read_to_string(place.path("rec/m0/0.csv")).unwrap(),
        "x\n0\n0\n"
    );
    assert!(!place.path("rec/m2").exists(), "an empty folder is none");
    assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    git(&place, &["checkout", "--quiet", "main"]);
    place.check(&["data", "checkout", "rec"], 0);
    assert_eq!(
        fs::read_to_string(place.path("rec/m0/0.csv")).unwrap(),
        "x\n9\n9\n"
    );
    place.write("rec/m9.csv", "nobody needs it");
    place.check(&["data", "checkout"], 1);
    place.check(&["data", "checkout", "--force"], 0);
    assert!(!place.path("rec/m9.csv").exists());
    fs::remove_dir_all(place.path("rec")).unwrap();
    assert_eq!(tracked(&place)[0]["standing"], "absent");
    place.check(&["data", "checkout"], 0);
    assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    check_whole(&place);
}

#[test]
fn what_is_pushed_comes_to_another_clone() {
    let place = project();
    place.write("one.csv", "x\n1\n");
    place.check(&["data", "add", "rec", "one.csv"], 0);
    commit(&place, "first");
    let pushed = place.check(&["data", "push", "--json"], 0).json();
    assert_eq!(pushed["pushed"], 8, "six files, their list, one file");
    let again = place.check(&["data", "push", "--json"], 0).json();
    assert_eq!(again["pushed"], 0);
    assert_eq!(tracked(&place)[0]["pushed"], true);

    let remote = place.path("shared").display().to_string();
    let clone = Workplace::empty();
    let from = place.path(".git").display().to_string();
    git(&clone, &["clone", "--quiet", &from, "."]);
    assert_eq!(tracked(&clone)[0]["standing"], "absent");
    let missing = clone.check(&["data", "checkout"], 2);
    refused(&missing, "`tinyops data pull` brings them");
    let pull = ["data", "pull", "--remote", &remote];
    clone.check(&pull, 0);
    assert_eq!(
        fs::read_to_string(clone.path("rec/m1/2.csv")).unwrap(),
        "x\n1\n2\n"
    );
    assert_eq!(fs::read_to_string(clone.path("one.csv")).unwrap(), "x\n1\n");
    assert_eq!(tracked(&clone)[1]["standing"], "unchanged");

    // An object is damaged: nothing of it reaches the workspace, it is named, and the remote repairs it.
    let digest = Digest::of(b"x\n1\n2\n").to_string();
    let object = objects(&clone)
        .into_iter()
        .find(|(name, _)| *name == digest);
    overwrite(&object.unwrap().1, "x\n6\n6\n");
    let found = clone.run(&["data", "verify", "--json"]);
    assert_eq!(found.code, 1, "{}", found.stderr);
    assert_eq!(found.json()["damaged"][0]["object"], digest);
    assert_eq!(found.json()["damaged"][0]["file"], "rec/m1/2.csv");
    fs::remove_file(clone.path("rec/m1/2.csv")).unwrap();
    refused(&clone.check(&["data", "checkout"], 3), "is damaged");
    refused(
        &clone.check(
            &[
                "data",
                "push",
                "--remote",
                &clone.path("other").display().to_string(),
            ],
            3,
        ),
        "is damaged",
    );
    let repaired = clone
        .check(&[&pull[..], &["--repair", "--json"]].concat(), 0)
        .json();
    assert_eq!(repaired["repaired"][0], digest);
    assert_eq!(
        fs::read_to_string(clone.path("rec/m1/2.csv")).unwrap(),
        "x\n1\n2\n"
    );
    clone.check(&["data", "verify"], 0);

    // On the remote, too: what it gives is looked at before it has a name here.
    let theirs = Path::new(&remote)
        .join("objects")
        .join(&digest[..2])
        .join(&digest[2..]);
    overwrite(&theirs, "x\n6\n6\n");
    let third = Workplace::empty();
    git(&third, &["clone", "--quiet", &from, "."]);
    refused(&third.check(&pull, 3), "is damaged");
    check_whole(&third);
    fs::remove_file(&theirs).unwrap();
    let lost = third.check(&pull, 1);
    refused(
        &lost,
        "1 objects are neither in the cache nor on the remote",
    );
    refused(&lost, "`rec/m1/2.csv` needs one of them");
}

#[test]
fn what_cannot_be_tracked_says_why() {
    let place = project();
    let away = Workplace::empty();
    away.write("x.csv", "x\n1\n");
    let outside = away.path("x.csv").display().to_string();
    refused(
        &place.check(&["data", "add", &outside], 2),
        "lies outside of the project",
    );
    refused(
        &place.check(&["data", "add", "../elsewhere/x.csv"], 2),
        "lies outside of the project",
    );
    refused(
        &place.check(&["data", "add", "nowhere"], 2),
        "does not exist",
    );
    refused(&place.check(&["data", "add", "."], 2), "the project itself");
    refused(
        &place.check(&["data", "add", ".tinyops/tinyops.db"], 2),
        "keeps things",
    );
    place.check(&["data", "add", "rec"], 0);
    refused(
        &place.check(&["data", "add", "rec/m0"], 2),
        "overlaps `rec`",
    );
    place.write("outer/in/x.csv", "x\n1\n");
    place.check(&["data", "add", "outer/in"], 0);
    refused(&place.check(&["data", "add", "outer"], 2), "overlaps");
    fs::create_dir(place.path("hollow")).unwrap();
    refused(&place.check(&["data", "add", "hollow"], 2), "holds no file");
    refused(
        &place.check(&["data", "checkout", "hollow"], 2),
        "no pointer stands for it",
    );
}

#[test]
#[cfg(unix)]
fn links_lead_nowhere_else() {
    use std::os::unix::fs::symlink;
    let place = project();
    let check = |to: &str, why: &str| {
        let link = place.path("rec/link");
        symlink(to, &link).unwrap();
        refused(&place.check(&["data", "add", "rec"], 2), why);
        fs::remove_file(&link).unwrap();
    };
    check("link", "circle");
    check("..", "to a folder");
    check("m0", "to a folder");
    check("/etc/hostname", "leads out of the project");
    check("gone.csv", "to nothing");
    // To a file of the project it is the file; the clone gets one.
    symlink("m0/0.csv", place.path("rec/first.csv")).unwrap();
    place.check(&["data", "add", "rec"], 0);
    assert!(place.path("rec/first.csv").is_symlink());
    assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    // A folder that became a link takes no file elsewhere.
    let away = Workplace::empty();
    fs::remove_dir_all(place.path("rec/m1")).unwrap();
    symlink(away.root(), place.path("rec/m1")).unwrap();
    place.check(&["data", "checkout", "--force"], 2);
    assert_eq!(fs::read_dir(away.root()).unwrap().count(), 0);
}

#[test]
fn hostile_pointers_and_lists_write_nowhere() {
    let place = project();
    let pointer = |digest: &str| {
        format!("version = 1\nkind = \"folder\"\nfiles = 1\nbytes = 1\ndigest = \"{digest}\"\n")
    };
    place.check(&["data", "add", "rec"], 0);
    for name in [
        "../evil",
        "/tmp/evil",
        "a/../../evil",
        ".git/hooks/post-checkout",
    ] {
        let list = format!("tinyops-tree 1\n{}\t1\tfile\t{name}\n", Digest::of(b"x"));
        let digest = Digest::of(list.as_bytes()).to_string();
        place.write(
            &format!(".tinyops/cache/objects/{}/{}", &digest[..2], &digest[2..]),
            &list,
        );
        place.write("evil.tinyops", &pointer(&digest));
        let answer = place.check(&["data", "checkout", "evil", "--force"], 2);
        refused(&answer, "is no list of files");
        assert!(!place.path("evil").exists() && !place.path("../evil").exists());
    }
    for digest in ["../../../etc/passwd", "", "zz"] {
        place.write("evil.tinyops", &pointer(digest));
        refused(&place.check(&["data", "checkout"], 2), "64 hex digits");
    }
    fs::remove_file(place.path("evil.tinyops")).unwrap();
    for name in ["sub/.git.tinyops", "...tinyops"] {
        place.write(name, &pointer(&Digest::of(b"x").to_string()));
        // Hidden pointers are not looked for, and asked for by name they are refused.
        place.check(&["data", "checkout"], 0);
        place.check(&["data", "checkout", name, "--force"], 2);
        fs::remove_file(place.path(name)).unwrap();
    }
    // A pointer to what is nowhere.
    place.write("gone.tinyops", &pointer(&Digest::of(b"gone").to_string()));
    assert_eq!(tracked(&place)[0]["standing"], "absent");
    fs::create_dir(place.path("gone")).unwrap();
    assert_eq!(tracked(&place)[0]["standing"], "unknown");
    refused(
        &place.check(&["data", "checkout", "gone"], 2),
        "not in the cache",
    );
    let found = place.run(&["data", "verify", "--json"]);
    assert_eq!(found.code, 1);
    assert_eq!(found.json()["missing"][0]["file"], "gone");
}

#[test]
fn two_at_once_do_not_meet() {
    let place = project();
    place.check(&["data", "add", "rec"], 0);
    let lock = fs::File::options()
        .write(true)
        .open(place.path(".tinyops/cache/lock"))
        .unwrap();
    lock.lock().unwrap();
    for verb in ["add", "checkout"] {
        let busy = place.check(&["data", verb, "rec"], 3);
        refused(&busy, "is at work in it");
        refused(&busy, "`--wait`");
    }
    place.check(&["data", "status"], 0);
    let mut waiting = place
        .command(&["data", "add", "rec", "--wait"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits");
    drop(lock);
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn a_killed_add_leaves_nothing_half_done() {
    let place = project();
    place.write("tinyops.toml", "[versions]\nlink = \"copy\"\n");
    for take in 0..200 {
        place.write(
            &format!("rec/many/{take}.csv"),
            &format!("x\n{}\n", "7\n".repeat(5000 + take)),
        );
    }
    for delay_ms in [5, 15, 25, 40, 60, 90] {
        let mut child = place
            .command(&["data", "add", "rec", "--quiet"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        let _ = child.kill();
        child.wait().unwrap();
        check_whole(&place);
        if let Ok(pointer) = fs::read_to_string(place.path("rec.tinyops")) {
            assert!(
                pointer.contains("files = 206\n"),
                "whole or not at all: {pointer}"
            );
        }
    }
    place.check(&["data", "add", "rec"], 0);
    place.check(&["data", "verify"], 0);
    assert_eq!(
        fs::read_dir(place.path(".tinyops/cache/tmp"))
            .unwrap()
            .count(),
        0
    );
    // The same for a checkout: what it wrote is whole, and the next one goes on.
    for delay_ms in [5, 20, 40] {
        fs::remove_dir_all(place.path("rec")).unwrap();
        let mut child = place
            .command(&["data", "checkout", "--quiet"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        let _ = child.kill();
        child.wait().unwrap();
        place.check(&["data", "checkout"], 0);
        assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    }
    let left = fs::read_dir(place.path("rec/many")).unwrap();
    let parts = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".tinyops-part")
    });
    assert_eq!(parts.count(), 0);
}

#[test]
fn a_change_that_no_time_shows_is_seen() {
    let place = project();
    place.write("tinyops.toml", "[versions]\nlink = \"copy\"\n");
    // Of the same length, within the same tick of the clock as the reading.
    for round in 0..20 {
        place.write("rec/m0/0.csv", &format!("x\n0\n{:02}\n", round));
        place.check(&["data", "add", "rec"], 0);
        overwrite(
            &place.path("rec/m0/0.csv"),
            &format!("x\n1\n{:02}\n", round),
        );
        assert_eq!(
            tracked(&place)[0]["changed"][0],
            "rec/m0/0.csv",
            "round {round}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_version_that_was_written_over_through_its_link_is_told() {
    let place = project();
    place.write(
        "tinyops.toml",
        "[versions]\nlink = \"hardlink\"\nremote = \"shared\"\n",
    );
    place.check(&["data", "add", "rec"], 0);
    commit(&place, "first");
    place.check(&["data", "push"], 0);
    overwrite(&place.path("rec/m0/0.csv"), "x\n8\n8\n8\n");
    let added = place.check(&["data", "add", "rec", "--json"], 0).json();
    assert_eq!(added["versions"][0]["overwritten"][0], "m0/0.csv");
    check_whole(&place);
    commit(&place, "second");
    git(&place, &["checkout", "--quiet", "HEAD~1"]);
    refused(&place.check(&["data", "checkout"], 2), "not in the cache");
    place.check(&["data", "pull"], 0);
    assert_eq!(
        fs::read_to_string(place.path("rec/m0/0.csv")).unwrap(),
        "x\n0\n0\n"
    );
    check_whole(&place);
}

#[test]
fn names_that_are_left_out_and_names_that_are_no_text() {
    let place = project();
    place.write(".tinyopsignore", "*.tmp\n");
    place.write("rec/.tinyopsignore", "/m1\n!m0/keep.tmp\n");
    place.write("rec/m0/a.tmp", "no recording");
    place.write("rec/m0/keep.tmp", "one");
    place.write("rec/m0/with\ttab\\.csv", "x\n1\n");
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let name = std::ffi::OsStr::from_bytes(b"rec/m0/\xff\xfe.csv");
        fs::write(place.root().join(name), "x\n2\n").unwrap();
    }
    let added = place.check(&["data", "add", "rec", "--json"], 0).json();
    let odd = if cfg!(target_os = "linux") { 2 } else { 1 };
    assert_eq!(added["versions"][0]["files"], 5 + odd);
    fs::remove_dir_all(place.path("rec/m0")).unwrap();
    assert!(tracked(&place)[0]["removed"].as_array().unwrap().len() > 4);
    place.check(&["data", "checkout"], 0);
    assert_eq!(tracked(&place)[0]["standing"], "unchanged");
    assert!(
        place.path("rec/m1/0.csv").exists(),
        "what is left out is not touched"
    );
    // Nor is what is left out only now, and was changed since; and no link that is left out leads elsewhere.
    place.write(".tinyopsignore", "*.tmp\n/rec/m0\n");
    overwrite(&place.path("rec/m0/0.csv"), "x\n9\n9\n");
    refused(
        &place.check(&["data", "checkout"], 1),
        "1 file holds changes",
    );
    let kept = fs::read_to_string(place.path("rec/m0/0.csv")).unwrap();
    assert_eq!(kept, "x\n9\n9\n");
    #[cfg(unix)]
    {
        let elsewhere = place.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::remove_dir_all(place.path("rec/m0")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, place.path("rec/m0")).unwrap();
        refused(&place.check(&["data", "checkout"], 2), "is a link");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
    place.write("rec/.tinyopsignore", "[z-a]\n");
    refused(&place.check(&["data", "add", "rec"], 2), ".tinyopsignore");
}

#[test]
fn a_long_recording_is_kept_in_pieces_that_its_next_version_shares() {
    let place = project();
    let mut state = 1u64;
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < 33 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes()[..6]);
    }
    fs::write(place.path("long.raw"), &bytes).unwrap();
    place.check(&["data", "add", "long.raw"], 0);
    assert!(fs::read_to_string(place.path("long.tinyops")).is_err());
    let pointer = fs::read_to_string(place.path("long.raw.tinyops")).unwrap();
    assert!(pointer.contains("kind = \"chunks\""), "{pointer}");
    let before = objects(&place).len();
    bytes.extend_from_slice(b"and a little more");
    bytes.splice(1000..1000, *b"in between");
    fs::write(place.path("long.raw"), &bytes).unwrap();
    place.check(&["data", "add", "long.raw"], 0);
    let fresh = objects(&place).len() - before;
    assert!(fresh <= 4, "{fresh} of {before} objects are new");
    fs::remove_file(place.path("long.raw")).unwrap();
    place.check(&["data", "checkout"], 0);
    assert!(fs::read(place.path("long.raw")).unwrap() == bytes);
    place.check(&["data", "push"], 0);
    fs::remove_dir_all(place.path(".tinyops/cache")).unwrap();
    fs::remove_file(place.path("long.raw")).unwrap();
    place.check(&["data", "pull"], 0);
    assert!(fs::read(place.path("long.raw")).unwrap() == bytes);
    place.check(&["data", "verify"], 0);
}

#[test]
fn recordings_that_come_into_a_tracked_folder_become_its_next_version() {
    let place = Workplace::fans();
    place.check(&["data", "add", "data"], 0);
    let away = Workplace::empty();
    away.write("a.csv", &crate::workplace::recording(9.0, 18.0));
    let from = away.path("a.csv").display().to_string();
    let add = [
        "data", "add", &from, "--label", "blade", "--group", "m9", "--json",
    ];
    let added = place.check(&add, 0).json();
    assert_eq!(added["added"][0], "m9/blade/a.csv");
    assert_eq!(added["versions"][0]["path"], "data");
    assert_eq!(added["versions"][0]["files"], 19);
    let status = place.check(&["data", "status", "--json"], 0).json();
    assert_eq!(status["tracked"][0]["standing"], "unchanged");
    assert_eq!(status["detail"]["samples"], 19);
    let alone = place.check(&["data", "status", "data", "--json"], 0).json();
    assert_eq!(alone["version"], Value::Null);
}
