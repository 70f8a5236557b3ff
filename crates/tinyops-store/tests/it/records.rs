//! Each table keeps what it is given.

use serde_json::json;
use tinyops_store::alert::{self, AlertKind, AlertState, NewAlert};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::device::{self, Device, DevicePage, DeviceState};
use tinyops_store::drift::{self, DriftPoint, DriftState, Scope};
use tinyops_store::lineage::{self, Edge};
use tinyops_store::masked_update::{self, MaskedUpdate};
use tinyops_store::model::{self, NewModel, Stage};
use tinyops_store::outcome::{self, Outcome};
use tinyops_store::presence::{self, Presence};
use tinyops_store::report::{self, Report};
use tinyops_store::rollout::{self, Delivery, Member, NewRollout, RolloutState};
use tinyops_store::round::{self, Contribution, NewRound, RoundState};
use tinyops_store::withdrawal::{self, Withdrawal};
use tinyops_store::{
    Db, DeviceId, DeviceKey, Digest, ModelId, StoreError, Timestamp, audit, dataset, downlink,
    intake_log, project,
};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn device_of(id: u64) -> Device {
    Device {
        id: DeviceId(id),
        key: DeviceKey([id as u8; 32]),
        board: "esp-eye".to_owned(),
        cohort: "hall-1".to_owned(),
        tags: vec!["roof".to_owned(), "südlich".to_owned()],
        state: DeviceState::Active,
        enrolled_at: NOW,
        revision: 0,
    }
}

async fn add_devices(db: &Db, ids: &[u64]) {
    let tx = db.begin("test").await.unwrap();
    for id in ids {
        device::add(&tx, &device_of(*id)).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[test]
fn projects_and_datasets() {
    on_every_backend(|db, _| async move {
        let mut fan = project::Project {
            name: "fan".to_owned(),
            settings: digest("1"),
            detail: json!({"goal": "ü"}),
            created_at: NOW,
        };
        let data = dataset::Dataset {
            digest: digest("manifest"),
            project: "fan".to_owned(),
            sample_count: 7,
            detail: json!([1, 2]),
            created_at: NOW,
        };
        let tx = db.begin("test").await.unwrap();
        project::put(&tx, &fan).await.unwrap();
        fan.settings = digest("2");
        project::put(&tx, &fan).await.unwrap();
        dataset::put(&tx, &data).await.unwrap();
        dataset::put(&tx, &data).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(project::get(&db, "fan").await.unwrap(), Some(fan.clone()));
        assert_eq!(project::list(&db).await.unwrap(), [fan]);
        assert_eq!(
            dataset::get(&db, &data.digest).await.unwrap(),
            Some(data.clone())
        );
        assert_eq!(dataset::list(&db, "fan").await.unwrap(), [data]);
    });
}

#[test]
fn models_capsules_and_lineage() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let new = NewModel {
            name: "fan".to_owned(),
            project: "fan".to_owned(),
            digest: digest("model"),
            run: None,
            parent: None,
            metrics: json!({"accuracy": 0.5}),
        };
        let mut first = model::add(&tx, &new, NOW).await.unwrap();
        let second = model::add(
            &tx,
            &NewModel {
                parent: Some(1),
                ..new
            },
            NOW,
        )
        .await
        .unwrap();
        assert_eq!((first.version, second.version), (1, 2));
        first.stage = Stage::Production;
        model::put(&tx, &mut first).await.unwrap();
        model::put_alias(&tx, "fan", "champion", 2).await.unwrap();
        model::put_alias(&tx, "fan", "champion", 1).await.unwrap();
        let mut capsule = Capsule {
            manifest_digest: digest("manifest"),
            id: ModelId(u32::MAX),
            model: "fan".to_owned(),
            version: 1,
            board: "esp-eye".to_owned(),
            digest: digest("capsule"),
            bytes: 9,
            payload: digest("payload"),
            sequence: 1,
            baseline: vec![0, 255],
            detail: json!({"labels": ["ok", "worn"]}),
            created_at: NOW,
        };
        assert_eq!(capsule::last_sequence(&tx, "esp-eye").await.unwrap(), 0);
        capsule::add(&tx, &capsule).await.unwrap();
        let same = capsule::add(&tx, &capsule).await;
        assert!(matches!(same, Err(StoreError::Exists { .. })), "{same:?}");
        let edge = |from: &str, to: &str| Edge {
            from: digest(from),
            to: digest(to),
            kind: "train".to_owned(),
            run: None,
        };
        lineage::add(
            &tx,
            &[
                edge("wav", "data"),
                edge("data", "model"),
                edge("model", "payload"),
            ],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(capsule::last_sequence(&db, "esp-eye").await.unwrap(), 1);
        assert_eq!(
            capsule::get(&db, capsule.id).await.unwrap(),
            Some(capsule.clone())
        );
        assert_eq!(
            capsule::for_board(&db, "fan", 1, "esp-eye").await.unwrap(),
            Some(capsule.clone())
        );
        assert_eq!(
            capsule::by_payload(&db, &capsule.payload).await.unwrap(),
            Some(capsule.clone())
        );
        assert_eq!(capsule::of_model(&db, "fan").await.unwrap().len(), 1);
        assert_eq!(
            model::by_alias(&db, "fan", "champion").await.unwrap(),
            Some(first.clone())
        );
        assert_eq!(
            model::aliases(&db, "fan").await.unwrap(),
            [("champion".to_owned(), 1)]
        );
        assert_eq!(
            model::in_stage(&db, "fan", Stage::Production)
                .await
                .unwrap(),
            Some(first.clone())
        );
        assert_eq!(
            model::latest(&db, "fan").await.unwrap(),
            Some(second.clone())
        );
        assert_eq!(
            model::by_digest(&db, &digest("model")).await.unwrap().len(),
            2
        );
        assert_eq!(model::list(&db).await.unwrap(), [second, first]);
        let back: Vec<Digest> = lineage::ancestors(&db, &digest("payload"))
            .await
            .unwrap()
            .iter()
            .map(|e| e.from)
            .collect();
        assert_eq!(back, [digest("model"), digest("data"), digest("wav")]);
        assert_eq!(
            lineage::descendants(&db, &digest("wav"))
                .await
                .unwrap()
                .len(),
            3
        );
        capsule.sequence = 2;
    });
}

