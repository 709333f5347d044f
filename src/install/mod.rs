//! `telepost install` and `uninstall`: what a client must know of telepost, in its own files.
//!
//! Owns: reading those files, what is proposed to a person, carrying it out, and putting everything back.
//! [`places`] has the list of files, [`plan`] says what their contents become, [`record`] is what is
//! remembered. Must not know what a session is, nor any token.
//!
//! On disk, beside the files of the client: `<file>.telepost-backup` for each file that was there before,
//! and `telepost-install.json`, the record. Order: backups, record, files; and back: files, backups,
//! record. So after a kill each file is old or new, and whoever comes next knows what was there before.
//! Somebody else (the client itself) may write the same files: each is compared with what was read just
//! before it is replaced, and again at the end.

mod hooks;
mod json;
pub mod places;
pub mod plan;
pub mod record;
mod toml;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use self::places::{Places, Target};
use self::plan::{Kind, Leave, Refusal, Registration};
use self::record::{Backup, Kept, Record, sum};
use crate::config::redact;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, Unparsable};

/// Characters of a line from which on a difference is shown without the rest of its line.
const LONG_LINE: usize = 400;
/// Characters around it.
const AROUND: usize = 40;

/// The files of a client cannot be changed as asked.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What stands in a file is in the way.
    #[error("{} {}; nothing was changed", path.display(), explain(refusal))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The record cannot be understood.
    #[error("{} {reason}; nothing was changed. What the files had in them before is beside them in *.telepost-backup; put it back by hand if you need it, remove this file, and run the command again", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else has written a file meanwhile.
    #[error("{} was changed by another program at the same moment (a running client?); run the command again, it finishes what is missing", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused before anything was changed.
    #[error("nothing was changed")]
    Untouched(#[source] StoreError),
    /// The operating system refused in the middle.
    #[error("not everything was changed; run the command again when this is mended")]
    Store(#[from] StoreError),
}

fn explain(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Syntax { line, column, what } => format!(
            "cannot be read: line {line}, column {column}: {what}; mend it there and run the command again"
        ),
        Refusal::Shape { place, expected } => format!(
            "has something else than {expected} at {place}; mend it there and run the command again"
        ),
        Refusal::Foreign { command } => {
            let command = if command.is_empty() {
                String::new()
            } else {
                format!(" ({})", redact(command))
            };
            format!(
                "has another MCP server named `telegram`{command}; rename or remove that one, or run the command with --replace (uninstall brings it back)"
            )
        }
    }
}

/// What becomes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    target: Target,
    before: Option<String>,
    after: Option<String>,
}

/// What is to be done, for a person to agree to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    changes: Vec<Change>,
    /// What stays as it is although one might expect otherwise.
    pub notes: Vec<String>,
    record: PathBuf,
    known: Option<Record>,
    goal: Goal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    Install,
    /// With the files whose backups stay.
    Uninstall(Vec<PathBuf>),
}

/// Whether these settings of Claude Code have our plugin on.
fn has_plugin(settings: Option<&str>) -> bool {
    let path = ["enabledPlugins", "telepost@telepost"];
    settings.and_then(|text| json::get(text, &path)) == Some(true.into())
}

/// What an installation would change.
pub fn propose_install(
    places: &Places,
    registration: &Registration,
    replace: bool,
) -> Result<Proposal, InstallError> {
    let known = read_record(&places.record)?;
    let (mut changes, mut notes) = (Vec::new(), Vec::new());
    for target in &places.targets {
        let before = read(&target.path)?;
        let kept = known
            .as_ref()
            .and_then(|record| record.files.get(&target.path));
        let leave = Leave {
            ours: is_as_written(kept, before.as_deref()),
            replace,
        };
        if target.kind == Kind::ClaudeSettings && has_plugin(before.as_deref()) {
            notes.push(
                "the plugin of telepost is installed too, so the agent has each tool twice: keep one of them \
                 (`claude plugin uninstall telepost@telepost`, or `telepost uninstall claude`)"
                    .to_owned(),
            );
        }
        let after = plan::put(target.kind, registration, before.as_deref(), leave)
            .map_err(|refusal| refused(target, refusal))?;
        match after {
            None => notes.push(format!(
                "{} is not what telepost wrote and stays as it is; --replace replaces it",
                target.path.display()
            )),
            Some(_) if after == before => {}
            Some(_) => changes.push(Change {
                target: target.clone(),
                before,
                after,
            }),
        }
    }
    Ok(Proposal {
        changes,
        notes,
        record: places.record.clone(),
        known,
        goal: Goal::Install,
    })
}

