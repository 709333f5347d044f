//! The files that an agent sends: which of them it may, and the copies that are sent.
//!
//! A file is looked at only by the descriptor that is copied: every folder on the way to it is
//! opened by itself, below the one before, and no symbolic link is followed, so no process can exchange
//! a part of the path between the look and the copy. The same calls do that on Linux and macOS.
//! The original may change or go once the copies are made; nothing is sent from it.

mod secrets;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::long_text;
use super::tools::Refusal;
use crate::config::Session;
use crate::error_chain::Chain;
use crate::state::outbox::attachments::{self, AttachedFile, FileKind};
use crate::store::StoreError;
use crate::store::staging::{CopyError, Staging};
use crate::telegram::picture;

/// The end of every refusal of a file.
const NOTHING: &str = "Nothing was sent and nothing was acknowledged";
/// How deep the state folder is looked through for another name of a file.
const DEPTH: usize = 6;

/// From where files may be sent, and from where never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Relative paths are below the first.
    folders: Vec<PathBuf>,
    /// The home folder of the person, which `~` means.
    home: Option<PathBuf>,
    state: PathBuf,
    config: PathBuf,
}

/// The copies of one call's files, without a name yet.
#[derive(Debug)]
pub struct Copies {
    /// The folder with them.
    pub folder: Staging,
    /// The files; each copy is named by its number.
    pub files: Vec<AttachedFile>,
    /// The text that goes with them instead of the agent's own, which is the first of the files.
    pub beginning: Option<String>,
}

/// The fault of a file and its remedy.
#[derive(Clone)]
struct Reason {
    what: String,
    instead: String,
}

impl Reason {
    fn new(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            instead: instead.into(),
        }
    }

    fn of(self, given: &str) -> Refusal {
        Refusal(format!(
            "The file {given:?} {}. {NOTHING}; {}.",
            self.what, self.instead
        ))
    }
}

/// A file's identity: device and inode.
type Identity = (u64, u64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn identity_at(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|found| identity(&found))
}

impl Roots {
    /// For a session: its `cwd`, else the working directory of the MCP server, and its `send_roots`.
    /// The top of the file system is no working directory that a person chose.
    pub(crate) fn new(
        session: &Session,
        working: Option<&Path>,
        home: Option<&Path>,
        state: &Path,
        config: &Path,
    ) -> Self {
        let working = working.filter(|folder| folder.parent().is_some());
        let first = session.cwd.as_deref().or(working).map(Path::to_owned);
        let mut folders: Vec<PathBuf> = first.into_iter().collect();
        for root in &session.send_roots {
            if !folders.contains(root) {
                folders.push(root.clone());
            }
        }
        Self {
            folders,
            home: home.map(Path::to_owned),
            state: state.to_owned(),
            config: config.to_owned(),
        }
    }

    /// The path that is meant by `~/a.txt` or `file:///home/ada/a%20b.txt`.
    pub(crate) fn plain_path(&self, given: &str) -> String {
        let beyond_home = given
            .strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let (Some(rest), Some(home)) = (beyond_home, &self.home) {
            return format!("{}{rest}", home.display());
        }
        let url = given.strip_prefix("file:").map(|rest| {
            rest.strip_prefix("//localhost")
                .or_else(|| rest.strip_prefix("//"))
                .unwrap_or(rest)
        });
        let path = url.filter(|path| path.starts_with('/'));
        path.and_then(decode_percent)
            .unwrap_or_else(|| given.to_owned())
    }

    /// Copies all of these files, durably, or says of one why it cannot be sent. A text that is too long for a
    /// chat is the first of them. Takes as long as it takes: not for under a lock.
    pub(crate) fn copy(
        &self,
        text: &str,
        given: &[String],
        stage: impl FnOnce() -> Result<Staging, StoreError>,
    ) -> Result<Copies, Refusal> {
        if given.len() > attachments::MOST {
            return Err(Refusal(format!(
                "`files` lists {} files; one reply takes at most {}. {NOTHING}; call again with fewer, and send the rest with another reply.",
                given.len(),
                attachments::MOST
            )));
        }
        // All of them are looked at before the first is copied.
        let mut opened = Vec::with_capacity(given.len());
        for path in given {
            opened.push(self.open(path).map_err(|reason| reason.of(path))?);
        }
        let folder = stage().map_err(|error| cannot_store(&error))?;
        let beginning = long_text::beginning(text);
        let mut files = Vec::with_capacity(given.len() + 1);
        if beginning.is_some() {
            files.push(copy_text(&folder, text)?);
        }
        for (file, path) in opened.into_iter().zip(given) {
            files.push(copy_one(&folder, files.len(), file, path)?);
        }
        folder.sync().map_err(|error| cannot_store(&error))?;
        Ok(Copies {
            folder,
            files,
            beginning,
        })
    }

