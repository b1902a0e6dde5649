//! The codes against what the Linux kernel wrote.

use nandimg::ecc::{Bch, BchParams, Code, Hamming, HammingOrder, HammingStep};
fn hex(s: &str) -> Vec<u8> {
    (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
}
#[test]
fn quick() {
    let payload = std::fs::read("testdata/linux-mtd/payload.bin").unwrap();
    for (t, want) in [
        (1, "edcf"),
        (2, "4a4abb7f"),
        (4, "3872ecde009dcf"),
        (8, "765f2287d98f9a67bae8a8c587"),
        (12, "f7f9b6b60aa08ec0b58d279bb3ead36b0a7bef7f"),
        (16, "eecbfac60388fb456cd2d05868bfd32c8d3309acae7c6efc4c6c"),
    ] {
        let code = Code::Bch(Bch::new(BchParams::linux(512, t)).unwrap());
        let mut ecc = vec![0; code.ecc_len()];
        code.encode(&payload[..512], &mut ecc);
        assert_eq!(ecc, hex(want), "{t}");
    }
    let code = Code::Hamming(Hamming::new(HammingStep::Bytes256, HammingOrder::Linux));
    let mut ecc = [0; 3];
    code.encode(&payload[..256], &mut ecc);
    assert_eq!(ecc, [0x3c, 0x33, 0x33]);
    let code = Code::Hamming(Hamming::new(HammingStep::Bytes512, HammingOrder::Linux));
    code.encode(&payload[..512], &mut ecc);
    assert_eq!(ecc, [0x59, 0x59, 0xa5]);
}