/// What putting everything back would change.
pub fn propose_uninstall(places: &Places) -> Result<Proposal, InstallError> {
    let known = read_record(&places.record)?;
    let (mut changes, mut notes, mut stay) = (Vec::new(), Vec::new(), Vec::new());
    for target in &places.targets {
        let path = target.path.display();
        let kept = known
            .as_ref()
            .and_then(|record| record.files.get(&target.path));
        let Some(text) = read(&target.path)? else {
            if let Some(backup) = kept.and_then(|kept| kept.backup.as_ref()) {
                stay.push(target.path.clone());
                notes.push(format!(
                    "{path} was removed by somebody and stays so; what it had in it before is in {}",
                    backup.path.display()
                ));
            }
            continue;
        };
        let before = before(kept)?;
        let leave = Leave {
            ours: is_as_written(kept, Some(&text)),
            replace: false,
        };
        let after = match before {
            Before::Known(before) if leave.ours && kept.is_some_and(|kept| kept.exact) => before,
            Before::Known(before) => take(target, &text, before.as_deref(), leave)?,
            Before::Unknown => take(target, &text, target.kind.blank(), leave)?,
        };
        let change = Change {
            target: target.clone(),
            before: Some(text),
            after,
        };
        let changes_something = change.before != change.after;
        let is_text = matches!(target.kind, Kind::Text(_));
        match kept {
            None if known.is_some() => notes.extend(changes_something.then(|| {
                format!(
                    "{path} had {} before `telepost install`; that stays",
                    target.purpose
                )
            })),
            _ if changes_something => changes.push(change),
            Some(_) if is_text => {
                stay.push(target.path.clone());
                notes.push(format!(
                    "{path} was changed after telepost wrote it and stays; remove it by hand if you do not need it"
                ));
            }
            _ => {}
        }
    }
    Ok(Proposal {
        changes,
        notes,
        record: places.record.clone(),
        known,
        goal: Goal::Uninstall(stay),
    })
}

/// What was in a file before telepost came.
enum Before {
    /// This, or there was no file.
    Known(Option<String>),
    /// Nobody remembers, or the copy is lost.
    Unknown,
}

fn before(kept: Option<&Kept>) -> Result<Before, InstallError> {
    let Some(kept) = kept else {
        return Ok(Before::Unknown);
    };
    let Some(backup) = &kept.backup else {
        return Ok(Before::Known(None));
    };
    Ok(match read(&backup.path)? {
        Some(text) if sum(&text) == backup.sum => Before::Known(Some(text)),
        Some(_) | None => Before::Unknown,
    })
}

fn take(
    target: &Target,
    text: &str,
    before: Option<&str>,
    leave: Leave,
) -> Result<Option<String>, InstallError> {
    plan::take(target.kind, text, before, leave).map_err(|refusal| refused(target, refusal))
}

fn refused(target: &Target, refusal: Refusal) -> InstallError {
    InstallError::Refused {
        path: target.path.clone(),
        refusal,
    }
}

fn is_as_written(kept: Option<&Kept>, text: Option<&str>) -> bool {
    match (kept, text) {
        (Some(kept), Some(text)) => kept.written == sum(text),
        _ => false,
    }
}

/// The text of a file. `None`: there is none.
fn read(path: &Path) -> Result<Option<String>, InstallError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(InstallError::Untouched(StoreError::new(
                "read", path, source,
            )));
        }
    };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let good = String::from_utf8_lossy(good);
        let line = good.rsplit('\n').next().unwrap_or_default();
        InstallError::Refused {
            path: path.to_owned(),
            refusal: Refusal::Syntax {
                line: good.matches('\n').count() + 1,
                column: line.chars().count() + 1,
                what: "bytes that are not UTF-8".to_owned(),
            },
        }
    })
}

fn read_record(path: &Path) -> Result<Option<Record>, InstallError> {
    let Some(text) = read(path)? else {
        return Ok(None);
    };
    format::parse(text.as_bytes()).map(Some).map_err(|error| {
        let reason = match error {
            Unparsable::Newer(found) => {
                format!("has format {found}, which only a newer telepost can read")
            }
            Unparsable::Damaged(reason) => format!("cannot be read ({reason})"),
        };
        InstallError::Record {
            path: path.to_owned(),
            reason,
        }
    })
}

