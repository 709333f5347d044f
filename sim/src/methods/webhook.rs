//! Webhooks: set, deleted and reported. Nothing is delivered to them.

use serde_json::{Value, json};

use super::Context;
use crate::answer::{Answer, Refusal, Verdict};
use crate::state::{Wake, Webhook};

const PORTS: &[u16] = &[80, 88, 443, 8443];

pub(super) fn set(context: &mut Context<'_>) -> Verdict {
    let url = context.params.text("url").unwrap_or_default();
    if url.is_empty() {
        return delete(context);
    }
    let parsed = url::Url::parse(&url)
        .map_err(|_| Refusal::bad("bad webhook: invalid webhook URL specified"))?;
    if parsed.scheme() != "https" {
        return Err(Refusal::bad(
            "bad webhook: An HTTPS URL must be provided for webhook",
        ));
    }
    if !parsed
        .port_or_known_default()
        .is_some_and(|port| PORTS.contains(&port))
    {
        return Err(Refusal::bad(
            "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        ));
    }
    let secret = context.params.text("secret_token").unwrap_or_default();
    let plain = |symbol: char| symbol.is_ascii_alphanumeric() || matches!(symbol, '_' | '-');
    if secret.len() > 256 || !secret.chars().all(plain) {
        return Err(Refusal::bad("secret token contains unallowed characters"));
    }
    let allowed = context.params.nested("allowed_updates").unwrap_or(None);
    let drop_pending = context.params.flag("drop_pending_updates");
    let max_connections = context
        .params
        .int("max_connections")
        .unwrap_or(40)
        .clamp(1, 100);
    let now_ms = context.now_ms;
    let bot = context.me()?;
    if bot.webhook_set_ms.is_some_and(|at| now_ms < at + 1_000) {
        return Err(Refusal::too_many(1));
    }
    bot.webhook_set_ms = Some(now_ms);
    bot.allow(allowed.as_ref());
    if drop_pending {
        bot.queue.clear();
    }
    bot.webhook = Some(Webhook {
        url,
        max_connections,
    });
    bot.wake(Wake::Aborted {
        refusal: Refusal::new(409, "Conflict: terminated by setWebhook request"),
        delay_ms: 0,
    });
    Ok(Answer::Noted(Value::Bool(true), "Webhook was set"))
}

pub(super) fn delete(context: &mut Context<'_>) -> Verdict {
    let drop_pending = context.params.flag("drop_pending_updates");
    let bot = context.me()?;
    if drop_pending {
        bot.queue.clear();
    }
    Ok(match bot.webhook.take() {
        Some(_) => Answer::Noted(Value::Bool(true), "Webhook was deleted"),
        None => Answer::Noted(Value::Bool(true), "Webhook is already deleted"),
    })
}

pub(super) fn info(context: &mut Context<'_>) -> Verdict {
    let now = context.now();
    let bot = context.me()?;
    let mut info = json!({
        "url": bot.webhook.as_ref().map_or("", |webhook| webhook.url.as_str()),
        "has_custom_certificate": false,
        "pending_update_count": bot.queue.waiting(now),
    });
    crate::render::put(
        &mut info,
        "max_connections",
        bot.webhook.as_ref().map(|hook| hook.max_connections.into()),
    );
    crate::render::put(
        &mut info,
        "allowed_updates",
        bot.allowed.as_ref().map(|kinds| json!(kinds)),
    );
    Ok(Answer::Result(info))
}
