//! The grammar of the commands about images, registries and disk space.

use clap::{Args, Subcommand, ValueEnum};
use hako_image::LayerForm;
use std::path::PathBuf;

/// When an image is pulled before it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Each time: what the registry has now
    Always,
    /// If it is not here
    Missing,
    /// What is not here is an error
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List images
    Ls,
    /// Make an image of one layer from a root filesystem's tar archive (plain, gzip or zstd; - is standard input)
    Import {
        /// The archive
        rootfs: PathBuf,
        /// The image's name
        name: String,
    },
    /// Make the image `busybox` from this machine's static busybox
    ImportBusybox {
        /// The image's name
        #[arg(default_value = "busybox")]
        name: String,
        /// The static busybox
        #[arg(long, default_value = "/bin/busybox")]
        from: PathBuf,
    },
    /// Write an image's root filesystem as one tar archive: what `import` reads, without configuration and history
    Export {
        /// The image's name or id
        name: String,
        /// The archive to write, not there yet (- is standard output)
        archive: PathBuf,
    },
    /// Print an image's configuration as JSON
    Inspect {
        /// The image's name or id
        name: String,
    },
    /// Show how an image came to be, newest step first
    History(HistoryArgs),
    /// Bring an image from a registry
    Pull(PullArgs),
    /// Send an image to a registry
    Push(PushArgs),
    /// Write images to an archive that `hako load` and `docker load` read, or to an OCI image layout
    Save(SaveArgs),
    /// Read images from an archive or an OCI image layout
    Load(LoadArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove an image's name, and the image with its last name
    Rm(RmiArgs),
    /// Remove images that have no name
    Prune(ImagePruneArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// The image ([HOST[:PORT]/]PATH[:TAG][@DIGEST]); HOST is Docker Hub where it is left out, TAG is latest
    pub name: String,
    /// For another platform than this machine's, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// Print nothing but the image's name
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// The image, by the name it is to have there; give it that name with `hako tag`
    pub name: String,
    /// How layers are sent: gzip, zstd, zstd:chunked (a pull of the next version fetches what changed), uncompressed or
    /// stored [default: what was pulled as it came, else gzip]
    #[arg(long, value_name = "FORM")]
    pub compression: Option<LayerForm>,
    /// Print nothing but the image's name
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TagArgs {
    /// The image's present name or id
    pub source: String,
    /// Its further name
    pub target: String,
}

#[derive(Args, Debug)]
pub(crate) struct RmiArgs {
    /// Also images with several names by their id, and those of containers that have ended
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// What images are saved as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArchiveFormat {
    /// One file that `docker load` and all others read
    #[default]
    Docker,
    /// An OCI image layout as one file, layers as they are stored
    Oci,
    /// An OCI image layout as a directory
    OciDir,
}

#[derive(Args, Debug)]
pub(crate) struct SaveArgs {
    /// The archive or directory to write; without it, standard output
    #[arg(long = "to", short = 'o', value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// What is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: ArchiveFormat,
    /// How layers are compressed: uncompressed, gzip, zstd, zstd:chunked or stored
    #[arg(long, value_name = "FORM")]
    pub compression: Option<LayerForm>,
    /// Names or ids
    #[arg(required = true)]
    pub names: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// The archive, or directory with an OCI image layout, to read; without it, standard input
    #[arg(long = "from", short = 'i', value_name = "PATH")]
    pub file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The image's name or id
    pub name: String,
}

#[derive(Args, Debug)]
pub(crate) struct ImagePruneArgs {
    /// Also those with a name, if no container has them
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Containers or images; of both with one name the container
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// The registry's HOST[:PORT]
    #[arg(default_value = "docker.io")]
    pub server: String,
    /// The user's name; asked for where it is left out
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Read the password or access token from standard input; without it, it is asked for
    #[arg(long)]
    pub password_stdin: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogoutArgs {
    /// The registry's HOST[:PORT]
    #[arg(default_value = "docker.io")]
    pub server: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes space on the disk, and what of it nothing needs
    Df,
    /// Remove ended containers, images without a name, and the results of build steps
    Prune(SystemPruneArgs),
}

#[derive(Args, Debug)]
pub(crate) struct SystemPruneArgs {
    /// Also images with a name, if no container has them
    #[arg(short, long)]
    pub all: bool,
    /// Also volumes without a name that no container has
    #[arg(long)]
    pub volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}
