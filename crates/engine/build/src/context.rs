//! Where a build takes files and base images from: the context, contexts with names, git, images.

use crate::client::Lent;
use crate::compile::is_true;
use crate::dockerfile::{Instruction, is_remote, triggers};
use crate::error::BuildError;
use crate::files::Source;
use crate::git::{self, Checkout, Wanted};
use crate::http;
use crate::ignore::Ignore;
use crate::platform::Platform;
use crate::request::BuildRequest;
use crate::scratch::Scratch;
use crate::shared::Cancel;
use crate::state::State;
use crate::text;
use hako_content::Lease;
use hako_error::{Error, Kind, Result};
use hako_image::layer::{Limits, Permits};
use hako_image::transfer::{Parcel, Stop};
use hako_image::{Image, ImageStore, Layer, LayerForm, Sibling};
use hako_names::{Digest, ImageRef};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a context can be had from this address: a git repository, or a Dockerfile or archive behind a URL.
///
/// # Errors
/// `Invalid` for anything else, such as a path.
pub fn check_remote(address: &str) -> Result<()> {
    if git::is_repository(address) || is_remote(address) {
        return Ok(());
    }
    let message = format!("{address:?} is neither a git repository nor an address of a context");
    Err(Error::new(Kind::Invalid, message))
}

/// What a context from elsewhere may hold.
const REMOTE_LIMITS: Limits = Limits { bytes: 16 << 30, entries: 2_000_000, permits: Permits::ALL };
/// Longer Dockerfiles behind an address are refused before they are read.
const LONGEST_FILE: u64 = 4 << 20;
/// The build argument that keeps `.git` of a repository that is the context.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
/// The file that says what a context leaves out.
const IGNORE_FILE: &str = ".dockerignore";

/// A context with a name.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    Files(Arc<Source>),
    Image(ImageRef),
}

/// How images move between a build and registries. Blocking; called from threads that may block.
pub trait Registry: Send + Sync {
    /// The same, whose calls end early when `stop` says so; `None` if they cannot.
    fn until(&self, stop: &Stop) -> Option<Arc<dyn Registry>> {
        let _ = stop;
        None
    }
    /// Pulls the image for `os/arch[/variant]`.
    fn pull(&self, name: &ImageRef, platform: &str) -> Result<Image>;
    /// The same beside the one that has the name here: it gets none.
    fn pull_beside(&self, name: &ImageRef, platform: &str) -> Result<Image>;
    /// Pushes the image under that name, its layers in that form.
    fn push(&self, image: &Image, name: &ImageRef, form: Option<LayerForm>) -> Result<Digest>;
    /// The manifest under that name, or another of its repository by digest.
    fn manifest(&self, name: &ImageRef, digest: Option<Digest>) -> Result<Vec<u8>>;
    /// Whether the repository of that name has the blob.
    fn has(&self, name: &ImageRef, digest: Digest) -> Result<bool>;
    /// A small blob of the repository, verified.
    fn bytes(&self, name: &ImageRef, digest: Digest, size: u64) -> Result<Vec<u8>>;
    /// Brings a layer of the repository into the content store, verified against digest and size.
    fn layer(&self, name: &ImageRef, layer: &Layer, lease: &Lease) -> Result<()>;
    /// Sends documents with their blobs; the last one gets the name.
    fn send(&self, name: &ImageRef, parcel: &Parcel) -> Result<()>;
}

/// The sources of one build.
pub(crate) struct Contexts {
    pub request: BuildRequest,
    pub ground: Ground,
    /// Whether a client brought its files.
    is_here: Mutex<bool>,
    main: Mutex<Option<Arc<Source>>>,
    named: Mutex<HashMap<String, Named>>,
    checkouts: Mutex<HashMap<String, Arc<Checkout>>>,
    /// What has to stay until the build has ended.
    kept: Mutex<Vec<Scratch>>,
}

/// The Dockerfile as it was found.
pub(crate) struct Found {
    /// Its name as errors show it.
    pub name: String,
    pub text: String,
    /// The text of the .dockerignore that counts.
    pub ignore: Option<String>,
}

/// What a build's contexts stand on.
pub(crate) struct Ground {
    pub images: ImageStore,
    pub registry: Option<Arc<dyn Registry>>,
    pub lent: Lent,
    pub cancel: Arc<Cancel>,
    /// Where the kernel says which programs it gives to emulators.
    pub binfmt: PathBuf,
    /// Where downloads and checkouts go.
    pub dir: PathBuf,
}

