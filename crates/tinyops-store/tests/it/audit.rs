//! The audit log only grows, and shows it when somebody changed it past the store.

use serde_json::json;
use tinyops_store::access::{self, NewAccessToken, Role};
use tinyops_store::{Db, Digest, StoreError, Timestamp, audit};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

async fn add(db: &Db, count: i64) {
    for number in 0..count {
        let tx = db.begin("test").await.unwrap();
        let detail = json!({ "ü": number, "share": 0.1, "a": [null, true] });
        audit::add(
            &tx,
            NOW.plus_ms(number),
            "ann",
            "test.do",
            &number.to_string(),
            &detail,
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }
}

#[test]
fn entries_follow_from_each_other() {
    on_every_backend(|db, _| async move {
        let empty = audit::walk(&db).await.unwrap();
        assert_eq!(
            (empty.entry_count, empty.head, empty.broken_at),
            (0, None, None)
        );
        add(&db, 5).await;
        let chain = audit::walk(&db).await.unwrap();
        assert_eq!((chain.entry_count, chain.unchained_count), (5, 0));
        assert_eq!(chain.broken_at, None);
        let entries = audit::behind(&db, None, 9).await.unwrap();
        let last = entries.last().unwrap();
        assert_eq!(chain.head, Some((last.id, last.digest.unwrap())));
        assert_eq!(
            audit::behind(&db, Some(last.id - 1), 9)
                .await
                .unwrap()
                .len(),
            1
        );
        let mut digests: Vec<_> = entries.iter().map(|entry| entry.digest).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 5, "each covers more than the one before");
    });
}

/// The rule of `docs/guide/access.md`, computed anew from what an export holds.
#[test]
fn the_chain_is_as_the_guide_says() {
    on_every_backend(|db, _| async move {
        add(&db, 2).await;
        let mut before = [0; 32];
        for entry in audit::behind(&db, None, 9).await.unwrap() {
            let mut bytes = b"tinyops audit 1".to_vec();
            bytes.extend(before);
            bytes.extend(entry.at.0.to_le_bytes());
            let detail = entry.detail.to_string();
            for text in [&entry.actor, &entry.action, &entry.subject, &detail] {
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            let digest = Digest::of(&bytes);
            assert_eq!(entry.digest, Some(digest));
            before = digest.0;
        }
    });
}

/// Statements as somebody with the database's own tools would send them.
async fn tamper(url: &str, statement: &str) -> Result<(), String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let connection = rusqlite::Connection::open(path).map_err(|error| error.to_string())?;
        return connection
            .execute_batch(statement)
            .map_err(|error| error.to_string());
    }
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let done = client.batch_execute(statement).await;
    done.map_err(|error| {
        error
            .as_db_error()
            .map_or(String::new(), |e| e.message().to_owned())
    })
}

#[test]
fn the_engines_refuse_to_change_or_remove_an_entry() {
    on_every_backend(|db, url| async move {
        if url.contains(":memory:") {
            return;
        }
        add(&db, 3).await;
        let statements = [
            "UPDATE audit SET actor = 'eve' WHERE id = 2",
            "DELETE FROM audit WHERE id = 2",
            "DELETE FROM audit",
            match url.starts_with("sqlite") {
                true => {
                    "INSERT OR REPLACE INTO audit (id, at, actor, action, subject, detail)
                     VALUES (2, 0, 'eve', '', '', 'null')"
                }
                false => "TRUNCATE audit",
            },
        ];
        for statement in statements {
            let refused = tamper(&url, statement).await.unwrap_err();
            assert!(refused.contains("append-only"), "{statement}: {refused}");
        }
        assert_eq!(audit::walk(&db).await.unwrap().entry_count, 3);
    });
}

#[test]
fn what_was_changed_past_the_store_shows() {
    on_every_backend(|db, url| async move {
        if url.contains(":memory:") {
            return;
        }
        add(&db, 4).await;
        let head = audit::walk(&db).await.unwrap().head.unwrap();
        let unlock = match url.starts_with("sqlite") {
            true => "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;",
            false => "ALTER TABLE audit DISABLE TRIGGER USER;",
        };
        tamper(&url, unlock).await.unwrap();
        let cases = [
            (
                "UPDATE audit SET actor = 'eve' WHERE id = 2",
                "UPDATE audit SET actor = 'ann' WHERE id = 2",
            ),
            ("UPDATE audit SET digest = NULL WHERE id = 2", ""),
        ];
        for (change, undo) in cases {
            tamper(&url, change).await.unwrap();
            let broken = audit::walk(&db).await.unwrap();
            assert_eq!(
                (broken.broken_at, broken.entry_count),
                (Some(2), 1),
                "{change}"
            );
            tamper(&url, undo).await.unwrap();
        }
        tamper(&url, "DELETE FROM audit WHERE id = 2")
            .await
            .unwrap();
        assert_eq!(audit::walk(&db).await.unwrap().broken_at, Some(3));
        // Cutting the end leaves a log that holds together: only a head that was noted elsewhere tells.
        tamper(&url, "DELETE FROM audit WHERE id > 1")
            .await
            .unwrap();
        let cut = audit::walk(&db).await.unwrap();
        assert_eq!(cut.broken_at, None);
        assert_ne!(cut.head, Some(head));
    });
}

