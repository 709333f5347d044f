//! Making sure that a gateway runs, and what the agent should know if none does.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Shared;
use crate::config::GatewayStart;
use crate::launch::Started;
use crate::mcp::tools::Refusal;
use crate::state::gateway_status;

/// How long after a failed start of the gateway the next is tried.
const START_AGAIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Starts {
    last: Option<tokio::time::Instant>,
    notice: Option<String>,
}

impl Shared {
    pub(super) fn gateway_runs(&self) -> bool {
        self.served
            .as_ref()
            .is_ok_and(|served| gateway_status::is_running(&served.state).unwrap_or(true))
    }

    /// Makes sure that a gateway runs, and says what the agent should know if none does.
    pub(super) async fn gateway_notices(self: &Arc<Self>) -> Vec<String> {
        self.ensure_gateway().await;
        if self.gateway_runs() {
            let trouble = self.blocking(|served| Ok(served.mailbox.trouble()));
            return trouble.await.ok().flatten().into_iter().collect();
        }
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        vec![starts.notice.clone().unwrap_or_else(|| {
            "No gateway runs, so nothing arrives and nothing leaves. What you send is stored and goes out when the person runs `telepost gateway`.".to_owned()
        })]
    }

    pub(super) async fn ensure_gateway(self: &Arc<Self>) {
        let Ok(served) = &self.served else { return };
        if served.start == GatewayStart::Manual || self.gateway_runs() {
            return;
        }
        {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.instant();
            if starts
                .last
                .is_some_and(|last| now.duration_since(last) < START_AGAIN)
            {
                return;
            }
            starts.last = Some(now);
            starts.notice = None;
        }
        let started = self
            .blocking(|served| {
                served
                    .launch
                    .start()
                    .map_err(|error| Refusal(format!("it could not be started: {error}")))
            })
            .await;
        let notice = match started {
            Ok(Started::Ready) => None,
            Ok(Started::Silent) => Some("The gateway was started and is not ready yet; messages arrive and leave as soon as it is.".to_owned()),
            Ok(Started::Ended { words, .. }) | Err(Refusal(words)) => Some(words),
        };
        if let Some(words) = notice {
            tracing::warn!(words, "the gateway did not start");
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            starts.notice = Some(format!(
                "No gateway runs, so nothing arrives and nothing leaves (what you send is stored). {words}"
            ));
        }
    }
}