impl Contexts {
    pub(crate) fn new(request: BuildRequest, ground: Ground) -> Self {
        Self {
            request,
            ground,
            is_here: Mutex::default(),
            main: Mutex::default(),
            named: Mutex::default(),
            checkouts: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// A fresh directory that stays until the build has ended.
    pub(crate) fn scratch(&self) -> Result<Scratch, BuildError> {
        Scratch::new(&self.ground.dir)
    }

    /// The Dockerfile, and with it what the context leaves out.
    pub(crate) fn dockerfile(&self) -> Result<Found> {
        let (root, remote_file) = self.root()?;
        let (mut found, beside) = match (&self.request.dockerfile_text, remote_file) {
            (Some(text), _) => (Found { name: self.text_name(), text: text.clone(), ignore: None }, None),
            (None, Some(text)) => (Found { name: "Dockerfile".into(), text, ignore: None }, None),
            (None, None) => self.read_dockerfile(&root)?,
        };
        let ignore = match &self.request.ignore_text {
            Some(text) => Some(text.clone()),
            None => match beside.map(|place| place.read_ignore()).transpose()?.flatten() {
                Some(text) => Some(text),
                None => TextFile::Inside(root.clone(), IGNORE_FILE.into()).read_ignore()?,
            },
        };
        found.ignore.clone_from(&ignore);
        let ignore = parse_ignore(ignore)?;
        *self.main.lock() = Some(Arc::new(Source::context(&root, ignore)?));
        Ok(found)
    }

    /// What a Dockerfile that is no file is called.
    fn text_name(&self) -> String {
        let name = self.request.dockerfile.as_deref().unwrap_or(Path::new("Dockerfile"));
        name.display().to_string()
    }

    /// The context's directory; for an address that is a Dockerfile, an empty one and its text.
    fn root(&self) -> Result<(PathBuf, Option<String>)> {
        let Some(remote) = &self.request.remote else {
            if self.request.context.as_os_str().is_empty() {
                let empty = self.scratch()?;
                let path = empty.path().to_owned();
                self.kept.lock().push(empty);
                return Ok((path, None));
            }
            return Ok((self.request.context.clone(), None));
        };
        if git::is_repository(remote) {
            let keeps = self.request.args.get(KEEP_GIT_DIR).map(|value| is_true(value));
            let checkout = self.git(remote, &Wanted { keep_git_dir: keeps, checksum: None })?;
            return Ok((checkout.path.clone(), None));
        }
        check_remote(remote)?;
        let file = http::download(self, remote)?;
        let root = self.scratch()?;
        let path = root.path().to_owned();
        self.kept.lock().push(root);
        let text = unpack_or_read(&file.path(), &path, remote)?;
        Ok((path, text))
    }

    fn read_dockerfile(&self, root: &Path) -> Result<(Found, Option<TextFile>)> {
        let given = self.request.dockerfile.as_deref().unwrap_or(Path::new("Dockerfile"));
        // Only who builds from a directory of this machine can mean a file beside it.
        let is_inside = self.request.remote.is_some() || given.is_relative();
        let file = if is_inside {
            TextFile::Inside(root.to_owned(), given.to_owned())
        } else {
            TextFile::Anywhere(given.to_owned())
        };
        // Inside the context people know the file by its place there; the context may be a copy.
        let shown = given.strip_prefix(root).unwrap_or(given);
        let hint = if is_inside {
            "it has to be a file of the build context: name another with -f, or another directory"
        } else {
            "name another file with -f, or another directory"
        };
        let text = match (file.read(), in_lower_case(given)) {
            (Err(error), Some(lower)) if error.kind() == std::io::ErrorKind::NotFound && is_inside => {
                let other = TextFile::Inside(root.to_owned(), lower.clone());
                match other.read() {
                    Ok(text) => {
                        let name = lower.display().to_string();
                        return Ok((Found { name, text, ignore: None }, Some(other.beside(root))));
                    }
                    Err(_) => Err(error),
                }
            }
            (text, _) => text,
        };
        let text = text.map_err(|source| BuildError::Input {
            action: "read the Dockerfile",
            path: shown.into(),
            hint,
            source,
        })?;
        let name = shown.display().to_string();
        Ok((Found { name, text, ignore: None }, Some(file.beside(root))))
    }

    /// The files that COPY without --from sees.
    pub(crate) fn main(&self) -> Result<Arc<Source>> {
        if let Some(client) = &self.ground.lent.client
            && self.request.remote.is_none()
        {
            let mut is_here = self.is_here.lock();
            if !*is_here {
                client.context()?;
                *is_here = true;
            }
        }
        let main = self.main.lock().clone();
        main.ok_or_else(|| Error::new(Kind::Internal, "the context was not opened"))
    }

    /// Whether there is a context of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.spelling(name).is_some()
    }

    /// How the request spells `name`; images are the same with and without registry and tag.
    fn spelling(&self, name: &str) -> Option<&String> {
        let contexts = &self.request.contexts;
        if let Some((known, _)) = contexts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(known);
        }
        let image: ImageRef = name.parse().ok()?;
        contexts.keys().find(|known| known.parse::<ImageRef>().is_ok_and(|known| known == image))
    }

