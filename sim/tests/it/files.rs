use serde_json::{Value, json};

use crate::client::*;

/// Sends a multipart form: fields, and files as (field, file name, content).
fn upload(
    house: &House,
    method: &str,
    fields: &[(&str, &str)],
    files: &[(&str, &str, &[u8])],
) -> Answer {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .bytes(),
        );
    }
    for (name, file, content) in files {
        let head = format!(
            "--x\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: text/plain\r\n\r\n"
        );
        body.extend(head.bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--x--\r\n");
    let line = format!("POST /bot{TOKEN}/{method}");
    request(&house.sim, &line, "multipart/form-data; boundary=x", &body).unwrap()
}

fn get(house: &House, path: &str) -> Answer {
    request(&house.sim, &format!("GET {path}"), "", b"").unwrap()
}

#[test]
fn a_file_of_a_person_can_be_fetched_also_with_its_slash_encoded() {
    let house = house();
    house.sim.add_file("doc", "content");
    house
        .sim
        .message(house.bot)
        .chat(ANNA)
        .text("look")
        .document("doc", "a.txt", "text/plain")
        .send();
    let message = house.call("getUpdates", json!({})).result()[0]["message"].clone();
    assert_eq!(
        (&message["caption"], &message["document"]["file_size"]),
        (&json!("look"), &json!(7))
    );
    let file = house
        .call(
            "getFile",
            json!({ "file_id": message["document"]["file_id"] }),
        )
        .result();
    let path = file["file_path"].as_str().unwrap();
    for path in [path.to_owned(), path.replace('/', "%2F")] {
        assert_eq!(
            get(&house, &format!("/file/bot{TOKEN}/{path}")).body,
            b"content"
        );
    }
}

#[test]
fn a_file_above_twenty_mebibytes_is_too_big() {
    let house = house();
    house.sim.add_large_file("fits", 20 << 20);
    house.sim.add_large_file("big", (20 << 20) + 1);
    house.call("getFile", json!({ "file_id": "fits" })).result();
    assert_eq!(
        house.call("getFile", json!({ "file_id": "big" })).refusal(),
        "400 Bad Request: file is too big"
    );
}

#[test]
fn an_unknown_file_or_path_is_refused() {
    let house = house();
    assert_eq!(
        house.call("getFile", json!({ "file_id": "x" })).refusal(),
        "400 Bad Request: invalid file_id"
    );
    assert_eq!(
        get(&house, &format!("/file/bot{TOKEN}/nothing")).refusal(),
        "404 Not Found"
    );
    assert_eq!(
        get(&house, "/file/bot43:wrong/nothing").refusal(),
        "401 Unauthorized"
    );
}

#[test]
fn an_uploaded_document_is_stored() {
    let house = house();
    let fields = [("chat_id", "7"), ("caption", "the log")];
    let message = upload(
        &house,
        "sendDocument",
        &fields,
        &[("document", "log.txt", b"lines")],
    )
    .result();
    assert_eq!(message["caption"], "the log");
    assert_eq!(message["document"]["file_name"], "log.txt");
    assert_eq!(
        house
            .sim
            .file(message["document"]["file_id"].as_str().unwrap())
            .unwrap(),
        b"lines"
    );
    let call = house.sim.calls(house.bot).pop().unwrap();
    assert_eq!(
        call.params["document"],
        json!({ "file_name": "log.txt", "size": 5 })
    );
}

#[test]
fn an_upload_may_be_attached_by_name() {
    let house = house();
    let fields = [("chat_id", "7"), ("document", "attach://part")];
    let message = upload(
        &house,
        "sendDocument",
        &fields,
        &[("part", "log.txt", b"lines")],
    )
    .result();
    assert_eq!(message["document"]["file_size"], 5);
}

/// The head of a PNG, which is all that is looked at.
fn png(width: u32, height: u32) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], &sides].concat()
}

fn photo(house: &House, content: &[u8]) -> Answer {
    let file = [("photo", "a.png", content)];
    upload(house, "sendPhoto", &[("chat_id", "7")], &file)
}

#[test]
fn a_photo_is_a_list_of_sizes() {
    let house = house();
    let message = photo(&house, &png(640, 480)).result();
    assert!(message["photo"][0]["file_id"].is_string());
}

#[test]
fn a_photo_is_a_picture_that_is_neither_too_large_nor_too_narrow() {
    let house = house();
    photo(&house, &png(5000, 5000)).result();
    photo(&house, &png(20, 400)).result();
    for (content, refusal) in [
        (b"text".to_vec(), "400 Bad Request: IMAGE_PROCESS_FAILED"),
        (png(5000, 5001), "400 Bad Request: PHOTO_INVALID_DIMENSIONS"),
        (png(20, 401), "400 Bad Request: PHOTO_INVALID_DIMENSIONS"),
    ] {
        assert_eq!(photo(&house, &content).refusal(), refusal);
    }
}

#[test]
fn the_sizes_of_jpeg_and_webp_are_found() {
    let house = house();
    let jpeg = |width: u16| {
        let frame = [&b"\xff\xc0\0\x11\x08\0\x0a"[..], &width.to_be_bytes()].concat();
        [&b"\xff\xd8\xff\xe0\0\x04ab"[..], &frame, b"\x03"].concat()
    };
    let webp = |width: u32| {
        let bits = (width - 1) | 9 << 14;
        let chunk = [&b"VP8L\0\0\0\0\x2f"[..], &bits.to_le_bytes()].concat();
        [&b"RIFF\0\0\0\0WEBP"[..], &chunk].concat()
    };
    for content in [jpeg(200), webp(200)] {
        photo(&house, &content).result();
    }
    for content in [jpeg(201), webp(201)] {
        let refusal = photo(&house, &content).refusal();
        assert_eq!(refusal, "400 Bad Request: PHOTO_INVALID_DIMENSIONS");
    }
}

