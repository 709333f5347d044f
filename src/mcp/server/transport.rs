//! The lines between the client and this server: memory is bounded, and every request is answered.
//!
//! While [`WAITING_MAX`] bytes wait to go out, no input is read: a client that does not read its answers
//! stops, and not this server's memory. The end of the input is noticed all the same.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, ClientRequest, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::{StdioReader, StdioWriter, Transport};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::lines::{ClientLine, Unusable, read_line};
use crate::store::crash_points::{Side, Step, mark_step};

/// How much may wait to go out before no more input is read.
const WAITING_MAX: usize = 8 * 1024 * 1024;
/// The bytes that a request counts until it is answered: as many as a result may have.
const REQUEST: usize = 16 * 1024;
/// The longest line that is read.
const LINE_MAX: usize = 16 * 1024 * 1024;
/// How much is kept of each end of a longer line, to find its id.
const KEPT: usize = 64 * 1024;

pub(super) struct LineTransport {
    reader: BufReader<StdioReader>,
    /// The line that is being read.
    line: Vec<u8>,
    is_too_long: bool,
    outgoing: Arc<Outgoing>,
    queue: mpsc::UnboundedSender<OutgoingLine>,
    /// The requests that are neither answered nor cancelled.
    under_way: HashSet<RequestId>,
    greeted: bool,
    /// Cancelled when no client is left.
    closing: CancellationToken,
}

/// The lines that wait to go out.
#[derive(Default)]
struct Outgoing {
    bytes: AtomicUsize,
    changed: Notify,
}

struct OutgoingLine {
    bytes: Vec<u8>,
    /// The request that it answers.
    id: Option<RequestId>,
}

impl LineTransport {
    /// The transport, and the writing of its lines, which tells of each answer that is in the client's pipe.
    pub(super) fn new(
        (reader, writer): (StdioReader, StdioWriter),
        closing: CancellationToken,
        on_flushed: impl Fn(RequestId) + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let outgoing = Arc::<Outgoing>::default();
        let (queue, lines) = mpsc::unbounded_channel();
        let transport = Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            is_too_long: false,
            outgoing: Arc::clone(&outgoing),
            queue,
            under_way: HashSet::new(),
            greeted: false,
            closing: closing.clone(),
        };
        let writing = async move {
            let ended = write_lines(writer, lines, &outgoing, on_flushed).await;
            tracing::info!(?ended, "the client no longer reads answers");
            closing.cancel();
            outgoing.bytes.store(0, Ordering::Relaxed);
            outgoing.changed.notify_one();
            // The calls that are under way have a moment to end.
            std::future::pending::<()>().await;
        };
        (transport, writing)
    }

    fn push(&self, message: &impl serde::Serialize, id: Option<RequestId>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        let length = bytes.len();
        let sent = self.queue.send(OutgoingLine { bytes, id });
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.outgoing.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until input may be read. `false` if the client has gone meanwhile.
    async fn wait_for_room(&self) -> bool {
        let is_full = || {
            let waiting = self.outgoing.bytes.load(Ordering::Relaxed);
            waiting + self.under_way.len() * REQUEST > WAITING_MAX
        };
        while is_full() {
            tokio::select! {
                // Cancel-safe: both only look.
                () = self.outgoing.changed.notified() => {}
                () = wait_for_hangup() => return false,
            }
        }
        true
    }

    /// Reads on to the end of a line. `false` at the end of the input. Cancel-safe: what was read is kept.
    async fn read_on(&mut self) -> bool {
        loop {
            let available = match self.reader.fill_buf().await {
                Ok([]) | Err(_) => return false,
                Ok(available) => available,
            };
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            self.line
                .extend_from_slice(available.get(..taken).unwrap_or_default());
            self.reader.consume(taken);
            if self.line.len() > LINE_MAX || (self.is_too_long && self.line.len() > 4 * KEPT) {
                self.is_too_long = true;
                self.line.drain(KEPT..self.line.len() - KEPT);
            }
            if newline.is_some() {
                return true;
            }
        }
    }

    /// Takes the line that was read. `None` if it holds nothing to be carried out.
    fn take_line(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let line = std::mem::take(&mut self.line);
        let read = if std::mem::take(&mut self.is_too_long) {
            ClientLine::Unusable(vec![Unusable::too_long(&line)])
        } else {
            read_line(&line)
        };
        let message = match read {
            ClientLine::Message(message) => *message,
            ClientLine::Ignored => return None,
            ClientLine::Unusable(all) => {
                for one in all {
                    let answered = one.answer().map(|answer| self.push(&answer, None));
                    tracing::warn!(
                        kind = one.kind,
                        bytes = line.len(),
                        answered = answered.is_some(),
                        "a line from the client is not a request"
                    );
                }
                return None;
            }
        };
        match &message {
            JsonRpcMessage::Request(request) => {
                self.greeted |= matches!(request.request, ClientRequest::InitializeRequest(_));
                self.under_way.insert(request.id.clone());
            }
            // Before the handshake, rmcp would end at it.
            _ if !self.greeted => return None,
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.under_way.remove(id);
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        Some(message)
    }
}

impl Transport<RoleServer> for LineTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let id = match &message {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        if let Some(id) = &id {
            self.under_way.remove(id);
        }
        std::future::ready(self.push(&message, id))
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let goes_on = self.wait_for_room().await && self.read_on().await;
            if !goes_on {
                self.closing.cancel();
                if self.line.is_empty() {
                    return None;
                }
            }
            // The last line may have no end.
            if let Some(message) = self.take_line() {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        while self.outgoing.bytes.load(Ordering::Relaxed) > 0 {
            self.outgoing.changed.notified().await;
        }
        Ok(())
    }
}

async fn write_lines(
    mut writer: StdioWriter,
    mut lines: mpsc::UnboundedReceiver<OutgoingLine>,
    outgoing: &Outgoing,
    on_flushed: impl Fn(RequestId),
) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        writer.write_all(&line.bytes).await?;
        // In the same turn of the one thread: no later request of the client is read before this.
        if let Some(id) = line.id {
            on_flushed(id);
        }
        mark_step(Step::Answer, Side::After);
        writer.flush().await?;
        outgoing
            .bytes
            .fetch_sub(line.bytes.len(), Ordering::Relaxed);
        outgoing.changed.notify_one();
    }
    Ok(())
}

/// Waits until the client has closed our stdin, without reading from it. Where that cannot be seen, for ever.
#[expect(
    deprecated,
    reason = "the safe constructor; the descriptor is owned, so it stays what it is"
)]
async fn wait_for_hangup() {
    let watched = io::stdin().as_fd().try_clone_to_owned();
    let watched = watched.and_then(|stdin| AsyncFd::with_interest(stdin, Interest::READABLE));
    while let Ok(watched) = &watched {
        let Ok(mut ready) = watched.readable().await else {
            break;
        };
        if ready.ready().is_read_closed() {
            return;
        }
        ready.clear_ready();
    }
    std::future::pending::<()>().await;
}