    /// The context of that name.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Named>> {
        let Some(key) = self.spelling(name) else {
            return Ok(None);
        };
        if let Some(found) = self.named.lock().get(key) {
            return Ok(Some(found.clone()));
        }
        let opened = self.open_named(key, &self.request.contexts[key])?;
        self.named.lock().insert(key.clone(), opened.clone());
        Ok(Some(opened))
    }

    fn open_named(&self, name: &str, value: &str) -> Result<Named> {
        if let Some(reference) = value.strip_prefix("docker-image://") {
            let parsed = reference.parse().map_err(|error: hako_names::ParseImageRefError| {
                Error::new(Kind::Invalid, format!("--build-context {name}: {error}"))
            })?;
            return Ok(Named::Image(parsed));
        }
        if let Some(layout) = value.strip_prefix("oci-layout://") {
            return crate::layout::import(self, layout).map(Named::Image);
        }
        if git::is_repository(value) {
            return Ok(Named::Files(self.git(value, &Wanted::default())?.files.clone()));
        }
        let dir = Path::new(value.strip_prefix("local://").unwrap_or(value));
        let ignore = parse_ignore(TextFile::Inside(dir.to_owned(), IGNORE_FILE.into()).read_ignore()?)?;
        let source = Source::context(dir, ignore).map_err(|error| {
            hako_error::Error::from(error).context(format!("--build-context {name}={value}"))
        })?;
        Ok(Named::Files(Arc::new(source)))
    }

    /// A base image: of this machine, else of its registry.
    pub(crate) fn image(&self, name: &ImageRef, platform: &Platform) -> Result<Image> {
        let here = self.ground.images.resolve(name);
        let wants_newer = self.request.pull && name.digest().is_none();
        match (here, &self.ground.registry) {
            (Ok(image), _) if !platform.is_of(&image) => self.sibling(name, image, platform),
            (Ok(image), Some(registry)) if wants_newer => match registry.pull(name, &platform.to_string()) {
                // What only this machine has is no older for that.
                Err(error) if error.is_not_found() => Ok(image),
                pulled => pulled,
            },
            (Err(error), Some(registry)) if error.is_not_found() => {
                registry.pull(name, &platform.to_string()).map_err(|failed| match failed.kind() {
                    Kind::NotFound => error,
                    // The cause stands inside so that what to do comes last.
                    kind => Error::new(
                        kind,
                        format!(
                            "{name} is not on this machine and cannot be pulled ({}); import it with \"hako image \
                             import ROOTFS.tar {name}\" or build it with \"hako build -t {name} DIR\"",
                            failed.chain()
                        ),
                    ),
                })
            }
            (here, _) => here,
        }
    }

    /// The image of that name for another platform than the one that is here, which keeps the name. Where there is none,
    /// the one that is here.
    fn sibling(&self, name: &ImageRef, here: Image, platform: &Platform) -> Result<Image> {
        let wanted = platform.to_string();
        let known = self.ground.images.sibling(&here, &platform.of_images())?;
        match (known, &self.ground.registry) {
            (Sibling::Here(image), None) => return Ok(*image),
            (Sibling::Here(image), _) if !self.request.pull => return Ok(*image),
            // Of the same index as the one that is here, also when the tag has moved on.
            (Sibling::Elsewhere(digest), Some(registry)) if !self.request.pull => {
                if let Ok(image) = registry.pull_beside(&digest, &wanted) {
                    return Ok(image);
                }
            }
            (Sibling::Elsewhere(_) | Sibling::Unknown, None) => return Ok(here),
            _ => {}
        }
        let Some(registry) = &self.ground.registry else { return Ok(here) };
        registry.pull_beside(name, &wanted).map_err(|failed| match failed.kind() {
            Kind::Cancelled => failed,
            kind => {
                let said = here.config.architecture();
                let message = format!(
                    "platform {wanted} is wanted, {name} on this machine is for linux/{said}, and one for {wanted} \
                     cannot be pulled ({})",
                    failed.chain()
                );
                Error::new(kind, message)
            }
        })
    }

    /// The variables that a stage on `base` starts with, as far as this machine knows the image; nothing is fetched.
    pub(crate) fn environment_of(&self, base: &str) -> Option<Vec<(String, String)>> {
        let name = match self.spelling(base) {
            Some(key) => self.request.contexts[key].strip_prefix("docker-image://")?,
            None => base,
        };
        let image = self.ground.images.resolve(&name.parse().ok()?).ok()?;
        let state = State::of(&image, None);
        let triggers = triggers(&state.on_build, '\\', base).ok()?;
        let set = triggers.into_iter().flat_map(|step| match step.instruction {
            Instruction::Env(pairs) => pairs,
            Instruction::Arg(names) => {
                names.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
            }
            _ => Vec::new(),
        });
        Some(state.env.into_iter().chain(set).collect())
    }

    /// A git repository at what its address says, once.
    pub(crate) fn git(&self, address: &str, wanted: &Wanted) -> Result<Arc<Checkout>> {
        let key = format!("{address} {:?}", wanted.keep_git_dir);
        let known = self.checkouts.lock().get(&key).cloned();
        if let Some(known) = known.filter(|known| wanted.accepts(&known.commit)) {
            return Ok(known);
        }
        let checkout = Arc::new(git::check_out(self, address, wanted)?);
        self.checkouts.lock().insert(key, checkout.clone());
        Ok(checkout)
    }
}

