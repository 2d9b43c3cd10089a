//! Everything the decision needs to know about a domain, asked side by side.
