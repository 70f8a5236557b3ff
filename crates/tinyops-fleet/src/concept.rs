//! Concept drift: labels say that a model errs more than it did, in a cohort.
//!
//! No detector without labels sees a world in which the same inputs mean something else, so every outcome that comes
//! back goes through [`HddmA`], one stream for each cohort and model. Windows that one label judges are of one spell of
//! one machine and mostly right or wrong together, so a label is one value, the share of them that was wrong, however
//! many they are. What one device alone tells, broken or lying, is a drift of that device and not of its cohort.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tinyops_sketch::stream::{Detector, HddmA, Verdict};
use tinyops_store::alert::{self, AlertKind, NewAlert};
use tinyops_store::drift::Scope;
use tinyops_store::error_stream::{self, ErrorStream};
use tinyops_store::{DeviceId, ModelId, Timestamp, Tx};
use tinyops_wire::Frame;

use crate::diagnosis::{Symptoms, diagnose};
use crate::watch::{HEAD_REPAIRS_MAX, Observation, cohort_scope};
use crate::{Event, Fleet, FleetError, alerts};

/// Share of the errors since the change that makes them one device's own.
const OWN_SHARE: f64 = 0.75;

/// Devices whose errors since the change are told apart; what others err is nobody's in particular.
const DEVICES_MAX: usize = 256;

/// Labelled errors of one cohort and model, as they come.
#[derive(Clone, Debug, PartialEq)]
struct Errors {
    detector: HddmA,
    /// Windows judged since the detector last began, and how many of them were wrong.
    judged: f64,
    wrong: f64,
    /// Errors by device since the cut that a change would lie at, in labels.
    since_cut: BTreeMap<u64, f64>,
}

/// What a drift of errors looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Risen {
    /// The device that it is of, if the errors are one's own.
    device: Option<DeviceId>,
    /// Share of errors of all windows judged since the detector began.
    share: f64,
    judged: f64,
}

impl Errors {
    const VERSION: u8 = 1;

    fn new() -> Errors {
        Errors {
            detector: HddmA::new(),
            judged: 0.0,
            wrong: 0.0,
            since_cut: BTreeMap::new(),
        }
    }

    /// Takes what one label of a device says of some windows.
    fn take(&mut self, device: DeviceId, judged: u32, wrong: u32) -> Option<Risen> {
        if judged == 0 {
            return None;
        }
        let (count, wrong) = (f64::from(judged), f64::from(wrong.min(judged)));
        self.judged += count;
        self.wrong += wrong;
        let verdict = self.detector.update(wrong / count);
        let [all, _, cut, ..] = self.detector.state();
        if cut == all {
            self.since_cut.clear();
        } else if self.since_cut.len() < DEVICES_MAX || self.since_cut.contains_key(&device.0) {
            *self.since_cut.entry(device.0).or_default() += wrong / count;
        }
        if verdict != Verdict::Drift {
            return None;
        }
        let risen = Risen {
            device: self.own(),
            share: self.wrong / self.judged,
            judged: self.judged,
        };
        (self.judged, self.wrong) = (0.0, 0.0);
        self.since_cut.clear();
        Some(risen)
    }

    /// The device that most errors since the change are of.
    fn own(&self) -> Option<DeviceId> {
        let all: f64 = self.since_cut.values().sum();
        let (device, most) = self.since_cut.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
        (*most >= OWN_SHARE * all).then_some(DeviceId(*device))
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = self.detector.state().into_iter();
        let numbers = numbers.chain([self.judged, self.wrong]);
        let mut out = vec![Errors::VERSION];
        out.extend(numbers.flat_map(f64::to_le_bytes));
        for (device, errors) in &self.since_cut {
            out.extend(device.to_le_bytes());
            out.extend(errors.to_le_bytes());
        }
        out
    }

    /// What [`Errors::encode`] wrote; `None` for other bytes, which is as if nothing were remembered.
    fn decode(bytes: &[u8]) -> Option<Errors> {
        let (&version, numbers) = bytes.split_first()?;
        let (numbers, rest) = numbers.split_at_checked(9 * 8)?;
        let (devices, rest) = (rest.as_chunks::<16>().0, rest.as_chunks::<16>().1);
        let numbers: Vec<f64> = (numbers.as_chunks::<8>().0.iter())
            .map(|number| f64::from_le_bytes(*number))
            .collect();
        let (state, rest_of_numbers) = numbers.split_first_chunk::<7>()?;
        let [judged, wrong] = *rest_of_numbers else {
            return None;
        };
        let device = |bytes: &[u8; 16]| {
            let (id, errors) = bytes.split_first_chunk::<8>()?;
            let errors = f64::from_le_bytes(errors.try_into().ok()?);
            errors
                .is_finite()
                .then_some((u64::from_le_bytes(*id), errors))
        };
        let is_sound =
            version == Errors::VERSION && rest.is_empty() && devices.len() <= DEVICES_MAX;
        Some(Errors {
            detector: HddmA::with_state(*state).filter(|_| is_sound)?,
            judged,
            wrong,
            since_cut: devices.iter().map(device).collect::<Option<_>>()?,
        })
    }
}

