//! Goes through schedules: every single fault at every operation, then several by chance.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::flash::{FaultFlash, Faulty};
use super::schedule::{FAULTS_MAX, Fault, Kind, Random, name};
use super::story::{Cast, STORIES, Story};
use super::world::World;

/// Turns after which a device that is not done never will be.
const TURNS_MAX: u32 = 20_000;

/// Ways in which an operation can be done in part, each from its own seed.
const SEEDS: u64 = 2;

/// A story without a fault, kept at every turn that touches flash.
struct Course<F> {
    story: Story,
    /// The world before the turn, and the operations that had been done by then.
    before: Vec<(u64, World<F>)>,
    /// Operations while faults can strike.
    operations: std::ops::Range<u64>,
    pages_erased: u32,
}

impl<F: Faulty> Course<F> {
    fn new(story: Story, cast: &Arc<Cast>) -> Result<Course<F>, String> {
        let mut world = World::<F>::begin(story, cast)?;
        let erased = |world: &mut World<F>| world.flash().erases().iter().sum::<u32>();
        let (first, erased_before) = (world.flash().operations(), erased(&mut world));
        let mut before = Vec::new();
        let (mut end, mut pages_erased) = (first, 0);
        for _ in 0..TURNS_MAX {
            if world.is_done() {
                let operations = first..end;
                return Ok(Course {
                    story,
                    before,
                    operations,
                    pages_erased,
                });
            }
            let (kept, at) = (world.clone(), world.flash().operations());
            let is_delivering = world.is_delivering();
            world.turn()?;
            if is_delivering && world.flash().operations() > at {
                before.push((at, kept));
                end = world.flash().operations();
                pages_erased = erased(&mut world) - erased_before;
            }
        }
        Err(format!("`{}` does not end", story.name))
    }

    /// Lives through the story with faults; answers how many of them struck.
    fn run(&self, faults: &[Fault], log: bool) -> Result<usize, (String, String)> {
        let at = self.operations.start + u64::from(faults[0].after);
        let index = self.before.partition_point(|(begun, _)| *begun <= at) - 1;
        let (begun, world) = &self.before[index];
        let mut world = world.clone();
        let mut faults = faults.to_vec();
        faults[0].after = (at - begun) as u32;
        world.arm(&faults);
        world.log = log.then(String::new);
        let mut turns = 0;
        let mut result = Ok(());
        while result.is_ok() && !world.is_done() {
            turns += 1;
            if turns > TURNS_MAX {
                result = Err("the device does not come to rest".to_owned());
                break;
            }
            result = world.turn();
        }
        match result {
            Ok(()) if log => Err((world.log.unwrap_or_default(), "none".to_owned())),
            Ok(()) => Ok(world.flash().struck().len()),
            Err(broken) => Err((world.log.unwrap_or_default(), broken)),
        }
    }
}

/// Many schedules of one story on one geometry.
trait Explorable: Send + Sync {
    fn geometry(&self) -> &'static str;
    fn story(&self) -> &'static str;
    fn operations(&self) -> u64;
    fn pages_erased(&self) -> u32;
    /// How often a kind of fault is tried at an operation, each time done in part in another way.
    fn seeds(&self, after: u64, kind: usize) -> u64;
    fn run(&self, faults: &[Fault], log: bool) -> Result<usize, (String, String)>;
}

impl<F: Faulty> Explorable for Course<F> {
    fn geometry(&self) -> &'static str {
        F::NAME
    }
    fn story(&self) -> &'static str {
        self.story.name
    }
    fn operations(&self) -> u64 {
        self.operations.end - self.operations.start
    }
    fn pages_erased(&self) -> u32 {
        self.pages_erased
    }
    fn seeds(&self, after: u64, kind: usize) -> u64 {
        // Words of one byte are many, alike, and little of each can be done in part: neighbours share the kinds.
        if F::WRITE_SIZE == 1 {
            u64::from((after + kind as u64).is_multiple_of(2))
        } else {
            SEEDS
        }
    }
    fn run(&self, faults: &[Fault], log: bool) -> Result<usize, (String, String)> {
        self.run(faults, log)
    }
}

/// What the stories cost on each geometry when nothing goes wrong.
fn costs() -> String {
    let mut text = String::new();
    for course in courses() {
        let _ = writeln!(
            text,
            "{:>7} {:<20} {:5} words written and pages erased, of these {:2} pages",
            course.geometry(),
            course.story(),
            course.operations(),
            course.pages_erased()
        );
    }
    text
}

