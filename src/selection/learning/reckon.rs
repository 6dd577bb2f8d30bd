//! Exponentials and logarithms out of plus, minus, times and divided by, which are the same to the last bit on every
//! machine and in every build. Those of the system's library are not.

#![expect(clippy::cast_precision_loss, reason = "numbers below forty")]

/// The natural logarithm of two, in two parts: a multiple of the first by a small whole number is exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// One over the factorials of 0, 1, 2 …
const FACTORIALS: [f64; 15] = {
    let mut out = [1.0; 15];
    let mut at = 1;
    while at < out.len() {
        out[at] = out[at - 1] / at as f64;
        at += 1;
    }
    out
};
/// One over 1, 3, 5 …
const ODDS: [f64; 18] = {
    let mut out = [1.0; 18];
    let mut at = 0;
    while at < out.len() {
        out[at] = 1.0 / (2 * at + 1) as f64;
        at += 1;
    }
    out
};
/// Beyond it nothing is left of a pair's weight, and what grows would not be a number.
const MOST: f64 = 700.0;

/// e to the power of `x`.
pub(super) fn exp(x: f64) -> f64 {
    let x = x.clamp(-MOST, MOST);
    let halvings = (x / std::f64::consts::LN_2).round();
    let rest = (x - halvings * LN_2_HIGH) - halvings * LN_2_LOW;
    // No more than 0.35: the fourteenth power adds nothing any more.
    let series = FACTORIALS.iter().rev().fold(0.0, |sum, factorial| sum * rest + factorial);
    #[expect(clippy::cast_possible_truncation, reason = "between -1010 and 1010")]
    let power = halvings as i64;
    series * f64::from_bits(u64::try_from(1023 + power).unwrap_or(0) << 52)
}

/// Two to the power of `x`.
pub(super) fn exp2(x: f64) -> f64 {
    exp(x * std::f64::consts::LN_2)
}

/// The logarithm of 1 + e^x: zero far below zero, `x` far above.
pub(super) fn softplus(x: f64) -> f64 {
    let small = exp(-x.abs());
    // ln(1 + y) = 2 artanh(y / (2 + y)), and that is no more than a third.
    let part = small / (2.0 + small);
    let square = part * part;
    let series = ODDS.iter().rev().fold(0.0, |sum, odd| sum * square + odd);
    2.0 * part * series + x.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_book() {
        for at in -4000..=4000 {
            let x = f64::from(at) / 40.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "{x}");
            let expected = if x > 30.0 { x + (-x).exp() } else { x.exp().ln_1p() };
            assert!((softplus(x) / expected - 1.0).abs() < 1e-13, "{x}: {} {expected}", softplus(x));
        }
        assert_eq!((exp(0.0).to_bits(), exp2(-1.0).to_bits()), (1.0_f64.to_bits(), 0.5_f64.to_bits()));
        assert!(exp(f64::MAX).is_finite() && exp(f64::MIN) >= 0.0);
        assert!(softplus(f64::MIN) < 1e-300);
    }
}
