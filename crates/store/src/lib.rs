//! Every byte byrnie keeps on disk.
