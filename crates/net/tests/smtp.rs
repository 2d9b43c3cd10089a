//! Mail over loopback sockets: our client against scripted servers, our server against scripted
//! clients, and both against each other.

#[cfg(test)]
mod smtp {
    mod client;
    mod pool;
    mod relay;
    mod server;
    mod support;
}
