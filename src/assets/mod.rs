//! What the asset manager goes by: the commit that is checked out, and a hash of
//! the files that its packages are made of.

mod code_hash;
mod commit;

pub(crate) use code_hash::{InvalidGlob, code_hash};
pub(crate) use commit::{NotUsable, head};
