//! The mail transfer agent.
