//! The command line's grammar. Its texts are the manual.

mod images;
mod store;

pub(crate) use images::*;
pub(crate) use store::*;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// From a Dockerfile to a self-healing service, in one program.
#[derive(Debug, Parser)]
#[command(
    name = "hako",
    version,
    about = "From a Dockerfile to a self-healing service, in one program.",
    long_about = "Hakobune builds images, runs containers and keeps services alive on this machine, and speaks the \
                  protocols that docker and kubectl speak.\n\n\
                  Start the platform with `hako up`, build with `hako build -t NAME DIR`, then either run one container \
                  (`hako run NAME`) or declare what should run and keep running (`hako apply -f FILE`, or kubectl with \
                  the kubeconfig that `hako up` writes).",
    after_help = "Examples:\n  \
        hako up --detach                       start the platform in the background\n  \
        hako build -t app:v1 .                 build ./Dockerfile\n  \
        hako pull registry.example/base:v1     bring an image from a registry\n  \
        hako run --rm app:v1                   run one container\n  \
        hako apply -f app.yaml                 declare a Deployment and a Service\n  \
        hako get pods -n shop                  see what runs\n  \
        hako why pod/app-5d9c7-x2x1 -n shop    why it is pending, restarting or unreachable\n  \
        hako down                              stop everything again"
)]
pub(crate) struct Cli {
    /// Where the platform keeps its state; also how commands find the running platform
    #[arg(long, global = true, env = "HAKO_DATA_DIR", default_value = "/var/lib/hako", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The running platform's engine socket, when it is not found by --data-dir (unix:///PATH)
    #[arg(long, global = true, env = "HAKO_HOST", value_name = "URL")]
    pub host: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: OutputFormat,
    /// Say more on standard error (repeat for still more)
    #[arg(long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line; ends the process where it cannot be meant.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Self {
        let matches = <Self as CommandFactory>::command().get_matches_from(words);
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let is_told = matches.value_source("host") == Some(ValueSource::CommandLine);
        if let (Command::Up(_), Some(host), true) = (&cli.command, &cli.host, is_told) {
            let path = host.strip_prefix("unix://").unwrap_or("PATH");
            let text = format!(
                "`hako up` makes no socket by --host, which says where a running platform is: use --docker-socket {path}"
            );
            <Self as CommandFactory>::command().error(clap::error::ErrorKind::ArgumentConflict, text).exit();
        }
        cli
    }
}

/// The formats of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns for people
    Table,
    /// Columns for people, with more of them
    Wide,
    /// JSON for scripts
    Json,
    /// Names only, one a line
    Name,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the platform: API, store, scheduler, controllers, node and dataplane in one process
    Up(Box<UpArgs>),
    /// Stop the platform and every container it runs; images and objects stay for the next `hako up`
    Down(DownArgs),
    /// Show the whole road on this machine: build, deploy, heal, scale, roll, crash, adopt; leaves nothing behind
    Demo(DemoArgs),
    /// Build an image from a directory with a Dockerfile
    Build(Box<crate::engine::BuildArgs>),
    /// List images
    Images,
    /// Import images, look at them, remove them
    #[command(subcommand)]
    Image(ImageCommand),
    /// Bring an image from a registry
    Pull(PullArgs),
    /// Send an image to a registry
    Push(PushArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove an image's name, and the image with its last name
    Rmi(RmiArgs),
    /// Write images to an archive that `hako load` and `docker load` read
    Save(SaveArgs),
    /// Read images from an archive
    Load(LoadArgs),
    /// Show how an image came to be, newest step first
    History(HistoryArgs),
    /// Show all that is known of containers and images, as JSON
    Inspect(InspectArgs),
    /// Remove images without a name, or all that no container has
    Prune(ImagePruneArgs),
    /// Remember the credentials for a registry, in the file that docker uses too
    Login(LoginArgs),
    /// Forget the credentials for a registry
    Logout(LogoutArgs),
    /// Show and free disk space
    #[command(subcommand)]
    System(SystemCommand),
    /// Run a command in a new container
    Run(Box<RunArgs>),
    /// List containers
    Ps(PsArgs),
    /// Print a container's or a pod's output
    Logs(LogsArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// Stop containers: SIGTERM, then SIGKILL when the time is over
    Stop(StopArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Show objects of the cluster
    Get(GetArgs),
    /// Make the cluster's objects be as files say (server-side apply)
    Apply(ApplyArgs),
    /// Delete objects of the cluster
    Delete(DeleteArgs),
    /// Set the number of replicas of a Deployment or ReplicaSet
    Scale(ScaleArgs),
    /// Explain why a pod is pending, restarting or unreachable, and the smallest change that would help
    Why(WhyArgs),
    /// Save all objects, certificates and keys of the cluster in one file, while it runs; images and volumes are not in it
    Backup(BackupArgs),
    /// Make an empty data directory what a backup was made of
    Restore(RestoreArgs),
    /// Look at what keeps the cluster's objects
    #[command(subcommand)]
    Store(StoreCommand),
    /// The keys that Secrets are kept sealed with
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Serve images to others
    #[command(subcommand)]
    Registry(crate::registry::RegistryCommand),
    /// Run OCI bundles, as Docker, Podman and containerd call a runtime; its own manual is `hako runtime help`
    Runtime(RuntimeArgs),
    /// Print the version
    Version,
}

#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// Where the API listens
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "ADDR")]
    pub listen: std::net::SocketAddr,
    /// Also write the administrator's kubeconfig here (it is always in the data directory)
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Return when the node is Ready and go on in the background
    #[arg(long)]
    pub detach: bool,
    /// The node's name
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// A registry that may be used without TLS, or with a certificate that nobody vouches for; registries on this
    /// machine always may (repeat for more)
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]|ADDRESS/PREFIX")]
    pub insecure_registries: Vec<String>,
    /// Start this part alone
    #[arg(long, value_name = "PART", conflicts_with_all = ["listen", "kubeconfig", "node_name"])]
    pub only: Option<Role>,
    /// Also serve the Docker API here, such as on /var/run/docker.sock (repeat for more); with the default data
    /// directory it is on /run/hako/docker.sock in any case
    #[arg(long = "docker-socket", value_name = "PATH")]
    pub docker_sockets: Vec<PathBuf>,
    /// Have containers of the Docker API with users of their own: the ranges of a user in /etc/subuid and of a group in
    /// /etc/subgid, or `default`
    #[arg(long, value_name = "default|USER[:GROUP]|UID[:GID]")]
    pub userns_remap: Option<String>,
    /// Look for descriptions of devices (CDI) here instead of in /etc/cdi and /var/run/cdi (repeat for more, the last
    /// decides)
    #[arg(long = "cdi-dir", value_name = "DIR")]
    pub cdi_dirs: Vec<PathBuf>,
    /// Take layers of images that are refused otherwise: with names that begin with "/" (as names below the root), or
    /// with devices that not every root file system has (repeat for both)
    #[arg(long = "allow-in-layers", value_name = "WHAT", value_delimiter = ',')]
    pub allow_in_layers: Vec<InLayers>,
    /// How long events are kept after they were last told
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub event_ttl: u64,
    /// Who decides whether somebody outside reaches a published port of a container
    #[arg(long, value_name = "WHO", default_value = "own")]
    pub firewall: Firewall,
    #[command(flatten)]
    pub identities: IdentityArgs,
    #[command(flatten)]
    pub audit: AuditArgs,
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

