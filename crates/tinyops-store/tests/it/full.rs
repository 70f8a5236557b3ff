//! A full disk is said to be full, and what was there before stays whole.

use std::process::Command;

use serde_json::json;
use tinyops_store::{Artifacts, Db, StoreError, Timestamp, audit};

const FOLDER: &str = "TINYOPS_TEST_FULL_FOLDER";

/// The child's part, on a disk of two megabytes.
#[test]
fn child_of_the_full_disk_test() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let db = Db::open(&format!("{folder}/records.db")).await.unwrap();
        let artifacts = Artifacts::open(&format!("{folder}/artifacts"))
            .await
            .unwrap();
        let note = json!("x".repeat(50_000));
        let mut kept = 0;
        let full = loop {
            match add(&db, &note).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
        assert!(full.to_string().contains("free some"), "{full}");
        assert_eq!(
            audit::list(&db, 1_000).await.unwrap().len(),
            kept,
            "what was kept is there, and no more"
        );
        let ballast = vec![7; 1 << 21];
        let full = artifacts.put(&ballast).await.unwrap_err();
        assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
        assert_eq!(artifacts.list().await.unwrap(), []);
        std::fs::remove_file(format!("{folder}/ballast")).unwrap();
        add(&db, &note)
            .await
            .expect("it goes on when there is room again");
    });
}

async fn add(db: &Db, note: &tinyops_store::Json) -> Result<(), StoreError> {
    let tx = db.begin("test").await?;
    audit::add(&tx, Timestamp(0), "a", "b", "c", note).await?;
    tx.commit().await
}

/// A small file system of our own, where the rights allow one.
#[test]
fn a_full_disk_is_told_and_nothing_is_half_written() {
    let folder = tempfile::TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=2m tinyops \"$1\" || exit 77; head -c 300000 /dev/zero > \"$1/ballast\"; exec \"$2\" full::child_of_the_full_disk_test --exact --nocapture";
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output();
    match ran {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) if ran.status.code() == Some(101) => {
            panic!(
                "{}{}",
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            )
        }
        other => {
            #[expect(clippy::print_stderr, reason = "a skipped test must show")]
            {
                eprintln!(
                    "full disk skipped: a small file system cannot be mounted here ({other:?})"
                );
            }
        }
    }
}
