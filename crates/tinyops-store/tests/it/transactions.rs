//! Whole or not at all, one after the other, and conflicts are told.

use std::sync::Arc;

use serde_json::json;
use tinyops_store::rollout::{self, RolloutState};
use tinyops_store::run::{self, NewRun, RunState};
use tinyops_store::{Db, DeviceId, Digest, StoreError, Timestamp, audit, report};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn a_run() -> NewRun {
    NewRun {
        project: "fan".to_owned(),
        kind: "train".to_owned(),
        trigger: None,
        settings: Digest::of(b"toml"),
        code: "0.1.0".to_owned(),
        seed: 1,
        owner: "process 1".to_owned(),
        lease_until: NOW.plus_ms(60_000),
    }
}

#[test]
fn a_transaction_that_is_dropped_never_was() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        run::add(&tx, &a_run(), NOW).await.unwrap();
        assert_eq!(
            run::list(&tx, 9).await.unwrap().len(),
            1,
            "it sees its own writing"
        );
        drop(tx);
        let tx = db.begin("test").await.unwrap();
        assert_eq!(run::list(&tx, 9).await.unwrap(), []);
        let kept = run::add(&tx, &a_run(), NOW).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(run::list(&db, 9).await.unwrap(), [kept]);
    });
}

#[test]
fn a_stale_row_is_a_conflict() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let mut mine = run::add(&tx, &a_run(), NOW).await.unwrap();
        let mut theirs = mine.clone();
        mine.state = RunState::Running;
        run::put(&tx, &mut mine).await.unwrap();
        theirs.state = RunState::Failed;
        let stale = run::put(&tx, &mut theirs).await;
        assert!(
            matches!(stale, Err(StoreError::Conflict { entity: "run", .. })),
            "{stale:?}"
        );
        tx.commit().await.unwrap();
        assert_eq!(
            run::get(&db, mine.id).await.unwrap().unwrap().state,
            RunState::Running
        );
    });
}

#[test]
fn many_writers_at_once_lose_nothing() {
    on_every_backend(|db, _| async move {
        let db = Arc::new(db);
        let writers: Vec<_> = (0..20)
            .map(|writer| tokio::spawn(write_some(db.clone(), writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let entries = audit::list(&*db, 1_000).await.unwrap();
        assert_eq!(entries.len(), 20 * 5);
        let mut numbers: Vec<i64> = entries.iter().map(|entry| entry.id).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), 100);
    });
}

/// Five commits, with dropped transactions in between.
async fn write_some(db: Arc<Db>, writer: u32) {
    for round in 0..5 {
        let lost = db.begin("test").await.unwrap();
        let added = audit::add(&lost, NOW, "nobody", "lost", "x", &json!({})).await;
        // Entries follow from each other, so two transactions at once may be in each other's way.
        if let Err(error) = added {
            assert!(error.is_conflict(), "{error:?}");
        }
        drop(lost);
        loop {
            let tx = db.begin("test").await.unwrap();
            let added = audit::add(
                &tx,
                NOW,
                &writer.to_string(),
                "kept",
                &round.to_string(),
                &json!({}),
            )
            .await;
            match added {
                Ok(()) => match tx.commit().await {
                    Ok(()) => break,
                    Err(error) => assert!(error.is_conflict(), "{error:?}"),
                },
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
    }
}

#[test]
fn a_store_opens_again_with_everything() {
    on_every_backend(|db, url| async move {
        let tx = db.begin("test").await.unwrap();
        let kept = run::add(&tx, &a_run(), NOW).await.unwrap();
        tx.commit().await.unwrap();
        drop(db);
        let again = Db::open(&url).await.unwrap();
        let expected = if url.contains(":memory:") {
            vec![]
        } else {
            vec![kept]
        };
        assert_eq!(run::list(&again, 9).await.unwrap(), expected);
    });
}

#[tokio::test]
async fn what_is_no_store_is_told() {
    let folder = tempfile::TempDir::new().unwrap();
    let check = |url: String, expected: &'static str| async move {
        let error = Db::open(&url)
            .await
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(expected), "{url}: {error}");
    };
    check("mysql://ann:secret@host/db".to_owned(), "is no store").await;
    check(String::new(), "is no store").await;
    check(
        "postgres://ann:secret@127.0.0.1:1/db".to_owned(),
        "`postgres://ann@127.0.0.1:1/db` cannot be reached",
    )
    .await;
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database, however long it may be, and so it must be refused as one".repeat(20),
    )
    .unwrap();
    check(text.display().to_string(), "is damaged or no TinyOps store").await;
    let folder_itself = folder.path().display().to_string();
    check(folder_itself, "may not be read or written").await;
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("records.db");
    drop(Db::open(&path.display().to_string()).await.unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("INSERT INTO schema_version (version) VALUES (999)", [])
        .unwrap();
    drop(connection);
    let newer = Db::open(&path.display().to_string()).await.err();
    assert!(
        matches!(newer, Some(StoreError::Newer { found: 999, .. })),
        "{newer:?}"
    );
}

#[test]
fn a_lease_holds_until_it_runs_out_or_is_taken() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let mut run = run::add(&tx, &a_run(), NOW).await.unwrap();
        let end = NOW.plus_ms(60_000);
        assert_eq!(run.state_at(end), RunState::Waiting);
        assert_eq!(run.state_at(end.plus_ms(1)), RunState::Interrupted);
        run::renew(&tx, &run, end.plus_ms(1)).await.unwrap();
        let renewed = run::get(&tx, run.id).await.unwrap().unwrap();
        assert_eq!(renewed.state_at(end.plus_ms(1)), RunState::Waiting);
        assert_eq!(renewed.owner.as_deref(), Some("process 1"));
        let stale = run.clone();
        run.state = RunState::Done;
        run.lease_until = None;
        run::put(&tx, &mut run).await.unwrap();
        assert_eq!(run.state_at(end.plus_ms(1)), RunState::Done);
        let late = run::renew(&tx, &stale, end).await;
        assert!(
            matches!(late, Err(StoreError::Conflict { entity: "run", .. })),
            "{late:?}"
        );
    });
}