#[test]
fn devices_that_were_revoked_are_found() {
    on_every_backend(|db, _| async move {
        add_devices(&db, &[1, u64::MAX, 3]).await;
        assert_eq!(device::revoked(&db).await.unwrap(), []);
        let before = device::fingerprint(&db).await.unwrap();
        let tx = db.begin("test").await.unwrap();
        let mut lost = device::get(&tx, DeviceId(u64::MAX)).await.unwrap().unwrap();
        lost.state = DeviceState::Revoked;
        device::put(&tx, &mut lost).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(device::revoked(&db).await.unwrap(), [lost.id]);
        assert_ne!(device::fingerprint(&db).await.unwrap(), before);
    });
}

#[test]
fn devices_and_what_they_tell() {
    on_every_backend(|db, _| async move {
        add_devices(&db, &[1, u64::MAX, 3]).await;
        let tx = db.begin("test").await.unwrap();
        let again = device::add(&tx, &device_of(1)).await;
        assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
        let mut moved = device::get(&tx, DeviceId(3)).await.unwrap().unwrap();
        moved.cohort = "hall-2".to_owned();
        device::put(&tx, &mut moved).await.unwrap();
        let spoke = Presence {
            device: DeviceId(u64::MAX),
            model: Some(ModelId(7)),
            last_seq: Some(u32::MAX),
            last_seen: Some(NOW),
            report_count: 1,
            byte_count: 51,
            missing_count: 2,
            duplicate_count: 3,
            malformed_count: 4,
        };
        presence::put_many(&tx, &[spoke.clone(), spoke.clone()])
            .await
            .unwrap();
        let both = presence::get_many(&tx, &[DeviceId(1), DeviceId(u64::MAX)])
            .await
            .unwrap();
        assert_eq!(
            both,
            [
                Presence {
                    device: DeviceId(1),
                    ..Presence::default()
                },
                spoke.clone()
            ]
        );
        let told = |seq: u32| Report {
            device: DeviceId(u64::MAX),
            seq,
            model: ModelId(7),
            received_at: NOW,
            frame: vec![1, 2, 3].into(),
        };
        let is_new = report::add_many(&tx, &[told(1), told(2), told(1)])
            .await
            .unwrap();
        assert_eq!(is_new, [true, true, false]);
        assert_eq!(
            downlink::reserve_many(&tx, &[(DeviceId(1), 3), (DeviceId(1), 2)])
                .await
                .unwrap(),
            [1, 4]
        );
        tx.commit().await.unwrap();
        assert_eq!(device::count(&db).await.unwrap(), 3);
        assert_eq!(
            device::cohorts(&db).await.unwrap(),
            [("hall-1".to_owned(), 2), ("hall-2".to_owned(), 1)]
        );
        assert_eq!(device::in_cohort(&db, "hall-2").await.unwrap(), [moved]);
        let first = device::list(&db, None, 2).await.unwrap();
        let rest = device::list(&db, Some(DevicePage::after(&first[1])), 2)
            .await
            .unwrap();
        assert_eq!((first.len(), rest.len()), (2, 1));
        assert_eq!(
            presence::get(&db, DeviceId(u64::MAX)).await.unwrap(),
            Some(spoke)
        );
        assert_eq!(
            presence::by_model(&db)
                .await
                .unwrap()
                .iter()
                .map(|(_, count)| count)
                .sum::<i64>(),
            3
        );
        assert_eq!(
            presence::running(&db, ModelId(7)).await.unwrap(),
            [(DeviceId(u64::MAX), "hall-1".to_owned())]
        );
        assert_eq!(
            report::of_device(&db, DeviceId(u64::MAX), 9).await.unwrap(),
            [told(2), told(1)]
        );
        assert_eq!(
            report::get(&db, DeviceId(u64::MAX), 2).await.unwrap(),
            Some(told(2))
        );
        assert_eq!(report::count(&db).await.unwrap(), 2);
    });
}

