//! Runs, what asks for them, and when.

use serde_json::json;
use tinyops_store::repair;
use tinyops_store::run::{self, NewRun, RunState};
use tinyops_store::step::{self, Port, Step, StepState};
use tinyops_store::trigger::{self, NewTrigger, TriggerState};
use tinyops_store::{Digest, ModelId, Timestamp, schedule};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

#[test]
fn runs_steps_and_triggers() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let wish = NewTrigger {
            kind: "train".to_owned(),
            model: "fan".to_owned(),
            payload: None,
            detail: json!({}),
        };
        let trigger = trigger::add(&tx, &wish, NOW).await.unwrap();
        assert_eq!(trigger::take(&tx, "pump", NOW).await.unwrap(), None);
        assert_eq!(
            trigger::take(&tx, "fan", NOW).await.unwrap().unwrap().id,
            trigger.id
        );
        assert_eq!(trigger::take(&tx, "fan", NOW).await.unwrap(), None);
        let (once, is_new) = trigger::add_once(&tx, &wish, "k", NOW).await.unwrap();
        assert!(is_new);
        let again = trigger::add_once(&tx, &wish, "k", NOW.plus_ms(1)).await;
        assert_eq!(again.unwrap(), (once.clone(), false));
        let mut later = trigger::take(&tx, "fan", NOW).await.unwrap().unwrap();
        assert_eq!((later.id, later.tries), (once.id, 1));
        (later.state, later.not_before) = (TriggerState::Waiting, NOW.plus_ms(5));
        later.payload = Some(digest("another sum"));
        trigger::put(&tx, &mut later).await.unwrap();
        assert_eq!(
            trigger::take(&tx, "fan", NOW.plus_ms(4)).await.unwrap(),
            None
        );
        let mut later = trigger::take(&tx, "fan", NOW.plus_ms(5))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((later.id, later.tries), (once.id, 2));
        assert_eq!(later.payload, Some(digest("another sum")));
        later.state = TriggerState::Done;
        trigger::put(&tx, &mut later).await.unwrap();
        let new = NewRun {
            project: "fan".to_owned(),
            kind: "train".to_owned(),
            trigger: Some(trigger.id),
            settings: digest("toml"),
            code: "0.1.0".to_owned(),
            seed: u64::MAX,
            owner: "process 1".to_owned(),
            lease_until: NOW.plus_ms(60_000),
        };
        let mut run = run::add(&tx, &new, NOW).await.unwrap();
        assert_eq!((run.seed, run.state), (u64::MAX, RunState::Waiting));
        run.state = RunState::Running;
        run::put(&tx, &mut run).await.unwrap();
        let mut train = Step {
            run: run.id,
            index: 1,
            name: "train".to_owned(),
            state: StepState::Running,
            key: Some(digest("key")),
            inputs: vec![Port {
                name: "dataset".to_owned(),
                digest: digest("data"),
            }],
            outputs: vec![],
            seconds: 0.0,
            detail: json!(null),
            changed_at: NOW,
        };
        step::put(&tx, &train).await.unwrap();
        assert_eq!(
            step::cached(&tx, &digest("key")).await.unwrap(),
            None,
            "it is not done"
        );
        train.state = StepState::Done;
        train.outputs.push(Port {
            name: "model".to_owned(),
            digest: digest("model"),
        });
        train.seconds = 1.5;
        step::put(&tx, &train).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            step::cached(&db, &digest("key")).await.unwrap(),
            Some(train.clone())
        );
        assert_eq!(step::of_run(&db, run.id).await.unwrap(), [train]);
        assert_eq!(run::open_of(&db, "fan").await.unwrap(), [run.clone()]);
        assert_eq!(run::open_of(&db, "pump").await.unwrap(), []);
        assert_eq!(run::get(&db, run.id).await.unwrap(), Some(run.clone()));
        let answered = trigger::of_runs(&db, &[run.clone()]).await.unwrap();
        assert_eq!(answered.keys().collect::<Vec<_>>(), [&trigger.id]);
        assert!(trigger::of_runs(&db, &[]).await.unwrap().is_empty());
        assert_eq!(run::list(&db, 10).await.unwrap(), [run]);
        let found = trigger::get(&db, trigger.id).await.unwrap().unwrap();
        assert_eq!(found.state, TriggerState::Taken);
        assert_eq!(trigger::open(&db).await.unwrap().len(), 1);
    });
}

#[test]
fn a_schedule_is_answered_by_one_of_its_readers() {
    on_every_backend(|db, _| async move {
        assert_eq!(schedule::get(&db, "fan").await.unwrap(), None);
        let mut kept = schedule::Schedule {
            project: "fan".to_owned(),
            expression: "0 3 * * *".to_owned(),
            answered_to: NOW,
            revision: 0,
        };
        let mut late = kept.clone();
        for _ in 0..2 {
            let tx = db.begin("test").await.unwrap();
            schedule::put(&tx, &mut kept).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(schedule::get(&db, "fan").await.unwrap(), Some(kept.clone()));
            let tx = db.begin("test").await.unwrap();
            let refused = schedule::put(&tx, &mut late).await.unwrap_err();
            assert!(refused.is_conflict(), "{refused}");
            drop(tx);
            late = kept.clone();
            kept.answered_to = NOW.plus_ms(1);
        }
    });
}

#[test]
fn a_repair_is_carried_on_by_one_of_its_readers() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let state = json!({ "phase": "first" });
        let mut first = repair::add(&tx, "fan", ModelId(7), &state, NOW)
            .await
            .unwrap();
        let other = repair::add(&tx, "pump", ModelId(8), &state, NOW).await;
        let other = other.unwrap();
        tx.commit().await.unwrap();
        assert!(first.is_open && (first.name.as_str(), first.model) == ("fan", ModelId(7)));
        let open = repair::open(&db).await.unwrap();
        assert_eq!(open, [first.clone(), other.clone()]);
        let mut late = first.clone();
        first.is_open = false;
        first.state = json!({ "phase": "over" });
        first.changed_at = NOW.plus_ms(5);
        let tx = db.begin("test").await.unwrap();
        repair::put(&tx, &mut first).await.unwrap();
        tx.commit().await.unwrap();
        let tx = db.begin("test").await.unwrap();
        let refused = repair::put(&tx, &mut late).await.unwrap_err();
        assert!(refused.is_conflict(), "{refused}");
        drop(tx);
        assert_eq!(
            repair::get(&db, first.id).await.unwrap(),
            Some(first.clone())
        );
        assert_eq!(
            repair::open(&db).await.unwrap(),
            std::slice::from_ref(&other)
        );
        let since = async |at| repair::since(&db, "fan", at).await.unwrap();
        assert_eq!(since(NOW).await, [first.clone()]);
        assert_eq!(since(NOW.plus_ms(1)).await, []);
        assert_eq!(repair::list(&db, 9).await.unwrap(), [other, first]);
    });
}
