//! Workers: this very program, started again with little memory, to run some of the seeds.

use std::collections::BTreeMap;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::limits::{TIME_LIMIT, limited, peak_of, said};

const PROCESSES: u64 = 2;
/// Tells a worker which seeds are its own: `FROM..TO`.
const SEEDS: &str = "NANDIMG_HOSTILE_SEEDS";
/// Tells a worker to take this many bytes for nothing.
pub(crate) const HOARD: &str = "NANDIMG_HOSTILE_HOARD";
pub(crate) const ONE_SEED: &str = "NANDIMG_HOSTILE_SEED";

/// What has been seen, so that a run can tell that it did test something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Seen {
    pub(crate) fn note(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_string(), 1);
            }
        }
    }
}

/// Run the seeds below `images` in workers that get no more than `limit` bytes; what they have seen.
pub(crate) fn run(limit: u64, images: u64) -> BTreeMap<String, u64> {
    let share = images.div_ceil(PROCESSES);
    let workers: Vec<Child> = (0..PROCESSES)
        .map(|i| start_worker(limit, SEEDS, &format!("{}..{}", i * share, (i + 1) * share)))
        .collect();
    let mut seen = BTreeMap::<String, u64>::new();
    for worker in workers {
        let output = worker.wait_with_output().expect("a worker that ends");
        assert!(output.status.success(), "{}", said(&output));
        for (what, count) in reported(&output) {
            *seen.entry(what).or_default() += count;
        }
    }
    seen
}

/// What a worker takes that has nothing to do.
pub(crate) fn baseline() -> u64 {
    let output = start_worker(u64::MAX, SEEDS, "0..0").wait_with_output().expect("a worker that ends");
    assert!(output.status.success(), "{}", said(&output));
    reported(&output).find(|(what, _)| what == "peak").expect("its peak").1
}

pub(crate) fn start_worker(limit: u64, variable: &str, value: &str) -> Child {
    let mut command = limited(limit, std::env::current_exe().expect("this program"));
    command.args(["--exact", "worker", "--ignored", "--nocapture", "--test-threads=1"]);
    // To print a backtrace takes more than the memory there is.
    command.env("RUST_BACKTRACE", "0").env(variable, value).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("a worker that starts")
}

/// The lines `= WHAT: COUNT` of a worker.
fn reported(output: &Output) -> impl Iterator<Item = (String, u64)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let (what, count) = line.strip_prefix("= ")?.rsplit_once(": ")?;
        Some((what.to_string(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect::<Vec<_>>().into_iter()
}

/// What a worker does: `run_seed` for each seed of its own.
pub(crate) fn work(run_seed: &mut dyn FnMut(u64, &mut Seen)) {
    let (seeds, hoard) = (std::env::var(SEEDS), std::env::var(HOARD));
    if seeds.is_err() && hoard.is_err() {
        return;
    }
    let watch = Watch::start();
    // The test runner has not ended its line.
    println!();
    if let Ok(bytes) = hoard {
        let hoard = vec![1u8; bytes.parse().unwrap()];
        println!("= hoard: {}", std::hint::black_box(&hoard).len());
    }
    let Ok(seeds) = seeds else { return };
    let (from, to) = seeds.split_once("..").expect("FROM..TO");
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    if from == to {
        println!("= peak: {}", peak_of("self"));
        return;
    }
    let mut seen = Seen::default();
    for seed in from..to {
        watch.now(seed);
        run_seed(seed, &mut seen);
    }
    for (what, count) in &seen.counts {
        println!("= {what}: {count}");
    }
}

/// Names the seed of a run that fails.
pub(crate) struct Replay(pub(crate) u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: {ONE_SEED}={}", self.0);
        }
    }
}

/// Ends the process when one image takes too long.
pub(crate) struct Watch(Arc<AtomicU64>);

impl Watch {
    pub(crate) fn start() -> Self {
        let watch = Self(Arc::new(AtomicU64::new(0)));
        let current = watch.0.clone();
        std::thread::spawn(move || {
            let mut last = (0, Instant::now());
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let seed = current.load(Ordering::Relaxed);
                if seed != last.0 {
                    last = (seed, Instant::now());
                } else if last.1.elapsed() > TIME_LIMIT {
                    eprintln!("it hangs; replay: {ONE_SEED}={seed}");
                    std::process::abort();
                }
            }
        });
        watch
    }

    pub(crate) fn now(&self, seed: u64) {
        self.0.store(seed, Ordering::Relaxed);
    }
}
