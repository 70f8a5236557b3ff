//! Which samples train, which choose, which test: whole groups, never parts of one.

use std::collections::{BTreeMap, BTreeSet};

use tinyops_wire::id::DigestBuilder;

use crate::dataset::Dataset;
use crate::finding::{Code, Finding, Report};
use crate::leak;
use crate::natural;
use crate::sample::{Role, Sample};
use crate::spec::{SplitBy, SplitSpec};

/// Share that tests when neither the spec nor a fixed role says.
pub const TEST_SHARE: f32 = 0.2;

/// Below so many groups the hash alone is too uneven, so that a part takes no more of them than its share.
const FEW_GROUPS: usize = 20;

/// Indices into [`Dataset::samples`], each in one part at most, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Weights are fitted to these.
    pub train: Vec<usize>,
    /// Choices are made by these.
    pub validation: Vec<usize>,
    /// Looked at once, at the end.
    pub test: Vec<usize>,
}

impl Split {
    /// One part.
    pub fn part(&self, role: Role) -> &[usize] {
        match role {
            Role::Train => &self.train,
            Role::Validation => &self.validation,
            Role::Test => &self.test,
        }
    }

    fn push(&mut self, role: Role, index: usize) {
        match role {
            Role::Train => self.train.push(index),
            Role::Validation => self.validation.push(index),
            Role::Test => self.test.push(index),
        }
    }
}

/// Splits a dataset, and reports empty parts, missing classes and leaks.
///
/// A role that a sample has is kept, but for `train`, from which validation is taken. A group named in `hold_out`
/// tests, unless its samples have roles of their own. The rest follows `by`:
/// - `group`: the hash of seed and name puts a group on a side, so that added data moves no other. A group that alone
///   holds a class of the training data stays there, a part that would be empty takes the group that comes nearest, and of few groups none takes more than its share.
/// - `time`: within a source, folder and class, in natural order of names, the first train, then come validation and
///   test.
/// - `every`: in natural order of names, every n-th sample tests, and of the others one in `1 / validation` validates.
pub fn split(dataset: &Dataset, spec: &SplitSpec, report: &mut Report) -> Split {
    check_spec(dataset, spec, report);
    let roles = roles(dataset, spec);
    let mut split = Split::default();
    for (index, role) in roles.into_iter().enumerate() {
        split.push(role, index);
    }
    check_parts(dataset, spec, &split, report);
    leak::check(dataset, &split, report);
    split
}

/// One split for each group that has no fixed test role, in which that group alone tests, and its name: leave one out.
pub fn leave_one_out(
    dataset: &Dataset,
    spec: &SplitSpec,
    report: &mut Report,
) -> Vec<(String, Split)> {
    let groups = dataset.groups();
    let folds = groups.into_iter().map(|group| {
        let spec = SplitSpec {
            hold_out: vec![group.to_owned()],
            test: Some(0.0),
            ..spec.clone()
        };
        (group.to_owned(), split(dataset, &spec, report))
    });
    folds.collect()
}

fn check_spec(dataset: &Dataset, spec: &SplitSpec, report: &mut Report) {
    let test = spec.test.unwrap_or(0.0);
    let shares = [spec.validation, test, 1.0 - spec.validation - test];
    // Also refuses NaN.
    if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
        let message = format!(
            "split shares validation {} and test {test} leave nothing to train",
            spec.validation
        );
        report.push(
            Finding::error(Code::Setting, message)
                .hint("both are between 0 and 1, and so is their sum"),
        );
    }
    if spec.by == SplitBy::Every && spec.every < 2 {
        let message = format!("split takes every sample: `every` is {}", spec.every);
        report.push(Finding::error(Code::Setting, message).hint("set `every` to 2 or more"));
    }
    let groups = dataset.groups();
    for group in &spec.hold_out {
        if !groups.contains(&group.as_str()) {
            let some: Vec<&str> = groups.iter().copied().take(8).collect();
            let message = format!("held-out group `{group}` is not in the data");
            report.push(
                Finding::error(Code::Setting, message)
                    .hint(format!("groups are: {}", some.join(", "))),
            );
        }
    }
}

