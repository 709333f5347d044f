//! What goes back over the connection, whole or broken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::{Response, StatusCode, header};

use crate::answer::Refusal;

/// An answer, or none at all.
#[derive(Debug)]
pub(crate) enum Reply {
    Send {
        status: u16,
        content_type: &'static str,
        retry_after: Option<String>,
        body: Bytes,
        cut: bool,
    },
    /// The connection ends here, with a reset or with an ordinary close.
    Close { reset: bool },
}

impl Reply {
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self::of(status, "application/json", body)
    }

    pub(crate) fn text(status: u16, body: String) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body)
    }

    pub(crate) fn html(status: u16, body: String) -> Self {
        Self::of(status, "text/html", body)
    }

    pub(crate) fn of(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::Send {
            status,
            content_type,
            retry_after: None,
            body: body.into(),
            cut: false,
        }
    }

    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        Self::Send {
            status: refusal.code,
            content_type: "application/json",
            retry_after: refusal.retry_after(),
            body: refusal.body().into(),
            cut: false,
        }
    }

    /// The same answer, broken off in the middle.
    pub(crate) fn truncated(self) -> Self {
        match self {
            Self::Send {
                status,
                content_type,
                retry_after,
                body,
                ..
            } => Self::Send {
                status,
                content_type,
                retry_after,
                body,
                cut: true,
            },
            Self::Close { .. } => self,
        }
    }

    /// The response, or how the connection shall end.
    pub(crate) fn into_response(self) -> Result<Response<Payload>, bool> {
        let (status, content_type, retry_after, body, cut) = match self {
            Self::Send {
                status,
                content_type,
                retry_after,
                body,
                cut,
            } => (status, content_type, retry_after, body, cut),
            Self::Close { reset } => return Err(reset),
        };
        let length = body.len();
        let sent = if cut { body.slice(..length / 2) } else { body };
        let payload = Payload {
            data: Some(sent),
            breaks: cut,
            flushed: false,
            length,
        };
        let mut response = Response::new(payload);
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(content_type),
        );
        if let Some(value) =
            retry_after.and_then(|value| header::HeaderValue::from_str(&value).ok())
        {
            headers.insert(header::RETRY_AFTER, value);
        }
        Ok(response)
    }
}

/// A body that may break off: it promises its whole length and then fails.
#[derive(Debug)]
pub(crate) struct Payload {
    data: Option<Bytes>,
    breaks: bool,
    flushed: bool,
    length: usize,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if !self.breaks {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // Lets the first half reach the client before the failure drops what is buffered.
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.length).unwrap_or(u64::MAX))
    }
}
