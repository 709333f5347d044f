//! The difference that a change makes, as a person reads it. Tokens are redacted. Pure.

use diffy::DiffOptions;

use super::proposal::FileChange;
use crate::config::redact;

/// Bytes of a line from which on only the changed part of a file is shown.
const LONG_LINE: usize = 400;
/// Characters that are shown on both sides of it.
const CONTEXT: usize = 40;

pub(super) fn render_diff(change: &FileChange) -> String {
    let path = change.file.path.display().to_string();
    let purpose = change.file.purpose;
    let name = |content: &Option<String>| content.as_ref().map_or("/dev/null", |_| &*path);
    let (old, new) = (name(&change.before), name(&change.after));
    let (before, after) = match (&change.before, &change.after) {
        (None, Some(after)) if change.file.is_text() => {
            let lines = after.lines().count();
            return format!("new file {path}\n  {purpose}, {lines} lines\n");
        }
        (Some(_), None) if change.file.is_text() => {
            return format!("remove {path}\n  {purpose}\n");
        }
        (before, after) => (
            before.as_deref().unwrap_or_default(),
            after.as_deref().unwrap_or_default(),
        ),
    };
    let has_long_line = |text: &str| text.lines().any(|line| line.len() > LONG_LINE);
    redact(&if has_long_line(before) || has_long_line(after) {
        let changed = render_changed_part(before, after);
        format!("--- {old}\n+++ {new}\n{changed}")
    } else {
        let mut options = DiffOptions::new();
        options
            .set_original_filename(old.to_owned())
            .set_modified_filename(new.to_owned());
        options.create_patch(before, after).to_string()
    })
}

/// The part in which two texts differ, without what they begin and end with in common.
fn render_changed_part(before: &str, after: &str) -> String {
    let (before, after): (Vec<char>, Vec<char>) =
        (before.chars().collect(), after.chars().collect());
    let pairs = before.iter().zip(&after);
    let start = pairs.take_while(|(old, new)| old == new).count();
    let shorter = before.len().min(after.len());
    let pairs = before.iter().rev().zip(after.iter().rev());
    let end = pairs.take_while(|(old, new)| old == new).count();
    let end = end.min(shorter - start);
    let part = |text: &[char]| -> String {
        let from = start.saturating_sub(CONTEXT);
        let to = (text.len() - end).saturating_add(CONTEXT).min(text.len());
        text.get(from..to).unwrap_or_default().iter().collect()
    };
    format!(
        "@@ from character {} @@\n-…{}…\n+…{}…\n",
        start + 1,
        part(&before),
        part(&after)
    )
}
