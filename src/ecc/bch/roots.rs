//! All the roots of a polynomial over the field, if it has as many as its degree.
//!
//! The trace of an element is 0 or 1, and so for each i the roots of a polynomial fall apart into those where the trace of
//! α^i x is 0 and those where it is 1 (Berlekamp's trace algorithm): the trace's common divisor with the polynomial and what is
//! left. As the first m powers of α are a basis, two roots differ at one of them at least. Unlike a search through all bits of
//! the codeword (Chien), the work does not depend on the length of a step.
//!
//! Polynomials are slices of coefficients, from that of x^0 up.

use alloc::vec;
use alloc::vec::Vec;

use super::field::Field;

/// Elements of a field, at most.
const MAX_DEGREE: usize = 15;

/// Finds roots in one field.
#[derive(Clone)]
pub(super) struct RootFinder {
    /// What y² + y can be, and the y: at i an entry of which bit i is the highest. The map is linear, and these are a basis of
    /// its image.
    quadratics: [Option<(u16, u16)>; MAX_DEGREE],
}

impl RootFinder {
    pub(super) fn new(field: &Field) -> Self {
        let mut finder = Self { quadratics: [None; _] };
        for i in 0..field.degree() {
            let y = 1 << i;
            let (rest, y) = finder.reduce(field.mul(y, y) ^ y, y);
            if let Some(highest) = rest.checked_ilog2() {
                finder.quadratics[highest as usize] = Some((rest, y));
            }
        }
        finder
    }

    /// What is left of `value` beside the basis, and `y` with the y of what was taken.
    fn reduce(&self, mut value: u16, mut y: u16) -> (u16, u16) {
        for (i, entry) in self.quadratics.iter().enumerate().rev() {
            if let Some((square, root)) = entry.filter(|_| value >> i & 1 == 1) {
                (value, y) = (value ^ square, y ^ root);
            }
        }
        (value, y)
    }

    /// The logarithms of the roots of `polynomial`, of degree 1 at least, with the coefficient 1 of its highest term and one
    /// that is not 0 of x^0. `None` unless there are as many as its degree, all distinct.
    pub(super) fn logs(&self, field: &Field, polynomial: &[u16]) -> Option<Vec<u16>> {
        let mut logs = Vec::with_capacity(polynomial.len() - 1);
        if !self.small(field, polynomial, &mut logs)? {
            self.split(field, polynomial, &mut logs)?;
        }
        Some(logs)
    }

    /// Adds the roots of a polynomial of degree 1 or 2, and tells whether it is one.
    fn small(&self, field: &Field, polynomial: &[u16], logs: &mut Vec<u16>) -> Option<bool> {
        match *polynomial {
            [root, 1] => logs.push(field.log(root)),
            [_, 0, 1] => return None,
            [c, b, 1] => {
                // x = b y: y² + y = c / b².
                let (rest, y) = self.reduce(field.div(c, field.mul(b, b)), 0);
                if rest != 0 {
                    return None;
                }
                let root = field.mul(b, y);
                logs.extend([field.log(root), field.log(root ^ b)]);
            }
            _ => return Some(false),
        }
        Some(true)
    }

    fn split(&self, field: &Field, polynomial: &[u16], logs: &mut Vec<u16>) -> Option<()> {
        let squares = squares(field, polynomial)?;
        let mut factors = vec![polynomial.to_vec()];
        for i in 0..field.degree() {
            let trace = trace(field, i, &squares);
            let mut rest = Vec::new();
            for factor in factors {
                let divisor = common_divisor(field, &factor, &trace);
                let others = quotient(field, factor, &divisor);
                for part in [divisor, others] {
                    if part.len() > 1 && !self.small(field, &part, logs)? {
                        rest.push(part);
                    }
                }
            }
            if rest.is_empty() {
                return Some(());
            }
            factors = rest;
        }
        None
    }
}

/// x, x², x⁴, ... m of them, by `modulus`. `None` unless the next is x again, that is, unless the modulus is a product of
/// distinct x + a.
fn squares(field: &Field, modulus: &[u16]) -> Option<Vec<Vec<u16>>> {
    let degree = modulus.len() - 1;
    let powers = even_powers(field, modulus);
    let mut squares = vec![powers[0].clone()];
    squares[0][..2].copy_from_slice(&[0, 1]);
    loop {
        let mut square = vec![0; degree];
        for (coefficient, power) in squares[squares.len() - 1].iter().zip(&powers) {
            field.add_multiple(&mut square, field.mul(*coefficient, *coefficient), power);
        }
        if squares.len() == field.degree() {
            return (square == squares[0]).then_some(squares);
        }
        squares.push(square);
    }
}

/// 1, x², x⁴, ... by `modulus`, as many as its degree.
fn even_powers(field: &Field, modulus: &[u16]) -> Vec<Vec<u16>> {
    let degree = modulus.len() - 1;
    let mut power = vec![0; degree + 1];
    power[0] = 1;
    let mut powers = Vec::with_capacity(degree);
    for i in 0..2 * degree - 1 {
        if i % 2 == 0 {
            powers.push(power[..degree].to_vec());
        }
        power.rotate_right(1);
        let highest = power[degree];
        field.add_multiple(&mut power, highest, modulus);
    }
    powers
}

