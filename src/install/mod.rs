//! `telepost install` and `uninstall`: reads the files of a client and proposes what they become.
//!
//! [`client`] lists the files, [`plan`] edits their content, [`Proposal`] carries the edits out. Nothing
//! here knows what a session is, or any token.
//!
//! On disk, beside the files of the client: `<file>.telepost-backup` for each file that existed before, and
//! the record `telepost-install.json`. `install` writes backups, record, files; `uninstall` writes files,
//! then removes backups and record. After a kill each file is old or new, and the next run still finds the
//! original content. The client may write the same files at any time: each is compared with what was read
//! before it is replaced, and again at the end.

pub(crate) mod client;
mod diff;
mod error;
mod hooks;
mod json;
pub(crate) mod plan;
mod proposal;
mod record;
pub(crate) mod registration;
mod toml;

use std::fs;
use std::io;
use std::path::Path;

pub(crate) use self::error::{EditError, InstallError};
pub(crate) use self::proposal::Proposal;

use self::client::{ClientFile, ClientFiles};
use self::plan::{FileContent, Overwrite, find_server, put_content, remove_content};
use self::proposal::{FileChange, Goal};
use self::record::{FileRecord, InstallRecord, hash_text};
use self::registration::{ServerCommand, ServerRegistration};
use crate::store::StoreError;
use crate::store::envelope::{self, Unparsable};

/// The server of ours that stands where an installation would put its own.
pub(crate) fn find_registered(
    client: &ClientFiles,
    registration: &ServerRegistration,
) -> Result<Option<ServerCommand>, InstallError> {
    for file in &client.files {
        let text = read_text(&file.path)?.unwrap_or_default();
        let found = find_server(file.content, registration.folder.as_deref(), &text);
        if let Some(server) = found.filter(ServerCommand::is_ours) {
            return Ok(Some(server));
        }
    }
    Ok(None)
}

pub(crate) fn propose_install(
    client: &ClientFiles,
    registration: &ServerRegistration,
    replace: bool,
) -> Result<Proposal, InstallError> {
    let record = read_record(&client.record)?;
    let mut proposal = Proposal::new(Goal::Install, &client.record, record);
    for file in &client.files {
        let before = read_text(&file.path)?;
        if file.content == FileContent::ClaudeSettings && has_plugin(before.as_deref()) {
            proposal.notes.push(
                "the telepost plugin is installed too, so the agent has every tool twice; keep only one of them \
                 (run `claude plugin uninstall telepost@telepost` or `telepost uninstall claude`)"
                    .to_owned(),
            );
        }
        let recorded = proposal.recorded(file);
        let as_written = match (recorded, &before) {
            (Some(recorded), Some(text)) => recorded.has_written(text),
            _ => false,
        };
        let overwrite = Overwrite {
            as_written,
            replace,
        };
        let after = put_content(file.content, registration, before.as_deref(), overwrite)
            .map_err(|error| refuse(&file.path, error))?;
        if after.is_none() {
            proposal.notes.push(format!(
                "{} was not written by telepost, or has been edited since, and is left as it is; --replace overwrites it",
                file.path.display()
            ));
        } else if after != before {
            proposal.changes.push(FileChange::new(file, before, after));
        }
    }
    Ok(proposal)
}

