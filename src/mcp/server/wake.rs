//! Being found and being woken: when this server registers, that a call is under way, and the
//! requests of the gateway to wake the agent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Shared;
use crate::error_chain::Chain;
use crate::state::agents::ClientName;
use crate::state::wake_requests::CallMarker;
use crate::store::watch::{Interest, NameWatch};
use crate::waker::InboxSocket;

/// How often a request is looked for where folders cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(2);

/// How the agent of this server can be woken.
#[derive(Debug)]
pub(crate) struct Waking {
    /// Whether this session was chosen explicitly: then its agent may be woken before its first call.
    pub(crate) explicit: bool,
    /// The inbox socket of the client's session, taken by the one who listens.
    pub(crate) socket: Mutex<Option<InboxSocket>>,
    /// The calls that are under way.
    pub(crate) calls: Mutex<CallMarker>,
}

/// A call that is under way, until it is dropped.
pub(super) struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(served) = self.0.served() {
            let calls = served.waking.calls.lock();
            let mut calls = calls.unwrap_or_else(PoisonError::into_inner);
            calls.end(self.0.clock.now());
        }
        self.0.called.notify_one();
    }
}

impl Shared {
    /// Shows the gateway that the agent is at work.
    pub(super) fn call_begins(self: &Arc<Self>) -> UnderWay {
        if let Some(served) = self.served() {
            let calls = served.waking.calls.lock();
            calls.unwrap_or_else(PoisonError::into_inner).begin();
        }
        UnderWay(Arc::clone(self))
    }

    /// Makes this server known. If its session came by `default`, its agent might be any window of a client that
    /// has us everywhere: `status` shows it, and it is woken only once it has called.
    pub(super) async fn register(self: &Arc<Self>, client: Option<ClientName>) {
        let Some(is_explicit) = self.served().map(|served| served.waking.explicit) else {
            return;
        };
        let registered = self
            .blocking(move |served| served.mailbox.register(client))
            .await;
        match registered {
            Ok(()) if is_explicit => self.called.notify_one(),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot register; the agent is woken only after its first call");
            }
        }
    }

    /// Carries out the gateway's requests, once this server is registered. Without a socket there is
    /// nothing to listen for.
    pub(super) async fn listen(self: &Arc<Self>) {
        self.called.notified().await;
        let listener = self.served().and_then(|served| {
            let socket = served.waking.socket.lock();
            let socket = socket.unwrap_or_else(PoisonError::into_inner).take();
            socket.map(|socket| served.mailbox.listener(socket))
        });
        let Some(mut listener) = listener else {
            return std::future::pending().await;
        };
        let path = listener.path();
        let own = move |changed: &std::path::Path, gone: bool| {
            if changed == path && !gone {
                Interest::Name
            } else {
                Interest::None
            }
        };
        let watch = NameWatch::new(&[listener.folder()], &self.clock, own);
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                let looked = listener.carry_out();
                (listener, looked)
            });
            let Ok((again, looked)) = looked.await else {
                tracing::error!("a request to wake the agent panicked");
                return std::future::pending().await;
            };
            listener = again;
            if let Err(error) = looked {
                tracing::warn!(error = %Chain(&error), "cannot answer a request to wake the agent");
            }
            if watch.news().all {
                self.clock.sleep(UNWATCHED).await;
            } else {
                watch.changed().await;
            }
        }
    }
}
