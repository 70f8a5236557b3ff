//! What was acknowledged survives a kill, and nothing is half there.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tinyops_store::{Artifacts, Db, Timestamp, audit};

const FOLDER: &str = "TINYOPS_TEST_CRASH_FOLDER";

/// The child's part: writes pairs of rows and artifacts until it is killed, and says what is acknowledged.
#[test]
fn child_of_the_kill_test() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let db = Db::open(&format!("sqlite:{folder}/records.db"))
            .await
            .unwrap();
        let artifacts = Artifacts::open(&format!("{folder}/artifacts"))
            .await
            .unwrap();
        let writers: Vec<_> = (0..4_u32)
            .map(|writer| tokio::spawn(write_for_ever(db.clone(), artifacts.clone(), writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_for_ever(db: Db, artifacts: Artifacts, writer: u32) {
    for number in 0_u32.. {
        let name = format!("{writer}-{number}");
        let digest = artifacts.put(name.repeat(5_000).as_bytes()).await.unwrap();
        let tx = db.begin("test").await.unwrap();
        for half in ["first", "second"] {
            audit::add(
                &tx,
                Timestamp(0),
                half,
                &digest.to_string(),
                &name,
                &json!({}),
            )
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        #[expect(
            clippy::print_stdout,
            reason = "this is how the parent hears of the acknowledgement"
        )]
        {
            println!("kept {name}");
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    for after_lines in [1, 7, 40] {
        let folder = tempfile::TempDir::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_of_the_kill_test", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut kept = Vec::new();
        while kept.len() < after_lines {
            let line = lines
                .next()
                .expect("the child writes until it is killed")
                .unwrap();
            kept.extend(line.rsplit_once("kept ").map(|(_, name)| name.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(after_lines as u64 % 5));
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = lines.map_while(Result::ok);
        kept.extend(
            rest.filter_map(|line| line.rsplit_once("kept ").map(|(_, name)| name.to_owned())),
        );
        check(folder.path(), &kept);
    }
}

fn check(folder: &std::path::Path, kept: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let db = Db::open(&format!("sqlite:{}/records.db", folder.display()))
            .await
            .unwrap();
        let artifacts = Artifacts::open(&format!("{}/artifacts", folder.display()))
            .await
            .unwrap();
        for name in kept {
            let rows = audit::about(&db, name, 9).await.unwrap();
            assert_eq!(rows.len(), 2, "{name} was acknowledged");
        }
        for row in audit::list(&db, 100_000).await.unwrap() {
            let both = audit::about(&db, &row.subject, 9).await.unwrap();
            assert_eq!(both.len(), 2, "{} is whole or not there", row.subject);
            let bytes = artifacts.get(&row.action.parse().unwrap()).await.unwrap();
            assert_eq!(bytes, row.subject.repeat(5_000).as_bytes());
        }
        for digest in artifacts.list().await.unwrap() {
            artifacts
                .get(&digest)
                .await
                .expect("an artifact is there with all its bytes or not at all");
        }
    });
}
