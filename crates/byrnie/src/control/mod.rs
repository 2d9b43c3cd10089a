//! The control socket: how commands speak to the gateway that runs on their spool.
//!
//! A Unix socket in the spool's folder, for its owner alone. A connection carries one line of JSON each
//! way: a [`Request`], and then its [`Answer`], which comes when what was asked for is done.

mod client;
mod protocol;

use std::path::Path;
use std::path::PathBuf;

pub(crate) use client::ask;
pub(crate) use protocol::Action;
pub(crate) use protocol::ActiveDelivery;
pub(crate) use protocol::Call;
pub(crate) use protocol::DamagedMessage;
pub(crate) use protocol::Destination;
pub(crate) use protocol::Disk;
pub(crate) use protocol::Done;
pub(crate) use protocol::Fault;
pub(crate) use protocol::Glance;
pub(crate) use protocol::QueueCounts;
pub(crate) use protocol::Recent;
pub(crate) use protocol::Refused;
pub(crate) use protocol::Reloaded;
pub(crate) use protocol::Request;
pub(crate) use protocol::Said;
pub(crate) use protocol::Sample;
pub(crate) use protocol::Spot;
pub(crate) use protocol::Steered;
pub(crate) use protocol::VERSION;

use crate::failure::Failure;

/// Where the gateway of a spool listens.
pub(crate) fn socket_path(spool: &Path) -> PathBuf {
    spool.join("control.sock")
}

/// Says that a command needs a gateway, and that none runs.
pub(crate) fn nobody_there(spool: &Path) -> Failure {
    Failure::runtime(format!("no gateway runs on the spool {}", spool.display()))
        .hint("start it with `byrnie serve`, or name its configuration with `--config`")
}

/// The longest line, of either side: some hundred thousand queue ids, or as many lines of a list.
pub(crate) const LINE_OCTETS_MAX: u64 = 16 << 20;
