//! Everything on the wire besides results: the tools' descriptions, and the end of the input.

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
    // Claude Code would otherwise show only the name until the model searches for it (docs/facts/clients.md 1).
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

/// Takes out what only generators write: Rust's number formats, and "null", also by default, for what may
/// simply be left out.
fn plain(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(serde_json::Value::Array(types)) = object.get("type")
                && let [one, serde_json::Value::String(null)] = types.as_slice()
                && null == "null"
            {
                object["type"] = one.clone();
            }
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

/// Says when the client has closed our stdin: then no client waits for an answer.
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

/// Tells which answers are in the client's pipe, from the first byte to the newline.
pub(super) struct ResultWriter<W, F> {
    writer: W,
    on_flushed: F,
    /// The line that is being written.
    line: Vec<u8>,
}

#[derive(Deserialize)]
struct AnswerLine {
    id: RequestId,
}

impl<W, F: Fn(RequestId)> ResultWriter<W, F> {
    pub(super) fn new(writer: W, on_flushed: F) -> Self {
        Self {
            writer,
            on_flushed,
            line: Vec::new(),
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                continue;
            }
            // A line without an id is a notification, which shows nothing.
            if let Ok(answer) = serde_json::from_slice::<AnswerLine>(&self.line) {
                (self.on_flushed)(answer.id);
            }
            self.line.clear();
            mark_step(Step::Answer, Side::After);
        }
    }
}

impl<W: AsyncWrite + Unpin, F: Fn(RequestId) + Unpin> AsyncWrite for ResultWriter<W, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.writer).poll_write(context, bytes))?;
        let (done, _) = bytes.split_at(written);
        // In the same turn of the one thread: no later request of the client is read before this.
        this.wrote(done);
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
    use std::sync::Mutex;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_flushed_when_its_whole_line_is_in_the_pipe() {
        let (pipe, _reader) = tokio::io::duplex(1024);
        let flushed = Mutex::new(Vec::new());
        let mut writer = ResultWriter::new(pipe, |id| flushed.lock().unwrap().push(id));
        writer.write_all(b"{\"id\":1,\"result\":{}}").await.unwrap();
        assert_eq!(flushed.lock().unwrap().len(), 0);
        writer
            .write_all(b"\n{\"method\":\"x\"}\n{\"id\":\"b\"}\n{")
            .await
            .unwrap();
        let ids = [RequestId::Number(1), RequestId::String("b".into())];
        assert_eq!(*flushed.lock().unwrap(), ids);
    }

    #[tokio::test]
    async fn an_answer_that_the_pipe_has_no_room_for_is_not_flushed() {
        let (pipe, _reader) = tokio::io::duplex(10);
        let flushed = Mutex::new(Vec::new());
        let mut writer = ResultWriter::new(pipe, |id| flushed.lock().unwrap().push(id));
        let write = writer.write_all(b"{\"id\":1,\"result\":{}}\n");
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(10), write).await;
        assert!(waiting.is_err() && flushed.lock().unwrap().is_empty());
    }
}
