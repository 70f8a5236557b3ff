//! That sums lose nothing: what a fleet's sums lead to is what all its windows at one place do, who withdraws was never
//! there, and who is late is in.

use tinyops_fleet::sums::{Sums, clipped_sum};
use tinyops_train::head;
use tinyops_wire::ModelId;
use tinyops_wire::mask::{HelperKey, Purpose, Task};
use tinyops_wire::masked::{quantize, update_value};
use tinyops_wire::{DeviceId, statistics};

use super::heads::{self, World};
use super::rounds;
use crate::figure::Row;

/// Largest difference of a weight, as a share of the largest.
const DIFFERENCE_MAX: f64 = 1e-9;
/// Ridge of the discriminant as a share of the mean variance, as the server's solver has it.
const RIDGE: f64 = 0.1;

pub(super) fn rows() -> Result<Vec<Row>, String> {
    let world = heads::digit_world()?;
    let told: Vec<Sums> = world.sums(false)?;
    let heard: Vec<Sums> = told.iter().map(through_frames).collect::<Result<_, _>>()?;
    let difference = difference(&world, &added(&heard)?)?;
    Ok(vec![
        Row {
            name: "digits, the fleet's head less the central one",
            goal: format!("≤ {DIFFERENCE_MAX:.0e} of its weights"),
            own: format!("{difference:.1e}"),
            peer: "design notes: 3.5e-13".to_owned(),
            holds: difference <= DIFFERENCE_MAX,
        },
        Row::at_most(
            "values that differ after a device is taken back",
            Some(0),
            taken_back(&heard)?,
            format!("in the clear, made anew, of {} devices", heard.len()),
        ),
        Row::at_most(
            "values that differ when devices come late",
            Some(0),
            late(&heard)?,
            "in the clear, in another order".to_owned(),
        ),
        Row::at_most(
            "numbers that differ after a device is taken back",
            Some(0),
            taken_back_in_ring(&heard)?,
            "under masks, in the ring".to_owned(),
        ),
    ])
}

/// Sums as a device tells them in frames of the plain mode, and as the server reads them.
fn through_frames(sums: &Sums) -> Result<Sums, String> {
    const FRAME_BYTES: usize = 222;
    let shape = statistics::Shape {
        round: 1,
        class_count: sums.class_count as u8,
        width: sums.width as u16,
        window_count: sums.window_count() as u16,
    };
    let values = || sums.values.iter().copied();
    let mut heard = vec![0; sums.values.len()];
    let mut out = [0; FRAME_BYTES];
    for part in 0.. {
        let cut = statistics::plan_parts(values(), FRAME_BYTES, part);
        let Some(cut) = cut.map_err(|error| error.to_string())? else {
            break;
        };
        let bytes = statistics::encode_part(shape, part, cut, values(), &mut out)
            .map_err(|error| error.to_string())?;
        let frame = tinyops_wire::Frame::decode(&out[..bytes]).map_err(|e| e.to_string())?;
        let tinyops_wire::Frame::Statistics(part) = frame else {
            return Err("sums came back as another frame".to_owned());
        };
        for (index, value) in part.values() {
            heard[index] = value;
        }
    }
    Ok(Sums {
        values: heard,
        ..*sums
    })
}

fn added(all: &[Sums]) -> Result<Sums, String> {
    let (first, rest) = all.split_first().ok_or("no device")?;
    let mut sum = first.clone();
    for sums in rest {
        sum.add(sums).map_err(|error| error.to_string())?;
    }
    Ok(sum)
}

fn count_different<T: PartialEq>(own: &[T], other: &[T]) -> u64 {
    let differing = own.iter().zip(other).filter(|(a, b)| a != b).count();
    (differing + own.len().abs_diff(other.len())) as u64
}

/// The sum of all less each device, against the sum that is made anew without it.
fn taken_back(all: &[Sums]) -> Result<u64, String> {
    let made = |devices: &[Sums]| clipped_sum(devices, 0.0, 1).ok_or("no device");
    let whole = made(all)?.sum;
    let mut wrong = 0;
    for leaving in 0..all.len() {
        let mut left = whole.clone();
        let told = all[leaving].clipped(f64::INFINITY).values;
        let values = left.values.iter_mut().zip(told);
        values.for_each(|(value, told)| *value -= told);
        let others = [&all[..leaving], &all[leaving + 1..]].concat();
        wrong += count_different(&left.values, &made(&others)?.sum.values);
    }
    Ok(wrong)
}

fn late(all: &[Sums]) -> Result<u64, String> {
    let (early, late) = all.split_at(all.len() / 2);
    let mut order = late.to_vec();
    order.reverse();
    order.extend_from_slice(early);
    Ok(count_different(&added(&order)?.values, &added(all)?.values))
}

