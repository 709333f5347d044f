//! The thread that owns the socket: it accepts, serves, and can be told to stop listening or to drop everyone.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::http;
use crate::shared::Shared;

enum Command {
    /// Closes the listener and all connections: from now on connections are refused.
    Pause(Sender<io::Result<()>>),
    /// Listens again on the same port.
    Resume(Sender<io::Result<()>>),
    /// Drops all connections.
    Sever(Sender<io::Result<()>>),
    Stop,
}

/// The running server; stopped and joined when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<Self> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (commands, inbox) = unbounded_channel();
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("telegram-sim".to_owned())
            .spawn(move || runtime.block_on(run(shared, listener, address, inbox)))?;
        Ok(Self {
            address,
            commands,
            thread: Some(thread),
        })
    }

    pub(crate) fn pause(&self) -> io::Result<()> {
        self.command(Command::Pause)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        self.command(Command::Resume)
    }

    pub(crate) fn sever(&self) -> io::Result<()> {
        self.command(Command::Sever)
    }

    /// Gives a command and waits until it is carried out.
    fn command(&self, command: impl FnOnce(Sender<io::Result<()>>) -> Command) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (done, wait) = std::sync::mpsc::channel();
        self.commands.send(command(done)).map_err(|_| gone())?;
        wait.recv().map_err(|_| gone())?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the thread has ended by itself, and then there is nothing left to stop.
        drop(self.commands.send(Command::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The standard library sets `SO_REUSEADDR`, so a port can be taken again at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut listener = tokio::net::TcpListener::from_std(listener).ok();
    let mut connections = JoinSet::new();
    loop {
        // Every arm may be dropped: accepting, receiving and joining lose nothing when they are not ready.
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Pause(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    drop(done.send(Ok(())));
                }
                Some(Command::Resume(done)) => {
                    let again = listen(address).and_then(tokio::net::TcpListener::from_std);
                    drop(done.send(again.map(|new| listener = Some(new))));
                }
                Some(Command::Sever(done)) => {
                    connections.shutdown().await;
                    drop(done.send(Ok(())));
                }
                Some(Command::Stop) | None => break,
            },
            accepted = accept(listener.as_ref()) => {
                if let Ok(stream) = accepted {
                    connections.spawn(serve(Arc::clone(&shared), stream));
                }
            }
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn accept(listener: Option<&tokio::net::TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// How an answer tells its connection to end.
#[derive(Default)]
struct Ending {
    now: Notify,
    reset: AtomicBool,
}

/// Serves one connection until it ends, or until an answer says that it shall end.
async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    drop(stream.set_nodelay(true));
    let ending = Arc::new(Ending::default());
    let asked = Arc::clone(&ending);
    let service = service_fn(move |request| {
        let (shared, ending) = (Arc::clone(&shared), Arc::clone(&asked));
        async move {
            match http::answer(&shared, request).await.into_response() {
                Ok(response) => Ok::<_, Infallible>(response),
                Err(reset) => {
                    ending.reset.store(reset, Ordering::SeqCst);
                    ending.now.notify_one();
                    std::future::pending().await
                }
            }
        }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that breaks its connection is nothing to report.
        _ended = &mut connection => return,
        () = ending.now.notified() => {}
    }
    let stream = connection.into_parts().io.into_inner();
    if ending.reset.load(Ordering::SeqCst) {
        drop(stream.set_zero_linger());
    }
}
