//! SMTP security via opportunistic DANE TLS.

mod section_3_1;
mod section_3_2_2;
mod section_3_2_3;
