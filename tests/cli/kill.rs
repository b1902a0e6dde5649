//! A `write` that is killed leaves the old content or the new one, on a volume that mounts; a repair that is killed can be
//! done again.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nandimg::onflash::paged::head::Kind;

use crate::support::{Bench, random, wipe_metadata};

/// More than a pipe holds, in many blocks.
const LEN: usize = 90 * 16384 + 77;
const SIGKILL: i32 = 9;
const GEOMETRY: &str = "--page-size 2048 --block-size 16KiB --blocks 256";
const MAPPINGS: [&str; 2] = ["block", "page"];

fn volume(mapping: &str, content: &[u8]) -> Bench {
    let bench = Bench::new();
    bench.run(&format!("format a.img --mapping {mapping} {GEOMETRY}")).exits(0);
    bench.feed("write a.img", content).exits(0);
    bench
}

fn spawn(bench: &Bench, line: &str) -> Child {
    let quiet = || Stdio::null();
    bench.command(line).stdin(Stdio::piped()).stdout(quiet()).stderr(quiet()).spawn().unwrap()
}

/// Kill it; whether it was still there to be killed.
fn kill(mut child: Child) -> bool {
    child.kill().unwrap();
    child.wait().unwrap().signal() == Some(SIGKILL)
}

/// The moments at which commands are killed, and how often that cut one short.
struct Kills {
    /// How long a command takes, about.
    span: Duration,
    cut: u32,
    whole: u32,
}

impl Kills {
    const ROUNDS: u32 = 400;

    fn of_commands_that_take(span: Duration) -> Self {
        Self { span, cut: 0, whole: 0 }
    }

    fn wait(&self, round: u32) {
        std::thread::sleep(self.span * (round % 32) / 20);
    }

    /// Whether there were enough rounds of either kind.
    fn are_enough(&mut self, round: u32, was_cut: bool) -> bool {
        if was_cut {
            self.cut += 1;
        } else {
            self.whole += 1;
        }
        // Other work on this machine may have begun, or ended, since the time was taken.
        match round % 32 {
            31 if self.whole <= round / 8 => self.span *= 2,
            31 if self.cut <= round / 8 => self.span /= 2,
            _ => {}
        }
        round >= 63 && self.cut >= 8 && self.whole >= 8
    }

    fn give_up(&self) -> ! {
        let Self { cut, whole, .. } = self;
        panic!("{cut} commands were cut short and {whole} ended: the kills came at the wrong moments");
    }
}

/// The image mounts, a check finds no damage; its content.
fn survives(bench: &Bench, what: &str) -> Vec<u8> {
    let mount = bench.run("--json mount-check a.img");
    assert!(matches!(mount.code, Some(0 | 1)), "{what}: {mount:?}");
    assert_eq!(mount.json()["writable"], true, "{what}");
    let fsck = bench.run("--json fsck a.img").exits(0).json();
    let severe = |f: &&serde_json::Value| f["severity"] == "error";
    assert_eq!(fsck["findings"].as_array().unwrap().iter().find(severe), None, "{what}");
    bench.content("a.img")
}

#[test]
fn killed_half_way_through_its_input_leaves_the_old_content() {
    for mapping in MAPPINGS {
        let old = random(1, LEN);
        let bench = volume(mapping, &old);
        let before = bench.bytes("a.img");
        let mut child = spawn(&bench, "write a.img");
        child.stdin.as_mut().unwrap().write_all(&random(2, LEN)[..LEN / 2]).unwrap();
        // Blocks have been filled by now, or are about to be.
        let begun = Instant::now();
        while bench.bytes("a.img") == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written before the input ends");
        }
        assert!(kill(child), "it waits for the rest");
        assert!(survives(&bench, mapping) == old, "{mapping}");
        bench.feed("write a.img", b"news").exits(0);
        assert!(bench.content("a.img").starts_with(b"news"));
    }
}

#[test]
fn killed_at_any_moment_leaves_the_old_content_or_the_new() {
    MAPPINGS.into_iter().for_each(kill_writes);
}

