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
            if element == 1 && log > 0 {
                return None;
            }
            *power = element as u16;
            logs[element as usize] = log as u16;
            element <<= 1;
            if element >> m == 1 {
                element ^= polynomial;
            }
        }
        // Back at 1 after all other elements, and not before.
        (element == 1).then_some(Self { powers, logs })
    }

    /// m.
    pub(super) fn degree(&self) -> usize {
        self.logs.len().ilog2() as usize
    }

    /// Elements other than 0.
    pub(super) fn order(&self) -> usize {
        self.powers.len()
    }

    /// Bytes of the tables.
    #[cfg(test)]
    pub(super) fn table_len(&self) -> usize {
        size_of_val(&self.powers[..]) + size_of_val(&self.logs[..])
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

    /// Adds `factor` times each of `terms` to what stands at its place in `sums`.
    pub(super) fn add_multiple(&self, sums: &mut [u16], factor: u16, terms: &[u16]) {
        if factor == 0 {
            return;
        }
        let log = usize::from(self.log(factor));
        for (sum, term) in sums.iter_mut().zip(terms) {
            if *term != 0 {
                *sum ^= self.power(log + usize::from(self.log(*term)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::default_polynomial;
    use super::*;
    use crate::prng::SplitMix64;

    /// The product as polynomials, and then what the field's polynomial leaves of it by long division.
    fn slow_product(a: u16, b: u16, polynomial: u32) -> u16 {
        let bits_of_b = (0..16).filter(|bit| b >> bit & 1 == 1);
        let mut product = bits_of_b.fold(0, |sum, bit| sum ^ u32::from(a) << bit);
        while product.checked_ilog2() >= polynomial.checked_ilog2() {
            product ^= polynomial << (product.ilog2() - polynomial.ilog2());
        }
        product as u16
    }

    #[test]
    fn products_and_quotients_are_those_of_long_division() {
        let mut rng = SplitMix64::new(13);
        for m in 5..=15 {
            let default = default_polynomial(m).unwrap();
            // Read from the other end it is primitive, too.
            for polynomial in [default, default.reverse_bits() >> (31 - m)] {
                let field = Field::new(m, polynomial).expect("primitive");
                assert_eq!((field.degree(), field.order()), (m as usize, (1 << m) - 1));
                for _ in 0..1000 {
                    let [a, b, sum] = [(); 3].map(|()| rng.below(1 << m) as u16);
                    let product = field.mul(a, b);
                    assert_eq!(product, slow_product(a, b, polynomial), "{a:#x} * {b:#x}, {polynomial:#x}");
                    let mut sums = [sum, sum, sum];
                    field.add_multiple(&mut sums, a, &[b, 0]);
                    assert_eq!(sums, [sum ^ product, sum, sum]);
                    if b != 0 {
                        assert_eq!(field.div(product, b), a, "{product:#x} / {b:#x}, {polynomial:#x}");
                        assert_eq!(field.power(usize::from(field.log(b))), b);
                        assert_eq!(field.power(usize::from(field.log(b)) + field.order()), b);
                    }
                }
            }
        }
    }

    /// There are φ(2^m - 1) / m primitive polynomials of degree m.
    #[test]
    fn all_primitive_polynomials_and_no_others_make_a_field() {
        for (m, count) in [(5, 6), (6, 6), (7, 18), (8, 16), (9, 48), (10, 60)] {
            let fields = (0..2 << m).filter(|polynomial| Field::new(m, *polynomial).is_some());
            assert_eq!(fields.count(), count, "m = {m}");
        }
    }
}