/// A log of before there was a chain is covered by the first entry that is chained.
#[test]
fn old_entries_are_covered_by_the_first_new_one() {
    on_every_backend(|db, url| async move {
        if url.contains(":memory:") {
            return;
        }
        let old = "INSERT INTO audit (at, actor, action, subject, detail)
                   VALUES (1, 'old', 'a', 'b', 'null'), (2, 'old', 'c', 'd', '{\"x\": 1}')";
        tamper(&url, old).await.unwrap();
        add(&db, 2).await;
        let chain = audit::walk(&db).await.unwrap();
        assert_eq!(
            (chain.entry_count, chain.unchained_count, chain.broken_at),
            (4, 2, None)
        );
        let unlock = match url.starts_with("sqlite") {
            true => "DROP TRIGGER audit_no_update;",
            false => "ALTER TABLE audit DISABLE TRIGGER USER;",
        };
        tamper(&url, unlock).await.unwrap();
        tamper(&url, "UPDATE audit SET actor = 'eve' WHERE at = 2")
            .await
            .unwrap();
        let broken = audit::walk(&db).await.unwrap();
        assert_eq!((broken.broken_at, broken.entry_count), (Some(3), 2));
    });
}

#[test]
fn access_tokens() {
    on_every_backend(|db, _| async move {
        let new = NewAccessToken {
            name: "ana-laptop".into(),
            role: Role::Operator,
            digest: Digest::of(b"token"),
            created_by: "admin".into(),
            expires_at: Some(NOW.plus_ms(9)),
        };
        let tx = db.begin("test").await.unwrap();
        let made = access::add(&tx, &new, NOW).await.unwrap();
        let again = access::add(&tx, &new, NOW).await.unwrap_err();
        assert!(matches!(again, StoreError::Exists { .. }), "{again:?}");
        tx.commit().await.unwrap();
        assert_eq!(
            access::get(&db, &new.digest).await.unwrap(),
            Some(made.clone())
        );
        assert_eq!(access::get(&db, &Digest::of(b"other")).await.unwrap(), None);
        let tx = db.begin("test").await.unwrap();
        access::revoke(&tx, made.id, NOW).await.unwrap();
        let again = access::revoke(&tx, made.id, NOW.plus_ms(1))
            .await
            .unwrap_err();
        assert!(again.is_conflict());
        tx.commit().await.unwrap();
        let listed = access::list(&db).await.unwrap();
        assert_eq!(listed[0].revoked_at, Some(NOW));
        assert_eq!(
            access::named(&db, "ana-laptop").await.unwrap().as_ref(),
            listed.first()
        );
    });
}

/// The chain makes one row of them all: over PostgreSQL, too, they wait for each other. A conflict is left for the
/// moment in which the one before lets go and is not yet forgotten; it is tried again, as everywhere.
#[test]
fn many_audited_transactions_at_once_all_succeed_and_keep_one_chain() {
    async fn write(db: &Db, writer: i64, turn: i64) -> Result<(), StoreError> {
        let tx = db.begin_audited("test").await?;
        // What it does depends on what it reads, as everywhere.
        let seen = audit::about(&tx, "row", 1000).await?.len();
        let detail = json!({ "writer": writer, "turn": turn, "seen": seen });
        audit::add(&tx, NOW, "test", "row.count", "row", &detail).await?;
        tx.commit().await
    }
    on_every_backend(|db, url| async move {
        let tasks: Vec<_> = (0..12)
            .map(|writer| {
                let db = db.clone();
                tokio::spawn(async move {
                    let mut conflicts = 0;
                    for turn in 0..5 {
                        while let Err(error) = write(&db, writer, turn).await {
                            assert!(error.is_conflict(), "{error:?}");
                            conflicts += 1;
                        }
                    }
                    conflicts
                })
            })
            .collect();
        let mut conflicts = 0;
        for task in tasks {
            conflicts += task.await.unwrap();
        }
        // Without waiting, most of the sixty end in one.
        assert!(conflicts <= 15, "{conflicts} conflicts: {url}");
        let chain = audit::walk(&db).await.unwrap();
        assert_eq!((chain.entry_count, chain.broken_at), (60, None), "{url}");
        let mut entries = audit::behind(&db, None, 100).await.unwrap();
        entries.sort_by_key(|entry| entry.id);
        let seen = entries.iter().map(|entry| entry.detail["seen"].as_u64());
        assert!(seen.eq((0..60).map(Some)), "one after the other: {url}");
    });
}
