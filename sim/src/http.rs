//! Requests: from path, query and body to a call.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::answer::Refusal;
use crate::params::{Params, Upload};
use crate::reply::Reply;
use crate::shared::Shared;
use crate::{api, control};

/// Room for the largest upload that some test may want to see refused by its own rule.
const MAX_BODY: usize = 80 << 20;

/// Answers one request.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Reply::refusal(&Refusal::new(413, "Request Entity Too Large"));
    };
    let path = head.uri.path().to_owned();
    if path.starts_with("/sim/") {
        return control::answer(
            shared,
            &head.method,
            &path,
            head.uri.query().unwrap_or(""),
            &body.to_bytes(),
        );
    }
    if let Some((token, file)) = path
        .strip_prefix("/file/bot")
        .and_then(|rest| rest.split_once('/'))
    {
        return api::download(shared, &decode(token), &decode(file)).await;
    }
    let Some((token, method)) = path
        .strip_prefix("/bot")
        .and_then(|rest| rest.split_once('/'))
    else {
        return Reply::refusal(&Refusal::not_found());
    };
    if head.method != Method::GET && head.method != Method::POST {
        return Reply::refusal(&Refusal::new(405, "Method Not Allowed"));
    }
    let mut params = Params::default();
    params.add_form(head.uri.query().unwrap_or("").as_bytes());
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if let Err(refusal) = read_body(&mut params, content_type, body.to_bytes()).await {
        return Reply::refusal(&refusal);
    }
    api::call(shared, decode(token), &decode(method), params).await
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

async fn read_body(params: &mut Params, content_type: &str, body: Bytes) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => {
            let Ok(Value::Object(object)) = serde_json::from_slice(&body) else {
                return Err(Refusal::bad("can't parse request: JSON object expected"));
            };
            for (name, value) in object {
                params.set(name, value);
            }
        }
        "application/x-www-form-urlencoded" => params.add_form(&body),
        "multipart/form-data" => {
            let broken = |_| Refusal::bad("can't parse multipart/form-data");
            let boundary = multer::parse_boundary(content_type).map_err(broken)?;
            let mut parts = multer::Multipart::new(BodyDataStream::new(Full::new(body)), boundary);
            while let Some(part) = parts.next_field().await.map_err(broken)? {
                read_part(params, part).await.map_err(broken)?;
            }
        }
        // The real server reads no parameters out of other bodies.
        _ => {}
    }
    Ok(())
}

async fn read_part(params: &mut Params, part: multer::Field<'_>) -> Result<(), multer::Error> {
    let name = part.name().unwrap_or_default().to_owned();
    let mime_type = part.content_type().map(ToString::to_string);
    if let Some(file_name) = part.file_name().map(str::to_owned) {
        let bytes = part.bytes().await?;
        params.set_file(
            name,
            Upload {
                file_name,
                mime_type,
                bytes,
            },
        );
    } else {
        params.set(name, Value::String(part.text().await?));
    }
    Ok(())
}
