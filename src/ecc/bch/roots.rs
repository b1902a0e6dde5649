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
    let mut x = vec![0; degree];
    x[1] = 1;
    let mut squares = vec![x];
    loop {
        let last = &squares[squares.len() - 1];
        let mut square = vec![0; 2 * degree - 1];
        for (i, coefficient) in last.iter().enumerate() {
            square[2 * i] = field.mul(*coefficient, *coefficient);
        }
        divide(field, &mut square, modulus);
        square.truncate(degree);
        if squares.len() == field.degree() {
            return (square == squares[0]).then_some(squares);
        }
        squares.push(square);
    }
}

/// The trace of α^i x, a sum of the powers that [`squares`] gives.
fn trace(field: &Field, i: usize, squares: &[Vec<u16>]) -> Vec<u16> {
    let mut sum = vec![0; squares[0].len()];
    let mut factor = field.power(i);
    for square in squares {
        for (sum, coefficient) in sum.iter_mut().zip(square) {
            *sum ^= field.mul(factor, *coefficient);
        }
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
        let factor = dividend[i];
        if factor != 0 {
            for (sum, coefficient) in dividend[i - degree..].iter_mut().zip(&divisor[..degree]) {
                *sum ^= field.mul(factor, *coefficient);
            }
        }
    }
}