impl Proposal {
    /// Whether everything is as it should be.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && (self.goal == Goal::Install || self.known.is_none())
    }

    /// How many files are changed.
    pub fn files(&self) -> usize {
        self.changes.len()
    }

    /// All differences, for people.
    pub fn diff(&self) -> String {
        self.changes.iter().map(Change::diff).collect()
    }

    /// Does it. Each file is old or new at every moment; running the command again finishes what was cut
    /// short.
    pub fn carry_out(&self) -> Result<(), InstallError> {
        self.may_be_written().map_err(InstallError::Untouched)?;
        match &self.goal {
            Goal::Install => self.install()?,
            Goal::Uninstall(stay) => self.uninstall(stay)?,
        }
        for change in &self.changes {
            change.is_still(change.after.as_ref())?;
        }
        Ok(())
    }

    /// A folder that is read-only is met before the first change, not in the middle.
    fn may_be_written(&self) -> Result<(), StoreError> {
        let paths = self.changes.iter().map(|change| &change.target.path);
        for path in paths.chain([&self.record]) {
            let real = atomic::real(path);
            let folder = real.ancestors().skip(1).find(|folder| folder.exists());
            if let Some(folder) = folder
                && let Err(error) = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
            {
                return Err(StoreError::new("write into", folder, error.into()));
            }
        }
        Ok(())
    }

    fn install(&self) -> Result<(), InstallError> {
        let mut record = self.known.clone().unwrap_or_default();
        let folders = self.changes.iter().map(|change| &change.target.path);
        for path in folders.chain([&self.record]) {
            let above = path.ancestors().skip(1);
            let missing = above.take_while(|folder| !folder.exists());
            record.folders.extend(missing.map(Path::to_owned));
        }
        let mut made = Vec::new();
        let noted = self
            .back_up(&mut record, &mut made)
            .and_then(|()| self.write_record(&record));
        if let Err(error) = noted {
            for backup in made {
                // One that stays costs a little room, and is used the next time.
                drop(atomic::remove(&backup, Step::InstallBackup));
            }
            return Err(InstallError::Untouched(error));
        }
        self.changes.iter().try_for_each(Change::apply)
    }

    /// Keeps what was there before, if that has not been done, and notes what is about to be written.
    fn back_up(&self, record: &mut Record, made: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        for change in &self.changes {
            let Change {
                target: Target { path, .. },
                before,
                after,
            } = change;
            let written = after.as_deref().map(sum).unwrap_or_default();
            if let Some(kept) = record.files.get_mut(path) {
                let untouched = match (&kept.backup, before) {
                    (Some(backup), Some(before)) => backup.sum == sum(before),
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                let as_written = is_as_written(Some(kept), before.as_deref());
                kept.exact = untouched || (kept.exact && as_written);
                kept.written = written;
                continue;
            }
            let backup = match before {
                Some(before) => {
                    let (path, is_there) = backup_path(path, before);
                    if !is_there {
                        made.push(path.clone());
                        let (step, synced) = (Step::InstallBackup, Durability::Synced);
                        atomic::replace(&path, before.as_bytes(), step, synced)?;
                    }
                    let sum = sum(before);
                    Some(Backup { path, sum })
                }
                None => None,
            };
            let kept = Kept {
                backup,
                written,
                exact: true,
            };
            record.files.insert(path.clone(), kept);
        }
        Ok(())
    }

    fn write_record(&self, record: &Record) -> Result<(), StoreError> {
        if let Some(folder) = self.record.parent() {
            atomic::create_folder(folder)?;
        }
        format::write(
            &self.record,
            record,
            Step::InstallRecord,
            Durability::Synced,
        )
    }

    fn uninstall(&self, stay: &[PathBuf]) -> Result<(), InstallError> {
        self.changes.iter().try_for_each(Change::apply)?;
        let Some(record) = &self.known else {
            return Ok(());
        };
        for (path, kept) in &record.files {
            if let Some(backup) = &kept.backup
                && !stay.contains(path)
            {
                atomic::remove(&backup.path, Step::InstallBackup)?;
                // Before the record forgets it.
                if let Some(folder) = backup.path.parent() {
                    atomic::sync_folder(folder)?;
                }
            }
        }
        // The deepest first, because that is the order of paths from behind. One that is not empty stays.
        let own = self.record.parent();
        for folder in record.folders.iter().rev() {
            if Some(folder.as_path()) != own {
                atomic::remove_empty_folder(folder);
            }
        }
        atomic::remove(&self.record, Step::InstallRecord)?;
        if let Some(own) = own {
            if record.folders.contains(own) && atomic::remove_empty_folder(own) {
                return Ok(());
            }
            atomic::sync_folder(own)?;
        }
        Ok(())
    }
}

