//! Whether two names, or a name and a standard stream, are one file: an output must never be its own input.

use std::path::Path;

use nandimg::flash::file_io::directory_of;
use same_file::Handle;

use super::args::ImageArgs;
use super::exit::{Failure, Kind};
use super::layout::file_of_flag;
use super::open::chip_file_path;

/// The image's chip file and the image itself, to hold outputs against.
pub(crate) struct Inputs<'a> {
    pub(crate) image: &'a Path,
    pub(crate) chip_file: Option<&'a Path>,
}

impl Inputs<'_> {
    /// Refuse `output` (a path, or standard output) if it is the image or its chip file.
    pub(crate) fn refuse_as_output(&self, output: Option<&Path>) -> Result<(), Failure> {
        refuse_output(output, &[(Some(self.image), "the image"), (self.chip_file, "the image's chip file")])
    }

    /// Refuse `input` (a path, or standard input) if it is the image or its chip file.
    pub(crate) fn refuse_as_input(&self, input: Option<&Path>) -> Result<(), Failure> {
        let handle = match input {
            Some(path) => handle(path),
            None => Handle::stdin().ok(),
        };
        let name = input.map_or("standard input".into(), |path| path.display().to_string());
        let Some(handle) = handle else { return Ok(()) };
        for (path, what) in [(Some(self.image), "the image"), (self.chip_file, "the image's chip file")] {
            if path.and_then(self::handle).is_some_and(|other| other == handle) {
                return Err(Failure::new(Kind::Usage, format!("the input {name} is {what} itself")));
            }
        }
        Ok(())
    }
}

/// Refuse `output` (a path, or standard output) if it is the file that `--layout NAME|FILE` means.
pub(crate) fn refuse_layout_file(layout: Option<&str>, output: Option<&Path>) -> Result<(), Failure> {
    refuse_output(output, &[(layout.and_then(file_of_flag), "the layout file")])
}

/// Refuse standard output if it is the image, its chip file or its layout file: a report would land in it.
pub(crate) fn refuse_stdout(args: &ImageArgs) -> Result<(), Failure> {
    let chip_file = chip_file_path(&args.image, &args.geometry);
    Inputs { image: &args.image, chip_file: chip_file.as_deref() }.refuse_as_output(None)?;
    refuse_layout_file(args.geometry.layout.as_deref(), None)
}

fn refuse_output(output: Option<&Path>, inputs: &[(Option<&Path>, &str)]) -> Result<(), Failure> {
    let handle = match output {
        Some(path) => handle(path),
        None => Handle::stdout().ok(),
    };
    let name = output.map_or("standard output".into(), |path| path.display().to_string());
    let clashes = |path: &Path| match &handle {
        Some(output) => self::handle(path).is_some_and(|input| input == *output),
        None => output.is_some_and(|output| is_same_name(output, path) || is_same_device(output, path)),
    };
    match inputs.iter().find(|(path, _)| path.is_some_and(clashes)) {
        Some((_, what)) => Err(Failure::new(Kind::Usage, format!("the output {name} is {what} itself"))),
        None => Ok(()),
    }
}

/// Whether two names are one place, where there may be no file yet.
fn is_same_name(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| Some((directory_of(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    a == b || place(a).is_some_and(|a| place(b) == Some(a))
}

/// What identifies the file at `path`; only regular files are opened for it, since opening others may wait.
fn handle(path: &Path) -> Option<Handle> {
    let regular = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    if regular { Handle::from_path(path).ok() } else { None }
}

/// Whether two names are the same device, under whatever names it has.
#[cfg(unix)]
fn is_same_device(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let device = |path: &Path| {
        std::fs::metadata(path).ok().filter(|m| m.file_type().is_block_device()).map(|found| found.rdev())
    };
    device(a).is_some_and(|a| device(b) == Some(a))
}

#[cfg(not(unix))]
fn is_same_device(_: &Path, _: &Path) -> bool {
    false
}
