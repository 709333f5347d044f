//! The bytes that go back over the connection, whole or broken.

use std::fmt;
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
        ending: Ending,
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
            ending: Ending::Whole,
        }
    }

    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        Self::Send {
            status: refusal.code,
            content_type: "application/json",
            retry_after: refusal.retry_after(),
            body: refusal.body().into(),
            ending: Ending::Whole,
        }
    }

    /// The same answer, with this `Retry-After`.
    pub(crate) fn retry_after(mut self, value: Option<String>) -> Self {
        if let Self::Send { retry_after, .. } = &mut self {
            *retry_after = value;
        }
        self
    }

    /// The same answer, with another ending.
    pub(crate) fn ending(self, ending: Ending) -> Self {
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
                ending,
            },
            Self::Close { .. } => self,
        }
    }

    /// The response, or how the connection shall end.
    pub(crate) fn into_response(self) -> Result<Response<Payload>, bool> {
        let (status, content_type, retry_after, mut body, ending) = match self {
            Self::Send {
                status,
                content_type,
                retry_after,
                body,
                ending,
            } => (status, content_type, retry_after, body, ending),
            Self::Close { reset } => return Err(reset),
        };
        let length = body.len();
        let rest = match ending {
            Ending::Whole => Bytes::new(),
            Ending::Cut | Ending::Stalled(_) => body.split_off(length / 2),
        };
        let payload = Payload {
            data: Some(body),
            rest,
            ending,
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

/// How the body of an answer ends.
pub(crate) enum Ending {
    /// As it should.
    Whole,
    /// In the middle, and the connection with it.
    Cut,
    /// As it should, but the second half comes only when this is over.
    Stalled(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "Whole",
            Self::Cut => "Cut",
            Self::Stalled(_) => "Stalled",
        })
    }
}

/// A body that promises its whole length, and may fail to keep it.
#[derive(Debug)]
pub(crate) struct Payload {
    data: Option<Bytes>,
    rest: Bytes,
    ending: Ending,
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
        match &mut self.ending {
            Ending::Whole => return Poll::Ready(None),
            Ending::Stalled(over) => {
                if over.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.ending = Ending::Whole;
                let rest = std::mem::take(&mut self.rest);
                return Poll::Ready(Some(Ok(Frame::data(rest))));
            }
            Ending::Cut => {}
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
        self.data.is_none() && matches!(self.ending, Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.length).unwrap_or(u64::MAX))
    }
}
