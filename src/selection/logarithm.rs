//! Logarithms in whole numbers: one in floating point is not the same on every machine.

/// One, in logarithms.
pub(super) const ONE: u64 = 1 << 16;
/// The natural logarithm of two.
const LN_2: u64 = 45_426;

/// The binary logarithm of a fraction that is no less than one, in parts of [`ONE`], rounded down: by squaring, one bit
/// at a time.
pub(super) fn log2(above: u64, below: u64) -> u64 {
    // As a number from 1 on with 31 bits behind the point.
    const POINT: u32 = 31;
    let mut value = (u128::from(above) << POINT) / u128::from(below.max(1));
    let whole = value.max(1).ilog2().saturating_sub(POINT);
    value >>= whole;
    let mut log = u64::from(whole) * ONE;
    let mut bit = ONE / 2;
    while bit > 0 {
        value = (value * value) >> POINT;
        if value >= 2 << POINT {
            value >>= 1;
            log += bit;
        }
        bit /= 2;
    }
    log
}

/// What a term weighs that stands so often in a text and so rarely (a [`log2`]) in all of them: one more than the natural
/// logarithm of how often, times how rarely.
pub(super) fn weight(count: u32, rarity: u64) -> u64 {
    (ONE + log2(u64::from(count), 1) * LN_2 / ONE) * rarity / ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_exact_to_the_last_bits() {
        assert_eq!([1, 2, 4, 1 << 20].map(|number| log2(number, 1)), [0, ONE, 2 * ONE, 20 * ONE]);
        // log2 3 = 1.5849625…
        assert_eq!(log2(3, 1), 103_872);
        assert_eq!(log2(5601, 2), 750_483);
        assert_eq!(log2(3, 2), 38_336);
        assert_eq!(log2(3, 0), log2(3, 1));
    }

    #[test]
    fn a_term_weighs_more_the_rarer_it_is_and_little_more_the_oftener_it_stands() {
        let rare = log2(100, 1);
        assert_eq!(weight(1, rare), rare);
        // 1 + ln 3 = 2.0986…
        assert_eq!(weight(3, ONE) * 1000 / ONE, 2098);
        assert_eq!(weight(3, 0), 0);
    }
}
