//! GF(2^m) for m up to 15, by tables of powers and logarithms.
//!
//! An element is a polynomial below the field's, the coefficient of x^i at bit i; α is x. The tables take 2^(m+2) bytes.

use alloc::vec;
use alloc::vec::Vec;

/// The field; 0 has no logarithm, and every other element is α^i for one i below [`Field::order`].
#[derive(Clone)]
pub(super) struct Field {
    powers: Vec<u16>,
    logs: Vec<u16>,
}

impl Field {
    /// The field of a polynomial of degree `m`, at most 15; `None` unless it is primitive.
    pub(super) fn new(m: u32, polynomial: u32) -> Option<Self> {
        if polynomial.checked_ilog2()? != m || m > 15 {
            return None;
        }
        let size = 1 << m;
        let (mut powers, mut logs) = (vec![0; size - 1], vec![0; size]);
        let mut element: u32 = 1;
        for (log, power) in powers.iter_mut().enumerate() {
            // Back at 1 too early, or at 0 from where there is no way back.
            if element == 0 || (element == 1 && log > 0) {
                return None;
            }
            *power = element as u16;
            logs[element as usize] = log as u16;
            element <<= 1;
            if element >> m == 1 {
                element ^= polynomial;
            }
        }
        Some(Self { powers, logs })
    }

    /// m.
    pub(super) fn degree(&self) -> usize {
        self.logs.len().ilog2() as usize
    }

    /// Elements other than 0.
    pub(super) fn order(&self) -> usize {
        self.powers.len()
    }

    /// α^`log`, for `log` below twice the order.
    pub(super) fn power(&self, log: usize) -> u16 {
        let order = self.order();
        self.powers[if log < order { log } else { log - order }]
    }

    /// The logarithm of an element that is not 0.
    pub(super) fn log(&self, element: u16) -> u16 {
        self.logs[usize::from(element)]
    }

    pub(super) fn mul(&self, a: u16, b: u16) -> u16 {
        if a == 0 || b == 0 { 0 } else { self.power(usize::from(self.log(a)) + usize::from(self.log(b))) }
    }

    /// a / b, for b other than 0.
    pub(super) fn div(&self, a: u16, b: u16) -> u16 {
        if a == 0 {
            0
        } else {
            self.power(usize::from(self.log(a)) + self.order() - usize::from(self.log(b)))
        }
    }
}
