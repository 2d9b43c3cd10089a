//! The command line from the outside: what it prints where, and with which exit code.

#[cfg(test)]
mod anchors;
#[cfg(test)]
mod bad_usage;
#[cfg(test)]
mod config;
#[cfg(test)]
mod dane;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod report;
#[cfg(test)]
mod support;