/// Reads the rules; with one that is none, files would be used that were not meant to be.
fn parse_ignore(text: Option<String>) -> Result<Ignore> {
    let ignore = text.map(|text| Ignore::parse(&text)).unwrap_or_default();
    let faults: Vec<String> = ignore.faults().iter().map(|fault| format!(".dockerignore:{fault}")).collect();
    if faults.is_empty() { Ok(ignore) } else { Err(Error::new(Kind::Invalid, faults.join("\n"))) }
}

/// The other spelling of a Dockerfile's usual name, which counts where there is none of the usual one.
pub fn in_lower_case(path: &Path) -> Option<PathBuf> {
    path.ends_with("Dockerfile").then(|| path.with_file_name("dockerfile"))
}

/// A text that stands in a file.
enum TextFile {
    /// A name of a directory, which no link leads out of.
    Inside(PathBuf, PathBuf),
    Anywhere(PathBuf),
}

impl TextFile {
    /// The rules of this Dockerfile alone. Who links one from elsewhere means that file, not what a link beside it
    /// leads to.
    fn beside(self, root: &Path) -> Self {
        let (root, path) = match self {
            Self::Inside(root, name) => (root, name),
            Self::Anywhere(path) => match (path.strip_prefix(root), path.parent(), path.file_name()) {
                (Ok(name), ..) => (root.to_owned(), name.to_owned()),
                (Err(_), Some(parent), Some(name)) => (parent.to_owned(), name.into()),
                (Err(_), ..) => (root.to_owned(), path),
            },
        };
        let mut name = path.into_os_string();
        name.push(IGNORE_FILE);
        Self::Inside(root, name.into())
    }

    fn read(&self) -> std::io::Result<String> {
        match self {
            Self::Inside(root, name) => text::inside(root, name),
            Self::Anywhere(path) => text::anywhere(path),
        }
    }

    /// Rules, if there are any; some that cannot be read are no rules left out: files would be used that were not
    /// meant to be.
    fn read_ignore(&self) -> Result<Option<String>, BuildError> {
        let (Self::Inside(_, path) | Self::Anywhere(path)) = self;
        match self.read() {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let (action, hint) = ("read", "it says what the build context leaves out: mend or remove it");
                Err(BuildError::Input { action, path: path.clone(), hint, source })
            }
        }
    }
}

/// A tar goes into `root`; anything else is the Dockerfile's text.
fn unpack_or_read(file: &Path, root: &Path, what: &str) -> Result<Option<String>> {
    let opened = File::open(file).map_err(BuildError::io("open", file))?;
    if crate::archive::is_archive(file)? {
        let root = File::open(root).map_err(BuildError::io("open", root))?;
        crate::archive::unpack(&root, file, what, REMOTE_LIMITS)?;
        return Ok(None);
    }
    if opened.metadata().map_err(BuildError::io("read", file))?.len() > LONGEST_FILE {
        return Err(Error::new(Kind::Invalid, format!("{what} is neither a tar nor a Dockerfile")));
    }
    fs::read_to_string(file).map(Some).map_err(|source| {
        Error::new(Kind::Invalid, format!("{what} is neither a tar nor a Dockerfile")).with_source(source)
    })
}
