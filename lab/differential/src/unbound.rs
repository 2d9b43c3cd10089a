//! Debian's unbound as the other validator.

use std::fs;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::message::NOERROR;
use crate::message::NXDOMAIN;
use crate::name::Name;

/// A running unbound; it ends with this value.
pub(crate) struct Unbound {
    child: Child,
    address: SocketAddr,
}

/// What unbound says.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Word {
    Secure,
    Insecure,
    Bogus,
}

/// unbound's answer.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) word: Word,
    pub(crate) rcode: u8,
    /// The data of the records of the type asked for, wherever in the answer section; names in it may
    /// be compressed, so that only types without names can be compared.
    pub(crate) answer: Vec<Vec<u8>>,
    /// RFC 8914, if there is a code.
    pub(crate) extended: Option<u16>,
}

impl Unbound {
    /// Starts it in a folder.
    pub(crate) fn start(
        folder: &Path,
        address: SocketAddr,
        upstream: SocketAddr,
        anchor: &str,
    ) -> io::Result<Self> {
        fs::write(folder.join("root.key"), anchor)?;
        let settings = settings(folder, address, upstream);
        fs::write(folder.join("unbound.conf"), settings)?;
        let log = File::create(folder.join("unbound.log"))?;
        let child = Command::new("unbound")
            .args(["-d", "-c"])
            .arg(folder.join("unbound.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child, address })
    }

    /// Waits until it answers about the root.
    pub(crate) fn wait(&self) -> io::Result<()> {
        for _ in 0..STARTUP_ATTEMPTS {
            if let Ok(said) = self.ask(&Name::root(), crate::message::SOA)
                && said.word == Word::Secure
            {
                return Ok(());
            }
            std::thread::sleep(STARTUP_PAUSE);
        }
        Err(io::Error::other(
            "unbound does not find the generated root secure",
        ))
    }

    /// Asks with DO, without CD.
    pub(crate) fn ask(&self, name: &Name, rtype: u16) -> io::Result<Said> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut query = vec![0x5a, 0xa5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        query.extend_from_slice(&name.wire());
        query.extend_from_slice(&rtype.to_be_bytes());
        query.extend_from_slice(&[0, 1]);
        query.extend_from_slice(&[0, 0, 41, 0xff, 0xff, 0, 0, 0x80, 0, 0, 0]);
        socket.send(&query)?;
        let mut answer = vec![0; usize::from(u16::MAX)];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        read(&answer, rtype).ok_or_else(|| io::Error::other("unbound's answer is malformed"))
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads unbound's answer.
fn read(message: &[u8], rtype: u16) -> Option<Said> {
    let rcode = message.get(3)? & 15;
    let word = match (rcode, message[3] & 0x20) {
        (NOERROR | NXDOMAIN, 0) => Word::Insecure,
        (NOERROR | NXDOMAIN, _) => Word::Secure,
        _ => Word::Bogus,
    };
    let count = |at: usize| {
        Some(u16::from_be_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let mut at = skip_name(message, 12)? + 4;
    let (mut answer, mut extended) = (Vec::new(), None);
    let answers = count(6)?;
    for index in 0..answers + count(8)? + count(10)? {
        at = skip_name(message, at)?;
        let (found, length) = (count(at)?, usize::from(count(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        if index < answers && found == rtype {
            answer.push(data.to_vec());
        }
        if found == 41
            && let [0, 15, _, _, high, low, ..] = data
        {
            extended = Some(u16::from_be_bytes([*high, *low]));
        }
        at += 10 + length;
    }
    Some(Said {
        word,
        rcode,
        answer,
        extended,
    })
}

/// Where a name ends.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

/// unbound.conf: everything off that asks twice, elsewhere or ahead, or remembers a failure.
fn settings(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    let (ip, port) = (address.ip(), address.port());
    let (upstream_ip, upstream_port) = (upstream.ip(), upstream.port());
    format!(
        r#"server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    verbosity: 0
    val-log-level: 2
    log-time-ascii: no
    interface: {ip}@{port}
    access-control: 127.0.0.0/8 allow
    do-ip6: no
    do-not-query-localhost: no
    do-daemonize: no
    num-threads: 1
    num-queries-per-thread: 4096
    outgoing-range: 4096
    jostle-timeout: 20000
    edns-buffer-size: 65000
    max-udp-size: 65000
    msg-buffer-size: 65552
    msg-cache-size: 8m
    rrset-cache-size: 16m
    key-cache-size: 8m
    neg-cache-size: 0
    ede: yes
    module-config: "validator iterator"
    trust-anchor-file: "{folder}/root.key"
    trust-anchor-signaling: no
    root-key-sentinel: no
    val-clean-additional: yes
    val-bogus-ttl: 1
    val-max-restart: 0
    val-nsec3-keysize-iterations: "1024 150 2048 150 4096 150"
    outbound-msg-retry: 1
    qname-minimisation: no
    aggressive-nsec: no
    harden-below-nxdomain: no
    harden-referral-path: no
    harden-algo-downgrade: no
    harden-dnssec-stripped: yes
    use-caps-for-id: no
    prefetch: no
    prefetch-key: no
    serve-expired: no
    rrset-roundrobin: no
    minimal-responses: no
    infra-host-ttl: 1
    infra-cache-max-rtt: 1000
    infra-keep-probing: yes
    unblock-lan-zones: yes
    target-fetch-policy: "0 0 0 0 0"
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream_ip}@{upstream_port}
"#
    )
}

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is asked until it is up.
const STARTUP_ATTEMPTS: usize = 100;

/// The pause between.
const STARTUP_PAUSE: Duration = Duration::from_millis(100);