    /// Opens a file that may be sent.
    fn open(&self, given: &str) -> Result<File, Reason> {
        let (root, below) = self.place(given)?;
        let real = root.canonicalize().map_err(|error| {
            Reason::new(
                format!(
                    "would be below {}, which cannot be opened ({error})",
                    root.display()
                ),
                "fix that, or name a file in another folder",
            )
        })?;
        let Some(name) = below.file_name() else {
            return Err(folder_reason());
        };
        let kind = secrets::refuse_by_name(&real.join(&below), name)?;
        let own = Reason::new(
            "is in telepost's own state folder",
            "such files are never sent; send a file of your own",
        );
        let state = self.state.canonicalize().ok();
        if state.is_some_and(|state| real.starts_with(state)) {
            return Err(own);
        }
        let never = [
            (identity_at(&self.state), own),
            (
                self.config.parent().and_then(identity_at),
                configuration_reason(),
            ),
        ];

        let mut folder = File::from(
            rustix::fs::open(
                &real,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(|error| unreadable(&error.into()))?,
        );
        let mut on_the_way: Vec<&OsStr> = below.components().map(Component::as_os_str).collect();
        on_the_way.pop();
        for part in on_the_way {
            folder = enter(&folder, part)?;
            let here = folder.metadata().map_err(|error| unreadable(&error))?;
            for (forbidden, reason) in &never {
                if *forbidden == Some(identity(&here)) {
                    return Err(reason.clone());
                }
            }
        }
        let file = open_regular(&folder, name)?;
        self.refuse_by_content(&file)?;
        secrets::refuse_key(&file, kind)?;
        Ok(file)
    }

    /// The root that a path is below, and the rest of the path, which has names only.
    fn place(&self, given: &str) -> Result<(&Path, PathBuf), Reason> {
        if given.trim().is_empty() {
            return Err(Reason::new("has no name", "name a file"));
        }
        if given.contains('\0') {
            return Err(Reason::new(
                "has a NUL character in its name",
                "name a file that exists",
            ));
        }
        let path = Path::new(given);
        if path
            .components()
            .any(|part| matches!(part, Component::ParentDir))
        {
            return Err(Reason::new(
                "has \"..\" in its path",
                "write the path without it",
            ));
        }
        if path.is_relative() {
            let Some(root) = self.folders.first() else {
                return Err(self.outside());
            };
            // "./a" and "a" are the same.
            return Ok((root, path.strip_prefix(".").unwrap_or(path).to_owned()));
        }
        // The nearest: a root may be a link within another.
        let roots = self.folders.iter().filter_map(|root| {
            let below = path.strip_prefix(root).ok();
            let below = below.or_else(|| path.strip_prefix(root.canonicalize().ok()?).ok());
            Some((root.as_path(), below?.to_owned()))
        });
        let nearest = roots.min_by_key(|(_, below)| below.components().count());
        nearest
            .or_else(|| self.place_by_real_path(path))
            .ok_or_else(|| self.outside())
    }

    /// The same for a path that leads into a root by another name, such as `/tmp` on macOS. The real
    /// path is opened part by part, so no link is followed.
    fn place_by_real_path(&self, path: &Path) -> Option<(&Path, PathBuf)> {
        let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
        let mut roots = self.folders.iter();
        roots.find_map(|root| {
            let below = real.strip_prefix(root.canonicalize().ok()?).ok()?;
            Some((root.as_path(), below.to_owned()))
        })
    }

    fn outside(&self) -> Reason {
        let roots: Vec<String> = self
            .folders
            .iter()
            .map(|root| root.display().to_string())
            .collect();
        if roots.is_empty() {
            return Reason::new(
                "cannot be sent, because no folder is configured to send files from",
                "ask the person to add one to `send_roots` of this session in sessions.json",
            );
        }
        Reason::new(
            format!(
                "is outside the folders from which files may be sent ({})",
                roots.join(", ")
            ),
            "copy it into one of them, or ask the person to add its folder to `send_roots`",
        )
    }

    /// Reasons of the opened file itself against it.
    fn refuse_by_content(&self, file: &File) -> Result<(), Reason> {
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if metadata.len() == 0 {
            return Err(empty());
        }
        if metadata.len() > attachments::LARGEST {
            return Err(too_large(metadata.len()));
        }
        let mine = identity(&metadata);
        if identity_at(&self.config) == Some(mine) {
            return Err(configuration_reason());
        }
        // A second name of one of our own files, somewhere else.
        let also = |folder: &Path, depth| metadata.nlink() > 1 && contains(folder, mine, depth);
        if also(&self.state, DEPTH) || self.config.parent().is_some_and(|folder| also(folder, 0)) {
            return Err(Reason::new(
                "is another name of a file of telepost's state or configuration",
                "such files are never sent; send a file of your own",
            ));
        }
        Ok(())
    }
}

/// Decodes `%20` and the like.
fn decode_percent(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Whether a folder has this file under some name. An unreadable file does not have it.
fn contains(folder: &Path, wanted: Identity, depth: usize) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry.metadata().is_ok_and(|found| {
            identity(&found) == wanted && found.is_file()
                || depth > 0 && found.is_dir() && contains(&entry.path(), wanted, depth - 1)
        })
    })
}