/// The trace of α^i x, a sum of the powers that [`squares`] gives.
fn trace(field: &Field, i: usize, squares: &[Vec<u16>]) -> Vec<u16> {
    let mut sum = vec![0; squares[0].len()];
    let mut factor = field.power(i);
    for square in squares {
        field.add_multiple(&mut sum, factor, square);
        factor = field.mul(factor, factor);
    }
    sum
}

/// The common divisor of highest degree, with the coefficient 1 there, which `a` has, too.
fn common_divisor(field: &Field, a: &[u16], b: &[u16]) -> Vec<u16> {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    loop {
        // b by a, which has a leading 1.
        divide(field, &mut b, &a);
        b.truncate(a.len() - 1);
        while b.last() == Some(&0) {
            b.pop();
        }
        let Some(&highest) = b.last() else { return a };
        b.iter_mut().for_each(|coefficient| *coefficient = field.div(*coefficient, highest));
        (a, b) = (b, a);
    }
}

fn quotient(field: &Field, mut dividend: Vec<u16>, divisor: &[u16]) -> Vec<u16> {
    divide(field, &mut dividend, divisor);
    dividend.split_off(divisor.len() - 1)
}

/// Leaves the remainder in the coefficients below the degree of `divisor`, whose highest coefficient is 1, and the quotient
/// from there on.
fn divide(field: &Field, dividend: &mut [u16], divisor: &[u16]) {
    let degree = divisor.len() - 1;
    for i in (degree..dividend.len()).rev() {
        let (rest, quotient) = dividend.split_at_mut(i);
        field.add_multiple(&mut rest[i - degree..], quotient[0], &divisor[..degree]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::default_polynomial;
    use super::*;
    use crate::prng::SplitMix64;

    fn field(m: u32) -> Field {
        Field::new(m, default_polynomial(m).unwrap()).expect("primitive")
    }

    /// The product of x + root.
    fn with_roots(field: &Field, roots: &[u16]) -> Vec<u16> {
        let mut product = vec![1];
        for root in roots {
            let mut next = vec![0; product.len() + 1];
            next[1..].copy_from_slice(&product);
            field.add_multiple(&mut next, *root, &product);
            product = next;
        }
        product
    }

    fn value_at(field: &Field, polynomial: &[u16], x: u16) -> u16 {
        polynomial.iter().rev().fold(0, |sum, coefficient| field.mul(sum, x) ^ coefficient)
    }

    fn sorted(mut logs: Vec<u16>) -> Vec<u16> {
        logs.sort_unstable();
        logs
    }

    #[test]
    fn the_roots_of_a_product_are_found() {
        let mut rng = SplitMix64::new(1);
        for m in 5..=15 {
            let field = field(m);
            let finder = RootFinder::new(&field);
            for degree in (1..=64).filter(|degree| *degree <= field.order()) {
                let mut logs: Vec<u16> = (0..field.order() as u16).collect();
                for i in 0..degree {
                    logs.swap(i, i + rng.below((field.order() - i) as u64) as usize);
                }
                logs.truncate(degree);
                let mut roots: Vec<u16> = logs.iter().map(|log| field.power(usize::from(*log))).collect();
                let found = finder.logs(&field, &with_roots(&field, &roots));
                assert_eq!(found.map(sorted), Some(sorted(logs)), "m = {m}, degree {degree}");
                if degree > 1 {
                    roots[0] = roots[degree - 1];
                    assert_eq!(
                        finder.logs(&field, &with_roots(&field, &roots)),
                        None,
                        "m = {m}: one root twice"
                    );
                }
            }
        }
    }

    #[test]
    fn a_polynomial_has_the_roots_that_a_search_finds_or_none_are_given() {
        let mut rng = SplitMix64::new(2);
        let mut split = [0; 8];
        for m in [5, 6, 7, 8] {
            let field = field(m);
            let finder = RootFinder::new(&field);
            for _ in 0..4000 {
                let degree = 1 + rng.below(7) as usize;
                let mut polynomial: Vec<u16> = (0..degree).map(|_| rng.below(1 << m) as u16).collect();
                polynomial[0] = polynomial[0].max(1);
                polynomial.push(1);
                let is_root = |log: &u16| value_at(&field, &polynomial, field.power(usize::from(*log))) == 0;
                let searched: Vec<u16> = (0..field.order() as u16).filter(is_root).collect();
                let all = searched.len() == degree;
                split[degree] += u32::from(all);
                let found = finder.logs(&field, &polynomial).map(sorted);
                assert_eq!(found, all.then_some(searched), "m = {m}: {polynomial:x?}");
            }
        }
        assert!(split[1..6].iter().all(|count| *count > 5), "of each degree some split: {split:?}");
    }
}
