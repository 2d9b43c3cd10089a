//! The upstream of both sides: it has every answer ready, so that it is never what is measured.

use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;

use super::world::World;

/// Signs the zones, writes down the anchor and the questions, says the port, and answers for ever.
///
/// In a process of its own; it ends when it is killed.
pub(crate) fn serve(folder: &Path, domains: usize, hosts: usize) -> ! {
    let world = World::new(domains, hosts);
    std::fs::write(folder.join("anchors"), &world.anchor).unwrap();
    let questions: String = world
        .questions
        .iter()
        .map(|(name, rtype)| format!("{name} {rtype}\n"))
        .collect();
    std::fs::write(folder.join("questions"), questions).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut out = std::io::stdout();
    writeln!(out, "{port} {}", world.in_domains).unwrap();
    out.flush().unwrap();
    let (mut asked, mut answer) = ([0; 512], Vec::new());
    loop {
        let (length, from) = socket.recv_from(&mut asked).unwrap();
        let question = &asked[HEADER_OCTETS..length];
        let name: usize = question.iter().take_while(|octet| **octet != 0).count();
        // Labels hold no zero octets here. Behind the name stand type and class.
        let question = question[..name + 5].to_ascii_lowercase();
        answer.clear();
        answer.extend_from_slice(&asked[..2]);
        match world.answers.get(&question) {
            Some(ready) => answer.extend_from_slice(&ready[2..]),
            None => {
                // SERVFAIL, as both sides ask only for what there is.
                answer.extend_from_slice(&[0x81, 0x92, 0, 1, 0, 0, 0, 0, 0, 0]);
                answer.extend_from_slice(&question);
            }
        }
        // Who asked may be gone.
        let _ = socket.send_to(&answer, from);
    }
}

/// RFC 1035, Section 4.1.1.
const HEADER_OCTETS: usize = 12;
