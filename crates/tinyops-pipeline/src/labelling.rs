//! What people say of labels: the history in a project's folder, and the list of doubts that they decide on.
//!
//! ```text
//! labels.tsv                    the history; Git has it
//! .tinyops/labels.lock          held by whoever adds to it
//! .tinyops/label-issues.json    the last list of labels that are likely wrong
//! ```
//!
//! Whoever reads the history sees whole lines: it is written beside its place and renamed, under a lock, so that what two
//! people say at once is both there.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};
use tinyops_data::{
    finding::Severity,
    history::{Act, Entry, FILE_NAME, History, HistoryError},
};
use tinyops_store::{Readers, StoreError, Timestamp, Tx, audit, write_whole};
use tinyops_train::progress::Flow;

use crate::{
    RunError, Shelf, Workshop,
    background::background,
    doubt::{Doubt, DoubtError, Doubts, doubts},
    openlineage::moment,
};

const LOCK: &str = ".tinyops/labels.lock";
const LIST: &str = ".tinyops/label-issues.json";

/// Why nothing was said, or what was said is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabellingError {
    /// A file cannot be read.
    #[error("cannot read `{name}`")]
    Read {
        /// From the project's folder on.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{name}`")]
    Write {
        /// From the project's folder on.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The history is none; nothing is added to what cannot be read.
    #[error("`{FILE_NAME}`, the history of labels, cannot be read")]
    History(#[from] HistoryError),
    /// Nobody has looked for wrong labels here.
    #[error("no labels were doubted yet")]
    NoList,
    /// The list has no such number.
    #[error("the last list has no issue {number}: it has {count}")]
    NoIssue {
        /// What was asked for.
        number: usize,
        /// How many it has.
        count: usize,
    },
    /// Somebody has looked again since.
    #[error("the list is another one by now")]
    OtherList,
    /// Somebody was faster.
    #[error("`{who}` has decided issue {number} already")]
    Decided {
        /// The issue.
        number: usize,
        /// Who.
        who: String,
    },
    /// What is to be taken back does not hold.
    #[error("that does not hold any more")]
    Undone,
}

/// Who says something of labels, when and why.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// Who.
    pub who: &'a str,
    /// Why; may be empty.
    pub why: &'a str,
    /// When.
    pub at: Timestamp,
}

/// The history of a project's labels; an empty one where nobody has said anything.
///
/// # Errors
/// [`LabellingError::Read`], [`LabellingError::History`].
pub fn history(root: &Path) -> Result<History, LabellingError> {
    Ok(History::decode(&text(root)?)?)
}

fn text(root: &Path) -> Result<String, LabellingError> {
    match fs::read_to_string(root.join(FILE_NAME)) {
        Ok(text) if text.is_empty() => Ok(History::header()),
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(History::header()),
        Err(source) => Err(LabellingError::Read {
            name: FILE_NAME,
            source,
        }),
    }
}

/// Adds entries to the history, and returns them: on the disk once this returns, and each with an id that no other has.
///
/// # Errors
/// [`LabellingError`]; then the history is as it was.
pub fn say(root: &Path, acts: Vec<Act>, said: &Said<'_>) -> Result<Vec<Entry>, LabellingError> {
    let _lock = lock(root)?;
    add(root, acts, said)
}

/// As [`say`], for whoever holds the lock.
fn add(root: &Path, acts: Vec<Act>, said: &Said<'_>) -> Result<Vec<Entry>, LabellingError> {
    let mut text = text(root)?;
    let known = History::decode(&text)?.entries;
    let mut ids: BTreeSet<String> = known.iter().map(Entry::id).collect();
    if !text.ends_with('\n') {
        // An editor, or a power cut, may have left it so.
        text.push('\n');
    }
    let mut at = said.at;
    let mut added = Vec::with_capacity(acts.len());
    for act in acts {
        let mut entry = Entry {
            at: moment(at),
            who: said.who.to_owned(),
            act,
            why: said.why.to_owned(),
        };
        // An id is of what was said and when; the same words in the same millisecond came a little later.
        while !ids.insert(entry.id()) {
            at = at.plus_ms(1);
            entry.at = moment(at);
        }
        text += &entry.encode();
        text.push('\n');
        added.push(entry);
    }
    write(root, FILE_NAME, text.as_bytes())?;
    Ok(added)
}

/// The right to add to the history; it ends with the process, too.
fn lock(root: &Path) -> Result<File, LabellingError> {
    let path = root.join(LOCK);
    let locked = || {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        let file = File::options().create(true).append(true).open(&path)?;
        match file.lock() {
            // Where a file system has no locks, nobody is kept out.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
            _ => Ok(file),
        }
    };
    locked().map_err(|source| LabellingError::Write { name: LOCK, source })
}

fn write(root: &Path, name: &'static str, bytes: &[u8]) -> Result<(), LabellingError> {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap_or(root))
        .and_then(|()| write_whole(&path, Readers::Usual, bytes))
        .map_err(|source| LabellingError::Write { name, source })
}

/// Why no labels were doubted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The recordings cannot be listed.
    #[error(transparent)]
    Shelf(#[from] RunError),
    /// There are errors among them.
    #[error("the recordings have {0} errors: `tinyops data validate` lists them")]
    Errors(usize),
    /// Labels cannot be doubted.
    #[error(transparent)]
    Doubt(#[from] DoubtError),
    /// History and list.
    #[error(transparent)]
    Labelling(#[from] LabellingError),
    /// The work ended without a word.
    #[error("the work broke off: the server's log says why")]
    Broken,
}

/// Looks for labels that are likely wrong, on a thread that gives way to others, and keeps what it finds as the last list.
///
/// `report` hears how many of how many models are trained.
///
/// # Errors
/// [`LookError`]; then the last list stays what it is.
pub async fn look(
    workshop: &Workshop,
    folds: usize,
    report: impl Fn(usize, usize) + Send + 'static,
) -> Result<IssueList, LookError> {
    let (root, project) = (workshop.root.clone(), workshop.project.clone());
    let now = workshop.now.clone();
    let work = move || {
        // What is decided while models train is newer than the list.
        let at = now();
        let kept = history(&root)?.kept();
        let shelf = Shelf::list(&root, &project.data)?;
        let (dataset, findings) = shelf.decoded();
        if findings.has_errors() {
            return Err(LookError::Errors(findings.count(Severity::Error)));
        }
        let mut tell = |done, all| {
            report(done, all);
            Flow::Continue
        };
        let found = doubts(&project, dataset, folds, &kept, &mut tell)?;
        let list = IssueList::of(found, at);
        list.keep(&root)?;
        Ok(list)
    };
    background(work).await.unwrap_or(Err(LookError::Broken))
}

/// Labels that are likely wrong, as they were found last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IssueList {
    /// When they were looked for, Unix milliseconds.
    pub at_ms: i64,
    /// How many models were trained.
    pub folds: usize,
    /// How many windows were judged.
    pub windows: usize,
    /// The least credible first.
    pub issues: Vec<Issue>,
}

/// A label that is likely wrong, under a number that people name it by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// Its number in the list, counted from 1.
    pub issue: usize,
    /// The recording's name in the dataset.
    pub recording: String,
    /// Its file.
    pub file: String,
    /// The first reading that is meant, and the one behind the last.
    pub readings: [usize; 2],
    /// Whether these are all of the recording's.
    pub is_whole: bool,
    /// How many windows say so.
    pub windows: usize,
    /// The label that it has.
    pub label: String,
    /// The class that it likely is of.
    pub likely: String,
    /// From 0, for a label that cannot be, to 1.
    pub score: f64,
}

/// What a person finds of a doubted label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The likely class is its label.
    Accept,
    /// Its label is right: it is not doubted again.
    Reject,
}

