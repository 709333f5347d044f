//! The changes that a person is asked to agree to, and the order of writes that carries them out.

use std::fs;
use std::path::{Path, PathBuf};

use super::client::ClientFile;
use super::diff::render_diff;
use super::error::InstallError;
use super::read_text;
use super::record::{Backup, FileRecord, InstallRecord, hash_text};
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::envelope;

/// Changes for a person to agree to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    goal: Goal,
    pub(super) changes: Vec<FileChange>,
    /// Files that stay as they are, against expectation.
    pub(crate) notes: Vec<String>,
    record_path: PathBuf,
    /// `None`: telepost is not installed.
    pub(super) record: Option<InstallRecord>,
    /// The files whose backups outlive an uninstallation.
    kept_backups: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Install,
    Uninstall,
}

/// The content of one file before and after. `None`: there is no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileChange {
    pub(super) file: ClientFile,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Proposal {
    pub(super) fn new(goal: Goal, record_path: &Path, record: Option<InstallRecord>) -> Self {
        Self {
            goal,
            changes: Vec::new(),
            notes: Vec::new(),
            record_path: record_path.to_owned(),
            record,
            kept_backups: Vec::new(),
        }
    }

    pub(super) fn recorded(&self, file: &ClientFile) -> Option<&FileRecord> {
        self.record.as_ref()?.files.get(&file.path)
    }

    /// Lets the backup of a file outlive the uninstallation.
    pub(super) fn keep_backup(&mut self, file: &ClientFile, note: String) {
        self.kept_backups.push(file.path.clone());
        self.notes.push(note);
    }

    pub(crate) fn is_empty(&self) -> bool {
        let is_settled = self.goal == Goal::Install || self.record.is_none();
        self.changes.is_empty() && is_settled
    }

    pub(crate) fn file_count(&self) -> usize {
        self.changes.len()
    }

    pub(crate) fn diff(&self) -> String {
        self.changes.iter().map(render_diff).collect()
    }

    /// Makes the changes. At every moment each file is old or new; after an interruption the same command
    /// finishes the rest.
    pub(crate) fn carry_out(&self) -> Result<(), InstallError> {
        self.check_writable().map_err(InstallError::Untouched)?;
        match self.goal {
            Goal::Install => self.install()?,
            Goal::Uninstall => self.uninstall()?,
        }
        let mut changes = self.changes.iter();
        changes.try_for_each(|change| change.expect_text(change.after.as_ref()))
    }

    fn written_paths(&self) -> impl Iterator<Item = &PathBuf> {
        let files = self.changes.iter().map(|change| &change.file.path);
        files.chain([&self.record_path])
    }

    /// Refuses a read-only folder before the first change rather than halfway.
    fn check_writable(&self) -> Result<(), StoreError> {
        for path in self.written_paths() {
            let real = atomic::resolve_links(path);
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
        let mut record = self.record.clone().unwrap_or_default();
        for path in self.written_paths() {
            let above = path.ancestors().skip(1);
            let missing = above.take_while(|folder| !folder.exists());
            record.folders.extend(missing.map(Path::to_owned));
        }
        let mut created = Vec::new();
        let prepared = self
            .back_up(&mut record, &mut created)
            .and_then(|()| self.write_record(&record));
        if let Err(error) = prepared {
            for backup in created {
                // A backup that stays is found and used by the next run.
                drop(atomic::remove_file(&backup, Step::InstallBackup));
            }
            return Err(InstallError::Untouched(error));
        }
        self.changes.iter().try_for_each(FileChange::apply)
    }

    /// Copies files that no earlier installation has backed up, and records what is about to be written.
    fn back_up(
        &self,
        record: &mut InstallRecord,
        created: &mut Vec<PathBuf>,
    ) -> Result<(), StoreError> {
        for FileChange {
            file,
            before,
            after,
        } in &self.changes
        {
            let before = before.as_deref();
            let written = after.as_deref().map(hash_text).unwrap_or_default();
            if let Some(recorded) = record.files.get_mut(&file.path) {
                let original = recorded.backup.as_ref().map(|backup| &backup.sum);
                let is_original = original == before.map(hash_text).as_ref();
                let as_written = before.is_some_and(|before| recorded.has_written(before));
                recorded.exact = is_original || (recorded.exact && as_written);
                recorded.written = written;
                continue;
            }
            let backup = before.map(|before| create_backup(&file.path, before, created));
            let new = FileRecord {
                backup: backup.transpose()?,
                written,
                exact: true,
            };
            record.files.insert(file.path.clone(), new);
        }
        Ok(())
    }

    fn write_record(&self, record: &InstallRecord) -> Result<(), StoreError> {
        if let Some(folder) = self.record_path.parent() {
            atomic::create_folder(folder)?;
        }
        let (step, durability) = (Step::InstallRecord, Durability::Synced);
        let bytes = envelope::encode(&self.record_path, record)?;
        atomic::replace_file(&self.record_path, &bytes, step, durability)
    }

    fn uninstall(&self) -> Result<(), InstallError> {
        self.changes.iter().try_for_each(FileChange::apply)?;
        let Some(record) = &self.record else {
            return Ok(());
        };
        for (path, recorded) in &record.files {
            if let Some(backup) = &recorded.backup
                && !self.kept_backups.contains(path)
            {
                // Synced before the record that names it goes.
                remove_file(&backup.path, Step::InstallBackup)?;
            }
        }
        // A folder sorts ahead of those in it. One that is not empty stays.
        let own = self.record_path.parent();
        for folder in record.folders.iter().rev() {
            if Some(folder.as_path()) != own {
                atomic::remove_empty_folder(folder);
            }
        }
        atomic::remove_file(&self.record_path, Step::InstallRecord)?;
        if let Some(own) = own {
            let is_gone = record.folders.contains(own) && atomic::remove_empty_folder(own);
            if !is_gone {
                atomic::sync_folder(own)?;
            }
        }
        Ok(())
    }
}

/// Copies a file. A copy with the same bytes is there if an earlier run was killed before it wrote the
/// record, and is used again; other files of that name are left alone.
fn create_backup(
    path: &Path,
    before: &str,
    created: &mut Vec<PathBuf>,
) -> Result<Backup, StoreError> {
    let mut number = 1;
    let backup = loop {
        let mut name = path.as_os_str().to_owned();
        name.push(".telepost-backup");
        if number > 1 {
            name.push(format!("-{number}"));
        }
        let backup = PathBuf::from(name);
        if fs::symlink_metadata(&backup).is_err() {
            created.push(backup.clone());
            let (step, durability) = (Step::InstallBackup, Durability::Synced);
            atomic::replace_file(&backup, before.as_bytes(), step, durability)?;
            break backup;
        }
        if fs::read_to_string(&backup).is_ok_and(|text| text == before) {
            break backup;
        }
        number += 1;
    };
    Ok(Backup {
        path: backup,
        sum: hash_text(before),
    })
}

fn remove_file(path: &Path, step: Step) -> Result<(), StoreError> {
    atomic::remove_file(path, step)?;
    path.parent().map_or(Ok(()), atomic::sync_folder)
}

impl FileChange {
    pub(super) fn new(file: &ClientFile, before: Option<String>, after: Option<String>) -> Self {
        Self {
            file: file.clone(),
            before,
            after,
        }
    }

    fn apply(&self) -> Result<(), InstallError> {
        self.expect_text(self.before.as_ref())?;
        let path = &self.file.path;
        let Some(after) = &self.after else {
            // A link that led to nothing before stays; what it leads to was created and goes.
            return Ok(remove_file(
                &atomic::resolve_links(path),
                Step::InstallFile,
            )?);
        };
        if let Some(folder) = path.parent() {
            atomic::create_folder(folder)?;
        }
        atomic::replace_foreign(path, after.as_bytes(), Step::InstallFile)?;
        Ok(())
    }

    /// Refuses a file that another program has changed.
    fn expect_text(&self, expected: Option<&String>) -> Result<(), InstallError> {
        let path = &self.file.path;
        if read_text(path)?.as_ref() == expected {
            Ok(())
        } else {
            Err(InstallError::Changed { path: path.clone() })
        }
    }
}
