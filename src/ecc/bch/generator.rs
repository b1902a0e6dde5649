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

#[cfg(test)]
mod tests {
    use super::super::default_polynomial;
    use super::*;

    /// Generators as tables of BCH codes have them, in octal (Lin and Costello, "Error Control Coding", appendix C).
    #[test]
    fn generators_are_those_of_the_tables() {
        for (m, t, octal) in [
            (5, 1, 0o45),
            (5, 2, 0o3551),
            (5, 3, 0o107_657),
            // α^9 is a conjugate of α^5: five flips cost no more than four.
            (5, 4, 0o5_423_325),
            (5, 5, 0o5_423_325),
            (5, 7, 0o313_365_047),
            (6, 1, 0o103),
            (6, 2, 0o12_471),
            (6, 3, 0o1_701_317),
            (6, 4, 0o166_623_567),
            (8, 2, 0o267_543_u64),
        ] {
            let field = Field::new(m, default_polynomial(m).unwrap()).expect("primitive");
            let generator = generator(&field, t).expect("a generator");
            let bits =
                generator.iter().rev().fold(0, |bits, coefficient| bits << 1 | u64::from(*coefficient));
            assert_eq!(bits, octal, "m = {m}, t = {t}: {bits:o}");
        }
    }
}