impl Issue {
    fn of((doubt, number): (Doubt, usize)) -> Self {
        Self {
            issue: number,
            recording: doubt.recording,
            file: doubt.file,
            readings: [doubt.readings.start, doubt.readings.end],
            is_whole: doubt.is_whole,
            windows: doubt.windows,
            label: doubt.given,
            likely: doubt.likely,
            score: doubt.score,
        }
    }

    /// What the history is told of it.
    #[must_use]
    pub fn act(&self, decision: Decision) -> Act {
        let recording = self.recording.clone();
        match (decision, self.is_whole) {
            (Decision::Reject, _) => Act::Keep {
                recording,
                label: self.label.clone(),
            },
            (Decision::Accept, true) => Act::Set {
                recording,
                label: self.likely.clone(),
            },
            (Decision::Accept, false) => Act::Range {
                recording,
                readings: self.readings[0]..self.readings[1],
                label: self.likely.clone(),
            },
        }
    }
}

impl IssueList {
    /// Numbers what was found.
    #[must_use]
    pub fn of(doubts: Doubts, at: Timestamp) -> Self {
        Self {
            at_ms: at.0,
            folds: doubts.folds,
            windows: doubts.windows,
            issues: doubts.doubts.into_iter().zip(1..).map(Issue::of).collect(),
        }
    }

