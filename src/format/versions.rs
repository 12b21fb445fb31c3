//! The versions of all formats that this program writes, for people who compare
//! programs.

use super::{
    FORMAT_VERSION, gc_marks, gc_state, index, index_table, pack, sealed_manifest, stat_record,
};

/// What is kept, and the version that is written of it, which is the newest that is
/// read.
pub const FORMATS: [(&str, u32); 9] = [
    ("store", FORMAT_VERSION),
    ("manifest", sealed_manifest::KIND.version as u32),
    ("pack", pack::HEADER[pack::HEADER.len() - 1] as u32),
    ("pack footer", pack::FOOTER.version as u32),
    ("index delta", index::KIND.version as u32),
    ("index filter", index_table::KIND.version as u32),
    ("gc state", gc_state::KIND.version as u32),
    ("gc marks", gc_marks::KIND.version as u32),
    ("stat record", stat_record::KIND.version as u32),
];
