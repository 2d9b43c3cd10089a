//! The store, call by call, over failures and crashes.