    /// The last list of a project, if there is one.
    ///
    /// # Errors
    /// [`LabellingError::Read`]. What is no list of this version is none.
    pub fn read(root: &Path) -> Result<Option<Self>, LabellingError> {
        match fs::read(root.join(LIST)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LabellingError::Read { name: LIST, source }),
        }
    }

    /// Makes it the last list of a project.
    ///
    /// # Errors
    /// [`LabellingError::Write`].
    pub fn keep(&self, root: &Path) -> Result<(), LabellingError> {
        let bytes = serde_json::to_vec(self).expect("a list has string keys");
        write(root, LIST, &bytes)
    }

    /// The issue with a number.
    ///
    /// # Errors
    /// [`LabellingError::NoIssue`].
    pub fn numbered(&self, number: usize) -> Result<&Issue, LabellingError> {
        let found = self.issues.iter().find(|issue| issue.issue == number);
        found.ok_or(LabellingError::NoIssue {
            number,
            count: self.issues.len(),
        })
    }

    /// What was said of an issue since the list was made: the newest entry that holds and is about just this.
    fn decided<'a>(&self, issue: &Issue, history: &'a History) -> Option<&'a Entry> {
        let since = moment(Timestamp(self.at_ms));
        let acts = [Decision::Accept, Decision::Reject].map(|decision| issue.act(decision));
        let is_of = |entry: &&Entry| {
            let is_other_label =
                matches!(&entry.act, Act::Set { recording, .. } if *recording == issue.recording);
            entry.at >= since && (acts.contains(&entry.act) || is_other_label)
        };
        history.in_force().filter(is_of).last()
    }
}

/// How the last list stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The list.
    pub list: IssueList,
    /// What nobody has decided, the least credible first.
    pub open: Vec<Issue>,
    /// What somebody has, the newest first.
    pub decided: Vec<Decided>,
}

/// What somebody found of a doubted label.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What was doubted.
    pub issue: Issue,
    /// The entry of the history that says so.
    pub entry: String,
    /// When, as the history has it.
    pub at: String,
    /// Who.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
    /// The label that it has now; empty for none.
    pub label: String,
    /// Whether that is the one that was doubted.
    pub is_kept: bool,
}

/// How the last list of a project stands; none where nobody has looked.
///
/// # Errors
/// [`LabellingError::Read`], [`LabellingError::History`].
pub fn standing(root: &Path) -> Result<Option<Standing>, LabellingError> {
    let Some(list) = IssueList::read(root)? else {
        return Ok(None);
    };
    let history = history(root)?;
    let (mut open, mut decided) = (Vec::new(), Vec::new());
    for issue in &list.issues {
        let Some(entry) = list.decided(issue, &history) else {
            open.push(issue.clone());
            continue;
        };
        let label = match &entry.act {
            Act::Set { label, .. } | Act::Range { label, .. } | Act::Keep { label, .. } => label,
            Act::Rule { .. } | Act::Undo { .. } => continue,
        };
        decided.push(Decided {
            issue: issue.clone(),
            entry: entry.id(),
            at: entry.at.clone(),
            who: entry.who.clone(),
            why: entry.why.clone(),
            label: label.clone(),
            is_kept: *label == issue.label,
        });
    }
    decided.sort_by(|a, b| b.at.cmp(&a.at));
    Ok(Some(Standing {
        list,
        open,
        decided,
    }))
}

/// Decides on issues of the list that was made at `list_ms`, unless somebody has on one of them since, and returns what the
/// history is told.
///
/// # Errors
/// [`LabellingError`]; then nothing was said.
pub fn decide(
    root: &Path,
    list_ms: i64,
    numbers: &[usize],
    decision: Decision,
    said: &Said<'_>,
) -> Result<Vec<Entry>, LabellingError> {
    let _lock = lock(root)?;
    let list = the_list(root, list_ms)?;
    let history = history(root)?;
    let mut acts = Vec::with_capacity(numbers.len());
    // One that is named twice is decided once.
    for number in numbers.iter().copied().collect::<BTreeSet<_>>() {
        let issue = list.numbered(number)?;
        if let Some(entry) = list.decided(issue, &history) {
            let who = entry.who.clone();
            return Err(LabellingError::Decided { number, who });
        }
        acts.push(issue.act(decision));
    }
    add(root, acts, said)
}

