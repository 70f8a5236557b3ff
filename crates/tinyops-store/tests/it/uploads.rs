//! Recordings that came over the network.

use tinyops_store::upload::{self, Category, NewUpload};
use tinyops_store::{DeviceId, Digest, StoreError, Timestamp};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn of(device: Option<&str>, bytes: &[u8]) -> NewUpload {
    NewUpload {
        project: Some("fan".to_owned()),
        actor: "phone".to_owned(),
        category: Category::Training,
        path: "training/circle/a.json".to_owned(),
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
        label: Some("circle".to_owned()),
        device: device.map(str::to_owned),
        device_type: device.map(|_| "XIAO".to_owned()),
        is_signed: true,
        metadata: serde_json::json!({ "site": "north" }),
        purpose: None,
        consent_until: Some(NOW.plus_ms(5)),
    }
}

#[test]
fn counters_of_a_device_rise() {
    on_every_backend(|db, _| async move {
        let device = DeviceId(u64::MAX);
        let tx = db.begin("test").await.unwrap();
        for (counter, is_new) in [(5, true), (5, false), (4, false), (9, true), (0, false)] {
            let counted = upload::count_on(&tx, device, counter).await.unwrap();
            assert_eq!(counted, is_new, "{counter}");
        }
        assert!(upload::count_on(&tx, DeviceId(1), 0).await.unwrap());
        assert!(!upload::count_on(&tx, device, u64::MAX).await.unwrap());
        tx.commit().await.unwrap();
        let tx = db.begin("test").await.unwrap();
        assert!(!upload::count_on(&tx, device, 9).await.unwrap());
        let newest = async |device| upload::newest_counter(&tx, device).await.unwrap();
        assert_eq!(newest(device).await, Some(9));
        assert_eq!(newest(DeviceId(1)).await, Some(0));
        assert_eq!(newest(DeviceId(2)).await, None);
    });
}

#[test]
fn uploads_are_found_by_their_bytes_and_forgotten_when_erased() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let first = upload::add(&tx, &of(Some("ac:01"), b"one"), NOW)
            .await
            .unwrap();
        let second = upload::add(&tx, &of(None, b"two"), NOW.plus_ms(1))
            .await
            .unwrap();
        let third = upload::add(&tx, &of(Some("ac:01"), b"one"), NOW.plus_ms(2))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(first.new, of(Some("ac:01"), b"one"));
        assert_eq!(
            upload::list(&db, "fan", 2).await.unwrap(),
            [third.clone(), second.clone()]
        );
        let same = Digest::of(b"one");
        assert_eq!(
            upload::of_digest(&db, "fan", &same).await.unwrap(),
            [first.clone(), third.clone()]
        );
        // Another project in the same store has nothing of it.
        assert_eq!(upload::of_digest(&db, "pump", &same).await.unwrap(), []);
        assert_eq!(upload::list(&db, "pump", 9).await.unwrap(), []);
        assert_eq!(upload::kept(&db, "pump").await.unwrap(), []);
        assert!(upload::devices(&db, "pump").await.unwrap().is_empty());
        let devices = upload::devices(&db, "fan").await.unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(
            (
                devices[0].device.as_str(),
                devices[0].count,
                devices[0].last_at
            ),
            ("ac:01", 2, NOW.plus_ms(2))
        );

        let tx = db.begin("test").await.unwrap();
        upload::erase(&tx, first.id, NOW.plus_ms(9)).await.unwrap();
        let again = upload::erase(&tx, first.id, NOW.plus_ms(9)).await;
        assert!(
            matches!(again, Err(StoreError::Conflict { .. })),
            "{again:?}"
        );
        tx.commit().await.unwrap();
        assert_eq!(upload::of_digest(&db, "fan", &same).await.unwrap(), [third]);
        assert_eq!(upload::kept(&db, "fan").await.unwrap().len(), 2);
        let all = upload::list(&db, "fan", 9).await.unwrap();
        assert_eq!(all[2].erased_at, Some(NOW.plus_ms(9)));
        assert_eq!(all[2].new.metadata, serde_json::json!({}));
    });
}

#[test]
fn a_row_of_before_projects_is_of_who_claims_it_first() {
    on_every_backend(|db, _| async move {
        let nobodys = NewUpload {
            project: None,
            ..of(None, b"one")
        };
        let tx = db.begin("test").await.unwrap();
        let old = upload::add(&tx, &nobodys, NOW).await.unwrap();
        for project in ["fan", "pump"] {
            assert_eq!(upload::kept(&tx, project).await.unwrap().len(), 1);
        }
        for project in ["fan", "pump"] {
            upload::claim(&tx, old.id, project).await.unwrap();
        }
        let own = upload::kept(&tx, "fan").await.unwrap();
        assert_eq!(own[0].new.project.as_deref(), Some("fan"));
        assert_eq!(upload::kept(&tx, "pump").await.unwrap(), []);
        tx.commit().await.unwrap();
    });
}
