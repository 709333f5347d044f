//! Reading the files of the configuration, which decide whose words are believed: plain files of a bounded size that
//! no other user can change.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::store::ownership::{OtherWriter, find_other_writer};

const BYTES_MOST: u64 = 4 << 20;

/// Why a file is not read.
pub(super) enum FileFault {
    Io(io::Error),
    /// The file is not what it must be: the fault, and the remedy.
    Refused(String, String),
}

/// Reads a file; also returns its mode.
pub(super) fn read_file(path: &Path) -> Result<(Vec<u8>, u32), FileFault> {
    let (file, metadata) = open(path).map_err(FileFault::Io)?;
    let refuse = |what: &str, instead: String| Err(FileFault::Refused(what.to_owned(), instead));
    if metadata.is_dir() {
        return Err(FileFault::Io(rustix::io::Errno::ISDIR.into()));
    }
    if !metadata.is_file() {
        let instead = "make it a plain text file".to_owned();
        return refuse("it is a pipe, a device or a socket, not a file", instead);
    }
    check_writers(path, &metadata)?;
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MOST + 1).read_to_end(&mut bytes);
    read.map_err(FileFault::Io)?;
    if bytes.len() as u64 > BYTES_MOST {
        let instead = "make it smaller: a session takes a few hundred bytes".to_owned();
        return refuse("it is larger than 4 MB", instead);
    }
    Ok((bytes, metadata.mode()))
}

/// Opens a file without waiting for the writer of a pipe.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(no_wait)
        .open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// Refuses a file that another user can change, or replace by another one. One of root is safe.
fn check_writers(path: &Path, metadata: &Metadata) -> Result<(), FileFault> {
    let refuse = |what: String, path: &Path, other: &OtherWriter| {
        let (why, remedy) = other.explain(path);
        Err(FileFault::Refused(format!("{what}{why}"), remedy))
    };
    if let Some(other) = find_other_writer(metadata).filter(|other| *other != OtherWriter::Owner(0))
    {
        return refuse(String::new(), path, &other);
    }
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let metadata = std::fs::metadata(folder).map_err(FileFault::Io)?;
    match find_other_writer(&metadata) {
        // In a folder like /tmp, each user can replace only files of their own.
        Some(OtherWriter::Group(_) | OtherWriter::Everyone) if metadata.mode() & 0o1000 != 0 => {
            Ok(())
        }
        Some(OtherWriter::Owner(0)) | None => Ok(()),
        Some(other) => refuse(
            format!("its folder {} is not safe: ", folder.display()),
            folder,
            &other,
        ),
    }
}
