//! The drivers that move the bytes of SMTP sessions.