impl Fleet {
    /// Takes the outcomes of a batch, in order; raises an alert where errors have become more.
    pub(crate) async fn judge_errors(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let mut streams: BTreeMap<(Arc<str>, ModelId), Errors> = BTreeMap::new();
        let mut events = Vec::new();
        for observation in observations {
            let Frame::Outcome(told) = observation.frame else {
                continue;
            };
            let model = observation.model;
            let Some(baseline) = self.baseline(tx, model).await? else {
                continue;
            };
            let key = (observation.cohort.clone(), model);
            let errors = match streams.get_mut(&key) {
                Some(errors) => errors,
                None => {
                    let kept = error_stream::get(tx, &key.0, model).await?;
                    let kept = kept.and_then(|kept| Errors::decode(&kept.state));
                    streams
                        .entry(key)
                        .or_insert(kept.unwrap_or_else(Errors::new))
                }
            };
            let wrong = told.judged() - told.correct();
            let Some(risen) = errors.take(observation.device, told.judged(), wrong) else {
                continue;
            };
            let symptoms = Symptoms {
                errs: true,
                repaired_before: self.head_repairs(tx, model).await? >= HEAD_REPAIRS_MAX,
                ..Symptoms::default()
            };
            let share = (risen.share * 1000.0).round() / 1000.0;
            let new = NewAlert {
                scope: match risen.device {
                    Some(device) => Scope::Device(device),
                    None => cohort_scope(&observation.cohort, model),
                },
                model,
                kind: AlertKind::ConceptDrift,
                advice: diagnose(&symptoms, &baseline).word().to_owned(),
                detail: json!({ "share of errors": share, "windows judged": risen.judged }),
            };
            if let Some(alert) = alert::raise(tx, &new, now).await? {
                alerts::tell(tx, "alert.raise", &alert, now).await?;
                events.push(Event::AlertRaised(alert));
            }
        }
        let kept: Vec<ErrorStream> = streams
            .into_iter()
            .map(|((cohort, model), errors)| ErrorStream {
                cohort: cohort.to_string(),
                model,
                state: errors.encode(),
                updated_at: now,
            })
            .collect();
        error_stream::put_many(tx, &kept).await?;
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_rise_are_found_and_what_is_steady_is_not() {
        let mut errors = Errors::new();
        let device = |index: u32| DeviceId(u64::from(index % 7));
        for index in 0..2000 {
            let taken = errors.take(device(index), 1, u32::from(index % 10 == 0));
            assert_eq!(taken, None, "{index}");
        }
        let found = (0..100).find_map(|index| {
            // Through its bytes each time, as between two batches.
            errors = Errors::decode(&errors.encode()).unwrap();
            let taken = errors.take(device(index), 1, u32::from(index % 10 != 0));
            taken.map(|risen| (index, risen.device))
        });
        assert!(
            found.is_some_and(|(after, device)| after < 30 && device.is_none()),
            "{found:?}"
        );
    }

    #[test]
    fn the_errors_of_one_device_are_its_own() {
        let mut errors = Errors::new();
        for index in 0..2000 {
            let wrong = u32::from(index % 10 == 0);
            assert_eq!(errors.take(DeviceId(index % 7), 1, wrong), None, "{index}");
        }
        let risen = (0..400).find_map(|index| {
            let device = DeviceId(index % 7);
            let wrong = device.0 == 3 || index % 10 == 0;
            errors.take(device, 1, u32::from(wrong))
        });
        assert!(risen.is_some());
        let mut errors = Errors::new();
        for index in 0..500 {
            assert_eq!(errors.take(DeviceId(index % 7), 1, 0), None);
        }
        let lies = (0..20).find_map(|_| errors.take(DeviceId(3), u32::MAX, u32::MAX));
        assert_eq!(lies.and_then(|risen| risen.device), Some(DeviceId(3)));
    }

    #[test]
    fn a_label_of_many_windows_counts_once() {
        let (mut few, mut many) = (Errors::new(), Errors::new());
        for index in 0..40 {
            let device = DeviceId(index % 7);
            assert_eq!(few.take(device, 10, 1), None);
            assert_eq!(many.take(device, 1000, 100), None);
        }
        assert_eq!(few.detector, many.detector);
        assert_eq!(few.take(DeviceId(1), 0, 7), None);
    }

    #[test]
    fn spells_of_errors_that_come_and_go_are_no_drift() {
        // One label in fifty is of a spell in which the model is mostly wrong, as it has always been.
        let mut state = 7_u64;
        let mut errors = Errors::new();
        for index in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let is_spell = state >> 33 < (1 << 31) / 50;
            let wrong = if is_spell { 14 } else { 0 };
            assert_eq!(
                errors.take(DeviceId(index % 50), 16, wrong),
                None,
                "{index}"
            );
        }
    }

    #[test]
    fn other_bytes_are_as_if_nothing_were_remembered() {
        let mut errors = Errors::new();
        for index in 0..40 {
            errors.take(
                DeviceId(index % 7),
                1,
                u32::from(index > 30 && index % 2 == 0),
            );
        }
        let bytes = errors.encode();
        assert_eq!(Errors::decode(&bytes), Some(errors));
        assert!(Errors::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Errors::decode(&[&[2], &bytes[1..]].concat()).is_none());
        assert!(Errors::decode(&[]).is_none());
        let mut spoiled = bytes;
        spoiled[1..9].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(Errors::decode(&spoiled).is_none());
    }
}
