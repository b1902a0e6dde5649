//! `nandimg read`: copy logical bytes out.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use nandimg::flash::FlashHardware;
use nandimg::flash::file_io::Access;
use nandimg::ftl::{MountOptions, Volume};
use nandimg::{Error, flash::PageAddr};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::args::{ImageArgs, parse_size};
use super::ecc;
use super::exit::{Exit, Failure, Kind};
use super::health::Health;
use super::open::{chip_file_path, mount};
use super::output::{Ui, count, error_object, hex, size, stdout_failure};
use super::progress::Progress;
use super::same_file::{Inputs, refuse_layout_file, refuse_stdout};

/// Copy logical bytes out of an image
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// First logical byte
    #[arg(long, value_name = "N", value_parser = parse_size, default_value = "0")]
    offset: u64,
    /// How many bytes; to the end of the volume if left out
    #[arg(long, value_name = "N", value_parser = parse_size)]
    length: Option<u64>,
    /// Where to; standard output if left out or "-"
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// From the metadata copy with this sequence number
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Put zeros where a place cannot be read, and go on
    #[arg(long)]
    skip_unreadable: bool,
    /// Print to a terminal all the same
    #[arg(long)]
    force: bool,
}

impl Args {
    fn output(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| path.as_os_str() != "-")
    }
}

/// A range of logical bytes that could not be read.
pub(super) struct Hole {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) at: Option<PageAddr>,
    pub(super) reason: String,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let output = args.output();
    if ui.json && output.is_none() {
        return Err(Failure::new(
            Kind::Usage,
            "read --json prints its report on standard output: give -o FILE for the data",
        ));
    }
    let text_only = output.is_none() && io::stdout().is_terminal() && !args.force;
    let chip_file = chip_file_path(&args.image.image, &args.image.geometry);
    Inputs { image: &args.image.image, chip_file: chip_file.as_deref() }.refuse_as_output(output)?;
    refuse_layout_file(args.image.geometry.layout.as_deref(), output)?;
    refuse_stdout(&args.image)?;
    let options = MountOptions { sequence: args.sequence, ..MountOptions::read_only() };
    let mounted = mount(&args.image, Access::ReadOnly, &options, ui)?;
    let volume = &mounted.volume;
    let end = end_of_range(args, volume.len())?;
    let mut transfer = Transfer::new(Sink { text_only, ..Sink::open(output)? }, ui.json);
    let stopped = transfer.run(volume, args.offset, end, args.skip_unreadable, ui);
    let stopped = stopped.and_then(|()| transfer.sink.flush());
    if let Err(failure) = &stopped
        && failure.kind != Kind::Unreadable
    {
        return stopped.map(|()| Exit::Done);
    }
    let Transfer { bytes, holes, hasher, .. } = transfer;
    let mut report = json!({
        "offset": args.offset,
        "bytes": bytes,
        "sha256": hasher.map(|hasher| hex(&hasher.finalize())),
        "holes": holes.iter().map(|hole| hole.to_json(volume.flash())).collect::<Vec<_>>(),
    });
    report["sequence"] = json!(volume.sequence());
    Health::of(volume).add_to(&mut report);
    report["ecc"] = ecc::to_json(volume.flash());
    let flips = ecc::describe(&report["ecc"]);
    if let Err(failure) = &stopped {
        report["error"] = error_object(failure);
    }
    if ui.json {
        ui.print_json(report)?;
    }
    stopped?;
    if let Some(flips) = flips {
        ui.status(&format!("ECC: {flips}"));
    }
    for line in describe_holes(&holes) {
        ui.warn(&line);
    }
    ui.status(&format!("read {bytes} bytes ({}) from offset {}", size(bytes), args.offset));
    Ok(if holes.is_empty() { Exit::Done } else { Exit::Damage })
}

/// Holes for a person: those that follow each other in one block are one.
pub(super) fn describe_holes(holes: &[Hole]) -> Vec<String> {
    let follows = |a: &Hole, b: &Hole| {
        a.offset + a.length == b.offset
            && a.at.is_some()
            && a.at.map(|at| at.block) == b.at.map(|at| at.block)
    };
    let describe = |run: &[Hole]| {
        let (first, last) = run.first().zip(run.last())?;
        let end = last.offset + last.length;
        let and_more = match run.len() {
            1 => String::new(),
            n => format!(", nor {} after it", count(n as u64 - 1, "page")),
        };
        Some(format!("bytes {}..{end} are missing: {}{and_more}", first.offset, first.reason))
    };
    holes.chunk_by(follows).filter_map(describe).collect()
}

/// Where the bytes go.
struct Sink<'a> {
    writer: Box<dyn Write>,
    path: Option<&'a Path>,
    /// It is a terminal, which binary data may upset.
    text_only: bool,
}