/// The same of numbers that are masked, added and opened in the ring.
fn taken_back_in_ring(all: &[Sums]) -> Result<u64, String> {
    let task = Task {
        purpose: Purpose::Update,
        number: 1,
        model: ModelId(1),
        ring_bits: rounds::WIDE_RING,
        norm_max: 0,
        clip: 32.0,
        noise_tenths: 0,
    };
    let task = task
        .with_finest_norm(all.len() as u32)
        .ok_or("the ring is too narrow")?;
    let helper = HelperKey([7; 32]);
    let told = |device: usize| -> Result<Vec<u32>, String> {
        let sums = &all[device];
        let cells = sums.values.iter().enumerate();
        let values = cells.map(|(at, &cell)| update_value(at, cell, sums.class_count, sums.width));
        let values = values.collect::<Vec<_>>().into_iter();
        let integers = quantize(&task, values).ok_or("the ring is too coarse")?;
        let masks = helper.mask_key(DeviceId(device as u64)).masks(&task, 1);
        let masked = integers.zip(masks);
        let masked = masked.map(|(value, mask)| (value as u32).wrapping_add(mask));
        Ok(masked.map(|number| number & task.ring_mask()).collect())
    };
    let told: Vec<Vec<u32>> = (0..all.len()).map(told).collect::<Result<_, _>>()?;
    let sum = |without: Option<usize>| {
        let mut sum = vec![0_u32; told[0].len()];
        for (_, numbers) in told
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != without)
        {
            let parts = sum.iter_mut().zip(numbers);
            parts.for_each(|(sum, number)| *sum = sum.wrapping_add(*number) & task.ring_mask());
        }
        sum
    };
    let whole = sum(None);
    let wrong = (0..all.len()).map(|leaving| {
        let left = whole.iter().zip(&told[leaving]);
        let left: Vec<u32> = left
            .map(|(sum, number)| sum.wrapping_sub(*number) & task.ring_mask())
            .collect();
        count_different(&left, &sum(Some(leaving)))
    });
    Ok(wrong.sum())
}

/// How far the weights that the sums lead to are from those of the windows themselves, solved here in two passes over them
/// and by elimination, as a server would that had them all.
fn difference(world: &World, sum: &Sums) -> Result<f64, String> {
    let sum = rounds::statistics(sum).ok_or("sums of no model")?;
    let (own, own_bias) = head::discriminant(&sum).ok_or("no discriminant")?;
    let held: Vec<usize> = world.devices.iter().flatten().copied().collect();
    let (width, classes) = (world.fleet.width(), sum.class_count());
    let row = |index: usize| world.fleet.values(index).map(f64::from).collect::<Vec<_>>();
    let mut means = vec![vec![0.0; width]; classes];
    let mut counts = vec![0.0; classes];
    let known: Vec<(usize, Vec<f64>)> = held
        .iter()
        .filter_map(|&index| Some((usize::from(world.fleet.class(index)?), row(index))))
        .collect();
    for (class, row) in &known {
        counts[*class] += 1.0;
        for (mean, x) in means[*class].iter_mut().zip(row) {
            *mean += x;
        }
    }
    for (mean, count) in means.iter_mut().zip(counts) {
        mean.iter_mut().for_each(|x| *x /= count);
    }
    let mut within = vec![vec![0.0; width]; width];
    for (class, row) in &known {
        let away: Vec<f64> = row.iter().zip(&means[*class]).map(|(x, m)| x - m).collect();
        for i in 0..width {
            for j in 0..width {
                within[i][j] += away[i] * away[j] / known.len() as f64;
            }
        }
    }
    let trace: f64 = (0..width).map(|i| within[i][i]).sum();
    (0..width).for_each(|i| within[i][i] += RIDGE * trace / width as f64);
    let mut difference = 0.0f64;
    let mut largest = 0.0f64;
    for (class, mean) in means.iter().enumerate() {
        let weights = eliminated(within.clone(), mean.clone())?;
        let bias: f64 = -0.5 * weights.iter().zip(mean).map(|(w, m)| w * m).sum::<f64>();
        let theirs = weights.iter().chain([&bias]);
        let ours = own[class * width..][..width].iter();
        for (ours, theirs) in ours.chain([&own_bias[class]]).zip(theirs) {
            difference = difference.max((ours - theirs).abs());
            largest = largest.max(theirs.abs());
        }
    }
    Ok(difference / largest)
}

/// Solves by Gauss's elimination with the largest pivot of each column.
fn eliminated(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Result<Vec<f64>, String> {
    let count = b.len();
    for column in 0..count {
        let pivot = (column..count)
            .max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))
            .filter(|&row| a[row][column] != 0.0)
            .ok_or("the windows do not vary")?;
        a.swap(column, pivot);
        b.swap(column, pivot);
        let pivot = a[column].clone();
        for row in column + 1..count {
            let factor = a[row][column] / pivot[column];
            let values = a[row].iter_mut().zip(&pivot).skip(column);
            values.for_each(|(own, pivot)| *own -= factor * pivot);
            b[row] -= factor * b[column];
        }
    }
    for row in (0..count).rev() {
        let known: f64 = (row + 1..count).map(|at| a[row][at] * b[at]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    Ok(b)
}
