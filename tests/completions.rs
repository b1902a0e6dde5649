//! The files in `completions/` are what the program prints.
//!
//! `UPDATE_COMPLETIONS=1 cargo test --test completions` writes them.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

const FILES: [(&str, &str); 6] = [
    ("bash", "nandimg.bash"),
    ("zsh", "_nandimg"),
    ("fish", "nandimg.fish"),
    ("powershell", "_nandimg.ps1"),
    ("elvish", "nandimg.elv"),
    ("man", "nandimg.1"),
];

#[test]
fn the_files_are_what_the_program_prints() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, name) in FILES {
        let output =
            Command::new(env!("CARGO_BIN_EXE_nandimg")).args(["completions", shell]).output().expect("a run");
        assert!(output.status.success() && output.stdout.len() > 500, "{shell}");
        let path = dir.join(name);
        if std::env::var_os("UPDATE_COMPLETIONS").is_some() {
            std::fs::write(&path, &output.stdout).expect("a file");
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == output.stdout, "completions/{name} is not what the program prints now");
    }
    let kept = std::fs::read_dir(&dir).expect("the directory").count();
    assert_eq!(kept, FILES.len(), "nothing else lies in completions/");
}
