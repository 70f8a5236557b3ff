//! Reports come back as they were told, however they were stored together.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tinyops_store::report::{self, Report};
use tinyops_store::{Db, DeviceId, ModelId, Timestamp};

use crate::backend::on_every_backend;

fn report(device: u64, seq: u32, at: i64) -> Report<'static> {
    Report {
        device: DeviceId(device),
        seq,
        model: ModelId(7),
        received_at: Timestamp(at),
        frame: vec![1, 2, 3].into(),
    }
}

async fn add(db: &Db, reports: &[Report<'_>]) -> Vec<bool> {
    let tx = db.begin("test").await.unwrap();
    let is_new = report::add_many(&tx, reports).await.unwrap();
    tx.commit().await.unwrap();
    is_new
}

/// Numbers near each other, at both ends of what a number may be, and anywhere.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0..40_u32,
        3 => 200..700_u32,
        1 => u32::MAX - 300..=u32::MAX,
        1 => any::<u32>(),
    ]
}

fn told() -> impl Strategy<Value = Report<'static>> {
    let frame = prop_oneof![
        9 => proptest::collection::vec(any::<u8>(), 0..60),
        1 => (65_530..65_540_usize).prop_map(|bytes| vec![9; bytes]),
    ];
    let at = prop_oneof![9 => 0..5_000_i64, 1 => any::<i64>()];
    let device = prop_oneof![Just(1), Just(2), Just(u64::MAX)];
    (device, number(), 1..3_u32, at, frame).prop_map(|(device, seq, model, at, frame)| Report {
        model: ModelId(model),
        frame: frame.into(),
        ..report(device, seq, at)
    })
}

#[test]
fn reports_come_back_as_they_were_told() {
    on_every_backend(|db, _| async move {
        let mut runner = TestRunner::deterministic();
        let batches = proptest::collection::vec(told(), 0..30);
        let mut kept: BTreeMap<(DeviceId, u32), Report<'_>> = BTreeMap::new();
        for _ in 0..60 {
            let batch = batches.new_tree(&mut runner).unwrap().current();
            let is_new = add(&db, &batch).await;
            for (told, is_new) in batch.iter().zip(is_new) {
                let number = (told.device, told.seq);
                assert_eq!(is_new, !kept.contains_key(&number), "{number:?}");
                kept.entry(number).or_insert_with(|| told.clone());
            }
            assert_eq!(report::count(&db).await.unwrap(), kept.len() as i64);
            for told in &batch {
                assert_eq!(
                    report::get(&db, told.device, told.seq).await.unwrap(),
                    kept.get(&(told.device, told.seq)).cloned()
                );
            }
            for (device, limit) in [(1, 5), (2, 1), (u64::MAX, 40)] {
                let device = DeviceId(device);
                let of_device = kept.range((device, 0)..=(device, u32::MAX)).rev();
                let newest: Vec<_> = of_device
                    .take(limit)
                    .map(|(_, told)| told.clone())
                    .collect();
                assert_eq!(
                    report::of_device(&db, device, limit as u32).await.unwrap(),
                    newest
                );
            }
        }
        assert!(kept.len() > 300, "only {} were new", kept.len());
        assert_eq!(
            report::get(&db, DeviceId(3), 0).await.unwrap(),
            None,
            "a device that never spoke"
        );
    });
}

#[test]
fn a_late_report_finds_its_place_within_a_span() {
    on_every_backend(|db, _| async move {
        let at_once: Vec<_> = [10, 12, 265].map(|seq| report(1, seq, 1_000)).into();
        assert_eq!(add(&db, &at_once).await, [true; 3]);
        let later = [report(1, 11, 9), report(1, 12, 9), report(1, 266, 9)];
        assert_eq!(add(&db, &later).await, [true, false, true]);
        let numbers: Vec<u32> = report::of_device(&db, DeviceId(1), 9)
            .await
            .unwrap()
            .iter()
            .map(|report| report.seq)
            .collect();
        assert_eq!(numbers, [266, 265, 12, 11, 10]);
    });
}

/// A span that cannot be read says so; it is not taken for no reports.
#[tokio::test]
async fn a_damaged_span_is_an_error() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("records.db").display().to_string();
    let db = Db::open(&path).await.unwrap();
    add(&db, &[report(1, 5, 0), report(1, 6, 0)]).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    for frames in ["x'00'", "x'000000000004000102'", "x'07000000000000'"] {
        connection
            .execute(&format!("UPDATE report_spans SET frames = {frames}"), [])
            .unwrap();
        let read = report::of_device(&db, DeviceId(1), 9).await;
        assert!(read.is_err(), "{frames}: {read:?}");
    }
}