/// Who else says who a client of the API is, and what it may do. Named as kube-apiserver names them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct IdentityArgs {
    /// An AuthenticationConfiguration: issuers of OpenID Connect, and where a client may look that shows nothing
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub authentication_config: Option<PathBuf>,
    /// A kubeconfig of the webhook that says whose token it is
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// A kubeconfig of the webhook that is asked what roles do not allow
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// The authority of proxies that say in headers (X-Remote-User, -Group, -Extra-) for whom they ask
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// The name in the certificate of such a proxy (repeat for more); any if there is none
    #[arg(
        long = "requestheader-allowed-names",
        value_name = "NAME",
        requires = "requestheader_client_ca_file"
    )]
    pub requestheader_allowed_names: Vec<String>,
}

impl IdentityArgs {
    /// The files by the option that names them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let all = [
            ("--authentication-config", &self.authentication_config),
            ("--authentication-token-webhook-config-file", &self.authentication_token_webhook_config_file),
            ("--authorization-webhook-config-file", &self.authorization_webhook_config_file),
            ("--requestheader-client-ca-file", &self.requestheader_client_ca_file),
        ];
        all.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)))
    }
}

/// What is recorded of requests to the API. Named as kube-apiserver names them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AuditArgs {
    /// A Policy of audit.k8s.io/v1: how much of which requests is recorded
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub audit_policy_file: Option<PathBuf>,
    /// Where requests are recorded, one line each; `-` is standard output. Without a policy: who asked for what and
    /// when, and no bodies
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub audit_log_path: Option<PathBuf>,
    /// A kubeconfig of the webhook that gets what is recorded, many events at a time
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// How long an event waits for others to go to the webhook with, 30 if it is not said
    #[arg(long, value_name = "SECONDS", requires = "audit_webhook_config_file")]
    pub audit_webhook_batch_max_wait: Option<u64>,
}

impl AuditArgs {
    /// The files by the option that names them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let all = [
            ("--audit-policy-file", &self.audit_policy_file),
            ("--audit-log-path", &self.audit_log_path),
            ("--audit-webhook-config-file", &self.audit_webhook_config_file),
        ];
        all.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)))
    }
}

/// What layers of images have only where somebody allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InLayers {
    /// Names that begin with "/", also of what hard links point to
    AbsoluteNames,
    /// Devices of any kind and number
    Devices,
}

impl InLayers {
    /// As the option names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AbsoluteNames => "absolute-names",
            Self::Devices => "devices",
        }
    }
}

/// Who decides on published ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Firewall {
    /// Whoever publishes a port opens it
    #[default]
    Own,
    /// The host's INPUT and FORWARD rules, as if a program of the host listened on the port
    Host,
}

