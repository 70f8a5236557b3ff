//! The copies that put values from some places to others.

use tinyops_nn::record::COPY_TABLE;

/// More copies than a rearrangement of any network takes.
const COPIES_MAX: usize = 1024;

/// The copies of one rearrangement.
pub(super) struct Copies {
    /// The numbers of each.
    pub(super) all: Vec<Vec<i32>>,
    /// Whether they make every value of the output.
    pub(super) are_whole: bool,
}

/// Places of the output along one axis that lie equally far apart, and where they come from.
struct Run {
    first: usize,
    gap: usize,
    places: Vec<i32>,
}

/// The copies for places by axis; `None` where they would be too many, or none.
pub(super) fn copies(places: &[i32], shape: [u16; 4]) -> Option<Copies> {
    let [_, height, width, channels] = shape.map(usize::from);
    let steps = [width * channels, channels, 1];
    let mut rest = places;
    let mut axes = Vec::new();
    let mut are_whole = true;
    for len in [height, width, channels] {
        let (of_axis, others) = rest.split_at_checked(len)?;
        rest = others;
        are_whole &= of_axis.iter().all(|&place| place >= 0);
        axes.push(runs(of_axis));
    }
    let count = axes.iter().map(Vec::len).product::<usize>();
    if count == 0 || count > COPIES_MAX {
        return None;
    }
    let mut all = Vec::with_capacity(count);
    for rows in &axes[0] {
        for columns in &axes[1] {
            for channels in &axes[2] {
                all.push(numbers([rows, columns, channels], steps)?);
            }
        }
    }
    Some(Copies { all, are_whole })
}

/// The places of an axis that come from somewhere, in as few runs as a walk finds.
fn runs(of_axis: &[i32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, &place) in of_axis.iter().enumerate().filter(|&(_, &place)| place >= 0) {
        let next = |run: &Run| run.first + run.gap * run.places.len();
        match runs.last_mut() {
            // The second place of a run says how far apart its places lie.
            Some(run) if run.places.len() == 1 => {
                run.gap = at - run.first;
                run.places.push(place);
            }
            Some(run) if next(run) == at => run.places.push(place),
            _ => runs.push(Run {
                first: at,
                gap: 1,
                places: vec![place],
            }),
        }
    }
    runs
}

fn numbers(axes: [&Run; 3], steps: [usize; 3]) -> Option<Vec<i32>> {
    let mut numbers = vec![0, 0];
    let mut tables: Vec<i32> = Vec::new();
    for (run, step) in axes.into_iter().zip(steps) {
        let (first, second) = (run.places[0], run.places.get(1));
        let gap = second.map_or(1, |next| next - first);
        let is_even = run.places.windows(2).all(|pair| pair[1] - pair[0] == gap);
        numbers[1] += i32::try_from(run.first * step).ok()?;
        numbers.extend([run.places.len() as i32, i32::try_from(run.gap * step).ok()?]);
        if is_even {
            numbers[0] += first;
            numbers.push(gap);
        } else {
            numbers.push(COPY_TABLE);
            tables.extend(&run.places);
        }
    }
    numbers.extend(tables);
    Some(numbers)
}
