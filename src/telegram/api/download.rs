//! Fetching a file: where it is, and its bytes as they come. The address has the token in it, and never
//! leaves this file.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use teloxide_core::requests::Payload;

use super::{Api, SEND_TIMEOUT, hear_answer, not_heard, parse};
use crate::telegram::error::ApiError;

/// Longest time without a byte.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time for a whole file: 20 MB at 12 kB a second.
const WHOLE: Duration = Duration::from_secs(30 * 60);

/// `getFile`; not the typed form, whose answer drops what it does not know.
#[derive(Serialize)]
struct GetFile {
    file_id: String,
}

impl Payload for GetFile {
    type Output = serde_json::Value;
    const NAME: &'static str = "getFile";
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DownloadSource {
    /// For [`Api::download`]; for an hour at least.
    #[serde(default)]
    file_path: Option<String>,
    #[serde(default)]
    pub(crate) file_size: Option<u64>,
}

impl DownloadSource {
    /// Whether the file lies on the server's own disk: a local Bot API server (`--local`), which serves no files
    /// over HTTP (docs/facts/telegram.md 5).
    pub(crate) fn is_local(&self) -> bool {
        self.file_path
            .as_ref()
            .is_some_and(|path| path.starts_with('/'))
    }
}

/// A file on its way. The bytes are taken one piece after the other, so that memory does not grow
/// with the file.
pub(crate) struct Download {
    response: reqwest::Response,
}

// Not derived: `Debug` of `Response` prints the address.
impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}

impl Api {
    /// Where a file is that came with a message.
    pub(crate) async fn find_file(&self, file_id: &str) -> Result<DownloadSource, ApiError> {
        let payload = GetFile {
            file_id: file_id.to_owned(),
        };
        let result = self.call(&payload, SEND_TIMEOUT).await?;
        parse(&result)
    }

    /// Begins to fetch a file.
    pub(crate) async fn download(&self, place: &DownloadSource) -> Result<Download, ApiError> {
        let path = place.file_path.as_deref().unwrap_or_default();
        let response = self
            .bot
            .client()
            .get(self.file_url(path)?)
            .timeout(WHOLE)
            .send();
        // The first byte may be as slow as any other.
        let response = tokio::time::timeout(SILENCE, response)
            .await
            .map_err(|_| silent())?
            .map_err(not_heard)?;
        let download = Download { response };
        if download.response.status().as_u16() == 200 {
            return Ok(download);
        }
        Err(download.refusal().await)
    }

    fn file_url(&self, path: &str) -> Result<url::Url, ApiError> {
        let mut url = self.bot.api_url();
        // Segments of that kind would be left out, or lead elsewhere.
        let odd = path.split('/').any(|part| matches!(part, "" | "." | ".."));
        match url.path_segments_mut() {
            Ok(mut segments) if !odd => {
                segments
                    .pop_if_empty()
                    .push("file")
                    .push(&format!("bot{}", self.bot.token()))
                    .extend(path.split('/'));
            }
            _ => {
                return Err(ApiError::Refused {
                    code: 404,
                    description: "a file without a usable path".to_owned(),
                    retry_after: None,
                    migrate_to: None,
                });
            }
        }
        Ok(url)
    }
}

impl Download {
    /// The next piece; `None` at the end.
    pub(crate) async fn next(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + Send + use<>>, ApiError> {
        tokio::time::timeout(SILENCE, self.response.chunk())
            .await
            .map_err(|_| silent())?
            .map_err(not_heard)
    }

    /// The refusal of an answer that is no file.
    async fn refusal(self) -> ApiError {
        let status = self.response.status().as_u16();
        match tokio::time::timeout(SILENCE, hear_answer(self.response)).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => ApiError::Doubt(format!("HTTP {status} instead of a file")),
            Err(_) => silent(),
        }
    }
}

fn silent() -> ApiError {
    ApiError::Doubt("no data arrived for too long".to_owned())
}
