//! byrnie: makes the way of an e-mail verifiable.

fn main() {}