/// Opens a folder in a folder.
fn enter(folder: &File, name: &OsStr) -> Result<File, Reason> {
    match kind(folder, name)? {
        FileType::Directory => open_at(folder, name, OFlags::DIRECTORY),
        FileType::Symlink => Err(link(name)),
        FileType::RegularFile
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(missing()),
    }
}

/// Opens a regular file in a folder. Never waits for the other end of a pipe, and never opens a
/// device unless it was put there this moment.
fn open_regular(folder: &File, name: &OsStr) -> Result<File, Reason> {
    check_regular(kind(folder, name)?, name)?;
    let file = open_at(folder, name, OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let opened = file.metadata().map_err(|error| unreadable(&error))?;
    check_regular(FileType::from_raw_mode(opened.mode()), name)?;
    Ok(file)
}

fn open_at(folder: &File, name: &OsStr, flags: OFlags) -> Result<File, Reason> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| unreadable(&error.into()))
}

fn kind(folder: &File, name: &OsStr) -> Result<FileType, Reason> {
    let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| unreadable(&error.into()))?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

/// Stores a text as the first file of a reply.
fn copy_text(folder: &Staging, text: &str) -> Result<AttachedFile, Refusal> {
    let mut source = Hashing {
        source: text.as_bytes(),
        hash: Sha256::new(),
    };
    let size = folder.copy("0", &mut source).map_err(|error| match error {
        CopyError::Read(error) => cannot_store(&StoreError::new("read", Path::new("0"), error)),
        CopyError::Store(error) => cannot_store(&error),
    })?;
    Ok(AttachedFile {
        name: long_text::FILE_NAME.to_owned(),
        size,
        sha256: format!("{:x}", source.hash.finalize()),
        kind: FileKind::Document,
    })
}

fn check_regular(kind: FileType, name: &OsStr) -> Result<(), Reason> {
    let special = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => return Err(link(name)),
        FileType::Directory => return Err(folder_reason()),
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => "a device",
    };
    Err(Reason::new(
        format!("is {special}, not a regular file"),
        "write what you want to send into a file",
    ))
}

/// Copies one file, at most as much as it had when it was opened: one that grows is sent as it was.
fn copy_one(
    folder: &Staging,
    number: usize,
    file: File,
    given: &str,
) -> Result<AttachedFile, Refusal> {
    let expected = file
        .metadata()
        .map_err(|error| unreadable(&error).of(given))?
        .len();
    let name = number.to_string();
    let mut source = Hashing {
        source: file.take(expected),
        hash: Sha256::new(),
    };
    let size = folder
        .copy(&name, &mut source)
        .map_err(|error| match error {
            CopyError::Read(error) => unreadable(&error).of(given),
            CopyError::Store(error) => cannot_store(&error),
        })?;
    if size < expected {
        return Err(Reason::new(
            "became shorter while it was copied",
            "call again when no program is writing to it any more",
        )
        .of(given));
    }
    let mut copy = folder.open(&name).map_err(|error| cannot_store(&error))?;
    let picture = copy
        .rewind()
        .and_then(|()| picture::read(&mut io::BufReader::new(&copy)))
        .map_err(|error| unreadable(&error).of(given))?;
    Ok(AttachedFile {
        name: shown_name(given),
        size,
        sha256: format!("{:x}", source.hash.finalize()),
        kind: FileKind::of(picture, size),
    })
}

/// The name of a file as the person sees it.
pub(super) fn shown_name(given: &str) -> String {
    let name = Path::new(given).file_name().unwrap_or_default();
    attachments::clean_name(&name.to_string_lossy())
}

/// Hashes what is read through it.
struct Hashing<R> {
    source: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn cannot_store(error: &StoreError) -> Refusal {
    Refusal(format!(
        "The files could not be copied: {}. {NOTHING}; call again when that is fixed.",
        Chain(error)
    ))
}

fn missing() -> Reason {
    Reason::new(
        "does not exist",
        "check the path (a relative one begins at the session's folder)",
    )
}

fn unreadable(error: &io::Error) -> Reason {
    if error.kind() == io::ErrorKind::NotFound {
        return missing();
    }
    Reason::new(
        format!("cannot be read ({error})"),
        "fix that, or send another file",
    )
}

fn link(name: &OsStr) -> Reason {
    Reason::new(
        format!(
            "goes through the symbolic link {:?}, and links are not followed",
            name.to_string_lossy()
        ),
        "name the file itself, or copy it to a path without links",
    )
}

fn folder_reason() -> Reason {
    Reason::new(
        "is a folder",
        "name the files in it, or pack them into an archive",
    )
}

fn empty() -> Reason {
    Reason::new(
        "is empty, and Telegram accepts no empty files",
        "say in the text that it is empty, or send another file",
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a size for people, with one digit"
)]
fn too_large(size: u64) -> Reason {
    Reason::new(
        format!(
            "is {:.1} MB, and Telegram accepts at most 50 MB",
            size as f64 / 1e6
        ),
        "make it smaller (compress it, or split it), or tell the person where it is",
    )
}

fn configuration_reason() -> Reason {
    Reason::new(
        "belongs to telepost's configuration",
        "such files are never sent; send a file of your own",
    )
}
