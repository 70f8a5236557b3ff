//! Experiments and the registry: the same over every engine.

use tinyops_store::model::{self, NewModel};
use tinyops_store::tracking::experiment::{self, ExperimentId};
use tinyops_store::tracking::file::{self, TrackedFile};
use tinyops_store::tracking::metric::{self, Point, Sample};
use tinyops_store::tracking::registry::{self, AliasChange, NewVersion, VersionStage};
use tinyops_store::tracking::run::{self, NewTrackedRun, Status};
use tinyops_store::tracking::search::{Comparison, Condition, Field, Order, Search, Test};
use tinyops_store::tracking::{Lifecycle, Pair};
use tinyops_store::{Db, Digest, StoreError, Timestamp};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn pair(key: &str, value: &str) -> Pair {
    Pair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn sample(key: &str, at: i64, step: i64, value: f64) -> Sample {
    Sample {
        key: key.to_owned(),
        point: Point { at, step, value },
    }
}

async fn new_run(db: &Db, id: &str, value: f64) -> run::TrackedRun {
    let tx = db.begin("test").await.unwrap();
    let new = NewTrackedRun {
        id: id.to_owned(),
        experiment: ExperimentId(0),
        name: format!("run {id}"),
        user: "ana".to_owned(),
        status: Status::Running,
        started_at: NOW,
    };
    let made = run::add(&tx, &new).await.unwrap();
    let twice = run::add(&tx, &new).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })));
    run::add_params(
        &tx,
        made.row,
        &[pair("arch", id), pair("long", &"x".repeat(6000))],
    )
    .await
    .unwrap();
    metric::add(&tx, made.row, &[sample("acc", 1, 0, value)])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made
}

fn search(conditions: Vec<Condition>, order: Vec<Order>) -> Search {
    Search {
        conditions,
        order,
        offset: 0,
        limit: 100,
    }
}

fn where_(field: Field, test: Test) -> Condition {
    Condition { field, test }
}

