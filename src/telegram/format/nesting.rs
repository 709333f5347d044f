//! Nesting of spans: Telegram refuses entities that cross, and code that holds other formatting. Pure.

use std::cmp::Reverse;

use super::markdown::inline::without;
use super::{EntityStyle, Span, is_blank};

/// Cuts styles and links around code and at the ends of quotes, and where they cross: an HTML tag may enclose
/// a table, or end in another cell than it begins in.
pub(super) fn nest_spans(text: &str, spans: Vec<Span>) -> Vec<Span> {
    let is_code = |span: &Span| matches!(span.entity.kind, EntityStyle::Code | EntityStyle::Pre);
    let (mut codes, mut edges) = (Vec::new(), Vec::new());
    for span in &spans {
        if is_code(span) {
            codes.push(span.range.clone());
        } else if span.entity.kind == EntityStyle::Blockquote {
            edges.extend([span.range.start, span.range.end]);
        }
    }
    codes.sort_by_key(|range| range.start);
    // An empty hole cuts without taking anything.
    codes.extend(edges.into_iter().map(|edge| edge..edge));
    codes.sort_by_key(|range| (range.start, range.end));
    let (fixed, styles): (Vec<Span>, Vec<Span>) = spans
        .into_iter()
        .partition(|span| is_code(span) || span.entity.kind == EntityStyle::Blockquote);
    let pieces = styles.into_iter().flat_map(|span| {
        let ranges = without(span.range.clone(), &codes).into_iter();
        ranges
            .map(|range| Span {
                range,
                entity: span.entity.clone(),
            })
            .collect::<Vec<_>>()
    });
    let mut nested = fixed;
    nested.extend(
        uncross(pieces.collect())
            .into_iter()
            .filter_map(|span| trim_span(text, span)),
    );
    nested
}

/// Splits each span that crosses the end of an earlier one.
fn uncross(mut spans: Vec<Span>) -> Vec<Span> {
    let order = |span: &Span| (Reverse(span.range.start), span.range.end);
    // Spans of the same range keep their order: the last is taken first.
    spans.reverse();
    spans.sort_by_key(order);
    let mut open: Vec<usize> = Vec::new();
    let mut nested = Vec::new();
    while let Some(mut span) = spans.pop() {
        while open.last().is_some_and(|end| *end <= span.range.start) {
            open.pop();
        }
        if let Some(&end) = open.last()
            && span.range.end > end
        {
            let rest = Span {
                range: end..span.range.end,
                entity: span.entity.clone(),
            };
            let at = spans.partition_point(|other| order(other) < order(&rest));
            spans.insert(at, rest);
            span.range.end = end;
        }
        open.push(span.range.end);
        nested.push(span);
    }
    nested
}

/// A span without white space at its ends; `None` if nothing of it is seen.
fn trim_span(text: &str, mut span: Span) -> Option<Span> {
    let piece = text.get(span.range.clone())?;
    if is_blank(piece) {
        return None;
    }
    span.range.start += piece.len() - piece.trim_start().len();
    span.range.end -= piece.len() - piece.trim_end().len();
    Some(span)
}
