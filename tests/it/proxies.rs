//! A proxy is used for Telegram and never for this machine, and people can see which.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::support::{House, wait_for};

/// A proxy on loopback that records what it is asked for, and refuses it.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || serve(stream, &all));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_to_be_asked(&self, for_what: &str) {
        wait_for(for_what, || {
            let asked = self.asked();
            if asked.iter().any(|line| line == for_what) {
                Ok(())
            } else {
                Err(asked)
            }
        });
    }
}

/// One connection: SOCKS 5 by name or address, or the first line of an HTTP request.
fn serve(mut stream: std::net::TcpStream, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut first = [0; 1];
    stream.read_exact(&mut first).ok()?;
    if first[0] != 5 {
        let mut line = vec![first[0]];
        while !line.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&line).into_owned();
        let mut words = head.split_whitespace();
        let what = format!("{} {}", words.next()?, words.next()?);
        let sent = head.to_ascii_lowercase().contains("proxy-authorization");
        let mark = if sent { " with a password" } else { "" };
        asked.lock().unwrap().push(format!("{what}{mark}"));
        return stream
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            .ok();
    }
    let mut count = [0; 1];
    stream.read_exact(&mut count).ok()?;
    let mut methods = vec![0; usize::from(count[0])];
    stream.read_exact(&mut methods).ok()?;
    stream.write_all(&[5, 0]).ok()?;
    let mut request = [0; 5];
    stream.read_exact(&mut request).ok()?;
    let kind = request[3];
    let mut rest = vec![
        0;
        if kind == 3 {
            usize::from(request[4]) + 2
        } else {
            5
        }
    ];
    stream.read_exact(&mut rest).ok()?;
    let host = if kind == 3 {
        String::from_utf8_lossy(&rest[..rest.len() - 2]).into_owned()
    } else {
        "an address".to_owned()
    };
    asked.lock().unwrap().push(format!("SOCKS {host}"));
    stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).ok()
}

/// A house whose bots are at Telegram itself.
fn far_house() -> House {
    let mut house = House::new();
    house.config["api_url"] = json!("https://api.telegram.org");
    house.write_config();
    house
}

fn text(house: &House, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = house.command_with_tokens(arguments);
    let output = command.envs(env.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_simulator_on_this_machine_is_reached_without_any_proxy() {
    let mut house = House::new();
    let proxy = Proxy::start();
    let http = format!("http://{}", proxy.address);
    house.config["proxy"] = json!(http);
    house.write_config();
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        house.env.push((name.to_owned(), http.clone()));
    }
    let _gateway = house.gateway();
    let answer = house.agent_asked("near?").reply(json!({"text": "near"}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(proxy.asked(), [""; 0]);
    let check = text(&house, &["check"], &[]);
    assert!(check.contains("without a proxy"), "{check}");
}

#[test]
fn the_key_and_the_variables_name_the_proxy_and_its_password_is_shown_nowhere() {
    let proxy = Proxy::start();
    let address = proxy.address.to_string();
    let secret = format!("http://me:s3cret@{address}");
    for (source, key, env, dotenv) in [
        ("proxy in sessions.json", Some(secret.as_str()), None, None),
        ("HTTPS_PROXY", None, Some("HTTPS_PROXY"), None),
        ("https_proxy", None, Some("https_proxy"), None),
        ("ALL_PROXY", None, Some("ALL_PROXY"), None),
        ("HTTPS_PROXY in .env", None, None, Some("HTTPS_PROXY")),
        ("TELEPOST_PROXY in .env", None, None, Some("TELEPOST_PROXY")),
    ] {
        let mut house = far_house();
        if let Some(key) = key {
            house.config["proxy"] = json!(key);
            house.write_config();
        }
        if let Some(name) = dotenv {
            let dotenv = house.path().join(".env");
            std::fs::write(dotenv, format!("{name}={secret}\n")).unwrap();
        }
        house
            .env
            .extend(env.map(|name| (name.to_owned(), secret.clone())));
        proxy.asked.lock().unwrap().clear();
        let gateway = house.gateway_with(&[]);
        proxy.wait_to_be_asked("CONNECT api.telegram.org:443 with a password");
        house.wait_until_unreachable();
        let check = text(&house, &["check"], &[]);
        let status = text(&house, &["status"], &[]);
        for shown in [&check, &status] {
            assert!(
                shown.contains(&format!("http://{address}")),
                "{source}: {shown}"
            );
            assert!(shown.contains(source), "{source}: {shown}");
        }
        let everything = [check, status, gateway.log(), house.log_files()].concat();
        assert!(!everything.contains("s3cret"), "{source}: {everything}");
    }
}

#[test]
fn socks_is_spoken_and_the_proxy_finds_the_name_where_it_is_asked_to() {
    for scheme in ["socks5h", "socks5"] {
        let proxy = Proxy::start();
        let mut house = far_house();
        house.config["proxy"] = json!(format!("{scheme}://{}", proxy.address));
        house.write_config();
        let _gateway = house.gateway_with(&[]);
        if scheme == "socks5h" {
            proxy.wait_to_be_asked("SOCKS api.telegram.org");
        } else {
            // This machine may have no names of the internet; then the proxy is not reached.
            house.wait_until_unreachable();
            let by_name = "SOCKS api.telegram.org".to_owned();
            assert!(!proxy.asked().contains(&by_name));
        }
    }
}

#[test]
fn a_host_that_no_proxy_names_and_the_word_none_mean_directly() {
    let proxy = Proxy::start();
    let http = format!("http://{}", proxy.address);
    let mut house = far_house();
    let env = [
        ("HTTPS_PROXY", http.as_str()),
        ("NO_PROXY", "example.org, .telegram.org"),
    ];
    let check = text(&house, &["check"], &env);
    assert!(check.contains("without a proxy"), "{check}");
    house.config["proxy"] = json!("none");
    house.write_config();
    let check = text(&house, &["check"], &[("HTTPS_PROXY", http.as_str())]);
    assert!(check.contains("without a proxy"), "{check}");
}

#[test]
fn what_is_no_proxy_is_refused_and_its_words_are_not_repeated() {
    for bad in ["ftp://me:s3cret@proxy:21", "proxy s3cret", "http://"] {
        let mut house = far_house();
        house.config["proxy"] = json!(bad);
        house.write_config();
        let output = house.run(&["check"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{bad}");
        assert!(
            words.contains("proxy") && words.contains("socks5h://"),
            "{words}"
        );
        assert!(!words.contains("s3cret"), "{words}");
    }
}
