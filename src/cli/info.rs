//! `nandimg info`: what an image is, from its bytes and its size.

use nandimg::flash::file_io::{Access, LockedFile};
use nandimg::flash::image::{ChipState, ImageFile};
use nandimg::flash::marked_blocks;
use nandimg::layout::Layout;
use nandimg::probe::{self, Candidate, EccCount, Known, NearFit, Survey};
use serde_json::{Value, json};

use super::args::ImageArgs;
use super::ecc;
use super::exit::{Exit, Failure, Kind};
use super::geometry::{Claims, Source, preset_marker};
use super::layout::find_layout;
use super::linux_bbt;
use super::open::{load_chip_file, lock_file, mapping_of};
use super::output::{Ui, block_list, count, error_object, size, table};
use super::progress::Progress;
use super::same_file::refuse_stdout;

/// Pages that the ECC is counted over, at most; of larger images so many are spread evenly.
const COUNTED_PAGES: u64 = 1 << 16;
/// The score from which on marks are looked for where a candidate has them.
const LIKELY: f64 = 0.5;
/// Candidates that the text shows: so many, and those that are so likely beside the best.
const SHOWN: usize = 4;
const WORTH_SHOWING: f64 = 0.25;

/// Say what an image is: content, geometry, layout and ECC, with the evidence
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    refuse_stdout(&args.image)?;
    let path = &args.image.image;
    let in_image = |failure: Failure| failure.context(format!("{}", path.display()));
    let file = lock_file(path, Access::ReadOnly, ui)?;
    let file_size = file.len;
    let chip = load_chip_file(path, &args.image.geometry)?;
    let claims = Claims::stated(&args.image.geometry, chip.as_ref(), file.len).map_err(in_image)?;
    let found = find_layout(&file, args.image.geometry.layout.as_deref(), chip.as_ref(), claims);
    let found = found.map_err(in_image)?;
    let said = matches!(found.from, Source::Flag | Source::ChipFile);
    let claims = if said { found.claims } else { claims };
    refuse_what_does_not_fit(claims, file.len).map_err(in_image)?;
    let stated = chip.as_ref().and_then(|chip| chip.bad_block_marker.clone());
    let marker = stated.or_else(|| args.image.geometry.chip.and_then(|chip| chip.marker()));
    let known = Known {
        hints: claims.hints(),
        blocks: claims.blocks.map(|claim| claim.0),
        first_block: claims.first_block.map(|claim| claim.0),
        layout: found.layout().filter(|_| said),
        no_ecc: said && found.layout().is_none(),
        marker: marker.as_ref(),
    };
    let survey = probe::survey(&file.file, &known)?;
    if survey.volumes.is_empty()
        && let [found] = survey.search.best(|_| true).as_slice()
    {
        claims.and(Claims::of_flash(found)).map_err(in_image)?;
    }
    if let ([volume], true) = (survey.volumes.as_slice(), said) {
        let pages = (volume.page_size.unwrap_or(0), volume.spare_size);
        found.and_recorded(volume.page_layout, pages, &file).map_err(in_image)?;
    }
    let best = survey.candidates.first();
    let counted = match best.and_then(|best| best.layout.as_ref()).filter(|layout| !layout.ecc_less()) {
        Some(layout) => Some(count_ecc(&file, layout, ui)?),
        None => None,
    };
    let failure = if survey.recognised() { None } else { Some(in_image(why_nothing(&file, &survey)?)) };
    let mut content = chip.unwrap_or_default();
    let spare_size = best.map_or(0, |best| best.spare_size);
    content.bad_block_marker =
        content.bad_block_marker.or_else(|| preset_marker(&args.image.geometry, spare_size));
    let state = ChipState { content, path: None, changed: false };
    let bad_blocks = match best.filter(|best| best.score() >= LIKELY && failure.is_none()) {
        Some(best) => marks(file, best, claims, state).map_err(in_image)?,
        None => None,
    };
    let mut report = json!({ "file_size": file_size });
    let mut add = |key: &str, value: Value| report[key] = value;
    let (format, title, offset, evidence) = content_of(&survey);
    add("format", json!(format));
    add("content", json!(title.map(|title| json!({"title": title, "offset": offset, "evidence": evidence}))));
    add("candidates", survey.candidates.iter().map(candidate_to_json).collect());
    add("ecc", json!(counted.as_ref().map(ecc::count_to_json)));
    add("bad_blocks", json!(bad_blocks));
    add("linux_bbt", json!(survey.bbt.as_ref().map(linux_bbt::to_json)));
    add("nearest", survey.nearest.iter().map(near_fit_to_json).collect());
    add("entropy", json!((survey.entropy * 1000.0).round() / 1000.0));
    if let Some(failure) = &failure {
        add("error", error_object(failure));
    }
    ui.report(report, |report| format!("{}: {}", path.display(), show(report)))?;
    failure.map_or(Ok(Exit::Done), Err)
}

