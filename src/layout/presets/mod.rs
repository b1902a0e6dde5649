//! Layouts known by name, for the pages that they are known for. What no source says is left out: where a source says where
//! ECC lies and not how it is computed, the layout has no code. A new one is a `Preset` in the file of its kind, and an entry in
//! [`PRESETS`].

mod controllers;
mod linux;
mod on_die;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{LayoutError, LayoutSpec};

/// A layout known by name.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Preset {
    /// The name; where it ends with `<t>`, that stands for the number of bits corrected a step.
    pub name: &'static str,
    /// What it is, on one line.
    pub description: &'static str,
    /// Where the facts come from.
    pub source: &'static str,
    /// Page and spare sizes that show it, one or more; the layout may fit others.
    pub examples: &'static [(u32, u32)],
    spec: fn(&Page) -> Result<LayoutSpec, String>,
}

/// What a preset is asked for.
struct Page {
    page_size: u32,
    spare_size: u32,
    /// Bits corrected a step, where the name says them; else 0.
    t: u32,
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    linux::NONE,
    linux::RAW,
    linux::HAMMING,
    linux::HAMMING_SMC,
    linux::BCH,
    controllers::ATMEL_BCH,
    controllers::AM335X_BCH8,
    controllers::GPMI_BCH,
    controllers::QCOM_BCH4,
    controllers::QCOM_BCH8,
    controllers::HARMAN_BCH4,
    controllers::HERMES2_BCH8,
    controllers::MARVELL_BCH8,
    controllers::ADJACENT,
    on_die::WINBOND,
    on_die::GIGADEVICE,
    on_die::MACRONIX,
    on_die::MICRON,
    on_die::TOSHIBA,
];

/// The names of all presets, for a message.
pub(super) fn names() -> String {
    PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}

/// The preset called `name`, written down for pages of these sizes.
pub(super) fn spec(name: &str, page_size: u32, spare_size: u32) -> Result<LayoutSpec, LayoutError> {
    let found = PRESETS.iter().find_map(|preset| Some((preset, preset.strength_in(name)?)));
    let Some((preset, t)) = found else { return Err(LayoutError::Unknown { name: name.to_string() }) };
    let unfit = |reason: String| LayoutError::Unfit { name: name.to_string(), page_size, spare_size, reason };
    if page_size == 0 {
        return Err(unfit("a page has at least one byte of data".into()));
    }
    let spec = (preset.spec)(&Page { page_size, spare_size, t }).map_err(unfit)?;
    Ok(LayoutSpec { name: name.to_string(), page_size, spare_size, ..spec })
}

impl Preset {
    /// Whether `name` is this preset's.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.strength_in(name).is_some()
    }

    /// If `name` is this preset's, the number that it has in the place of `<t>`, or 0.
    fn strength_in(&self, name: &str) -> Option<u32> {
        let Some(stem) = self.name.strip_suffix("<t>") else { return (name == self.name).then_some(0) };
        let digits = name.strip_prefix(stem)?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain)
    }
}

impl Page {
    /// How many steps of `len` bytes the page has.
    fn steps_of(&self, len: u32) -> Result<u64, String> {
        match self.page_size.is_multiple_of(len) {
            true => Ok(u64::from(self.page_size / len)),
            false => Err(alloc::format!("the page is no multiple of {len} bytes")),
        }
    }

    /// That the spare area has at least `least` bytes.
    fn expect_spare(&self, least: u64) -> Result<(), String> {
        match u64::from(self.spare_size) >= least {
            true => Ok(()),
            false => Err(alloc::format!("it takes {least} spare bytes")),
        }
    }

    /// That the page is one of these.
    fn expect_one_of(&self, pages: &[(u32, u32)]) -> Result<(), String> {
        match pages.contains(&(self.page_size, self.spare_size)) {
            true => Ok(()),
            false => Err(known_for(pages.iter().copied())),
        }
    }

    /// Data bytes as a position: where the spare area begins.
    fn spare(&self) -> u64 {
        u64::from(self.page_size)
    }
}

/// Why a page does not do, where only some are known.
fn known_for(pages: impl Iterator<Item = (u32, u32)>) -> String {
    let pages = pages.map(|(page, spare)| alloc::format!("{page} + {spare}")).collect::<Vec<_>>();
    alloc::format!("it is known for pages of {}", pages.join(", "))
}