impl From<Firewall> for hako_network::Firewall {
    fn from(firewall: Firewall) -> Self {
        match firewall {
            Firewall::Own => Self::Own,
            Firewall::Host => Self::Host,
        }
    }
}

/// A part of the platform that can be had alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Containers, images, builder, networks and the Docker API: no cluster, no Kubernetes API, no services. Pods of an
    /// earlier start run on, and nobody looks after them
    Engine,
}

#[derive(Args, Debug)]
pub(crate) struct DownArgs {
    /// Also remove the data directory: images, objects, certificates
    #[arg(long)]
    pub purge: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The example to build and deploy
    #[arg(long, default_value = "examples/hello", value_name = "DIR")]
    pub example: PathBuf,
    /// How long the load of the rolling update lasts at least
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub load_seconds: u64,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Return at once and print the id
    #[arg(short, long)]
    pub detach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// The container's name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Set an environment variable
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Publish a port ([HOST_IP:][HOST_PORT[-PORT]:]PORT[/udp])
    #[arg(short, long = "publish", value_name = "PORTS")]
    pub publish: Vec<String>,
    /// Bind a directory or file (HOST:CONTAINER[:ro])
    #[arg(short, long = "volume", value_name = "BIND")]
    pub volumes: Vec<String>,
    /// Run as this user (USER[:GROUP])
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// bridge, host or none
    #[arg(long, default_value = "bridge", value_name = "MODE")]
    pub network: String,
    /// Memory limit (bytes, or with k, m, g)
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// CPU limit in cores, such as 0.5
    #[arg(long, value_name = "CORES")]
    pub cpus: Option<f64>,
    /// Limit of processes
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<i64>,
    /// Mount the root filesystem read-only
    #[arg(long)]
    pub read_only: bool,
    /// When to start it again: no, always, on-failure[:N], unless-stopped
    #[arg(long, default_value = "no", value_name = "POLICY")]
    pub restart: String,
    /// Set a label
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// When to pull the image first
    #[arg(long, value_enum, default_value = "missing", value_name = "POLICY")]
    pub pull: PullPolicy,
    /// The image
    pub image: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// Also those that ended
    #[arg(short, long)]
    pub all: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// A container's name or id, or pod/NAME
    pub name: String,
    /// Go on as more comes
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
    /// Print each line's time
    #[arg(short, long)]
    pub timestamps: bool,
    /// Only what is younger (seconds)
    #[arg(long, value_name = "SECONDS")]
    pub since: Option<u64>,
    /// The pod's namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// The container of the pod
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// The output of the pod's container before its last restart
    #[arg(short, long)]
    pub previous: bool,
}

impl LogsArgs {
    /// `pod/NAME` and its like name objects of the cluster, everything else a single container.
    pub(crate) fn is_single_container(&self) -> bool {
        !self.name.contains('/')
    }
}

#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set an environment variable
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Run as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// The container's name or id
    pub container: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Seconds until SIGKILL
    #[arg(short, long, default_value_t = 10, value_name = "SECONDS")]
    pub time: u32,
    /// Names or ids
    #[arg(required = true)]
    pub containers: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Kill them first where they run
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(required = true)]
    pub containers: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NamespaceArgs {
    /// The namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// A kind (pods, deploy, svc, …), or KIND/NAME
    pub kind: String,
    /// Names
    pub names: Vec<String>,
    #[command(flatten)]
    pub namespace: NamespaceArgs,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Go on and print changes
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// Files or directories (*.yaml, *.yml, *.json); - is standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub filenames: Vec<PathBuf>,
    /// The namespace of objects that name none
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Only check, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take over fields that others manage
    #[arg(long)]
    pub force_conflicts: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// A kind, or KIND/NAME
    pub kind: Option<String>,
    /// Names
    pub names: Vec<String>,
    /// Delete what these files name
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with_all = ["kind", "names"])]
    pub filenames: Vec<PathBuf>,
    /// The namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Seconds until pods are killed
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<i64>,
    /// Do not wait until they are gone
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ScaleArgs {
    /// KIND/NAME
    pub object: String,
    /// How many
    #[arg(long)]
    pub replicas: i32,
    /// The namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
}

#[derive(Args, Debug)]
pub(crate) struct WhyArgs {
    /// pod/NAME
    pub object: String,
    /// The namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
}

#[derive(Args, Debug)]
pub(crate) struct RuntimeArgs {
    /// A command of the runtime and what belongs to it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub arguments: Vec<std::ffi::OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_names_the_runtime_and_takes_whatever_it_takes() {
        assert!(Cli::command().render_long_help().to_string().contains("hako runtime help"));
        let cli = Cli::try_parse_from(["hako", "--verbose", "runtime", "--root", "/x", "list"]).unwrap();
        let Command::Runtime(runtime) = cli.command else { panic!("not runtime") };
        assert_eq!(runtime.arguments, ["--root", "/x", "list"]);
    }

    #[test]
    fn what_follows_the_image_is_the_command() {
        let cli = Cli::try_parse_from(["hako", "run", "--rm", "busybox", "sh", "-c", "--help"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!((run.rm, run.image.as_str()), (true, "busybox"));
        assert_eq!(run.command, ["sh", "-c", "--help"]);
    }
}
