//! stub
use super::source::ReadAt;
/// stub
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// a
    pub name: &'static str,
    /// b
    pub title: &'static str,
    /// c
    pub offset: u64,
    /// d
    pub evidence: String,
}
/// stub
pub fn recognise(_: &dyn ReadAt) -> std::io::Result<Option<Foreign>> {
    Ok(None)
}