fn roles(dataset: &Dataset, spec: &SplitSpec) -> Vec<Role> {
    let samples = &dataset.samples;
    let is_held_out =
        |sample: &Sample| sample.role.is_none() && spec.hold_out.contains(&sample.group);
    let fixed: Vec<Option<Role>> = samples
        .iter()
        .map(|sample| {
            if is_held_out(sample) {
                Some(Role::Test)
            } else {
                sample.role
            }
        })
        .collect();
    let has_test = fixed.contains(&Some(Role::Test));
    let shares = Shares {
        test: spec.test.unwrap_or(if has_test { 0.0 } else { TEST_SHARE }),
        validation: spec.validation,
    };
    match spec.by {
        SplitBy::Group => by_group(samples, &fixed, shares, spec.seed),
        SplitBy::Time => by_time(samples, &fixed, shares),
        SplitBy::Every => by_every(samples, &fixed, shares, spec.every as usize),
    }
}

#[derive(Clone, Copy)]
struct Shares {
    test: f32,
    validation: f32,
}

fn by_group(samples: &[Sample], fixed: &[Option<Role>], shares: Shares, seed: u64) -> Vec<Role> {
    // Groups with samples to place, and whether those may test.
    let mut groups: BTreeMap<&str, Candidate<'_>> = BTreeMap::new();
    for (sample, fixed) in samples.iter().zip(fixed) {
        if matches!(fixed, None | Some(Role::Train)) {
            let group = groups.entry(&sample.group).or_insert_with(|| Candidate {
                place: place(seed, &sample.group),
                may_test: true,
                classes: BTreeSet::from([ANY]),
                role: Role::Train,
            });
            group.may_test &= fixed.is_none();
            group.classes.extend(sample.label.classes());
        }
    }
    let mut candidates: Vec<&mut Candidate<'_>> = groups.values_mut().collect();
    candidates.sort_by(|a, b| a.place.total_cmp(&b.place));
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for class in candidates.iter().flat_map(|group| &group.classes) {
        *holders.entry(class).or_default() += 1;
    }
    let test = f64::from(shares.test);
    let validation = test + f64::from(shares.validation);
    for (role, share, end) in [
        (Role::Test, shares.test, test),
        (Role::Validation, shares.validation, validation),
    ] {
        let mut taken = 0;
        let count = candidates.len();
        let most = if count < FEW_GROUPS {
            ((f64::from(share) * count as f64).round() as usize).max(1)
        } else {
            count
        };
        for group in &mut candidates {
            let free = group.role == Role::Train && (role != Role::Test || group.may_test);
            // Beyond the hash, a part that is still empty takes the nearest group.
            let wanted = taken < most && (group.place < end || taken == 0);
            let spares = group.classes.iter().all(|class| holders[class] > 1);
            if share > 0.0 && free && wanted && spares {
                for class in &group.classes {
                    *holders.entry(class).or_default() -= 1;
                }
                group.role = role;
                taken += 1;
            }
        }
    }
    let role = |(sample, fixed): (&Sample, &Option<Role>)| match fixed {
        None | Some(Role::Train) => groups[sample.group.as_str()].role,
        Some(role) => *role,
    };
    samples.iter().zip(fixed).map(role).collect()
}

/// Stands for all classes together: at least one group trains.
const ANY: &str = "";

struct Candidate<'a> {
    place: f64,
    may_test: bool,
    classes: BTreeSet<&'a str>,
    role: Role,
}

/// Where in 0..1 the hash puts a group.
fn place(seed: u64, group: &str) -> f64 {
    let mut builder = DigestBuilder::new();
    builder.update(&seed.to_le_bytes());
    builder.update(group.as_bytes());
    let head = u64::from_le_bytes(builder.finish().prefix());
    // 53 bits are what a double holds exactly.
    (head >> 11) as f64 / (1u64 << 53) as f64
}

