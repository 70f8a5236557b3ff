//! The attributes that a device gives of itself, as labels.

use std::collections::BTreeMap;

use tinyops_store::{Timestamp, ddi, device};

use super::Peer;
use super::body::{ConfigData, Mode};
use crate::enrol::note;
use crate::{Fleet, FleetError};

/// What labels begin with that a device gave itself, so that they are told from those that a person gave it.
pub const LABEL_PREFIX: &str = "ddi.";

/// Attributes of a device at most.
const ATTRIBUTES_MAX: usize = 64;
/// Characters of a name or a value at most.
const TEXT_CHARS_MAX: usize = 128;

impl Fleet {
    /// Takes what a device says of itself: each attribute becomes the label `ddi.NAME`, which selectors know.
    ///
    /// # Errors
    /// [`FleetError::Attributes`] if there are too many, or one is too long.
    pub async fn take_attributes(
        &self,
        peer: &Peer,
        given: &ConfigData,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin_audited("take attributes").await?;
        let id = peer.device.id;
        let mut device = device::get(&tx, id)
            .await?
            .ok_or(FleetError::NoDevice(id))?;
        let tags = changed(&device.tags, given)?;
        if tags != device.tags {
            device.tags = tags;
            device::put(&tx, &mut device).await?;
            let detail = serde_json::json!({ "tags": device.tags });
            let actor = format!("device {id}");
            note(&tx, now, &actor, "device.attributes", id, &detail).await?;
        }
        if let Some(mut target) = ddi::of_device(&tx, id).await?.filter(|t| t.wants_config) {
            target.wants_config = false;
            ddi::put_target(&tx, &mut target).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The labels of a device after it said something of itself; those without the prefix stay.
fn changed(tags: &[String], given: &ConfigData) -> Result<Vec<String>, FleetError> {
    let too = |what: String| Err(FleetError::Attributes(what));
    if given.data.is_empty() {
        return too("there are none".to_owned());
    }
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let mode = given.mode.unwrap_or_default();
    if mode != Mode::Replace {
        for tag in tags {
            if let Some((name, value)) = tag
                .strip_prefix(LABEL_PREFIX)
                .map(|tag| tag.split_once('=').unwrap_or((tag, "")))
            {
                own.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    for (name, value) in &given.data {
        let chars = |text: &str| text.chars().count();
        if name.is_empty() || chars(name) > TEXT_CHARS_MAX || chars(value) > TEXT_CHARS_MAX {
            let name: String = name.chars().take(40).collect();
            return too(format!(
                "`{name}`: a name and its value have 1 to {TEXT_CHARS_MAX} characters"
            ));
        }
        let name = as_word(name);
        match mode {
            Mode::Remove => own.remove(&name),
            Mode::Merge | Mode::Replace => own.insert(name, value.clone()),
        };
    }
    if own.len() > ATTRIBUTES_MAX {
        return too(format!(
            "{} of them; {ATTRIBUTES_MAX} are the most",
            own.len()
        ));
    }
    let theirs = tags
        .iter()
        .filter(|tag| !tag.starts_with(LABEL_PREFIX))
        .cloned();
    let own = own
        .into_iter()
        .map(|(name, value)| format!("{LABEL_PREFIX}{name}={value}"));
    Ok(theirs.chain(own).collect())
}

/// A name as a selector can write it.
fn as_word(name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    name.chars()
        .map(|c| if is_word(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[&str], mode: Option<Mode>, data: &[(&str, &str)], expected: &[&str]) {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let data = data
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given = ConfigData {
            mode,
            data: data.collect(),
        };
        assert_eq!(changed(&tags, &given).unwrap(), expected);
    }

    #[test]
    fn attributes_become_labels_and_leave_other_labels_alone() {
        let tags = ["site=north", "ddi.a=1", "ddi.b=2"];
        check(
            &tags,
            None,
            &[("b", "3")],
            &["site=north", "ddi.a=1", "ddi.b=3"],
        );
        check(
            &tags,
            Some(Mode::Replace),
            &[("c", "4")],
            &["site=north", "ddi.c=4"],
        );
        check(
            &tags,
            Some(Mode::Remove),
            &[("a", "")],
            &["site=north", "ddi.b=2"],
        );
        check(
            &[],
            None,
            &[("HW revision", "2 b")],
            &["ddi.HW_revision=2 b"],
        );
        // A device cannot give itself a label of another's making.
        check(
            &["site=north"],
            None,
            &[("site", "south")],
            &["site=north", "ddi.site=south"],
        );
    }

    #[test]
    fn too_much_is_refused() {
        let refuse = |data: Vec<(String, String)>, problem: &str| {
            let given = ConfigData {
                mode: None,
                data: data.into_iter().collect(),
            };
            let error = changed(&[], &given).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        };
        refuse(vec![], "there are none");
        refuse(vec![("a".into(), "x".repeat(129))], "`a`");
        refuse(vec![(String::new(), "x".into())], "1 to 128");
        let many = (0..65).map(|n| (format!("k{n}"), String::new()));
        refuse(many.collect(), "64 are the most");
    }
}
