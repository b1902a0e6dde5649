//! Arrows between the parts point one way: `cli` -> `check`, `probe` -> `ftl` -> `onflash`, `flash` -> `error`;
//! `flash` -> `layout` -> `ecc`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// The parts of the library from the lowest up, with the parts each may name. `error` is named by all, and names the
/// places and records that its sentences are about.
const MAY_USE: &[(&str, &[&str])] = &[
    ("prng", &[]),
    ("ecc", &[]),
    ("layout", &["ecc"]),
    ("onflash", &["error"]),
    ("flash", &["error", "layout", "prng"]),
    ("ftl", &["error", "flash", "onflash"]),
    ("probe", &["ecc", "error", "flash", "layout", "onflash", "prng"]),
    ("check", &["error", "flash", "onflash", "ftl"]),
];

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The parts that `source` names by `crate::PART`, tests left out.
fn parts_named(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let words = lines.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>());
    words.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn no_arrow_points_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut arrows) = (Vec::new(), 0);
    rust_files(&src, &mut files);
    for file in files {
        let place = file.strip_prefix(&src).expect("below src").with_extension("");
        let part = place.iter().next().and_then(|p| p.to_str()).expect("a name").to_owned();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == part) else { continue };
        let source = std::fs::read_to_string(&file).expect("a source file");
        for named in parts_named(&source) {
            arrows += 1;
            let fine =
                named == part || named == "Error" || named == "Result" || allowed.contains(&named.as_str());
            assert!(fine, "{} names crate::{named}: {part} stands below it", file.display());
        }
        assert!(
            !source.contains("clap::") && !source.contains("anyhow"),
            "{}: the library knows no command line",
            file.display()
        );
    }
    assert!(arrows > 30, "the test reads the arrows it judges: {arrows}");
}
