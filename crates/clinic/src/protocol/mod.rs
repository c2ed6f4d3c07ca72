//! The clinical protocol as data: what is asked, in which order, in which words.