/// Lives through the stories that `is_possible` on this flash, without a fault.
pub(crate) fn run_without_faults<F: Faulty>(is_possible: impl Fn(&Story) -> bool) {
    let cast = Arc::new(Cast::new());
    for story in STORIES.into_iter().filter(is_possible) {
        if let Err(broken) = Course::<F>::new(story, &cast) {
            panic!("{}/{}: {broken}", F::NAME, story.name);
        }
    }
}

fn courses() -> Vec<Box<dyn Explorable>> {
    fn on<F: Faulty>(cast: &Arc<Cast>) -> Vec<Box<dyn Explorable>> {
        let courses = STORIES.map(|story| match Course::<F>::new(story, cast) {
            Ok(course) => Box::new(course) as Box<dyn Explorable>,
            Err(broken) => panic!("{}/{} without a fault: {broken}", F::NAME, story.name),
        });
        courses.into()
    }
    let cast = Arc::new(Cast::new());
    let mut all = on::<FaultFlash<4, 512>>(&cast);
    all.extend(on::<FaultFlash<1, 256>>(&cast));
    all.extend(on::<FaultFlash<4, 4096>>(&cast));
    all.extend(on::<FaultFlash<8, 2048>>(&cast));
    all.extend(on::<FaultFlash<16, 1024>>(&cast));
    all.extend(on::<FaultFlash<64, 8192>>(&cast));
    all
}

/// What exploring found.
#[derive(Default)]
struct Found {
    by_faults: [u64; 1 + FAULTS_MAX],
    by_kind: BTreeMap<&'static str, u64>,
    broken: BTreeMap<String, (u64, String)>,
}

impl Found {
    fn schedules(&self) -> u64 {
        self.by_faults.iter().sum()
    }

    fn violations(&self) -> u64 {
        self.broken.values().map(|(count, _)| count).sum()
    }

    fn run(&mut self, course: &dyn Explorable, faults: &[Fault]) {
        match course.run(faults, false) {
            Ok(struck) => {
                self.by_faults[struck] += 1;
                for fault in &faults[..struck] {
                    let kind = Kind::ALL.iter().find(|(kind, _)| *kind == fault.kind);
                    *self.by_kind.entry(kind.expect("listed").1).or_default() += 1;
                }
            }
            Err((_, broken)) => {
                let name = name(course.geometry(), course.story(), faults);
                // What differs in numbers alone is one finding.
                let is_digit = |c: char| c.is_ascii_digit();
                let broken = broken.split(is_digit).collect::<Vec<_>>().join("");
                let first = self.broken.entry(broken).or_insert((0, name));
                first.0 += 1;
            }
        }
    }

    fn add(&mut self, other: Found) {
        for (count, more) in self.by_faults.iter_mut().zip(other.by_faults) {
            *count += more;
        }
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        for (broken, (count, name)) in other.broken {
            self.broken.entry(broken).or_insert((0, name)).0 += count;
        }
    }
}

/// Every kind of fault at operations `from, from + step, …` of a course.
fn single_faults(course: &dyn Explorable, from: u64, step: u64, found: &mut Found) {
    for after in (from..course.operations()).step_by(step as usize) {
        for (index, (kind, _)) in Kind::ALL.into_iter().enumerate() {
            let seeds = match kind {
                Kind::Reset => 1,
                _ => course.seeds(after, index),
            };
            for seed in 0..seeds {
                let fault = Fault {
                    after: after as u32,
                    kind,
                    seed: seed + after * SEEDS,
                };
                found.run(course, &[fault]);
            }
        }
    }
}

/// Two or three faults drawn by chance, at most one of which damages what was stored whole.
fn drawn_faults(course: &dyn Explorable, random: &mut Random) -> Vec<Fault> {
    let count = 2 + random.below(FAULTS_MAX as u64 - 1) as usize;
    let mut faults: Vec<Fault> = Vec::with_capacity(count);
    for index in 0..count {
        let after = if index == 0 {
            random.below(course.operations())
        } else {
            // Mostly soon: while the device recovers from the one before.
            let bits = 1 + random.below(9);
            random.below(1 << bits)
        };
        let kind = loop {
            let kind = Kind::ALL[random.below(Kind::ALL.len() as u64) as usize].0;
            if !kind.is_rot() || faults.iter().all(|fault| !fault.kind.is_rot()) {
                break kind;
            }
        };
        faults.push(Fault {
            after: after as u32,
            kind,
            seed: random.next() % 1_000_000,
        });
    }
    faults
}

