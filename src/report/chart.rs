//! Charts: bars over time as SVG, with a title for each bar.
//!
//! Places are in percent of the width and in points of the height, so that a chart
//! takes the width that there is while its letters stay as they are. All text in it is
//! from this program: nothing here has to be escaped.

use std::fmt::Write as _;

/// Points from the top to the base line.
const HEIGHT: f64 = 180.0;

/// Points below it, for dates.
const BELOW: f64 = 24.0;

/// Points above the highest line, for its label.
const ABOVE: f64 = 12.0;

/// Dates below a chart, at the most: so many fit a telephone.
const DATES: usize = 5;

/// Bars over time.
pub(super) struct Chart<'a> {
    /// Names it in the page, and no other.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What is to be seen, in a sentence.
    pub(super) summary: String,
    /// The classes of the bars of a group.
    pub(super) series: &'a [&'static str],
    /// The oldest first.
    pub(super) groups: &'a [Group],
    /// Whether the bars of a group stand on each other.
    pub(super) stacked: bool,
    /// What a number is called on the axis.
    pub(super) label: fn(u64) -> String,
}

/// The bars of one time.
pub(super) struct Group {
    pub(super) date: String,
    /// The height of each, and what its title says.
    pub(super) bars: Vec<(u64, String)>,
}

impl Chart<'_> {
    /// The axis and the plot: two pictures, which the page puts beside each other.
    pub(super) fn svg(&self) -> String {
        let tallest = self.tallest();
        let step = step(tallest);
        let top = step.saturating_mul(tallest.div_ceil(step).max(1));
        let y = |value: u64| ABOVE + HEIGHT * (1.0 - ratio(value, top));
        let lines: Vec<u64> = (0..=top / step).map(|number| number * step).collect();
        let full = HEIGHT + ABOVE + BELOW;
        let mut svg = format!("<svg class=\"axis\" height=\"{full}\" aria-hidden=\"true\">");
        for &value in &lines {
            let (at, label) = (y(value) + 4.0, (self.label)(value));
            let _ = write!(svg, "<text x=\"100%\" y=\"{at:.1}\">{label}</text>");
        }
        let (id, title, summary) = (self.id, self.title, &self.summary);
        let _ = write!(
            svg,
            "</svg><svg class=\"plot\" height=\"{full}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{summary}</desc>"
        );
        for &value in &lines {
            let at = y(value);
            let _ = write!(svg, "<line x1=\"0\" x2=\"100%\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        }
        for (number, group) in self.groups.iter().enumerate() {
            self.draw(&mut svg, number, group, &y);
        }
        svg.push_str("</svg>");
        svg
    }

    fn tallest(&self) -> u64 {
        let tall = |group: &Group| {
            let values = group.bars.iter().map(|(value, _)| *value);
            if self.stacked { values.sum::<u64>() } else { values.max().unwrap_or(0) }
        };
        self.groups.iter().map(tall).max().unwrap_or(0)
    }

    fn draw(&self, svg: &mut String, number: usize, group: &Group, y: &impl Fn(u64) -> f64) {
        let (count, number_f) = (f64::from(small(self.groups.len())), f64::from(small(number)));
        let room = 100.0 / count;
        let side_by_side = if self.stacked { 1 } else { small(group.bars.len()) };
        let width = room * 0.8 / f64::from(side_by_side);
        let (mut below, mut x) = (0, number_f * room + room * 0.1);
        for ((value, title), class) in group.bars.iter().zip(self.series) {
            let (low, high) = (y(below), y(below + value));
            if *value > 0 {
                // What is there is to be seen.
                let height = (low - high).max(1.0);
                // A gap tells them apart where colours do not, such as on paper.
                let gap = if self.stacked && height > 3.0 { 1.0 } else { 0.0 };
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.3}%\" y=\"{:.1}\" width=\"{width:.3}%\" \
                     height=\"{:.1}\"><title>{title}</title></rect>",
                    low - height + gap,
                    height - gap
                );
            }
            if self.stacked {
                below += value;
            } else {
                x += width;
            }
        }
        let (every, ago) = (self.groups.len().div_ceil(DATES), self.groups.len() - 1 - number);
        if ago.is_multiple_of(every) {
            let (middle, at) = (number_f * room + room / 2.0, HEIGHT + ABOVE + 16.0);
            // Half of them go where there is little room.
            let class = if (ago / every).is_multiple_of(2) { "" } else { " class=\"spare\"" };
            let date = &group.date;
            let _ = write!(svg, "<text{class} x=\"{middle:.3}%\" y=\"{at}\">{date}</text>");
        }
    }
}

/// The distance of lines, so that the tallest bar takes two to five of them: 1, 2 or 5
/// times a power of ten.
fn step(tallest: u64) -> u64 {
    let mut power = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if tallest / 5 < step || step == u64::MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody sees less than a millionth")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_round_distances() {
        let check = |tallest, expected| assert_eq!(step(tallest), expected, "{tallest}");
        check(0, 1);
        check(4, 1);
        check(9, 2);
        check(24, 5);
        check(1_000_000, 500_000);
        check(999_999, 200_000);
        assert!(step(u64::MAX) >= u64::MAX / 5);
    }

    #[test]
    fn no_number_is_too_large() {
        let bars = vec![(u64::MAX, "much".to_owned())];
        let groups = [Group { date: "day".to_owned(), bars }];
        let (title, summary) = ("", String::new());
        let label = |value: u64| value.to_string();
        let (id, series) = ("c", &["a"][..]);
        let chart = Chart { id, title, summary, series, groups: &groups, stacked: true, label };
        // As high as the lines go, less the gap.
        assert!(chart.svg().contains("height=\"179.0\""), "{}", chart.svg());
    }

    #[test]
    fn bars_stand_on_each_other_or_side_by_side() {
        let bar = |value: u64| (value, value.to_string());
        let group = |bars: [u64; 2]| Group { date: "day".to_owned(), bars: bars.map(bar).to_vec() };
        let groups = [group([4, 1]), group([0, 2])];
        let svg = |stacked| {
            let chart = Chart {
                id: "c",
                title: "A title",
                summary: "A summary.".to_owned(),
                series: &["a", "b"],
                groups: &groups,
                stacked,
                label: |value| value.to_string(),
            };
            let svg = chart.svg();
            let rects = svg.split("<rect ").skip(1).map(|rect| rect.split('>').next().unwrap());
            rects.map(str::to_owned).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(svg(true), @r#"
        class="a" x="5.000%" y="73.0" width="40.000%" height="119.0"
        class="b" x="5.000%" y="43.0" width="40.000%" height="29.0"
        class="b" x="55.000%" y="133.0" width="40.000%" height="59.0"
        "#);
        insta::assert_snapshot!(svg(false), @r#"
        class="a" x="5.000%" y="12.0" width="20.000%" height="180.0"
        class="b" x="25.000%" y="147.0" width="20.000%" height="45.0"
        class="b" x="75.000%" y="102.0" width="20.000%" height="90.0"
        "#);
    }
}
