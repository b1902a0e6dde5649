//! A `write` that is killed leaves the old content or the new one, on a volume that mounts.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Bench, random};

/// More than a pipe holds, in many blocks.
const LEN: usize = 90 * 16384 + 77;
const SIGKILL: i32 = 9;

fn volume(content: &[u8]) -> Bench {
    let bench = Bench::new();
    bench.run("format a.img --mapping block --page-size 2048 --block-size 16KiB --blocks 256").exits(0);
    bench.feed("write a.img", content).exits(0);
    bench
}

fn spawn_write(bench: &Bench) -> Child {
    let quiet = || Stdio::null();
    bench.command("write a.img").stdin(Stdio::piped()).stdout(quiet()).stderr(quiet()).spawn().unwrap()
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
    let old = random(1, LEN);
    let bench = volume(&old);
    let before = bench.bytes("a.img");
    let mut child = spawn_write(&bench);
    child.stdin.as_mut().unwrap().write_all(&random(2, LEN)[..LEN / 2]).unwrap();
    // Blocks have been filled by now, or are about to be.
    let begun = Instant::now();
    while bench.bytes("a.img") == before {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written before the input ends");
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
    assert!(survives(&bench, "half") == old);
    bench.feed("write a.img", b"news").exits(0);
    assert!(bench.content("a.img").starts_with(b"news"));
}

#[test]
fn killed_at_any_moment_leaves_the_old_content_or_the_new() {
    let mut content = random(0, LEN);
    let bench = volume(&content);
    // How long the rest of a write takes once all its input is fed.
    let mut child = spawn_write(&bench);
    content = random(1, LEN);
    child.stdin.take().unwrap().write_all(&content).unwrap();
    let fed = Instant::now();
    assert!(child.wait().unwrap().success());
    let rest = fed.elapsed();
    let (mut cut, mut whole) = (0, 0);
    for round in 0..400u32 {
        let new = random(u64::from(round) + 2, LEN);
        let mut child = spawn_write(&bench);
        child.stdin.take().unwrap().write_all(&new).unwrap();
        std::thread::sleep(rest * (round % 32) / 20);
        child.kill().unwrap();
        let killed = child.wait().unwrap().signal() == Some(SIGKILL);
        let what = format!("round {round}, {}", if killed { "killed" } else { "done" });
        let found = survives(&bench, &what);
        assert!(found == content || found == new, "{what}: neither the old content nor the new");
        assert!(killed || found == new, "{what}: a write that ended is not there");
        cut += u32::from(found == content);
        whole += u32::from(found == new);
        content = found;
        if round >= 63 && cut >= 8 && whole >= 8 {
            return;
        }
    }
    panic!("{cut} writes were cut short and {whole} landed: the kills came at the wrong moments");
}
