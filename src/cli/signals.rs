//! Stop signals.

use std::task::Poll;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` at the first stop signal, returns at the second. The streams are registered by the call
/// itself, not by the first poll: a signal may come as soon as the gateway is seen at work.
pub(super) fn stop_on_signal(stop: CancellationToken) -> impl Future<Output = ()> {
    let mut streams = Vec::new();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        match signal(kind) {
            Ok(stream) => streams.push(stream),
            Err(error) => tracing::warn!(%error, "cannot listen for a stop signal"),
        }
    }
    let mut count = 0;
    std::future::poll_fn(move |context| {
        for stream in &mut streams {
            while stream.poll_recv(context).is_ready() {
                count += 1;
                stop.cancel();
            }
        }
        if count >= 2 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}