#[test]
fn a_group_of_the_intake_log_goes_once() {
    on_every_backend(|db, url| async move {
        let tx = db.begin("test").await.unwrap();
        let first = intake_log::append(&tx, NOW, b"one").await.unwrap();
        let second = intake_log::append(&tx, NOW, b"two").await.unwrap();
        tx.commit().await.unwrap();
        let tx = db.begin("test").await.unwrap();
        let gone = intake_log::remove_many(&tx, &[first, second, first]).await;
        assert_eq!(gone.unwrap(), [true, true, false]);
        drop(tx);
        let waiting = intake_log::list(&db).await.unwrap();
        let entries: Vec<&[u8]> = waiting.iter().map(|group| &group.entries[..]).collect();
        assert_eq!(
            entries,
            [b"one", b"two"],
            "{url}: what is not committed is not gone"
        );
        let tx = db.begin("test").await.unwrap();
        let gone = intake_log::remove_many(&tx, &[first, second]).await;
        assert_eq!(gone.unwrap(), [true, true]);
        tx.commit().await.unwrap();
        let tx = db.begin("test").await.unwrap();
        let third = intake_log::append(&tx, NOW, b"three").await.unwrap();
        assert!(third > second, "a number is never given twice");
    });
}

#[test]
fn detectors_alerts_and_outcomes() {
    on_every_backend(|db, _| async move {
        add_devices(&db, &[1]).await;
        let scope = Scope::Device(DeviceId(1));
        let state = |model: u32, score: f64| DriftState {
            scope: scope.clone(),
            model: ModelId(model),
            state: vec![1, 2],
            score,
            alarmed: score >= 1.0,
            updated_at: NOW,
        };
        let cohort = DriftState {
            scope: Scope::Cohort("hall-1@00000007".to_owned()),
            ..state(7, 0.1)
        };
        let tx = db.begin("test").await.unwrap();
        drift::put_many(
            &tx,
            &[state(7, 0.5), state(8, 1.5), cohort.clone(), state(7, 2.5)],
        )
        .await
        .unwrap();
        let found = drift::get_many(
            &tx,
            &[(scope.clone(), ModelId(8)), (scope.clone(), ModelId(9))],
        )
        .await
        .unwrap();
        assert_eq!(found, [Some(state(8, 1.5)), None]);
        let of_seven = [(scope.clone(), ModelId(7))];
        drift::forget_others(&tx, &of_seven).await.unwrap();
        let point = DriftPoint {
            scope: scope.clone(),
            model: ModelId(7),
            at: NOW,
            score: 2.5,
            detail: json!({"classes": 0.1}),
        };
        drift::add_points(&tx, std::slice::from_ref(&point))
            .await
            .unwrap();
        let new = NewAlert {
            scope: scope.clone(),
            model: ModelId(7),
            kind: AlertKind::Drift,
            advice: "retrain".to_owned(),
            detail: json!({}),
        };
        let errs = NewAlert {
            kind: AlertKind::ConceptDrift,
            ..new.clone()
        };
        let mut raised = alert::raise(&tx, &new, NOW).await.unwrap().unwrap();
        assert_eq!(
            alert::raise(&tx, &new, NOW).await.unwrap(),
            None,
            "one stands"
        );
        let mut beside = alert::raise(&tx, &errs, NOW).await.unwrap().unwrap();
        assert_eq!(
            alert::standing_of(&tx, &scope, ModelId(7), AlertKind::ConceptDrift)
                .await
                .unwrap(),
            Some(beside.clone()),
            "another kind stands beside it"
        );
        let was = beside.clone();
        beside.muted_until = Some(NOW);
        beside.reason = "maintenance".to_owned();
        alert::put(&tx, &mut beside).await.unwrap();
        let stale = alert::put(&tx, &mut was.clone()).await;
        assert!(matches!(stale, Err(StoreError::Conflict { .. })));
        let kept = alert::get(&tx, beside.id).await.unwrap().unwrap();
        assert_eq!(kept, beside);
        assert!(kept.is_muted(NOW.plus_ms(-1)) && !kept.is_muted(NOW));
        raised.state = AlertState::Resolved;
        alert::put(&tx, &mut raised).await.unwrap();
        let again = alert::raise(&tx, &new, NOW).await.unwrap().unwrap();
        let of_eight = [(scope.clone(), ModelId(8))];
        let over = alert::resolve_others(&tx, &of_eight, "fleet", NOW)
            .await
            .unwrap();
        assert_eq!(over.len(), 2);
        assert!(alert::standing(&tx).await.unwrap().is_empty());
        let again = alert::Alert {
            revision: again.revision,
            ..alert::raise(&tx, &new, NOW).await.unwrap().unwrap()
        };
        let judged = |seq: u32, predicted: u32, count: i64| Outcome {
            device: DeviceId(1),
            seq,
            model: ModelId(7),
            predicted,
            actual: 1,
            window_count: count,
            at: NOW,
        };
        outcome::add_many(&tx, &[judged(1, 0, 2), judged(1, 1, 8), judged(1, 1, 99)])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(drift::of_scope(&db, &scope).await.unwrap(), [state(7, 2.5)]);
        assert_eq!(drift::get(&db, &scope).await.unwrap(), Some(state(7, 2.5)));
        assert_eq!(
            drift::in_cohort(&db, "hall-1", ModelId(7)).await.unwrap(),
            [state(7, 2.5)]
        );
        assert_eq!(drift::of_cohorts(&db).await.unwrap(), [cohort]);
        assert_eq!(drift::history(&db, &scope, NOW, 5).await.unwrap(), [point]);
        assert_eq!(alert::standing(&db).await.unwrap(), [again]);
        assert_eq!(alert::list(&db, 5).await.unwrap().len(), 4);
        let tally = outcome::tally(&db, NOW).await.unwrap();
        assert_eq!(
            tally
                .iter()
                .map(|t| (t.predicted, t.window_count))
                .collect::<Vec<_>>(),
            [(0, 2), (1, 8)]
        );
        let spans = outcome::over_time(&db, NOW, 1_000).await.unwrap();
        assert_eq!(
            spans
                .iter()
                .map(|s| (s.begin, s.right, s.judged))
                .collect::<Vec<_>>(),
            [(NOW, 8, 10)]
        );
        assert_eq!(
            outcome::by_device(&db, NOW).await.unwrap(),
            [(DeviceId(1), ModelId(7), 8, 10)]
        );
        let of_model = async |model, since| outcome::judged(&db, model, since).await.unwrap();
        assert_eq!(of_model(ModelId(7), NOW).await, (8, 10));
        assert_eq!(of_model(ModelId(7), NOW.plus_ms(1)).await, (0, 0));
        assert_eq!(of_model(ModelId(8), NOW).await, (0, 0));
        assert_eq!(outcome::list(&db, 9).await.unwrap().len(), 2);
    });
}