/// Explores on all cores: single faults at every `step`th operation, and `drawn` schedules of several.
fn explore(step: u64, drawn: u64) -> Found {
    // One job is what one thread does before it looks for the next.
    const SLICES: u64 = 64;
    const BATCH: u64 = 64;
    let courses = courses();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let worker = || {
        let mut found = Found::default();
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let singles = courses.len() as u64 * SLICES;
            if job < singles {
                let course = &courses[(job / SLICES) as usize];
                single_faults(&**course, job % SLICES * step, SLICES * step, &mut found);
                continue;
            }
            let batch = job - singles;
            if batch * BATCH >= drawn {
                break found;
            }
            let mut random = Random(batch);
            for _ in 0..BATCH {
                let course = &courses[random.below(courses.len() as u64) as usize];
                let faults = drawn_faults(&**course, &mut random);
                found.run(&**course, &faults);
            }
        }
    };
    let mut all = Found::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            all.add(worker.join().expect("a worker that does not panic"));
        }
    });
    all
}

fn report(found: &Found) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "schedules: {}", found.schedules());
    let _ = writeln!(text, "by faults that struck: {:?}", found.by_faults);
    let _ = writeln!(text, "by kind: {:?}", found.by_kind);
    let _ = writeln!(text, "violations: {}", found.violations());
    for (broken, (count, name)) in &found.broken {
        let _ = writeln!(text, "{count:8} x {broken}: {name}");
    }
    text
}

#[test]
fn a_sample_of_schedules_breaks_nothing() {
    let found = explore(499, 1_000);
    println!("{}", report(&found));
    assert_eq!(found.violations(), 0, "{}", report(&found));
}

/// As many schedules as `TINYOPS_SCHEDULES` asks for; `cargo xtask bench ship power-loss` asks for a million.
#[test]
fn a_million_schedules_break_nothing() {
    let Ok(wanted) = std::env::var("TINYOPS_SCHEDULES") else {
        println!(
            "skipped: minutes in a release build; `cargo xtask bench ship power-loss` runs it"
        );
        return;
    };
    let begun = Instant::now();
    let drawn = wanted.parse().expect("TINYOPS_SCHEDULES is a number");
    let found = explore(1, drawn);
    println!("{}", costs());
    println!(
        "{}seconds: {:.1}",
        report(&found),
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(found.violations(), 0, "{}", report(&found));
}

/// How many faults of a schedule of `install-later` strike, all of which the device must bear.
fn install_later<F: Faulty>(faults: [&str; 3]) -> usize {
    let story = STORIES
        .into_iter()
        .find(|story| story.name == "install-later");
    let cast = Arc::new(Cast::new());
    let course = Course::<F>::new(story.expect("it is told"), &cast);
    let course = course.unwrap_or_else(|broken| panic!("{broken}"));
    let faults: Result<Vec<Fault>, String> = faults.into_iter().map(str::parse).collect();
    let struck = course.run(&faults.expect("faults"), false);
    struck.unwrap_or_else(|(_, broken)| panic!("{broken}"))
}

/// A capsule that has proven itself, whose confirmation cannot be written while its slot becomes unreadable.
#[test]
fn a_schedule_that_once_found_no_end() {
    let faults = ["unreadable@210#388953", "fail@2#751802", "fail@1#143711"];
    assert_eq!(install_later::<FaultFlash<16, 1024>>(faults), 3);
}

/// The capsule before the active one has decayed, and the active one fades: the factory's is still there.
#[test]
fn a_schedule_that_once_left_a_device_with_nothing() {
    let faults = ["cut@943#167010", "silent@63#480184", "decay@0#983861"];
    assert_eq!(install_later::<FaultFlash<1, 256>>(faults), 3);
}

#[test]
fn replay() {
    let Ok(wanted) = std::env::var("TINYOPS_SCHEDULE") else {
        println!("{}", costs());
        return;
    };
    let (path, faults) = wanted.rsplit_once('/').expect("geometry/story/faults");
    let faults: Result<Vec<Fault>, String> = faults.split('+').map(str::parse).collect();
    let faults = faults.unwrap_or_else(|error| panic!("{error}"));
    let courses = courses();
    let mut named = courses
        .iter()
        .map(|course| (format!("{}/{}", course.geometry(), course.story()), course));
    let (_, course) = named
        .find(|(name, _)| name == path)
        .unwrap_or_else(|| panic!("no course is {path}"));
    match course.run(&faults, true) {
        Ok(_) => unreachable!("a run that is logged answers with its log"),
        Err((log, broken)) => println!("{wanted}\n{log}broken: {broken}"),
    }
}
