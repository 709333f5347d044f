//! The files of one request: from their copies on disk to what is sent.

use std::fs::File;

use crate::state::outbox::Outbox;
use crate::state::outbox::attachments::FileKind;
use crate::state::outbox::delivery::{Delivery, Part};
use crate::store::StoreError;
use crate::telegram::api::{FileToSend, Media};

/// The copies of a part's files, opened, and how they are sent; `None` for a part without files. The
/// inner error says of a copy why it can never be sent.
#[expect(
    clippy::type_complexity,
    reason = "a failure that passes, a reason that does not, and no files at all"
)]
pub fn open(
    outbox: &Outbox,
    delivery: &Delivery,
    part: &Part,
) -> Result<Result<Option<(Media, Vec<FileToSend>)>, String>, StoreError> {
    let Some(upload) = &part.upload else {
        return Ok(Ok(None));
    };
    let (mut files, mut media) = (Vec::new(), Media::Photo);
    for &number in &upload.files {
        let Some(attached) = delivery.content.files().get(number) else {
            return Ok(Err(format!("the delivery has no file {number}")));
        };
        if upload.as_documents || attached.kind != FileKind::Photo {
            media = Media::Document;
        }
        let path = outbox.copy(&delivery.id, number);
        let failed = |source| StoreError::new("read", &path, source);
        let name = &attached.name;
        let opened = File::open(&path)
            .and_then(|file| Ok((file.metadata()?, file)))
            .map_err(failed);
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.is_not_found() => {
                return Ok(Err(format!(
                    "the copy of {name:?} that was to be sent is gone from {}",
                    path.display()
                )));
            }
            Err(error) => return Err(error),
        };
        if !metadata.is_file() || metadata.len() != attached.size {
            return Ok(Err(format!(
                "the copy of {name:?} that was to be sent was changed: {} has {} bytes, not {}",
                path.display(),
                metadata.len(),
                attached.size
            )));
        }
        files.push(FileToSend {
            file,
            name: name.clone(),
            size: attached.size,
        });
    }
    Ok(Ok(Some((media, files))))
}