#[test]
fn rounds_whose_contributions_are_kept() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let asked = NewRound {
            model: ModelId(7),
            cohort: None,
            device_count_min: 2,
            gather_at: NOW,
            deadline: NOW,
            detail: json!({}),
        };
        let mut first = round::add(&tx, &asked, NOW).await.unwrap();
        assert_eq!((first.kept_until, first.is_stale), (None, false));
        for (device, whole) in [(1, true), (2, false), (3, false)] {
            let part = Contribution {
                round: first.id,
                device: DeviceId(device),
                bytes: vec![1],
                whole,
            };
            round::put_contribution(&tx, &part).await.unwrap();
        }
        assert_eq!(
            round::owing(&tx, first.id).await.unwrap(),
            [DeviceId(2), DeviceId(3)]
        );
        for (device, expected) in [(3, true), (3, false)] {
            let gone = round::forget_contribution(&tx, first.id, DeviceId(device)).await;
            assert_eq!(gone.unwrap(), expected);
        }
        assert_eq!(round::taking(&tx).await.unwrap(), [first.clone()], "open");
        first.state = RoundState::Closed;
        round::put(&tx, &mut first).await.unwrap();
        assert_eq!(round::taking(&tx).await.unwrap(), []);
        first.kept_until = Some(NOW.plus_ms(10));
        round::put(&tx, &mut first).await.unwrap();
        assert_eq!(round::taking(&tx).await.unwrap(), [first.clone()]);
        assert_eq!(round::latest_kept(&tx).await.unwrap(), [first.clone()]);
        let due = async |after_ms| round::due(&tx, NOW.plus_ms(after_ms)).await.unwrap();
        assert_eq!((due(9).await, due(10).await), (vec![], vec![first.clone()]));
        round::mark_stale(&tx, first.id).await.unwrap();
        first.is_stale = true;
        assert_eq!(due(0).await, [first.clone()]);
        round::add(&tx, &asked, NOW).await.unwrap();
        assert_eq!(
            round::latest_kept(&tx).await.unwrap(),
            [],
            "there is a newer"
        );
        let other = NewRound {
            model: ModelId(8),
            ..asked
        };
        let mut other = round::add(&tx, &other, NOW).await.unwrap();
        other.kept_until = Some(NOW);
        round::put(&tx, &mut other).await.unwrap();
        assert_eq!(round::latest_kept(&tx).await.unwrap(), [other]);

        let said = |device, why: &str| Withdrawal {
            device: DeviceId(device),
            actor: "ann".to_owned(),
            why: why.to_owned(),
            at: NOW,
        };
        assert!(withdrawal::add(&tx, &said(2, "sold")).await.unwrap());
        assert!(!withdrawal::add(&tx, &said(2, "again")).await.unwrap());
        assert!(withdrawal::add(&tx, &said(1, "")).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(
            withdrawal::list(&db).await.unwrap(),
            [said(1, ""), said(2, "sold")]
        );
        let tx = db.begin("test").await.unwrap();
        assert!(withdrawal::remove(&tx, DeviceId(1)).await.unwrap());
        assert!(!withdrawal::remove(&tx, DeviceId(1)).await.unwrap());
        tx.commit().await.unwrap();
        let found = withdrawal::get(&db, DeviceId(1)).await.unwrap();
        assert_eq!(found, None);
        let found = withdrawal::get(&db, DeviceId(2)).await.unwrap();
        assert_eq!(found, Some(said(2, "sold")));
    });
}

