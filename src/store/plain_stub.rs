//! stub
#![allow(missing_docs, clippy::all, unused)]
use super::*;
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlainKey(String);
impl PlainKey {
    pub fn new(text: impl Into<String>) -> Result<Self, ()> {
        Ok(Self(text.into()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
pub struct PlainMeta {
    pub key: PlainKey,
    pub len: u64,
}
impl S3Store {
    pub fn put_plain(
        &self,
        key: &PlainKey,
        file: &std::path::Path,
        metadata: &[(&str, &str)],
    ) -> Result<u64, StoreError> {
        todo!()
    }
    pub fn copy_plain(&self, from: &PlainKey, to: &PlainKey) -> Result<bool, StoreError> {
        todo!()
    }
    pub fn list_plain(&self, prefix: &str) -> Result<Vec<PlainMeta>, StoreError> {
        todo!()
    }
}
