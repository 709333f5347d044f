//! The files of one request: from their copies on disk to open files.

use std::fs::File;

use crate::state::outbox::attachments::FileKind;
use crate::state::outbox::delivery::Upload;
use crate::state::outbox::{Delivery, Outbox};
use crate::store::StoreError;
use crate::telegram::api::{FileToSend, Media};

/// The files of a request could not be opened.
#[derive(Debug)]
pub enum FilesError {
    /// A copy can never be sent; the reason is for people.
    Unusable(String),
    /// The operating system refused for now.
    Store(StoreError),
}

/// Opens the copies of a request's files, and decides how they are sent.
pub fn open_files(
    outbox: &Outbox,
    delivery: &Delivery,
    upload: &Upload,
) -> Result<(Media, Vec<FileToSend>), FilesError> {
    let (mut files, mut media) = (Vec::new(), Media::Photo);
    for &number in &upload.files {
        let Some(attached) = delivery.content.files().get(number) else {
            let reason = format!("the delivery has no file {number}");
            return Err(FilesError::Unusable(reason));
        };
        if upload.as_documents || attached.kind != FileKind::Photo {
            media = Media::Document;
        }
        let path = outbox.copy(&delivery.id, number);
        let (name, size) = (attached.name.clone(), attached.size);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| {
            let error = StoreError::new("read", &path, source);
            if error.is_not_found() {
                FilesError::Unusable(format!(
                    "the copy of {name:?} to be sent is missing from {}",
                    path.display()
                ))
            } else {
                FilesError::Store(error)
            }
        })?;
        if !metadata.is_file() || metadata.len() != size {
            return Err(FilesError::Unusable(format!(
                "the copy of {name:?} to be sent was changed: {} has {} bytes, not {size}",
                path.display(),
                metadata.len(),
            )));
        }
        files.push(FileToSend { file, name, size });
    }
    Ok((media, files))
}
