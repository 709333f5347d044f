//! A proxy is used for Telegram and never for this machine, and people can see which.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::support::{House, wait_for};

/// A proxy on loopback that records what it is asked for, and refuses it or connects to one place.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        Self::to(None)
    }

    fn to(place: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || serve(stream, &all, place));
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

/// One connection: SOCKS 5 by name or address, or an HTTP request.
fn serve(mut stream: TcpStream, asked: &Mutex<Vec<String>>, to: Option<SocketAddr>) -> Option<()> {
    let mut first = [0; 1];
    stream.read_exact(&mut first).ok()?;
    if first[0] == 5 {
        serve_socks(stream, asked, to)
    } else {
        serve_http(first[0], stream, asked, to)
    }
}

fn serve_http(
    first: u8,
    mut stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    to: Option<SocketAddr>,
) -> Option<()> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let words = String::from_utf8_lossy(&head).into_owned();
    let has_password = words.to_ascii_lowercase().contains("proxy-authorization");
    let mark = if has_password { " with a password" } else { "" };
    let mut words = words.split_whitespace();
    let what = format!("{} {}{mark}", words.next()?, words.next()?);
    asked.lock().unwrap().push(what);
    let Some(to) = to else {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
        return stream.write_all(refusal).ok();
    };
    let mut server = TcpStream::connect(to).ok()?;
    server.write_all(&head).ok()?;
    pipe(stream, server)
}

fn serve_socks(
    mut stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    to: Option<SocketAddr>,
) -> Option<()> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let count = usize::from(take(1)?[0]);
    take(count)?;
    stream.write_all(&[5, 0]).ok()?;
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let request = take(5)?;
    let by_name = request[3] == 3;
    let rest = take(if by_name {
        usize::from(request[4]) + 2
    } else {
        5
    })?;
    let host = if by_name {
        String::from_utf8_lossy(&rest[..rest.len() - 2]).into_owned()
    } else {
        "an address".to_owned()
    };
    asked.lock().unwrap().push(format!("SOCKS {host}"));
    let answer = |code: u8| [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let Some(to) = to else {
        return stream.write_all(&answer(2)).ok();
    };
    let server = TcpStream::connect(to).ok()?;
    stream.write_all(&answer(0)).ok()?;
    pipe(stream, server)
}

/// Copies in both directions until one side ends.
fn pipe(stream: TcpStream, server: TcpStream) -> Option<()> {
    let (mut from, mut into) = (stream.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || {
        let _ended = std::io::copy(&mut from, &mut into);
        let _closed = into.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut into) = (server, stream);
    std::io::copy(&mut from, &mut into).ok().map(drop)
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

#[test]
fn messages_and_answers_go_through_the_proxy() {
    for scheme in ["http", "socks5h", "socks5"] {
        let mut house = House::new();
        let to = house.sim.address();
        let proxy = Proxy::to(Some(to));
        house.config["api_url"] = json!(format!("http://localhost:{}", to.port()));
        house.config["proxy"] = json!(format!("{scheme}://{}", proxy.address));
        house.write_config();
        let far = ("TELEPOST_TEST_FAR_API".to_owned(), "1".to_owned());
        house.env.push(far);
        let _gateway = house.gateway();
        house.file("a.txt", "a");
        let mut agent = house.agent_asked("far?");
        let answer = agent.reply(json!({"text": "far", "files": ["a.txt"]}));
        assert_eq!(answer["status"], "delivered", "{scheme}: {answer}");
        let asked = proxy.asked().join("\n");
        let expected = match scheme {
            "http" => "POST http://localhost:",
            "socks5h" => "SOCKS localhost",
            _ => "SOCKS an address",
        };
        assert!(asked.contains(expected), "{scheme}: {asked}");
    }
}
