//! What goes over the wire besides results: the tools' descriptions, and the end of the input.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rmcp::model::{JsonObject, MetaObject, RequestId, Tool as WireTool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::mcp::tools::{PollParams, ReactParams, ReplyParams, Tool, ToolResult};
use crate::store::crash_points::{Side, Step, mark_step};

/// A tool as clients list it.
pub(super) fn wire_tool(tool: Tool) -> WireTool {
    let input = match tool {
        Tool::Poll => schema::<PollParams>(),
        Tool::Reply => schema::<ReplyParams>(),
        Tool::React => schema::<ReactParams>(),
    };
    let mut wire = WireTool::new(tool.name(), tool.description(), Arc::new(input));
    wire.title = Some(tool.title().to_owned());
    wire.output_schema = Some(Arc::new(schema::<ToolResult>()));
    // Honest: a poll changes what is held, a reply reaches a person and cannot be taken back.
    let annotations = ToolAnnotations::with_title(tool.title()).read_only(false);
    wire.annotations = Some(match tool {
        Tool::Poll => annotations
            .destructive(false)
            .idempotent(false)
            .open_world(false),
        Tool::Reply => annotations
            .destructive(false)
            .idempotent(false)
            .open_world(true),
        Tool::React => annotations
            .destructive(false)
            .idempotent(true)
            .open_world(true),
    });
    // Claude Code would otherwise show only the name until the model searches for it (clients.md 1).
    let mut meta = MetaObject::new();
    meta.0
        .insert("anthropic/alwaysLoad".to_owned(), true.into());
    wire.meta = Some(meta);
    wire
}

/// A schema in one piece, without references, which not every client follows.
fn schema<T: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    for key in ["title", "description"] {
        schema.remove(key);
    }
    let mut schema = schema.to_value();
    plain(&mut schema);
    schema.as_object().cloned().unwrap_or_default()
}

/// Takes out what only generators write: Rust's number formats, and "null by default" for what may
/// simply be left out.
fn plain(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            if object.contains_key("type") {
                object
                    .retain(|key, value| key != "format" && !(key == "default" && value.is_null()));
            }
            object.values_mut().for_each(plain);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(plain),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Says when the client has closed our stdin: then nobody waits for an answer any more.
pub(super) struct EofReader<R> {
    pub(super) reader: R,
    pub(super) closing: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for EofReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(context, buffer);
        let ended = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.closing.cancel();
        }
        read
    }
}

/// What is done about an answer before it is complete.
pub(super) type Note = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Holds the newline of an answer back until it is noted on disk what the answer has shown: whoever
/// has read the whole line can rely on it, and a kill before leaves at most a line that has no end.
pub(super) struct AnswerWriter<W, F> {
    writer: W,
    note: F,
    /// The line that is being written, without its newline.
    line: Vec<u8>,
    noting: Option<Note>,
}

#[derive(Deserialize)]
struct AnswerLine {
    id: RequestId,
}

impl<W, F> AnswerWriter<W, F> {
    pub(super) fn new(writer: W, note: F) -> Self {
        Self {
            writer,
            note,
            line: Vec::new(),
            noting: None,
        }
    }
}

impl<W: AsyncWrite + Unpin, F: Fn(RequestId) -> Option<Note> + Unpin> AsyncWrite
    for AnswerWriter<W, F>
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        if newline != Some(0) {
            let (before, _) = bytes.split_at(newline.unwrap_or(bytes.len()));
            let written = ready!(Pin::new(&mut this.writer).poll_write(context, before))?;
            let (written_bytes, _) = before.split_at(written);
            this.line.extend_from_slice(written_bytes);
            return Poll::Ready(Ok(written));
        }
        if this.noting.is_none() && !this.line.is_empty() {
            // What has no id is a notification, which shows nothing.
            let answer = serde_json::from_slice::<AnswerLine>(&this.line);
            this.line.clear();
            this.noting = answer.ok().and_then(|answer| (this.note)(answer.id));
        }
        if let Some(noting) = &mut this.noting {
            ready!(noting.as_mut().poll(context));
            this.noting = None;
        }
        let (end, _) = bytes.split_at(1);
        let written = ready!(Pin::new(&mut this.writer).poll_write(context, end))?;
        mark_step(Step::Answer, Side::After);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_newline_waits_for_the_note() {
        let (writer, mut reader) = tokio::io::duplex(1024);
        let (done, noted) = tokio::sync::oneshot::channel::<()>();
        let noted = std::sync::Mutex::new(Some(noted));
        let mut writer = AnswerWriter::new(writer, move |_| {
            let noted = noted.lock().unwrap().take()?;
            Some(Box::pin(async move { drop(noted.await) }) as Note)
        });
        let answer = b"{\"id\":1,\"result\":{}}\n{\"method\":\"x\"}\n";
        let mut writing = begin(writer.write_all(answer));
        assert!(writing.is_pending());
        let mut read = vec![0; 20];
        reader.read_exact(&mut read).await.unwrap();
        assert_eq!(read, b"{\"id\":1,\"result\":{}}");
        done.send(()).unwrap();
        writing.finish().await;
        let mut rest = vec![0; answer.len() - 20];
        reader.read_exact(&mut rest).await.unwrap();
        assert_eq!([read, rest].concat(), answer);
    }

    /// A future that is polled once and finished later.
    struct Begun<F>(Pin<Box<F>>, bool);

    fn begin<F: Future<Output = io::Result<()>>>(future: F) -> Begun<F> {
        let mut future = Box::pin(future);
        let waker = std::task::Waker::noop();
        let pending = future
            .as_mut()
            .poll(&mut Context::from_waker(waker))
            .is_pending();
        Begun(future, pending)
    }

    impl<F: Future<Output = io::Result<()>>> Begun<F> {
        fn is_pending(&self) -> bool {
            self.1
        }

        async fn finish(&mut self) {
            self.0.as_mut().await.unwrap();
        }
    }
}