impl<'a> Sink<'a> {
    fn open(path: Option<&'a Path>) -> Result<Self, Failure> {
        let writer: Box<dyn Write> = match path {
            None => Box::new(io::stdout().lock()),
            Some(file) => Box::new(File::create(file).map_err(|e| Self::failure(path, e))?),
        };
        Ok(Self { writer, path, text_only: false })
    }

    fn failure(path: Option<&Path>, error: io::Error) -> Failure {
        match path {
            Some(path) => Failure::from(error).context(format!("cannot write {}", path.display())),
            None => stdout_failure(error),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.text_only && !is_text(bytes) {
            return Err(Failure::new(
                Kind::Usage,
                "the data is binary and standard output is a terminal: give -o FILE, or --force",
            ));
        }
        self.writer.write_all(bytes).map_err(|e| Self::failure(self.path, e))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|e| Self::failure(self.path, e))
    }
}

/// Whether a part of a stream can be shown on a terminal: UTF-8 without control characters but those of plain text. It may begin
/// and end in the middle of a character.
fn is_text(bytes: &[u8]) -> bool {
    let cut = bytes.iter().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
    let bytes = &bytes[cut..];
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// Where the range to read ends.
fn end_of_range(args: &Args, len: u64) -> Result<u64, Failure> {
    match args.length {
        Some(length) => match args.offset.checked_add(length) {
            Some(end) if end <= len => Ok(end),
            _ => Err(Error::OutOfRange { offset: args.offset, length, end: len }.into()),
        },
        // Behind the end there is nothing, as in any file.
        None => Ok(len.max(args.offset)),
    }
}

impl Hole {
    pub(super) fn to_json<H: FlashHardware>(&self, flash: &H) -> Value {
        json!({
            "offset": self.offset,
            "length": self.length,
            "block": self.at.map(|at| at.block.0),
            "page": self.at.map(|at| at.page),
            "file_offset": self.at.map(|at| flash.raw_offset(at)),
            "reason": self.reason,
        })
    }
}

/// A transfer in progress.
struct Transfer<'a> {
    sink: Sink<'a>,
    hasher: Option<Sha256>,
    bytes: u64,
    holes: Vec<Hole>,
}

impl<'a> Transfer<'a> {
    fn new(sink: Sink<'a>, hash: bool) -> Self {
        Self { sink, hasher: hash.then(Sha256::new), bytes: 0, holes: Vec::new() }
    }

    fn run<V: Volume>(
        &mut self,
        volume: &V,
        from: u64,
        end: u64,
        skip: bool,
        ui: &Ui,
    ) -> Result<(), Failure> {
        const CHUNK: u64 = 1 << 20;
        let mut progress = Progress::new(ui, "reading");
        // Past the map there is nothing to read, however far the length claims to go.
        let stored = end.min(volume.mapped_end().max(from));
        let mut buf = vec![0; CHUNK.min(stored - from) as usize];
        let mut at = from;
        while at < stored {
            let take = CHUNK.min(stored - at) as usize;
            let chunk = &mut buf[..take];
            match volume.read(at, chunk) {
                Ok(()) => {
                    self.put(chunk)?;
                    at += take as u64;
                }
                Err(Error::Unreadable { offset, length, at: place, reason }) => {
                    let before = &mut chunk[..(offset - at) as usize];
                    volume.read(at, before)?;
                    self.put(before)?;
                    self.hole(Hole { offset, length, at: place, reason }, skip)?;
                    self.put_zeros(length)?;
                    at = offset + length;
                }
                Err(error) => return Err(error.into()),
            }
            progress.at(at - from, stored - from);
        }
        if end > stored {
            let reason = "it is past the end of the map".to_string();
            self.hole(Hole { offset: stored, length: end - stored, at: None, reason }, skip)?;
        }
        Ok(())
    }

    /// Note a place that cannot be read; without `skip` it ends the copy.
    fn hole(&mut self, hole: Hole, skip: bool) -> Result<(), Failure> {
        let (offset, length, at, reason) = (hole.offset, hole.length, hole.at, hole.reason.clone());
        self.holes.push(hole);
        if skip {
            return Ok(());
        }
        self.sink.flush()?;
        Err(Error::Unreadable { offset, length, at, reason }.into())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn put_zeros(&mut self, length: u64) -> Result<(), Failure> {
        let zeros = vec![0; length.min(1 << 20) as usize];
        let mut left = length;
        while left > 0 {
            let take = left.min(zeros.len() as u64) as usize;
            self.put(&zeros[..take])?;
            left -= take as u64;
        }
        Ok(())
    }
}
