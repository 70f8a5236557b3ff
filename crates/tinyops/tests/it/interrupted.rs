//! A run that is killed in the middle, one that meets another at work, and one on a full disk.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStderr, Stdio},
};

use tinyops_store::{
    Artifacts, Db, Timestamp, model,
    run::{self, Run, RunState},
};

use crate::workplace::{Answer, SETTINGS, Workplace};

/// Trains long enough to be met in the middle.
const EPOCHS: &str = "epochs = 4000";

fn slow_fans() -> Workplace {
    let place = Workplace::fans();
    place.write("tinyops.toml", &SETTINGS.replace("epochs = 200", EPOCHS));
    place
}

/// Starts a run, and returns when it has told that `step` is done.
fn start_until(place: &Workplace, step: &str) -> Child {
    let mut child = place
        .command(&["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(BufReader::new(child.stderr.take().unwrap()), step);
    child
}

fn read_until(mut reader: BufReader<ChildStderr>, step: &str) {
    let mut said = String::new();
    loop {
        let start = said.len();
        if reader.read_line(&mut said).unwrap() == 0 {
            panic!("the run ended before `{step}` was done:\n{said}");
        }
        if said[start..].trim_start().starts_with(step) {
            // Whoever reads no more must not make the child fail at writing.
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            return;
        }
    }
}

struct Kept {
    /// Oldest first.
    runs: Vec<Run>,
    models: usize,
}

/// What stands in the store; every artifact in it is whole.
fn kept(place: &Workplace) -> Kept {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = format!("sqlite:{}", place.path(".tinyops/tinyops.db").display());
        let db = Db::open(&url).await.unwrap();
        let folder = place.path(".tinyops/artifacts");
        let artifacts = Artifacts::open(folder.to_str().unwrap()).await.unwrap();
        for digest in artifacts.list().await.unwrap() {
            artifacts.get(&digest).await.expect("it is whole");
        }
        let mut runs = run::list(&db, 100).await.unwrap();
        runs.reverse();
        Kept {
            runs,
            models: model::list(&db).await.unwrap().len(),
        }
    })
}

#[track_caller]
fn check_says(answer: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(
            answer.stderr.contains(text),
            "no `{text}` in:\n{}",
            answer.stderr
        );
    }
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let place = slow_fans();
    let mut child = start_until(&place, "featurize");

    // While it lives, nobody else may run the project.
    let second = place.check(&["run"], 3);
    check_says(
        &second,
        &[
            "error: run 1 of project `fan` is at work",
            &format!("cause: process {} on `", child.id()),
            "hint: wait until it ends",
        ],
    );
    child.kill().unwrap();
    child.wait().unwrap();

    let left = kept(&place);
    let [killed] = left.runs.as_slice() else {
        panic!("{:?}", left.runs);
    };
    assert_eq!((killed.state, left.models), (RunState::Running, 0));
    let lease_end = killed.lease_until.expect("it was at work");
    assert_eq!(
        killed.state_at(Timestamp(lease_end.0 + 1)),
        RunState::Interrupted
    );

    let next = place.check(&["run", "--json"], 0);
    check_says(&next, &["run 1 was interrupted"]);
    let next = next.json();
    assert_eq!(
        (&next["resumes"], &next["version"]),
        (&"1".into(), &1.into())
    );
    let cached: Vec<_> = next["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["cached"] == true)
        .collect();
    assert_eq!(
        cached[..4],
        [true, true, true, false],
        "train was cut short"
    );

    let after = kept(&place);
    let states: Vec<_> = after.runs.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Interrupted, RunState::Done]);
    assert!(
        after
            .runs
            .iter()
            .all(|run| run.lease_until.is_none() && run.ended_at.is_some())
    );
    assert_eq!(after.models, 1);
}

/// No file may grow beyond so many blocks of 512 bytes: writing fails here and there, as on a disk with a quota.
#[test]
fn a_file_that_cannot_be_written_is_told_wherever_it_strikes() {
    let place = Workplace::fans();
    for blocks in [1, 40, 200, 400] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" run");
        let answer = place.shell(&script);
        let said = format!("{blocks} blocks\n{}\n{}", answer.stdout, answer.stderr);
        assert_eq!(answer.code, 3, "{said}");
        assert!(answer.stderr.contains("error: "), "{said}");
        assert!(!answer.stderr.contains("panicked"), "{said}");
    }
    check_whole_again(&place);
}

/// A small file system of our own, full but for some pages, where the rights allow one.
#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let place = Workplace::fans();
    std::fs::create_dir(place.path(".tinyops")).unwrap();
    // The mount goes with the shell; what it held is copied out before.
    let script = "exec unshare -m sh -c '
        mount -t tmpfs -o size=4m tinyops .tinyops || exit 77
        for free in 4 100 300 600; do
            rm -rf .tinyops/*
            head -c $((4096 - free))k /dev/zero > .tinyops/ballast
            \"$0\" run 2>> said; test $? = 3 || exit 78
        done
        rm .tinyops/ballast
        \"$0\" run --quiet; code=$?
        mkdir kept && cp -a .tinyops/. kept && exit $code' \"$0\"";
    let answer = place.shell(script);
    let said = std::fs::read_to_string(place.path("said")).unwrap_or_default();
    if answer.code != 0 && !place.path("said").exists() {
        #[expect(clippy::print_stderr, reason = "a skipped test must show")]
        {
            eprintln!(
                "full disk skipped: a small file system cannot be mounted here ({})",
                answer.stderr.trim()
            );
        }
        return;
    }
    assert_eq!(
        answer.code, 0,
        "{said}\n{}\n{}",
        answer.stdout, answer.stderr
    );
    assert_eq!(
        said.matches("error: no space is left at `").count(),
        4,
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    assert!(
        answer.stdout.contains("Registered fan@1"),
        "{}",
        answer.stdout
    );
    std::fs::remove_dir(place.path(".tinyops")).unwrap();
    std::fs::rename(place.path("kept"), place.path(".tinyops")).unwrap();
    check_whole_again(&place);
}

/// With room again, the next run ends well, and everything kept is whole.
#[track_caller]
fn check_whole_again(place: &Workplace) {
    let next = place.check(&["run"], 0);
    assert!(next.stdout.contains("Registered fan@1"), "{}", next.stdout);
    let after = kept(place);
    assert_eq!(after.models, 1);
    assert!(after.runs.iter().all(|run| run.ended_at.is_some()));
}
