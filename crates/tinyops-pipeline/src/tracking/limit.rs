//! How long, how many and of which letters: the limits that MLflow's clients expect.

use tinyops_store::tracking::Pair;

use super::TrackingError;

/// Metrics of one call at most.
pub const BATCH_METRICS_MAX: usize = 1000;
/// Parameters, and tags, of one call at most.
const BATCH_PAIRS_MAX: usize = 100;
/// Letters of a key at most.
pub(crate) const KEY_MAX: usize = 250;
/// Letters of a run's parameter at most.
pub(crate) const PARAM_MAX: usize = 6000;
/// Letters of a run's tag at most.
pub(crate) const TAG_MAX: usize = 8000;
/// Letters of an experiment's tag at most.
pub(crate) const EXPERIMENT_TAG_MAX: usize = 20_000;
/// Letters of a tag of the registry at most.
pub(crate) const REGISTRY_TAG_MAX: usize = 100_000;
/// Letters of an experiment's name at most.
pub(crate) const EXPERIMENT_NAME_MAX: usize = 500;
/// Letters of the name of a model at most.
pub(crate) const MODEL_NAME_MAX: usize = 256;
/// Letters of a dataset's name, digest, columns and figures at most.
pub(crate) const DATASET_MAX: [(&str, usize); 4] = [
    ("name", 500),
    ("digest", 36),
    ("schema", 1 << 20),
    ("profile", 16 << 20),
];

/// A page of a list: how many rows, behind how many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows before it.
    pub offset: u64,
    /// Rows of it at most.
    pub limit: u32,
}

impl Page {
    /// The page that a client asks for: by default `usual` rows, `most` at most; the token is that of the page before.
    ///
    /// # Errors
    /// [`TrackingError::Invalid`] for a count out of range, and for a token that was not given here.
    pub fn of(
        count: Option<i64>,
        usual: u32,
        most: u32,
        token: Option<&str>,
    ) -> Result<Page, TrackingError> {
        let limit = match count {
            None => usual,
            Some(count) => u32::try_from(count)
                .ok()
                .filter(|count| (1..=most).contains(count))
                .ok_or_else(|| {
                    TrackingError::Invalid(format!(
                        "Invalid value {count} for parameter 'max_results' supplied: it must be 1 to {most}"
                    ))
                })?,
        };
        let offset = match token {
            None | Some("") => 0,
            Some(token) => token
                .strip_prefix('o')
                .and_then(|number| number.parse().ok())
                .filter(|offset| *offset <= i64::MAX as u64)
                .ok_or_else(|| TrackingError::Invalid(format!("Invalid page token '{token}'")))?,
        };
        Ok(Page { offset, limit })
    }

    /// One more than the page has, so that its end shows whether another follows.
    pub fn and_one(self) -> u32 {
        self.limit.saturating_add(1)
    }

    /// Cuts what was read with [`Page::and_one`] to the page, and tells the token of the next one.
    pub fn cut<T>(self, rows: &mut Vec<T>) -> Option<String> {
        let limit = self.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        has_more.then(|| format!("o{}", self.offset + u64::from(self.limit)))
    }
}

/// That a text is not longer than it may be.
pub(crate) fn check_length(what: &str, text: &str, most: usize) -> Result<(), TrackingError> {
    match text.chars().nth(most) {
        None => Ok(()),
        Some(_) => Err(TrackingError::Invalid(format!(
            "{what} exceeds the maximum length of {most} characters: it has {}",
            text.chars().count()
        ))),
    }
}

/// That a text has letters at all.
pub(crate) fn check_present(what: &str, text: &str) -> Result<(), TrackingError> {
    match text.is_empty() {
        true => Err(TrackingError::Invalid(format!(
            "Missing value for required parameter '{what}'"
        ))),
        false => Ok(()),
    }
}

/// That the key of a metric, a parameter or a tag can be one: it may become the name of a file at other places.
pub(crate) fn check_key(what: &str, key: &str) -> Result<(), TrackingError> {
    check_present("key", key)?;
    check_length(&format!("{what} name '{}…'", head(key)), key, KEY_MAX)?;
    let is_usual = |c: char| c.is_alphanumeric() || "_-./ :".contains(c);
    let is_path =
        !key.starts_with('/') && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match key.chars().all(is_usual) && is_path {
        true => Ok(()),
        false => Err(TrackingError::Invalid(format!(
            "Invalid {what} name: '{key}'. Names may only contain letters, digits, underscores, dashes, periods, spaces, colons and slashes, and no part between slashes may be empty, '.' or '..'"
        ))),
    }
}

/// That parameters or tags can be kept.
pub(crate) fn check_pairs(what: &str, pairs: &[Pair], most: usize) -> Result<(), TrackingError> {
    for pair in pairs {
        check_key(what, &pair.key)?;
        check_length(
            &format!("{what} value of '{}'", pair.key),
            &pair.value,
            most,
        )?;
    }
    Ok(())
}

/// That a call does not bring more than one may.
pub(crate) fn check_counts(
    metrics: usize,
    params: usize,
    tags: usize,
) -> Result<(), TrackingError> {
    let counts = [
        ("metrics", metrics, BATCH_METRICS_MAX),
        ("params", params, BATCH_PAIRS_MAX),
        ("tags", tags, BATCH_PAIRS_MAX),
    ];
    for (what, count, most) in counts {
        if count > most {
            return Err(TrackingError::Invalid(format!(
                "A batch logging request can contain at most {most} {what}. Got {count} {what}. Please split up {what} across multiple requests and try again."
            )));
        }
    }
    Ok(())
}

/// That a path names a file below its place, and nothing beside it.
///
/// # Errors
/// [`TrackingError::Invalid`].
pub fn check_path(path: &str) -> Result<(), TrackingError> {
    let is_fine =
        |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0', ':']);
    match path.len() <= 4096 && path.split('/').all(is_fine) {
        true => Ok(()),
        false => Err(TrackingError::Invalid("Invalid path".to_owned())),
    }
}

fn head(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let page = Page::of(Some(2), 100, 1000, None).unwrap();
        let mut rows = vec![1, 2, 3];
        let token = page.cut(&mut rows);
        assert_eq!((rows, token.as_deref()), (vec![1, 2], Some("o2")));
        let next = Page::of(Some(2), 100, 1000, token.as_deref()).unwrap();
        assert_eq!(next.offset, 2);
        assert_eq!(next.cut(&mut vec![3]), None);
        for (count, token) in [
            (Some(0), None),
            (Some(1001), None),
            (Some(-1), None),
            (None, Some("!!")),
            (None, Some("o-1")),
            (None, Some("o99999999999999999999")),
        ] {
            assert!(
                Page::of(count, 100, 1000, token).is_err(),
                "{count:?} {token:?}"
            );
        }
    }

    #[test]
    fn keys_and_paths() {
        for key in ["a", "val/acc", "System metrics: cpu", "größe", "a.b-c_d"] {
            check_key("Metric", key).unwrap();
        }
        for key in [
            "",
            "/a",
            "a//b",
            "../a",
            "a/..",
            "a\nb",
            "a;b",
            &"k".repeat(251),
        ] {
            assert!(check_key("Metric", key).is_err(), "{key}");
        }
        for path in ["a", "0/run/artifacts/model.pkl", "a b/c"] {
            check_path(path).unwrap();
        }
        for path in ["", "/a", "a/", "a/../b", ".", "a\\b", "c:/x", "a\0"] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }
}