/// A geometry that is known must fit the size of the file.
fn refuse_what_does_not_fit(claims: Claims, file_len: u64) -> Result<(), Failure> {
    match claims.resolve(Some(file_len)) {
        Err(failure) if failure.kind == Kind::GeometryMismatch => Err(failure),
        _ => Ok(()),
    }
}

fn count_ecc(file: &LockedFile, layout: &Layout, ui: &Ui) -> Result<EccCount, Failure> {
    let mut progress = Progress::new(ui, "correcting");
    let raw_page = layout.raw_page_size() as u64;
    let told = |done: u64, of: u64| progress.at(done * raw_page, of * raw_page);
    Ok(probe::count_pages(&file.file, layout, COUNTED_PAGES, told)?)
}

/// The blocks that are marked bad if the candidate is right; `None` where it says too little to know, or more than there is.
fn marks(
    file: LockedFile,
    best: &Candidate,
    claims: Claims,
    state: ChipState,
) -> Result<Option<Vec<u32>>, Failure> {
    let claims = claims.and(Claims::of_candidate(best))?;
    let Ok(Some(resolved)) = claims.resolve(Some(file.len)) else { return Ok(None) };
    let layout = best.layout.as_ref();
    let flash = ImageFile::with_layout(file, resolved.geometry, layout, resolved.first_block, state)?;
    Ok(Some(marked_blocks(&flash)?.iter().map(|block| block.0).collect()))
}

/// Why nothing was recognised.
fn why_nothing(file: &LockedFile, survey: &Survey) -> Result<Failure, Failure> {
    let message = if file.len == 0 {
        "the file is empty"
    } else if probe::is_blank(&file.file)? {
        "every byte is 0xFF: it has not been formatted"
    } else if survey.entropy > 7.9 {
        "nothing was recognised in it: its bytes are as evenly spread as random, encrypted or compressed ones"
    } else {
        "nothing was recognised in it: no volume of ours, no other format, no ECC"
    };
    Ok(Failure::new(Kind::NotAnImage, message))
}

type Content = (Option<&'static str>, Option<String>, Option<u64>, Option<String>);

/// What the image holds: its name for scripts, a title, where it lies, and why.
fn content_of(survey: &Survey) -> Content {
    if let Some(found) = survey.volumes.first() {
        let name = mapping_of(found.format).name();
        let why = match survey.volumes.len() {
            1 => "whole metadata shows it".to_string(),
            several => format!("its metadata fits {several} geometries"),
        };
        return (Some(name), Some(format!("a {name}-mapped volume")), Some(found.start()), Some(why));
    }
    if let Some(foreign) = &survey.foreign {
        let title = Some(foreign.title.to_string());
        return (Some(foreign.name), title, Some(foreign.offset), Some(foreign.evidence.clone()));
    }
    if let Some((format, at, whole)) = survey.search.first_trace() {
        let name = mapping_of(format).name();
        let why = match whole {
            true => "its metadata is whole, and no geometry puts it where it belongs",
            false => "no copy of its metadata is whole",
        };
        return (Some(name), Some(format!("a {name}-mapped volume")), Some(at), Some(why.to_string()));
    }
    (None, None, None, None)
}

fn candidate_to_json(candidate: &Candidate) -> Value {
    json!({
        "page_size": candidate.page_size,
        "spare_size": candidate.spare_size,
        "block_size": candidate.block_size,
        "blocks": candidate.blocks,
        "first_block": candidate.first_block,
        "layout": candidate.layout.as_ref().map(Layout::name),
        "score": (candidate.score() * 1000.0).round() / 1000.0,
        "evidence": candidate.evidence.iter().map(|evidence| evidence.text.as_str()).collect::<Vec<_>>(),
    })
}

fn near_fit_to_json(fit: &NearFit) -> Value {
    json!({
        "page_size": fit.shape.page_size,
        "spare_size": fit.shape.spare_size,
        "block_size": fit.shape.block_size,
        "blocks": fit.blocks,
        "size": fit.size(),
        "excess": fit.excess,
    })
}

fn show(report: &Value) -> String {
    let file_size = report["file_size"].as_u64().unwrap_or(0);
    let mut text = format!("{file_size} bytes ({})\n", size(file_size));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12} {value}\n"));
    if let Some(title) = report["content"]["title"].as_str() {
        let offset = report["content"]["offset"].as_u64().unwrap_or(0);
        let evidence = report["content"]["evidence"].as_str().unwrap_or_default();
        line("holds", format!("{title} (offset {offset:#x}: {evidence})"));
    }
    if report["ecc"].is_object() {
        line("ECC", describe_ecc(&report["ecc"]));
    }
    let blocks = |list: &Value| serde_json::from_value::<Vec<u32>>(list.clone()).unwrap_or_default();
    if report["bad_blocks"].is_array() {
        line("bad blocks", block_list(&blocks(&report["bad_blocks"])));
    }
    if let Some(bbt) = linux_bbt::describe(&report["linux_bbt"]) {
        line("Linux", bbt);
    }
    for fit in report["nearest"].as_array().into_iter().flatten() {
        line("no fit", describe_near_fit(fit, file_size));
    }
    let candidates = report["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !candidates.is_empty() {
        text.push_str(&format!("{}\n", show_candidates(candidates).trim_fmt()));
    }
    text
}