#[test]
fn webp_goes_as_a_document_alone_and_into_no_album_of_documents() {
    let house = house();
    let webp = b"RIFF\0\0\0\0WEBP";
    let alone = [("document", "a.webp", &webp[..])];
    upload(&house, "sendDocument", &[("chat_id", "7")], &alone).result();
    let item = |name: &str| json!({ "type": "document", "media": format!("attach://{name}") });
    let media = json!([item("a"), item("b")]).to_string();
    let fields = [("chat_id", "7"), ("media", media.as_str())];
    let files = [("a", "a.txt", &b"text"[..]), ("b", "b.webp", webp)];
    let answer = upload(&house, "sendMediaGroup", &fields, &files);
    assert!(answer.refusal().contains("failed to send message #2"));
}

#[test]
fn a_caption_has_1024_code_points() {
    let house = house();
    let send = |count: usize| {
        let caption = "\u{1F600}".repeat(count);
        upload(
            &house,
            "sendDocument",
            &[("chat_id", "7"), ("caption", &caption)],
            &[("document", "a", b"a")],
        )
    };
    send(1024).result();
    assert_eq!(
        send(1025).refusal(),
        "400 Bad Request: message caption is too long"
    );
}

#[test]
fn an_upload_above_fifty_mebibytes_is_too_large() {
    let house = house();
    let content = vec![0; (50 << 20) + 1];
    let answer = upload(
        &house,
        "sendDocument",
        &[("chat_id", "7")],
        &[("document", "a", &content)],
    );
    assert_eq!(answer.refusal(), "413 Request Entity Too Large");
}

#[test]
fn an_empty_file_is_refused() {
    let house = house();
    let answer = upload(
        &house,
        "sendDocument",
        &[("chat_id", "7")],
        &[("document", "a", b"")],
    );
    assert_eq!(answer.refusal(), "400 Bad Request: file must be non-empty");
}

#[test]
fn a_document_must_be_there() {
    let house = house();
    let send = |params: Value| house.call("sendDocument", params).refusal();
    assert_eq!(
        send(json!({ "chat_id": ANNA })),
        "400 Bad Request: there is no document in the request"
    );
    assert_eq!(
        send(json!({ "chat_id": ANNA, "document": "unknown" })),
        "400 Bad Request: wrong file identifier/HTTP URL specified"
    );
}

#[test]
fn an_album_has_two_to_ten_parts_of_one_kind() {
    let house = house();
    house.sim.add_file("a", "a");
    let document = json!({ "type": "document", "media": "a" });
    let photo = json!({ "type": "photo", "media": "a" });
    let album = |media: Vec<Value>| {
        house.call("sendMediaGroup", json!({ "chat_id": ANNA, "media": media }))
    };
    let sent = album(vec![document.clone(), document.clone()]).result();
    assert_eq!(sent[0]["media_group_id"], sent[1]["media_group_id"]);
    album(vec![photo.clone(); 10]).result();
    assert!(
        album(vec![photo.clone(); 11])
            .refusal()
            .contains("from 2 to 10")
    );
    assert!(
        album(vec![photo.clone()])
            .refusal()
            .contains("from 2 to 10")
    );
    assert!(
        album(vec![document, photo])
            .refusal()
            .contains("can't be mixed")
    );
}

#[test]
fn media_texts_cannot_be_edited_as_text() {
    let house = house();
    let message = upload(
        &house,
        "sendDocument",
        &[("chat_id", "7")],
        &[("document", "a", b"a")],
    )
    .result();
    let edit = json!({ "chat_id": ANNA, "message_id": message["message_id"], "text": "x" });
    assert_eq!(
        house.call("editMessageText", edit).refusal(),
        "400 Bad Request: there is no text in the message to edit"
    );
}

#[test]
fn downloads_are_recorded_and_can_fail() {
    let house = house();
    house.sim.add_file("doc", "a long content");
    let path = house.call("getFile", json!({ "file_id": "doc" })).result()["file_path"].clone();
    let line = format!("GET /file/bot{TOKEN}/{}", path.as_str().unwrap());
    let fetch = || request(&house.sim, &line, "", b"");
    house.sim.fault(
        telegram_sim::Fault::on(house.bot)
            .method("download")
            .truncated(),
    );
    assert_eq!(
        fetch().unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    assert_eq!(fetch().unwrap().body, b"a long content");
    let outcomes: Vec<_> = house
        .sim
        .calls_of(house.bot, "download")
        .into_iter()
        .map(|call| call.outcome)
        .collect();
    assert_eq!(
        outcomes,
        [telegram_sim::Outcome::Lost, telegram_sim::Outcome::Ok]
    );
}

#[test]
fn the_second_half_of_a_download_can_be_held_back() {
    let house = house();
    house.sim.add_file("doc", "a long content");
    let path = house.call("getFile", json!({ "file_id": "doc" })).result()["file_path"].clone();
    let line = format!("GET /file/bot{TOKEN}/{}", path.as_str().unwrap());
    let fault = house.sim.fault(
        telegram_sim::Fault::on(house.bot)
            .method("download")
            .stalled(),
    );
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| request(&house.sim, &line, "", b"").unwrap());
        house.wait_for(|view| view.call_count(house.bot, "download") == 1);
        assert!(!fetched.is_finished(), "half of it cannot be all of it");
        house.sim.clear_fault(fault);
        assert_eq!(fetched.join().unwrap().body, b"a long content");
    });
}
