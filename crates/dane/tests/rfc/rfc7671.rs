//! The DANE protocol: updates and operational guidance.

mod section_4_1;
mod section_5_1;
mod section_5_2;
mod section_9;
