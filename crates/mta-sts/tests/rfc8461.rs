//! RFC 8461, filed by its sections.

#[cfg(test)]
#[path = "rfc8461/section_3_1.rs"]
mod section_3_1;
#[cfg(test)]
#[path = "rfc8461/section_3_2.rs"]
mod section_3_2;
#[cfg(test)]
#[path = "rfc8461/section_3_3.rs"]
mod section_3_3;
#[cfg(test)]
#[path = "rfc8461/section_5_1.rs"]
mod section_5_1;