#[test]
fn the_newest_point_is_that_of_the_greatest_step() {
    on_every_backend(|db, _| async move {
        let made = new_run(&db, "a", 0.5).await;
        let batches = [
            vec![
                sample("acc", 9, 3, 0.7),
                sample("acc", 8, 3, 0.9),
                sample("odd", 1, 0, f64::NAN),
            ],
            vec![sample("acc", 99, 2, 1.0), sample("acc", 9, 3, 0.6)],
            vec![sample("acc", 9, 3, 0.7), sample("odd", 1, 0, 2.0)],
        ];
        for batch in &batches {
            let tx = db.begin("test").await.unwrap();
            metric::add(&tx, made.row, batch).await.unwrap();
            tx.commit().await.unwrap();
        }
        let data = run::data_of(&db, std::slice::from_ref(&made))
            .await
            .unwrap();
        let newest = &data[0].metrics;
        assert_eq!(newest[0], sample("acc", 9, 3, 0.7));
        assert_eq!(
            newest[1],
            sample("odd", 1, 0, 2.0),
            "any number is more than none"
        );
        let history = metric::history(&db, made.row, "acc").await.unwrap();
        let points: Vec<(i64, i64, f64)> =
            history.iter().map(|p| (p.at, p.step, p.value)).collect();
        let wanted = [
            (1, 0, 0.5),
            (8, 3, 0.9),
            (9, 3, 0.6),
            (9, 3, 0.7),
            (99, 2, 1.0),
        ];
        assert_eq!(points, wanted, "by time, each once");
        assert!(
            metric::history(&db, made.row, "none")
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn searches_find_the_same_in_every_engine() {
    on_every_backend(|db, _| async move {
        for (id, value) in [("a", 0.9), ("B", 0.7), ("c_d", f64::NAN)] {
            new_run(&db, id, value).await;
        }
        let db = &db;
        let ids = async |conditions: Vec<Condition>, order: Vec<Order>| -> Vec<String> {
            let found = run::search(db, &search(conditions, order)).await.unwrap();
            found.into_iter().map(|run| run.id).collect()
        };
        let acc = || Field::Metric("acc".to_owned());
        let by = |field: Field, descending| vec![Order { field, descending }];
        assert_eq!(ids(vec![], by(acc(), true)).await, ["a", "B", "c_d"]);
        assert_eq!(
            ids(vec![], by(acc(), false)).await,
            ["B", "a", "c_d"],
            "what has none is last"
        );
        let above = where_(acc(), Test::Number(Comparison::AtLeast, 0.7));
        assert_eq!(ids(vec![above], by(acc(), false)).await, ["B", "a"]);
        let arch = || Field::Param("arch".to_owned());
        let like = |pattern: &str, ignore_case| Test::Like {
            pattern: pattern.to_owned(),
            ignore_case,
        };
        assert_eq!(
            ids(vec![where_(arch(), like("b", false))], vec![]).await,
            [""; 0]
        );
        assert_eq!(
            ids(vec![where_(arch(), like("b", true))], vec![]).await,
            ["B"]
        );
        assert_eq!(
            ids(vec![where_(arch(), like("c%d", false))], vec![]).await,
            ["c_d"]
        );
        assert_eq!(
            ids(vec![where_(arch(), like("c\\_d", false))], vec![]).await,
            [""; 0],
            "a backslash is one"
        );
        let long = where_(
            Field::Param("long".to_owned()),
            Test::Text(Comparison::Equal, "x".repeat(6000)),
        );
        assert_eq!(ids(vec![long], vec![]).await.len(), 3);
        let absent = where_(Field::Tag("none".to_owned()), Test::Absent);
        assert_eq!(ids(vec![absent], vec![]).await.len(), 3);
        let in_ = |negated| Test::In {
            list: vec!["a".to_owned(), "B".to_owned()],
            negated,
        };
        assert_eq!(
            ids(vec![where_(Field::Text("run_id"), in_(true))], vec![]).await,
            ["c_d"]
        );
        let none = Test::In {
            list: vec![],
            negated: false,
        };
        assert_eq!(
            ids(vec![where_(Field::Text("run_id"), none)], vec![]).await,
            [""; 0]
        );
        let started = |comparison, number| {
            where_(
                Field::Number("started_at"),
                Test::Number(comparison, number),
            )
        };
        let now = NOW.0 as f64;
        assert_eq!(
            ids(vec![started(Comparison::Greater, now - 0.5)], vec![])
                .await
                .len(),
            3
        );
        assert_eq!(
            ids(vec![started(Comparison::Greater, now)], vec![])
                .await
                .len(),
            0
        );
        assert_eq!(
            ids(vec![started(Comparison::Less, 1e300)], vec![])
                .await
                .len(),
            3
        );
        let hostile = where_(
            Field::Tag("'; DROP TABLE tracked_runs; --".to_owned()),
            Test::Text(Comparison::Equal, "$1".to_owned()),
        );
        assert_eq!(ids(vec![hostile], vec![]).await.len(), 0);
    });
}

#[test]
fn versions_of_any_origin_have_one_row_of_numbers() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let own = NewModel {
            name: "fan".to_owned(),
            project: "fan".to_owned(),
            digest: Digest([1; 32]),
            run: None,
            parent: None,
            metrics: tinyops_store::Json::Null,
        };
        let handed = NewVersion {
            name: "fan".to_owned(),
            source: "mlflow-artifacts:/0/a/artifacts".to_owned(),
            ..NewVersion::default()
        };
        assert_eq!(model::add(&tx, &own, NOW).await.unwrap().version, 1);
        let mut second = registry::add_version(&tx, &handed, NOW).await.unwrap();
        assert_eq!((second.version, second.is_own), (2, false));
        assert_eq!(model::add(&tx, &own, NOW).await.unwrap().version, 3);
        registry::tag_version(&tx, &second, &[pair("checked", "yes")])
            .await
            .unwrap();
        registry::describe_version(&tx, &second, "by hand", NOW)
            .await
            .unwrap();
        second.stage = VersionStage::Staging;
        registry::put_version(&tx, &second).await.unwrap();
        for version in [Some(2), None, Some(3)] {
            let change = AliasChange {
                name: "fan".to_owned(),
                alias: "champion".to_owned(),
                version,
                actor: "ana".to_owned(),
                at: NOW,
            };
            registry::set_alias(&tx, &change).await.unwrap();
        }
        tx.commit().await.unwrap();
        let versions = registry::versions_of(&db, "fan").await.unwrap();
        let origins: Vec<bool> = versions.iter().map(|version| version.is_own).collect();
        assert_eq!(origins, [true, false, true]);
        assert_eq!(versions[1].stage, VersionStage::Staging);
        assert_eq!(versions[0].source, "mlflow-artifacts:/tinyops/fan/1");
        assert_eq!(
            model::aliases(&db, "fan").await.unwrap(),
            [("champion".to_owned(), 3)]
        );
        let history = registry::alias_history(&db, "fan").await.unwrap();
        let pointed: Vec<Option<u32>> = history.iter().map(|change| change.version).collect();
        assert_eq!(pointed, [Some(2), None, Some(3)]);
        let ids = [second.id.clone()];
        assert_eq!(
            registry::version_tags(&db, &ids).await.unwrap()[&second.id],
            [pair("checked", "yes")]
        );
        let tx = db.begin("test").await.unwrap();
        registry::remove_version(&tx, &second).await.unwrap();
        assert_eq!(
            registry::add_version(&tx, &handed, NOW)
                .await
                .unwrap()
                .version,
            4,
            "2 is not given again"
        );
        tx.commit().await.unwrap();
        assert!(registry::version_tags(&db, &ids).await.unwrap().is_empty());
    });
}

#[test]
fn experiments_and_their_files() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        experiment::add(&tx, "kws", "", NOW).await.unwrap();
        let twice = experiment::add(&tx, "kws", "", NOW).await;
        assert!(matches!(twice, Err(StoreError::Exists { .. })));
        drop(tx);
        let tx = db.begin("test").await.unwrap();
        let mut made = experiment::add(&tx, "kws", "", NOW).await.unwrap();
        experiment::tag(&tx, made.id, &[pair("board", "esp-eye")])
            .await
            .unwrap();
        made.lifecycle = Lifecycle::Deleted;
        experiment::put(&tx, &made).await.unwrap();
        for path in ["1/a", "1/a/b", "1/a0", "1/ab", "2/a"] {
            let file = TrackedFile {
                path: path.to_owned(),
                digest: Digest([2; 32]),
                bytes: 3,
                changed_at: NOW,
            };
            file::put(&tx, &file).await.unwrap();
        }
        tx.commit().await.unwrap();
        let usual = experiment::get(&db, ExperimentId(0))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(usual.name, "Default");
        assert_eq!(experiment::named(&db, "kws").await.unwrap(), Some(made));
        let paths = async |folder| {
            let found = file::below(&db, folder).await.unwrap();
            found.into_iter().map(|file| file.path).collect::<Vec<_>>()
        };
        assert_eq!(paths("1").await, ["1/a", "1/a/b", "1/a0", "1/ab"]);
        assert_eq!(paths("1/a").await, ["1/a/b"]);
        assert_eq!(paths("").await.len(), 5);
        let tx = db.begin("test").await.unwrap();
        assert_eq!(file::remove(&tx, "1/a").await.unwrap(), 2);
        tx.commit().await.unwrap();
        assert_eq!(paths("1").await, ["1/a0", "1/ab"]);
    });
}