#[test]
fn rollouts_and_rounds() {
    on_every_backend(|db, _| async move {
        add_devices(&db, &[1, 2]).await;
        let tx = db.begin("test").await.unwrap();
        let new = NewRollout {
            model: "fan".to_owned(),
            version: 2,
            previous: Some(1),
            selector: "cohort = hall".to_owned(),
            priority: 2,
            plan: json!({"alpha": 0.1}),
            progress: json!({"wave": 0}),
        };
        let mut going = rollout::add(&tx, &new, NOW).await.unwrap();
        let id = going.id;
        let member = |device: u64, target: Option<u32>| Member {
            rollout: id,
            device: DeviceId(device),
            delivery: if target.is_some() {
                Delivery::Offered
            } else {
                Delivery::Control
            },
            target: target.map(ModelId),
            changed_at: NOW,
            detail: json!({}),
        };
        rollout::put_members(&tx, &[member(1, Some(7)), member(2, None)])
            .await
            .unwrap();
        let spoke = Presence {
            device: DeviceId(1),
            model: Some(ModelId(7)),
            ..Presence::default()
        };
        assert_eq!(
            rollout::outstanding(&tx, None).await.unwrap(),
            [member(1, Some(7))]
        );
        for (device, found) in [(1, vec![member(1, Some(7))]), (2, vec![])] {
            let of_one = rollout::outstanding(&tx, Some(DeviceId(device))).await;
            assert_eq!(of_one.unwrap(), found);
        }
        presence::put_many(&tx, &[spoke]).await.unwrap();
        assert_eq!(rollout::outstanding(&tx, None).await.unwrap(), []);
        let of_both = rollout::of_devices(&tx, &[DeviceId(2), DeviceId(1)]).await;
        assert_eq!(
            of_both.unwrap(),
            [vec![member(2, None)], vec![member(1, Some(7))]]
        );
        assert_eq!(
            rollout::listening(&tx, &[DeviceId(2), DeviceId(1)])
                .await
                .unwrap(),
            [member(2, None), member(1, Some(7))]
        );
        assert_eq!(
            rollout::owned(&tx).await.unwrap(),
            [(DeviceId(1), going.id), (DeviceId(2), going.id)]
        );
        rollout::clear_targets(&tx, going.id, &[DeviceId(1)])
            .await
            .unwrap();
        assert!(rollout::target(&tx, DeviceId(1)).await.unwrap().is_some());
        // A device is told one thing: a second rollout takes its word only after the first lost it.
        let next = rollout::add(&tx, &new, NOW).await.unwrap();
        rollout::clear_targets(&tx, next.id, &[DeviceId(1)])
            .await
            .unwrap();
        assert_eq!(rollout::target(&tx, DeviceId(1)).await.unwrap(), None);
        rollout::put_members(&tx, &[member(1, Some(7))])
            .await
            .unwrap();
        let mut over = next;
        over.state = RolloutState::Halted;
        rollout::put(&tx, &mut over).await.unwrap();
        let asked = NewRound {
            model: ModelId(7),
            cohort: None,
            device_count_min: 2,
            gather_at: NOW,
            deadline: NOW.plus_ms(5),
            detail: json!({"why": "drift"}),
        };
        let mut gathering = round::add(&tx, &asked, NOW).await.unwrap();
        let part = Contribution {
            round: gathering.id,
            device: DeviceId(1),
            bytes: vec![1],
            whole: false,
        };
        round::put_contribution(&tx, &part).await.unwrap();
        round::put_contribution(
            &tx,
            &Contribution {
                whole: true,
                ..part.clone()
            },
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rollout::open(&db).await.unwrap(), [going.clone()]);
        assert_eq!(
            rollout::members(&db, going.id).await.unwrap(),
            [member(1, Some(7)), member(2, None)]
        );
        assert_eq!(
            rollout::tally(&db, going.id).await.unwrap(),
            [(Delivery::Control, 1), (Delivery::Offered, 1)]
        );
        assert_eq!(
            rollout::target(&db, DeviceId(1)).await.unwrap(),
            Some(member(1, Some(7)))
        );
        assert_eq!(rollout::of_device(&db, DeviceId(2)).await.unwrap().len(), 1);
        assert_eq!(round::open(&db).await.unwrap(), [gathering.clone()]);
        assert_eq!(
            round::contributions(&db, gathering.id).await.unwrap(),
            [Contribution {
                whole: true,
                ..part
            }]
        );
        let tx = db.begin("test").await.unwrap();
        let partial = Contribution {
            round: gathering.id,
            device: DeviceId(2),
            bytes: vec![2],
            whole: false,
        };
        round::put_contribution(&tx, &partial).await.unwrap();
        round::forget_partial(&tx, gathering.id).await.unwrap();
        assert_eq!(
            round::contributors(&tx, gathering.id).await.unwrap(),
            [(DeviceId(1), true)]
        );
        let mut sum = MaskedUpdate {
            round: gathering.id,
            width: 4,
            device_count: 1,
            numbers: vec![1, 0, 0, 0],
        };
        masked_update::put(&tx, &sum).await.unwrap();
        sum.device_count = 2;
        sum.numbers = vec![3, 0, 0, 0];
        masked_update::put(&tx, &sum).await.unwrap();
        let other = MaskedUpdate {
            width: 3,
            ..sum.clone()
        };
        masked_update::put(&tx, &other).await.unwrap();
        assert_eq!(
            masked_update::of_round(&tx, gathering.id).await.unwrap(),
            [other, sum]
        );
        masked_update::forget(&tx, gathering.id).await.unwrap();
        assert_eq!(
            masked_update::of_round(&tx, gathering.id).await.unwrap(),
            []
        );
        gathering.state = RoundState::Opening;
        round::put(&tx, &mut gathering).await.unwrap();
        assert_eq!(round::open(&tx).await.unwrap(), [gathering.clone()]);
        round::forget_contributions(&tx, gathering.id)
            .await
            .unwrap();
        gathering.state = RoundState::Closed;
        gathering.statistics = Some(digest("sum"));
        round::put(&tx, &mut gathering).await.unwrap();
        going.state = RolloutState::Done;
        going.progress = json!({"wave": 1});
        rollout::put(&tx, &mut going).await.unwrap();
        assert_eq!(rollout::past_installs(&tx, 9).await.unwrap(), (0, 0));
        let failed = Member {
            delivery: Delivery::Reverted,
            ..member(2, None)
        };
        let well = Member {
            delivery: Delivery::Confirmed,
            ..member(1, Some(7))
        };
        rollout::put_members(&tx, &[failed, well]).await.unwrap();
        assert_eq!(rollout::past_installs(&tx, 9).await.unwrap(), (1, 1));
        tx.commit().await.unwrap();
        assert_eq!(round::open(&db).await.unwrap(), []);
        assert_eq!(
            round::get(&db, gathering.id).await.unwrap(),
            Some(gathering)
        );
        assert_eq!(rollout::list(&db, 9).await.unwrap(), [over, going]);
    });
}

#[test]
fn audit_entries() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        audit::add(
            &tx,
            NOW,
            "ann",
            "device.revoke",
            "0001",
            &json!({"why": "stolen"}),
        )
        .await
        .unwrap();
        audit::add(&tx, NOW, "fleet", "rollout.halt", "1", &json!({}))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(audit::list(&db, 1).await.unwrap()[0].actor, "fleet");
        assert_eq!(
            audit::about(&db, "0001", 9).await.unwrap()[0].detail,
            json!({"why": "stolen"})
        );
    });
}
