//! Orders for windows and the parts of their parcels.

use tinyops_store::annotation::{self, AnnotationState, NewAnnotation};
use tinyops_store::presence::{self, Presence};
use tinyops_store::{DeviceId, Digest, ModelId, Timestamp};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[test]
fn orders_and_what_comes_of_them() {
    on_every_backend(|db, _| async move {
        let asked = |device| NewAnnotation {
            device: DeviceId(device),
            model: ModelId(0xfeca_adde),
            annotator: [7; 32],
            count: 8,
            windows: 500,
            expires_at: NOW.plus_ms(1000),
        };
        let tx = db.begin("test").await.unwrap();
        let mut first = annotation::add(&tx, &asked(1), NOW).await.unwrap();
        let second = annotation::add(&tx, &asked(u64::MAX), NOW).await.unwrap();
        let runs = |device, model| Presence {
            device: DeviceId(device),
            model: Some(ModelId(model)),
            ..Presence::default()
        };
        let presences = [runs(1, 0xfeca_adde), runs(u64::MAX, 2)];
        presence::put_many(&tx, &presences).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            (first.asked.clone(), first.state),
            (asked(1), AnnotationState::Asked)
        );
        assert_eq!(
            annotation::get(&db, first.id).await.unwrap(),
            Some(first.clone())
        );
        assert_eq!(
            annotation::list(&db, 9).await.unwrap(),
            [second.clone(), first.clone()]
        );
        let open = async |device, at| annotation::open(&db, device, at).await.unwrap();
        // The other runs another model by now.
        assert_eq!(open(None, NOW).await, [first.clone()]);
        assert_eq!(open(Some(DeviceId(1)), NOW).await, [first.clone()]);
        assert_eq!(open(Some(DeviceId(u64::MAX)), NOW).await, []);
        assert_eq!(open(None, NOW.plus_ms(1000)).await, [], "its time is over");

        let tx = db.begin("test").await.unwrap();
        first.state = AnnotationState::Collecting;
        annotation::put(&tx, &first).await.unwrap();
        annotation::ask_again(&tx, &[DeviceId(1), DeviceId(5)])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        first.state = AnnotationState::Asked;
        assert_eq!(open(None, NOW).await, [first.clone()]);
        let tx = db.begin("test").await.unwrap();
        first.state = AnnotationState::Ready;
        (first.chosen, first.quota_left, first.bytes) = (3, Some(13), 4000);
        first.changed_at = NOW.plus_ms(5);
        annotation::put(&tx, &first).await.unwrap();
        for (at, byte, is_new) in [
            (100, 1, true),
            (0, 2, true),
            (120, 3, false),
            (100, 4, false),
            (150, 5, true),
            // As far as what is here, what fills a gap, the end, and a crumb before it.
            (70, 6, true),
            (50, 7, true),
            (3_990, 8, true),
            (3_980, 9, false),
        ] {
            let bytes = vec![byte; 50.min(4_000 - at) as usize];
            let kept = annotation::put_part(&tx, first.id, at, &bytes, (16, 4_000));
            assert_eq!(kept.await.unwrap(), is_new, "{at}");
        }
        tx.commit().await.unwrap();
        assert_eq!(
            open(None, NOW.plus_ms(1000)).await,
            [first.clone()],
            "it comes"
        );
        let parts = annotation::parts(&db, first.id).await.unwrap();
        let starts: Vec<(u32, u8)> = parts.iter().map(|(at, bytes)| (*at, bytes[0])).collect();
        let expected = [(0, 2), (50, 7), (70, 6), (100, 1), (150, 5), (3_990, 8)];
        assert_eq!(starts, expected, "what is here stays");
        // However parts overlap, no byte is kept twice, and no crumbs: each begins before all that came.
        let tx = db.begin("test").await.unwrap();
        let second_parts = async || annotation::parts(&db, second.id).await.unwrap();
        for at in (0..1_000).rev() {
            let kept = annotation::put_part(&tx, second.id, at, &[7; 900], (16, 2_000));
            kept.await.unwrap();
        }
        tx.commit().await.unwrap();
        let parts = second_parts().await;
        let bytes: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(
            bytes <= 2_000 && parts.len() <= 2_000 / 16,
            "{bytes} in {}",
            parts.len()
        );
        let spans = annotation::spans(&db, second.id).await.unwrap();
        let apart = spans.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0);
        assert!(apart, "{spans:?}");
        let tx = db.begin("test").await.unwrap();
        annotation::forget_parts(&tx, first.id).await.unwrap();
        first.state = AnnotationState::Whole;
        first.parcel = Some(Digest::of(b"parcel"));
        annotation::put(&tx, &first).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(annotation::parts(&db, first.id).await.unwrap(), []);
        assert_eq!(open(None, NOW).await, []);
        assert_eq!(
            annotation::of_device(&db, DeviceId(1)).await.unwrap(),
            [first]
        );
        assert_eq!(second.quota_left, None);
    });
}
