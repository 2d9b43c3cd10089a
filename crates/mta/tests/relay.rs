//! The whole agent over loopback.

#[cfg(test)]
mod relay {
    mod whole;
}
