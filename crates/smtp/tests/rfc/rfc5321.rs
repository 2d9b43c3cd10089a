//! The protocol itself.

mod section_2_3_8;
mod section_4_1_1;
mod section_4_1_4;
mod section_4_5_2;
mod section_4_5_3;
