//! Windows ordered over a link, as they come to the annotator.

use tinyops_device::Event;
use tinyops_device::annotate::Consent;
use tinyops_fleet::annotate::{AnnotationWish, HOURS_MAX, Whom, bound_of};
use tinyops_store::annotation::{self, AnnotationId, AnnotationState};
use tinyops_wire::annotation::OpenWindow;
use tinyops_wire::sealing::{AnnotatorSecret, TAG_BYTES, open};

use super::site::{Device, Server};
use super::{ALL, Binding, Setting, carry, clear, foul};
use crate::fixture::WINDOW;

const WINDOWS: u16 = 12;

/// An order, and the windows that the device has seen since.
pub(super) struct Delivery {
    order: AnnotationId,
    seen: Vec<[f32; WINDOW]>,
}

/// What the annotator has got of it.
pub(super) struct Delivered {
    seen: Vec<[f32; WINDOW]>,
    /// Number, readings and bytes of the vector of each.
    windows: Vec<(u16, Vec<f32>, usize)>,
    left: Option<u32>,
    /// All that the server keeps as artifacts.
    kept: Vec<Vec<u8>>,
}

fn secret() -> AnnotatorSecret {
    AnnotatorSecret::from_seed(&[8; 32])
}

impl Delivery {
    /// Nothing while the server has not heard which model the device runs.
    pub(super) async fn order(server: &Server, device: &mut Device) -> Option<Delivery> {
        device.agent.give_consent(Consent {
            annotator: secret().key(),
            windows_per_month: 9,
        });
        let whom = Whom {
            device: Some(server.device),
            ..Whom::default()
        };
        let wish = AnnotationWish {
            annotator: secret().key(),
            count: 4,
            windows: WINDOWS,
            within_ms: i64::from(HOURS_MAX) * 3_600_000,
            why: "drift",
        };
        let orders = server
            .fleet
            .ask_windows(&whom, &wish, "ana", server.now)
            .await;
        Some(Delivery {
            order: orders.ok()?.pop()?.id,
            seen: Vec::new(),
        })
    }

    /// Lets the device see one window more, no two alike.
    pub(super) fn measure(&mut self, device: &mut Device, now_ms: u64) -> Vec<Vec<u8>> {
        let at = self.seen.len();
        let mut window = [0.25; WINDOW];
        window[at % WINDOW] += (at % 40) as f32 / 50.0;
        self.seen.push(window);
        device.step(now_ms, Event::Window(&window))
    }

    pub(super) async fn end(&self, server: &Server) -> Option<Delivered> {
        let fleet = &server.fleet;
        let order = annotation::get(&fleet.db, self.order).await.unwrap()?;
        assert!(
            !matches!(
                order.state,
                AnnotationState::Refused | AnnotationState::Withdrawn
            ),
            "{order:?}"
        );
        if order.state != AnnotationState::Whole {
            return None;
        }
        let (order, mut parcel) = fleet.parcel(order.id).await.unwrap();
        let mut kept = Vec::new();
        for digest in fleet.artifacts.list().await.unwrap() {
            kept.push(fleet.artifacts.get(&digest).await.unwrap());
        }
        let len = open(&secret(), &bound_of(&order), &mut parcel).expect("it opens");
        let windows = parcel[32..].chunks_exact(len + TAG_BYTES).map(|window| {
            let window = OpenWindow::decode(&window[..len]).expect("a window");
            (
                window.head.number,
                window.readings().collect(),
                window.vector.len(),
            )
        });
        Some(Delivered {
            seen: self.seen.clone(),
            windows: windows.collect(),
            left: order.quota_left,
            kept,
        })
    }
}

#[tokio::test]
async fn windows_come_sealed_over_every_link_in_clear_and_in_foul_weather() {
    for binding in ALL {
        let is_radio = matches!(binding, Binding::Lorawan(_));
        for weather in [clear(binding), foul(binding, 1), foul(binding, 2)] {
            let setting = Setting {
                orders: true,
                ballast: 0,
                ..Setting::new(binding, weather)
            };
            let (_, delivered) = carry(&setting).await;
            let delivered = delivered.expect("an order was made");
            assert_eq!(delivered.windows.len(), 4, "{binding:?}");
            assert_eq!(delivered.left, Some(5), "{binding:?}");
            for (number, readings, vector_bytes) in &delivered.windows {
                assert_eq!(*vector_bytes, WINDOW);
                assert!(*number < WINDOWS);
                if is_radio {
                    assert_eq!(readings.len(), 0, "a slow link carries no readings");
                } else {
                    let is_seen = delivered
                        .seen
                        .iter()
                        .any(|window| window[..] == readings[..]);
                    assert!(is_seen, "{binding:?}: {readings:?}");
                }
            }
            for window in &delivered.seen {
                let bytes: Vec<u8> = window
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                let is_in = |kept: &Vec<u8>| kept.windows(bytes.len()).any(|part| part == bytes);
                assert!(
                    !delivered.kept.iter().any(is_in),
                    "the server cannot read it"
                );
            }
        }
    }
}
