//! Protocol modifications: authenticating answers.

mod section_5_2;
mod section_5_3;
mod section_5_4;
