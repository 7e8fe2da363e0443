//! COPY and ADD: what they name, with variables expanded and remote sources fetched.

use super::stage::{Stage, invalid};
use crate::dockerfile::{Copy, FileMode, InlineFile, expand_heredoc, is_remote};
use crate::graph::{CopyItem, CopyOp, FileData, Input, Node, OneFile, Op, Place};
use crate::{git, http};
use hako_error::Result;
use hako_names::Digest;
use std::sync::Arc;

impl Stage<'_, '_> {
    pub(super) fn copy(&mut self, place: Place, copy: &Copy) -> Result<()> {
        let op = self.copy_op(&place, copy)?;
        let text = place.text.clone();
        // A name is looked up in the files below, which a layer for itself does not have.
        let needs_names =
            op.chown.as_deref().is_some_and(|owner| owner.bytes().any(|b| b.is_ascii_alphabetic()));
        if !copy.is_link || needs_names {
            self.node(Op::Copy(Box::new(op)), place, &text);
            return Ok(());
        }
        let link = Node {
            op: Op::Link(Box::new(op)),
            parent: None,
            place: place.clone(),
            before: std::mem::take(&mut self.pending),
            use_cache: self.compiler.uses_cache(self.index),
        };
        let link = self.compiler.graph.push(link);
        // The instruction is told of once, by the link.
        self.node(Op::Join(link), Place { step: 0, ..place }, &text);
        Ok(())
    }

    fn copy_op(&mut self, place: &Place, copy: &Copy) -> Result<CopyOp> {
        let chmod = copy.chmod.as_deref().map(|text| self.expand(text)).transpose()?;
        let chmod = chmod
            .map(|text| FileMode::parse(&text).map(|mode| (text, mode)))
            .transpose()
            .map_err(|message| invalid(format!("--chmod={message}")))?;
        let excludes = self.expand_all(&copy.excludes)?;
        let mut items = Vec::new();
        for source in &copy.sources {
            let source = self.expand(source)?;
            items.push(self.item(place, copy, source, &excludes)?);
        }
        for file in &copy.files {
            items.push(self.inline(file)?);
        }
        let written = self.expand(&copy.destination)?;
        if written.is_empty() {
            return Err(invalid("the destination is empty"));
        }
        let mut destination = self.state.absolute(&written);
        let names_directory =
            written.ends_with('/') || written.ends_with("/.") || matches!(&*written, "." | "..");
        if names_directory && destination != "/" {
            destination.push('/');
        }
        Ok(CopyOp {
            items,
            destination,
            chown: copy.chown.as_deref().map(|text| self.expand(text)).transpose()?,
            chmod,
            keeps_parents: copy.keeps_parents,
            excludes,
            from: copy.from.clone().unwrap_or_default(),
        })
    }

    fn item(&mut self, place: &Place, copy: &Copy, source: String, excludes: &[String]) -> Result<CopyItem> {
        if copy.is_add && git::is_repository(&source) {
            return self.git_item(copy, &source);
        }
        if copy.is_add && is_remote(&source) {
            let checksum = copy.checksum.as_deref().map(|text| self.expand(text)).transpose()?;
            let file = http::fetch(self.compiler.contexts, &source, checksum.as_deref())?;
            self.compiler.materials.insert(source.clone(), file.digest.to_string());
            return Ok(one(file, copy.unpack.unwrap_or(false)));
        }
        let is_address = source.starts_with("http://") || source.starts_with("https://");
        if is_address && !copy.is_add && copy.from.is_none() {
            return Err(invalid("source can't be a URL for COPY: use ADD"));
        }
        if copy.checksum.is_some() {
            return Err(invalid("--checksum is for sources that are fetched: URLs and git repositories"));
        }
        let input = self.input(copy.from.as_deref(), place)?;
        let digest = match &input {
            Input::Files(files) => Some(files.digest_of(&source, excludes, copy.keeps_parents)?),
            _ => None,
        };
        Ok(CopyItem { input, pattern: source, unpack: copy.is_add && copy.unpack.unwrap_or(true), digest })
    }

    fn git_item(&mut self, copy: &Copy, source: &str) -> Result<CopyItem> {
        let checksum = copy.checksum.as_deref().map(|text| self.expand(text)).transpose()?;
        let wanted = git::Wanted { keep_git_dir: copy.keep_git_dir, checksum };
        let checkout = self.compiler.contexts.git(source, &wanted)?;
        self.compiler.materials.insert(source.to_owned(), checkout.commit.clone());
        let digest = checkout.files.digest_of("/", &[], false)?;
        Ok(CopyItem {
            input: Input::Files(checkout.files.clone()),
            pattern: "/".into(),
            unpack: false,
            digest: Some(digest),
        })
    }

    /// A file whose text stands in the Dockerfile.
    fn inline(&self, file: &InlineFile) -> Result<CopyItem> {
        let content = if file.is_expanded {
            expand_heredoc(&file.content, &|name| self.state.lookup(name)).map_err(invalid)?
        } else {
            file.content.clone()
        };
        let file = OneFile {
            name: file.name.clone(),
            digest: Digest::of(content.as_bytes()),
            mode: 0o644,
            mtime_unix_s: self.compiler.epoch_unix_s.unwrap_or(0),
            data: FileData::Bytes(content.into_bytes()),
        };
        Ok(one(file, false))
    }
}

fn one(file: OneFile, unpack: bool) -> CopyItem {
    let digest = Digest::of(format!("{} {} {}", file.name, file.digest, file.mode).as_bytes());
    CopyItem { pattern: file.name.clone(), digest: Some(digest), input: Input::File(Arc::new(file)), unpack }
}
