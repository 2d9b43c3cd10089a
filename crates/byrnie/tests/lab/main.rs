//! The program inside the miniature internet.

#[cfg(test)]
mod anchors;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod played;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod policyd;
#[cfg(test)]
mod power;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod start;
#[cfg(test)]
mod web;
