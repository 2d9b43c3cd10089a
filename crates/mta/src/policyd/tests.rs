//! What other MTAs are told, and how the daemon bears what they send.

mod answers;
mod serving;
