//! A DVC repository becomes a project of versions, and stays what it is.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    versions::{git, refused, tracked},
    workplace::Workplace,
};

/// A DVC repository as `dvc add rec one.csv` leaves it, with a stage's output in `dvc.lock`.
fn dvc_repository(place: &Workplace) {
    let cached = |md5: &str, text: &str| {
        place.write(
            &format!(".dvc/cache/files/md5/{}/{}", &md5[..2], &md5[2..]),
            text,
        );
    };
    // Of "a\n", "b\n", and of the list of both.
    let (a, b) = (
        "60b725f10c9c85c70d97880dfe8191b3",
        "3b5d5c3712955042212316173ccf37be",
    );
    cached(a, "a\n");
    cached(b, "b\n");
    let list = format!(
        r#"[{{"md5": "{b}", "relpath": "b.csv"}}, {{"md5": "{a}", "relpath": "deep/a.csv"}}]"#
    );
    let of_list = "00000000000000000000000000000001.dir";
    cached(of_list, &list);
    place.write(".dvc/config", "[core]\n    analytics = false\n");
    place.write(
        "raw/rec.dvc",
        &format!("outs:\n- md5: {of_list}\n  size: 4\n  nfiles: 2\n  hash: md5\n  path: rec\n"),
    );
    place.write(
        "one.csv.dvc",
        &format!("outs:\n- md5: {a}\n  size: 2\n  hash: md5\n  path: one.csv\n"),
    );
    // The last one has `cache: false` in `dvc.yaml`, which is nowhere else: it is in Git.
    let lock = format!(
        "schema: '2.0'\nstages:\n  cut:\n    cmd: cut\n    outs:\n    - path: made.csv\n      hash: md5\n      md5: {b}\n      size: 2\n    - path: metrics.json\n      hash: md5\n      md5: {b}\n      size: 2\n"
    );
    place.write("dvc.lock", &lock);
    place.write("metrics.json", "b\n");
    git(place, &["init", "--quiet"]);
    git(place, &["add", "metrics.json"]);
}

/// What the system knows of every file of DVC's: one that was linked, written to or given other rights differs.
#[cfg(unix)]
fn of_dvc(place: &Workplace) -> Vec<(PathBuf, [i64; 5])> {
    use std::os::unix::fs::MetadataExt as _;
    let mut folders = vec![place.path(".dvc")];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            if about.is_dir() {
                folders.push(path.clone());
            }
            let known = [
                about.ino() as i64,
                about.nlink() as i64,
                about.mode().into(),
                about.mtime(),
                about.ctime_nsec(),
            ];
            all.push((path, known));
        }
    }
    all.sort();
    all
}

#[test]
fn a_dvc_repository_is_taken_over() {
    let place = Workplace::empty();
    place.write("tinyops.toml", "");
    dvc_repository(&place);
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let cached = place.path(".dvc/cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3");
    fs::File::options()
        .write(true)
        .open(&cached)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let before = of_dvc(&place);
    let imported = place.check(&["import", "dvc", "--json"], 0).json();
    assert_eq!(imported["in_git"][0], "metrics.json");
    assert_eq!(of_dvc(&place), before, "DVC's own files stay as they are");
    let paths: Vec<&str> = imported["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["made.csv", "one.csv", "raw/rec"]);
    assert_eq!(
        fs::read_to_string(place.path("raw/rec/deep/a.csv")).unwrap(),
        "a\n"
    );
    assert_eq!(fs::read_to_string(place.path("made.csv")).unwrap(), "b\n");
    let kept = fs::metadata(place.path("one.csv"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(kept, old, "it keeps its time");
    let pointer = fs::read_to_string(place.path("one.csv.tinyops")).unwrap();
    assert!(
        pointer.contains("origin = \"dvc md5 60b725f10c9c85c70d97880dfe8191b3\""),
        "{pointer}"
    );
    for tracked in tracked(&place).as_array().unwrap() {
        assert_eq!(tracked["standing"], "unchanged", "{tracked}");
    }
    // Added again it is the same, and still says where it came from.
    let added = place.check(&["data", "add", "raw/rec", "--json"], 0).json();
    assert_eq!(added["versions"][0]["changed"], false);

    let other = Workplace::empty();
    other.write("tinyops.toml", "");
    place.write(
        ".dvc/cache/files/md5/3b/5d5c3712955042212316173ccf37be.new",
        "x\n",
    );
    fs::rename(
        place.path(".dvc/cache/files/md5/3b/5d5c3712955042212316173ccf37be.new"),
        place.path(".dvc/cache/files/md5/3b/5d5c3712955042212316173ccf37be"),
    )
    .unwrap();
    let from = place.path("").display().to_string();
    let damaged = other.run(&["import", "dvc", &from, "--json"]);
    assert_eq!(damaged.code, 1, "{}", damaged.stderr);
    assert_eq!(damaged.json()["outputs"][0]["path"], "one.csv");
    assert!(
        damaged.json()["skipped"][0]["why"]
            .as_str()
            .unwrap()
            .contains("is damaged")
    );
    assert_eq!(fs::read_to_string(other.path("one.csv")).unwrap(), "a\n");
    assert!(!other.path("made.csv").exists());
    refused(
        &other.check(&["import", "dvc", "."], 2),
        "is no DVC repository",
    );
}

#[test]
fn texts_are_named_as_dvc_2_named_them() {
    let theirs = Workplace::empty();
    // Of "x\r\n1\r\n2\n3\r", with its lines ended as Unix does.
    let md5 = "61d38cf7b5b39cac901f0da0838748e6";
    let text = "x\r\n1\r\n2\n3\r";
    theirs.write(&format!(".dvc/cache/{}/{}", &md5[..2], &md5[2..]), text);
    theirs.write(".dvc/config", "");
    let out = format!("outs:\n- md5: {md5}\n  size: 10\n  path: one.csv\n");
    theirs.write("one.csv.dvc", &out);
    // The same of a DVC that takes bytes as they are is another file.
    let newer = format!("outs:\n- md5: {md5}\n  size: 10\n  hash: md5\n  path: two.csv\n");
    theirs.write("two.csv.dvc", &newer);
    let ours = Workplace::empty();
    ours.write("tinyops.toml", "[project]\nname = \"fan\"\n");
    let from = theirs.root().display().to_string();
    let done = ours.run(&["import", "dvc", &from, "--json"]);
    let done = done.json();
    assert_eq!(done["outputs"][0]["path"], "one.csv", "{done}");
    assert_eq!(done["skipped"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(fs::read_to_string(ours.path("one.csv")).unwrap(), text);
}
