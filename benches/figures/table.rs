//! The one table.

use std::fmt;
use std::time::Duration;

use comfy_table::Table as Grid;
use comfy_table::presets::ASCII_MARKDOWN;

/// The measurements of one figure.
#[derive(Default)]
pub(crate) struct Table {
    /// Of which program the figures are, where several are measured.
    pub(crate) of: Option<String>,
    rows: Vec<[String; 6]>,
}

impl Table {
    /// A figure in milliseconds. `beside` is what was measured in turn with it.
    pub(crate) fn times(
        &mut self,
        figure: &str,
        target: &str,
        times: &[Duration],
        beside: &[(&str, &[Duration])],
    ) {
        let (median, p95) = summary(times);
        let beside: Vec<String> = beside
            .iter()
            .map(|(what, times)| format!("{what}: {}", summary(times).0))
            .collect();
        self.row(
            figure,
            target,
            &median,
            &p95,
            times.len(),
            &beside.join(", "),
        );
    }

    /// A figure of another kind, with its unit.
    pub(crate) fn value(
        &mut self,
        figure: &str,
        target: &str,
        value: &str,
        runs: usize,
        beside: &str,
    ) {
        self.row(figure, target, value, "", runs, beside);
    }

    fn row(
        &mut self,
        figure: &str,
        target: &str,
        median: &str,
        p95: &str,
        runs: usize,
        beside: &str,
    ) {
        // Said at once too: the whole takes a minute.
        let figure = match &self.of {
            Some(of) => format!("{of}: {figure}"),
            None => figure.to_owned(),
        };
        println!("{figure}: {median}");
        let cells = [&figure, target, median, p95, &runs.to_string(), beside];
        self.rows.push(cells.map(str::to_owned));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut grid = Grid::new();
        grid.load_preset(ASCII_MARKDOWN);
        grid.set_header([
            "figure",
            "target",
            "median",
            "p95",
            "runs",
            "measured beside it",
        ]);
        grid.add_rows(&self.rows);
        writeln!(f, "{grid}")
    }
}

/// Median and 95th percentile, as text.
fn summary(times: &[Duration]) -> (String, String) {
    (text(percentile(times, 50)), text(percentile(times, 95)))
}

fn text(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() * percent / 100).min(sorted.len() - 1);
    sorted[index]
}

/// The median of numbers.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