/// Notes in the audit log what the history was told over the network, each entry by its id.
///
/// # Errors
/// [`StoreError`].
pub async fn note(tx: &Tx, now: Timestamp, actor: &str, told: &[Entry]) -> Result<(), StoreError> {
    for entry in told {
        let (action, subject, label) = match &entry.act {
            Act::Set { recording, label } => ("label.set", recording, Some(label)),
            Act::Range {
                recording, label, ..
            } => ("label.range", recording, Some(label)),
            Act::Rule { field, label, .. } => ("label.rule", field, Some(label)),
            Act::Keep { recording, label } => ("label.keep", recording, Some(label)),
            Act::Undo { id } => ("label.undo", id, None),
        };
        let detail = serde_json::json!({ "entry": entry.id(), "label": label, "why": entry.why });
        audit::add(tx, now, actor, action, subject, &detail).await?;
    }
    Ok(())
}

/// An issue of the list that was made at `list_ms`.
///
/// # Errors
/// [`LabellingError::NoList`], [`LabellingError::OtherList`], [`LabellingError::NoIssue`], [`LabellingError::Read`].
pub fn issue(root: &Path, list_ms: i64, number: usize) -> Result<Issue, LabellingError> {
    the_list(root, list_ms)?.numbered(number).cloned()
}

/// Takes back what was decided on an issue of the list that was made at `list_ms`, if `entry` is what holds of it, and
/// returns what the history is told.
///
/// # Errors
/// [`LabellingError`]; then nothing was said.
pub fn take_back(
    root: &Path,
    list_ms: i64,
    number: usize,
    entry: &str,
    said: &Said<'_>,
) -> Result<Vec<Entry>, LabellingError> {
    let _lock = lock(root)?;
    let list = the_list(root, list_ms)?;
    let history = history(root)?;
    let holds = list.decided(list.numbered(number)?, &history);
    if holds.is_none_or(|holds| holds.id() != entry) {
        return Err(LabellingError::Undone);
    }
    let id = entry.to_owned();
    add(root, vec![Act::Undo { id }], said)
}

