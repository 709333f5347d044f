//! Tables as people read them on a phone: aligned columns where they fit, records where not. Pure.

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

use super::{EntityStyle, Span, is_blank};

/// Widest table with aligned columns. A phone shows about this much of a line of code; beyond it the
/// lines would be folded and the columns lost.
pub(super) const MAX_COLUMNS: usize = 40;
/// Longest label that is repeated before the cells of a record, in code points.
const MAX_LABEL: usize = 40;

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
        let mut text = self.text.clone();
        let mut links: Vec<&Span> = self
            .spans
            .iter()
            .filter(|span| span.entity.kind == EntityStyle::TextLink)
            .collect();
        links.sort_by_key(|span| std::cmp::Reverse(span.range.end));
        for span in links {
            let url = span.entity.url.as_deref().unwrap_or_default();
            let words = self.text.get(span.range.clone()).unwrap_or_default();
            if url.trim_end_matches('/') != words.trim_end_matches('/') {
                text.insert_str(span.range.end, &format!(" ({url})"));
            }
        }
        text
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