fn kill_writes(mapping: &str) {
    let mut content = random(0, LEN);
    let bench = volume(mapping, &content);
    // How long the rest of a write takes once all its input is fed.
    let mut child = spawn(&bench, "write a.img");
    content = random(1, LEN);
    child.stdin.take().unwrap().write_all(&content).unwrap();
    let fed = Instant::now();
    assert!(child.wait().unwrap().success());
    let mut kills = Kills::of_commands_that_take(fed.elapsed());
    for round in 0..Kills::ROUNDS {
        let new = random(u64::from(round) + 2, LEN);
        let mut child = spawn(&bench, "write a.img");
        child.stdin.take().unwrap().write_all(&new).unwrap();
        kills.wait(round);
        let killed = kill(child);
        let what = format!("{mapping}, round {round}, {}", if killed { "killed" } else { "done" });
        let found = survives(&bench, &what);
        assert!(found == content || found == new, "{what}: neither the old content nor the new");
        assert!(killed || found == new, "{what}: a write that ended is not there");
        let was_cut = found == content;
        content = found;
        if kills.are_enough(round, was_cut) {
            return;
        }
    }
    kills.give_up();
}

/// Let a repair of `image` begin, and wait until it changes something.
fn begin_repair(bench: &Bench, image: &[u8], line: &str) -> Child {
    bench.put("a.img", image);
    let path = bench.path("a.img");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let mut child = spawn(bench, line);
    loop {
        let ended = child.try_wait().unwrap();
        if std::fs::metadata(&path).unwrap().modified().unwrap() != long_ago {
            return child;
        }
        assert_eq!(ended, None, "a repair that changes nothing");
    }
}

/// A volume with data in many blocks, a part of it written twice, and the same without metadata.
fn wiped_volume() -> (Bench, Vec<u8>) {
    let bench = volume("page", &random(1, LEN));
    bench.feed("write a.img --offset 300000", &random(2, LEN / 2)).exits(0);
    let mut damaged = bench.bytes("a.img");
    wipe_metadata(&mut damaged, 2048, |kind| kind != Kind::Summary);
    (bench, damaged)
}

/// Kill repairs at many moments; `afterwards` is told of each, with what would have become of the image.
fn kill_repairs(bench: &Bench, damaged: &[u8], line: &str, afterwards: &mut dyn FnMut(&str)) {
    let mut child = begin_repair(bench, damaged, line);
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut kills = Kills::of_commands_that_take(begun.elapsed());
    let repaired = bench.bytes("a.img");
    afterwards("without a kill");
    for round in 0..Kills::ROUNDS {
        let child = begin_repair(bench, damaged, line);
        kills.wait(round);
        let killed = kill(child);
        let found = bench.bytes("a.img");
        assert!(killed || found == repaired, "round {round}: the same repair does something else");
        afterwards(&format!("round {round}"));
        if kills.are_enough(round, found != repaired) {
            return;
        }
    }
    kills.give_up();
}

#[test]
fn a_repair_that_is_killed_can_be_done_again() {
    let (bench, damaged) = wiped_volume();
    let line = format!("fsck a.img --repair {GEOMETRY}");
    let mut expected: Option<Vec<u8>> = None;
    kill_repairs(&bench, &damaged, &line, &mut |what| {
        // Where what was written over has been erased, it cannot tell that nothing else has.
        let again = bench.run(&line);
        assert!(matches!(again.code, Some(0 | 1 | 4)), "{what}: {again:?}");
        let content = survives(&bench, what);
        // The first one is not killed.
        assert!(
            content.len() > LEN / 2 && expected.get_or_insert_with(|| content.clone()) == &content,
            "{what}"
        );
    });
}

#[test]
fn a_repair_that_is_killed_is_taken_back() {
    let (bench, damaged) = wiped_volume();
    let line = format!("fsck a.img --repair --undo u {GEOMETRY}");
    kill_repairs(&bench, &damaged, &line, &mut |what| {
        bench.run("fsck a.img --undo-from u").exits(0);
        assert!(bench.bytes("a.img") == damaged, "{what}");
        std::fs::remove_file(bench.path("u")).unwrap();
    });
}
