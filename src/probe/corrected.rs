//! An image seen through the layout of its pages: data in front, spare bytes behind, flips corrected as far as they can be.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::source::ReadAt;
use crate::layout::{Layout, PageCodec};

/// Raw bytes corrected at a time.
const WINDOW: u64 = 128 << 10;

/// A source seen through the layout of its pages. Offsets are those of the source; a page that cannot be corrected, and what
/// follows the last whole page, is shown as it is.
#[derive(Debug)]
pub struct Corrected<'a, S: ?Sized> {
    source: &'a S,
    codec: PageCodec,
    /// The window that was read last, by its number.
    last: Mutex<Option<(u64, Vec<u8>)>>,
}

impl<'a, S: ReadAt + ?Sized> Corrected<'a, S> {
    /// `source`, whose pages are stored as `layout` says.
    pub fn new(source: &'a S, layout: &Layout) -> Self {
        Self { source, codec: PageCodec::new(layout), last: Mutex::new(None) }
    }

    /// Bytes of a window: whole pages.
    fn window_len(&self) -> u64 {
        let raw = self.codec.layout().raw_page_size() as u64;
        (WINDOW / raw).max(1) * raw
    }

    fn window(&self, index: u64) -> io::Result<Vec<u8>> {
        let start = index * self.window_len();
        let len = self.source.len().saturating_sub(start).min(self.window_len());
        let mut window = vec![0; len as usize];
        self.source.read_at(start, &mut window)?;
        let (raw, page) = (self.codec.layout().raw_page_size(), self.codec.layout().page_size() as usize);
        let in_front = self.codec.layout().is_contiguous_data();
        let mut data = vec![0; page];
        for raw in window.chunks_exact_mut(raw) {
            // Whoever reads finds out by its own checksums what could not be corrected.
            let _ = self.codec.decode(raw);
            if !in_front {
                self.codec.data(raw, &mut data);
                let (front, spare) = raw.split_at_mut(page);
                front.copy_from_slice(&data);
                spare.fill(0xFF);
            }
        }
        Ok(window)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for Corrected<'_, S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= self.len());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let index = at / self.window_len();
            let window = match last.take() {
                Some((found, window)) if found == index => window,
                _ => self.window(index)?,
            };
            let from = (at - index * self.window_len()) as usize;
            let Some(there) = window.get(from..).filter(|there| !there.is_empty()) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let (out, tail) = rest.split_at_mut(there.len().min(rest.len()));
            out.iter_mut().zip(there).for_each(|(to, byte)| *to = *byte);
            at += out.len() as u64;
            rest = tail;
            *last = Some((index, window));
        }
        Ok(())
    }
}
