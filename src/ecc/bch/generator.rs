//! The generator polynomial of a code.

use alloc::vec;
use alloc::vec::Vec;

use super::field::Field;

/// The coefficients, 0 and 1, from that of x^0 up, of the least common multiple of the minimal polynomials of α, α³, ...
/// α^(2t-1). `None` if the field has not so many powers.
pub(super) fn generator(field: &Field, t: u32) -> Option<Vec<u8>> {
    let last = 2 * t as usize - 1;
    if last >= field.order() {
        return None;
    }
    let mut product = vec![1];
    for log in (1..=last).step_by(2) {
        let conjugates = conjugates(field, log);
        // Powers that are conjugate share their minimal polynomial, which counts once.
        if conjugates.iter().all(|conjugate| *conjugate >= log) {
            product = multiply(&product, &minimal_polynomial(field, &conjugates));
        }
    }
    Some(product)
}

/// The logarithms of α^log, its square, the square of that, and so on.
fn conjugates(field: &Field, log: usize) -> Vec<usize> {
    let mut logs = vec![log];
    let mut next = 2 * log % field.order();
    while next != log {
        logs.push(next);
        next = 2 * next % field.order();
    }
    logs
}

/// The product of x + α^i over all `conjugates` i; its coefficients are 0 and 1.
fn minimal_polynomial(field: &Field, conjugates: &[usize]) -> Vec<u16> {
    let mut product = vec![1];
    for log in conjugates {
        let root = field.power(*log);
        product.insert(0, 0);
        for i in 1..product.len() {
            product[i - 1] ^= field.mul(product[i], root);
        }
    }
    product
}

fn multiply(a: &[u8], b: &[u16]) -> Vec<u8> {
    let mut product = vec![0; a.len() + b.len() - 1];
    for (shift, _) in b.iter().enumerate().filter(|(_, coefficient)| **coefficient != 0) {
        for (sum, coefficient) in product[shift..].iter_mut().zip(a) {
            *sum ^= coefficient;
        }
    }
    product
}
