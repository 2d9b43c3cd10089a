//! RFC 8460, filed by its sections.

#[cfg(test)]
#[path = "rfc8460/appendix_b.rs"]
mod appendix_b;
#[cfg(test)]
#[path = "rfc8460/section_3.rs"]
mod section_3;
#[cfg(test)]
#[path = "rfc8460/section_4_1.rs"]
mod section_4_1;
#[cfg(test)]
#[path = "rfc8460/section_4_3.rs"]
mod section_4_3;
#[cfg(test)]
#[path = "rfc8460/section_4_4.rs"]
mod section_4_4;
#[cfg(test)]
#[path = "rfc8460/section_5_3.rs"]
mod section_5_3;
