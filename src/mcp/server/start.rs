//! Makes sure that a gateway runs, and tells the agent if none does.

use std::sync::Arc;

use super::Shared;

impl Shared {
    pub(super) fn gateway_runs(&self) -> bool {
        self.served()
            .is_some_and(|served| served.gateway.is_running())
    }

    /// Makes sure that a gateway runs, and returns what the agent should know if none does or a bot is ill.
    pub(super) async fn gateway_notices(self: &Arc<Self>) -> Vec<String> {
        let notice = self.blocking(|served| {
            served.gateway.ensure_running();
            Ok(if served.gateway.is_running() {
                served.mailbox.bot_problem()
            } else {
                Some(served.gateway.absence_notice())
            })
        });
        notice.await.ok().flatten().into_iter().collect()
    }

    pub(super) async fn ensure_gateway(self: &Arc<Self>) {
        let ensured = self.blocking(|served| {
            served.gateway.ensure_running();
            Ok(())
        });
        // A server with a broken configuration starts no gateway.
        drop(ensured.await);
    }
}