fn by_time(samples: &[Sample], fixed: &[Option<Role>], shares: Shares) -> Vec<Role> {
    let mut roles = vec![Role::Train; samples.len()];
    let mut sequences: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for index in natural_order(samples) {
        match fixed[index] {
            Some(role @ (Role::Validation | Role::Test)) => roles[index] = role,
            None | Some(Role::Train) => {
                let sample = &samples[index];
                let folder = sample
                    .origin
                    .file
                    .rsplit_once('/')
                    .map_or("", |(folder, _)| folder);
                let class = sample.label.classes().next().unwrap_or("");
                let may_test = fixed[index].is_none();
                let key = (sample.origin.source, folder, class, may_test);
                sequences.entry(key).or_default().push(index);
            }
        }
    }
    for ((_, _, _, may_test), sequence) in sequences {
        let share = |share: f32| (f64::from(share) * sequence.len() as f64).round() as usize;
        let test_count = if may_test { share(shares.test) } else { 0 };
        let validation_count = share(shares.validation);
        // The last are the newest: they test, and those before them validate.
        for (age, &index) in sequence.iter().rev().enumerate() {
            if age < test_count {
                roles[index] = Role::Test;
            } else if age < test_count + validation_count && age + 1 < sequence.len() {
                roles[index] = Role::Validation;
            }
        }
    }
    roles
}

fn by_every(samples: &[Sample], fixed: &[Option<Role>], shares: Shares, every: usize) -> Vec<Role> {
    let mut roles = vec![Role::Train; samples.len()];
    let mut rest = Vec::new();
    let mut count = 0;
    for index in natural_order(samples) {
        match fixed[index] {
            Some(role @ (Role::Validation | Role::Test)) => roles[index] = role,
            Some(Role::Train) => rest.push(index),
            None => {
                count += 1;
                if shares.test > 0.0 && every >= 2 && count % every == 0 {
                    roles[index] = Role::Test;
                } else {
                    rest.push(index);
                }
            }
        }
    }
    if shares.validation > 0.0 {
        // One in so many validates; the remainder of a sum, so that 0.15 means 3 in 20.
        let mut sum = 0.0;
        for index in rest {
            sum += f64::from(shares.validation.min(1.0));
            if sum >= 1.0 {
                sum -= 1.0;
                roles[index] = Role::Validation;
            }
        }
    }
    roles
}

fn natural_order(samples: &[Sample]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    let cut = |sample: &Sample| sample.origin.cut.as_ref().map_or(0, |range| range.start);
    order.sort_by(|&left, &right| {
        let (left, right) = (&samples[left], &samples[right]);
        let sources = left.origin.source.cmp(&right.origin.source);
        sources
            .then_with(|| natural::compare(&left.origin.file, &right.origin.file))
            .then_with(|| left.origin.row.cmp(&right.origin.row))
            .then_with(|| cut(left).cmp(&cut(right)))
            .then_with(|| left.name.cmp(&right.name))
    });
    order
}

fn check_parts(dataset: &Dataset, spec: &SplitSpec, split: &Split, report: &mut Report) {
    let wants = |role| match role {
        Role::Train => true,
        Role::Validation => spec.validation > 0.0,
        Role::Test => spec.test != Some(0.0) || !spec.hold_out.is_empty(),
    };
    for role in [Role::Train, Role::Validation, Role::Test] {
        if !split.part(role).is_empty() || !wants(role) || dataset.samples.is_empty() {
            continue;
        }
        let message = format!("no sample is left for {}", role.as_str());
        let finding = match role {
            // Without a test nobody knows what the model is worth.
            Role::Train | Role::Test => Finding::error(Code::EmptyPart, message),
            Role::Validation => Finding::warning(Code::EmptyPart, message),
        };
        report.push(finding.hint(
            "give the data more groups, name `group` in the source, or split `by = \"time\"` or `\"every\"`",
        ));
    }
    let holds = |role, class: &str| {
        let mut samples = split
            .part(role)
            .iter()
            .map(|&index| &dataset.samples[index]);
        samples.any(|sample| sample.label.classes().any(|known| known == class))
    };
    for class in &dataset.classes {
        let (train, test) = (holds(Role::Train, class), holds(Role::Test, class));
        let message = match (train, test) {
            (false, true) => format!("class `{class}` is in test but not in training"),
            (true, false) if !split.test.is_empty() => format!("class `{class}` is not in test"),
            _ => continue,
        };
        report.push(Finding::warning(Code::MissingClass, message));
    }
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
