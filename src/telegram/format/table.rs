//! Tables as people read them on a phone: aligned columns where they fit, records where not. Pure.

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

use super::{Span, is_blank, with_addresses};

/// Widest table with aligned columns. A phone shows about this much of a line of code; beyond it the
/// lines would be folded and the columns lost.
pub(super) const MAX_COLUMNS: usize = 40;
/// Longest label that is repeated before the cells of a record, in code points.
const MAX_LABEL: usize = 40;

/// Most columns of a table; a row with more cells makes a text of it.
const MOST_COLUMNS: usize = 100;

/// The pieces that make the head of a table as wide as its longest row, each with its place: Markdown
/// drops the cells of a row that the head has no column for.
pub(super) fn wider_head(table: &str, start: usize) -> Vec<(usize, String)> {
    let mut lines = table.split_inclusive('\n');
    let (Some(head), Some(rule)) = (lines.next(), lines.next()) else {
        return Vec::new();
    };
    let columns = cells(rule);
    let widest = lines.map(cells).max().unwrap_or(0);
    if widest <= columns {
        return Vec::new();
    }
    let rule_start = start + head.len();
    if widest > MOST_COLUMNS {
        let mark = rule.len() - rule.trim_start_matches([' ', '>', '\t']).len();
        return vec![(rule_start + mark, "\\".to_owned())];
    }
    let wider = |line: &str, cell: &str| {
        let line = line.trim_end();
        let begin = if line.ends_with('|') { "" } else { "|" };
        (
            line.len(),
            format!("{begin}{}", cell.repeat(widest - columns)),
        )
    };
    let ((head_end, head), (rule_end, rule)) = (wider(head, " |"), wider(rule, "---|"));
    vec![(start + head_end, head), (rule_start + rule_end, rule)]
}

/// How many cells a row has, up to the last that is not blank.
fn cells(row: &str) -> usize {
    let row = row.trim_start_matches([' ', '>', '\t']).trim_end();
    let row = row.strip_prefix('|').unwrap_or(row);
    let mut count = 0;
    let (mut is_escaped, mut is_blank) = (false, true);
    let mut seen = 0;
    for symbol in row.chars() {
        if symbol == '|' && !is_escaped {
            seen += 1;
            is_blank = true;
        } else if !symbol.is_whitespace() && std::mem::take(&mut is_blank) {
            count = seen + 1;
        }
        is_escaped = symbol == '\\' && !is_escaped;
    }
    count
}

/// A table whose cells have been rendered.
pub(super) struct Table {
    /// Where it stands in the source.
    pub(super) at: usize,
    pub(super) alignments: Vec<Alignment>,
    /// The first is the head.
    pub(super) rows: Vec<Vec<TableCell>>,
}

/// One cell: a text of one line and its formatting.
#[derive(Clone, Default)]
pub(super) struct TableCell {
    pub(super) text: String,
    pub(super) spans: Vec<Span>,
}

impl TableCell {
    /// Without formatting; a link's address stands behind it.
    fn plain(&self) -> String {
        with_addresses(&self.text, &self.spans)
    }

    pub(super) fn is_blank(&self) -> bool {
        is_blank(&self.text)
    }

    /// The name of a column, short enough to be repeated.
    pub(super) fn label(&self) -> String {
        let text = self.text.trim();
        if text.chars().count() <= MAX_LABEL {
            return text.to_owned();
        }
        let start: String = text.chars().take(MAX_LABEL - 1).collect();
        format!("{start}…")
    }
}

impl Table {
    /// With aligned columns, or nothing if that is too wide.
    pub(super) fn aligned(&self) -> Option<String> {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(TableCell::plain).collect())
            .collect();
        let widths: Vec<usize> = (0..self.alignments.len())
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.width()).max().unwrap_or(0)
            })
            .collect();
        let separators = 3 * widths.len().saturating_sub(1);
        if widths.iter().sum::<usize>() + separators > MAX_COLUMNS {
            return None;
        }
        let mut lines = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            // A head without names is there only because Markdown demands one.
            if index == 0 && row.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let cells: Vec<String> = widths
                .iter()
                .zip(&self.alignments)
                .zip(row)
                .map(|((width, alignment), cell)| padded(cell, *width, *alignment))
                .collect();
            lines.push(cells.join(" │ ").trim_end().to_owned());
            if index == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                lines.push(rules.join("─┼─"));
            }
        }
        Some(lines.join("\n").trim_end().to_owned())
    }
}

fn padded(cell: &str, width: usize, alignment: Alignment) -> String {
    let room = width.saturating_sub(cell.width());
    let before = match alignment {
        Alignment::None | Alignment::Left => 0,
        Alignment::Center => room / 2,
        Alignment::Right => room,
    };
    format!("{}{cell}{}", " ".repeat(before), " ".repeat(room - before))
}