fn the_list(root: &Path, list_ms: i64) -> Result<IssueList, LabellingError> {
    let list = IssueList::read(root)?.ok_or(LabellingError::NoList)?;
    match list.at_ms == list_ms {
        true => Ok(list),
        false => Err(LabellingError::OtherList),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_795_374_849_123);

    fn set(recording: &str) -> Act {
        Act::Set {
            recording: recording.to_owned(),
            label: "worn".to_owned(),
        }
    }

    fn said(who: &str) -> Said<'_> {
        Said {
            who,
            why: "",
            at: AT,
        }
    }

    #[test]
    fn a_history_without_its_last_line_feed_gets_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        let first = say(folder.path(), vec![set("a.csv")], &said("ana")).expect("says");
        let text = fs::read_to_string(&path).expect("there");
        fs::write(&path, text.trim_end_matches('\n')).expect("writes");
        let second = say(folder.path(), vec![set("b.csv")], &said("ben")).expect("says");
        let all = history(folder.path()).expect("a history").entries;
        assert_eq!(all, [first, second].concat());
        // What is there and empty is a history, too; what is none is left as it is.
        fs::write(&path, "").expect("writes");
        say(folder.path(), vec![set("c.csv")], &said("ana")).expect("says");
        assert_eq!(history(folder.path()).expect("a history").entries.len(), 1);
        fs::write(&path, "tinyops-labels 1\nhalf").expect("writes");
        let refused = say(folder.path(), vec![set("d.csv")], &said("ana"));
        assert!(matches!(refused, Err(LabellingError::History(_))));
        let left = fs::read_to_string(&path).expect("there");
        assert_eq!(left, "tinyops-labels 1\nhalf");
    }

    #[test]
    fn what_is_said_twice_at_once_has_two_ids() {
        let folder = tempfile::tempdir().expect("a folder");
        let twice = vec![set("a.csv"), set("a.csv")];
        let added = say(folder.path(), twice, &said("ana")).expect("says");
        let again = say(folder.path(), vec![set("a.csv")], &said("ana")).expect("says");
        let ids: Vec<String> = added.iter().chain(&again).map(Entry::id).collect();
        assert!(
            ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2],
            "{ids:?}"
        );
        // Taking one back leaves the others.
        let undo = Act::Undo { id: ids[1].clone() };
        say(folder.path(), vec![undo], &said("ana")).expect("says");
        let history = history(folder.path()).expect("a history");
        assert_eq!(
            history
                .in_force()
                .filter(|entry| matches!(entry.act, Act::Set { .. }))
                .count(),
            2
        );
    }

    #[test]
    fn what_many_say_at_once_is_all_there() {
        let folder = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let root = folder.path();
                scope.spawn(move || {
                    for number in 0..10 {
                        let act = set(&format!("{thread}/{number}.csv"));
                        say(root, vec![act], &said("ana")).expect("says");
                    }
                });
            }
        });
        let entries = history(folder.path()).expect("a history").entries;
        let ids: BTreeSet<String> = entries.iter().map(Entry::id).collect();
        assert_eq!((entries.len(), ids.len()), (80, 80));
    }

    #[test]
    fn a_list_tells_what_became_of_its_issues() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        assert_eq!(IssueList::read(root).expect("reads"), None);
        say(root, vec![set("a.csv")], &said("ana")).expect("says");
        let doubt = |recording: &str, is_whole| Doubt {
            recording: recording.to_owned(),
            file: recording.to_owned(),
            readings: 10..20,
            is_whole,
            windows: 1,
            given: "calm".to_owned(),
            likely: "worn".to_owned(),
            score: 0.1,
        };
        let doubts = Doubts {
            folds: 2,
            windows: 9,
            doubts: vec![
                doubt("a.csv", true),
                doubt("b.csv", false),
                doubt("c.csv", true),
            ],
            classes: Vec::new(),
        };
        let list = IssueList::of(doubts, AT.plus_ms(5));
        list.keep(root).expect("keeps");
        assert_eq!(IssueList::read(root).expect("reads"), Some(list.clone()));
        let of = |number: usize| {
            let history = history(root).expect("a history");
            let issue = list.numbered(number).expect("there");
            list.decided(issue, &history).map(|entry| entry.act.clone())
        };
        assert_eq!(of(1), None, "what was said before the list was made");
        let later = Said {
            at: AT.plus_ms(9),
            ..said("ben")
        };
        for (number, decision) in [
            (1, Decision::Accept),
            (2, Decision::Accept),
            (3, Decision::Reject),
        ] {
            let act = list.numbered(number).expect("there").act(decision);
            assert_eq!(of(number), None);
            say(root, vec![act.clone()], &later).expect("says");
            assert_eq!(of(number), Some(act));
        }
        assert!(matches!(
            list.numbered(4),
            Err(LabellingError::NoIssue {
                number: 4,
                count: 3
            })
        ));
        // All are decided, the last one by keeping the label; what is taken back can be decided again, once.
        let standing_now = || standing(root).expect("reads").expect("a list");
        let now = standing_now();
        assert_eq!((now.open.len(), now.decided.len()), (0, 3));
        let of_third = now
            .decided
            .iter()
            .find(|decided| decided.issue.issue == 3)
            .expect("there");
        assert!(of_third.is_kept && of_third.label == "calm" && of_third.who == "ben");
        let at = list.at_ms;
        let again = decide(root, at, &[3], Decision::Accept, &later);
        assert!(matches!(
            again,
            Err(LabellingError::Decided { number: 3, .. })
        ));
        let other = take_back(root, at, 3, "00000000", &later);
        assert!(matches!(other, Err(LabellingError::Undone)));
        take_back(root, at, 3, &of_third.entry, &later).expect("takes back");
        // Of several of which one is decided, none is.
        let some = decide(root, at, &[3, 1], Decision::Reject, &later);
        assert!(matches!(
            some,
            Err(LabellingError::Decided { number: 1, .. })
        ));
        assert_eq!(standing_now().open.len(), 1);
        let told = decide(root, at, &[3, 3], Decision::Accept, &later).expect("decides");
        assert_eq!(told.len(), 1, "named twice, said once");
        assert_eq!(standing_now().open.len(), 0);
        let old = decide(root, at - 1, &[3], Decision::Accept, &later);
        assert!(matches!(old, Err(LabellingError::OtherList)));
        assert_eq!(issue(root, at, 2).expect("there").recording, "b.csv");
        let old = issue(root, at - 1, 2);
        assert!(matches!(old, Err(LabellingError::OtherList)));
    }
}
