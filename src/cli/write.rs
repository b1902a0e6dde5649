//! `nandimg write`: copy bytes in.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use nandimg::flash::FlashHardware;
use nandimg::flash::file_io::Access;
use nandimg::ftl::wear::WearPolicy;
use nandimg::ftl::{MountOptions, Volume};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::args::{ImageArgs, parse_size};
use super::exit::{Exit, Failure};
use super::open::{chip_file_path, mount};
use super::output::{Ui, count, hex, size};
use super::progress::Progress;
use super::same_file::{Inputs, refuse_stdout};

/// Copy bytes into an image
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// First logical byte
    #[arg(long, value_name = "N", value_parser = parse_size, default_value = "0")]
    offset: u64,
    /// Where from; standard input if left out or "-"
    #[arg(long = "in", short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Let the volume end where this write ends
    #[arg(long)]
    truncate: bool,
    /// Erases between two checks of static wear levelling, if not as the volume says (256 if it does not)
    #[arg(long, value_name = "N")]
    wear_interval: Option<u64>,
    /// Difference in erase counts at which static wear levelling acts, if not as the volume says (100 if it does not)
    #[arg(long, value_name = "N")]
    wear_threshold: Option<u32>,
}

impl Args {
    /// When to level wear, where the volume says so; who sets one number leaves the other as it is.
    fn wear(&self, of_volume: WearPolicy) -> WearPolicy {
        WearPolicy {
            interval: self.wear_interval.unwrap_or(of_volume.interval),
            threshold: self.wear_threshold.unwrap_or(of_volume.threshold),
        }
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let input = args.input.as_deref().filter(|path| path.as_os_str() != "-");
    let chip_file = chip_file_path(&args.image.image, &args.image.geometry);
    Inputs { image: &args.image.image, chip_file: chip_file.as_deref() }.refuse_as_input(input)?;
    refuse_stdout(&args.image)?;
    let mut source = Source::open(input)?;
    let mounted = mount(&args.image, Access::ReadWrite, &MountOptions::default(), ui)?;
    let mut volume = mounted.volume;
    volume.set_wear_policy(args.wear(volume.wear_policy()));
    if let Some(length) = source.length {
        volume.check_write(args.offset, length)?;
    }
    let mut hasher = ui.json.then(Sha256::new);
    let written = copy(&mut volume, &mut source, args.offset, hasher.as_mut(), ui);
    let written = written.and_then(|bytes| {
        if args.truncate {
            volume.set_len(args.offset + bytes)?;
        }
        volume.sync()?;
        Ok(bytes)
    });
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(failure) => {
            volume.rollback();
            let failure = failure.and(what_stays(&volume));
            // The session ends well where it can, and which blocks failed is kept in the chip file; the failure is what there is to be
            // told.
            let _ = volume.end();
            let _ = volume.into_flash().sync();
            return Err(failure);
        }
    };
    let batches = volume.commits();
    if let Err(error) = volume.end() {
        // The data is durable; the next mount has more to do.
        ui.warn(&format!("the volume could not be closed well: {error}"));
    }
    let report = json!({
        "offset": args.offset,
        "bytes": bytes,
        "sha256": hasher.map(|hasher| hex(&hasher.finalize())),
        "logical_len": volume.len(),
        "batches": batches,
    });
    ui.report(report, show)?;
    Ok(Exit::Done)
}

/// What a write that failed leaves behind.
fn what_stays<V: Volume>(volume: &V) -> String {
    match (volume.commits(), volume.read_only()) {
        (_, Some(reason)) => reason.to_string(),
        (0, None) => "nothing has been changed".to_string(),
        (n, None) => {
            let parts = count(n, "earlier part");
            format!(
                "{parts} of it had to be committed to free space, and the volume now has {} bytes",
                volume.len()
            )
        }
    }
}

/// Stage all of `source` at `offset`, in pieces that the volume likes best; how many bytes that was.
fn copy<V: Volume>(
    volume: &mut V,
    source: &mut Source<'_>,
    offset: u64,
    mut hasher: Option<&mut Sha256>,
    ui: &Ui,
) -> Result<u64, Failure> {
    let mut progress = Progress::new(ui, "writing");
    let unit = volume.write_unit().max(1);
    let mut buf = vec![0; unit as usize];
    let mut at = offset;
    loop {
        let take = (unit - at % unit) as usize;
        let got = source.fill(&mut buf[..take])?;
        volume.write(at, &buf[..got])?;
        if let Some(hasher) = &mut hasher {
            hasher.update(&buf[..got]);
        }
        at += got as u64;
        progress.at(at - offset, source.length.unwrap_or(0));
        if got < take {
            return Ok(at - offset);
        }
    }
}

/// Where the bytes come from.
struct Source<'a> {
    reader: Box<dyn Read>,
    path: Option<&'a Path>,
    /// How many bytes are left in it, if that can be known.
    length: Option<u64>,
}

impl<'a> Source<'a> {
    fn open(path: Option<&'a Path>) -> Result<Self, Failure> {
        let opened = match path {
            Some(path) => File::open(path).map(|file| (bytes_left(&file), Box::new(file) as Box<dyn Read>)),
            None => Ok((standard_input_left(), Box::new(io::stdin().lock()) as Box<dyn Read>)),
        };
        let (length, reader) = opened.map_err(|e| Self::failure(path, e))?;
        Ok(Self { reader, path, length })
    }

    fn failure(path: Option<&Path>, error: io::Error) -> Failure {
        let name = path.map_or("standard input".to_string(), |path| path.display().to_string());
        Failure::from(error).context(format!("cannot read {name}"))
    }

    /// Fill `buf` as far as the source reaches; how far that is.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Failure> {
        let mut got = 0;
        while got < buf.len() {
            match self.reader.read(&mut buf[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Self::failure(self.path, e)),
            }
        }
        Ok(got)
    }
}

/// How many bytes a regular file still has to give.
fn bytes_left(file: &File) -> Option<u64> {
    let found = file.metadata().ok().filter(|found| found.is_file())?;
    let position = (&mut &*file).stream_position().ok()?;
    Some(found.len().saturating_sub(position))
}

/// The same for standard input, which may be a file.
#[cfg(unix)]
fn standard_input_left() -> Option<u64> {
    let stdin = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned().ok()?;
    bytes_left(&File::from(stdin))
}

#[cfg(not(unix))]
fn standard_input_left() -> Option<u64> {
    None
}

fn show(report: &Value) -> String {
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    let batches = match number("batches") {
        0 => "nothing to change".to_string(),
        1 => "in one atomic commit".to_string(),
        n => format!("in {n} atomic batches"),
    };
    format!(
        "wrote {} bytes ({}) at offset {}, {batches}; the volume has {} bytes\n",
        number("bytes"),
        size(number("bytes")),
        number("offset"),
        number("logical_len")
    )
}
