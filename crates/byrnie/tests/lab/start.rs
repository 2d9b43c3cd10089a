//! How the program starts, refuses to start, and ends.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::process::Command;
use std::process::Output;
use std::thread;

use tempfile::TempDir;

use crate::played::PROGRAM;

#[test]
fn a_resolver_that_strips_signatures_keeps_it_from_starting() {
    // Answers every question with itself: no records, no EDNS, no signatures.
    let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = resolver.local_addr().unwrap();
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = resolver.recv_from(&mut packet) {
            // Header and question alone: QR set, NOERROR, all counts but the question's zero.
            packet[2] |= 0x80;
            packet[6..12].fill(0);
            let question_end = 12 + packet[12..length].iter().position(|&o| o == 0).unwrap() + 5;
            resolver.send_to(&packet[..question_end], client).unwrap();
        }
    });
    let ran = serve(&format!("[dns]\nservers = [\"{address}\"]\n"));
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!(
            "error: no resolver is fit for DNSSEC: {address}: strips DNSSEC"
        )),
        "{stderr}"
    );
    assert!(stderr.contains("\nhint: "), "{stderr}");
}

#[test]
fn a_resolver_that_is_not_there_keeps_it_from_starting() {
    let ran = serve("[dns]\nservers = [\"127.0.0.1:1\"]\n");
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("127.0.0.1:1: cannot be reached"),
        "{stderr}"
    );
}

#[test]
fn a_bad_configuration_keeps_it_from_starting() {
    let ran = serve("[smtp]\nlisten = [\"127.0.0.1:99999\"]\n");
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("b.toml, line 6: "), "{stderr}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = serve(&format!("[smtp]\nlisten = [\"{address}\"]\n"));
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!("error: cannot listen at {address}: ")),
        "{stderr}"
    );
}

/// Runs the gateway until it ends by itself.
fn serve(sections: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let configuration = folder.path().join("b.toml");
    let listen = match sections.contains("[smtp]") {
        true => "",
        false => "[smtp]\nlisten = [\"127.0.0.1:0\"]\n",
    };
    let text = format!(
        "version = 1\nhostname = \"relay.test\"\nqueue.spool = \"spool\"\n\
         metrics.listen = \"off\"\n{sections}{listen}"
    );
    fs::write(&configuration, text).unwrap();
    Command::new(PROGRAM)
        .arg("serve")
        .arg("--config")
        .arg(&configuration)
        .output()
        .unwrap()
}

/// The body of what is served at a path.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: byrnie\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}
