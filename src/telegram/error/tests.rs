use super::*;

fn decision(status: u16, header: Option<&str>, body: &str) -> FailureDecision {
    read_answer(status, header, body.as_bytes())
        .unwrap_err()
        .decision()
}

#[test]
fn the_wait_of_a_429_is_found_wherever_the_server_puts_it() {
    let wait = |seconds| FailureDecision::RateLimit(Duration::from_secs_f64(seconds));
    for (header, parameters, expected) in [
        (None, r#","parameters":{"retry_after":7}"#, wait(7.0)),
        (
            None,
            r#","parameters":{"retry_after":7.5,"extra":1}"#,
            wait(7.5),
        ),
        (
            None,
            r#","parameters":{"retry_after":86400}"#,
            wait(86400.0),
        ),
        (Some("9"), r#","parameters":{}"#, wait(9.0)),
        (Some("9"), "", wait(9.0)),
        (None, r#","parameters":{"retry_after":"12"}"#, wait(12.0)),
        (None, r#","parameters":{"retry_after":0}"#, wait(1.0)),
        (
            Some("soon"),
            r#","parameters":{"retry_after":-1}"#,
            wait(30.0),
        ),
        (None, "", wait(30.0)),
    ] {
        let body = format!(
            r#"{{"ok":false,"error_code":429,"description":"Too Many Requests: retry after"{parameters}}}"#
        );
        assert_eq!(decision(429, header, &body), expected, "{body}");
    }
    let in_words =
        r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7200"}"#;
    assert_eq!(decision(429, None, in_words), wait(7200.0));
    assert_eq!(decision(429, Some("5"), "<html>busy</html>"), wait(5.0));
}

/// docs/facts/telegram.md 9.
const TABLE: &[(u16, &str, FailureDecision)] = {
    use FailureDecision::{
        ChatBlocked, Fail, Repair as By, Retry, RetryMarked, StopBot, TopicClosed, TreatAsDone,
    };
    &[
        (500, "Internal Server Error: restart", RetryMarked),
        (502, "Bad Gateway", RetryMarked),
        (401, "Unauthorized", StopBot),
        (401, "Unauthorized: invalid token specified", StopBot),
        (404, "Not Found", StopBot),
        (421, "Misdirected Request", StopBot),
        (
            409,
            "Conflict: terminated by other getUpdates request",
            Retry,
        ),
        (
            400,
            "Bad Request: message is not modified: specified new message content and reply markup are exactly the same",
            TreatAsDone,
        ),
        (400, "Bad Request: message to delete not found", TreatAsDone),
        (400, "Bad Request: TOPIC_NOT_MODIFIED", TreatAsDone),
        (
            400,
            "Bad Request: query is too old and response timeout expired or query ID is invalid",
            TreatAsDone,
        ),
        (
            400,
            "Bad Request: can't parse entities: Unsupported start tag",
            By(Repair::Plain),
        ),
        (400, "Bad Request: ENTITY_BOUNDS_INVALID", By(Repair::Plain)),
        (
            400,
            "Bad Request: PHOTO_INVALID_DIMENSIONS",
            By(Repair::AsDocuments),
        ),
        (
            400,
            "Bad Request: failed to send message #2 with the error message \"IMAGE_PROCESS_FAILED\"",
            By(Repair::AsDocuments),
        ),
        (
            400,
            "Bad Request: failed to send message #1 with the error message \"Wrong file identifier/HTTP URL specified\"",
            By(Repair::Apart),
        ),
        (400, "Bad Request: group send failed", By(Repair::Apart)),
        (
            400,
            "Bad Request: message caption is too long",
            By(Repair::Split),
        ),
        (400, "Bad Request: message is too long", By(Repair::Split)),
        (400, "Bad Request: MESSAGE_TOO_LONG", By(Repair::Split)),
        (
            400,
            "Bad Request: message to be replied not found",
            By(Repair::WithoutReply),
        ),
        (
            400,
            "Bad Request: message thread not found",
            By(Repair::WithoutTopic),
        ),
        (400, "Bad Request: TOPIC_DELETED", By(Repair::WithoutTopic)),
        (
            400,
            "Bad Request: message to edit not found",
            By(Repair::NewMessage),
        ),
        (
            400,
            "Bad Request: message can't be edited",
            By(Repair::NewMessage),
        ),
        (403, "Forbidden: bot was blocked by the user", ChatBlocked),
        (403, "Forbidden: user is deactivated", ChatBlocked),
        (
            403,
            "Forbidden: bot was kicked from the supergroup chat",
            ChatBlocked,
        ),
        (
            403,
            "Forbidden: bot is not a member of the channel chat",
            ChatBlocked,
        ),
        (403, "Forbidden: the group chat was deleted", ChatBlocked),
        (
            403,
            "Forbidden: bot can't initiate conversation with a user",
            ChatBlocked,
        ),
        (
            403,
            "Forbidden: the bot can't send messages to the bot",
            ChatBlocked,
        ),
        (400, "Bad Request: chat not found", ChatBlocked),
        (400, "Bad Request: PEER_ID_INVALID", ChatBlocked),
        (
            400,
            "Bad Request: have no rights to send a message",
            ChatBlocked,
        ),
        (
            400,
            "Bad Request: not enough rights to send text messages to the chat",
            ChatBlocked,
        ),
        (400, "Bad Request: TOPIC_CLOSED", TopicClosed),
        (400, "Bad Request: message text is empty", Fail),
        (400, "Bad Request: BUTTON_DATA_INVALID", Fail),
        (400, "Bad Request: REACTION_INVALID", Fail),
        (400, "Bad Request: message to react not found", Fail),
        (400, "Bad Request: file is too big", Fail),
        (413, "Request Entity Too Large", Fail),
        (
            400,
            "Bad Request: wrong file identifier/HTTP URL specified",
            By(Repair::Apart),
        ),
        (404, "Not Found: method not found", Fail),
        (400, "Bad Request: REACTIONS_TOO_MANY", Retry),
    ]
};

#[test]
fn every_row_of_the_error_table_has_its_decision() {
    for (code, description, expected) in TABLE {
        // Descriptions are matched without regard to case.
        for description in [(*description).to_owned(), description.to_uppercase()] {
            let error = ApiError::Refused {
                code: *code,
                description,
                retry_after: None,
                migrate_to: None,
            };
            assert_eq!(error.decision(), *expected, "{error}");
        }
    }
    let migrated = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1001234567890123}}"#;
    assert_eq!(
        decision(400, None, migrated),
        FailureDecision::Migrate(ChatId(-1_001_234_567_890_123))
    );
}

#[test]
fn every_class_of_failure_has_its_decision() {
    for (status, body, expected) in [
        (
            401,
            r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#,
            FailureDecision::StopBot,
        ),
        (
            404,
            r#"{"ok":false,"error_code":404,"description":"Not Found"}"#,
            FailureDecision::StopBot,
        ),
        (
            404,
            r#"{"ok":false,"error_code":404,"description":"Not Found: method not found"}"#,
            FailureDecision::Fail,
        ),
        (
            500,
            r#"{"ok":false,"error_code":500,"description":"Internal Server Error: restart"}"#,
            FailureDecision::RetryMarked,
        ),
        (
            502,
            "<html>Bad Gateway</html>",
            FailureDecision::RetryMarked,
        ),
        (200, "{\"ok\":tr", FailureDecision::RetryMarked),
        (
            302,
            "<html>Please log in to this network</html>",
            FailureDecision::RetryMarked,
        ),
        (
            403,
            "<html>Blocked by the proxy</html>",
            FailureDecision::RetryMarked,
        ),
        (
            413,
            "<html>Request Entity Too Large</html>",
            FailureDecision::Fail,
        ),
        (
            400,
            r#"{"ok":false,"error_code":400,"description":"Bad Request: message is not modified: x"}"#,
            FailureDecision::TreatAsDone,
        ),
        (
            403,
            r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#,
            FailureDecision::ChatBlocked,
        ),
    ] {
        assert_eq!(decision(status, None, body), expected, "{body}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_not_repeated_in_the_error() {
    let error = read_answer(502, None, b"<html>secret words</html>").unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn both_kinds_of_conflict_are_told_apart() {
    let conflict = |text: &str| {
        let body = format!(r#"{{"ok":false,"error_code":409,"description":"Conflict: {text}"}}"#);
        read_answer(409, None, body.as_bytes())
            .unwrap_err()
            .conflict()
    };
    assert_eq!(
        conflict("terminated by other getUpdates request"),
        Some(Conflict::OtherPoller)
    );
    assert_eq!(
        conflict("can't use getUpdates method while webhook is active"),
        Some(Conflict::Webhook)
    );
}
