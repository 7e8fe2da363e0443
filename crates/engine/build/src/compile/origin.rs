//! What stages start from and what files are taken from: contexts, stages, images.

use super::stage::Stage;
use crate::check::ForeignBase;
use crate::context::Named;
use crate::graph::{CopyItem, CopyOp, Input, Node, NodeId, Op, Place};
use crate::state::State;
use hako_error::{Error, Kind, Result};
use hako_image::{Image, chain_id};
use hako_names::ImageRef;

impl Stage<'_, '_> {
    /// FROM anything but scratch.
    pub(super) fn base(&mut self, base: &str, place: &Place) -> Result<()> {
        match self.compiler.contexts.named(base)? {
            Some(Named::Image(name)) => self.base_image(&name, place),
            Some(Named::Files(source)) => {
                let digest = source.digest_of("/", &[], false)?;
                let item = CopyItem {
                    input: Input::Files(source),
                    pattern: "/".into(),
                    unpack: false,
                    digest: Some(digest),
                };
                let op = CopyOp {
                    items: vec![item],
                    destination: "/".into(),
                    chown: None,
                    chmod: None,
                    keeps_parents: false,
                    excludes: Vec::new(),
                    from: base.to_owned(),
                };
                self.node(Op::Copy(Box::new(op)), place.clone(), &place.text);
                Ok(())
            }
            None => match self.compiler.earlier(self.index, base, false) {
                Some(stage) => {
                    let finished = self.compiler.stage(stage)?;
                    self.state = finished.state.inherited();
                    if let Some(platform) = &self.state.platform {
                        self.platform = platform.clone();
                    }
                    Ok(())
                }
                None => self.base_image(&parse(base)?, place),
            },
        }
    }

    fn base_image(&mut self, name: &ImageRef, place: &Place) -> Result<()> {
        let image = self.image(name)?;
        let node = self.compiler.image_node(&image, place);
        self.state = State::of(&image, node);
        if let Some(platform) = self.platform.other_of(&image)? {
            self.compiler.foreign.insert(ForeignBase {
                line: place.line,
                name: name.to_string(),
                platform: platform.to_string(),
                wanted: self.platform.to_string(),
            });
            // What its programs are for: who runs one is told so, and the image that comes of it says no other.
            self.platform = platform;
        }
        Ok(())
    }

    /// An image of this machine, from its registry where it is not here.
    fn image(&mut self, name: &ImageRef) -> Result<Image> {
        let image = self.compiler.contexts.image(name, &self.platform)?;
        let material = crate::attest::image_purl(name, &self.platform);
        self.compiler.materials.insert(material, image.manifest_digest.to_string());
        Ok(image)
    }

    /// Where `--from` takes files from; `None` is the context.
    pub(super) fn input(&mut self, from: Option<&str>, place: &Place) -> Result<Input> {
        let Some(from) = from else {
            return Ok(Input::Files(self.compiler.contexts.main()?));
        };
        match self.compiler.contexts.named(from)? {
            Some(Named::Files(source)) => return Ok(Input::Files(source)),
            Some(Named::Image(name)) => return self.image_input(&name, place),
            None => {}
        }
        if let Some(stage) = self.compiler.earlier(self.index, from, true) {
            let finished = self.compiler.stage(stage)?;
            return Ok(finished.state.node.map_or(Input::Scratch, Input::Node));
        }
        if from == "scratch" {
            return Ok(Input::Scratch);
        }
        self.image_input(&parse(from)?, place)
    }

    fn image_input(&mut self, name: &ImageRef, place: &Place) -> Result<Input> {
        let image = self.image(name)?;
        Ok(self.compiler.image_node(&image, place).map_or(Input::Scratch, Input::Node))
    }
}

impl super::Compiler<'_> {
    /// One node for each stack of layers.
    fn image_node(&mut self, image: &Image, place: &Place) -> Option<NodeId> {
        let chain = chain_id(image.layers.iter().map(|layer| layer.diff_id))?.hex();
        if let Some(node) = self.bases.get(&chain) {
            return *node;
        }
        let node = Node {
            op: Op::Base(image.layers.clone()),
            parent: None,
            place: place.clone(),
            before: Vec::new(),
            use_cache: true,
        };
        let node = Some(self.graph.push(node));
        self.bases.insert(chain, node);
        node
    }
}

fn parse(text: &str) -> Result<ImageRef> {
    text.parse().map_err(|error: hako_names::ParseImageRefError| Error::new(Kind::Invalid, error.to_string()))
}