fn describe_ecc(ecc: &Value) -> String {
    let number = |key: &str| ecc[key].as_u64().unwrap_or(0);
    let kind = |key: &str| {
        let share = 100.0 * number(key) as f64 / number("pages").max(1) as f64;
        (number(key) > 0).then(|| format!("{} {key} ({share:.1} %)", number(key)))
    };
    let kinds: Vec<String> =
        ["clean", "corrected", "uncorrectable", "blank"].into_iter().filter_map(kind).collect();
    let bits = match number("corrected_bits") {
        0 => String::new(),
        bits => format!("; {} corrected", count(bits, "bit")),
    };
    format!("{}: {}{bits}", count(number("pages"), "page"), kinds.join(", "))
}

/// The arithmetic of a size that fits nothing.
fn describe_near_fit(fit: &Value, file_size: u64) -> String {
    let number = |key: &str| fit[key].as_u64().unwrap_or(0);
    let (blocks, fitting) = (number("blocks"), number("size"));
    let difference = match fit["excess"].as_i64().unwrap_or(0) {
        less if less < 0 => format!("- {}", less.unsigned_abs()),
        more => format!("+ {more}"),
    };
    let spare = match (fit["page_size"].as_u64(), number("spare_size")) {
        (Some(page), spare) if spare > 0 => format!("pages of {page}+{spare} bytes"),
        _ => "no spare bytes".to_string(),
    };
    let (raw_block, block) = (fitting / blocks.max(1), size(number("block_size")));
    format!("{file_size} = {blocks} x {raw_block} {difference}: blocks of {block}, {spare}")
}

fn show_candidates(candidates: &[Value]) -> comfy_table::Table {
    let mut shown = table(&["page+spare", "block", "blocks", "layout", "score", "evidence"]);
    let score = |candidate: &Value| candidate["score"].as_f64().unwrap_or(0.0);
    let least = WORTH_SHOWING * candidates.first().map_or(0.0, score);
    for candidate in candidates.iter().take(SHOWN).filter(|candidate| score(candidate) >= least) {
        let number = |key: &str| candidate[key].as_u64();
        let known = |n: Option<u64>| n.map_or("?".to_string(), |n| n.to_string());
        let first = number("first_block").filter(|first| *first > 0);
        let blocks = known(number("blocks"));
        let evidence = candidate["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str);
        shown.add_row([
            format!("{}+{}", known(number("page_size")), known(number("spare_size"))),
            number("block_size").map_or("?".to_string(), size),
            first.map_or(blocks.clone(), |first| format!("{blocks} from {first}")),
            candidate["layout"].as_str().unwrap_or("?").to_string(),
            format!("{:.2}", score(candidate)),
            evidence.collect::<Vec<_>>().join("\n"),
        ]);
    }
    shown
}
