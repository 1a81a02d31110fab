//! Bar charts as SVG, drawn on the server: shapes by attributes and colours by classes, because the policy allows no style in a page.
//! Beside each there is a table with the same numbers.

use super::view::grouped;

/// One column: two parts on top of each other.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) parts: [i64; 2],
}

/// A drawn rectangle.
pub(super) struct Shape {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
}

/// A word on an axis.
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) text: String,
}

/// A chart, laid out.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What each part is called, and the class that gives it its colour.
    pub(super) series: [(&'static str, &'static str); 2],
    pub(super) shapes: Vec<Shape>,
    pub(super) lines: Vec<String>,
    pub(super) ticks_x: Vec<Tick>,
    pub(super) ticks_y: Vec<Tick>,
    /// Label and both parts of each column.
    pub(super) table: Vec<(String, String, String)>,
    pub(super) summary: String,
}

/// The drawing's size, in its own units.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 200.0;
/// What axes need.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 10.0;
/// Words below the columns at most.
const TICKS_MAX: usize = 6;

impl Chart {
    pub(super) fn new(title: &'static str, series: [(&'static str, &'static str); 2], bars: &[Bar]) -> Self {
        let top = nice_top(bars.iter().map(|bar| bar.parts.iter().sum()).max().unwrap_or(0));
        let floor = HEIGHT - BOTTOM;
        let scale = (floor - TOP) / top as f64;
        let slot = (WIDTH - LEFT) / bars.len().max(1) as f64;
        let width = (slot * 0.72).min(28.0);
        let mut shapes = Vec::new();
        for (at, bar) in bars.iter().enumerate() {
            let x = LEFT + slot * at as f64 + (slot - width) / 2.0;
            let mut below = floor;
            for (part, class) in bar.parts.iter().zip(series.map(|(_, class)| class)) {
                let height = (*part as f64 * scale).max(if *part > 0 { 1.0 } else { 0.0 });
                below -= height;
                if *part > 0 {
                    shapes.push(Shape {
                        class,
                        x: number(x),
                        y: number(below),
                        width: number(width),
                        height: number(height),
                    });
                }
            }
        }
        let every = bars.len().div_ceil(TICKS_MAX).max(1);
        let ticks_x = bars.iter().enumerate().filter(|(at, _)| at % every == 0).map(|(at, bar)| Tick {
            x: number(LEFT + slot * (at as f64 + 0.5)),
            y: number(HEIGHT - 6.0),
            text: bar.label.clone(),
        });
        let heights = [0, top / 2, top];
        let y_of = |value: i64| floor - value as f64 * scale;
        let total = |nth: usize| grouped(bars.iter().map(|bar| bar.parts[nth]).sum());
        Self {
            title,
            series,
            shapes,
            ticks_x: ticks_x.collect(),
            lines: heights.iter().map(|value| number(y_of(*value))).collect(),
            ticks_y: heights
                .iter()
                .map(|value| Tick {
                    x: number(LEFT - 8.0),
                    y: number(y_of(*value) + 4.0),
                    text: short(*value),
                })
                .collect(),
            table: bars
                .iter()
                .map(|bar| (bar.label.clone(), grouped(bar.parts[0]), grouped(bar.parts[1])))
                .collect(),
            summary: format!("{title} over time: {} {}, {} {}", series[0].0, total(0), series[1].0, total(1)),
        }
    }
}

/// The next 1, 2 or 5 times a power of ten that is even and not below: axes end at round numbers.
fn nice_top(max: i64) -> i64 {
    let mut step = 1;
    loop {
        for factor in [2, 4, 10] {
            if step * factor >= max {
                return step * factor;
            }
        }
        let Some(next) = i64::checked_mul(step, 10).filter(|next| *next < i64::MAX / 10) else { return max };
        step = next;
    }
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// A number for an axis: `1.5k`, `20M`.
fn short(value: i64) -> String {
    for (size, unit) in [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")] {
        if value >= size {
            let text = format!("{:.1}", value as f64 / size as f64);
            return format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text));
        }
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_and_bars_stay_inside() {
        for (max, top) in [(0, 2), (1, 2), (3, 4), (7, 10), (11, 20), (250, 400), (99_999, 100_000)] {
            assert_eq!(nice_top(max), top, "{max}");
        }
        assert!(nice_top(i64::MAX) == i64::MAX);
        assert_eq!([short(999), short(1_500), short(20_000_000)], ["999", "1.5k", "20M"]);
        let bars: Vec<Bar> = (0..90).map(|at| Bar { label: at.to_string(), parts: [at, 1] }).collect();
        let chart = Chart::new("Requests", [("a", "one"), ("b", "bad")], &bars);
        for shape in &chart.shapes {
            let y: f64 = shape.y.parse().unwrap();
            assert!((0.0..=HEIGHT).contains(&y), "{y}");
        }
        assert!(chart.ticks_x.len() <= TICKS_MAX && chart.table.len() == 90);
    }
}
