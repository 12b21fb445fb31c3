//! Squarified treemaps: rectangles of given areas that fill one, each as near to a
//! square as may be (Bruls, Huizing and van Wijk, 2000).
//!
//! Areas are laid in rows along the shorter side of what is left; a row takes the next
//! area as long as that makes its worst rectangle no worse.

/// A rectangle, in whatever unit the one has that it lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// One rectangle for each weight, which fill `within` together. Weights are more than
/// nothing, and best given the largest first.
pub(super) fn squarify(weights: &[f64], within: Rect) -> Vec<Rect> {
    let mut laid = Vec::with_capacity(weights.len());
    let (mut left, mut rest) = (within, weights);
    while !rest.is_empty() {
        let sum: f64 = rest.iter().sum();
        let scale = left.width * left.height / sum;
        let len = row_len(rest, left.width.min(left.height), scale);
        let (row, after) = rest.split_at(len);
        let share = if after.is_empty() { 1.0 } else { row.iter().sum::<f64>() / sum };
        left = lay(row, share, left, &mut laid);
        rest = after;
    }
    laid
}

/// How many of the next areas go into one row along a side.
fn row_len(weights: &[f64], side: f64, scale: f64) -> usize {
    let (mut sum, mut before) = (0.0, f64::INFINITY);
    for (len, weight) in weights.iter().enumerate() {
        sum += weight * scale;
        let worst = worst_ratio(&weights[..=len], scale, sum, side);
        if worst > before {
            return len;
        }
        before = worst;
    }
    weights.len()
}

/// How far from a square the worst rectangle of a row is: 1 for a square, more else.
fn worst_ratio(row: &[f64], scale: f64, sum: f64, side: f64) -> f64 {
    let (most, least) = row.iter().fold((0.0, f64::INFINITY), |(most, least), &weight| {
        (f64::max(most, weight), f64::min(least, weight))
    });
    let (most, least) = (most * scale, least * scale);
    let (side, sum) = (side * side, sum * sum);
    f64::max(side * most / sum, sum / (side * least))
}

/// Lays a row that takes a share of what is left, and gives what is left then.
fn lay(row: &[f64], share: f64, left: Rect, laid: &mut Vec<Rect>) -> Rect {
    let sum: f64 = row.iter().sum();
    let is_column = left.width >= left.height;
    let thickness = share * if is_column { left.width } else { left.height };
    let mut passed = 0.0;
    for weight in row {
        let (from, to) = (passed / sum, (passed + weight) / sum);
        passed += weight;
        laid.push(if is_column {
            let (y, height) = (left.y + from * left.height, (to - from) * left.height);
            Rect { y, height, width: thickness, ..left }
        } else {
            let (x, width) = (left.x + from * left.width, (to - from) * left.width);
            Rect { x, width, height: thickness, ..left }
        });
    }
    if is_column {
        Rect { x: left.x + thickness, width: left.width - thickness, ..left }
    } else {
        Rect { y: left.y + thickness, height: left.height - thickness, ..left }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WITHIN: Rect = Rect { x: 3.0, y: 5.0, width: 200.0, height: 90.0 };

    /// The example of the paper: 6 by 4, and seven areas.
    #[test]
    fn rows_are_those_of_the_paper() {
        let within = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let laid = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], within);
        let shown = |rect: &Rect| {
            format!("{:.2},{:.2} {:.2}x{:.2}", rect.x, rect.y, rect.width, rect.height)
        };
        assert_eq!(
            laid.iter().map(shown).collect::<Vec<_>>(),
            [
                "0.00,0.00 3.00x2.00",
                "0.00,2.00 3.00x2.00",
                "3.00,0.00 1.71x2.33",
                "4.71,0.00 1.29x2.33",
                "3.00,2.33 1.20x1.67",
                "4.20,2.33 1.20x1.67",
                "5.40,2.33 0.60x1.67",
            ]
        );
    }

    #[test]
    fn nothing_takes_no_room_and_one_takes_all() {
        assert_eq!(squarify(&[], WITHIN), []);
        assert_eq!(squarify(&[7.0], WITHIN), [WITHIN]);
    }

    proptest! {
        #[test]
        fn areas_are_in_proportion_inside_and_apart(
            mut numbers in prop::collection::vec(1u32..1_000_000, 1..60)
        ) {
            numbers.sort_unstable_by(|a, b| b.cmp(a));
            let weights: Vec<f64> = numbers.iter().map(|&number| f64::from(number)).collect();
            let laid = squarify(&weights, WITHIN);
            prop_assert_eq!(laid.len(), weights.len());
            let (sum, near) = (weights.iter().sum::<f64>(), 1e-6);
            for (rect, weight) in laid.iter().zip(&weights) {
                let wanted = weight / sum * WITHIN.width * WITHIN.height;
                prop_assert!((rect.width * rect.height - wanted).abs() < near);
                prop_assert!(rect.x >= WITHIN.x - near && rect.y >= WITHIN.y - near);
                prop_assert!(rect.x + rect.width <= WITHIN.x + WITHIN.width + near);
                prop_assert!(rect.y + rect.height <= WITHIN.y + WITHIN.height + near);
            }
            for (number, a) in laid.iter().enumerate() {
                for b in &laid[number + 1..] {
                    let wide = (a.x + a.width).min(b.x + b.width) - a.x.max(b.x);
                    let high = (a.y + a.height).min(b.y + b.height) - a.y.max(b.y);
                    prop_assert!(wide < near || high < near, "{a:?} and {b:?} overlap");
                }
            }
        }
    }
}