pub(crate) fn propose_uninstall(client: &ClientFiles) -> Result<Proposal, InstallError> {
    let record = read_record(&client.record)?;
    let mut proposal = Proposal::new(Goal::Uninstall, &client.record, record);
    for file in &client.files {
        let path = file.path.display();
        let recorded = proposal.recorded(file);
        let Some(text) = read_text(&file.path)? else {
            if let Some(backup) = recorded.and_then(|recorded| recorded.backup.as_ref()) {
                let note = format!(
                    "{path} has been deleted since and is not restored; its original content is in {}",
                    backup.path.display()
                );
                proposal.keep_backup(file, note);
            }
            continue;
        };
        let original = read_original(recorded, file)?;
        let as_written = recorded.is_some_and(|recorded| recorded.has_written(&text));
        let after = if original.is_recorded
            && as_written
            && recorded.is_some_and(|recorded| recorded.exact)
        {
            original.text
        } else {
            remove_content(file.content, &text, original.text.as_deref(), as_written)
                .map_err(|error| refuse(&file.path, error))?
        };
        let is_recorded = recorded.is_some();
        if after.as_ref() == Some(&text) {
            if is_recorded && file.is_text() {
                let note = format!(
                    "{path} was edited after telepost wrote it and is kept; delete it yourself if you do not need it"
                );
                proposal.keep_backup(file, note);
            }
        } else if is_recorded || proposal.record.is_none() {
            proposal
                .changes
                .push(FileChange::new(file, Some(text), after));
        } else {
            proposal.notes.push(format!(
                "{path} had {} before `telepost install` and keeps it",
                file.purpose
            ));
        }
    }
    Ok(proposal)
}

/// Says that the settings of a Claude Code with our server do not allow its tools: an agent that is woken would
/// wait for a person to allow each of them.
pub(crate) fn find_missing_rule(claude: &ClientFiles) -> Option<String> {
    let read = |content| {
        let file = claude.files.iter().find(|file| file.content == content)?;
        Some((&file.path, read_text(&file.path).ok()??))
    };
    let (path, settings) = read(FileContent::ClaudeSettings).unzip();
    let rule = if has_plugin(settings.as_deref()) {
        plan::PLUGIN_RULE
    } else {
        let (_, servers) = read(FileContent::ClaudeServers)?;
        if !plan::has_claude_server(&servers) {
            return None;
        }
        plan::RULE
    };
    if plan::allows(settings.as_deref().unwrap_or_default(), rule) {
        return None;
    }
    let path = path.map_or_else(
        || "settings.json".to_owned(),
        |path| path.display().to_string(),
    );
    Some(format!(
        "Claude Code asks a person before each call of telepost's tools, so a woken agent waits: add \"{rule}\" to permissions.allow in {path}."
    ))
}

fn has_plugin(settings: Option<&str>) -> bool {
    let path = ["enabledPlugins", "telepost@telepost"];
    settings.and_then(|text| json::get_value(text, &path)) == Some(true.into())
}

/// The content of a file before the installation.
struct Original {
    /// `None`: there was no such file.
    text: Option<String>,
    /// `false`: this is an assumption, because there is no record or the backup is lost.
    is_recorded: bool,
}

fn read_original(
    recorded: Option<&FileRecord>,
    file: &ClientFile,
) -> Result<Original, InstallError> {
    let backup = match recorded {
        Some(FileRecord {
            backup: Some(backup),
            ..
        }) => read_text(&backup.path)?.filter(|text| hash_text(text) == backup.sum),
        Some(_) | None => None,
    };
    let is_new = recorded.is_some_and(|recorded| recorded.backup.is_none());
    let is_recorded = is_new || backup.is_some();
    let blank = file.content.blank().filter(|_| !is_recorded);
    Ok(Original {
        text: backup.or_else(|| blank.map(str::to_owned)),
        is_recorded,
    })
}

fn refuse(path: &Path, error: EditError) -> InstallError {
    InstallError::Refused {
        path: path.to_owned(),
        error,
    }
}

/// The text of a file. `None`: there is none.
fn read_text(path: &Path) -> Result<Option<String>, InstallError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let error = StoreError::new("read", path, source);
            return Err(InstallError::Untouched(error));
        }
    };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let message = "the bytes are not UTF-8".to_owned();
        refuse(path, EditError::at_offset(&text, valid, message))
    })
}

fn read_record(path: &Path) -> Result<Option<InstallRecord>, InstallError> {
    let Some(text) = read_text(path)? else {
        return Ok(None);
    };
    envelope::parse(text.as_bytes()).map(Some).map_err(|error| {
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