/// A name for the backup of a file, and whether just that content is there already: a kill may have come
/// between the backup and the record. What else has such a name is left alone.
fn backup_path(path: &Path, before: &str) -> (PathBuf, bool) {
    let mut number = 1;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(".telepost-backup");
        if number > 1 {
            name.push(format!("-{number}"));
        }
        let backup = PathBuf::from(name);
        match fs::symlink_metadata(&backup) {
            Ok(_) if fs::read_to_string(&backup).is_ok_and(|text| text == before) => {
                return (backup, true);
            }
            Ok(_) => number += 1,
            Err(_) => return (backup, false),
        }
    }
}

impl Change {
    fn apply(&self) -> Result<(), InstallError> {
        self.is_still(self.before.as_ref())?;
        let path = &self.target.path;
        if let Some(after) = &self.after {
            if let Some(folder) = path.parent() {
                atomic::create_folder(folder)?;
            }
            atomic::replace_foreign(path, after.as_bytes(), Step::InstallFile)?;
        } else {
            // Of a link to nothing, what it leads to was made, and only that goes again.
            let path = atomic::real(path);
            atomic::remove(&path, Step::InstallFile)?;
            if let Some(folder) = path.parent() {
                atomic::sync_folder(folder)?;
            }
        }
        Ok(())
    }

    fn is_still(&self, expected: Option<&String>) -> Result<(), InstallError> {
        if read(&self.target.path)?.as_ref() == expected {
            Ok(())
        } else {
            Err(InstallError::Changed {
                path: self.target.path.clone(),
            })
        }
    }

    /// The difference as people know it. A token that stands in such a file is none of anybody's business.
    fn diff(&self) -> String {
        let path = self.target.path.display().to_string();
        let purpose = self.target.purpose;
        let (before, after) = match (&self.before, &self.after) {
            (None, Some(after)) if matches!(self.target.kind, Kind::Text(_)) => {
                let lines = after.lines().count();
                return format!("new file {path}\n  {purpose}, {lines} lines\n");
            }
            (Some(_), None) if matches!(self.target.kind, Kind::Text(_)) => {
                return format!("remove {path}\n  {purpose}\n");
            }
            (before, after) => (
                before.as_deref().unwrap_or_default(),
                after.as_deref().unwrap_or_default(),
            ),
        };
        let name = |content: &Option<String>| {
            if content.is_some() {
                path.as_str()
            } else {
                "/dev/null"
            }
        };
        let (old, new) = (name(&self.before), name(&self.after));
        let is_long = |text: &str| text.lines().any(|line| line.len() > LONG_LINE);
        redact(&if is_long(before) || is_long(after) {
            format!("--- {old}\n+++ {new}\n{}", inside_lines(before, after))
        } else {
            let diff = TextDiff::from_lines(before, after);
            diff.unified_diff().header(old, new).to_string()
        })
    }
}

/// The one piece in which two texts differ, and a little around it.
fn inside_lines(before: &str, after: &str) -> String {
    let (before, after): (Vec<char>, Vec<char>) =
        (before.chars().collect(), after.chars().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&char, &char)>| {
        pairs.take_while(|(before, after)| before == after).count()
    };
    let start = same(&mut before.iter().zip(&after));
    let shorter = before.len().min(after.len());
    let end = same(&mut before.iter().rev().zip(after.iter().rev())).min(shorter - start);
    let piece = |text: &[char]| -> String {
        let from = start.saturating_sub(AROUND);
        let to = (text.len() - end).saturating_add(AROUND).min(text.len());
        text.get(from..to).unwrap_or_default().iter().collect()
    };
    format!(
        "@@ from character {} @@\n-…{}…\n+…{}…\n",
        start + 1,
        piece(&before),
        piece(&after)
    )
}