#[tokio::test]
async fn records_of_older_schemas_are_read() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("records.db");
    let old = include_str!("../../src/migrations/0001_first.sql")
        .replace("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!(
            "{old}
             CREATE TABLE schema_version (version BIGINT NOT NULL);
             INSERT INTO schema_version (version) VALUES (1);
             INSERT INTO runs (project, kind, settings, code, seed, state, detail, started_at, revision)
             VALUES ('fan', 'train', zeroblob(32), '0.1.0', 1, 'running', '{{}}', 5, 1);
             INSERT INTO rollouts (model, version, cohort, state, plan, reason, created_at, changed_at, revision)
             VALUES ('fan', 1, 'hall', 'done', '{{}}', '{{}}', 5, 5, 1), ('fan', 2, NULL, 'full', '{{}}', '{{}}', 5, 5, 1);
             INSERT INTO rollout_members (rollout_id, device, delivery, target, changed_at, detail)
             VALUES (1, 7, 'confirmed', 1, 5, '{{}}'), (2, 7, 'offered', 2, 5, '{{}}'), (1, 8, 'confirmed', 1, 5, '{{}}');
             INSERT INTO reports (device, seq, model_id, received_at, frame)
             VALUES (7, 2, 9, 6, x'02'), (8, 1, 9, 6, x'08'), (7, 1, 9, 5, x'01');"
        ))
        .unwrap();
    drop(connection);
    let db = Db::open(&path.display().to_string()).await.unwrap();
    let [run] = run::open_of(&db, "fan").await.unwrap().try_into().unwrap();
    assert_eq!(
        (run.state, run.state_at(NOW)),
        (RunState::Running, RunState::Interrupted)
    );
    assert_eq!((run.owner, run.lease_until), (None, None));
    let reports = report::of_device(&db, DeviceId(7), 9).await.unwrap();
    let told: Vec<_> = reports
        .into_iter()
        .map(|report| (report.seq, report.frame.into_owned()))
        .collect();
    assert_eq!(told, [(2, vec![2]), (1, vec![1])]);
    assert_eq!(report::count(&db).await.unwrap(), 3);
    // A rollout from before selectors is for its cohort; a device listens to its newest one alone.
    let [second, first] = rollout::list(&db, 9).await.unwrap().try_into().unwrap();
    assert_eq!(
        (first.selector.as_str(), first.state),
        ("cohort = \"hall\"", RolloutState::Done)
    );
    assert_eq!(
        (
            second.selector.as_str(),
            second.state,
            &second.progress["wave"]
        ),
        ("", RolloutState::Running, &serde_json::json!(1))
    );
    let target = |device: u64| {
        let db = db.clone();
        async move { rollout::target(&db, DeviceId(device)).await.unwrap() }
    };
    assert_eq!(target(7).await.unwrap().rollout, second.id);
    assert_eq!(target(8).await.unwrap().rollout, first.id);
}
